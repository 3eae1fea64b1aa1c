// data path  [2] controller
//
// Environments and their batched controller in lock step.
#include "plastic/rollout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

hwm_rollout_config hwm_rollout_default_config(void) {
    return (hwm_rollout_config){.explore = HWM_EXPLORE_NONE,
                                .std = 0.3,
                                .eps = 0.02,
                                .threads = 1,
                                .freeze_at = -1,
                                .reset_at = -1};
}

// One array of the rollout from its arena; a failure sticks.
static void* take(hwm_rollout* r, size_t n, size_t bytes, bool* failed) {
    void* p = hwm_arena_alloc(r->arena, n * bytes + 64);
    *failed |= p == NULL;
    return p;
}

static hwm_status allocate(hwm_rollout* r, hwm_error* err) {
    const hwm_controller* c = r->controller;
    const size_t E = (size_t)r->E, O = (size_t)r->spec->obs_dim, A = (size_t)r->spec->action_dim;
    const size_t F = sizeof(float), R = sizeof(hwm_real);
    const size_t act = hwm_lanes_size(r->E, hwm_controller_activations(c));
    const size_t state = hwm_lanes_size(r->E, hwm_controller_state_size(c));
    const size_t lane_o = hwm_lanes_size(r->E, (int)O), lane_a = hwm_lanes_size(r->E, (int)A);
    const size_t lane = hwm_lanes_size(r->E, 1);
    size_t bytes = (E * (2 * O + 3 * A + 24) * 8 +
                    (2 * act + state + 2 * lane_o + 2 * lane_a + 6 * lane) * R) +
                   (64 << 10);
    bool failed = false;
    if (hwm_arena_create(&r->arena, bytes) != HWM_OK) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for %d environments", r->E);
    }
    r->obs = take(r, E * O, F, &failed);
    r->old_obs = take(r, E * O, F, &failed);
    r->reward = take(r, E, F, &failed);
    r->action = take(r, E * A, F, &failed);
    r->old_action = take(r, E * A, F, &failed);
    r->noise = take(r, E * A, F, &failed);
    r->learning = take(r, E, F, &failed);
    r->frozen = take(r, E, F, &failed);
    r->mean_reward = take(r, E, F, &failed);
    r->first = take(r, E, F, &failed);
    r->flags = take(r, E, 1, &failed);
    r->idle = take(r, E, 1, &failed);
    r->stepping = take(r, E, 1, &failed);
    r->terminated = take(r, E, 1, &failed);
    r->truncated = take(r, E, 1, &failed);
    r->episode = take(r, E, sizeof *r->episode, &failed);
    r->step = take(r, E, sizeof *r->step, &failed);
    r->episode_return = take(r, E, sizeof *r->episode_return, &failed);
    r->act = take(r, act, R, &failed);
    r->state = take(r, state, R, &failed);
    r->lane_obs = take(r, lane_o, R, &failed);
    r->lane_old_obs = take(r, lane_o, R, &failed);
    r->lane_action = take(r, lane_a, R, &failed);
    r->lane_old_action = take(r, lane_a, R, &failed);
    r->lane_reward = take(r, lane, R, &failed);
    r->lane_first = take(r, lane, R, &failed);
    r->lane_learning = take(r, lane, R, &failed);
    r->lane_frozen = take(r, lane, R, &failed);
    r->lane_turn = take(r, HWM_LANES, R, &failed);
    r->held_act = take(r, (size_t)hwm_controller_activations(c) * HWM_LANES, R, &failed);
    r->held_coef = take(r, E, sizeof *r->held_coef, &failed);
    r->held_delta = take(r, E, sizeof *r->held_delta, &failed);
    return failed ? hwm_fail(err, HWM_ENOMEM, "no memory for %d environments", r->E) : HWM_OK;
}

hwm_status hwm_rollout_create(hwm_rollout** out, const hwm_env_config* env,
                              const hwm_controller* controller, const hwm_rollout_config* config,
                              uint64_t seed, uint32_t first_env, int E, hwm_error* err) {
    *out = NULL;
    hwm_rollout* r = calloc(1, sizeof *r);
    if (!r) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for %d environments", E);
    }
    r->controller = controller;
    r->config = *config;
    r->seed = seed;
    r->first_env = first_env;
    r->E = E;
    hwm_status s = hwm_envs_create(&r->envs, env, seed, first_env, E, config->threads, err);
    if (s) {
        goto fail;
    }
    r->spec = hwm_envs_spec(r->envs);
    HWM_ASSERT(r->spec->action_dim == hwm_controller_outputs(controller));
    s = allocate(r, err);
    if (s) {
        goto fail;
    }
    memset(r->idle, 1, (size_t)E);
    *out = r;
    return HWM_OK;
