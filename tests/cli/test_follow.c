// Following metrics.jsonl while it is written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deploy/cli/follow.h"
#include "scratch.h"

static double next_value(hwm_follow* f) {
    hwm_json* json = NULL;
    const char* line = NULL;
    if (!hwm_follow_next(f, &json, &line)) {
        return -1.0;
    }
    double v = hwm_json_number(json, "v", -2.0);
    hwm_json_free(&json);
    return v;
}

static void test_follow_waits_for_the_end_of_a_line(void** state) {
    (void)state;
    hwm_follow* f = hwm_follow_open(scratch_path("a.jsonl"));
    assert_true(next_value(f) == -1.0);  // not there yet
    scratch_write("a.jsonl", "{\"v\": 1}\n{\"v\": 2", "w");
    assert_true(next_value(f) == 1.0);
    assert_true(next_value(f) == -1.0);
    scratch_write("a.jsonl", "5}\n", "a");
    assert_true(next_value(f) == 25.0);
    assert_true(next_value(f) == -1.0);
    hwm_follow_close(&f);
    assert_null(f);
}

static void test_follow_passes_over_lines_that_are_not_json(void** state) {
    (void)state;
    scratch_write("b.jsonl", "not json\n{\"v\": 3}\n{\"v\": \n{\"v\": 4}\n", "w");
    hwm_follow* f = hwm_follow_open(scratch_path("b.jsonl"));
    assert_true(next_value(f) == 3.0);
    assert_true(next_value(f) == 4.0);
    assert_int_equal(hwm_follow_bad_lines(f), 2);
    hwm_follow_close(&f);
}

static void test_follow_starts_over_when_the_file_is_cut(void** state) {
    (void)state;
    scratch_write("c.jsonl", "{\"v\": 1}\n{\"v\": 2}\n", "w");
    hwm_follow* f = hwm_follow_open(scratch_path("c.jsonl"));
    assert_true(next_value(f) == 1.0);
    assert_true(next_value(f) == 2.0);
    scratch_write("c.jsonl", "{\"v\": 7}\n", "w");
    assert_true(next_value(f) == 7.0);
    hwm_follow_close(&f);
}

static void test_json_paths(void** state) {
    (void)state;
    const char* text = "{\"a\": {\"b\": [10, {\"c\": \"x\"}]}, \"n\": null}";
    hwm_json* j = hwm_json_parse(text, strlen(text));
    assert_non_null(j);
    assert_true(hwm_json_number(j, "a.b.0", 0) == 10.0);
    assert_string_equal(hwm_json_text(j, "a.b.1.c", "?"), "x");
    assert_true(hwm_json_number(j, "n", 5) == 5.0);
    assert_true(hwm_json_number(j, "a.b.7", 5) == 5.0);
    assert_int_equal(hwm_json_size(j, "a.b"), 2);
    assert_string_equal(hwm_json_key(j, 1), "n");
    assert_null(hwm_json_key(j, 2));
    hwm_json_free(&j);
    assert_null(hwm_json_parse("{", 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follow_waits_for_the_end_of_a_line),
        cmocka_unit_test(test_follow_passes_over_lines_that_are_not_json),
        cmocka_unit_test(test_follow_starts_over_when_the_file_is_cut),
        cmocka_unit_test(test_json_paths),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
