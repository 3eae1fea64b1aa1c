// data path  [5] link, learner's side
//
// What the learner asks of the server: the table, batches fetched ahead while it trains, published
// parameters.
#ifndef HWM_LEARNER_SESSION_H
#define HWM_LEARNER_SESSION_H

#include "agent.h"
#include "batch.h"

// Everything one update reads.
typedef struct hwm_session_counters {
    uint64_t draws;          // sample requests so far: the only state of the sampler
    uint64_t version;        // newest published version of the controller's parameters
    int64_t inserted_steps;  // rows in the table, as the newest batch saw it
    int64_t lost_sequences;  // of versions that cannot be had
    double waited_s;         // for batches
} hwm_session_counters;

typedef struct hwm_session hwm_session;

// Connects, creates or joins the table. agent and experiment: borrowed. experiment_text: resolved
// YAML for the workers.
hwm_status hwm_session_create(hwm_session** out, const char* endpoint, const char* key_dir,
                              bool insecure, hwm_agent* agent, const char* experiment_text,
                              hwm_error* err);
void hwm_session_destroy(hwm_session** session);
// Called several times a second while the session waits for a batch.
void hwm_session_on_wait(hwm_session* session, void (*idle)(void* context), void* context);
hwm_client* hwm_session_client(hwm_session* session);
hwm_session_counters* hwm_session_counters_of(hwm_session* session);

// Sampled steps that one update counts for the limiter.
int64_t hwm_session_steps_per_update(const hwm_session* session);
// Publishes phi as the next version and remembers it for materialising.
hwm_status hwm_session_publish(hwm_session* session, hwm_error* err);

// schedule: rounds. Publishes phi as exactly that version; where a run that was killed had
// published it already, it must be the same. HWM_EEXIST: it is not.
hwm_status hwm_session_publish_round(hwm_session* session, uint64_t version, hwm_error* err);
// schedule: rounds. Wait until the table holds exactly `rows` committed rows. HWM_ECLOSED: a stop
// was asked for; HWM_EPROTO: it holds more.
hwm_status hwm_session_wait_rows(hwm_session* session, int64_t rows, hwm_error* err);

// The next batch of the world model; borrowed until the next call. uncounted: warm-up, the limiter
// does not see it. HWM_ECLOSED: a stop was asked for while waiting. HWM_ENUMERIC: the batch holds a
// number that is not finite, drop it.
hwm_status hwm_session_model_batch(hwm_session* session, bool uncounted,
                                   const hwm_sequences** batch, hwm_error* err);
// The same for a recurrent agent, into its own batch.
hwm_status hwm_session_latent_batch(hwm_session* session, bool uncounted, hwm_error* err);
// The next starts, into the agent's imagination.
hwm_status hwm_session_starts(hwm_session* session, hwm_error* err);
// The rows that they were made of; borrowed until the next call.
const hwm_sequences* hwm_session_start_rows(const hwm_session* session);
// Sequences for measuring the model's open-loop error: asked for once, taken when they are there,
// so that training never waits for episodes that are long enough. NULL: not yet. Borrowed until the
// next call.
const hwm_sequences* hwm_session_long_sequences(hwm_session* session);
// Forget what is in flight: the kind of request changes.
void hwm_session_flush(hwm_session* session);

#endif
