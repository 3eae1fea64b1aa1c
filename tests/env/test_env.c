// What every environment shares: seeds, threads, saved states, masks, time limit, observation
// signs, bad input.
#include <math.h>

#include "base/metrics.h"
#include "env_fixture.h"

enum { E = 9, LONG_E = 64 };

// Long enough for several episodes where a step is cheap.
static int steps_of(const char* name) {
    static const char* const dear[] = {"quadruped", "halfcheetah", "hopper", "walker", "mjcf"};
    for (size_t k = 0; k < sizeof dear / sizeof *dear; k++) {
        if (strcmp(name, dear[k]) == 0) {
            return 60;
        }
    }
    return 1200;
}

// The last kind is a plug-in: test_plugin.py builds one and runs this program again for it alone.
static int first_kind(void) {
    return getenv("HWM_PLUGIN_DIR") ? hwm_env_count() - 1 : 0;
}

static int kinds_end(void) {
    return hwm_env_count() - (getenv("HWM_PLUGIN_DIR") == NULL);
}

static hwm_env_config config_of(int k) {
    hwm_env_config config = fixture_config(hwm_env_name(k));
    if (strcmp(config.name, "mjcf") == 0) {
        strcpy(config.mjcf, MODELS "/quadruped.xml");
    }
    if (strcmp(config.name, "plugin") == 0) {
        strcpy(config.plugin, "spring");
    }
    return config;
}

typedef struct rollout {
    hwm_envs* envs;
    const hwm_env_spec* spec;
    float* obs;     // (n,O)
    float* action;  // (n,A)
    int n;          // environments: E, or LONG_E
    float reward[LONG_E];
    uint8_t terminated[LONG_E], truncated[LONG_E];
    uint32_t episode[LONG_E];
    hwm_rng rng;
} rollout;

static rollout start_of(const hwm_env_config* config, uint64_t seed, uint32_t first, int n,
                        int threads) {
    rollout r = {.envs = fixture_envs(config, seed, first, n, threads), .n = n};
    r.spec = hwm_envs_spec(r.envs);
    r.obs = calloc((size_t)(n * r.spec->obs_dim), sizeof(float));
    r.action = calloc((size_t)(n * r.spec->action_dim), sizeof(float));
    assert_non_null(r.obs);
    assert_non_null(r.action);
    hwm_rng_init(&r.rng, 99, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < n; i++) {
        hwm_envs_reset(r.envs, i, 0, r.obs + i * r.spec->obs_dim);
    }
    return r;
}

static rollout start(const hwm_env_config* config, uint64_t seed, uint32_t first, int threads) {
    return start_of(config, seed, first, E, threads);
}

static void finish(rollout* r) {
    hwm_envs_destroy(&r->envs);
    free(r->obs);
    free(r->action);
}

// One random decision; what ended begins its next episode. Returns the hash over everything seen.
static uint64_t advance(rollout* r, uint64_t h) {
    size_t n = (size_t)r->n, O = (size_t)r->spec->obs_dim, A = (size_t)r->spec->action_dim;
    for (size_t k = 0; k < n * A; k++) {
        r->action[k] = 2.0f * hwm_rng_uniform(&r->rng) - 1.0f;
    }
    hwm_envs_step(r->envs, NULL, r->action, r->obs, r->reward, r->terminated, r->truncated);
    h = fixture_hash(h, r->obs, n * O * sizeof(float));
    h = fixture_hash(h, r->reward, n * sizeof *r->reward);
    h = fixture_hash(h, r->terminated, n);
    h = fixture_hash(h, r->truncated, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t o = 0; o < O; o++) {
            assert_true(isfinite(r->obs[i * O + o]));
        }
        assert_true(isfinite(r->reward[i]));
        if (r->terminated[i] || r->truncated[i]) {
            hwm_envs_reset(r->envs, (int)i, ++r->episode[i], r->obs + i * O);
        }
    }
    return h;
}

static uint64_t run(const hwm_env_config* config, uint64_t seed, int threads) {
    rollout r = start(config, seed, 0, threads);
    uint64_t h = fixture_hash(0, r.obs, (size_t)(E * r.spec->obs_dim) * sizeof(float));
    for (int t = 0; t < steps_of(config->name); t++) {
        h = advance(&r, h);
    }
    finish(&r);
    return h;
}

