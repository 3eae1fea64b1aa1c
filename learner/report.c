#include "report.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/events.h"
#include "base/log.h"
#include "open_loop.h"

struct hwm_report {
    FILE* file;
    hwm_events* events;
    bool events_failed;  // said once
    float* phi;          // scratch
    double before_s;
    int64_t env_steps, updates, model_updates;
    double waited_s, model_s, imagination_s, critic_s;
};

hwm_status hwm_report_create(hwm_report** out, const char* run_dir, int64_t resume_step,
                             hwm_error* err) {
    *out = NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run_dir);
    FILE* f = fopen(path, "a");
    if (!f)
        return hwm_fail(err, HWM_EIO, "%s: %s", path, strerror(errno));
    hwm_report* r = calloc(1, sizeof *r);
    if (!r) {
        fclose(f);
        return hwm_fail(err, HWM_ENOMEM, "no memory for metrics");
    }
    r->file = f;
    r->before_s = hwm_clock_s();
    r->env_steps = resume_step > 0 ? resume_step : 0;
    hwm_error why = {0};
    if (hwm_events_create(&r->events, run_dir, resume_step, &why) != HWM_OK)
        hwm_log(HWM_LOG_WARN, "report", "no event file", "reason=\"%s\"", why.text);
    *out = r;
    return HWM_OK;
}

void hwm_report_destroy(hwm_report** report) {
    if (!report || !*report)
        return;
    fclose((*report)->file);
    hwm_events_destroy(&(*report)->events);
    free((*report)->phi);
    free(*report);
    *report = NULL;
}

static void real(json_t* o, const char* key, double value) {
    if (isfinite(value))
        json_object_set_new(o, key, json_real(value));  // what is unknown is left out
}

