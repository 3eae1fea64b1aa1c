// data path  [8] learner: the loop of generations
//
//   publish phi -> submit tasks that name individuals -> wait for all results -> estimate the
//   gradient -> step -> next generation
//
// A lost worker costs its lease: the task is leased again, and answers with the same numbers. What
// a generation computes depends on nothing but the seed.
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "evolution.h"
#include "run.h"

enum { WAIT_MS = 2, SUBMISSIONS_MAX = 4, PROBE_ENVS = 16, PROBE_ROWS = 200 };

typedef struct generation {
    int n, n_tasks, per_task;
    hwm_fitness_request* request;             // scratch
    hwm_fitness_result* result;               // scratch
    hwm_individual* individual;               // (n)
    double *total, *square, *fitness, *rank;  // (n)
    hwm_ranked* order;                        // (n)
    uint64_t* task;                           // (n_tasks)
    int* submissions;                         // (n_tasks)
    float* eps;                               // (phi)
    double* sum;                              // (phi)
} generation;

static void generation_free(generation* g) {
    free(g->request);
    free(g->result);
    free(g->individual);
    free(g->total);
    free(g->square);
    free(g->fitness);
    free(g->rank);
    free(g->order);
    free(g->task);
    free(g->submissions);
    free(g->eps);
    free(g->sum);
}

static hwm_status generation_alloc(generation* g, const hwm_evolution_config* c, size_t phi,
                                   hwm_error* err) {
    const size_t n = (size_t)c->population;
    *g = (generation){.n = (int)n, .per_task = (int)c->task_individuals};
    g->n_tasks = (g->n + g->per_task - 1) / g->per_task;
    g->request = calloc(1, sizeof *g->request);
    g->result = calloc(1, sizeof *g->result);
    g->individual = calloc(n, sizeof *g->individual);
    g->total = calloc(n, sizeof *g->total);
    g->square = calloc(n, sizeof *g->square);
    g->fitness = calloc(n, sizeof *g->fitness);
    g->rank = calloc(n, sizeof *g->rank);
    g->order = calloc(n, sizeof *g->order);
    g->task = calloc((size_t)g->n_tasks, sizeof *g->task);
    g->submissions = calloc((size_t)g->n_tasks, sizeof *g->submissions);
    g->eps = calloc(phi + 1, sizeof *g->eps);
    g->sum = calloc(phi + 1, sizeof *g->sum);
    if (g->request && g->result && g->individual && g->total && g->square && g->fitness &&
        g->rank && g->order && g->task && g->submissions && g->eps && g->sum)
        return HWM_OK;
    generation_free(g);
    return hwm_fail(err, HWM_ENOMEM, "no memory for a population of %d", (int)n);
}

static int size_of(const generation* g, int task) {
    const int left = g->n - task * g->per_task;
    return left < g->per_task ? left : g->per_task;
}

static hwm_status submit(hwm_run* l, generation* g, int task, hwm_error* err) {
    const hwm_evolution_config* c = &l->experiment->evolution;
    hwm_fitness_request* q = g->request;
    q->version = hwm_session_counters_of(l->session)->version;
    q->generation = (uint32_t)l->state.updates;
    q->episodes = (uint32_t)c->episodes;
    q->sigma = (float)hwm_evolution_sigma(c, l->state.updates);
    q->n = (uint32_t)size_of(g, task);
    for (int k = 0; k < (int)q->n; k++)
        q->individual[k] = g->individual[task * g->per_task + k];
    uint8_t bytes[HWM_FITNESS_BYTES_MAX];
    const size_t size = hwm_fitness_request_encode(q, bytes);
    g->submissions[task]++;
    return hwm_client_task_submit(hwm_session_client(l->session), HWM_TASK_FITNESS, bytes, size,
                                  (int)l->experiment->evaluation.lease_ms, &g->task[task], err);
}

// A result of one task, once it is there. HWM_EAGAIN: not yet.
static hwm_status collect(hwm_run* l, generation* g, int task, hwm_error* err) {
    hwm_task done;
    hwm_status s =
        hwm_client_task_result(hwm_session_client(l->session), g->task[task], &done, err);
    if (s == HWM_ENOTFOUND || s == HWM_ETIMEDOUT) {
        // another server, or nobody could do it so far
        if (g->submissions[task] >= SUBMISSIONS_MAX)
            return hwm_fail(err, HWM_EIO,
                            "generation %lld: task %d was submitted %d times in vain: do the "
                            "workers' logs say why?",
                            (long long)l->state.updates, task, SUBMISSIONS_MAX);
        hwm_log(HWM_LOG_WARN, "evolution", "task submitted again", "generation=%lld reason=\"%s\"",
                (long long)l->state.updates, err->text);
        s = submit(l, g, task, err);
        return s == HWM_OK ? HWM_EAGAIN : s;
    }
    if (s == HWM_OK)
        s = hwm_fitness_result_decode(done.result, done.result_bytes, g->result, err);
    if (s != HWM_OK)
        return s;
    const int n = size_of(g, task);
    if ((int)g->result->n != n)
        return hwm_fail(err, HWM_EPROTO, "%u individuals came back of %d", g->result->n, n);
    for (int k = 0; k < n; k++) {
        const int i = task * g->per_task + k;
        g->total[i] = g->result->total[k];
        g->square[i] = g->result->square[k];
        if (!isfinite(g->total[i]) || !isfinite(g->square[i]))
            return hwm_fail(err, HWM_ENUMERIC, "the return of individual %d is %g", i, g->total[i]);
    }
    l->state.env_steps += g->result->env_steps;
    return HWM_OK;
}

