// Distributions over rows without a tape, against their formulas in double; a row alone gives the
// bits that it gives among others. Gradients: test_layers_grad.c, through the tape.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/dist_rows.h"
#include "nn/elements.h"
#include "nn/rows.h"

enum { N = 5, D = 150, A = 3 };  // D: more than a piece of a row, and not a multiple of one

static hwm_real p[N * D], q[N * D], x[N * D], outcome[N * D], cache[N * D], alone[N * D];
static hwm_real y[N], one[1];

static void setup(void) {
    hwm_rng rng;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < N * D; i++) {
        p[i] = (hwm_real)(0.01 + hwm_rng_uniform_double(&rng));
        q[i] = (hwm_real)(0.01 + hwm_rng_uniform_double(&rng));
        x[i] = (hwm_real)(8 * hwm_rng_uniform_double(&rng) - 4);
        outcome[i] = (hwm_real)(hwm_rng_uniform_double(&rng) < 0.5);
    }
}

static void expect(double want, hwm_real got) {
    assert_true(fabs(want - (double)got) <= 1e-5 * (1 + fabs(want)));
}

static void test_kl_and_entropy(void** state) {
    (void)state;
    setup();
    nn_kl_forward(y, cache, p, q, N, D);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int i = n * D; i < (n + 1) * D; i++)
            sum += (double)p[i] * log((double)p[i] / (double)q[i]);
        expect(sum, y[n]);
        nn_kl_forward(one, alone, p + n * D, q + n * D, 1, D);
        assert_memory_equal(one, y + n, sizeof one);
        assert_memory_equal(alone, cache + n * D, D * sizeof *alone);
    }
    nn_entropy_forward(y, cache, p, N, D);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int i = n * D; i < (n + 1) * D; i++)
            sum -= (double)p[i] * log((double)p[i]);
        expect(sum, y[n]);
    }
}

// A gradient that nobody wants is NULL, and the other one is the same without it.
static void test_kl_gives_the_gradients_that_are_wanted(void** state) {
    (void)state;
    static hwm_real dp[N * D], dq[N * D], only[N * D];
    setup();
    const hwm_real dy[N] = {1, -2, 0.5, 3, 1};
    memset(dp, 0, sizeof dp);
    memset(dq, 0, sizeof dq);
    nn_kl_forward(y, cache, p, q, N, D);
    nn_kl_backward(dp, dq, dy, p, q, cache, N, D);
    expect((double)dy[1] * (log((double)p[D] / (double)q[D]) + 1), dp[D]);
    expect(-(double)dy[1] * (double)p[D] / (double)q[D], dq[D]);
    memset(only, 0, sizeof only);
    nn_kl_backward(only, NULL, dy, p, q, cache, N, D);
    assert_memory_equal(only, dp, sizeof dp);
    memset(only, 0, sizeof only);
    nn_kl_backward(NULL, only, dy, p, q, cache, N, D);
    assert_memory_equal(only, dq, sizeof dq);
}

static void test_bernoulli(void** state) {
    (void)state;
    setup();
    nn_bernoulli_log_prob_forward(y, cache, x, outcome, N, D);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int i = n * D; i < (n + 1) * D; i++) {
            const double s = 1 / (1 + exp(-(double)x[i]));
            expect(s, cache[i]);
            sum += log(outcome[i] != 0 ? s : 1 - s);
        }
        expect(sum, y[n]);
        nn_bernoulli_log_prob_forward(one, NULL, x + n * D, outcome + n * D, 1, D);
        assert_memory_equal(one, y + n, sizeof one);
    }
    nn_bernoulli_entropy_forward(y, cache, x, N, D);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int i = n * D; i < (n + 1) * D; i++) {
            const double s = 1 / (1 + exp(-(double)x[i]));
            sum -= s * log(s) + (1 - s) * log(1 - s);
        }
        expect(sum, y[n]);
    }
}

static void test_categorical_and_squared_error(void** state) {
    (void)state;
    setup();
    nn_categorical_log_prob_forward(y, p, outcome, N, D);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int i = n * D; i < (n + 1) * D; i++)
            sum += outcome[i] != 0 ? log((double)p[i]) : 0;
        expect(sum, y[n]);
    }
    nn_squared_error_forward(y, x, q, N, D);
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int i = n * D; i < (n + 1) * D; i++)
            sum += pow((double)x[i] - (double)q[i], 2);
        expect(sum, y[n]);
    }
}

static void test_bounded_normal(void** state) {
    (void)state;
    hwm_real d[N * 2 * A], action[N * A], noise[N * A];
    setup();
    nn_bounded_normal_forward(d, x, N, A);
    for (int n = 0; n < N; n++)
        for (int i = 0; i < A; i++) {
            expect(tanh((double)x[n * 2 * A + i]), d[n * 2 * A + i]);
            expect(0.9 / (1 + exp(-(double)x[n * 2 * A + A + i] - 2)) + 0.1, d[n * 2 * A + A + i]);
        }
    memcpy(alone, x, sizeof d);
    nn_bounded_normal_forward(alone, alone, N, A);  // in place
    assert_memory_equal(alone, d, sizeof d);
    for (int i = 0; i < N * A; i++)
        noise[i] = q[i];
    nn_normal_sample(action, d, NULL, N, A);
    assert_memory_equal(action, d, A * sizeof *d);
    nn_normal_sample(action, d, noise, N, A);
    nn_normal_log_prob_forward(y, d, action, N, A);
    nn_normal_entropy_forward(alone, d, N, A);
    for (int n = 0; n < N; n++) {
        double sum = 0, entropy = 0;
        for (int i = 0; i < A; i++) {
            const double s = d[n * 2 * A + A + i], z = noise[n * A + i];
            sum += -z * z / 2 - log(s * sqrt(2 * acos(-1)));
            entropy += log(s * sqrt(2 * acos(-1) * exp(1)));
        }
        expect(sum, y[n]);
        expect(entropy, alone[n]);
    }
}

