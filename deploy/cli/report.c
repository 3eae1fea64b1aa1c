// hwm report: one table over finished runs, from their metrics.jsonl and evaluation.json.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "display.h"
#include "follow.h"
#include "run_dir.h"
#include "summary.h"

typedef struct report_options {
    double threshold;
    bool markdown, summary, head;
    const char *name, *command;
} report_options;

// What a row is made of; NAN where the run has not written it.
typedef struct row {
    char experiment[64];
    double seed, env_steps, eval_env_steps, wall_s, mean, std, passed_at;
    double zeroed, shuffled, frozen, reset;
} row;

static hwm_json* read_json(const char* dir, const char* name) {
    char path[HWM_PATH_MAX];
    FILE* f = hwm_path_join(path, dir, name) ? fopen(path, "r") : NULL;
    if (!f) {
        return NULL;
    }
    char* text = NULL;
    size_t size = 0;
    ssize_t n = getdelim(&text, &size, '\0', f);
    hwm_json* json = n > 0 ? hwm_json_parse(text, (size_t)n) : NULL;
    free(text);
    fclose(f);
    return json;
}

// Environment steps, wall time, and where evaluation first passed the threshold.
static bool read_metrics(const char* dir, double threshold, row* r) {
    char path[HWM_PATH_MAX];
    hwm_follow* follow = hwm_path_join(path, dir, "metrics.jsonl") ? hwm_follow_open(path) : NULL;
    bool any = false;
    hwm_json* json = NULL;
    const char* line = NULL;
    while (follow && hwm_follow_next(follow, &json, &line)) {
        any = true;
        r->env_steps = hwm_json_number(json, "env_steps", r->env_steps);
        r->eval_env_steps = hwm_json_number(json, "eval_env_steps", r->eval_env_steps);
        r->wall_s = hwm_json_number(json, "wall_s", r->wall_s);
        // a line may have missed the evaluation that passed; the best one keeps it
        const double seen = fmax(hwm_json_number(json, "eval_mean", -INFINITY),
                                 hwm_json_number(json, "eval_best", -INFINITY));
        if (isnan(r->passed_at) && seen >= threshold) {
            r->passed_at = r->env_steps;
        }
        hwm_json_free(&json);
    }
    hwm_follow_close(&follow);
    return any;
}

static bool read_run(const char* dir, double threshold, row* r) {
    *r = (row){"", NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    bool any = read_metrics(dir, threshold, r);
    hwm_json* j = read_json(dir, "evaluation.json");
    if (j) {
        snprintf(r->experiment, sizeof r->experiment, "%s", hwm_json_text(j, "experiment", ""));
        r->seed = hwm_json_number(j, "run_seed", NAN);
        r->mean = hwm_json_number(j, "mean", NAN);
        r->std = hwm_json_number(j, "std", NAN);
        r->zeroed = hwm_json_number(j, "controls.zeroed.mean", NAN);
        r->shuffled = hwm_json_number(j, "controls.shuffled.mean", NAN);
        r->frozen = hwm_json_number(j, "controls.frozen_at_0.mean", NAN);
        r->reset = hwm_json_number(j, "controls.reset_at_100.mean", NAN);
        hwm_json_free(&j);
        any = true;
    }
    if (!r->experiment[0]) {
        const char* slash = strrchr(dir, '/');
        snprintf(r->experiment, sizeof r->experiment, "%s", slash && slash[1] ? slash + 1 : dir);
    }
    return any;
}

static void cell(bool markdown, int width, const char* text) {
    if (markdown) {
        printf(" %s |", text);
    } else {
        printf(" %*s", width, text);
    }
}

static void number_cell(bool markdown, int width, const char* format, double value) {
    char text[64] = "-";
    if (isfinite(value)) {
        snprintf(text, sizeof text, format, value);
    }
    cell(markdown, width, text);
}

static void count_cell(bool markdown, int width, double value) {
    char text[64];
    hwm_display_count(value, text, sizeof text);
    cell(markdown, width, text);
}

static void print_head(const report_options* o) {
    char passed[48];
    snprintf(passed, sizeof passed, "steps to %.4g", o->threshold);
    const char* const names[] = {"experiment", "seed",        "env steps",   "wall s",
                                 "return",     "std",         passed,        "zeroed",
                                 "shuffled",   "frozen at 0", "reset at 100"};
    const int widths[] = {16, 5, 10, 7, 8, 7, 13, 8, 9, 11, 12};
    printf(o->markdown ? "|" : "");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!isfinite(o->threshold) && names[i] == passed) {
            continue;
        }
        cell(o->markdown, widths[i], names[i]);
    }
    if (o->markdown) {
        printf("\n|---|---|---|---|---|---|%s---|---|---|---|",
               isfinite(o->threshold) ? "---|" : "");
    }
    printf("\n");
}

static void print_row(const report_options* o, const row* r) {
    printf(o->markdown ? "|" : "");
    cell(o->markdown, 16, r->experiment);
    number_cell(o->markdown, 5, "%.0f", r->seed);
    count_cell(o->markdown, 10, r->env_steps);
    number_cell(o->markdown, 7, "%.0f", r->wall_s);
    number_cell(o->markdown, 8, "%.1f", r->mean);
    number_cell(o->markdown, 7, "%.1f", r->std);
    if (isfinite(o->threshold)) {
        count_cell(o->markdown, 13, r->passed_at);
    }
    number_cell(o->markdown, 8, "%.1f", r->zeroed);
    number_cell(o->markdown, 9, "%.1f", r->shuffled);
    number_cell(o->markdown, 11, "%.1f", r->frozen);
    number_cell(o->markdown, 12, "%.1f", r->reset);
    printf("\n");
}

