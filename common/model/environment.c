// data path  [8] learner: world model, kind `environment`
//
// The true dynamics behind the interface of all world models: what does not learn here will not
// learn in a learned model. A rollout's whole state travels in its latent, so that rollouts can be
// continued, kept and saved like any other:
//
//   z = [o (O) ; variant (V) ; q (D) ; state (3 S)]
//
// q are the positions and velocities, which carry the gradient; state holds every number of
// get_state exactly, each as a sum of three. Rollouts begin at episodes of its own
// (hwm_model_own_starts).
//
// GRADIENT  Central differences of (o', q', r) in q and u, where gradients are asked for: 2 (D + A)
// simulated steps for one. A sign action is differentiated along the line between its two values,
// which is where its continue probability has a slope as well; elsewhere an end is a step without
// one.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "env/env_config.h"
#include "model/kinds.h"

static const double state_step = 1e-3, action_step = 0.05;

typedef struct environment {
    hwm_model base;
    hwm_env_spec spec;
    hwm_envs* envs;            // (rollouts)
    int obs, action, variant;  // O, A, V
    int moving, state;         // D, S
    int reward_range;          // entry that refresh sets
    float *raw, *push, *reward;
    uint8_t *terminated, *truncated;
    double* now;  // (B,S)
    double* one;  // (S)
} environment;

static int at_moving(const environment* e) {
    return e->obs + e->variant;
}

static int at_state(const environment* e) {
    return at_moving(e) + e->moving;
}

static void environment_destroy(hwm_model* model) {
    environment* e = (environment*)model;
    hwm_envs_destroy(&e->envs);
    free(e->raw);
    free(e->push);
    free(e->reward);
    free(e->terminated);
    free(e->truncated);
    free(e->now);
    free(e->one);
    free(e);
}

// There is nothing to learn.
static void environment_gradient(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                                 hwm_model_losses* losses) {
    (void)model;
    (void)batch;
    (void)rng;
    (void)losses;
}

static void environment_refresh(hwm_model* model, const hwm_replay_statistics* statistics,
                                double margin) {
    (void)margin;
    model->reward_range[0] = statistics->reward_min;
    model->reward_range[1] = statistics->reward_max;
}

static void put_obs(const environment* e, const float* raw, hwm_real* z) {
    for (int j = 0; j < e->obs; j++)
        z[j] = (hwm_real)(raw[j] / e->spec.obs_scale[j]);
}

// What simulator i holds, into its latent.
static void put_state(environment* e, int i, hwm_real* z) {
    hwm_envs_get_state(e->envs, i, e->one);
    for (int j = 0; j < e->moving; j++)
        z[at_moving(e) + j] = (hwm_real)e->one[j];
    for (int j = 0; j < e->state; j++) {
        hwm_real* part = z + at_state(e) + 3 * j;
        double rest = e->one[j];
        for (int k = 0; k < 3; k++) {
            part[k] = (hwm_real)rest;
            rest -= (double)part[k];
        }
    }
    float variant[64];
    if (e->variant > 0)
        hwm_envs_variant(e->envs, i, variant);
    for (int j = 0; j < e->variant; j++)
        z[e->obs + j] = (hwm_real)variant[j];
}

static void get_state(const environment* e, const hwm_real* z, double* state) {
    for (int j = 0; j < e->state; j++) {
        const hwm_real* part = z + at_state(e) + 3 * j;
        state[j] = ((double)part[0] + (double)part[1]) + (double)part[2];
    }
}

static void environment_start(hwm_model* model, const hwm_sequences* starts, hwm_rng* rng,
                              hwm_real* z) {
    environment* e = (environment*)model;
    HWM_ASSERT(starts->n <= model->dims.rollouts);
    for (int i = 0; i < starts->n; i++) {
        hwm_real* to = z + (size_t)i * (size_t)model->latent;
        hwm_envs_reset(e->envs, i, hwm_rng_u32(rng), e->raw);
        put_obs(e, e->raw, to);
        put_state(e, i, to);
    }
}

static void environment_begin(hwm_model* model, nn_tape* tape) {
    (void)model;
    (void)tape;
}

// Every simulator from e->now with the actions e->push; results in e->raw, reward, terminated, ...
static void simulate(environment* e, int B, int moved, const double* by) {
    for (int i = 0; i < B; i++) {
        const double* from = e->now + (size_t)i * (size_t)e->state;
        memcpy(e->one, from, (size_t)e->state * sizeof *from);
        if (moved >= 0)
            e->one[moved] += by[i];
        hwm_envs_set_state(e->envs, i, e->one, NULL);
    }
    hwm_envs_step(e->envs, NULL, e->push, e->raw, e->reward, e->terminated, e->truncated);
}

