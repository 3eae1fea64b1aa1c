// Hidden variants of jointed bodies and of several actions: what each of them changes, and that
// nothing else does. First array by array in the model of MuJoCo, then state by state beside the
// plain environment.
#include <math.h>

#include "env/mj.h"
#include "env_fixture.h"
// after mj.h
#include <mujoco/mjxmacro.h>
#undef MJ_M
#define MJ_M(n) m->n

static const char* const bodies[] = {"cartpole_swingup", "pendulum_swingup", "quadruped",
                                     "halfcheetah",      "hopper",           "walker"};
enum { BODIES = sizeof bodies / sizeof *bodies };

// Which arrays of the model one variant may touch; those that MuJoCo derives from masses and
// lengths come with them.
#define DERIVED                                                                                    \
    " body_subtreemass body_invweight0 dof_invweight0 dof_M0 tendon_invweight0 actuator_acc0 "     \
    "geom_rbound tendon_length0 actuator_length0 light_pos0 light_dir0 light_poscom0 cam_pos0 "    \
    "cam_poscom0 cam_mat0 "
typedef struct change {
    const char* what;
    env_physics physics;
    const char* arrays;
} change;

static const change changes[] = {
    {"nothing", {.gain = 1, .mass = 1, .friction = 1}, " "},
    {"gain", {.gain = 0.5, .mass = 1, .friction = 1}, " actuator_gear "},
    {"mass", {.gain = 1, .mass = 1.5, .friction = 1}, " body_mass body_inertia " DERIVED},
    {"friction",
     {.gain = 1, .mass = 1, .friction = 2},
     " geom_friction dof_damping dof_frictionloss "},
};

