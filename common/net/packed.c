// data path  [4] wire
#include "net/packed.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

// The fastest level: a worker packs between two steps of its environments.
enum { LEVEL = 1 };

struct hwm_packer {
    ZSTD_CCtx* in;
    ZSTD_DCtx* out;
    uint8_t* column;  // packed ones, one after the other
    size_t column_bytes;
    uint8_t* row;  // split by place
    size_t row_bytes;
};

hwm_status hwm_packer_create(hwm_packer** out, hwm_error* err) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL || ((*out)->in = ZSTD_createCCtx()) == NULL ||
        ((*out)->out = ZSTD_createDCtx()) == NULL) {
        hwm_packer_destroy(out);
        return hwm_fail(err, HWM_ENOMEM, "no memory to compress columns");
    }
    return HWM_OK;
}

void hwm_packer_destroy(hwm_packer** packer) {
    hwm_packer* p = *packer;
    if (p == NULL) {
        return;
    }
    ZSTD_freeCCtx(p->in);
    ZSTD_freeDCtx(p->out);
    free(p->column);
    free(p->row);
    free(p);
    *packer = NULL;
}

bool hwm_signature_packs(const hwm_signature* signature) {
    for (int c = 0; c < signature->n_columns; c++) {
        if (signature->column[c].codec != HWM_CODEC_RAW) {
            return true;
        }
    }
    return false;
}

size_t hwm_chunk_column_bytes(const hwm_signature* signature, const hwm_chunk* chunk, int c) {
    return chunk->packed_bytes[c] > 0 ? chunk->packed_bytes[c]
                                      : chunk->steps * hwm_tensor_bytes(&signature->column[c]);
}

static bool room(uint8_t** buffer, size_t* have, size_t want) {
    if (want > *have) {
        uint8_t* grown = realloc(*buffer, want);
        if (grown == NULL) {
            return false;
        }
        *buffer = grown;
        *have = want;
    }
    return true;
}

// (count, width) bytes to (width, count).
static void split(const uint8_t* values, size_t count, size_t width, uint8_t* out) {
    for (size_t i = 0; i < count; i++) {
        for (size_t b = 0; b < width; b++) {
            out[b * count + i] = values[i * width + b];
        }
    }
}

static void join(const uint8_t* split, size_t count, size_t width, uint8_t* values) {
    for (size_t i = 0; i < count; i++) {
        for (size_t b = 0; b < width; b++) {
            values[i * width + b] = split[b * count + i];
        }
    }
}

hwm_status hwm_packer_pack(hwm_packer* packer, const hwm_signature* signature,
                           const hwm_chunk* chunk, hwm_chunk* packed, hwm_error* err) {
    *packed = *chunk;
    size_t need = 0, row_need = 0;
    for (int c = 0; c < signature->n_columns; c++) {
        size_t row_bytes = hwm_tensor_bytes(&signature->column[c]);
        if (signature->column[c].codec == HWM_CODEC_ZSTD && chunk->packed_bytes[c] == 0) {
            need += chunk->steps * (4 + ZSTD_compressBound(row_bytes));
            row_need = row_bytes > row_need ? row_bytes : row_need;
        }
    }
    if (need > UINT32_MAX) {
        return hwm_fail(err, HWM_EINVAL,
                        "a chunk of %u steps with up to %zu packed bytes: send fewer steps",
                        chunk->steps, need);
    }
    if (!room(&packer->column, &packer->column_bytes, need) ||
        !room(&packer->row, &packer->row_bytes, row_need)) {
        return hwm_fail(err, HWM_ENOMEM, "no memory to compress a chunk of %u steps", chunk->steps);
    }
    uint8_t* at = packer->column;
    for (int c = 0; c < signature->n_columns; c++) {
        const hwm_tensor_spec* spec = &signature->column[c];
        if (spec->codec != HWM_CODEC_ZSTD || chunk->packed_bytes[c] > 0) {
            continue;
        }
        size_t row_bytes = hwm_tensor_bytes(spec), width = hwm_dtype_bytes(spec->dtype);
        uint8_t* frames = at + 4 * chunk->steps;
        uint32_t end = 0;
        packed->column[c] = at;
        for (uint32_t t = 0; t < chunk->steps; t++) {
            const uint8_t* row = (const uint8_t*)chunk->column[c] + t * row_bytes;
            if (width > 1) {
                split(row, row_bytes / width, width, packer->row);
                row = packer->row;
            }
            size_t n = ZSTD_compressCCtx(packer->in, frames + end, ZSTD_compressBound(row_bytes),
                                         row, row_bytes, LEVEL);
            if (ZSTD_isError(n)) {
                return hwm_fail(err, HWM_ENOMEM, "compressing column %s: %s", spec->name,
                                ZSTD_getErrorName(n));
            }
            end += (uint32_t)n;
            memcpy(at + 4 * t, &end, 4);
        }
        packed->packed_bytes[c] = 4 * chunk->steps + end;
        at = frames + end;
    }
    return HWM_OK;
}

