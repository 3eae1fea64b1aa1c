#include "model/mlp.h"

#include <math.h>
#include <stdio.h>

static hwm_tensor_spec named(const char* prefix, const char* kind, int layer, int rows, int cols) {
    char name[HWM_NAME_MAX];
    snprintf(name, sizeof name, "%s/%s%d", prefix, kind, layer);
    return cols > 0 ? hwm_spec(name, HWM_F32, 2, rows, cols) : hwm_spec(name, HWM_F32, 1, rows);
}

void hwm_mlp_declare(hwm_mlp* mlp, hwm_param_list* list, const char* prefix, int in, int layers,
                     int units, int out, int activation) {
    HWM_ASSERT(layers + 1 <= HWM_MLP_LAYERS_MAX);
    *mlp =
        (hwm_mlp){.in = in, .out = out, .layers = layers, .units = units, .activation = activation};
    for (int l = 0; l <= layers; l++) {
        int from = l == 0 ? in : units, to = l == layers ? out : units;
        mlp->w[l] = hwm_param_list_add(list, named(prefix, "w", l, to, from));
        mlp->b[l] = hwm_param_list_add(list, named(prefix, "b", l, to, 0));
    }
}

void hwm_mlp_init(const hwm_mlp* mlp, nn_params* params, hwm_rng* rng, double last_std) {
    for (int l = 0; l <= mlp->layers; l++) {
        int from = l == 0 ? mlp->in : mlp->units;
        nn_params_init_normal(params, mlp->w[l], rng,
                              l == mlp->layers ? last_std : 1.0 / sqrt((double)from));
        nn_params_fill(params, mlp->b[l], 0.0);
    }
}

static nn_var parameter(nn_tape* tape, nn_params* params, int i, bool frozen, int rows, int cols) {
    hwm_real* value = params->value + params->list.entry[i].offset;
    hwm_real* grad = frozen ? NULL : params->grad + params->list.entry[i].offset;
    return nn_wrap(tape, value, grad, rows, cols);
}

void hwm_mlp_bind(const hwm_mlp* mlp, nn_tape* tape, nn_params* params, bool frozen,
                  hwm_mlp_vars* vars) {
    for (int l = 0; l <= mlp->layers; l++) {
        int from = l == 0 ? mlp->in : mlp->units, to = l == mlp->layers ? mlp->out : mlp->units;
        vars->w[l] = parameter(tape, params, mlp->w[l], frozen, to, from);
        vars->b[l] = parameter(tape, params, mlp->b[l], frozen, 1, to);
    }
}

nn_var hwm_mlp_forward(const hwm_mlp* mlp, const hwm_mlp_vars* vars, nn_tape* tape, nn_var x) {
    for (int l = 0; l < mlp->layers; l++)
        x = mlp->activation == HWM_ACTIVATION_SILU
                ? nn_silu(tape, nn_linear(tape, x, vars->w[l], vars->b[l]))
                : nn_dense(tape, x, vars->w[l], vars->b[l], NN_ELU);
    return nn_linear(tape, x, vars->w[mlp->layers], vars->b[mlp->layers]);
}

double hwm_mlp_flops(const hwm_mlp* mlp, int rows) {
    double macs = 0;
    for (int l = 0; l <= mlp->layers; l++) {
        int from = l == 0 ? mlp->in : mlp->units, to = l == mlp->layers ? mlp->out : mlp->units;
        macs += (double)from * to;
    }
    return 2.0 * macs * rows;
}
