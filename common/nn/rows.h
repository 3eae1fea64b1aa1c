// Kernels over the rows of a matrix, forward and backward, usable without a tape. Outputs first,
// dimensions last, row-major; every backward adds to its gradients (+=); gradients that are NULL
// are not computed. Nothing is allocated.
//
// A row's result does not depend on its neighbours, on its position nor on the instruction set:
// sums over a row run in 16 fixed partial sums.
#ifndef HWM_NN_ROWS_H
#define HWM_NN_ROWS_H

#include <stdbool.h>

#include "base/real.h"

// y = g * x / rms(x), rms(x) = sqrt(mean_d x^2 + eps); silu: y = silu(that) in the same pass
//   y (N,D)   rrms (N) cache for backward: 1/rms of each row   x (N,D)   g (D)
// Source: Zhang & Sennrich 2019, arXiv:1910.07467; Elfwing et al. 2018 (SiLU)
//   y may be x
void nn_rms_forward(hwm_real* y, hwm_real* rrms, const hwm_real* x, const hwm_real* g, hwm_real eps,
                    int silu, int N, int D);
//   dx (N,D), dg (D) +=;  scratch (2*D)
void nn_rms_backward(hwm_real* dx, hwm_real* dg, const hwm_real* dy, const hwm_real* x,
                     const hwm_real* g, const hwm_real* rrms, int silu, hwm_real* scratch, int N,
                     int D);

// Gates of the recurrent cell; the three parts stand side by side in each of G blocks of d = D/G
// units:
//   r = sigmoid(z_r)   c = tanh(r * z_c)   u = sigmoid(z_u - 1)   y = u*c + (1-u)*h
//   y (N,D)   cache (N,3,D): r, c, u; NULL: nobody wants them   z (N,G,3,d)   h (N,D) previous
//   state
void nn_gru_forward(hwm_real* y, hwm_real* cache, const hwm_real* z, const hwm_real* h, int N,
                    int D, int G);
//   one block: y and h (N,d), rows ldy and ldh apart, z (N,3,d)
void nn_gru_block(hwm_real* y, int ldy, const hwm_real* z, const hwm_real* h, int ldh, int N,
                  int d);
//   dz (N,G,3,d), dh (N,D) +=
void nn_gru_backward(hwm_real* dz, hwm_real* dh, const hwm_real* dy, const hwm_real* cache,
                     const hwm_real* z, const hwm_real* h, int N, int D, int G);

// Softmax over groups of C columns, mixed with the uniform distribution: p = (1-mix) softmax(x) +
// mix/C
//   p (N,S*C)   x (N,S*C) logits   rows = N*S groups
void nn_softmax_forward(hwm_real* p, const hwm_real* x, hwm_real mix, int rows, int C);
//   dx += ; p as computed by forward
void nn_softmax_backward(hwm_real* dx, const hwm_real* dp, const hwm_real* p, hwm_real mix,
                         int rows, int C);

// Classes drawn from groups of C probabilities p (n,C) with uniform numbers u (n): as many as
// partial sums, in ascending order, are not above u; the last class takes what rounding leaves
// over.
void nn_draw(int* pick, const hwm_real* p, const hwm_real* u, int n, int C);

// One-hot codes times a matrix: y (N,n), rows ldy apart, = bias (n) or 0, or (add) what is there,
// + per row the sum of the rows s*C + hot[s] of w (S*C,n); hot (N,S), -1: none. In ascending order,
// one rounding an addition: the bits of the dense product.
void nn_hot_forward(hwm_real* y, int ldy, const hwm_real* w, const hwm_real* bias, bool add,
                    const int* hot, int S, int C, int N, int n);
//   g (S*C,n) += codes' dy (N,n), rows ldd apart
void nn_hot_backward(hwm_real* g, const hwm_real* dy, int ldd, const int* hot, int S, int C, int N,
                     int n);

// Derivatives of activations from their results y:  g *= elu'(.), tanh'(.), sigmoid'(.)
//   elu' = 1 or y + 1   tanh' = 1 - y^2   sigmoid' = y (1 - y)
void nn_elu_scale(hwm_real* g, const hwm_real* y, int n);
void nn_tanh_scale(hwm_real* g, const hwm_real* y, int n);
void nn_sigmoid_scale(hwm_real* g, const hwm_real* y, int n);

// x += y; db (D) += sum over rows of dy (N,D)
void nn_accumulate(hwm_real* x, const hwm_real* y, int n);
void nn_sum_rows(hwm_real* db, const hwm_real* dy, int N, int D);

#endif
