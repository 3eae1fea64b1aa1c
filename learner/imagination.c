// data path  [8] learner: explicit imagination
#include "imagination.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

typedef struct step {
    struct hwm_imagination* im;
    int t;
    nn_var o, u;     // (B,O), (B,A)
    nn_var z, cont;  // z (B,Z) before the step; continue of what follows
    nn_var reward;
    hwm_real *obs, *act, *u_lanes, *reward_lanes;  // lanes
    hwm_real* scale;                               // lanes: bound scales
    hwm_real* before;  // lanes: state before, rules that are not invertible
    hwm_real* inside;  // (B,A) 1 where the gradient of u reaches a
} step;

struct hwm_imagination {
    hwm_imagination_setup set;
    hwm_arena* arena;
    nn_tape* tape;
    int B, H, O, A, Z, F, S, NA, P;  // S state size, NA activations, P coefficients
    int constant_from, constant;
    step* steps;  // (H)
    hwm_starts start;
    hwm_real* alive;  // (B) weight of the rollouts: start.alive, times a known continue
    // lanes
    hwm_real *first, *zeros, *previous_obs, *previous_action, *previous_reward;
    hwm_real *state, *g_state, *g_act, *g_u, *g_obs, *g_previous_obs, *g_previous_action,
        *g_previous_reward;
    hwm_real *rows_obs, *rows_action;  // row scratch (B,O), (B,A)
    hwm_real *delta_scale, *coef, *g_coef;
    // (H,B)
    hwm_real *returns, *weights, *discount, *value, *value_gradient, *reward_gradient;
    hwm_real* features;  // (H*B,F)
    bool hold_weights, recording;
    // ends of the last rollouts
    bool has_pool;
    hwm_starts pool;
    double entropy;
};

