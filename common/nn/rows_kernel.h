// Inside the library: the table of row kernels of one instruction set.
#ifndef HWM_NN_ROWS_KERNEL_H
#define HWM_NN_ROWS_KERNEL_H

#include <stdbool.h>

#include "base/real.h"
#include "nn/cpu.h"

typedef struct nn_rows_table {
    void (*rms_forward)(hwm_real*, hwm_real*, const hwm_real*, const hwm_real*, hwm_real, int, int,
                        int);
    void (*rms_backward)(hwm_real*, hwm_real*, const hwm_real*, const hwm_real*, const hwm_real*,
                         const hwm_real*, int, hwm_real*, int, int);
    void (*gru_forward)(hwm_real*, int, hwm_real*, int, const hwm_real*, int, const hwm_real*, int,
                        int, int);
    void (*gru_backward)(hwm_real*, hwm_real*, const hwm_real*, const hwm_real*, const hwm_real*,
                         const hwm_real*, int, int, int);
    void (*softmax_forward)(hwm_real*, const hwm_real*, hwm_real, int, int);
    void (*softmax_backward)(hwm_real*, const hwm_real*, const hwm_real*, hwm_real, int, int);
    void (*draw)(int*, const hwm_real*, const hwm_real*, int, int);
    void (*hot_forward)(hwm_real*, int, const hwm_real*, const hwm_real*, bool, const int*, int,
                        int, int, int);
    void (*hot_backward)(hwm_real*, const hwm_real*, int, const int*, int, int, int, int);
    void (*elu_scale)(hwm_real*, const hwm_real*, int);
    void (*tanh_scale)(hwm_real*, const hwm_real*, int);
    void (*sigmoid_scale)(hwm_real*, const hwm_real*, int);
    void (*accumulate)(hwm_real*, const hwm_real*, int);
    void (*sum_rows)(hwm_real*, const hwm_real*, int, int);
} nn_rows_table;
extern const nn_rows_table nn_rows_base, nn_rows_avx512;
void nn_rows_select(nn_cpu_level level);

#endif
