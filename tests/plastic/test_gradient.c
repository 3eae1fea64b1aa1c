// Several steps of input, act and learn in double: the kernels against the plain reference, and
// every gradient (phi, start state, observations, actions) against central differences of the
// reference with the scale of the bound held fixed.
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

enum { B = 19, T = 4, O = 3, OUT = 2 };

typedef struct fixture {
    hwm_controller_config config;
    hwm_rule_config rule;
    int plastic[REF_LAYERS_MAX];
    hwm_controller* c;
    size_t n_phi, n_state, n_act, n_record;
    double *phi, *start;       // start (B, state)
    double *obs, *u, *reward;  // (T,B,O), (T,B,OUT), (T,B)
    double *r_act, *r_state;   // loss weights (T,B,act), (B,state)
    double* delta;             // (O)
    double* m;                 // (T,B,layers) scales as computed
    int n_plastic;
} fixture;

static double* reals(size_t n) {
    double* p = calloc(n + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

static void random_fill(double* x, size_t n, hwm_rng* rng, double std) {
    for (size_t k = 0; k < n; k++) {
        x[k] = std * (double)hwm_rng_normal(rng);
    }
}

static const char* const choose_inputs[] = {"o", "d", "a", "r", "1"};

static void setup(fixture* f, int kind, int granularity, int bound, const char* terms, int n_hidden,
                  int plastic_from, bool mean, bool wide_inputs) {
    memset(f, 0, sizeof *f);
    hwm_config_section sections[2] = {{&hwm_controller_table, &f->config, {0}},
                                      {&hwm_rule_table, &f->rule, {0}}};
    hwm_config_defaults(sections, 2);
    f->config.hidden.n = n_hidden;
    f->config.hidden.v[0] = 5;
    f->config.hidden.v[1] = 4;
    f->config.inputs.n = wide_inputs ? 5 : 1;
    for (int k = 0; k < f->config.inputs.n; k++) {
        strcpy(f->config.inputs.v[k], choose_inputs[k]);
    }
    f->config.plastic.n = 0;
    for (int l = 0; l <= n_hidden; l++) {
        f->plastic[l] = l >= plastic_from;
        if (f->plastic[l]) {
            sprintf(f->config.plastic.v[f->config.plastic.n++], "%d", l + 1);
            f->n_plastic++;
        }
    }
    f->config.weights_scale = 0.4;
    f->config.weights_mean = mean;
    f->rule.kind = kind;
    f->rule.granularity = granularity;
    f->rule.bound = bound;
    f->rule.w_max = 0.5;
    f->rule.phi_std = 0.5;
    strcpy(f->rule.terms, terms);
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
    f->r_act = reals(T * B * f->n_act);
    f->r_state = reals(B * f->n_state);
    f->delta = reals(O);
    f->m = reals(T * B * REF_LAYERS_MAX);
    hwm_rng rng;
    hwm_rng_init(&rng, 7, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(f->c, &rng, f->phi);
    for (size_t k = 0; k < f->n_phi; k++) {
        f->phi[k] += 0.1 * (double)hwm_rng_normal(&rng);
    }
    random_fill(f->start, f->n_state * B, &rng, 0.3);
    random_fill(f->obs, T * B * O, &rng, 1);
    random_fill(f->u, T * B * OUT, &rng, 0.7);
    random_fill(f->reward, T * B, &rng, 1);
    random_fill(f->r_act, T * B * f->n_act, &rng, 1);
    random_fill(f->r_state, B * f->n_state, &rng, 1);
    for (int k = 0; k < O; k++) {
        f->delta[k] = 0.5 + 0.3 * k;
    }
}

static void teardown(fixture* f) {
    hwm_controller_destroy(&f->c);
    double* all[] = {f->phi,   f->start,   f->obs,   f->u, f->reward,
                     f->r_act, f->r_state, f->delta, f->m};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        free(all[k]);
    }
}

// Loss of the reference. record: keep the scales of the bound; else those kept are used.
static double reference_loss(fixture* f, bool record, double* final_state, double* all_act) {
    static ref_controller r;
    const float scale[O] = {0.5f, 1.0f, 2.0f};
    double loss = 0;
    double state[4096];
    for (int b = 0; b < B; b++) {
        ref_init(&r, &f->config, &f->rule, hwm_controller_params(f->c), f->phi,
                 hwm_controller_inputs(f->c), OUT, f->plastic);
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
            ref_act(&r, x0);
            double* m = f->m + (size_t)(t * B + b) * REF_LAYERS_MAX;
            ref_learn(&r, f->u + (size_t)(t * B + b) * OUT, record ? NULL : m);
            for (int l = 0, p = 0; record && l < r.n_layers; l++) {
                if (f->plastic[l]) {
                    m[p++] = r.m[l];
                }
            }
            size_t at = (size_t)(t * B + b) * f->n_act;
            for (int l = 0; l <= r.n_layers; l++) {
                int units = l ? r.layer[l - 1].P : r.inputs;
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

// Central differences of the reference's loss with respect to x (n), against g.
static void check_difference(fixture* f, const char* what, double* x, const double* g, size_t n,
                             size_t stride) {
    for (size_t k = 0; k < n; k += stride) {
        double keep = x[k], h = 1e-5;
        x[k] = keep + h;
        double up = reference_loss(f, false, NULL, NULL);
        x[k] = keep - h;
        double down = reference_loss(f, false, NULL, NULL);
        x[k] = keep;
        double want = (up - down) / (2 * h);
        if (!(fabs(g[k] - want) <= 2e-7 * (1 + fabs(want)))) {
            fail_msg("gradient of %s[%zu]: %.10g, central difference %.10g", what, k, g[k], want);
        }
    }
}

static void check(fixture* f) {
    const size_t S = hwm_lanes_size(B, (int)f->n_state), X = hwm_lanes_size(B, (int)f->n_act);
    const size_t R = hwm_lanes_size(B, (int)f->n_record);
    double* coef = reals((size_t)hwm_controller_coef_count(f->c));
    double *state = packed(f->start, f->n_state), *act = reals(T * X), *record = reals(T * R);
    double* before = reals(T * S);
    double *obs[T], *u[T], *reward[T], *first[T];
    const double ones[B] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                 zeros[B] = {0};
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

    // backward
    double *g_state = packed(f->r_state, f->n_state),
           *g_coef = reals((size_t)hwm_controller_coef_count(f->c));
    double *g_obs[T], *g_u[T], *g_none = reals(hwm_lanes_size(B, O + OUT));
    for (int t = 0; t < T; t++) {
        g_obs[t] = reals(hwm_lanes_size(B, O));
        g_u[t] = reals(hwm_lanes_size(B, OUT));
    }
    for (int t = T - 1; t >= 0; t--) {
        const double* x = act + (size_t)t * X;
        double* g_act = packed(f->r_act + (size_t)t * B * f->n_act, f->n_act);
        hwm_controller_learn_backward(f->c, coef, B, x, u[t], record + (size_t)t * R, state,
                                      before + (size_t)t * S, g_state, g_act, g_u[t], g_coef);
        if (hwm_controller_invertible(f->c)) {
            near_all("state before", state, before + (size_t)t * S, S, 1e-11);
        }
        hwm_controller_act_backward(f->c, coef, B, before + (size_t)t * S, x, g_act, g_state,
                                    g_coef);
        hwm_controller_input_backward(f->c, B, f->delta, first[t], g_act, g_obs[t],
                                      t ? g_obs[t - 1] : g_none, t ? g_u[t - 1] : g_none);
        free(g_act);
    }
    double* g_phi = reals(f->n_phi);
    hwm_controller_prepare_backward(f->c, f->phi, coef, g_coef, g_phi);

    // against differences: every entry of phi, a part of the rest
    reference_loss(f, true, NULL, NULL);
    size_t learned = f->n_phi;
    if (hwm_param_list_find(hwm_controller_params(f->c), "input.delta_scale") >= 0) {
        learned -= O;  // given by the learner, not learned; the reference reads its own
    }
    check_difference(f, "phi", f->phi, g_phi, learned, 1);
    double* g_rows = reals(B * (f->n_state + O + OUT));
    hwm_lanes_unpack(g_rows, g_state, B, (int)f->n_state);
    check_difference(f, "start", f->start, g_rows, B * f->n_state, 13);
    for (int t = 0; t < T; t++) {
        hwm_lanes_unpack(g_rows, g_obs[t], B, O);
        check_difference(f, "obs", f->obs + t * B * O, g_rows, B * O, 5);
        hwm_lanes_unpack(g_rows, g_u[t], B, OUT);
        check_difference(f, "u", f->u + t * B * OUT, g_rows, B * OUT, 3);
        double* give[] = {obs[t], u[t], reward[t], first[t], g_obs[t], g_u[t]};
        for (int k = 0; k < 6; k++) {
            free(give[k]);
        }
    }
    double* give[] = {coef, state,   act,    record, before, want_state, want_act,
                      rows, g_state, g_coef, g_none, g_phi,  g_rows};
    for (size_t k = 0; k < sizeof give / sizeof give[0]; k++) {
        free(give[k]);
    }
}

static void run(int kind, int granularity, int bound, const char* terms, int n_hidden,
                int plastic_from, bool mean, bool wide) {
    fixture f;
    setup(&f, kind, granularity, bound, terms, n_hidden, plastic_from, mean, wide);
    check(&f);
    teardown(&f);
}

static void test_abcd_all_layers(void** state) {
    (void)state;
    run(HWM_RULE_ABCD, HWM_PER_SYNAPSE, HWM_BOUND_MAX_NORM, "ABCD", 2, 0, false, false);
    run(HWM_RULE_ABCD, HWM_PER_SYNAPSE, HWM_BOUND_NONE, "ABCDE", 1, 0, false, true);
}

static void test_abcd_per_layer(void** state) {
    (void)state;
    run(HWM_RULE_ABCD, HWM_PER_LAYER, HWM_BOUND_MAX_NORM, "ABCDE", 2, 0, false, false);
}

static void test_static_trunk_and_plastic_head(void** state) {
    (void)state;
    run(HWM_RULE_ABCD, HWM_PER_SYNAPSE, HWM_BOUND_MAX_NORM, "ABC", 2, 2, false, true);
    run(HWM_RULE_MOD3, HWM_PER_SYNAPSE, HWM_BOUND_MAX_NORM, "AC", 2, 2, false, true);
}

static void test_mod3_all_layers(void** state) {
    (void)state;
    run(HWM_RULE_MOD3, HWM_PER_SYNAPSE, HWM_BOUND_MAX_NORM, "ABCD", 2, 0, false, true);
    run(HWM_RULE_MOD3, HWM_PER_LAYER, HWM_BOUND_NONE, "ABCDE", 0, 0, false, false);
}

static void test_static_network(void** state) {
    (void)state;
    run(HWM_RULE_ABCD, HWM_PER_SYNAPSE, HWM_BOUND_MAX_NORM, "ABCD", 2, 3, false, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abcd_all_layers),
        cmocka_unit_test(test_abcd_per_layer),
        cmocka_unit_test(test_static_trunk_and_plastic_head),
        cmocka_unit_test(test_mod3_all_layers),
        cmocka_unit_test(test_static_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
