// data path  [1] env
//
// Pendulum and acrobot, the equations, limits and rewards of Gymnasium's Pendulum-v1 and
// Acrobot-v1. Both keep angles, then angular velocities, in double; angles in rad from upright
// (pendulum) or hanging (acrobot). Sources: Astrom & Furuta 2000 for the task of swinging up;
// Sutton & Barto 2018, section on the acrobot, for its equations.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "env/kind.h"
#include "env/sincos.h"

static const double pi = 3.14159265358979323846;

enum { JOINTS_MAX = 2 };

typedef struct arm {
    double angle[JOINTS_MAX];  // rad
    double speed[JOINTS_MAX];  // rad/s
    double gain, mass;         // factors of the variants
} arm;

typedef struct arms {
    int joints;
    arm arm[];  // (E)
} arms;

static hwm_status arms_create(void** out, int joints, int count, hwm_error* err) {
    arms* s = calloc(1, sizeof *s + (size_t)count * sizeof(arm));
    if (!s) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory for %d environments", count);
    }
    s->joints = joints;
    for (int i = 0; i < count; i++) {
        s->arm[i].gain = s->arm[i].mass = 1.0;
    }
    *out = s;
    return HWM_OK;
}

static hwm_status pendulum_create(void** out, const hwm_env_config* config, int count, bool varies,
                                  hwm_error* err) {
    (void)config;
    (void)varies;
    return arms_create(out, 1, count, err);
}

static hwm_status acrobot_create(void** out, const hwm_env_config* config, int count, bool varies,
                                 hwm_error* err) {
    (void)config;
    (void)varies;
    return arms_create(out, 2, count, err);
}

static void arms_destroy(void* self) {
    free(self);
}

static void arms_get_state(const void* self, int i, double* state) {
    const arms* s = self;
    for (int k = 0; k < s->joints; k++) {
        state[k] = s->arm[i].angle[k];
        state[s->joints + k] = s->arm[i].speed[k];
    }
}

static void arms_set_state(void* self, int i, const double* state) {
    arms* s = self;
    for (int k = 0; k < s->joints; k++) {
        s->arm[i].angle[k] = state[k];
        s->arm[i].speed[k] = state[s->joints + k];
    }
}

static void arms_physics(void* self, int i, const env_physics* physics) {
    arms* s = self;
    s->arm[i].gain = physics->gain;
    s->arm[i].mass = physics->mass;
    for (int k = 0; k < physics->damages; k++) {
        s->arm[i].gain *= physics->factor[k];
    }
}

static void arms_parts(const hwm_env_config* config, env_parts* parts) {
    (void)config;
    parts->n = 1;
    strcpy(parts->name[0], "torque");
}

// x in [-pi, pi)
static double wrapped(double x) {
    return x - 2.0 * pi * floor((x + pi) / (2.0 * pi));
}

static double clipped(double x, double bound) {
    return x > bound ? bound : x < -bound ? -bound : x;
}

static double between(hwm_rng* rng, double bound) {
    return bound * (2.0 * hwm_rng_uniform_double(rng) - 1.0);
}

// ---- pendulum: a rod of 1 kg and 1 m, torque up to 2 N m, 50 ms steps

static hwm_status pendulum_describe(const hwm_env_config* config, hwm_env_spec* spec,
                                    hwm_error* err) {
    (void)config;
    (void)err;
    env_spec_obs(spec, "cos_theta", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "sin_theta", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "theta_dot", "rad/s", 8.0, -8.0, 8.0);
    strcpy(spec->action_name[0], "torque");
    spec->action_dim = 1;
    spec->time_limit = 200;
    spec->state_dim = spec->init_dim = 2;
    spec->control_dt = 0.05;
    return HWM_OK;
}

static void pendulum_reset(void* self, int i, hwm_rng* rng) {
    arm* p = &((arms*)self)->arm[i];
    p->angle[0] = between(rng, pi);
    p->speed[0] = between(rng, 1.0);
}

static void pendulum_step(void* self, int begin, int end, const uint8_t* active,
                          const float* action, float* reward, uint8_t* outcome) {
    const double g = 10.0, dt = 0.05, torque_max = 2.0, speed_max = 8.0;
    for (int i = begin; i < end; i++) {
        if (active && !active[i]) {
            continue;
        }
        arm* p = &((arms*)self)->arm[i];
        double u = torque_max * (double)action[i];
        double angle = wrapped(p->angle[0]), speed = p->speed[0], sine, cosine;
        env_sincos(p->angle[0], &sine, &cosine);
        reward[i] = (float)-(angle * angle + 0.1 * speed * speed + 0.001 * u * u);
        speed += (1.5 * g * sine + 3.0 * u * p->gain / p->mass) * dt;
        p->speed[0] = clipped(speed, speed_max);
        p->angle[0] += p->speed[0] * dt;
        outcome[i] = isfinite(p->angle[0]) ? ENV_GO_ON : ENV_DIVERGED;
    }
}

