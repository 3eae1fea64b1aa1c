// What is known about a running experiment, gathered from metrics.jsonl and from the server's
// statistics.
#ifndef HWM_CLI_PROGRESS_H
#define HWM_CLI_PROGRESS_H

#include "base/json.h"

enum { HWM_HISTORY_MAX = 512, HWM_RATE_POINTS = 24 };

typedef struct hwm_progress {
    char name[64];
    // limits of the run, 0: none
    double max_env_steps, max_updates, max_minutes;
    // newest values; NAN where not known yet
    double env_steps, updates;
    double return_mean;                   // training episodes
    double eval_mean, eval_best;          // evaluation episodes
    double imagined_return, real_return;  // of the same parameters, in the same units
    double model_loss, actor_loss, critic_loss;
    double version, wall_s;
    double env_steps_per_s, updates_per_s;  // over the last reports
    double replay_steps, replay_bytes, blocked_s;
    int workers_alive, workers, worker_restarts;
    char
        phase[32];  // as the learner names it: prefill, warm-up, training; "starting" until it says
    // one entry per report, thinned when full: for the sparkline
    int n_history;
    int history_stride;
    int history_skipped;
    double history[HWM_HISTORY_MAX];
    // ring of the last reports: when, how many environment steps and updates
    int n_points;
    double point_s[HWM_RATE_POINTS], point_env_steps[HWM_RATE_POINTS],
        point_updates[HWM_RATE_POINTS];
} hwm_progress;

void hwm_progress_init(hwm_progress* progress, const char* name);
// One line of metrics.jsonl; received_s: when it was seen (hwm_clock_s), 0 for lines of an earlier
// process.
void hwm_progress_metrics(hwm_progress* progress, const hwm_json* line, double received_s);
// The server's answer to stats.
void hwm_progress_stats(hwm_progress* progress, const hwm_json* stats);
// Seconds until the first limit is reached at the present rates; NAN: unknown.
double hwm_progress_eta_s(const hwm_progress* progress);
// Share of the way to the nearest limit, 0 .. 1; NAN: the run has no limit.
double hwm_progress_share(const hwm_progress* progress);

#endif
