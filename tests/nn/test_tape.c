// The tape as a container: reuse without growth, recording off, gradients of shared values, values
// of simple operations.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nn/params.h"
#include "nn/tape.h"

static nn_tape* new_tape(void) {
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 20), HWM_OK);
    return t;
}

static nn_var small_net(nn_tape* t, float* x, float* w, float* gw) {
    nn_var weight = nn_wrap(t, w, gw, 2, 3);
    nn_var h = nn_dense(t, nn_wrap(t, x, NULL, 4, 3), weight, NULL, NN_TANH);
    static const float target[8];
    return nn_mse(t, h, target, NULL);
}

static void test_second_run_takes_nothing_more_and_repeats_the_bits(void** state) {
    (void)state;
    nn_tape* t = new_tape();
    float x[12], w[6], g1[6] = {0}, g2[6] = {0};
    for (int i = 0; i < 12; i++)
        x[i] = 0.1f * (float)(i - 5);
    for (int i = 0; i < 6; i++)
        w[i] = 0.3f * (float)(i - 2);
    nn_var loss = small_net(t, x, w, g1);
    nn_seed(loss, 1.0f);
    nn_tape_backward(t);
    const float first = loss->x[0];
    const size_t used = nn_tape_used(t), high = nn_tape_high_water(t);
    nn_tape_reset(t);
    assert_int_equal(nn_tape_used(t), 0);
    loss = small_net(t, x, w, g2);
    nn_seed(loss, 1.0f);
    nn_tape_backward(t);
    assert_true(loss->x[0] == first);
    assert_memory_equal(g1, g2, sizeof g1);
    assert_int_equal(nn_tape_used(t), used);
    assert_int_equal(nn_tape_high_water(t), high);
    assert_true(g1[0] != 0.0f);
    nn_tape_destroy(&t);
    assert_null(t);
}

static void test_nothing_is_recorded_when_recording_is_off(void** state) {
    (void)state;
    nn_tape* t = new_tape();
    float x[12] = {1.0f}, w[6] = {0.5f}, g[6] = {0};
    nn_tape_record(t, false);
    nn_var loss = small_net(t, x, w, g);
    assert_null(loss->g);
    nn_tape_backward(t);
    for (int i = 0; i < 6; i++)
        assert_true(g[i] == 0.0f);
    nn_tape_destroy(&t);
}

static void test_constants_get_no_gradient(void** state) {
    (void)state;
    nn_tape* t = new_tape();
    float x[2] = {1.0f, 2.0f}, g[2] = {0};
    nn_var a = nn_wrap(t, x, g, 1, 2);
    nn_var y = nn_mul(t, a, nn_stop(t, a));
    assert_null(nn_add(t, nn_stop(t, a), nn_stop(t, a))->g);
    nn_seed(y, 1.0f);
    nn_tape_backward(t);
    assert_true(g[0] == 1.0f && g[1] == 2.0f);  // half of the derivative of x^2
    nn_tape_destroy(&t);
}

static void test_values(void** state) {
    (void)state;
    nn_tape* t = new_tape();
    float x[4] = {-1.0f, 2.0f, 0.5f, NAN};
    const float lo[2] = {0.0f, -1.0f}, hi[2] = {1.0f, 1.5f};
    nn_var c = nn_clamp(t, nn_wrap(t, x, NULL, 2, 2), lo, hi);
    assert_true(c->x[0] == 0.0f && c->x[1] == 1.5f && c->x[2] == 0.5f && isnan(c->x[3]));
    // one row counts five times, one not at all; the divisor stays the number of rows
    const float target[3] = {1.0f, 0.0f, 0.0f}, weight[3] = {5.0f, 0.0f, 1.0f};
    float y[3] = {3.0f, 7.0f, 1.0f};
    nn_var loss = nn_mse(t, nn_wrap(t, y, NULL, 3, 1), target, weight);
    assert_true(fabsf(loss->x[0] - (5.0f * 4.0f + 1.0f) / 3.0f) < 1e-6f);
    float logit[3] = {100.0f, 0.0f, -100.0f};
    loss = nn_bce_logits(t, nn_wrap(t, logit, NULL, 3, 1), target, NULL);
    assert_true(fabsf(loss->x[0] - logf(2.0f) / 3.0f) < 1e-6f);
    nn_tape_destroy(&t);
}

