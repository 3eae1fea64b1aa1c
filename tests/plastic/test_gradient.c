// Several steps of input, act and learn in double: the kernels against the plain reference, and
// every gradient (phi, start state, observations, actions, rewards) against central differences of
// the reference with the scale of the bound held fixed.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

enum { B = 17, T_MAX = 20, O = 3, OUT = 2, LATENT = 6, STRIDE = LATENT + 2 };
static int T = 4;  // steps of a rollout; T_MAX in test_twenty_steps

typedef struct fixture {
    hwm_controller_config config;
    hwm_rule_config rule;
    int plastic[REF_LAYERS_MAX];
    hwm_controller* c;
    size_t n_phi, n_state, n_act, n_record;
    double *phi, *start;       // start (B, state)
    double *obs, *u, *reward;  // (T,B,O), (T,B,OUT), (T,B)
    double* z;                 // (T,B,STRIDE) modulator latent
    double *r_act, *r_state;   // loss weights (T,B,act), (B,state)
    double* delta;             // (O)
    double* m;                 // (T,B,layers) scales as computed
    int n_plastic;
} fixture;

// Everything a case allocates, given back at its end.
static void* pool[1024];
static int n_pool;

static double* reals(size_t n) {
    double* p = calloc(n + 1, sizeof *p);
    assert_non_null(p);
    assert_true(n_pool < 1024);
    pool[n_pool++] = p;
    return p;
}

static void free_all(void) {
    while (n_pool > 0) {
        free(pool[--n_pool]);
    }
}

static void random_fill(double* x, size_t n, hwm_rng* rng, double std) {
    for (size_t k = 0; k < n; k++) {
        x[k] = std * (double)hwm_rng_normal(rng);
    }
}

// Parts of the state that are no real numbers: the phase of updates, and the constants of a naive
// episode.
static void start_whole_numbers(fixture* f, hwm_rng* rng) {
    hwm_tensor_spec keys[HWM_KEYS_MAX];
    int n = hwm_controller_keys(f->c, keys);
    size_t at = 0;
    for (int k = 0; k < n; k++) {
        for (int b = 0; b < B; b++) {
            double* x = f->start + (size_t)b * f->n_state + at;
            if (strcmp(keys[k].name, "phase") == 0) {
                *x = b % (int)f->rule.update_every;
            } else if (strcmp(keys[k].name, "naive") == 0) {
                hwm_real* lanes = reals(hwm_lanes_size(B, (int)f->n_state));
                hwm_real* all = reals((size_t)B * f->n_state);
                hwm_controller_naive(f->c, rng, lanes, b);
                hwm_lanes_unpack(all, lanes, B, (int)f->n_state);
                for (int i = 0; i < 8; i++) {
                    x[i] = (double)all[(size_t)b * f->n_state + at + (size_t)i];
                }
                // where it is an option, every other sample takes it
                x[0] = f->rule.naive && b % 2 ? 0 : x[0];
            }
        }
        at += hwm_tensor_count(&keys[k]);
    }
}

static const char* const choose_inputs[] = {"o", "d", "a", "r", "1"};

// What a case differs in from the defaults.
typedef struct variant {
    int kind, granularity, bound, modulator;
    const char* terms;
    int n_hidden, plastic_from;
    bool mean, wide_inputs;
    double oja;
    int every, average;
    int naive;
    int recurrent;  // cell recurrent: 1 its connections are plastic, 2 static, 3 only they are
                    // plastic
} variant;

