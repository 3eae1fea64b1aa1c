// data path  [8] learner: critic
//
// V(f) on the features of a latent, never on the controller's weights: an actor that may climb a
// critic's extrapolation in weight space does so and learns nothing. Rewards are scaled by 1 -
// gamma, so that V lies in the range of one reward.
//
//   plain    V = mlp(f)                          loss 100 mean w (V - R)^2
//   twohot   V = (1 - gamma) sum_k p_k bins_k    loss mean w (ce(p, R) + ce(p, slow V)), R and V in
//            raw rewards there
#ifndef HWM_LEARNER_CRITIC_H
#define HWM_LEARNER_CRITIC_H

#include "experiment/train_config.h"
#include "model/mlp.h"
#include "nn/dist.h"
#include "nn/optim.h"

// Rows are cut into shares of their own memory and gradient, whose number follows from sizes alone,
// so that no result depends on the number of threads.
enum { HWM_CRITIC_SHARES = 2, HWM_CRITIC_BATCHES = 2 };
typedef struct hwm_critic_share {
    nn_tape* tape;
    hwm_real* grad;            // (parameters) of this share
    hwm_real *raw, *slow_raw;  // (rows) twohot: targets in raw rewards
    double loss[HWM_CRITIC_BATCHES];
} hwm_critic_share;

// What is learned from: features (N,F), target and weight (N). scale: of its loss in the sum.
typedef struct hwm_critic_batch {
    int rows;
    hwm_real* features;
    const hwm_real *target, *weight;
    double scale;
    double loss;  // out: before the step; plain: weighted mean squared error
} hwm_critic_batch;

typedef struct hwm_critic {
    hwm_mlp mlp;
    int kind;                // hwm_critic_kind
    double unit;             // 1 - gamma
    hwm_real bins[NN_BINS];  // twohot
    nn_params* params;
    nn_params* slow;  // follows with rate; what imagination bootstraps from
    nn_optim* optim;
    hwm_critic_share share[HWM_CRITIC_SHARES];
    double rate;
    hwm_critic_batch* batch;  // of the update under way
    int batches;
} hwm_critic;

// rows_max: of all batches of one update. Caller owns, free with hwm_critic_destroy.
hwm_status hwm_critic_create(hwm_critic** out, const hwm_train_config* config, int features,
                             int rows_max, uint64_t seed);
void hwm_critic_destroy(hwm_critic** critic);
// (N,F) -> (N,1) with the slow copy as constants.
nn_var hwm_critic_value(hwm_critic* critic, nn_tape* tape, nn_var features);
// One step on sum_k scale_k loss_k of n batches, then the slow copy follows. HWM_ENUMERIC: skipped.
hwm_status hwm_critic_update(hwm_critic* critic, hwm_critic_batch* batch, int n, hwm_error* err);

#endif
