// The MuJoCo models themselves: their constants against an independent script's, and energy.
#include <math.h>

#include "env/mj.h"
#include "env_fixture.h"

static const char* const bodies[] = {"cartpole_balance",
                                     "cartpole_swingup",
                                     "pendulum_swingup",
                                     "quadruped",
                                     "halfcheetah",
                                     "hopper",
                                     "walker"};
enum { BODIES = sizeof bodies / sizeof *bodies };

static mjModel* load(const char* name) {
    hwm_env_config config = fixture_config(name);
    hwm_error err = {.text = ""};
    mjModel* m;
    if (mj_model_load(&m, mj_task_find(name), &config, &err) != HWM_OK) {
        fail_msg("%s: %s", name, err.text);
    }
    return m;
}

static int id_of(const mjModel* m, int type, const char* model, const char* name) {
    int id = mj_name2id(m, type, name);
    if (id < 0) {
        fail_msg("%s has no %s", model, name);
    }
    return id;
}

static void same(const char* model, const char* name, const char* what, double have, double want) {
    if (!(fabs(have - want) <= 1e-8 * (1.0 + fabs(want)))) {
        fail_msg("%s %s: %s is %.12g, not %.12g", model, name, what, have, want);
    }
}

// v: mass, centre of mass (3), tensor of inertia (xx yy zz xy xz yz), in the world
static void check_body(const mjModel* m, const mjData* d, const char* model, const char* name,
                       const double* v) {
    static const char* const tensor[] = {"xx", "yy", "zz", "xy", "xz", "yz"};
    static const int row[] = {0, 1, 2, 0, 0, 1}, column[] = {0, 1, 2, 1, 2, 2};
    const int b = id_of(m, mjOBJ_BODY, model, name);
    same(model, name, "mass", m->body_mass[b], v[0]);
    // planar bodies hang at other heights in their files: the middle counts from the body's origin
    const double* r = d->ximat + 9 * b;
    for (int k = 0; k < 6; k++) {
        double sum = 0.0;
        for (int j = 0; j < 3; j++) {
            sum += r[3 * row[k] + j] * m->body_inertia[3 * b + j] * r[3 * column[k] + j];
        }
        same(model, name, tensor[k], sum, v[4 + k]);
    }
    for (int k = 0; k < 3; k++) {
        same(model, name, "centre", d->xipos[3 * b + k], v[1 + k]);
    }
}

static void check_joint(const mjModel* m, const char* model, const char* name, const double* v) {
    const int j = id_of(m, mjOBJ_JOINT, model, name), dof = m->jnt_dofadr[j];
    same(model, name, "stiffness", m->jnt_stiffness[j], v[0]);
    same(model, name, "damping", m->dof_damping[dof], v[1]);
    same(model, name, "armature", m->dof_armature[dof], v[2]);
    assert_int_equal(m->jnt_limited[j] != 0, v[3] < v[4]);
    if (v[3] < v[4]) {
        same(model, name, "lower end", m->jnt_range[2 * j], v[3]);
        same(model, name, "upper end", m->jnt_range[2 * j + 1], v[4]);
    }
}

static void check_row(const mjModel* m, const mjData* d, const char* kind, const char* model,
                      const char* rest) {
    char name[64];
    double v[10] = {0};
    int start = 0;
    if (strcmp(kind, "option") == 0) {
        assert_int_equal(sscanf(rest, "%lf %lf %lf", &v[0], &v[1], &v[2]), 3);
        same(model, kind, "step", m->opt.timestep, v[0]);
        same(model, kind, "gravity", m->opt.gravity[2], v[1]);
        same(model, kind, "integrator", m->opt.integrator, v[2]);
        return;
    }
    assert_int_equal(sscanf(rest, "%63s%n", name, &start), 1);
    sscanf(rest + start, "%lf %lf %lf %lf %lf %lf %lf %lf %lf %lf", &v[0], &v[1], &v[2], &v[3],
           &v[4], &v[5], &v[6], &v[7], &v[8], &v[9]);
    if (strcmp(kind, "body") == 0) {
        check_body(m, d, model, name, v);
    } else if (strcmp(kind, "joint") == 0) {
        check_joint(m, model, name, v);
    } else if (strcmp(kind, "geom") == 0) {
        const int g = id_of(m, mjOBJ_GEOM, model, name);
        same(model, name, "friction", m->geom_friction[3 * g], v[0]);
        same(model, name, "radius", m->geom_size[3 * g], v[1]);
    } else {
        assert_string_equal(kind, "actuator");
        const int a = id_of(m, mjOBJ_ACTUATOR, model, name);
        same(model, name, "gear", m->actuator_gear[6 * a], v[0]);
        same(model, name, "range", m->actuator_ctrlrange[2 * a + 1], 1.0);
        assert_true(m->actuator_ctrllimited[a]);
    }
}

