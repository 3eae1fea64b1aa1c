// Section "worker": how workers step their environments and explore.
#ifndef HWM_EXPERIMENT_WORKER_CONFIG_H
#define HWM_EXPERIMENT_WORKER_CONFIG_H

#include "base/config.h"

// What acts while no trained parameters exist, that is with version 1 of the set "controller".
typedef enum hwm_prefill {
    HWM_PREFILL_CONTROLLER,  // the untrained controller, with exploration
    HWM_PREFILL_NOISE,       // the untrained controller, its action + correlated noise
    HWM_PREFILL_NAIVE,       // the naive rule that rule.naive names, with exploration
} hwm_prefill;

typedef enum hwm_apply { HWM_APPLY_CHUNK, HWM_APPLY_EPISODE } hwm_apply;

typedef struct hwm_worker_config {
    int64_t environments;  // per worker, unless its command line says otherwise
    int64_t threads;
    int64_t chunk_steps;
    int64_t
        window_chunks;  // per environment, sent and not yet acknowledged; then it stops stepping
    int64_t flush_ms;   // a chunk is sent after so long even when it is not full; 0: only when full
    int apply;          // hwm_apply: where newer parameters take over
    // exploration, also used in imagination: continuous u = clip(a + std n), sign p(+1) = (1 + a (1
    // - eps)) / 2
    double explore_std;
    double explore_eps;
    int prefill;  // hwm_prefill
    double prefill_noise_std;
    double explore_correlation;  // of the prefill noise: n_t = c n_{t-1} + sqrt(1 - c^2) n
    int64_t burn_in_steps;       // zero actions at an episode's start
} hwm_worker_config;
extern const hwm_config_table hwm_worker_table;

#endif
