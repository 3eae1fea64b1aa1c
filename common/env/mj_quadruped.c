// The quadruped: three sets of observations and rewards over one body, 50 ms per control step, 500
// steps.
//
//   default     29 egocentric observations; reward forward * dx/dt + alive * up_z - control * mean
//   u^2; the episode ends, as a terminal, when the
//               torso was upside down for fall_steps control steps. A fall is a known function of
//               the observation: up_z < 0.
//   antbullet   the 28 observations and the reward of the AntBullet task used by Najarro & Risi
//   2020 (arXiv:2007.02686) gymnasium   the 27 observations and the reward of Gymnasium's Ant
//   without contact forces
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "env/mj.h"

enum { JOINTS = 8, LEGS = 4 };
enum { MEM_FALLEN, MEM_FEET, MEM_HEIGHT, MEM_UP };

static void put_joints(hwm_env_spec* spec, const char* prefix, const char* unit, double hip,
                       double ankle) {
    for (int j = 0; j < JOINTS; j++) {
        char name[24];
        snprintf(name, sizeof name, "%s%s_%d", prefix, j % 2 ? "ankle" : "hip", j / 2 + 1);
        env_spec_obs(spec, name, unit, j % 2 ? ankle : hip, -INFINITY, INFINITY);
    }
}

static void put_vector(hwm_env_spec* spec, const char* name, const char* unit, double scale,
                       double bound) {
    for (int k = 0; k < 3; k++) {
        char text[24];
        snprintf(text, sizeof text, "%s_%c", name, 'x' + k);
        env_spec_obs(spec, text, unit, scale, -bound, bound);
    }
}

static void describe_bullet(hwm_env_spec* spec) {
    static const char* const body[] = {"height", "target_sin", "target_cos", "vel_x",
                                       "vel_y",  "vel_z",      "roll",       "pitch"};
    for (int k = 0; k < 8; k++) {
        env_spec_obs(spec, body[k], "", 1.0, -5.0, 5.0);
    }
    for (int j = 0; j < JOINTS; j++) {
        char name[24];
        snprintf(name, sizeof name, "%s_%d", j % 2 ? "ankle" : "hip", j / 2 + 1);
        env_spec_obs(spec, name, "", 1.0, -5.0, 5.0);
        snprintf(name, sizeof name, "d_%s_%d", j % 2 ? "ankle" : "hip", j / 2 + 1);
        env_spec_obs(spec, name, "", 1.0, -5.0, 5.0);
    }
    for (int leg = 0; leg < LEGS; leg++) {
        char name[24];
        snprintf(name, sizeof name, "foot_%d", leg + 1);
        env_spec_obs(spec, name, "", 1.0, 0.0, 1.0);
    }
}

static hwm_status quadruped_describe(const mjModel* m, const hwm_env_config* config,
                                     hwm_env_spec* spec, hwm_error* err) {
    (void)m;
    (void)err;
    spec->obs_dim = 0;
    if (config->observation == HWM_ENV_ANTBULLET) {
        describe_bullet(spec);
        return HWM_OK;
    }
    env_spec_obs(spec, "height", "m", 0.5, -INFINITY, INFINITY);
    if (config->observation == HWM_ENV_DEFAULT) {
        put_vector(spec, "ahead", "", 1.0, 1.001);
        put_vector(spec, "up", "", 1.0, 1.001);
        put_vector(spec, "vel", "m/s", 1.0, INFINITY);
        put_vector(spec, "turn", "rad/s", 2.0, INFINITY);
        put_joints(spec, "", "rad", 0.5, 1.0);
    } else {
        env_spec_obs(spec, "quat_w", "", 1.0, -1.001, 1.001);
        put_vector(spec, "quat", "", 1.0, 1.001);
        put_joints(spec, "", "rad", 0.5, 1.0);
        put_vector(spec, "vel", "m/s", 1.0, INFINITY);
        put_vector(spec, "turn", "rad/s", 2.0, INFINITY);
    }
    put_joints(spec, "d_", "rad/s", 5.0, 5.0);
    return HWM_OK;
}

