// Optimisers in double against the textbook recurrences written out per number, and their edges.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/optim.h"

enum { N_W = 12, N_B = 3, N = N_W + N_B };

static nn_params* make(void) {
    hwm_param_list list;
    hwm_param_list_init(&list);
    hwm_param_list_add(&list, hwm_spec("w", HWM_F32, 2, 3, 4));
    hwm_param_list_add(&list, hwm_spec("b", HWM_F32, 1, 3));
    nn_params* p;
    assert_int_equal(nn_params_create(&p, &list), HWM_OK);
    for (int i = 0; i < N; i++)
        p->value[i] = i < N_W ? 0.1 * i - 0.5 : 0.0;
    return p;
}

static void gradient(nn_params* p, int step) {
    for (int i = 0; i < N; i++)
        p->grad[i] = sin(1.0 + i + 3.0 * step) * (i == 2 ? 20.0 : 0.1);
}

static double norm(const double* x, int n) {
    double s = 0.0;
    for (int i = 0; i < n; i++)
        s += x[i] * x[i];
    return sqrt(s);
}

static void test_adam_with_global_clipping(void** state) {
    (void)state;
    nn_params* p = make();
    nn_optim* o;
    const nn_optim_config config = nn_optim_adam(0.01, 1.0);
    assert_int_equal(nn_optim_create(&o, &config, &p->list), HWM_OK);
    double value[N], m[N] = {0}, v[N] = {0};
    memcpy(value, p->value, sizeof value);
    for (int t = 1; t <= 10; t++) {
        gradient(p, t);
        const double total = norm(p->grad, N), clip = total > 1.0 ? 1.0 / total : 1.0;
        for (int i = 0; i < N; i++) {
            const double g = p->grad[i] * clip;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            const double mh = m[i] / (1 - pow(0.9, t)), vh = v[i] / (1 - pow(0.999, t));
            value[i] -= 0.01 * mh / (sqrt(vh) + 1e-8);
        }
        double reported;
        assert_int_equal(nn_optim_apply(o, p, &reported, NULL), HWM_OK);
        assert_true(fabs(reported - total) < 1e-12 * total);
    }
    for (int i = 0; i < N; i++)
        assert_true(fabs(p->value[i] - value[i]) < 1e-13);
    assert_int_equal(nn_optim_updates(o), 10);
    nn_optim_destroy(&o);
    nn_params_destroy(&p);
}

static void test_laprop_with_agc_and_warm_up(void** state) {
    (void)state;
    nn_params* p = make();
    nn_optim* o;
    nn_optim_config config = nn_optim_laprop(4e-3);
    config.warmup_updates = 5;
    assert_int_equal(nn_optim_create(&o, &config, &p->list), HWM_OK);
    double value[N], m[N] = {0}, v[N] = {0};
    memcpy(value, p->value, sizeof value);
    for (int t = 1; t <= 10; t++) {
        gradient(p, t);
        const double lr = 4e-3 * (t < 5 ? t / 5.0 : 1.0);
        const int from[2] = {0, N_W}, count[2] = {N_W, N_B};
        for (int k = 0; k < 2; k++) {
            const double gn = norm(p->grad + from[k], count[k]),
                         pn = norm(value + from[k], count[k]);
            const double divisor = fmax(1.0, gn / (0.3 * fmax(1e-3, pn)));
            for (int i = from[k]; i < from[k] + count[k]; i++) {
                double g = p->grad[i] / divisor;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                g /= sqrt(v[i] / (1 - pow(0.999, t))) + 1e-20;
                m[i] = 0.9 * m[i] + 0.1 * g;
                value[i] -= lr * m[i] / (1 - pow(0.9, t));
            }
        }
        assert_int_equal(nn_optim_apply(o, p, NULL, NULL), HWM_OK);
    }
    for (int i = 0; i < N; i++)
        assert_true(fabs(p->value[i] - value[i]) < 1e-13);
    nn_optim_destroy(&o);
    nn_params_destroy(&p);
}

