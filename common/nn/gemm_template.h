// Body of the matrix kernel, included by one file per instruction set, which defines
//   V, VL            vector of floats and its length      NV, MR   largest block: NV vectors by MR
//   rows of c v_mask           mask type; v_first(n) the first n lanes   v_load, v_loadm, v_store,
//   v_storem, v_set1, v_fma GEMM_NAME        name of the function                 strips[nv],
//   strip_rows[nv] after the block functions
//
// A block of c (up to MR x NV*VL) stays in registers while k runs: per step NV loads of b and MR
// broadcasts of a feed MR*NV multiply-adds. Sums start from what is there (c, the bias or zero) and
// run over k in ascending order with one rounding a step: cutting m, n or k into pieces anywhere
// gives the same bits, and so does every instruction set.
#include <string.h>

// What a block fetches for those after it while it runs.
typedef struct nn_ahead {
    bool rows;        // the next block of rows, of a and of c
    const float* at;  // `lines` places every four steps of k, `step` apart
    ptrdiff_t step;
    int lines;
} nn_ahead;

static inline __attribute__((always_inline)) void
gemm_block(const int mr, const int nv, const bool full, const bool fetch, int k, const float* a,
           ptrdiff_t row, ptrdiff_t col, const float* b, ptrdiff_t ldb, v_mask mask, float* c,
           ptrdiff_t ldc, const float* bias, bool add, const nn_ahead* ahead) {
    const bool rows = ahead->rows;
    const float* at = ahead->at;
    V acc[MR][NV];
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) {
        const bool whole = full || j + 1 < nv;
        const V start = !bias   ? v_set1(0.0f)
                        : whole ? v_load(bias + j * VL)
                                : v_loadm(bias + j * VL, mask);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++)
            acc[i][j] = !add    ? start
                        : whole ? v_load(c + i * ldc + j * VL)
                                : v_loadm(c + i * ldc + j * VL, mask);
    }
    for (int p = 0; p < k; p++) {
        if (fetch && p % 4 == 0)
            for (int q = 0; q < ahead->lines; q++, at += ahead->step)
                __builtin_prefetch(at, 0, 2);
        // fetch what the next block of rows reads, a line at a time, and the block of c it starts
        // from
        if (rows && p % 16 == 0) {
            if (col == 1)
#pragma GCC unroll 16
                for (int i = 0; i < mr; i++)
                    __builtin_prefetch(a + (mr + i) * row, 0, 3);
            if (p < 16 * mr)
#pragma GCC unroll 4
                for (int j = 0; j < nv; j++)
                    __builtin_prefetch(c + (mr + p / 16) * ldc + j * VL, 1, 3);
        }
        V bv[NV];
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            bv[j] = full || j + 1 < nv ? v_load(b + j * VL) : v_loadm(b + j * VL, mask);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            V av = v_set1(a[i * row]);
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++)
                acc[i][j] = v_fma(av, bv[j], acc[i][j]);
        }
        a += col;
        b += ldb;
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) {
            if (full || j + 1 < nv)
                v_store(c + i * ldc + j * VL, acc[i][j]);
            else
                v_storem(c + i * ldc + j * VL, mask, acc[i][j]);
        }
}

typedef void (*strip_fn)(int mr, int k, const float* a, ptrdiff_t row, ptrdiff_t col,
                         const float* b, ptrdiff_t ldb, v_mask mask, float* c, ptrdiff_t ldc,
                         const float* bias, bool add, const nn_ahead* ahead);
#define GEMM_CASE(mr_, nv_, full_, fetch_)                                                         \
    case mr_:                                                                                      \
        gemm_block(mr_, nv_, full_, fetch_, k, a, row, col, b, ldb, mask, c, ldc, bias, add,       \
                   ahead);                                                                         \
        break;
#define GEMM_STRIP(name, nv_, full_, fetch_, CASES)                                                \
    static __attribute__((noinline)) void name(                                                    \
        int mr, int k, const float* a, ptrdiff_t row, ptrdiff_t col, const float* b,               \
        ptrdiff_t ldb, v_mask mask, float* c, ptrdiff_t ldc, const float* bias, bool add,          \
        const nn_ahead* ahead) {                                                                   \
        switch (mr) { CASES(nv_, full_, fetch_) }                                                  \
    }
#define CASES_6(nv, full, fetch)                                                                   \
    GEMM_CASE(1, nv, full, fetch)                                                                  \
    GEMM_CASE(2, nv, full, fetch)                                                                  \
    GEMM_CASE(3, nv, full, fetch)                                                                  \
    GEMM_CASE(4, nv, full, fetch)                                                                  \
    GEMM_CASE(5, nv, full, fetch)                                                                  \
    GEMM_CASE(6, nv, full, fetch)
#define CASES_8(nv, full, fetch)                                                                   \
    CASES_6(nv, full, fetch)                                                                       \
    GEMM_CASE(7, nv, full, fetch)                                                                  \
    GEMM_CASE(8, nv, full, fetch)
#define CASES_12(nv, full, fetch)                                                                  \
    CASES_8(nv, full, fetch)                                                                       \
    GEMM_CASE(9, nv, full, fetch)                                                                  \
    GEMM_CASE(10, nv, full, fetch)                                                                 \
    GEMM_CASE(11, nv, full, fetch)                                                                 \
    GEMM_CASE(12, nv, full, fetch)
