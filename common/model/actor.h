// data path  [2] controller: a latent agent at work
//
// The part of a DreamerV3 agent that acts: encoder, recurrent step, posterior and policy, over E
// environments in lock step, without gradient.
//
//   deter' = recur(deter, stoch, u);  stoch' ~ posterior(deter', encode(x));  u' ~ policy(deter',
//   stoch')
//
// Its parameters are those of the world model and the policy under their own names; what only
// training needs (prior, decoder, heads, value) is not among them.
//
// Threads: one owner.
#ifndef HWM_MODEL_ACTOR_H
#define HWM_MODEL_ACTOR_H

#include "model/dreamer.h"

typedef struct hwm_actor hwm_actor;
// config: as the trained agent's. E environments. Caller owns, free with hwm_actor_destroy.
hwm_status hwm_actor_create(hwm_actor** out, const hwm_dreamer_config* config, int E,
                            hwm_error* err);
void hwm_actor_destroy(hwm_actor** actor);

// Appends the names and shapes of what acts to the list.
void hwm_actor_declare(const hwm_dreamer_config* config, hwm_param_list* list);
// Parameters from a block in the order of a list that hwm_actor_declare wrote to; others on the
// list are left alone.
void hwm_actor_load(hwm_actor* actor, const hwm_param_list* list, const float* values);
// The same from the agent in training, into such a block.
void hwm_actor_export(hwm_dreamer* dreamer, const hwm_param_list* list, float* values);

// An episode of environment i begins: state and last action zero.
void hwm_actor_begin(hwm_actor* actor, int i);
// One step of all environments. x (E,O); draws (E,S) uniform numbers for the latents; noise (E,A):
// standard normal, or uniform where actions are discrete; NULL: the mean, or the likelier one.
// u (E,A) out; it is remembered as the last action.
void hwm_actor_step(hwm_actor* actor, const float* x, const float* draws, const float* noise,
                    float* u);
int hwm_actor_variables(const hwm_actor* actor);  // S

#endif
