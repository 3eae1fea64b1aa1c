// data path  [8] learner: explicit imagination
#include "share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void* take(share* im, size_t count, size_t size, bool* ok) {
    void* p = hwm_arena_alloc(im->arena, count ? count * size : size);
    if (!p)
        *ok = false;
    return p;
}

hwm_status share_create(share** out, const hwm_imagination_setup* setup, int number, int B,
                        hwm_error* err) {
    *out = NULL;
    share* im = calloc(1, sizeof *im);
    if (!im)
        return hwm_fail(err, HWM_ENOMEM, "no memory for imagination");
    im->set = *setup;
    im->number = number;
    im->all = (int)setup->config.batch;
    im->B = B;
    im->H = (int)setup->config.horizon;
    im->O = setup->obs;
    im->A = setup->action;
    im->Z = hwm_model_latent(setup->model);
    im->F = hwm_model_features(setup->model);
    im->S = hwm_controller_state_size(setup->controller);
    im->NA = hwm_controller_activations(setup->controller);
    im->P = hwm_controller_coef_count(setup->controller);
    im->constant = hwm_model_constant(setup->model, &im->constant_from);
    im->reinforce = setup->config.gradient == HWM_GRADIENT_REINFORCE;

    const int H = im->H;
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
    im->g_coef = take(im, (size_t)im->P, R, &ok);
    im->returns = take(im, BH, R, &ok);
    im->weights = take(im, BH, R, &ok);
    im->discount = take(im, BH, R, &ok);
    im->value = take(im, BH, R, &ok);
    im->advantage = take(im, BH, R, &ok);
    im->features = take(im, BH * (size_t)im->F, R, &ok);
    if (!ok)
        goto fail;
    *out = im;
    return HWM_OK;
fail:
    share_destroy(&im);
    return hwm_fail(err, HWM_ENOMEM, "no memory for imagination: %zu bytes", bytes);
}

void share_destroy(share** s) {
    if (!*s)
        return;
    nn_tape_destroy(&(*s)->tape);
    hwm_arena_destroy(&(*s)->arena);
    free(*s);
    *s = NULL;
}

// ---- one imagined decision of the controller

