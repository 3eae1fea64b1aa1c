// data path  [8] learner: batch
//
// From what the sampler sent to what the updates read: scaled observations and flags as arrays, and
// the starts of imagination with the plastic state materialised, that is recovered bit for bit by
// replaying the rule from the chunk's key frame over the stored activations with the coefficients
// that acted then.
#ifndef HWM_LEARNER_BATCH_H
#define HWM_LEARNER_BATCH_H

#include "env/env.h"
#include "imagination.h"
#include "model/sequences.h"
#include "net/client.h"
#include "versions.h"

typedef struct hwm_batcher hwm_batcher;
// All borrowed. sequences_max: largest batch of starts.
hwm_status hwm_batcher_create(hwm_batcher** out, const hwm_controller* controller,
                              const hwm_signature* signature, const hwm_env_spec* spec,
                              hwm_versions* versions, int sequences_max, hwm_error* err);
void hwm_batcher_destroy(hwm_batcher** batcher);

// Arrays for `n` sequences of `length` rows and `context` transitions. Caller owns, free with
// hwm_sequences_free.
hwm_status hwm_sequences_alloc(hwm_sequences* s, int n, int length, int context, int obs,
                               int action);
void hwm_sequences_free(hwm_sequences* s);

// The last `out->length` of the batch's rows, sequence by sequence. HWM_EPROTO: sizes differ from
// what was asked for, out is undefined; HWM_ENUMERIC: a number is not finite (stream and step of
// the first named), out holds it.
hwm_status hwm_batcher_sequences(hwm_batcher* batcher, const hwm_batch* batch, hwm_sequences* out,
                                 hwm_error* err);

// Sequences whose parameters could not be had, so far: their starts are dropped (weight 0).
int64_t hwm_batcher_lost(const hwm_batcher* batcher);

// Starts from a materialised batch of sequences of length L, `per` of each: its last rows (so that
// the row before is known), with the state of that moment; but the first start of a sequence that
// begins an episode is at the episode's first row, with a fresh W_0. Of the others, a share
// fraction_fresh takes a fresh W_0. The rule is replayed once over a sequence for all its starts.
// late: no start at first rows, where what happened before must be known; the first of such a
// sequence has a fresh W_0 then.
// rows: (n, start length) what the model's start reads, n = per * sequences.
hwm_status hwm_batcher_starts(hwm_batcher* batcher, const hwm_batch* batch, int per, bool late,
                              double fraction_fresh, hwm_rng* rng, hwm_starts* starts,
                              hwm_sequences* rows, hwm_error* err);
// A version that cannot be fetched costs its sequences, never the batch: they are logged, counted
// and get weight 0. Plastic state before row `row` of each sequence acts, (batch, state size)
// floats: what the worker had, bit for bit.
hwm_status hwm_batcher_states(hwm_batcher* batcher, const hwm_batch* batch, const uint32_t* row,
                              float* states, hwm_error* err);

#endif
