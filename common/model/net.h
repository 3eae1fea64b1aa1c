// Networks of the DreamerV3 family: layers and heads as entries of a parameter list, and their
// forward pass on a tape.
#ifndef HWM_MODEL_NET_H
#define HWM_MODEL_NET_H

#include "model/model_config.h"
#include "nn/params.h"

// silu(norm(x w' + b)): entries of weight (out,in), bias (out), gain (out)
typedef struct hwm_layer {
    int w, b, g;
    int in, out, blocks;  // blocks > 1: block-linear, w (out, in / blocks)
} hwm_layer;
typedef struct hwm_layer_vars {
    nn_var w, b, g;
    int blocks;
} hwm_layer_vars;

void hwm_layer_declare(hwm_layer* l, hwm_param_list* list, const char* name, int in, int out,
                       int blocks);
void hwm_layer_init(const hwm_layer* l, nn_params* params, hwm_rng* rng);
hwm_layer_vars hwm_layer_bind(const hwm_layer* l, nn_tape* tape, nn_params* params, bool frozen);
nn_var hwm_layer_forward(const hwm_layer_vars* v, nn_tape* tape, nn_var x);
// on [x shared]; block-linear: each block sees its share of x and the whole of shared
nn_var hwm_layer_forward_parts(const hwm_layer_vars* v, nn_tape* tape, nn_var x, nn_var shared);

// Some layers and a linear output, whose initial scale is `out_scale`
enum { HWM_HEAD_LAYERS_MAX = 6 };
typedef struct hwm_head {
    int layers, in, units, out;
    double out_scale;
    hwm_layer layer[HWM_HEAD_LAYERS_MAX];
    int w, b;
} hwm_head;
typedef struct hwm_head_vars {
    int layers;
    hwm_layer_vars layer[HWM_HEAD_LAYERS_MAX];
    nn_var w, b;
} hwm_head_vars;

// out 0: no linear output, the last layer's is the result
void hwm_head_declare(hwm_head* h, hwm_param_list* list, const char* name, int in, int layers,
                      int units, int out, double out_scale);
void hwm_head_init(const hwm_head* h, nn_params* params, hwm_rng* rng);
void hwm_head_bind(const hwm_head* h, nn_tape* tape, nn_params* params, bool frozen,
                   hwm_head_vars* v);
// The same values on another tape or the same: a gradient that lies in a block of gradients `from`
// goes to the same place of the block `grad` instead; grad NULL: constants. Prepare first what
// several tapes are going to use.
typedef struct hwm_twin {
    nn_tape* tape;
    const hwm_real* from;
    hwm_real* grad;
} hwm_twin;
nn_var hwm_twin_of(hwm_twin to, nn_var v);
hwm_layer_vars hwm_layer_twin(const hwm_layer_vars* v, hwm_twin to);
hwm_head_vars hwm_head_twin(const hwm_head_vars* v, hwm_twin to);
// precision: of products with the weight; codes: some of a layer's (of a head's first layer's)
// input are one-hot codes
void hwm_weight_prepare(nn_var w, int blocks, hwm_precision precision, bool codes, nn_tape* tape);
void hwm_layer_prepare(const hwm_layer_vars* v, hwm_precision precision, bool codes, nn_tape* tape);
void hwm_head_prepare(const hwm_head_vars* v, hwm_precision precision, bool codes, nn_tape* tape);
nn_var hwm_head_forward_parts(const hwm_head_vars* v, nn_tape* tape, nn_var x, nn_var shared);
nn_var hwm_head_forward(const hwm_head_vars* v, nn_tape* tape, nn_var x);
double hwm_head_macs(const hwm_head* h);  // multiply-adds of one row, forward

#endif
