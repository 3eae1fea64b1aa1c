#include "curves.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/experiment.h"
#include "follow.h"
#include "run_dir.h"

static const char* const keys[HWM_CURVE_COLUMNS] = {"env_steps", "eval_mean", "return_mean",
                                                    "imagined_return", "real_return"};

static bool grow(hwm_curves* c, int* capacity) {
    if (c->n < *capacity) {
        return true;
    }
    int wanted = *capacity ? 2 * *capacity : 256;
    for (int k = 0; k < HWM_CURVE_COLUMNS; k++) {
        double* more = realloc(c->column[k], (size_t)wanted * sizeof(double));
        if (!more) {
            return false;
        }
        c->column[k] = more;
    }
    *capacity = wanted;
    return true;
}

// The experiment's name stands in the run's configuration; without one, the directory names itself.
static void name_curves(hwm_curves* c) {
    char path[HWM_PATH_MAX];
    hwm_experiment* e = NULL;
    hwm_error ignored = {0};
    if (hwm_path_join(path, c->dir, "config.yaml") && hwm_path_exists(path) &&
        hwm_experiment_load(&e, path, NULL, NULL, 0, &ignored) == HWM_OK) {
        snprintf(c->experiment, sizeof c->experiment, "%.63s", e->run.name);
        hwm_experiment_destroy(&e);
        return;
    }
    const char* slash = strrchr(c->dir, '/');
    snprintf(c->experiment, sizeof c->experiment, "%.63s", slash && slash[1] ? slash + 1 : c->dir);
}

hwm_status hwm_curves_read(hwm_curves* c, const char* run_dir, hwm_error* err) {
    memset(c, 0, sizeof *c);
    snprintf(c->dir, sizeof c->dir, "%s", run_dir);
    char path[HWM_PATH_MAX];
    hwm_follow* follow =
        hwm_path_join(path, run_dir, "metrics.jsonl") ? hwm_follow_open(path) : NULL;
    if (!follow) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    int capacity = 0;
    hwm_json* json = NULL;
    const char* line = NULL;
    while (hwm_follow_next(follow, &json, &line)) {
        double x = hwm_json_number(json, "env_steps", NAN);
        if (isfinite(x) && grow(c, &capacity)) {
            // a resumed run may repeat steps it had reported before its last checkpoint
            while (c->n > 0 && c->column[HWM_CURVE_ENV_STEPS][c->n - 1] > x) {
                c->n--;
            }
            for (int k = 0; k < HWM_CURVE_COLUMNS; k++) {
                c->column[k][c->n] = hwm_json_number(json, keys[k], NAN);
            }
            c->n++;
        }
        hwm_json_free(&json);
    }
    hwm_follow_close(&follow);
    if (c->n == 0) {
        hwm_curves_free(c);
        return hwm_fail(err, HWM_ENOTFOUND,
                        "%s: no metrics.jsonl, or nothing in it yet: is it a run "
                        "directory?",
                        run_dir);
    }
    name_curves(c);
    return HWM_OK;
}

void hwm_curves_free(hwm_curves* c) {
    for (int k = 0; k < HWM_CURVE_COLUMNS; k++) {
        free(c->column[k]);
        c->column[k] = NULL;
    }
    c->n = 0;
}

double hwm_curves_at(const hwm_curves* c, hwm_curve_column column, double env_steps) {
    const double *x = c->column[HWM_CURVE_ENV_STEPS], *y = c->column[column];
    int before = -1;
    for (int i = 0; i < c->n; i++) {
        if (!isfinite(y[i])) {
            continue;
        }
        if (x[i] >= env_steps) {
            if (x[i] == env_steps || before < 0) {
                return x[i] == env_steps ? y[i] : NAN;
            }
            double t = (env_steps - x[before]) / (x[i] - x[before]);
            return y[before] + t * (y[i] - y[before]);
        }
        before = i;
    }
    return NAN;
}

void hwm_curves_spread(const hwm_curves* const* runs, int n_runs, hwm_curve_column column,
                       double env_steps_max, int points, double* x, double* mean, double* low,
                       double* high) {
    for (int p = 0; p < points; p++) {
        x[p] = env_steps_max * p / (points > 1 ? points - 1 : 1);
        double sum = 0.0;
        int n = 0;
        low[p] = INFINITY;
        high[p] = -INFINITY;
        for (int r = 0; r < n_runs; r++) {
            double y = hwm_curves_at(runs[r], column, x[p]);
            if (isfinite(y)) {
                sum += y;
                n++;
                low[p] = fmin(low[p], y);
                high[p] = fmax(high[p], y);
            }
        }
        // a mean over a part of the runs would jump where one of them ends
        bool enough = n == n_runs;
        mean[p] = enough ? sum / n : NAN;
        low[p] = enough ? low[p] : NAN;
        high[p] = enough ? high[p] : NAN;
    }
}
