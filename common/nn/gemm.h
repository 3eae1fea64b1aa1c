// Matrix products, row-major. One thread; what is computed for a row of c does not depend on which
// other rows stand beside it.
//
// Small products go to an own kernel (vectors along n, sums over k in ascending order, fused
// multiply-add), large ones to OpenBLAS on one thread: see nn_gemm_uses_blas for the border.
#ifndef HWM_NN_GEMM_H
#define HWM_NN_GEMM_H

#include <stdbool.h>

#include "base/real.h"

// c (m,n) = a (m,k) b (k,n); add: c += instead. bias (n) or NULL is added to every row (add ==
// false only).
//   lda, ldb, ldc   distance between rows, in numbers
void nn_gemm_nn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add);
// c (m,n) += a' b, a stored (k,m), b (k,n): the gradient of a weight, k rows of the batch
void nn_gemm_tn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, bool add);
// c (m,n) = a b', a (m,k), b stored (n,k): a layer's forward pass without a transposed copy of its
// weight
void nn_gemm_nt(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add);
// out (cols, rows) = in' for in (rows, cols)
void nn_transpose(int rows, int cols, const hwm_real* in, hwm_real* out);

#endif
