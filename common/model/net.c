// Networks of the DreamerV3 family: layers and heads.
#include "model/net.h"

#include <stdio.h>

#include "nn/layers.h"

static int add(hwm_param_list* list, const char* name, const char* part, int ndim, int a, int b) {
    char full[HWM_NAME_MAX];
    const int n = snprintf(full, sizeof full, "%s/%s", name, part);
    HWM_ASSERT(n > 0 && n < (int)sizeof full);
    return hwm_param_list_add(list, ndim == 2 ? hwm_spec(full, HWM_F32, 2, a, b)
                                              : hwm_spec(full, HWM_F32, 1, a));
}

static nn_var bind(nn_tape* tape, nn_params* params, int i, bool frozen) {
    nn_var v = nn_param(tape, params, i);
    if (frozen)
        v->g = NULL;
    return v;
}

void hwm_layer_declare(hwm_layer* l, hwm_param_list* list, const char* name, int in, int out,
                       int blocks) {
    HWM_ASSERT(in % blocks == 0 && out % blocks == 0);
    *l = (hwm_layer){.in = in, .out = out, .blocks = blocks};
    l->w = add(list, name, "weight", 2, out, in / blocks);
    l->b = add(list, name, "bias", 1, out, 0);
    l->g = add(list, name, "gain", 1, out, 0);
}

void hwm_layer_init(const hwm_layer* l, nn_params* params, hwm_rng* rng) {
    // block-linear layers too: fan-in is the full input width
    nn_params_init_trunc(params, l->w, rng, l->in, 1.0);
    nn_params_fill(params, l->b, 0.0);
    nn_params_fill(params, l->g, 1.0);
}

hwm_layer_vars hwm_layer_bind(const hwm_layer* l, nn_tape* tape, nn_params* params, bool frozen) {
    return (hwm_layer_vars){bind(tape, params, l->w, frozen), bind(tape, params, l->b, frozen),
                            bind(tape, params, l->g, frozen), l->blocks};
}

nn_var hwm_layer_forward(const hwm_layer_vars* v, nn_tape* tape, nn_var x) {
    return hwm_layer_forward_parts(v, tape, x, NULL);
}

nn_var hwm_layer_forward_parts(const hwm_layer_vars* v, nn_tape* tape, nn_var x, nn_var shared) {
    return nn_layer_parts(tape, x, shared, v->w, v->b, v->g, v->blocks);
}

void hwm_head_declare(hwm_head* h, hwm_param_list* list, const char* name, int in, int layers,
                      int units, int out, double out_scale) {
    HWM_ASSERT(layers >= 1 && layers <= HWM_HEAD_LAYERS_MAX);
    *h = (hwm_head){.layers = layers, .in = in, .units = units, .out = out, .out_scale = out_scale};
    for (int i = 0; i < layers; i++) {
        char part[HWM_NAME_MAX];
        snprintf(part, sizeof part, "%s/%d", name, i);
        hwm_layer_declare(&h->layer[i], list, part, i == 0 ? in : units, units, 1);
    }
    if (out > 0) {
        h->w = add(list, name, "out/weight", 2, out, units);
        h->b = add(list, name, "out/bias", 1, out, 0);
    }
}

void hwm_head_init(const hwm_head* h, nn_params* params, hwm_rng* rng) {
    for (int i = 0; i < h->layers; i++)
        hwm_layer_init(&h->layer[i], params, rng);
    if (h->out > 0) {
        nn_params_init_trunc(params, h->w, rng, h->units, h->out_scale);
        nn_params_fill(params, h->b, 0.0);
    }
}

void hwm_head_bind(const hwm_head* h, nn_tape* tape, nn_params* params, bool frozen,
                   hwm_head_vars* v) {
    *v = (hwm_head_vars){.layers = h->layers};
    for (int i = 0; i < h->layers; i++)
        v->layer[i] = hwm_layer_bind(&h->layer[i], tape, params, frozen);
    if (h->out > 0) {
        v->w = bind(tape, params, h->w, frozen);
        v->b = bind(tape, params, h->b, frozen);
    }
}

nn_var hwm_twin_of(hwm_twin to, nn_var v) {
    return nn_twin(to.tape, v, v->g && to.grad ? to.grad + (v->g - to.from) : NULL);
}

hwm_layer_vars hwm_layer_twin(const hwm_layer_vars* v, hwm_twin to) {
    return (hwm_layer_vars){hwm_twin_of(to, v->w), hwm_twin_of(to, v->b), hwm_twin_of(to, v->g),
                            v->blocks};
}

hwm_head_vars hwm_head_twin(const hwm_head_vars* v, hwm_twin to) {
    hwm_head_vars f = *v;
    for (int i = 0; i < v->layers; i++)
        f.layer[i] = hwm_layer_twin(&v->layer[i], to);
    if (v->w) {
        f.w = hwm_twin_of(to, v->w);
        f.b = hwm_twin_of(to, v->b);
    }
    return f;
}

void hwm_weight_prepare(nn_var w, int blocks, hwm_precision precision, bool codes, nn_tape* tape) {
    if (precision == HWM_PRECISION_FLOAT32 || codes)
        nn_prepare(tape, w, blocks);
    if (precision == HWM_PRECISION_BFLOAT16)
        nn_prepare_bf16(tape, w, blocks);
}

void hwm_layer_prepare(const hwm_layer_vars* v, hwm_precision precision, bool codes,
                       nn_tape* tape) {
    hwm_weight_prepare(v->w, v->blocks, precision, codes, tape);
}

void hwm_head_prepare(const hwm_head_vars* v, hwm_precision precision, bool codes, nn_tape* tape) {
    for (int i = 0; i < v->layers; i++)
        hwm_layer_prepare(&v->layer[i], precision, codes && i == 0, tape);
    if (v->w)
        hwm_weight_prepare(v->w, 1, precision, false, tape);
}

nn_var hwm_head_forward_parts(const hwm_head_vars* v, nn_tape* tape, nn_var x, nn_var shared) {
    nn_var y = hwm_layer_forward_parts(&v->layer[0], tape, x, shared);
    for (int i = 1; i < v->layers; i++)
        y = hwm_layer_forward(&v->layer[i], tape, y);
    return v->w ? nn_linear_parts(tape, y, NULL, v->w, v->b, 1) : y;
}

nn_var hwm_head_forward(const hwm_head_vars* v, nn_tape* tape, nn_var x) {
    return hwm_head_forward_parts(v, tape, x, NULL);
}

double hwm_head_macs(const hwm_head* h) {
    return (double)h->in * h->units + (double)(h->layers - 1) * h->units * h->units +
           (double)h->units * h->out;
}
