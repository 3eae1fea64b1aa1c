// data path  [7] sampler
#include "server/batch_block.h"

#include <stdlib.h>
#include <string.h>

void hwm_batch_block_destroy(hwm_batch_block** block) {
    if (*block != NULL) {
        free((*block)->block);
        free((*block)->packed);
        free(*block);
        *block = NULL;
    }
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

static bool stands_in_block(const hwm_sample_request* r, const hwm_signature* g, int c) {
    return (r->columns == 0 || (r->columns >> c & 1)) && g->column[c].codec == HWM_CODEC_RAW;
}

hwm_status hwm_batch_block_layout(hwm_batch_block* out, const hwm_table_config* table,
                                  const hwm_sample_request* request, uint32_t rows,
                                  size_t n_segments, hwm_error* err) {
    const hwm_sample_request* r = request;
    const hwm_signature* g = &table->signature;
    size_t n = (size_t)r->batch, bytes = 0;
    size_t at_row = bytes;
    bytes += aligned((n + 1) * sizeof(uint32_t));
    size_t at_prefix = bytes;
    bytes += aligned(n * sizeof(uint32_t));
    size_t at_segment = bytes;
    bytes += aligned(n_segments * sizeof(hwm_segment));
    size_t at_stream = bytes;
    bytes += aligned(n * sizeof(hwm_stream));
    size_t at_step = bytes;
    bytes += aligned(n * sizeof(uint64_t));
    size_t at_episode = bytes;
    bytes += aligned(n * sizeof(uint32_t));
    size_t at_probability = bytes;
    bytes += aligned(n * sizeof(double));
    size_t at_age = bytes;
    bytes += aligned(n * sizeof(int64_t));
    size_t at_column[HWM_COLUMNS_MAX], at_key[HWM_KEYS_MAX] = {0};
    for (int c = 0; c < g->n_columns; c++) {
        at_column[c] = bytes;
        if (stands_in_block(r, g, c)) {
            bytes += aligned(rows * hwm_tensor_bytes(&g->column[c]));
        }
    }
    for (int k = 0; k < g->n_keys; k++) {
        at_key[k] = bytes;
        bytes += r->materialise ? aligned(n * hwm_tensor_bytes(&g->key[k])) : 0;
    }
    if (bytes > out->capacity) {
        free(out->block);
        out->capacity = 0;
        out->block = aligned_alloc(64, bytes);
        if (out->block == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for a sample of %zu bytes", bytes);
        }
        out->capacity = bytes;
    }
    out->bytes = bytes;
    hwm_batch* b = &out->batch;
    memset(b, 0, sizeof *b);
    b->batch = r->batch;
    b->length = r->length;
    b->context = r->context;
    b->row = (uint32_t*)(out->block + at_row);
    b->prefix = (uint32_t*)(out->block + at_prefix);
    b->n_segments = (int)n_segments;
    b->segment = (hwm_segment*)(out->block + at_segment);
    b->stream = (hwm_stream*)(out->block + at_stream);
    b->step = (uint64_t*)(out->block + at_step);
    b->episode = (uint32_t*)(out->block + at_episode);
    b->probability = (double*)(out->block + at_probability);
    b->age_steps = (int64_t*)(out->block + at_age);
    for (int c = 0; c < g->n_columns; c++) {
        if (stands_in_block(r, g, c)) {
            b->column[c] = out->block + at_column[c];
        }
    }
    for (int k = 0; k < g->n_keys && r->materialise; k++) {
        b->key[k] = out->block + at_key[k];
    }
    return HWM_OK;
}

hwm_status hwm_batch_block_packed(hwm_batch_block* out, size_t bytes, hwm_error* err) {
    if (bytes > out->packed_capacity) {
        uint8_t* grown = realloc(out->packed, bytes);
        if (grown == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for a sample of %zu bytes", bytes);
        }
        out->packed = grown;
        out->packed_capacity = bytes;
    }
    return HWM_OK;
}
