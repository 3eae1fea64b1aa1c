// Body of the vector math, included once per instruction set with VMATH_TABLE, the name of the
// table that it defines.
#include "nn/vmath_kernel.h"
#include "nn/vmath_scalar.h"

#define VMATH_LOOP(name)                                                                           \
    static void loop_##name(size_t n, const float* x, float* y) {                                  \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = one_##name(x[i]);                                                               \
    }
VMATH_LOOP(exp)
VMATH_LOOP(expm1)
VMATH_LOOP(log)
VMATH_LOOP(log1p)
VMATH_LOOP(tanh)
VMATH_LOOP(sigmoid)
VMATH_LOOP(silu)
VMATH_LOOP(elu)
VMATH_LOOP(softplus)

const nn_vmath_table VMATH_TABLE = {loop_exp,     loop_expm1, loop_log, loop_log1p,   loop_tanh,
                                    loop_sigmoid, loop_silu,  loop_elu, loop_softplus};
