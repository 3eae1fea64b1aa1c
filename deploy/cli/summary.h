// One row of a table over the runs of an experiment with several seeds.
#ifndef HWM_CLI_SUMMARY_H
#define HWM_CLI_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>

// What a run has to tell; NAN where it has not written it. Where the task has a way to go, figures
// of episodes are forward velocities in m/s, otherwise returns.
enum { HWM_SUMMARY_CONTROLS = 10 };
typedef struct hwm_summary_run {
    char experiment[64];
    double wall_s, passed_at;  // s; env steps after which evaluation first reached the threshold
    double eval_env_steps;     // simulated to judge checkpoints while training; never trained on
    double value;              // mean over the episodes
    double worst;              // mean of the worst hidden variant; NAN without variants
    double control[HWM_SUMMARY_CONTROLS];
    bool velocity;
} hwm_summary_run;

// Two lines: the head of the table.
void hwm_summary_head(void);
// name: of the row, NULL: the runs' experiment. command: what repeats it, or NULL.
void hwm_summary_row(const hwm_summary_run* run, int n, double threshold, const char* name,
                     const char* command);
// Key of control k in evaluation.json.
const char* hwm_summary_control(int k);

#endif
