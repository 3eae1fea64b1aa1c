// data path  [1] env
//
// Cart-pole balancing, the equations and limits of Gymnasium's CartPole-v1: explicit Euler at 20
// ms, a force of +-10 N, reward 1 per step, the end when the cart leaves +-2.4 m or the pole +-12
// degrees, 500 steps. Source: Barto, Sutton & Anderson 1983; equations of motion of Florian 2007,
// "Correct equations for the dynamics of the cart-pole system", without friction.
//
// LAYOUT  structure of arrays in double: one loop steps every environment of the range, inactive
// ones keep their values.
#include <stdlib.h>
#include <string.h>

#include "env/kind.h"
#include "env/sincos.h"

static const double gravity = 9.8;                                              // m/s^2
static const double length = 0.5;                                               // m, half the pole
static const double full_force = 10.0;                                          // N
static const double mass_cart = 1.0;                                            // kg
static const double mass_pole = 0.1;                                            // kg
static const double tau = 0.02;                                                 // s
static const double x_limit = 2.4;                                              // m
static const double theta_limit = 12.0 * 2.0 * 3.14159265358979323846 / 360.0;  // rad

enum { STATE = 4 };

typedef struct cartpole {
    // (E) each
    double* x;          // m
    double* x_dot;      // m/s
    double* theta;      // rad, 0 upright
    double* theta_dot;  // rad/s
    double* force;      // N, of a full action
    double* mass_cart;  // kg
    double* mass_pole;  // kg
    double block[];
} cartpole;

static hwm_status cartpole_describe(const hwm_env_config* config, hwm_env_spec* spec,
                                    hwm_error* err) {
    (void)config;
    (void)err;
    spec->action_dim = 1;
    spec->discrete = true;
    spec->n_actions = 2;
    spec->time_limit = 500;
    spec->state_dim = spec->init_dim = STATE;
    spec->control_dt = tau;
    env_spec_obs(spec, "x", "m", 2.4, -4.8, 4.8);
    env_spec_obs(spec, "x_dot", "m/s", 2.0, -INFINITY, INFINITY);
    env_spec_obs(spec, "theta", "rad", 0.2095, -0.419, 0.419);
    env_spec_obs(spec, "theta_dot", "rad/s", 2.0, -INFINITY, INFINITY);
    strcpy(spec->action_name[0], "push");
    return HWM_OK;
}

static hwm_status cartpole_create(void** out, const hwm_env_config* config, int count, bool varies,
                                  hwm_error* err) {
    (void)config;
    (void)varies;
    enum { ARRAYS = 7 };
    size_t n = (size_t)count;
    cartpole* c = calloc(1, sizeof *c + ARRAYS * n * sizeof(double));
    if (!c) {
        return hwm_fail(err, HWM_ENOMEM, "cartpole: out of memory for %d environments", count);
    }
    double** array[ARRAYS] = {&c->x,     &c->x_dot,     &c->theta,    &c->theta_dot,
                              &c->force, &c->mass_cart, &c->mass_pole};
    for (int k = 0; k < ARRAYS; k++) {
        *array[k] = c->block + (size_t)k * n;
    }
    for (size_t i = 0; i < n; i++) {
        c->force[i] = full_force;
        c->mass_cart[i] = mass_cart;
        c->mass_pole[i] = mass_pole;
    }
    *out = c;
    return HWM_OK;
}

static void cartpole_destroy(void* self) {
    free(self);
}

static void cartpole_reset(void* self, int i, hwm_rng* rng) {
    cartpole* c = self;
    double* state[STATE] = {&c->x[i], &c->x_dot[i], &c->theta[i], &c->theta_dot[i]};
    for (int k = 0; k < STATE; k++) {
        *state[k] = -0.05 + 0.1 * hwm_rng_uniform_double(rng);
    }
}