static hwm_status play_all(hwm_run* l, generation* g, hwm_error* err) {
    hwm_status s = HWM_OK;
    for (int k = 0; k < g->n; k++)
        g->individual[k] =
            hwm_evolution_individual((uint64_t)l->experiment->run.seed, l->state.updates, k);
    for (int t = 0; t < g->n_tasks && s == HWM_OK; t++) {
        g->submissions[t] = 0;
        s = submit(l, g, t, err);
    }
    for (int t = 0; t < g->n_tasks && s == HWM_OK;) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        s = collect(l, g, t, err);
        if (s == HWM_EAGAIN) {
            hwm_client_poll(hwm_session_client(l->session), WAIT_MS, NULL);
            hwm_run_housekeeping(l);
            s = HWM_OK;
        } else {
            t++;
        }
    }
    return s;
}

static hwm_status step(hwm_run* l, generation* g, double seconds, hwm_error* err) {
    const hwm_evolution_config* c = &l->experiment->evolution;
    const double sigma = hwm_evolution_sigma(c, l->state.updates);
    hwm_agent_report* report = &l->update;
    report->evolution.mean = 0;
    report->evolution.best = -INFINITY;
    for (int k = 0; k < g->n; k++) {
        g->fitness[k] = g->total[k] - c->penalty * g->square[k];
        report->evolution.mean += g->total[k] / g->n;
        report->evolution.best = fmax(report->evolution.best, g->total[k]);
    }
    report->evolution.sigma = sigma;
    report->evolution.individuals_per_s = seconds > 0 ? g->n / seconds : 0;
    report->evolution.known = true;
    hwm_evolution_ranks(g->n, g->fitness, g->rank, g->order);
    hwm_evolution_gradient(l->agent->controller, g->n, g->individual, g->rank, sigma, g->eps,
                           g->sum, l->agent->phi->grad);
    nn_optim_set_lr(l->agent->phi_optim, hwm_evolution_lr(c, l->state.updates));
    return nn_optim_apply(l->agent->phi_optim, l->agent->phi, &report->gradient_norm, err);
}

// What the untrained controller meets tells how large a change of the observation is.
static hwm_status measure_delta(hwm_run* l, hwm_error* err) {
    const hwm_experiment* e = l->experiment;
    hwm_agent* a = l->agent;
    const int at = hwm_param_list_find(&a->phi->list, "input.delta_scale");
    if (at < 0)
        return HWM_OK;
    const int O = a->spec.obs_dim;
    hwm_controller* c = NULL;
    hwm_rollout* r = NULL;
    hwm_rollout_config config = hwm_rollout_default_config();
    config.explore = HWM_EXPLORE_NOISE;
    config.std = e->worker.explore_std;
    config.eps = e->worker.explore_eps;
    hwm_status s = hwm_experiment_controller(e, &c, err);
    if (s == HWM_OK)
        s = hwm_rollout_create(&r, &e->env, c, &config, (uint64_t)e->run.seed, 0, PROBE_ENVS, err);
    hwm_real* coef =
        s == HWM_OK ? calloc((size_t)hwm_controller_coef_count(c) + 1, sizeof *coef) : NULL;
    double* moment = calloc(2 * (size_t)O, sizeof *moment);
    if (s == HWM_OK && (!coef || !moment))
        s = hwm_fail(err, HWM_ENOMEM, "no memory for a first rollout");
    if (s == HWM_OK) {
        double n = 0;
        hwm_controller_prepare(c, a->phi->value, coef);
        for (int i = 0; i < PROBE_ENVS; i++)
            hwm_rollout_begin(r, coef, i, 0);
        for (int t = 0; t < PROBE_ROWS; t++) {
            hwm_rollout_think(r, coef, hwm_controller_delta_scale(c, a->phi->value));
            hwm_rollout_step(r, coef);
            for (int i = 0; i < PROBE_ENVS; i++) {
                if (r->flags[i] & HWM_FLAG_FIRST)
                    continue;
                for (int j = 0; j < O; j++) {
                    const double d = (double)(r->obs[i * O + j] - r->old_obs[i * O + j]) /
                                     (double)a->spec.obs_scale[j];
                    moment[j] += d;
                    moment[O + j] += d * d;
                }
                n++;
            }
        }
        for (int j = 0; j < O && n > 0; j++) {
            const double mean = moment[j] / n, var = moment[O + j] / n - mean * mean;
            a->phi->value[a->phi->list.entry[at].offset + (size_t)j] =
                (hwm_real)(sqrt(var > 0 ? var : 0) + e->model.scale_floor);
        }
    }
    free(moment);
    free(coef);
    hwm_rollout_destroy(&r);
    hwm_controller_destroy(&c);
    return s;
}

hwm_status hwm_run_evolve(hwm_run* l, hwm_error* err) {
    generation g;
    hwm_status s = generation_alloc(&g, &l->experiment->evolution, l->agent->phi->list.count, err);
    if (s != HWM_OK)
        return s;
    if (l->state.updates == 0)
        s = measure_delta(l, err);
    l->phase = "evolution";
    while (s == HWM_OK && !hwm_run_finished(l)) {
        const double began = hwm_clock_s();
        s = hwm_session_publish(l->session, err);
        if (s == HWM_OK)
            s = play_all(l, &g, err);
        if (s == HWM_OK)
            s = step(l, &g, hwm_clock_s() - began, err);
        if (s != HWM_OK)
            break;
        l->state.updates++;
        s = hwm_run_evaluate(l, err);
        hwm_run_housekeeping(l);
    }
    generation_free(&g);
    return s;
}