static void test_constants_are_the_published_ones(void** state) {
    (void)state;
    for (int k = 0; k < BODIES; k++) {
        mjModel* m = load(bodies[k]);
        mjData* d = mj_makeData(m);
        mj_kinematics(m, d);
        mj_comPos(m, d);
        // the two cart-poles are one body
        const char* model = k == 0 ? bodies[1] : bodies[k];
        FILE* f = fopen(GOLDEN "/bodies.txt", "r");
        assert_non_null(f);
        char line[512], kind[16], of[32];
        int start, seen[2] = {0};
        while (fgets(line, sizeof line, f)) {
            assert_int_equal(sscanf(line, "%15s %31s%n", kind, of, &start), 2);
            if (strcmp(of, model) == 0) {
                check_row(m, d, kind, model, line + start);
                seen[0] += strcmp(kind, "body") == 0;
                seen[1] += strcmp(kind, "joint") == 0;
            }
        }
        fclose(f);
        // nothing has a mass or a joint that the script does not know; the world and a free joint
        // do
        assert_int_equal(seen[0], m->nbody - 1);
        assert_int_equal(seen[1], m->njnt - (m->jnt_type[0] == mjJNT_FREE));
        mj_deleteData(d);
        mj_deleteModel(m);
    }
}

// Nothing that takes energy away or puts it in: no damping, no friction, no contact, no end of a
// joint's range, no force of a motor. Springs stay.
static void free_of_losses(mjModel* m) {
    for (int k = 0; k < m->nv; k++) {
        m->dof_damping[k] = m->dof_frictionloss[k] = 0.0;
    }
    m->opt.disableflags |= mjDSBL_CONTACT | mjDSBL_LIMIT;
    m->opt.enableflags |= mjENBL_ENERGY;
    m->opt.integrator = mjINT_RK4;
    m->opt.timestep = 5e-4;
}

// Largest deviation of the energy from its first value over a second of wild motion, J; range: of
// the kinetic energy alone.
static double energy_error(const mjModel* m, double* range) {
    mjData* d = mj_makeData(m);
    hwm_rng rng;
    hwm_rng_init(&rng, 7, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int k = 0; k < m->nv; k++) {
        d->qvel[k] = 2.0 * (double)hwm_rng_normal(&rng);
    }
    double first = 0.0, worst = 0.0, low = INFINITY, high = -INFINITY;
    for (int t = 0; t < 2000; t++) {
        mj_forward(m, d);
        const double energy = d->energy[0] + d->energy[1];
        first = t == 0 ? energy : first;
        worst = fmax(worst, fabs(energy - first));
        low = fmin(low, d->energy[1]);
        high = fmax(high, d->energy[1]);
        mj_step(m, d);
    }
    *range = high - low;
    mj_deleteData(d);
    return worst;
}

static void test_energy_is_conserved(void** state) {
    (void)state;
    for (int k = 0; k < BODIES; k++) {
        mjModel* m = load(bodies[k]);
        free_of_losses(m);
        double moved, error = energy_error(m, &moved);
        if (!(moved > 0.5 && error < 1e-5 * moved)) {
            fail_msg("%s: energy off by %.3g J while %.3g J were exchanged", bodies[k], error,
                     moved);
        }
        mj_deleteModel(m);
    }
}

// As they are, bodies that nobody moves lose energy and come to rest: joints and contacts put none
// in.
static void test_bodies_come_to_rest(void** state) {
    (void)state;
    for (int k = 3; k < BODIES; k++) {
        mjModel* m = load(bodies[k]);
        m->opt.enableflags |= mjENBL_ENERGY;
        mjData* d = mj_makeData(m);
        for (int j = 0; j < m->njnt; j++) {
            // the ant of the file stretches its ankles beyond their ends
            double* q = d->qpos + m->jnt_qposadr[j];
            const double* ends = m->jnt_range + 2 * j;
            *q = m->jnt_limited[j] ? fmax(ends[0], fmin(ends[1], *q)) : *q;
        }
        mj_forward(m, d);
        const double first = d->energy[0] + d->energy[1];
        double speed = 0.0;
        for (double t = 0.0; t < 10.0; t += m->opt.timestep) {
            mj_step(m, d);
            speed = 0.0;
            for (int v = 0; v < m->nv; v++) {
                speed = fmax(speed, fabs(d->qvel[v]));
            }
            // soft contacts give back what they took, never more
            if (!(d->energy[0] + d->energy[1] <= first + 1e-6)) {
                fail_msg("%s: %.6g J at %.2f s, %.6g J at the start", bodies[k],
                         d->energy[0] + d->energy[1], t, first);
            }
        }
        if (!(speed < 0.05 && d->energy[0] + d->energy[1] < first - 0.1)) {
            fail_msg("%s: still moves at %.3g, %.3g J lost", bodies[k], speed,
                     first - d->energy[0] - d->energy[1]);
        }
        mj_deleteData(d);
        mj_deleteModel(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants_are_the_published_ones),
        cmocka_unit_test(test_energy_is_conserved),
        cmocka_unit_test(test_bodies_come_to_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
