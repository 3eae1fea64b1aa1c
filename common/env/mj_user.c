// Environment `mjcf`: any MuJoCo model of the user's, with a small declared reward
//
//     reward_forward * dx/dt + reward_alive - reward_control * mean u^2
//
// of the first body that can move, an optional range of its height outside which the episode ends,
// and the observations that env.observe lists. Frame skip is env.frame_skip.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "env/mj.h"

// The body whose joints are the first of the model.
static int root_body(const mjModel* m) {
    return m->njnt > 0 ? m->jnt_bodyid[0] : 1;
}

// How many of the first positions say where the root is on the plane: a free body's x and y, or a
// slide along x.
static int planar_positions(const mjModel* m) {
    if (m->njnt == 0) {
        return 0;
    }
    if (m->jnt_type[0] == mjJNT_FREE) {
        return 2;
    }
    return m->jnt_type[0] == mjJNT_SLIDE && fabs(m->jnt_axis[0]) > 0.9 ? 1 : 0;
}

static bool fits(hwm_env_spec* spec, int more, const hwm_env_config* config, hwm_error* err,
                 hwm_status* code) {
    int max = (int)(sizeof spec->obs_scale / sizeof spec->obs_scale[0]);
    if (spec->obs_dim + more > max) {
        *code = hwm_fail(err, HWM_EINVAL,
                         "env.observe: %s gives %d observations; at most %d are supported",
                         config->mjcf, spec->obs_dim + more, max);
        return false;
    }
    return true;
}

static hwm_status user_describe(const mjModel* m, const hwm_env_config* config, hwm_env_spec* spec,
                                hwm_error* err) {
    hwm_status code = HWM_OK;
    spec->obs_dim = 0;
    for (int k = 0; k < config->observe.n; k++) {
        const char* what = config->observe.v[k];
        int from = 0, n = 0;
        double scale = 1.0;
        if (strcmp(what, "qpos") == 0 || strcmp(what, "posture") == 0) {
            from = strcmp(what, "posture") == 0 ? planar_positions(m) : 0;
            n = m->nq;
        } else if (strcmp(what, "qvel") == 0) {
            n = m->nv;
            scale = 5.0;
        } else if (strcmp(what, "act") == 0) {
            n = m->na;
        } else {
            n = m->nsensordata;
        }
        if (n - from < 1) {
            return hwm_fail(err, HWM_EINVAL, "env.observe: %s has no %s", config->mjcf, what);
        }
        if (!fits(spec, n - from, config, err, &code)) {
            return code;
        }
        for (int j = from; j < n; j++) {
            char name[24];
            snprintf(name, sizeof name, "%.10s_%d", what, j);
            env_spec_obs(spec, name, "", scale, -INFINITY, INFINITY);
        }
    }
    if (spec->obs_dim == 0) {
        return hwm_fail(err, HWM_EINVAL, "env.observe: nothing is observed");
    }
    return HWM_OK;
}

static void user_reset(const mj_batch* b, const mjModel* m, mjData* d, double* memory,
                       hwm_rng* rng) {
    (void)memory;
    double noise = b->config.reset_noise >= 0.0 ? b->config.reset_noise : 0.01;
    if (m->nkey > 0) {
        mj_resetDataKeyframe(m, d, 0);
    }
    for (int k = 0; k < m->nv; k++) {
        d->qvel[k] += noise * (double)hwm_rng_normal(rng);
    }
    // a step of random size along every coordinate keeps quaternions on the sphere
    mjtNum direction[512];
    int nv = m->nv < 512 ? m->nv : 512;
    for (int k = 0; k < nv; k++) {
        direction[k] = noise * (2.0 * hwm_rng_uniform_double(rng) - 1.0);
    }
    if (nv == m->nv) {
        mj_integratePos(m, d->qpos, direction, 1.0);
    }
}

static double user_way(const mjModel* m, const mjData* d) {
    return d->xpos[3 * root_body(m)];
}

static float user_reward(const mj_batch* b, const mjModel* m, const mjData* d, double* memory,
                         double speed, uint8_t* outcome) {
    (void)memory;
    const hwm_env_config* c = &b->config;
    const double* at = d->xpos + 3 * root_body(m);
    double effort = 0.0;
    for (int a = 0; a < m->nu; a++) {
        effort += d->ctrl[a] * d->ctrl[a];
    }
    if (c->alive_high > c->alive_low && (at[2] < c->alive_low || at[2] > c->alive_high)) {
        *outcome = ENV_TERMINATED;
    }
    return (float)(c->reward_forward * speed + (*outcome == ENV_GO_ON ? c->reward_alive : 0.0) -
                   c->reward_control * effort / m->nu);
}

static float* copy(float* obs, const double* from, int n) {
    for (int k = 0; k < n; k++) {
        obs[k] = (float)from[k];
    }
    return obs + n;
}

static void user_observe(const mj_batch* b, const mjModel* m, const mjData* d, const double* memory,
                         float* obs) {
    (void)memory;
    for (int k = 0; k < b->config.observe.n; k++) {
        const char* what = b->config.observe.v[k];
        if (strcmp(what, "posture") == 0) {
            int from = planar_positions(m);
            obs = copy(obs, d->qpos + from, m->nq - from);
        } else if (strcmp(what, "qpos") == 0) {
            obs = copy(obs, d->qpos, m->nq);
        } else if (strcmp(what, "qvel") == 0) {
            obs = copy(obs, d->qvel, m->nv);
        } else if (strcmp(what, "act") == 0) {
            obs = copy(obs, d->act, m->na);
        } else {
            obs = copy(obs, d->sensordata, m->nsensordata);
        }
    }
}

const mj_task mj_task_mjcf = {
    .name = "mjcf",
    .frame_skip = 5,
    .time_limit = 1000,
    .describe = user_describe,
    .reset = user_reset,
    .way = user_way,
    .kinematics = true,
    .reward = user_reward,
    .observe = user_observe,
};
