// Scalar forms of the vector math, straight-line code without calls or branches, so that the
// compiler turns loops over them into vectors. Multiply-adds are written out (fmaf) and nothing
// else may be contracted, so that vector, remainder and every instruction set round alike.
// Reductions: exp by 2^n with |r| <= ln2/2 (Cody & Waite), log by the exponent with the mantissa in
// [sqrt(1/2), sqrt(2)). In the double build they are libm's.
#ifndef HWM_NN_VMATH_SCALAR_H
#define HWM_NN_VMATH_SCALAR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/real.h"

#define INLINE static inline __attribute__((always_inline))

#ifdef HWM_F64
INLINE double one_exp(double x) {
    return exp(x);
}
INLINE double one_exp_below(double x) {
    return exp(x);
}
INLINE double one_sigmoid(double x) {
    const double e = exp(-fabs(x));
    return x < 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
}
INLINE double one_tanh(double x) {
    return tanh(x);
}
#else
INLINE float from_bits(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
INLINE int32_t to_bits(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// exp(x) = 2^n (1 + q): n as an integer and q = exp(r) - 1 to the last bit or so; x within +-104
INLINE float exp_reduce(float x, int32_t* n) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const float shifted = __builtin_fmaf(x, 1.44269504f, magic);
    const float whole = shifted - magic;
    *n = (int32_t)((uint32_t)to_bits(shifted) - 0x4b400000u);
    float r = __builtin_fmaf(whole, -0.693359375f, x);
    r = __builtin_fmaf(whole, 2.12194440e-4f, r);
    // Taylor to degree 7: the remainder r^8/8! is below 3e-9 of r
    float p = __builtin_fmaf(r, 1.98412698e-4f, 1.38888889e-3f);
    p = __builtin_fmaf(p, r, 8.33333333e-3f);
    p = __builtin_fmaf(p, r, 4.16666667e-2f);
    p = __builtin_fmaf(p, r, 1.66666667e-1f);
    p = __builtin_fmaf(p, r, 0.5f);
    return __builtin_fmaf(p * r, r, r);
}

INLINE float clamp(float x, float lo, float hi) {
    x = x < lo ? lo : x;  // a NaN compares false and stays
    return x > hi ? hi : x;
}

// 2^n in two factors, so that results up to the largest and down to the smallest number come out
// right
INLINE float one_exp(float x) {
    int32_t n;
    const float q = exp_reduce(clamp(x, -104.0f, 89.0f), &n);
    const int32_t half = n >> 1;
    const float scale1 = from_bits((int32_t)((uint32_t)(half + 127) << 23));
    const float scale2 = from_bits((int32_t)((uint32_t)(n - half + 127) << 23));
    return (1.0f + q) * scale1 * scale2;
}

// exp(x) for x <= 0, where one factor is enough: 0 below -87.6
INLINE float one_exp_below(float x) {
    int32_t n;
    const float q = exp_reduce(x < -88.0f ? -88.0f : x, &n);
    const float scale = from_bits((int32_t)((uint32_t)(n + 127) << 23));
    return __builtin_fmaf(scale, q, scale);
}

// 1 / d for d in [1, 2]: a cubic within 0.0018, and two Newton steps, each of which squares the
// error; the last one rounds
INLINE float one_reciprocal(float d) {
    float y = __builtin_fmaf(d, -0.22183694f, 1.33102184f);
    y = __builtin_fmaf(y, d, -2.9393404f);
    y = __builtin_fmaf(y, d, 2.82842239f);
    y = __builtin_fmaf(y, __builtin_fmaf(-d, y, 1.0f), y);
    return __builtin_fmaf(y, __builtin_fmaf(-d, y, 1.0f), y);
}

// exp(x) - 1 without cancellation: 2^n q + (2^n - 1); x at most 88
INLINE float one_expm1(float x) {
    int32_t n;
    const float q = exp_reduce(clamp(x, -40.0f, 88.0f), &n);
    const float scale = from_bits((int32_t)((uint32_t)(n + 127) << 23));
    return __builtin_fmaf(scale, q, scale - 1.0f);
}

// log of a positive normal number
INLINE float log_normal(float x) {
    const int32_t bits = to_bits(x);
    const int32_t e = (bits - 0x3f3504f3) >> 23;  // mantissa from sqrt(1/2) on
    const float m = from_bits((int32_t)((uint32_t)bits - ((uint32_t)e << 23)));
    // log(m) = 2 atanh(s), s = (m - 1) / (m + 1); f - s f + ... keeps the leading term exact
    const float f = m - 1.0f;
    const float s = f / (2.0f + f);
    const float z = s * s;
    float p = __builtin_fmaf(z, 0.24279078841f, 0.28498786688f);
    p = __builtin_fmaf(p, z, 0.39999999f);
    p = __builtin_fmaf(p, z, 0.66666666f);
    const float half = 0.5f * f * f;
    const float tail = s * __builtin_fmaf(p, z, half);
    const float k = (float)e;
    return __builtin_fmaf(k, 0.693359375f, f - (half - __builtin_fmaf(k, -2.12194440e-4f, tail)));
}

INLINE float one_log(float x) {
    // below the smallest normal number: scaled by 2^24
    const int tiny = x < 1.17549435e-38f;
    const float y = log_normal(tiny ? x * 16777216.0f : x);
    float r = tiny ? y - 16.6355323f : y;
    r = x == 0.0f ? -__builtin_inff() : r;
    r = x < 0.0f ? __builtin_nanf("") : r;
    r = x > 3.4028234e38f ? x : r;
    return x != x ? x : r;
}

// log(1 + x): the rounding error of 1 + x is put back to first order
INLINE float one_log1p(float x) {
    const float u = 1.0f + x;
    const float lost = u > 1.0f ? x - (u - 1.0f) : x + (1.0f - u);
    const float big = u > 1e8f ? 0.0f : lost / (u == 0.0f ? 1.0f : u);
    return one_log(u) + big;
}

INLINE float one_tanh(float x) {
    const float a = clamp(x < 0.0f ? -x : x, 0.0f, 10.0f);
    const float t = one_expm1(2.0f * a);
    const float y = t / (t + 2.0f);
    return x < 0.0f ? -y : y;
}

// 1 / (1 + exp(-x)); for negative x as e / (1 + e), so that small values keep their digits
INLINE float one_sigmoid(float x) {
    const float e = one_exp_below(x < 0.0f ? x : -x);
    const float y = one_reciprocal(1.0f + e);
    return x < 0.0f ? e * y : y;
}

INLINE float one_silu(float x) {
    return x * one_sigmoid(x);
}

INLINE float one_elu(float x) {
    const float e = one_expm1(x > 0.0f ? 0.0f : x);
    return x > 0.0f ? x : e;
}

INLINE float one_softplus(float x) {
    const float l = one_log1p(one_exp(x < 0.0f ? x : -x));
    return x > 0.0f ? x + l : l;
}

#endif

#endif