// Which shins touch the ground, as bits.
static double feet_on_ground(const mjModel* m, const mjData* d) {
    unsigned feet = 0;
    for (int c = 0; c < d->ncon; c++) {
        for (int side = 0; side < 2; side++) {
#if mjVERSION_HEADER >= 300
            int geom = d->contact[c].geom[side];
#else
            int geom = side ? d->contact[c].geom2 : d->contact[c].geom1;
#endif
            const char* name = mj_id2name(m, mjOBJ_GEOM, geom);
            if (name && strncmp(name, "shin_", 5) == 0) {
                feet |= 1u << (name[5] - '1');
            }
        }
    }
    return feet;
}

static void remember(const mj_batch* b, const mjModel* m, const mjData* d, double* memory) {
    const double* q = d->qpos + 3;
    memory[MEM_UP] = 1.0 - 2.0 * (q[1] * q[1] + q[2] * q[2]);
    if (b->config.observation == HWM_ENV_ANTBULLET) {
        memory[MEM_FEET] = feet_on_ground(m, d);
    }
}

// As Gymnasium: the pose of the file, +-0.1 on every coordinate, velocities 0.1 N(0, 1).
static void quadruped_reset(const mj_batch* b, const mjModel* m, mjData* d, double* memory,
                            hwm_rng* rng) {
    double noise = b->config.reset_noise >= 0.0 ? b->config.reset_noise : 0.1;
    for (int k = 2; k < m->nq; k++) {
        d->qpos[k] += noise * (2.0 * hwm_rng_uniform_double(rng) - 1.0);
    }
    for (int k = 0; k < m->nv; k++) {
        d->qvel[k] = noise * (double)hwm_rng_normal(rng);
    }
    mju_normalize4(d->qpos + 3);
    memory[MEM_HEIGHT] = d->qpos[2];
    remember(b, m, d, memory);
}

// Joint j's place in its range as -1 .. 1.
static double in_range(const mjModel* m, const mjData* d, int j) {
    const double* range = m->jnt_range + 2 * (1 + j);
    return (2.0 * d->qpos[7 + j] - range[0] - range[1]) / (range[1] - range[0]);
}

static double bullet_reward(const mjModel* m, const mjData* d, double speed, uint8_t* outcome) {
    double power = 0.0, effort = 0.0, at_limit = 0.0;
    for (int j = 0; j < JOINTS; j++) {
        double u = d->ctrl[j];
        power += fabs(u * 0.1 * d->qvel[6 + j]);
        effort += u * u;
        at_limit += fabs(in_range(m, d, j)) > 0.99;
    }
    bool alive = d->qpos[2] > 0.26;
    *outcome = alive ? ENV_GO_ON : ENV_TERMINATED;
    return (alive ? 1.0 : -1.0) + speed - 2.0 * power / JOINTS - 0.1 * effort / JOINTS -
           0.1 * at_limit;
}

static double quadruped_way(const mjModel* m, const mjData* d) {
    (void)m;
    return d->qpos[0];
}

static float quadruped_reward(const mj_batch* b, const mjModel* m, const mjData* d, double* memory,
                              double speed, uint8_t* outcome) {
    remember(b, m, d, memory);
    double effort = 0.0;
    for (int a = 0; a < JOINTS; a++) {
        effort += d->ctrl[a] * d->ctrl[a];
    }
    const hwm_env_config* c = &b->config;
    if (c->reward == HWM_ENV_ANTBULLET) {
        return (float)bullet_reward(m, d, speed, outcome);
    }
    if (c->reward == HWM_ENV_GYMNASIUM) {
        bool healthy = d->qpos[2] >= 0.2 && d->qpos[2] <= 1.0;
        *outcome = healthy ? ENV_GO_ON : ENV_TERMINATED;
        return (float)(speed + (healthy ? 1.0 : 0.0) - 0.5 * effort);
    }
    memory[MEM_FALLEN] = memory[MEM_UP] < 0.0 ? memory[MEM_FALLEN] + 1.0 : 0.0;
    if (c->fall_steps > 0 && memory[MEM_FALLEN] >= (double)c->fall_steps) {
        *outcome = ENV_TERMINATED;
    }
    return (float)(c->reward_forward * speed + c->reward_alive * memory[MEM_UP] -
                   c->reward_control * effort / JOINTS);
}

