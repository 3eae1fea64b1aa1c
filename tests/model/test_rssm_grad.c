// Gradients of the recurrent state-space model against central differences in double: two steps of
// recurrence, prior, posterior and heads with every parameter, the KL terms, and the returns.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../nn/gradient.h"
#include "model/dreamer.h"
#include "nn/layers.h"

enum { N = 3, O = 3, A = 2 };
static const hwm_rssm_sizes small = {"small", 8, 4, 3, 4, 2, 2, N, 2};

typedef struct world {
    hwm_rssm rssm;
    hwm_param_list list;
    bool frozen;
} world;

static void make_world(world* w) {
    const hwm_rssm_options options = hwm_rssm_default_options();
    hwm_param_list_init(&w->list);
    hwm_rssm_declare(&w->rssm, &w->list, &small, &options, O, A);
}

// Inputs: all parameters as one row, deter, stoch, two actions, two observations. Class
// probabilities stand in for the draws, whose derivative differences cannot see.
static nn_var two_steps(nn_tape* t, const nn_var* in, void* context) {
    world* w = context;
    nn_params p = {.list = w->list, .value = in[0]->x, .grad = in[0]->g};
    hwm_rssm_vars v;
    hwm_rssm_bind(&w->rssm, t, &p, w->frozen, &v);
    hwm_rssm_state s = {in[1], in[2]};
    nn_var parts[16];
    int n = 0;
    for (int step = 0; step < 2; step++) {
        nn_var tokens = hwm_rssm_encode(&v, t, in[5 + step]);
        nn_var deter = hwm_rssm_recur(&v, t, s, in[3 + step]);
        nn_var prior = hwm_rssm_prior(&v, t, deter);
        nn_var posterior = hwm_rssm_posterior(&v, t, deter, tokens);
        s = (hwm_rssm_state){deter, posterior};
        nn_var feat = hwm_rssm_features(t, s);
        parts[n++] = nn_kl(t, posterior, prior);
        parts[n++] = hwm_head_forward(&v.decoder, t, feat);
        parts[n++] = nn_columns(t, hwm_head_forward(&v.reward, t, feat), 100, 3);
        parts[n++] = hwm_head_forward(&v.cont, t, feat);
        parts[n++] = deter;
    }
    return nn_concat(t, n, parts);
}

static gradient_case two_steps_case(world* w) {
    return (gradient_case){.build = two_steps,
                           .context = w,
                           .n = 7,
                           .rows = {1, N, N, N, N, N, N},
                           .cols = {(int)w->list.count, 8, 6, A, A, O, O},
                           // actions stay inside the range where they are not squashed
                           .lo = {-0.9, 0, 0, -0.9, -0.9, 0.1, 0.1},
                           .hi = {0.9, 0, 0, 0.9, 0.9, 1.5, 1.5},
                           .tolerance = 1e-6,
                           .seed = 1};
}

static void test_two_steps_with_every_parameter(void** state) {
    (void)state;
    static world w;
    make_world(&w);
    const gradient_case c = two_steps_case(&w);
    assert_true(gradient_matches(&c));
}

static void test_frozen_parameters_pass_gradients_to_the_inputs(void** state) {
    (void)state;
    static world w;
    make_world(&w);
    w.frozen = true;
    gradient_case c = two_steps_case(&w);
    c.constant[0] = true;
    assert_true(gradient_matches(&c));
}

static void test_every_parameter_gets_a_gradient_from_one_update(void** state) {
    (void)state;
    hwm_dreamer_config config = hwm_dreamer_default(0, O, A);
    config.sizes = small;
    config.sizes.length = 6;
    config.horizon = 4;
    hwm_dreamer* d;
    assert_int_equal(hwm_dreamer_create(&d, &config, 3), HWM_OK);
    nn_params *m = hwm_dreamer_model(d), *b = hwm_dreamer_behaviour(d);
    // last layers start at zero and would hide what is behind them
    hwm_rng rng;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
    for (size_t i = 0; i < m->list.count; i++)
        m->value[i] += 0.3 * (double)hwm_rng_normal(&rng);
    for (size_t i = 0; i < b->list.count; i++)
        b->value[i] += 0.3 * (double)hwm_rng_normal(&rng);
    enum { ROWS = 6 * N };
    hwm_real obs[ROWS * O], action[ROWS * A], reward[ROWS], keep[ROWS], cont[ROWS], last[ROWS],
        draws[ROWS * 2];
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < O; j++)
            obs[i * O + j] = hwm_rng_normal(&rng);
        for (int j = 0; j < A; j++)
            action[i * A + j] = hwm_rng_uniform(&rng);
        reward[i] = hwm_rng_uniform(&rng);
        keep[i] = i >= 2 * N && i != 3 * N;
        last[i] = i + N < ROWS && !(i + N >= 2 * N && i + N != 3 * N);
        cont[i] = i % 5 ? 0.997 : 0;
        draws[i * 2] = hwm_rng_uniform_double(&rng);
        draws[i * 2 + 1] = hwm_rng_uniform_double(&rng);
    }
    const hwm_rssm_batch batch = {.N = N,
                                  .T = 6,
                                  .obs = obs,
                                  .action = action,
                                  .reward = reward,
                                  .keep = keep,
                                  .cont = cont,
                                  .draws = draws};
    hwm_dreamer_losses losses;
    hwm_error err;
    hwm_rng draw = rng;
    assert_int_equal(hwm_dreamer_update(d, &batch, last, &draw, &losses, &err), HWM_OK);
    assert_true(isfinite(losses.model.total) && isfinite(losses.policy) && isfinite(losses.value));
    assert_true(losses.model.obs > 0 && losses.model.kl > 0 && losses.replay_value > 0);
    nn_params* both[] = {m, b};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < both[k]->list.n; i++) {
            const hwm_param_entry* e = &both[k]->list.entry[i];
            double largest = 0;
            for (size_t j = 0; j < hwm_tensor_count(&e->spec); j++)
                largest = fmax(largest, fabs((double)both[k]->grad[e->offset + j]));
            if (largest == 0)
                fail_msg("%s has no gradient", e->spec.name);
        }
    const size_t bytes = hwm_dreamer_memory(d);
    assert_int_equal(hwm_dreamer_update(d, &batch, last, &draw, &losses, &err), HWM_OK);
    assert_int_equal(hwm_dreamer_memory(d), bytes);  // the second update takes nothing more
    hwm_dreamer_destroy(&d);
    assert_null(d);
}