// The frame of row t; false: the ends do not fit the column.
static bool frame_of(const uint8_t* column, size_t size, uint32_t rows, uint32_t t,
                     const uint8_t** frame, size_t* bytes) {
    uint32_t begin = 0, end;
    if (t > 0) {
        memcpy(&begin, column + 4 * (size_t)(t - 1), 4);
    }
    memcpy(&end, column + 4 * (size_t)t, 4);
    size_t frames = size - 4 * (size_t)rows;
    if (end < begin || end > frames || (t + 1 == rows && end != frames)) {
        return false;
    }
    *frame = column + 4 * (size_t)rows + begin;
    *bytes = end - begin;
    return true;
}

hwm_status hwm_packed_check(const hwm_tensor_spec* spec, uint32_t rows, const void* column,
                            size_t size, hwm_error* err) {
    if (size / 4 < rows) {
        return hwm_fail(err, HWM_EPROTO, "column %s: %zu bytes for %u packed rows", spec->name,
                        size, rows);
    }
    size_t row_bytes = hwm_tensor_bytes(spec);
    for (uint32_t t = 0; t < rows; t++) {
        const uint8_t* frame;
        size_t bytes;
        if (!frame_of(column, size, rows, t, &frame, &bytes)) {
            return hwm_fail(err, HWM_EPROTO,
                            "column %s: packed row %u of %u does not lie in its %zu bytes",
                            spec->name, t, rows, size);
        }
        if (ZSTD_getFrameContentSize(frame, bytes) != row_bytes) {
            return hwm_fail(err, HWM_EPROTO,
                            "column %s: packed row %u of %u is not a frame of %zu bytes",
                            spec->name, t, rows, row_bytes);
        }
    }
    return HWM_OK;
}

hwm_status hwm_packer_unpack(hwm_packer* packer, const hwm_tensor_spec* spec, uint32_t rows,
                             const void* column, size_t size, void* out, hwm_error* err) {
    hwm_status status = hwm_packed_check(spec, rows, column, size, err);
    size_t row_bytes = hwm_tensor_bytes(spec), width = hwm_dtype_bytes(spec->dtype);
    if (status == HWM_OK && !room(&packer->row, &packer->row_bytes, row_bytes)) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory to unpack column %s", spec->name);
    }
    for (uint32_t t = 0; t < rows && status == HWM_OK; t++) {
        const uint8_t* frame = NULL;
        size_t bytes = 0;
        frame_of(column, size, rows, t, &frame, &bytes);
        uint8_t* to = (uint8_t*)out + t * row_bytes;
        size_t n =
            ZSTD_decompressDCtx(packer->out, width > 1 ? packer->row : to, row_bytes, frame, bytes);
        if (n != row_bytes) {
            status = hwm_fail(err, HWM_ECORRUPT,
                              "column %s: packed row %u of %u does not unpack: %s", spec->name, t,
                              rows, ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is too short");
        } else if (width > 1) {
            join(packer->row, row_bytes / width, width, to);
        }
    }
    return status;
}
