// Pictures: every environment draws, what moves shows, and looking never changes the simulation.
#include "env_fixture.h"

enum { W = 96, H = 72 };

static hwm_env_config config_of(int k) {
    hwm_env_config config = fixture_config(hwm_env_name(k));
    if (strcmp(config.name, "mjcf") == 0) {
        strcpy(config.mjcf, MODELS "/hopper.xml");
    }
    return config;
}

static void test_every_environment_draws_and_looking_changes_nothing(void** state) {
    (void)state;
    for (int k = 0; k < hwm_env_count() - 1; k++) {  // the last one is `plugin`: test_plugin.py
        hwm_env_config config = config_of(k);
        hwm_envs* envs = fixture_envs(&config, 2, 0, 2, 1);
        const hwm_env_spec* spec = hwm_envs_spec(envs);
        uint8_t rgb[2][3 * W * H], terminated[2], truncated[2];
        float obs[1024], action[128] = {0}, reward[2];
        double a[512], b[512];
        hwm_error err = {.text = ""};
        // environment 1 follows environment 0 but is never looked at
        hwm_envs_reset(envs, 0, 0, obs);
        hwm_envs_get_state(envs, 0, a);
        hwm_envs_set_state(envs, 1, a, NULL);
        for (int t = 0; t < 6; t++) {
            if (hwm_envs_render(envs, 0, W, H, rgb[t > 0], &err) != HWM_OK) {
                fail_msg("%s: %s", config.name, err.text);
            }
            for (int u = 0; u < spec->action_dim; u++) {
                action[u] = action[spec->action_dim + u] = u % 2 ? 0.5f : -0.5f;
            }
            hwm_envs_step(envs, NULL, action, obs, reward, terminated, truncated);
        }
        hwm_envs_get_state(envs, 0, a);
        hwm_envs_get_state(envs, 1, b);
        assert_memory_equal(a, b, (size_t)spec->state_dim * sizeof *a);
        unsigned colours = 0;
        for (int p = 1; p < W * H; p++) {
            colours += memcmp(rgb[0] + 3 * p, rgb[0] + 3 * (p - 1), 3) != 0;
        }
        if (colours < 40) {
            fail_msg("%s: the picture is nearly empty", config.name);
        }
        assert_memory_not_equal(rgb[0], rgb[1], sizeof rgb[0]);
        hwm_envs_destroy(&envs);
    }
}

// The pole of the cart-pole leans to where its angle says.
static void test_cartpole_leans_to_its_angle(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole");
    hwm_envs* envs = fixture_envs(&config, 2, 0, 1, 1);
    static uint8_t rgb[3 * W * H];
    double s[32];
    float obs[4];
    hwm_envs_reset(envs, 0, 0, obs);
    hwm_envs_get_state(envs, 0, s);
    for (int side = -1; side <= 1; side += 2) {
        s[0] = 0.0;
        s[2] = 0.8 * side;
        hwm_envs_set_state(envs, 0, s, obs);
        hwm_error err;
        assert_int_equal(hwm_envs_render(envs, 0, W, H, rgb, &err), HWM_OK);
        long orange[2] = {0, 0};
        for (int p = 0; p < W * H; p++) {
            const uint8_t* c = rgb + 3 * p;
            orange[p % W >= W / 2] += c[0] > 180 && c[1] < 160 && c[2] < 110;
        }
        assert_true(orange[side > 0] > 4 * orange[side < 0]);
    }
    hwm_envs_destroy(&envs);
}

static void test_bad_sizes_are_refused(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole");
    hwm_envs* envs = fixture_envs(&config, 2, 0, 1, 1);
    float obs[4];
    uint8_t pixel[3] = {1, 2, 3};
    hwm_error err;
    hwm_envs_reset(envs, 0, 0, obs);
    assert_int_equal(hwm_envs_render(envs, 0, 0, 72, pixel, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "0 x 72"));
    assert_int_equal(hwm_envs_render(envs, 0, 64, 100000, pixel, &err), HWM_EINVAL);
    assert_int_equal(pixel[0], 1);
    hwm_envs_destroy(&envs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_environment_draws_and_looking_changes_nothing),
        cmocka_unit_test(test_cartpole_leans_to_its_angle),
        cmocka_unit_test(test_bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
