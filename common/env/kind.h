// data path  [1] env
//
// What one kind of environment implements for a batch; env.c adds what all of them share (clipping,
// repeats, time limit, observation signs, hidden variants, threads). Private to common/env.
//
// Threads: step and observe may run at the same time on disjoint ranges; nothing else runs beside
// them.
#ifndef HWM_ENV_KIND_H
#define HWM_ENV_KIND_H

#include "base/rng.h"
#include "env/env_config.h"

enum { ENV_GO_ON = 0, ENV_TERMINATED = 1, ENV_DIVERGED = 2 };

typedef struct env_kind {
    const char* name;
    const char* help;  // one sentence for `hwm envs`
    // Fill spec for one control step per decision: sizes, names, scales, time_limit, control_dt;
    // state_dim and init_dim count the simulation's own numbers.
    hwm_status (*describe)(const hwm_env_config* config, hwm_env_spec* spec, hwm_error* err);
    hwm_status (*create)(void** self, const hwm_env_config* config, int count, hwm_error* err);
    void (*destroy)(void* self);
    void (*reset)(void* self, int i, hwm_rng* rng);
    // One control step of environments begin .. end-1 where active (NULL: all); what is not active
    // stays untouched.
    //   action (E,A) finite; continuous in [-1, 1]   reward (E) out   outcome (E) out   ENV_GO_ON,
    //   ...
    void (*step)(void* self, int begin, int end, const uint8_t* active, const float* action,
                 float* reward, uint8_t* outcome);
    void (*observe)(const void* self, int begin, int end, const uint8_t* active, float* obs);
    void (*get_state)(const void* self, int i, double* state);
    void (*set_state)(void* self, int i, const double* state);
} env_kind;

extern const env_kind env_kind_cartpole;

const env_kind* env_kind_find(const char* name);  // NULL: unknown

#endif
