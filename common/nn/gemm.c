// Matrix products: dispatch, threads, and OpenBLAS for the double build. The one place that
// includes cblas.h.
#include "nn/gemm.h"

#include <cblas.h>
#include <string.h>

#include "base/status.h"
#include "nn/cpu.h"
#include "nn/gemm_kernel.h"
#include "nn/pool.h"

// One thread always: a result must never depend on a thread count.
__attribute__((constructor)) static void one_blas_thread(void) {
    openblas_set_num_threads(1);
}

static nn_gemm_watcher watcher;
static void* watcher_context;

void nn_gemm_watch(nn_gemm_watcher watch, void* context) {
    watcher = watch;
    watcher_context = context;
}

void nn_gemm_tell(char form, int m, int n, int k) {
    if (watcher)
        watcher(watcher_context, form, m, n, k);
}

#ifdef HWM_F64
void nn_gemm_select(nn_cpu_level level) {
    (void)level;
}

static void product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const double* a,
                    int lda, const double* b, int ldb, double* c, int ldc, const double* bias,
                    bool add) {
    HWM_ASSERT(m >= 0 && n >= 0 && k > 0 && !(bias && add));
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1.0, a, lda, b, ldb, add ? 1.0 : 0.0, c, ldc);
    if (bias)
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++)
                c[(size_t)i * (size_t)ldc + (size_t)j] += bias[j];
}

void nn_gemm_reference(int m, int n, int k, const double* a, const double* b, double* c) {
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0, a, k, b, n, 0.0, c, n);
}
#else
static nn_gemm_fn kernel = nn_gemm_base;

void nn_gemm_select(nn_cpu_level level) {
    kernel = nn_gemm_base;
#if defined(__x86_64__)
    if (level >= NN_CPU_AVX512)
        kernel = nn_gemm_avx512;
#else
    (void)level;
#endif
}

// Here and not in cpu.c: a constructor runs only in a program that links something else of its
// file.
__attribute__((constructor)) static void choose_at_start(void) {
    nn_gemm_select(nn_cpu_best());
}

// How many threads a product of so many multiply-adds is worth. Below the first limit it is over
// before a second thread has noticed; above, a further thread where it has as much to do. Rows (or
// columns, where there are more of them) are cut into pieces of whole register blocks, a few for
// each thread, since every piece copies what it reads of the other operand for itself.
static const struct {
    double from;  // multiply-adds
    int threads;
} thread_table[] = {{0, 1}, {1 << 19, 2}, {1 << 20, 4}, {1 << 21, 8}, {1 << 22, 16}, {1 << 23, 64}};
enum { TASK_ROWS = 48, TASK_COLUMNS = NN_BLOCK, TASKS_PER_THREAD = 4 };

static int threads_for(double multiply_adds) {
    int threads = 1;
    for (size_t i = 0; i < sizeof thread_table / sizeof *thread_table; i++)
        threads = multiply_adds >= thread_table[i].from ? thread_table[i].threads : threads;
    return threads < nn_threads() ? threads : nn_threads();
}

// Rows or columns of a task: a multiple of unit.
static int task_size(int all, int unit, int threads) {
    const int tasks = TASKS_PER_THREAD * threads;
    return (all + tasks * unit - 1) / (tasks * unit) * unit;
}

typedef struct product_tasks {
    int m, n, k;
    nn_matrix a, b;
    float* c;
    int ldc;
    const float* bias;
    bool add, by_columns;
    int each;  // rows or columns of a task
} product_tasks;

static void product_task(void* context, int i) {
    const product_tasks* t = context;
    if (t->by_columns) {
        const int from = i * t->each;
        const int n = t->n - from < t->each ? t->n - from : t->each;
        kernel(t->m, n, t->k, t->a,
               (nn_matrix){nn_column(&t->b, from), t->b.row, t->b.col, t->b.block}, t->c + from,
               t->ldc, t->bias ? t->bias + from : NULL, t->add);
    } else {
        const int from = i * t->each;
        const int m = t->m - from < t->each ? t->m - from : t->each;
        kernel(m, t->n, t->k, (nn_matrix){t->a.p + from * t->a.row, t->a.row, t->a.col, 0}, t->b,
               t->c + (ptrdiff_t)from * t->ldc, t->ldc, t->bias, t->add);
    }
}

static void spread(int m, int n, int k, nn_matrix a, nn_matrix b, float* c, int ldc,
                   const float* bias, bool add) {
    HWM_ASSERT(m >= 0 && n >= 0 && k > 0 && !(bias && add));
    const int threads = threads_for((double)m * n * k);
    if (threads > 1 && (m > TASK_ROWS || n > TASK_COLUMNS)) {
        const bool by_columns = n / TASK_COLUMNS >= m / TASK_ROWS;
        const int each =
            by_columns ? task_size(n, TASK_COLUMNS, threads) : task_size(m, TASK_ROWS, threads);
        product_tasks t = {m, n, k, a, b, c, ldc, bias, add, by_columns, each};
        nn_parallel(((by_columns ? n : m) + each - 1) / each, product_task, &t);
    } else {
        kernel(m, n, k, a, b, c, ldc, bias, add);
    }
}