static void cartpole_step(void* self, int begin, int end, const uint8_t* active,
                          const float* action, float* reward, uint8_t* outcome) {
    cartpole* c = self;
    double* restrict px = c->x;
    double* restrict pv = c->x_dot;
    double* restrict pt = c->theta;
    double* restrict pw = c->theta_dot;
    for (int i = begin; i < end; i++) {
        double x = px[i], x_dot = pv[i], theta = pt[i], theta_dot = pw[i];
        double force = action[i] > 0.0f ? c->force[i] : -c->force[i];
        double pole = c->mass_pole[i], total = pole + c->mass_cart[i];
        double sine, cosine;
        env_sincos(theta, &sine, &cosine);
        double temp = (force + pole * length * theta_dot * theta_dot * sine) / total;
        double theta_acc = (gravity * sine - cosine * temp) /
                           (length * (4.0 / 3.0 - pole * cosine * cosine / total));
        double x_acc = temp - pole * length * theta_acc * cosine / total;
        int on = !active || active[i];
        px[i] = on ? x + tau * x_dot : x;
        pv[i] = on ? x_dot + tau * x_acc : x_dot;
        pt[i] = on ? theta + tau * theta_dot : theta;
        pw[i] = on ? theta_dot + tau * theta_acc : theta_dot;
    }
    for (int i = begin; i < end; i++) {
        if (active && !active[i]) {
            continue;
        }
        int inside = fabs(px[i]) <= x_limit && fabs(pt[i]) <= theta_limit;
        int finite = isfinite(pv[i]) && isfinite(pw[i]) && isfinite(px[i]) && isfinite(pt[i]);
        reward[i] = 1.0f;
        outcome[i] = (uint8_t)(!finite ? ENV_DIVERGED : inside ? ENV_GO_ON : ENV_TERMINATED);
    }
}

static void cartpole_observe(const void* self, int begin, int end, const uint8_t* active,
                             float* obs) {
    const cartpole* c = self;
    for (int i = begin; i < end; i++) {
        if (active && !active[i]) {
            continue;
        }
        float* o = obs + (size_t)(i - begin) * STATE;
        o[0] = (float)c->x[i];
        o[1] = (float)c->x_dot[i];
        o[2] = (float)c->theta[i];
        o[3] = (float)c->theta_dot[i];
    }
}

static void cartpole_get_state(const void* self, int i, double* state) {
    const cartpole* c = self;
    state[0] = c->x[i];
    state[1] = c->x_dot[i];
    state[2] = c->theta[i];
    state[3] = c->theta_dot[i];
}

static void cartpole_set_state(void* self, int i, const double* state) {
    cartpole* c = self;
    c->x[i] = state[0];
    c->x_dot[i] = state[1];
    c->theta[i] = state[2];
    c->theta_dot[i] = state[3];
}

static void cartpole_parts(const hwm_env_config* config, env_parts* parts) {
    (void)config;
    parts->n = 1;
    strcpy(parts->name[0], "push");
}

static void cartpole_physics(void* self, int i, const env_physics* physics) {
    cartpole* c = self;
    c->force[i] = full_force * physics->gain;
    c->mass_cart[i] = mass_cart * physics->mass;
    c->mass_pole[i] = mass_pole * physics->mass;
    for (int k = 0; k < physics->damages; k++) {
        c->force[i] *= physics->factor[k];
    }
}

static void cartpole_draw(const void* self, int i, env_canvas* canvas, uint8_t* rgb, int width,
                          int height) {
    const cartpole* c = self;
    double x = c->x[i], theta = c->theta[i];
    // the rail fills the width
    double view = (x_limit + 0.3) * (width < height ? 1.0 : (double)height / width);
    env_draw_begin(canvas, rgb, width, height, 0.0, 0.4, view, (env_color){238, 242, 246});
    env_draw_box(canvas, 0.0, -0.1, x_limit, 0.015, (env_color){90, 94, 104});
    for (int side = -1; side <= 1; side += 2) {
        env_draw_box(canvas, side * x_limit, 0.0, 0.02, 0.15, (env_color){180, 70, 60});
    }
    env_draw_box(canvas, x, 0.0, 0.25, 0.12, (env_color){64, 90, 140});
    env_draw_capsule(canvas, x, 0.05, x + 2.0 * length * sin(theta),
                     0.05 + 2.0 * length * cos(theta), 0.05, (env_color){217, 128, 64});
    env_draw_capsule(canvas, x, 0.05, x, 0.05, 0.03, (env_color){40, 44, 52});
}

const env_kind env_kind_cartpole = {
    .name = "cartpole",
    .help = "balance a pole on a cart pushed left or right (Gymnasium CartPole-v1, native)",
    .has = ENV_HAS_GAIN | ENV_HAS_MASS | ENV_HAS_PARTS,
    .describe = cartpole_describe,
    .create = cartpole_create,
    .destroy = cartpole_destroy,
    .reset = cartpole_reset,
    .step = cartpole_step,
    .observe = cartpole_observe,
    .get_state = cartpole_get_state,
    .set_state = cartpole_set_state,
    .parts = cartpole_parts,
    .physics = cartpole_physics,
    .draw = cartpole_draw,
};