static void test_params_block_names_and_initial_values(void** state) {
    (void)state;
    hwm_param_list list;
    hwm_param_list_init(&list);
    const int w = hwm_param_list_add(&list, hwm_spec("layer.weight", HWM_F32, 2, 64, 100));
    const int b = hwm_param_list_add(&list, hwm_spec("layer.bias", HWM_F32, 1, 64));
    nn_params* p;
    nn_params* slow;
    assert_int_equal(nn_params_create(&p, &list), HWM_OK);
    assert_int_equal(nn_params_create(&slow, &list), HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_PARAMETERS, 0, 0, 0);
    nn_params_init_trunc(p, w, &rng, 100.0, 1.0);
    nn_params_fill(p, b, 0.25);
    double sum = 0.0, squares = 0.0, largest = 0.0;
    for (int i = 0; i < 6400; i++) {
        sum += p->value[i];
        squares += (double)p->value[i] * p->value[i];
        largest = fmax(largest, fabs((double)p->value[i]));
    }
    assert_true(fabs(sum / 6400) < 0.005);
    assert_true(fabs(sqrt(squares / 6400) - 0.1) < 0.003);  // 1 / sqrt(fan_in) after truncation
    assert_true(largest <= 2.0 * 1.1368 / 10.0 + 1e-6);
    assert_true(p->value[6400] == 0.25f && p->value[6463] == 0.25f);

    nn_params_ema(slow, p, 0.02);
    assert_true(fabsf(slow->value[6400] - 0.005f) < 1e-8f);

    nn_tape* t = new_tape();
    nn_var v = nn_param(t, p, b);
    assert_int_equal(v->rows, 1);
    assert_int_equal(v->cols, 64);
    assert_ptr_equal(v->x, p->value + 6400);
    assert_ptr_equal(v->g, p->grad + 6400);
    nn_seed(v, 2.0f);
    assert_true(p->grad[6400] == 2.0f);
    nn_params_zero_grad(p);
    assert_true(p->grad[6400] == 0.0f);
    nn_tape_destroy(&t);
    nn_params_destroy(&p);
    nn_params_destroy(&slow);
}

// Two graphs one after the other: run backwards as sections, in either order, they give what each
// gives alone, in the memory of the larger one's gradients.
static void test_sections(void** state) {
    (void)state;
    enum { N = 40 };
    nn_tape* t = new_tape();
    float x[N], w[2][N], g[3][2][N];
    for (int i = 0; i < N; i++) {
        x[i] = 0.1f * (float)(i - 7);
        w[0][i] = 0.3f + 0.01f * (float)i;
        w[1][i] = 1.0f - 0.02f * (float)i;
    }
    memset(g, 0, sizeof g);
    nn_var y[2];
    for (int way = 0; way < 3; way++) {
        nn_tape_reset(t);
        nn_section s[2];
        for (int k = 0; k < 2; k++) {
            if (way > 0)
                nn_section_begin(t);
            nn_var v = nn_wrap(t, w[k], g[way][k], 1, N);
            y[k] = nn_mul(t, nn_tanh(t, nn_mul(t, nn_wrap(t, x, NULL, 1, N), v)), v);
            if (way > 0)
                s[k] = nn_section_end(t);
        }
        if (way == 0) {
            nn_seed(y[0], 1.0f);
            nn_seed(y[1], 2.0f);
            nn_tape_backward(t);
            continue;
        }
        assert_ptr_equal(y[0]->g, y[1]->g);
        for (int i = 0; i < 2; i++) {
            const int k = way == 1 ? i : 1 - i;
            nn_section_open(t, &s[k]);
            nn_seed(y[k], k == 0 ? 1.0f : 2.0f);
            nn_tape_backward(t);
        }
        assert_memory_equal(g[0], g[way], sizeof g[0]);
        assert_true(g[0][0][N - 1] > 0.5f);
    }
    nn_tape_destroy(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_run_takes_nothing_more_and_repeats_the_bits),
        cmocka_unit_test(test_nothing_is_recorded_when_recording_is_off),
        cmocka_unit_test(test_constants_get_no_gradient),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_params_block_names_and_initial_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
