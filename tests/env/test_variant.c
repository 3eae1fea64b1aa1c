// Hidden variants: each changes what it says and nothing else, composes, is drawn from the seed
// alone, and is recorded.
#include <math.h>

#include "env_fixture.h"

enum { E = 6, O = 4 };

static hwm_env_config varied(const char* name, int n, const char* const* items) {
    hwm_env_config config = fixture_config(name);
    config.variants.n = n;
    for (int k = 0; k < n; k++) {
        snprintf(config.variants.v[k], HWM_CONFIG_ITEM_MAX, "%s", items[k]);
    }
    return config;
}

static hwm_env_config one(const char* item) {
    return varied("cartpole", 1, &item);
}

typedef struct bench {
    hwm_envs* envs;
    float obs[E * O], action[E], reward[E];
    uint8_t terminated[E], truncated[E];
} bench;

static void open_bench(bench* b, const hwm_env_config* config, uint32_t episode) {
    b->envs = fixture_envs(config, 11, 0, E, 1);
    for (int i = 0; i < E; i++) {
        hwm_envs_reset(b->envs, i, episode, b->obs + i * O);
    }
}

static void step(bench* b) {
    hwm_envs_step(b->envs, NULL, b->action, b->obs, b->reward, b->terminated, b->truncated);
}

static void set_actions(bench* b, int t, float sign) {
    for (int i = 0; i < E; i++) {
        b->action[i] = ((t * 5 + i * 3) % 7 < 3 ? 1.0f : -1.0f) * sign;
    }
}

static float in_force(const bench* b, int i) {
    float v[16];
    hwm_envs_variant(b->envs, i, v);
    return v[0];
}

