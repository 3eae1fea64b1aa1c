// Pendulum and acrobot against golden traces of independent implementations; what the sequences ask
// for.
#include <math.h>

#include "env_fixture.h"

typedef struct one {
    hwm_envs* envs;
    const hwm_env_spec* spec;
    float obs[64], action[64], reward;
    uint8_t terminated, truncated;
    double state[64];
} one;

static void open_one(one* o, const hwm_env_config* config) {
    memset(o, 0, sizeof *o);
    o->envs = fixture_envs(config, 3, 0, 1, 1);
    o->spec = hwm_envs_spec(o->envs);
    hwm_envs_reset(o->envs, 0, 0, o->obs);
}

static void put(one* o, const double* physical) {
    hwm_envs_get_state(o->envs, 0, o->state);
    memcpy(o->state, physical, (size_t)o->spec->init_dim * sizeof(double));
    hwm_envs_set_state(o->envs, 0, o->state, o->obs);
}

static void step(one* o) {
    hwm_envs_step(o->envs, NULL, o->action, o->obs, &o->reward, &o->terminated, &o->truncated);
    hwm_envs_get_state(o->envs, 0, o->state);
}

static bool near(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance * (1.0 + fabs(b));
}

static void test_pendulum_equals_golden(void** state) {
    (void)state;
    FILE* f = fopen(GOLDEN "/pendulum.txt", "r");
    assert_non_null(f);
    hwm_env_config config = fixture_config("pendulum");
    one o;
    open_one(&o, &config);
    double before[2], u, after[2], reward;
    int n = 0;
    for (; fscanf(f, "%lf %lf %lf %lf %lf %lf", &before[0], &before[1], &u, &after[0], &after[1],
                  &reward) == 6;
         n++) {
        put(&o, before);
        o.action[0] = (float)u;
        step(&o);
        // the action is a float here
        assert_true(near(o.state[0], after[0], 2e-8) && near(o.state[1], after[1], 1e-7));
        assert_true(near((double)o.reward, reward, 1e-6));
        assert_true(near((double)o.obs[0], cos(after[0]), 1e-6) &&
                    near((double)o.obs[1], sin(after[0]), 1e-6));
        assert_false(o.terminated);
    }
    fclose(f);
    assert_int_equal(n, 180);
    hwm_envs_destroy(&o.envs);
}

static void test_acrobot_equals_golden(void** state) {
    (void)state;
    FILE* f = fopen(GOLDEN "/acrobot.txt", "r");
    assert_non_null(f);
    hwm_env_config config = fixture_config("acrobot");
    one o;
    open_one(&o, &config);
    assert_int_equal(o.spec->action_dim, 3);
    double b[4], a[4], reward;
    int n = 0, ends = 0, choice, end;
    for (; fscanf(f, "%lf %lf %lf %lf %d %lf %lf %lf %lf %lf %d", &b[0], &b[1], &b[2], &b[3],
                  &choice, &a[0], &a[1], &a[2], &a[3], &reward, &end) == 11;
         n++) {
        put(&o, b);
        for (int k = 0; k < 3; k++) {
            o.action[k] = k == choice ? 0.7f : -0.2f;
        }
        step(&o);
        for (int k = 0; k < 4; k++) {
            assert_true(near(o.state[k], a[k], 1e-9));
        }
        assert_true((double)o.reward == reward);
        assert_int_equal(o.terminated, end);
        ends += end;
    }
    fclose(f);
    assert_true(n > 100 && ends > 0);
    hwm_envs_destroy(&o.envs);
}

// An oracle that reads the observation earns every reward; the order differs between episodes.
static void test_sequence_predict_has_one_cycle_per_episode(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("sequence");
    one o;
    open_one(&o, &config);
    int orders = 0, previous[4] = {-1, -1, -1, -1};
    for (uint32_t episode = 0; episode < 20; episode++) {
        hwm_envs_reset(o.envs, 0, episode, o.obs);
        int next[4] = {-1, -1, -1, -1}, last = -1, wrong = 0;
        for (int t = 0; t < 24; t++) {
            int seen = 0;
            while (seen < 4 && o.obs[seen] != 1.0f) {
                seen++;
            }
            assert_true(seen < 4);
            if (last >= 0) {
                assert_true(next[last] == -1 || next[last] == seen);
                next[last] = seen;
            }
            last = seen;
            for (int k = 0; k < 4; k++) {
                o.action[k] = k == next[seen] ? 1.0f : 0.0f;
            }
            bool known = next[seen] >= 0;
            step(&o);
            assert_true(o.obs[5] == o.reward);
            wrong += o.reward != 1.0f;
            assert_true(!known || o.reward == 1.0f);
        }
        assert_true(wrong <= 4);
        orders += memcmp(previous, next, sizeof next) != 0;
        memcpy(previous, next, sizeof next);
    }
    assert_true(orders > 10);
    hwm_envs_destroy(&o.envs);
}

static void test_sequence_recall_asks_after_the_delay(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("sequence");
    config.sequence = HWM_ENV_RECALL;
    config.symbols = 5;
    config.cues = 3;
    config.delay = 4;
    one o;
    open_one(&o, &config);
    int cue[3] = {0}, differ = 0, earned = 0;
    for (int trial = 0; trial < 12; trial++) {
        for (int phase = 0; phase < 10; phase++) {
            int seen = 0;
            while (seen < 5 && o.obs[seen] != 1.0f) {
                seen++;
            }
            assert_int_equal(seen < 5, phase < 3);
            assert_true(o.obs[5] == (phase >= 7 ? 1.0f : 0.0f));
            if (phase < 3) {
                differ += cue[phase] != seen;
                cue[phase] = seen;
            }
            bool right = trial % 2 == 0;
            for (int k = 0; k < 5; k++) {
                int want = phase >= 7 ? (cue[phase - 7] + !right) % 5 : 0;
                o.action[k] = k == want ? 1.0f : 0.0f;
            }
            step(&o);
            assert_true(o.reward == (phase >= 7 && right ? 1.0f : 0.0f));
            earned += o.reward > 0.0f;
        }
    }
    assert_int_equal(earned, 18);
    assert_true(differ > 15);
    hwm_envs_destroy(&o.envs);
}

// Reversed choices: what was the last symbol is the first.
static void test_flip_reverses_choices(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("acrobot"), flip = config;
    flip.variants.n = 1;
    strcpy(flip.variants.v[0], "flip");
    one a, b;
    open_one(&a, &config);
    open_one(&b, &flip);
    for (int t = 0; t < 30; t++) {
        for (int k = 0; k < 3; k++) {
            a.action[k] = k == t % 3 ? 1.0f : 0.0f;
            b.action[k] = k == 2 - t % 3 ? 1.0f : 0.0f;
        }
        step(&a);
        step(&b);
        assert_memory_equal(a.obs, b.obs, sizeof a.obs);
    }
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pendulum_equals_golden),
        cmocka_unit_test(test_acrobot_equals_golden),
        cmocka_unit_test(test_sequence_predict_has_one_cycle_per_episode),
        cmocka_unit_test(test_sequence_recall_asks_after_the_delay),
        cmocka_unit_test(test_flip_reverses_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
