// Small-matrix kernel for AVX-512: blocks of 6 rows by 64 columns, 8 by 48, 12 by 32 and 12 by 16.
#include <immintrin.h>

#include "nn/gemm_kernel.h"

#define V                 __m512
#define VL                16
#define NV                4
#define MR                12
#define v_mask            __mmask16
#define v_load(p)         _mm512_loadu_ps(p)
#define v_loadm(p, m)     _mm512_maskz_loadu_ps(m, p)
#define v_store(p, v)     _mm512_storeu_ps(p, v)
#define v_storem(p, m, v) _mm512_mask_storeu_ps(p, m, v)
#define v_set1(x)         _mm512_set1_ps(x)
#define v_fma(a, b, c)    _mm512_fmadd_ps(a, b, c)
#define v_add(a, b)       _mm512_add_ps(a, b)

#include "nn/gemm_template.h"

#define CASES_6(nv, full)                                                                          \
    GEMM_CASE(1, nv, full)                                                                         \
    GEMM_CASE(2, nv, full)                                                                         \
    GEMM_CASE(3, nv, full)                                                                         \
    GEMM_CASE(4, nv, full)                                                                         \
    GEMM_CASE(5, nv, full)                                                                         \
    GEMM_CASE(6, nv, full)
#define CASES_8(nv, full)                                                                          \
    CASES_6(nv, full)                                                                              \
    GEMM_CASE(7, nv, full)                                                                         \
    GEMM_CASE(8, nv, full)
#define CASES_12(nv, full)                                                                         \
    CASES_8(nv, full)                                                                              \
    GEMM_CASE(9, nv, full)                                                                         \
    GEMM_CASE(10, nv, full)                                                                        \
    GEMM_CASE(11, nv, full)                                                                        \
    GEMM_CASE(12, nv, full)
GEMM_STRIP(strip_4, 4, false, CASES_6)
GEMM_STRIP(strip_3, 3, false, CASES_8)
GEMM_STRIP(strip_2, 2, false, CASES_12)
GEMM_STRIP(strip_1, 1, false, CASES_12)

typedef void (*strip_fn)(int mr, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                         const float* b, ptrdiff_t ldb, v_mask mask, float* c, ptrdiff_t ldc,
                         const float* bias, bool add);
static const strip_fn strips[NV + 1] = {NULL, strip_1, strip_2, strip_3, strip_4};
static const int strip_rows[NV + 1] = {0, 12, 12, 8, 6};

void nn_gemm_small_avx512(int m, int n, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                          const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc, const float* bias,
                          bool add) {
    int vectors = (n + VL - 1) / VL;
    for (int j = 0; j < n;) {
        // columns in strips of at most 4 vectors, of equal width: 5 vectors are 3 and 2
        const int strip_count = (vectors + NV - 1) / NV;
        const int nv = (vectors + strip_count - 1) / strip_count;
        const int left = n - j;
        const int last = left >= nv * VL ? VL : left - (nv - 1) * VL;
        const __mmask16 mask = (__mmask16)((1u << last) - 1u);
        // rows in equal blocks: 32 rows by 64 columns are 6 6 5 5 5 5
        const int blocks = (m + strip_rows[nv] - 1) / strip_rows[nv];
        for (int r = 0, i = 0; r < blocks; r++) {
            const int mr = (m - i) / (blocks - r) + ((m - i) % (blocks - r) != 0);
            strips[nv](mr, k, a + i * row, row, col, b + j, ldb, mask, c + i * ldc + j, ldc,
                       bias ? bias + j : NULL, add);
            i += mr;
        }
        j += nv * VL;
        vectors -= nv;
    }
}
