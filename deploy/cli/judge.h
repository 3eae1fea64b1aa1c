// Judging a checkpoint: the return of its controller over fresh episodes, and the controls that say
// what the number means: coefficients zeroed and shuffled, plasticity frozen after t steps, weights
// drawn again in mid-episode.
#ifndef HWM_CLI_JUDGE_H
#define HWM_CLI_JUDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"
#include "experiment/experiment.h"
#include "record/params.h"

typedef struct hwm_judge_request {
    int64_t episodes;
    int64_t seed;       // of the episodes; negative: drawn from evaluation.seed of the experiment,
                        // episodes that neither training nor the choice of the best has seen
    int64_t freeze_at;  // decisions; negative: never
    int64_t reset_at;   // decisions; negative: never
    bool shuffle_rule, zero_rule;
    int64_t variant;  // index of a hidden variant; negative: by chance
    bool controls;    // also the table of controls
    bool json;
    const char* in;    // experiment file whose environment to play in; NULL: the checkpoint's own
    const char* save;  // also write the JSON object to this file; NULL: no
} hwm_judge_request;
hwm_judge_request hwm_judge_default_request(void);

// path: a run directory or a checkpoint. Prints a table, or one JSON object, to out. HWM_ECLOSED: a
// signal asked to stop.
hwm_status hwm_judge_checkpoint(const char* path, const hwm_judge_request* request, FILE* out,
                                hwm_error* err);

// The experiment of a checkpoint and its controller's phi. Caller owns: hwm_checkpoint_close.
typedef struct hwm_checkpoint {
    char path[4096];  // of the checkpoint's directory
    hwm_experiment* experiment;
    hwm_param_list list;
    float* phi;  // (list.count)
} hwm_checkpoint;
hwm_status hwm_checkpoint_open(hwm_checkpoint* checkpoint, const char* path, hwm_error* err);
void hwm_checkpoint_close(hwm_checkpoint* checkpoint);

#endif
