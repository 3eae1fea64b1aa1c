// Planar runners as in Gymnasium: halfcheetah, hopper and walker (its versions 5: rewards, ranges
// of health and starts).
#include <math.h>
#include <string.h>

#include "env/mj.h"

typedef struct runner {
    bool dies;
    double control;        // reward taken away per summed u^2
    double noise;          // half width on positions
    bool normal_velocity;  // velocities noise N(0, 1), otherwise uniform
    double z_low, z_high;  // m, health
    double turn;           // rad, health: largest |pitch|
    double state_max;      // health: largest magnitude of anything else
    double velocity_max;   // observed velocities are clipped there
} runner;

static const runner cheetah = {
    .control = 0.1, .noise = 0.1, .normal_velocity = true, .velocity_max = INFINITY};
static const runner one_leg = {true, 1e-3, 5e-3, false, 0.7, INFINITY, 0.2, 100.0, 10.0};
static const runner two_legs = {true, 1e-3, 5e-3, false, 0.8, 2.0, 1.0, INFINITY, 10.0};

static hwm_status runner_describe(const mjModel* m, const hwm_env_config* config,
                                  hwm_env_spec* spec, hwm_error* err) {
    (void)err;
    static const char* const root[] = {"x", "height", "pitch"};
    double bound = ((const runner*)mj_task_find(config->name)->params)->velocity_max;
    spec->obs_dim = 0;
    for (int k = 1; k < m->nq; k++) {
        const char* name = k < 3 ? root[k] : mj_id2name(m, mjOBJ_JOINT, k);
        env_spec_obs(spec, name, k == 1 ? "m" : "rad", 1.0, -INFINITY, INFINITY);
    }
    for (int k = 0; k < m->nv; k++) {
        char name[24];
        snprintf(name, sizeof name, "d_%.20s", k < 3 ? root[k] : mj_id2name(m, mjOBJ_JOINT, k));
        env_spec_obs(spec, name, k < 2 ? "m/s" : "rad/s", k < 3 ? 3.0 : 8.0, -bound, bound);
    }
    return HWM_OK;
}

static void runner_reset(const mj_batch* b, const mjModel* m, mjData* d, double* memory,
                         hwm_rng* rng) {
    (void)memory;
    const runner* r = b->task->params;
    double noise = b->config.reset_noise >= 0.0 ? b->config.reset_noise : r->noise;
    for (int k = 0; k < m->nq; k++) {
        d->qpos[k] += noise * (2.0 * hwm_rng_uniform_double(rng) - 1.0);
    }
    for (int k = 0; k < m->nv; k++) {
        d->qvel[k] = noise * (r->normal_velocity ? (double)hwm_rng_normal(rng)
                                                 : 2.0 * hwm_rng_uniform_double(rng) - 1.0);
    }
}

static bool healthy(const runner* r, const mjModel* m, const mjData* d) {
    bool ok = d->qpos[1] > r->z_low && d->qpos[1] < r->z_high && fabs(d->qpos[2]) < r->turn;
    for (int k = 2; k < m->nq; k++) {
        ok = ok && fabs(d->qpos[k]) < r->state_max;
    }
    for (int k = 0; k < m->nv; k++) {
        ok = ok && fabs(d->qvel[k]) < r->state_max;
    }
    return ok;
}

static double runner_way(const mjModel* m, const mjData* d) {
    (void)m;
    return d->qpos[0];
}

static float runner_reward(const mj_batch* b, const mjModel* m, const mjData* d, double* memory,
                           double speed, uint8_t* outcome) {
    (void)memory;
    const runner* r = b->task->params;
    double effort = 0.0, alive = 0.0;
    for (int a = 0; a < m->nu; a++) {
        effort += d->ctrl[a] * d->ctrl[a];
    }
    if (r->dies) {
        bool ok = healthy(r, m, d);
        alive = ok ? 1.0 : 0.0;
        *outcome = ok ? ENV_GO_ON : ENV_TERMINATED;
    }
    return (float)(speed + alive - r->control * effort);
}

static void runner_observe(const mj_batch* b, const mjModel* m, const mjData* d,
                           const double* memory, float* obs) {
    (void)memory;
    double bound = ((const runner*)b->task->params)->velocity_max;
    for (int k = 1; k < m->nq; k++) {
        *obs++ = (float)d->qpos[k];
    }
    for (int k = 0; k < m->nv; k++) {
        *obs++ = (float)fmax(-bound, fmin(bound, d->qvel[k]));
    }
}

#define RUNNER(id, skip, constants)                                                                \
    const mj_task mj_task_##id = {                                                                 \
        .name = #id,                                                                               \
        .model = #id,                                                                              \
        .params = &constants,                                                                      \
        .frame_skip = skip,                                                                        \
        .time_limit = 1000,                                                                        \
        .describe = runner_describe,                                                               \
        .reset = runner_reset,                                                                     \
        .way = runner_way,                                                                         \
        .from_origin = true,                                                                       \
        .reward = runner_reward,                                                                   \
        .observe = runner_observe,                                                                 \
    }
RUNNER(halfcheetah, 5, cheetah);
RUNNER(hopper, 4, one_leg);
RUNNER(walker, 4, two_legs);
