// Named tensor: the unit of everything that is stored, sent or checkpointed.
#ifndef HWM_RECORD_TENSOR_H
#define HWM_RECORD_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum hwm_dtype { HWM_U8 = 1, HWM_I32, HWM_I64, HWM_F32, HWM_F64_T } hwm_dtype;
// How the values of one step travel and lie in the store: as they are, or each step a zstd frame of
// its own (net/packed.h), so that any slice can be sent without touching the rest.
typedef enum hwm_codec { HWM_CODEC_RAW, HWM_CODEC_ZSTD } hwm_codec;
enum { HWM_NAME_MAX = 48, HWM_NDIM_MAX = 4 };

typedef struct hwm_tensor_spec {
    char name[HWM_NAME_MAX];
    hwm_dtype dtype;
    int ndim;                      // 0: a scalar
    uint32_t shape[HWM_NDIM_MAX];  // row-major
    hwm_codec codec;
} hwm_tensor_spec;

size_t hwm_dtype_bytes(hwm_dtype dtype);  // 0 for an unknown type
size_t hwm_tensor_count(const hwm_tensor_spec* spec);
size_t hwm_tensor_bytes(const hwm_tensor_spec* spec);
bool hwm_tensor_spec_equal(const hwm_tensor_spec* a, const hwm_tensor_spec* b);
// "obs f32 (4)" or "pixels u8 (84,84,3) zstd" into text; returns text.
char* hwm_tensor_spec_text(const hwm_tensor_spec* spec, char* text, size_t size);

// Build a spec: hwm_spec("W0", HWM_F32, 2, 16, 4)
hwm_tensor_spec hwm_spec(const char* name, hwm_dtype dtype, int ndim, ...);

#endif
