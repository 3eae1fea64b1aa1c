// Named tensor: sizes, equality and text of a spec.
#include "record/tensor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

size_t hwm_dtype_bytes(hwm_dtype dtype) {
    switch (dtype) {
    case HWM_U8:
        return 1;
    case HWM_I32:
    case HWM_F32:
        return 4;
    case HWM_I64:
    case HWM_F64_T:
        return 8;
    }
    return 0;
}

static const char* dtype_name(hwm_dtype dtype) {
    switch (dtype) {
    case HWM_U8:
        return "u8";
    case HWM_I32:
        return "i32";
    case HWM_F32:
        return "f32";
    case HWM_I64:
        return "i64";
    case HWM_F64_T:
        return "f64";
    }
    return "unknown type";
}

size_t hwm_tensor_count(const hwm_tensor_spec* spec) {
    size_t count = 1;
    for (int k = 0; k < spec->ndim; k++) {
        count *= spec->shape[k];
    }
    return count;
}

size_t hwm_tensor_bytes(const hwm_tensor_spec* spec) {
    return hwm_tensor_count(spec) * hwm_dtype_bytes(spec->dtype);
}

bool hwm_tensor_spec_equal(const hwm_tensor_spec* a, const hwm_tensor_spec* b) {
    if (strncmp(a->name, b->name, HWM_NAME_MAX) != 0 || a->dtype != b->dtype ||
        a->ndim != b->ndim || a->codec != b->codec) {
        return false;
    }
    for (int k = 0; k < a->ndim; k++) {
        if (a->shape[k] != b->shape[k]) {
            return false;
        }
    }
    return true;
}

char* hwm_tensor_spec_text(const hwm_tensor_spec* spec, char* text, size_t size) {
    int used =
        snprintf(text, size, "%.*s %s (", HWM_NAME_MAX - 1, spec->name, dtype_name(spec->dtype));
    for (int k = 0; k < spec->ndim && used >= 0 && (size_t)used < size; k++) {
        used += snprintf(text + used, size - (size_t)used, k ? ",%u" : "%u", spec->shape[k]);
    }
    if (used >= 0 && (size_t)used < size) {
        snprintf(text + used, size - (size_t)used, spec->codec == HWM_CODEC_ZSTD ? ") zstd" : ")");
    }
    return text;
}

hwm_tensor_spec hwm_spec(const char* name, hwm_dtype dtype, int ndim, ...) {
    hwm_tensor_spec spec;
    memset(&spec, 0, sizeof spec);
    HWM_ASSERT(strlen(name) < HWM_NAME_MAX);
    HWM_ASSERT(ndim >= 0 && ndim <= HWM_NDIM_MAX);
    snprintf(spec.name, sizeof spec.name, "%s", name);
    spec.dtype = dtype;
    spec.ndim = ndim;
    va_list shape;
    va_start(shape, ndim);
    for (int k = 0; k < ndim; k++) {
        spec.shape[k] = (uint32_t)va_arg(shape, int);
    }
    va_end(shape);
    return spec;
}
