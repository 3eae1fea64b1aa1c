// JSON: what is written is what is read, and what is no JSON is refused with its line.
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "scratch.h"

// The text of a value of every kind, nested.
static char* written(int indent) {
    char* text = NULL;
    size_t size = 0;
    FILE* f = open_memstream(&text, &size);
    assert_non_null(f);
    hwm_json_writer w = hwm_json_writer_of(f, indent, 17);
    hwm_json_open(&w, NULL, '{');
    hwm_json_put_number(&w, "third", 1.0 / 3);
    hwm_json_put_number(&w, "unknown", NAN);
    hwm_json_put_whole(&w, "big", INT64_MAX);
    hwm_json_put_text(&w, "na\"me", "tab\there \\ \x01 \xc3\xa4");
    hwm_json_put_true(&w, "yes", true);
    hwm_json_put_true(&w, "no", false);
    hwm_json_open(&w, "empty", '[');
    hwm_json_close(&w);
    hwm_json_open(&w, "list", '[');
    hwm_json_put_whole(&w, NULL, -1);
    hwm_json_open(&w, NULL, '{');
    hwm_json_put_whole(&w, "a.b", 7);
    hwm_json_close(&w);
    hwm_json_close(&w);
    hwm_json_close(&w);
    fclose(f);
    return text;
}

static void test_what_is_written_reads_back(void** state) {
    (void)state;
    for (int indent = 0; indent < 3; indent++) {
        char* text = written(indent);
        hwm_json* json = hwm_json_parse(text, strlen(text));
        free(text);
        assert_non_null(json);
        assert_true(hwm_json_is_object(json) && hwm_json_size(json, "") == 8);
        assert_true(hwm_json_number(json, "third", 0) == 1.0 / 3);
        assert_true(hwm_json_number(json, "unknown", -5) == -5);  // null is no number
        assert_true(hwm_json_whole(json, "big", 0) == INT64_MAX);
        assert_string_equal(hwm_json_text(json, "na\"me", ""), "tab\there \\ \x01 \xc3\xa4");
        assert_true(hwm_json_true(json, "yes") && !hwm_json_true(json, "no"));
        assert_int_equal(hwm_json_size(json, "empty"), 0);
        const hwm_json* list = hwm_json_at(json, "list");
        assert_true(hwm_json_is_array(list) && hwm_json_size(list, "") == 2);
        assert_true(hwm_json_whole(hwm_json_member(list, 0), "", 0) == -1);
        assert_null(hwm_json_member(list, 2));
        assert_null(hwm_json_key(list, 0));
        // a dot in a key is no path
        assert_null(hwm_json_at(json, "list.1.a.b"));
        assert_true(hwm_json_is_number(hwm_json_get(hwm_json_at(json, "list.1"), "a.b")));
        assert_string_equal(hwm_json_key(json, 0), "third");
        assert_true(hwm_json_number(hwm_json_member(json, 0), "", 0) == 1.0 / 3);
        assert_null(hwm_json_key(json, 8));
        hwm_json_free(&json);
        assert_null(json);
    }
}

static void test_layout_is_one_line_or_indented(void** state) {
    (void)state;
    char* line = written(0);
    assert_null(strchr(line, '\n'));
    assert_non_null(
        strstr(line, "\"yes\":true,\"no\":false,\"empty\":[],\"list\":[-1,{\"a.b\":7}]}"));
    free(line);
    char* lines = written(2);
    assert_non_null(
        strstr(lines, "  \"empty\": [],\n  \"list\": [\n    -1,\n    {\n      \"a.b\": 7\n"));
    free(lines);
}

static void test_what_is_not_there_gives_the_fallback(void** state) {
    (void)state;
    static const char text[] = "{\"a\": {\"b\": [1, 2.5, \"x\"]}}";
    hwm_json* json = hwm_json_parse(text, strlen(text));
    assert_true(hwm_json_number(json, "a.b.1", 0) == 2.5);
    assert_true(hwm_json_whole(json, "a.b.1", -1) == -1);  // not whole
    assert_true(hwm_json_number(json, "a.b.9", 3) == 3);
    assert_true(hwm_json_number(json, "a.b.one", 3) == 3);
    assert_string_equal(hwm_json_text(json, "a.b.0", "none"), "none");
    char long_key[300];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    assert_null(hwm_json_at(json, long_key));
    hwm_json_free(&json);
    assert_true(hwm_json_number(NULL, "a", 4) == 4);
    assert_int_equal(hwm_json_size(NULL, "a"), 0);
    hwm_json_free(&json);
    assert_null(hwm_json_parse("{\"a\":1,\"a\":2}", 13));
    assert_null(hwm_json_parse("7", 1));
}

static void test_files_are_refused_with_a_sentence(void** state) {
    char path[600];
    hwm_json* json = NULL;
    hwm_error err;
    snprintf(path, sizeof path, "%s/x.json", (char*)*state);
    assert_int_equal(hwm_json_load(&json, path, &err), HWM_ENOTFOUND);
    FILE* f = fopen(path, "w");
    fputs("{\"a\": 1,\n \"b\" 2}\n", f);
    fclose(f);
    assert_int_equal(hwm_json_load(&json, path, &err), HWM_ECORRUPT);
    assert_null(json);
    assert_non_null(strstr(err.text, "x.json: line 2: "));
    f = fopen(path, "w");
    fputs("{\"a\": 1}\n", f);
    fclose(f);
    assert_int_equal(hwm_json_load(&json, path, &err), HWM_OK);
    assert_true(hwm_json_whole(json, "a", 0) == 1);
    hwm_json_free(&json);
    assert_int_equal(hwm_json_load(&json, *state, &err), HWM_EIO);  // a directory
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_reads_back),
        cmocka_unit_test(test_layout_is_one_line_or_indented),
        cmocka_unit_test(test_what_is_not_there_gives_the_fallback),
        cmocka_unit_test_setup_teardown(test_files_are_refused_with_a_sentence, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
