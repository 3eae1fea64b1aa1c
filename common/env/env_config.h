// Section "env" of an experiment: which environment, how its actions repeat, which hidden variants
// it draws.
#ifndef HWM_ENV_ENV_CONFIG_H
#define HWM_ENV_ENV_CONFIG_H

#include "env/env.h"

typedef enum hwm_obs_sign { HWM_OBS_SIGN_NONE, HWM_OBS_SIGN_EXPERIMENT } hwm_obs_sign;

struct hwm_env_config {
    char name[HWM_CONFIG_STRING_MAX];
    int obs_sign;             // hwm_obs_sign
    int64_t experiment_seed;  // draws what is constant in an experiment, whatever seed the episodes
                              // have
    int64_t action_repeat;    // simulator control steps per decision
    int64_t time_limit;  // control steps per episode (repeats counted); 0: the environment's own
    hwm_string_list variants;  // hidden variants that episodes draw; grammar in env/variant.h
    hwm_string_list held_out;  // those kept for evaluation
};

// The same environment with the held-out variants in the place of the trained ones.
void hwm_env_use_held_out(hwm_env_config* config);

#endif
