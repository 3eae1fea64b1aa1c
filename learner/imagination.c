// data path  [8] learner: explicit imagination
#include "imagination.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/pool.h"
#include "share.h"

enum { SHARES_MAX = 2 };

struct hwm_imagination {
    hwm_imagination_setup set;
    hwm_arena* arena;
    int n_shares;
    share* share[SHARES_MAX];
    int B, H, O, A, Z, F, S, P;
    hwm_starts start;
    hwm_real *delta_scale, *coef;
    // what shares found, together: (H,B), (H*B,F)
    hwm_real *returns, *weights, *features;
    hwm_real* sorted;  // (H*B) scratch
    bool hold_weights;
    // running percentiles of returns: low, high, 1 when they are known
    hwm_real percentile[3];
    // ends of the last rollouts
    bool has_pool;
    hwm_starts pool;
};

static void* take(hwm_imagination* im, size_t count, size_t size, bool* ok) {
    void* p = hwm_arena_alloc(im->arena, count ? count * size : size);
    if (!p)
        *ok = false;
    return p;
}

static void take_starts(hwm_imagination* im, hwm_starts* s, bool* ok) {
    const size_t B = (size_t)im->B, R = sizeof(hwm_real);
    s->z = take(im, B * (size_t)im->Z, R, ok);
    s->state = take(im, hwm_lanes_size(im->B, im->S), R, ok);
    s->previous_obs = take(im, B * (size_t)im->O, R, ok);
    s->previous_action = take(im, B * (size_t)im->A, R, ok);
    s->previous_reward = take(im, B, R, ok);
    s->first = take(im, B, R, ok);
    s->alive = take(im, B, R, ok);
    s->linked = take(im, B, R, ok);
    s->ended = take(im, B, R, ok);
    s->fresh = take(im, B, 1, ok);
    s->age = take(im, B, sizeof(int), ok);
}

// Rollouts of share k of the starts: whole lane groups.
static hwm_starts part_of(const hwm_imagination* im, const hwm_starts* s, int k) {
    const int B = im->B / im->n_shares;
    const size_t at = (size_t)k * (size_t)B;
    return (hwm_starts){
        .z = s->z + at * (size_t)im->Z,
        .state = s->state + (size_t)k * hwm_lanes_size(B, im->S),
        .previous_obs = s->previous_obs + at * (size_t)im->O,
        .previous_action = s->previous_action + at * (size_t)im->A,
        .previous_reward = s->previous_reward + at,
        .first = s->first + at,
        .alive = s->alive + at,
        .fresh = s->fresh + at,
        .age = s->age + at,
    };
}

hwm_status hwm_imagination_create(hwm_imagination** out, const hwm_imagination_setup* setup,
                                  hwm_error* err) {
    *out = NULL;
    if (!hwm_controller_differentiable(setup->controller))
        return hwm_fail(err, HWM_EUNSUPPORTED,
                        "imagination.mode = explicit needs a differentiable rule");
    if (hwm_controller_outputs(setup->controller) != setup->action)
        return hwm_fail(err, HWM_EUNSUPPORTED,
                        "imagination.mode = explicit wants one output per action, not %d for %d",
                        hwm_controller_outputs(setup->controller), setup->action);
    hwm_imagination* im = calloc(1, sizeof *im);
    if (!im)
        return hwm_fail(err, HWM_ENOMEM, "no memory for imagination");
    im->set = *setup;
    im->B = (int)setup->config.batch;
    im->H = (int)setup->config.horizon;
    im->O = setup->obs;
    im->A = setup->action;
    im->Z = hwm_model_latent(setup->model);
    im->F = hwm_model_features(setup->model);
    im->S = hwm_controller_state_size(setup->controller);
    im->P = hwm_controller_coef_count(setup->controller);
    const int groups = hwm_model_rollout_groups(setup->model);
    im->n_shares =
        groups > 0 && im->B % (SHARES_MAX * HWM_LANES) == 0 && im->B / SHARES_MAX % groups == 0
            ? SHARES_MAX
            : 1;

    const size_t R = sizeof(hwm_real), BH = (size_t)im->B * (size_t)im->H;
    const size_t bytes =
        R * (4 * hwm_lanes_size(im->B, im->S + 1) + 2 * (size_t)im->P + BH * (size_t)(im->F + 4) +
             4 * (size_t)im->B * (size_t)(im->Z + im->O + im->A + 8)) +
        (1u << 16);
    bool ok = hwm_arena_create(&im->arena, bytes) == HWM_OK;
    if (ok) {
        take_starts(im, &im->start, &ok);
        take_starts(im, &im->pool, &ok);
        im->delta_scale = take(im, (size_t)im->O, R, &ok);
        im->coef = take(im, (size_t)im->P, R, &ok);
        im->returns = take(im, BH, R, &ok);
        im->weights = take(im, BH, R, &ok);
        im->sorted = take(im, BH, R, &ok);
        im->features = take(im, BH * (size_t)im->F, R, &ok);
    }
    hwm_status status =
        ok ? HWM_OK : hwm_fail(err, HWM_ENOMEM, "no memory for imagination: %zu bytes", bytes);
    for (int k = 0; k < im->n_shares && status == HWM_OK; k++) {
        status = share_create(&im->share[k], setup, k, im->B / im->n_shares, err);
        if (status != HWM_OK)
            break;
        share* s = im->share[k];
        s->start = part_of(im, &im->start, k);
        s->pool = part_of(im, &im->pool, k);
        s->delta_scale = im->delta_scale;
        s->coef = im->coef;
    }
    if (status != HWM_OK) {
        hwm_imagination_destroy(&im);
        return status;
    }
    *out = im;
    return HWM_OK;
}