// Rows of the Jacobian: what one input does to (o', q', r, continue): (B, D + A, O + D + 2)
typedef struct slopes {
    environment* e;
    nn_var z, u, next, reward, cont;
    hwm_real* slope;
} slopes;

static void add_results(environment* e, int B, int input, const double* sign_over_span,
                        bool with_end, hwm_real* slope) {
    const int O = e->obs, D = e->moving, width = O + D + 2;
    for (int i = 0; i < B; i++) {
        hwm_real* row =
            slope + ((size_t)i * (size_t)(D + e->action) + (size_t)input) * (size_t)width;
        const double k = sign_over_span[i];
        for (int j = 0; j < O; j++)
            row[j] += (hwm_real)(k * (double)e->raw[i * O + j] / (double)e->spec.obs_scale[j]);
        hwm_envs_get_state(e->envs, i, e->one);
        for (int j = 0; j < D; j++)
            row[O + j] += (hwm_real)(k * e->one[j]);
        row[O + D] += (hwm_real)(k * (double)e->reward[i] / e->spec.action_repeat);
        row[O + D + 1] += with_end ? (hwm_real)(k * (e->terminated[i] ? 0 : 1)) : 0;
    }
}

static void differentiate(environment* e, nn_tape* tape, slopes* s) {
    const int B = s->u->rows, A = e->action, D = e->moving, width = e->obs + D + 2;
    s->slope = nn_tape_alloc(tape, (size_t)B * (size_t)(D + A) * (size_t)width * sizeof(hwm_real));
    double* by = nn_tape_alloc(tape, (size_t)B * sizeof *by);
    double* k = nn_tape_alloc(tape, (size_t)B * sizeof *k);
    for (int j = 0; j < D; j++)
        for (int side = -1; side <= 1; side += 2) {
            for (int i = 0; i < B; i++) {
                const double h =
                    state_step * fmax(1, fabs(e->now[(size_t)i * (size_t)e->state + (size_t)j]));
                by[i] = side * h;
                k[i] = side / (2 * h);
            }
            simulate(e, B, j, by);
            add_results(e, B, j, k, false, s->slope);
        }
    for (int j = 0; j < A; j++)
        for (int side = -1; side <= 1; side += 2) {
            for (int i = 0; i < B; i++) {
                const double u = (double)s->u->x[i * A + j];
                double lo = fmax(u - action_step, -1), hi = fmin(u + action_step, 1);
                if (e->spec.discrete) {
                    lo = -1;
                    hi = 1;
                }
                e->push[i * A + j] = (float)(side < 0 ? lo : hi);
                k[i] = hi > lo ? side / (hi - lo) : 0;
            }
            simulate(e, B, -1, NULL);
            add_results(e, B, D + j, k, e->spec.discrete, s->slope);
            for (int i = 0; i < B; i++)
                e->push[i * A + j] = (float)s->u->x[i * A + j];
        }
}

static void step_backward(void* context) {
    const slopes* s = context;
    const environment* e = s->e;
    const int O = e->obs, D = e->moving, A = e->action, Z = e->base.latent, width = O + D + 2;
    for (int i = 0; i < s->u->rows; i++) {
        const hwm_real *g = s->next->g + (size_t)i * (size_t)Z,
                       *row = s->slope + (size_t)i * (size_t)(D + A) * (size_t)width;
        for (int input = 0; input < D + A; input++, row += width) {
            double sum = (double)row[O + D] * (double)s->reward->g[i] +
                         (double)row[O + D + 1] * (double)s->cont->g[i];
            for (int j = 0; j < O; j++)
                sum += (double)row[j] * (double)g[j];
            for (int j = 0; j < D; j++)
                sum += (double)row[O + j] * (double)g[at_moving(e) + j];
            if (input >= D && s->u->g)
                s->u->g[i * A + input - D] += (hwm_real)sum;
            else if (input < D && s->z->g)
                s->z->g[(size_t)i * (size_t)Z + (size_t)(at_moving(e) + input)] += (hwm_real)sum;
        }
    }
}

