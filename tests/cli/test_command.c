// Command lines: values, ranges, slips of the fingers, and what is generated from the tables.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deploy/cli/commands.h"

typedef struct sample {
    const char* text;
    int64_t count;
    double rate;
    bool flag;
    hwm_text_list list;
} sample;

static const hwm_option sample_options[] = {
    {"--text", "T", HWM_OPTION_TEXT, offsetof(sample, text), NULL, 0, 0, "A text."},
    {"--sample-count", "N", HWM_OPTION_INT, offsetof(sample, count), "7", 1, 100, "A count."},
    {"--rate", "R", HWM_OPTION_REAL, offsetof(sample, rate), NULL, 0, 0, "A rate."},
    {"--flag", NULL, HWM_OPTION_FLAG, offsetof(sample, flag), NULL, 0, 0, "A flag."},
    {"--set", "K=V", HWM_OPTION_LIST, offsetof(sample, list), NULL, 0, 0, "A list."},
};
static const hwm_command sample_command = {
    .name = "sample",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 2,
    .summary = "A sample",
    .options = sample_options,
    .n_options = 5,
    .options_bytes = sizeof(sample),
};

static hwm_status parse(sample* s, const char** operands, int* n, hwm_error* err, int argc, ...) {
    char* argv[16];
    va_list args;
    va_start(args, argc);
    for (int i = 0; i < argc; i++) {
        argv[i] = va_arg(args, char*);
    }
    va_end(args);
    return hwm_command_parse(&sample_command, argc, argv, s, operands, n, err);
}

static void test_parse_fills_values_and_defaults(void** state) {
    (void)state;
    sample s;
    const char* operands[8];
    int n = 0;
    hwm_error err = {0};
    assert_int_equal(parse(&s, operands, &n, &err, 9, "a.yaml", "--text=x=y", "--rate", "-2.5e-1",
                           "--set", "a.b=1", "--set=c.d=2", "--flag", "second"),
                     HWM_OK);
    assert_string_equal(s.text, "x=y");
    assert_int_equal(s.count, 7);
    assert_true(s.rate == -0.25);
    assert_true(s.flag);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(s.list.v[0], "a.b=1");
    assert_string_equal(s.list.v[1], "c.d=2");
    assert_int_equal(n, 2);
    assert_string_equal(operands[1], "second");
}

static void test_parse_takes_what_follows_two_dashes_as_operand(void** state) {
    (void)state;
    sample s;
    const char* operands[8];
    int n = 0;
    assert_int_equal(parse(&s, operands, &n, NULL, 2, "--", "--flag"), HWM_OK);
    assert_false(s.flag);
    assert_string_equal(operands[0], "--flag");
}

static void expect_refusal(const char* word, int argc, const char* a, const char* b,
                           const char* c) {
    sample s;
    const char* operands[8];
    int n = 0;
    hwm_error err = {0};
    assert_int_equal(parse(&s, operands, &n, &err, argc, a, b, c), HWM_EINVAL);
    if (!strstr(err.text, word)) {
        fail_msg("'%s' does not say '%s'", err.text, word);
    }
}

static void test_parse_refuses_with_the_offending_value(void** state) {
    (void)state;
    expect_refusal("between 1 and 100", 3, "f", "--sample-count", "101");
    expect_refusal("not a whole number", 3, "f", "--sample-count", "1.5");
    expect_refusal("not a whole number", 3, "f", "--sample-count", "");
    expect_refusal("not a whole number", 3, "f", "--sample-count", "99999999999999999999");
    expect_refusal("not a number", 3, "f", "--rate", "nan");
    expect_refusal("did you mean --sample-count", 3, "f", "--sample-cuont", "3");
    expect_refusal("unknown option --zebra", 2, "f", "--zebra", NULL);
    expect_refusal("needs a value", 2, "f", "--rate", NULL);
    expect_refusal("takes no value", 2, "f", "--flag=1", NULL);
    expect_refusal("FILE is missing", 1, "--flag", NULL, NULL);
    expect_refusal("unexpected argument 'c'", 3, "a", "b", "c");
}

static void test_parse_reads_the_environment_below_the_command_line(void** state) {
    (void)state;
    sample s;
    const char* operands[8];
    int n = 0;
    hwm_error err = {0};
    setenv("HWM_SAMPLE_COUNT", "42", 1);
    assert_int_equal(parse(&s, operands, &n, NULL, 1, "f"), HWM_OK);
    assert_int_equal(s.count, 42);
    assert_int_equal(parse(&s, operands, &n, NULL, 3, "f", "--sample-count", "9"), HWM_OK);
    assert_int_equal(s.count, 9);
    setenv("HWM_SAMPLE_COUNT", "many", 1);
    assert_int_equal(parse(&s, operands, &n, &err, 1, "f"), HWM_EINVAL);
    assert_non_null(strstr(err.text, "HWM_SAMPLE_COUNT=many"));
    unsetenv("HWM_SAMPLE_COUNT");
}

