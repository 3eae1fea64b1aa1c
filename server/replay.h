// data path  [6] store  [7] sampler
//
// The replay service inside the server: tables in one LMDB environment, one writer thread that
// commits groups, sampling that reads what was committed. The router thread hands in requests and
// collects completions; it never waits for a disk.
//
// Threads: one owner (the router thread) calls everything here. A writer thread and sampler threads
// work behind it; they signal hwm_replay_fd, after which hwm_replay_next hands out completions.
#ifndef HWM_SERVER_REPLAY_H
#define HWM_SERVER_REPLAY_H

#include "base/config.h"
#include "net/client.h"

typedef enum hwm_durability {
    HWM_DURABLE_FULL,
    HWM_DURABLE_GROUP,
    HWM_DURABLE_PROCESS
} hwm_durability;
typedef struct hwm_replay_config {
    char dir[HWM_CONFIG_STRING_MAX];
    int durability;         // hwm_durability
    int64_t commit_ms;      // longest wait of a group
    int64_t map_bytes;      // quota of the LMDB map
    int64_t map_bytes_max;  // to which it grows when it must; 0: twice the quota
    int64_t sampler_threads;
} hwm_replay_config;
extern const hwm_config_table hwm_replay_table;  // section "store"

typedef struct hwm_replay hwm_replay;
hwm_status hwm_replay_open(hwm_replay** out, const hwm_replay_config* config, hwm_error* err);
// Commits what the limiter has let in, then closes; the rest was not acknowledged and comes again.
void hwm_replay_close(hwm_replay** replay);
int hwm_replay_fd(const hwm_replay* replay);  // eventfd: readable when completions wait

hwm_status hwm_replay_table_create(hwm_replay* replay, const hwm_table_config* config, int* table,
                                   hwm_error* err);
int hwm_replay_table_find(const hwm_replay* replay,
                          const char* name);  // NULL or "": the only one. -1: none
const hwm_table_config* hwm_replay_table_config(const hwm_replay* replay, int table);
hwm_status hwm_replay_table_close(hwm_replay* replay, int table, hwm_error* err);

// A new index range and incarnation for a worker: what hello hands out; committed before it
// returns.
hwm_status hwm_replay_assign(hwm_replay* replay, int table, int environments, uint32_t* first_env,
                             uint32_t* incarnation, hwm_error* err);
// The worker behind these streams is dead: their open episodes are closed with is_last (an override
// in the metadata).
void hwm_replay_abandon(hwm_replay* replay, int table, uint32_t first_env, int environments,
                        uint32_t incarnation);

// Queue one encoded chunk (copied; `chunk` is its decoded view, whose pointers lie inside `bytes`).
// Completion: HWM_OK or HWM_EDUPLICATE (both are acknowledged), or the reason of the refusal. Waits
// (inside) while the limiter holds inserts.
hwm_status hwm_replay_append(hwm_replay* replay, int table, const hwm_chunk* chunk,
                             const void* bytes, size_t size, uint64_t token);
// The same without the copy: the store reads `bytes` until it calls release(kept), from a thread of
// its own, before the completion is handed out. When this call fails, `kept` stays with the caller.
hwm_status hwm_replay_append_kept(hwm_replay* replay, int table, const hwm_chunk* chunk,
                                  const void* bytes, size_t size, uint64_t token,
                                  void (*release)(void* kept), void* kept);
// Queue a sample request; completes when the limiter lets it and enough is stored.
hwm_status hwm_replay_sample(hwm_replay* replay, int table, const hwm_sample_request* request,
                             uint64_t token);
// New priorities of sampled starts, for HWM_SELECT_PRIORITISED: each >= 0 and finite, a start that
// was evicted is passed over. They are kept when the server stops and with every snapshot; after a
// kill -9 they are those of the last time, and later starts have the priority of a new one (the
// highest so far, at first 1).
hwm_status hwm_replay_prioritise(hwm_replay* replay, int table, int n, const hwm_stream* stream,
                                 const uint64_t* step, const double* priority, hwm_error* err);
// The requester is gone: forget its requests and give the limiter back what was counted for them.
void hwm_replay_cancel(hwm_replay* replay, uint64_t token);

// Start a consistent copy of the whole store into the new directory `to`, while everything goes on.
// Completion HWM_DONE_SNAPSHOT: HWM_OK when it is complete and on disk. HWM_EAGAIN: one is being
// made already.
hwm_status hwm_replay_snapshot(hwm_replay* replay, const char* to, uint64_t token);
// Appends that were let in and not committed yet: what a clean stop waits for.
size_t hwm_replay_admitted(hwm_replay* replay);

typedef enum hwm_completion_kind {
    HWM_DONE_APPEND,
    HWM_DONE_SAMPLE,
    HWM_DONE_SNAPSHOT
} hwm_completion_kind;
typedef struct hwm_completion {
    hwm_completion_kind kind;
    uint64_t token;
    hwm_status status;
    char text[256];
    hwm_batch* batch;  // SAMPLE: give back with hwm_replay_batch_free after encoding
} hwm_completion;
bool hwm_replay_next(hwm_replay* replay, hwm_completion* completion);
void hwm_replay_batch_free(hwm_replay* replay, hwm_batch** batch);

// Blobs beside the tables (parameter versions, tasks): small key, value up to 64 MiB; durable like
// a chunk.
hwm_status hwm_replay_blob_put(hwm_replay* replay, const char* key, const void* value,
                               size_t bytes);
// malloc'd copy: caller owns, free with free().
hwm_status hwm_replay_blob_get(hwm_replay* replay, const char* key, void** value, size_t* bytes);
hwm_status hwm_replay_blob_delete(hwm_replay* replay, const char* key);
// Calls visit for every key with the prefix.
void hwm_replay_blob_list(hwm_replay* replay, const char* prefix,
                          void (*visit)(void*, const char* key), void* context);
// True while a chunk of any table, stored or on its way in, refers to this version of the set.
bool hwm_replay_version_in_use(hwm_replay* replay, const char* set, uint64_t version);

// An append that was refused before it came here.
void hwm_replay_count_refusal(hwm_replay* replay, int table, hwm_status status);
// Steps inserted and sampled per second since the call before: call it every few seconds.
void hwm_replay_rates(hwm_replay* replay, int64_t now_ns);
// Statistics of all tables, a JSON object; malloc'd: caller owns, free with free().
char* hwm_replay_stats_json(hwm_replay* replay);

#endif
