// Experiment: every section of an experiment file, bound to the config structs of the modules. What the learner resolves and
// the server hands to each worker in its hello.
#ifndef HWM_EXPERIMENT_EXPERIMENT_H
#define HWM_EXPERIMENT_EXPERIMENT_H

#include "base/config.h"

typedef struct hwm_experiment hwm_experiment;

// path or text as in hwm_config_load.
hwm_status hwm_experiment_load(hwm_experiment** out, const char* path, const char* text,
                               const char* const* overrides, int n_overrides, hwm_error* err);
void hwm_experiment_destroy(hwm_experiment** experiment);
hwm_config_section* hwm_experiment_sections(hwm_experiment* experiment, int* n);

#endif
