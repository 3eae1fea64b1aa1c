// Configuration: defaults, precedence, printing, and the complaints.
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"

typedef struct alpha {
    bool on;
    int64_t count;
    double rate;
    int kind;
    char label[HWM_CONFIG_STRING_MAX];
    hwm_int_list sizes;
    hwm_real_list scales;
    hwm_string_list names;
} alpha;

static const hwm_config_field alpha_fields[] = {
    {"on", HWM_CONFIG_BOOL, offsetof(alpha, on), "true", 0, 0, NULL, "Whether it is on."},
    {"count", HWM_CONFIG_INT, offsetof(alpha, count), "8", 1, 100, NULL, "How many."},
    {"rate", HWM_CONFIG_REAL, offsetof(alpha, rate), "0.1", 0, 1, NULL, "Per step."},
    {"kind", HWM_CONFIG_ENUM, offsetof(alpha, kind), "green", 0, 0, "red|green|blue", "Colour."},
    {"label", HWM_CONFIG_STRING, offsetof(alpha, label), "plain", 1, 20, NULL,
     "What it is called."},
    {"sizes", HWM_CONFIG_INTS, offsetof(alpha, sizes), "[64, 32]", 1, 512, NULL, "Units."},
    {"scales", HWM_CONFIG_REALS, offsetof(alpha, scales), "[]", 0, 0, NULL, "Divisors."},
    {"names", HWM_CONFIG_STRINGS, offsetof(alpha, names), "[x]", 0, 0, "x|y|z", "Axes."},
};
static const hwm_config_table alpha_table = {"alpha", "The first section.", alpha_fields, 8};

typedef struct beta {
    int64_t big;
    double open;
} beta;

static const hwm_config_field beta_fields[] = {
    {"big", HWM_CONFIG_INT, offsetof(beta, big), "0", 0, 0, NULL, "Any number."},
    {"open", HWM_CONFIG_REAL, offsetof(beta, open), "2", 0, INFINITY, NULL, "Not negative."},
};
static const hwm_config_table beta_table = {"beta", "The second section.", beta_fields, 2};

typedef struct fixture {
    alpha a;
    beta b;
    hwm_config_section sections[2];
    hwm_error err;
} fixture;

static int setup(void** state) {
    fixture* f = calloc(1, sizeof *f);
    f->sections[0].table = &alpha_table;
    f->sections[0].target = &f->a;
    f->sections[1].table = &beta_table;
    f->sections[1].target = &f->b;
    *state = f;
    return 0;
}

static int teardown(void** state) {
    free(*state);
    return 0;
}

static hwm_status load(fixture* f, const char* text) {
    return hwm_config_load(f->sections, 2, "x.yaml", text, NULL, 0, &f->err);
}

static void test_defaults_are_those_of_the_table(void** state) {
    fixture* f = *state;
    assert_int_equal(load(f, ""), HWM_OK);
    assert_true(f->a.on);
    assert_int_equal(f->a.count, 8);
    assert_true(f->a.rate == 0.1);
    assert_int_equal(f->a.kind, 1);
    assert_string_equal(f->a.label, "plain");
    assert_int_equal(f->a.sizes.n, 2);
    assert_int_equal(f->a.sizes.v[1], 32);
    assert_int_equal(f->a.scales.n, 0);
    assert_int_equal(f->a.names.n, 1);
    assert_string_equal(f->a.names.v[0], "x");
    assert_true(f->b.open == 2);
}

static void test_every_type_is_read(void** state) {
    fixture* f = *state;
    assert_int_equal(load(f, "alpha:\n"
                             "  on: false\n"
                             "  count: 1e2\n"
                             "  rate: 2.5e-1\n"
                             "  kind: blue\n"
                             "  label: \"a: b # c\"\n"
                             "  sizes: [1, 2, 3]\n"
                             "  scales:\n"
                             "    - 0.5\n"
                             "    - -2\n"
                             "  names: [z, y]\n"
                             "beta: {big: -9223372036854775808}\n"),
                     HWM_OK);
    assert_false(f->a.on);
    assert_int_equal(f->a.count, 100);
    assert_true(f->a.rate == 0.25);
    assert_int_equal(f->a.kind, 2);
    assert_string_equal(f->a.label, "a: b # c");
    assert_int_equal(f->a.sizes.n, 3);
    assert_int_equal(f->a.sizes.v[2], 3);
    assert_true(f->a.scales.n == 2 && f->a.scales.v[1] == -2);
    assert_string_equal(f->a.names.v[1], "y");
    assert_true(f->b.big == INT64_MIN);
}

