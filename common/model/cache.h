// Latent cache: what a recurrent world model knew after a replayed row, as the newest update that
// read the row computed it, so that later sequences need not begin from nothing. Bounded in bytes;
// the entry that was added first leaves first. Not part of a checkpoint: it fills again by itself.
#ifndef HWM_MODEL_CACHE_H
#define HWM_MODEL_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hwm_latent_key {
    uint64_t stream, step;  // as in hwm_sequences
} hwm_latent_key;

typedef struct hwm_latent_cache hwm_latent_cache;
// width: floats per entry. bytes: of everything it allocates; less than one entry: HWM_EINVAL.
// Caller owns, free with hwm_latent_cache_destroy. HWM_ENOMEM.
hwm_status hwm_latent_cache_create(hwm_latent_cache** out, size_t bytes, int width, hwm_error* err);
void hwm_latent_cache_destroy(hwm_latent_cache** cache);
// Room for the numbers (width) of a row, new or known already; to be filled by the caller before
// the next call.
float* hwm_latent_cache_put(hwm_latent_cache* cache, hwm_latent_key key);
// NULL: not there. Borrowed until the next put.
const float* hwm_latent_cache_get(const hwm_latent_cache* cache, hwm_latent_key key);
void hwm_latent_cache_clear(hwm_latent_cache* cache);
size_t hwm_latent_cache_entries(const hwm_latent_cache* cache);   // now
size_t hwm_latent_cache_capacity(const hwm_latent_cache* cache);  // at most

#endif
