// The display: no line wider than the terminal, at any width; numbers as people read them.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deploy/cli/display.h"

static void feed(hwm_progress* p, const char* text, double t) {
    hwm_json* j = hwm_json_parse(text, strlen(text));
    assert_non_null(j);
    hwm_progress_metrics(p, j, t);
    hwm_json_free(&j);
}

static hwm_progress running(void) {
    hwm_progress p;
    hwm_progress_init(&p, "cartpole");
    p.max_env_steps = 20000;
    p.workers = 2;
    feed(&p, "{\"env_steps\": 1000, \"updates\": 10, \"return_mean\": 20, \"wall_s\": 3}", 100.0);
    feed(&p,
         "{\"env_steps\": 5000, \"updates\": 510, \"return_mean\": 220.4, \"eval_mean\": 480, "
         "\"imagined_return\": 0.9, \"real_return\": 0.8, \"wall_s\": 13}",
         110.0);
    return p;
}

static void test_progress_rates_and_eta(void** state) {
    (void)state;
    hwm_progress p = running();
    assert_true(fabs(p.env_steps_per_s - 400.0) < 1e-9);
    assert_true(fabs(p.updates_per_s - 50.0) < 1e-9);
    assert_true(fabs(hwm_progress_eta_s(&p) - 37.5) < 1e-9);
    assert_true(fabs(hwm_progress_share(&p) - 0.25) < 1e-9);
    assert_true(p.eval_best == 480.0);
    p.max_env_steps = 0;
    assert_true(isnan(hwm_progress_eta_s(&p)));
    assert_true(isnan(hwm_progress_share(&p)));
}

static void test_progress_thins_a_long_history(void** state) {
    (void)state;
    hwm_progress p;
    hwm_progress_init(&p, "x");
    for (int i = 0; i < 5000; i++) {
        char line[64];
        snprintf(line, sizeof line, "{\"return_mean\": %d}", i);
        feed(&p, line, 0.0);
    }
    assert_true(p.n_history > HWM_HISTORY_MAX / 4 && p.n_history <= HWM_HISTORY_MAX);
    // still in order, evenly spread, over the whole run
    assert_true(p.history[0] == 0.0);
    for (int i = 1; i < p.n_history; i++) {
        assert_true(p.history[i] - p.history[i - 1] == p.history_stride);
    }
    assert_true(p.history[p.n_history - 1] > 4900.0);
}

static int widest(const char* text) {
    int widest_line = 0, n = 0;
    for (const char* p = text; *p; p++) {
        if (*p == '\n') {
            n = 0;
        } else if (((unsigned char)*p & 0xc0) != 0x80) {
            n++;
        }
        widest_line = n > widest_line ? n : widest_line;
    }
    return widest_line;
}

static void test_rows_of_lines_that_a_narrower_terminal_wrapped(void** state) {
    (void)state;
    static const int columns[] = {79, 0, 40, 41, 12};
    assert_int_equal(hwm_display_rows(columns, 5, 80), 5);
    assert_int_equal(hwm_display_rows(columns, 5, 40), 2 + 1 + 1 + 2 + 1);
    assert_int_equal(hwm_display_rows(columns, 5, 20), 4 + 1 + 2 + 3 + 1);
    assert_int_equal(hwm_display_rows(columns, 0, 20), 0);
}

static void test_block_fits_every_width(void** state) {
    (void)state;
    hwm_progress p = running();
    hwm_progress fresh;
    hwm_progress_init(&fresh,
                      "an experiment with a name that is much longer than a narrow terminal");
    static char text[16384];
    for (int width = 20; width <= 220; width++) {
        for (int utf8 = 0; utf8 < 2; utf8++) {
            int lines = hwm_display_block(&p, width, utf8, false, text, sizeof text);
            assert_true(widest(text) <= width);
            int seen = 0;
            for (const char* c = text; *c; c++) {
                seen += *c == '\n';
            }
            assert_int_equal(seen, lines);
            hwm_display_block(&fresh, width, utf8, false, text, sizeof text);
            assert_true(widest(text) <= width);
        }
    }
    hwm_display_block(&p, 100, true, false, text, sizeof text);
    assert_non_null(strstr(text, "5,000 of 20,000 env steps"));
    assert_non_null(strstr(text, "eval 480"));
    assert_non_null(strstr(text, "imagined  0.9 against 0.8 real"));
}

static void test_numbers_as_people_read_them(void** state) {
    (void)state;
    char t[64];
    hwm_display_count(1234567.0, t, sizeof t);
    assert_string_equal(t, "1,234,567");
    hwm_display_count(-1234.0, t, sizeof t);
    assert_string_equal(t, "-1,234");
    hwm_display_count(999.0, t, sizeof t);
    assert_string_equal(t, "999");
    hwm_display_count(NAN, t, sizeof t);
    assert_string_equal(t, "-");
    hwm_display_duration(3725.0, t, sizeof t);
    assert_string_equal(t, "1h02m");
    hwm_display_duration(187.2, t, sizeof t);
    assert_string_equal(t, "3m07s");
    hwm_display_duration(NAN, t, sizeof t);
    assert_string_equal(t, "-");
}

static void test_sparkline_rises_with_the_values(void** state) {
    (void)state;
    double v[32];
    for (int i = 0; i < 32; i++) {
        v[i] = i;
    }
    char t[256];
    assert_int_equal(hwm_display_sparkline(v, 32, 8, false, t, sizeof t), 8);
    assert_string_equal(t, "_.,-=+*#");
    assert_int_equal(hwm_display_sparkline(v, 0, 8, false, t, sizeof t), 0);
    double same[3] = {2, 2, 2};
    hwm_display_sparkline(same, 3, 8, false, t, sizeof t);
    assert_string_equal(t, "___");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_rates_and_eta),
        cmocka_unit_test(test_progress_thins_a_long_history),
        cmocka_unit_test(test_rows_of_lines_that_a_narrower_terminal_wrapped),
        cmocka_unit_test(test_block_fits_every_width),
        cmocka_unit_test(test_numbers_as_people_read_them),
        cmocka_unit_test(test_sparkline_rises_with_the_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
