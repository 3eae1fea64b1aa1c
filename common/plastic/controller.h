// data path  [2] controller
//
// A plastic controller: a small network whose weights change at every step by a local rule. Workers
// act with it, the learner imagines with it: the same kernels, forward and backward.
//
//   x_0 = input;  x_l = tanh(W_l x_{l-1});  a = x_L;  then, with u the action really taken,  W <-
//   bound(W + dW(rule))
//
// CELLS  mlp as above; recurrent: hidden layers also read their own x_l of the previous step,
// x_l = tanh(W_l x_{l-1} + R_l x_l'). R_l is one more matrix that any rule may change.
// BATCH LAYOUT  Samples (environments, or imagined rollouts) stand side by side: every batched
// array is blocked in lanes of
//   HWM_LANES = 16 samples, [ceil(B/16)][features][16], so that one sample's arithmetic is the same
//   in every lane, at every instruction set and in every batch: sums run over features in ascending
//   order, nothing is fused or reassociated. Lanes beyond B are computed and ignored (keep them
//   finite: zero). hwm_lanes_pack/unpack convert from and to (B, features) rows.
// STATE  per sample: the weights of every plastic layer, then what the rule needs (traces, W_0,
// running means, update phase). COEFFICIENTS  phi is the flat parameter block (float32 when
// published); `coef` is what the kernels read, derived once per
//   version by hwm_controller_prepare (as eta*A), with the chain rule back in
//   hwm_controller_prepare_backward.
// INVERTIBLE RULES  learn_backward recovers the state before the step from the state after it and
// the scale m of the bound;
//   other rules want the stored state (hwm_controller_invertible).
#ifndef HWM_PLASTIC_CONTROLLER_H
#define HWM_PLASTIC_CONTROLLER_H

#include <stdbool.h>

#include "base/config.h"
#include "base/real.h"
#include "base/rng.h"
#include "record/chunk.h"
#include "record/params.h"

enum { HWM_LANES = 16 };

typedef struct hwm_controller_config
    hwm_controller_config;  // plastic/controller_config.h; section "controller"
typedef struct hwm_rule_config hwm_rule_config;  // section "rule"
extern const hwm_config_table hwm_controller_table;
extern const hwm_config_table hwm_rule_table;

typedef struct hwm_controller
    hwm_controller;  // immutable after create: sizes, offsets, the rule's kernels

// obs_scale (obs_dim): the controller reads obs / scale. discrete: the output is turned into +-1
// (sign) or one-hot (argmax).
hwm_status hwm_controller_create(hwm_controller** out, const hwm_controller_config* controller,
                                 const hwm_rule_config* rule, int obs_dim, const float* obs_scale,
                                 int action_dim, bool discrete, hwm_error* err);
void hwm_controller_destroy(hwm_controller** controller);

const hwm_param_list* hwm_controller_params(const hwm_controller* c);  // phi: names, shapes
// Is this entry of phi a coefficient of the rule (A .. E): what shuffled and zeroed controls
// change.
bool hwm_controller_is_coefficient(const hwm_controller* c, int entry);
// Is this entry optimised? Not: input.delta_scale, which shared rule a synapse follows, static
// layers that stay random.
bool hwm_controller_is_learned(const hwm_controller* c, int entry);
// input.delta_scale inside phi; NULL where the controller has no input d.
const hwm_real* hwm_controller_delta_scale(const hwm_controller* c, const hwm_real* phi);
int hwm_controller_inputs(const hwm_controller* c);       // features of x_0
int hwm_controller_activations(const hwm_controller* c);  // features of x_0 .. x_L
int hwm_controller_outputs(const hwm_controller* c);
int hwm_controller_state_size(const hwm_controller* c);  // reals per sample
int hwm_controller_coef_count(const hwm_controller* c);
// Reals that learn records per step and sample for its backward: the scale m of the bound, and the
// traces of mod3 before the step.
int hwm_controller_scales(const hwm_controller* c);
bool hwm_controller_invertible(const hwm_controller* c);
bool hwm_controller_differentiable(const hwm_controller* c);
// Key frame: named tensors that tile the state in order. specs (n <= HWM_KEYS_MAX).
int hwm_controller_keys(const hwm_controller* c, hwm_tensor_spec* specs);

// What a table of this controller's chunks holds; variant_dim 0: no such column.
void hwm_controller_signature(const hwm_controller* c, int variant_dim, hwm_signature* signature);

// Initial phi as configured (A..D ~ N(0, phi_std^2), eta, W_0 mean, static layers, modulator).
void hwm_controller_init(const hwm_controller* c, hwm_rng* rng, hwm_real* phi);
// Means of initial weights (controller.weights_mean) where no rule learns them: hidden layers
// of a fixed network, drawn like static ones. The outputs' stay 0 as hwm_controller_init leaves
// them: it prefers no action.
void hwm_controller_draw_means(const hwm_controller* c, hwm_rng* rng, hwm_real* phi);
void hwm_controller_prepare(const hwm_controller* c, const hwm_real* phi, hwm_real* coef);
void hwm_controller_prepare_backward(const hwm_controller* c, const hwm_real* phi,
                                     const hwm_real* coef, const hwm_real* g_coef,
                                     hwm_real* g_phi);  // g_phi +=

