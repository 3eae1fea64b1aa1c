// data path  [8] learner: explicit imagination
//
// Inside imagination: one share of the rollouts. Rollouts do not see each other, so a share has a
// tape, a random stream and arrays of its own and may run on any thread; how many shares there are
// follows from sizes alone, so that no result depends on the number of threads.
#ifndef HWM_LEARNER_SHARE_H
#define HWM_LEARNER_SHARE_H

#include "base/arena.h"
#include "imagination.h"

typedef struct step {
    struct share* im;
    int t;
    nn_var o, u;     // (B,O), (B,A)
    nn_var z, cont;  // z (B,Z) before the step; continue of what follows
    nn_var reward;
    hwm_real *obs, *act, *u_lanes, *reward_lanes;  // lanes
    hwm_real* scale;                               // lanes: bound scales
    hwm_real* before;  // lanes: state before, rules that are not invertible
    // (B,A) pathwise: 1 where the gradient of u reaches a; reinforce: d/da of the draw's log
    // probability
    hwm_real* inside;
} step;

// Sums over the rollouts of a share, from which reports are made.
typedef struct share_sums {
    double weight, weighted, entropy, weighted_entropy, saturated, penalty;
    double scored;               // reinforce: weight * advantage * log probability
    double start[2], starts[2];  // R_0 of rollouts at an episode's start, of fresh ones; how many
    double size, change;         // |W| after the rollout, |dW| of its last step
} share_sums;

typedef struct share {
    hwm_imagination_setup set;
    hwm_arena* arena;
    nn_tape* tape;
    hwm_rng rng;
    int number, all;                 // which share; rollouts of all shares
    int B, H, O, A, Z, F, S, NA, P;  // S state size, NA activations, P coefficients
    int constant_from, constant;
    bool reinforce, recording, hold_weights;
    double factor, entropy_factor;  // of -w R and of -w entropy in the loss
    step* steps;                    // (H)
    hwm_starts start, pool;         // its part of all
    const hwm_real *delta_scale, *coef;
    // lanes
    hwm_real *first, *zeros, *previous_obs, *previous_action, *previous_reward;
    hwm_real *state, *g_state, *g_act, *g_u, *g_obs, *g_previous_obs, *g_previous_action,
        *g_previous_reward;
    hwm_real *rows_obs, *rows_action;  // row scratch (B,O), (B,A)
    hwm_real* alive;                   // (B) weight of the rollout as the model sees its start
    hwm_real* g_coef;
    // (H,B)
    hwm_real *returns, *weights, *discount, *value, *advantage;
    hwm_real* features;  // (H*B,F)
    nn_var values;       // (H*B,1), reinforce: and those of the starts
    hwm_real v_lo, v_hi;
    share_sums sums;
} share;

// setup->config.batch counts the rollouts of all shares; this one has B of them.
hwm_status share_create(share** out, const hwm_imagination_setup* setup, int number, int B,
                        hwm_error* err);
void share_destroy(share** s);
// Before the other two, by the owner of the model.
void share_begin(share* s, uint64_t update, bool recording);
// start -> rollout, returns, sums, pool.
void share_forward(share* s);
// -> g_coef
void share_backward(share* s);

static inline size_t lane_at(int sample, int features, int j) {
    return ((size_t)(sample / HWM_LANES) * (size_t)features + (size_t)j) * HWM_LANES +
           (size_t)(sample % HWM_LANES);
}

#endif
