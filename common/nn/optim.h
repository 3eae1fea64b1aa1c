// Optimiser over one flat block: an update is grad(batch) -> block, then apply(block), so that
// gradients of several processes can be reduced in between. Its moments are one more parameter
// list, so that they are checkpointed like parameters.
#ifndef HWM_NN_OPTIM_H
#define HWM_NN_OPTIM_H

#include "nn/params.h"

typedef enum nn_optim_kind { NN_ADAM, NN_LAPROP, NN_SGD } nn_optim_kind;
typedef struct nn_optim_config {
    nn_optim_kind kind;
    double lr;
    double beta1, beta2, eps;
    double clip_norm;  // global norm; 0: none
    double agc;        // adaptive gradient clipping per tensor; 0: none
    int64_t warmup_updates;
} nn_optim_config;
nn_optim_config nn_optim_adam(double lr, double clip_norm);  // 0.9, 0.999, 1e-8
nn_optim_config nn_optim_laprop(double lr);  // algorithm.md 1.4: AGC 0.3, warm-up 1000

typedef struct nn_optim nn_optim;
hwm_status nn_optim_create(nn_optim** out, const nn_optim_config* config,
                           const hwm_param_list* list);
void nn_optim_destroy(nn_optim** optim);
void nn_optim_set_lr(nn_optim* optim, double lr);
// Applies params->grad. HWM_ENUMERIC: a gradient is not finite; nothing changed, counted, the
// tensor named in err. *norm (may be NULL): global gradient norm before clipping.
hwm_status nn_optim_apply(nn_optim* optim, nn_params* params, double* norm, hwm_error* err);
int64_t nn_optim_updates(const nn_optim* optim);
int64_t nn_optim_skipped(const nn_optim* optim);
// State for checkpoints: moments and counters as a flat float block of nn_optim_state_count floats.
size_t nn_optim_state_count(const nn_optim* optim);
void nn_optim_save(const nn_optim* optim, float* out);
void nn_optim_load(nn_optim* optim, const float* in);

#endif
