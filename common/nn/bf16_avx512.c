// Products in bfloat16 by float32 arithmetic, for AVX-512.
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
#define v_even(x)      _mm512_castsi512_ps(_mm512_slli_epi32(x, 16))
#define v_odd(x)       _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(-0x10000)))

#include "nn/bf16_template.h"
