// data path  [3] chunk
//
// Signatures: what a table's chunks hold, checked and compared so that a difference is named.
#include "record/chunk.h"

#include <stdio.h>
#include <string.h>

// Bounds that keep every size within 32 bits, whatever a peer sends.
enum { TENSOR_BYTES_MAX = 1 << 28 };

static const char* const standard_name[] = {"flags", "reward", "obs", "action", "act"};
static const hwm_dtype standard_dtype[] = {HWM_U8, HWM_F32, HWM_F32, HWM_F32, HWM_F32};
static const int standard_ndim[] = {0, 0, 1, 1, 1};
enum { N_STANDARD = 5 };

static hwm_status compare_lists(const char* kind, const hwm_tensor_spec* want, int n_want,
                                const hwm_tensor_spec* have, int n_have, hwm_error* err) {
    char a[128], b[128];
    int common = n_want < n_have ? n_want : n_have;
    for (int k = 0; k < common; k++) {
        if (!hwm_tensor_spec_equal(&want[k], &have[k])) {
            return hwm_fail(err, HWM_ESIGNATURE, "%s %d: the table has %s, this is %s", kind, k,
                            hwm_tensor_spec_text(&want[k], a, sizeof a),
                            hwm_tensor_spec_text(&have[k], b, sizeof b));
        }
    }
    if (n_want > common) {
        return hwm_fail(err, HWM_ESIGNATURE, "%s %d: the table has %s, which is missing here", kind,
                        common, hwm_tensor_spec_text(&want[common], a, sizeof a));
    }
    if (n_have > common) {
        return hwm_fail(err, HWM_ESIGNATURE, "%s %d: %s is not in the table", kind, common,
                        hwm_tensor_spec_text(&have[common], a, sizeof a));
    }
    return HWM_OK;
}

hwm_status hwm_signature_compare(const hwm_signature* want, const hwm_signature* have,
                                 hwm_error* err) {
    hwm_status s =
        compare_lists("column", want->column, want->n_columns, have->column, have->n_columns, err);
    return s ? s : compare_lists("key", want->key, want->n_keys, have->key, have->n_keys, err);
}

static hwm_status check_spec(const char* kind, const hwm_tensor_spec* list, int k, hwm_error* err) {
    const hwm_tensor_spec* spec = &list[k];
    size_t length = strnlen(spec->name, HWM_NAME_MAX);
    if (length == 0 || length == HWM_NAME_MAX) {
        return hwm_fail(err, HWM_ESIGNATURE, "%s %d has no name or one of more than %d bytes", kind,
                        k, HWM_NAME_MAX - 1);
    }
    if (hwm_dtype_bytes(spec->dtype) == 0) {
        return hwm_fail(err, HWM_ESIGNATURE, "%s %d (%s): unknown type %d", kind, k, spec->name,
                        (int)spec->dtype);
    }
    if (spec->ndim < 0 || spec->ndim > HWM_NDIM_MAX) {
        return hwm_fail(err, HWM_ESIGNATURE, "%s %d (%s): %d dimensions, at most %d", kind, k,
                        spec->name, spec->ndim, HWM_NDIM_MAX);
    }
    uint64_t bytes = hwm_dtype_bytes(spec->dtype);
    for (int d = 0; d < spec->ndim; d++) {
        bytes *= spec->shape[d];
        if (bytes == 0 || bytes > TENSOR_BYTES_MAX) {
            return hwm_fail(err, HWM_ESIGNATURE, "%s %d (%s): %s bytes a step (limit %d)", kind, k,
                            spec->name, bytes == 0 ? "0" : "too many", TENSOR_BYTES_MAX);
        }
    }
    if (spec->codec != HWM_CODEC_RAW &&
        (spec->codec != HWM_CODEC_ZSTD || strcmp(kind, "column") != 0 || k < HWM_COLUMN_OBS)) {
        return hwm_fail(err, HWM_ESIGNATURE, "%s %d (%s): codec %d is not possible there", kind, k,
                        spec->name, (int)spec->codec);
    }
    for (int j = 0; j < k; j++) {
        if (strcmp(list[j].name, spec->name) == 0) {
            return hwm_fail(err, HWM_ESIGNATURE, "%s %d and %d are both called %s", kind, j, k,
                            spec->name);
        }
    }
    return HWM_OK;
}

hwm_status hwm_signature_check(const hwm_signature* signature, hwm_error* err) {
    if (signature->n_columns < N_STANDARD || signature->n_columns > HWM_COLUMNS_MAX) {
        return hwm_fail(err, HWM_ESIGNATURE, "%d columns, allowed are %d to %d",
                        signature->n_columns, N_STANDARD, HWM_COLUMNS_MAX);
    }
    if (signature->n_keys < 0 || signature->n_keys > HWM_KEYS_MAX) {
        return hwm_fail(err, HWM_ESIGNATURE, "%d key tensors, allowed are 0 to %d",
                        signature->n_keys, HWM_KEYS_MAX);
    }
    for (int k = 0; k < signature->n_columns; k++) {
        hwm_status s = check_spec("column", signature->column, k, err);
        if (s) {
            return s;
        }
    }
    for (int k = 0; k < signature->n_keys; k++) {
        hwm_status s = check_spec("key", signature->key, k, err);
        if (s) {
            return s;
        }
    }
    for (int k = 0; k < N_STANDARD; k++) {
        const hwm_tensor_spec* spec = &signature->column[k];
        if (strcmp(spec->name, standard_name[k]) != 0 || spec->dtype != standard_dtype[k] ||
            spec->ndim != standard_ndim[k]) {
            char text[128];
            return hwm_fail(err, HWM_ESIGNATURE, "column %d must be %s of %d dimension%s, it is %s",
                            k, standard_name[k], standard_ndim[k], standard_ndim[k] == 1 ? "" : "s",
                            hwm_tensor_spec_text(spec, text, sizeof text));
        }
    }
    return HWM_OK;
}

static int find(const hwm_tensor_spec* list, int n, const char* name) {
    for (int k = 0; k < n; k++) {
        if (strcmp(list[k].name, name) == 0) {
            return k;
        }
    }
    return -1;
}

void hwm_signature_compress(hwm_signature* signature, hwm_compress mode) {
    enum { WORTH_BYTES = 256 };  // of a step: below, a frame of its own gains nothing
    for (int k = HWM_COLUMN_OBS; k < signature->n_columns; k++) {
        hwm_tensor_spec* spec = &signature->column[k];
        bool wanted =
            mode == HWM_COMPRESS_ALL || (mode == HWM_COMPRESS_PIXELS && spec->dtype == HWM_U8);
        spec->codec =
            wanted && hwm_tensor_bytes(spec) >= WORTH_BYTES ? HWM_CODEC_ZSTD : HWM_CODEC_RAW;
    }
}

int hwm_signature_column(const hwm_signature* signature, const char* name) {
    return find(signature->column, signature->n_columns, name);
}

int hwm_signature_key(const hwm_signature* signature, const char* name) {
    return find(signature->key, signature->n_keys, name);
}

static size_t total_bytes(const hwm_tensor_spec* list, int n) {
    size_t bytes = 0;
    for (int k = 0; k < n; k++) {
        bytes += hwm_tensor_bytes(&list[k]);
    }
    return bytes;
}

size_t hwm_signature_step_bytes(const hwm_signature* signature) {
    return total_bytes(signature->column, signature->n_columns);
}

size_t hwm_signature_key_bytes(const hwm_signature* signature) {
    return total_bytes(signature->key, signature->n_keys);
}
