// A batch of environments from inside: what env.c and effect.c share. Private to common/env.
#ifndef HWM_ENV_BATCH_H
#define HWM_ENV_BATCH_H

#include "base/metrics.h"
#include "env/kind.h"
#include "env/pool.h"
#include "env/variant.h"

// A saved state is: the simulation's numbers; these; value, decision and part of every rule; the
// actions under way.
enum { SAVED_STREAM, SAVED_EPISODE, SAVED_DECISION, SAVED_COUNT };
enum { SAVED_PER_RULE = 3 };

typedef struct env_episode {
    uint32_t stream;    // global environment index: names the random streams
    uint32_t number;    // of the episode in its stream
    uint32_t decision;  // decisions taken so far
} env_episode;

// What the variants of an episode do to actions and observations now.
typedef struct env_effect {
    float flip;            // +-1
    float noise;           // observation scales
    uint32_t delay;        // decisions
    uint32_t next_change;  // decision at which a rule comes into force; UINT32_MAX: none
} env_effect;

struct hwm_envs {
    hwm_env_spec spec;
    const env_kind* kind;
    void* sim;
    env_pool* pool;
    uint64_t seed;
    uint64_t experiment_seed;
    int count;    // E
    int repeat;   // control steps per decision
    int sim_dim;  // doubles of the simulation's own state

    env_episode* at;   // (E)
    float* action;     // (E,A) finite and clipped, then as it acts
    float* part;       // (E) reward of one control step
    uint8_t* outcome;  // (E)
    uint8_t* live;     // (E) still stepping in this decision
    uint8_t* moved;    // (E) has a new observation

    bool signs;          // observation signs are mixed
    size_t sign_stride;  // O where every environment has its own signs, else 0
    float* sign_base;    // (O) of the experiment, +-1
    float* sign;         // (E,O) or (O) in force, +-1

    env_variant_set variants;
    env_variant_draw* draw;  // (E, rules)
    env_effect* effect;      // (E)
    uint8_t* forced;         // (E) the next reset takes its variant from force
    float* force;            // (E, columns)
    int ring;                // actions kept per environment: longest delay + 1, or 0
    float* pending;          // (E, ring, A) action of decision t stands in slot t % ring

    hwm_metric* nan_actions;
    hwm_metric* diverged;
};

// effect.c: what the variants do.
int env_saved_size(const env_variant_set* set, int action_dim);
hwm_status env_effects_create(hwm_envs* e, const hwm_env_config* config, hwm_error* err);
void env_effects_destroy(hwm_envs* e);
// Draw the variants of the episode that environment i begins.
void env_effects_reset(hwm_envs* e, int i);
// Bring everything that the variants of environment i change up to date with its decision.
void env_effects_apply(hwm_envs* e, int i);
// What acts is what was decided some decisions ago, flipped where the variant says so.
void env_effects_on_actions(hwm_envs* e, int begin, int end);
// What the controller sees of an observation: noise first, then signs.
void env_effects_on_observation(const hwm_envs* e, int i, float* row);
void env_effects_save(const hwm_envs* e, int i, double* saved);
void env_effects_restore(hwm_envs* e, int i, const double* saved);

#endif
