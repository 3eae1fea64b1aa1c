// data path  [8] learner: latent behaviour
//
// The whole DreamerV3 agent on an RSSM: one update trains the world model on a batch, imagines H
// steps from its posteriors, and trains policy and value on what was imagined.
//
//   R_t = r_{t+1} + c_{t+1} ((1-lambda) V_{t+1} + lambda R_{t+1}),  R_H = V_H;   w_t = c_0 c_1 ...
//   c_t scale = max(1, EMA[P95(R)] - EMA[P5(R)]);   adv = (R - V) / scale policy = mean w (-log
//   pi(a) sg(adv) - entropy_scale * entropy) value  = mean w (CE(twohot(R)) + CE(twohot(slow V)))
//   replay value: the same return on replayed rewards, bootstrapped with the imagined R_0; reaches
//   the world model
#ifndef HWM_MODEL_DREAMER_H
#define HWM_MODEL_DREAMER_H

#include "model/rssm.h"
#include "nn/optim.h"

typedef struct hwm_dreamer_config {
    hwm_rssm_sizes sizes;
    hwm_rssm_options options;
    int obs, action;
    bool discrete;     // actions +-1 from Bernoulli variables instead of bounded normals
    int horizon;       // H
    int imagine_last;  // imagine from the last so many rows of each sequence; 0: from all
    // sequences and imagined rows that one thread works on at a time (dreamer_lanes.h); 0: by the
    // sizes. Results depend on it in their rounding
    int lane_sequences, lane_rows;
    // of matrix products, forward and backward; sums, weights, gradients, losses and the optimiser
    // are float32
    hwm_precision precision;
    double lambda, entropy_scale, replay_value_scale, slow_rate, return_rate;
    double lr, behaviour_lr;  // of the world model; of policy and value
    int64_t warmup_updates;   // both rise from 0
    // columns of the observation from which alone a second head predicts the reward (the view of a
    // plastic controller's weights); view_reward: its share of the imagined reward. view 0: no head
    int view_from, view;
    double view_reward;
} hwm_dreamer_config;
hwm_dreamer_config hwm_dreamer_default(int preset, int obs, int action);

typedef struct hwm_dreamer_losses {
    hwm_rssm_losses model;
    double policy, value, replay_value, entropy, imagined_return, return_scale;
    double view;                        // of the reward's head on the view
    double model_norm, behaviour_norm;  // of the gradients
} hwm_dreamer_losses;

typedef struct hwm_dreamer hwm_dreamer;
hwm_status hwm_dreamer_create(hwm_dreamer** out, const hwm_dreamer_config* config, uint64_t seed);
void hwm_dreamer_destroy(hwm_dreamer** dreamer);
nn_params* hwm_dreamer_model(hwm_dreamer* d);      // world model
nn_params* hwm_dreamer_behaviour(hwm_dreamer* d);  // policy and value
const hwm_rssm* hwm_dreamer_rssm(const hwm_dreamer* d);

// Gradients of all losses of a batch (sizes of the config; draws filled by the caller) into both
// parameter sets' grad. rng: draws of imagination. last (T,N): 1 at the last row of an episode.
void hwm_dreamer_gradient(hwm_dreamer* d, const hwm_rssm_batch* batch, const hwm_real* last,
                          hwm_rng* rng, hwm_dreamer_losses* losses);
// The same, then one optimiser step of both sets and of the slow value.
hwm_status hwm_dreamer_update(hwm_dreamer* d, const hwm_rssm_batch* batch, const hwm_real* last,
                              hwm_rng* rng, hwm_dreamer_losses* losses, hwm_error* err);
// The same without a step of the behaviour: warm-up of the world model.
hwm_status hwm_dreamer_update_model(hwm_dreamer* d, const hwm_rssm_batch* batch,
                                    const hwm_real* last, hwm_rng* rng, hwm_dreamer_losses* losses,
                                    hwm_error* err);
// Posterior of row t of sequence n as the newest update computed it: deter (D), stoch (S*C);
// borrowed until the next update.
void hwm_dreamer_posterior(const hwm_dreamer* d, int t, int n, const hwm_real** deter,
                           const hwm_real** stoch);
// For checkpoints: optimisers, the slow value, and the running range of returns (low, high,
// updates).
typedef struct hwm_dreamer_training {
    nn_optim *model, *behaviour;
    nn_params* slow;
    double* range;  // (3)
} hwm_dreamer_training;
hwm_dreamer_training hwm_dreamer_training_of(hwm_dreamer* d);
// Multiply-adds of one update times two, backward passes included.
double hwm_dreamer_flops(const hwm_dreamer* d);
size_t hwm_dreamer_memory(const hwm_dreamer* d);  // tape bytes in use at most

// R (H,N) from r (H+1,N), c (H+1,N), V (H+1,N); V_H bootstraps
void hwm_lambda_returns(hwm_real* R, const hwm_real* r, const hwm_real* c, const hwm_real* V, int H,
                        int N, double lambda);

#endif