static void test_nearest_name_finds_slips_only(void** state) {
    (void)state;
    static const char* const names[] = {"train", "eval", "stats"};
    assert_string_equal(hwm_nearest_name("tarin", names, 3), "train");
    assert_string_equal(hwm_nearest_name("evla", names, 3), "eval");
    assert_null(hwm_nearest_name("banana", names, 3));
}

// Every command of the program: its table is sound and its help names every option.
static void test_every_command_is_complete(void** state) {
    (void)state;
    for (int i = 0; i < hwm_commands_n; i++) {
        const hwm_command* c = hwm_commands[i];
        assert_non_null(c->run);
        assert_non_null(c->summary);
        assert_true(c->options_bytes <= HWM_OPTIONS_BYTES_MAX);
        assert_ptr_equal(hwm_command_find(c->name), c);
        char* text = NULL;
        size_t size = 0;
        FILE* out = open_memstream(&text, &size);
        hwm_command_help(c, out);
        fclose(out);
        for (int o = 0; o < c->n_options; o++) {
            assert_non_null(strstr(text, c->options[o].name));
            assert_true(strlen(c->options[o].help) > 8);
            assert_true(c->options[o].offset < c->options_bytes);
            assert_true((c->options[o].argument == NULL) ==
                        (c->options[o].type == HWM_OPTION_FLAG));
        }
        // no line wider than a terminal of 100 columns
        for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
            if (strlen(line) > 100) {
                fail_msg("%s: a line of %zu columns: %s", c->name, strlen(line), line);
            }
        }
        free(text);
    }
}

// README holds the generated reference: regenerate it with `hwm help --into README.md`.
static void test_reference_in_readme_is_the_generated_one(void** state) {
    (void)state;
    const char* source = getenv("HWM_SOURCE_DIR");
    if (!source) {
        fail_msg("HWM_SOURCE_DIR is not set; run this through ctest");
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/README.md", source);
    FILE* f = fopen(path, "r");
    assert_non_null(f);
    char* readme = calloc(1, 1 << 20);
    assert_non_null(readme);
    assert_true(fread(readme, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    char* text = NULL;
    size_t size = 0;
    FILE* out = open_memstream(&text, &size);
    hwm_commands_markdown(out);
    fclose(out);
    if (!strstr(readme, text)) {
        fail_msg(
            "the command reference in README.md is out of date: run `hwm help --into README.md`");
    }
    free(text);
    free(readme);
}

static void test_completion_knows_every_command(void** state) {
    (void)state;
    char* text = NULL;
    size_t size = 0;
    FILE* out = open_memstream(&text, &size);
    hwm_commands_completion(out);
    fclose(out);
    for (int i = 0; i < hwm_commands_n; i++) {
        char word[64];
        snprintf(word, sizeof word, "        %s) words=", hwm_commands[i]->name);
        assert_non_null(strstr(text, word));
    }
    free(text);
}

static void test_main_exit_codes(void** state) {
    (void)state;
    char* version[] = {"hwm", "--version", NULL};
    char* unknown[] = {"hwm", "tarin", NULL};
    char* missing[] = {"hwm", "train", NULL};
    char* help[] = {"hwm", "train", "--help", NULL};
    assert_int_equal(hwm_cli_main(2, version), HWM_EXIT_DONE);
    assert_int_equal(hwm_cli_main(2, unknown), HWM_EXIT_USAGE);
    assert_int_equal(hwm_cli_main(2, missing), HWM_EXIT_USAGE);
    assert_int_equal(hwm_cli_main(1, unknown), HWM_EXIT_USAGE);
    assert_int_equal(hwm_cli_main(3, help), HWM_EXIT_DONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_fills_values_and_defaults),
        cmocka_unit_test(test_parse_takes_what_follows_two_dashes_as_operand),
        cmocka_unit_test(test_parse_refuses_with_the_offending_value),
        cmocka_unit_test(test_parse_reads_the_environment_below_the_command_line),
        cmocka_unit_test(test_nearest_name_finds_slips_only),
        cmocka_unit_test(test_every_command_is_complete),
        cmocka_unit_test(test_reference_in_readme_is_the_generated_one),
        cmocka_unit_test(test_completion_knows_every_command),
        cmocka_unit_test(test_main_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
