// data path  [8] learner: recurrent agents
//
// What is trained where the agent is a DreamerV3 agent: on raw actions (agent.kind dreamer), or on
// the weight updates of a plastic controller (imagination.mode latent). One update trains the world
// model on a batch of sequences and, in its imagination, policy and value (model/dreamer.h); what
// acts is exported into the parameter set that workers fetch.
#ifndef HWM_LEARNER_LATENT_H
#define HWM_LEARNER_LATENT_H

#include "experiment/acting.h"
#include "model/recall.h"
#include "net/client.h"
#include "nn/params.h"

typedef struct hwm_latent {
    const hwm_experiment* experiment;  // borrowed
    hwm_acting* acting;
    hwm_signature signature;
    hwm_dreamer* dreamer;
    int64_t updates;       // of both; warm-up counts
    hwm_rssm_batch batch;  // of the newest update
    hwm_real* last;        // (T,N)
    hwm_real* after;       // (N,A) action taken in the last row
    hwm_latent_key* key;   // (N) of the first rows
    hwm_recall recall;
    float* x;  // one row
} hwm_latent;

// spec as hwm_env_describe gives it. Caller owns, free with hwm_latent_destroy.
hwm_status hwm_latent_create(hwm_latent** out, const hwm_experiment* experiment,
                             const hwm_env_spec* spec, hwm_error* err);
void hwm_latent_destroy(hwm_latent** latent);
// Sequences and rows of each that an update wants.
int hwm_latent_sequences(const hwm_latent* latent);
int hwm_latent_length(const hwm_latent* latent);

// From what the sampler sent into latent->batch. HWM_EPROTO: not what was asked for. HWM_ENUMERIC:
// a number is not finite.
hwm_status hwm_latent_gather(hwm_latent* latent, const hwm_batch* batch, hwm_error* err);
// One update on latent->batch. warm_up: of the world model only. HWM_ENUMERIC: skipped.
hwm_status hwm_latent_update(hwm_latent* latent, bool warm_up, hwm_dreamer_losses* losses,
                             hwm_error* err);
// The agent's entries of phi, which is in the order of hwm_acting_params.
void hwm_latent_export(const hwm_latent* latent, nn_params* phi);

#endif
