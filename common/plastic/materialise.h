// Materialising: the full tuples (pre, post, W, dW, W') of stored steps, by replaying the rule from
// a chunk's key frame over its stored activations. What comes out is what the worker had, to the
// last bit.
#ifndef HWM_PLASTIC_MATERIALISE_H
#define HWM_PLASTIC_MATERIALISE_H

#include "plastic/controller.h"

typedef struct hwm_materialiser hwm_materialiser;  // scratch for one controller

hwm_status hwm_materialiser_create(hwm_materialiser** out, const hwm_controller* controller,
                                   hwm_error* err);
void hwm_materialiser_destroy(hwm_materialiser** materialiser);

// State (state_size floats, order of hwm_controller_keys) before the row that is `rows` rows behind
// `key`, the state before the first of them. act (rows, activations), action (rows, outputs), flags
// (rows): stored columns, may be unaligned; coef as prepared from the version that acted. state may
// be key.
void hwm_materialise(hwm_materialiser* m, const hwm_real* coef, const float* key, const void* act,
                     const void* action, const uint8_t* flags, int rows, float* state);

// Where a layer's parts stand: post in a row of activations (features), W (miconi: Hebb) in the
// state (floats), pre in either.
typedef struct hwm_layer_view {
    const char* name;  // layer1 .., recurrent1 ..: borrowed from the controller
    bool plastic;
    bool recurrent;  // pre stands in the state: post of the previous step
    int P, Q;
    size_t pre, post, w;
} hwm_layer_view;
// Layers, then recurrent connections.
int hwm_controller_layers(const hwm_controller* c);
hwm_layer_view hwm_controller_layer(const hwm_controller* c, int l);
// Where the running mean of the reward stands in the state, that the network rule and modulator
// `reward` read; -1 where there is none.
int hwm_controller_reward_mean(const hwm_controller* c);
// (P,Q,4) coefficients a, b, c, d of a plastic layer inside coef (miconi: W, alpha, eta, 0); NULL
// where the rule has none.
const hwm_real* hwm_controller_planes(const hwm_controller* c, const hwm_real* coef, int l);

#endif
