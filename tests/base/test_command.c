// Command lines of a program of its own; those of `hwm` are tested in tests/cli.
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/command.h"
#include "base/log.h"

typedef struct options {
    bool quiet;
    const char* dir;
    int64_t threads;
    double ratio;
    hwm_text_list set;
} options;

static options seen;
static int runs;
static bool logs;  // say something while running
static const char* operand;

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    memcpy(&seen, given, sizeof seen);
    operand = n_operands ? operands[0] : NULL;
    runs++;
    if (logs) {
        hwm_log(HWM_LOG_INFO, "test", "quiet", "a=1");
        hwm_log(HWM_LOG_WARN, "test", "loud", "a=1");
    }
    return HWM_EXIT_FAILED;
}

static const hwm_option table[] = {
    {"--quiet", NULL, HWM_OPTION_FLAG, offsetof(options, quiet), NULL, 0, 0, "Say nothing."},
    {"--dir", "DIR", HWM_OPTION_TEXT, offsetof(options, dir), NULL, 0, 0, "Where it lies."},
    {"--threads", "N", HWM_OPTION_INT, offsetof(options, threads), "2", 1, 64, "Threads."},
    {"--ratio", "R", HWM_OPTION_REAL, offsetof(options, ratio), "0.5", 0, 1, "Share."},
    {"--set", "K=V", HWM_OPTION_LIST, offsetof(options, set), NULL, 0, 0, "Override a field."},
};
static const hwm_command command = {
    .name = "hwm-test",
    .operands = "[FILE]",
    .operands_max = 1,
    .summary = "A program for this test",
    .example = "hwm-test --quiet",
    .options = table,
    .n_options = sizeof table / sizeof table[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};

// Run the program; what it prints to out_fd (1 or 2) is in printed.
static char printed[8192];

static int program(int out_fd, int argc, const char** argv) {
    fflush(NULL);
    int saved = dup(out_fd), ends[2];
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], out_fd);
    int code = hwm_command_main(&command, argc, (char**)(uintptr_t)argv);
    fflush(NULL);
    dup2(saved, out_fd);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], printed, sizeof printed - 1);
    close(ends[0]);
    printed[n > 0 ? n : 0] = 0;
    return code;
}

#define PROGRAM(fd, ...)                                                                           \
    program(fd, (int)(sizeof((const char*[]){__VA_ARGS__}) / sizeof(char*)),                       \
            (const char*[]){__VA_ARGS__, NULL})

static void test_defaults_environment_and_arguments_in_this_order(void** state) {
    (void)state;
    runs = 0;
    assert_int_equal(PROGRAM(2, "hwm-test"), HWM_EXIT_FAILED);
    assert_int_equal(runs, 1);
    assert_true(!seen.quiet && !seen.dir && seen.threads == 2 && seen.ratio == 0.5);
    setenv("HWM_THREADS", "7", 1);
    setenv("HWM_DIR", "/from/environment", 1);
    PROGRAM(2, "hwm-test", "--dir=/given", "--set", "a=1", "file", "--set=b=2", "--quiet");
    assert_true(seen.quiet && seen.threads == 7);
    assert_string_equal(seen.dir, "/given");
    assert_true(seen.set.n == 2 && strcmp(seen.set.v[1], "b=2") == 0);
    assert_string_equal(operand, "file");
    setenv("HWM_THREADS", "many", 1);
    assert_int_equal(PROGRAM(2, "hwm-test"), HWM_EXIT_USAGE);
    assert_string_equal(
        printed, "hwm-test: HWM_THREADS=many in the environment is not a value of --threads\n");
    unsetenv("HWM_THREADS");
    unsetenv("HWM_DIR");
}

