// Matrix products, row-major.
//
// In float32 an own kernel does them all: sums over k run in ascending order with one rounding a
// step, so that a number depends on its row and its column only, never on what stands beside it, on
// the number of threads nor on the instruction set, and summing over k in several calls gives the
// same bits as in one. On the sizes of this project it is faster than one thread of OpenBLAS (up to
// twice with AVX-512, where k or n is small) and within 10 % of libxsmm's generated code; bench_nn
// prints the comparison. In the double build OpenBLAS does them, on one thread.
//
// Products are spread over the threads of nn/pool.h, how many by a table of sizes in gemm.c.
#ifndef HWM_NN_GEMM_H
#define HWM_NN_GEMM_H

#include <stdbool.h>

#include "base/real.h"

// c (m,n) = a (m,k) b (k,n); add: c += instead. bias (n) or NULL is added to every row (add ==
// false only).
//   lda, ldb, ldc   distance between rows, in numbers
void nn_gemm_nn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add);
// c (m,n) = or += a' b, a stored (k,m), b (k,n): the gradient of a weight, k rows of the batch
void nn_gemm_tn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, bool add);
// c (m,n) = or += a b', a (m,k), b stored (n,k): a layer's forward pass without a transposed copy
// of its weight
void nn_gemm_nt(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add);
// out (cols, rows) = in' for in (rows, cols)
void nn_transpose(int rows, int cols, const hwm_real* in, hwm_real* out);
// A weight (out,in) packed for c (m,out) = a (m,k) times rows [from, from + k) of its transpose:
// blocks of nn_weight_block(out) columns one after the other, each (in, columns), so that a product
// reads it as it lies. packed: out * in numbers
int nn_weight_block(int out);
void nn_weight_pack(int out, int in, const hwm_real* w, hwm_real* packed);
void nn_gemm_weight(int m, int out, int in, int from, int k, const hwm_real* a, int lda,
                    const hwm_real* packed, hwm_real* c, int ldc, const hwm_real* bias, bool add);
// The same weight (k,n), n a multiple of NN_WEIGHT_COLUMNS, in blocks of so many columns as it
// stands: c (m,cols) += a (m,k) times its columns [from, from + cols), both multiples. For few rows
// of c and a weight outside the cache, where rows of b far apart cost more than the product.
enum { NN_WEIGHT_COLUMNS = 64 };
void nn_columns_pack(int k, int n, const hwm_real* w, hwm_real* packed);
void nn_gemm_columns(int m, int cols, int k, int from, const hwm_real* a, int lda,
                     const hwm_real* packed, hwm_real* c, int ldc);
// Every product is told to watch before it runs (NULL: nobody, the default). For benchmarks; while
// no kernel runs.
typedef void (*nn_gemm_watcher)(
    void* context, char form, int m, int n,
    int k);  // form: 'n' nn, 't' tn, 'b' nt, bf16.h: 'w' weight, 'o' rows
void nn_gemm_watch(nn_gemm_watcher watch, void* context);
// c = a b with OpenBLAS on one thread, whatever the build: what bench_nn compares with
void nn_gemm_reference(int m, int n, int k, const hwm_real* a, const hwm_real* b, hwm_real* c);

#endif