static void setup(fixture* f, const variant* v) {
    memset(f, 0, sizeof *f);
    hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &f->config},
                                      {.table = &hwm_rule_table, .target = &f->rule}};
    hwm_config_defaults(sections, 2);
    f->config.hidden.n = v->n_hidden;
    f->config.hidden.v[0] = 5;
    f->config.hidden.v[1] = 4;
    f->config.inputs.n = v->wide_inputs ? 5 : 1;
    for (int k = 0; k < f->config.inputs.n; k++) {
        strcpy(f->config.inputs.v[k], choose_inputs[k]);
    }
    f->config.cell = v->recurrent ? HWM_CELL_RECURRENT : HWM_CELL_MLP;
    f->config.plastic.n = 0;
    for (int l = 0; l <= v->n_hidden; l++) {
        f->plastic[l] = l >= v->plastic_from && v->recurrent != 3;
        if (f->plastic[l]) {
            sprintf(f->config.plastic.v[f->config.plastic.n++], "%d", l + 1);
            f->n_plastic++;
        }
    }
    if (v->recurrent == 1 || v->recurrent == 3) {
        strcpy(f->config.plastic.v[f->config.plastic.n++], "recurrent");
        for (int l = 0; l < v->n_hidden; l++) {
            f->plastic[v->n_hidden + 1 + l] = 1;
            f->n_plastic++;
        }
    }
    f->config.weights_scale = 0.4;
    f->config.weights_mean = v->mean;
    f->rule.kind = v->kind;
    f->rule.granularity = v->granularity;
    f->rule.shared_rules = 3;
    f->rule.bound = v->bound;
    f->rule.w_max = 0.5;
    f->rule.decay = 0.2;
    f->rule.phi_std = 0.5;
    f->rule.eta = 0.3;
    f->rule.units = 3;
    f->rule.modulator = v->modulator;
    f->rule.latent = LATENT;
    f->rule.oja = v->oja;
    f->rule.update_every = v->every ? v->every : 1;
    f->rule.average = v->average ? v->average : 1;
    f->rule.naive = v->naive;
    strcpy(f->rule.terms, v->terms ? v->terms : "ABCDE");
    float scale[O] = {0.5f, 1.0f, 2.0f};
    hwm_error err;
    assert_int_equal(hwm_controller_create(&f->c, &f->config, &f->rule, O, scale, OUT, false, &err),
                     HWM_OK);
    f->n_phi = hwm_controller_params(f->c)->count;
    f->n_state = (size_t)hwm_controller_state_size(f->c);
    f->n_act = (size_t)hwm_controller_activations(f->c);
    f->n_record = (size_t)hwm_controller_scales(f->c);
    f->phi = reals(f->n_phi);
    f->start = reals(f->n_state * B);
    f->obs = reals(T * B * O);
    f->u = reals(T * B * OUT);
    f->reward = reals(T * B);
    f->z = reals(T * B * STRIDE);
    f->r_act = reals(T * B * f->n_act);
    f->r_state = reals(B * f->n_state);
    f->delta = reals(O);
    f->m = reals(T * B * REF_LAYERS_MAX);
    hwm_rng rng;
    hwm_rng_init(&rng, 7, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(f->c, &rng, f->phi);
    const hwm_param_list* list = hwm_controller_params(f->c);
    for (int e = 0; e < list->n; e++) {
        for (size_t k = 0; k < hwm_tensor_count(&list->entry[e].spec); k++) {
            // a shared rule is chosen by a whole number
            f->phi[list->entry[e].offset + k] +=
                hwm_controller_is_learned(f->c, e) ? 0.1 * (double)hwm_rng_normal(&rng) : 0;
        }
    }
    random_fill(f->start, f->n_state * B, &rng, 0.3);
    start_whole_numbers(f, &rng);
    random_fill(f->obs, T * B * O, &rng, 1);
    random_fill(f->u, T * B * OUT, &rng, 0.7);
    random_fill(f->reward, T * B, &rng, 1);
    random_fill(f->z, T * B * STRIDE, &rng, 1);
    random_fill(f->r_act, T * B * f->n_act, &rng, 1);
    random_fill(f->r_state, B * f->n_state, &rng, 1);
    for (int k = 0; k < O; k++) {
        f->delta[k] = 0.5 + 0.3 * k;
    }
}

