// data path  [1] env
//
// The MuJoCo engine: one mjData per environment, frame_skip simulator steps per control step, and
// the task of that name for everything that is particular to it.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "env/mj.h"

static const mj_task* const tasks[] = {
    &mj_task_cartpole_balance, &mj_task_cartpole_swingup,
    &mj_task_pendulum_swingup, &mj_task_quadruped,
    &mj_task_halfcheetah,      &mj_task_hopper,
    &mj_task_walker,           &mj_task_mjcf,
};

const mj_task* mj_task_find(const char* name) {
    for (size_t k = 0; k < sizeof tasks / sizeof *tasks; k++) {
        if (strcmp(tasks[k]->name, name) == 0) {
            return tasks[k];
        }
    }
    return NULL;
}

static int frame_skip(const mj_task* task, const hwm_env_config* config) {
    return config->frame_skip > 0 ? (int)config->frame_skip : task->frame_skip;
}

// positions, velocities, activations, time, warm start of the solver, memory of the task
static int state_size(const mjModel* m) {
    return m->nq + m->nv + m->na + 1 + m->nv + MJ_MEMORY;
}

static hwm_status mujoco_describe(const hwm_env_config* config, hwm_env_spec* spec,
                                  hwm_error* err) {
    const mj_task* task = mj_task_find(config->name);
    mjModel* m;
    hwm_status code = mj_model_load(&m, task, config, err);
    if (code != HWM_OK) {
        return code;
    }
    int actions_max = (int)(sizeof spec->action_name / sizeof spec->action_name[0]);
    if (m->nu < 1 || m->nu > actions_max) {
        code = hwm_fail(err, HWM_EINVAL, "%s: the model has %d actuators; 1..%d are supported",
                        config->name, m->nu, actions_max);
        goto done;
    }
    spec->action_dim = m->nu;
    spec->time_limit = task->time_limit;
    spec->state_dim = state_size(m);
    spec->init_dim = m->nq + m->nv;
    spec->control_dt = m->opt.timestep * frame_skip(task, config);
    for (int a = 0; a < m->nu; a++) {
        const char* name = mj_id2name(m, mjOBJ_ACTUATOR, a);
        if (name) {
            snprintf(spec->action_name[a], sizeof spec->action_name[0], "%.23s", name);
        } else {
            snprintf(spec->action_name[a], sizeof spec->action_name[0], "actuator_%d", a);
        }
    }
    code = task->describe(m, config, spec, err);
done:
    mj_deleteModel(m);
    return code;
}

static void mujoco_destroy(void* self) {
    mj_batch* b = self;
    for (int i = 0; i < b->count; i++) {
        if (b->data && b->data[i]) {
            mj_deleteData(b->data[i]);
        }
        if (b->model && b->model[i] && b->model[i] != b->base) {
            mj_deleteModel(b->model[i]);
        }
    }
    mj_renderer_destroy(b->renderer);
    if (b->scratch) {
        mj_deleteData(b->scratch);
    }
    if (b->base) {
        mj_deleteModel(b->base);
    }
    pthread_mutex_destroy(&b->lock);
    free(b->data);
    free(b->model);
    free(b->memory);
    free(b);
}

static hwm_status mujoco_create(void** out, const hwm_env_config* config, int count, bool varies,
                                hwm_error* err) {
    mj_batch* b = calloc(1, sizeof *b);
    if (!b) {
        return hwm_fail(err, HWM_ENOMEM, "%s: out of memory", config->name);
    }
    pthread_mutex_init(&b->lock, NULL);
    b->task = mj_task_find(config->name);
    b->config = *config;
    b->count = count;
    b->model = calloc((size_t)count, sizeof(mjModel*));
    b->data = calloc((size_t)count, sizeof(mjData*));
    b->memory = calloc((size_t)count * MJ_MEMORY, sizeof(double));
    hwm_status code = HWM_OK;
    if (!b->model || !b->data || !b->memory) {
        code =
            hwm_fail(err, HWM_ENOMEM, "%s: out of memory for %d environments", config->name, count);
        goto fail;
    }
    code = mj_model_load(&b->base, b->task, config, err);
    if (code != HWM_OK) {
        goto fail;
    }
    hwm_env_spec spec = {0};
    code = b->task->describe(b->base, config, &spec, err);
    if (code != HWM_OK) {
        goto fail;
    }
    b->obs_dim = spec.obs_dim;
    b->frame_skip = frame_skip(b->task, config);
    b->dt = b->base->opt.timestep * b->frame_skip;
    b->scratch = varies ? mj_makeData(b->base) : NULL;
    bool all = !varies || b->scratch;
    for (int i = 0; i < count && all; i++) {
        b->model[i] = varies ? mj_copyModel(NULL, b->base) : b->base;
        b->data[i] = b->model[i] ? mj_makeData(b->model[i]) : NULL;
        all = b->data[i] != NULL;
    }
    if (!all) {
        code =
            hwm_fail(err, HWM_ENOMEM, "%s: out of memory for %d environments", config->name, count);
        goto fail;
    }
    *out = b;
    return HWM_OK;
fail:
    mujoco_destroy(b);
    return code;
}

