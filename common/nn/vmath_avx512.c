// Vector math compiled for AVX-512.
#define VMATH_TABLE nn_vmath_avx512
#include "nn/vmath_template.h"
