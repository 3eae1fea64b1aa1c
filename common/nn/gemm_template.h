// Body of the small-matrix kernel, included by one file per instruction set, which defines
//   V, VL            vector of floats and its length      NV, MR   largest block: NV vectors by MR
//   rows of c v_mask           mask type; v_tail(n) first n lanes   v_load, v_loadm, v_store,
//   v_storem, v_set1, v_fma, v_add GEMM_NAME        name of the function
//
// One block of c (up to MR x NV*VL) stays in registers while k runs: per step NV loads of b and MR
// broadcasts of a feed MR*NV multiply-adds. b is read in place: it lies in the L1 or L2 cache for
// the sizes that come here.
static inline __attribute__((always_inline)) void
gemm_block(const int mr, const int nv, const bool full, int k, const float* a, ptrdiff_t row,
           ptrdiff_t col, const float* b, ptrdiff_t ldb, v_mask mask, float* c, ptrdiff_t ldc,
           const float* bias, bool add) {
    V acc[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            acc[i][j] = v_set1(0.0f);
    for (int p = 0; p < k; p++) {
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
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) {
        const bool whole = full || j + 1 < nv;
        if (bias) {
            V add_bias = whole ? v_load(bias + j * VL) : v_loadm(bias + j * VL, mask);
#pragma GCC unroll 16
            for (int i = 0; i < mr; i++)
                acc[i][j] = v_add(acc[i][j], add_bias);
        }
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            float* to = c + i * ldc + j * VL;
            if (whole)
                v_store(to, add ? v_add(v_load(to), acc[i][j]) : acc[i][j]);
            else
                v_storem(to, mask, add ? v_add(v_loadm(to, mask), acc[i][j]) : acc[i][j]);
        }
    }
}

#define GEMM_CASE(mr_, nv_, full_)                                                                 \
    case mr_:                                                                                      \
        gemm_block(mr_, nv_, full_, k, a, row, col, b, ldb, mask, c, ldc, bias, add);              \
        break;
#define GEMM_STRIP(name, nv_, full_, CASES)                                                        \
    static __attribute__((noinline)) void name(                                                    \
        int mr, int k, const float* a, ptrdiff_t row, ptrdiff_t col, const float* b,               \
        ptrdiff_t ldb, v_mask mask, float* c, ptrdiff_t ldc, const float* bias, bool add) {        \
        switch (mr) { CASES(nv_, full_) }                                                          \
    }