// The flipped environment with the opposite action is the plain one, state by state.
static void test_flip_negates_the_action_and_nothing_else(void** state) {
    (void)state;
    hwm_env_config plain = fixture_config("cartpole"), flip = one("flip");
    bench a, b;
    open_bench(&a, &plain, 0);
    open_bench(&b, &flip, 0);
    for (int t = 0; t < 12; t++) {
        set_actions(&a, t, 1.0f);
        set_actions(&b, t, -1.0f);
        step(&a);
        step(&b);
        assert_memory_equal(a.obs, b.obs, sizeof a.obs);
        assert_memory_equal(a.reward, b.reward, sizeof a.reward);
        assert_true(in_force(&b, 0) == -1.0f);
    }
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

static void test_flip_with_chance_is_drawn_per_episode(void** state) {
    (void)state;
    hwm_env_config config = one("flip p=0.3");
    bench b;
    open_bench(&b, &config, 0);
    int flipped = 0, changes = 0;
    float last = 0.0f, row[O];
    for (uint32_t episode = 0; episode < 3000; episode++) {
        hwm_envs_reset(b.envs, 2, episode, row);
        float v = in_force(&b, 2);
        assert_true(v == 1.0f || v == -1.0f);
        flipped += v < 0.0f;
        changes += v != last;
        last = v;
        hwm_envs_reset(b.envs, 2, episode, row);
        assert_true(in_force(&b, 2) == v);
    }
    // 900 +- 25 expected
    assert_in_range(flipped, 800, 1000);
    assert_true(changes > 800);
    hwm_envs_destroy(&b.envs);
}

// Before its decision the environment is the plain one; from it on the action counts with the other
// sign.
static void test_change_in_mid_episode(void** state) {
    (void)state;
    hwm_env_config plain = fixture_config("cartpole"), flip = one("flip t=3..8");
    bench a, b;
    open_bench(&a, &plain, 4);
    open_bench(&b, &flip, 4);
    int at[E];
    for (int i = 0; i < E; i++) {
        at[i] = -1;
    }
    for (int t = 0; t < 12; t++) {
        set_actions(&a, t, 1.0f);
        set_actions(&b, t, 1.0f);
        for (int i = 0; i < E; i++) {
            if (in_force(&b, i) < 0.0f) {
                at[i] = at[i] < 0 ? t : at[i];
                b.action[i] = -b.action[i];
            } else {
                assert_int_equal(at[i], -1);
            }
        }
        step(&a);
        step(&b);
        assert_memory_equal(a.obs, b.obs, sizeof a.obs);
    }
    int different = 0;
    for (int i = 0; i < E; i++) {
        assert_in_range(at[i], 3, 8);
        different += at[i] != at[0];
    }
    assert_true(different > 0);
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

static void test_delay_acts_later(void** state) {
    (void)state;
    hwm_env_config plain = fixture_config("cartpole"), delay = one("delay=3");
    bench a, b;
    open_bench(&a, &plain, 0);
    open_bench(&b, &delay, 0);
    // after the first three decisions, whose actions are the filler, start the plain one from the
    // same state
    for (int t = 0; t < 3; t++) {
        set_actions(&b, t, 1.0f);
        step(&b);
    }
    double s[64], p[64];
    for (int i = 0; i < E; i++) {
        hwm_envs_get_state(b.envs, i, s);
        hwm_envs_get_state(a.envs, i, p);
        memcpy(p, s, O * sizeof(double));
        hwm_envs_set_state(a.envs, i, p, NULL);
    }
    for (int t = 3; t < 14; t++) {
        set_actions(&b, t, 1.0f);
        set_actions(&a, t - 3, 1.0f);
        step(&a);
        step(&b);
        assert_memory_equal(a.obs, b.obs, sizeof a.obs);
    }
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

// Twice the force on twice the mass moves the same: gain and mass are what they say and cancel.
static void test_gain_and_mass_scale_the_physics(void** state) {
    (void)state;
    const char* const both[] = {"gain=2", "mass=2"};
    const char* const push[] = {"damage:push=2", "mass=2"};
    hwm_env_config plain = fixture_config("cartpole"), heavy = varied("cartpole", 2, both);
    hwm_env_config weak = varied("cartpole", 2, push), gain = one("gain=2");
    bench a, b, c, d;
    open_bench(&a, &plain, 0);
    open_bench(&b, &heavy, 0);
    open_bench(&c, &weak, 0);
    open_bench(&d, &gain, 0);
    for (int t = 0; t < 10; t++) {
        set_actions(&a, t, 1.0f);
        set_actions(&b, t, 1.0f);
        set_actions(&c, t, 1.0f);
        step(&a);
        step(&b);
        step(&c);
        for (int k = 0; k < E * O; k++) {
            assert_true(fabsf(a.obs[k] - b.obs[k]) <= 1e-5f * (1.0f + fabsf(a.obs[k])));
            assert_true(fabsf(a.obs[k] - c.obs[k]) <= 1e-5f * (1.0f + fabsf(a.obs[k])));
        }
    }
    // from rest and upright: x'' = F / (M + m - m c^2 3/4), so twice the force gives twice the
    // speed
    double s[64] = {0};
    float once[O], twice[O];
    hwm_envs_reset(a.envs, 0, 0, once);
    hwm_envs_reset(d.envs, 0, 0, twice);
    hwm_envs_get_state(a.envs, 0, s);
    memset(s, 0, O * sizeof(double));
    hwm_envs_set_state(a.envs, 0, s, once);
    hwm_envs_get_state(d.envs, 0, s);
    memset(s, 0, O * sizeof(double));
    hwm_envs_set_state(d.envs, 0, s, twice);
    a.action[0] = d.action[0] = 1.0f;
    step(&a);
    step(&d);
    assert_true(fabsf(a.obs[1] - 0.02f * 10.0f / (1.1f - 0.075f)) < 1e-6f);
    assert_true(fabsf(d.obs[1] - 2.0f * a.obs[1]) < 1e-6f);
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
    hwm_envs_destroy(&c.envs);
    hwm_envs_destroy(&d.envs);
}

static void test_sensor_noise_only_touches_what_is_seen(void** state) {
    (void)state;
    hwm_env_config plain = fixture_config("cartpole"), noisy = one("sensor_noise=0.1");
    bench a, b;
    double sum = 0.0, square = 0.0, s[64], p[64];
    int n = 0;
    open_bench(&a, &plain, 0);
    open_bench(&b, &noisy, 0);
    const float scale[O] = {2.4f, 2.0f, 0.2095f, 2.0f};
    for (uint32_t episode = 0; episode < 300; episode++) {
        for (int i = 0; i < E; i++) {
            hwm_envs_reset(a.envs, i, episode, a.obs + i * O);
            hwm_envs_reset(b.envs, i, episode, b.obs + i * O);
        }
        for (int t = 0; t < 3; t++) {
            for (int k = 0; k < E * O; k++) {
                double z = (b.obs[k] - a.obs[k]) / scale[k % O];
                sum += z;
                square += z * z;
                n++;
            }
            set_actions(&a, t, 1.0f);
            set_actions(&b, t, 1.0f);
            step(&a);
            step(&b);
            hwm_envs_get_state(a.envs, 1, s);
            hwm_envs_get_state(b.envs, 1, p);
            assert_memory_equal(s, p, O * sizeof(double));
        }
    }
    double std = sqrt(square / n);
    assert_true(fabs(sum / n) < 5.0 * 0.1 / sqrt(n));
    assert_true(fabs(std - 0.1) < 5.0 * 0.1 / sqrt(2.0 * n));
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

static void test_obs_sign_per_episode_mixes_signs(void** state) {
    (void)state;
    hwm_env_config plain = fixture_config("cartpole"), mixed = one("obs_sign");
    bench a, b;
    open_bench(&a, &plain, 0);
    open_bench(&b, &mixed, 0);
    unsigned patterns = 0;
    for (uint32_t episode = 0; episode < 60; episode++) {
        hwm_envs_reset(a.envs, 0, episode, a.obs);
        hwm_envs_reset(b.envs, 0, episode, b.obs);
        unsigned pattern = 0;
        for (int t = 0; t < 4; t++) {
            unsigned now = 0;
            for (int o = 0; o < O; o++) {
                assert_true(fabsf(a.obs[o]) == fabsf(b.obs[o]));
                now |= (unsigned)(a.obs[o] * b.obs[o] < 0.0f) << o;
            }
            pattern = t == 0 ? now : pattern;
            assert_int_equal(now, pattern);
            set_actions(&a, t, 1.0f);
            set_actions(&b, t, 1.0f);
            step(&a);
            step(&b);
        }
        assert_true(pattern != 0 && pattern != 15);
        assert_true(in_force(&b, 0) > 0.0f);
        patterns |= 1u << pattern;
    }
    assert_true(__builtin_popcount(patterns) > 8);
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

static void test_forced_variant_replaces_chance(void** state) {
    (void)state;
    const char* const items[] = {"flip p=0.5 t=5", "gain=0.5..2"};
    hwm_env_config config = varied("cartpole", 2, items);
    bench b;
    open_bench(&b, &config, 0);
    float v[2], row[O], want[2] = {-1.0f, 1.25f}, chance[2];
    hwm_envs_variant(b.envs, 1, chance);
    hwm_envs_force_variant(b.envs, 1, want);
    for (uint32_t episode = 0; episode < 20; episode++) {
        hwm_envs_reset(b.envs, 1, episode, row);
        hwm_envs_variant(b.envs, 1, v);
        assert_memory_equal(v, want, sizeof v);
    }
    hwm_envs_force_variant(b.envs, 1, NULL);
    hwm_envs_reset(b.envs, 1, 0, row);
    hwm_envs_variant(b.envs, 1, v);
    assert_memory_equal(v, chance, sizeof v);
    hwm_envs_destroy(&b.envs);
}

// A saved state carries variants, actions under way and noise.
static void test_saved_state_carries_the_variant(void** state) {
    (void)state;
    const char* const items[] = {"flip p=0.5 t=2..9", "delay=1..4", "sensor_noise=0.05",
                                 "gain=0.5..2", "obs_sign p=0.5"};
    hwm_env_config config = varied("cartpole", 5, items);
    bench a, b;
    open_bench(&a, &config, 3);
    open_bench(&b, &config, 8);
    double s[64];
    assert_true(hwm_envs_spec(a.envs)->state_dim <= 64);
    for (int t = 0; t < 4; t++) {
        set_actions(&a, t, 1.0f);
        step(&a);
    }
    for (int i = 0; i < E; i++) {
        hwm_envs_get_state(a.envs, i, s);
        hwm_envs_set_state(b.envs, i, s, b.obs + i * O);
    }
    assert_memory_equal(a.obs, b.obs, sizeof a.obs);
    for (int t = 4; t < 16; t++) {
        set_actions(&a, t, 1.0f);
        set_actions(&b, t, 1.0f);
        step(&a);
        step(&b);
        assert_memory_equal(a.obs, b.obs, sizeof a.obs);
        for (int i = 0; i < E; i++) {
            float v[5], w[5];
            hwm_envs_variant(a.envs, i, v);
            hwm_envs_variant(b.envs, i, w);
            assert_memory_equal(v, w, sizeof v);
        }
    }
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

static void test_held_out_set_replaces_the_trained_one(void** state) {
    (void)state;
    hwm_env_config config = one("gain=0.5..1");
    config.held_out.n = 1;
    strcpy(config.held_out.v[0], "gain=3");
    bench b;
    hwm_env_use_held_out(&config);
    open_bench(&b, &config, 0);
    assert_true(in_force(&b, 0) == 3.0f);
    assert_string_equal(hwm_envs_spec(b.envs)->variant_name[0], "gain");
    hwm_envs_destroy(&b.envs);
}

static void test_bad_variants_are_sentences(void** state) {
    (void)state;
    static const struct {
        const char *item, *says;
    } bad[] = {
        {"wind=3", "wind"},
        {"gain", "takes a value"},
        {"flip=2", "takes no value"},
        {"gain=2..1", "2..1"},
        {"gain=-1", "-1"},
        {"gain=nan", "nan"},
        {"gain=1x", "1x"},
        {"delay=65", "65"},
        {"delay=0", "0"},
        {"flip p=1.5", "p=1.5"},
        {"flip t=-1", "t=-1"},
        {"flip t=1.5", "t=1.5"},
        {"flip often", "often"},
        {"friction=2", "no friction"},
        {"damage=0.5", "which part"},
        {"damage:leg=0.5", "push"},
        {"flip:push", "only damage"},
        {"", "empty"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        hwm_env_config config = one(bad[k].item);
        hwm_env_spec spec;
        hwm_error err = {.text = ""};
        assert_int_equal(hwm_env_describe(&config, &spec, &err), HWM_EINVAL);
        if (!strstr(err.text, bad[k].says) || !strstr(err.text, "env.variants")) {
            fail_msg("\"%s\": %s", bad[k].item, err.text);
        }
    }
    hwm_env_config config = fixture_config("cartpole");
    config.held_out.n = 1;
    strcpy(config.held_out.v[0], "wind");
    hwm_env_spec spec;
    hwm_error err;
    assert_int_equal(hwm_env_describe(&config, &spec, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "env.held_out"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_negates_the_action_and_nothing_else),
        cmocka_unit_test(test_flip_with_chance_is_drawn_per_episode),
        cmocka_unit_test(test_change_in_mid_episode),
        cmocka_unit_test(test_delay_acts_later),
        cmocka_unit_test(test_gain_and_mass_scale_the_physics),
        cmocka_unit_test(test_sensor_noise_only_touches_what_is_seen),
        cmocka_unit_test(test_obs_sign_per_episode_mixes_signs),
        cmocka_unit_test(test_forced_variant_replaces_chance),
        cmocka_unit_test(test_saved_state_carries_the_variant),
        cmocka_unit_test(test_held_out_set_replaces_the_trained_one),
        cmocka_unit_test(test_bad_variants_are_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
