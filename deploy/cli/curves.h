// Learning curves: metrics.jsonl of runs as columns, and several seeds of one experiment as mean
// and spread.
#ifndef HWM_CLI_CURVES_H
#define HWM_CLI_CURVES_H

#include "base/status.h"

typedef enum hwm_curve_column {
    HWM_CURVE_ENV_STEPS,
    HWM_CURVE_EVAL,
    HWM_CURVE_RETURN,
    HWM_CURVE_IMAGINED,
    HWM_CURVE_REAL,
    HWM_CURVE_COLUMNS
} hwm_curve_column;

typedef struct hwm_curves {
    char dir[4096];
    char experiment[64];
    int n;
    double* column[HWM_CURVE_COLUMNS];  // (n), NAN where a line had no such value
} hwm_curves;

// HWM_ENOTFOUND: no metrics.jsonl, or nothing in it. Caller owns: hwm_curves_free.
hwm_status hwm_curves_read(hwm_curves* curves, const char* run_dir, hwm_error* err);
void hwm_curves_free(hwm_curves* curves);

// Value of a column at a number of environment steps, linear between the points that are there; NAN
// outside them.
double hwm_curves_at(const hwm_curves* curves, hwm_curve_column column, double env_steps);

// Mean, lowest and highest of a column over runs, on `points` equally spaced environment steps of
// [0, env_steps_max]; NAN where not all of them have a value, since a mean over a part would jump.
void hwm_curves_spread(const hwm_curves* const* runs, int n_runs, hwm_curve_column column,
                       double env_steps_max, int points, double* x, double* mean, double* low,
                       double* high);

#endif
