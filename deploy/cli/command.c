// Parsing of command lines from the tables of commands, and everything that is generated from them.
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const hwm_command* hwm_command_find(const char* name) {
    for (int i = 0; i < hwm_commands_n; i++) {
        if (strcmp(hwm_commands[i]->name, name) == 0) {
            return hwm_commands[i];
        }
    }
    return NULL;
}

static int edit_distance(const char* a, const char* b) {
    enum { LENGTH_MAX = 48 };
    int la = (int)strlen(a), lb = (int)strlen(b);
    if (la >= LENGTH_MAX || lb >= LENGTH_MAX) {
        return LENGTH_MAX;
    }
    int row[LENGTH_MAX];
    for (int j = 0; j <= lb; j++) {
        row[j] = j;
    }
    for (int i = 1; i <= la; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= lb; j++) {
            int substitute = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = substitute < shift ? substitute : shift;
        }
    }
    return row[lb];
}

const char* hwm_nearest_name(const char* name, const char* const* candidates, int n) {
    const char* best = NULL;
    int best_distance = 3;  // further away it is not a slip of the fingers
    if ((int)strlen(name) < 5) {
        best_distance = 2;
    }
    for (int i = 0; i < n; i++) {
        int d = edit_distance(name, candidates[i]);
        if (d <= best_distance) {
            best_distance = d - 1;
            best = candidates[i];
        }
    }
    return best;
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

// "--run-dir" -> "HWM_RUN_DIR"
static void environment_name(const hwm_option* o, char* name, size_t size) {
    snprintf(name, size, "HWM_%s", o->name + 2);
    for (char* p = name; *p; p++) {
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    }
}

static hwm_status unknown_option(const hwm_command* c, const char* name, hwm_error* err) {
    const char* names[64];
    int n = 0;
    for (int i = 0; i < c->n_options && n < 64; i++) {
        names[n++] = c->options[i].name;
    }
    const char* near = hwm_nearest_name(name, names, n);
    if (near) {
        return hwm_fail(err, HWM_EINVAL, "unknown option %s; did you mean %s?", name, near);
    }
    return hwm_fail(err, HWM_EINVAL, "unknown option %s; `hwm %s --help` lists them", name,
                    c->name);
}

hwm_status hwm_command_parse(const hwm_command* command, int argc, char** argv, void* options,
                             const char** operands, int* n_operands, hwm_error* err) {
    HWM_ASSERT(command->options_bytes <= HWM_OPTIONS_BYTES_MAX);
    memset(options, 0, command->options_bytes);
    *n_operands = 0;
    for (int i = 0; i < command->n_options; i++) {
        const hwm_option* o = &command->options[i];
        if (o->default_text) {
            hwm_status s = option_set(o, o->default_text, options, err);
            HWM_ASSERT(s == HWM_OK);
        }
    }
    // what the environment says, as HWM_RUN_DIR for --run-dir
    for (int i = 0; i < command->n_options; i++) {
        const hwm_option* o = &command->options[i];
        char name[64];
        environment_name(o, name, sizeof name);
        const char* text =
            o->type == HWM_OPTION_FLAG || o->type == HWM_OPTION_LIST ? NULL : getenv(name);
        if (text && option_set(o, text, options, err) != HWM_OK) {
            return hwm_fail(err, HWM_EINVAL, "%s=%s in the environment is not a value of %s", name,
                            text, o->name);
        }
    }
    bool only_operands = false;
    for (int a = 0; a < argc; a++) {
        const char* arg = argv[a];
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            if (*n_operands == command->operands_max) {
                return hwm_fail(err, HWM_EINVAL, "unexpected argument '%s'; usage: hwm %s %s", arg,
                                command->name, command->operands);
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
        for (int i = 0; i < command->n_options; i++) {
            if (strcmp(command->options[i].name, name) == 0) {
                o = &command->options[i];
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
            memcpy((char*)options + o->offset, &yes, sizeof yes);
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
        hwm_status s = option_set(o, value, options, err);
        if (s != HWM_OK) {
            return s;
        }
    }
    if (*n_operands < command->operands_min) {
        return hwm_fail(err, HWM_EINVAL, "%s is missing; usage: hwm %s %s", command->operands,
                        command->name, command->operands);
    }
    return HWM_OK;
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
    fprintf(out, "usage: hwm %s%s%s%s\n\n%s\n", c->name, c->operands[0] ? " " : "", c->operands,
            c->n_options ? " [options]" : "", c->summary);
    if (c->details) {
        fputc('\n', out);
        print_wrapped(out, c->details, 0, 0, 100);
    }
    fprintf(out, "\noptions:\n");
    for (int i = 0; i < c->n_options; i++) {
        option_help(&c->options[i], out);
    }
    static const hwm_option help = {"--help", NULL, HWM_OPTION_FLAG, 0, NULL, 0, 0, "Print this."};
    option_help(&help, out);
    if (c->example) {
        fprintf(out, "\nexample:\n  ");
        for (const char* p = c->example; *p; p++) {
            fputs(*p == '\n' ? "\n  " : (char[2]){*p, '\0'}, out);
        }
        fputc('\n', out);
    }
}

void hwm_command_overview(FILE* out) {
    fprintf(out,
            "hwm %s: train plastic controllers in the imagination of a world model\n\n"
            "usage: hwm COMMAND [options]\n\n",
            HWM_VERSION);
    for (int i = 0; i < hwm_commands_n; i++) {
        fprintf(out, "  %-12s %s\n", hwm_commands[i]->name, hwm_commands[i]->summary);
    }
    fprintf(out,
            "\n`hwm COMMAND --help` explains a command. Exit codes: 0 done, 1 something outside "
            "failed,\n2 wrong command line or configuration, 130 interrupted.\n");
}

void hwm_command_markdown(FILE* out) {
    for (int i = 0; i < hwm_commands_n; i++) {
        const hwm_command* c = hwm_commands[i];
        fprintf(out, "#### `hwm %s%s%s`\n\n%s", c->name, c->operands[0] ? " " : "", c->operands,
                c->summary);
        fprintf(out, c->details ? ". %s\n" : ".\n%s", c->details ? c->details : "");
        if (c->n_options) {
            fprintf(out, "\n| option | |\n|---|---|\n");
        }
        for (int j = 0; j < c->n_options; j++) {
            const hwm_option* o = &c->options[j];
            fprintf(out, "| `%s%s%s` | ", o->name, o->argument ? " " : "",
                    o->argument ? o->argument : "");
            for (const char* p = o->help; *p; p++) {
                fputs(*p == '|' ? "\\|" : (char[2]){*p, '\0'}, out);
            }
            if (o->default_text) {
                fprintf(out, " (default `%s`)", o->default_text);
            }
            fprintf(out, "%s |\n",
                    o->type == HWM_OPTION_LIST ? " May be given several times." : "");
        }
        if (c->example) {
            fprintf(out, "\n```sh\n%s\n```\n", c->example);
        }
        fputc('\n', out);
    }
}

void hwm_command_completion(FILE* out) {
    fprintf(out,
            "# bash completion for hwm: source <(hwm completion)\n"
            "_hwm() {\n"
            "    local current=\"${COMP_WORDS[COMP_CWORD]}\" command=\"${COMP_WORDS[1]}\" words\n"
            "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
            "        words=\"--help --version");
    for (int i = 0; i < hwm_commands_n; i++) {
        fprintf(out, " %s", hwm_commands[i]->name);
    }
    fprintf(out, "\"\n    else\n        case \"$command\" in\n");
    for (int i = 0; i < hwm_commands_n; i++) {
        fprintf(out, "        %s) words=\"--help", hwm_commands[i]->name);
        for (int j = 0; j < hwm_commands[i]->n_options; j++) {
            fprintf(out, " %s", hwm_commands[i]->options[j].name);
        }
        fprintf(out, "\" ;;\n");
    }
    fprintf(out, "        esac\n    fi\n"
                 "    case \"$current\" in\n"
                 "    -*) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\") ;;\n"
                 "    *) if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                 "           mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                 "       else\n"
                 "           mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
                 "       fi ;;\n"
                 "    esac\n"
                 "}\n"
                 "complete -o filenames -F _hwm hwm\n");
}

int hwm_cli_main(int argc, char** argv) {
    if (argc < 2) {
        hwm_command_overview(stderr);
        return HWM_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        hwm_command_overview(stdout);
        return HWM_EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hwm %s\n", HWM_VERSION);
        return HWM_EXIT_DONE;
    }
    const hwm_command* command = hwm_command_find(argv[1]);
    if (!command) {
        const char* names[64];
        int n = 0;
        for (int i = 0; i < hwm_commands_n && n < 64; i++) {
            names[n++] = hwm_commands[i]->name;
        }
        const char* near = hwm_nearest_name(argv[1], names, n);
        fprintf(stderr, "hwm: no command '%s'; %s%s%s\n", argv[1], near ? "did you mean '" : "",
                near ? near : "`hwm --help` lists them", near ? "'?" : "");
        return HWM_EXIT_USAGE;
    }
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            hwm_command_help(command, stdout);
            return HWM_EXIT_DONE;
        }
    }
    union {
        char bytes[HWM_OPTIONS_BYTES_MAX];
        double align_double;
        void* align_pointer;
    } options;
    const char** operands = calloc((size_t)argc, sizeof *operands);
    if (!operands) {
        fprintf(stderr, "hwm: out of memory\n");
        return HWM_EXIT_FAILED;
    }
    hwm_error err = {0};
    int n_operands = 0;
    int code = HWM_EXIT_USAGE;
    if (hwm_command_parse(command, argc - 2, argv + 2, options.bytes, operands, &n_operands,
                          &err) != HWM_OK) {
        fprintf(stderr, "hwm %s: %s\n", command->name, err.text);
    } else {
        code = (int)command->run(options.bytes, operands, n_operands);
    }
    free(operands);
    return code;
}
