// MuJoCo bodies: against an independent trace, against conservation laws and mirror images, and
// what variants do to them.
#include <math.h>

#include "env_fixture.h"

typedef struct one {
    hwm_envs* envs;
    const hwm_env_spec* spec;
    float obs[512], action[64], reward;
    uint8_t terminated, truncated;
    double state[512];
} one;

static void open_one(one* o, const hwm_env_config* config) {
    memset(o, 0, sizeof *o);
    o->envs = fixture_envs(config, 3, 0, 1, 1);
    o->spec = hwm_envs_spec(o->envs);
    assert_true(o->spec->state_dim <= 512);
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

// The environment's model is the Control Suite's: masses, inertia, damping, gear, gravity,
// integrator and reward together.
static void test_swingup_equals_golden(void** state) {
    (void)state;
    FILE* f = fopen(GOLDEN "/swingup.txt", "r");
    assert_non_null(f);
    hwm_env_config config = fixture_config("cartpole_swingup");
    one o;
    open_one(&o, &config);
    double before[4], u, after[4], reward;
    int n = 0;
    while (fscanf(f, "%lf %lf %lf %lf %lf %lf %lf %lf %lf %lf", &before[0], &before[1], &before[2],
                  &before[3], &u, &after[0], &after[1], &after[2], &after[3], &reward) == 10) {
        put(&o, before);
        o.action[0] = (float)u;
        step(&o);
        for (int k = 0; k < 4; k++) {
            // the action is a float here: 10 N x 6e-8 x 10 ms
            assert_true(fabs(o.state[k] - after[k]) < 2e-8);
        }
        assert_true(fabs((double)o.reward - reward) < 1e-6);
        assert_true(fabs(o.obs[0] - (float)after[0]) < 1e-6);
        assert_true(fabs(o.obs[1] - cos(after[1])) < 1e-6);
        assert_true(fabs(o.obs[2] - sin(after[1])) < 1e-6);
        assert_true(fabs(o.obs[3] - after[2]) < 1e-6);
        assert_true(fabs(o.obs[4] - after[3]) < 1e-6);
        assert_false(o.terminated || o.truncated);
        n++;
    }
    fclose(f);
    assert_int_equal(n, 288);
    hwm_envs_destroy(&o.envs);
}

static void test_swingup_starts_hanging_and_lasts_a_thousand_steps(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole_swingup");
    one o;
    open_one(&o, &config);
    assert_int_equal(o.spec->time_limit, 1000);
    assert_true(fabs(o.spec->control_dt - 0.01) < 1e-12);
    for (uint32_t e = 0; e < 50; e++) {
        hwm_envs_reset(o.envs, 0, e, o.obs);
        assert_true(o.obs[1] < -0.99f && fabsf(o.obs[0]) < 0.06f);
    }
    config.action_repeat = 2;
    one p;
    open_one(&p, &config);
    assert_int_equal(p.spec->time_limit, 500);
    int t = 0;
    while (!p.truncated) {
        step(&p);
        assert_false(p.terminated);
        t++;
    }
    assert_int_equal(t, 500);
    hwm_envs_destroy(&o.envs);
    hwm_envs_destroy(&p.envs);
}

// Without damping and force the energy of cart and pole stays what it was.
static void test_cartpole_conserves_energy(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("cartpole_swingup");
    config.variants.n = 1;
    strcpy(config.variants.v[0], "friction=0");
    one o;
    open_one(&o, &config);
    const double inertia = 0.009424592767295598 + 0.1 * 0.25;
    const double start[4] = {0.0, 2.0, 0.0, 3.0};
    put(&o, start);
    double first = 0.0, kinetic_min = 1e9, kinetic_max = 0.0;
    for (int t = 0; t < 500; t++) {
        double th = o.state[1], v = o.state[2], w = o.state[3];
        double kinetic = 0.5 * 1.1 * v * v + 0.1 * 0.5 * cos(th) * v * w + 0.5 * inertia * w * w;
        double energy = kinetic + 0.1 * 9.81 * 0.5 * cos(th);
        first = t == 0 ? energy : first;
        kinetic_min = fmin(kinetic, kinetic_min);
        kinetic_max = fmax(kinetic, kinetic_max);
        assert_true(fabs(o.state[0]) < 1.7);
        assert_true(fabs(energy - first) < 1e-5);
        step(&o);
    }
    assert_true(kinetic_max > 10.0 * kinetic_min + 0.1);
    hwm_envs_destroy(&o.envs);
}

// Mirror image of a quadruped's state or action: y to -y exchanges legs 1 and 4, 2 and 3.
static void mirror_joints(double* to, const double* from) {
    static const int other[4] = {3, 2, 1, 0};
    for (int leg = 0; leg < 4; leg++) {
        // hips turn about z, which mirrors; ankle axes differ in the sign of x only, and the image
        // of an axial vector does too
        to[2 * leg] = -from[2 * other[leg]];
        to[2 * leg + 1] = from[2 * other[leg] + 1];
    }
}

static void mirror_state(double* to, const double* from) {
    const double sign[7] = {1, -1, 1, 1, -1, 1, -1};
    for (int k = 0; k < 7; k++) {
        to[k] = sign[k] * from[k];
    }
    mirror_joints(to + 7, from + 7);
    const double turn[6] = {1, -1, 1, -1, 1, -1};
    for (int k = 0; k < 6; k++) {
        to[15 + k] = turn[k] * from[15 + k];
    }
    mirror_joints(to + 21, from + 21);
}

static void test_quadruped_is_mirror_symmetric(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("quadruped");
    one a, b;
    open_one(&a, &config);
    open_one(&b, &config);
    double start[29], image[29];
    hwm_envs_get_state(a.envs, 0, a.state);
    memcpy(start, a.state, sizeof start);
    mirror_state(image, start);
    put(&a, start);
    put(&b, image);
    hwm_rng rng;
    hwm_rng_init(&rng, 4, HWM_PURPOSE_TEST, 0, 0, 0);
    double moved = 0.0;
    for (int t = 0; t < 25; t++) {
        double u[8], v[8];
        for (int k = 0; k < 8; k++) {
            u[k] = (double)(a.action[k] = 2.0f * hwm_rng_uniform(&rng) - 1.0f);
        }
        mirror_joints(v, u);
        for (int k = 0; k < 8; k++) {
            b.action[k] = (float)v[k];
        }
        step(&a);
        step(&b);
        mirror_state(image, a.state);
        for (int k = 0; k < 29; k++) {
            assert_true(fabs(image[k] - b.state[k]) < 1e-6);
            moved += fabs(a.state[k] - start[k]);
        }
        assert_true(fabsf(a.reward - b.reward) < 1e-5f);
    }
    assert_true(moved > 1.0);
    hwm_envs_destroy(&a.envs);
    hwm_envs_destroy(&b.envs);
}

// A symmetry of a body: number k of the image is sign[k] times number from[k], the first of them
// moved by shift; likewise for actions.
typedef struct symmetry {
    const char* name;
    int n, n_action;
    int from[18], action_from[6];
    double sign, action_sign, shift;
} symmetry;

static const symmetry symmetries[] = {
    // left and right
    {"cartpole_swingup", 4, 1, {0, 1, 2, 3}, {0}, -1, -1, 0},
    {"cartpole_balance", 4, 1, {0, 1, 2, 3}, {0}, -1, -1, 0},
    {"pendulum_swingup", 2, 1, {0, 1}, {0}, -1, -1, 0},
    // one leg for the other
    {"walker",
     18,
     6,
     {0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11, 15, 16, 17, 12, 13, 14},
     {3, 4, 5, 0, 1, 2},
     1,
     1,
     0},
    // the same elsewhere on the floor
    {"halfcheetah",
     18,
     6,
     {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17},
     {0, 1, 2, 3, 4, 5},
     1,
     1,
     7},
    {"hopper", 12, 3, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {0, 1, 2}, 1, 1, 7},
};

static void image_of(const symmetry* s, double* to, const double* from) {
    for (int k = 0; k < s->n; k++) {
        to[k] = s->sign * from[s->from[k]];
    }
    to[0] += s->shift;
}

static void test_bodies_are_symmetric(void** state) {
    (void)state;
    for (size_t c = 0; c < sizeof symmetries / sizeof *symmetries; c++) {
        const symmetry* s = &symmetries[c];
        hwm_env_config config = fixture_config(s->name);
        one a, b;
        open_one(&a, &config);
        open_one(&b, &config);
        assert_int_equal(a.spec->init_dim, s->n);
        assert_int_equal(a.spec->action_dim, s->n_action);
        double start[18], image[18] = {0};
        hwm_envs_get_state(a.envs, 0, a.state);
        memcpy(start, a.state, (size_t)s->n * sizeof *start);
        image_of(s, image, start);
        put(&a, start);
        put(&b, image);
        hwm_rng rng;
        hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
        double moved = 0.0;
        for (int t = 0; t < 20; t++) {
            for (int k = 0; k < s->n_action; k++) {
                a.action[k] = 2.0f * hwm_rng_uniform(&rng) - 1.0f;
            }
            for (int k = 0; k < s->n_action; k++) {
                b.action[k] = (float)s->action_sign * a.action[s->action_from[k]];
            }
            step(&a);
            step(&b);
            image_of(s, image, a.state);
            for (int k = 0; k < s->n; k++) {
                if (!(fabs(image[k] - b.state[k]) < 1e-6)) {
                    fail_msg("%s, decision %d: number %d is %.9g, its image %.9g", s->name, t, k,
                             b.state[k], image[k]);
                }
                moved += fabs(a.state[k] - start[k]);
            }
            // a velocity is a difference of positions over as little as 8 ms
            if (!(fabsf(a.reward - b.reward) < 2e-4f)) {
                fail_msg("%s, decision %d: reward %g, of the image %g", s->name, t,
                         (double)a.reward, (double)b.reward);
            }
        }
        assert_true(moved > 0.5);
        hwm_envs_destroy(&a.envs);
        hwm_envs_destroy(&b.envs);
    }
}

static void test_quadruped_observes_itself(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("quadruped");
    one o;
    open_one(&o, &config);
    assert_int_equal(o.spec->obs_dim, 29);
    assert_int_equal(o.spec->action_dim, 8);
    assert_true(fabs(o.spec->control_dt - 0.05) < 1e-12);
    assert_string_equal(o.spec->obs_name[6], "up_z");
    // turned by 90 degrees about z, moving along the world's y: the body sees itself move ahead
    double s[29] = {5.0, -3.0, 0.9, sqrt(0.5), 0.0, 0.0, sqrt(0.5)};
    s[16] = 2.0;
    for (int k = 0; k < 3; k++) {
        s[18 + k] = 0.3 * (k + 1);
    }
    for (int j = 0; j < 8; j++) {
        s[7 + j] = 0.01 * (j + 1);
        s[21 + j] = 0.1 * (j + 1);
    }
    put(&o, s);
    for (int k = 0; k < 3; k++) {
        assert_true(fabsf(o.obs[10 + k] - 0.3f * (float)(k + 1)) < 1e-6f);
    }
    for (int j = 0; j < 8; j++) {
        assert_true(fabsf(o.obs[13 + j] - 0.01f * (float)(j + 1)) < 1e-6f);
        assert_true(fabsf(o.obs[21 + j] - 0.1f * (float)(j + 1)) < 1e-6f);
    }
    assert_true(fabsf(o.obs[0] - 0.9f) < 1e-6f);
    assert_true(fabsf(o.obs[2] + 1.0f) < 1e-6f);  // the world's x is to its right
    assert_true(fabsf(o.obs[6] - 1.0f) < 1e-6f);
    assert_true(fabsf(o.obs[7] - 2.0f) < 1e-6f && fabsf(o.obs[8]) < 1e-6f);
    // on its back
    double back[29] = {0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0};
    put(&o, back);
    assert_true(fabsf(o.obs[6] + 1.0f) < 1e-6f);
    int fell = 0;
    for (int t = 0; t < 60 && !fell; t++) {
        step(&o);
        fell = o.terminated ? t + 1 : 0;
        assert_false(o.truncated);
    }
    assert_true(fell >= 20);
    // the way ahead, and an environment that has none
    s[0] = -1.25;
    put(&o, s);
    assert_true(hwm_envs_ahead(o.envs, 0) == -1.25);
    hwm_envs_destroy(&o.envs);
    config = fixture_config("cartpole_swingup");
    open_one(&o, &config);
    assert_true(isnan(hwm_envs_ahead(o.envs, 0)));
    hwm_envs_destroy(&o.envs);
}

static void test_quadruped_observation_sets(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("quadruped");
    config.observation = config.reward = HWM_ENV_ANTBULLET;
    one o;
    open_one(&o, &config);
    assert_int_equal(o.spec->obs_dim, 28);
    double s[29] = {0.0, 0.0, 0.7, 1.0};
    for (int leg = 0; leg < 4; leg++) {
        s[8 + 2 * leg] = leg == 0 || leg == 3 ? 0.9 : -0.9;
    }
    put(&o, s);
    assert_true(fabsf(o.obs[2] - 1.0f) < 1e-6f);
    // settled: all four feet on the ground, alive
    for (int t = 0; t < 40; t++) {
        step(&o);
        assert_false(o.terminated);
    }
    for (int leg = 0; leg < 4; leg++) {
        assert_true(o.obs[24 + leg] == 1.0f);
    }
    assert_true(fabsf(o.reward - 1.0f) < 0.6f);
    double low[29] = {0.0, 0.0, 0.25, 0.0, 1.0};  // on its back
    put(&o, low);
    step(&o);
    assert_true(o.terminated == 1 && o.reward < 0.5f);
    hwm_envs_destroy(&o.envs);

    config.observation = config.reward = HWM_ENV_GYMNASIUM;
    one g;
    open_one(&g, &config);
    assert_int_equal(g.spec->obs_dim, 27);
    double high[29] = {0.0, 0.0, 1.6, 1.0};
    put(&g, high);
    assert_true(fabsf(g.obs[0] - 1.6f) < 1e-6f && fabsf(g.obs[1] - 1.0f) < 1e-6f);
    step(&g);
    assert_true(g.terminated == 1);
    hwm_envs_destroy(&g.envs);
}

// The gear sets the force: at rest and in the air, accelerations are proportional to it.
static void test_gear_and_damage(void** state) {
    (void)state;
    double change[4];
    static const char* const items[4] = {NULL, NULL, "damage:hip_1=0.5", "gain=0.5"};
    for (int c = 0; c < 4; c++) {
        hwm_env_config config = fixture_config("quadruped");
        config.gear = c == 1 ? 100.0 : 0.0;
        config.variants.n = items[c] != NULL;
        if (items[c]) {
            strcpy(config.variants.v[0], items[c]);
        }
        one o;
        open_one(&o, &config);
        double s[29] = {0.0, 0.0, 9.0, 1.0};
        for (int leg = 0; leg < 4; leg++) {
            s[8 + 2 * leg] = leg == 0 || leg == 3 ? 0.9 : -0.9;
        }
        put(&o, s);
        o.action[0] = 0.02f;
        step(&o);
        change[c] = o.state[7];
        hwm_envs_destroy(&o.envs);
    }
    assert_true(change[0] > 1e-4);
    assert_true(fabs(change[1] / change[0] - 2.0) < 1e-3);
    assert_true(fabs(change[2] / change[0] - 0.5) < 1e-3);
    assert_true(fabs(change[3] / change[0] - 0.5) < 1e-3);
}

// A shortened shin changes the reach: the body that stands on short legs stands lower; without the
// variant nothing differs.
static void test_shortened_limbs_stand_lower(void** state) {
    (void)state;
    double height[3];
    for (int c = 0; c < 3; c++) {
        hwm_env_config config = fixture_config("quadruped");
        config.variants.n = c == 0 ? 0 : 4;
        for (int leg = 0; leg < config.variants.n; leg++) {
            snprintf(config.variants.v[leg], HWM_CONFIG_ITEM_MAX, "damage:shin_%d=0.25%s", leg + 1,
                     c == 2 ? " p=0" : "");
        }
        one o;
        open_one(&o, &config);
        double s[29] = {0.0, 0.0, 0.7, 1.0};
        for (int leg = 0; leg < 4; leg++) {
            s[8 + 2 * leg] = leg == 0 || leg == 3 ? 1.1 : -1.1;
        }
        put(&o, s);
        for (int t = 0; t < 60; t++) {
            step(&o);
        }
        height[c] = o.state[2];
        hwm_envs_destroy(&o.envs);
    }
    assert_true(height[0] > 0.4);
    assert_true(height[1] < height[0] - 0.1);
    assert_true(height[2] == height[0]);
}

static void test_damage_of_any_ankle_names_the_part(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("quadruped");
    config.variants.n = 1;
    strcpy(config.variants.v[0], "damage:shin_*=0.25");
    one o;
    open_one(&o, &config);
    assert_int_equal(o.spec->variant_dim, 2);
    assert_string_equal(o.spec->variant_name[1], "damage.part");
    unsigned seen = 0;
    for (uint32_t e = 0; e < 40; e++) {
        float v[2];
        hwm_envs_reset(o.envs, 0, e, o.obs);
        hwm_envs_variant(o.envs, 0, v);
        assert_true(v[0] == 0.25f);
        seen |= 1u << (int)v[1];
    }
    assert_int_equal(__builtin_popcount(seen), 4);
    hwm_envs_destroy(&o.envs);
}

// A state that cannot be simulated ends the episode as truncated; the next one is sound.
static void test_divergence_ends_the_episode(void** state) {
    (void)state;
    hwm_env_config config = fixture_config("quadruped");
    one o;
    open_one(&o, &config);
    double s[29] = {0.0, 0.0, 0.7, 1.0};
    s[15] = 1e300;
    hwm_envs_get_state(o.envs, 0, o.state);
    memcpy(o.state, s, sizeof s);
    hwm_envs_set_state(o.envs, 0, o.state, NULL);
    float kept[29];
    memcpy(kept, o.obs, sizeof kept);
    step(&o);
    assert_int_equal(o.truncated, 1);
    assert_int_equal(o.terminated, 0);
    assert_true(o.reward == 0.0f);
    assert_memory_equal(kept, o.obs, sizeof kept);
    hwm_envs_reset(o.envs, 0, 1, o.obs);
    step(&o);
    assert_int_equal(o.truncated, 0);
    for (int k = 0; k < 29; k++) {
        assert_true(isfinite(o.obs[k]));
    }
    hwm_envs_destroy(&o.envs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swingup_equals_golden),
        cmocka_unit_test(test_swingup_starts_hanging_and_lasts_a_thousand_steps),
        cmocka_unit_test(test_cartpole_conserves_energy),
        cmocka_unit_test(test_quadruped_is_mirror_symmetric),
        cmocka_unit_test(test_bodies_are_symmetric),
        cmocka_unit_test(test_quadruped_observes_itself),
        cmocka_unit_test(test_quadruped_observation_sets),
        cmocka_unit_test(test_gear_and_damage),
        cmocka_unit_test(test_shortened_limbs_stand_lower),
        cmocka_unit_test(test_damage_of_any_ankle_names_the_part),
        cmocka_unit_test(test_divergence_ends_the_episode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