static void test_a_batch_is_learned_by_heart(void** state) {
    (void)state;
    hwm_dreamer_config config = hwm_dreamer_default(0, O, A);
    config.sizes = (hwm_rssm_sizes){"tiny", 24, 16, 4, 16, 4, 2, 4, 8};
    config.horizon = 3;
    config.lr = 2e-2;
    hwm_dreamer* d;
    assert_int_equal(hwm_dreamer_create(&d, &config, 3), HWM_OK);
    enum { ROWS = 4 * 8 };
    hwm_real obs[ROWS * O], action[ROWS * A], reward[ROWS], keep[ROWS], cont[ROWS], last[ROWS],
        draws[ROWS * 4];
    hwm_rng rng;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < O; j++)
            obs[i * O + j] = 2 * hwm_rng_normal(&rng);
        for (int j = 0; j < A; j++)
            action[i * A + j] = hwm_rng_uniform(&rng);
        reward[i] = 3 * hwm_rng_uniform(&rng);
        keep[i] = i >= 4;
        last[i] = 0;
        cont[i] = 0.997;
    }
    const hwm_rssm_batch batch = {.N = 4,
                                  .T = 8,
                                  .obs = obs,
                                  .action = action,
                                  .reward = reward,
                                  .keep = keep,
                                  .cont = cont,
                                  .draws = draws};
    hwm_dreamer_losses losses;
    hwm_error err;
    double first = 0;
    for (int i = 0; i < 500; i++) {
        for (int k = 0; k < ROWS * 4; k++)
            draws[k] = hwm_rng_uniform(&rng);
        assert_int_equal(hwm_dreamer_update(d, &batch, last, &rng, &losses, &err), HWM_OK);
        if (i == 0)
            first = losses.model.obs;
    }
    assert_true(losses.model.obs < 0.25 * first);
    assert_true(losses.model.reward < 1.5);  // log 255 = 5.5 at the start
    hwm_dreamer_destroy(&d);
}

static void test_lambda_returns(void** state) {
    (void)state;
    // one column by hand, the other ends at its first step
    const hwm_real r[6] = {9, 9, 1, 1, 2, 2}, c[6] = {1, 1, 0.5, 0, 0.8, 1},
                   V[6] = {9, 9, 4, 4, 10, 10};
    hwm_real R[4];
    hwm_lambda_returns(R, r, c, V, 2, 2, 0.75);
    const double last = 2 + 0.8 * (0.25 * 10 + 0.75 * 10);
    assert_true(fabs(R[2] - last) < 1e-12);
    assert_true(fabs(R[0] - (1 + 0.5 * (0.25 * 4 + 0.75 * last))) < 1e-12);
    assert_true(fabs(R[1] - 1) < 1e-12);
    assert_true(fabs(R[3] - 12) < 1e-12);
}

static void test_presets_have_the_published_sizes(void** state) {
    (void)state;
    const double millions[] = {0, 0.637, 0, 0, 0};
    for (int p = 0; p < hwm_rssm_presets(); p++) {
        if (millions[p] == 0)
            continue;
        const hwm_dreamer_config config = hwm_dreamer_default(p, 5, 1);
        hwm_dreamer* d;
        assert_int_equal(hwm_dreamer_create(&d, &config, 1), HWM_OK);
        const double count =
            (double)(hwm_dreamer_model(d)->list.count + hwm_dreamer_behaviour(d)->list.count);
        assert_true(fabs(count * 1e-6 - millions[p]) < 0.0006);
        hwm_dreamer_destroy(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_steps_with_every_parameter),
        cmocka_unit_test(test_frozen_parameters_pass_gradients_to_the_inputs),
        cmocka_unit_test(test_every_parameter_gets_a_gradient_from_one_update),
        cmocka_unit_test(test_a_batch_is_learned_by_heart),
        cmocka_unit_test(test_lambda_returns),
        cmocka_unit_test(test_presets_have_the_published_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
