// data path  [1] env
//
// A batch of E environments stepped in lock step. What an episode is (initial state, hidden
// variant, noise) is a function of (seed, global environment index, episode) alone.
#ifndef HWM_ENV_ENV_H
#define HWM_ENV_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/status.h"

typedef struct hwm_env_config hwm_env_config;  // env/env_config.h; section "env"
extern const hwm_config_table hwm_env_table;

typedef struct hwm_env_spec {
    char name[64];
    int obs_dim;
    int action_dim;  // discrete with two actions: 1, above 0 or not; with n > 2: n, argmax
    bool discrete;
    int n_actions;         // discrete only
    int time_limit;        // decisions per episode
    int action_repeat;     // simulator steps per decision; environment steps count repeats
    int variant_dim;       // hidden quantities recorded with the episode; 0: none
    int state_dim;         // doubles of get_state
    int init_dim;          // the first of them: what a person may set (positions, velocities)
    double control_dt;     // seconds per decision
    float obs_scale[512];  // fixed scale of each observation: the controller reads obs / scale
    float obs_low[512];  // range of the plain environment, before noise and signs; may be infinite
    float obs_high[512];
    char obs_name[512][24];
    char obs_unit[512][8];  // "m", "rad/s"; "" for a pure number
    char action_name[64][24];
    char variant_name[16][24];
} hwm_env_spec;

// What an environment of this configuration looks like, without creating one. HWM_EINVAL names what
// is wrong with the configuration.
hwm_status hwm_env_describe(const hwm_env_config* config, hwm_env_spec* spec, hwm_error* err);
// The environments built in: k = 0 .. count-1. Static strings.
int hwm_env_count(void);
const char* hwm_env_name(int k);
const char* hwm_env_help(int k);

// The folder that environment `plugin` may load shared objects from (env/plugin.h), for the whole
// process; NULL: that of HWM_PLUGIN_DIR, if any. Before the first environment is created or
// described. copied
void hwm_env_plugin_dir(const char* dir);

typedef struct hwm_envs hwm_envs;

// threads: stepping is spread over that many; results do not depend on it.
hwm_status hwm_envs_create(hwm_envs** out, const hwm_env_config* config, uint64_t seed,
                           uint32_t first_index, int count, int threads, hwm_error* err);
void hwm_envs_destroy(hwm_envs** envs);
const hwm_env_spec* hwm_envs_spec(const hwm_envs* envs);

// Begin episode `episode` of environment i (0 .. count-1). obs (O) is its first observation, raw
// (not yet divided by scale).
void hwm_envs_reset(hwm_envs* envs, int i, uint32_t episode, float* obs);

// One decision of every environment with active[i] != 0 (NULL: all). No automatic reset: the caller
// resets what has ended.
//   action (E,A)  continuous in [-1, 1] (clipped here) or as action_dim says   obs (E,O)   reward
//   (E) summed over the repeat terminated, truncated (E)   0 or 1. A simulation that diverges or a
//   NaN action ends the episode as truncated, counted: its reward is 0 and its row of obs stays as
//   the caller had it. Rows of inactive environments are not written.
void hwm_envs_step(hwm_envs* envs, const uint8_t* active, const float* action, float* obs,
                   float* reward, uint8_t* terminated, uint8_t* truncated);

// Hidden variant in force, (variant_dim) floats: recorded for analysis, never shown to the
// controller.
void hwm_envs_variant(const hwm_envs* envs, int i, float* variant);
// Force the variant of the next reset of environment i (evaluation per variant): NULL gives it back
// to chance.
void hwm_envs_force_variant(hwm_envs* envs, int i, const float* variant);
// The whole state, state_dim doubles: set_state(get_state) continues identically, in any
// environment of the same configuration and seed. The simulation's own numbers come first, so that
// the first init_dim may be replaced by hand. obs may be NULL.
void hwm_envs_get_state(const hwm_envs* envs, int i, double* state);
void hwm_envs_set_state(hwm_envs* envs, int i, const double* state, float* obs);
// How far ahead (m, along the world's x) the body of environment i is of the origin, where episodes
// begin to within reset_noise. NaN: an environment without a way to go.
double hwm_envs_ahead(const hwm_envs* envs, int i);
// rgb (height, width, 3), row 0 on top.
hwm_status hwm_envs_render(hwm_envs* envs, int i, int width, int height, uint8_t* rgb,
                           hwm_error* err);

#endif
