// Inside the library: the table of vector-math functions of one instruction set.
#ifndef HWM_NN_VMATH_KERNEL_H
#define HWM_NN_VMATH_KERNEL_H

#include <stddef.h>

#include "nn/cpu.h"

typedef void (*nn_vmath_fn)(size_t n, const float* x, float* y);
typedef struct nn_vmath_table {
    nn_vmath_fn exp, expm1, log, log1p, tanh, sigmoid, silu, elu, softplus;
} nn_vmath_table;
extern const nn_vmath_table nn_vmath_base, nn_vmath_avx512;
void nn_vmath_select(nn_cpu_level level);

#endif
