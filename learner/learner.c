// data path  [8] learner
#include "learner.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "nn/pool.h"
#include "open_loop.h"
#include "run.h"

// ---- setting up

static hwm_status make_dir(const char* path, hwm_error* err) {
    char part[4096];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", path);
    for (char* p = part + 1;; p++) {
        if (*p != '/' && *p != 0)
            continue;
        const char kept = *p;
        *p = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return hwm_fail(err, HWM_EIO, "%s: %s", part, strerror(errno));
        *p = kept;
        if (kept == 0)
            return HWM_OK;
    }
}

static hwm_status write_text(const char* dir, const char* name, const char* text, hwm_error* err) {
    char path[4096], temporary[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(temporary, sizeof temporary, "%s/.%s.tmp", dir, name);
    FILE* f = fopen(temporary, "w");
    if (!f)
        return hwm_fail(err, HWM_EIO, "%s: %s", temporary, strerror(errno));
    const bool written = fputs(text, f) >= 0;
    if (fclose(f) != 0 || !written || rename(temporary, path) != 0)
        return hwm_fail(err, HWM_EIO, "%s: %s", path, strerror(errno));
    return HWM_OK;
}

static hwm_status configure(hwm_run* l, hwm_error* err) {
    const hwm_learner_options* o = l->options;
    hwm_status status =
        hwm_experiment_load(&l->experiment, o->experiment, NULL, o->set, o->n_set, err);
    if (status != HWM_OK)
        return status;
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    if (!spec)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the environment's description");
    status = hwm_env_describe(&l->experiment->env, spec, err);
    if (status == HWM_OK)
        status = hwm_agent_create(&l->agent, l->experiment, spec, err);
    free(spec);
    if (status != HWM_OK)
        return status;
    nn_threads_set((int)l->experiment->run.learner_threads);
    int n;
    hwm_config_section* sections = hwm_experiment_sections(l->experiment, &n);
    l->text = hwm_config_print(sections, n, HWM_CONFIG_PLAIN);
    l->task_phi = calloc(l->agent->phi->list.count + 1, sizeof *l->task_phi);
    return l->text && l->task_phi
               ? HWM_OK
               : hwm_fail(err, HWM_ENOMEM, "no memory for the experiment's text");
}

// ---- reports and checkpoints

double hwm_run_wall_s(const hwm_run* l) {
    return l->wall_before_s + hwm_clock_s() - l->began_s;
}

void hwm_run_remember(hwm_run* l) {
    const hwm_session_counters* c = hwm_session_counters_of(l->session);
    l->state.version = c->version;
    l->state.draws = c->draws;
    // 0 until the first batch of this session; agents that draw none count what they play
    if (hwm_agent_samples(l->agent) && c->inserted_steps > 0)
        l->state.env_steps = c->inserted_steps * l->agent->spec.action_repeat;
    l->state.wall_s = hwm_run_wall_s(l);
}

static void report_now(hwm_run* l) {
    char* stats = NULL;
    hwm_error ignored = {0};
    if (hwm_client_stats(hwm_session_client(l->session), &stats, &ignored) != HWM_OK)
        stats = NULL;
    const hwm_report_line line = {
        .state = &l->state,
        .agent = l->agent,
        .update = &l->update,
        .counters = hwm_session_counters_of(l->session),
        .wall_s = hwm_run_wall_s(l),
        .eval_mean = l->eval_mean,
        .eval_discounted = l->eval_discounted,
        .phase = l->phase,
        .stats = stats,
    };
    hwm_report_write(l->report, &line);
    free(stats);
    l->reported_s = hwm_clock_s();
}

// While a batch is awaited: the display goes on.
static void waiting(void* context) {
    hwm_run* l = context;
    if (hwm_clock_s() - l->reported_s < l->experiment->run.report_interval_s)
        return;
    hwm_run_remember(l);
    report_now(l);
}

hwm_status hwm_run_save(hwm_run* l, const char* name, hwm_error* err) {
    hwm_run_remember(l);
    hwm_status status = hwm_checkpoint_save(l->options->run_dir, name, l->agent, &l->state, err);
    l->saved_s = hwm_clock_s();
    return status;
}

// A checkpoint that cannot be written (disk full) must not end a run: it is said, and tried again
// later.
static void save_or_warn(hwm_run* l, const char* name) {
    hwm_error err = {0};
    if (hwm_run_save(l, name, &err) != HWM_OK)
        hwm_log(HWM_LOG_ERROR, "checkpoint", "not saved", "name=%s reason=\"%s\"", name, err.text);
}

// The model's open-loop error, once per report; measuring takes no part in training.
static void measure(hwm_run* l) {
    const hwm_sequences* s = l->agent->model ? hwm_session_long_sequences(l->session) : NULL;
    if (s)
        hwm_open_loop_measure(l->agent, s);
}

void hwm_run_housekeeping(hwm_run* l) {
    const hwm_run_config* run = &l->experiment->run;
    const double now = hwm_clock_s();
    hwm_run_remember(l);
    if (now - l->reported_s >= run->report_interval_s) {
        measure(l);
        report_now(l);
    }
    // in rounds, only what a round ends with may be resumed from
    if (run->schedule != HWM_SCHEDULE_ROUNDS && now - l->saved_s >= run->checkpoint_interval_s)
        save_or_warn(l, "latest");
    if (run->checkpoint_every_steps > 0 &&
        l->state.env_steps - l->state.last_step_checkpoint >= run->checkpoint_every_steps) {
        l->state.last_step_checkpoint = l->state.env_steps;
        char name[48];
        snprintf(name, sizeof name, "step-%lld", (long long)l->state.env_steps);
        save_or_warn(l, name);
    }
}

bool hwm_run_finished(const hwm_run* l) {
    const hwm_run_config* run = &l->experiment->run;
    return (run->max_env_steps > 0 && l->state.env_steps >= run->max_env_steps) ||
           (run->max_updates > 0 && l->state.updates >= run->max_updates) ||
           (run->max_minutes > 0 && hwm_run_wall_s(l) >= run->max_minutes * 60) ||
           (run->stop_return > 0 && l->state.stop_streak >= run->stop_count);
}

static int exit_of(hwm_status status) {
    return status == HWM_OK ? 0 : status == HWM_EINVAL || status == HWM_ESIGNATURE ? 2 : 1;
}

int hwm_learner_run(const hwm_learner_options* options) {
    hwm_run* l = calloc(1, sizeof *l);
    hwm_error err = {0};
    if (!l) {
        fprintf(stderr, "hwm-learner: out of memory\n");
        return 1;
    }
    l->options = options;
    l->eval_mean = l->eval_discounted = NAN;
    l->phase = "prefill";
    l->state.best_mean = -INFINITY;
    l->began_s = l->reported_s = l->saved_s = hwm_clock_s();
    hwm_status status = configure(l, &err);
    if (status == HWM_OK)
        status = make_dir(options->run_dir, &err);
    if (status == HWM_OK)
        status = write_text(options->run_dir, "config.yaml", l->text, &err);
    if (status == HWM_OK) {
        status = hwm_checkpoint_resume(options->run_dir, l->agent, &l->state, &err);
        if (status == HWM_ENOTFOUND)
            status = HWM_OK;  // a new run
        l->wall_before_s = l->state.wall_s;
    }
    if (status == HWM_OK)
        status = hwm_session_create(&l->session, options->server, options->key_dir,
                                    options->insecure, l->agent, l->text, &err);
    if (status == HWM_OK)
        status = hwm_report_create(&l->report, options->run_dir,
                                   l->state.updates > 0 ? l->state.env_steps : -1, &err);
    if (status == HWM_OK) {
        hwm_session_counters* c = hwm_session_counters_of(l->session);
        c->draws = l->state.draws;
        c->version = l->state.version;
        hwm_session_on_wait(l->session, waiting, l);
        if (l->state.updates > 0)
            hwm_log(HWM_LOG_INFO, "learner", "resumed", "env_steps=%lld updates=%lld version=%llu",
                    (long long)l->state.env_steps, (long long)l->state.updates,
                    (unsigned long long)l->state.version);
        const int kind = l->experiment->agent.kind;
        status = kind == HWM_AGENT_ES       ? hwm_run_evolve(l, &err)
                 : kind == HWM_AGENT_RANDOM ? hwm_run_random(l, &err)
                                            : hwm_run_train(l, &err);
        // whatever happened, what was learned is kept; a round that did not end is done again
        const bool whole = status == HWM_OK || l->experiment->run.schedule != HWM_SCHEDULE_ROUNDS;
        if (l->state.updates > 0) {
            if (status == HWM_OK)
                status = hwm_run_last_judgement(l, &err);
            if (whole)
                save_or_warn(l, "latest");
            report_now(l);
        }
        if (status == HWM_ECLOSED && hwm_signals_stop_requested())
            status = HWM_OK;
    }
    if (status != HWM_OK)
        fprintf(stderr, "hwm-learner: %s\n", err.text);
    hwm_report_destroy(&l->report);
    hwm_session_destroy(&l->session);
    hwm_agent_destroy(&l->agent);
    hwm_experiment_destroy(&l->experiment);
    free(l->text);
    free(l->task_phi);
    free(l);
    return exit_of(status);
}
