// Sine and cosine in double from plain arithmetic, so that native environments give the same bits
// on every host and the compiler can run them on several environments at once.
#ifndef HWM_ENV_SINCOS_H
#define HWM_ENV_SINCOS_H

#include <math.h>

// sine, cosine of x (radians), error below 4e-16 for |x| < 1e5. Taylor series on [-pi/4, pi/4] (the
// term left out is below 1e-19) after taking off the nearest multiple k of pi/2 in three parts
// (Cody & Waite 1980): the first two have 33 bits, so k times each is exact.
static inline void env_sincos(double x, double* sine, double* cosine) {
    double k = rint(x * 0.63661977236758134308);
    double r = ((x - k * 0x1.921fb544p+0) - k * 0x1.0b4611a6p-34) - k * 0x1.3198a2e037073p-69;
    double z = r * r;
    double s = 1.0 / 355687428096000.0;
    s = s * z - 1.0 / 1307674368000.0;
    s = s * z + 1.0 / 6227020800.0;
    s = s * z - 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z - 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z - 1.0 / 6.0;
    s = r + r * z * s;
    double c = 1.0 / 20922789888000.0;
    c = c * z - 1.0 / 87178291200.0;
    c = c * z + 1.0 / 479001600.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = 1.0 - (0.5 * z - z * z * c);
    // quadrant, kept in doubles: every step is a select
    double q = k - 4.0 * floor(k * 0.25);
    double a = q == 1.0 || q == 3.0 ? c : s;
    double b = q == 1.0 || q == 3.0 ? s : c;
    *sine = q >= 2.0 ? -a : a;
    *cosine = q == 1.0 || q == 2.0 ? -b : b;
}

#endif
