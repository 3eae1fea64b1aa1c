// Trainable parameters: the values, gradients and names of one network set on flat blocks, with
// initialisers.
#ifndef HWM_NN_PARAMS_H
#define HWM_NN_PARAMS_H

#include "base/rng.h"
#include "nn/tape.h"
#include "record/params.h"

typedef struct nn_params {
    hwm_param_list list;
    hwm_real* value;  // (count)
    hwm_real* grad;   // (count)
} nn_params;

// Takes ownership of nothing: copies the list. Values zero.
hwm_status nn_params_create(nn_params** out, const hwm_param_list* list);
void nn_params_destroy(nn_params** params);
void nn_params_zero_grad(nn_params* params);
// Parameter i as a value on the tape: its g is the flat gradient block.
nn_var nn_param(nn_tape* tape, nn_params* params, int i);
void nn_params_init_normal(nn_params* params, int i, hwm_rng* rng, double std);
// 1.1368 * truncated normal (+-2 sigma) / sqrt(fan_in)
void nn_params_init_trunc(nn_params* params, int i, hwm_rng* rng, double fan_in, double scale);
void nn_params_fill(nn_params* params, int i, double value);
// target += rate * (source - target)
void nn_params_ema(nn_params* target, const nn_params* source, double rate);
void nn_params_to_float(const nn_params* params, float* out);   // (count)
void nn_params_from_float(nn_params* params, const float* in);  // (count)
// Between a set and a block in the order of another list: the entries that both name.
void nn_params_load(nn_params* params, const hwm_param_list* list, const float* values);
void nn_params_export(const nn_params* params, const hwm_param_list* list, float* values);

#endif