static void pendulum_observe(const void* self, int begin, int end, const uint8_t* active,
                             float* obs) {
    for (int i = begin; i < end; i++, obs += 3) {
        if (!active || active[i]) {
            const arm* p = &((const arms*)self)->arm[i];
            double sine, cosine;
            env_sincos(p->angle[0], &sine, &cosine);
            obs[0] = (float)cosine;
            obs[1] = (float)sine;
            obs[2] = (float)p->speed[0];
        }
    }
}

static const env_color sky = {238, 242, 246}, steel = {64, 90, 140}, copper = {217, 128, 64},
                       dark = {40, 44, 52};

static void pendulum_draw(const void* self, int i, env_canvas* c, uint8_t* rgb, int width,
                          int height) {
    double angle = ((const arms*)self)->arm[i].angle[0];
    env_draw_begin(c, rgb, width, height, 0.0, 0.0, 1.3, sky);
    env_draw_capsule(c, 0.0, 0.0, sin(angle), cos(angle), 0.09, copper);
    env_draw_capsule(c, 0.0, 0.0, 0.0, 0.0, 0.05, dark);
}

// ---- acrobot: two links of 1 kg and 1 m, a torque of -1, 0 or +1 N m between them, 200 ms steps

static hwm_status acrobot_describe(const hwm_env_config* config, hwm_env_spec* spec,
                                   hwm_error* err) {
    (void)config;
    (void)err;
    env_spec_obs(spec, "cos_theta_1", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "sin_theta_1", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "cos_theta_2", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "sin_theta_2", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "theta_1_dot", "rad/s", 4.0 * pi, -4.0 * pi, 4.0 * pi);
    env_spec_obs(spec, "theta_2_dot", "rad/s", 9.0 * pi, -9.0 * pi, 9.0 * pi);
    strcpy(spec->action_name[0], "back");
    strcpy(spec->action_name[1], "none");
    strcpy(spec->action_name[2], "forth");
    spec->action_dim = spec->n_actions = 3;
    spec->discrete = true;
    spec->time_limit = 500;
    spec->state_dim = spec->init_dim = 4;
    spec->control_dt = 0.2;
    return HWM_OK;
}

static void acrobot_reset(void* self, int i, hwm_rng* rng) {
    arm* p = &((arms*)self)->arm[i];
    for (int k = 0; k < 2; k++) {
        p->angle[k] = between(rng, 0.1);
    }
    for (int k = 0; k < 2; k++) {
        p->speed[k] = between(rng, 0.1);
    }
}

// s: angles, speeds. torque and gravity in units of the links' mass.
static void acrobot_derivative(const double s[4], double torque, double ds[4]) {
    const double g = 9.8, half = 0.5, inertia = 1.0;
    double sin1, cos1, sin2, cos2, sin12, cos12;
    env_sincos(s[0], &sin1, &cos1);
    env_sincos(s[1], &sin2, &cos2);
    env_sincos(s[0] + s[1], &sin12, &cos12);
    double w1 = s[2], w2 = s[3];
    double d1 = half * half + (1.0 + half * half + 2.0 * half * cos2) + 2.0 * inertia;
    double d2 = half * half + half * cos2 + inertia;
    double phi2 = half * g * sin12;
    double phi1 =
        -half * w2 * w2 * sin2 - 2.0 * half * w2 * w1 * sin2 + (half + 1.0) * g * sin1 + phi2;
    double a2 = (torque + d2 / d1 * phi1 - half * w1 * w1 * sin2 - phi2) /
                (half * half + inertia - d2 * d2 / d1);
    ds[0] = w1;
    ds[1] = w2;
    ds[2] = -(d2 * a2 + phi1) / d1;
    ds[3] = a2;
}

