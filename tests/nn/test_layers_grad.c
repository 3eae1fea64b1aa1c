// Gradients of the world models' layers and distributions against central differences in double,
// and of whole cells.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "gradient.h"
#include "nn/dist.h"
#include "nn/layers.h"

#define CASE(...) assert_true(gradient_matches(&(gradient_case){__VA_ARGS__}))

static nn_var norm(nn_tape* t, const nn_var* in, void* c) {
    return *(int*)c ? nn_norm_silu(t, in[0], in[1]) : nn_norm(t, in[0], in[1]);
}
static nn_var layer(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_layer(t, in[0], in[1], in[2], in[3]);
}

static void test_normalised_layers(void** state) {
    (void)state;
    int silu = 0;
    CASE(.build = norm, .context = &silu, .n = 2, .rows = {4, 1}, .cols = {19, 19}, .seed = 1);
    silu = 1;
    CASE(.build = norm, .context = &silu, .n = 2, .rows = {4, 1}, .cols = {37, 37}, .seed = 2);
    CASE(.build = norm, .context = &silu, .n = 2, .rows = {3, 1}, .cols = {5, 5},
         .constant = {false, true}, .seed = 3);
    CASE(.build = layer, .n = 4, .rows = {5, 6, 1, 1}, .cols = {4, 4, 6, 6}, .seed = 4);
}

static nn_var block(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_linear_parts(t, in[0], in[1], in[2], in[3], 3);
}
static nn_var parts(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_var y = nn_linear_parts(t, in[0], in[1], in[2], in[3], 1);
    return nn_linear_parts(t, nn_tanh(t, y), in[1], in[2], NULL, 1);
}
static nn_var block_twice(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_var h = nn_block_linear(t, in[0], in[1], NULL, 2);
    return nn_block_linear(t, nn_tanh(t, h), in[1], NULL, 2);
}

static void test_block_linear(void** state) {
    (void)state;
    CASE(.build = block, .n = 4, .rows = {4, 4, 12, 1}, .cols = {6, 3, 5, 12}, .seed = 5);
    CASE(.build = parts, .n = 4, .rows = {4, 4, 6, 1}, .cols = {6, 3, 9, 6}, .seed = 22);
    CASE(.build = parts, .n = 4, .rows = {4, 4, 6, 1}, .cols = {6, 3, 9, 6},
         .constant = {true, false, false, true}, .seed = 23);
    CASE(.build = block_twice, .n = 2, .rows = {3, 6}, .cols = {6, 3}, .seed = 6);
}

// Layers on one-hot codes: the numbers and gradients of the same rows as plain numbers, whichever
// part of the input they are, in one product or joined over steps, with groups that are zero.
enum { CODES = 5, GROUPS = 3, CLASSES = 4, WIDE = GROUPS * CLASSES, PLAIN = 7, OUT = 21 };

static void codes_run(bool hot, bool first, hwm_real* w, hwm_real* gw, hwm_real* gx, hwm_real* y) {
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 20), HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, 31, HWM_PURPOSE_TEST, 0, 0, 0);
    nn_var wv = nn_wrap(t, w, gw, OUT, WIDE + PLAIN);
    const hwm_real some[CODES] = {1, 0, 1, 1, 0};
    for (int step = 0; step < 3; step++) {
        hwm_real* p = nn_tape_alloc(t, CODES * WIDE * sizeof *p);
        for (int i = 0; i < CODES * WIDE; i++)
            p[i] = (hwm_real)0.25;
        hwm_real* u = nn_tape_alloc(t, CODES * GROUPS * sizeof *u);
        for (int i = 0; i < CODES * GROUPS; i++)
            u[i] = (hwm_real)hwm_rng_uniform(&rng);
        nn_var z = nn_one_hot(t, nn_wrap(t, p, gx + step * CODES * WIDE, CODES, WIDE), CLASSES, u);
        nn_var halves[2] = {nn_rows(t, z, 0, 2), nn_rows(t, z, 2, CODES - 2)};
        z = nn_mask_rows(t, nn_stack(t, 2, halves), some);
        assert_true(z->hot && z->classes == CLASSES && z->hot[0] >= 0 && z->hot[GROUPS] == -1);
        if (!hot)
            z->hot = NULL;
        nn_var x = nn_new(t, CODES, PLAIN, false);
        for (int i = 0; i < CODES * PLAIN; i++)
            x->x[i] = (hwm_real)hwm_rng_normal(&rng);
        nn_var out =
            first ? nn_linear_parts(t, z, x, wv, NULL, 1) : nn_linear_parts(t, x, z, wv, NULL, 1);
        for (int i = 0; i < CODES * OUT; i++) {
            y[step * CODES * OUT + i] = out->x[i];
            out->g[i] = (hwm_real)hwm_rng_normal(&rng);
        }
    }
    nn_tape_backward(t);
    nn_tape_destroy(&t);
}

