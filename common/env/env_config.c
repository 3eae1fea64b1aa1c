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
};

const hwm_config_table hwm_env_table = {"env", "environment and its hidden variants", fields,
                                        sizeof fields / sizeof *fields};

void hwm_env_use_held_out(hwm_env_config* config) {
    config->variants = config->held_out;
}
