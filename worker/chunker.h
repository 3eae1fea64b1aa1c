// data path  [3] chunk
//
// Chunk writer: gathers the rows of every environment of a rollout into chunks of their stream.
//
// A chunk ends with its episode, where the stream's step number reaches a multiple of chunk_steps,
// or when it is cut. The multiples fall together for all environments of a worker, so that new
// parameters can take over there for all at once.
#ifndef HWM_WORKER_CHUNKER_H
#define HWM_WORKER_CHUNKER_H

#include "plastic/rollout.h"

typedef struct hwm_chunker hwm_chunker;

hwm_status hwm_chunker_create(hwm_chunker** out, const hwm_signature* signature,
                              const hwm_controller* controller, int environments,
                              uint32_t first_env, uint32_t incarnation, int chunk_steps,
                              hwm_error* err);
void hwm_chunker_destroy(hwm_chunker** chunker);
const hwm_signature* hwm_chunker_signature(const hwm_chunker* chunker);

// Take the current row of environment i, between think and step; the first row of a chunk brings
// the key frame. param acts. Returns true when the chunk is complete: send it, then release it.
bool hwm_chunker_record(hwm_chunker* chunker, const hwm_rollout* r, int i,
                        const hwm_param_ref* param);
// The chunk of environment i as it stands, borrowed until release. Returns false when it is empty.
bool hwm_chunker_peek(hwm_chunker* chunker, int i, hwm_chunk* chunk);
void hwm_chunker_release(hwm_chunker* chunker, int i);
// When the oldest row that waits was recorded (hwm_clock_ns); 0: nothing waits.
int64_t hwm_chunker_since_ns(const hwm_chunker* chunker, int i);
// No environment holds an unfinished chunk: the moment for new parameters.
bool hwm_chunker_empty(const hwm_chunker* chunker);

#endif