static void test_sgd_and_zero_gradients(void** state) {
    (void)state;
    nn_params* p = make();
    nn_optim* o;
    nn_optim_config config = {.kind = NN_SGD, .lr = 0.5};
    assert_int_equal(nn_optim_create(&o, &config, &p->list), HWM_OK);
    p->grad[3] = 0.2;
    const double before = p->value[3], other = p->value[4];
    assert_int_equal(nn_optim_apply(o, p, NULL, NULL), HWM_OK);
    assert_true(fabs(p->value[3] - (before - 0.1)) < 1e-15 && p->value[4] == other);
    nn_optim_destroy(&o);

    // a parameter that never had a gradient stays where it is, without a NaN, under every rule
    const nn_optim_kind kinds[] = {NN_ADAM, NN_LAPROP, NN_SGD};
    for (int k = 0; k < 3; k++) {
        config = nn_optim_laprop(0.1);
        config.kind = kinds[k];
        assert_int_equal(nn_optim_create(&o, &config, &p->list), HWM_OK);
        double value[N];
        memcpy(value, p->value, sizeof value);
        nn_params_zero_grad(p);
        for (int t = 0; t < 3; t++)
            assert_int_equal(nn_optim_apply(o, p, NULL, NULL), HWM_OK);
        assert_memory_equal(value, p->value, sizeof value);
        nn_optim_destroy(&o);
    }
    nn_params_destroy(&p);
}

static void test_update_that_is_not_finite_is_skipped_and_named(void** state) {
    (void)state;
    nn_params* p = make();
    nn_optim* o;
    const nn_optim_config config = nn_optim_adam(0.01, 1.0);
    assert_int_equal(nn_optim_create(&o, &config, &p->list), HWM_OK);
    const double bad[] = {NAN, INFINITY, -INFINITY};
    for (int k = 0; k < 3; k++) {
        double value[N];
        memcpy(value, p->value, sizeof value);
        gradient(p, 1);
        p->grad[N_W + 1] = bad[k];
        hwm_error err;
        assert_int_equal(nn_optim_apply(o, p, NULL, &err), HWM_ENUMERIC);
        assert_non_null(strstr(err.text, "'b'"));
        assert_memory_equal(value, p->value, sizeof value);
        assert_int_equal(nn_optim_skipped(o), k + 1);
        assert_int_equal(nn_optim_updates(o), 0);
    }
    nn_optim_destroy(&o);
    nn_params_destroy(&p);
}

static void test_saved_state_continues_the_same(void** state) {
    (void)state;
    nn_params *a = make(), *b = make();
    nn_optim *oa, *ob;
    const nn_optim_config config = nn_optim_adam(0.01, 0.0);
    assert_int_equal(nn_optim_create(&oa, &config, &a->list), HWM_OK);
    assert_int_equal(nn_optim_create(&ob, &config, &b->list), HWM_OK);
    for (int t = 1; t <= 4; t++) {
        gradient(a, t);
        assert_int_equal(nn_optim_apply(oa, a, NULL, NULL), HWM_OK);
    }
    const size_t n = nn_optim_state_count(oa);
    float* block = malloc(n * sizeof *block);
    nn_optim_save(oa, block);
    nn_optim_load(ob, block);
    memcpy(b->value, a->value, sizeof(double) * N);
    assert_int_equal(nn_optim_updates(ob), 4);
    gradient(a, 5);
    gradient(b, 5);
    nn_optim_apply(oa, a, NULL, NULL);
    nn_optim_apply(ob, b, NULL, NULL);
    for (int i = 0; i < N; i++)  // the state travels as float32
        assert_true(fabs(a->value[i] - b->value[i]) < 1e-8);
    // counters beyond 24 bits come back exactly
    block[2 * N] = 5.0f;
    block[2 * N + 1] = 3.0f;
    nn_optim_load(ob, block);
    assert_int_equal(nn_optim_updates(ob), 3 * 16777216 + 5);
    free(block);
    nn_optim_destroy(&oa);
    nn_optim_destroy(&ob);
    nn_params_destroy(&a);
    nn_params_destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adam_with_global_clipping),
        cmocka_unit_test(test_laprop_with_agc_and_warm_up),
        cmocka_unit_test(test_sgd_and_zero_gradients),
        cmocka_unit_test(test_update_that_is_not_finite_is_skipped_and_named),
        cmocka_unit_test(test_saved_state_continues_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
