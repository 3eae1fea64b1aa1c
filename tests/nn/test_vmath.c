// Vector math against libm in double: stated error bounds, special values, independence of position
// and instruction set.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/cpu.h"
#include "nn/vmath.h"

static double exact_sigmoid(double x) {
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}
static double exact_silu(double x) {
    return x * exact_sigmoid(x);
}
static double exact_elu(double x) {
    return x > 0 ? x : expm1(x);
}
static double exact_softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

typedef struct function {
    const char* name;
    void (*fast)(size_t, const float*, float*);
    double (*exact)(double);
    float lo, hi;
    double ulp;  // bound stated in vmath.h
} function;
static const function functions[] = {
    {"exp", nn_vexp, exp, -103.0f, 88.7f, 2},
    {"expm1", nn_vexpm1, expm1, -30.0f, 87.9f, 3},
    {"log", nn_vlog, log, 1e-38f, 1e6f, 2},
    {"log1p", nn_vlog1p, log1p, -0.9999f, 1e6f, 3},
    {"tanh", nn_vtanh, tanh, -12.0f, 12.0f, 3},
    {"sigmoid", nn_vsigmoid, exact_sigmoid, -87.0f, 40.0f, 3},
    {"silu", nn_vsilu, exact_silu, -80.0f, 40.0f, 4},
    {"elu", nn_velu, exact_elu, -30.0f, 30.0f, 3},
    {"softplus", nn_vsoftplus, exact_softplus, -80.0f, 80.0f, 4},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

// Distance in units of the last place of the exact value (of the smallest normal number below
// that).
static double ulps(float got, double exact) {
    const double size = fmax(fabs(exact), 1.17549435e-38);
    int e;
    frexp(size, &e);
    return fabs((double)got - exact) / ldexp(1.0, e - 24);
}

static void test_error_bounds(void** state) {
    (void)state;
    enum { N = 200000 };
    float* x = malloc(N * sizeof *x);
    float* y = malloc(N * sizeof *y);
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int f = 0; f < FUNCTIONS; f++) {
        const function* fn = &functions[f];
        // half of the arguments uniform, half at every scale down to 1e-8, both signs where allowed
        for (int i = 0; i < N; i++) {
            const float u = hwm_rng_uniform(&rng);
            if (i % 2) {
                x[i] = fn->lo + (fn->hi - fn->lo) * u;
            } else {
                const float size = expf(-18.0f + 21.0f * u) * (i % 4 ? 1.0f : -1.0f);
                x[i] = size < fn->lo || size > fn->hi ? 0.5f : size;
            }
        }
        for (int level = 0; level <= (int)nn_cpu_best(); level++) {
            nn_cpu_select((nn_cpu_level)level);
            fn->fast(N, x, y);
            double worst = 0.0;
            float where = 0.0f;
            for (int i = 0; i < N; i++) {
                const double error = ulps(y[i], fn->exact((double)x[i]));
                if (!(error <= worst)) {
                    worst = error;
                    where = x[i];
                }
            }
            if (!(worst <= fn->ulp))
                printf("%s (%s): %.2f ulp at %.9g\n", fn->name, nn_cpu_name((nn_cpu_level)level),
                       worst, where);
            assert_true(worst <= fn->ulp);
        }
    }
    free(x);
    free(y);
}

static void test_special_values(void** state) {
    (void)state;
    const float inf = INFINITY;
    for (int f = 0; f < FUNCTIONS; f++) {
        const float x[1] = {NAN};
        float y[1];
        functions[f].fast(1, x, y);
        assert_true(isnan(y[0]));
    }
    const struct {
        void (*fast)(size_t, const float*, float*);
        float x, y;
    } cases[] = {
        {nn_vexp, -inf, 0.0f},    {nn_vexp, inf, inf},        {nn_vexp, 0.0f, 1.0f},
        {nn_vexp, 200.0f, inf},   {nn_vexp, -200.0f, 0.0f},   {nn_vexpm1, -inf, -1.0f},
        {nn_vlog, 0.0f, -inf},    {nn_vlog, inf, inf},        {nn_vlog, 1.0f, 0.0f},
        {nn_vlog1p, -1.0f, -inf}, {nn_vlog1p, inf, inf},      {nn_vlog1p, 0.0f, 0.0f},
        {nn_vtanh, inf, 1.0f},    {nn_vtanh, -inf, -1.0f},    {nn_vtanh, 0.0f, 0.0f},
        {nn_vsigmoid, inf, 1.0f}, {nn_vsigmoid, -inf, 0.0f},  {nn_vsigmoid, 0.0f, 0.5f},
        {nn_velu, inf, inf},      {nn_velu, -inf, -1.0f},     {nn_velu, 0.0f, 0.0f},
        {nn_vsoftplus, inf, inf}, {nn_vsoftplus, -inf, 0.0f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float y;
        cases[i].fast(1, &cases[i].x, &y);
        if (y != cases[i].y)
            printf("case %zu: f(%g) = %g, expected %g\n", i, cases[i].x, y, cases[i].y);
        assert_true(y == cases[i].y);
    }
    float y = 0.0f;
    nn_vlog(1, &(float){-1.0f}, &y);
    assert_true(isnan(y));
}

static void test_same_bits_at_every_position_and_level(void** state) {
    (void)state;
    enum { N = 137 };
    float x[N], whole[N], one;
    hwm_rng rng;
    hwm_rng_init(&rng, 2, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int f = 0; f < FUNCTIONS; f++) {
        const function* fn = &functions[f];
        for (int i = 0; i < N; i++)
            x[i] = fn->lo + (fn->hi - fn->lo) * hwm_rng_uniform(&rng);
        nn_cpu_select(NN_CPU_BASE);
        fn->fast(N, x, whole);
        for (int level = 0; level <= (int)nn_cpu_best(); level++) {
            nn_cpu_select((nn_cpu_level)level);
            for (int n = 1; n <= N; n += 17) {
                float part[N];
                fn->fast((size_t)n, x + N - n, part);
                assert_memory_equal(part, whole + N - n, (size_t)n * sizeof(float));
            }
            for (int i = 0; i < N; i++) {
                fn->fast(1, x + i, &one);
                assert_memory_equal(&one, whole + i, sizeof one);
            }
            float in_place[N];
            memcpy(in_place, x, sizeof x);
            fn->fast(N, in_place, in_place);
            assert_memory_equal(in_place, whole, sizeof whole);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_bounds),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_same_bits_at_every_position_and_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
