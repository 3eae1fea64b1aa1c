// Environments of your own: the interface of a shared object that HWM loads. This header needs
// nothing else of HWM.
//
//   1. Fill a hwm_env_plugin and return it from hwm_env_plugin_entry.
//   2. Build NAME.so and put it into a folder.
//   3. env: {name: plugin, plugin: NAME}, and start worker, learner or hwm with --plugin-dir FOLDER
//   (or HWM_PLUGIN_DIR).
//
// deploy/plugin-example is complete. Only objects in that folder are loaded, by their base name, so
// an experiment that comes from a server can never make a worker run code it was not given.
//
// One object of create is one environment; several run side by side, each used by one thread at a
// time. All buffers are the caller's. The same seed and actions must give the same episode. Actions
// arrive finite; continuous ones clipped to [-1, 1]; with two discrete actions one value, above 0
// or not; with more one value each, the largest counts.
#ifndef HWM_ENV_PLUGIN_H
#define HWM_ENV_PLUGIN_H

#include <stdint.h>

#define HWM_ENV_PLUGIN_ABI 1u

typedef struct hwm_env_plugin_value {
    const char* name;  // at most 23 bytes
    const char* unit;  // at most 7 bytes, "" for a pure number
    double scale;      // the controller reads obs / scale; above 0
    double low, high;  // range; may be infinite
} hwm_env_plugin_value;

enum { HWM_PLUGIN_GO_ON, HWM_PLUGIN_TERMINATED, HWM_PLUGIN_TRUNCATED, HWM_PLUGIN_DIVERGED };

typedef struct hwm_env_plugin {
    uint32_t abi;    // HWM_ENV_PLUGIN_ABI
    uint32_t bytes;  // sizeof(hwm_env_plugin)
    const char* help;
    int32_t obs_dim;     // 1..512
    int32_t action_dim;  // 1..64
    int32_t n_actions;   // 0: continuous; 2: action_dim is 1; above 2: action_dim is the same
    int32_t time_limit;  // steps per episode
    int32_t state_dim;   // doubles of get_state, 1..4096
    int32_t init_dim;    // the first of them, that a person may set
    double step_s;       // simulated time of a step
    const hwm_env_plugin_value* obs;  // (obs_dim)
    const char* const* action_names;  // (action_dim)

    void* (*create)(void);  // NULL: out of memory
    void (*destroy)(void* env);
    void (*reset)(void* env, uint64_t seed);
    int (*step)(void* env, const float* action, float* reward);  // HWM_PLUGIN_GO_ON, ...
    void (*observe)(const void* env, float* obs);                // (obs_dim)
    void (*get_state)(const void* env, double* state);  // everything that later steps depend on
    void (*set_state)(void* env, const double* state);
    // rgb (height, width, 3), row 0 on top. May be NULL: no pictures.
    void (*render)(const void* env, int width, int height, uint8_t* rgb);
} hwm_env_plugin;

// The one symbol that the object exports. Borrowed: static data of the object.
const hwm_env_plugin* hwm_env_plugin_entry(void);

#endif
