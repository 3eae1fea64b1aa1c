// One row of a table over the runs of an experiment with several seeds.
#include "summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "display.h"

typedef struct control {
    const char *key, *title;
} control;
// The first ones share a column: what nobody has learned.
enum { UNLEARNED = 3 };
static const control controls[HWM_SUMMARY_CONTROLS] = {
    {"untrained", "untrained"},       {"random_actions", "random"},
    {"zero_actions", "zero actions"}, {"zeroed", "zeroed"},
    {"shuffled", "shuffled"},         {"frozen_at_0", "frozen at 0"},
    {"frozen_at_5", "at 5"},          {"frozen_at_20", "at 20"},
    {"frozen_at_100", "at 100"},      {"reset_at_100", "drawn again at 100"},
};

const char* hwm_summary_control(int k) {
    return controls[k].key;
}

void hwm_summary_head(void) {
    printf(
        "| experiment | seeds | 100 fresh episodes | worst variant | env steps: median (range) | "
        "of evaluation | wall s |");
    for (int k = 0; k < HWM_SUMMARY_CONTROLS; k++) {
        printf(" %s%s", controls[k].title, k + 1 < UNLEARNED ? "," : " |");
    }
    printf(" repeats it |\n|---|---|---|---|---|---|---|");
    for (int k = UNLEARNED - 1; k < HWM_SUMMARY_CONTROLS; k++) {
        printf("---|");
    }
    printf("---|\n");
}

static int ascending(const void* a, const void* b) {
    const double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

// The finite ones of n numbers that stand `stride` bytes apart, ascending. Returns how many.
static int collect(const double* first, size_t stride, int n, double* out) {
    int m = 0;
    for (int i = 0; i < n; i++) {
        const double x = *(const double*)((const char*)first + (size_t)i * stride);
        if (isfinite(x)) {
            out[m++] = x;
        }
    }
    qsort(out, (size_t)m, sizeof *out, ascending);
    return m;
}

static void print_value(double x, bool velocity) {
    if (fabs(x) < (velocity ? 0.005 : 0.5)) {
        x = 0;  // not -0
    }
    printf(velocity ? "%.2f" : "%.0f", x);
}

// Mean alone.
static void mean_of(const double* first, int n, bool velocity, double* scratch) {
    const int m = collect(first, sizeof(hwm_summary_run), n, scratch);
    double sum = 0;
    for (int i = 0; i < m; i++) {
        sum += scratch[i];
    }
    printf(" ");
    if (m > 0) {
        print_value(sum / m, velocity);
    } else {
        printf("-");
    }
}

// Mean, and the range where it is wider than the last digit shown.
static void value_cell(const double* first, int n, bool velocity, bool bold, double* scratch) {
    const int m = collect(first, sizeof(hwm_summary_run), n, scratch);
    if (m == 0) {
        printf(" - |");
        return;
    }
    double sum = 0;
    for (int i = 0; i < m; i++) {
        sum += scratch[i];
    }
    printf(bold ? " **" : " ");
    print_value(sum / m, velocity);
    if (scratch[m - 1] - scratch[0] > (velocity ? 0.005 : 0.5)) {
        printf(" (");
        print_value(scratch[0], velocity);
        printf(scratch[m - 1] < 0 ? " to " : "-");
        print_value(scratch[m - 1], velocity);
        printf(")");
    }
    printf(bold ? "%s** |" : "%s |", velocity ? " m/s" : "");
}

// Median and range of the steps to the threshold, and how many runs got there where not all did.
static void steps_cell(const hwm_summary_run* run, int n, double threshold, double* scratch) {
    const int m = collect(&run->passed_at, sizeof *run, n, scratch);
    if (!isfinite(threshold) || m == 0) {
        printf(isfinite(threshold) ? " never %.4g |" : " - |", threshold);
        return;
    }
    char middle[32], low[32], high[32];
    hwm_display_count(scratch[m / 2], middle, sizeof middle);
    hwm_display_count(scratch[0], low, sizeof low);
    hwm_display_count(scratch[m - 1], high, sizeof high);
    printf(" %s", middle);
    if (m > 1) {
        printf(" (%s-%s)", low, high);
    }
    printf(" to %.4g", threshold);
    if (m < n) {
        printf(", %d of %d", m, n);
    }
    printf(" |");
}

void hwm_summary_row(const hwm_summary_run* run, int n, double threshold, const char* name,
                     const char* command) {
    double* scratch = malloc((size_t)n * sizeof *scratch);
    if (!scratch) {
        return;
    }
    const bool velocity = run[0].velocity;
    printf("| `%s` | %d |", name ? name : run[0].experiment, n);
    value_cell(&run->value, n, velocity, true, scratch);
    value_cell(&run->worst, n, velocity, false, scratch);
    steps_cell(run, n, threshold, scratch);
    int m = collect(&run->eval_env_steps, sizeof *run, n, scratch);
    if (m > 0) {
        char middle[32];
        hwm_display_count(scratch[m / 2], middle, sizeof middle);
        printf(" %s |", middle);
    } else {
        printf(" - |");
    }
    m = collect(&run->wall_s, sizeof *run, n, scratch);
    if (m > 0) {
        printf(" %.0f |", scratch[m / 2]);
    } else {
        printf(" - |");
    }
    for (int k = 0; k < UNLEARNED; k++) {
        mean_of(&run->control[k], n, velocity, scratch);
        printf(k + 1 < UNLEARNED ? "," : velocity ? " m/s |" : " |");
    }
    for (int k = UNLEARNED; k < HWM_SUMMARY_CONTROLS; k++) {
        value_cell(&run->control[k], n, velocity, false, scratch);
    }
    if (command) {
        printf(" `%s` |\n", command);
    } else {
        printf(" - |\n");
    }
    free(scratch);
}
