#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void hwm_progress_init(hwm_progress* p, const char* name) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->phase, sizeof p->phase, "starting");
    p->history_stride = 1;
    double* unknown[] = {&p->return_mean,     &p->eval_mean,       &p->eval_best,
                         &p->imagined_return, &p->real_return,     &p->model_loss,
                         &p->actor_loss,      &p->critic_loss,     &p->version,
                         &p->wall_s,          &p->env_steps_per_s, &p->updates_per_s,
                         &p->replay_steps,    &p->replay_bytes,    &p->blocked_s};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        *unknown[i] = NAN;
    }
}

// Keep at most HWM_HISTORY_MAX points: when full, every second one stays.
static void history_add(hwm_progress* p, double value) {
    if (!isfinite(value)) {
        return;
    }
    if (p->history_skipped++ % p->history_stride != 0) {
        return;
    }
    if (p->n_history == HWM_HISTORY_MAX) {
        for (int i = 0; i < HWM_HISTORY_MAX / 2; i++) {
            p->history[i] = p->history[2 * i];
        }
        p->n_history = HWM_HISTORY_MAX / 2;
        p->history_stride *= 2;
    }
    p->history[p->n_history++] = value;
}

static void rates_add(hwm_progress* p, double now_s) {
    if (p->n_points == HWM_RATE_POINTS) {
        p->n_points--;
        memmove(p->point_s, p->point_s + 1, sizeof(double) * (HWM_RATE_POINTS - 1));
        memmove(p->point_env_steps, p->point_env_steps + 1, sizeof(double) * (HWM_RATE_POINTS - 1));
        memmove(p->point_updates, p->point_updates + 1, sizeof(double) * (HWM_RATE_POINTS - 1));
    }
    int n = p->n_points++;
    p->point_s[n] = now_s;
    p->point_env_steps[n] = p->env_steps;
    p->point_updates[n] = p->updates;
    double span = p->point_s[n] - p->point_s[0];
    if (span > 0.0) {
        p->env_steps_per_s = (p->env_steps - p->point_env_steps[0]) / span;
        p->updates_per_s = (p->updates - p->point_updates[0]) / span;
    }
}

void hwm_progress_metrics(hwm_progress* p, const hwm_json* line, double received_s) {
    p->env_steps = hwm_json_number(line, "env_steps", p->env_steps);
    p->updates = hwm_json_number(line, "updates", p->updates);
    p->return_mean = hwm_json_number(line, "return_mean", p->return_mean);
    p->eval_mean = hwm_json_number(line, "eval_mean", p->eval_mean);
    p->eval_best = hwm_json_number(line, "eval_best", p->eval_best);
    p->imagined_return = hwm_json_number(line, "imagined_return", p->imagined_return);
    p->real_return = hwm_json_number(line, "real_return", p->real_return);
    p->model_loss = hwm_json_number(line, "model_loss", p->model_loss);
    p->actor_loss = hwm_json_number(line, "actor_loss", p->actor_loss);
    p->critic_loss = hwm_json_number(line, "critic_loss", p->critic_loss);
    p->version = hwm_json_number(line, "version", p->version);
    p->wall_s = hwm_json_number(line, "wall_s", p->wall_s);
    snprintf(p->phase, sizeof p->phase, "%s", hwm_json_text(line, "phase", "training"));
    if (isfinite(p->eval_mean) && !(p->eval_best >= p->eval_mean)) {
        p->eval_best = p->eval_mean;
    }
    history_add(p, isfinite(p->return_mean) ? p->return_mean : p->eval_mean);
    if (received_s > 0.0) {
        rates_add(p, received_s);
    }
}

void hwm_progress_stats(hwm_progress* p, const hwm_json* stats) {
    // `hwm train` starts a server with one table
    const hwm_json* table = hwm_json_at(stats, "replay.tables.0");
    if (table) {
        p->replay_steps = hwm_json_number(table, "steps", p->replay_steps);
        p->replay_bytes = hwm_json_number(table, "bytes", p->replay_bytes);
    }
    double blocked_s = 0.0;
    size_t n = hwm_json_size(stats, "workers");
    for (size_t i = 0; i < n; i++) {
        char path[48];
        snprintf(path, sizeof path, "workers.%zu.blocked_s", i);
        blocked_s += hwm_json_number(stats, path, 0.0);
    }
    p->blocked_s = n > 0 ? blocked_s : p->blocked_s;
}

double hwm_progress_share(const hwm_progress* p) {
    double share = NAN;
    if (p->max_env_steps > 0) {
        share = fmax(isfinite(share) ? share : 0.0, p->env_steps / p->max_env_steps);
    }
    if (p->max_updates > 0) {
        share = fmax(isfinite(share) ? share : 0.0, p->updates / p->max_updates);
    }
    if (p->max_minutes > 0 && isfinite(p->wall_s)) {
        share = fmax(isfinite(share) ? share : 0.0, p->wall_s / (60.0 * p->max_minutes));
    }
    return isfinite(share) ? fmin(share, 1.0) : NAN;
}

double hwm_progress_eta_s(const hwm_progress* p) {
    double eta = INFINITY;
    if (p->max_env_steps > 0 && p->env_steps_per_s > 0) {
        eta = fmin(eta, (p->max_env_steps - p->env_steps) / p->env_steps_per_s);
    }
    if (p->max_updates > 0 && p->updates_per_s > 0) {
        eta = fmin(eta, (p->max_updates - p->updates) / p->updates_per_s);
    }
    if (p->max_minutes > 0 && isfinite(p->wall_s)) {
        eta = fmin(eta, 60.0 * p->max_minutes - p->wall_s);
    }
    return isfinite(eta) ? fmax(eta, 0.0) : NAN;
}
