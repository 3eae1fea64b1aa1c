// Inside the library: the own matrix kernel and its dispatch.
#ifndef HWM_NN_GEMM_KERNEL_H
#define HWM_NN_GEMM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/cpu.h"
#include "nn/gemm.h"

// A strided operand: element (i,j) lies at p[i * row + j * col]; or, where block is not 0, in
// blocks of NN_BLOCK columns: at p[j / NN_BLOCK * block + i * row + j % NN_BLOCK]
enum { NN_BLOCK = NN_WEIGHT_COLUMNS };
typedef struct nn_matrix {
    const float* p;
    ptrdiff_t row, col, block;
} nn_matrix;
static inline const float* nn_column(const nn_matrix* b, int j) {
    return b->p + (b->block ? j / NN_BLOCK * b->block + j % NN_BLOCK : j * b->col);
}
// c (m,n), rows ldc apart, = or += a (m,k) b (k,n); bias (n) or NULL (with add: ignored)
typedef void (*nn_gemm_fn)(int m, int n, int k, nn_matrix a, nn_matrix b, float* c, ptrdiff_t ldc,
                           const float* bias, bool add);
void nn_gemm_base(int m, int n, int k, nn_matrix a, nn_matrix b, float* c, ptrdiff_t ldc,
                  const float* bias, bool add);
void nn_gemm_avx512(int m, int n, int k, nn_matrix a, nn_matrix b, float* c, ptrdiff_t ldc,
                    const float* bias, bool add);
void nn_gemm_select(nn_cpu_level level);
// A product that is about to run, for who watches (gemm.h).
void nn_gemm_tell(char form, int m, int n, int k);

#endif
