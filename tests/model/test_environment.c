// The true dynamics as a world model: a rollout is what the environment does, bit for bit, its
// state survives the latent, and differences carry the gradient.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "env/env_config.h"
#include "model/model.h"

enum { N = 3, STEPS = 40, O_MAX = 8 };

static hwm_env_config env_config(const char* name, const char* variant) {
    hwm_env_config config;
    hwm_config_section section = {.table = &hwm_env_table, .target = &config};
    hwm_config_defaults(&section, 1);
    snprintf(config.name, sizeof config.name, "%s", name);
    config.obs_sign = HWM_OBS_SIGN_EXPERIMENT;
    if (variant) {
        config.variants.n = 1;
        snprintf(config.variants.v[0], sizeof config.variants.v[0], "%s", variant);
    }
    return config;
}

static hwm_model* create(const hwm_env_config* env, hwm_env_spec* spec) {
    hwm_error err = {0};
    if (hwm_env_describe(env, spec, &err) != HWM_OK)
        fail_msg("%s", err.text);
    hwm_model_config config;
    hwm_config_section section = {.table = &hwm_model_table, .target = &config};
    hwm_config_defaults(&section, 1);
    config.kind = HWM_MODEL_ENVIRONMENT;
    const hwm_model_dims dims = {.obs = spec->obs_dim,
                                 .action = spec->action_dim,
                                 .rollouts = N,
                                 .horizon = STEPS,
                                 .env = env};
    hwm_model* m;
    if (hwm_model_create(&m, &config, &dims, 5, &err) != HWM_OK)
        fail_msg("%s", err.text);
    assert_true(hwm_model_own_starts(m));
    return m;
}

// Two copies of a rollout, one in the model and one in the environment itself.
static void follow(const char* name, const char* variant) {
    const hwm_env_config env = env_config(name, variant);
    hwm_env_spec spec;
    hwm_model* m = create(&env, &spec);
    const int O = spec.obs_dim, A = spec.action_dim, Z = hwm_model_latent(m);
    assert_int_equal(hwm_model_features(m), O + spec.variant_dim);
    hwm_envs* real;
    hwm_error err = {0};
    assert_int_equal(hwm_envs_create(&real, &env, 5, UINT32_MAX - N, N, 1, &err), HWM_OK);
    hwm_rng rng, same, draw;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    same = rng;
    hwm_rng_init(&draw, 2, HWM_PURPOSE_TEST, 0, 0, 0);
    const hwm_sequences none = {.n = N, .length = 1};
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 24), HWM_OK);
    nn_tape_record(t, false);
    nn_var z = nn_new(t, N, Z, false);
    hwm_model_start(m, &none, &rng, z->x);
    float obs[N * O_MAX], action[N], reward[N];
    uint8_t ended[N], cut[N], gone[N] = {0};
    for (int i = 0; i < N; i++)
        hwm_envs_reset(real, i, hwm_rng_u32(&same), obs + i * O);
    hwm_model_begin(m, t);
    for (int step = 0; step < STEPS; step++) {
        nn_var o = hwm_model_observe(m, t, z);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < O; j++)
                assert_true(o->x[i * O + j] == (hwm_real)(obs[i * O + j] / spec.obs_scale[j]));
        nn_var u = nn_new(t, N, A, false);
        for (int i = 0; i < N; i++)
            u->x[i] = action[i] = spec.discrete ? (hwm_rng_u32(&draw) & 1 ? 1.0F : -1.0F)
                                                : 2 * hwm_rng_uniform(&draw) - 1;
        const hwm_model_next next = hwm_model_step(m, t, z, u, step, &rng);
        hwm_envs_step(real, NULL, action, obs, reward, ended, cut);
        for (int i = 0; i < N; i++) {
            assert_true(next.reward->x[i] == (hwm_real)reward[i] / (hwm_real)spec.action_repeat);
            assert_true(next.cont->x[i] == (ended[i] ? 0 : 1));
            gone[i] |= ended[i];
        }
        z = next.z;
    }
    if (spec.discrete)
        assert_true(gone[0] || gone[1] || gone[2]);
    nn_tape_destroy(&t);
    hwm_envs_destroy(&real);
    hwm_model_destroy(&m);
}

static void test_rollout_is_the_environment(void** state) {
    (void)state;
    follow("cartpole", NULL);
    follow("cartpole", "flip p=0.5");
    follow("cartpole_swingup", NULL);
}

// dL/du of a rollout of three steps, L = sum of rewards and of the last observation.
static double rollout(hwm_model* m, const double* u, int O, hwm_real* g) {
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    const hwm_sequences none = {.n = N, .length = 1};
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 24), HWM_OK);
    nn_tape_record(t, g != NULL);
    nn_var z = nn_new(t, N, hwm_model_latent(m), false), push[3];
    hwm_model_start(m, &none, &rng, z->x);
    double loss = 0;
    for (int s = 0; s < 3; s++) {
        push[s] = nn_new(t, N, 1, g != NULL);
        for (int i = 0; i < N; i++)
            push[s]->x[i] = (hwm_real)u[s * N + i];
        const hwm_model_next next = hwm_model_step(m, t, z, push[s], s, &rng);
        z = next.z;
        for (int i = 0; i < N; i++)
            loss += (double)next.reward->x[i];
        if (g)
            nn_seed(next.reward, 1);
    }
    nn_var o = hwm_model_observe(m, t, z);
    for (int i = 0; i < N * O; i++)
        loss += (double)o->x[i];
    if (g) {
        nn_seed(o, 1);
        nn_tape_backward(t);
        for (int i = 0; i < 3 * N; i++)
            g[i] = push[i / N]->g[i % N];
    }
    nn_tape_destroy(&t);
    return loss;
}

static void test_differences_carry_the_gradient(void** state) {
    (void)state;
    const hwm_env_config env = env_config("cartpole_swingup", NULL);
    hwm_env_spec spec;
    hwm_model* m = create(&env, &spec);
    double u[3 * N] = {0.3, -0.4, 0.1, -0.2, 0.5, 0.7, 0.1, -0.6, 0.2};
    hwm_real g[3 * N];
    rollout(m, u, spec.obs_dim, g);
    double largest = 0;
    for (int i = 0; i < 3 * N; i++)
        largest = fmax(largest, fabs((double)g[i]));
    assert_true(largest > 0.01);
    for (int i = 0; i < 3 * N; i++) {
        const double kept = u[i], h = 0.05;
        u[i] = kept + h;
        const double up = rollout(m, u, spec.obs_dim, NULL);
        u[i] = kept - h;
        const double down = rollout(m, u, spec.obs_dim, NULL);
        u[i] = kept;
        // observations are float32, so differences are good to a few parts in a thousand
        if (fabs((up - down) / (2 * h) - (double)g[i]) > 0.01 * largest)
            fail_msg("u[%d]: analytic %g, numeric %g", i, (double)g[i], (up - down) / (2 * h));
    }
    hwm_model_destroy(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollout_is_the_environment),
        cmocka_unit_test(test_differences_carry_the_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