fail:
    hwm_rollout_destroy(&r);
    return s;
}

void hwm_rollout_destroy(hwm_rollout** rollout) {
    if (*rollout) {
        hwm_envs_destroy(&(*rollout)->envs);
        hwm_arena_destroy(&(*rollout)->arena);
        free(*rollout);
        *rollout = NULL;
    }
}

// At an episode's start, or, renew, in its middle.
static void fresh_weights(hwm_rollout* r, const hwm_real* coef, int i, bool renew) {
    hwm_rng rng;
    hwm_rng_init(&rng, r->seed, HWM_PURPOSE_WEIGHTS, r->first_env + (uint32_t)i, r->episode[i],
                 r->step[i]);
    (renew ? hwm_controller_renew : hwm_controller_reset)(r->controller, coef, &rng, r->state, i);
    if (r->config.naive) {
        hwm_controller_naive(r->controller, &rng, r->state, i);
    }
}

// Flag of a row without plastic step; which is known before the row acts.
static uint8_t still(const hwm_rollout* r, int i) {
    bool frozen = r->config.freeze_at >= 0 && r->step[i] >= r->config.freeze_at;
    return frozen || r->step[i] < r->config.burn_in_steps ? HWM_FLAG_STILL : 0;
}

void hwm_rollout_begin(hwm_rollout* r, const hwm_real* coef, int i, uint32_t episode) {
    const size_t O = (size_t)r->spec->obs_dim, A = (size_t)r->spec->action_dim, k = (size_t)i;
    r->idle[i] = 0;
    r->n_held -= r->held_coef[i] != NULL;
    r->held_coef[i] = NULL;
    r->episode[i] = episode;
    r->step[i] = 0;
    r->flags[i] = HWM_FLAG_FIRST | still(r, i);
    r->reward[i] = 0;
    r->episode_return[i] = 0;
    memset(r->noise + k * A, 0, A * sizeof *r->noise);
    memset(r->old_action + k * A, 0, A * sizeof *r->old_action);
    hwm_envs_reset(r->envs, i, episode, r->obs + k * O);
    memcpy(r->old_obs + k * O, r->obs + k * O, O * sizeof *r->obs);
    fresh_weights(r, coef, i, false);
    if (r->agent) {
        r->agent->begin(r->agent->self, r, i);
    }
}

static int largest(const float* x, int n) {
    int best = 0;
    for (int k = 1; k < n; k++) {
        best = x[k] > x[best] ? k : best;
    }
    return best;
}

// The action of environment i from the controller's output a (A), into u (A).
static void choose(hwm_rollout* r, int i, const float* a, float* u) {
    const int A = r->spec->action_dim;
    const bool explore = r->config.explore == HWM_EXPLORE_NOISE;
    // an agent that changes the weights explores with them: what they choose is done
    const bool sharp = r->agent && r->agent->learn;
    hwm_rng rng;
    if (explore) {
        hwm_rng_init(&rng, r->seed, HWM_PURPOSE_EXPLORATION, r->first_env + (uint32_t)i,
                     r->episode[i], r->step[i]);
    }
    if (r->spec->discrete && A == 1) {
        float wanted = !sharp ? a[0] : a[0] >= 0 ? 1.0f : -1.0f;
        float p = 0.5f * (1.0f + wanted * (1.0f - (float)r->config.eps));
        bool plus = explore ? hwm_rng_uniform(&rng) < p : a[0] >= 0;
        u[0] = plus ? 1.0f : -1.0f;
    } else if (r->spec->discrete) {
        bool any = explore && hwm_rng_uniform(&rng) < (float)r->config.eps;
        int k = any                 ? (int)hwm_rng_below(&rng, (uint32_t)A)
                : explore && !sharp ? hwm_controller_choose(a, A, hwm_rng_uniform(&rng))
                                    : largest(a, A);
        memset(u, 0, (size_t)A * sizeof *u);
        u[k] = 1.0f;
    } else {
        const float c = (float)r->config.correlation, fresh = sqrtf(1.0f - c * c);
        float* noise = r->noise + (size_t)i * (size_t)A;
        for (int k = 0; k < A; k++) {
            float x = a[k];
            if (explore) {
                noise[k] = c * noise[k] + fresh * hwm_rng_normal(&rng);
                x += (float)r->config.std * noise[k];
            }
            u[k] = x > 1.0f ? 1.0f : x < -1.0f ? -1.0f : x;
        }
    }
}

