// Distributions on the tape: categorical latents, two-hot returns, bounded normal and Bernoulli.
// Results are one number per row, (N,1), unless said otherwise; arrays (targets, draws, actions)
// are borrowed until reset.
#ifndef HWM_NN_DIST_H
#define HWM_NN_DIST_H

#include "nn/dist_rows.h"
#include "nn/tape.h"

// ---- categorical: rows of S*C columns, S variables of C classes
// p = (1-mix) softmax(logits) + mix/C: probabilities (N, S*C)
nn_var nn_categorical(nn_tape* t, nn_var logits, int C, hwm_real mix);
// One-hot draw per variable from probabilities p with uniform numbers u (N*S) in [0,1);
// straight-through: the gradient of the draw goes to p unchanged. u NULL: the most probable class.
nn_var nn_one_hot(nn_tape* t, nn_var p, int C, const hwm_real* u);
// sum over all columns of p (log p - log q)
nn_var nn_kl(nn_tape* t, nn_var p, nn_var q);
nn_var nn_entropy(nn_tape* t, nn_var p);  // - sum p log p
// log of the probability of the drawn classes: sum over columns of y log p, y (N, S*C) one-hot rows
nn_var nn_categorical_log_prob(nn_tape* t, nn_var p, const hwm_real* y);

// ---- two-hot over fixed bins (Hafner et al. 2023, arXiv:2301.04104)
// cross-entropy of logits (N, NN_BINS) against the two-hot code of target (N)
nn_var nn_twohot_loss(nn_tape* t, nn_var logits, const hwm_real* target,
                      const hwm_real bins[NN_BINS]);
// sum of the losses against two targets (a return and a slow value)
nn_var nn_twohot_loss2(nn_tape* t, nn_var logits, const hwm_real* target, const hwm_real* second,
                       const hwm_real bins[NN_BINS]);
// expectation of the bins, summed symmetrically from both ends: equal logits give exactly 0
nn_var nn_twohot_mean(nn_tape* t, nn_var logits, const hwm_real bins[NN_BINS]);
// the same numbers without gradient, (N) on the tape
const hwm_real* nn_twohot_values(nn_tape* t, nn_var logits, const hwm_real bins[NN_BINS]);

// ---- normal with bounded spread: x (N,2A) -> (N,2A) means tanh(x), then deviations 0.9 sigmoid(x
// + 2) + 0.1
nn_var nn_bounded_normal(nn_tape* t, nn_var x);
nn_var nn_normal_log_prob(nn_tape* t, nn_var d,
                          const hwm_real* action);  // d from above, action (N,A)
nn_var nn_normal_entropy(nn_tape* t, nn_var d);

// ---- Bernoulli from logits, summed over columns
nn_var nn_bernoulli_log_prob(nn_tape* t, nn_var logit,
                             const hwm_real* y);  // y (N, columns) in [0,1]
nn_var nn_bernoulli_entropy(nn_tape* t, nn_var logit);

// sum over columns of (y - target)^2
nn_var nn_squared_error(nn_tape* t, nn_var y, const hwm_real* target);

#endif
