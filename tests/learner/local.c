#include "local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "env/env.h"

struct local {
    hwm_agent* agent;
    hwm_envs* envs;
    uint64_t seed;
    int trained;                    // environments that updates draw from: the first of all E
    int E, O, A, S, NA, cap, rows;  // rows written per environment
    float* raw;                     // (E,O)
    uint8_t *ending, *first, *term;
    uint32_t* episode;
    float *reward, *ret;
    hwm_real *state, *act, *obs_l, *prev_obs_l, *prev_u_l, *prev_r_l, *first_l, *u_l, *coef, *scale;
    hwm_real* rows_o;
    // stored, [row][env]
    hwm_real *o, *u, *r, *s;
    uint8_t *f, *t;
    int *begin, *end;  // rows of the episode: [begin, end], end -1 while open
    int64_t steps;
    double recent[20];
    int n_recent;
    double drift[4096];  // correlated noise
    hwm_rng rng, noise, held_noise;
    hwm_sequences batch, start_batch;
    double velocity;  // m/s, of the newest evaluation
};

static void* need(size_t n, size_t size) {
    void* p = calloc(n ? n : 1, size);
    HWM_ASSERT(p != NULL);
    return p;
}

static void sequences_create(hwm_sequences* b, int n, int T, int K, int O, int A) {
    const size_t N = (size_t)n, R = sizeof(hwm_real);
    *b = (hwm_sequences){0};
    b->n = n;
    b->length = T;
    b->context = K;
    b->obs = need(N * (size_t)(T * O), R);
    b->action = need(N * (size_t)(T * A), R);
    b->reward = need(N * (size_t)T, R);
    b->first = need(N * (size_t)T, R);
    b->terminal = need(N * (size_t)T, R);
    b->valid = need(N * (size_t)T, R);
    b->hindsight = need(N * (size_t)(K * (2 * O + A)), R);
}

static void sequences_destroy(hwm_sequences* b) {
    free(b->obs);
    free(b->action);
    free(b->reward);
    free(b->first);
    free(b->terminal);
    free(b->valid);
    free(b->hindsight);
}

