// Plots: what they show is what metrics.jsonl says; episodes played for them are those of the
// evaluation.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deploy/cli/commands.h"
#include "deploy/cli/curves.h"
#include "deploy/cli/figure.h"
#include "deploy/cli/play.h"
#include "small_run.h"

static const char cartpole[] =
    "run:\n  name: cartpole\nenv:\n  name: cartpole\n  obs_sign: experiment\n";
static hwm_error err;

static void test_curves_are_the_numbers_of_metrics(void** state) {
    (void)state;
    small_run_make("a", cartpole, 1);
    small_run_metrics("a", 5, 1.0);
    hwm_curves c;
    assert_int_equal(hwm_curves_read(&c, scratch_path("a"), &err), HWM_OK);
    assert_int_equal(c.n, 5);
    assert_string_equal(c.experiment, "cartpole");
    assert_true(c.column[HWM_CURVE_EVAL][3] == 300.0);
    assert_true(c.column[HWM_CURVE_RETURN][4] == 200.0);
    assert_true(hwm_curves_at(&c, HWM_CURVE_EVAL, 250.0) == 250.0);
    assert_true(isnan(hwm_curves_at(&c, HWM_CURVE_EVAL, 401.0)));
    hwm_curves_free(&c);
    assert_int_equal(hwm_curves_read(&c, scratch_path("none"), &err), HWM_ENOTFOUND);
    assert_non_null(strstr(err.text, "is it a run directory"));
}

static void test_curves_forget_what_a_resumed_run_repeats(void** state) {
    (void)state;
    small_run_make("b", cartpole, 1);
    small_run_metrics("b", 4, 1.0);
    scratch_write("b/metrics.jsonl", "{\"env_steps\": 150, \"eval_mean\": 7}\n", "a");
    hwm_curves c;
    assert_int_equal(hwm_curves_read(&c, scratch_path("b"), &err), HWM_OK);
    assert_int_equal(c.n, 3);
    assert_true(c.column[HWM_CURVE_ENV_STEPS][2] == 150.0 && c.column[HWM_CURVE_EVAL][2] == 7.0);
    hwm_curves_free(&c);
}

static void test_spread_of_two_seeds(void** state) {
    (void)state;
    small_run_make("s0", cartpole, 1);
    small_run_make("s1", cartpole, 2);
    small_run_metrics("s0", 5, 1.0);
    small_run_metrics("s1", 3, 3.0);
    hwm_curves c[2];
    assert_int_equal(hwm_curves_read(&c[0], scratch_path("s0"), &err), HWM_OK);
    assert_int_equal(hwm_curves_read(&c[1], scratch_path("s1"), &err), HWM_OK);
    const hwm_curves* runs[2] = {&c[0], &c[1]};
    double x[5], mean[5], low[5], high[5];
    hwm_curves_spread(runs, 2, HWM_CURVE_EVAL, 400.0, 5, x, mean, low, high);
    assert_true(x[1] == 100.0 && mean[1] == 200.0 && low[1] == 100.0 && high[1] == 300.0);
    assert_true(mean[2] == 400.0);
    // one of them has ended: no mean of what is left
    assert_true(isnan(mean[3]) && isnan(low[4]));
    hwm_curves_free(&c[0]);
    hwm_curves_free(&c[1]);
}

static char* read_text(const char* path) {
    FILE* f = fopen(path, "r");
    assert_non_null(f);
    char* text = NULL;
    size_t size = 0;
    assert_true(getdelim(&text, &size, '\0', f) > 0);
    fclose(f);
    return text;
}