static void test_layers_on_codes(void** state) {
    (void)state;
    enum { COUNT = OUT * (WIDE + PLAIN) };
    static hwm_real w[COUNT], g[2][COUNT], gx[2][3 * CODES * WIDE], y[2][3 * CODES * OUT];
    hwm_rng rng;
    hwm_rng_init(&rng, 30, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < COUNT; i++)
        w[i] = (hwm_real)hwm_rng_normal(&rng);
    for (int first = 0; first < 2; first++) {
        memset(g, 0, sizeof g);
        memset(gx, 0, sizeof gx);
        for (int hot = 0; hot < 2; hot++)
            codes_run(hot == 1, first == 1, w, g[hot], gx[hot], y[hot]);
        double moved = 0;
        for (int i = 0; i < COUNT; i++) {
            assert_true(fabs((double)(g[0][i] - g[1][i])) < 1e-12);
            moved = fmax(moved, fabs((double)g[1][i]));
        }
        assert_true(moved > 0.5);
        for (int i = 0; i < 3 * CODES * WIDE; i++)
            assert_true(fabs((double)(gx[0][i] - gx[1][i])) < 1e-12);
        for (int i = 0; i < 3 * CODES * OUT; i++)
            assert_true(fabs((double)(y[0][i] - y[1][i])) < 1e-12);
    }
}

// Gradients of the inputs of a large layer on few rows, whose weight is packed for it, against sums
// written out.
static void test_inputs_of_a_large_layer(void** state) {
    (void)state;
    enum { ROWS = 3, D = 128, SHARED = 64, G = 2, IN = D / G + SHARED, O = 1152, EACH = O / G };
    static hwm_real w[O * IN], x[ROWS * D], gx[ROWS * D], z[ROWS * SHARED], gz[ROWS * SHARED];
    hwm_rng rng;
    hwm_rng_init(&rng, 33, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < O * IN; i++)
        w[i] = (hwm_real)hwm_rng_normal(&rng);
    memset(gx, 0, sizeof gx);
    memset(gz, 0, sizeof gz);
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 23), HWM_OK);
    nn_var y = nn_linear_parts(t, nn_wrap(t, x, gx, ROWS, D), nn_wrap(t, z, gz, ROWS, SHARED),
                               nn_wrap(t, w, NULL, O, IN), NULL, G);
    for (int i = 0; i < ROWS * O; i++)
        y->g[i] = (hwm_real)hwm_rng_normal(&rng);
    nn_tape_backward(t);
    for (int n = 0; n < ROWS; n++)
        for (int j = 0; j < D + SHARED; j++) {
            double want = 0;
            for (int o = 0; o < O; o++) {
                const int g = o / EACH, column = j < D ? j - g * (D / G) : D / G + j - D;
                if (j >= D || j / (D / G) == g)
                    want += (double)y->g[n * O + o] * (double)w[o * IN + column];
            }
            const hwm_real have = j < D ? gx[n * D + j] : gz[n * SHARED + j - D];
            assert_true(fabs((double)have - want) < 1e-9);
        }
    nn_tape_destroy(&t);
}

static nn_var gru(nn_tape* t, const nn_var* in, void* c) {
    return nn_gru(t, in[0], in[1], *(int*)c);
}

