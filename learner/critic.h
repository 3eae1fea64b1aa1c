// data path  [8] learner: critic
//
// V(f) on the features of a latent, never on the controller's weights: an actor that may climb a
// critic's extrapolation in weight space does so and learns nothing. Rewards are scaled by 1 -
// gamma, so that V lies in the range of one reward.
#ifndef HWM_LEARNER_CRITIC_H
#define HWM_LEARNER_CRITIC_H

#include "model/mlp.h"
#include "nn/optim.h"

typedef struct hwm_critic {
    hwm_mlp mlp;
    nn_params* params;
    nn_params* slow;  // follows with rate; what imagination bootstraps from
    nn_optim* optim;
    nn_tape* tape;
    double rate;
} hwm_critic;

// rows_max: of one update. Caller owns, free with hwm_critic_destroy.
hwm_status hwm_critic_create(hwm_critic** out, int features, int layers, int units, double lr,
                             double rate, int rows_max, uint64_t seed);
void hwm_critic_destroy(hwm_critic** critic);
// (N,F) -> (N,1) with the slow copy as constants.
nn_var hwm_critic_value(hwm_critic* critic, nn_tape* tape, nn_var features);
// One step on mean w (V(f) - target)^2, then the slow copy follows.
//   features (N,F)   target, weight (N)   *loss weighted mean squared error
hwm_status hwm_critic_update(hwm_critic* critic, int rows, hwm_real* features,
                             const hwm_real* target, const hwm_real* weight, double* loss,
                             hwm_error* err);

#endif
