// Gradients of every tape operation against central differences in double.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gradient.h"

static nn_var linear(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_linear(t, in[0], in[1], in[2]);
}
static nn_var linear_no_bias(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_linear(t, in[0], in[1], NULL);
}
static nn_var dense(nn_tape* t, const nn_var* in, void* c) {
    return nn_dense(t, in[0], in[1], in[2], *(nn_act*)c);
}
static nn_var same_weight_twice(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_dense(t, nn_dense(t, in[0], in[1], in[2], NN_TANH), in[1], in[2], NN_ELU);
}

static void test_linear_layers(void** state) {
    (void)state;
    assert_true(gradient_matches(&(gradient_case){
        .build = linear, .n = 3, .rows = {7, 5, 1}, .cols = {6, 6, 5}, .seed = 1}));
    assert_true(gradient_matches(&(gradient_case){
        .build = linear_no_bias, .n = 2, .rows = {3, 17}, .cols = {9, 9}, .seed = 2}));
    nn_act acts[] = {NN_LINEAR, NN_ELU, NN_TANH, NN_SIGMOID};
    for (int i = 0; i < 4; i++)
        assert_true(gradient_matches(&(gradient_case){.build = dense,
                                                      .context = &acts[i],
                                                      .n = 3,
                                                      .rows = {4, 3, 1},
                                                      .cols = {5, 5, 3},
                                                      .tolerance = 1e-6,
                                                      .seed = 3}));
    assert_true(gradient_matches(&(gradient_case){.build = same_weight_twice,
                                                  .n = 3,
                                                  .rows = {4, 5, 1},
                                                  .cols = {5, 5, 5},
                                                  .tolerance = 1e-6,
                                                  .seed = 4}));
}

typedef nn_var (*unary_fn)(nn_tape*, nn_var);
static nn_var unary(nn_tape* t, const nn_var* in, void* c) {
    return (*(unary_fn*)c)(t, in[0]);
}

static void test_elementwise(void** state) {
    (void)state;
    unary_fn fns[] = {nn_elu, nn_silu, nn_tanh, nn_sigmoid, nn_softplus};
    for (size_t i = 0; i < sizeof fns / sizeof *fns; i++) {
        // elu has a kink in its second derivative at 0: both sides apart
        assert_true(gradient_matches(&(gradient_case){.build = unary,
                                                      .context = &fns[i],
                                                      .n = 1,
                                                      .rows = {5},
                                                      .cols = {7},
                                                      .lo = {0.01},
                                                      .hi = {4.0},
                                                      .seed = 10 + i}));
        assert_true(gradient_matches(&(gradient_case){.build = unary,
                                                      .context = &fns[i],
                                                      .n = 1,
                                                      .rows = {5},
                                                      .cols = {7},
                                                      .lo = {-4.0},
                                                      .hi = {-0.01},
                                                      .seed = 20 + i}));
    }
}

static nn_var arithmetic(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_var p = nn_mul(t, in[0], in[1]);
    nn_var q = nn_add(t, p, in[0]);
    nn_var r = nn_add(t, nn_mul(t, q, q), nn_add(t, in[1], in[1]));
    return nn_scale(t, r, 0.7);
}

static nn_var shapes(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_var joined = nn_concat(t, 3, (nn_var[]){in[0], in[1], in[0]});
    nn_var middle = nn_columns(t, joined, 2, 4);
    nn_var stacked = nn_stack(t, 2, (nn_var[]){nn_rows(t, middle, 1, 3), nn_tanh(t, middle)});
    nn_var mean = nn_mean_rows(t, nn_rows(t, stacked, 0, 6), 3);
    return nn_stack(t, 2, (nn_var[]){mean, nn_mul(t, stacked, stacked)});
}

static nn_var clamped(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    static const hwm_real lo[3] = {-0.5, -9.0, 0.2}, hi[3] = {0.5, 9.0, 0.6};
    return nn_clamp(t, in[0], lo, hi);
}

static void test_arithmetic_and_shapes(void** state) {
    (void)state;
    assert_true(gradient_matches(
        &(gradient_case){.build = arithmetic, .n = 2, .rows = {3, 3}, .cols = {4, 4}, .seed = 30}));
    assert_true(gradient_matches(
        &(gradient_case){.build = shapes, .n = 2, .rows = {4, 4}, .cols = {3, 2}, .seed = 31}));
    assert_true(gradient_matches(
        &(gradient_case){.build = clamped, .n = 1, .rows = {6}, .cols = {3}, .seed = 32}));
}