static size_t lane_at(int sample, int features, int j) {
    return ((size_t)(sample / HWM_LANES) * (size_t)features + (size_t)j) * HWM_LANES +
           (size_t)(sample % HWM_LANES);
}

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
    s->fresh = take(im, B, 1, ok);
    s->age = take(im, B, sizeof(int), ok);
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
    im->NA = hwm_controller_activations(setup->controller);
    im->P = hwm_controller_coef_count(setup->controller);
    im->constant = hwm_model_constant(setup->model, &im->constant_from);

    const int B = im->B, H = im->H;
    const size_t R = sizeof(hwm_real), BH = (size_t)B * (size_t)H;
    const bool invertible = hwm_controller_invertible(setup->controller);
    const int scales = hwm_controller_scales(setup->controller);
    const size_t state = hwm_lanes_size(B, im->S);
    const size_t per_step = hwm_lanes_size(B, im->O + im->NA + im->A + 2 + scales) +
                            (size_t)B * (size_t)im->A + (invertible ? 0 : state) + 1024;
    const size_t bytes =
        R * ((size_t)H * per_step + 8 * state + BH * (size_t)(im->F + 8) + 4 * (size_t)im->P +
             24 * hwm_lanes_size(B, im->O + im->A + im->NA + im->Z)) +
        (1u << 20);
    bool ok = hwm_arena_create(&im->arena, bytes) == HWM_OK &&
              nn_tape_create(&im->tape, (size_t)8 << 30) == HWM_OK;
    if (!ok)
        goto fail;

    im->steps = take(im, (size_t)H, sizeof(step), &ok);
    for (int t = 0; ok && t < H; t++) {
        step* s = &im->steps[t];
        s->im = im;
        s->t = t;
        s->obs = take(im, hwm_lanes_size(B, im->O), R, &ok);
        s->act = take(im, hwm_lanes_size(B, im->NA), R, &ok);
        s->u_lanes = take(im, hwm_lanes_size(B, im->A), R, &ok);
        s->reward_lanes = take(im, hwm_lanes_size(B, 1), R, &ok);
        s->scale = take(im, hwm_lanes_size(B, scales > 0 ? scales : 1), R, &ok);
        s->inside = take(im, (size_t)B * (size_t)im->A, R, &ok);
        if (!invertible)
            s->before = take(im, state, R, &ok);
    }
    take_starts(im, &im->start, &ok);
    take_starts(im, &im->pool, &ok);
    im->alive = take(im, (size_t)B, R, &ok);
    im->first = take(im, hwm_lanes_size(B, 1), R, &ok);
    im->zeros = take(im, hwm_lanes_size(B, 1), R, &ok);
    im->previous_obs = take(im, hwm_lanes_size(B, im->O), R, &ok);
    im->previous_action = take(im, hwm_lanes_size(B, im->A), R, &ok);
    im->previous_reward = take(im, hwm_lanes_size(B, 1), R, &ok);
    im->state = take(im, state, R, &ok);
    im->g_state = take(im, state, R, &ok);
    im->g_act = take(im, hwm_lanes_size(B, im->NA), R, &ok);
    im->g_u = take(im, hwm_lanes_size(B, im->A), R, &ok);
    im->g_obs = take(im, hwm_lanes_size(B, im->O), R, &ok);
    im->g_previous_obs = take(im, hwm_lanes_size(B, im->O), R, &ok);
    im->g_previous_action = take(im, hwm_lanes_size(B, im->A), R, &ok);
    im->g_previous_reward = take(im, hwm_lanes_size(B, 1), R, &ok);
    im->rows_obs = take(im, (size_t)B * (size_t)im->O, R, &ok);
    im->rows_action = take(im, (size_t)B * (size_t)im->A, R, &ok);
    im->delta_scale = take(im, (size_t)im->O, R, &ok);
    im->coef = take(im, (size_t)im->P, R, &ok);
    im->g_coef = take(im, (size_t)im->P, R, &ok);
    im->returns = take(im, BH, R, &ok);
    im->weights = take(im, BH, R, &ok);
    im->discount = take(im, BH, R, &ok);
    im->value = take(im, BH, R, &ok);
    im->value_gradient = take(im, BH, R, &ok);
    im->reward_gradient = take(im, BH, R, &ok);
    im->features = take(im, BH * (size_t)im->F, R, &ok);
    if (!ok)
        goto fail;
    *out = im;
    return HWM_OK;
fail:
    hwm_imagination_destroy(&im);
    return hwm_fail(err, HWM_ENOMEM, "no memory for imagination: %zu bytes", bytes);
}

void hwm_imagination_destroy(hwm_imagination** imagination) {
    if (!imagination || !*imagination)
        return;
    hwm_imagination* im = *imagination;
    nn_tape_destroy(&im->tape);
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
}