void hwm_imagination_destroy(hwm_imagination** imagination) {
    if (!imagination || !*imagination)
        return;
    hwm_imagination* im = *imagination;
    for (int k = 0; k < im->n_shares; k++)
        share_destroy(&im->share[k]);
    hwm_arena_destroy(&im->arena);
    free(im);
    *imagination = NULL;
}

hwm_starts* hwm_imagination_starts(hwm_imagination* imagination) {
    return &imagination->start;
}

hwm_real* hwm_imagination_features(hwm_imagination* imagination) {
    return imagination->features;
}

const hwm_real* hwm_imagination_returns(const hwm_imagination* imagination) {
    return imagination->returns;
}

const hwm_real* hwm_imagination_weights(const hwm_imagination* imagination) {
    return imagination->weights;
}

void hwm_imagination_hold_weights(hwm_imagination* imagination, bool hold) {
    imagination->hold_weights = hold;
    for (int k = 0; k < imagination->n_shares; k++)
        imagination->share[k]->hold_weights = hold;
}

void hwm_imagination_begin_episodes(hwm_imagination* im) {
    const size_t B = (size_t)im->B;
    memset(im->start.previous_obs, 0, B * (size_t)im->O * sizeof(hwm_real));
    memset(im->start.previous_action, 0, B * (size_t)im->A * sizeof(hwm_real));
    memset(im->start.previous_reward, 0, B * sizeof(hwm_real));
    for (size_t i = 0; i < B; i++) {
        im->start.first[i] = im->start.alive[i] = 1;
        im->start.linked[i] = im->start.ended[i] = 0;
        im->start.fresh[i] = 1;
        im->start.age[i] = 0;
    }
}

static void copy_lane(hwm_real* to, const hwm_real* from, int sample, int features) {
    for (int j = 0; j < features; j++) {
        const size_t at = lane_at(sample, features, j);
        to[at] = from[at];
    }
}

void hwm_imagination_continue(hwm_imagination* im, uint64_t update,
                              hwm_imagination_report* report) {
    report->continued = 0;
    if (!im->has_pool || im->set.config.fraction_continued <= 0)
        return;
    hwm_rng rng;
    hwm_rng_init(&rng, im->set.seed, HWM_PURPOSE_IMAGINATION, 1, (uint32_t)update,
                 (uint32_t)(update >> 32));
    for (int i = 0; i < im->B; i++) {
        const bool chosen = hwm_rng_uniform(&rng) < (float)im->set.config.fraction_continued;
        if (!chosen || im->pool.alive[i] == 0 ||
            (im->set.config.keep_first && im->start.first[i] > 0) ||
            im->pool.age[i] >= (int)im->set.config.continued_age_steps)
            continue;
        const size_t Z = (size_t)im->Z, O = (size_t)im->O, A = (size_t)im->A, at = (size_t)i;
        memcpy(im->start.z + at * Z, im->pool.z + at * Z, Z * sizeof(hwm_real));
        memcpy(im->start.previous_obs + at * O, im->pool.previous_obs + at * O,
               O * sizeof(hwm_real));
        memcpy(im->start.previous_action + at * A, im->pool.previous_action + at * A,
               A * sizeof(hwm_real));
        copy_lane(im->start.state, im->pool.state, i, im->S);
        im->start.previous_reward[i] = im->pool.previous_reward[i];
        im->start.first[i] = 0;
        im->start.alive[i] = 1;
        im->start.fresh[i] = 0;
        im->start.age[i] = im->pool.age[i];
        report->continued += 1.0 / im->B;
    }
}

