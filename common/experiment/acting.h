// data path  [2] controller: what acts in an experiment
//
// One answer to "who acts here" for workers, evaluation, the learner and the operator's commands: a
// controller with its rule (agent.kind hwm, es), a controller whose weights an agent changes
// (imagination.mode latent, agent.kind random), or an agent alone (agent.kind dreamer). Its
// parameters are one list under the set "controller": the controller's own first, then, where there
// is one, the agent's.
//
//   latent    x = [x_0, outputs, action, view of W] (agent.see_hidden: all activations)   u: dW
//   dreamer   x = observation / scale                                                     u: action
//
// Threads: one owner.
#ifndef HWM_EXPERIMENT_ACTING_H
#define HWM_EXPERIMENT_ACTING_H

#include "experiment/experiment.h"
#include "model/dreamer.h"
#include "plastic/rollout.h"

// The controller of an experiment whose environment is `spec`. obs_scale as hwm_controller_create
// takes it. Caller owns, free with hwm_controller_destroy.
hwm_status hwm_experiment_controller_for(const hwm_experiment* experiment, const hwm_env_spec* spec,
                                         const float* obs_scale, hwm_controller** controller,
                                         hwm_error* err);

// HWM_EINVAL where not the controller's rule but an agent changes its weights, or acts instead of
// it: what follows from the rule alone cannot be told of such a run.
hwm_status hwm_experiment_rule_acts(const hwm_experiment* experiment, hwm_error* err);

// What acts with such a controller by its rule: the controller's parameters and, where its
// modulator reads the world model's latent, what workers need of that model (model/observer.h).
void hwm_experiment_declare(const hwm_experiment* experiment, const hwm_controller* controller,
                            int obs, int action, hwm_param_list* list);

typedef struct hwm_acting hwm_acting;
// experiment: borrowed. E: environments it will act in; 0: only its lists and sizes. Caller owns,
// free with hwm_acting_destroy. HWM_EINVAL: the experiment's parts do not fit together.
hwm_status hwm_acting_create(hwm_acting** out, const hwm_experiment* experiment, int E,
                             hwm_error* err);
void hwm_acting_destroy(hwm_acting** acting);

const hwm_controller* hwm_acting_controller(const hwm_acting* acting);
const hwm_param_list* hwm_acting_params(const hwm_acting* acting);
void hwm_acting_signature(const hwm_acting* acting, int variant_dim, hwm_signature* signature);
// Does a recurrent agent act here, that is learned by the agent's update (learner/latent.h)?
bool hwm_acting_latent(const hwm_acting* acting);
const hwm_dreamer_config* hwm_acting_dreamer(const hwm_acting* acting);  // of that agent

// Parameters in the order of the list; only those beside the controller's are kept.
void hwm_acting_load(hwm_acting* acting, const float* phi);
// Let it act in this rollout, of E environments; nothing to do for a controller with its rule.
void hwm_acting_attach(hwm_acting* acting, hwm_rollout* rollout);
// Controls of an agent that changes weights: its updates zeroed; its numbers permuted, in the
// way-th of the ways that the seed draws.
void hwm_acting_control(hwm_acting* acting, bool zero, bool shuffle, uint64_t seed, int way);

// x (hwm_acting_dreamer()->obs) of one row: observation (O) raw, action (A), activations, view.
void hwm_acting_see(const hwm_acting* acting, const float* obs, const float* action,
                    const float* act, const float* view, float* x);

#endif
