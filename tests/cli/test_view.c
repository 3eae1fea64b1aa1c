// The page of statistics: no line wider than asked, workers sorted, what does not fit is counted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deploy/cli/view.h"

static const char answer[] =
    "{\"version\": \"9.9\", \"endpoint\": \"ipc:///x\", \"uptime_s\": 61, \"memory_bytes\": "
    "1500000, \"cpu_s\": 2,"
    " \"requests\": {\"total\": 1000, \"refused\": 3, \"malformed\": 0},"
    " \"replay\": {\"store\": {\"durability\": \"group\", \"commits\": 7},"
    "  \"tables\": [{\"name\": \"t\", \"steps\": 12345, \"capacity_steps\": 20000, "
    "\"inserted_steps\": 12345,"
    "   \"limiter\": {\"samples_per_insert\": 16}}]},"
    " \"workers\": [{\"rank\": 0, \"host\": \"b\", \"alive\": true, \"steps_per_s\": 10, "
    "\"return_mean\": 5},"
    "  {\"rank\": 1, \"host\": \"a\", \"alive\": true, \"steps_per_s\": 30, \"return_mean\": 1},"
    "  {\"rank\": 2, \"host\": \"c\", \"alive\": false, \"steps_per_s\": 20, \"return_mean\": 9}]}";
static char text[1 << 16];

static hwm_json* parse(const char* t) {
    hwm_json* j = hwm_json_parse(t, strlen(t));
    assert_non_null(j);
    return j;
}

static void test_page_fits_its_width_and_height(void** state) {
    (void)state;
    hwm_json* j = parse(answer);
    for (int width = 20; width < 200; width += 7) {
        for (int height = 12; height < 24; height++) {
            hwm_view_options o = {.width = width, .height = height};
            int lines = hwm_view_page(j, &o, text, sizeof text);
            assert_true(lines <= height);
            for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
                assert_true((int)strlen(line) <= width);
            }
        }
    }
    hwm_json_free(&j);
}

static void test_narrow_pages_drop_columns_and_parts(void** state) {
    (void)state;
    hwm_json* j = parse(answer);
    hwm_view_options o = {.width = 40};
    hwm_view_page(j, &o, text, sizeof text);
    assert_non_null(strstr(text, "\n  rank state   steps/s   return   lag\n"));
    assert_non_null(strstr(text, "\n     0 alive        10        5     -\n"));
    assert_non_null(strstr(text, "\n  load    memory 1.5 MB, cpu 2 s\n"));
    assert_null(strstr(text, "pid"));
    // what is sorted by stays
    o = (hwm_view_options){.width = 24, .sort = HWM_VIEW_BLOCKED};
    hwm_view_page(j, &o, text, sizeof text);
    assert_non_null(strstr(text, "\n  rank state   blocked\n"));
    o = (hwm_view_options){.width = 80};
    hwm_view_page(j, &o, text, sizeof text);
    assert_non_null(strstr(text, "last seen\n"));
    hwm_json_free(&j);
}

static void test_page_says_what_the_server_said(void** state) {
    (void)state;
    hwm_json* j = parse(answer);
    hwm_view_options o = {.width = 160};
    hwm_view_page(j, &o, text, sizeof text);
    assert_non_null(strstr(text, "hwm-server 9.9 at ipc:///x, up 1m01s"));
    assert_non_null(strstr(text, "t: 12,345 of 20,000 steps"));
    assert_non_null(strstr(text, "2 alive of 3, 40 env steps/s"));
    assert_non_null(strstr(text, "refused 3"));
    hwm_json_free(&j);
}

// Order of the workers' hosts on the page.
static void expect_order(hwm_view_sort sort, bool reverse, const char* order) {
    hwm_json* j = parse(answer);
    hwm_view_options o = {.width = 160, .sort = sort, .reverse = reverse};
    hwm_view_page(j, &o, text, sizeof text);
    char seen[8] = "";
    int n = 0;
    const char* at = strstr(text, "last seen\n");
    assert_non_null(at);
    for (at = strchr(at, '\n') + 1; *at && n < 3; at = strchr(at, '\n') + 1) {
        seen[n++] = at[7];
    }
    assert_string_equal(seen, order);
    hwm_json_free(&j);
}

static void test_workers_are_sorted(void** state) {
    (void)state;
    expect_order(HWM_VIEW_RANK, false, "bac");
    expect_order(HWM_VIEW_RANK, true, "cab");
    expect_order(HWM_VIEW_HOST, false, "abc");
    expect_order(HWM_VIEW_RATE, false, "bca");
    expect_order(HWM_VIEW_RETURN, true, "cba");
}

static void test_rates_come_from_two_answers(void** state) {
    (void)state;
    hwm_json* before = parse("{\"requests\": {\"total\": 400}, \"replay\": {\"tables\": "
                             "[{\"inserted_steps\": 12145}]}}");
    hwm_json* j = parse(answer);
    hwm_view_options o = {.width = 160, .previous = before, .elapsed_s = 2.0};
    hwm_view_page(j, &o, text, sizeof text);
    assert_non_null(strstr(text, "requests 1,000 (300/s)"));
    assert_non_null(strstr(text, "inserted 12,345 (100/s)"));
    hwm_json_free(&before);
    hwm_json_free(&j);
}

static void test_an_empty_answer_is_shown_as_unknown(void** state) {
    (void)state;
    hwm_json* j = parse("{}");
    hwm_view_options o = {.width = 80};
    assert_true(hwm_view_page(j, &o, text, sizeof text) > 3);
    assert_non_null(strstr(text, "none yet: a learner creates it"));
    hwm_json_free(&j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_fits_its_width_and_height),
        cmocka_unit_test(test_narrow_pages_drop_columns_and_parts),
        cmocka_unit_test(test_page_says_what_the_server_said),
        cmocka_unit_test(test_workers_are_sorted),
        cmocka_unit_test(test_rates_come_from_two_answers),
        cmocka_unit_test(test_an_empty_answer_is_shown_as_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