static void test_later_sources_win_and_are_named(void** state) {
    fixture* f = *state;
    char path[] = "/tmp/hwm-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char text[] = "alpha:\n  {count: 10, rate: 0.2, label: file}\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    setenv("HWM_ALPHA__RATE", "0.3", 1);
    setenv("HWM_ALPHA__LABEL", "environment", 1);
    setenv("HWM_ALPHA__SIZES", "7,8", 1);
    const char* overrides[] = {"alpha.label=set: by hand", "beta.open=5"};
    hwm_status status = hwm_config_load(f->sections, 2, path, NULL, overrides, 2, &f->err);
    unsetenv("HWM_ALPHA__RATE");
    unsetenv("HWM_ALPHA__LABEL");
    unsetenv("HWM_ALPHA__SIZES");
    unlink(path);
    assert_int_equal(status, HWM_OK);
    assert_int_equal(f->a.count, 10);
    assert_true(f->a.rate == 0.3);
    assert_string_equal(f->a.label, "set: by hand");
    assert_true(f->a.sizes.n == 2 && f->a.sizes.v[0] == 7);
    const uint8_t expected[] = {HWM_ORIGIN_DEFAULT, HWM_ORIGIN_FILE, HWM_ORIGIN_ENVIRONMENT,
                                HWM_ORIGIN_DEFAULT, HWM_ORIGIN_SET,  HWM_ORIGIN_ENVIRONMENT};
    assert_memory_equal(f->sections[0].origin, expected, sizeof expected);
    char* printed = hwm_config_print(f->sections, 2, HWM_CONFIG_ORIGINS);
    assert_non_null(strstr(printed, "  count: 10  # line 2 of the file\n"));
    assert_non_null(strstr(printed, "  rate: 0.3  # environment HWM_ALPHA__RATE\n"));
    assert_non_null(strstr(printed, "  label: \"set: by hand\"  # --set\n"));
    assert_non_null(strstr(printed, "  on: true  # default\n"));
    free(printed);
    printed = hwm_config_print(f->sections, 2, HWM_CONFIG_HELP);
    assert_non_null(strstr(printed, "  # How many. [a whole number from 1 to 100]\n"));
    free(printed);
}

static void test_what_was_resolved_elsewhere_ignores_this_environment(void** state) {
    fixture* f = *state;
    setenv("HWM_ALPHA__RATE", "0.3", 1);
    assert_int_equal(load(f, "alpha: {rate: 0.7}"), HWM_OK);
    unsetenv("HWM_ALPHA__RATE");
    assert_true(f->a.rate == 0.7);
}

static void test_printed_configuration_reads_back_to_the_same_bits(void** state) {
    fixture* f = *state;
    assert_int_equal(load(f,
                          "alpha: {rate: 0.1234567890123456789, label: \"\\u00e4 \\\"\\\\\\t'#:\","
                          " scales: [1e-300, 3, 0.30000000000000004, -0.1], names: []}\n"
                          "beta: {big: 9223372036854775807, open: 1e300}\n"),
                     HWM_OK);
    for (int form = HWM_CONFIG_PLAIN; form <= HWM_CONFIG_ORIGINS; form++) {
        char* printed = hwm_config_print(f->sections, 2, (hwm_config_form)form);
        assert_non_null(printed);
        fixture g = {.sections = {{.table = &alpha_table, .target = &g.a},
                                  {.table = &beta_table, .target = &g.b}}};
        assert_int_equal(hwm_config_load(g.sections, 2, "again", printed, NULL, 0, &g.err), HWM_OK);
        assert_true(g.a.rate == f->a.rate);
        assert_string_equal(g.a.label, f->a.label);
        assert_int_equal(g.a.scales.n, 4);
        assert_memory_equal(g.a.scales.v, f->a.scales.v, sizeof(double) * 4);
        assert_int_equal(g.a.names.n, 0);
        assert_true(g.b.big == INT64_MAX && g.b.open == 1e300);
        free(printed);
    }
}

static void complains(fixture* f, const char* text, const char* expected) {
    assert_int_equal(load(f, text), HWM_EINVAL);
    assert_int_equal(f->err.code, HWM_EINVAL);
    if (strcmp(f->err.text, expected) != 0)
        fail_msg("said:     %s\nexpected: %s", f->err.text, expected);
}

