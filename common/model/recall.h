// data path  [8] learner: world model
//
// What a recurrent state-space model knew after replayed rows, kept between updates (cache.h), so
// that a sequence from the middle of an episode begins with it instead of with nothing.
//
//   entry   [deter (D); class of each variable (S); action taken then (A)]
#ifndef HWM_MODEL_RECALL_H
#define HWM_MODEL_RECALL_H

#include "model/cache.h"
#include "model/rssm.h"

typedef struct hwm_recall {
    hwm_latent_cache* cache;        // NULL: nothing is kept
    int64_t looked_up, remembered;  // sequences
} hwm_recall;

// bytes 0: nothing is kept. HWM_EINVAL: less than one entry; HWM_ENOMEM.
hwm_status hwm_recall_create(hwm_recall* recall, int64_t bytes, const hwm_rssm* rssm,
                             hwm_error* err);
void hwm_recall_destroy(hwm_recall* recall);
void hwm_recall_forget(hwm_recall* recall);
// Share of the sequences so far that began with what was remembered; NaN: nothing is kept.
double hwm_recall_share(const hwm_recall* recall);

// State and action before row 0 of sequence n of a batch with room for them (deter, stoch), where
// they are known; first: the row's key. Not for the first row of an episode.
void hwm_recall_begin(hwm_recall* recall, const hwm_rssm* rssm, hwm_latent_key first, int n,
                      hwm_rssm_batch* batch);
// Posterior of a row that was trained on, deter (D) and stoch (S*C), and the action (A) taken in
// it.
void hwm_recall_keep(hwm_recall* recall, const hwm_rssm* rssm, hwm_latent_key key,
                     const hwm_real* deter, const hwm_real* stoch, const hwm_real* action);

#endif
