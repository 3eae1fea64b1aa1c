// Vector math over n numbers. In float32 the results are within the stated error of the exact
// value, do not depend on the position in the array nor on the instruction set, and NaN stays NaN.
// In the double build they are libm's. In-place use (y == x) is allowed.
#ifndef HWM_NN_VMATH_H
#define HWM_NN_VMATH_H

#include <stddef.h>

#include "base/real.h"

void nn_vexp(size_t n, const hwm_real* x, hwm_real* y);       // 2 ulp; 0 below -104, inf above 89
void nn_vexpm1(size_t n, const hwm_real* x, hwm_real* y);     // 3 ulp
void nn_vlog(size_t n, const hwm_real* x, hwm_real* y);       // 2 ulp; -inf at 0, NaN below
void nn_vlog1p(size_t n, const hwm_real* x, hwm_real* y);     // 3 ulp
void nn_vtanh(size_t n, const hwm_real* x, hwm_real* y);      // 3 ulp
void nn_vsigmoid(size_t n, const hwm_real* x, hwm_real* y);   // 3 ulp; 0 below -87.6
void nn_vsilu(size_t n, const hwm_real* x, hwm_real* y);      // x sigmoid(x), 4 ulp
void nn_velu(size_t n, const hwm_real* x, hwm_real* y);       // x above 0, exp(x) - 1 below: 3 ulp
void nn_vsoftplus(size_t n, const hwm_real* x, hwm_real* y);  // log(1 + exp(x)), 4 ulp

#endif
