// data path  [6] store  [7] sampler
//
// What the files of the replay service share. Locks, always taken in this order:
//   commit   one write transaction and its application to the indices (writer thread; rare calls of
//   the owner) index    per table, see index.h queue    queues, limiters, completions; never held
//   while waiting for a disk
#ifndef HWM_SERVER_REPLAY_INTERNAL_H
#define HWM_SERVER_REPLAY_INTERNAL_H

#include <pthread.h>

#include "base/metrics.h"
#include "server/limiter.h"
#include "server/order.h"
#include "server/sampler.h"

// One chunk on its way into the store.
typedef struct hwm_append_op {
    struct hwm_append_op* next;
    int table;
    uint64_t token;
    int64_t queued_ns;
    hwm_chunk_meta meta;
    hwm_status status;
    bool stored;                  // known to be a duplicate when it came
    uint64_t id;                  // given by the writer
    void (*release)(void* kept);  // NULL: the bytes stand behind the struct
    void* kept;
    const uint8_t* bytes;
} hwm_append_op;
typedef struct hwm_append_list {
    hwm_append_op *head, *tail;
    size_t n, bytes;
} hwm_append_list;

// One request for a batch.
typedef struct hwm_sample_op {
    struct hwm_sample_op* next;
    int table;
    uint64_t token;
    int64_t queued_ns;
    hwm_sample_request request;
    bool counted, cancelled;
    uint64_t starved_commit;  // nothing was found at this commit of the table: wait for the next
} hwm_sample_op;
typedef struct hwm_sample_list {
    hwm_sample_op *head, *tail;
    size_t n;
} hwm_sample_list;

typedef struct hwm_replay_slot {  // table
    hwm_table_config config;
    char* experiment;
    hwm_index* index;

    // commit lock
    hwm_table_state state;
    hwm_env_range* range;  // with the flag beside it: handed out now
    bool* range_used;
    int n_ranges;

    // queue lock
    hwm_limiter limiter;
    hwm_order order;
    hwm_append_list early;                 // appends whose turn has not come
    hwm_append_list held;                  // appends that the limiter holds
    hwm_sample_list waiting;               // samples that wait for data or for the limiter
    uint64_t stored_steps, evicted_steps;  // after the last commit
    uint64_t commits;                      // that touched the table, from 1
    uint64_t damaged;                      // chunks that failed their checksum and were dropped
    uint64_t appends_done, duplicates, samples_done, gaps;
    uint64_t refused[HWM_STATUS_COUNT];    // appends, by reason
    double sample_age_steps;               // moving mean over the batches: steps inserted since
    double inserted_per_s, sampled_per_s;  // over the last interval of hwm_replay_rates
    uint64_t rate_inserted, rate_sampled;
} hwm_replay_slot;

struct hwm_replay {
    hwm_replay_config config;
    hwm_store* store;
    pthread_mutex_t turn, commit;  // turn: taken only to get commit, so that nobody waits for ever
    uint64_t group;                // number of the group being built
    size_t group_bytes;            // a group that is as large waits for nothing more
    hwm_store_view* view;          // of the writer, to learn addresses

    pthread_mutex_t queue;
    pthread_cond_t writer_wake, sampler_wake;
    bool stop_writer, stop_samplers;
    hwm_append_list ready;
    hwm_append_op* committing;  // the group that the writer has taken
    size_t n_committing;
    hwm_sample_list jobs, running;
    hwm_completion* done;  // ring
    size_t done_head, n_done, done_capacity;
    hwm_batch_block* free_batch;
    int n_free_batches;
    int fd;

    hwm_replay_slot table[HWM_TABLES_MAX];
    int n_tables;

    pthread_t writer, sampler[16];
    int n_samplers;
    bool writer_started;
    int64_t last_commit_ns;
    pthread_t snapshot;
    bool snapshot_started, snapshot_running;  // started: to be joined
    int64_t rate_ns;
    char snapshot_dir[HWM_CONFIG_STRING_MAX];
    uint64_t snapshot_token;
    hwm_metric *commits, *commit_seconds, *commit_chunks, *failures;
};

void* hwm_replay_writer_main(void* replay);
void* hwm_replay_sampler_main(void* replay);
// The counters of every table and what keep.h keeps, as they are now; a failure is logged.
void hwm_replay_save_states(hwm_replay* replay);

void hwm_replay_commit_lock(hwm_replay* replay);  // unlock: pthread_mutex_unlock(&replay->commit)
// One small transaction: begin, what `make` puts in, commit. Commit lock held.
typedef hwm_status (*hwm_store_change)(hwm_store_txn* txn, void* context, hwm_error* err);
hwm_status hwm_replay_transact(hwm_replay* replay, hwm_store_change make, void* context,
                               hwm_error* err);
// A table in memory, from what is on disk or comes there; on failure tear it down too.
hwm_status hwm_replay_slot_set_up(hwm_replay_slot* table, const hwm_table_config* config,
                                  double limiter_offset, const hwm_table_state* state,
                                  hwm_error* err);
void hwm_replay_slot_tear_down(hwm_replay_slot* table);
// Removes a chunk that failed its checksum from store and index.
void hwm_replay_drop(hwm_replay* replay, int table, uint64_t id);

// ---- queue lock held
void hwm_replay_done(hwm_replay* replay, const hwm_completion* completion);
// Moves on what the limiter allows now.
void hwm_replay_pump(hwm_replay* replay, hwm_replay_slot* table);
void hwm_append_free(hwm_append_op* op);
// Takes the appends of a list out and refuses them with this status and text.
void hwm_replay_refuse_list(hwm_replay* replay, hwm_replay_slot* table, hwm_append_list* list,
                            hwm_status status, const char* text);
void hwm_append_push(hwm_append_list* list, hwm_append_op* op);
hwm_append_op* hwm_append_pop(hwm_append_list* list);
void hwm_append_join(hwm_append_list* list, hwm_append_list* tail);  // empties tail
void hwm_sample_push(hwm_sample_list* list, hwm_sample_op* op);
hwm_sample_op* hwm_sample_pop(hwm_sample_list* list);
// Takes op out of the list; false: it is not there.
bool hwm_sample_remove(hwm_sample_list* list, hwm_sample_op* op);
// Steps that the limiter counts for a request.
uint64_t hwm_sample_steps(const hwm_sample_request* request);

#endif
