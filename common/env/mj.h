// data path  [1] env
//
// MuJoCo environments from inside: one engine (mujoco.c) that loads, steps, saves and varies any
// model, and one task per environment that says where an episode starts, what is seen and what is
// rewarded. The only user of mujoco.h. Private to common/env.
//
// The model is shared by all environments of a batch until variants change physics; then every
// environment has its own copy. Tasks read qpos, qvel and act, which belong to the end of the step.
// What MuJoCo derives from them (xpos, contacts) belongs to the beginning of its last substep;
// tasks that need it fresh say so (kinematics).
#ifndef HWM_ENV_MJ_H
#define HWM_ENV_MJ_H

#include <mujoco/mujoco.h>
#include <pthread.h>

#include "env/kind.h"

enum { MJ_MEMORY = 8 };  // doubles that a task may keep per environment; saved with the state

typedef struct mj_embedded {
    const char* name;
    const char* xml;
    size_t bytes;
} mj_embedded;
extern const mj_embedded mj_models[];  // ends with a NULL name

typedef struct mj_batch mj_batch;
typedef struct mj_renderer mj_renderer;

typedef struct mj_task {
    const char* name;
    const char* model;   // of mj_models; NULL: the user's file
    const void* params;  // constants of the task's own
    int frame_skip;      // simulator steps per control step
    int time_limit;      // control steps
    // obs_dim, names, scales; joints, actions and times are the engine's
    hwm_status (*describe)(const mjModel* m, const hwm_env_config* config, hwm_env_spec* spec,
                           hwm_error* err);
    // Changes that the configuration makes to the model, as gears. May be NULL.
    void (*adapt)(mjModel* m, const hwm_env_config* config);
    // From mj_resetData to the first state. memory is zeroed.
    void (*reset)(const mj_batch* b, const mjModel* m, mjData* d, double* memory, hwm_rng* rng);
    // Where the body is along the world's x, m. NULL: it has no way to go.
    double (*way)(const mjModel* m, const mjData* d);
    bool from_origin;  // episodes begin at way 0, to within their noise
    bool kinematics;   // bring xpos, xmat and sensors up to date before reward and observe
    // After the substeps of a control step. ctrl is in d; speed is the way made in it, m/s. outcome
    // is ENV_GO_ON on entry.
    float (*reward)(const mj_batch* b, const mjModel* m, const mjData* d, double* memory,
                    double speed, uint8_t* outcome);
    void (*observe)(const mj_batch* b, const mjModel* m, const mjData* d, const double* memory,
                    float* obs);
} mj_task;

struct mj_batch {
    const mj_task* task;
    hwm_env_config config;
    int count;
    int obs_dim;
    int frame_skip;
    double dt;  // s, of a control step
    mjModel* base;
    mjModel** model;        // (E) base, or a copy of its own
    mjData** data;          // (E)
    double* memory;         // (E, MJ_MEMORY)
    mjData* scratch;        // for constants derived from a changed model
    pthread_mutex_t lock;   // of scratch
    mj_renderer* renderer;  // from the first picture on
};

// mj_model.c
const mj_task* mj_task_find(const char* name);
// Load, adapt and check the model of a task. caller owns, free with mj_deleteModel
hwm_status mj_model_load(mjModel** out, const mj_task* task, const hwm_env_config* config,
                         hwm_error* err);
void mj_parts(const mjModel* m, env_parts* parts);
// Make m what physics says base becomes.
void mj_apply_physics(mjModel* m, const mjModel* base, mjData* scratch, const env_physics* physics);
// Run f(m, d) so that an error inside MuJoCo comes back as false instead of ending the process.
bool mj_guard(void (*f)(const mjModel*, mjData*), const mjModel* m, mjData* d);
const char* mj_last_error(void);

// Up vector of a free body in the world: third column entry of its rotation, from its quaternion.
void mj_rotation(const double* quat, double* r);  // r (3,3) row-major

// mj_render.c; HWM_EUNSUPPORTED without OSMesa, with a sentence that says what to install. One
// thread at a time.
hwm_status mj_renderer_create(mj_renderer** out, const mjModel* m, hwm_error* err);
hwm_status mj_renderer_draw(mj_renderer* r, const mjModel* m, const mjData* d, int width,
                            int height, uint8_t* rgb, hwm_error* err);
void mj_renderer_destroy(mj_renderer* r);

extern const mj_task mj_task_cartpole_balance, mj_task_cartpole_swingup, mj_task_pendulum_swingup,
    mj_task_quadruped, mj_task_halfcheetah, mj_task_hopper, mj_task_walker, mj_task_mjcf;

#endif
