// Parsing of command lines from the tables, and everything that is generated from them.
#include "base/command.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { NAME_LENGTH_MAX = 64 };

// Number of insertions, deletions, substitutions and swaps of neighbours that lead from a to b.
static int edit_distance(const char* a, const char* b) {
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n >= NAME_LENGTH_MAX || m >= NAME_LENGTH_MAX)
        return NAME_LENGTH_MAX;
    int row[3][NAME_LENGTH_MAX + 1];
    for (int j = 0; j <= m; j++)
        row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *second = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                second[j - 2] + 1 < best)
                best = second[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char* hwm_nearest_name(const char* name, const char* const* candidates, int n) {
    const char* nearest = NULL;
    int limit = (int)strlen(name) / 3, best = limit < 1 ? 2 : limit + 1;
    for (int i = 0; i < n; i++) {
        int distance = edit_distance(name, candidates[i]);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

// "hwm train" or "hwm-server": what a person types.
static const char* typed_name(const hwm_command* c, char out[64]) {
    snprintf(out, 64, "%s%s", c->is_program ? "" : "hwm ", c->name);
    return out;
}

// Text of one value into its place. Numbers are checked to their last character and against their
// range.
static hwm_status option_set(const hwm_option* o, const char* text, char* options, hwm_error* err) {
    void* target = options + o->offset;
    if (o->type == HWM_OPTION_TEXT) {
        memcpy(target, &text, sizeof text);
        return HWM_OK;
    }
    if (o->type == HWM_OPTION_LIST) {
        hwm_text_list* list = target;
        if (list->n == HWM_TEXT_LIST_MAX) {
            return hwm_fail(err, HWM_EINVAL, "%s is given more than %d times", o->name,
                            HWM_TEXT_LIST_MAX);
        }
        list->v[list->n++] = text;
        return HWM_OK;
    }
    char* end = NULL;
    errno = 0;
    double number = 0.0;
    if (o->type == HWM_OPTION_INT) {
        long long v = strtoll(text, &end, 10);
        int64_t value = v;
        number = (double)v;
        memcpy(target, &value, sizeof value);
    } else {
        number = strtod(text, &end);
        memcpy(target, &number, sizeof number);
    }
    if (end == text || *end != '\0' || errno == ERANGE ||
        (number != number && text != o->default_text)) {
        return hwm_fail(err, HWM_EINVAL, "%s %s: not %s", o->name, text,
                        o->type == HWM_OPTION_INT ? "a whole number" : "a number");
    }
    if (o->min != o->max && (number < o->min || number > o->max)) {
        return hwm_fail(err, HWM_EINVAL, "%s %s: must lie between %.15g and %.15g", o->name, text,
                        o->min, o->max);
    }
    return HWM_OK;
}

// What every program has on top of its own options. One set per process, as there is one log.
typedef struct common_options {
    const char* log;
    const char* log_level;
} common_options;
static common_options common;

static const hwm_option common_rows[] = {
    {"--log", "FORMAT", HWM_OPTION_TEXT, offsetof(common_options, log), "text", 0, 0,
     "Form of the log's lines: text or json."},
    {"--log-level", "LEVEL", HWM_OPTION_TEXT, offsetof(common_options, log_level), "info", 0, 0,
     "Least severe line that is written: debug, info, warn or error."},
};

static int rows_of(const hwm_command* c) {
    return c->n_options + (c->is_program ? (int)(sizeof common_rows / sizeof common_rows[0]) : 0);
}

static const hwm_option* row_of(const hwm_command* c, int i) {
    return i < c->n_options ? &c->options[i] : &common_rows[i - c->n_options];
}

// The struct that row i fills.
static void* target_of(const hwm_command* c, int i, void* options) {
    return i < c->n_options ? options : &common;
}

static hwm_status setup_log(const hwm_command* c, hwm_error* err) {
    static const char* const levels[] = {"debug", "info", "warn", "error"};
    int level = 0;
    while (level < 4 && strcmp(common.log_level, levels[level]) != 0)
        level++;
    if (level == 4)
        return hwm_fail(err, HWM_EINVAL, "--log-level %s: must be debug, info, warn or error",
                        common.log_level);
    bool json = strcmp(common.log, "json") == 0;
    if (!json && strcmp(common.log, "text") != 0)
        return hwm_fail(err, HWM_EINVAL, "--log %s: must be text or json", common.log);
    hwm_log_setup(c->name, (hwm_log_level)level, json ? HWM_LOG_JSON : HWM_LOG_TEXT);
    return HWM_OK;
}

// "--run-dir" -> "HWM_RUN_DIR"
static void environment_name(const hwm_option* o, char* name, size_t size) {
    snprintf(name, size, "HWM_%s", o->name + 2);
    for (char* p = name; *p; p++) {
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    }
}

static hwm_status unknown_option(const hwm_command* c, const char* name, hwm_error* err) {
    char typed[64];
    const char* names[64];
    int n = 0;
    for (int i = 0; i < rows_of(c) && n < 64; i++) {
        names[n++] = row_of(c, i)->name;
    }
    const char* near = hwm_nearest_name(name, names, n);
    if (near) {
        return hwm_fail(err, HWM_EINVAL, "unknown option %s; did you mean %s?", name, near);
    }
    return hwm_fail(err, HWM_EINVAL, "unknown option %s; `%s --help` lists them", name,
                    typed_name(c, typed));
}

hwm_status hwm_command_parse(const hwm_command* command, int argc, char** argv, void* options,
                             const char** operands, int* n_operands, hwm_error* err) {
    HWM_ASSERT(command->options_bytes <= HWM_OPTIONS_BYTES_MAX);
    char typed[64];
    typed_name(command, typed);
    memset(options, 0, command->options_bytes);
    *n_operands = 0;
    for (int i = 0; i < rows_of(command); i++) {
        const hwm_option* o = row_of(command, i);
        if (o->default_text) {
            hwm_status s = option_set(o, o->default_text, target_of(command, i, options), err);
            HWM_ASSERT(s == HWM_OK);
        }
    }
    // what the environment says, as HWM_RUN_DIR for --run-dir
    for (int i = 0; i < rows_of(command); i++) {
        const hwm_option* o = row_of(command, i);
        char name[64];
        environment_name(o, name, sizeof name);
        const char* text =
            o->type == HWM_OPTION_FLAG || o->type == HWM_OPTION_LIST ? NULL : getenv(name);
        if (text && option_set(o, text, target_of(command, i, options), err) != HWM_OK) {
            return hwm_fail(err, HWM_EINVAL, "%s=%s in the environment is not a value of %s", name,
                            text, o->name);
        }
    }
    bool only_operands = false;
    for (int a = 0; a < argc; a++) {
        const char* arg = argv[a];
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            if (*n_operands == command->operands_max) {
                return hwm_fail(err, HWM_EINVAL, "unexpected argument '%s'; usage: %s %s", arg,
                                typed, command->operands);
            }
            operands[(*n_operands)++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_operands = true;
            continue;
        }
        // the name ends at '='
        char name[64];
        size_t length = strcspn(arg, "=");
        if (length >= sizeof name) {
            return hwm_fail(err, HWM_EINVAL, "unknown option %.60s...", arg);
        }
        memcpy(name, arg, length);
        name[length] = '\0';
        const hwm_option* o = NULL;
        void* target = NULL;
        for (int i = 0; i < rows_of(command) && !o; i++) {
            if (strcmp(row_of(command, i)->name, name) == 0) {
                o = row_of(command, i);
                target = target_of(command, i, options);
            }
        }
        if (!o) {
            return unknown_option(command, name, err);
        }
        if (o->type == HWM_OPTION_FLAG) {
            if (arg[length] == '=') {
                return hwm_fail(err, HWM_EINVAL, "%s takes no value", name);
            }
            bool yes = true;
            memcpy((char*)target + o->offset, &yes, sizeof yes);
            continue;
        }
        const char* value = arg[length] == '=' ? arg + length + 1 : NULL;
        if (!value) {
            if (a + 1 == argc) {
                return hwm_fail(err, HWM_EINVAL, "%s needs a value: %s %s", name, name,
                                o->argument);
            }
            value = argv[++a];
        }
        hwm_status s = option_set(o, value, target, err);
        if (s != HWM_OK) {
            return s;
        }
    }
    if (*n_operands < command->operands_min) {
        return hwm_fail(err, HWM_EINVAL, "%s is missing; usage: %s %s", command->operands, typed,
                        command->operands);
    }
    return command->is_program ? setup_log(command, err) : HWM_OK;
}

// Print text in lines of at most `width` columns, each after the first indented by `indent`.
static void print_wrapped(FILE* out, const char* text, int column, int indent, int width) {
    while (*text) {
        if (*text == '\n') {
            fputc('\n', out);
            column = 0;
            text++;
            continue;
        }
        int word = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + word > width) {
            fputc('\n', out);
            column = 0;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        if (column < indent) {
            fprintf(out, "%*s", indent - column, "");
            column = indent;
        }
        fprintf(out, "%.*s", word, text);
        column += word;
        text += word;
        while (*text == ' ') {
            text++;
        }
    }
    fputc('\n', out);
}

static void option_help(const hwm_option* o, FILE* out) {
    int column =
        fprintf(out, "  %s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
    char text[512];
    int n = snprintf(text, sizeof text, "%s", o->help);
    if (o->default_text && n < (int)sizeof text) {
        n += snprintf(text + n, sizeof text - (size_t)n, " (default %s)", o->default_text);
    }
    if (o->type == HWM_OPTION_LIST && n < (int)sizeof text) {
        snprintf(text + n, sizeof text - (size_t)n, " May be given several times.");
    }
    if (column > 26) {
        fputc('\n', out);
        column = 0;
    }
    print_wrapped(out, text, column, 28, 100);
}

void hwm_command_help(const hwm_command* c, FILE* out) {
    char typed[64];
    fprintf(out, "usage: %s%s%s%s\n\n%s\n", typed_name(c, typed), c->operands[0] ? " " : "",
            c->operands, rows_of(c) ? " [options]" : "", c->summary);
    if (c->details) {
        fputc('\n', out);
        print_wrapped(out, c->details, 0, 0, 100);
    }
    fprintf(out, "\noptions:\n");
    for (int i = 0; i < rows_of(c); i++) {
        option_help(row_of(c, i), out);
    }
    static const hwm_option help = {"--help", NULL, HWM_OPTION_FLAG, 0, NULL, 0, 0, "Print this."};
    option_help(&help, out);
    if (c->more_help) {
        fputc('\n', out);
        c->more_help(out);
    }
    if (c->example) {
        fprintf(out, "\nexample:\n  ");
        for (const char* p = c->example; *p; p++) {
            fputs(*p == '\n' ? "\n  " : (char[2]){*p, '\0'}, out);
        }
        fputc('\n', out);
    }
}

void hwm_command_markdown(const hwm_command* c, FILE* out) {
    char typed[64];
    fprintf(out, "#### `%s%s%s`\n\n%s", typed_name(c, typed), c->operands[0] ? " " : "",
            c->operands, c->summary);
    fprintf(out, c->details ? ". %s\n" : ".\n%s", c->details ? c->details : "");
    if (rows_of(c)) {
        fprintf(out, "\n| option | |\n|---|---|\n");
    }
    for (int j = 0; j < rows_of(c); j++) {
        const hwm_option* o = row_of(c, j);
        fprintf(out, "| `%s%s%s` | ", o->name, o->argument ? " " : "",
                o->argument ? o->argument : "");
        for (const char* p = o->help; *p; p++) {
            fputs(*p == '|' ? "\\|" : (char[2]){*p, '\0'}, out);
        }
        if (o->default_text) {
            fprintf(out, " (default `%s`)", o->default_text);
        }
        fprintf(out, "%s |\n", o->type == HWM_OPTION_LIST ? " May be given several times." : "");
    }
    if (c->example) {
        fprintf(out, "\n```sh\n%s\n```\n", c->example);
    }
    fputc('\n', out);
}

void hwm_command_words(const hwm_command* c, FILE* out) {
    fputs("--help", out);
    for (int i = 0; i < rows_of(c); i++) {
        fprintf(out, " %s", row_of(c, i)->name);
    }
}

int hwm_command_run(const hwm_command* command, int argc, char** argv) {
    char typed[64];
    typed_name(command, typed);
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            hwm_command_help(command, stdout);
            return HWM_EXIT_DONE;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", typed, HWM_VERSION);
            return HWM_EXIT_DONE;
        }
        if (command->is_program && strcmp(argv[i], "--words") == 0) {
            hwm_command_words(command, stdout);
            return HWM_EXIT_DONE;
        }
    }
    union {
        char bytes[HWM_OPTIONS_BYTES_MAX];
        double align_double;
        void* align_pointer;
    } options;
    const char** operands = calloc((size_t)argc + 1, sizeof *operands);
    if (!operands) {
        fprintf(stderr, "%s: out of memory\n", typed);
        return HWM_EXIT_FAILED;
    }
    hwm_error err = {0};
    int n_operands = 0;
    int code = HWM_EXIT_USAGE;
    if (hwm_command_parse(command, argc, argv, options.bytes, operands, &n_operands, &err) !=
        HWM_OK) {
        fprintf(stderr, "%s: %s\n", typed, err.text);
    } else {
        code = (int)command->run(options.bytes, operands, n_operands);
    }
    free(operands);
    return code;
}

int hwm_command_main(const hwm_command* command, int argc, char** argv) {
    return hwm_command_run(command, argc - 1, argv + 1);
}