static void observe_egocentric(const mjData* d, float* obs) {
    double r[9];
    mj_rotation(d->qpos + 3, r);
    *obs++ = (float)d->qpos[2];
    // the world's x and z axes seen from the torso, then its velocity in its own frame
    for (int k = 0; k < 3; k++) {
        obs[k] = (float)r[k];
        obs[3 + k] = (float)r[6 + k];
        obs[6 + k] = (float)(r[k] * d->qvel[0] + r[3 + k] * d->qvel[1] + r[6 + k] * d->qvel[2]);
        obs[9 + k] = (float)d->qvel[3 + k];
    }
    obs += 12;
    for (int j = 0; j < JOINTS; j++) {
        obs[j] = (float)d->qpos[7 + j];
        obs[JOINTS + j] = (float)d->qvel[6 + j];
    }
}

static void observe_bullet(const mjModel* m, const mjData* d, const double* memory, float* obs) {
    double r[9], v[28];
    mj_rotation(d->qpos + 3, r);
    double yaw = atan2(r[3], r[0]), pitch = asin(fmax(-1.0, fmin(1.0, -r[6])));
    double roll = atan2(r[7], r[8]);
    double angle = atan2(-d->qpos[1], 1000.0 - d->qpos[0]) - yaw;
    v[0] = d->qpos[2] - memory[MEM_HEIGHT];
    v[1] = sin(angle);
    v[2] = cos(angle);
    v[3] = 0.3 * (cos(yaw) * d->qvel[0] + sin(yaw) * d->qvel[1]);
    v[4] = 0.3 * (cos(yaw) * d->qvel[1] - sin(yaw) * d->qvel[0]);
    v[5] = 0.3 * d->qvel[2];
    v[6] = roll;
    v[7] = pitch;
    for (int j = 0; j < JOINTS; j++) {
        v[8 + 2 * j] = in_range(m, d, j);
        v[9 + 2 * j] = 0.1 * d->qvel[6 + j];
    }
    for (int leg = 0; leg < LEGS; leg++) {
        v[24 + leg] = (double)((unsigned)memory[MEM_FEET] >> leg & 1u);
    }
    for (int o = 0; o < 28; o++) {
        obs[o] = (float)fmax(-5.0, fmin(5.0, v[o]));
    }
}

static void quadruped_observe(const mj_batch* b, const mjModel* m, const mjData* d,
                              const double* memory, float* obs) {
    if (b->config.observation == HWM_ENV_DEFAULT) {
        observe_egocentric(d, obs);
    } else if (b->config.observation == HWM_ENV_ANTBULLET) {
        observe_bullet(m, d, memory, obs);
    } else {
        for (int k = 2; k < m->nq; k++) {
            *obs++ = (float)d->qpos[k];
        }
        for (int k = 0; k < m->nv; k++) {
            *obs++ = (float)d->qvel[k];
        }
    }
}

const mj_task mj_task_quadruped = {
    .name = "quadruped",
    .model = "quadruped",
    .frame_skip = 5,
    .time_limit = 500,
    .describe = quadruped_describe,
    .reset = quadruped_reset,
    .way = quadruped_way,
    .from_origin = true,
    .reward = quadruped_reward,
    .observe = quadruped_observe,
};