void hwm_rollout_hold(hwm_rollout* r, const hwm_real* coef, const hwm_real* delta_scale) {
    for (int i = 0; i < r->E; i++) {
        if (!r->idle[i] && !r->held_coef[i]) {
            r->held_coef[i] = coef;
            r->held_delta[i] = delta_scale;
            r->n_held++;
        }
    }
}

bool hwm_rollout_follows(const hwm_rollout* r, const hwm_real* coef) {
    for (int i = 0; r->n_held > 0 && i < r->E; i++) {
        if (r->held_coef[i] == coef) {
            return true;
        }
    }
    return false;
}

// The first environment of i's block that follows what i does, so that each is handled once.
static bool leads(const hwm_rollout* r, int i) {
    bool first = r->held_coef[i] != NULL;
    for (int k = i - i % HWM_LANES; k < i; k++) {
        first &= r->held_coef[k] != r->held_coef[i];
    }
    return first;
}

// Activations of the environments of one block that follow older parameters, as i does.
static void think_as(hwm_rollout* r, int i) {
    const hwm_controller* c = r->controller;
    const int O = r->spec->obs_dim, A = r->spec->action_dim, n = hwm_controller_activations(c);
    const size_t b = (size_t)(i / HWM_LANES) * HWM_LANES;
    hwm_controller_input(c, 1, r->lane_obs + b * (size_t)O, r->lane_old_obs + b * (size_t)O,
                         r->held_delta[i], r->lane_old_action + b * (size_t)A, r->lane_reward + b,
                         r->lane_first + b, r->held_act);
    hwm_controller_act(c, r->held_coef[i], 1, r->state + b * (size_t)hwm_controller_state_size(c),
                       r->held_act);
    for (int k = (int)b; k < r->E && k < (int)b + HWM_LANES; k++) {
        for (int f = 0; r->held_coef[k] == r->held_coef[i] && f < n; f++) {
            const size_t at = (size_t)f * HWM_LANES + (size_t)k - b;
            r->act[b * (size_t)n + at] = r->held_act[at];
        }
    }
}

// The plastic step of those environments.
static void learn_as(hwm_rollout* r, int i) {
    const hwm_controller* c = r->controller;
    const size_t b = (size_t)(i / HWM_LANES) * HWM_LANES;
    for (int k = 0; k < HWM_LANES; k++) {
        const int e = (int)b + k;
        const bool same = e < r->E && r->held_coef[e] == r->held_coef[i];
        r->lane_turn[k] = same ? (hwm_real)r->learning[e] : 0;
    }
    hwm_controller_learn(c, r->held_coef[i], 1, r->act + b * (size_t)hwm_controller_activations(c),
                         r->lane_action + b * (size_t)r->spec->action_dim, r->lane_turn,
                         r->state + b * (size_t)hwm_controller_state_size(c), NULL);
}