static void teardown(fixture* f) {
    hwm_controller_destroy(&f->c);
    free_all();
}

// Loss of the reference. record: keep the scales of the bound; else those kept are used.
static double reference_loss(fixture* f, bool record, double* final_state, double* all_act) {
    static ref_controller r;
    const float scale[O] = {0.5f, 1.0f, 2.0f};
    double loss = 0;
    double state[4096];
    ref_init(&r, &f->config, &f->rule, hwm_controller_params(f->c), f->phi,
             hwm_controller_inputs(f->c), OUT, f->plastic);
    for (int b = 0; b < B; b++) {
        ref_set_state(&r, f->start + (size_t)b * f->n_state);
        for (int t = 0; t < T; t++) {
            const double* o = f->obs + (size_t)(t * B + b) * O;
            const double* o_old = f->obs + (size_t)((t - 1) * B + b) * O;
            const double* u_old = f->u + (size_t)((t - 1) * B + b) * OUT;
            double x0[REF_UNITS_MAX];
            int n = 0;
            for (int k = 0; k < O; k++) {
                x0[n++] = o[k] / (double)scale[k];
            }
            if (f->config.inputs.n > 1) {
                for (int k = 0; k < O; k++) {
                    x0[n++] = t ? (o[k] - o_old[k]) / ((double)scale[k] * f->delta[k]) : 0;
                }
                for (int k = 0; k < OUT; k++) {
                    x0[n++] = t ? u_old[k] : 0;
                }
                x0[n++] = t ? f->reward[t * B + b] : 0;
                x0[n++] = 1;
            }
            r.z = f->z + (size_t)(t * B + b) * STRIDE;
            ref_act(&r, x0, t ? f->reward[t * B + b] : 0);
            double* m = f->m + (size_t)(t * B + b) * REF_LAYERS_MAX;
            ref_learn(&r, f->u + (size_t)(t * B + b) * OUT, record ? NULL : m);
            for (int l = 0, p = 0; record && l < r.n_all; l++) {
                if (f->plastic[l]) {
                    m[p++] = r.m[l];
                }
            }
            size_t at = (size_t)(t * B + b) * f->n_act;
            size_t units_all = (size_t)r.inputs;
            for (int l = 0; l < r.n_layers; l++) {
                units_all += (size_t)r.layer[l].P;
            }
            for (int l = 0; l <= r.n_layers; l++) {
                int units = l ? r.layer[l - 1].P : r.inputs;
                // between x_0 and x_1 stand the reward and M of the latent
                const bool latent = f->rule.modulator == HWM_MODULATOR_LATENT;
                const size_t between = l == 1 ? f->n_act - units_all : 0;
                for (size_t k = 0; k < between; k++, at++) {
                    const double x =
                        latent && k == between - 1 ? ref_modulator(&r, 0, 0) : r.reward;
                    loss += f->r_act[at] * x;
                    if (all_act) {
                        all_act[at] = x;
                    }
                }
                for (int k = 0; k < units; k++, at++) {
                    loss += f->r_act[at] * r.x[l][k];
                    if (all_act) {
                        all_act[at] = r.x[l][k];
                    }
                }
            }
        }
        ref_get_state(&r, state);
        for (size_t k = 0; k < f->n_state; k++) {
            loss += f->r_state[(size_t)b * f->n_state + k] * state[k];
            if (final_state) {
                final_state[(size_t)b * f->n_state + k] = state[k];
            }
        }
    }
    return loss;
}

static double* packed(const double* rows, size_t features) {
    double* lanes = reals(hwm_lanes_size(B, (int)features));
    hwm_lanes_pack(lanes, rows, B, (int)features);
    return lanes;
}

static void near_all(const char* what, const double* got, const double* want, size_t n,
                     double tolerance) {
    for (size_t k = 0; k < n; k++) {
        if (!(fabs(got[k] - want[k]) <= tolerance * (1 + fabs(want[k])))) {
            fail_msg("%s[%zu]: %.12g, reference %.12g", what, k, got[k], want[k]);
        }
    }
}

