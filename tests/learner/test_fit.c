// The network rule fitted to naive rollouts: below predicting zero where the rule can be known, and
// what was fitted is what the controller does.
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

#include "experiment/evaluate.h"
#include "fit.h"
#include "plastic/materialise.h"

enum { UPDATES = 1500 };

typedef struct fitted {
    hwm_experiment* experiment;
    hwm_controller* controller;
    float* phi;
    hwm_fit_report report;
} fitted;

static void open_fit(fitted* f, const char* naive) {
    char yaml[256];
    hwm_error err = {0};
    snprintf(yaml, sizeof yaml,
             "env: {name: cartpole}\ncontroller: {hidden: [8]}\n"
             "rule: {kind: network, naive: %s, units: 8, eta: 0.1}\n",
             naive);
    if (hwm_experiment_load(&f->experiment, NULL, yaml, NULL, 0, &err) != HWM_OK ||
        hwm_experiment_controller(f->experiment, &f->controller, &err) != HWM_OK)
        fail_msg("%s", err.text);
    const size_t n = hwm_controller_params(f->controller)->count;
    hwm_real* real = calloc(n, sizeof *real);
    f->phi = calloc(n, sizeof *f->phi);
    hwm_rng rng;
    hwm_rng_init(&rng, 4, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(f->controller, &rng, real);
    for (size_t k = 0; k < n; k++)
        f->phi[k] = (float)real[k];
    free(real);
    if (hwm_fit_rule(f->experiment, UPDATES, f->phi, &f->report, &err) != HWM_OK)
        fail_msg("%s", err.text);
    print_message("%s: held-out error %.3g, of predicting zero %.3g, ratio %.3f\n", naive,
                  f->report.error, f->report.zero, f->report.error / f->report.zero);
    assert_true(f->report.held_out > 5000 && f->report.samples > f->report.held_out);
}

static void close_fit(fitted* f) {
    free(f->phi);
    hwm_controller_destroy(&f->controller);
    hwm_experiment_destroy(&f->experiment);
}

// Learning rates vary tenfold between episodes and are not seen: that part stays.
static void test_oja_and_bcm_are_predicted(void** state) {
    (void)state;
    fitted f;
    open_fit(&f, "oja");
    assert_true(f.report.error < 0.5 * f.report.zero);
    close_fit(&f);
    open_fit(&f, "bcm");
    assert_true(f.report.error < 0.9 * f.report.zero);
    close_fit(&f);
}

// Structured random updates have a sign of their own in every episode: nothing but zero is right.
static void test_random_updates_are_not(void** state) {
    (void)state;
    fitted f;
    open_fit(&f, "hebb");
    assert_true(f.report.error > 0.8 * f.report.zero && f.report.error < 1.2 * f.report.zero);
    close_fit(&f);
}

// The kernel's dW with the fitted phi, against Oja's rule at the mean learning rate.
static void test_the_controller_does_it(void** state) {
    (void)state;
    fitted f;
    open_fit(&f, "oja");
    const hwm_controller* c = f.controller;
    const size_t n = hwm_controller_params(c)->count;
    hwm_real* real = calloc(n, sizeof *real);
    hwm_real* coef = calloc((size_t)hwm_controller_coef_count(c) + 1, sizeof *coef);
    hwm_real *w = aligned_alloc(64, hwm_lanes_size(1, hwm_controller_state_size(c)) * sizeof *w),
             *act =
                 aligned_alloc(64, hwm_lanes_size(1, hwm_controller_activations(c)) * sizeof *act),
             *u = aligned_alloc(64, hwm_lanes_size(1, 1) * sizeof *u);
    for (size_t k = 0; k < n; k++)
        real[k] = (hwm_real)f.phi[k];
    hwm_controller_prepare(c, real, coef);
    hwm_rng rng;
    hwm_rng_init(&rng, 6, HWM_PURPOSE_TEST, 0, 0, 0);
    memset(w, 0, hwm_lanes_size(1, hwm_controller_state_size(c)) * sizeof *w);
    memset(u, 0, hwm_lanes_size(1, 1) * sizeof *u);
    hwm_controller_reset(c, coef, &rng, w, 0);
    const hwm_layer_view y = hwm_controller_layer(c, 0);
    double error = 0, zero = 0;
    for (int k = 0; k < 50; k++) {
        memset(act, 0, hwm_lanes_size(1, hwm_controller_activations(c)) * sizeof *act);
        for (int j = 0; j < 4; j++)  // observations as naive episodes have them
            act[j * HWM_LANES] = (hwm_real)(0.2f * hwm_rng_normal(&rng));
        act[4 * HWM_LANES] = 1;  // the reward
        hwm_controller_act(c, coef, 1, w, act);
        hwm_real before[64];
        for (int s = 0; s < y.P * y.Q; s++)
            before[s] = w[(y.w + (size_t)s) * HWM_LANES];
        hwm_controller_learn(c, coef, 1, act, u, NULL, w, NULL);
        for (int i = 0; i < y.P; i++)
            for (int j = 0; j < y.Q; j++) {
                const int s = i * y.Q + j;
                const double pre = (double)act[(y.pre + (size_t)j) * HWM_LANES],
                             post = (double)act[(y.post + (size_t)i) * HWM_LANES],
                             dw = (double)(w[(y.w + (size_t)s) * HWM_LANES] - before[s]),
                             want = 0.055 * (pre * post - post * post * (double)before[s]);
                error += (dw - want) * (dw - want);
                zero += want * want;
            }
    }
    print_message("kernel against the mean rule: %.3f of predicting zero\n", error / zero);
    assert_true(error < 0.5 * zero);
    free(real);
    free(coef);
    free(w);
    free(act);
    free(u);
    close_fit(&f);
}

static void test_other_rules_are_refused(void** state) {
    (void)state;
    hwm_experiment* e = NULL;
    hwm_error err = {0};
    hwm_fit_report report;
    float phi[1] = {0};
    const char* yaml = "env: {name: cartpole}\nrule: {kind: abcd, naive: oja}\n";
    assert_int_equal(hwm_experiment_load(&e, NULL, yaml, NULL, 0, &err), HWM_OK);
    assert_int_equal(hwm_fit_rule(e, 1, phi, &report, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "rule.kind = network"));
    hwm_experiment_destroy(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oja_and_bcm_are_predicted),
        cmocka_unit_test(test_random_updates_are_not),
        cmocka_unit_test(test_the_controller_does_it),
        cmocka_unit_test(test_other_rules_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