static void test_wrong_command_lines_are_explained(void** state) {
    (void)state;
    runs = 0;
    assert_int_equal(PROGRAM(2, "hwm-test", "--thraeds", "3"), HWM_EXIT_USAGE);
    assert_string_equal(printed, "hwm-test: unknown option --thraeds; did you mean --threads?\n");
    assert_int_equal(PROGRAM(2, "hwm-test", "--elsewhere"), HWM_EXIT_USAGE);
    assert_string_equal(printed,
                        "hwm-test: unknown option --elsewhere; `hwm-test --help` lists them\n");
    assert_int_equal(PROGRAM(2, "hwm-test", "--threads", "65"), HWM_EXIT_USAGE);
    assert_string_equal(printed, "hwm-test: --threads 65: must lie between 1 and 64\n");
    assert_int_equal(PROGRAM(2, "hwm-test", "--ratio", "nan"), HWM_EXIT_USAGE);
    assert_int_equal(PROGRAM(2, "hwm-test", "--threads", "3x"), HWM_EXIT_USAGE);
    assert_int_equal(PROGRAM(2, "hwm-test", "--dir"), HWM_EXIT_USAGE);
    assert_string_equal(printed, "hwm-test: --dir needs a value: --dir DIR\n");
    assert_int_equal(PROGRAM(2, "hwm-test", "--quiet=1"), HWM_EXIT_USAGE);
    assert_int_equal(PROGRAM(2, "hwm-test", "a", "b"), HWM_EXIT_USAGE);
    assert_string_equal(printed, "hwm-test: unexpected argument 'b'; usage: hwm-test [FILE]\n");
    assert_int_equal(runs, 0);
    PROGRAM(2, "hwm-test", "--", "--quiet");
    assert_int_equal(runs, 1);
    assert_string_equal(operand, "--quiet");
}

static void test_help_and_version_run_nothing(void** state) {
    (void)state;
    runs = 0;
    assert_int_equal(PROGRAM(1, "hwm-test", "--threads", "0", "--help"), HWM_EXIT_DONE);
    assert_memory_equal(printed, "usage: hwm-test [FILE] [options]\n", 33);
    for (int i = 0; i < command.n_options; i++) {
        assert_non_null(strstr(printed, table[i].name));
        assert_non_null(strstr(printed, table[i].help));
    }
    assert_int_equal(PROGRAM(1, "hwm-test", "--version"), HWM_EXIT_DONE);
    assert_string_equal(printed, "hwm-test " HWM_VERSION "\n");
    assert_int_equal(PROGRAM(1, "hwm-test", "--words"), HWM_EXIT_DONE);
    assert_string_equal(printed, "--help --quiet --dir --threads --ratio --set --log --log-level");
    assert_int_equal(runs, 0);
}

static void test_log_options_are_common_to_all_programs(void** state) {
    (void)state;
    runs = 0;
    assert_int_equal(PROGRAM(2, "hwm-test", "--log", "xml"), HWM_EXIT_USAGE);
    assert_string_equal(printed, "hwm-test: --log xml: must be text or json\n");
    assert_int_equal(PROGRAM(2, "hwm-test", "--log-level=loud"), HWM_EXIT_USAGE);
    assert_string_equal(printed,
                        "hwm-test: --log-level loud: must be debug, info, warn or error\n");
    assert_int_equal(runs, 0);
    logs = true;
    assert_int_equal(PROGRAM(2, "hwm-test", "--log=json", "--log-level", "warn"), HWM_EXIT_FAILED);
    logs = false;
    assert_non_null(strstr(printed, "\"level\":\"warn\",\"program\":\"hwm-test\""));
    assert_null(strstr(printed, "\"level\":\"info\""));
}

static void test_reference_and_completion_name_every_option(void** state) {
    (void)state;
    char* text = NULL;
    size_t size = 0;
    FILE* f = open_memstream(&text, &size);
    hwm_command_markdown(&command, f);
    hwm_command_words(&command, f);
    fclose(f);
    assert_non_null(strstr(text, "#### `hwm-test [FILE]`"));
    assert_non_null(strstr(text, "| `--threads N` | Threads. (default `2`) |"));
    assert_non_null(strstr(text, "--help --quiet --dir --threads --ratio --set --log --log-level"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_environment_and_arguments_in_this_order),
        cmocka_unit_test(test_wrong_command_lines_are_explained),
        cmocka_unit_test(test_help_and_version_run_nothing),
        cmocka_unit_test(test_log_options_are_common_to_all_programs),
        cmocka_unit_test(test_reference_and_completion_name_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