local* local_create(hwm_agent* agent, int environments, int capacity_steps, uint64_t seed) {
    local* l = need(1, sizeof *l);
    const size_t R = sizeof(hwm_real);
    l->agent = agent;
    l->seed = seed;
    l->trained = environments;
    l->E = environments += environments / 8 > 0 ? environments / 8 : 1;
    l->O = agent->spec.obs_dim;
    l->A = agent->spec.action_dim;
    l->S = hwm_controller_state_size(agent->controller);
    l->NA = hwm_controller_activations(agent->controller);
    l->cap = 2 * capacity_steps / l->trained + 1024;
    hwm_error err = {0};
    HWM_ASSERT(hwm_envs_create(&l->envs, &agent->experiment->env, seed, 0, environments, 1, &err) ==
               HWM_OK);
    const size_t E = (size_t)environments, N = (size_t)l->cap * E;
    l->raw = need(E * (size_t)l->O, sizeof(float));
    l->ending = need(E, 1);
    l->first = need(E, 1);
    l->term = need(E, 1);
    l->episode = need(E, sizeof *l->episode);
    l->reward = need(E, sizeof(float));
    l->ret = need(E, sizeof(float));
    l->state = need(hwm_lanes_size(l->E, l->S), R);
    l->act = need(hwm_lanes_size(l->E, l->NA), R);
    l->obs_l = need(hwm_lanes_size(l->E, l->O), R);
    l->prev_obs_l = need(hwm_lanes_size(l->E, l->O), R);
    l->u_l = need(hwm_lanes_size(l->E, l->A), R);
    l->prev_u_l = need(hwm_lanes_size(l->E, l->A), R);
    l->prev_r_l = need(hwm_lanes_size(l->E, 1), R);
    l->first_l = need(hwm_lanes_size(l->E, 1), R);
    l->coef = need((size_t)hwm_controller_coef_count(agent->controller), R);
    l->rows_o = need(E * (size_t)l->O, R);
    l->o = need(N * (size_t)l->O, R);
    l->u = need(N * (size_t)l->A, R);
    l->r = need(N, R);
    l->s = need(N * (size_t)l->S, R);
    l->f = need(N, 1);
    l->t = need(N, 1);
    l->begin = need(N, sizeof(int));
    l->end = need(N, sizeof(int));
    hwm_rng_init(&l->rng, seed, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_rng_init(&l->noise, seed, HWM_PURPOSE_EXPLORATION, 0, 0, 0);
    hwm_rng_init(&l->held_noise, seed, HWM_PURPOSE_EXPLORATION, 1, 0, 0);
    const int K = hwm_model_context(agent->model);
    sequences_create(&l->batch, hwm_model_batch_sequences(agent->model),
                     hwm_model_batch_length(agent->model), K, l->O, l->A);
    sequences_create(&l->start_batch, (int)agent->experiment->imagination.batch,
                     hwm_model_start_length(agent->model), K, l->O, l->A);
    for (int i = 0; i < l->E; i++) {
        hwm_envs_reset(l->envs, i, 0, l->raw + (size_t)i * (size_t)l->O);
        l->first[i] = 1;
    }
    return l;
}

void local_destroy(local** l_) {
    local* l = *l_;
    hwm_envs_destroy(&l->envs);
    sequences_destroy(&l->batch);
    sequences_destroy(&l->start_batch);
    void* all[] = {l->raw,        l->ending, l->first,    l->term,     l->episode,
                   l->reward,     l->ret,    l->state,    l->act,      l->obs_l,
                   l->prev_obs_l, l->u_l,    l->prev_u_l, l->prev_r_l, l->first_l,
                   l->coef,       l->rows_o, l->o,        l->u,        l->r,
                   l->s,          l->f,      l->t,        l->begin,    l->end};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(l);
    *l_ = NULL;
}

static size_t lane(int i, int features, int j) {
    return ((size_t)(i / HWM_LANES) * (size_t)features + (size_t)j) * HWM_LANES +
           (size_t)(i % HWM_LANES);
}

static const hwm_real* delta_scale(const hwm_agent* a, hwm_real* ones) {
    const int k = hwm_param_list_find(&a->phi->list, "input.delta_scale");
    if (k >= 0)
        return a->phi->value + a->phi->list.entry[k].offset;
    for (int j = 0; j < a->spec.obs_dim; j++)
        ones[j] = 1;
    return ones;
}

static hwm_rng* noise_of(local* l, int i) {
    return i < l->trained ? &l->noise : &l->held_noise;
}

int64_t local_step(local* l) {
    hwm_agent* a = l->agent;
    const int E = l->E, O = l->O, A = l->A, p = l->rows;
    HWM_ASSERT(p < l->cap);
    hwm_real ones[512];
    hwm_controller_prepare(a->controller, a->phi->value, l->coef);
    for (int i = 0; i < E; i++) {
        for (int j = 0; j < O; j++)
            l->rows_o[i * O + j] = (hwm_real)(l->raw[i * O + j] / a->spec.obs_scale[j]);
        l->first_l[lane(i, 1, 0)] = l->first[i];
        l->prev_r_l[lane(i, 1, 0)] = (hwm_real)l->reward[i] / (hwm_real)a->spec.action_repeat;
        if (l->first[i])
            hwm_controller_reset(a->controller, l->coef, noise_of(l, i), l->state, i);
    }
    hwm_lanes_pack(l->obs_l, l->rows_o, E, O);
    hwm_controller_input(a->controller, E, l->obs_l, l->prev_obs_l, delta_scale(a, ones),
                         l->prev_u_l, l->prev_r_l, l->first_l, l->act);
    hwm_controller_act(a->controller, l->coef, E, l->state, l->act);
    float action[4096];
    for (int i = 0; i < E; i++)
        for (int j = 0; j < A; j++) {
            const double out = (double)l->act[lane(i, l->NA, l->NA - A + j)];
            double u;
            if (a->spec.discrete)
                u = hwm_rng_uniform_double(noise_of(l, i)) <
                            (1 + out * (1 - a->experiment->worker.explore_eps)) / 2
                        ? 1
                        : -1;
            else {
                const hwm_worker_config* w = &a->experiment->worker;
                const bool prefill = a->behaviour_updates == 0 && w->prefill == HWM_PREFILL_NOISE;
                const double c = prefill ? w->explore_correlation : 0,
                             std = prefill ? w->prefill_noise_std : w->explore_std;
                double* n = &l->drift[i * A + j];
                *n = c * *n + sqrt(1 - c * c) * (double)hwm_rng_normal(noise_of(l, i));
                u = out + std * *n;
                u = u < -1 ? -1 : u > 1 ? 1 : u;
            }
            l->u_l[lane(i, A, j)] = (hwm_real)u;
            action[i * A + j] = (float)u;
        }
    // store the rows, then the plastic step
    for (int i = 0; i < E; i++) {
        const size_t at = (size_t)p * (size_t)E + (size_t)i;
        memcpy(l->o + at * (size_t)O, l->rows_o + i * O, (size_t)O * sizeof(hwm_real));
        for (int j = 0; j < A; j++)
            l->u[at * (size_t)A + (size_t)j] = l->ending[i] ? 0 : (hwm_real)action[i * A + j];
        for (int j = 0; j < l->S; j++)
            l->s[at * (size_t)l->S + (size_t)j] = l->state[lane(i, l->S, j)];
        l->r[at] = (hwm_real)l->reward[i] / (hwm_real)a->spec.action_repeat;
        l->f[at] = l->first[i];
        l->t[at] = l->term[i];
        l->begin[at] = l->first[i] ? p : l->begin[at - (size_t)E];
        l->end[at] = -1;
        if (l->ending[i])
            for (int q = l->begin[at]; q <= p; q++)
                l->end[(size_t)q * (size_t)E + (size_t)i] = p;
    }
    l->rows++;
    hwm_controller_learn(a->controller, l->coef, E, l->act, l->u_l, NULL, l->state, NULL);
    memcpy(l->prev_obs_l, l->obs_l, hwm_lanes_size(E, O) * sizeof(hwm_real));
    memcpy(l->prev_u_l, l->u_l, hwm_lanes_size(E, A) * sizeof(hwm_real));
    uint8_t active[4096], terminated[4096] = {0}, truncated[4096] = {0};
    for (int i = 0; i < E; i++)
        active[i] = !l->ending[i];
    hwm_envs_step(l->envs, active, action, l->raw, l->reward, terminated, truncated);
    for (int i = 0; i < E; i++) {
        if (l->ending[i]) {  // its last observation is stored: begin the next episode
            l->recent[l->n_recent++ % 20] = (double)l->ret[i];
            l->ret[i] = 0;
            l->reward[i] = 0;
            l->ending[i] = l->term[i] = 0;
            l->first[i] = 1;
            hwm_envs_reset(l->envs, i, ++l->episode[i], l->raw + (size_t)i * (size_t)O);
            continue;
        }
        l->steps += i < l->trained ? a->spec.action_repeat : 0;
        l->first[i] = 0;
        l->ret[i] += l->reward[i];
        l->term[i] = terminated[i];
        l->ending[i] = terminated[i] || truncated[i];
    }
    return l->steps;
}

double local_return_mean(const local* l) {
    const int n = l->n_recent < 20 ? l->n_recent : 20;
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += l->recent[i];
    return n ? sum / n : 0;
}

static bool put(local* l, hwm_sequences* b, int i, int row, int env) {
    const int O = l->O, A = l->A, T = b->length;
    bool all = true;
    for (int t = 0; t < T; t++) {
        const size_t at = (size_t)(row + t) * (size_t)l->E + (size_t)env;
        const size_t to = (size_t)i * (size_t)T + (size_t)t;
        const bool valid =
            row + t < l->rows && l->begin[at] == l->begin[(size_t)row * (size_t)l->E + (size_t)env];
        b->valid[to] = valid ? 1 : 0;
        if (!valid) {
            all = false;
            continue;
        }
        memcpy(b->obs + to * (size_t)O, l->o + at * (size_t)O, (size_t)O * sizeof(hwm_real));
        memcpy(b->action + to * (size_t)A, l->u + at * (size_t)A, (size_t)A * sizeof(hwm_real));
        b->reward[to] = l->r[at];
        b->first[to] = l->f[at];
        b->terminal[to] = l->t[at];
    }
    return all;
}

// K transitions of the same episode
static bool put_context(local* l, hwm_sequences* b, int i, int row, int env, int window) {
    const int O = l->O, A = l->A, W = 2 * O + A;
    if (b->context == 0)
        return true;
    const size_t at = (size_t)row * (size_t)l->E + (size_t)env;
    int lo = l->begin[at], hi = l->end[at] < 0 ? l->rows - 1 : l->end[at];
    if (window > 0 && lo < row - window)
        lo = row - window;
    if (window > 0 && hi > row + window)
        hi = row + window;
    if (hi <= lo)
        return false;
    for (int k = 0; k < b->context; k++) {
        const int q = lo + (int)hwm_rng_below(&l->rng, (uint32_t)(hi - lo));
        const size_t from = (size_t)q * (size_t)l->E + (size_t)env, next = from + (size_t)l->E;
        hwm_real* x = b->hindsight + ((size_t)i * (size_t)b->context + (size_t)k) * (size_t)W;
        for (int j = 0; j < O; j++) {
            x[j] = l->o[from * (size_t)O + (size_t)j];
            x[O + A + j] = l->o[next * (size_t)O + (size_t)j] - x[j];
        }
        for (int j = 0; j < A; j++)
            x[O + j] = l->u[from * (size_t)A + (size_t)j];
    }
    return true;
}

// Whether the row is a terminal; then it is moved back as replay.terminal_back_min and _max say, as
// far as its episode reaches.
static bool before_terminal(local* l, int env, int* row) {
    const hwm_experience_config* c = &l->agent->experiment->replay;
    const size_t at = (size_t)*row * (size_t)l->E + (size_t)env;
    if (!l->t[at])
        return false;
    const int back =
        (int)c->terminal_back_min +
        (int)hwm_rng_below(&l->rng, (uint32_t)(c->terminal_back_max - c->terminal_back_min + 1));
    *row = *row - back > l->begin[at] ? *row - back : l->begin[at];
    return true;
}

// First row of the newest replay.recent_steps.
static int newest_rows(const local* l) {
    const int64_t rows = l->agent->experiment->replay.recent_steps / l->trained;
    return rows < l->rows ? l->rows - (int)rows : 0;
}

const hwm_sequences* local_model_batch(local* l) {
    const hwm_model_config* m = &l->agent->experiment->model;
    hwm_sequences* b = &l->batch;
    for (int i = 0; i < b->n; i++) {
        const bool terminal = (m->terminals || m->continue_of[0]) &&
                              hwm_rng_uniform_double(&l->rng) < m->fraction_terminal;
        for (int tries = 0;; tries++) {
            const int env = (int)hwm_rng_below(&l->rng, (uint32_t)l->trained);
            int row = (int)hwm_rng_below(&l->rng, (uint32_t)(l->rows - 1));
            if (terminal && tries < 400) {
                row++;
                if (!before_terminal(l, env, &row))
                    continue;
                row -= b->length - 1;
                if (row < 0)
                    continue;
            }
            if (put(l, b, i, row, env) &&
                put_context(l, b, i, row, env, (int)m->context_window_steps))
                break;
        }
    }
    return b;
}

// Row 0 of sequence i becomes its last one; those before it are padding.
static void alone(hwm_sequences* b, int i, int O, int A) {
    const size_t from = (size_t)i * (size_t)b->length, to = from + (size_t)b->length - 1;
    memmove(b->obs + to * (size_t)O, b->obs + from * (size_t)O, (size_t)O * sizeof(hwm_real));
    memmove(b->action + to * (size_t)A, b->action + from * (size_t)A, (size_t)A * sizeof(hwm_real));
    b->reward[to] = b->reward[from];
    b->first[to] = b->first[from];
    b->terminal[to] = b->terminal[from];
    for (size_t t = from; t < to; t++)
        b->valid[t] = 0;
    b->valid[to] = 1;
}

void local_starts(local* l) {
    const hwm_imagination_config* im = &l->agent->experiment->imagination;
    hwm_starts* s = hwm_imagination_starts(l->agent->imagination);
    hwm_sequences* b = &l->start_batch;
    const int O = l->O, A = l->A, E = l->E;
    for (int i = 0; i < b->n; i++) {
        const double kind = hwm_rng_uniform_double(&l->rng);
        const bool want_first = kind < im->fraction_first;
        const bool terminal = !want_first && kind < im->fraction_first + im->fraction_terminal;
        const double recent = im->fraction_first + im->fraction_terminal + im->fraction_recent;
        const int oldest = !want_first && !terminal && kind < recent ? newest_rows(l) : 0;
        int env, row;
        for (int tries = 0;; tries++) {
            env = (int)hwm_rng_below(&l->rng, (uint32_t)l->trained);
            row = oldest + (int)hwm_rng_below(&l->rng, (uint32_t)(l->rows - oldest));
            if (terminal && tries < 400 && !before_terminal(l, env, &row))
                continue;
            if (want_first)
                row = l->begin[(size_t)row * (size_t)E + (size_t)env];
            if (put(l, b, i, row, env) &&
                put_context(l, b, i, row, env,
                            (int)l->agent->experiment->model.context_window_steps))
                break;
        }
        // an episode's first row alone, or the last of the rows that lead up to the start
        const bool begins = l->f[(size_t)row * (size_t)E + (size_t)env];
        const bool first = begins && !hwm_model_start_knows(l->agent->model);
        const int T = b->length, target = first ? row : row + T - 1;
        if (first)
            alone(b, i, O, A);
        const size_t at = (size_t)target * (size_t)E + (size_t)env, before = at - (size_t)E;
        for (int j = 0; j < O; j++)
            s->previous_obs[i * O + j] = first ? 0 : l->o[before * (size_t)O + (size_t)j];
        for (int j = 0; j < A; j++)
            s->previous_action[i * A + j] = first ? 0 : l->u[before * (size_t)A + (size_t)j];
        s->previous_reward[i] = first ? 0 : l->r[at];
        s->first[i] = first;
        s->alive[i] = l->t[at] ? 0 : 1;
        s->fresh[i] = begins || hwm_rng_uniform_double(&l->rng) < im->fraction_fresh;
        s->age[i] = 0;
        for (int j = 0; j < l->S; j++)
            s->state[lane(i, l->S, j)] = l->s[at * (size_t)l->S + (size_t)j];
    }
    hwm_model_start(l->agent->model, b, &l->rng, s->z);
    if (hwm_model_own_starts(l->agent->model))
        hwm_imagination_begin_episodes(l->agent->imagination);
}

double local_velocity(const local* l) {
    return l->velocity;
}

double local_evaluate(local* l, int episodes, uint64_t seed, float variant_sign, int freeze_at) {
    const hwm_agent* a = l->agent;
    const int E = episodes, O = l->O, A = l->A;
    hwm_envs* envs;
    hwm_error err = {0};
    HWM_ASSERT(hwm_envs_create(&envs, &a->experiment->env, seed, 0, E, 1, &err) == HWM_OK);
    const size_t R = sizeof(hwm_real);
    float *raw = need((size_t)(E * O), sizeof(float)), *reward = need((size_t)E, sizeof(float)),
          *action = need((size_t)(E * A), sizeof(float));
    uint8_t *active = need((size_t)E, 1), *te = need((size_t)E, 1), *tr = need((size_t)E, 1);
    hwm_real *state = need(hwm_lanes_size(E, l->S), R), *act = need(hwm_lanes_size(E, l->NA), R),
             *obs = need(hwm_lanes_size(E, O), R), *prev = need(hwm_lanes_size(E, O), R),
             *u = need(hwm_lanes_size(E, A), R), *pu = need(hwm_lanes_size(E, A), R),
             *pr = need(hwm_lanes_size(E, 1), R), *first = need(hwm_lanes_size(E, 1), R),
             *rows = need((size_t)(E * O), R),
             *coef = need((size_t)hwm_controller_coef_count(a->controller), R);
    hwm_real ones[512];
    hwm_controller_prepare(a->controller, a->phi->value, coef);
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_WEIGHTS, 0, 0, 0);
    int alive = E;
    double sum = 0, ahead = 0;
    for (int i = 0; i < E; i++) {
        if (variant_sign != 0) {
            float variant[16] = {variant_sign, 1e9f};
            hwm_envs_force_variant(envs, i, variant);
        }
        hwm_envs_reset(envs, i, 0, raw + i * O);
        hwm_controller_reset(a->controller, coef, &rng, state, i);
        active[i] = 1;
        first[lane(i, 1, 0)] = 1;
    }
    for (int t = 0; alive > 0; t++) {
        for (int i = 0; i < E; i++) {
            for (int j = 0; j < O; j++)
                rows[i * O + j] = (hwm_real)(raw[i * O + j] / a->spec.obs_scale[j]);
            pr[lane(i, 1, 0)] = (hwm_real)reward[i] / (hwm_real)a->spec.action_repeat;
        }
        hwm_lanes_pack(obs, rows, E, O);
        hwm_controller_input(a->controller, E, obs, prev, delta_scale(a, ones), pu, pr, first, act);
        hwm_controller_act(a->controller, coef, E, state, act);
        for (int i = 0; i < E; i++)
            for (int j = 0; j < A; j++) {
                const hwm_real out = act[lane(i, l->NA, l->NA - A + j)];
                u[lane(i, A, j)] = a->spec.discrete ? (out >= 0 ? 1 : -1) : out;
                action[i * A + j] = (float)u[lane(i, A, j)];
            }
        if (freeze_at < 0 || t < freeze_at)
            hwm_controller_learn(a->controller, coef, E, act, u, NULL, state, NULL);
        memcpy(prev, obs, hwm_lanes_size(E, O) * R);
        memcpy(pu, u, hwm_lanes_size(E, A) * R);
        memset(first, 0, hwm_lanes_size(E, 1) * R);
        hwm_envs_step(envs, active, action, raw, reward, te, tr);
        for (int i = 0; i < E; i++)
            if (active[i]) {
                sum += (double)reward[i];
                if (te[i] || tr[i]) {
                    ahead += hwm_envs_ahead(envs, i);
                    active[i] = 0;
                    alive--;
                }
            }
    }
    hwm_envs_destroy(&envs);
    l->velocity = ahead / E / (a->spec.time_limit * a->spec.control_dt);
    void* all[] = {raw, reward, action, active, te, tr,    state, act,
                   obs, prev,   u,      pu,     pr, first, rows,  coef};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    return sum / E;
}

