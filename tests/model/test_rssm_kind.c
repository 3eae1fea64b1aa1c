// The recurrent state-space model behind the interface of all world models: it learns, starts from
// the last valid row, stays in the range of the replay, and passes gradients through an imagined
// step.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"

enum { N = 4, T = 8, O = 2, A = 1 };

static hwm_model_config small_config(void) {
    hwm_model_config config;
    hwm_config_section section = {.table = &hwm_model_table, .target = &config};
    hwm_config_defaults(&section, 1);
    config.kind = HWM_MODEL_RSSM;
    config.sequences = N;
    config.sequence_steps = T;
    config.burn_in_steps = 3;
    config.lr = 3e-3;
    return config;
}

typedef struct arrays {
    hwm_real obs[N * T * O], action[N * T * A], reward[N * T], first[N * T], terminal[N * T],
        valid[N * T];
} arrays;

// A point that the action pushes along a circle; sequence 1 ends truly at row 5 and is padding
// after it.
static hwm_sequences make(arrays* a, hwm_rng* rng) {
    memset(a, 0, sizeof *a);
    for (int n = 0; n < N; n++) {
        double phase = 6.0 * (double)hwm_rng_uniform(rng);
        for (int t = 0; t < T; t++) {
            const int i = n * T + t;
            a->obs[i * O] = (hwm_real)cos(phase);
            a->obs[i * O + 1] = (hwm_real)sin(phase);
            a->reward[i] = (hwm_real)cos(phase);
            a->action[i] = hwm_rng_uniform(rng) < 0.5f ? -1 : 1;
            a->valid[i] = 1;
            phase += 0.4 * (double)a->action[i];
        }
        a->first[n * T] = 1;
    }
    a->terminal[1 * T + 5] = 1;
    for (int t = 6; t < T; t++)
        a->valid[1 * T + t] = 0;
    return (hwm_sequences){.n = N,
                           .length = T,
                           .obs = a->obs,
                           .action = a->action,
                           .reward = a->reward,
                           .first = a->first,
                           .terminal = a->terminal,
                           .valid = a->valid};
}

static hwm_model* create(void) {
    const hwm_model_config config = small_config();
    const hwm_model_dims dims = {.obs = O, .action = A, .rollouts = N, .horizon = 3};
    hwm_model* m;
    hwm_error err;
    assert_int_equal(hwm_model_create(&m, &config, &dims, 1, &err), HWM_OK);
    assert_int_equal(hwm_model_start_length(m), 4);
    assert_int_equal(hwm_model_latent(m), 96 + 64 + O);
    return m;
}

static void test_losses_fall(void** state) {
    (void)state;
    hwm_model* m = create();
    hwm_rng rng;
    hwm_rng_init(&rng, 2, HWM_PURPOSE_TEST, 0, 0, 0);
    static arrays a;
    hwm_model_losses losses = {0}, first = {0};
    hwm_error err;
    for (int i = 0; i < 120; i++) {
        const hwm_sequences s = make(&a, &rng);
        assert_int_equal(hwm_model_update(m, &s, &rng, &losses, &err), HWM_OK);
        if (i == 0)
            first = losses;
    }
    assert_true(losses.obs < 0.5 * first.obs);
    assert_true(losses.reward < 0.8 * first.reward);
    assert_true(losses.kl > 0 && isfinite(losses.total) && losses.flops > 1e6);
    hwm_model_destroy(&m);
}

static void test_start_is_the_posterior_of_the_last_valid_row(void** state) {
    (void)state;
    hwm_model* m = create();
    hwm_rng rng, draw;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    static arrays a;
    hwm_sequences s = make(&a, &rng);
    const int Z = hwm_model_latent(m);
    hwm_real* whole = calloc((size_t)(N * Z), sizeof *whole);
    hwm_real* again = calloc((size_t)(N * Z), sizeof *again);
    draw = rng;
    hwm_model_start(m, &s, &draw, whole);
    // what stands in the padding does not matter, what stands before it does
    for (int t = 6; t < T; t++)
        a.obs[(1 * T + t) * O] = 100;
    draw = rng;
    hwm_model_start(m, &s, &draw, again);
    assert_memory_equal(whole, again, (size_t)(N * Z) * sizeof *whole);
    a.obs[(1 * T + 5) * O] += 1;
    draw = rng;
    hwm_model_start(m, &s, &draw, again);
    assert_memory_not_equal(whole + Z, again + Z, (size_t)Z * sizeof *whole);
    assert_memory_equal(whole, again, (size_t)Z * sizeof *whole);
    // each of the categorical variables is one-hot
    for (int n = 0; n < N; n++)
        for (int v = 0; v < 8; v++) {
            double sum = 0;
            for (int c = 0; c < 8; c++)
                sum += (double)whole[n * Z + 96 + v * 8 + c];
            assert_true(sum == 1.0);
        }
    // and the observation of that row is carried along
    const int last[N] = {T - 1, 5, T - 1, T - 1};
    for (int n = 0; n < N; n++)
        assert_memory_equal(again + n * Z + Z - O, a.obs + (n * T + last[n]) * O,
                            sizeof *a.obs * O);
    free(whole);
    free(again);
    hwm_model_destroy(&m);
}

