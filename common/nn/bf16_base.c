// Products in bfloat16 by float32 arithmetic, for AVX2 with FMA; plain C where the machine has
// neither.
#include "nn/bf16_kernel.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define KERNEL         nn_bf16_base
#define V              __m256
#define VI             __m256i
#define VL             8
#define MR             2
#define v_load(p)      _mm256_loadu_ps(p)
#define v_store(p, v)  _mm256_storeu_ps(p, v)
#define v_zero()       _mm256_setzero_ps()
#define v_add(a, b)    _mm256_add_ps(a, b)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vi_load(p)     _mm256_loadu_si256((const __m256i*)(const void*)(p))
#define vi_set1(x)     _mm256_set1_epi32(x)
#define vi_store(p, x) _mm256_storeu_si256((__m256i*)(void*)(p), x)
#define vi_and(a, b)   _mm256_and_si256(a, b)
#define vi_or(a, b)    _mm256_or_si256(a, b)
#define vi_add(a, b)   _mm256_add_epi32(a, b)
#define vi_right(x, n) _mm256_srli_epi32(x, n)
#define v_even(x)      _mm256_castsi256_ps(_mm256_slli_epi32(x, 16))
#define v_odd(x)       _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(-0x10000)))

static inline __m256i nan_or(__m256i x, __m256i y) {
    const __m256 f = _mm256_castsi256_ps(x);
    const __m256 quiet = _mm256_castsi256_ps(_mm256_or_si256(x, _mm256_set1_epi32(0x400000)));
    return _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(y), quiet, _mm256_cmp_ps(f, f, _CMP_UNORD_Q)));
}

static inline void narrow(const __m256i a[4], nn_bf16* to) {
    for (int i = 0; i < 4; i += 2) {
        const __m256i both =
            _mm256_packus_epi32(_mm256_srli_epi32(a[i], 16), _mm256_srli_epi32(a[i + 1], 16));
        // the halves of the two stand crossed
        _mm256_storeu_si256((__m256i*)(void*)(to + 8 * i), _mm256_permute4x64_epi64(both, 0xd8));
    }
}

#include "nn/bf16_template.h"

#else
#include <float.h>
#include <math.h>

// a denormal number counts as 0
static float flushed(float x) {
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

static void pack(int m, int cols, const float* x, ptrdiff_t ld, int at, int depth, nn_bf16* to) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < cols; j++)
            to[((ptrdiff_t)(i / NN_BF16_ROWS) * depth + (at + j) / NN_BF16_DEPTH) * NN_BF16_TILE +
               i % NN_BF16_ROWS * NN_BF16_DEPTH + (at + j) % NN_BF16_DEPTH] =
                nn_bf16_round(x[i * ld + j]);
}

static void turn(const float* const row[NN_BF16_ROWS], nn_bf16* tile) {
    for (int j = 0; j < 16; j++)
        for (int p = 0; p < NN_BF16_DEPTH; p++)
            tile[(p / 2 * 16 + j) * 2 + p % 2] = nn_bf16_round(row[j][p]);
}

static void pair(const float* const row[NN_BF16_DEPTH], bool across, nn_bf16* tile) {
    for (int p = 0; p < NN_BF16_DEPTH; p++)
        for (int j = 0; j < 16; j++)
            tile[across ? j * NN_BF16_DEPTH + p : (p / 2 * 16 + j) * 2 + p % 2] =
                nn_bf16_round(row[p][j]);
}

static void block(const nn_bf16_block* k) {
    for (int i = 0; i < k->rows * NN_BF16_ROWS; i++)
        for (int j = 0; j < k->columns * 16; j++) {
            const nn_bf16* a =
                k->a + i / NN_BF16_ROWS * k->a_next + i % NN_BF16_ROWS * NN_BF16_DEPTH;
            const nn_bf16* b = k->b + j / 16 * k->b_next + j % 16 * 2;
            float c = flushed(k->start[i * k->start_row + j]);
            for (int t = 0; t < k->depth; t++, a += NN_BF16_TILE, b += NN_BF16_TILE) {
                float sum[2] = {0.0f, 0.0f};
                for (int p = 0; p < NN_BF16_DEPTH; p++)
                    sum[p % 2] =
                        flushed(fmaf(flushed(nn_bf16_value(a[p])),
                                     flushed(nn_bf16_value(b[p / 2 * 32 + p % 2])), sum[p % 2]));
                c = flushed(c + flushed(sum[0] + sum[1]));
            }
            k->c[i * k->ldc + j] = c;
        }
}

static unsigned enter(void) {
    return 0;
}
static void leave(unsigned before) {
    (void)before;
}

const nn_bf16_kernel nn_bf16_base = {enter, leave, block, pack, turn, pair};
#endif
