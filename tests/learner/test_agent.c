// What surrounds the two updates: scales and ranges that follow the replay, continue as a known
// function, and refusals.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "batch.h"
#include "open_loop.h"
#include "ranges.h"

static void close_to(double x, double want) {
    if (fabs(x - want) > 1e-5 * (1 + fabs(want)))
        fail_msg("%.9g, expected %.9g", x, want);
}

static void test_ranges_are_quantiles_of_the_newest(void** state) {
    (void)state;
    enum { HELD = 8192 };
    hwm_ranges* r;
    assert_int_equal(hwm_ranges_create(&r, 3), HWM_OK);
    hwm_real low = 5, high = 6;
    hwm_ranges_get(r, 0, 0.1, &low, &high);
    assert_true(low == 5 && high == 6);  // nothing is known yet
    // a first row of 1e6 that must be forgotten, then 0 .. HELD-1 in an order that is not sorted
    hwm_real row[2] = {1e6F, -1e6F};
    hwm_ranges_add(r, row, 1e6F);
    for (int i = 0; i < HELD; i++) {
        const int value = (int)((unsigned)i * 4799u % HELD);
        row[0] = (hwm_real)value;
        row[1] = (hwm_real)-value;
        hwm_ranges_add(r, row, (hwm_real)(2 * value));
    }
    hwm_ranges_get(r, 0, 0, &low, &high);
    assert_true(low == 0 && high == HELD - 1);
    hwm_ranges_get(r, 1, 0.25, &low, &high);
    close_to(low, -0.75 * (HELD - 1));
    close_to(high, -0.25 * (HELD - 1));
    hwm_ranges_get(r, 2, 0.001, &low, &high);
    close_to(low, 0.002 * (HELD - 1));
    close_to(high, 1.998 * (HELD - 1));
    hwm_ranges_destroy(&r);
    assert_null(r);
}

typedef struct rig {
    hwm_experiment* experiment;
    hwm_env_spec* spec;
    hwm_agent* agent;
    hwm_error err;
} rig;

static hwm_status rig_open(rig* r, const char* text) {
    memset(r, 0, sizeof *r);
    if (hwm_experiment_load(&r->experiment, NULL, text, NULL, 0, &r->err) != HWM_OK)
        fail_msg("%s", r->err.text);
    r->spec = calloc(1, sizeof *r->spec);
    assert_int_equal(hwm_env_describe(&r->experiment->env, r->spec, &r->err), HWM_OK);
    return hwm_agent_create(&r->agent, r->experiment, r->spec, &r->err);
}

static void rig_close(rig* r) {
    hwm_agent_destroy(&r->agent);
    hwm_experiment_destroy(&r->experiment);
    free(r->spec);
}

static const hwm_real* entry(const rig* r, const char* name) {
    nn_params* p = hwm_model_params(r->agent->model);
    return p->value + p->list.entry[hwm_param_list_find(&p->list, name)].offset;
}

// One batch of pairs whose first observation moves by +-step, into the statistics.
static void look(rig* r, hwm_real step, hwm_real reward) {
    enum { N = 64, T = 2, O = 4 };
    hwm_real obs[N * T * O] = {0}, action[N * T] = {0}, rewards[N * T], first[N * T],
                         terminal[N * T] = {0}, valid[N * T];
    for (int i = 0; i < N * T; i++) {
        obs[i * O] = i % 2 ? (i % 4 == 1 ? step : -step) : 0;
        obs[i * O + 1] = (hwm_real)(i / 2);
        rewards[i] = reward;
        first[i] = i % 2 == 0;
        valid[i] = 1;
    }
    const hwm_sequences s = {.n = N,
                             .length = T,
                             .obs = obs,
                             .action = action,
                             .reward = rewards,
                             .first = first,
                             .terminal = terminal,
                             .valid = valid};
    hwm_agent_look(r->agent, &s);
    hwm_agent_refresh(r->agent, false);
}

static void test_scales_grow_or_follow(void** state) {
    (void)state;
    for (int grow = 0; grow < 2; grow++) {
        rig r;
        assert_int_equal(rig_open(&r, grow ? "model: {scales_grow: true}\n" : "run: {seed: 0}\n"),
                         HWM_OK);
        look(&r, 2, 1);
        close_to(entry(&r, "delta_scale")[0], 2.001);
        look(&r, 0.5F, 1);
        close_to(entry(&r, "delta_scale")[0], grow ? 2.001 : 0.501);
        look(&r, 3, 1);
        close_to(entry(&r, "delta_scale")[0], 3.001);
        rig_close(&r);
    }
}

// A refresh changes mean, std and the first layers together: what members predict stays.
static void test_standardised_function_stays(void** state) {
    (void)state;
    rig r;
    assert_int_equal(rig_open(&r, "model: {standardise: true}\nimagination: {clamp_margin: 10}\n"),
                     HWM_OK);
    hwm_model* model = r.agent->model;
    look(&r, 2, 1);
    close_to(entry(&r, "obs_mean")[1], 31.5);
    close_to(entry(&r, "obs_std")[1], sqrt((64.0 * 64 - 1) / 12) + 0.001);
    nn_params* p = hwm_model_params(model);
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < p->list.n; i++)
        if (strncmp(p->list.entry[i].spec.name, "member", 6) == 0)
            nn_params_init_normal(p, i, &rng, 0.3);
    nn_tape* tape;
    assert_int_equal(nn_tape_create(&tape, 1 << 22), HWM_OK);
    hwm_real z[16], before[16];
    for (int i = 0; i < 16; i++)
        z[i] = i % 4 > 1 ? 0  // these never change, and are tiny units therefore
                         : (hwm_real)hwm_rng_normal(&rng) + (i % 4 == 1 ? 31 : 0);
    for (int pass = 0; pass < 2; pass++) {
        nn_tape_reset(tape);
        nn_tape_record(tape, false);
        hwm_model_begin(model, tape);
        nn_var u = nn_new(tape, 4, 1, false);
        nn_var next = hwm_model_step(model, tape, nn_wrap(tape, z, NULL, 4, 4), u, 0, &rng).z;
        for (int i = 0; i < 16; i++) {
            if (pass == 0)
                before[i] = next->x[i];
            else if (fabs((double)(next->x[i] - before[i])) > 1e-3 ||
                     (i % 4 == 0 && before[i] == z[i]))
                fail_msg("%g, before the refresh %g, from %g", (double)next->x[i],
                         (double)before[i], (double)z[i]);
        }
        look(&r, 2.5F, 1);  // wider: observation 0 has more room
    }
    assert_true(entry(&r, "obs_std")[0] > 1.2F);
    nn_tape_destroy(&tape);
    rig_close(&r);
}

