// data path  [8] learner
//
// Inside the learner: one run, and what its parts share.
//
//   learner.c    sets up, reports, saves, ends          judging.c    evaluation and the best
//   checkpoint train.c      the loop of world model and behaviour
#ifndef HWM_LEARNER_RUN_H
#define HWM_LEARNER_RUN_H

#include "checkpoint.h"
#include "experiment/evaluate.h"
#include "learner.h"
#include "report.h"
#include "session.h"

typedef struct hwm_run {
    const hwm_learner_options* options;
    hwm_experiment* experiment;
    char* text;  // resolved YAML
    hwm_agent* agent;
    hwm_session* session;
    hwm_report* report;
    hwm_progress_state state;
    hwm_agent_report update;
    hwm_evaluate_result evaluation;
    double eval_mean, eval_discounted;
    const char* phase;
    double began_s, wall_before_s;
    double reported_s, saved_s;
    int64_t skipped_in_a_row;
    int dumps;  // of batches, by this process
    // an evaluation that a worker is doing
    uint64_t task, task_version;
    bool task_pending;
    float* task_phi;
} hwm_run;

// ---- learner.c
double hwm_run_wall_s(const hwm_run* l);
// Counters of the session into the state that reports and checkpoints read.
void hwm_run_remember(hwm_run* l);
// Report and checkpoints, when they are due.
void hwm_run_housekeeping(hwm_run* l);
// A checkpoint now, whatever its interval.
hwm_status hwm_run_save(hwm_run* l, const char* name, hwm_error* err);
bool hwm_run_finished(const hwm_run* l);

// ---- judging.c
// Once per update, before it: begins an evaluation that is due, or takes the result of one that a
// worker has done.
hwm_status hwm_run_evaluate(hwm_run* l, hwm_error* err);
// At once, in this process.
hwm_status hwm_run_evaluate_now(hwm_run* l, hwm_error* err);
// The last parameters are judged too, however the run ended.
hwm_status hwm_run_last_judgement(hwm_run* l, hwm_error* err);

// ---- train.c
hwm_status hwm_run_train(hwm_run* l, hwm_error* err);

// ---- evolve.c
hwm_status hwm_run_evolve(hwm_run* l, hwm_error* err);

// ---- random.c
// agent.kind random: nothing is learned, evaluations on ever new episodes are its updates.
hwm_status hwm_run_random(hwm_run* l, hwm_error* err);

#endif