static void test_complaints_name_line_key_and_what_is_allowed(void** state) {
    fixture* f = *state;
    complains(f, "alpha:\n  cuont: 3\n", "x.yaml:2: alpha.cuont: unknown key; did you mean count?");
    complains(f, "alpha: {open: 3}", "x.yaml:1: alpha.open: unknown key; did you mean beta.open?");
    complains(f, "alpah:\n  count: 3\n", "x.yaml:1: alpah: unknown section; did you mean alpha?");
    complains(f, "somewhat: {}",
              "x.yaml:1: somewhat: unknown section; known sections: alpha, beta");
    complains(f, "beta: {elsewhere: 1}",
              "x.yaml:1: beta.elsewhere: unknown key; known keys: big, open");
    complains(
        f, "alpha:\n\n  count: 0\n",
        "x.yaml:3: alpha.count: \"0\" is out of range; allowed: a whole number from 1 to 100");
    complains(
        f, "alpha: {count: 1.5}",
        "x.yaml:1: alpha.count: \"1.5\" is not a whole number; allowed: a whole number from 1 "
        "to 100");
    complains(f, "alpha: {rate: .nan}",
              "x.yaml:1: alpha.rate: \".nan\" is not a number; allowed: a number from 0 to 1");
    complains(f, "alpha: {rate: inf}",
              "x.yaml:1: alpha.rate: \"inf\" is not a number; allowed: a number from 0 to 1");
    complains(f, "beta: {open: -1}",
              "x.yaml:1: beta.open: \"-1\" is out of range; allowed: a number at least 0");
    complains(f, "alpha: {on: yes}",
              "x.yaml:1: alpha.on: \"yes\" is neither true nor false; allowed: true or false");
    complains(f, "alpha: {kind: pink}",
              "x.yaml:1: alpha.kind: \"pink\" is not a choice; allowed: one of red, green, blue");
    complains(f, "alpha: {label: \"\"}",
              "x.yaml:1: alpha.label: \"\" is too short; allowed: text of 1 to 20 bytes");
    complains(f, "alpha: {label: aaaaaaaaaaaaaaaaaaaaa}",
              "x.yaml:1: alpha.label: \"aaaaaaaaaaaaaaaaaaaaa\" is too long; allowed: text of 1 to "
              "20 bytes");
    complains(f, "alpha: {sizes: 3}",
              "x.yaml:1: alpha.sizes: one value where a list is expected; allowed: a list of up to "
              "16 whole numbers, each from 1 to 512");
    complains(f, "alpha: {sizes: [3, 0]}",
              "x.yaml:1: alpha.sizes: \"0\" is out of range; allowed: a list of up to 16 whole "
              "numbers, each from 1 to 512");
    complains(
        f, "alpha: {names: [q]}",
        "x.yaml:1: alpha.names: \"q\" is not a choice; allowed: a list of up to 16 of x, y, z");
    complains(f, "alpha: {count: [1]}",
              "x.yaml:1: alpha.count: a list where one value is expected; allowed: a whole number "
              "from 1 to 100");
    complains(f, "alpha:\n  count:\n",
              "x.yaml:2: alpha.count: no value; allowed: a whole number from 1 to 100");
    complains(f, "beta: {big: 9223372036854775808}",
              "x.yaml:1: beta.big: \"9223372036854775808\" is not a whole number; allowed: a whole "
              "number");
    complains(f, "alpha: {count: 3}\nbeta: {}\nalpha: {}\n",
              "x.yaml:3: alpha: section given twice, first in line 1");
    complains(f, "alpha:\n  count: 3\n  count: 4\n",
              "x.yaml:3: alpha.count: given twice, first in line 2");
    complains(f, "alpha: 3\n", "x.yaml:1: alpha: a section is a mapping of key: value");
    complains(f, "- alpha\n", "x.yaml:1: an experiment is a mapping of sections");
    complains(f, "alpha: {label: \"a\\0b\"}", "x.yaml:1: alpha.label: text with a zero byte in it");
    complains(f, "alpha: {}\n---\nalpha: {}\n",
              "x.yaml:3: a second document; one file holds one experiment");
    complains(f, "alpha: {sizes: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}",
              "x.yaml:1: alpha.sizes: a list with more than 16 items");
    complains(f, "alpha: {sizes: {a: 1}}",
              "x.yaml:1: alpha.sizes: a mapping where a value or a list of values is expected");
    complains(f, "alpha: {sizes: [[1]]}",
              "x.yaml:1: alpha.sizes: a list of something else than plain values");
    complains(f, "alpha: {[1]: 1}", "x.yaml:1: alpha: a key must be plain text");
    complains(f, "[1]: {}", "x.yaml:1: the name of a section must be plain text");
    complains(f, "alpha: {\ncount: 'x\n",
              "x.yaml:3: not YAML: while scanning a quoted scalar: found unexpected end of stream");
    complains(f, "alpha: {}\n\n# \x80\n", "x.yaml:3: not YAML: invalid leading UTF-8 octet");
}

