// Native cart-pole against golden/cartpole.txt, written by an independent double-precision
// implementation.
#include <float.h>
#include <math.h>

#include "env/sincos.h"
#include "env_fixture.h"

typedef struct line {
    double before[4];
    int action;
    double after[4];
    int end;
} line;

static line* read_golden(int* n) {
    FILE* f = fopen(GOLDEN "/cartpole.txt", "r");
    assert_non_null(f);
    line* lines = calloc(4096, sizeof *lines);
    assert_non_null(lines);
    line l;
    *n = 0;
    while (fscanf(f, "%lf %lf %lf %lf %d %lf %lf %lf %lf %d", &l.before[0], &l.before[1],
                  &l.before[2], &l.before[3], &l.action, &l.after[0], &l.after[1], &l.after[2],
                  &l.after[3], &l.end) == 10) {
        assert_true(*n < 4096);
        lines[(*n)++] = l;
    }
    fclose(f);
    assert_true(*n > 200);
    return lines;
}

static void put_state(hwm_envs* envs, int i, const double* physical) {
    double state[32];
    hwm_envs_get_state(envs, i, state);
    memcpy(state, physical, 4 * sizeof(double));
    hwm_envs_set_state(envs, i, state, NULL);
}

// Every line by itself, spread over a batch so that each vector lane is used.
static void test_step_equals_golden_from_each_state(void** state) {
    (void)state;
    enum { E = 13 };
    int n;
    line* lines = read_golden(&n);
    hwm_env_config config = fixture_config("cartpole");
    hwm_envs* envs = fixture_envs(&config, 1, 0, E, 1);
    float obs[E][4], action[E], reward[E];
    uint8_t terminated[E], truncated[E];
    int ends = 0;
    for (int base = 0; base + E <= n; base += E) {
        for (int i = 0; i < E; i++) {
            hwm_envs_reset(envs, i, 0, obs[i]);
            put_state(envs, i, lines[base + i].before);
            action[i] = (float)lines[base + i].action;
        }
        hwm_envs_step(envs, NULL, action, obs[0], reward, terminated, truncated);
        for (int i = 0; i < E; i++) {
            const line* l = &lines[base + i];
            for (int o = 0; o < 4; o++) {
                float want = (float)l->after[o];
                // one unit in the last place of float32: the double results may round to neighbours
                assert_true(fabsf(obs[i][o] - want) <= FLT_EPSILON * fabsf(want) + 1e-12f);
            }
            assert_true(reward[i] == 1.0f);
            assert_int_equal(terminated[i], l->end);
            assert_int_equal(truncated[i], 0);
            ends += l->end;
        }
    }
    assert_true(ends > 3);
    hwm_envs_destroy(&envs);
    free(lines);
}

// Whole episodes without correction: the double state stays within 1e-12.
static void test_trajectory_equals_golden(void** state) {
    (void)state;
    int n;
    line* lines = read_golden(&n);
    hwm_env_config config = fixture_config("cartpole");
    hwm_envs* envs = fixture_envs(&config, 1, 0, 1, 1);
    float obs[4], reward;
    uint8_t terminated, truncated;
    for (int k = 0; k < n; k++) {
        int fresh =
            k == 0 || memcmp(lines[k].before, lines[k - 1].after, sizeof lines[k].before) != 0;
        if (fresh) {
            hwm_envs_reset(envs, 0, 0, obs);
            put_state(envs, 0, lines[k].before);
        }
        float action = (float)lines[k].action;
        hwm_envs_step(envs, NULL, &action, obs, &reward, &terminated, &truncated);
        double now[32];
        hwm_envs_get_state(envs, 0, now);
        for (int o = 0; o < 4; o++) {
            assert_true(fabs(now[o] - lines[k].after[o]) <=
                        1e-12 * (1.0 + fabs(lines[k].after[o])));
        }
    }
    hwm_envs_destroy(&envs);
    free(lines);
}

static void test_sincos_is_accurate(void** state) {
    (void)state;
    for (int k = -20000; k <= 20000; k++) {
        double x = k * 0.00317 * (1 + (k & 7) * 11), s, c;
        env_sincos(x, &s, &c);
        assert_true(fabs(s - sin(x)) < 5e-16);
        assert_true(fabs(c - cos(x)) < 5e-16);
    }
}

static void test_time_limit_truncates_at_500(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole");
    hwm_envs* envs = fixture_envs(&config, 1, 0, 1, 1);
    float obs[4], reward;
    uint8_t terminated, truncated;
    hwm_envs_reset(envs, 0, 0, obs);
    for (int t = 1; t <= 500; t++) {
        // a linear controller that balances from any start
        float action = obs[0] + 2.0f * obs[1] + 20.0f * obs[2] + 4.0f * obs[3];
        hwm_envs_step(envs, NULL, &action, obs, &reward, &terminated, &truncated);
        assert_int_equal(terminated, 0);
        assert_int_equal(truncated, t == 500);
    }
    hwm_envs_destroy(&envs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_equals_golden_from_each_state),
        cmocka_unit_test(test_trajectory_equals_golden),
        cmocka_unit_test(test_sincos_is_accurate),
        cmocka_unit_test(test_time_limit_truncates_at_500),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