static double moved(fixture* f, double* x, double to) {
    double keep = *x;
    *x = to;
    double loss = reference_loss(f, false, NULL, NULL);
    *x = keep;
    return loss;
}

// Central differences of the reference's loss with respect to x (n), against g: of fourth order
// with a wide step, and, where a kink (clip, the floor of oja) may lie within it, of second order
// with a narrow one.
static void check_difference(fixture* f, const char* what, double* x, const double* g, size_t n,
                             size_t stride) {
    for (size_t k = 0; k < n; k += stride) {
        double want = 0;
        bool near = false;
        for (int order = 4; order >= 2 && !near; order -= 2) {
            const double h = order == 4 ? 1e-4 : 2e-6;
            double d1 = moved(f, &x[k], x[k] + h) - moved(f, &x[k], x[k] - h);
            want = d1 / (2 * h);
            if (order == 4) {
                double d2 = moved(f, &x[k], x[k] + 2 * h) - moved(f, &x[k], x[k] - 2 * h);
                want = (8 * d1 - d2) / (12 * h);
            }
            near = fabs(g[k] - want) <= 3e-7 * (1 + fabs(want));
        }
        if (!near) {
            fail_msg("gradient of %s[%zu]: %.10g, central difference %.10g", what, k, g[k], want);
        }
    }
}

// The start state of some samples, but for what has no gradient: the phase, naive constants.
static void check_start(fixture* f, const double* g) {
    hwm_tensor_spec keys[HWM_KEYS_MAX];
    int n = hwm_controller_keys(f->c, keys);
    size_t at = 0;
    for (int k = 0; k < n; k++) {
        size_t count = hwm_tensor_count(&keys[k]);
        bool given = strcmp(keys[k].name, "phase") == 0 || strcmp(keys[k].name, "naive") == 0;
        for (size_t b = 0; !given && b < B; b += 16) {
            size_t from = b * f->n_state + at;
            check_difference(f, keys[k].name, f->start + from, g + from, count, 1 + count / 3);
        }
        at += count;
    }
}

// What backward leaves: gradients of phi, the start state, and per step observations, actions,
// rewards.
typedef struct gradients {
    double *phi, *state, *obs[T_MAX], *u[T_MAX], *reward[T_MAX], *z[T_MAX];
} gradients;

// Arrays of the forward pass, in lanes.
typedef struct forward {
    double *coef, *state, *act, *record, *before;
    double *u[T_MAX], *first[T_MAX];
} forward;

// From the states that were stored, or from those that the rule recovers on the way.
static gradients backward(fixture* f, const forward* p, bool stored) {
    const size_t S = hwm_lanes_size(B, (int)f->n_state), X = hwm_lanes_size(B, (int)f->n_act);
    const size_t R = hwm_lanes_size(B, (int)f->n_record);
    gradients g = {.state = packed(f->r_state, f->n_state), .phi = reals(f->n_phi)};
    double *g_coef = reals((size_t)hwm_controller_coef_count(f->c)), *state = reals(S),
           *g_none = reals(hwm_lanes_size(B, O + OUT));
    memcpy(state, p->state, S * sizeof *state);
    for (int t = 0; t < T; t++) {
        g.obs[t] = reals(hwm_lanes_size(B, O));
        g.u[t] = reals(hwm_lanes_size(B, OUT));
        g.reward[t] = reals(hwm_lanes_size(B, 1));
        g.z[t] = reals((size_t)B * STRIDE);
    }
    for (int t = T - 1; t >= 0; t--) {
        const double *x = p->act + (size_t)t * X, *before = p->before + (size_t)t * S;
        double* g_act = packed(f->r_act + (size_t)t * B * f->n_act, f->n_act);
        hwm_controller_learn_backward(f->c, p->coef, B, x, p->u[t], p->record + (size_t)t * R,
                                      state, stored ? before : NULL, g.state, g_act, g.u[t],
                                      g_coef);
        near_all("state before", state, before, S, 1e-11);
        if (hwm_controller_latent(f->c) > 0) {
            hwm_controller_modulate_backward(f->c, p->coef, B, f->z + t * B * STRIDE, STRIDE, x,
                                             g_act, g.z[t], g_coef);
        }
        hwm_controller_act_backward(f->c, p->coef, B, before, x, g_act, g.state, g_coef);
        hwm_controller_input_backward(f->c, B, f->delta, p->first[t], g_act, g.obs[t],
                                      t ? g.obs[t - 1] : g_none, t ? g.u[t - 1] : g_none,
                                      g.reward[t]);
    }
    hwm_controller_prepare_backward(f->c, f->phi, p->coef, g_coef, g.phi);
    return g;
}

