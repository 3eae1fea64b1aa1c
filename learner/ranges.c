// data path  [8] learner
#include "ranges.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 8192 };

struct hwm_ranges {
    int values, rows;  // rows held
    int64_t added;
    hwm_real* column;  // (values,ROWS): a ring per value
    hwm_real* sorted;  // (ROWS) scratch
};

hwm_status hwm_ranges_create(hwm_ranges** out, int values) {
    hwm_ranges* r = *out = calloc(1, sizeof *r);
    if (!r)
        return HWM_ENOMEM;
    r->values = values;
    r->column = calloc((size_t)values * ROWS, sizeof *r->column);
    r->sorted = calloc(ROWS, sizeof *r->sorted);
    if (!r->column || !r->sorted) {
        hwm_ranges_destroy(out);
        return HWM_ENOMEM;
    }
    return HWM_OK;
}

void hwm_ranges_destroy(hwm_ranges** ranges) {
    if (!ranges || !*ranges)
        return;
    free((*ranges)->column);
    free((*ranges)->sorted);
    free(*ranges);
    *ranges = NULL;
}

void hwm_ranges_add(hwm_ranges* r, const hwm_real* obs, hwm_real reward) {
    const size_t at = (size_t)(r->added++ % ROWS);
    for (int k = 0; k < r->values - 1; k++)
        r->column[(size_t)k * ROWS + at] = obs[k];
    r->column[(size_t)(r->values - 1) * ROWS + at] = reward;
    r->rows = r->added < ROWS ? (int)r->added : ROWS;
}

static int ascending(const void* a, const void* b) {
    const hwm_real x = *(const hwm_real*)a, y = *(const hwm_real*)b;
    return (x > y) - (x < y);
}

// The value at place p in [0, n-1] of a sorted list, linear in between.
static hwm_real between(const hwm_real* sorted, int n, double p) {
    const int i = (int)p;
    const hwm_real rest = (hwm_real)(p - i);
    return i + 1 < n ? sorted[i] + rest * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

void hwm_ranges_get(hwm_ranges* r, int k, double q, hwm_real* low, hwm_real* high) {
    const int n = r->rows;
    if (n == 0)
        return;
    memcpy(r->sorted, r->column + (size_t)k * ROWS, (size_t)n * sizeof *r->sorted);
    qsort(r->sorted, (size_t)n, sizeof *r->sorted, ascending);
    *low = between(r->sorted, n, q * (n - 1));
    *high = between(r->sorted, n, (1 - q) * (n - 1));
}

size_t hwm_ranges_count(const hwm_ranges* r) {
    return (size_t)r->values * ROWS + 2;
}

void hwm_ranges_save(const hwm_ranges* r, float* out) {
    *out++ = (float)r->rows;
    *out++ = (float)(r->added % ROWS);  // place of the next row
    for (size_t i = 0; i < (size_t)r->values * ROWS; i++)
        *out++ = (float)r->column[i];
}

void hwm_ranges_load(hwm_ranges* r, const float* in) {
    r->rows = (int)*in++;
    // a full ring stays full
    r->added = (int64_t)*in++ + (r->rows == ROWS ? ROWS : 0);
    for (size_t i = 0; i < (size_t)r->values * ROWS; i++)
        r->column[i] = (hwm_real)*in++;
}
