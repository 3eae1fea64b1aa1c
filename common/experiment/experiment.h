// Experiment: every section of an experiment file, bound to the config structs of the modules. What
// the learner resolves and the server hands to each worker in its hello.
#ifndef HWM_EXPERIMENT_EXPERIMENT_H
#define HWM_EXPERIMENT_EXPERIMENT_H

#include "base/config.h"
#include "env/env_config.h"
#include "experiment/agent_config.h"
#include "experiment/replay_config.h"
#include "experiment/run_config.h"
#include "experiment/train_config.h"
#include "experiment/worker_config.h"
#include "model/model_config.h"
#include "plastic/controller_config.h"

enum { HWM_EXPERIMENT_SECTIONS = 12 };

typedef struct hwm_experiment {
    hwm_run_config run;
    hwm_env_config env;
    hwm_controller_config controller;
    hwm_rule_config rule;
    hwm_worker_config worker;
    hwm_experience_config replay;
    hwm_model_config model;
    hwm_imagination_config imagination;
    hwm_train_config train;
    hwm_evaluation_config evaluation;
    hwm_agent_config agent;
    hwm_evolution_config evolution;
    hwm_config_section section[HWM_EXPERIMENT_SECTIONS];
} hwm_experiment;

// path or text as in hwm_config_load; then the values are checked against each other.
// Returns HWM_EINVAL with every complaint, one a line, in err->text. Caller owns, free with
// hwm_experiment_destroy.
hwm_status hwm_experiment_load(hwm_experiment** out, const char* path, const char* text,
                               const char* const* overrides, int n_overrides, hwm_error* err);
void hwm_experiment_destroy(hwm_experiment** experiment);
// schedule: rounds. Rows that every environment takes with version `version` of the controller's
// parameters: the prefill with version 1, round_steps over all environments with every later one;
// a multiple of chunk_steps.
int64_t hwm_experiment_round_rows(const hwm_experiment* experiment, uint64_t version);
// Borrowed; for hwm_config_print and hwm_config_help.
hwm_config_section* hwm_experiment_sections(hwm_experiment* experiment, int* n);
// All values at their defaults, as --help and the sample files want them. NULL when out of memory.
hwm_experiment* hwm_experiment_defaults(void);

#endif
