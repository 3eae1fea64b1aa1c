// Element-wise kernels and copies of columns, forward and backward, usable without a tape; tape.h
// and layers.h have them on it. Outputs first, n numbers each; every backward adds to its gradients
// (+=). Forward of ELU, tanh, sigmoid and softplus: vmath.h. Nothing is allocated.
#ifndef HWM_NN_ELEMENTS_H
#define HWM_NN_ELEMENTS_H

#include <stddef.h>

#include "base/real.h"

// From the result y:  dx += dy elu'(.), tanh'(.), sigmoid'(.)
void nn_elu_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n);
void nn_tanh_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n);
void nn_sigmoid_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n);
// y = x s, s = sigmoid(x): cache for backward (Elfwing et al. 2018)
void nn_silu_forward(hwm_real* y, hwm_real* s, const hwm_real* x, size_t n);
//   dx += dy (s + y (1 - s))
void nn_silu_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, const hwm_real* s,
                      size_t n);
// of y = log(1 + exp(x)):  dx += dy s, s = sigmoid(x)
void nn_softplus_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* s, size_t n);
// y = sign(x) log(1 + |x|), and its inverse; y is not x
void nn_symlog_forward(hwm_real* y, const hwm_real* x, size_t n);
//   dx += dy / (1 + |x|)
void nn_symlog_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* x, size_t n);
void nn_symexp_forward(hwm_real* y, const hwm_real* x, size_t n);
//   dx += dy (1 + |y|)
void nn_symexp_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n);

// D columns of each of N rows, ldy and ldx numbers apart: y = x, the forward of a slice and of each
// part of a concatenation; and y += x, the backward of both with the roles changed.
void nn_columns_copy(hwm_real* y, int ldy, const hwm_real* x, int ldx, int N, int D);
void nn_columns_add(hwm_real* y, int ldy, const hwm_real* x, int ldx, int N, int D);

#endif