static void runge_kutta_4(double s[4], double torque, double dt) {
    double k[4][4], at[4];
    static const double ahead[4] = {0.0, 0.5, 0.5, 1.0};
    for (int stage = 0; stage < 4; stage++) {
        for (int j = 0; j < 4; j++) {
            at[j] = stage ? s[j] + ahead[stage] * dt * k[stage - 1][j] : s[j];
        }
        acrobot_derivative(at, torque, k[stage]);
    }
    for (int j = 0; j < 4; j++) {
        s[j] += dt / 6.0 * (k[0][j] + 2.0 * k[1][j] + 2.0 * k[2][j] + k[3][j]);
    }
}

static void acrobot_step(void* self, int begin, int end, const uint8_t* active, const float* action,
                         float* reward, uint8_t* outcome) {
    for (int i = begin; i < end; i++) {
        if (active && !active[i]) {
            continue;
        }
        arm* p = &((arms*)self)->arm[i];
        const float* a = action + 3 * (size_t)i;
        int choice = a[1] > a[0] ? 1 : 0;
        choice = a[2] > a[choice] ? 2 : choice;
        double s[4] = {p->angle[0], p->angle[1], p->speed[0], p->speed[1]};
        runge_kutta_4(s, (choice - 1) * p->gain / p->mass, 0.2);
        p->angle[0] = wrapped(s[0]);
        p->angle[1] = wrapped(s[1]);
        p->speed[0] = clipped(s[2], 4.0 * pi);
        p->speed[1] = clipped(s[3], 9.0 * pi);
        // the tip is a link's length above the bar
        double sine, cos1, cos12;
        env_sincos(p->angle[0], &sine, &cos1);
        env_sincos(p->angle[0] + p->angle[1], &sine, &cos12);
        bool up = -cos1 - cos12 > 1.0;
        reward[i] = up ? 0.0f : -1.0f;
        outcome[i] = (uint8_t)(!isfinite(cos1 + cos12) ? ENV_DIVERGED
                               : up                    ? ENV_TERMINATED
                                                       : ENV_GO_ON);
    }
}

static void acrobot_observe(const void* self, int begin, int end, const uint8_t* active,
                            float* obs) {
    for (int i = begin; i < end; i++, obs += 6) {
        if (!active || active[i]) {
            const arm* p = &((const arms*)self)->arm[i];
            for (int k = 0; k < 2; k++) {
                double sine, cosine;
                env_sincos(p->angle[k], &sine, &cosine);
                obs[2 * k] = (float)cosine;
                obs[2 * k + 1] = (float)sine;
                obs[4 + k] = (float)p->speed[k];
            }
        }
    }
}

static void acrobot_draw(const void* self, int i, env_canvas* c, uint8_t* rgb, int width,
                         int height) {
    const arm* p = &((const arms*)self)->arm[i];
    double x = sin(p->angle[0]), y = -cos(p->angle[0]);
    double both = p->angle[0] + p->angle[1];
    env_draw_begin(c, rgb, width, height, 0.0, 0.0, 2.3, sky);
    env_draw_box(c, 0.0, 1.0, 2.2, 0.01, (env_color){180, 70, 60});
    env_draw_capsule(c, 0.0, 0.0, x, y, 0.1, steel);
    env_draw_capsule(c, x, y, x + sin(both), y - cos(both), 0.1, copper);
    env_draw_capsule(c, 0.0, 0.0, 0.0, 0.0, 0.05, dark);
}

const env_kind env_kind_pendulum = {
    .name = "pendulum",
    .help = "swing a pendulum up with a weak torque (Gymnasium Pendulum-v1, native)",
    .has = ENV_HAS_GAIN | ENV_HAS_MASS | ENV_HAS_PARTS,
    .describe = pendulum_describe,
    .create = pendulum_create,
    .destroy = arms_destroy,
    .reset = pendulum_reset,
    .step = pendulum_step,
    .observe = pendulum_observe,
    .get_state = arms_get_state,
    .set_state = arms_set_state,
    .parts = arms_parts,
    .physics = arms_physics,
    .draw = pendulum_draw,
};

const env_kind env_kind_acrobot = {
    .name = "acrobot",
    .help = "swing a two-link arm above the bar, torque between the links (Gymnasium Acrobot-v1, "
            "native)",
    .has = ENV_HAS_GAIN | ENV_HAS_MASS | ENV_HAS_PARTS,
    .describe = acrobot_describe,
    .create = acrobot_create,
    .destroy = arms_destroy,
    .reset = acrobot_reset,
    .step = acrobot_step,
    .observe = acrobot_observe,
    .get_state = arms_get_state,
    .set_state = arms_set_state,
    .parts = arms_parts,
    .physics = arms_physics,
    .draw = acrobot_draw,
};
