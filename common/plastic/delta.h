// data path  [2] controller: weight updates that an agent chooses
//
// The literal reading of imagined plasticity: the action u of an agent is the weight update. What u
// stands for is its parametrisation, over all plastic synapses of a controller (n of them):
//
//   direct   dW = eta u                                          K = n
//   basis    dW = eta / sqrt(K) sum_k u_k P_k                    P_k fixed, random, N(0, 1/Q) each
//   layer    dW_ij = eta (u1 pre post + u2 pre + u3 post + u4)   four numbers per layer
//   neuron   dW_ij = eta u_i pre_j                               one per post-synaptic neuron
//   lowrank  dW = eta sum_r a_r b_r'                             rank (P + Q) per layer
//
// u is clipped to [-1, 1]. Then W <- bound(W + dW) as the rule's section says: none, clip (of a
// basis: the coefficients of W, within +-w_max) or max_norm. What the agent sees of W is its view:
// W / w_max where there are few synapses, coefficients / w_max of a basis, or projections on 16
// fixed random directions.
//
// The bases are functions of the seed: every program has the same ones.
#ifndef HWM_PLASTIC_DELTA_H
#define HWM_PLASTIC_DELTA_H

#include "plastic/controller.h"

#define HWM_DELTA_CHOICES "direct|basis|layer|neuron|lowrank"
typedef enum hwm_delta_kind {
    HWM_DELTA_DIRECT,
    HWM_DELTA_BASIS,
    HWM_DELTA_LAYER,
    HWM_DELTA_NEURON,
    HWM_DELTA_LOWRANK,
} hwm_delta_kind;

typedef struct hwm_delta_config {
    int kind;         // hwm_delta_kind
    int basis, rank;  // K of basis; r of lowrank
    double eta, w_max;
    int bound;  // hwm_bound: none, clip, max_norm
    uint64_t seed;
} hwm_delta_config;

typedef struct hwm_delta hwm_delta;
// controller: borrowed. HWM_EINVAL: no plastic synapses, or a bound that has no meaning here.
hwm_status hwm_delta_create(hwm_delta** out, const hwm_controller* controller,
                            const hwm_delta_config* config, hwm_error* err);
void hwm_delta_destroy(hwm_delta** delta);
int hwm_delta_inputs(const hwm_delta* delta);    // K: numbers of u
int hwm_delta_view(const hwm_delta* delta);      // V: numbers of the view
int hwm_delta_synapses(const hwm_delta* delta);  // n

// state (state size), act (activations): of one sample, as rows. view (V).
void hwm_delta_see(const hwm_delta* delta, const float* state, float* view);
// One step of the sample's weights, in place.
void hwm_delta_apply(const hwm_delta* delta, const float* act, const float* u, float* state);

#endif
