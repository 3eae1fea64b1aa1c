// Products in bfloat16 by float32 arithmetic, for AVX-512.
#include <immintrin.h>

#include "nn/bf16_kernel.h"

#define KERNEL         nn_bf16_avx512
#define V              __m512
#define VI             __m512i
#define VL             16
#define MR             4
#define v_load(p)      _mm512_loadu_ps(p)
#define v_store(p, v)  _mm512_storeu_ps(p, v)
#define v_zero()       _mm512_setzero_ps()
#define v_add(a, b)    _mm512_add_ps(a, b)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vi_load(p)     _mm512_loadu_si512(p)
#define vi_set1(x)     _mm512_set1_epi32(x)
#define vi_store(p, x) _mm512_storeu_si512(p, x)
#define vi_and(a, b)   _mm512_and_si512(a, b)
#define vi_or(a, b)    _mm512_or_si512(a, b)
#define vi_add(a, b)   _mm512_add_epi32(a, b)
#define vi_right(x, n) _mm512_srli_epi32(x, n)
#define v_even(x)      _mm512_castsi512_ps(_mm512_slli_epi32(x, 16))
#define v_odd(x)       _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(-0x10000)))

static inline __m512i nan_or(__m512i x, __m512i y) {
    const __m512 f = _mm512_castsi512_ps(x);
    return _mm512_mask_or_epi32(y, _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q), x,
                                _mm512_set1_epi32(0x400000));
}

static inline void narrow(const __m512i a[2], nn_bf16* to) {
    for (int i = 0; i < 2; i++)
        _mm256_storeu_si256((__m256i*)(void*)(to + 16 * i),
                            _mm512_cvtepi32_epi16(_mm512_srli_epi32(a[i], 16)));
}

#include "nn/bf16_template.h"