static const hwm_real target[] = {0.3, 1.0, 0.0, 0.6, 1.0, 0.0, 0.2, 0.9, 0.1, 0.0, 1.0, 0.5};
static const hwm_real weight[] = {1.0, 5.0, 0.0, 2.0};
static nn_var losses(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    return nn_concat(t, 4,
                     (nn_var[]){nn_mse(t, in[0], target, weight), nn_mse(t, in[0], target, NULL),
                                nn_bce_logits(t, in[0], target, weight),
                                nn_bce_logits(t, in[0], target, NULL)});
}

static void test_losses(void** state) {
    (void)state;
    assert_true(gradient_matches(
        &(gradient_case){.build = losses, .n = 1, .rows = {4}, .cols = {3}, .seed = 40}));
}

static nn_var stopped(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    // the stopped factor is input 1, a constant for the differences too
    return nn_mul(t, nn_tanh(t, in[0]), nn_stop(t, nn_tanh(t, in[1])));
}

static void test_stop_gradient(void** state) {
    (void)state;
    assert_true(gradient_matches(&(gradient_case){.build = stopped,
                                                  .n = 2,
                                                  .rows = {3, 3},
                                                  .cols = {2, 2},
                                                  .constant = {false, true},
                                                  .seed = 50}));
}

// An ensemble step as the learner composes it: two layers, clamp, delta, reward, continue logit.
static nn_var ensemble_step(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    static const hwm_real lo[2] = {-2.0, -2.0}, hi[2] = {2.0, 2.0};
    nn_var o = in[0], reward = NULL, parts[6];
    for (int step = 0; step < 3; step++) {
        nn_var h = nn_concat(t, 2, (nn_var[]){o, in[1]});
        h = nn_dense(t, h, in[2], in[3], NN_ELU);
        h = nn_dense(t, h, in[4], in[5], NN_ELU);
        nn_var y = nn_linear(t, h, in[6], in[7]);
        o = nn_clamp(t, nn_add(t, o, nn_scale(t, nn_columns(t, y, 0, 2), 0.1)), lo, hi);
        reward = nn_columns(t, y, 2, 1);
        parts[2 * step] = reward;
        parts[2 * step + 1] = nn_sigmoid(t, nn_columns(t, y, 3, 1));
    }
    return nn_concat(t, 6, parts);
}

static void test_ensemble_step(void** state) {
    (void)state;
    assert_true(gradient_matches(&(gradient_case){.build = ensemble_step,
                                                  .n = 8,
                                                  .rows = {4, 4, 6, 1, 5, 1, 4, 1},
                                                  .cols = {2, 1, 3, 6, 6, 5, 5, 4},
                                                  .tolerance = 1e-6,
                                                  .seed = 60}));
}

// ---- the check itself: a backward that is wrong by 0.01 % must be caught

typedef struct wrong {
    nn_var y, x;
} wrong;
static void wrong_backward(void* context) {
    const wrong* w = context;
    for (int i = 0; i < w->y->rows * w->y->cols; i++)
        w->x->g[i] += 1.0001 * w->y->g[i] * 2 * w->x->x[i];
}
static nn_var wrong_square(nn_tape* t, const nn_var* in, void* c) {
    (void)c;
    nn_var y = nn_new(t, in[0]->rows, in[0]->cols, true);
    for (int i = 0; i < y->rows * y->cols; i++)
        y->x[i] = in[0]->x[i] * in[0]->x[i];
    wrong* w = nn_tape_alloc(t, sizeof *w);
    *w = (wrong){y, in[0]};
    nn_custom(t, wrong_backward, w);
    return y;
}

static void test_planted_error_is_caught(void** state) {
    (void)state;
    const double error = gradient_error(
        &(gradient_case){.build = wrong_square, .n = 1, .rows = {3}, .cols = {4}, .seed = 70});
    assert_true(error > 0.9e-4 && error < 1.1e-4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_layers),           cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_arithmetic_and_shapes),   cmocka_unit_test(test_losses),
        cmocka_unit_test(test_stop_gradient),           cmocka_unit_test(test_ensemble_step),
        cmocka_unit_test(test_planted_error_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