static void test_same_seed_same_rollout_with_any_threads(void** state) {
    (void)state;
    for (int k = first_kind(); k < kinds_end(); k++) {
        hwm_env_config config = config_of(k);
        uint64_t h = run(&config, 5, 1);
        assert_true(h == run(&config, 5, 1));
        assert_true(h == run(&config, 5, 4));
        assert_true(h != run(&config, 6, 1));
    }
}

// Move every environment of one batch into another; its next observations are the same.
static void move(rollout* from, rollout* to) {
    const int O = from->spec->obs_dim, S = from->spec->state_dim;
    double* saved = calloc((size_t)S * 2, sizeof *saved);
    assert_non_null(saved);
    for (int i = 0; i < from->n; i++) {
        hwm_envs_get_state(from->envs, i, saved);
        hwm_envs_set_state(to->envs, i, saved, to->obs + i * O);
        // bit for bit, whatever is derived from it on the way
        hwm_envs_get_state(to->envs, i, saved + S);
        assert_memory_equal(saved, saved + S, (size_t)S * sizeof *saved);
    }
    assert_memory_equal(from->obs, to->obs, (size_t)(from->n * O) * sizeof(float));
    memcpy(to->episode, from->episode, sizeof to->episode);
    to->rng = from->rng;
    free(saved);
}

static void in_range(const rollout* r) {
    for (int i = 0; i < r->n; i++) {
        for (int o = 0; o < r->spec->obs_dim; o++) {
            float v = r->obs[i * r->spec->obs_dim + o];
            if (!(v >= r->spec->obs_low[o] && v <= r->spec->obs_high[o])) {
                fail_msg("%s: %s = %g", r->spec->name, r->spec->obs_name[o], (double)v);
            }
        }
    }
}

// `steps` random decisions of n environments, three times over: on one thread; on four; and those
// on four go over into another batch every 97 decisions.
static void long_run(const hwm_env_config* config, int n, int64_t steps, bool plain) {
    rollout a = start_of(config, 8, 0, n, 1), b = start_of(config, 8, 0, n, 4),
            c = start_of(config, 8, 1000, n, 4);
    int length[LONG_E] = {0}, longest = 0, ends = 0;
    for (int64_t t = 0; t * n < steps; t++) {
        uint32_t before[LONG_E];
        memcpy(before, a.episode, sizeof before);
        if (advance(&a, 0) != advance(&b, 0)) {
            fail_msg("%s: one thread and four differ at decision %lld", config->name, (long long)t);
        }
        if (t % 97 == 96) {
            move(&b, &c);
            rollout swap = b;
            b = c;
            c = swap;
        }
        if (plain) {
            in_range(&a);
        }
        for (int i = 0; i < n; i++) {
            length[i]++;
            longest = length[i] > longest ? length[i] : longest;
            if (a.episode[i] != before[i]) {
                ends++;
                length[i] = 0;
            }
        }
    }
    assert_true(longest <= a.spec->time_limit);
    assert_true(ends > 0 || steps / n < a.spec->time_limit);
    finish(&a);
    finish(&b);
    finish(&c);
}

// Every variant that the environment can have, in some of the episodes.
static hwm_env_config varied(hwm_env_config config) {
    static const char* const items[] = {"flip p=0.5",         "delay=1..3 p=0.5",
                                        "sensor_noise=0.05",  "obs_sign p=0.5",
                                        "gain=0.5..1.5 t=20", "mass=0.8..1.2",
                                        "friction=0.5..2",    "damage:*=0.5 p=0.5 t=5..50"};
    for (size_t k = 0; k < sizeof items / sizeof *items; k++) {
        hwm_env_spec spec;
        hwm_error err;
        strcpy(config.variants.v[config.variants.n++], items[k]);
        if (hwm_env_describe(&config, &spec, &err) != HWM_OK) {
            config.variants.n--;
        }
    }
    return config;
}

