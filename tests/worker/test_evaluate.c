// Evaluation: repeatable, its controls of plasticity, variants, refusals, and the wire form of its
// tasks.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static const char yaml[] = "env: {name: cartpole, variants: [flip p=0.5]}\n"
                           "controller: {hidden: [8], inputs: [o, d], plastic: [last]}\n"
                           "rule: {kind: mod3, phi_std: 1, terms: AC}\n";

static hwm_evaluate_result evaluate(rig* r, hwm_evaluate_request q) {
    hwm_evaluate_result result;
    hwm_error err = {HWM_OK, ""};
    hwm_status s = hwm_evaluate(r->experiment, r->phi, &q, &result, &err);
    if (s) {
        fail_msg("%s: %s", hwm_status_name(s), err.text);
    }
    return result;
}

static void test_repeats_and_counts(void** state) {
    (void)state;
    rig r;
    rig_open(&r, yaml, 0, 1, 1);
    hwm_evaluate_request q = hwm_evaluate_default_request();
    q.episodes = 70;  // more than stand side by side
    q.seed = 3;
    hwm_evaluate_result a = evaluate(&r, q), b = evaluate(&r, q);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(a.all.episodes, 70);
    assert_int_equal((int64_t)llround(a.all.mean * 70), a.env_steps);  // one reward per step
    assert_true(a.all.min >= 1 && a.all.min <= a.all.mean && a.all.mean <= a.all.max);
    assert_true(a.all.std > 0);
    q.seed = 4;
    assert_true(evaluate(&r, q).all.mean != a.all.mean);
    rig_close(&r);
}

static void test_variants(void** state) {
    (void)state;
    rig r;
    rig_open(&r, yaml, 0, 1, 1);
    hwm_evaluate_request q = hwm_evaluate_default_request();
    q.episodes = 40;
    hwm_evaluate_result all = evaluate(&r, q);
    assert_int_equal(all.n_variants, 2);
    assert_int_equal(all.variant[0].episodes + all.variant[1].episodes, 40);
    for (int k = 0; k < 2; k++) {
        q.variant = k;
        hwm_evaluate_result one = evaluate(&r, q);
        assert_int_equal(one.n_variants, 1);
        assert_int_equal(one.variant[0].episodes, 40);
        assert_memory_equal(one.variant[0].variant, all.variant[k].variant, sizeof(float));
    }
    hwm_evaluate_result result;
    hwm_error err;
    q.variant = 2;
    assert_int_equal(hwm_evaluate(r.experiment, r.phi, &q, &result, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "variant 2"));
    rig_close(&r);
}

static void test_controls(void** state) {
    (void)state;
    rig r;
    rig_open(&r, yaml, 0, 1, 1);
    hwm_evaluate_request q = hwm_evaluate_default_request(), frozen = q, zero = q, shuffled = q,
                         reset = q;
    frozen.freeze_at = 0;
    zero.zero_rule = true;
    shuffled.shuffle_rule = true;
    reset.reset_at = 5;
    double plain = evaluate(&r, q).all.mean;
    // without a rule nothing changes, which is the same as being frozen from the start
    assert_true(evaluate(&r, frozen).all.mean == evaluate(&r, zero).all.mean);
    assert_true(evaluate(&r, frozen).all.mean != plain);
    assert_true(evaluate(&r, shuffled).all.mean != plain);
    assert_true(evaluate(&r, reset).all.mean != plain);
    reset.reset_at = 100000;
    assert_true(evaluate(&r, reset).all.mean == plain);
    frozen.freeze_at = 100000;
    assert_true(evaluate(&r, frozen).all.mean == plain);
    rig_close(&r);
}

// Shuffled in ten ways, not in one: two episodes are played with two of them.
static void test_every_shuffle_is_another(void** state) {
    (void)state;
    rig r;
    rig_open(&r, yaml, 0, 1, 1);
    hwm_evaluate_request q = hwm_evaluate_default_request(), one = q, two = q;
    one.episodes = 1;
    two.episodes = 2;
    const size_t n = hwm_controller_params(r.controller)->count;
    float* plain = malloc(n * sizeof *plain);
    memcpy(plain, r.phi, n * sizeof *plain);
    hwm_evaluate_shuffle(r.controller, q.seed, 0, r.phi);
    const double first = evaluate(&r, one).all.mean;
    float* shuffled = malloc(n * sizeof *shuffled);
    memcpy(shuffled, r.phi, n * sizeof *shuffled);
    memcpy(r.phi, plain, n * sizeof *plain);
    hwm_evaluate_shuffle(r.controller, q.seed, 1, r.phi);
    assert_memory_not_equal(r.phi, shuffled, n * sizeof *shuffled);
    const double second = 2 * evaluate(&r, two).all.mean - evaluate(&r, one).all.mean;
    memcpy(r.phi, plain, n * sizeof *plain);
    two.shuffle_rule = true;
    assert_float_equal(evaluate(&r, two).all.mean, (first + second) / 2, 1e-9);
    free(plain);
    free(shuffled);
    rig_close(&r);
}

// Actions that nobody chose owe nothing to the parameters.
static void test_unlearned_actions(void** state) {
    (void)state;
    rig r;
    hwm_evaluate_result result;
    hwm_error err;
    hwm_evaluate_request learned = hwm_evaluate_default_request(), random = learned, zero = learned;
    random.actions = HWM_EVALUATE_RANDOM;
    zero.actions = HWM_EVALUATE_ZERO;
    rig_open(&r, yaml, 0, 1, 1);
    const double chance = evaluate(&r, random).all.mean;
    assert_true(chance > 15 && chance < 30);  // of cart-pole under a fair coin: about 22
    r.phi[0] += 0.5f;
    assert_true(evaluate(&r, random).all.mean == chance);
    assert_int_equal(hwm_evaluate(r.experiment, r.phi, &zero, &result, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "cartpole has discrete actions"));
    rig_close(&r);

    rig_open(&r, "env: {name: cartpole_swingup, time_limit: 50}\ncontroller: {hidden: [4]}\n", 0, 1,
             1);
    const double still = evaluate(&r, zero).all.mean;
    assert_true(evaluate(&r, zero).all.mean == still);
    assert_true(evaluate(&r, random).all.mean != still);
    assert_true(evaluate(&r, learned).all.mean != still);
    rig_close(&r);
}

