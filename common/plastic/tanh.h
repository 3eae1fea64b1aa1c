// tanh for controllers, bit-identical on every host: basic arithmetic only, nothing fused, no libm
// (the double twin, which only gradient checks link, uses libm).
//
//   tanh(x) = e / (e + 2), e = expm1(2|x|), with the sign of x; |error| < 2.5 ulp over all floats
//   (test_tanh). expm1(y): y = n ln 2 + r, |r| <= ln(2)/2, Taylor series of degree 7 in r, then 2^n
//   expm1(r) + (2^n - 1).
#ifndef HWM_PLASTIC_TANH_H
#define HWM_PLASTIC_TANH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/real.h"

#ifdef HWM_F64
static inline double hwm_tanh(double x) {
    return tanh(x);
}
#else
static inline float hwm_tanh(float x) {
    float ax = fabsf(x);
    ax = ax > 10.0f ? 10.0f : ax;  // NaN passes through
    float y = ax + ax;

    // n = round(y / ln 2) by the shift constant 1.5 * 2^23, whose low mantissa bits then hold n
    float shifted = y * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits - 0x4b400000u + 127u) << 23;
    float two_n;
    memcpy(&two_n, &bits, sizeof two_n);

    // the first part of ln 2 has 10 bits, so that n times it is exact
    float r = y - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    float em1 = (p * r) * r + r;
    float e = two_n * em1 + (two_n - 1.0f);
    return copysignf(e / (e + 2.0f), x);
}
#endif

#endif
