// Log: the form of a line, levels, JSON, and repeats that are held back and counted.
#include "test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

// What stderr receives while record runs, as one string.
static char captured[65536];

static void capture(void (*record)(void)) {
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    record();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    size_t used = 0;
    ssize_t n;
    while ((n = read(ends[0], captured + used, sizeof captured - 1 - used)) > 0)
        used += (size_t)n;
    captured[used] = 0;
    close(ends[0]);
}

static int lines(void) {
    int n = 0;
    for (const char* c = captured; *c; c++)
        n += *c == '\n';
    return n;
}

static void one_text_line(void) {
    hwm_log_setup("tester", HWM_LOG_INFO, HWM_LOG_TEXT);
    hwm_log(HWM_LOG_DEBUG, "link", "not shown", "a=1");
    hwm_log(HWM_LOG_WARN, "link", "peer silent", "client=%s silent_s=%.1f", "w1", 2.5);
    hwm_log(HWM_LOG_ERROR, "link", "two\tlines", "text=%s", "a\nb");
}

static void test_a_line_has_time_level_program_component_event_and_values(void** state) {
    (void)state;
    capture(one_text_line);
    assert_int_equal(lines(), 2);
    int year, end = 0;
    assert_int_equal(sscanf(captured, "%d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ%n", &year, &end), 1);
    assert_int_equal(end, 24);
    assert_memory_equal(captured + end, "  warn tester link: peer silent client=w1 silent_s=2.5\n",
                        54);
    assert_non_null(strstr(captured, " error tester link: two\tlines text=a b\n"));
}

static void json_lines(void) {
    hwm_log_setup("tester", HWM_LOG_DEBUG, HWM_LOG_JSON);
    hwm_log(HWM_LOG_DEBUG, "store", "open", "dir=/a b/c steps=12 rate=-0.5 id=007 quoted=\"x=y\"");
    hwm_log(HWM_LOG_INFO, "store", "odd \"event\"\x01", "no pairs here");
    hwm_log(HWM_LOG_INFO, "store", "bare", "%s", "");
}

static void test_json_lines_hold_one_member_per_pair(void** state) {
    (void)state;
    capture(json_lines);
    assert_int_equal(lines(), 3);
    assert_non_null(strstr(captured, "\"level\":\"debug\",\"program\":\"tester\",\"component\":"
                                     "\"store\",\"event\":\"open\",\"dir\":\"/a b/c\",\"steps\":12,"
                                     "\"rate\":-0.5,\"id\":\"007\",\"quoted\":\"x=y\"}\n"));
    assert_non_null(
        strstr(captured, "\"event\":\"odd \\\"event\\\"\\u0001\",\"text\":\"no pairs here\"}\n"));
    assert_non_null(strstr(captured, "\"event\":\"bare\"}\n"));
}

static void a_flood(void) {
    hwm_log_setup("tester", HWM_LOG_INFO, HWM_LOG_TEXT);
    for (int i = 0; i < 1000; i++)
        hwm_log(HWM_LOG_WARN, "flood", "again", "i=%d", i);
    hwm_log(HWM_LOG_WARN, "flood", "another", "i=0");
}

static void test_repeats_are_held_back(void** state) {
    (void)state;
    capture(a_flood);
    assert_int_equal(lines(), 11);
    assert_non_null(strstr(captured, "i=9\n"));
    assert_null(strstr(captured, "i=10\n"));
    assert_non_null(strstr(captured, "flood: another"));
}

static void a_long_line(void) {
    char text[10000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    hwm_log_setup("tester", HWM_LOG_INFO, HWM_LOG_TEXT);
    hwm_log(HWM_LOG_WARN, "long", "line", "text=%s", text);
}

static void test_a_line_too_long_is_cut_and_ends(void** state) {
    (void)state;
    capture(a_long_line);
    assert_int_equal(lines(), 1);
    assert_true(strlen(captured) <= 4096);
    assert_int_equal(captured[strlen(captured) - 1], '\n');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_has_time_level_program_component_event_and_values),
        cmocka_unit_test(test_json_lines_hold_one_member_per_pair),
        cmocka_unit_test(test_repeats_are_held_back),
        cmocka_unit_test(test_a_line_too_long_is_cut_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
