// data path  [8] learner: world model
//
// Recurrent state-space model of DreamerV3: a deterministic recurrent state and categorical
// variables.
//
//   x0, x1, x2 = L(deter), L(stoch), L(a)                      L = silu(norm(linear)), a = action /
//   max(1, |action|) h      = silu(norm(BlockLinear(deter_g ; x0 ; x1 ; x2)))   per block g deter'
//   = gru(BlockLinear(h), deter) prior: deter' -> 2 layers -> logits        posterior: [deter' ;
//   tokens] -> 1 layer -> logits stoch: one-hot draws, straight-through, 1 % uniform mix    feat =
//   [deter ; stoch] tokens = encoder(symlog(o)); decoder(feat) ~ symlog(o); reward: two-hot;
//   continue: Bernoulli
//
// Source: Hafner et al. 2023, arXiv:2301.04104 (constants of the later public agent).
#ifndef HWM_MODEL_RSSM_H
#define HWM_MODEL_RSSM_H

#include "model/net.h"
#include "nn/dist.h"

typedef struct hwm_rssm_sizes {
    const char* name;
    int deter, hidden, classes, units, variables, blocks;  // D, H, C, U, S, G
    int batch, length;                                     // sequences and steps of one update
} hwm_rssm_sizes;
// In the order of the configuration key: nano, size1m, size12m, size25m, size50m
const hwm_rssm_sizes* hwm_rssm_preset(int preset);
int hwm_rssm_presets(void);

typedef struct hwm_rssm_options {
    double unimix;                           // share of the uniform distribution
    double free_nats;                        // per step, on the sum over variables
    double dynamics_scale, posterior_scale;  // of the two KL terms
    double obs_weight, reward_weight, continue_weight;
} hwm_rssm_options;
hwm_rssm_options hwm_rssm_default_options(void);  // 0.01, 1, 1, 0.1, 1, 1, 1

// For central differences: a sampled one-hot has no derivative. While `keep`, imagined draws y and
// their probabilities p are remembered in order; afterwards a draw is y + (p' - p), the function
// that straight-through gradients are the exact gradients of.
typedef struct hwm_rssm_hold {
    hwm_real *y, *p;
    size_t used, count;
    bool keep;
} hwm_rssm_hold;

typedef struct hwm_rssm {
    hwm_rssm_sizes size;
    hwm_rssm_options options;
    int obs, action;  // O, A
    hwm_head encoder, decoder, reward, cont, prior, posterior;
    hwm_layer in_deter, in_stoch, in_action, hidden;
    int gates_w, gates_b;
    hwm_real bins[NN_BINS];
    hwm_rssm_hold* hold;  // NULL: none
} hwm_rssm;

void hwm_rssm_declare(hwm_rssm* r, hwm_param_list* list, const hwm_rssm_sizes* sizes,
                      const hwm_rssm_options* options, int obs, int action);
void hwm_rssm_init(const hwm_rssm* r, nn_params* params, hwm_rng* rng);

// The parameters as values of one tape; frozen: constants.
typedef struct hwm_rssm_vars {
    const hwm_rssm* r;
    hwm_head_vars encoder, decoder, reward, cont, prior, posterior;
    hwm_layer_vars in_deter, in_stoch, in_action, hidden;
    nn_var gates_w, gates_b;
} hwm_rssm_vars;
void hwm_rssm_bind(const hwm_rssm* r, nn_tape* tape, nn_params* params, bool frozen,
                   hwm_rssm_vars* v);

hwm_rssm_vars hwm_rssm_twin(const hwm_rssm_vars* v, hwm_twin to);
void hwm_rssm_prepare(const hwm_rssm_vars* v, hwm_precision precision, nn_tape* tape);

typedef struct hwm_rssm_state {
    nn_var deter;  // (N,D)
    nn_var stoch;  // (N,S*C) one-hot
} hwm_rssm_state;
// Zero state of N rows.
hwm_rssm_state hwm_rssm_zero(const hwm_rssm* r, nn_tape* tape, int N);
nn_var hwm_rssm_features(nn_tape* tape, hwm_rssm_state s);                // (N,D+S*C)
nn_var hwm_rssm_encode(const hwm_rssm_vars* v, nn_tape* tape, nn_var o);  // o (N,O) -> (N,U)
// deter' (N,D) from the state and the action (N,A) taken in it
nn_var hwm_rssm_recur(const hwm_rssm_vars* v, nn_tape* tape, hwm_rssm_state s, nn_var action);
// Class probabilities (N,S*C)
nn_var hwm_rssm_prior(const hwm_rssm_vars* v, nn_tape* tape, nn_var deter);
nn_var hwm_rssm_posterior(const hwm_rssm_vars* v, nn_tape* tape, nn_var deter, nn_var tokens);
// One imagined step: recur, then a draw from the prior with the uniform numbers draws (N*S).
hwm_rssm_state hwm_rssm_imagine(const hwm_rssm_vars* v, nn_tape* tape, hwm_rssm_state s,
                                nn_var action, const hwm_real* draws);

// A batch in the order of time: row t*N + n.
typedef struct hwm_rssm_batch {
    int N, T;
    hwm_real* obs;     // (T,N,O)
    hwm_real* action;  // (T,N,A) the action taken BEFORE the observation of the same row
    hwm_real* reward;  // (T,N) that arrived with it
    hwm_real* keep;    // (T,N) 0 at the first row of an episode: state and action start from zero
    hwm_real* cont;    // (T,N) target of the continue head
    hwm_real* weight;  // (T,N) of the losses; 0 for padding. NULL: all 1
    hwm_real* cont_weight;  // (T,N) of the continue loss; NULL: weight
    hwm_real* draws;        // (T,N,S) uniform numbers for the posterior draws
    hwm_real* deter;        // (N,D) and (N,S*C) state before the first row; NULL: zero
    hwm_real* stoch;
} hwm_rssm_batch;

typedef struct hwm_rssm_unrolled {
    nn_var deter, stoch;  // (T*N, D), (T*N, S*C): after each row's observation
    nn_var posterior;     // (T*N, S*C) probabilities
} hwm_rssm_unrolled;
hwm_rssm_unrolled hwm_rssm_unroll(const hwm_rssm_vars* v, nn_tape* tape, const hwm_rssm_batch* b);

typedef struct hwm_rssm_losses {
    double total, obs, reward, cont, kl;  // kl: of posterior and prior, before free nats
} hwm_rssm_losses;
// The world model's loss of an unrolled batch, seeded, so that nn_tape_backward follows. share: of
// this batch in the mean over a whole one that it is a part of (1: it is whole); losses are its
// own.
void hwm_rssm_loss(const hwm_rssm_vars* v, nn_tape* tape, const hwm_rssm_batch* b,
                   const hwm_rssm_unrolled* u, double share, hwm_rssm_losses* losses);

// Multiply-adds of one row, forward: the recurrent step with its prior; posterior, encoder and
// heads.
double hwm_rssm_step_macs(const hwm_rssm* r);
double hwm_rssm_observe_macs(const hwm_rssm* r);

#endif
