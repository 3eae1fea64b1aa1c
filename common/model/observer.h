// data path  [2] controller: what a worker knows of the world model
//
// The part of a recurrent state-space model that follows what happens: encoder, recurrent step and
// posterior, over E environments in lock step, without gradient.
//
//   deter' = recur(deter, stoch, u);  stoch' ~ posterior(deter', encode(x))
//
// Its parameters are those of the world model under their own names; what only training needs
// (prior, decoder, heads) is not among them.
//
// Threads: one owner.
#ifndef HWM_MODEL_OBSERVER_H
#define HWM_MODEL_OBSERVER_H

#include "model/model_config.h"
#include "model/rssm.h"

typedef struct hwm_observer_config {
    hwm_rssm_sizes sizes;
    hwm_rssm_options options;
    int obs, action;
    bool unit;  // observations are divided by entry obs_unit of the model (model.kind rssm)
} hwm_observer_config;
// That of section "model" with kind rssm.
hwm_observer_config hwm_observer_of_model(const hwm_model_config* model, int obs, int action);

typedef struct hwm_observer hwm_observer;
// E environments. Caller owns, free with hwm_observer_destroy.
hwm_status hwm_observer_create(hwm_observer** out, const hwm_observer_config* config, int E,
                               hwm_error* err);
void hwm_observer_destroy(hwm_observer** observer);

// Appends the names and shapes of what observes to the list.
void hwm_observer_declare(const hwm_observer_config* config, hwm_param_list* list);
// Parameters from a block in the order of a list that declare wrote to; others on the list are left
// alone.
void hwm_observer_load(hwm_observer* observer, const hwm_param_list* list, const float* values);

// An episode of environment i begins: the state is zero.
void hwm_observer_begin(hwm_observer* observer, int i);
// true: the tape was begun anew, and whoever keeps values on it binds them again. Before every
// step.
bool hwm_observer_renew(hwm_observer* observer);
// One step of all environments. x (E,O); action (E,A): the one taken before x; draws (E,S) uniform
// numbers for the latents. The state is on the tape until the next renew.
hwm_rssm_state hwm_observer_step(hwm_observer* observer, const float* x, const hwm_real* action,
                                 const float* draws);
nn_tape* hwm_observer_tape(hwm_observer* observer);
int hwm_observer_variables(const hwm_observer* observer);      // S
int hwm_observer_features(const hwm_observer_config* config);  // deter and stoch together

#endif
