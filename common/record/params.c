// Parameter set: the list that names and places the tensors of one flat block.
#include "record/params.h"

#include <string.h>

#include "base/crc.h"

void hwm_param_list_init(hwm_param_list* list) {
    memset(list, 0, sizeof *list);
}

int hwm_param_list_add(hwm_param_list* list, hwm_tensor_spec spec) {
    HWM_ASSERT(list->n < HWM_PARAMS_MAX);
    HWM_ASSERT(spec.dtype == HWM_F32);
    HWM_ASSERT(hwm_param_list_find(list, spec.name) < 0);
    hwm_param_entry* entry = &list->entry[list->n];
    entry->spec = spec;
    entry->offset = list->count;
    list->count += hwm_tensor_count(&spec);
    return list->n++;
}

int hwm_param_list_find(const hwm_param_list* list, const char* name) {
    for (int k = 0; k < list->n; k++) {
        if (strcmp(list->entry[k].spec.name, name) == 0) {
            return k;
        }
    }
    return -1;
}

uint32_t hwm_params_crc(const hwm_param_list* list, const float* values) {
    uint32_t crc = 0;
    for (int k = 0; k < list->n; k++) {
        const hwm_tensor_spec* spec = &list->entry[k].spec;
        crc = hwm_crc32c(crc, spec->name, strlen(spec->name) + 1);
        crc = hwm_crc32c(crc, &spec->ndim, sizeof spec->ndim);
        crc = hwm_crc32c(crc, spec->shape, sizeof spec->shape[0] * (size_t)spec->ndim);
    }
    return hwm_crc32c(crc, values, list->count * sizeof *values);
}