void local_open_loop(local* l, int steps, int sequences, double* model, double* nothing) {
    const int O = l->O, A = l->A, E = l->E, Z = hwm_model_latent(l->agent->model);
    const int K = (int)l->agent->experiment->model.members;
    const int n = (sequences / K) * K;
    // the rows that lead up to a start, then the recorded future
    const int lead = hwm_model_start_length(l->agent->model) - 1;
    hwm_sequences b;
    sequences_create(&b, n, lead + steps + 1, hwm_model_context(l->agent->model), O, A);
    hwm_sequences head;
    sequences_create(&head, n, lead + 1, b.context, O, A);
    for (int i = 0; i < n; i++)
        for (int tries = 0;; tries++) {
            HWM_ASSERT(tries < 100000);
            const int env = l->trained + (int)hwm_rng_below(&l->rng, (uint32_t)(E - l->trained));
            const int row = (int)hwm_rng_below(&l->rng, (uint32_t)l->rows);
            if (put(l, &b, i, row, env) && put_context(l, &head, i, row, env, 0) &&
                put(l, &head, i, row, env))
                break;
        }
    nn_tape* tape;
    HWM_ASSERT(nn_tape_create(&tape, (size_t)1 << 30) == HWM_OK);
    nn_tape_record(tape, false);
    hwm_model_begin(l->agent->model, tape);
    nn_var z = nn_new(tape, n, Z, false), u = nn_new(tape, n, A, false);
    hwm_model_start(l->agent->model, &head, &l->rng, z->x);
    for (int t = 0; t < steps; t++) {
        for (int i = 0; i < n; i++)
            memcpy(u->x + i * A,
                   b.action + ((size_t)i * (size_t)b.length + (size_t)(lead + t)) * (size_t)A,
                   (size_t)A * sizeof(hwm_real));
        z = hwm_model_step(l->agent->model, tape, z, u, t, &l->rng).z;
    }
    nn_var o = hwm_model_observe(l->agent->model, tape, z);
    *model = *nothing = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < O; j++) {
            const double s = (double)l->agent->statistics.delta_std[j] + 1e-3;
            const hwm_real* seq = b.obs + (size_t)i * (size_t)(b.length * O);
            const double end = (double)seq[(lead + steps) * O + j];
            const double e = (end - (double)o->x[i * O + j]) / s,
                         q = (end - (double)seq[lead * O + j]) / s;
            *model += e * e / (n * O);
            *nothing += q * q / (n * O);
        }
    nn_tape_destroy(&tape);
    sequences_destroy(&b);
    sequences_destroy(&head);
}