void hwm_imagination_begin_episodes(hwm_imagination* im) {
    const size_t B = (size_t)im->B;
    memset(im->start.previous_obs, 0, B * (size_t)im->O * sizeof(hwm_real));
    memset(im->start.previous_action, 0, B * (size_t)im->A * sizeof(hwm_real));
    memset(im->start.previous_reward, 0, B * sizeof(hwm_real));
    for (size_t i = 0; i < B; i++) {
        im->start.first[i] = im->start.alive[i] = 1;
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

// ---- one imagined decision of the controller

// One of several actions: u one-hot, of p_k = (1 - eps) w_k / sum w + eps / A. Every row of u is
// drawn as workers draw it.
static void choose(hwm_imagination* im, step* s, hwm_rng* rng) {
    for (int i = 0; i < im->B; i++) {
        float a[64];
        for (int j = 0; j < im->A; j++)
            a[j] = (float)s->act[lane_at(i, im->NA, im->NA - im->A + j)];
        const bool any = hwm_rng_uniform_double(rng) < im->set.explore_eps;
        const int k = any ? (int)hwm_rng_below(rng, (uint32_t)im->A)
                          : hwm_controller_choose(a, im->A, hwm_rng_uniform(rng));
        for (int j = 0; j < im->A; j++)
            s->u->x[(size_t)i * (size_t)im->A + (size_t)j] = j == k ? 1 : 0;
    }
    hwm_lanes_pack(s->u_lanes, s->u->x, im->B, im->A);
}

// Gradient of u straight through to a: that of its expectation, (1 - eps) w_k / sum w. g (A) in and
// out.
static void choose_backward(const hwm_imagination* im, const step* s, int i, double* g) {
    double sum = 0, mean = 0;
    for (int j = 0; j < im->A; j++) {
        const double w =
            (double)(HWM_CHOICE_FLOOR + s->act[lane_at(i, im->NA, im->NA - im->A + j)]);
        sum += w;
        mean += w * g[j];
    }
    for (int j = 0; j < im->A; j++)
        g[j] = (1 - im->set.explore_eps) * (g[j] - mean / sum) / sum;
}

// a (B,A) from the activations' last features; u drawn around it.
static void explore(hwm_imagination* im, step* s, hwm_rng* rng) {
    if (im->set.discrete && im->A > 1) {
        choose(im, s, rng);
        return;
    }
    const double keep = 1.0 - im->set.explore_eps, std = im->set.explore_std;
    for (int i = 0; i < im->B; i++)
        for (int j = 0; j < im->A; j++) {
            const size_t at = (size_t)i * (size_t)im->A + (size_t)j;
            const hwm_real a = s->act[lane_at(i, im->NA, im->NA - im->A + j)];
            hwm_real u;
            if (im->set.discrete) {
                u = hwm_rng_uniform_double(rng) < (1.0 + (double)a * keep) / 2 ? 1 : -1;
                s->inside[at] = 1;  // straight through
            } else {
                u = a + (hwm_real)(std * (double)hwm_rng_normal(rng));
                s->inside[at] = u > -1 && u < 1 ? 1 : 0;
                u = u < -1 ? -1 : u > 1 ? 1 : u;
            }
            s->u->x[at] = u;
        }
    hwm_lanes_pack(s->u_lanes, s->u->x, im->B, im->A);
}

// d/da of H((1 + a)/2) with p kept in [1e-4, 1 - 1e-4], and H itself
static double entropy_of(double a, double* gradient) {
    const double p = 0.5 * (1 + a);
    *gradient = 0;
    if (p <= 1e-4 || p >= 1 - 1e-4) {
        const double q = p <= 1e-4 ? 1e-4 : 1 - 1e-4;
        return -(q * log(q) + (1 - q) * log(1 - q));
    }
    *gradient = 0.5 * log((1 - p) / p);
    return -(p * log(p) + (1 - p) * log(1 - p));
}

static void add_rows(hwm_real* to, const hwm_real* rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] += rows[i];
}

// Forward was: x_0 = input(o, o_prev, u_prev); act(x_0); u = explore(a); W <- learn(W, act, u)
static void controller_backward(void* context) {
    step* s = context;
    hwm_imagination* im = s->im;
    const hwm_controller* c = im->set.controller;
    const int B = im->B, O = im->O, A = im->A;
    const double scale = 0.1 / (1 - im->set.gamma) / ((double)B * im->H);

    // W <- learn(W, act, u)
    memset(im->g_act, 0, hwm_lanes_size(B, im->NA) * sizeof(hwm_real));
    memset(im->g_u, 0, hwm_lanes_size(B, A) * sizeof(hwm_real));
    hwm_controller_learn_backward(c, im->coef, B, s->act, s->u_lanes, s->scale, im->state,
                                  s->before, im->g_state, im->g_act, im->g_u, im->g_coef);
    // u = explore(a), and what the loss wants of a itself
    const hwm_real* w = im->weights + (size_t)s->t * (size_t)B;
    const bool choice = im->set.discrete && A > 1;
    for (int i = 0; i < B; i++) {
        double through[64];
        for (int j = 0; j < A; j++) {
            const size_t at = (size_t)i * (size_t)A + (size_t)j;
            through[j] = (double)s->u->g[at] + (double)im->g_u[lane_at(i, A, j)];
            through[j] *= choice ? 1 : (double)s->inside[at];
        }
        if (choice)
            choose_backward(im, s, i, through);
        for (int j = 0; j < A; j++) {
            const size_t out = lane_at(i, im->NA, im->NA - A + j);
            const double a = (double)s->act[out];
            double g = through[j];
            double slope;
            entropy_of(a, &slope);
            g -= scale * im->set.config.entropy * (double)w[i] * slope;
            if (im->set.config.saturation > 0 && fabs(a) > tanh(1.5)) {
                // d/da |atanh a| = 1 / (1 - a^2); the tanh that follows multiplies by 1 - a^2
                const double room = 1 - a * a > 1e-6 ? 1 - a * a : 1e-6;
                g += im->set.config.saturation / ((double)B * im->H * A) * (a > 0 ? 1 : -1) / room;
            }
            im->g_act[out] += (hwm_real)g;
        }
    }
    // a = act(W, x_0)
    hwm_controller_act_backward(c, im->coef, B, im->state, s->act, im->g_act, im->g_state,
                                im->g_coef);
    // x_0 = input(o, o_prev, u_prev)
    if (s->t == 0)
        return;  // what starts were made of is data
    memset(im->g_obs, 0, hwm_lanes_size(B, O) * sizeof(hwm_real));
    memset(im->g_previous_obs, 0, hwm_lanes_size(B, O) * sizeof(hwm_real));
    memset(im->g_previous_action, 0, hwm_lanes_size(B, A) * sizeof(hwm_real));
    memset(im->g_previous_reward, 0, hwm_lanes_size(B, 1) * sizeof(hwm_real));
    hwm_controller_input_backward(c, B, im->delta_scale, im->zeros, im->g_act, im->g_obs,
                                  im->g_previous_obs, im->g_previous_action, im->g_previous_reward);
    hwm_lanes_unpack(im->rows_obs, im->g_obs, B, O);
    if (s->o->g)
        add_rows(s->o->g, im->rows_obs, (size_t)B * (size_t)O);
    const step* p = s - 1;
    hwm_lanes_unpack(im->rows_obs, im->g_previous_obs, B, O);
    if (p->o->g)
        add_rows(p->o->g, im->rows_obs, (size_t)B * (size_t)O);
    hwm_lanes_unpack(im->rows_action, im->g_previous_action, B, A);
    add_rows(p->u->g, im->rows_action, (size_t)B * (size_t)A);
    for (int i = 0; p->reward->g && i < B; i++)
        p->reward->g[i] += im->g_previous_reward[lane_at(i, 1, 0)];
}

static nn_var controller_forward(hwm_imagination* im, step* s, nn_var z, hwm_rng* rng) {
    const hwm_controller* c = im->set.controller;
    const int B = im->B;
    const step* p = s->t > 0 ? s - 1 : NULL;
    s->z = z;
    s->o = hwm_model_observe(im->set.model, im->tape, z);
    hwm_lanes_pack(s->obs, s->o->x, B, im->O);
    hwm_controller_input(c, B, s->obs, p ? p->obs : im->previous_obs, im->delta_scale,
                         p ? p->u_lanes : im->previous_action,
                         p ? p->reward_lanes : im->previous_reward, p ? im->zeros : im->first,
                         s->act);
    hwm_controller_act(c, im->coef, B, im->state, s->act);
    s->u = nn_new(im->tape, B, im->A, true);
    explore(im, s, rng);
    if (s->before)
        memcpy(s->before, im->state, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
    hwm_controller_learn(c, im->coef, B, s->act, s->u_lanes, NULL, im->state, s->scale);
    if (im->recording)
        nn_custom(im->tape, controller_backward, s);
    return s->u;
}

// A hidden variable that jumps: some rollouts take over that of another one.
static void swap_contexts(hwm_imagination* im, nn_var z, hwm_rng* rng) {
    for (int i = 0; i < im->B; i++) {
        if (hwm_rng_uniform(rng) >= (float)im->set.config.context_swap)
            continue;
        const size_t other = hwm_rng_below(rng, (uint32_t)im->B);
        memcpy(z->x + (size_t)i * (size_t)im->Z + im->constant_from,
               z->x + other * (size_t)im->Z + im->constant_from,
               (size_t)im->constant * sizeof(hwm_real));
    }
}

// ---- lambda-return

// Forward: discounts, weights, R. Backward: dL/dr, dL/dV, dL/dcontinue into the gradients of the
// step's values.
static void returns_forward(hwm_imagination* im, nn_var value, hwm_real v_lo, hwm_real v_hi) {
    const int B = im->B, H = im->H;
    const hwm_real lambda = (hwm_real)im->set.lambda, unit = (hwm_real)(1 - im->set.gamma);
    for (int i = 0; i < B; i++) {
        hwm_real w = im->alive[i], R = 0;
        for (int t = 0; t < H; t++) {
            const size_t at = (size_t)t * (size_t)B + (size_t)i;
            const hwm_real v = value->x[at];
            im->value[at] = v < v_lo ? v_lo : v > v_hi ? v_hi : v;  // V(z_{t+1})
            im->discount[at] = (hwm_real)im->set.gamma * im->steps[t].cont->x[i];
            if (!im->hold_weights)
                im->weights[at] = w;
            w *= im->discount[at];
        }
        for (int t = H - 1; t >= 0; t--) {
            const size_t at = (size_t)t * (size_t)B + (size_t)i;
            const hwm_real ahead =
                t == H - 1 ? im->value[at] : (1 - lambda) * im->value[at] + lambda * R;
            R = unit * im->steps[t].reward->x[i] + im->discount[at] * ahead;
            im->returns[at] = R;
        }
    }
}

static void returns_backward(hwm_imagination* im, nn_var value, hwm_real v_lo, hwm_real v_hi) {
    const int B = im->B, H = im->H;
    const hwm_real lambda = (hwm_real)im->set.lambda, unit = (hwm_real)(1 - im->set.gamma),
                   gamma = (hwm_real)im->set.gamma;
    const hwm_real k = (hwm_real)(0.1 / (1 - im->set.gamma) / ((double)B * H));
    for (int i = 0; i < B; i++) {
        hwm_real G = 0;  // dL/dR_t
        for (int t = 0; t < H; t++) {
            const size_t at = (size_t)t * (size_t)B + (size_t)i;
            G = lambda * G * (t > 0 ? im->discount[at - (size_t)B] : 0) - k * im->weights[at];
            const bool last = t == H - 1;
            const hwm_real ahead =
                last ? im->value[at]
                     : (1 - lambda) * im->value[at] + lambda * im->returns[at + (size_t)B];
            if (im->steps[t].reward->g)  // a reward that is known is a constant
                im->steps[t].reward->g[i] += unit * G;
            if (im->steps[t].cont->g)
                im->steps[t].cont->g[i] += gamma * G * ahead;
            const hwm_real v = value->x[at];
            if (v >= v_lo && v <= v_hi)
                value->g[at] += G * im->discount[at] * (last ? 1 : 1 - lambda);
        }
    }
}

// ---- the ends of the rollouts, kept for the next update

static void keep_pool(hwm_imagination* im, nn_var z, hwm_rng* rng) {
    const int B = im->B;
    const step* end = &im->steps[im->H - 1];
    memcpy(im->pool.z, z->x, (size_t)B * (size_t)im->Z * sizeof(hwm_real));
    memcpy(im->pool.state, im->state, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
    memcpy(im->pool.previous_obs, end->o->x, (size_t)B * (size_t)im->O * sizeof(hwm_real));
    memcpy(im->pool.previous_action, end->u->x, (size_t)B * (size_t)im->A * sizeof(hwm_real));
    memcpy(im->pool.previous_reward, end->reward->x, (size_t)B * sizeof(hwm_real));
    for (int i = 0; i < B; i++) {
        bool alive = im->start.alive[i] > 0;
        for (int t = 0; t < im->H; t++)
            alive = (hwm_real)hwm_rng_uniform(rng) < im->steps[t].cont->x[i] && alive;
        im->pool.alive[i] = alive ? 1 : 0;
        im->pool.age[i] = im->start.age[i] + im->H;
    }
    im->has_pool = true;
}

// ---- what people look at

static void report_rollout(hwm_imagination* im, const hwm_real* before_last,
                           hwm_imagination_report* r) {
    const int B = im->B, H = im->H;
    const double k = 0.1 / (1 - im->set.gamma) / ((double)B * H);
    double weight = 0, weighted = 0, entropy = 0, weighted_entropy = 0, saturated = 0, penalty = 0;
    for (int t = 0; t < H; t++)
        for (int i = 0; i < B; i++) {
            const size_t at = (size_t)t * (size_t)B + (size_t)i;
            const double w = (double)im->weights[at];
            weight += w;
            weighted += w * (double)im->returns[at];
            for (int j = 0; j < im->A; j++) {
                const double a = (double)im->steps[t].act[lane_at(i, im->NA, im->NA - im->A + j)];
                double slope;
                const double h = entropy_of(a, &slope);
                entropy += h;
                weighted_entropy += w * h;
                saturated += fabs(a) > 0.98;
                if (fabs(a) > tanh(1.5))
                    penalty += atanh(fmin(fabs(a), 1 - 1e-7)) - 1.5;
            }
        }
    r->actor_loss = -k * weighted - k * im->set.config.entropy * weighted_entropy +
                    im->set.config.saturation * penalty / ((double)B * H * im->A);
    r->imagined_return = weight > 0 ? weighted / weight : 0;
    r->entropy = entropy / ((double)B * H * im->A);
    r->saturation = saturated / ((double)B * H * im->A);
    // where no rollout begins at an episode's first row, those with fresh weights come closest
    double sum[2] = {0}, n[2] = {0};
    for (int i = 0; i < B; i++)
        for (int which = 0; which < 2; which++)
            if (which == 0 ? im->start.first[i] > 0
                           : im->start.fresh[i] && im->start.alive[i] > 0) {
                sum[which] += (double)im->returns[i];
                n[which] += 1;
            }
    r->start_return = n[0] > 0 ? sum[0] / n[0] : n[1] > 0 ? sum[1] / n[1] : NAN;
    double size = 0, change = 0;
    for (int i = 0; i < B; i++)
        for (int j = 0; j < im->S; j++) {
            const size_t at = lane_at(i, im->S, j);
            size += fabs((double)im->state[at]);
            change += fabs((double)im->state[at] - (double)before_last[at]);
        }
    r->weight_abs = im->S > 0 ? size / ((double)B * im->S) : 0;
    r->update_relative = size > 0 ? change / size : 0;
}

void hwm_imagination_gradient(hwm_imagination* im, const hwm_real* phi, uint64_t update,
                              hwm_real* g_phi, hwm_imagination_report* report) {
    const hwm_controller* c = im->set.controller;
    const hwm_param_list* list = hwm_controller_params(c);
    const int B = im->B, H = im->H;
    hwm_rng rng;
    hwm_rng_init(&rng, im->set.seed, HWM_PURPOSE_IMAGINATION, 0, (uint32_t)update,
                 (uint32_t)(update >> 32));
    nn_tape_reset(im->tape);
    nn_tape_record(im->tape, g_phi != NULL);
    im->recording = g_phi != NULL;

    // coefficients of this version, and the scale of the inputs that are changes
    hwm_controller_prepare(c, phi, im->coef);
    const int scale = hwm_param_list_find(list, "input.delta_scale");
    for (int j = 0; j < im->O; j++)
        im->delta_scale[j] = scale >= 0 ? phi[list->entry[scale].offset + (size_t)j] : 1;

    // starts: stored or continued state, or a fresh draw
    memcpy(im->state, im->start.state, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
    for (int i = 0; i < B; i++)
        if (im->start.fresh[i])
            hwm_controller_reset(c, im->coef, &rng, im->state, i);
    hwm_lanes_pack(im->previous_obs, im->start.previous_obs, B, im->O);
    hwm_lanes_pack(im->previous_action, im->start.previous_action, B, im->A);
    hwm_lanes_pack(im->previous_reward, im->start.previous_reward, B, 1);
    hwm_lanes_pack(im->first, im->start.first, B, 1);

    memcpy(im->alive, im->start.alive, (size_t)B * sizeof(hwm_real));
    hwm_model_weigh_starts(im->set.model, im->start.z, B, im->alive);
    hwm_model_begin(im->set.model, im->tape);
    nn_var z = nn_wrap(im->tape, im->start.z, NULL, B, im->Z);
    nn_var* later = nn_tape_alloc(im->tape, (size_t)H * sizeof *later);
    for (int t = 0; t < H; t++) {
        step* s = &im->steps[t];
        nn_var features = hwm_model_critic_input(im->set.model, im->tape, z);
        memcpy(im->features + (size_t)t * (size_t)B * (size_t)im->F, features->x,
               (size_t)B * (size_t)im->F * sizeof(hwm_real));
        if (t == H - 1)  // to see how much the last step changes
            memcpy(im->g_state, im->state, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
        nn_var u = controller_forward(im, s, z, &rng);
        const hwm_model_next next = hwm_model_step(im->set.model, im->tape, z, u, t, &rng);
        if (im->constant > 0 && im->set.config.context_swap > 0)
            swap_contexts(im, next.z, &rng);
        s->reward = next.reward;
        s->cont = next.cont;
        hwm_lanes_pack(s->reward_lanes, next.reward->x, B, 1);
        z = next.z;
        later[t] = hwm_model_critic_input(im->set.model, im->tape, z);
    }
    // V of all later latents at once: (H*B,1)
    nn_var value = hwm_critic_value(im->set.critic, im->tape, nn_stack(im->tape, H, later));
    hwm_real v_lo, v_hi;
    hwm_model_reward_range(im->set.model, &v_lo, &v_hi);
    v_lo = v_lo < 0 ? v_lo : 0;
    v_hi = v_hi > 0 ? v_hi : 0;
    returns_forward(im, value, v_lo, v_hi);
    report_rollout(im, im->g_state, report);
    keep_pool(im, z, &rng);
    if (!g_phi)
        return;

    memset(im->g_state, 0, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
    memset(im->g_coef, 0, (size_t)im->P * sizeof(hwm_real));
    returns_backward(im, value, v_lo, v_hi);
    nn_tape_backward(im->tape);
    for (int i = 0; i < B; i++)
        im->g_act[lane_at(i, 1, 0)] = im->start.fresh[i] ? 1 : 0;
    hwm_controller_reset_backward(c, B, im->g_act, im->g_state, im->g_coef);
    memset(g_phi, 0, list->count * sizeof(hwm_real));
    hwm_controller_prepare_backward(c, phi, im->coef, im->g_coef, g_phi);
}

nn_tape* hwm_imagination_tape(hwm_imagination* imagination) {
    return imagination->tape;
}

// ---- checkpoint of the pool

size_t hwm_imagination_pool_count(const hwm_imagination* im) {
    return (size_t)im->B * (size_t)(im->Z + im->S + im->O + im->A + 3) + 1;
}

void hwm_imagination_pool_save(const hwm_imagination* im, float* out) {
    *out++ = im->has_pool ? 1.0f : 0.0f;
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
