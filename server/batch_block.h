// data path  [7] sampler
//
// A batch with the block that holds all its arrays; kept and reused, so a steady flow of samples
// allocates nothing.
#ifndef HWM_SERVER_BATCH_BLOCK_H
#define HWM_SERVER_BATCH_BLOCK_H

#include "net/client.h"

typedef struct hwm_batch_block {
    hwm_batch batch;  // first: hwm_batch* and hwm_batch_block* are the same address
    uint8_t* block;   // 64-byte aligned
    size_t bytes, capacity;
    uint8_t* packed;  // columns with a codec, whose size is known last
    size_t packed_capacity;
    struct hwm_batch_block* next;
} hwm_batch_block;

// Room for all arrays of a batch of `rows` rows, each on its own cache line; contents undefined.
// HWM_ENOMEM.
hwm_status hwm_batch_block_layout(hwm_batch_block* out, const hwm_table_config* table,
                                  const hwm_sample_request* request, uint32_t rows,
                                  size_t n_segments, hwm_error* err);
// Room for packed columns. HWM_ENOMEM.
hwm_status hwm_batch_block_packed(hwm_batch_block* out, size_t bytes, hwm_error* err);
void hwm_batch_block_destroy(hwm_batch_block** block);

#endif