static hwm_model_next environment_step(hwm_model* model, nn_tape* tape, nn_var z, nn_var u, int t,
                                       hwm_rng* rng) {
    environment* e = (environment*)model;
    (void)t;
    (void)rng;
    const int B = z->rows, Z = model->latent, A = e->action, O = e->obs;
    HWM_ASSERT(B <= model->dims.rollouts);
    const bool grad = z->g || u->g;
    for (int i = 0; i < B; i++)
        get_state(e, z->x + (size_t)i * (size_t)Z, e->now + (size_t)i * (size_t)e->state);
    for (int i = 0; i < B * A; i++)
        e->push[i] = (float)u->x[i];
    hwm_model_next next = {nn_new(tape, B, Z, grad), nn_new(tape, B, 1, grad),
                           nn_new(tape, B, 1, grad)};
    if (grad) {
        slopes* s = nn_tape_alloc(tape, sizeof *s);
        *s = (slopes){
            .e = e, .z = z, .u = u, .next = next.z, .reward = next.reward, .cont = next.cont};
        differentiate(e, tape, s);
        nn_custom(tape, step_backward, s);
    }
    // a simulation that diverges leaves its observation as it was
    for (int i = 0; i < B; i++)
        for (int j = 0; j < O; j++)
            e->raw[i * O + j] =
                (float)z->x[(size_t)i * (size_t)Z + (size_t)j] * e->spec.obs_scale[j];
    simulate(e, B, -1, NULL);
    for (int i = 0; i < B; i++) {
        hwm_real* to = next.z->x + (size_t)i * (size_t)Z;
        put_obs(e, e->raw + (size_t)i * (size_t)O, to);
        put_state(e, i, to);
        next.reward->x[i] = (hwm_real)e->reward[i] / (hwm_real)e->spec.action_repeat;
        next.cont->x[i] = e->terminated[i] ? 0 : 1;
    }
    return next;
}

static nn_var environment_observe(hwm_model* model, nn_tape* tape, nn_var z) {
    return nn_columns(tape, z, 0, ((environment*)model)->obs);
}

static nn_var environment_features(hwm_model* model, nn_tape* tape, nn_var z) {
    return nn_columns(tape, z, 0, model->features);
}

static const hwm_model_vtable environment_kind = {
    .destroy = environment_destroy,
    .gradient = environment_gradient,
    .refresh = environment_refresh,
    .start = environment_start,
    .begin = environment_begin,
    .step = environment_step,
    .observe = environment_observe,
    .features = environment_features,
};

hwm_status hwm_environment_new(hwm_model** out, const hwm_model_config* config,
                               const hwm_model_dims* dims, uint64_t seed, hwm_error* err) {
    *out = NULL;
    if (!dims->env)
        return hwm_fail(err, HWM_EINVAL, "model.kind = environment needs the environment");
    environment* e = calloc(1, sizeof *e);
    if (!e)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the world model");
    hwm_model* m = &e->base;
    m->kind = &environment_kind;
    m->config = *config;
    m->dims = *dims;
    m->own_starts = true;
    m->batch_sequences = (int)config->batch;
    m->batch_length = 2;
    m->start_length = 1;
    const size_t B = (size_t)dims->rollouts;
    hwm_status status = hwm_env_describe(dims->env, &e->spec, err);
    // an environment number that no worker has: its episodes are its own
    if (status == HWM_OK)
        status = hwm_envs_create(&e->envs, dims->env, seed, UINT32_MAX - (uint32_t)B,
                                 dims->rollouts, 1, err);
    if (status != HWM_OK)
        goto fail;
    e->obs = dims->obs;
    e->action = dims->action;
    e->variant = e->spec.variant_dim;
    e->moving = e->spec.init_dim;
    e->state = e->spec.state_dim;
    m->features = e->obs + e->variant;
    m->latent = at_state(e) + 3 * e->state;
    e->raw = calloc(B * (size_t)e->obs, sizeof *e->raw);
    e->push = calloc(B * (size_t)e->action, sizeof *e->push);
    e->reward = calloc(B, sizeof *e->reward);
    e->terminated = calloc(B, 1);
    e->truncated = calloc(B, 1);
    e->now = calloc(B * (size_t)e->state, sizeof *e->now);
    e->one = calloc((size_t)e->state, sizeof *e->one);
    hwm_param_list list;
    hwm_param_list_init(&list);
    e->reward_range = hwm_param_list_add(&list, hwm_spec("reward_range", HWM_F32, 1, 2));
    status = HWM_ENOMEM;
    if (!e->raw || !e->push || !e->reward || !e->terminated || !e->truncated || !e->now ||
        !e->one || nn_params_create(&m->params, &list) != HWM_OK ||
        nn_tape_create(&m->tape, 1u << 20) != HWM_OK) {
        hwm_fail(err, status, "no memory for the world model");
        goto fail;
    }
    m->reward_range = m->params->value + m->params->list.entry[e->reward_range].offset;
    m->reward_range[0] = -1;
    m->reward_range[1] = 1;
    *out = m;
    return HWM_OK;
fail:
    hwm_model_destroy(&m);
    return status;
}
