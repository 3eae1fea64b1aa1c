// data path  [7] sampler
//
// Draws sequences and copies exactly their rows out of the map into one block per batch.
//
// SPEED  Everything about a sequence is found in memory (index.h): one tree descent, one entry, one
// list of offsets. Rows are
//   then copied straight from the map with the lines of later sequences prefetched, without
//   descending LMDB, without looking at other rows of the chunk, and without any encoding.
// DRAWS  Number j of sequence i is Philox(seed of the table; draw, i, j): what a request draws
// depends on the table's content
//   and on the request alone, so ranks of a learner, restarts and repetitions agree. Shares
//   (fraction_*) are spread evenly over the batch by the golden-ratio sequence, so any slice of the
//   batch holds its part of them.
#ifndef HWM_SERVER_SAMPLER_H
#define HWM_SERVER_SAMPLER_H

#include "server/batch_block.h"
#include "server/index.h"

typedef struct hwm_sampler hwm_sampler;  // one per thread: scratch and a view of the store

hwm_status hwm_sampler_create(hwm_sampler** out, hwm_store* store, hwm_error* err);
void hwm_sampler_destroy(hwm_sampler** sampler);

// What no table can answer: HWM_EINVAL with the offending value.
hwm_status hwm_sample_check(const hwm_table_config* table, const hwm_sample_request* request,
                            hwm_error* err);
// HWM_EAGAIN: no sequence of that length is stored yet. HWM_ECORRUPT: a chunk fails its checksum.
hwm_status hwm_sampler_draw(hwm_sampler* sampler, hwm_index* index, const hwm_table_config* table,
                            const hwm_sample_request* request, hwm_batch_block* out,
                            hwm_error* err);
// After HWM_ECORRUPT: which chunk.
uint64_t hwm_sampler_damaged(const hwm_sampler* sampler);

#endif