// ---- one rollout of all shares

static void forward_task(void* context, int k) {
    share_forward(((hwm_imagination*)context)->share[k]);
}

static void backward_task(void* context, int k) {
    share_backward(((hwm_imagination*)context)->share[k]);
}

// Rows t*B + b of what each share has in rows t*(B/n) + b.
static void gather(hwm_imagination* im) {
    const size_t part = (size_t)(im->B / im->n_shares), R = sizeof(hwm_real), F = (size_t)im->F;
    for (int k = 0; k < im->n_shares; k++)
        for (size_t t = 0; t < (size_t)im->H; t++) {
            const share* s = im->share[k];
            const size_t to = t * (size_t)im->B + (size_t)k * part;
            memcpy(im->returns + to, s->returns + t * part, part * R);
            memcpy(im->weights + to, s->weights + t * part, part * R);
            memcpy(im->features + to * F, s->features + t * part * F, part * F * R);
        }
}

static int ascending(const void* a, const void* b) {
    const hwm_real x = *(const hwm_real*)a, y = *(const hwm_real*)b;
    return (x > y) - (x < y);
}

// Range of returns, 5th to 95th percentile, as its running mean has it. In units of returns.
static double return_range(hwm_imagination* im) {
    const size_t n = (size_t)im->B * (size_t)im->H;
    if (!im->hold_weights) {
        memcpy(im->sorted, im->returns, n * sizeof(hwm_real));
        qsort(im->sorted, n, sizeof(hwm_real), ascending);
        const hwm_real now[2] = {im->sorted[(n - 1) / 20], im->sorted[(n - 1) - (n - 1) / 20]};
        const hwm_real rate = im->percentile[2] > 0 ? (hwm_real)0.01 : 1;
        for (int k = 0; k < 2; k++)
            im->percentile[k] += rate * (now[k] - im->percentile[k]);
        im->percentile[2] = 1;
    }
    return (double)(im->percentile[1] - im->percentile[0]);
}

// What -w R and -w entropy are multiplied with: 0.1 per unit of raw return; with percentiles, the
// range of raw returns counts 1, and entropy as much whatever that range is.
static void choose_factors(hwm_imagination* im) {
    const double each = 1 / ((double)im->B * im->H), unit = 1 - im->set.gamma;
    double factor = 0.1 / unit * each, entropy = factor * im->set.config.entropy;
    if (im->set.config.normalise == HWM_NORMALISE_PERCENTILE) {
        factor = each / fmax(unit, return_range(im));
        entropy = each * im->set.config.entropy;
    }
    for (int k = 0; k < im->n_shares; k++) {
        im->share[k]->factor = factor;
        im->share[k]->entropy_factor = entropy;
    }
}

static void make_report(const hwm_imagination* im, hwm_imagination_report* r) {
    share_sums all = {0};
    const double* from;
    double* to = (double*)&all;
    for (int k = 0; k < im->n_shares; k++) {
        from = (const double*)&im->share[k]->sums;
        for (size_t j = 0; j < sizeof all / sizeof *to; j++)
            to[j] += from[j];
    }
    const share* s = im->share[0];
    const double n = (double)im->B * im->H;
    const bool reinforce = im->set.config.gradient == HWM_GRADIENT_REINFORCE;
    r->actor_loss = -s->factor * (reinforce ? all.scored : all.weighted) -
                    s->entropy_factor * all.weighted_entropy +
                    im->set.config.saturation * all.penalty / (n * im->A);
    r->imagined_return = all.weight > 0 ? all.weighted / all.weight : 0;
    r->entropy = all.entropy / (n * im->A);
    r->saturation = all.saturated / (n * im->A);
    r->start_return = all.starts[0] > 0   ? all.start[0] / all.starts[0]
                      : all.starts[1] > 0 ? all.start[1] / all.starts[1]
                                          : NAN;
    r->weight_abs = im->S > 0 ? all.size / ((double)im->B * im->S) : 0;
    r->update_relative = all.size > 0 ? all.change / all.size : 0;
}

