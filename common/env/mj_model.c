// MuJoCo models: loading, the changes that variants make to them, and errors of MuJoCo as return
// values.
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "env/mj.h"

// MuJoCo reports errors through a process-wide callback that must not return. Ours jumps back to
// the guard of this thread.
static _Thread_local jmp_buf* guard;
static _Thread_local char last_error[512];

static void on_error(const char* message) {
    snprintf(last_error, sizeof last_error, "%s", message);
    if (guard) {
        longjmp(*guard, 1);
    }
    hwm_log(HWM_LOG_ERROR, "env", "mujoco failed", "message=\"%s\"", message);
    abort();
}

// Warnings are counted by MuJoCo itself, per mjData; its default is to append to a file in the
// working directory.
static void on_warning(const char* message) {
    hwm_log(HWM_LOG_DEBUG, "env", "mujoco warning", "message=\"%s\"", message);
}

enum { PICTURE_WIDTH_MAX = 1280, PICTURE_HEIGHT_MAX = 960 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
// the XML reader of MuJoCo keeps global state
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static void install_handlers(void) {
    mju_user_error = on_error;
    mju_user_warning = on_warning;
}

const char* mj_last_error(void) {
    return last_error;
}

bool mj_guard(void (*f)(const mjModel*, mjData*), const mjModel* m, mjData* d) {
    jmp_buf here;
    if (setjmp(here)) {
        guard = NULL;
        return false;
    }
    guard = &here;
    f(m, d);
    guard = NULL;
    return true;
}

static mjModel* load_text(const char* name, const mj_embedded* text, char* error, int size) {
    mjVFS* vfs = malloc(sizeof *vfs);
    if (!vfs) {
        snprintf(error, (size_t)size, "out of memory");
        return NULL;
    }
    mj_defaultVFS(vfs);
#if mjVERSION_HEADER >= 300
    mj_addBufferVFS(vfs, name, text->xml, (int)text->bytes);
#else
    mj_makeEmptyFileVFS(vfs, name, (int)text->bytes);
    int k = mj_findFileVFS(vfs, name);
    if (k >= 0) {
        memcpy(vfs->filedata[k], text->xml, text->bytes);
    }
#endif
    mjModel* m = mj_loadXML(name, vfs, error, size);
    mj_deleteVFS(vfs);
    free(vfs);
    return m;
}

hwm_status mj_model_load(mjModel** out, const mj_task* task, const hwm_env_config* config,
                         hwm_error* err) {
    *out = NULL;
    pthread_once(&once, install_handlers);
    if (mjVERSION_HEADER / 100 != mj_version() / 100) {
        return hwm_fail(err, HWM_EVERSION, "%s: built for MuJoCo %d, found %d", config->name,
                        mjVERSION_HEADER, mj_version());
    }
    if (!task->model && config->mjcf[0] == '\0') {
        return hwm_fail(err, HWM_EINVAL,
                        "env.mjcf: environment mjcf needs the path of a model file");
    }
    if (task->model && config->mjcf[0] != '\0') {
        return hwm_fail(err, HWM_EINVAL, "env.mjcf: \"%s\" is for environment mjcf, not for %s",
                        config->mjcf, config->name);
    }
    char error[512] = "";
    mjModel* volatile m = NULL;
    const mj_embedded* text = mj_models;
    while (task->model && strcmp(text->name, task->model) != 0) {
        text++;
        HWM_ASSERT(text->name);
    }
    pthread_mutex_lock(&loading);
    jmp_buf here;
    if (setjmp(here)) {
        snprintf(error, sizeof error, "%s", last_error);
    } else {
        guard = &here;
        m = task->model ? load_text("model.xml", text, error, sizeof error)
                        : mj_loadXML(config->mjcf, NULL, error, sizeof error);
    }
    guard = NULL;
    pthread_mutex_unlock(&loading);
    if (!m) {
        return hwm_fail(err, HWM_EINVAL, "%s: cannot load the model%s%s: %s", config->name,
                        task->model ? "" : " ", task->model ? "" : config->mjcf, error);
    }
    // room for pictures, and shadows that a software renderer can afford
    m->vis.quality.shadowsize = m->vis.quality.shadowsize < 1024 ? m->vis.quality.shadowsize : 1024;
    m->vis.global.offwidth =
        m->vis.global.offwidth > PICTURE_WIDTH_MAX ? m->vis.global.offwidth : PICTURE_WIDTH_MAX;
    m->vis.global.offheight =
        m->vis.global.offheight > PICTURE_HEIGHT_MAX ? m->vis.global.offheight : PICTURE_HEIGHT_MAX;
    if (task->adapt) {
        task->adapt(m, config);
    }
    if (config->gear > 0.0) {
        for (int a = 0; a < m->nu; a++) {
            m->actuator_gear[6 * a] = config->gear;
        }
    }
    *out = m;
    return HWM_OK;
}

// A limb is a body whose only geom is a named capsule that begins at the body's origin, where its
// joint is.
static bool is_limb(const mjModel* m, int g) {
    int body = m->geom_bodyid[g];
    if (m->geom_type[g] != mjGEOM_CAPSULE || m->body_geomnum[body] != 1 || body == 0) {
        return false;
    }
    const double* pos = m->geom_pos + 3 * g;
    double length = sqrt(pos[0] * pos[0] + pos[1] * pos[1] + pos[2] * pos[2]);
    return fabs(length - m->geom_size[3 * g + 1]) < 1e-6 * (1.0 + length);
}

// Part k: actuators first, then limbs; only those with a name that fits. A limb whose name an
// actuator has already is NAME.limb. Returns the number of parts; NULL: count only.
static int list_parts(const mjModel* m, env_parts* parts, int* kind_of, int* id_of) {
    int n = 0;
    for (int type = 0; type < 2; type++) {
        int count = type == 0 ? m->nu : m->ngeom;
        for (int id = 0; id < count && n < ENV_PARTS_MAX; id++) {
            const char* name = mj_id2name(m, type == 0 ? mjOBJ_ACTUATOR : mjOBJ_GEOM, id);
            const bool taken = name && type == 1 && mj_name2id(m, mjOBJ_ACTUATOR, name) >= 0;
            const char* suffix = taken ? ".limb" : "";
            if (!name || strlen(name) + strlen(suffix) >= sizeof parts->name[0] ||
                (type == 1 && !is_limb(m, id))) {
                continue;
            }
            if (parts) {
                strcpy(parts->name[n], name);
                strcat(parts->name[n], suffix);
            }
            if (kind_of) {
                kind_of[n] = type;
                id_of[n] = id;
            }
            n++;
        }
    }
    return n;
}

void mj_parts(const mjModel* m, env_parts* parts) {
    parts->n = list_parts(m, parts, NULL, NULL);
}

// Moment of inertia of a solid capsule of unit density about its axis and across it; half: of the
// cylinder.
static void capsule_inertia(double radius, double half, double* mass, double* along,
                            double* across) {
    const double pi = 3.14159265358979323846;
    double r2 = radius * radius, length = 2.0 * half;
    double cylinder = pi * r2 * length, sphere = 4.0 / 3.0 * pi * r2 * radius;
    *mass = cylinder + sphere;
    *along = cylinder * r2 / 2.0 + sphere * 0.4 * r2;
    *across = cylinder * (r2 / 4.0 + length * length / 12.0) +
              sphere * (0.4 * r2 + length * length / 4.0 + 3.0 / 8.0 * length * radius);
}

static void shorten(mjModel* m, int g, double factor) {
    int body = m->geom_bodyid[g];
    double* size = m->geom_size + 3 * g;
    double mass0, along0, across0, mass1, along1, across1;
    capsule_inertia(size[0], size[1], &mass0, &along0, &across0);
    size[1] *= factor;
    capsule_inertia(size[0], size[1], &mass1, &along1, &across1);
    m->geom_rbound[g] = size[0] + size[1];
    for (int k = 0; k < 3; k++) {
        m->geom_pos[3 * g + k] *= factor;
        m->body_ipos[3 * body + k] *= factor;
    }
    m->body_mass[body] *= mass1 / mass0;
    // the axis is that of the smallest moment; a capsule that became nearly round keeps the order
    // of its axes
    double* inertia = m->body_inertia + 3 * body;
    int axis = 0;
    for (int k = 1; k < 3; k++) {
        axis = inertia[k] < inertia[axis] ? k : axis;
    }
    for (int k = 0; k < 3; k++) {
        inertia[k] *= k == axis ? along1 / along0 : across1 / across0;
    }
    // what hangs at its end comes along
    for (int child = 1; child < m->nbody; child++) {
        for (int k = 0; m->body_parentid[child] == body && k < 3; k++) {
            m->body_pos[3 * child + k] *= factor;
        }
    }
}

void mj_apply_physics(mjModel* m, const mjModel* base, mjData* scratch,
                      const env_physics* physics) {
    mj_copyModel(m, base);
    for (int a = 0; a < m->nu; a++) {
        m->actuator_gear[6 * a] *= physics->gain;
    }
    for (int k = 0; k < m->nbody; k++) {
        m->body_mass[k] *= physics->mass;
    }
    for (int k = 0; k < 3 * m->nbody; k++) {
        m->body_inertia[k] *= physics->mass;
    }
    for (int k = 0; k < 3 * m->ngeom; k++) {
        m->geom_friction[k] *= physics->friction;
    }
    for (int k = 0; k < m->nv; k++) {
        m->dof_damping[k] *= physics->friction;
        m->dof_frictionloss[k] *= physics->friction;
    }
    int type[ENV_PARTS_MAX], id[ENV_PARTS_MAX];
    int n = physics->damages > 0 ? list_parts(m, NULL, type, id) : 0;
    bool reshaped = physics->mass != 1.0;
    for (int k = 0; k < physics->damages; k++) {
        int part = physics->part[k];
        double factor = physics->factor[k];
        if (part < 0 || part >= n || factor == 1.0) {
            continue;
        }
        if (type[part] == 0) {
            m->actuator_gear[6 * id[part]] *= factor;
        } else {
            shorten(m, id[part], factor > 0.02 ? factor : 0.02);
            reshaped = true;
        }
    }
    if (reshaped) {
        mj_setConst(m, scratch);
    }
}

void mj_rotation(const double* quat, double* r) {
    double w = quat[0], x = quat[1], y = quat[2], z = quat[3];
    r[0] = 1.0 - 2.0 * (y * y + z * z);
    r[1] = 2.0 * (x * y - w * z);
    r[2] = 2.0 * (x * z + w * y);
    r[3] = 2.0 * (x * y + w * z);
    r[4] = 1.0 - 2.0 * (x * x + z * z);
    r[5] = 2.0 * (y * z - w * x);
    r[6] = 2.0 * (x * z - w * y);
    r[7] = 2.0 * (y * z + w * x);
    r[8] = 1.0 - 2.0 * (x * x + y * y);
}
