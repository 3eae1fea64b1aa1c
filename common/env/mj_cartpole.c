// Cart-pole balance and swing-up and pendulum swing-up as in the DeepMind Control Suite (Tassa et
// al. 2018, arXiv:1801.00690): 10 ms x 1000 steps, reward in [0, 1] per step, no terminal states.
#include <math.h>
#include <string.h>

#include "env/mj.h"

static hwm_status cartpole_describe(const mjModel* m, const hwm_env_config* config,
                                    hwm_env_spec* spec, hwm_error* err) {
    (void)m;
    (void)config;
    (void)err;
    spec->obs_dim = 0;
    env_spec_obs(spec, "x", "m", 1.8, -INFINITY, INFINITY);
    env_spec_obs(spec, "cos_theta", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "sin_theta", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "x_dot", "m/s", 3.0, -INFINITY, INFINITY);
    env_spec_obs(spec, "theta_dot", "rad/s", 8.0, -INFINITY, INFINITY);
    return HWM_OK;
}

static double between(hwm_rng* rng, double low, double high) {
    return low + (high - low) * hwm_rng_uniform_double(rng);
}

static void balance_reset(const mj_batch* b, const mjModel* m, mjData* d, double* memory,
                          hwm_rng* rng) {
    (void)b;
    (void)m;
    (void)memory;
    d->qpos[0] = between(rng, -0.1, 0.1);
    d->qpos[1] = between(rng, -0.034, 0.034);
    d->qvel[0] = 0.01 * (double)hwm_rng_normal(rng);
    d->qvel[1] = 0.01 * (double)hwm_rng_normal(rng);
}

static void swingup_reset(const mj_batch* b, const mjModel* m, mjData* d, double* memory,
                          hwm_rng* rng) {
    (void)b;
    (void)m;
    (void)memory;
    d->qpos[0] = 0.01 * (double)hwm_rng_normal(rng);
    d->qpos[1] = 3.14159265358979323846 + 0.01 * (double)hwm_rng_normal(rng);
    d->qvel[0] = 0.01 * (double)hwm_rng_normal(rng);
    d->qvel[1] = 0.01 * (double)hwm_rng_normal(rng);
}

// 1 at x = 0, 0.1 at |x| = margin, Gaussian in between
static double tolerance(double x, double margin) {
    double z = x / margin;
    return exp(-2.302585092994046 * z * z);
}

// upright, near the middle, with little force, slowly: each of the last three can take away half, a
// fifth, half
static float cartpole_reward(const mj_batch* b, const mjModel* m, const mjData* d, double* memory,
                             double speed, uint8_t* outcome) {
    (void)b;
    (void)m;
    (void)memory;
    (void)speed;
    (void)outcome;
    double u = d->ctrl[0];
    double upright = (cos(d->qpos[1]) + 1.0) / 2.0;
    double centred = (1.0 + tolerance(d->qpos[0], 2.0)) / 2.0;
    double effort = (4.0 + (fabs(u) < 1.0 ? 1.0 - u * u : 0.0)) / 5.0;
    double slow = (1.0 + tolerance(d->qvel[1], 5.0)) / 2.0;
    return (float)(upright * centred * effort * slow);
}

static void cartpole_observe(const mj_batch* b, const mjModel* m, const mjData* d,
                             const double* memory, float* obs) {
    (void)b;
    (void)m;
    (void)memory;
    obs[0] = (float)d->qpos[0];
    obs[1] = (float)cos(d->qpos[1]);
    obs[2] = (float)sin(d->qpos[1]);
    obs[3] = (float)d->qvel[0];
    obs[4] = (float)d->qvel[1];
}

const mj_task mj_task_cartpole_balance = {
    .name = "cartpole_balance",
    .model = "cartpole",
    .frame_skip = 1,
    .time_limit = 1000,
    .describe = cartpole_describe,
    .reset = balance_reset,
    .reward = cartpole_reward,
    .observe = cartpole_observe,
};

const mj_task mj_task_cartpole_swingup = {
    .name = "cartpole_swingup",
    .model = "cartpole",
    .frame_skip = 1,
    .time_limit = 1000,
    .describe = cartpole_describe,
    .reset = swingup_reset,
    .reward = cartpole_reward,
    .observe = cartpole_observe,
};

static hwm_status pendulum_describe(const mjModel* m, const hwm_env_config* config,
                                    hwm_env_spec* spec, hwm_error* err) {
    (void)m;
    (void)config;
    (void)err;
    spec->obs_dim = 0;
    env_spec_obs(spec, "cos_theta", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "sin_theta", "", 1.0, -1.0, 1.0);
    env_spec_obs(spec, "theta_dot", "rad/s", 8.0, -INFINITY, INFINITY);
    return HWM_OK;
}

static void pendulum_reset(const mj_batch* b, const mjModel* m, mjData* d, double* memory,
                           hwm_rng* rng) {
    (void)b;
    (void)m;
    (void)memory;
    const double pi = 3.14159265358979323846;
    d->qpos[0] = between(rng, -pi, pi);
}

// 1 within 8 degrees of upright, else 0
static float pendulum_reward(const mj_batch* b, const mjModel* m, const mjData* d, double* memory,
                             double speed, uint8_t* outcome) {
    (void)b;
    (void)m;
    (void)memory;
    (void)speed;
    (void)outcome;
    const double limit = 0.99026806874157;  // cos 8 degrees
    return cos(d->qpos[0]) >= limit ? 1.0f : 0.0f;
}

static void pendulum_observe(const mj_batch* b, const mjModel* m, const mjData* d,
                             const double* memory, float* obs) {
    (void)b;
    (void)m;
    (void)memory;
    obs[0] = (float)cos(d->qpos[0]);
    obs[1] = (float)sin(d->qpos[0]);
    obs[2] = (float)d->qvel[0];
}

const mj_task mj_task_pendulum_swingup = {
    .name = "pendulum_swingup",
    .model = "pendulum",
    .frame_skip = 1,
    .time_limit = 1000,
    .describe = pendulum_describe,
    .reset = pendulum_reset,
    .reward = pendulum_reward,
    .observe = pendulum_observe,
};