static void test_gru(void** state) {
    (void)state;
    int blocks = 1;
    CASE(.build = gru, .context = &blocks, .n = 2, .rows = {3, 3}, .cols = {15, 5}, .seed = 7);
    blocks = 3;
    CASE(.build = gru, .context = &blocks, .n = 2, .rows = {4, 4}, .cols = {18, 6}, .seed = 8);
    CASE(.build = gru, .context = &blocks, .n = 2, .rows = {4, 4}, .cols = {18, 6},
         .constant = {true, false}, .seed = 9);
    CASE(.build = gru, .context = &blocks, .n = 2, .rows = {4, 4}, .cols = {18, 6},
         .constant = {false, true}, .seed = 10);
}

static const int picks[6] = {2, 0, 2, 1, 3, 3};
static const hwm_real keep[4] = {1, 0, 0.5, 1};
static nn_var rows(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_var g = nn_gather(t, nn_mask_rows(t, in[0], keep), picks, 6);
    nn_var s = nn_sum_columns(t, nn_mul(t, g, g));
    static const hwm_real w[6] = {1, 2, 0, 3, 0.5, 1};
    return nn_concat(t, 3, (nn_var[]){nn_mean(t, s, w), nn_mean(t, s, NULL), nn_mean(t, g, w)});
}

static void test_rows(void** state) {
    (void)state;
    CASE(.build = rows, .n = 1, .rows = {4}, .cols = {3}, .seed = 11);
}

static nn_var unary(nn_tape* t, const nn_var* in, void* c) {
    return (*(nn_var(**)(nn_tape*, nn_var))c)(t, in[0]);
}
static nn_var at_least(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_sub(t, nn_at_least(t, in[0], 0.4), nn_scale(t, in[0], 0.1));
}

static void test_elementwise(void** state) {
    (void)state;
    nn_var (*fns[])(nn_tape*, nn_var) = {nn_symlog, nn_symexp, nn_bounded_normal};
    for (int i = 0; i < 3; i++) {
        CASE(.build = unary, .context = &fns[i], .n = 1, .rows = {3}, .cols = {6}, .lo = {0.01},
             .hi = {3}, .seed = 12);
        CASE(.build = unary, .context = &fns[i], .n = 1, .rows = {3}, .cols = {6}, .lo = {-3},
             .hi = {-0.01}, .seed = 13);
    }
    CASE(.build = at_least, .n = 1, .rows = {4}, .cols = {5}, .seed = 14);
}

// x / max(1, |x|) with a constant denominator: not the derivative of the function, so checked by
// hand
static void test_squash_passes_the_gradient_over_the_denominator(void** state) {
    (void)state;
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 16), HWM_OK);
    hwm_real x[3] = {-4.0, 0.5, 2.0}, g[3] = {0};
    nn_var y = nn_squash(t, nn_wrap(t, x, g, 1, 3));
    assert_true(y->x[0] == -1.0 && y->x[1] == 0.5 && y->x[2] == 1.0);
    nn_seed(y, 1);
    nn_tape_backward(t);
    assert_true(g[0] == 0.25 && g[1] == 1.0 && g[2] == 0.5);
    nn_tape_destroy(&t);
}

static nn_var categorical(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_categorical(t, in[0], 4, 0.05);
}
static nn_var kl(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_kl(t, nn_categorical(t, in[0], 4, 0.01), nn_categorical(t, in[1], 4, 0.01));
}
static nn_var entropy(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_entropy(t, nn_categorical(t, in[0], 4, 0.01));
}
static const hwm_real chosen[3 * 8] = {0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0,
                                       0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0};
static nn_var log_prob(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_categorical_log_prob(t, nn_categorical(t, in[0], 4, 0.01), chosen);
}

static void test_categorical(void** state) {
    (void)state;
    CASE(.build = categorical, .n = 1, .rows = {3}, .cols = {8}, .seed = 15);
    CASE(.build = kl, .n = 2, .rows = {3, 3}, .cols = {8, 8}, .seed = 16);
    CASE(.build = entropy, .n = 1, .rows = {3}, .cols = {8}, .seed = 17);
    CASE(.build = log_prob, .n = 1, .rows = {3}, .cols = {8}, .seed = 18);
}

