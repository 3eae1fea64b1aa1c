// exchange_tensors write FILE          three tensors with known values and metadata
// exchange_tensors read FILE           the same list from a file that somebody else wrote
#include <stdio.h>
#include <string.h>

#include "nn/safetensors.h"

// value i of all is i / 8 - 3: exact in float32
static float known(size_t i) {
    return (float)i / 8.0f - 3.0f;
}

int main(int argc, char** argv) {
    if (argc != 3)
        return 2;
    static hwm_param_list list;
    static float values[64];
    hwm_param_list_init(&list);
    hwm_param_list_add(&list, hwm_spec("encoder/0/weight", HWM_F32, 2, 3, 5));
    hwm_param_list_add(&list, hwm_spec("bias", HWM_F32, 1, 7));
    hwm_param_list_add(&list, hwm_spec("rule.a", HWM_F32, 3, 2, 2, 2));
    hwm_error err = {0};
    hwm_status status = HWM_EINVAL;
    if (strcmp(argv[1], "write") == 0) {
        const nn_meta meta[] = {{"experiment", "cart \"pole\""}, {"version", "12"}};
        for (size_t i = 0; i < list.count; i++)
            values[i] = known(i);
        status = nn_safetensors_write(argv[2], &list, values, meta, 2, &err);
    } else if (strcmp(argv[1], "read") == 0) {
        status = nn_safetensors_read(argv[2], &list, values, &err);
        for (size_t i = 0; status == HWM_OK && i < list.count; i++)
            if (values[i] != known(i))
                status = hwm_fail(&err, HWM_ECORRUPT, "value %zu is %g", i, (double)values[i]);
    }
    if (status != HWM_OK)
        fprintf(stderr, "%s: %s\n", hwm_status_name(status), err.text);
    return status == HWM_OK ? 0 : 1;
}
