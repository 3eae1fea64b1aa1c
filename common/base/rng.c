// Philox4x32-10 and the distributions on top of it.
//
// A stream is keyed by (seed, purpose): the key is itself a Philox output, so that neighbouring
// seeds and purposes share nothing. The counter is (block, step, episode, env). Every draw but
// `below` and `shuffle` uses exactly one 32-bit word (uniform_double: two), so the position in a
// stream never depends on the values drawn.
//
// Normals come from the inverse distribution function: one word gives one normal, and a loop over
// words is branch-free and therefore vectorised. This file is compiled with -ffp-contract=off; it
// uses +, -, *, / and sqrt only, which IEEE 754 defines to the last bit, so a vector of any width
// gives the same bits as the scalar.
#include "base/rng.h"

#include <math.h>
#include <string.h>

#include "base/status.h"

enum { PHILOX_ROUNDS = 10, LANES = 16 };
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

// Salmon et al. 2011, section 3.3: per round, two 32x32->64 multiplications and a permutation; the
// key is bumped by Weyl constants.
void hwm_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

// LANES consecutive blocks at once, in the order that block by block would give.
static void philox_lanes(const uint32_t counter[4], const uint32_t key[2],
                         uint32_t out[4 * LANES]) {
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    for (int i = 0; i < LANES; i++) {
        c0[i] = counter[0] + (uint32_t)i;
        c1[i] = counter[1];
        c2[i] = counter[2];
        c3[i] = counter[3];
    }
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t p0 = (uint64_t)PHILOX_M0 * c0[i], p1 = (uint64_t)PHILOX_M1 * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)p1;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p0;
        }
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    for (int i = 0; i < LANES; i++) {
        out[4 * i + 0] = c0[i];
        out[4 * i + 1] = c1[i];
        out[4 * i + 2] = c2[i];
        out[4 * i + 3] = c3[i];
    }
}

void hwm_rng_init(hwm_rng* rng, uint64_t seed, hwm_purpose purpose, uint32_t env, uint32_t episode,
                  uint32_t step) {
    const uint32_t seed_key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t purpose_counter[4] = {(uint32_t)purpose, 0, 0, 0x48574d31u};
    uint32_t k[4];
    hwm_philox4x32(purpose_counter, seed_key, k);
    *rng = (hwm_rng){.key = {k[0], k[1]}, .counter = {0, step, episode, env}, .used = 4};
}

