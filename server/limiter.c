// data path  [7] sampler
#include "server/limiter.h"

#include <math.h>
#include <string.h>

hwm_status hwm_limiter_init(hwm_limiter* limiter, const hwm_limiter_config* c, hwm_error* err) {
    memset(limiter, 0, sizeof *limiter);
    if (!isfinite(c->samples_per_insert) || c->samples_per_insert < 0) {
        return hwm_fail(err, HWM_EINVAL,
                        "samples_per_insert is %g; it must be 0 (no limit) or positive",
                        c->samples_per_insert);
    }
    if (c->min_size_steps < 0 || c->burst_steps < 0 || c->prefetch_steps < 0) {
        return hwm_fail(
            err, HWM_EINVAL,
            "the limiter's min_size_steps %lld, burst_steps %lld and prefetch_steps %lld must not "
            "be negative",
            (long long)c->min_size_steps, (long long)c->burst_steps, (long long)c->prefetch_steps);
    }
    if (c->samples_per_insert > 0 && (c->burst_steps == 0 || c->prefetch_steps == 0)) {
        return hwm_fail(
            err, HWM_EINVAL,
            "a limiter with samples_per_insert %g and burst_steps %lld, prefetch_steps %lld would "
            "stop for ever: both must be at least 1",
            c->samples_per_insert, (long long)c->burst_steps, (long long)c->prefetch_steps);
    }
    double burst = (double)c->burst_steps * c->samples_per_insert;
    double middle = (double)c->min_size_steps * c->samples_per_insert;
    limiter->ratio = c->samples_per_insert;
    limiter->min_size_steps = c->min_size_steps;
    limiter->burst_steps = c->burst_steps;
    limiter->prefetch_steps = c->prefetch_steps;
    limiter->diff_max = middle + burst;
    limiter->diff_min = middle - (double)c->prefetch_steps;
    return HWM_OK;
}

void hwm_limiter_restore(hwm_limiter* limiter, uint64_t inserted, uint64_t sampled) {
    limiter->admitted = limiter->committed = inserted;
    limiter->sampled = sampled;
}

hwm_status hwm_limiter_change(hwm_limiter* limiter, const hwm_limiter_config* config,
                              hwm_error* err) {
    hwm_limiter fresh, old = *limiter;
    hwm_status status = hwm_limiter_init(&fresh, config, err);
    if (status != HWM_OK) {
        return status;
    }
    limiter->ratio = fresh.ratio;
    limiter->diff_min = fresh.diff_min;
    limiter->diff_max = fresh.diff_max;
    limiter->min_size_steps = fresh.min_size_steps;
    limiter->burst_steps = fresh.burst_steps;
    limiter->prefetch_steps = fresh.prefetch_steps;
    limiter->offset = 0;
    // a warm-up that still goes on leads to the middle by itself
    uint64_t warm = (uint64_t)(old.min_size_steps > fresh.min_size_steps ? old.min_size_steps
                                                                         : fresh.min_size_steps);
    if (fresh.ratio > 0 && old.committed >= warm) {
        double before =
            old.ratio > 0 ? hwm_limiter_diff(&old) - (double)old.min_size_steps * old.ratio : 0;
        double middle = (double)fresh.min_size_steps * fresh.ratio;
        limiter->offset = middle + before - hwm_limiter_diff(limiter);
    }
    return HWM_OK;
}

bool hwm_limiter_can_insert(const hwm_limiter* limiter, uint64_t steps) {
    uint64_t after = limiter->admitted + steps;
    return limiter->ratio == 0 || after <= (uint64_t)limiter->min_size_steps ||
           (double)after * limiter->ratio - (double)limiter->sampled + limiter->offset <=
               limiter->diff_max;
}

void hwm_limiter_insert(hwm_limiter* limiter, uint64_t steps) {
    limiter->admitted += steps;
}

void hwm_limiter_insert_done(hwm_limiter* limiter, uint64_t steps) {
    limiter->committed += steps;
    HWM_ASSERT(limiter->committed <= limiter->admitted);
}

void hwm_limiter_insert_undone(hwm_limiter* limiter, uint64_t steps) {
    HWM_ASSERT(limiter->admitted >= limiter->committed + steps);
    limiter->admitted -= steps;
}

bool hwm_limiter_can_sample(const hwm_limiter* limiter, uint64_t stored, uint64_t steps,
                            bool uncounted) {
    if (limiter->closed) {
        return stored > 0;
    }
    if (stored < (uint64_t)limiter->min_size_steps || stored == 0) {
        return false;
    }
    return uncounted || limiter->ratio == 0 ||
           (double)limiter->committed * limiter->ratio - (double)(limiter->sampled + steps) +
                   limiter->offset >=
               limiter->diff_min;
}

void hwm_limiter_sample(hwm_limiter* limiter, uint64_t steps) {
    limiter->sampled += steps;
}

void hwm_limiter_sample_undone(hwm_limiter* limiter, uint64_t steps) {
    HWM_ASSERT(limiter->sampled >= steps);
    limiter->sampled -= steps;
}

double hwm_limiter_diff(const hwm_limiter* limiter) {
    return (double)limiter->committed * limiter->ratio - (double)limiter->sampled + limiter->offset;
}