static void check(fixture* f) {
    const size_t S = hwm_lanes_size(B, (int)f->n_state), X = hwm_lanes_size(B, (int)f->n_act);
    const size_t R = hwm_lanes_size(B, (int)f->n_record);
    double* coef = reals((size_t)hwm_controller_coef_count(f->c));
    double *state = packed(f->start, f->n_state), *act = reals(T * X), *record = reals(T * R);
    double* before = reals(T * S);
    double *obs[T_MAX], *u[T_MAX], *reward[T_MAX], *first[T_MAX];
    double ones[B], zeros[B] = {0};
    for (int b = 0; b < B; b++) {
        ones[b] = 1;
    }
    hwm_controller_prepare(f->c, f->phi, coef);

    // forward, keeping what backward needs
    for (int t = 0; t < T; t++) {
        int old = t ? t - 1 : 0;
        obs[t] = packed(f->obs + t * B * O, O);
        u[t] = packed(f->u + t * B * OUT, OUT);
        reward[t] = packed(f->reward + t * B, 1);
        first[t] = packed(t ? zeros : ones, 1);
        hwm_controller_input(f->c, B, obs[t], obs[old], f->delta, u[old], reward[t], first[t],
                             act + (size_t)t * X);
        hwm_controller_act(f->c, coef, B, state, act + (size_t)t * X);
        if (hwm_controller_latent(f->c) > 0) {
            hwm_controller_modulate(f->c, hwm_controller_latent_weights(f->c, coef), B,
                                    f->z + t * B * STRIDE, STRIDE, act + (size_t)t * X);
        }
        memcpy(before + (size_t)t * S, state, S * sizeof *state);
        hwm_controller_learn(f->c, coef, B, act + (size_t)t * X, u[t], NULL, state,
                             record + (size_t)t * R);
    }
    double *want_state = reals(B * f->n_state), *want_act = reals(T * B * f->n_act);
    double* rows = reals(B * (f->n_state + f->n_act));
    reference_loss(f, true, want_state, want_act);
    hwm_lanes_unpack(rows, state, B, (int)f->n_state);
    near_all("state", rows, want_state, B * f->n_state, 1e-12);
    for (int t = 0; t < T; t++) {
        hwm_lanes_unpack(rows, act + (size_t)t * X, B, (int)f->n_act);
        near_all("act", rows, want_act + (size_t)t * B * f->n_act, B * f->n_act, 1e-12);
    }
    if (f->rule.bound == HWM_BOUND_MAX_NORM && f->n_plastic > 0) {
        double largest = 0;
        for (int k = 0; k < T * B * REF_LAYERS_MAX; k++) {
            largest = fmax(largest, f->m[k]);
        }
        assert_true(largest > 1);  // the bound was at work
    }

    if (!hwm_controller_differentiable(f->c) || f->rule.naive) {
        return;
    }

    forward p = {.coef = coef, .state = state, .act = act, .record = record, .before = before};
    memcpy(p.u, u, sizeof u);
    memcpy(p.first, first, sizeof first);
    gradients g = backward(f, &p, true);
    // recovering undoes steps that shrink differences: for few of them
    if (hwm_controller_invertible(f->c) && T < T_MAX) {
        gradients recovered = backward(f, &p, false);
        near_all("gradient of phi, weights recovered", recovered.phi, g.phi, f->n_phi, 1e-9);
        near_all("gradient of the start, weights recovered", recovered.state, g.state, S, 1e-9);
    }

    // against differences: every entry of phi, a part of the rest
    reference_loss(f, true, NULL, NULL);
    const hwm_param_list* list = hwm_controller_params(f->c);
    for (int e = 0; e < list->n; e++) {
        size_t at = list->entry[e].offset;
        if (hwm_controller_is_learned(f->c, e)) {
            check_difference(f, list->entry[e].spec.name, f->phi + at, g.phi + at,
                             hwm_tensor_count(&list->entry[e].spec),
                             1 + hwm_tensor_count(&list->entry[e].spec) / 4);
        }
    }
    double* g_rows = reals(B * (f->n_state + O + OUT));
    hwm_lanes_unpack(g_rows, g.state, B, (int)f->n_state);
    check_start(f, g_rows);
    for (int t = 0; t < T; t++) {
        hwm_lanes_unpack(g_rows, g.obs[t], B, O);
        check_difference(f, "obs", f->obs + t * B * O, g_rows, B * O, 17);
        hwm_lanes_unpack(g_rows, g.u[t], B, OUT);
        check_difference(f, "u", f->u + t * B * OUT, g_rows, B * OUT, 11);
        hwm_lanes_unpack(g_rows, g.reward[t], B, 1);
        check_difference(f, "reward", f->reward + t * B, g_rows, B, 5);
        check_difference(f, "z", f->z + t * B * STRIDE, g.z[t], B * STRIDE, 13);
    }
}

