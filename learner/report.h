// Metrics of a run: one JSON object per report interval in RUN_DIR/metrics.jsonl.
#ifndef HWM_LEARNER_REPORT_H
#define HWM_LEARNER_REPORT_H

#include "agent.h"
#include "checkpoint.h"
#include "session.h"

typedef struct hwm_report hwm_report;
// Appends to metrics.jsonl. Caller owns, free with hwm_report_destroy.
hwm_status hwm_report_create(hwm_report** out, const char* run_dir, hwm_error* err);
void hwm_report_destroy(hwm_report** report);

typedef struct hwm_report_line {
    const hwm_progress_state* state;
    const hwm_agent* agent;
    const hwm_agent_report* update;
    const hwm_session_counters* counters;
    double wall_s;           // of the whole run
    double eval_mean;        // newest evaluation; NaN: none yet
    double eval_discounted;  // its mean discounted return in units of one reward; NaN: none
    const char* stats;       // server's statistics as JSON, or NULL
} hwm_report_line;
// Rates are taken against the line before.
void hwm_report_write(hwm_report* report, const hwm_report_line* line);

#endif