// One of several actions: u one-hot, of p_k = (1 - eps) w_k / sum w + eps / A. Every row of u is
// drawn as workers draw it.
static void choose(share* im, step* s, hwm_rng* rng) {
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
static void choose_backward(const share* im, const step* s, int i, double* g) {
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

// Log probability of the action that was chosen; g (A): d/da of it.
static double choice_score(const share* im, const step* s, int i, double* g) {
    double sum = 0, chosen = 0;
    for (int j = 0; j < im->A; j++) {
        const double w =
            (double)(HWM_CHOICE_FLOOR + s->act[lane_at(i, im->NA, im->NA - im->A + j)]);
        g[j] = (double)s->u->x[(size_t)i * (size_t)im->A + (size_t)j];
        sum += w;
        chosen += g[j] * w;
    }
    const double keep = 1 - im->set.explore_eps,
                 p = keep * chosen / sum + im->set.explore_eps / im->A;
    for (int j = 0; j < im->A; j++)
        g[j] = keep * (g[j] - chosen / sum) / sum / p;
    return log(p);
}

// a (B,A) from the activations' last features; u drawn around it.
static void explore(share* im, step* s, hwm_rng* rng) {
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
                // straight through; or d/da of log((1 + u a keep) / 2)
                s->inside[at] =
                    im->reinforce ? (hwm_real)keep * u / (1 + u * a * (hwm_real)keep) : 1;
            } else {
                const hwm_real noise = (hwm_real)(std * (double)hwm_rng_normal(rng));
                u = a + noise;
                // d/da of log N(u; a, std^2), the draw before it is clipped
                s->inside[at] = im->reinforce     ? noise / (hwm_real)(std * std)
                                : u > -1 && u < 1 ? 1
                                                  : 0;
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

// Forward was: x_0 = input(o, o_prev, u_prev); act(x_0); M(z); u = explore(a); W <- learn(W, act,
// u)
static void controller_backward(void* context) {
    step* s = context;
    share* im = s->im;
    const hwm_controller* c = im->set.controller;
    const int B = im->B, O = im->O, A = im->A;
    const hwm_real* advantage = im->advantage + (size_t)s->t * (size_t)B;

    // W <- learn(W, act, u)
    memset(im->g_act, 0, hwm_lanes_size(B, im->NA) * sizeof(hwm_real));
    memset(im->g_u, 0, hwm_lanes_size(B, A) * sizeof(hwm_real));
    hwm_controller_learn_backward(c, im->coef, B, s->act, s->u_lanes, s->scale, im->state,
                                  s->before, im->g_state, im->g_act, im->g_u, im->g_coef);
    // M = tanh(m . z); what starts were made of is data
    if (hwm_controller_latent(c) > 0)
        hwm_controller_modulate_backward(c, im->coef, B, s->z->x, im->Z, s->act, im->g_act,
                                         s->t == 0 || im->reinforce ? NULL : s->z->g, im->g_coef);
    // u = explore(a), and what the loss wants of a itself
    const hwm_real* w = im->weights + (size_t)s->t * (size_t)B;
    const bool choice = im->set.discrete && A > 1;
    for (int i = 0; i < B; i++) {
        double through[64];  // dL/da by way of u; of reinforce, what was drawn is data
        const double score = -im->factor * (double)w[i] * (double)advantage[i];
        if (choice && im->reinforce)
            choice_score(im, s, i, through);
        for (int j = 0; j < A; j++) {
            const size_t at = (size_t)i * (size_t)A + (size_t)j;
            if (im->reinforce)
                through[j] = score * (choice ? through[j] : (double)s->inside[at]);
            else
                through[j] = ((double)s->u->g[at] + (double)im->g_u[lane_at(i, A, j)]) *
                             (choice ? 1 : (double)s->inside[at]);
        }
        if (choice && !im->reinforce)
            choose_backward(im, s, i, through);
        for (int j = 0; j < A; j++) {
            const size_t out = lane_at(i, im->NA, im->NA - A + j);
            const double a = (double)s->act[out];
            double g = through[j];
            double slope;
            entropy_of(a, &slope);
            g -= im->entropy_factor * (double)w[i] * slope;
            if (im->set.config.saturation > 0 && fabs(a) > tanh(1.5)) {
                // d/da |atanh a| = 1 / (1 - a^2); the tanh that follows multiplies by 1 - a^2
                const double room = 1 - a * a > 1e-6 ? 1 - a * a : 1e-6;
                g += im->set.config.saturation / ((double)im->all * im->H * A) * (a > 0 ? 1 : -1) /
                     room;
            }
            im->g_act[out] += (hwm_real)g;
        }
    }
    // a = act(W, x_0)
    hwm_controller_act_backward(c, im->coef, B, im->state, s->act, im->g_act, im->g_state,
                                im->g_coef);
    // x_0 = input(o, o_prev, u_prev)
    if (s->t == 0 || im->reinforce)
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

static nn_var controller_forward(share* im, step* s, nn_var z, hwm_rng* rng) {
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
    if (hwm_controller_latent(c) > 0)
        hwm_controller_modulate(c, hwm_controller_latent_weights(c, im->coef), B, z->x, im->Z,
                                s->act);
    s->u = nn_new(im->tape, B, im->A, !im->reinforce);
    explore(im, s, rng);
    if (s->before)
        memcpy(s->before, im->state, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
    hwm_controller_learn(c, im->coef, B, s->act, s->u_lanes, NULL, im->state, s->scale);
    if (im->recording)
        nn_custom(im->tape, controller_backward, s);
    return s->u;
}

// A hidden variable that jumps: some rollouts take over that of another one.
static void swap_contexts(share* im, nn_var z, hwm_rng* rng) {
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
static hwm_real bounded(hwm_real v, hwm_real lo, hwm_real hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

static void returns_forward(share* im, nn_var value, hwm_real v_lo, hwm_real v_hi) {
    const int B = im->B, H = im->H;
    const hwm_real lambda = (hwm_real)im->set.lambda, unit = (hwm_real)(1 - im->set.gamma);
    for (int i = 0; i < B; i++) {
        hwm_real w = im->alive[i], R = 0;
        for (int t = 0; t < H; t++) {
            const size_t at = (size_t)t * (size_t)B + (size_t)i;
            im->value[at] = bounded(value->x[at], v_lo, v_hi);  // V(z_{t+1})
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
            if (im->reinforce && !im->hold_weights)
                im->advantage[at] =
                    R - (t > 0 ? im->value[at - (size_t)B]
                               : bounded(value->x[(size_t)H * (size_t)B + (size_t)i], v_lo, v_hi));
        }
    }
}

static void returns_backward(share* im, nn_var value, hwm_real v_lo, hwm_real v_hi) {
    const int B = im->B, H = im->H;
    const hwm_real lambda = (hwm_real)im->set.lambda, unit = (hwm_real)(1 - im->set.gamma),
                   gamma = (hwm_real)im->set.gamma;
    const hwm_real k = (hwm_real)im->factor;
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

static void keep_pool(share* im, nn_var z, hwm_rng* rng) {
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
}

// ---- what people look at

static void sum_up(share* im, const hwm_real* before_last) {
    const int B = im->B, H = im->H;
    share_sums* r = &im->sums;
    *r = (share_sums){0};
    const double keep = 1.0 - im->set.explore_eps, std = im->set.explore_std;
    for (int t = 0; t < H; t++)
        for (int i = 0; i < B; i++) {
            const size_t at = (size_t)t * (size_t)B + (size_t)i;
            const double w = (double)im->weights[at];
            r->weight += w;
            r->weighted += w * (double)im->returns[at];
            for (int j = 0; j < im->A; j++) {
                const double a = (double)im->steps[t].act[lane_at(i, im->NA, im->NA - im->A + j)];
                double slope;
                const double h = entropy_of(a, &slope);
                r->entropy += h;
                r->weighted_entropy += w * h;
                r->saturated += fabs(a) > 0.98;
                if (fabs(a) > tanh(1.5))
                    r->penalty += atanh(fmin(fabs(a), 1 - 1e-7)) - 1.5;
                if (!im->reinforce || (im->set.discrete && im->A > 1))
                    continue;
                const size_t one = (size_t)i * (size_t)im->A + (size_t)j;
                const double drawn = (double)im->steps[t].inside[one],
                             u = (double)im->steps[t].u->x[one];
                r->scored += w * (double)im->advantage[at] *
                             (im->set.discrete ? log((1 + u * a * keep) / 2)
                                               : -0.5 * drawn * drawn * std * std);
            }
            double unused[64];
            if (im->reinforce && im->set.discrete && im->A > 1)
                r->scored +=
                    w * (double)im->advantage[at] * choice_score(im, &im->steps[t], i, unused);
        }
    // where no rollout begins at an episode's first row, those with fresh weights come closest
    for (int i = 0; i < B; i++)
        for (int which = 0; which < 2; which++)
            if (which == 0 ? im->start.first[i] > 0
                           : im->start.fresh[i] && im->start.alive[i] > 0) {
                r->start[which] += (double)im->returns[i];
                r->starts[which] += 1;
            }
    for (int i = 0; i < B; i++)
        for (int j = 0; j < im->S; j++) {
            const size_t at = lane_at(i, im->S, j);
            r->size += fabs((double)im->state[at]);
            r->change += fabs((double)im->state[at] - (double)before_last[at]);
        }
}

void share_begin(share* im, uint64_t update, bool recording) {
    // the first share's stream is that of imagination; 1 and 2 are taken by its starts
    hwm_rng_init(&im->rng, im->set.seed, HWM_PURPOSE_IMAGINATION,
                 im->number == 0 ? 0 : 2 + (uint32_t)im->number, (uint32_t)update,
                 (uint32_t)(update >> 32));
    nn_tape_reset(im->tape);
    nn_tape_record(im->tape, recording);
    im->recording = recording;
    hwm_model_begin(im->set.model, im->tape);
}

void share_forward(share* im) {
    const hwm_controller* c = im->set.controller;
    const int B = im->B, H = im->H;
    // starts: stored or continued state, or a fresh draw
    memcpy(im->state, im->start.state, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
    for (int i = 0; i < B; i++)
        if (im->start.fresh[i])
            hwm_controller_reset(c, im->coef, &im->rng, im->state, i);
    hwm_lanes_pack(im->previous_obs, im->start.previous_obs, B, im->O);
    hwm_lanes_pack(im->previous_action, im->start.previous_action, B, im->A);
    hwm_lanes_pack(im->previous_reward, im->start.previous_reward, B, 1);
    hwm_lanes_pack(im->first, im->start.first, B, 1);

    memcpy(im->alive, im->start.alive, (size_t)B * sizeof(hwm_real));
    hwm_model_weigh_starts(im->set.model, im->start.z, B, im->alive);
    nn_var z = nn_wrap(im->tape, im->start.z, NULL, B, im->Z);
    nn_var* later = nn_tape_alloc(im->tape, (size_t)(H + 1) * sizeof *later);
    for (int t = 0; t < H; t++) {
        step* s = &im->steps[t];
        nn_var features = hwm_model_critic_input(im->set.model, im->tape, z);
        memcpy(im->features + (size_t)t * (size_t)B * (size_t)im->F, features->x,
               (size_t)B * (size_t)im->F * sizeof(hwm_real));
        if (t == 0)
            later[H] = features;
        if (t == H - 1)  // to see how much the last step changes
            memcpy(im->g_state, im->state, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
        nn_var u = controller_forward(im, s, z, &im->rng);
        const hwm_model_next next = hwm_model_step(im->set.model, im->tape, z, u, t, &im->rng);
        if (im->constant > 0 && im->set.config.context_swap > 0)
            swap_contexts(im, next.z, &im->rng);
        s->reward = next.reward;
        s->cont = next.cont;
        hwm_lanes_pack(s->reward_lanes, next.reward->x, B, 1);
        z = next.z;
        later[t] = hwm_model_critic_input(im->set.model, im->tape, z);
    }
    // V of all later latents at once, and of the first where a baseline is wanted: (H*B,1)
    im->values = hwm_critic_value(im->set.critic, im->tape,
                                  nn_stack(im->tape, im->reinforce ? H + 1 : H, later));
    hwm_model_reward_range(im->set.model, &im->v_lo, &im->v_hi);
    im->v_lo = im->v_lo < 0 ? im->v_lo : 0;
    im->v_hi = im->v_hi > 0 ? im->v_hi : 0;
    returns_forward(im, im->values, im->v_lo, im->v_hi);
    sum_up(im, im->g_state);
    keep_pool(im, z, &im->rng);
}

void share_backward(share* im) {
    const int B = im->B;
    memset(im->g_state, 0, hwm_lanes_size(B, im->S) * sizeof(hwm_real));
    memset(im->g_coef, 0, (size_t)im->P * sizeof(hwm_real));
    if (!im->reinforce)
        returns_backward(im, im->values, im->v_lo, im->v_hi);
    nn_tape_backward(im->tape);
    for (int i = 0; i < B; i++)
        im->g_act[lane_at(i, 1, 0)] = im->start.fresh[i] ? 1 : 0;
    hwm_controller_reset_backward(im->set.controller, B, im->g_act, im->g_state, im->g_coef);
}