size_t hwm_lanes_size(int batch, int features);  // reals, whole blocks
void hwm_lanes_pack(hwm_real* lanes, const hwm_real* rows, int batch, int features);
void hwm_lanes_unpack(hwm_real* rows, const hwm_real* lanes, int batch, int features);
void hwm_lanes_pack_float(hwm_real* lanes, const float* rows, int batch, int features);
void hwm_lanes_unpack_float(float* rows, const hwm_real* lanes, int batch, int features);
// One sample from or to a row of `features` floats.
void hwm_lanes_set(hwm_real* lanes, int sample, int features, const float* row);
void hwm_lanes_get(const hwm_real* lanes, int sample, int features, float* row);

// Fresh state of one sample at an episode's start (draws W_0).
void hwm_controller_reset(const hwm_controller* c, const hwm_real* coef, hwm_rng* rng,
                          hwm_real* state, int sample);
// The same in mid-episode: fresh weights, while the activity of recurrent layers stays.
void hwm_controller_renew(const hwm_controller* c, const hwm_real* coef, hwm_rng* rng,
                          hwm_real* state, int sample);
// Let the sample's episode follow the naive rule (rule.naive; draws its constants), which learn
// then applies to it alone; a rule without gradient. clear: back to the rule that is learned
// (imagination that starts from such a state).
void hwm_controller_naive(const hwm_controller* c, hwm_rng* rng, hwm_real* state, int sample);
void hwm_controller_clear_naive(const hwm_controller* c, hwm_real* state, int sample);
// Backward of reset where the mean of W_0 is learned: g_coef += the gradient of the samples with
// fresh = 1, lanes [blocks][1][16].
void hwm_controller_reset_backward(const hwm_controller* c, int batch, const hwm_real* fresh,
                                   const hwm_real* g_state, hwm_real* g_coef);
// x_0 from the observation and, where configured, its change, the previous action, the previous
// reward, a constant: arrays in lanes, obs raw. first: lanes [blocks][1][16], 1 at the first step
// of an episode. The change is (o - o') / (obs_scale * delta_scale), delta_scale (O) in units of
// the scaled observation. previous_reward: mean over the repeats of the previous action.
void hwm_controller_input(const hwm_controller* c, int batch, const hwm_real* obs,
                          const hwm_real* previous_obs, const hwm_real* delta_scale,
                          const hwm_real* previous_action, const hwm_real* previous_reward,
                          const hwm_real* first, hwm_real* act);
// One of A actions that u in [0, 1) picks with p_k = w_k / sum_j w_j, w_k = HWM_CHOICE_FLOOR + a_k:
// for two outputs a and -a the (1 + a) / 2 of sign actions.
#define HWM_CHOICE_FLOOR 1.001f
int hwm_controller_choose(const float* a, int A, float u);
// Forward: act holds x_0 on entry and x_0 .. x_L on return.
void hwm_controller_act(const hwm_controller* c, const hwm_real* coef, int batch,
                        const hwm_real* state, hwm_real* act);
// Modulator latent: numbers in the latent z that M reads; 0: this controller's modulator is
// another.
int hwm_controller_latent(const hwm_controller* c);
// The weights m (latent) of M = tanh(m . z) inside coef; inside phi, entry "modulator.latent".
const hwm_real* hwm_controller_latent_weights(const hwm_controller* c, const hwm_real* coef);
// M of every sample into act, between act and learn. z: rows `stride` apart, which begin with the
// latent.
void hwm_controller_modulate(const hwm_controller* c, const hwm_real* m, int batch,
                             const hwm_real* z, int stride, hwm_real* act);
// Its backward, behind that of learn: g_coef, and g_z (rows as z; may be NULL) +=.
void hwm_controller_modulate_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                      const hwm_real* z, int stride, const hwm_real* act,
                                      const hwm_real* g_act, hwm_real* g_z, hwm_real* g_coef);
// One plastic step in place. u (outputs): action really taken. scale (scales), may be NULL. active:
// lanes [blocks][1][16], 0 leaves a sample untouched; NULL: all.
void hwm_controller_learn(const hwm_controller* c, const hwm_real* coef, int batch,
                          const hwm_real* act, const hwm_real* u, const hwm_real* active,
                          hwm_real* state, hwm_real* scale);

// A step without plasticity (frozen weights): only the activity of recurrent layers goes on. active
// as for learn.
void hwm_controller_go_on(const hwm_controller* c, int batch, const hwm_real* act,
                          const hwm_real* active, hwm_real* state);

// Backward of learn. state: after the step on entry, before it on return: recovered (invertible
// rules), or copied from `before`, where that is given. g_state: dL/d(state after) on entry,
// dL/d(state before) on return. g_act, g_u, g_coef: +=.
void hwm_controller_learn_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                   const hwm_real* act, const hwm_real* u, const hwm_real* scale,
                                   hwm_real* state, const hwm_real* before, hwm_real* g_state,
                                   hwm_real* g_act, hwm_real* g_u, hwm_real* g_coef);
// Backward of act. g_act: dL/dx_0..x_L on entry; on return its x_0 part is complete. g_state,
// g_coef: +=.
void hwm_controller_act_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                 const hwm_real* state, const hwm_real* act, hwm_real* g_act,
                                 hwm_real* g_state, hwm_real* g_coef);
// Backward of input: g_obs, g_previous_obs, g_previous_action, g_previous_reward +=.
void hwm_controller_input_backward(const hwm_controller* c, int batch, const hwm_real* delta_scale,
                                   const hwm_real* first, const hwm_real* g_act, hwm_real* g_obs,
                                   hwm_real* g_previous_obs, hwm_real* g_previous_action,
                                   hwm_real* g_previous_reward);

#endif