static void test_clamp_at_quantiles(void** state) {
    (void)state;
    rig r;
    assert_int_equal(rig_open(&r, "imagination: {clamp_quantile: 0.05, clamp_margin: 0.2}\n"),
                     HWM_OK);
    look(&r, 1, 0.5F);
    // observation 1 of the rows that arrived: 0 .. 63
    close_to(entry(&r, "obs_min")[1], 0.05 * 63 - 0.2 * 0.9 * 63);
    close_to(entry(&r, "obs_max")[1], 0.95 * 63 + 0.2 * 0.9 * 63);
    close_to(entry(&r, "reward_range")[0], 0.5);
    rig_close(&r);
}

static void test_known_continue_weighs_starts(void** state) {
    (void)state;
    rig r;
    assert_int_equal(
        rig_open(&r, "model: {continue_of: theta, continue_slope: 5, terminals: false}\n"), HWM_OK);
    const double slope = 5 * (double)r.spec->obs_scale[2];
    hwm_real z[8] = {9, 9, 2, 9, 9, 9, -1, 9}, alive[2] = {1, 0.5F};
    hwm_model_weigh_starts(r.agent->model, z, 2, alive);
    close_to(alive[0], 1 / (1 + exp(-slope * 2)));
    close_to(alive[1], 0.5 / (1 + exp(slope)));
    rig_close(&r);
    // without it they stay
    assert_int_equal(rig_open(&r, "run: {seed: 0}\n"), HWM_OK);
    alive[0] = 1;
    hwm_model_weigh_starts(r.agent->model, z, 1, alive);
    assert_true(alive[0] == 1);
    rig_close(&r);
}

// Contexts from two halves of what was seen: the same where the halves are, apart where they
// contradict each other, unknown without a context.
static void test_context_of_two_halves(void** state) {
    (void)state;
    enum { N = 8, K = 4, WIDTH = 9 };
    for (int kind = 0; kind < 3; kind++) {
        rig r;
        assert_int_equal(rig_open(&r, kind < 2 ? "model: {kind: context, context_samples: 4}\n"
                                                 "imagination: {batch: 8}\n"
                                               : "imagination: {batch: 8}\n"),
                         HWM_OK);
        const int K_of = hwm_model_context(r.agent->model);
        hwm_sequences s;
        assert_int_equal(hwm_sequences_alloc(&s, N, hwm_open_loop_length(r.agent), K_of, 4, 1),
                         HWM_OK);
        for (int i = 0; i < N * s.length; i++)
            s.valid[i] = 1;
        for (int i = 0; i < N && K_of > 0; i++)
            for (int k = 0; k < K; k++)
                for (int j = 0; j < WIDTH; j++)
                    s.hindsight[(i * K + k) * WIDTH + j] =
                        (i % 2 ? 1.0F : -1.0F) * (kind == 1 && k >= K / 2 ? -1.0F : 1.0F);
        hwm_open_loop_measure(r.agent, &s);
        const double apart = r.agent->open_loop->context;
        if (kind == 2)
            assert_true(isnan(apart));
        else if (kind == 0)
            assert_true(apart == 0);
        else  // the two are each other's opposite: twice their distance from the mean, squared
            assert_true(apart > 3.9 && apart < 4.1);
        hwm_sequences_free(&s);
        rig_close(&r);
    }
}

static void test_refusals(void** state) {
    (void)state;
    rig r;
    assert_int_equal(rig_open(&r, "model: {continue_of: up_z}\n"), HWM_EINVAL);
    assert_non_null(strstr(r.err.text, "up_z: cartpole has no observation"));
    rig_close(&r);
    assert_int_equal(rig_open(&r, "model: {kind: rssm, continue_of: theta}\n"), HWM_EINVAL);
    assert_non_null(strstr(r.err.text, "rssm"));
    rig_close(&r);
    assert_int_equal(rig_open(&r, "imagination: {starts_per_sequence: 3}\n"), HWM_EINVAL);
    assert_non_null(strstr(r.err.text, "starts_per_sequence = 3 does not divide"));
    rig_close(&r);
    assert_int_equal(rig_open(&r, "train: {replay_critic: 0.3}\n"), HWM_EINVAL);
    assert_non_null(strstr(r.err.text, "wants imagination.starts_per_sequence >= 2"));
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_are_quantiles_of_the_newest),
        cmocka_unit_test(test_scales_grow_or_follow),
        cmocka_unit_test(test_standardised_function_stays),
        cmocka_unit_test(test_clamp_at_quantiles),
        cmocka_unit_test(test_known_continue_weighs_starts),
        cmocka_unit_test(test_context_of_two_halves),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