static void mujoco_reset(void* self, int i, hwm_rng* rng) {
    mj_batch* b = self;
    mjModel* m = b->model[i];
    mjData* d = b->data[i];
    double* memory = b->memory + (size_t)i * MJ_MEMORY;
    mj_resetData(m, d);
    memset(memory, 0, MJ_MEMORY * sizeof *memory);
    b->task->reset(b, m, d, memory, rng);
    mj_guard(mj_forward, m, d);
}

static bool diverged(const mjModel* m, const mjData* d) {
    if (d->warning[mjWARN_BADQPOS].number || d->warning[mjWARN_BADQVEL].number ||
        d->warning[mjWARN_BADQACC].number) {
        return true;
    }
    // the last substep is only checked at the beginning of the next one
    double sum = 0.0;
    for (int k = 0; k < m->nq; k++) {
        sum += d->qpos[k] * 0.0;
    }
    for (int k = 0; k < m->nv; k++) {
        sum += d->qvel[k] * 0.0;
    }
    return sum != 0.0;
}

static _Thread_local int skip;

static void run_substeps(const mjModel* m, mjData* d) {
    for (int s = 0; s < skip; s++) {
        mj_step(m, d);
    }
}

static void refresh(const mjModel* m, mjData* d) {
    mj_kinematics(m, d);
    mj_comPos(m, d);
    mj_sensorPos(m, d);
    mj_sensorVel(m, d);
}

static void mujoco_step(void* self, int begin, int end, const uint8_t* active, const float* action,
                        float* reward, uint8_t* outcome) {
    mj_batch* b = self;
    skip = b->frame_skip;
    for (int i = begin; i < end; i++) {
        if (active && !active[i]) {
            continue;
        }
        const mjModel* m = b->model[i];
        mjData* d = b->data[i];
        for (int a = 0; a < m->nu; a++) {
            d->ctrl[a] = action[(size_t)i * (size_t)m->nu + (size_t)a];
        }
        outcome[i] = ENV_GO_ON;
        const double from = b->task->way ? b->task->way(m, d) : 0.0;
        if (!mj_guard(run_substeps, m, d) || diverged(m, d)) {
            mj_resetData(m, d);
            reward[i] = 0.0f;
            outcome[i] = ENV_DIVERGED;
            continue;
        }
        if (b->task->kinematics) {
            mj_guard(refresh, m, d);
        }
        const double speed = b->task->way ? (b->task->way(m, d) - from) / b->dt : 0.0;
        reward[i] = b->task->reward(b, m, d, b->memory + (size_t)i * MJ_MEMORY, speed, &outcome[i]);
    }
}

static void mujoco_observe(const void* self, int begin, int end, const uint8_t* active,
                           float* obs) {
    const mj_batch* b = self;
    for (int i = begin; i < end; i++) {
        if (!active || active[i]) {
            b->task->observe(b, b->model[i], b->data[i], b->memory + (size_t)i * MJ_MEMORY,
                             obs + (size_t)(i - begin) * (size_t)b->obs_dim);
        }
    }
}

static double* put(double* to, const double* from, int n) {
    memcpy(to, from, (size_t)n * sizeof *to);
    return to + n;
}

static const double* take(double* to, const double* from, int n) {
    memcpy(to, from, (size_t)n * sizeof *to);
    return from + n;
}

