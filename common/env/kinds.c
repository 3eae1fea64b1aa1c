// The list of environments.
#include <stdio.h>
#include <string.h>

#include "env/kind.h"

static const env_kind* const kinds[] = {
    &env_kind_cartpole,  // clang-format off: one a line
    &env_kind_pendulum,
    &env_kind_acrobot,
    &env_kind_sequence,
    &env_kind_cartpole_balance,
    &env_kind_cartpole_swingup,
    &env_kind_pendulum_swingup,
    &env_kind_quadruped,
    &env_kind_halfcheetah,
    &env_kind_hopper,
    &env_kind_walker,
    &env_kind_mjcf,
    &env_kind_plugin,  // clang-format on
};

const env_kind* env_kind_find(const char* name) {
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (strcmp(kinds[k]->name, name) == 0) {
            return kinds[k];
        }
    }
    return NULL;
}

int hwm_env_count(void) {
    return (int)(sizeof kinds / sizeof *kinds);
}

const char* hwm_env_name(int k) {
    return kinds[k]->name;
}

const char* hwm_env_help(int k) {
    return kinds[k]->help;
}

void env_spec_obs(hwm_env_spec* spec, const char* name, const char* unit, double scale, double low,
                  double high) {
    int o = spec->obs_dim++;
    HWM_ASSERT(o < (int)(sizeof spec->obs_scale / sizeof spec->obs_scale[0]));
    snprintf(spec->obs_name[o], sizeof spec->obs_name[o], "%s", name);
    snprintf(spec->obs_unit[o], sizeof spec->obs_unit[o], "%s", unit);
    spec->obs_scale[o] = (float)scale;
    spec->obs_low[o] = (float)low;
    spec->obs_high[o] = (float)high;
}
