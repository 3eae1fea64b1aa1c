// Metrics of a run: one JSON object per report interval in RUN_DIR/metrics.jsonl.
#ifndef HWM_LEARNER_REPORT_H
#define HWM_LEARNER_REPORT_H

#include "agent.h"
#include "checkpoint.h"
#include "session.h"

typedef struct hwm_report hwm_report;
// Appends to metrics.jsonl and opens a TensorBoard event file beside it. resume_step: environment
// steps of the checkpoint this run goes on from, -1 for a new run. Caller owns, free with
// hwm_report_destroy.
hwm_status hwm_report_create(hwm_report** out, const char* run_dir, int64_t resume_step,
                             hwm_error* err);
void hwm_report_destroy(hwm_report** report);

typedef struct hwm_report_line {
    const char* phase;  // prefill, warm-up, training
    const hwm_progress_state* state;
    const hwm_agent* agent;
    const hwm_agent_report* update;
    const hwm_session_counters* counters;
    double wall_s;     // of the whole run
    double eval_mean;  // newest evaluation; NaN: none yet
    double eval_discounted;
    const char* stats;  // server's statistics as JSON, or NULL
} hwm_report_line;
// Rates are taken against the line before. imagined_return and real_return are discounted returns
// from the first observation of an episode, of the rewards as they are: imagined by the model, and
// measured in evaluation, which a time limit ends and imagination does not: at 1 per step 1/(1 -
// gamma) against (1 - gamma^limit)/(1 - gamma).
void hwm_report_write(hwm_report* report, const hwm_report_line* line);

#endif