static void test_plot_writes_png_svg_and_the_same_numbers(void** state) {
    (void)state;
    small_run_make("p0", cartpole, 1);
    small_run_make("p1", cartpole, 2);
    small_run_metrics("p0", 11, 1.0);
    small_run_metrics("p1", 11, 2.0);
    char png[128], svg[128], csv[128];
    snprintf(png, sizeof png, "%s", scratch_path("p.png"));
    snprintf(svg, sizeof svg, "%s", scratch_path("p.svg"));
    snprintf(csv, sizeof csv, "%s", scratch_path("p.csv"));
    char p0[128], p1[128];
    snprintf(p0, sizeof p0, "%s", scratch_path("p0"));
    snprintf(p1, sizeof p1, "%s", scratch_path("p1"));
    char* argv[] = {"hwm", "plot",   p0,  p1,           "--out", png,           "--out",
                    svg,   "--data", csv, "--episodes", "4",     "--change-at", "12"};
    assert_int_equal(hwm_cli_main(14, argv), HWM_EXIT_DONE);
    char* text = read_text(svg);
    assert_non_null(strstr(text, "<svg"));
    assert_non_null(strstr(text, "</svg>"));
    free(text);
    FILE* f = fopen(png, "rb");
    unsigned char magic[8];
    assert_non_null(f);
    assert_int_equal(fread(magic, 1, 8, f), 8);
    fclose(f);
    assert_memory_equal(magic, "\x89PNG\r\n\x1a\n", 8);
    // 200 points over 1,000 steps: each is the mean of x and 2 x
    text = read_text(csv);
    int rows = 0;
    for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        double x, mean, low, high, imagined, real;
        int seeds;
        if (sscanf(line, "cartpole,%lf,%d,%lf,%lf,%lf,%lf,%lf", &x, &seeds, &mean, &low, &high,
                   &imagined, &real) == 7) {
            rows++;
            assert_int_equal(seeds, 2);
            assert_true(fabs(mean - 1.5 * x) < 1e-5 && fabs(low - x) < 1e-5 &&
                        fabs(high - 2 * x) < 1e-5);
            assert_true(fabs(imagined - 0.9 * 1.5 * x) < 1e-5 && fabs(real - 1.5 * x) < 1e-5);
        }
    }
    assert_int_equal(rows, 200);
    free(text);
}

static void test_plot_refuses_with_a_sentence(void** state) {
    (void)state;
    char none[128], bad[128], a[128];
    snprintf(none, sizeof none, "%s", scratch_path("none"));
    snprintf(bad, sizeof bad, "%s", scratch_path("figure.gif"));
    snprintf(a, sizeof a, "%s", scratch_path("a"));
    char* missing[] = {"hwm", "plot", none};
    char* format[] = {"hwm", "plot", a, "--out", bad, "--curves-only"};
    assert_int_equal(hwm_cli_main(3, missing), HWM_EXIT_FAILED);
    assert_int_equal(hwm_cli_main(6, format), HWM_EXIT_USAGE);
}

static void test_axis_is_round_and_never_empty(void** state) {
    (void)state;
    double lo = 3.2, hi = 487.0;
    hwm_axis_round(&lo, &hi);
    assert_true(lo == 0.0 && hi == 500.0);
    lo = hi = 7.0;
    hwm_axis_round(&lo, &hi);
    assert_true(lo < 7.0 && hi > 7.0);
    lo = INFINITY;
    hi = -INFINITY;
    hwm_axis_round(&lo, &hi);
    assert_true(lo == 0.0 && hi == 1.0);
}

static bool add_rewards(void* context, const hwm_rollout* r, int64_t row) {
    double* total = context;
    for (int i = 0; i < r->E; i++) {
        if (!r->idle[i] && row > 0) {
            total[i] += r->reward[i];
        }
    }
    return true;
}

static void test_play_is_what_evaluation_counts(void** state) {
    (void)state;
    hwm_checkpoint c;
    const char* dir = small_run_make("play", cartpole, 5);
    assert_int_equal(hwm_checkpoint_open(&c, dir, &err), HWM_OK);
    hwm_evaluate_request eq = hwm_evaluate_default_request();
    hwm_evaluate_result result;
    eq.episodes = 8;
    eq.seed = 77;
    assert_int_equal(hwm_evaluate(c.experiment, c.phi, &eq, &result, &err), HWM_OK);
    double total[8] = {0}, sum = 0.0;
    hwm_play_request q = hwm_play_default_request();
    q.episodes = 8;
    q.seed = 77;
    assert_int_equal(hwm_play(&c, &q, add_rewards, total, &err), HWM_OK);
    for (int i = 0; i < 8; i++) {
        sum += total[i];
    }
    assert_true(fabs(sum / 8 - result.all.mean) < 1e-9);
    assert_true(result.all.mean > 1.0);
    hwm_checkpoint_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curves_are_the_numbers_of_metrics),
        cmocka_unit_test(test_curves_forget_what_a_resumed_run_repeats),
        cmocka_unit_test(test_spread_of_two_seeds),
        cmocka_unit_test(test_plot_writes_png_svg_and_the_same_numbers),
        cmocka_unit_test(test_plot_refuses_with_a_sentence),
        cmocka_unit_test(test_axis_is_round_and_never_empty),
        cmocka_unit_test(test_play_is_what_evaluation_counts),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