static void run(variant v) {
    static const char* const kind[] = {"abcd", "mod3", "shifted", "trace", "network",
                                       "hebb", "oja",  "bcm",     "miconi"};
    fixture f;
    print_message(
        "  %s granularity %d bound %d modulator %d every %d average %d oja %g recurrent %d\n",
        kind[v.kind], v.granularity, v.bound, v.modulator, v.every, v.average, v.oja, v.recurrent);
    setup(&f, &v);
    check(&f);
    teardown(&f);
}

static void test_granularities_and_bounds(void** state) {
    (void)state;
    static const int kinds[] = {HWM_RULE_ABCD, HWM_RULE_MOD3, HWM_RULE_SHIFTED, HWM_RULE_TRACE,
                                HWM_RULE_MICONI};
    for (int k = 0; k < 5; k++) {
        for (int g = HWM_PER_SYNAPSE; g <= HWM_SHARED; g++) {
            for (int b = HWM_BOUND_NONE; b <= HWM_BOUND_DECAY; b++) {
                run((variant){.kind = kinds[k], .granularity = g, .bound = b, .n_hidden = 1});
            }
        }
    }
}

static void test_network_rule(void** state) {
    (void)state;
    for (int b = HWM_BOUND_NONE; b <= HWM_BOUND_DECAY; b++) {
        run((variant){.kind = HWM_RULE_NETWORK, .bound = b, .n_hidden = 1});
    }
    run((variant){.kind = HWM_RULE_NETWORK,
                  .bound = HWM_BOUND_CLIP,
                  .n_hidden = 1,
                  .modulator = HWM_MODULATOR_LINEAR,
                  .oja = 0.4,
                  .every = 2});
    run((variant){.kind = HWM_RULE_NETWORK,
                  .bound = HWM_BOUND_MAX_NORM,
                  .n_hidden = 1,
                  .modulator = HWM_MODULATOR_LATENT});
}