// Random actions for a long time: everything finite and within the declared ranges, episodes as
// long as the spec says, the same bits on any number of threads and from a saved state. HWM_FULL:
// 10^6 decisions of every environment, 10^5 with every variant; otherwise 30,000 where a step is
// cheap, 600 where it is not.
static void test_long_random_runs(void** state) {
    (void)state;
    const char* full = getenv("HWM_FULL");
    const bool whole = full && strcmp(full, "1") == 0;
    for (int k = first_kind(); k < kinds_end(); k++) {
        hwm_env_config config = config_of(k), changing = varied(config);
        assert_true(changing.variants.n >= 4);
        const bool dear = steps_of(config.name) < 100;
        const int64_t steps = whole ? 1000000 : dear ? 600 : 30000;
        if (whole) {
            print_message("%s\n", config.name);
        }
        const int n = whole || !dear ? LONG_E : E;
        long_run(&config, n, steps, true);
        long_run(&changing, n, whole || !dear ? steps / 10 : steps, false);
    }
    // nothing diverged and no action was refused
    assert_true(hwm_metric_value(hwm_counter("hwm_env_diverged_total", NULL, "as registered")) ==
                0.0);
    assert_true(hwm_metric_value(hwm_counter("hwm_env_nan_actions_total", NULL, "as registered")) ==
                0.0);
}

// An environment is named by its global index: how a range is cut into batches does not matter.
static void test_first_index_names_the_streams(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole");
    rollout a = start(&config, 5, 0, 1), b = start(&config, 5, 3, 1);
    assert_memory_equal(a.obs + 3 * 4, b.obs, (E - 3) * 4 * sizeof(float));
    assert_memory_not_equal(a.obs, b.obs, 4 * sizeof(float));
    float again[4];
    hwm_envs_reset(a.envs, 0, 1, again);
    assert_memory_not_equal(a.obs, again, sizeof again);
    hwm_envs_reset(a.envs, 0, 0, again);
    assert_memory_equal(a.obs, again, sizeof again);
    finish(&a);
    finish(&b);
}

static void test_saved_state_continues_identically(void** state) {
    (void)state;
    for (int k = first_kind(); k < kinds_end(); k++) {
        hwm_env_config config = config_of(k);
        rollout a = start(&config, 5, 0, 1), b = start(&config, 5, 100, 1);
        for (int t = 0; t < 7; t++) {
            advance(&a, 0);
        }
        move(&a, &b);
        for (int t = 0; t < steps_of(config.name) / 3; t++) {
            assert_true(advance(&a, 1) == advance(&b, 1));
        }
        finish(&a);
        finish(&b);
    }
}

static void test_inactive_rows_stay_untouched(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole");
    rollout r = start(&config, 5, 0, 2);
    uint8_t active[E] = {1, 0, 1, 0, 0, 1, 1, 1, 0};
    double before[E][32], after[32];
    float obs[E * 4];
    memcpy(obs, r.obs, sizeof obs);
    for (int i = 0; i < E; i++) {
        hwm_envs_get_state(r.envs, i, before[i]);
        r.reward[i] = -7.0f;
        r.action[i] = 1.0f;
    }
    hwm_envs_step(r.envs, active, r.action, r.obs, r.reward, r.terminated, r.truncated);
    size_t bytes = (size_t)r.spec->state_dim * sizeof(double);
    for (int i = 0; i < E; i++) {
        hwm_envs_get_state(r.envs, i, after);
        assert_true((memcmp(before[i], after, bytes) == 0) == !active[i]);
        assert_true((memcmp(obs + i * 4, r.obs + i * 4, 16) == 0) == !active[i]);
        assert_true((r.reward[i] == -7.0f) == !active[i]);
    }
    finish(&r);
}

static void test_nan_action_truncates_and_others_go_on(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole");
    rollout r = start(&config, 5, 0, 1), s = start(&config, 5, 0, 1);
    const float bad[3] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < E; i++) {
        r.action[i] = s.action[i] = 1.0f;
    }
    for (int k = 0; k < 3; k++) {
        r.action[2] = bad[k];
        float kept[4];
        memcpy(kept, r.obs + 8, sizeof kept);
        hwm_envs_step(r.envs, NULL, r.action, r.obs, r.reward, r.terminated, r.truncated);
        hwm_envs_step(s.envs, NULL, s.action, s.obs, s.reward, s.terminated, s.truncated);
        for (int i = 0; i < E; i++) {
            assert_int_equal(r.truncated[i], i == 2);
            assert_int_equal(r.terminated[i], 0);
            assert_true(r.reward[i] == (i == 2 ? 0.0f : 1.0f));
            if (i != 2) {
                assert_memory_equal(r.obs + i * 4, s.obs + i * 4, 16);
            }
        }
        assert_memory_equal(kept, r.obs + 8, sizeof kept);
    }
    finish(&r);
    finish(&s);
}