void hwm_rollout_think(hwm_rollout* r, const hwm_real* coef, const hwm_real* delta_scale) {
    const int O = r->spec->obs_dim, A = r->spec->action_dim,
              n = hwm_controller_activations(r->controller);
    for (int i = 0; i < r->E; i++) {
        r->first[i] = r->flags[i] & HWM_FLAG_FIRST ? 1.0f : 0.0f;
        r->mean_reward[i] = r->reward[i] / (float)r->spec->action_repeat;
    }
    hwm_lanes_pack_float(r->lane_obs, r->obs, r->E, O);
    hwm_lanes_pack_float(r->lane_old_obs, r->old_obs, r->E, O);
    hwm_lanes_pack_float(r->lane_old_action, r->old_action, r->E, A);
    hwm_lanes_pack_float(r->lane_reward, r->mean_reward, r->E, 1);
    hwm_lanes_pack_float(r->lane_first, r->first, r->E, 1);
    hwm_controller_input(r->controller, r->E, r->lane_obs, r->lane_old_obs, delta_scale,
                         r->lane_old_action, r->lane_reward, r->lane_first, r->act);
    hwm_controller_act(r->controller, coef, r->E, r->state, r->act);
    for (int i = 0; r->n_held > 0 && i < r->E; i++) {
        if (leads(r, i)) {
            think_as(r, i);
        }
    }
    for (int i = 0; i < r->E; i++) {
        float* u = r->action + (size_t)i * (size_t)A;
        if ((r->flags[i] & HWM_FLAG_LAST) || r->idle[i] || r->step[i] < r->config.burn_in_steps) {
            memset(u, 0, (size_t)A * sizeof *u);
            continue;
        }
        // the outputs are the last A activations
        float a[64] = {0};
        const hwm_real* block = r->act + (size_t)(i / HWM_LANES) * (size_t)n * HWM_LANES;
        for (int k = 0; k < A; k++) {
            a[k] = (float)block[(size_t)(n - A + k) * HWM_LANES + (size_t)(i % HWM_LANES)];
        }
        choose(r, i, a, u);
    }
    if (r->agent) {
        r->agent->think(r->agent->self, r);
    }
}

void hwm_rollout_step(hwm_rollout* r, const hwm_real* coef) {
    const int O = r->spec->obs_dim, A = r->spec->action_dim;
    bool any_frozen = false;
    for (int i = 0; i < r->E; i++) {
        r->stepping[i] = !r->idle[i] && !(r->flags[i] & HWM_FLAG_LAST);
        bool held = r->flags[i] & HWM_FLAG_STILL;
        r->learning[i] = r->stepping[i] && !held ? 1.0f : 0.0f;
        r->frozen[i] =
            r->stepping[i] && held && r->step[i] >= r->config.burn_in_steps ? 1.0f : 0.0f;
        any_frozen |= r->frozen[i] != 0;
    }
    hwm_lanes_pack_float(r->lane_action, r->action, r->E, A);
    for (int i = 0; r->n_held > 0 && i < r->E; i++) {
        if (leads(r, i)) {
            learn_as(r, i);
        }
    }
    for (int i = 0; r->n_held > 0 && i < r->E; i++) {
        r->learning[i] = r->held_coef[i] ? 0 : r->learning[i];
    }
    if (r->agent && r->agent->learn) {
        r->agent->learn(r->agent->self, r);
        memset(r->learning, 0, (size_t)r->E * sizeof *r->learning);
    }
    hwm_lanes_pack_float(r->lane_learning, r->learning, r->E, 1);
    hwm_controller_learn(r->controller, coef, r->E, r->act, r->lane_action, r->lane_learning,
                         r->state, NULL);
    if (any_frozen) {
        hwm_lanes_pack_float(r->lane_frozen, r->frozen, r->E, 1);
        hwm_controller_go_on(r->controller, r->E, r->act, r->lane_frozen, r->state);
    }

    memcpy(r->old_obs, r->obs, (size_t)r->E * (size_t)O * sizeof *r->obs);
    memcpy(r->old_action, r->action, (size_t)r->E * (size_t)A * sizeof *r->action);
    hwm_envs_step(r->envs, r->stepping, r->action, r->obs, r->reward, r->terminated, r->truncated);
    for (int i = 0; i < r->E; i++) {
        if (r->stepping[i]) {
            r->env_steps += r->spec->action_repeat;
            r->step[i]++;
            r->episode_return[i] += (double)r->reward[i];
            r->flags[i] = (uint8_t)((r->terminated[i] ? HWM_FLAG_LAST | HWM_FLAG_TERMINAL : 0) |
                                    (r->truncated[i] ? HWM_FLAG_LAST : 0) | still(r, i));
            if (r->config.reset_at >= 0 && r->step[i] == r->config.reset_at) {
                fresh_weights(r, r->held_coef[i] ? r->held_coef[i] : coef, i, true);
            }
        } else if (!r->idle[i]) {
            hwm_rollout_begin(r, coef, i, r->episode[i] + 1);
        }
    }
}
