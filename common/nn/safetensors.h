// Parameter sets as safetensors files, which Python's `safetensors` reads and writes:
//   uint64 little-endian n | n bytes of JSON {"name": {"dtype","shape","data_offsets"}, ...,
//   "__metadata__": {"key": "text"}} | data
// Writing is atomic: a temporary name in the same directory, fsync, rename, fsync of the directory.
#ifndef HWM_NN_SAFETENSORS_H
#define HWM_NN_SAFETENSORS_H

#include "record/params.h"

enum { NN_META_MAX = 16, NN_META_TEXT_MAX = 256 };
typedef struct nn_meta {
    char key[HWM_NAME_MAX];
    char text[NN_META_TEXT_MAX];
} nn_meta;

// values (list->count) float32 in the order of the list. HWM_EINVAL, HWM_ENOMEM, HWM_EFULL (no
// space), HWM_EIO; on failure the file of that name is what it was before.
hwm_status nn_safetensors_write(const char* path, const hwm_param_list* list, const float* values,
                                const nn_meta* meta, int n_meta, hwm_error* err);
// Reads the tensors of the list, in any order in the file. HWM_ENOTFOUND (no file, or a tensor is
// missing), HWM_ESIGNATURE (dtype or shape differs, or the file has a tensor that the list does not
// know), HWM_ECORRUPT, HWM_EIO. values untouched on failure.
hwm_status nn_safetensors_read(const char* path, const hwm_param_list* list, float* values,
                               hwm_error* err);
// What a file holds: its float32 tensors in order of their offsets, and its metadata (meta may be
// NULL; n_meta in: room, out: found).
hwm_status nn_safetensors_list(const char* path, hwm_param_list* list, nn_meta* meta, int* n_meta,
                               hwm_error* err);

#endif
