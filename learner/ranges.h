// data path  [8] learner
//
// Quantiles of what the replay holds, from the newest ROWS rows that were sampled: a clamp at the
// extremes would leave imagination all the room that one violent fall has opened.
#ifndef HWM_LEARNER_RANGES_H
#define HWM_LEARNER_RANGES_H

#include <stddef.h>

#include "base/real.h"
#include "base/status.h"

typedef struct hwm_ranges hwm_ranges;

// values: numbers per row (observations, then the reward). Caller owns, free with
// hwm_ranges_destroy. HWM_ENOMEM.
hwm_status hwm_ranges_create(hwm_ranges** out, int values);
void hwm_ranges_destroy(hwm_ranges** ranges);
// One row: obs (values - 1) and the reward that came with it. The oldest row leaves.
void hwm_ranges_add(hwm_ranges* ranges, const hwm_real* obs, hwm_real reward);
// Quantiles q and 1 - q (0 <= q < 0.5) of value k, between order statistics; left alone as long as
// there is no row.
void hwm_ranges_get(hwm_ranges* ranges, int k, double q, hwm_real* low, hwm_real* high);

// The rows held, for checkpoints: floats, and copies in and out. What is loaded goes on like what
// was saved.
size_t hwm_ranges_count(const hwm_ranges* ranges);
void hwm_ranges_save(const hwm_ranges* ranges, float* out);
void hwm_ranges_load(hwm_ranges* ranges, const float* in);

#endif
