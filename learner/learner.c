// data path  [8] learner
#include "learner.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "checkpoint.h"
#include "experiment/evaluate.h"
#include "nn/pool.h"
#include "report.h"
#include "session.h"

enum { STATISTICS_BATCHES = 10, SKIPPED_MAX = 100 };

typedef struct learner {
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
    // an evaluation that a worker is doing
    uint64_t task, task_version;
    bool task_pending;
    float* task_phi;
} learner;

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

static hwm_status configure(learner* l, hwm_error* err) {
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
    l->text = hwm_config_print(sections, n, false);
    l->task_phi = calloc(l->agent->phi->list.count + 1, sizeof *l->task_phi);
    return l->text && l->task_phi
               ? HWM_OK
               : hwm_fail(err, HWM_ENOMEM, "no memory for the experiment's text");
}

// ---- evaluation

static double wall_s(const learner* l) {
    return l->wall_before_s + hwm_clock_s() - l->began_s;
}

static hwm_status evaluate_here(learner* l, const float* phi, int episodes, uint64_t seed,
                                hwm_evaluate_score* score, hwm_error* err) {
    hwm_evaluate_request request = hwm_evaluate_default_request();
    request.episodes = episodes;
    request.seed = seed;
    hwm_status status = hwm_evaluate(l->experiment, phi, &request, &l->evaluation, err);
    if (status == HWM_OK)
        *score = l->evaluation.all;
    return status;
}

// A mean that would be the best so far is confirmed on more episodes, so that luck does not choose.
// phi: what was evaluated.
static hwm_status judge(learner* l, const float* phi, const hwm_evaluate_score* score,
                        hwm_error* err) {
    const hwm_evaluation_config* config = &l->experiment->evaluation;
    const double mean = l->eval_mean = score->mean;
    l->eval_discounted = score->discounted;
    const double goal = l->experiment->run.stop_return;
    hwm_status status = HWM_OK;
    if (mean >= l->state.best_mean) {
        hwm_evaluate_score more;
        status = evaluate_here(l, phi, (int)config->confirm_episodes, (uint64_t)config->seed + 1,
                               &more, err);
        if (status != HWM_OK)
            return status;
        const double n = (double)config->episodes, m = (double)config->confirm_episodes;
        const double all = (n * mean + m * more.mean) / (n + m);
        l->eval_mean = all;
        if (all > l->state.best_mean) {
            l->state.best_mean = all;
            l->state.best_env_steps = l->state.env_steps;
            l->state.best_updates = l->state.updates;
            // the parameters that were judged, which may be older than those in training
            float* now = malloc((l->agent->phi->list.count + 1) * sizeof *now);
            if (!now)
                return hwm_fail(err, HWM_ENOMEM, "no memory for a checkpoint");
            nn_params_to_float(l->agent->phi, now);
            nn_params_from_float(l->agent->phi, phi);
            status = hwm_checkpoint_save(l->options->run_dir, "best", l->agent, &l->state, err);
            nn_params_from_float(l->agent->phi, now);
            free(now);
        }
    }
    l->state.stop_streak = goal > 0 && l->eval_mean >= goal ? l->state.stop_streak + 1 : 0;
    return status;
}

static hwm_status evaluation_due(learner* l, hwm_error* err) {
    const hwm_evaluation_config* config = &l->experiment->evaluation;
    hwm_client* client = hwm_session_client(l->session);
    hwm_status status = HWM_OK;
    if (l->task_pending) {
        hwm_task task;
        status = hwm_client_task_result(client, l->task, &task, err);
        if (status == HWM_EAGAIN)
            return HWM_OK;
        l->task_pending = false;
        hwm_evaluate_result result;
        if (status == HWM_OK)
            status = hwm_evaluate_result_decode(task.result, task.result_bytes, &result, err);
        if (status != HWM_OK) {  // one evaluation less: the next one is due soon
            hwm_log(HWM_LOG_WARN, "learner", "evaluation lost", "reason=\"%s\"", err->text);
            return HWM_OK;
        }
        return judge(l, l->task_phi, &result.all, err);
    }
    if (l->state.updates % config->every_updates != 0)
        return HWM_OK;
    const uint64_t seed =
        (uint64_t)config->seed + 2 + (uint64_t)(l->state.updates / config->every_updates);
    nn_params_to_float(l->agent->phi, l->task_phi);
    if (!config->on_workers) {
        hwm_evaluate_score score;
        status = evaluate_here(l, l->task_phi, (int)config->episodes, seed, &score, err);
        return status == HWM_OK ? judge(l, l->task_phi, &score, err) : status;
    }
    if ((status = hwm_session_publish(l->session, err)) != HWM_OK)
        return status;
    hwm_evaluate_request request = hwm_evaluate_default_request();
    request.episodes = (int)config->episodes;
    request.seed = seed;
    l->task_version = hwm_session_counters_of(l->session)->version;
    uint8_t payload[HWM_EVALUATE_PAYLOAD_MAX];
    const size_t n = hwm_evaluate_request_encode(&request, l->task_version, payload);
    status = hwm_client_task_submit(client, HWM_TASK_EVALUATE, payload, n, (int)config->lease_ms,
                                    &l->task, err);
    l->task_pending = status == HWM_OK;
    return status;
}