static void mujoco_get_state(const void* self, int i, double* state) {
    const mj_batch* b = self;
    const mjModel* m = b->model[i];
    const mjData* d = b->data[i];
    state = put(state, d->qpos, m->nq);
    state = put(state, d->qvel, m->nv);
    state = put(state, d->act, m->na);
    state = put(state, &d->time, 1);
    state = put(state, d->qacc_warmstart, m->nv);
    put(state, b->memory + (size_t)i * MJ_MEMORY, MJ_MEMORY);
}

static void mujoco_set_state(void* self, int i, const double* state) {
    mj_batch* b = self;
    const mjModel* m = b->model[i];
    mjData* d = b->data[i];
    mj_resetData(m, d);
    const double* qpos = state;
    state = take(d->qpos, state, m->nq);
    state = take(d->qvel, state, m->nv);
    state = take(d->act, state, m->na);
    state = take(&d->time, state, 1);
    const double* warm = state;
    // what is derived, for observations and pictures; but it normalises quaternions, and doing so
    // twice can change a bit, and it moves the solver's starting point
    mj_guard(mj_forward, m, d);
    take(d->qpos, qpos, m->nq);
    state = take(d->qacc_warmstart, warm, m->nv);
    take(b->memory + (size_t)i * MJ_MEMORY, state, MJ_MEMORY);
}

static void mujoco_parts(const hwm_env_config* config, env_parts* parts) {
    mjModel* m;
    parts->n = 0;
    if (mj_model_load(&m, mj_task_find(config->name), config, NULL) == HWM_OK) {
        mj_parts(m, parts);
        mj_deleteModel(m);
    }
}

static void mujoco_physics(void* self, int i, const env_physics* physics) {
    mj_batch* b = self;
    pthread_mutex_lock(&b->lock);
    mj_apply_physics(b->model[i], b->base, b->scratch, physics);
    pthread_mutex_unlock(&b->lock);
}

static double mujoco_ahead(const void* self, int i) {
    const mj_batch* b = self;
    return b->task->from_origin ? b->task->way(b->model[i], b->data[i]) : (double)NAN;
}

static hwm_status mujoco_render(void* self, int i, int width, int height, uint8_t* rgb,
                                hwm_error* err) {
    mj_batch* b = self;
    hwm_status code = b->renderer ? HWM_OK : mj_renderer_create(&b->renderer, b->base, err);
    return code == HWM_OK
               ? mj_renderer_draw(b->renderer, b->model[i], b->data[i], width, height, rgb, err)
               : code;
}

#define MUJOCO_KIND(id, text)                                                                      \
    const env_kind env_kind_##id = {                                                               \
        .name = #id,                                                                               \
        .help = text,                                                                              \
        .has = ENV_HAS_GAIN | ENV_HAS_MASS | ENV_HAS_FRICTION | ENV_HAS_PARTS,                     \
        .describe = mujoco_describe,                                                               \
        .create = mujoco_create,                                                                   \
        .destroy = mujoco_destroy,                                                                 \
        .reset = mujoco_reset,                                                                     \
        .step = mujoco_step,                                                                       \
        .observe = mujoco_observe,                                                                 \
        .get_state = mujoco_get_state,                                                             \
        .set_state = mujoco_set_state,                                                             \
        .parts = mujoco_parts,                                                                     \
        .physics = mujoco_physics,                                                                 \
        .ahead = mujoco_ahead,                                                                     \
        .render = mujoco_render,                                                                   \
    }

MUJOCO_KIND(cartpole_balance,
            "keep a pole upright on a rail (DeepMind Control Suite cartpole balance)");
MUJOCO_KIND(cartpole_swingup,
            "swing a hanging pole up on a rail (DeepMind Control Suite cartpole swingup)");
MUJOCO_KIND(quadruped, "four-legged walker with eight torques (the body of Gymnasium's Ant)");
MUJOCO_KIND(pendulum_swingup,
            "swing a pendulum up with a weak torque (DeepMind Control Suite pendulum)");
MUJOCO_KIND(halfcheetah, "planar runner with six torques (Gymnasium HalfCheetah)");
MUJOCO_KIND(hopper, "planar one-legged hopper (Gymnasium Hopper)");
MUJOCO_KIND(walker, "planar two-legged walker (Gymnasium Walker2d)");
MUJOCO_KIND(mjcf, "any MuJoCo model: env.mjcf names its file");
