// Numbers of an independent NumPy implementation (tests/golden/nn/reference.py): RSSM unrolled over
// a batch with resets and padding, its losses with free nats and two-hot rewards, lambda-returns,
// LaProp with clipping over ten updates.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/dreamer.h"
#include "nn/safetensors.h"

enum {
    D = 8,
    H = 4,
    C = 3,
    U = 4,
    S = 2,
    G = 2,
    O = 3,
    A = 2,
    N = 3,
    T = 4,
    ROWS = N * T,
    Z = S * C
};

typedef struct fixture {
    hwm_param_list list;
    float* value;
} fixture;

static void load(fixture* f, const char* name) {
    char path[512];
    const char* source = getenv("HWM_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/golden/nn/%s.safetensors", source ? source : ".", name);
    hwm_error err;
    if (nn_safetensors_list(path, &f->list, NULL, NULL, &err) != HWM_OK)
        fail_msg("%s", err.text);
    f->value = malloc(f->list.count * sizeof *f->value);
    if (nn_safetensors_read(path, &f->list, f->value, &err) != HWM_OK)
        fail_msg("%s", err.text);
}

static void unload(fixture* f) {
    free(f->value);
}

// A tensor of the fixture in the number type of the library; caller frees.
static hwm_real* tensor(const fixture* f, const char* name, size_t count) {
    const int i = hwm_param_list_find(&f->list, name);
    if (i < 0 || hwm_tensor_count(&f->list.entry[i].spec) != count)
        fail_msg("fixture has no '%s' of %zu numbers", name, count);
    hwm_real* x = malloc(count * sizeof *x);
    for (size_t j = 0; j < count; j++)
        x[j] = (hwm_real)f->value[f->list.entry[i].offset + j];
    return x;
}

static void same(const char* name, const hwm_real* got, const fixture* f, size_t count) {
    hwm_real* want = tensor(f, name, count);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= 1e-6 * fmax(1.0, fabs((double)want[i]))))
            fail_msg("%s[%zu] = %.9g, expected %.9g", name, i, (double)got[i], (double)want[i]);
    free(want);
}

static void test_rssm_and_its_losses(void** state) {
    (void)state;
    static fixture params, batch, expected;
    load(&params, "rssm_params");
    load(&batch, "rssm_batch");
    load(&expected, "rssm_expected");

    static hwm_rssm rssm;
    static hwm_param_list list;
    const hwm_rssm_sizes sizes = {"golden", D, H, C, U, S, G, N, T};
    const hwm_rssm_options options = hwm_rssm_default_options();
    hwm_param_list_init(&list);
    hwm_rssm_declare(&rssm, &list, &sizes, &options, O, A);
    assert_int_equal(list.n, params.list.n);
    nn_params* p;
    assert_int_equal(nn_params_create(&p, &list), HWM_OK);
    for (int i = 0; i < list.n; i++) {
        const size_t n = hwm_tensor_count(&list.entry[i].spec);
        hwm_real* x = tensor(&params, list.entry[i].spec.name, n);
        memcpy(p->value + list.entry[i].offset, x, n * sizeof *x);
        free(x);
    }

    hwm_rssm_batch b = {.N = N, .T = T};
    struct {
        hwm_real** to;
        const char* name;
        size_t n;
    } columns[] = {{&b.obs, "obs", ROWS * O},     {&b.action, "action", ROWS * A},
                   {&b.reward, "reward", ROWS},   {&b.keep, "keep", ROWS},
                   {&b.cont, "cont", ROWS},       {&b.weight, "weight", ROWS},
                   {&b.draws, "draws", ROWS * S}, {&b.deter, "deter0", N * D},
                   {&b.stoch, "stoch0", N * Z}};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        *columns[i].to = tensor(&batch, columns[i].name, columns[i].n);

    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 24), HWM_OK);
    hwm_rssm_vars v;
    hwm_rssm_bind(&rssm, t, p, false, &v);
    const hwm_rssm_unrolled u = hwm_rssm_unroll(&v, t, &b);
    same("deter", u.deter->x, &expected, ROWS * D);
    same("stoch", u.stoch->x, &expected, ROWS * Z);
    same("posterior", u.posterior->x, &expected, ROWS * Z);
    same("prior", hwm_rssm_prior(&v, t, u.deter)->x, &expected, ROWS * Z);
    nn_var feat = hwm_rssm_features(t, (hwm_rssm_state){u.deter, u.stoch});
    same("reward_mean", nn_twohot_mean(t, hwm_head_forward(&v.reward, t, feat), rssm.bins)->x,
         &expected, ROWS);
    hwm_rssm_losses l;
    hwm_rssm_loss(&v, t, &b, &u, 1.0, &l);
    const hwm_real losses[4] = {(hwm_real)l.obs, (hwm_real)l.reward, (hwm_real)l.cont,
                                (hwm_real)l.kl},
                   total = (hwm_real)l.total;
    same("losses", losses, &expected, 4);
    same("total", &total, &expected, 1);

    nn_tape_destroy(&t);
    nn_params_destroy(&p);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        free(*columns[i].to);
    unload(&params);
    unload(&batch);
    unload(&expected);
}

static void test_returns(void** state) {
    (void)state;
    static fixture f;
    load(&f, "returns");
    hwm_real *r = tensor(&f, "r", 30), *c = tensor(&f, "c", 30), *V = tensor(&f, "V", 30), R[25];
    hwm_lambda_returns(R, r, c, V, 5, 5, 0.95);
    same("R", R, &f, 25);
    free(r);
    free(c);
    free(V);
    unload(&f);
}

static void test_ten_updates_of_laprop(void** state) {
    (void)state;
    static fixture f;
    load(&f, "laprop");
    hwm_real *w = tensor(&f, "w", 12), *b = tensor(&f, "b", 5), *gw = tensor(&f, "grad_w", 120),
             *gb = tensor(&f, "grad_b", 50);
    static hwm_param_list list;
    hwm_param_list_init(&list);
    hwm_param_list_add(&list, hwm_spec("w", HWM_F32, 2, 4, 3));
    hwm_param_list_add(&list, hwm_spec("b", HWM_F32, 1, 5));
    nn_params* p;
    nn_optim* o;
    nn_optim_config config = nn_optim_laprop(4e-3);
    config.warmup_updates = 4;
    assert_int_equal(nn_params_create(&p, &list), HWM_OK);
    assert_int_equal(nn_optim_create(&o, &config, &list), HWM_OK);
    memcpy(p->value, w, 12 * sizeof *w);
    memcpy(p->value + 12, b, 5 * sizeof *b);
    for (int t = 0; t < 10; t++) {
        memcpy(p->grad, gw + 12 * t, 12 * sizeof *gw);
        memcpy(p->grad + 12, gb + 5 * t, 5 * sizeof *gb);
        assert_int_equal(nn_optim_apply(o, p, NULL, NULL), HWM_OK);
    }
    same("after_w", p->value, &f, 12);
    same("after_b", p->value + 12, &f, 5);
    nn_optim_destroy(&o);
    nn_params_destroy(&p);
    free(w);
    free(b);
    free(gw);
    free(gb);
    unload(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rssm_and_its_losses),
        cmocka_unit_test(test_returns),
        cmocka_unit_test(test_ten_updates_of_laprop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
