// data path  [1] env
//
// What one kind of environment implements for a batch; env.c adds what all of them share (clipping,
// repeats, time limit, observation signs, hidden variants, threads). Private to common/env.
//
// Threads: step and observe may run at the same time on disjoint ranges; nothing else runs beside
// them.
#ifndef HWM_ENV_KIND_H
#define HWM_ENV_KIND_H

#include "base/rng.h"
#include "env/draw.h"
#include "env/env_config.h"

// What variants can change in an environment of a kind.
enum { ENV_HAS_GAIN = 1, ENV_HAS_MASS = 2, ENV_HAS_FRICTION = 4, ENV_HAS_PARTS = 8 };
enum { ENV_PARTS_MAX = 96, ENV_DAMAGES_MAX = HWM_CONFIG_LIST_MAX };

// Actuators and limbs that damage can name.
typedef struct env_parts {
    int n;
    char name[ENV_PARTS_MAX][32];
} env_parts;

// Factors on the model's own values.
typedef struct env_physics {
    double gain, mass, friction;
    int damages;
    int part[ENV_DAMAGES_MAX];
    double factor[ENV_DAMAGES_MAX];
} env_physics;

enum { ENV_GO_ON, ENV_TERMINATED, ENV_TRUNCATED, ENV_DIVERGED };

typedef struct env_kind {
    const char* name;
    const char* help;  // one sentence for `hwm envs`
    unsigned has;      // ENV_HAS_...
    // Fill spec for one control step per decision: sizes, names, scales, time_limit, control_dt;
    // state_dim and init_dim count the simulation's own numbers.
    hwm_status (*describe)(const hwm_env_config* config, hwm_env_spec* spec, hwm_error* err);
    // varies: physics will be called
    hwm_status (*create)(void** self, const hwm_env_config* config, int count, bool varies,
                         hwm_error* err);
    void (*destroy)(void* self);
    void (*reset)(void* self, int i, hwm_rng* rng);
    // One control step of environments begin .. end-1 where active (NULL: all); what is not active
    // stays untouched.
    //   action (E,A) finite; continuous in [-1, 1]   reward (E) out   outcome (E) out   ENV_GO_ON,
    //   ...
    void (*step)(void* self, int begin, int end, const uint8_t* active, const float* action,
                 float* reward, uint8_t* outcome);
    // obs: the row of environment `begin` and those that follow
    void (*observe)(const void* self, int begin, int end, const uint8_t* active, float* obs);
    void (*get_state)(const void* self, int i, double* state);
    void (*set_state)(void* self, int i, const double* state);
    // Which parts there are (ENV_HAS_PARTS); config has passed describe.
    void (*parts)(const hwm_env_config* config, env_parts* parts);
    // Physics of environment i from now on (NULL where has == 0). Called before every reset that
    // changes it.
    void (*physics)(void* self, int i, const env_physics* physics);
    // Position along the way the body is to go, m; NULL, or NaN: there is no such way.
    double (*ahead)(const void* self, int i);
    // One of these: draw fills the canvas itself, render the pixels.
    void (*draw)(const void* self, int i, env_canvas* canvas, uint8_t* rgb, int width, int height);
    hwm_status (*render)(void* self, int i, int width, int height, uint8_t* rgb, hwm_error* err);
} env_kind;

extern const env_kind env_kind_cartpole, env_kind_pendulum, env_kind_acrobot, env_kind_sequence;
extern const env_kind env_kind_cartpole_balance, env_kind_cartpole_swingup,
    env_kind_pendulum_swingup, env_kind_quadruped, env_kind_halfcheetah, env_kind_hopper,
    env_kind_walker, env_kind_mjcf, env_kind_plugin;

// Append one observation to a spec that describe fills; asserts that there is room.
void env_spec_obs(hwm_env_spec* spec, const char* name, const char* unit, double scale, double low,
                  double high);

const env_kind* env_kind_find(const char* name);  // NULL: unknown

#endif
