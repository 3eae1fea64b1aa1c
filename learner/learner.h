// data path  [8] learner
//
// The training loop: prefill, warm-up of the world model, then sample -> world model -> imagination
// -> publish, until the run is over or somebody asks for a stop. The server's limiter is the only
// throttle.
#ifndef HWM_LEARNER_LEARNER_H
#define HWM_LEARNER_LEARNER_H

#include <stdbool.h>

typedef struct hwm_learner_options {
    const char* server;   // endpoint
    const char* key_dir;  // NULL: plain text
    bool insecure;
    const char* experiment;  // file
    const char* run_dir;     // created; holds checkpoints, metrics.jsonl, config.yaml
    const char* const* set;  // overrides "section.name=value"
    int n_set;
} hwm_learner_options;

// The program's exit status: 0 the run is over or was stopped cleanly, 2 the configuration is
// wrong, 1 anything else. Says why on stderr. The same run directory resumes.
int hwm_learner_run(const hwm_learner_options* options);

#endif
