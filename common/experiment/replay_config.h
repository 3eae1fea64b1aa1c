// Section "replay": the table that an experiment creates on the server.
#ifndef HWM_EXPERIMENT_REPLAY_CONFIG_H
#define HWM_EXPERIMENT_REPLAY_CONFIG_H

#include "base/config.h"

typedef struct hwm_experience_config {
    int64_t capacity_steps;
    int64_t capacity_bytes;
    int compress;               // hwm_compress: which columns the workers compress
    int64_t max_times_sampled;  // of a start; 0: without limit
    double slack_updates;       // how many updates the learner may be ahead of or behind the ratio
    int selector;               // hwm_selector: uniform, prioritised, newest, oldest, online
    double fraction_recent;
    int64_t recent_steps;
    int64_t terminal_back_min, terminal_back_max;  // what "near a terminal" means, in decisions
} hwm_experience_config;
extern const hwm_config_table hwm_experience_table;

#endif
