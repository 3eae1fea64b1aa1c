// What the environment tests share: a configuration in one line and a hash of what a rollout
// returns.
#ifndef HWM_TESTS_ENV_FIXTURE_H
#define HWM_TESTS_ENV_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// after the four above
#include <cmocka.h>

#include "base/rng.h"
#include "env/env_config.h"

static inline hwm_env_config fixture_config(const char* name) {
    hwm_env_config config = {0};
    hwm_config_section section = {.table = &hwm_env_table, .target = &config};
    hwm_config_defaults(&section, 1);
    snprintf(config.name, sizeof config.name, "%s", name);
    return config;
}

static inline hwm_envs* fixture_envs(const hwm_env_config* config, uint64_t seed, uint32_t first,
                                     int count, int threads) {
    hwm_error err = {.text = ""};
    hwm_envs* envs = NULL;
    hwm_status code = hwm_envs_create(&envs, config, seed, first, count, threads, &err);
    if (code != HWM_OK) {
        fail_msg("%s: %s", config->name, err.text);
    }
    return envs;
}

// FNV-1a over bytes
static inline uint64_t fixture_hash(uint64_t h, const void* data, size_t bytes) {
    const uint8_t* p = data;
    for (size_t k = 0; k < bytes; k++) {
        h = (h ^ p[k]) * 0x100000001b3u;
    }
    return h;
}

#endif
