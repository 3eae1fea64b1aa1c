// Section "run": what the run is, how long it lasts and what it writes.
#ifndef HWM_EXPERIMENT_RUN_CONFIG_H
#define HWM_EXPERIMENT_RUN_CONFIG_H

#include "base/config.h"

typedef enum hwm_schedule { HWM_SCHEDULE_ASYNC, HWM_SCHEDULE_ROUNDS } hwm_schedule;

typedef struct hwm_run_config {
    char name[HWM_CONFIG_STRING_MAX];  // of the experiment and its replay table
    int64_t seed;
    int64_t max_env_steps;  // ends after as many; 0: never
    int64_t max_updates;    // 0: no limit
    double max_minutes;     // wall time; 0: no limit
    double stop_return;     // ends when the best evaluation reaches it; 0: never
    int64_t stop_count;     // ... as many evaluations in a row
    int schedule;           // hwm_schedule
    int64_t round_steps;    // rounds: environment steps of one round, all workers together
    double report_interval_s;
    double checkpoint_interval_s;
    int64_t checkpoint_every_steps;  // also a step-N checkpoint every so many environment steps; 0:
                                     // none
    int64_t workers;                 // local workers that `hwm train` starts
    int64_t learner_threads;
} hwm_run_config;
extern const hwm_config_table hwm_run_table;

#endif