static void test_modulators(void** state) {
    (void)state;
    static const int kinds[] = {HWM_RULE_ABCD, HWM_RULE_MOD3, HWM_RULE_TRACE, HWM_RULE_MICONI};
    for (int k = 0; k < 4; k++) {
        for (int m = HWM_MODULATOR_NONE; m <= HWM_MODULATOR_LATENT; m++) {
            run((variant){.kind = kinds[k],
                          .bound = HWM_BOUND_MAX_NORM,
                          .modulator = m,
                          .n_hidden = 2,
                          .plastic_from = 1,
                          .terms = "AC"});
        }
    }
}

static void test_latent_beside_other_things(void** state) {
    (void)state;
    run((variant){.kind = HWM_RULE_TRACE,
                  .granularity = HWM_PER_NEURON,
                  .bound = HWM_BOUND_CLIP,
                  .modulator = HWM_MODULATOR_LATENT,
                  .n_hidden = 2,
                  .wide_inputs = true});
    run((variant){.kind = HWM_RULE_ABCD,
                  .bound = HWM_BOUND_MAX_NORM,
                  .modulator = HWM_MODULATOR_LATENT,
                  .n_hidden = 1,
                  .recurrent = 1,
                  .every = 2});
}

static void test_oja_decay(void** state) {
    (void)state;
    static const int kinds[] = {HWM_RULE_ABCD, HWM_RULE_MOD3, HWM_RULE_SHIFTED, HWM_RULE_TRACE};
    for (int k = 0; k < 4; k++) {
        run((variant){.kind = kinds[k], .bound = HWM_BOUND_MAX_NORM, .n_hidden = 1, .oja = 0.45});
        run((variant){.kind = kinds[k], .bound = HWM_BOUND_CLIP, .n_hidden = 1, .oja = 0.45});
    }
}

static void test_updates_every_k_steps(void** state) {
    (void)state;
    static const int kinds[] = {HWM_RULE_ABCD, HWM_RULE_MOD3, HWM_RULE_TRACE};
    for (int k = 0; k < 3; k++) {
        run((variant){.kind = kinds[k], .bound = HWM_BOUND_MAX_NORM, .n_hidden = 1, .every = 3});
        run((variant){.kind = kinds[k],
                      .bound = HWM_BOUND_MAX_NORM,
                      .n_hidden = 1,
                      .every = 2,
                      .average = 2});
        run((variant){
            .kind = kinds[k], .bound = HWM_BOUND_DECAY, .n_hidden = 1, .every = 3, .average = 2});
    }
}

static void test_inputs_and_learned_mean(void** state) {
    (void)state;
    run((variant){.kind = HWM_RULE_ABCD,
                  .bound = HWM_BOUND_MAX_NORM,
                  .terms = "ABC",
                  .n_hidden = 2,
                  .plastic_from = 2,
                  .mean = true,
                  .wide_inputs = true});
    run((variant){.kind = HWM_RULE_MOD3,
                  .terms = "AC",
                  .n_hidden = 2,
                  .plastic_from = 2,
                  .wide_inputs = true});
    run((variant){.kind = HWM_RULE_MOD3,
                  .terms = "ABCD",
                  .n_hidden = 0,
                  .wide_inputs = true,
                  .modulator = HWM_MODULATOR_PREDICTION});
}

