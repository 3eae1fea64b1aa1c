// The configuration table of section "env".
#include "env/env_config.h"

#define FIELD(name, type, text, lo, hi, choices, help)                                             \
    { #name, HWM_CONFIG_##type, offsetof(hwm_env_config, name), text, lo, hi, choices, help }

static const hwm_config_field fields[] = {
    FIELD(name, STRING, "cartpole", 1, 63, NULL, "environment; `hwm envs` lists them"),
    FIELD(obs_sign, ENUM, "none", 0, 0, "none|experiment",
          "mix the signs of the observation, once for the whole experiment"),
    FIELD(experiment_seed, INT, "0", 0, 9007199254740992.0, NULL,
          "seed of what is constant in an experiment (observation signs), whatever the run's seed"),
    FIELD(action_repeat, INT, "1", 1, 64, NULL, "control steps of the simulator per decision"),
    FIELD(time_limit, INT, "0", 0, 10000000, NULL,
          "control steps per episode, repeats counted; 0: the environment's own"),
    FIELD(variants, STRINGS, "[]", 0, 0, NULL,
          "hidden variants, each NAME[:PART][=VALUE|=LOW..HIGH] [p=CHANCE] "
          "[t=DECISION|t=FROM..TO]; names: flip gain "
          "delay mass friction sensor_noise obs_sign damage"),
    FIELD(held_out, STRINGS, "[]", 0, 0, NULL,
          "variants that no training episode draws, for evaluation; written as variants"),
    FIELD(sequence, ENUM, "predict", 0, 0, "predict|recall",
          "environment sequence: predict the next symbol of a cycle, or recall symbols after a "
          "delay"),
    FIELD(symbols, INT, "4", 3, 32, NULL, "environment sequence: how many symbols"),
    FIELD(cues, INT, "2", 1, 64, NULL, "environment sequence, recall: symbols of a trial"),
    FIELD(delay, INT, "5", 0, 10000, NULL, "environment sequence, recall: empty steps of a trial"),
    FIELD(plugin, STRING, "", 0, 63, NULL,
          "environment plugin: base name of a shared object in --plugin-dir"),
    FIELD(mjcf, STRING, "", 0, 255, NULL, "environment mjcf: path of a MuJoCo model file"),
    FIELD(gear, REAL, "0", 0, 1000000, NULL,
          "MuJoCo: gear of every actuator (N m or N); 0: the model's own (quadruped: 50)"),
    FIELD(observation, ENUM, "default", 0, 0, "default|antbullet|gymnasium",
          "quadruped: 29 egocentric, 28 as AntBullet, 27 as Gymnasium's Ant"),
    FIELD(reward, ENUM, "default", 0, 0, "default|antbullet|gymnasium", "quadruped: which reward"),
    FIELD(reward_forward, REAL, "1", -1000, 1000, NULL, "reward per m/s of forward velocity"),
    FIELD(reward_alive, REAL, "1", -1000, 1000, NULL,
          "reward per control step while alive; quadruped: times the cosine of its tilt"),
    FIELD(reward_control, REAL, "0.1", 0, 1000, NULL, "reward taken away per mean squared action"),
    FIELD(reset_noise, REAL, "-1", -1, 1, NULL,
          "walking bodies and mjcf: size of the initial noise on positions and velocities; below "
          "0: the environment's own"),
    FIELD(frame_skip, INT, "0", 0, 1000, NULL,
          "MuJoCo: simulator steps per control step; 0: the environment's own (mjcf: 5)"),
    FIELD(observe, STRINGS, "[posture, qvel]", 0, 0, "qpos|posture|qvel|act|sensors",
          "environment mjcf: what is observed; posture is qpos without the place on the plane"),
    FIELD(alive_low, REAL, "0", -1000, 1000, NULL,
          "environment mjcf: height (m) of the first moving body below which an episode ends, "
          "where alive_high is above it"),
    FIELD(alive_high, REAL, "0", -1000, 1000, NULL,
          "environment mjcf: height (m) above which an episode ends"),
    FIELD(
        fall_steps, INT, "20", 0, 100000, NULL,
        "quadruped: control steps upside down after which an episode ends as a terminal; 0: never"),
};

const hwm_config_table hwm_env_table = {"env", "environment and its hidden variants", fields,
                                        sizeof fields / sizeof *fields};

void hwm_env_use_held_out(hwm_env_config* config) {
    config->variants = config->held_out;
}
