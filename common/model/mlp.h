// Multi-layer perceptron: entries of a parameter list and the forward pass on a tape.
#ifndef HWM_MODEL_MLP_H
#define HWM_MODEL_MLP_H

#include "model/model_config.h"
#include "nn/params.h"

enum { HWM_MLP_LAYERS_MAX = 10 };
typedef struct hwm_mlp {
    int in, out, layers, units;  // layers: hidden ones
    int activation;              // hwm_activation
    int w[HWM_MLP_LAYERS_MAX], b[HWM_MLP_LAYERS_MAX];
} hwm_mlp;

// Appends "<prefix>/w0", "<prefix>/b0", ... to the list.
void hwm_mlp_declare(hwm_mlp* mlp, hwm_param_list* list, const char* prefix, int in, int layers,
                     int units, int out, int activation);
// w ~ N(0, 1/in), b = 0; the last layer w ~ N(0, last_std^2).
void hwm_mlp_init(const hwm_mlp* mlp, nn_params* params, hwm_rng* rng, double last_std);

// The parameters as values of one tape: bound once after each reset, used at every step.
// frozen: constants, gradients reach the input only.
typedef struct hwm_mlp_vars {
    nn_var w[HWM_MLP_LAYERS_MAX], b[HWM_MLP_LAYERS_MAX];
} hwm_mlp_vars;
void hwm_mlp_bind(const hwm_mlp* mlp, nn_tape* tape, nn_params* params, bool frozen,
                  hwm_mlp_vars* vars);
// x (N,in) -> (N,out)
nn_var hwm_mlp_forward(const hwm_mlp* mlp, const hwm_mlp_vars* vars, nn_tape* tape, nn_var x);
double hwm_mlp_flops(const hwm_mlp* mlp, int rows);  // forward

#endif
