// data path  [8] learner: explicit imagination
//
// The controller and its plasticity are carried through rollouts of the world model, and the rule
// gets its gradient by going backwards through model, controller and rule:
//
//   repeat H times    o = observe(z)    x_0 = input(o, d, u_prev)   a = act(W, x_0)   u =
//   explore(a)
//                     W <- bound(W + dW(rule))      z', r, c = model(z, u)     (dW may read M(z))
//   R_t = (1 - gamma) r_t + gamma c_t ((1 - lambda) V(z_{t+1}) + lambda R_{t+1}),   R_H = V(z_H)
//   actor loss = - s mean_{t,b} w_t R_t - s e mean w_t H((1 + a)/2) + p mean relu(|atanh a| - 1.5)
//       w_t = prod of gamma c before t, without gradient    s = 0.1 / (1 - gamma)    e entropy
//       weight    p saturation weight
//
// With imagination.gradient = reinforce nothing flows through the model: what was drawn is data,
// and
//   actor loss = - s mean w_t (R_t - V(z_t)) log p(u_t | a_t) - ...
// With imagination.normalise = percentile, s is 1 over the range of returns (5th to 95th
// percentile, running mean, at least one raw reward).
//
// V is clamped to the range of the reward, o and r inside the model. Exploration: continuous u =
// clip(a + std n); sign u = +-1 with p(+1) = (1 + a (1 - eps))/2, gradient passed straight through;
// one of A: u one-hot with p_k of worker.explore_eps, the gradient that of its expectation.
// Invertible rules store no weights: the backward sweep recovers them from activations and bound
// scales.
#ifndef HWM_LEARNER_IMAGINATION_H
#define HWM_LEARNER_IMAGINATION_H

#include "critic.h"
#include "experiment/train_config.h"
#include "model/model.h"
#include "plastic/controller.h"

typedef struct hwm_imagination_setup {
    const hwm_controller*
        controller;      // borrowed; created with obs_scale 1: it reads scaled observations
    hwm_model* model;    // borrowed
    hwm_critic* critic;  // borrowed
    hwm_imagination_config config;
    double gamma, lambda;
    double explore_std, explore_eps;
    bool discrete;
    int obs, action;
    uint64_t seed;
} hwm_imagination_setup;

// Where B rollouts begin. state in lanes; everything else rows.
typedef struct hwm_starts {
    hwm_real* z;                // (B,Z)
    hwm_real* state;            // lanes (B, state size)
    hwm_real* previous_obs;     // (B,O)
    hwm_real* previous_action;  // (B,A)
    hwm_real* previous_reward;  // (B)
    hwm_real* first;            // (B) 1: first step of an episode, nothing was before
    hwm_real* alive;            // (B) weight of the rollout: 0 beyond a terminal
    uint8_t* fresh;             // (B) 1: draw a fresh W_0 instead of state
    int* age;                   // (B) imagined decisions so far
    // of new starts, for what the critic learns from replay
    hwm_real* linked;  // (B) 1: the next start is the row after this one
    hwm_real* ended;   // (B) 1: the episode truly ended in this row
} hwm_starts;

typedef struct hwm_imagination_report {
    double actor_loss, imagined_return;  // return: mean weighted R in units of one reward
    double start_return;         // mean R_0 of rollouts at an episode's start; NaN without any
    double entropy, saturation;  // saturation: share of |a| > 0.98
    double weight_abs,
        update_relative;  // mean |W| after the rollout, mean |dW| / |W| of the last step
    double continued;     // share of rollouts that were continued
} hwm_imagination_report;

typedef struct hwm_imagination hwm_imagination;
// Everything a rollout needs is allocated here. Caller owns, free with hwm_imagination_destroy.
hwm_status hwm_imagination_create(hwm_imagination** out, const hwm_imagination_setup* setup,
                                  hwm_error* err);
void hwm_imagination_destroy(hwm_imagination** imagination);

// Room for the starts of the next rollout, to be filled by the caller before
// hwm_imagination_gradient.
hwm_starts* hwm_imagination_starts(hwm_imagination* imagination);
// For a model that begins episodes of its own: every start is an episode's first row.
void hwm_imagination_begin_episodes(hwm_imagination* imagination);
// Replaces starts by the ends of the previous rollouts, as configured.
void hwm_imagination_continue(hwm_imagination* imagination, uint64_t update,
                              hwm_imagination_report* report);
// One rollout of B x H and its gradient. update: index for the random stream.
//   phi, g_phi (count of the controller's list): g_phi is overwritten; NULL: no gradient (loss
//   only)
void hwm_imagination_gradient(hwm_imagination* imagination, const hwm_real* phi, uint64_t update,
                              hwm_real* g_phi, hwm_imagination_report* report);

// What the critic learns from, of the last rollout: features (B*H,F), targets and weights (B*H), in
// rows t*B + b.
hwm_real* hwm_imagination_features(hwm_imagination* imagination);
const hwm_real* hwm_imagination_returns(const hwm_imagination* imagination);
const hwm_real* hwm_imagination_weights(const hwm_imagination* imagination);
// Keep the weights w_t of the last rollout for the following ones: central differences need them
// constant.
void hwm_imagination_hold_weights(hwm_imagination* imagination, bool hold);

// The tape of rollouts, free between two of them: for measurements that roll out as well.
nn_tape* hwm_imagination_tape(hwm_imagination* imagination);

// Pool of continued rollouts and running percentiles, for checkpoints: floats, and copies in and
// out.
size_t hwm_imagination_pool_count(const hwm_imagination* imagination);
void hwm_imagination_pool_save(const hwm_imagination* imagination, float* out);
void hwm_imagination_pool_load(hwm_imagination* imagination, const float* in);

#endif