static void test_all_complaints_come_at_once(void** state) {
    fixture* f = *state;
    complains(
        f, "alpha:\n  count: 0\n  rate: 2\nbeta:\n  bog: 1\n",
        "x.yaml:2: alpha.count: \"0\" is out of range; allowed: a whole number from 1 to 100\n"
        "x.yaml:3: alpha.rate: \"2\" is out of range; allowed: a number from 0 to 1\n"
        "x.yaml:5: beta.bog: unknown key; did you mean big?");
    // more than there is room for: the rest is counted
    char text[16384] = "beta:\n";
    for (int i = 0; i < 500; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "  unknown_key_%d: 1\n", i);
    assert_int_equal(load(f, text), HWM_EINVAL);
    int lines = 1, more = 0;
    for (const char* c = f->err.text; *c; c++)
        lines += *c == '\n';
    const char* last = strrchr(f->err.text, '\n');
    assert_int_equal(sscanf(last, "\n... and %d more", &more), 1);
    assert_int_equal(lines - 1 + more, 500);
}

static void test_overrides_and_variables_are_checked_like_the_file(void** state) {
    fixture* f = *state;
    static const struct {
        const char *override, *expected;
    } cases[] = {
        {"alpha.rate=2", "--set alpha.rate: \"2\" is out of range; allowed: a number from 0 to 1"},
        {"alpha.raet=2", "--set alpha.raet: unknown key; did you mean rate?"},
        {"alhpa.rate=1", "--set alhpa.rate: unknown section; did you mean alpha?"},
        {"rate", "--set rate: expected section.name=value"},
        {"rate=0.5", "--set rate=0.5: expected section.name=value"},
        {"alpha.sizes=[1, x]",
         "--set alpha.sizes: \"x\" is not a whole number; allowed: a list of up "
         "to 16 whole numbers, each from 1 to 512"},
        {"alpha.label=\"open", "--set alpha.label: not YAML: found unexpected end of stream"},
        {"alpha.label=\xff",
         "--set alpha.label: \"\xff\" is not UTF-8 text; allowed: text of 1 to 20 "
         "bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            hwm_config_load(f->sections, 2, NULL, NULL, &cases[i].override, 1, &f->err),
            HWM_EINVAL);
        assert_string_equal(f->err.text, cases[i].expected);
    }
    setenv("HWM_ALPHA__COUNT", "many", 1);
    setenv("HWM_ALPHA__COUNTER", "1", 1);
    hwm_status status = hwm_config_load(f->sections, 2, NULL, NULL, NULL, 0, &f->err);
    unsetenv("HWM_ALPHA__COUNT");
    unsetenv("HWM_ALPHA__COUNTER");
    assert_int_equal(status, HWM_EINVAL);
    assert_string_equal(
        f->err.text, "environment HWM_ALPHA__COUNT: alpha.count: \"many\" is not a whole number; "
                     "allowed: a whole number from 1 to 100\n"
                     "environment HWM_ALPHA__COUNTER: alpha.counter: unknown key; did you mean "
                     "count?");
}

static void test_files_that_cannot_be_read_are_named(void** state) {
    fixture* f = *state;
    assert_int_equal(hwm_config_load(f->sections, 2, "/nowhere/x.yaml", NULL, NULL, 0, &f->err),
                     HWM_ENOTFOUND);
    assert_string_equal(f->err.text, "/nowhere/x.yaml: cannot be read: No such file or directory");
    assert_int_equal(hwm_config_load(f->sections, 2, "/tmp", NULL, NULL, 0, &f->err), HWM_EIO);
    assert_string_equal(f->err.text, "/tmp: cannot be read: Is a directory");
    assert_int_equal(hwm_config_load(f->sections, 2, "/dev/zero", NULL, NULL, 0, &f->err),
                     HWM_EINVAL);
    assert_string_equal(f->err.text,
                        "/dev/zero: larger than the 1048576 bytes a configuration may have");
}

static void test_help_lists_every_field(void** state) {
    fixture* f = *state;
    char* text = NULL;
    size_t size = 0;
    FILE* out = open_memstream(&text, &size);
    hwm_config_help(f->sections, 2, out);
    fclose(out);
    assert_non_null(strstr(text, "alpha: The first section.\n"));
    for (int i = 0; i < 8; i++) {
        char name[64];
        snprintf(name, sizeof name, "alpha.%s = ", alpha_fields[i].name);
        assert_non_null(strstr(text, name));
        assert_non_null(strstr(text, alpha_fields[i].help));
    }
    assert_non_null(
        strstr(text, "beta.open = 2\n      Not negative.\n      a number at least 0\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults_are_those_of_the_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_type_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_sources_win_and_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_resolved_elsewhere_ignores_this_environment,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_printed_configuration_reads_back_to_the_same_bits,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_complaints_name_line_key_and_what_is_allowed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_all_complaints_come_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overrides_and_variables_are_checked_like_the_file,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_cannot_be_read_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_help_lists_every_field, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