// ---- one row over all runs

// Mean of one object of evaluation.json: velocity where it has one.
static double value_of(const hwm_json* j, const char* at, bool velocity) {
    char path[64];
    snprintf(path, sizeof path, "%s%s%s", at, *at ? "." : "", velocity ? "velocity" : "mean");
    return hwm_json_number(j, path, NAN);
}

// operand: a run directory, or another evaluation in one (RUN/NAME.json).
static bool read_summary(const char* operand, double threshold, hwm_summary_run* s) {
    char dir[HWM_PATH_MAX];
    snprintf(dir, sizeof dir, "%s", operand);
    const char* file = "evaluation.json";
    char* slash = strrchr(dir, '/');
    const size_t length = strlen(dir);
    const bool other = slash && length > 5 && strcmp(dir + length - 5, ".json") == 0;
    if (other) {
        *slash = '\0';
        file = slash + 1;
    }
    row r;
    if (!read_run(dir, threshold, &r)) {
        return false;
    }
    hwm_json* j = read_json(dir, file);
    if (!j) {
        return false;
    }
    *s = (hwm_summary_run){.wall_s = r.wall_s,
                           .eval_env_steps = r.eval_env_steps,
                           .passed_at = other ? (double)NAN : r.passed_at};
    snprintf(s->experiment, sizeof s->experiment, "%s", hwm_json_text(j, "experiment", ""));
    s->velocity = isfinite(hwm_json_number(j, "velocity", NAN));
    s->value = value_of(j, "", s->velocity);
    s->worst = NAN;
    const size_t variants = hwm_json_size(j, "variants");
    for (size_t k = 0; k < variants; k++) {
        char at[32];
        snprintf(at, sizeof at, "variants.%zu", k);
        s->worst = fmin(s->worst, value_of(j, at, s->velocity));
    }
    for (int k = 0; k < HWM_SUMMARY_CONTROLS; k++) {
        char at[48];
        snprintf(at, sizeof at, "controls.%s", hwm_summary_control(k));
        s->control[k] = value_of(j, at, s->velocity);
    }
    hwm_json_free(&j);
    return true;
}

static hwm_exit summarise(const report_options* o, const char* const* operands, int n) {
    hwm_summary_run* runs = calloc((size_t)n, sizeof *runs);
    hwm_exit code = runs ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
    for (int i = 0; i < n && code == HWM_EXIT_DONE; i++) {
        if (!read_summary(operands[i], o->threshold, &runs[i])) {
            fprintf(stderr, "hwm report: %s is not a run that has ended with an evaluation\n",
                    operands[i]);
            code = HWM_EXIT_FAILED;
        }
    }
    if (code == HWM_EXIT_DONE) {
        if (o->head) {
            hwm_summary_head();
        }
        hwm_summary_row(runs, n, o->threshold, o->name, o->command);
    }
    free(runs);
    return code;
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    const report_options* o = options;
    hwm_exit code = HWM_EXIT_DONE;
    if (o->summary) {
        return summarise(o, operands, n_operands);
    }
    print_head(o);
    for (int i = 0; i < n_operands; i++) {
        row r;
        if (read_run(operands[i], o->threshold, &r)) {
            print_row(o, &r);
        } else {
            fprintf(stderr,
                    "hwm report: %s holds neither metrics.jsonl nor evaluation.json: not a run\n",
                    operands[i]);
            code = HWM_EXIT_FAILED;
        }
    }
    return code;
}

static const hwm_option options[] = {
    {"--threshold", "R", HWM_OPTION_REAL, offsetof(report_options, threshold), "nan", 0, 0,
     "Also the environment steps after which an evaluation first reached this return."},
    {"--markdown", NULL, HWM_OPTION_FLAG, offsetof(report_options, markdown), NULL, 0, 0,
     "Print the table as Markdown."},
    {"--summary", NULL, HWM_OPTION_FLAG, offsetof(report_options, summary), NULL, 0, 0,
     "One row over all the runs, as Markdown: means and ranges of returns, or of forward "
     "velocities "
     "where the task has a way to go. RUN/NAME.json takes that evaluation of the run."},
    {"--head", NULL, HWM_OPTION_FLAG, offsetof(report_options, head), NULL, 0, 0,
     "With --summary: the head of the table first."},
    {"--name", "TEXT", HWM_OPTION_TEXT, offsetof(report_options, name), NULL, 0, 0,
     "With --summary: name of the row instead of the runs' experiment."},
    {"--command", "TEXT", HWM_OPTION_TEXT, offsetof(report_options, command), NULL, 0, 0,
     "With --summary: the command that repeats the row."},
};
const hwm_command hwm_command_report = {
    .name = "report",
    .operands = "RUN...",
    .operands_min = 1,
    .operands_max = 1024,
    .summary = "One table over runs: return over fresh episodes beside its controls",
    .example = "hwm report runs/suite/* --threshold 400 --markdown",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(report_options),
    .run = run,
};