static void test_straight_through(void** state) {
    (void)state;
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 16), HWM_OK);
    hwm_real p[6] = {0.2, 0.3, 0.5, 0.6, 0.3, 0.1}, g[6] = {0};
    const hwm_real u[2] = {0.499, 0.9999999999};
    nn_var in = nn_wrap(t, p, g, 1, 6);
    nn_var y = nn_one_hot(t, in, 3, u);
    const hwm_real expected[6] = {0, 1, 0, 0, 0, 1};
    assert_memory_equal(y->x, expected, sizeof expected);
    for (int i = 0; i < 6; i++)
        y->g[i] = i + 1;
    nn_tape_backward(t);
    for (int i = 0; i < 6; i++)
        assert_true(g[i] == i + 1);
    y = nn_one_hot(t, in, 3, NULL);
    const hwm_real most[6] = {0, 0, 1, 1, 0, 0};
    assert_memory_equal(y->x, most, sizeof most);
    nn_tape_destroy(&t);
}

static hwm_real bins[NN_BINS];
static const hwm_real returns[3] = {0.0, -3.7, 1234.5};
static nn_var twohot(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_twohot_bins(bins);
    nn_var mean = nn_scale(t, nn_twohot_mean(t, in[0], bins), 1e-7);  // bins reach 5e8
    return nn_concat(t, 2, (nn_var[]){nn_twohot_loss(t, in[0], returns, bins), mean});
}

static void test_twohot(void** state) {
    (void)state;
    CASE(.build = twohot, .n = 1, .rows = {3}, .cols = {NN_BINS}, .tolerance = 1e-6, .seed = 19);
    assert_true(bins[0] == -bins[NN_BINS - 1] && bins[NN_BINS / 2] == 0);
    assert_true(fabs(bins[NN_BINS - 1] / expm1(20.0) - 1.0) < 1e-12);
    for (int i = 0; i + 1 < NN_BINS; i++)
        assert_true(bins[i] < bins[i + 1]);
    const double xs[] = {0, 1, -1, 0.003, 77.7, -1e6, 1e30, -1e30};
    for (int i = 0; i < 8; i++) {
        int k;
        hwm_real w;
        nn_twohot_encode(bins, xs[i], &k, &w);
        assert_true(k >= 0 && k + 1 < NN_BINS && w >= 0 && w <= 1);
        const double back = (1 - w) * bins[k] + w * bins[k + 1];
        const double want = fmax(fmin(xs[i], bins[NN_BINS - 1]), bins[0]);
        assert_true(fabs(back - want) <= 1e-12 * fmax(1.0, fabs(want)));
    }
    // equal logits: exactly zero
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 20), HWM_OK);
    nn_var z = nn_new(t, 2, NN_BINS, false);
    for (int i = 0; i < 2 * NN_BINS; i++)
        z->x[i] = i < NN_BINS ? 0 : 3.1;
    nn_var m = nn_twohot_mean(t, z, bins);
    assert_true(m->x[0] == 0 && m->x[1] == 0);
    nn_tape_destroy(&t);
}

static const hwm_real actions[6] = {0.3, -0.9, 0.1, 1.2, -0.4, 0.0};
static nn_var normal(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_var d = nn_bounded_normal(t, in[0]);
    return nn_concat(t, 2, (nn_var[]){nn_normal_log_prob(t, d, actions), nn_normal_entropy(t, d)});
}
static const hwm_real outcomes[6] = {1, 0, 1, 0.5, 0, 1};
static nn_var bernoulli(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_concat(t, 3,
                     (nn_var[]){nn_bernoulli_log_prob(t, in[0], outcomes),
                                nn_bernoulli_entropy(t, in[0]),
                                nn_squared_error(t, in[0], outcomes)});
}

static void test_normal_and_bernoulli(void** state) {
    (void)state;
    CASE(.build = normal, .n = 1, .rows = {3}, .cols = {4}, .seed = 20);
    CASE(.build = bernoulli, .n = 1, .rows = {3}, .cols = {2}, .seed = 21);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalised_layers),
        cmocka_unit_test(test_block_linear),
        cmocka_unit_test(test_layers_on_codes),
        cmocka_unit_test(test_inputs_of_a_large_layer),
        cmocka_unit_test(test_gru),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_squash_passes_the_gradient_over_the_denominator),
        cmocka_unit_test(test_categorical),
        cmocka_unit_test(test_straight_through),
        cmocka_unit_test(test_twohot),
        cmocka_unit_test(test_normal_and_bernoulli),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
