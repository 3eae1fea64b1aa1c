// Vector math: baseline table and dispatch.
#include "nn/vmath.h"

#ifdef HWM_F64
#include <math.h>

#include "nn/vmath_kernel.h"

void nn_vmath_select(nn_cpu_level level) {
    (void)level;
}

#define EXACT(name, expression)                                                                    \
    void nn_v##name(size_t n, const double* x, double* y) {                                        \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double v = x[i];                                                                 \
            y[i] = (expression);                                                                   \
        }                                                                                          \
    }
EXACT(exp, exp(v))
EXACT(expm1, expm1(v))
EXACT(log, log(v))
EXACT(log1p, log1p(v))
EXACT(tanh, tanh(v))
EXACT(sigmoid, v < 0.0 ? exp(v) / (1.0 + exp(v)) : 1.0 / (1.0 + exp(-v)))
EXACT(silu, v < 0.0 ? v * exp(v) / (1.0 + exp(v)) : v / (1.0 + exp(-v)))
EXACT(elu, v > 0.0 ? v : expm1(v))
EXACT(softplus, v > 0.0 ? v + log1p(exp(-v)) : log1p(exp(v)))

#else
#define VMATH_TABLE nn_vmath_base
#include "nn/vmath_template.h"

static const nn_vmath_table* table = &nn_vmath_base;

void nn_vmath_select(nn_cpu_level level) {
    table = &nn_vmath_base;
#if defined(__x86_64__)
    if (level >= NN_CPU_AVX512)
        table = &nn_vmath_avx512;
#else
    (void)level;
#endif
}

__attribute__((constructor)) static void choose_at_start(void) {
    nn_vmath_select(nn_cpu_best());
}

#define DISPATCH(name)                                                                             \
    void nn_v##name(size_t n, const float* x, float* y) {                                          \
        table->name(n, x, y);                                                                      \
    }
DISPATCH(exp)
DISPATCH(expm1)
DISPATCH(log)
DISPATCH(log1p)
DISPATCH(tanh)
DISPATCH(sigmoid)
DISPATCH(silu)
DISPATCH(elu)
DISPATCH(softplus)
#endif
