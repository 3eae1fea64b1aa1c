// Section "env" of an experiment: which environment, how its actions repeat, which hidden variants
// it draws.
#ifndef HWM_ENV_ENV_CONFIG_H
#define HWM_ENV_ENV_CONFIG_H

#include "env/env.h"

typedef enum hwm_obs_sign { HWM_OBS_SIGN_NONE, HWM_OBS_SIGN_EXPERIMENT } hwm_obs_sign;

typedef enum hwm_env_set { HWM_ENV_DEFAULT, HWM_ENV_ANTBULLET, HWM_ENV_GYMNASIUM } hwm_env_set;

typedef enum hwm_env_sequence { HWM_ENV_PREDICT, HWM_ENV_RECALL } hwm_env_sequence;

struct hwm_env_config {
    char name[HWM_CONFIG_STRING_MAX];
    int obs_sign;             // hwm_obs_sign
    int64_t experiment_seed;  // draws what is constant in an experiment, whatever seed the episodes
                              // have
    int64_t action_repeat;    // simulator control steps per decision
    int64_t time_limit;  // control steps per episode (repeats counted); 0: the environment's own
    hwm_string_list variants;  // hidden variants that episodes draw; grammar in env/variant.h
    hwm_string_list held_out;  // those kept for evaluation

    // sequence
    int sequence;  // hwm_env_sequence
    int64_t symbols;
    int64_t cues, delay;  // recall: symbols of a trial, empty steps before they are asked for

    char plugin[HWM_CONFIG_STRING_MAX];  // base name of the shared object

    // MuJoCo
    char mjcf[HWM_CONFIG_STRING_MAX];  // the user's model
    int64_t frame_skip;                // simulator steps per control step, 0: the environment's own
    hwm_string_list observe;           // mjcf: what is seen
    double alive_low,
        alive_high;  // m, mjcf: height of the first body outside which an episode ends; equal: none
    double gear;     // of every actuator, 0: the model's own
    int observation;        // hwm_env_set: quadruped
    int reward;             // hwm_env_set: quadruped
    double reward_forward;  // per m/s
    double reward_alive;    // per step; quadruped: times the cosine of its tilt
    double reward_control;  // times mean u^2, taken away
    double reset_noise;     // m, rad and m/s, rad/s
    int64_t fall_steps;     // quadruped: control steps upside down that end an episode, 0: none do
};

// The same environment with the held-out variants in the place of the trained ones.
void hwm_env_use_held_out(hwm_env_config* config);

#endif
