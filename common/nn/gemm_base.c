// Small-matrix kernel for AVX2 with FMA; plain C where the machine has neither.
#include "nn/gemm_kernel.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define V                 __m256
#define VL                8
#define NV                2
#define MR                6
#define v_mask            __m256i
#define v_load(p)         _mm256_loadu_ps(p)
#define v_loadm(p, m)     _mm256_maskload_ps(p, m)
#define v_store(p, v)     _mm256_storeu_ps(p, v)
#define v_storem(p, m, v) _mm256_maskstore_ps(p, m, v)
#define v_set1(x)         _mm256_set1_ps(x)
#define v_fma(a, b, c)    _mm256_fmadd_ps(a, b, c)
#define v_add(a, b)       _mm256_add_ps(a, b)

static inline __m256i v_tail(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#include "nn/gemm_template.h"

#define CASES_6(nv, full)                                                                          \
    GEMM_CASE(1, nv, full)                                                                         \
    GEMM_CASE(2, nv, full)                                                                         \
    GEMM_CASE(3, nv, full)                                                                         \
    GEMM_CASE(4, nv, full)                                                                         \
    GEMM_CASE(5, nv, full)                                                                         \
    GEMM_CASE(6, nv, full)
GEMM_STRIP(strip_2_full, 2, true, CASES_6)
GEMM_STRIP(strip_2, 2, false, CASES_6)
GEMM_STRIP(strip_1, 1, false, CASES_6)

void nn_gemm_small_base(int m, int n, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                        const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc, const float* bias,
                        bool add) {
    // rows in equal blocks of at most 6: 32 rows are 6 6 5 5 5 5
    const int blocks = (m + MR - 1) / MR;
    for (int j = 0; j < n; j += 2 * VL) {
        const int left = n - j;
        const __m256i mask = v_tail(left > VL ? left - VL : left);
        for (int r = 0, i = 0; r < blocks; r++) {
            const int mr = (m - i) / (blocks - r) + ((m - i) % (blocks - r) != 0);
            const float* ai = a + i * row;
            float* cij = c + i * ldc + j;
            const float* bj = bias ? bias + j : NULL;
            if (left >= 2 * VL)
                strip_2_full(mr, k, ai, row, col, b + j, ldb, mask, cij, ldc, bj, add);
            else if (left > VL)
                strip_2(mr, k, ai, row, col, b + j, ldb, mask, cij, ldc, bj, add);
            else
                strip_1(mr, k, ai, row, col, b + j, ldb, mask, cij, ldc, bj, add);
            i += mr;
        }
    }
}

#else
#include <math.h>

void nn_gemm_small_base(int m, int n, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                        const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc, const float* bias,
                        bool add) {
    enum { WIDTH = 64 };
    float sum[WIDTH];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j += WIDTH) {
            const int width = n - j < WIDTH ? n - j : WIDTH;
            for (int q = 0; q < width; q++)
                sum[q] = 0.0f;
            for (int p = 0; p < k; p++)
                for (int q = 0; q < width; q++)
                    sum[q] = fmaf(a[i * row + p * col], b[p * ldb + j + q], sum[q]);
            float* to = c + i * ldc + j;
            for (int q = 0; q < width; q++)
                to[q] = (add ? to[q] : 0.0f) + (sum[q] + (bias ? bias[j + q] : 0.0f));
        }
}
#endif
