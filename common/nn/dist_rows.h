// Distributions and losses over the rows of a matrix, forward and backward, usable without a tape;
// dist.h has them on the tape. Outputs first, dimensions last, row-major; y and dy are one number
// per row, (N), unless said otherwise; every backward adds to its gradients (+=); gradients that
// are NULL are not computed. Nothing is allocated. A row's result does not depend on the others.
#ifndef HWM_NN_DIST_ROWS_H
#define HWM_NN_DIST_ROWS_H

#include "base/real.h"

// ---- categorical: D = S*C columns, S variables of C classes; probabilities: nn_softmax_forward

// y = sum_d p (log p - log q);  ratio (N,D) cache for backward: log p - log q
void nn_kl_forward(hwm_real* y, hwm_real* ratio, const hwm_real* p, const hwm_real* q, int N,
                   int D);
//   dp += dy (ratio + 1), dq -= dy p / q
void nn_kl_backward(hwm_real* dp, hwm_real* dq, const hwm_real* dy, const hwm_real* p,
                    const hwm_real* q, const hwm_real* ratio, int N, int D);
// y = - sum_d p log p;  log_p (N,D) cache for backward
void nn_entropy_forward(hwm_real* y, hwm_real* log_p, const hwm_real* p, int N, int D);
//   dp -= dy (log p + 1)
void nn_entropy_backward(hwm_real* dp, const hwm_real* dy, const hwm_real* log_p, int N, int D);
// y = sum_d chosen log p, chosen (N,D) one-hot rows
void nn_categorical_log_prob_forward(hwm_real* y, const hwm_real* p, const hwm_real* chosen, int N,
                                     int D);
//   dp += dy chosen / p
void nn_categorical_log_prob_backward(hwm_real* dp, const hwm_real* dy, const hwm_real* p,
                                      const hwm_real* chosen, int N, int D);

// ---- normal with bounded spread: d (N,2A) holds A means, then A deviations

// means tanh(x), deviations 0.9 sigmoid(x + 2) + 0.1, x (N,2A);  d may be x
void nn_bounded_normal_forward(hwm_real* d, const hwm_real* x, int N, int A);
void nn_bounded_normal_backward(hwm_real* dx, const hwm_real* dd, const hwm_real* d, int N, int A);
// y = sum_i -((a - m)/s)^2 / 2 - log s - log(2 pi)/2, a (N,A)
void nn_normal_log_prob_forward(hwm_real* y, const hwm_real* d, const hwm_real* a, int N, int A);
void nn_normal_log_prob_backward(hwm_real* dd, const hwm_real* dy, const hwm_real* d,
                                 const hwm_real* a, int N, int A);
// y = sum_i log s + (log(2 pi) + 1)/2
void nn_normal_entropy_forward(hwm_real* y, const hwm_real* d, int N, int A);
void nn_normal_entropy_backward(hwm_real* dd, const hwm_real* dy, const hwm_real* d, int N, int A);
// action (N,A) = mean + deviation * noise (N,A); noise NULL: the mean
void nn_normal_sample(hwm_real* action, const hwm_real* d, const hwm_real* noise, int N, int A);

// ---- Bernoulli from logits x (N,D), summed over columns; s (N,D) cache: sigmoid(x)

// y = sum_d x outcome - softplus(x), outcome (N,D) in [0,1]; s NULL: nobody wants it
void nn_bernoulli_log_prob_forward(hwm_real* y, hwm_real* s, const hwm_real* x,
                                   const hwm_real* outcome, int N, int D);
//   dx += dy (outcome - s)
void nn_bernoulli_log_prob_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* s,
                                    const hwm_real* outcome, int N, int D);
// y = sum_d softplus(x) - x s
void nn_bernoulli_entropy_forward(hwm_real* y, hwm_real* s, const hwm_real* x, int N, int D);
//   dx -= dy x s (1 - s)
void nn_bernoulli_entropy_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* x,
                                   const hwm_real* s, int N, int D);

// y = sum_d (x - target)^2
void nn_squared_error_forward(hwm_real* y, const hwm_real* x, const hwm_real* target, int N, int D);
void nn_squared_error_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* x,
                               const hwm_real* target, int N, int D);

// ---- two-hot over fixed bins (Hafner et al. 2023, arXiv:2301.04104); rows of logits x (N,NN_BINS)
enum { NN_BINS = 255 };
// symexp(linspace(-20, 0, 128)) and its mirror image: ascending, exactly symmetric, the middle one
// exactly 0
void nn_twohot_bins(hwm_real bins[NN_BINS]);
// weights of the two neighbouring bins, in raw space: x = (1-w) bins[k] + w bins[k+1]; clamped to
// the range of the bins
void nn_twohot_encode(const hwm_real bins[NN_BINS], hwm_real x, int* k, hwm_real* w);
// y = sum over M codes of log sum exp(x) - (1-w) x_k - w x_{k+1};  p = softmax(x) (N,NN_BINS),
// codes k, w (N,M) from nn_twohot_encode
void nn_twohot_loss_forward(hwm_real* y, const hwm_real* x, const hwm_real* p, const int* k,
                            const hwm_real* w, int N, int M);
//   dx += dy (M p - codes)
void nn_twohot_loss_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* p, const int* k,
                             const hwm_real* w, int N, int M);
// y = sum p bins, summed symmetrically from both ends: equal probabilities give exactly 0
void nn_twohot_mean_forward(hwm_real* y, const hwm_real* p, const hwm_real bins[NN_BINS], int N);
//   dx += dy p (bins - y)
void nn_twohot_mean_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, const hwm_real* p,
                             const hwm_real bins[NN_BINS], int N);

#endif