// Every rule on recurrent connections, alone and beside those of the layers; all static: a plain
// recurrent network.
static void test_recurrent_cell(void** state) {
    (void)state;
    for (int k = HWM_RULE_ABCD; k < HWM_RULE_KINDS; k++) {
        run((variant){.kind = k, .bound = HWM_BOUND_MAX_NORM, .n_hidden = 2, .recurrent = 1});
        run((variant){.kind = k, .bound = HWM_BOUND_CLIP, .n_hidden = 1, .recurrent = 3});
    }
    for (int g = HWM_PER_SYNAPSE; g <= HWM_SHARED; g++) {
        for (int b = HWM_BOUND_NONE; b <= HWM_BOUND_DECAY; b++) {
            run((variant){.kind = HWM_RULE_MICONI,
                          .granularity = g,
                          .bound = b,
                          .n_hidden = 1,
                          .recurrent = 3,
                          .wide_inputs = b == HWM_BOUND_CLIP});
        }
    }
    for (int m = HWM_MODULATOR_NONE; m <= HWM_MODULATOR_LATENT; m++) {
        run((variant){.kind = HWM_RULE_MICONI,
                      .bound = HWM_BOUND_CLIP,
                      .modulator = m,
                      .n_hidden = 2,
                      .recurrent = 3,
                      .oja = m % 2 ? 0.3 : 0,
                      .every = 1 + m % 3});
    }
    run((variant){.kind = HWM_RULE_MOD3,
                  .bound = HWM_BOUND_MAX_NORM,
                  .granularity = HWM_PER_NEURON,
                  .n_hidden = 1,
                  .recurrent = 1,
                  .every = 2,
                  .average = 2});
    run((variant){.kind = HWM_RULE_ABCD, .n_hidden = 2, .plastic_from = 3, .recurrent = 2});
    run((variant){.kind = HWM_RULE_ABCD,
                  .bound = HWM_BOUND_MAX_NORM,
                  .n_hidden = 2,
                  .plastic_from = 1,
                  .recurrent = 2,
                  .mean = true});
}

// A whole rollout: what a coefficient does in the first step has gone through twenty updates of the
// weights.
static void test_twenty_steps(void** state) {
    (void)state;
    T = T_MAX;
    run((variant){.kind = HWM_RULE_ABCD, .bound = HWM_BOUND_MAX_NORM, .n_hidden = 1});
    run((variant){.kind = HWM_RULE_MOD3, .bound = HWM_BOUND_DECAY, .n_hidden = 1});
    run((variant){.kind = HWM_RULE_TRACE, .bound = HWM_BOUND_MAX_NORM, .n_hidden = 1});
    run((variant){.kind = HWM_RULE_NETWORK, .bound = HWM_BOUND_MAX_NORM, .n_hidden = 1});
    run((variant){
        .kind = HWM_RULE_ABCD, .bound = HWM_BOUND_MAX_NORM, .n_hidden = 1, .recurrent = 1});
    T = 4;
}

static void test_static_network(void** state) {
    (void)state;
    run((variant){.kind = HWM_RULE_ABCD, .n_hidden = 2, .plastic_from = 3, .wide_inputs = true});
}

static void test_naive_rules_forward(void** state) {
    (void)state;
    for (int k = HWM_RULE_HEBB; k <= HWM_RULE_BCM; k++) {
        for (int b = HWM_BOUND_NONE; b <= HWM_BOUND_DECAY; b++) {
            run((variant){.kind = k, .bound = b, .n_hidden = 1});
        }
    }
    // every other sample follows the naive rule
    for (int n = HWM_NAIVE_HEBB; n <= HWM_NAIVE_BCM; n++) {
        run((variant){
            .kind = HWM_RULE_ABCD, .bound = HWM_BOUND_MAX_NORM, .n_hidden = 1, .naive = n});
        run((variant){
            .kind = HWM_RULE_MOD3, .bound = HWM_BOUND_CLIP, .n_hidden = 1, .naive = n, .every = 2});
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_granularities_and_bounds),
        cmocka_unit_test(test_network_rule),
        cmocka_unit_test(test_modulators),
        cmocka_unit_test(test_latent_beside_other_things),
        cmocka_unit_test(test_oja_decay),
        cmocka_unit_test(test_updates_every_k_steps),
        cmocka_unit_test(test_inputs_and_learned_mean),
        cmocka_unit_test(test_recurrent_cell),
        cmocka_unit_test(test_twenty_steps),
        cmocka_unit_test(test_static_network),
        cmocka_unit_test(test_naive_rules_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
