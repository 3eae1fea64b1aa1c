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

typedef struct hwm_critic {
    hwm_mlp mlp;
    int kind;                  // hwm_critic_kind
    double unit;               // 1 - gamma
    hwm_real bins[NN_BINS];    // twohot
    hwm_real *raw, *slow_raw;  // (rows) twohot: targets in raw rewards
    nn_params* params;
    nn_params* slow;  // follows with rate; what imagination bootstraps from
    nn_optim* optim;
    nn_tape* tape;
    double rate;
} hwm_critic;

// rows_max: of one update. Caller owns, free with hwm_critic_destroy.
hwm_status hwm_critic_create(hwm_critic** out, const hwm_train_config* config, int features,
                             int rows_max, uint64_t seed);
void hwm_critic_destroy(hwm_critic** critic);
// (N,F) -> (N,1) with the slow copy as constants.
nn_var hwm_critic_value(hwm_critic* critic, nn_tape* tape, nn_var features);
// One step on the loss, then the slow copy follows.
//   features (N,F)   target, weight (N)   *loss plain: weighted mean squared error
hwm_status hwm_critic_update(hwm_critic* critic, int rows, hwm_real* features,
                             const hwm_real* target, const hwm_real* weight, double* loss,
                             hwm_error* err);

#endif
