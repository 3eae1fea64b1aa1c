// Configuration files mutated at random, 100,000 of them: no crash and no leak (the sanitizers see
// to it), every rejection names its line, and whatever is accepted prints and reads back to the
// same.
#include "test.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/rng.h"

enum { FILES = 100000, FILE_BYTES_MAX = 2048 };

typedef struct values {
    bool on;
    int64_t count;
    double rate;
    int kind;
    char label[HWM_CONFIG_STRING_MAX];
    hwm_int_list sizes;
    hwm_real_list scales;
    hwm_string_list names;
} values;

static const hwm_config_field fields[] = {
    {"on", HWM_CONFIG_BOOL, offsetof(values, on), "true", 0, 0, NULL, "Whether."},
    {"count", HWM_CONFIG_INT, offsetof(values, count), "8", 1, 100, NULL, "How many."},
    {"rate", HWM_CONFIG_REAL, offsetof(values, rate), "0.1", 0, 0, NULL, "Per step."},
    {"kind", HWM_CONFIG_ENUM, offsetof(values, kind), "green", 0, 0, "red|green|blue", "Colour."},
    {"label", HWM_CONFIG_STRING, offsetof(values, label), "plain", 0, 40, NULL, "Its name."},
    {"sizes", HWM_CONFIG_INTS, offsetof(values, sizes), "[64]", 1, 512, NULL, "Units."},
    {"scales", HWM_CONFIG_REALS, offsetof(values, scales), "[]", 0, 0, NULL, "Divisors."},
    {"names", HWM_CONFIG_STRINGS, offsetof(values, names), "[x]", 0, 0, NULL, "Axes."},
};
static const hwm_config_table first = {"first", "One.", fields, 8};
static const hwm_config_table second = {"second", "Two.", fields, 8};

static const char* const seeds[] = {
    "first:\n  on: false\n  count: 12\n  rate: 1.5e-3\n  kind: blue\nsecond:\n  label: \"a "
    "b\\tc\"\n"
    "  sizes: [1, 2, 3]\n  scales:\n    - 0.5\n    - -2\n  names: [u, 'v w', \"z\"]\n",
    "# comment\nfirst: {count: 3, label: &anchor text, names: [*anchor, *anchor]}\n",
    "first:\nsecond: {}\n",
    "---\nfirst:\n  label: >\n    folded\n    text\n  names: []\n...\n",
    "first:\n  label: |\n    kept\n  rate: 9007199254740993\n  sizes: [511]\n",
};
static const char* const tokens[] = {
    ":",
    ": ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "#",
    " #",
    "&a ",
    "*a",
    "!!x ",
    "|",
    ">",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "\t",
    "\\",
    "\\x0",
    "~",
    "null",
    "1e9",
    "-1",
    ".5",
    "0x1f",
    "nan",
    "99999999999999999999",
    "\r",
    "\x80",
    "\xc3",
    "\xc3\xa4",
    "\xef\xbb\xbf",
    "\x7f",
    "\x1b[2J",
    "first",
    "second",
    "count",
    "? ",
};

static size_t pick(hwm_rng* rng, size_t n) {
    return hwm_rng_below(rng, (uint32_t)n);
}

// Replace `cut` bytes at `at` by n bytes of from; what exceeds the buffer is dropped.
static size_t splice(char* text, size_t length, size_t at, size_t cut, const char* from, size_t n) {
    if (at + cut > length)
        cut = length - at;
    if (length - cut + n >= FILE_BYTES_MAX)
        return length;
    char copy[FILE_BYTES_MAX];
    memcpy(copy, from, n);  // from may lie in text itself
    memmove(text + at + n, text + at + cut, length - at - cut);
    memcpy(text + at, copy, n);
    return length - cut + n;
}

static size_t mutate(hwm_rng* rng, char* text) {
    const char* seed = seeds[pick(rng, sizeof seeds / sizeof seeds[0])];
    size_t length = strlen(seed);
    memcpy(text, seed, length);
    for (size_t rounds = 1 + pick(rng, 6); rounds > 0; rounds--) {
        size_t at = pick(rng, length + 1), span;
        char byte;
        const char* token;
        switch (pick(rng, 6)) {
        case 0:  // another byte
            byte = (char)(1 + hwm_rng_below(rng, 255));
            length = splice(text, length, at, 1, &byte, 1);
            break;
        case 1:  // a token of the language
        case 2:
            token = tokens[pick(rng, sizeof tokens / sizeof tokens[0])];
            length = splice(text, length, at, pick(rng, 2), token, strlen(token));
            break;
        case 3:  // a piece less
            length = splice(text, length, at, pick(rng, 16), "", 0);
            break;
        case 4:  // a piece twice
            span = pick(rng, 40);
            if (at + span <= length)
                length = splice(text, length, pick(rng, length + 1), 0, text + at, span);
            break;
        default:  // cut off
            if (pick(rng, 4) == 0)
                length = at;
        }
    }
    text[length] = 0;
    return length;
}

// Every line is "mutant:LINE: ..." or the count of what was left out.
static bool names_its_lines(const char* text) {
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (strncmp(text, "mutant:", 7) == 0) {
            if (!isdigit((unsigned char)text[7]) || text[7] == '0')
                return false;
            size_t digits = strspn(text + 7, "0123456789");
            if (strncmp(text + 7 + digits, ": ", 2) != 0)
                return false;
        } else if (strncmp(text, "... and ", 8) != 0) {
            return false;
        }
        text += n + (text[n] == '\n');
    }
    return true;
}

static void test_mutated_files_are_read_or_refused_with_their_line(void** state) {
    (void)state;
    static values a, b;
    hwm_config_section sections[2] = {{.table = &first, .target = &a},
                                      {.table = &second, .target = &b}};
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    int accepted = 0, refused = 0;
    for (int i = 0; i < FILES; i++) {
        char text[FILE_BYTES_MAX];
        hwm_error err = {0};
        mutate(&rng, text);
        hwm_status status = hwm_config_load(sections, 2, "mutant", text, NULL, 0, &err);
        if (status != HWM_OK) {
            refused++;
            if (status != HWM_EINVAL || !err.text[0] || !names_its_lines(err.text))
                fail_msg("file %d:\n%s\nwas refused with: %s", i, text, err.text);
            continue;
        }
        accepted++;
        if (i % 8)
            continue;
        char* printed = hwm_config_print(sections, 2, (hwm_config_form)(i / 8 % 3));
        assert_int_equal(hwm_config_load(sections, 2, "printed", printed, NULL, 0, &err), HWM_OK);
        char* again = hwm_config_print(sections, 2, HWM_CONFIG_PLAIN);
        free(printed);
        assert_int_equal(hwm_config_load(sections, 2, "again", again, NULL, 0, &err), HWM_OK);
        char* third = hwm_config_print(sections, 2, HWM_CONFIG_PLAIN);
        assert_string_equal(again, third);
        free(again);
        free(third);
    }
    // both ways have been gone often: the mutations are neither too weak nor too strong
    print_message("%d accepted, %d refused\n", accepted, refused);
    assert_true(accepted > FILES / 50 && refused > FILES / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutated_files_are_read_or_refused_with_their_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