void hwm_imagination_gradient(hwm_imagination* im, const hwm_real* phi, uint64_t update,
                              hwm_real* g_phi, hwm_imagination_report* report) {
    const hwm_controller* c = im->set.controller;
    const hwm_param_list* list = hwm_controller_params(c);
    // coefficients of this version, and the scale of the inputs that are changes
    hwm_controller_prepare(c, phi, im->coef);
    const int scale = hwm_param_list_find(list, "input.delta_scale");
    for (int j = 0; j < im->O; j++)
        im->delta_scale[j] = scale >= 0 ? phi[list->entry[scale].offset + (size_t)j] : 1;
    for (int k = 0; k < im->n_shares; k++)
        share_begin(im->share[k], update, g_phi != NULL);
    nn_parallel(im->n_shares, forward_task, im);
    gather(im);
    im->has_pool = true;
    choose_factors(im);
    make_report(im, report);
    if (!g_phi)
        return;
    nn_parallel(im->n_shares, backward_task, im);
    for (int k = 1; k < im->n_shares; k++)
        for (int j = 0; j < im->P; j++)
            im->share[0]->g_coef[j] += im->share[k]->g_coef[j];
    memset(g_phi, 0, list->count * sizeof(hwm_real));
    hwm_controller_prepare_backward(c, phi, im->coef, im->share[0]->g_coef, g_phi);
}

nn_tape* hwm_imagination_tape(hwm_imagination* imagination) {
    return imagination->share[0]->tape;
}

// ---- checkpoint of the pool

size_t hwm_imagination_pool_count(const hwm_imagination* im) {
    return (size_t)im->B * (size_t)(im->Z + im->S + im->O + im->A + 3) + 4;
}

void hwm_imagination_pool_save(const hwm_imagination* im, float* out) {
    *out++ = im->has_pool ? 1.0f : 0.0f;
    for (int k = 0; k < 3; k++)
        *out++ = (float)im->percentile[k];
    const hwm_starts* p = &im->pool;
    for (int i = 0; i < im->B; i++) {
        for (int j = 0; j < im->Z; j++)
            *out++ = (float)p->z[(size_t)i * (size_t)im->Z + (size_t)j];
        for (int j = 0; j < im->S; j++)
            *out++ = (float)p->state[lane_at(i, im->S, j)];
        for (int j = 0; j < im->O; j++)
            *out++ = (float)p->previous_obs[(size_t)i * (size_t)im->O + (size_t)j];
        for (int j = 0; j < im->A; j++)
            *out++ = (float)p->previous_action[(size_t)i * (size_t)im->A + (size_t)j];
        *out++ = (float)p->previous_reward[i];
        *out++ = (float)p->alive[i];
        *out++ = (float)p->age[i];
    }
}

void hwm_imagination_pool_load(hwm_imagination* im, const float* in) {
    im->has_pool = *in++ > 0;
    for (int k = 0; k < 3; k++)
        im->percentile[k] = (hwm_real)*in++;
    hwm_starts* p = &im->pool;
    for (int i = 0; i < im->B; i++) {
        for (int j = 0; j < im->Z; j++)
            p->z[(size_t)i * (size_t)im->Z + (size_t)j] = (hwm_real)*in++;
        for (int j = 0; j < im->S; j++)
            p->state[lane_at(i, im->S, j)] = (hwm_real)*in++;
        for (int j = 0; j < im->O; j++)
            p->previous_obs[(size_t)i * (size_t)im->O + (size_t)j] = (hwm_real)*in++;
        for (int j = 0; j < im->A; j++)
            p->previous_action[(size_t)i * (size_t)im->A + (size_t)j] = (hwm_real)*in++;
        p->previous_reward[i] = (hwm_real)*in++;
        p->alive[i] = (hwm_real)*in++;
        p->age[i] = (int)*in++;
    }
}
