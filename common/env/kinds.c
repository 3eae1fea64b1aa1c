// The list of environments.
#include <string.h>

#include "env/kind.h"

static const env_kind* const kinds[] = {
    &env_kind_cartpole,
    &env_kind_cartpole_balance,
    &env_kind_cartpole_swingup,
    &env_kind_quadruped,
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
