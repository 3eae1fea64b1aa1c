// Parameter set: a list of named tensors on one flat float32 block, so that optimiser, checksum,
// checkpoint and broadcast are one loop each. One list per network gives sizes, pointers,
// checkpoint names and wire order.
#ifndef HWM_RECORD_PARAMS_H
#define HWM_RECORD_PARAMS_H

#include "record/tensor.h"

typedef struct hwm_param_entry {
    hwm_tensor_spec spec;  // HWM_F32
    size_t offset;         // in floats, into the flat block
} hwm_param_entry;

enum { HWM_PARAMS_MAX = 256 };
typedef struct hwm_param_list {
    int n;
    size_t count;  // floats in all
    hwm_param_entry entry[HWM_PARAMS_MAX];
} hwm_param_list;

void hwm_param_list_init(hwm_param_list* list);
// Append a tensor; returns its index. Asserts on overflow or a name that is taken.
int hwm_param_list_add(hwm_param_list* list, hwm_tensor_spec spec);
int hwm_param_list_find(const hwm_param_list* list, const char* name);  // -1 if none
// CRC-32C over names, shapes and values: what publish, fetch and checkpoints compare.
uint32_t hwm_params_crc(const hwm_param_list* list, const float* values);

#endif