static void test_twohot(void** state) {
    (void)state;
    enum { M = 2 };
    static hwm_real logits[N * NN_BINS], soft[N * NN_BINS], bins[NN_BINS];
    int k[N * M];
    hwm_real w[N * M];
    setup();
    nn_twohot_bins(bins);
    for (int i = 0; i < N * NN_BINS; i++)
        logits[i] = x[i % (N * D)];
    for (int i = 0; i < N * M; i++)
        nn_twohot_encode(bins, (hwm_real)(7 * i - 20), &k[i], &w[i]);
    nn_softmax_forward(soft, logits, 0, N, NN_BINS);
    nn_twohot_loss_forward(y, logits, soft, k, w, N, M);
    nn_twohot_mean_forward(alone, soft, bins, N);
    for (int n = 0; n < N; n++) {
        double total = 0, loss = 0, mean = 0;
        for (int i = 0; i < NN_BINS; i++)
            total += exp((double)logits[n * NN_BINS + i]);
        for (int i = 0; i < NN_BINS; i++)
            mean += exp((double)logits[n * NN_BINS + i]) / total * (double)bins[i];
        for (int m = n * M; m < (n + 1) * M; m++) {
            const hwm_real* row = logits + n * NN_BINS;
            loss -= (1 - (double)w[m]) * ((double)row[k[m]] - log(total)) +
                    (double)w[m] * ((double)row[k[m] + 1] - log(total));
            expect(7 * m - 20, (1 - w[m]) * bins[k[m]] + w[m] * bins[k[m] + 1]);
        }
        expect(loss, y[n]);
        assert_true(fabs(mean - (double)alone[n]) < 1e-5 * (double)bins[NN_BINS - 1]);
    }
}

// A class whose probability is nothing in float has a loss all the same.
static void test_twohot_of_a_class_that_is_out_of_sight(void** state) {
    (void)state;
    static hwm_real logits[NN_BINS], soft[NN_BINS];
    const int k[1] = {3};
    const hwm_real w[1] = {0.25};
    logits[200] = 400;
    nn_softmax_forward(soft, logits, 0, 1, NN_BINS);
    assert_true(soft[3] == 0);
    nn_twohot_loss_forward(one, logits, soft, k, w, 1, 1);
    expect(400, one[0]);
}

static void test_backwards_add(void** state) {
    (void)state;
    typedef void backward(hwm_real*, const hwm_real*, const hwm_real*, size_t);
    static backward* const all[] = {nn_elu_backward,      nn_tanh_backward,   nn_sigmoid_backward,
                                    nn_softplus_backward, nn_symlog_backward, nn_symexp_backward};
    setup();
    for (size_t f = 0; f < sizeof all / sizeof all[0]; f++) {
        hwm_real once[D] = {0}, twice[D] = {0};
        all[f](once, x, q, D);
        all[f](twice, x, q, D);
        all[f](twice, x, q, D);
        for (int i = 0; i < D; i++) {
            assert_true(once[i] != 0);
            expect(2 * (double)once[i], twice[i]);
        }
    }
}

static void test_columns_and_signs(void** state) {
    (void)state;
    hwm_real wide[2 * 5] = {0}, back[2 * 3], part[2 * 3] = {1, 2, 3, -4, 5, 6};
    nn_columns_copy(wide + 1, 5, part, 3, 2, 3);
    const hwm_real want[2 * 5] = {0, 1, 2, 3, 0, 0, -4, 5, 6, 0};
    assert_memory_equal(wide, want, sizeof want);
    memcpy(back, part, sizeof back);
    nn_columns_add(back, 3, wide + 1, 5, 2, 3);
    for (int i = 0; i < 6; i++) {
        assert_true(back[i] == 2 * part[i]);
        nn_symlog_forward(one, part + i, 1);
        expect(copysign(log1p(fabs((double)part[i])), (double)part[i]), one[0]);
        nn_symexp_forward(alone, one, 1);
        expect((double)part[i], alone[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kl_and_entropy),
        cmocka_unit_test(test_kl_gives_the_gradients_that_are_wanted),
        cmocka_unit_test(test_bernoulli),
        cmocka_unit_test(test_categorical_and_squared_error),
        cmocka_unit_test(test_bounded_normal),
        cmocka_unit_test(test_twohot),
        cmocka_unit_test(test_twohot_of_a_class_that_is_out_of_sight),
        cmocka_unit_test(test_backwards_add),
        cmocka_unit_test(test_columns_and_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
