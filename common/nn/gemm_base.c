// Matrix kernel for AVX2 with FMA (blocks of 6 rows by 16 columns); plain C where the machine has
// neither.
#include "nn/gemm_kernel.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define GEMM_NAME         nn_gemm_base
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

static inline __m256i v_first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#include "nn/gemm_template.h"

GEMM_STRIP(strip_2_full, 2, true, false, CASES_6)
GEMM_STRIP(strip_2_tail, 2, false, false, CASES_6)
GEMM_STRIP(strip_1, 1, false, false, CASES_6)
GEMM_STRIP(strip_fetch, 2, true, true, CASES_6)

// masked loads cost extra here: whole strips have their own code
static void strip_2(int mr, int k, const float* a, ptrdiff_t row, ptrdiff_t col, const float* b,
                    ptrdiff_t ldb, v_mask mask, float* c, ptrdiff_t ldc, const float* bias,
                    bool add, const nn_ahead* ahead) {
    if (_mm256_movemask_ps(_mm256_castsi256_ps(mask)) == 0xff)
        strip_2_full(mr, k, a, row, col, b, ldb, mask, c, ldc, bias, add, ahead);
    else
        strip_2_tail(mr, k, a, row, col, b, ldb, mask, c, ldc, bias, add, ahead);
}

static const strip_fn strips[NV + 1] = {NULL, strip_1, strip_2};
static const int strip_rows[NV + 1] = {0, 6, 6};

#include "nn/gemm_blocked.h"

#else
#include <math.h>

void nn_gemm_base(int m, int n, int k, nn_matrix a, nn_matrix b, float* c, ptrdiff_t ldc,
                  const float* bias, bool add) {
    enum { WIDTH = 64 };
    float sum[WIDTH];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j += WIDTH) {
            const int width = n - j < WIDTH ? n - j : WIDTH;
            float* to = c + i * ldc + j;
            for (int q = 0; q < width; q++)
                sum[q] = add ? to[q] : bias ? bias[j + q] : 0.0f;
            for (int p = 0; p < k; p++)
                for (int q = 0; q < width; q++)
                    sum[q] =
                        fmaf(a.p[i * a.row + p * a.col], nn_column(&b, j + q)[p * b.row], sum[q]);
            for (int q = 0; q < width; q++)
                to[q] = sum[q];
        }
}
#endif
