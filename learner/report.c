#include "report.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct hwm_report {
    FILE* file;
    double before_s;
    int64_t env_steps, updates, model_updates;
    double waited_s, model_s, imagination_s, critic_s;
};

hwm_status hwm_report_create(hwm_report** out, const char* run_dir, hwm_error* err) {
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
    *out = r;
    return HWM_OK;
}

void hwm_report_destroy(hwm_report** report) {
    if (!report || !*report)
        return;
    fclose((*report)->file);
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

static void from_server(json_t* o, const char* text) {
    json_t* stats = text ? json_loads(text, 0, NULL) : NULL;
    const json_t* training = json_object_get(stats, "training");
    const json_t* mean = json_object_get(training, "return_mean");
    if (json_is_number(mean))
        real(o, "return_mean", json_number_value(mean));
    const json_t* episodes = json_object_get(training, "episodes");
    if (json_is_integer(episodes))
        whole(o, "episodes", (int64_t)json_integer_value(episodes));
    const json_t* workers = json_object_get(stats, "workers");
    if (json_is_integer(workers))
        whole(o, "workers", (int64_t)json_integer_value(workers));
    json_decref(stats);
}

void hwm_report_write(hwm_report* r, const hwm_report_line* line) {
    const double now = hwm_clock_s(), span = now - r->before_s > 1e-3 ? now - r->before_s : 1e-3;
    const hwm_progress_state* s = line->state;
    const hwm_agent* a = line->agent;
    const hwm_agent_report* u = line->update;
    const double updates = (double)(s->updates - r->updates);
    json_t* o = json_object();
    real(o, "wall_s", line->wall_s);
    whole(o, "env_steps", s->env_steps);
    whole(o, "updates", s->updates);
    whole(o, "model_updates", a->model_updates);
    real(o, "env_steps_per_s", (double)(s->env_steps - r->env_steps) / span);
    real(o, "updates_per_s", updates / span);
    if (updates > 0)
        real(o, "env_steps_per_update", (double)(s->env_steps - r->env_steps) / updates);
    whole(o, "replay_steps", line->counters->inserted_steps);
    whole(o, "version", (int64_t)line->counters->version);
    real(o, "eval_mean", line->eval_mean);
    real(o, "eval_best", s->best_mean);
    whole(o, "best_env_steps", s->best_env_steps);
    real(o, "imagined_return", u->imagination.start_return);
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
    // where the time goes, as shares of the interval
    real(o, "wait_share", (line->counters->waited_s - r->waited_s) / span);
    real(o, "model_share", (a->seconds_model - r->model_s) / span);
    real(o, "imagination_share", (a->seconds_imagination - r->imagination_s) / span);
    real(o, "critic_share", (a->seconds_critic - r->critic_s) / span);
    const double flops = u->model.flops * (double)(a->model_updates - r->model_updates) +
                         u->imagination.flops * updates;
    real(o, "gflops", flops / span * 1e-9);
    from_server(o, line->stats);

    char* text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(7));
    if (text)
        fprintf(r->file, "%s\n", text);
    fflush(r->file);
    free(text);
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