// Arrays that differ and are not in `allowed`; n_changed counts all that differ.
static void compare_arrays(const mjModel* m, const mjModel* base, const char* of,
                           const char* allowed, int* n_changed) {
    MJMODEL_POINTERS_PREAMBLE(m)
    (void)nq, (void)nv, (void)na, (void)nu, (void)nmocap, (void)nuser_body, (void)nuser_jnt;
    (void)nuser_geom, (void)nuser_site, (void)nuser_cam, (void)nuser_tendon;
    (void)nuser_actuator, (void)nuser_sensor;
    *n_changed = 0;
#define X(type, name, nr, nc)                                                                      \
    if (m->nr > 0 && memcmp(m->name, base->name, sizeof(type) * (size_t)(m->nr * (nc))) != 0) {    \
        ++*n_changed;                                                                              \
        if (!strstr(allowed, " " #name " ")) {                                                     \
            fail_msg("%s: %s changed", of, #name);                                                 \
        }                                                                                          \
    }
    MJMODEL_POINTERS
#undef X
}

static void test_a_variant_touches_its_arrays_only(void** state) {
    (void)state;
    for (int k = 0; k < BODIES; k++) {
        hwm_env_config config = fixture_config(bodies[k]);
        hwm_error err;
        mjModel* base;
        assert_int_equal(mj_model_load(&base, mj_task_find(bodies[k]), &config, &err), HWM_OK);
        mjModel* m = mj_copyModel(NULL, base);
        mjData* scratch = mj_makeData(base);
        for (size_t c = 0; c < sizeof changes / sizeof *changes; c++) {
            int n;
            mj_apply_physics(m, base, scratch, &changes[c].physics);
            compare_arrays(m, base, changes[c].what, changes[c].arrays, &n);
            assert_true(c == 0 ? n == 0 : n > 0);
            assert_memory_equal(&m->opt, &base->opt, sizeof m->opt);
            for (int b = 0; b < m->nbody; b++) {
                const double f = changes[c].physics.mass;
                assert_true(m->body_mass[b] == f * base->body_mass[b]);
                assert_true(fabs(m->body_subtreemass[b] - f * base->body_subtreemass[b]) < 1e-9);
            }
        }
        // a part of each kind: an actuator dead, a limb of half its length
        env_parts parts;
        mj_parts(base, &parts);
        for (int part = 0; part < parts.n; part++) {
            env_physics physics = {.gain = 1, .mass = 1, .friction = 1, .damages = 1};
            physics.part[0] = part;
            physics.factor[0] = 0.5;
            int n;
            mj_apply_physics(m, base, scratch, &physics);
            const bool limb = part >= m->nu;
            compare_arrays(m, base, parts.name[part],
                           limb
                               ? " geom_size geom_pos geom_rbound body_ipos body_mass body_inertia "
                                 "body_pos " DERIVED
                               : " actuator_gear ",
                           &n);
            assert_true(n > 0);
            for (int a = 0; a < m->nu; a++) {
                const double f = !limb && a == part ? 0.5 : 1.0;
                assert_true(m->actuator_gear[6 * a] == f * base->actuator_gear[6 * a]);
            }
            for (int g = 0; limb && g < m->ngeom; g++) {
                const char* name = mj_id2name(m, mjOBJ_GEOM, g);
                // "thigh.limb" is the geom "thigh"
                const size_t n_name = name ? strlen(name) : 0;
                const bool it = n_name > 0 && strncmp(name, parts.name[part], n_name) == 0 &&
                                (parts.name[part][n_name] == '\0' ||
                                 strcmp(parts.name[part] + n_name, ".limb") == 0);
                assert_true(m->geom_size[3 * g + 1] ==
                            (it ? 0.5 : 1.0) * base->geom_size[3 * g + 1]);
                assert_true(
                    (m->body_mass[m->geom_bodyid[g]] < base->body_mass[m->geom_bodyid[g]]) == it);
            }
        }
        mj_deleteData(scratch);
        mj_deleteModel(m);
        mj_deleteModel(base);
    }
}

enum { E = 3, T = 40, DELAY = 2 };

typedef struct side {
    hwm_envs* envs;
    const hwm_env_spec* spec;
    float obs[E * 64], action[E * 16];  // (E,O), (E,A)
    float reward[E];
    uint8_t terminated[E], truncated[E];
} side;

static void open_side(side* s, const char* env, const char* item) {
    hwm_env_config config = fixture_config(env);
    config.variants.n = item != NULL;
    if (item) {
        snprintf(config.variants.v[0], HWM_CONFIG_ITEM_MAX, "%s", item);
    }
    memset(s, 0, sizeof *s);
    s->envs = fixture_envs(&config, 21, 0, E, 1);
    s->spec = hwm_envs_spec(s->envs);
    assert_true(s->spec->obs_dim <= 64 && s->spec->action_dim <= 16);
    for (int i = 0; i < E; i++) {
        hwm_envs_reset(s->envs, i, 0, s->obs + i * s->spec->obs_dim);
    }
}

static void close_side(side* s) {
    hwm_envs_destroy(&s->envs);
}

static void step(side* s) {
    hwm_envs_step(s->envs, NULL, s->action, s->obs, s->reward, s->terminated, s->truncated);
}

// What the plain environment has to be given so that it goes where the varied one goes.
typedef enum twin { SAME, OPPOSITE, MIRRORED, HALF, FIRST_DEAD, LATE, UNTIL_CHANGE } twin;

typedef struct variant_case {
    const char *env, *item;
    twin twin;
    bool sees;  // the varied one observes the same as well
} variant_case;

static const variant_case cases[] = {
    {"quadruped", "flip", OPPOSITE, true},
    {"walker", "flip", OPPOSITE, true},
    {"cartpole_swingup", "flip", OPPOSITE, true},
    {"pendulum", "flip", OPPOSITE, true},
    {"acrobot", "flip", MIRRORED, true},
    {"sequence", "flip", MIRRORED, true},
    {"quadruped", "gain=0.5", HALF, true},
    {"halfcheetah", "gain=0.5", HALF, true},
    {"pendulum", "gain=0.5", HALF, true},
    {"quadruped", "damage:hip_1=0", FIRST_DEAD, true},
    {"walker", "damage:thigh_right=0", FIRST_DEAD, true},
    {"walker", "damage:thigh_right.limb=0.5 t=20", UNTIL_CHANGE, true},
    {"quadruped", "delay=2", LATE, true},
    {"pendulum", "delay=2", LATE, true},
    {"quadruped", "sensor_noise=0.1", SAME, false},
    {"acrobot", "sensor_noise=0.1", SAME, false},
    {"quadruped", "obs_sign", SAME, false},
    {"sequence", "obs_sign", SAME, false},
    // without its chance, without its change, and before its time, the plain environment
    {"quadruped", "mass=2 p=0", SAME, true},
    {"quadruped", "friction=1", SAME, true},
    {"hopper", "mass=1", SAME, true},
    {"quadruped", "mass=2 t=20", UNTIL_CHANGE, true},
    {"quadruped", "friction=3 t=20", UNTIL_CHANGE, true},
    {"quadruped", "gain=0.2 t=20", UNTIL_CHANGE, true},
    {"quadruped", "damage:shin_1=0.25 t=20", UNTIL_CHANGE, true},
    {"acrobot", "mass=2 t=20", UNTIL_CHANGE, true},
};

static float drawn(int t, int i, int a) {
    return t < 0 ? 0.0f : (float)((t * 7 + i * 5 + a * 3) % 11 - 5) / 5.0f;
}

static void set_actions(const variant_case* c, side* plain, side* varied, int t) {
    const int A = plain->spec->action_dim;
    for (int i = 0; i < E; i++) {
        for (int a = 0; a < A; a++) {
            const float u = drawn(t, i, a);
            float* p = plain->action + i * A + a;
            varied->action[i * A + a] = u;
            *p = c->twin == OPPOSITE               ? -u
                 : c->twin == MIRRORED             ? drawn(t, i, A - 1 - a)
                 : c->twin == HALF                 ? 0.5f * u
                 : c->twin == LATE                 ? drawn(t - DELAY, i, a)
                 : c->twin == FIRST_DEAD && a == 0 ? 0.0f
                                                   : u;
        }
    }
}

static bool same_state(const side* a, const side* b, int i) {
    double s[512], p[512];
    // the simulation's own numbers; what variants keep follows them
    assert_true(a->spec->state_dim <= 512 && b->spec->state_dim <= 512);
    hwm_envs_get_state(a->envs, i, s);
    hwm_envs_get_state(b->envs, i, p);
    return memcmp(s, p, (size_t)a->spec->init_dim * sizeof *s) == 0;
}

static void test_states_beside_the_plain_environment(void** state) {
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const variant_case* c = &cases[k];
        side plain, varied;
        open_side(&plain, c->env, NULL);
        open_side(&varied, c->env, c->item);
        bool differs = false;
        for (int t = 0; t < T; t++) {
            set_actions(c, &plain, &varied, t);
            step(&plain);
            step(&varied);
            for (int i = 0; i < E; i++) {
                const bool same = same_state(&plain, &varied, i);
                if (c->twin == UNTIL_CHANGE && t >= 20) {
                    differs = differs || !same;
                    continue;
                }
                const size_t O = (size_t)plain.spec->obs_dim;
                const bool seen = memcmp(plain.obs + (size_t)i * O, varied.obs + (size_t)i * O,
                                         O * sizeof(float)) == 0;
                if (!same || seen != c->sees || plain.terminated[i] != varied.terminated[i]) {
                    fail_msg("%s, %s, decision %d: %s", c->env, c->item, t,
                             same ? "what is seen" : "the state");
                }
                // rewards are of the same states, where they do not count the action itself
                if (c->twin == SAME || c->twin == OPPOSITE || c->twin == MIRRORED) {
                    assert_true(plain.reward[i] == varied.reward[i]);
                }
            }
        }
        assert_true(differs == (c->twin == UNTIL_CHANGE));
        close_side(&plain);
        close_side(&varied);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_variant_touches_its_arrays_only),
        cmocka_unit_test(test_states_beside_the_plain_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