static void whole(json_t* o, const char* key, int64_t value) {
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

// Means over the observation, and each dimension by its name.
static void put_open_loop(json_t* o, const hwm_agent* a) {
    const hwm_open_loop* m = a->open_loop;
    if (!m->known)
        return;
    json_t* each = json_object();
    for (int k = 0; k < HWM_OPEN_LOOP_HORIZONS; k++) {
        double model = 0, nothing = 0;
        json_t* dims = json_array();
        for (int j = 0; j < a->spec.obs_dim; j++) {
            model += m->model[k][j] / a->spec.obs_dim;
            nothing += m->nothing[k][j] / a->spec.obs_dim;
            json_array_append_new(dims, json_real(m->model[k][j]));
        }
        char key[48];
        snprintf(key, sizeof key, "open_loop_%d", hwm_open_loop_horizon[k]);
        real(o, key, model);
        json_object_set_new(each, key, dims);
        snprintf(key, sizeof key, "open_loop_%d_nothing", hwm_open_loop_horizon[k]);
        real(o, key, nothing);
        snprintf(key, sizeof key, "open_loop_%d_reward", hwm_open_loop_horizon[k]);
        real(o, key, m->reward[k]);
    }
    json_object_set_new(o, "open_loop_by_dimension", each);
    if (a->experiment->model.terminals) {
        real(o, "continue_at_terminals", m->continue_at_terminals);
        real(o, "continue_elsewhere", m->continue_elsewhere);
        real(o, "continue_calibration", m->continue_calibration);
    }
    real(o, "reward_bias", m->reward_bias);
    real(o, "reward_missing", m->reward_missing);
}

// Mean of the newest training episodes of all workers, their number, how far behind their
// parameters are, the table's size.
static void from_server(json_t* o, const char* text, const hwm_report_line* line) {
    json_t* stats = text ? json_loads(text, 0, NULL) : NULL;
    double sum = 0, n = 0, lag = 0, alive = 0, episodes = 0;
    size_t i, k;
    json_t *worker, *one;
    json_array_foreach(json_object_get(stats, "workers"), i, worker) {
        json_array_foreach(json_object_get(worker, "recent_returns"), k, one) {
            sum += json_number_value(one);
            n += 1;
        }
        episodes += json_number_value(json_object_get(worker, "episodes"));
        if (!json_is_true(json_object_get(worker, "alive")))
            continue;
        alive += 1;
        lag += json_number_value(json_object_get(worker, "version_lag"));
    }
    if (stats) {
        whole(o, "workers", (int64_t)alive);
        whole(o, "episodes", (int64_t)episodes);
    }
    if (n > 0)
        real(o, "return_mean", sum / n);
    if (alive > 0)
        real(o, "version_lag", lag / alive);
    int64_t stored = line->counters->inserted_steps;
    json_t* table;
    json_array_foreach(json_object_get(json_object_get(stats, "replay"), "tables"), i, table) {
        const char* name = json_string_value(json_object_get(table, "name"));
        if (name && strcmp(name, line->agent->experiment->run.name) == 0)
            stored = (int64_t)json_integer_value(json_object_get(table, "steps"));
    }
    whole(o, "replay_steps", stored);
    json_decref(stats);
}

// The same numbers as TensorBoard scalars, and how the coefficients of the rule are distributed.
static void write_events(hwm_report* r, const json_t* o, const hwm_report_line* line) {
    if (!r->events)
        return;
    const int64_t at = line->state->env_steps;
    hwm_status status = HWM_OK;
    const char* key;
    json_t* value;
    json_object_foreach((json_t*)(uintptr_t)o, key, value) {
        char tag[128];
        const char* group = strncmp(key, "eval", 4) == 0                     ? "eval"
                            : strstr(key, "_share") || strstr(key, "_per_s") ? "time"
                            : strstr(key, "loss") || strstr(key, "norm")     ? "loss"
                                                                             : "train";
        snprintf(tag, sizeof tag, "%s/%s", group, key);
        if (json_is_number(value) && status == HWM_OK)
            status = hwm_events_scalar(r->events, at, tag, (float)json_number_value(value));
    }
    const nn_params* phi = line->agent->phi;
    if (!r->phi)
        r->phi = malloc((phi->list.count + 1) * sizeof *r->phi);
    if (r->phi)
        nn_params_to_float(phi, r->phi);
    for (int i = 0; r->phi && i < phi->list.n && status == HWM_OK; i++) {
        char tag[128];
        snprintf(tag, sizeof tag, "rule/%s", phi->list.entry[i].spec.name);
        status = hwm_events_histogram(r->events, at, tag, r->phi + phi->list.entry[i].offset,
                                      hwm_tensor_count(&phi->list.entry[i].spec));
    }
    if (status == HWM_OK)
        status = hwm_events_flush(r->events);
    if (status == HWM_OK || r->events_failed)
        return;
    r->events_failed = true;
    hwm_log(HWM_LOG_WARN, "report", "event file", "reason=\"%s\"", hwm_status_text(status));
}

void hwm_report_write(hwm_report* r, const hwm_report_line* line) {
    const double now = hwm_clock_s(), span = now - r->before_s > 1e-3 ? now - r->before_s : 1e-3;
    const hwm_progress_state* s = line->state;
    const hwm_agent* a = line->agent;
    const hwm_agent_report* u = line->update;
    const double updates = (double)(s->updates - r->updates);
    json_t* o = json_object();
    json_object_set_new(o, "phase", json_string(line->phase));
    real(o, "wall_s", line->wall_s);
    whole(o, "env_steps", s->env_steps);
    whole(o, "updates", s->updates);
    whole(o, "model_updates", a->model_updates);
    real(o, "env_steps_per_s", (double)(s->env_steps - r->env_steps) / span);
    real(o, "updates_per_s", updates / span);
    if (updates > 0)
        real(o, "env_steps_per_update", (double)(s->env_steps - r->env_steps) / updates);
    whole(o, "version", (int64_t)line->counters->version);
    real(o, "eval_mean", line->eval_mean);
    real(o, "eval_best", s->best_mean);
    whole(o, "best_env_steps", s->best_env_steps);
    if (s->updates > 0)
        real(o, "imagined_return",
             u->imagination.start_return * a->spec.action_repeat /
                 (1 - a->experiment->train.gamma));
    real(o, "real_return", line->eval_discounted);
    real(o, "model_loss", u->model.total);
    real(o, "model_obs_loss", u->model.obs);
    real(o, "model_reward_loss", u->model.reward);
    real(o, "model_continue_loss", u->model.cont);
    real(o, "model_gradient_norm", u->model.gradient_norm);
    real(o, "actor_loss", u->imagination.actor_loss);
    real(o, "critic_loss", u->critic_loss);
    real(o, "gradient_norm", u->gradient_norm);
    real(o, "entropy", u->imagination.entropy);
    real(o, "saturation", u->imagination.saturation);
    real(o, "weight_abs", u->imagination.weight_abs);
    real(o, "update_relative", u->imagination.update_relative);
    real(o, "continued", u->imagination.continued);
    whole(o, "skipped_updates", a->skipped);
    whole(o, "lost_sequences", line->counters->lost_sequences);
    // where the time goes, as shares of the interval
    real(o, "wait_share", (line->counters->waited_s - r->waited_s) / span);
    real(o, "model_share", (a->seconds_model - r->model_s) / span);
    real(o, "imagination_share", (a->seconds_imagination - r->imagination_s) / span);
    real(o, "critic_share", (a->seconds_critic - r->critic_s) / span);
    if (a->seconds_model > r->model_s)  // while it was at it
        real(o, "model_gflops",
             u->model.flops * (double)(a->model_updates - r->model_updates) /
                 (a->seconds_model - r->model_s) * 1e-9);
    put_open_loop(o, a);
    from_server(o, line->stats, line);

    char* text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(7));
    if (text)
        fprintf(r->file, "%s\n", text);
    fflush(r->file);
    free(text);
    write_events(r, o, line);
    json_decref(o);
    r->before_s = now;
    r->env_steps = s->env_steps;
    r->updates = s->updates;
    r->model_updates = a->model_updates;
    r->waited_s = line->counters->waited_s;
    r->model_s = a->seconds_model;
    r->imagination_s = a->seconds_imagination;
    r->critic_s = a->seconds_critic;
}