static void test_refusals(void** state) {
    (void)state;
    rig r;
    rig_open(&r, yaml, 0, 1, 1);
    hwm_evaluate_request q = hwm_evaluate_default_request();
    hwm_evaluate_result result;
    hwm_error err;
    q.episodes = 0;
    assert_int_equal(hwm_evaluate(r.experiment, r.phi, &q, &result, &err), HWM_EINVAL);
    q.episodes = 1;
    r.phi[3] = NAN;
    assert_int_equal(hwm_evaluate(r.experiment, r.phi, &q, &result, &err), HWM_ENUMERIC);
    assert_non_null(strstr(err.text, "[3]"));
    rig_close(&r);
}

// Way ahead over the full length of an episode: a fall costs the rest of it.
static void test_velocity(void** state) {
    (void)state;
    rig r;
    rig_open(&r,
             "env: {name: quadruped, gear: 150, time_limit: 60, fall_steps: 2}\n"
             "controller: {hidden: [8], plastic: [none], static_weights_scale: 20}\n",
             0, 1, 1);
    hwm_evaluate_request q = hwm_evaluate_default_request();
    q.episodes = 6;
    hwm_evaluate_result a = evaluate(&r, q);
    assert_true(isfinite(a.all.velocity) && a.all.velocity_std > 0);
    assert_true(fabs(a.all.velocity) < 5 && a.all.velocity != 0);
    hwm_error err;
    uint8_t reply[HWM_EVALUATE_REPLY_MAX];
    hwm_evaluate_result b;
    size_t n = hwm_evaluate_result_encode(&a, reply);
    assert_int_equal(hwm_evaluate_result_decode(reply, n, &b, &err), HWM_OK);
    assert_true(b.all.velocity == a.all.velocity && b.all.velocity_std == a.all.velocity_std);
    rig_close(&r);
    rig_open(&r, yaml, 0, 1, 1);
    assert_true(isnan(evaluate(&r, q).all.velocity));
    rig_close(&r);
}

static void test_task_wire_form(void** state) {
    (void)state;
    hwm_evaluate_request q = {.episodes = 7,
                              .seed = 1ull << 60,
                              .freeze_at = -1,
                              .reset_at = 12,
                              .shuffle_rule = true,
                              .variant = -1,
                              .actions = HWM_EVALUATE_RANDOM};
    hwm_evaluate_request p;
    hwm_error err;
    uint8_t bytes[HWM_EVALUATE_PAYLOAD_MAX], reply[HWM_EVALUATE_REPLY_MAX];
    uint64_t version = 0;
    size_t n = hwm_evaluate_request_encode(&q, 42, bytes);
    assert_int_equal(hwm_evaluate_request_decode(bytes, n, &p, &version, &err), HWM_OK);
    assert_int_equal(version, 42);
    assert_true(p.episodes == 7 && p.seed == q.seed && p.freeze_at == -1 && p.reset_at == 12 &&
                p.shuffle_rule && !p.zero_rule && p.variant == -1 &&
                p.actions == HWM_EVALUATE_RANDOM);
    q.actions = HWM_EVALUATE_ZERO + 1;
    uint8_t unknown[HWM_EVALUATE_PAYLOAD_MAX];
    assert_int_equal(hwm_evaluate_request_decode(
                         unknown, hwm_evaluate_request_encode(&q, 42, unknown), &p, &version, &err),
                     HWM_EPROTO);
    assert_non_null(strstr(err.text, "kind 3"));
    for (size_t k = 0; k < n; k++) {
        assert_int_not_equal(hwm_evaluate_request_decode(bytes, k, &p, &version, &err), HWM_OK);
    }
    assert_int_equal(hwm_evaluate_request_decode(bytes, n + 1, &p, &version, &err), HWM_EPROTO);
    bytes[0] = 9;
    assert_int_equal(hwm_evaluate_request_decode(bytes, n, &p, &version, &err), HWM_EVERSION);

    hwm_evaluate_result a = {.all = {.episodes = 7, .mean = 1.5, .std = 2, .min = -1, .max = 9},
                             .n_variants = 2,
                             .variant_dim = 1,
                             .env_steps = 123456789012};
    hwm_evaluate_result b;
    a.variant[1] = (hwm_evaluate_score){.episodes = 3, .mean = 0.25, .variant = {-1}};
    n = hwm_evaluate_result_encode(&a, reply);
    assert_int_equal(hwm_evaluate_result_decode(reply, n, &b, &err), HWM_OK);
    assert_memory_equal(&a, &b, sizeof a);
    for (size_t k = 0; k < n; k++) {
        assert_int_not_equal(hwm_evaluate_result_decode(reply, k, &b, &err), HWM_OK);
    }
    reply[4] = 200;  // more variants than there can be
    assert_int_equal(hwm_evaluate_result_decode(reply, n, &b, &err), HWM_EPROTO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeats_and_counts), cmocka_unit_test(test_variants),
        cmocka_unit_test(test_controls),           cmocka_unit_test(test_every_shuffle_is_another),
        cmocka_unit_test(test_unlearned_actions),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_velocity),           cmocka_unit_test(test_task_wire_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