// A decision of three control steps is three decisions of one: rewards add up, nothing steps after
// its end.
static void test_action_repeat_sums_rewards(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole");
    hwm_env_config thrice = config;
    thrice.action_repeat = 3;
    rollout a = start(&config, 5, 0, 1), b = start(&thrice, 5, 0, 1);
    assert_int_equal(b.spec->time_limit, 167);
    assert_true(fabs(b.spec->control_dt - 0.06) < 1e-12);
    float sum[E] = {0};
    uint8_t over[E] = {0}, active[E];
    for (int t = 0; t < 12; t++) {
        for (int i = 0; i < E; i++) {
            a.action[i] = b.action[i] = i % 2 ? 1.0f : -1.0f;
            sum[i] = 0.0f;
        }
        for (int r = 0; r < 3; r++) {
            for (int i = 0; i < E; i++) {
                active[i] = !over[i];
                a.reward[i] = 0.0f;
            }
            hwm_envs_step(a.envs, active, a.action, a.obs, a.reward, a.terminated, a.truncated);
            for (int i = 0; i < E; i++) {
                sum[i] += a.reward[i];
                over[i] |= a.terminated[i];
            }
        }
        for (int i = 0; i < E; i++) {
            active[i] = !b.terminated[i];
        }
        hwm_envs_step(b.envs, active, b.action, b.obs, b.reward, b.terminated, b.truncated);
        for (int i = 0; i < E; i++) {
            assert_int_equal(b.terminated[i], over[i]);
            if (active[i]) {
                assert_true(b.reward[i] == sum[i]);
            }
        }
        assert_memory_equal(a.obs, b.obs, E * 4 * sizeof(float));
    }
    for (int i = 0; i < E; i++) {
        assert_int_equal(over[i], 1);
    }
    finish(&a);
    finish(&b);
}

static void test_observation_signs_belong_to_the_experiment(void** state) {
    (void)state;
    hwm_env_config plain = fixture_config("cartpole"), mixed = plain;
    mixed.obs_sign = HWM_OBS_SIGN_EXPERIMENT;
    unsigned patterns = 0;
    for (int seed = 0; seed < 40; seed++) {
        mixed.experiment_seed = seed;
        rollout a = start(&plain, 5, 0, 1), b = start(&mixed, 5, 0, 1);
        for (int t = 0; t < 3; t++) {
            if (t > 0) {
                advance(&a, 0);
                advance(&b, 0);
            }
            unsigned pattern = 0;
            for (int k = 0; k < E * 4; k++) {
                assert_true(fabsf(a.obs[k]) == fabsf(b.obs[k]));
                unsigned minus = a.obs[k] * b.obs[k] < 0.0f;
                pattern |= minus << (k % 4);
            }
            for (int k = 0; k < E * 4; k++) {
                assert_true((a.obs[k] * b.obs[k] < 0.0f) == (pattern >> (k % 4) & 1u));
            }
            assert_true(pattern != 0 && pattern != 15);
            patterns |= 1u << pattern;
        }
        finish(&a);
        finish(&b);
    }
    assert_true(__builtin_popcount(patterns) > 8);
}

static void test_unknown_environment_is_a_sentence(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpool");
    hwm_error err;
    hwm_env_spec spec;
    assert_int_equal(hwm_env_describe(&config, &spec, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "cartpool"));
    assert_non_null(strstr(err.text, "cartpole"));
    hwm_envs* envs = (hwm_envs*)&config;
    assert_int_equal(hwm_envs_create(&envs, &config, 1, 0, 2, 1, &err), HWM_EINVAL);
    assert_null(envs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_random_runs),
        cmocka_unit_test(test_same_seed_same_rollout_with_any_threads),
        cmocka_unit_test(test_first_index_names_the_streams),
        cmocka_unit_test(test_saved_state_continues_identically),
        cmocka_unit_test(test_inactive_rows_stay_untouched),
        cmocka_unit_test(test_nan_action_truncates_and_others_go_on),
        cmocka_unit_test(test_action_repeat_sums_rewards),
        cmocka_unit_test(test_observation_signs_belong_to_the_experiment),
        cmocka_unit_test(test_unknown_environment_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
