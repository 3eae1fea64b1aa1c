// Matrix products: the one place that includes cblas.h. Chooses between the own kernel and OpenBLAS
// by size.
#include "nn/gemm.h"

#include <cblas.h>

#include "base/status.h"
#include "nn/gemm_kernel.h"

// OpenBLAS on one thread always: work is spread over independent rows and networks by the callers,
// so that a result never depends on a thread count.
__attribute__((constructor)) static void one_blas_thread(void) {
    openblas_set_num_threads(1);
}

#ifdef HWM_F64
void nn_gemm_select(nn_cpu_level level) {
    (void)level;
}

static void blas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const hwm_real* a,
                 int lda, const hwm_real* b, int ldb, hwm_real* c, int ldc, bool add) {
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1.0, a, lda, b, ldb, add ? 1.0 : 0.0, c, ldc);
}
#else
static nn_gemm_small_fn small_kernel = nn_gemm_small_base;

void nn_gemm_select(nn_cpu_level level) {
    small_kernel = nn_gemm_small_base;
#if defined(__x86_64__)
    if (level == NN_CPU_AVX512)
        small_kernel = nn_gemm_small_avx512;
#else
    (void)level;
#endif
}

static void blas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const hwm_real* a,
                 int lda, const hwm_real* b, int ldb, hwm_real* c, int ldc, bool add) {
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1.0f, a, lda, b, ldb, add ? 1.0f : 0.0f, c, ldc);
}

// The own kernel reads b in place, so b has to stay in the near caches.
static bool is_small(int n, int k) {
    const long border = nn_cpu_current() == NN_CPU_AVX512 ? 512L * 512 : 256L * 256;
    return (long)n * k <= border;
}
#endif

static void add_bias(int m, int n, const hwm_real* bias, hwm_real* c, int ldc) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            c[(size_t)i * ldc + j] += bias[j];
}

void nn_gemm_nn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add) {
    HWM_ASSERT(m >= 0 && n >= 0 && k > 0 && !(bias && add));
#ifndef HWM_F64
    if (is_small(n, k)) {
        small_kernel(m, n, k, a, lda, 1, b, ldb, c, ldc, bias, add);
        return;
    }
#endif
    blas(CblasNoTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, c, ldc, add);
    if (bias)
        add_bias(m, n, bias, c, ldc);
}

void nn_gemm_tn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, bool add) {
    HWM_ASSERT(m >= 0 && n >= 0 && k > 0);
#ifndef HWM_F64
    if (is_small(n, k)) {
        small_kernel(m, n, k, a, 1, lda, b, ldb, c, ldc, NULL, add);
        return;
    }
#endif
    blas(CblasTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, c, ldc, add);
}

void nn_gemm_nt(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add) {
    HWM_ASSERT(m >= 0 && n >= 0 && k > 0 && !(bias && add));
    blas(CblasNoTrans, CblasTrans, m, n, k, a, lda, b, ldb, c, ldc, add);
    if (bias)
        add_bias(m, n, bias, c, ldc);
}

void nn_transpose(int rows, int cols, const hwm_real* in, hwm_real* out) {
    enum { TILE = 8 };
    for (int i = 0; i < rows; i += TILE)
        for (int j = 0; j < cols; j += TILE) {
            const int ie = i + TILE < rows ? i + TILE : rows,
                      je = j + TILE < cols ? j + TILE : cols;
            for (int q = j; q < je; q++)
                for (int p = i; p < ie; p++)
                    out[(size_t)q * rows + p] = in[(size_t)p * cols + q];
        }
}