uint32_t hwm_rng_u32(hwm_rng* rng) {
    if (rng->used == 4) {
        hwm_philox4x32(rng->counter, rng->key, rng->block);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

// Lemire 2019, arXiv:1805.10941: a multiplication, and a rejection only where the remainder would
// bias.
uint32_t hwm_rng_below(hwm_rng* rng, uint32_t n) {
    HWM_ASSERT(n >= 1);
    uint64_t m = (uint64_t)hwm_rng_u32(rng) * n;
    if ((uint32_t)m < n) {
        uint32_t threshold = -n % n;
        while ((uint32_t)m < threshold)
            m = (uint64_t)hwm_rng_u32(rng) * n;
    }
    return (uint32_t)(m >> 32);
}

static inline float uniform_of(uint32_t word) {
    return (float)(int32_t)(word >> 8) * 0x1p-24f;
}

float hwm_rng_uniform(hwm_rng* rng) {
    return uniform_of(hwm_rng_u32(rng));
}

double hwm_rng_uniform_double(hwm_rng* rng) {
    uint64_t hi = hwm_rng_u32(rng) >> 5, lo = hwm_rng_u32(rng) >> 6;
    return (double)(hi << 26 | lo) * 0x1p-53;
}

// log y for normal y > 0: y = 2^e m with m in [sqrt(1/2), sqrt(2)); log(1+f) = f - f^2/2 + f^3
// P(f), P fitted at Chebyshev nodes, absolute error below 1e-8 before rounding.
static inline float log_positive(float y) {
    int32_t bits;
    memcpy(&bits, &y, sizeof bits);
    int32_t shifted = bits - 0x3f3504f3;  // the bits of sqrt(1/2)
    int32_t e = shifted >> 23;
    bits -= e * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    float f = m - 1.0f;
    float p = 0.0714975372f;
    p = p * f - 0.115712009f;
    p = p * f + 0.116615109f;
    p = p * f - 0.124110505f;
    p = p * f + 0.142499372f;
    p = p * f - 0.166684806f;
    p = p * f + 0.200007081f;
    p = p * f - 0.249999896f;
    p = p * f + 0.333333313f;
    float ff = f * f;
    return (float)e * 0.693147182f + (f - 0.5f * ff + ff * f * p);
}

// |z| with P(|N(0,1)| > |z|) = v, for v in (0, 1]. With x = 1 - v and w = -log(1 - x^2), |z| / x is
// smooth in w and, in the tail, in sqrt(w) (the form of Giles 2010, "Approximating the erfinv
// function"); both polynomials are our own fits at Chebyshev nodes, relative error below 3e-7 down
// to v = 2^-32. Both are evaluated and one is chosen, so a loop has no branch.
static inline float normal_of_tail(float v, float x) {
    float w = -log_positive(v * (2.0f - v));
    w = w > 0.0f ? w : 0.0f;
    float t = w - 2.5f;
    float p = -1.23599877e-08f;
    p = p * t + 3.29311582e-08f;
    p = p * t + 6.5821564e-07f;
    p = p * t - 4.89792546e-06f;
    p = p * t - 7.01413637e-06f;
    p = p * t + 0.000308789167f;
    p = p * t - 0.00177165377f;
    p = p * t - 0.00590772135f;
    p = p * t + 0.34880203f;
    p = p * t + 2.12331343f;
    float s = sqrtf(w) - 3.4f;
    float q = 5.13441992e-05f;
    q = q * s - 2.34096551e-05f;
    q = q * s - 0.00042017622f;
    q = q * s + 0.00102278066f;
    q = q * s - 0.00140910945f;
    q = q * s + 0.00205018092f;
    q = q * s - 0.0036393886f;
    q = q * s + 0.00562716043f;
    q = q * s + 1.42361283f;
    q = q * s + 4.57467461f;
    return x * (w < 5.0f ? p : q);
}

// The lowest bit is the sign, the other 31 choose the tail probability v = (k + 1/2) / 2^31.
static inline float normal_of(uint32_t word) {
    int32_t k = (int32_t)(word >> 1);
    float v = ((float)k + 0.5f) * 0x1p-31f;
    float x = (float)(INT32_MAX - k) * 0x1p-31f;  // 1 - v, exact near v = 1 where it matters
    float z = normal_of_tail(v, x);
    return word & 1 ? -z : z;
}

float hwm_rng_normal(hwm_rng* rng) {
    return normal_of(hwm_rng_u32(rng));
}

float hwm_rng_truncated_normal(hwm_rng* rng) {
    // the same map, with v drawn from [P(|N| > 2), 1) instead of (0, 1)
    const float v_min = 0.0455002639f;
    uint32_t word = hwm_rng_u32(rng);
    float u = ((float)(int32_t)(word >> 8) + 0.5f) * 0x1p-24f;
    float v = v_min + (1.0f - v_min) * u;
    float z = normal_of_tail(v, 1.0f - v);
    z = z < 2.0f ? z : 2.0f;
    return word & 1 ? -z : z;
}

int hwm_rng_categorical(hwm_rng* rng, const float* p, int n) {
    HWM_ASSERT(n >= 1);
    float total = 0.0f;
    for (int i = 0; i < n; i++)
        total += p[i];
    float left = hwm_rng_uniform(rng) * total;
    int last = n - 1;
    for (int i = 0; i < n; i++) {
        if (p[i] > 0.0f) {
            if (left < p[i])
                return i;
            left -= p[i];
            last = i;
        }
    }
    return last;  // rounding left a crumb over: it belongs to the last class that can occur
}

// Fisher-Yates, from the end.
void hwm_rng_shuffle(hwm_rng* rng, uint32_t* index, uint32_t n) {
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = hwm_rng_below(rng, i);
        uint32_t swap = index[i - 1];
        index[i - 1] = index[j];
        index[j] = swap;
    }
}

// Whole runs of LANES blocks, when the current block is used up; the caller takes what is left one
// by one.
static size_t words(hwm_rng* rng, uint32_t out[4 * LANES], size_t n) {
    if (rng->used == 4 && n >= 4 * LANES) {
        philox_lanes(rng->counter, rng->key, out);
        rng->counter[0] += LANES;
        return 4 * LANES;
    }
    size_t count = rng->used < 4 ? 4 - rng->used : n < 4 ? n : 4;
    if (count > n)
        count = n;
    for (size_t i = 0; i < count; i++)
        out[i] = hwm_rng_u32(rng);
    return count;
}

void hwm_rng_fill_uniform(hwm_rng* rng, float* out, size_t n, float lo, float hi) {
    uint32_t w[4 * LANES];
    const float width = hi - lo;
    while (n) {
        size_t count = words(rng, w, n);
        for (size_t i = 0; i < count; i++)
            out[i] = lo + width * uniform_of(w[i]);
        out += count;
        n -= count;
    }
}

void hwm_rng_fill_normal(hwm_rng* rng, float* out, size_t n, float mean, float std) {
    uint32_t w[4 * LANES];
    while (n) {
        size_t count = words(rng, w, n);
        for (size_t i = 0; i < count; i++)
            out[i] = mean + std * normal_of(w[i]);
        out += count;
        n -= count;
    }
}