// A sequence that begins in the middle of one that was trained on knows what was before, as if it
// had read it: the same numbers. What is forgotten is not known.
static void test_later_sequences_begin_with_what_was_trained(void** state) {
    (void)state;
    hwm_model_config config = small_config();
    config.lr = 0;
    const hwm_model_dims dims = {.obs = O, .action = A, .rollouts = N, .horizon = 3};
    hwm_model* m;
    hwm_error err;
    assert_int_equal(hwm_model_create(&m, &config, &dims, 1, &err), HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, 6, HWM_PURPOSE_TEST, 0, 0, 0);
    static arrays a, part;
    hwm_sequences s = make(&a, &rng);
    uint64_t stream[N] = {1, 1, 7, 1}, step[N] = {100, 200, 100, 300};
    s.stream = stream;
    s.step = step;
    hwm_model_losses losses;
    hwm_rng draw = rng;
    hwm_model_gradient(m, &s, &draw, &losses);  // of the same draws as below
    assert_true(isnan(hwm_model_remembered(m)));

    // rows 0 .. AT of every sequence, read from the beginning, and row AT alone
    enum { AT = 4, D = 96 };
    const int Z = hwm_model_latent(m);
    hwm_real* read = calloc((size_t)(N * Z), sizeof *read);
    hwm_real* known = calloc((size_t)(N * Z), sizeof *known);
    for (int alone = 0; alone < 2; alone++) {
        const int from = alone ? AT : 0, T_part = AT + 1 - from;
        for (int n = 0; n < N; n++)
            for (int t = 0; t < T_part; t++) {
                const int to = n * T_part + t, at = n * T + from + t;
                memcpy(part.obs + to * O, a.obs + at * O, O * sizeof *a.obs);
                part.action[to] = a.action[at];
                part.first[to] = a.first[at];
                part.valid[to] = a.valid[at];
            }
        const hwm_sequences p = {.n = N,
                                 .length = T_part,
                                 .obs = part.obs,
                                 .action = part.action,
                                 .reward = part.reward,
                                 .first = part.first,
                                 .terminal = part.terminal,
                                 .valid = part.valid,
                                 .stream = alone ? stream : NULL,
                                 .step = step};
        for (int n = 0; alone && n < N; n++)
            step[n] += AT;
        draw = rng;
        hwm_model_start(m, &p, &draw, alone ? known : read);
        for (int n = 0; alone && n < N; n++)
            assert_memory_equal(known + n * Z, read + n * Z, D * sizeof *read);
        if (!alone)
            continue;
        assert_true(hwm_model_remembered(m) == 1);
        hwm_model_forget(m);
        draw = rng;
        hwm_model_start(m, &p, &draw, known);
        assert_memory_not_equal(known, read, D * sizeof *read);
        assert_true(hwm_model_remembered(m) == 0.5);
    }
    free(read);
    free(known);
    hwm_model_destroy(&m);
    // a limit that holds no latent at all
    config.cache_bytes = 100;
    assert_int_equal(hwm_model_create(&m, &config, &dims, 1, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "100 bytes"));
    config.cache_bytes = 0;
    assert_int_equal(hwm_model_create(&m, &config, &dims, 1, &err), HWM_OK);
    assert_true(isnan(hwm_model_remembered(m)));
    hwm_model_destroy(&m);
}

static void test_imagined_steps_stay_in_range_and_pass_gradients(void** state) {
    (void)state;
    hwm_model* m = create();
    hwm_real lo[O] = {-0.01f, -0.02f}, hi[O] = {0.01f, 0.02f}, delta[O] = {0.1f, 0.1f};
    const hwm_replay_statistics statistics = {lo, hi, delta, 0.25f, 0.5f, NULL, NULL};
    hwm_model_refresh(m, &statistics, 0.0);
    hwm_real r_lo, r_hi;
    hwm_model_reward_range(m, &r_lo, &r_hi);
    assert_true(r_lo == 0.25f && r_hi == 0.5f);

    hwm_rng rng;
    hwm_rng_init(&rng, 4, HWM_PURPOSE_TEST, 0, 0, 0);
    // weights far from their zero last layers
    nn_params* p = hwm_model_params(m);
    for (int i = 0; i < p->list.n; i++)
        if (strstr(p->list.entry[i].spec.name, "continue/"))
            nn_params_init_normal(p, i, &rng, 0.3);
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 24), HWM_OK);
    const int Z = hwm_model_latent(m);
    nn_var z = nn_new(t, N, Z, true), u = nn_new(t, N, A, true);
    for (int i = 0; i < N * Z; i++)
        z->x[i] = 0.1f * hwm_rng_normal(&rng);
    for (int i = 0; i < N; i++)
        u->x[i] = 0.5f;
    hwm_model_begin(m, t);
    const hwm_model_next next = hwm_model_step(m, t, z, u, 0, &rng);
    nn_var o = hwm_model_observe(m, t, next.z);
    for (int i = 0; i < N; i++) {
        assert_true(next.reward->x[i] >= r_lo && next.reward->x[i] <= r_hi);
        assert_true(next.cont->x[i] > 0 && next.cont->x[i] < 1);
        for (int j = 0; j < O; j++)
            assert_true(o->x[i * O + j] >= lo[j] && o->x[i * O + j] <= hi[j]);
    }
    memset(p->grad, 0, p->list.count * sizeof *p->grad);
    nn_seed(next.cont, 1);
    nn_tape_backward(t);
    double of_z = 0, of_u = 0, of_p = 0;
    for (int i = 0; i < N * Z; i++)
        of_z += fabs((double)z->g[i]);
    for (int i = 0; i < N; i++)
        of_u += fabs((double)u->g[i]);
    for (size_t i = 0; i < p->list.count; i++)
        of_p += fabs((double)p->grad[i]);
    assert_true(of_z > 0 && of_u > 0);
    assert_true(of_p == 0);  // parameters are constants of imagination
    nn_tape_destroy(&t);
    hwm_model_destroy(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses_fall),
        cmocka_unit_test(test_start_is_the_posterior_of_the_last_valid_row),
        cmocka_unit_test(test_later_sequences_begin_with_what_was_trained),
        cmocka_unit_test(test_imagined_steps_stay_in_range_and_pass_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