static void product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const float* a,
                    int lda, const float* b, int ldb, float* c, int ldc, const float* bias,
                    bool add) {
    spread(m, n, k, ta == CblasTrans ? (nn_matrix){a, 1, lda, 0} : (nn_matrix){a, lda, 1, 0},
           tb == CblasTrans ? (nn_matrix){b, 1, ldb, 0} : (nn_matrix){b, ldb, 1, 0}, c, ldc, bias,
           add);
}

void nn_gemm_reference(int m, int n, int k, const float* a, const float* b, float* c) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0f, a, k, b, n, 0.0f, c, n);
}
#endif

void nn_gemm_nn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add) {
    nn_gemm_tell('n', m, n, k);
    product(CblasNoTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, c, ldc, bias, add);
}

void nn_gemm_tn(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, bool add) {
    nn_gemm_tell('t', m, n, k);
    product(CblasTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, c, ldc, NULL, add);
}

void nn_gemm_nt(int m, int n, int k, const hwm_real* a, int lda, const hwm_real* b, int ldb,
                hwm_real* c, int ldc, const hwm_real* bias, bool add) {
    nn_gemm_tell('b', m, n, k);
    product(CblasNoTrans, CblasTrans, m, n, k, a, lda, b, ldb, c, ldc, bias, add);
}

void nn_transpose(int rows, int cols, const hwm_real* in, hwm_real* out) {
    enum { TILE = 8 };
    for (int i = 0; i < rows; i += TILE)
        for (int j = 0; j < cols; j += TILE) {
            const int ie = i + TILE < rows ? i + TILE : rows,
                      je = j + TILE < cols ? j + TILE : cols;
            for (int q = j; q < je; q++)
                for (int p = i; p < ie; p++)
                    out[(size_t)q * (size_t)rows + (size_t)p] =
                        in[(size_t)p * (size_t)cols + (size_t)q];
        }
}

// ---- weights in the order in which products read them

#ifdef HWM_F64
int nn_weight_block(int out) {
    return out;
}
#else
int nn_weight_block(int out) {
    return out % NN_BLOCK == 0 ? NN_BLOCK : out;
}
#endif

void nn_weight_pack(int out, int in, const hwm_real* w, hwm_real* packed) {
    const int width = nn_weight_block(out);
    for (int j = 0; j < out; j += width) {
        const size_t at = (size_t)j * (size_t)in;
        nn_transpose(width, in, w + at, packed + at);
    }
}

void nn_gemm_weight(int m, int out, int in, int from, int k, const hwm_real* a, int lda,
                    const hwm_real* packed, hwm_real* c, int ldc, const hwm_real* bias, bool add) {
    HWM_ASSERT(from >= 0 && from + k <= in);
    const int width = nn_weight_block(out);
    const hwm_real* b = packed + (ptrdiff_t)from * width;
#ifndef HWM_F64
    if (width < out) {
        nn_gemm_tell('n', m, out, k);
        spread(m, out, k, (nn_matrix){a, lda, 1, 0},
               (nn_matrix){b, width, 1, (ptrdiff_t)width * in}, c, ldc, bias, add);
        return;
    }
#endif
    nn_gemm_nn(m, out, k, a, lda, b, width, c, ldc, bias, add);
}

void nn_columns_pack(int k, int n, const hwm_real* w, hwm_real* packed) {
    HWM_ASSERT(n % NN_BLOCK == 0);
    for (int j = 0; j < n; j += NN_BLOCK)
        for (int p = 0; p < k; p++, packed += NN_BLOCK)
            memcpy(packed, w + (size_t)p * (size_t)n + j, NN_BLOCK * sizeof *packed);
}

void nn_gemm_columns(int m, int cols, int k, int from, const hwm_real* a, int lda,
                     const hwm_real* packed, hwm_real* c, int ldc) {
    HWM_ASSERT(from % NN_BLOCK == 0 && cols % NN_BLOCK == 0);
    const ptrdiff_t block = (ptrdiff_t)k * NN_BLOCK;
    packed += from / NN_BLOCK * block;
#ifdef HWM_F64
    for (int j = 0; j < cols; j += NN_BLOCK, packed += block)
        nn_gemm_nn(m, NN_BLOCK, k, a, lda, packed, NN_BLOCK, c + j, ldc, NULL, true);
#else
    nn_gemm_tell('n', m, cols, k);
    spread(m, cols, k, (nn_matrix){a, lda, 1, 0}, (nn_matrix){packed, NN_BLOCK, 1, block}, c, ldc,
           NULL, true);
#endif
}