// ---- reports and checkpoints

static void remember(learner* l) {
    const hwm_session_counters* c = hwm_session_counters_of(l->session);
    l->state.version = c->version;
    l->state.draws = c->draws;
    l->state.env_steps = c->inserted_steps * l->agent->spec.action_repeat;
    l->state.wall_s = wall_s(l);
}

static void report_now(learner* l) {
    char* stats = NULL;
    hwm_error ignored = {0};
    if (hwm_client_stats(hwm_session_client(l->session), &stats, &ignored) != HWM_OK)
        stats = NULL;
    const hwm_report_line line = {
        .state = &l->state,
        .agent = l->agent,
        .update = &l->update,
        .counters = hwm_session_counters_of(l->session),
        .wall_s = wall_s(l),
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
    learner* l = context;
    if (hwm_clock_s() - l->reported_s < l->experiment->run.report_interval_s)
        return;
    remember(l);
    report_now(l);
}

static hwm_status save(learner* l, const char* name, hwm_error* err) {
    remember(l);
    hwm_status status = hwm_checkpoint_save(l->options->run_dir, name, l->agent, &l->state, err);
    l->saved_s = hwm_clock_s();
    return status;
}

// A checkpoint that cannot be written (disk full) must not end a run: it is said, and tried again
// later.
static void save_or_warn(learner* l, const char* name) {
    hwm_error err = {0};
    if (save(l, name, &err) != HWM_OK)
        hwm_log(HWM_LOG_ERROR, "checkpoint", "not saved", "name=%s reason=\"%s\"", name, err.text);
}

// The model's open-loop error, once per report; measuring takes no part in training.
static void measure(learner* l) {
    const hwm_sequences* s = hwm_session_long_sequences(l->session);
    if (s)
        hwm_agent_measure_open_loop(l->agent, s);
}

static void housekeeping(learner* l) {
    const hwm_run_config* run = &l->experiment->run;
    const double now = hwm_clock_s();
    remember(l);
    if (now - l->reported_s >= run->report_interval_s) {
        measure(l);
        report_now(l);
    }
    if (now - l->saved_s >= run->checkpoint_interval_s)
        save_or_warn(l, "latest");
    if (run->checkpoint_every_steps > 0 &&
        l->state.env_steps - l->state.last_step_checkpoint >= run->checkpoint_every_steps) {
        l->state.last_step_checkpoint = l->state.env_steps;
        char name[48];
        snprintf(name, sizeof name, "step-%lld", (long long)l->state.env_steps);
        save_or_warn(l, name);
    }
}

// ---- training

// A batch or gradient with a number that is not finite is dropped and counted; many in a row end
// the run.
static hwm_status forgive(learner* l, hwm_status status, hwm_error* err) {
    if (status == HWM_OK)
        l->skipped_in_a_row = 0;
    if (status != HWM_ENUMERIC)
        return status;
    hwm_log(HWM_LOG_WARN, "learner", "update skipped", "update=%lld reason=\"%s\"",
            (long long)l->state.updates, err->text);
    if (++l->skipped_in_a_row < SKIPPED_MAX)
        return HWM_OK;
    return HWM_ENUMERIC;
}

static hwm_status update_model(learner* l, bool uncounted, hwm_error* err) {
    const hwm_sequences* batch;
    hwm_status status = hwm_session_model_batch(l->session, uncounted, &batch, err);
    if (status == HWM_OK)
        status = hwm_agent_update_model(l->agent, batch, &l->update, err);
    return forgive(l, status, err);
}

static hwm_status warm_up(learner* l, hwm_error* err) {
    const hwm_sequences* batch;
    hwm_status status = HWM_OK;
    for (int i = 0; i < STATISTICS_BATCHES && status == HWM_OK; i++) {
        status = hwm_session_model_batch(l->session, true, &batch, err);
        if (status == HWM_OK)
            hwm_agent_look(l->agent, batch);
        status = forgive(l, status, err);
    }
    if (status != HWM_OK)
        return status;
    hwm_agent_refresh(l->agent, true);
    l->phase = "warm-up";
    const double began = hwm_clock_s();
    while (status == HWM_OK && l->agent->model_updates < l->experiment->train.warmup_updates)
        status = update_model(l, true, err);
    if (status != HWM_OK)
        return status;
    hwm_log(HWM_LOG_INFO, "learner", "world model warmed up", "updates=%lld seconds=%.1f loss=%.4f",
            (long long)l->agent->model_updates, hwm_clock_s() - began, l->update.model.total);
    return HWM_OK;
}

static hwm_status update_all(learner* l, hwm_error* err) {
    hwm_status status = HWM_OK;
    for (int64_t k = 0; k < l->experiment->train.model_updates && status == HWM_OK; k++)
        status = update_model(l, false, err);
    if (status != HWM_OK)
        return status;
    status = hwm_session_starts(l->session, err);
    if (status == HWM_OK) {
        const double all = (double)l->experiment->run.max_env_steps;
        const double progress = all > 0 ? (double)l->state.env_steps / all : 0;
        status = hwm_agent_update_behaviour(l->agent, progress, &l->update, err);
    }
    return forgive(l, status, err);
}

static bool finished(const learner* l) {
    const hwm_run_config* run = &l->experiment->run;
    return (run->max_env_steps > 0 && l->state.env_steps >= run->max_env_steps) ||
           (run->max_updates > 0 && l->state.updates >= run->max_updates) ||
           (run->max_minutes > 0 && wall_s(l) >= run->max_minutes * 60) ||
           (run->stop_return > 0 && l->state.stop_streak >= run->stop_count);
}

// One update of everything and what belongs to it.
static hwm_status one_update(learner* l, hwm_error* err) {
    hwm_status status = evaluation_due(l, err);
    if (status == HWM_OK)
        status = update_all(l, err);
    if (status == HWM_OK)
        l->state.updates++;
    return status;
}

// Worker and learner take turns: round k is collected with version k, then exactly its share of
// updates follows. Every draw is a function of the seed and of counters, so two runs end with the
// same bits.
static hwm_status train_in_rounds(learner* l, hwm_error* err) {
    const hwm_experiment* e = l->experiment;
    const int64_t repeat = l->agent->spec.action_repeat, all = e->worker.environments;
    const int64_t prefill = hwm_experiment_round_rows(e, 1) * all;
    if (l->state.updates > 0)
        return hwm_fail(
            err, HWM_EUNSUPPORTED,
            "%s: a run with run.schedule = rounds cannot be resumed: begin it anew in an "
            "empty directory",
            l->options->run_dir);
    int64_t rows = 0;
    for (uint64_t version = 1; !finished(l); version++) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        hwm_status status = hwm_session_publish(l->session, err);
        rows += hwm_experiment_round_rows(e, version) * all;
        if (status == HWM_OK)
            status = hwm_session_wait_rows(l->session, rows, err);
        if (status == HWM_OK && version == 1)
            status = warm_up(l, err);
        l->phase = "training";
        const int64_t target =
            (int64_t)((double)((rows - prefill) * repeat) / e->train.env_steps_per_update);
        while (status == HWM_OK && l->state.updates < target) {
            status = one_update(l, err);
            housekeeping(l);
        }
        if (status != HWM_OK)
            return status;
        remember(l);
    }
    return HWM_OK;
}

