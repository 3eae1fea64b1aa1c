#include "cluster.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

// A worker that lived shorter than this died "right after its start"; so many times in a row, and
// the run gives up.
static const double quick_s = 5.0;
enum { QUICK_DEATHS_MAX = 6 };
// Longest waits for a clean end. A worker sends what it holds, the learner saves a checkpoint, the
// server commits.
static const double worker_stop_s = 10.0, learner_stop_s = 30.0, server_stop_s = 15.0;

enum { ARGUMENTS_MAX = 16 + 2 * HWM_TEXT_LIST_MAX };

static hwm_status program(const hwm_cluster* c, const char* name, char* path, hwm_error* err) {
    if (!hwm_path_join(path, c->bin, name)) {
        return hwm_fail(err, HWM_EINVAL, "the path of %s is too long", name);
    }
    return HWM_OK;
}

static void name_process(const hwm_cluster* c, hwm_process* p, const char* name) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->log, sizeof p->log, "%.*s/logs/%s.log", HWM_PATH_MAX - 64, c->dir->path, name);
}

static hwm_status start_server(hwm_cluster* c, hwm_error* err) {
    char path[HWM_PATH_MAX], replay[HWM_PATH_MAX];
    hwm_status s = program(c, "hwm-server", path, err);
    if (s != HWM_OK || !hwm_path_join(replay, c->dir->path, "replay")) {
        return s != HWM_OK ? s
                           : hwm_fail(err, HWM_EINVAL, "the path of the run directory is too long");
    }
    char* const argv[] = {path, "--listen", c->dir->endpoint, "--dir", replay, NULL};
    return hwm_process_start(&c->server, argv, err);
}

static hwm_status start_learner(hwm_cluster* c, hwm_error* err) {
    char path[HWM_PATH_MAX];
    hwm_status s = program(c, "hwm-learner", path, err);
    if (s != HWM_OK) {
        return s;
    }
    char* argv[ARGUMENTS_MAX] = {
        path,        "--server",  c->dir->endpoint, "--experiment", (char*)c->config.experiment,
        "--run-dir", c->dir->path};
    int n = 7;
    for (int i = 0; i < c->config.set->n; i++) {
        argv[n++] = "--set";
        argv[n++] = (char*)c->config.set->v[i];
    }
    argv[n] = NULL;
    return hwm_process_start(&c->learner, argv, err);
}

static hwm_status start_worker(hwm_cluster* c, int i, hwm_error* err) {
    char path[HWM_PATH_MAX];
    hwm_status s = program(c, "hwm-worker", path, err);
    if (s != HWM_OK) {
        return s;
    }
    char* const argv[] = {path, "--server", c->dir->endpoint, NULL};
    c->restart_at[i] = 0.0;
    return hwm_process_start(&c->worker[i], argv, err);
}

hwm_status hwm_cluster_start(hwm_cluster* c, const hwm_cluster_config* config, hwm_run_dir* dir,
                             hwm_error* err) {
    HWM_ASSERT(config->workers >= 1 && config->workers <= HWM_CLUSTER_WORKERS_MAX);
    memset(c, 0, sizeof *c);
    c->config = *config;
    c->dir = dir;
    hwm_status s = hwm_process_own_dir(c->bin, sizeof c->bin, err);
    name_process(c, &c->server, "server");
    name_process(c, &c->learner, "learner");
    s = s != HWM_OK ? s : start_server(c, err);
    s = s != HWM_OK ? s : start_learner(c, err);
    for (int i = 0; i < config->workers; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker-%d", i);
        name_process(c, &c->worker[i], name);
        s = s != HWM_OK ? s : start_worker(c, i, err);
    }
    if (s != HWM_OK) {
        char note[256];
        hwm_cluster_stop(c, note, sizeof note);
    }
    return s;
}

// A worker has ended: decide when it starts again.
static bool schedule_restart(hwm_cluster* c, int i, char* note, size_t size) {
    hwm_process* w = &c->worker[i];
    bool quick = w->ended_s - w->started_s < quick_s;
    c->quick_deaths[i] = quick ? c->quick_deaths[i] + 1 : 0;
    char how[128];
    hwm_process_describe(w, how, sizeof how);
    if (c->quick_deaths[i] >= QUICK_DEATHS_MAX) {
        snprintf(note, size, "%s %s, for the %dth time in a row right after its start", w->name,
                 how, c->quick_deaths[i]);
        c->culprit = w;
        return false;
    }
    // at once the first time, then 0.5, 1, 2 ... seconds
    double wait_s = c->quick_deaths[i] <= 1 ? 0.0 : 0.25 * (double)(1 << (c->quick_deaths[i] - 1));
    c->restart_at[i] = hwm_clock_s() + wait_s;
    c->worker_restarts++;
    snprintf(note, size, "%s %s; training goes on, it is started again%s", w->name, how,
             wait_s > 0.0 ? " after a pause" : "");
    return true;
}

hwm_cluster_event hwm_cluster_tend(hwm_cluster* c, char* note, size_t size) {
    note[0] = '\0';
    if (hwm_process_reap(&c->server)) {
        c->culprit = &c->server;
        return HWM_CLUSTER_SERVER_DIED;
    }
    if (hwm_process_reap(&c->learner)) {
        c->culprit = &c->learner;
        // a learner that loses its server ends as well: name the cause, not the consequence
        hwm_sleep_ms(100);
        if (hwm_process_failed(&c->learner) && hwm_process_reap(&c->server)) {
            c->culprit = &c->server;
            return HWM_CLUSTER_SERVER_DIED;
        }
        return hwm_process_failed(&c->learner) ? HWM_CLUSTER_LEARNER_DIED : HWM_CLUSTER_FINISHED;
    }
    for (int i = 0; i < c->config.workers; i++) {
        if (hwm_process_reap(&c->worker[i])) {
            if (!schedule_restart(c, i, note, size)) {
                return HWM_CLUSTER_WORKERS_FAIL;
            }
        } else if (c->restart_at[i] > 0.0 && hwm_clock_s() >= c->restart_at[i]) {
            hwm_error err = {0};
            if (start_worker(c, i, &err) != HWM_OK) {
                snprintf(note, size, "%s", err.text);
                c->culprit = &c->worker[i];
                return HWM_CLUSTER_WORKERS_FAIL;
            }
        }
    }
    return HWM_CLUSTER_RUNNING;
}

int hwm_cluster_workers_alive(const hwm_cluster* c) {
    int alive = 0;
    for (int i = 0; i < c->config.workers; i++) {
        alive += c->worker[i].pid > 0;
    }
    return alive;
}

void hwm_cluster_stop(hwm_cluster* c, char* note, size_t size) {
    note[0] = '\0';
    // all workers at once: the first wait covers them all
    for (int i = 0; i < c->config.workers; i++) {
        hwm_process_ask(&c->worker[i]);
    }
    double deadline = hwm_clock_s() + worker_stop_s;
    for (int i = 0; i < c->config.workers; i++) {
        double left = deadline - hwm_clock_s();
        if (!hwm_process_stop(&c->worker[i], left > 0.1 ? left : 0.1)) {
            snprintf(note, size, "%s did not stop within %.0f s and was killed", c->worker[i].name,
                     worker_stop_s);
        }
    }
    if (!hwm_process_stop(&c->learner, learner_stop_s)) {
        snprintf(note, size, "the learner did not stop within %.0f s and was killed",
                 learner_stop_s);
    }
    if (!hwm_process_stop(&c->server, server_stop_s)) {
        snprintf(note, size, "the server did not stop within %.0f s and was killed", server_stop_s);
    }
}
