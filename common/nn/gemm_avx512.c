// Matrix kernel for AVX-512: blocks of 6 rows by 64 columns, 8 by 48, 12 by 32 and 12 by 16.
#include <immintrin.h>

#include "nn/gemm_kernel.h"

#define GEMM_NAME         nn_gemm_avx512
#define V                 __m512
#define VL                16
#define NV                4
#define MR                12
#define v_mask            __mmask16
#define v_first(n)        ((__mmask16)((1u << (n)) - 1u))
#define v_load(p)         _mm512_loadu_ps(p)
#define v_loadm(p, m)     _mm512_maskz_loadu_ps(m, p)
#define v_store(p, v)     _mm512_storeu_ps(p, v)
#define v_storem(p, m, v) _mm512_mask_storeu_ps(p, m, v)
#define v_set1(x)         _mm512_set1_ps(x)
#define v_fma(a, b, c)    _mm512_fmadd_ps(a, b, c)

#include "nn/gemm_template.h"

GEMM_STRIP(strip_4, 4, false, false, CASES_6)
GEMM_STRIP(strip_3, 3, false, false, CASES_8)
GEMM_STRIP(strip_2, 2, false, false, CASES_12)
GEMM_STRIP(strip_1, 1, false, false, CASES_12)
GEMM_STRIP(strip_fetch, 4, true, true, CASES_6)

static const strip_fn strips[NV + 1] = {NULL, strip_1, strip_2, strip_3, strip_4};
static const int strip_rows[NV + 1] = {0, 12, 12, 8, 6};

#include "nn/gemm_blocked.h"
