// data path  [7] sampler
//
// The one throttle: keeps `inserted * samples_per_insert - sampled` (in steps) within bounds, so
// that neither the workers nor the learner run away. Arithmetic of Reverb's rate limiter (Cassirer
// et al. 2021, arXiv:2102.04736), counted in steps.
//
//   diff = inserted * ratio - sampled + offset      (offset: 0 unless the ratio was changed)
//   insert of n allowed   while inserted + n <= min_size, or (inserted + n) * ratio - sampled <=
//   diff_max sample of m allowed   when stored >= min_size and inserted * ratio - (sampled + m) >=
//   diff_min diff_max = min_size * ratio + burst * ratio,   diff_min = min_size * ratio - prefetch
// If neither side could move, diff would lie below min_size * ratio and above it at once: no
// deadlock, as long as no append is larger than burst and no sample larger than prefetch, which is
// checked where they come in. "inserted" is what was admitted for the upper bound and what was
// committed for the lower one.
//
// Threads: none of its own; the caller holds a lock.
#ifndef HWM_SERVER_LIMITER_H
#define HWM_SERVER_LIMITER_H

#include "net/client.h"

typedef struct hwm_limiter {
    double ratio;  // 0: no limit
    double diff_min, diff_max;
    double offset;  // added to diff: what earlier ratios of the table have settled
    int64_t min_size_steps, burst_steps, prefetch_steps;
    bool closed;         // no more inserts: the lower bound is lifted
    uint64_t admitted;   // steps on their way into the store or in it, ever
    uint64_t committed;  // steps in the store, ever
    uint64_t sampled;    // steps, counted samples, ever (refunds taken off)
    // statistics
    uint64_t insert_waits, sample_waits;
    double insert_wait_s, sample_wait_s;
} hwm_limiter;

// HWM_EINVAL names what is negative, or how far the bounds are below what burst and prefetch need.
hwm_status hwm_limiter_init(hwm_limiter* limiter, const hwm_limiter_config* config, hwm_error* err);
// As the table was left: counters of earlier processes.
void hwm_limiter_restore(hwm_limiter* limiter, uint64_t inserted, uint64_t sampled);

// Another configuration for a table in use: counters stay, and diff keeps its distance from the
// middle, so that neither side has to make up for what went by under the old ratio. As for init;
// on failure nothing has changed.
hwm_status hwm_limiter_change(hwm_limiter* limiter, const hwm_limiter_config* config,
                              hwm_error* err);

bool hwm_limiter_can_insert(const hwm_limiter* limiter, uint64_t steps);
void hwm_limiter_insert(hwm_limiter* limiter, uint64_t steps);       // admitted, now being written
void hwm_limiter_insert_done(hwm_limiter* limiter, uint64_t steps);  // committed
void hwm_limiter_insert_undone(hwm_limiter* limiter,
                               uint64_t steps);  // refused or a duplicate: given back
// stored: steps in the table now. Uncounted samples only wait for min_size.
bool hwm_limiter_can_sample(const hwm_limiter* limiter, uint64_t stored, uint64_t steps,
                            bool uncounted);
void hwm_limiter_sample(hwm_limiter* limiter, uint64_t steps);
void hwm_limiter_sample_undone(hwm_limiter* limiter, uint64_t steps);  // cancelled: refunded
double hwm_limiter_diff(const hwm_limiter* limiter);

#endif
