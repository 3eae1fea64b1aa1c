// data path  [2] controller
//
// E environments with one batched controller, in lock step: workers record what happens here,
// evaluation only counts it.
//
//   hwm_rollout_think   x_0 from the observations, activations, and the action of every environment
//   (here the caller may look at the row: flags, reward, obs, action, act, and the state before the
//   plastic step) hwm_rollout_step    environments step, weights change
//
// An episode that ended stands still for one row: the row with is_last, whose observation is the
// final one, with a zero action and no plastic step. hwm_rollout_step begins the next episode
// behind it. All draws are functions of (seed, global environment index, episode, step), so results
// do not depend on E, on threads or on what other environments do.
#ifndef HWM_PLASTIC_ROLLOUT_H
#define HWM_PLASTIC_ROLLOUT_H

#include "base/arena.h"
#include "env/env.h"
#include "plastic/controller.h"

typedef enum hwm_explore {
    HWM_EXPLORE_NONE,   // u = sign(a), argmax, or a
    HWM_EXPLORE_NOISE,  // p(+1) = (1 + a (1 - eps)) / 2; one of A: p_k = (1 - eps) w_k / sum w +
                        // eps / A, w = HWM_CHOICE_FLOOR + a; clip(a + std n). Beside an agent that
                        // changes the weights: sign(a) instead of a, the largest instead of a draw
} hwm_explore;

// What acts beside, or instead of, the controller and its rule: an agent with a state of its own in
// every environment. Called with the whole rollout, for all environments that are not idle.
struct hwm_rollout;
typedef struct hwm_rollout_agent {
    void* self;
    void (*begin)(void* self, const struct hwm_rollout* r, int i);  // an episode of environment i
    // activations and the controller's action stand: look, decide, replace the action
    void (*think)(void* self, struct hwm_rollout* r);
    // instead of the rule, where r->learning is 1; NULL: the rule
    void (*learn)(void* self, struct hwm_rollout* r);
    // what it decided, for the columns "u" and "view" of chunks; NULL: no such columns
    const float *u, *view;  // (E,K), (E,V)
    int n_u, n_view;
} hwm_rollout_agent;

typedef struct hwm_rollout_config {
    hwm_explore explore;
    double std;          // continuous: of the noise
    double correlation;  // continuous: n_t = c n_{t-1} + sqrt(1 - c^2) n
    double eps;          // discrete
    int threads;
    int64_t burn_in_steps;  // zero actions (and no plastic step) at an episode's start
    int64_t freeze_at;      // no plastic step from this step of an episode on; -1: never
    bool naive;             // new episodes follow the naive rule (rule.naive)
    int64_t reset_at;       // fresh weights at this step of an episode; -1: never
} hwm_rollout_config;
hwm_rollout_config hwm_rollout_default_config(void);

// Arrays are public to read; rows (E, ...) unless said otherwise.
typedef struct hwm_rollout {
    const hwm_controller* controller;  // borrowed
    hwm_rollout_config config;
    const hwm_env_spec* spec;        // borrowed from envs
    const hwm_rollout_agent* agent;  // NULL: the controller and its rule alone; borrowed
    hwm_envs* envs;
    uint64_t seed;
    uint32_t first_env;
    int E;

    // the current row of every environment
    float* obs;              // (E,O)
    float* reward;           // (E) that arrived with obs
    uint8_t* flags;          // (E) HWM_FLAG_*
    float* action;           // (E,A) after think; 0 in a row with is_last
    hwm_real* act;           // lanes (activations), after think
    hwm_real* state;         // lanes (state), before the plastic step of this row
    uint32_t* episode;       // (E) number
    uint32_t* step;          // (E) of the episode
    double* episode_return;  // (E) of the rewards so far, that of this row included
    uint8_t* idle;  // (E) set by the caller: this environment is finished, keep it where it is

    // environments that finish their episode with older parameters: theirs, NULL: the newest
    const hwm_real **held_coef, **held_delta;  // (E) borrowed
    int n_held;

    // of the row before
    float *old_obs, *old_action, *old_reward;
    float* noise;  // (E,A) correlated noise
    // scratch
    uint8_t *stepping, *terminated, *truncated;
    float *learning, *frozen, *first;
    float* mean_reward;  // (E) per simulator step: what controllers read
    hwm_real *lane_obs, *lane_old_obs, *lane_old_action, *lane_reward, *lane_first, *lane_action,
        *lane_learning, *lane_frozen, *lane_turn;
    hwm_real* held_act;  // one block of activations
    int64_t env_steps;   // simulator steps so far, repeats counted
    hwm_arena* arena;
} hwm_rollout;

// Environments first_env .. first_env + E - 1, idle until hwm_rollout_begin.
hwm_status hwm_rollout_create(hwm_rollout** out, const hwm_env_config* env,
                              const hwm_controller* controller, const hwm_rollout_config* config,
                              uint64_t seed, uint32_t first_env, int E, hwm_error* err);
void hwm_rollout_destroy(hwm_rollout** rollout);
// Begin an episode: first observation and fresh state. coef as prepared.
void hwm_rollout_begin(hwm_rollout* r, const hwm_real* coef, int i, uint32_t episode);
// Newer parameters are about to be given: environments in mid-episode go on with coef (borrowed
// until hwm_rollout_follows says no), their next episodes follow what think and step are given
// then.
void hwm_rollout_hold(hwm_rollout* r, const hwm_real* coef, const hwm_real* delta_scale);
bool hwm_rollout_follows(const hwm_rollout* r, const hwm_real* coef);
// coef, delta_scale (O; NULL without input d): of the parameters that act now.
void hwm_rollout_think(hwm_rollout* r, const hwm_real* coef, const hwm_real* delta_scale);
void hwm_rollout_step(hwm_rollout* r, const hwm_real* coef);

#endif