static hwm_status train(learner* l, hwm_error* err) {
    if (l->experiment->run.schedule == HWM_SCHEDULE_ROUNDS)
        return train_in_rounds(l, err);
    hwm_status status = hwm_session_publish(l->session, err);
    if (status != HWM_OK)
        return status;
    if (l->state.updates == 0) {
        if ((status = warm_up(l, err)) != HWM_OK)
            return status;
        if ((status = hwm_session_publish(l->session, err)) != HWM_OK)
            return status;
    }
    l->phase = "training";
    while (!finished(l)) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        if ((status = one_update(l, err)) != HWM_OK)
            return status;
        if (l->state.updates % l->experiment->train.publish_every_updates == 0 &&
            (status = hwm_session_publish(l->session, err)) != HWM_OK)
            return status;
        housekeeping(l);
    }
    return HWM_OK;
}

// The last parameters are judged too, however the run ended.
static hwm_status last_judgement(learner* l, hwm_error* err) {
    if (l->state.updates == 0 || hwm_signals_stop_requested())
        return HWM_OK;
    hwm_evaluate_score score;
    const hwm_evaluation_config* config = &l->experiment->evaluation;
    nn_params_to_float(l->agent->phi, l->task_phi);
    hwm_status status =
        evaluate_here(l, l->task_phi, (int)config->episodes,
                      (uint64_t)config->seed + 1 + (uint64_t)l->state.updates, &score, err);
    return status == HWM_OK ? judge(l, l->task_phi, &score, err) : status;
}

static int exit_of(hwm_status status) {
    return status == HWM_OK ? 0 : status == HWM_EINVAL || status == HWM_ESIGNATURE ? 2 : 1;
}

int hwm_learner_run(const hwm_learner_options* options) {
    learner* l = calloc(1, sizeof *l);
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
        status = train(l, &err);
        // whatever happened, what was learned is kept
        if (l->state.updates > 0) {
            if (status == HWM_OK)
                status = last_judgement(l, &err);
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
