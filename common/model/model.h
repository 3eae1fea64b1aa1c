// data path  [8] learner: world model
//
// World model: what the environment will do, learned from replay. One interface for every kind, so
// that imagination does not know which one it runs in:
//
//   update    a batch of sequences -> losses, one optimiser step of the model's own parameters
//   start     the latents z (B,Z) of the last rows of some sequences
//   step      z' , reward, continue = f(z, u), on a tape: gradients reach z and u, never the
//   parameters observe   o (B,O) that a controller reads from z features  what a critic reads from
//   z
//
// UNITS  Observations in units of their fixed scale. Predicted observations and rewards are kept in
// the range seen in replay
//   (hwm_model_refresh), so that imagined returns cannot grow without limit.
// Threads: one owner.
#ifndef HWM_MODEL_MODEL_H
#define HWM_MODEL_MODEL_H

#include "base/rng.h"
#include "model/model_config.h"
#include "model/sequences.h"
#include "nn/optim.h"
#include "nn/params.h"

typedef struct hwm_model hwm_model;

typedef struct hwm_model_dims {
    int obs, action;
    int rollouts;                      // largest B of start and step
    int horizon;                       // largest number of steps on one tape
    const struct hwm_env_config* env;  // kind environment only; borrowed during create
    // continue as a known function of what is observed: sigmoid(slope * o[continue_obs]), o in
    // units of its scale; slope 0: it is learned
    int continue_obs;
    hwm_real continue_slope;
} hwm_model_dims;

// What the replay looks like: of all rows sampled so far.
typedef struct hwm_replay_statistics {
    hwm_real* obs_min;    // (O)
    hwm_real* obs_max;    // (O)
    hwm_real* delta_std;  // (O) of o' - o
    hwm_real reward_min, reward_max;
    hwm_real *obs_mean, *obs_std;  // (O), or NULL: not known
} hwm_replay_statistics;

typedef struct hwm_model_losses {
    double total, obs, reward, cont;
    double kl;  // rssm; 0 elsewhere
    double gradient_norm;
    double flops;
} hwm_model_losses;

// Parameters are initialised from (seed, HWM_PURPOSE_PARAMETERS).
hwm_status hwm_model_create(hwm_model** out, const hwm_model_config* config,
                            const hwm_model_dims* dims, uint64_t seed, hwm_error* err);
void hwm_model_destroy(hwm_model** model);

// What update wants: how many sequences, how many rows and context transitions of each.
int hwm_model_batch_sequences(const hwm_model* model);
int hwm_model_batch_length(const hwm_model* model);
int hwm_model_context(const hwm_model* model);
// What start wants: rows that lead up to a start (1: the row itself is enough).
int hwm_model_start_length(const hwm_model* model);
// true: what happened before a start must be known (a memory that cannot know the hidden variable
// at an episode's first row), so no rollout begins there; fresh weights go to later rows instead.
bool hwm_model_start_knows(const hwm_model* model);
// true: start begins episodes of the model's own and does not look at the rows it is given.
bool hwm_model_own_starts(const hwm_model* model);

nn_params* hwm_model_params(hwm_model* model);
nn_optim* hwm_model_optim(hwm_model* model);

// Scales and ranges from the replay; the last layer is rescaled so that the function stays.
// margin: the range of observations is widened by this share of itself on either side.
void hwm_model_refresh(hwm_model* model, const hwm_replay_statistics* statistics, double margin);

// Gradient of the losses on `batch` into hwm_model_params()->grad (which is zeroed first);
// losses->gradient_norm is left.
void hwm_model_gradient(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                        hwm_model_losses* losses);
// hwm_model_gradient, then one optimiser step. HWM_ENUMERIC: not finite, skipped.
hwm_status hwm_model_update(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                            hwm_model_losses* losses, hwm_error* err);

// What is remembered of replayed rows between updates, beside the parameters, is forgotten: where a
// run that was resumed must repeat what one that was not did.
void hwm_model_forget(hwm_model* model);
// Share of the sequences so far that began with what was remembered; NaN: the kind has no cache.
double hwm_model_remembered(const hwm_model* model);

// ---- imagination
int hwm_model_latent(const hwm_model* model);    // Z
int hwm_model_features(const hwm_model* model);  // F
// z (B,Z) of the last valid row of each of the B sequences.
void hwm_model_start(hwm_model* model, const hwm_sequences* starts, hwm_rng* rng, hwm_real* z);
// alive (B) times the continue of the starts z where that is a known function; else as it was.
void hwm_model_weigh_starts(const hwm_model* model, const hwm_real* z, int n, hwm_real* alive);
// What the number of rollouts on one tape must be a multiple of; 0: the model rolls out on one tape
// at a time only. Otherwise several tapes may be begun, one after the other, and then be stepped on
// threads of their own.
int hwm_model_rollout_groups(const hwm_model* model);
// Before the first step on a tape and after each of its resets.
void hwm_model_begin(hwm_model* model, nn_tape* tape);
typedef struct hwm_model_next {
    nn_var z;       // (B,Z)
    nn_var reward;  // (B,1)
    nn_var cont;    // (B,1) probability that the episode goes on
} hwm_model_next;
// One step of B rollouts; t rotates the members of an ensemble.
hwm_model_next hwm_model_step(hwm_model* model, nn_tape* tape, nn_var z, nn_var u, int t,
                              hwm_rng* rng);
nn_var hwm_model_observe(hwm_model* model, nn_tape* tape, nn_var z);
nn_var hwm_model_critic_input(hwm_model* model, nn_tape* tape, nn_var z);
// Range of one reward seen in replay, for the bounds of a critic.
void hwm_model_reward_range(const hwm_model* model, hwm_real* lo, hwm_real* hi);
// Columns of z that stay the same along a rollout (a hidden variable of the episode): from, count;
// 0: none.
int hwm_model_constant(const hwm_model* model, int* from);

#endif
