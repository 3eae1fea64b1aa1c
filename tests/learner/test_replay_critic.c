// What the critic learns from replayed rewards: the returns against their closed form, a sum over
// n-step returns, and a critic that finds them where imagination says nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "replay_critic.h"

enum { B = 8, PER = 4, O = 4 };

typedef struct rig {
    hwm_experiment* experiment;
    hwm_env_spec* spec;
    hwm_agent* agent;
    hwm_imagination_setup setup;
} rig;

static void rig_open(rig* r, const char* more) {
    memset(r, 0, sizeof *r);
    hwm_error err = {0};
    char text[512];
    snprintf(text, sizeof text,
             "imagination: {batch: 8, horizon: 3, starts_per_sequence: 4}\n"
             "model: {units: 8, members: 2}\ntrain: {gamma: 0.9, lambda: 0.7, critic_units: 8, "
             "replay_critic: 0.5%s}\n",
             more);
    if (hwm_experiment_load(&r->experiment, NULL, text, NULL, 0, &err) != HWM_OK)
        fail_msg("%s", err.text);
    r->spec = calloc(1, sizeof *r->spec);
    assert_int_equal(hwm_env_describe(&r->experiment->env, r->spec, &err), HWM_OK);
    assert_int_equal(hwm_agent_create(&r->agent, r->experiment, r->spec, &err), HWM_OK);
    hwm_real lo[O], hi[O], one[O];
    for (int j = 0; j < O; j++) {
        lo[j] = -5;
        hi[j] = 5;
        one[j] = 1;
    }
    const hwm_replay_statistics wide = {lo, hi, one, -2, 2, lo, one};
    hwm_model_refresh(r->agent->model, &wide, 0);
    hwm_rng rng;
    hwm_rng_init(&rng, 2, HWM_PURPOSE_TEST, 0, 0, 0);
    nn_params* slow = r->agent->critic->slow;
    for (int i = 0; i < slow->list.n; i++)
        nn_params_init_normal(slow, i, &rng, 0.3);
    hwm_starts* s = hwm_imagination_starts(r->agent->imagination);
    for (int i = 0; i < B; i++) {
        for (int j = 0; j < O; j++)
            s->z[i * O + j] = hwm_rng_normal(&rng);
        s->previous_reward[i] = 2 * hwm_rng_uniform(&rng) - 1;
        s->linked[i] = i % PER != PER - 1;
        s->ended[i] = i == 6;
        s->alive[i] = i != 6;
        s->fresh[i] = 1;
    }
    r->setup = (hwm_imagination_setup){.model = r->agent->model,
                                       .critic = r->agent->critic,
                                       .config = r->experiment->imagination,
                                       .gamma = 0.9,
                                       .lambda = 0.7};
}

static void rig_close(rig* r) {
    hwm_agent_destroy(&r->agent);
    hwm_experiment_destroy(&r->experiment);
    free(r->spec);
}

// V of a row, as the slow copy has it.
static double value_of(rig* r, const hwm_real* z) {
    nn_tape* tape = hwm_imagination_tape(r->agent->imagination);
    nn_tape_reset(tape);
    hwm_real copy[O];
    memcpy(copy, z, sizeof copy);
    return (double)hwm_critic_value(r->agent->critic, tape, nn_wrap(tape, copy, NULL, 1, O))->x[0];
}

static void test_returns_are_sums_over_n_steps(void** state) {
    (void)state;
    rig r;
    rig_open(&r, "");
    hwm_imagination* im = r.agent->imagination;
    hwm_starts* s = hwm_imagination_starts(im);
    hwm_replay_critic* replay = hwm_replay_critic_new(&r.setup);
    assert_non_null(replay);
    hwm_replay_critic_take(replay, s);
    hwm_real z[B * O], reward[B];
    memcpy(z, s->z, sizeof z);
    memcpy(reward, s->previous_reward, sizeof reward);
    // start 3 goes on from the previous imagination: what it was is not what it is
    s->age[3] = 3;
    for (int j = 0; j < O; j++)
        s->z[3 * O + j] = 4;
    s->previous_reward[3] = 77;
    hwm_imagination_report report;
    hwm_imagination_gradient(im, r.agent->phi->value, 0, NULL, &report);
    hwm_real imagined[B];
    memcpy(imagined, hwm_imagination_returns(im), sizeof imagined);
    const hwm_critic_batch b = hwm_replay_critic_batch(replay, im, 0.5);
    assert_int_equal(b.rows, B);
    assert_true(b.scale == 0.5);
    assert_memory_equal(b.features, z, sizeof z);
    for (int i = 0; i < B; i++) {
        const int last = i / PER * PER + PER - 1, steps = last - i;
        assert_true(b.weight[i] == (steps > 0));
        if (steps == 0)
            continue;
        const double gamma = 0.9, lambda = 0.7;
        double sum = 0;
        for (int n = 1; n <= steps; n++) {
            double G = 0, discount = 1;
            for (int k = 1; k <= n; k++) {
                G += discount * (1 - gamma) * (double)reward[i + k];
                discount *= gamma * (i + k == 6 ? 0 : 1);
            }
            // V, and at the sequence's end what was imagined from there unless it went on elsewhere
            const int at = i + n;
            double V = value_of(&r, z + at * O);
            if (n == steps)
                V = (1 - lambda) * V + lambda * (last == 3 ? V : (double)imagined[last]);
            sum += pow(lambda, n - 1) * (n == steps ? 1 : 1 - lambda) * (G + discount * V);
        }
        if (fabs(sum - (double)b.target[i]) > 1e-5)
            fail_msg("start %d: %.7g, expected %.7g", i, (double)b.target[i], sum);
    }
    hwm_replay_critic_free(&replay);
    assert_null(replay);
    rig_close(&r);
}

// Both kinds of critic move towards the replayed returns; one that has no weight for them does not.
static void test_a_critic_finds_them(void** state) {
    (void)state;
    for (int twohot = 0; twohot < 2; twohot++) {
        rig r;
        rig_open(&r, twohot ? ", critic: twohot" : "");
        hwm_critic* c = r.agent->critic;
        nn_params_ema(c->slow, c->params, 1);
        hwm_real features[B * O], target[B], weight[B] = {0}, none[B] = {0};
        for (int i = 0; i < B; i++) {
            weight[i] = i != 3;
            target[i] = i < B / 2 ? 0.4F : -0.2F;
            for (int j = 0; j < O; j++)
                features[i * O + j] = (i < B / 2 ? 1 : -1) + 0.1F * (hwm_real)j;
        }
        hwm_error err = {0};
        double first = 0, last = 0;
        for (int t = 0; t < 1500; t++) {
            hwm_critic_batch b[2] = {
                {.rows = B, .features = features, .target = target, .weight = none, .scale = 1},
                {.rows = B,
                 .features = features,
                 .target = target,
                 .weight = weight,
                 .scale = 0.5}};
            assert_int_equal(hwm_critic_update(c, b, 2, &err), HWM_OK);
            assert_true(b[0].loss == 0);
            first = t == 0 ? b[1].loss : first;
            last = b[1].loss;
        }
        assert_true(last < first);
        assert_true(fabs(value_of(&r, features) - 0.4) < 0.05);
        assert_true(fabs(value_of(&r, features + 7 * O) + 0.2) < 0.05);
        rig_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_returns_are_sums_over_n_steps),
        cmocka_unit_test(test_a_critic_finds_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
