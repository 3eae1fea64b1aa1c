// Vector math compiled for AVX-512 (float32 only: the double build uses libm).
#include "base/real.h"

#ifdef HWM_F64
typedef int vmath_is_libm;
#else
#define VMATH_TABLE nn_vmath_avx512
#include "nn/vmath_template.h"
#endif
