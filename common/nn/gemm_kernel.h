// Inside the library: the own small-matrix kernel and its dispatch.
#ifndef HWM_NN_GEMM_KERNEL_H
#define HWM_NN_GEMM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/cpu.h"

// c (m,n) = or += op(a) b: element (i,k) of op(a) lies at a[i * row + k * col]
typedef void (*nn_gemm_small_fn)(int m, int n, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                                 const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc,
                                 const float* bias, bool add);
void nn_gemm_small_base(int m, int n, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                        const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc, const float* bias,
                        bool add);
void nn_gemm_small_avx512(int m, int n, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                          const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc, const float* bias,
                          bool add);
void nn_gemm_select(nn_cpu_level level);

#endif
