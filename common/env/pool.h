// Threads that share one loop over environments: the range is cut into equal parts, the caller
// works on the first one. Private to common/env.
#ifndef HWM_ENV_POOL_H
#define HWM_ENV_POOL_H

#include "base/status.h"

typedef struct env_pool env_pool;
typedef void (*env_pool_work)(void* context, int begin, int end);

// threads - 1 threads are started; threads == 1 starts none.
hwm_status env_pool_create(env_pool** out, int threads, hwm_error* err);
void env_pool_destroy(env_pool** pool);
// work(context, begin, end) over parts of 0 .. count-1, in parallel; returns when all are done.
void env_pool_run(env_pool* pool, int count, env_pool_work work, void* context);

#endif
