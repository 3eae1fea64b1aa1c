// Inside the model library: what each kind of world model implements.
#ifndef HWM_MODEL_KINDS_H
#define HWM_MODEL_KINDS_H

#include "model/model.h"
#include "model/recall.h"

// Tapes that a model may be begun on at the same time: imagination's shares and a measurement.
enum { HWM_MODEL_TAPES = 4 };
// Which of them; one that was not begun yet takes a free place or, where there is none, the last.
static inline int hwm_model_slot(const nn_tape** begun, const nn_tape* tape) {
    int k = 0;
    while (k < HWM_MODEL_TAPES && begun[k] != tape)
        k++;
    if (k < HWM_MODEL_TAPES)
        return k;
    for (k = 0; k < HWM_MODEL_TAPES - 1 && begun[k];)
        k++;
    return k;
}

typedef struct hwm_model_vtable {
    void (*destroy)(hwm_model* model);
    void (*gradient)(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                     hwm_model_losses* losses);
    void (*refresh)(hwm_model* model, const hwm_replay_statistics* statistics, double margin);
    void (*start)(hwm_model* model, const hwm_sequences* starts, hwm_rng* rng, hwm_real* z);
    void (*begin)(hwm_model* model, nn_tape* tape);
    hwm_model_next (*step)(hwm_model* model, nn_tape* tape, nn_var z, nn_var u, int t,
                           hwm_rng* rng);
    nn_var (*observe)(hwm_model* model, nn_tape* tape, nn_var z);
    nn_var (*features)(hwm_model* model, nn_tape* tape, nn_var z);
} hwm_model_vtable;

// What every kind shares; a kind's struct begins with it.
struct hwm_model {
    const hwm_model_vtable* kind;
    hwm_model_config config;
    hwm_model_dims dims;
    nn_params* params;
    nn_optim* optim;
    nn_tape* tape;  // of the update
    int latent, features;
    int constant_from, constant;  // columns of z that hold a hidden variable of the episode
    hwm_real* reward_range;       // lo, hi: entries of params
    int batch_sequences, batch_length, context, start_length;
    int rollout_groups;  // see hwm_model_rollout_groups
    hwm_recall* recall;  // of the kind's own struct; NULL: it keeps nothing between updates
    bool own_starts;     // see hwm_model_own_starts
    bool start_knows;    // a start needs the rows before it: an episode's first row is none
};

// Each allocates its own struct, declares and initialises parameters (NULL: no memory).
hwm_model* hwm_ensemble_new(const hwm_model_config* config, const hwm_model_dims* dims,
                            hwm_rng* rng);
hwm_status hwm_rssm_new(hwm_model** out, const hwm_model_config* config, const hwm_model_dims* dims,
                        hwm_rng* rng, hwm_error* err);
hwm_status hwm_environment_new(hwm_model** out, const hwm_model_config* config,
                               const hwm_model_dims* dims, uint64_t seed, hwm_error* err);
// Kind rssm: its imagined draws are held (rssm.h).
struct hwm_rssm_hold;
void hwm_rssm_model_hold(hwm_model* model, struct hwm_rssm_hold* hold);

#endif
