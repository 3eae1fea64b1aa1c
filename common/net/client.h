// data path  [5] link
//
// The client's side of the one connection to the server: a DEALER socket owned by the calling
// thread. Appends are windowed by byte credits and sent again after a reconnect until they are
// acknowledged; requests carry an id and are answered in any order; announcements and heartbeats
// are handled inside hwm_client_poll, which every owner calls at least once a second.
#ifndef HWM_NET_CLIENT_H
#define HWM_NET_CLIENT_H

#include "record/chunk.h"
#include "record/params.h"

typedef enum hwm_role {
    HWM_ROLE_WORKER,
    HWM_ROLE_LEARNER,
    HWM_ROLE_OPERATOR,
    HWM_ROLE_VIEWER
} hwm_role;

typedef struct hwm_client_config {
    const char* endpoint;  // as ipc:///path or tcp://host:port
    const char* key_dir;   // CURVE keys; NULL: plain text (ipc and loopback only, unless insecure)
    bool insecure;
    hwm_role role;
    const char* table;     // worker, learner: the table it belongs to; NULL: the server's only one
    int environments;      // worker: how many consecutive environment indices it needs
    bool subscribe;        // wants announcements of parameters
    size_t backlog_bytes;  // appends held until acknowledged; 0: 64 MiB
    int connect_timeout_ms;  // 0: 10000
} hwm_client_config;

// What the server's answer to hello holds: everything a worker needs.
typedef struct hwm_hello {
    char* experiment;  // resolved YAML; owned by the client, borrowed until destroy
    char table[64];
    uint32_t rank;
    uint32_t first_env;
    uint32_t incarnation;
    uint64_t seed;
    int heartbeat_ms;
    char server_version[32];
    const hwm_signature* signature;  // of the table, borrowed until destroy; NULL: no table yet
} hwm_hello;

typedef struct hwm_client hwm_client;
hwm_client_config hwm_client_default_config(void);
// Connects and says hello until the server answers; waits at most connect_timeout_ms. HWM_EAGAIN:
// the server is there, the table not yet (create again). HWM_ETIMEDOUT: no server. HWM_EDENIED,
// HWM_EVERSION: refused, at once.
hwm_status hwm_client_create(hwm_client** out, const hwm_client_config* config, hwm_error* err);
// Waits up to linger_ms for acknowledgements, then closes. *unacknowledged (may be NULL): chunks
// given up.
void hwm_client_destroy(hwm_client** client, int linger_ms, uint64_t* unacknowledged);
const hwm_hello* hwm_client_hello(const hwm_client* client);
// Handle what has arrived, send heartbeats, resend; waits at most timeout_ms for something to
// arrive. A hello that had to be repeated after the server declared us dead gives a new
// incarnation: *reborn (may be NULL) is set (worker: start new episodes as streams of the new
// first_env and incarnation). HWM_EDENIED or HWM_EVERSION: the server refuses us for good.
hwm_status hwm_client_poll(hwm_client* client, int timeout_ms, bool* reborn);
bool hwm_client_connected(const hwm_client* client);

// ---- tables
typedef struct hwm_limiter_config {
    double samples_per_insert;  // sampled steps per inserted step; 0: no limit
    int64_t min_size_steps;     // sampling waits until the table holds as many
    int64_t burst_steps;        // largest append of all workers in flight
    int64_t prefetch_steps;     // largest number of steps sampled ahead
} hwm_limiter_config;
typedef struct hwm_table_config {
    char name[64];
    hwm_signature signature;
    hwm_limiter_config limiter;
    int64_t capacity_steps;
    int64_t capacity_bytes;  // 0: bounded by steps only
    const char* experiment;  // resolved YAML handed to the workers
    uint64_t seed;
    uint32_t max_times_sampled;  // a start is drawn so often at most; 0: without limit
    // Deterministic mode: chunks go in round by round, in a round environment 0 first, then 1, ...,
    // whatever their arrival. Each of order_streams environments gives order_steps rows a round.
    // 0: in order of arrival
    uint32_t order_streams, order_steps;
    uint32_t order_first_steps;  // of the first round, where it differs; 0: order_steps
} hwm_table_config;
// Create, or join when it exists with an equal signature (else HWM_ESIGNATURE with the difference).
// Blocking.
hwm_status hwm_client_table_create(hwm_client* client, const hwm_table_config* config,
                                   hwm_error* err);
// No more inserts: lifts the lower bound of the limiter. Blocking.
hwm_status hwm_client_table_close(hwm_client* client, const char* table, hwm_error* err);

// ---- append
// Encodes and queues one chunk. HWM_EAGAIN: the backlog is full or the limiter holds us; poll and
// try again, never drop. Any other status: an earlier chunk was refused for good, err says which
// and why; this one is not queued. Said once.
hwm_status hwm_client_append(hwm_client* client, const hwm_signature* signature,
                             const hwm_chunk* chunk, hwm_error* err);
size_t hwm_client_backlog_bytes(const hwm_client* client);
uint64_t hwm_client_acknowledged(const hwm_client* client);  // chunks so far
// What the next heartbeat tells the server about a worker: for the statistics.
void hwm_client_progress(hwm_client* client, uint64_t env_steps, uint64_t param_version,
                         double blocked_s);

// ---- sample
typedef enum hwm_selector {
    HWM_SELECT_UNIFORM,
    HWM_SELECT_PRIORITISED,
    HWM_SELECT_NEWEST,
    HWM_SELECT_OLDEST,
    HWM_SELECT_ONLINE,
} hwm_selector;
typedef struct hwm_sample_request {
    int batch;    // sequences
    int length;   // T rows each: consecutive, of one stream and (but cross_episodes) one episode
    int context;  // K further single rows (with their successor) of the same episode per sequence;
                  // 0: none
    int context_window;  // only within +-w steps of the start; 0: the whole episode
    // sequences go on, where an episode ended, with the stream's next one, so that episodes shorter
    // than T take part; without materialise and context
    bool cross_episodes;
    bool materialise;  // also the key frame and the rows from it to the start
    hwm_selector selector;
    double fraction_terminal;  // share of sequences forced to hold a terminal (their last row),
                               // where there is one
    int terminal_back_min;     // ... or that end so many rows before it: uniform from min to max,
    int terminal_back_max;     // as far as the episode is stored
    double fraction_first;     // share that starts at the first step of an episode
    double fraction_recent;    // share drawn from the newest recent_steps
    int64_t recent_steps;
    double priority_exponent;
    bool uncounted;    // warm-up: the limiter does not count it
    uint64_t draw;     // index of this request among the run's draws: the only state of the sampler
    uint32_t columns;  // bit c: column c is wanted; 0: all. Others are NULL in the batch
} hwm_sample_request;

// Reply. Rows of all sequences stand one after the other: sequence i has rows row[i] .. row[i+1]-1,
// of which the first prefix[i] lead from the key frame to its start (0 unless materialise),
// followed by `length` rows, followed by 2*context rows (pairs: row j, row j+1; no segment covers
// them). A sequence that forced a terminal or first is drawn from those starts.
typedef struct hwm_segment {
    uint32_t
        row;  // rows from here on (until the next segment or sequence) were made with this param
    hwm_param_ref param;
} hwm_segment;
typedef struct hwm_batch {
    int batch, length, context;
    uint32_t* row;     // (batch + 1)
    uint32_t* prefix;  // (batch)
    // (row[batch], step shape), signature order. packed_bytes: on the server's side the size of a
    // zstd column, which it sends as it is stored; a client gets values
    void* column[HWM_COLUMNS_MAX];
    size_t packed_bytes[HWM_COLUMNS_MAX];
    void* key[HWM_KEYS_MAX];  // (batch, key shape): state at row[i], before row[i] acts
    int n_segments;
    hwm_segment* segment;    // ascending row
    hwm_stream* stream;      // (batch)
    uint64_t* step;          // (batch) step number in the stream of the start
    uint32_t* episode;       // (batch)
    double* probability;     // (batch)
    int64_t* age_steps;      // (batch) steps inserted since
    int64_t inserted_steps;  // of the table, when the batch was drawn
} hwm_batch;
// Start a request; *id names it. Several may be in flight: that is the prefetch.
hwm_status hwm_client_sample_begin(hwm_client* client, const hwm_sample_request* request,
                                   uint64_t* id, hwm_error* err);
// Wait for it. HWM_ETIMEDOUT: not yet, wait again. The batch is borrowed until
// hwm_client_sample_end(id).
hwm_status hwm_client_sample_wait(hwm_client* client, uint64_t id, int timeout_ms,
                                  const hwm_batch** batch, hwm_error* err);
void hwm_client_sample_end(hwm_client* client, uint64_t id);

// New priorities of sampled starts (batch->stream, batch->step): each >= 0 and finite. Blocking.
hwm_status hwm_client_prioritise(hwm_client* client, int n, const hwm_stream* stream,
                                 const uint64_t* step, const double* priority, hwm_error* err);

// ---- parameters
typedef enum hwm_block_tag { HWM_BLOCK_RULE = 1, HWM_BLOCK_ACTING = 2 } hwm_block_tag;
// Blocking until the hub has stored it. version rises by the caller.
hwm_status hwm_client_publish(hwm_client* client, const char* set, uint64_t version,
                              hwm_block_tag tag, const hwm_param_list* list, const float* values,
                              hwm_error* err);
// Newest version the server has announced for a set; 0: none yet.
uint64_t hwm_client_announced(const hwm_client* client, const char* set);
// version 0: the newest. Blocking, in parts, checksum verified; values (list->count) receives them
// in the list's order.
hwm_status hwm_client_fetch(hwm_client* client, const char* set, uint64_t version,
                            const hwm_param_list* list, float* values, uint64_t* got,
                            hwm_error* err);

// ---- tasks: typed opaque payloads, leased with a deadline, a result counts once
typedef struct hwm_task {
    uint64_t id;
    char type[32];
    void* payload;  // owned by the client, borrowed until the next task call
    size_t payload_bytes;
    void* result;
    size_t result_bytes;
} hwm_task;
hwm_status hwm_client_task_submit(hwm_client* client, const char* type, const void* payload,
                                  size_t bytes, int lease_ms, uint64_t* id, hwm_error* err);
// HWM_EAGAIN: nothing to do.
hwm_status hwm_client_task_lease(hwm_client* client, const char* type, hwm_task* task,
                                 hwm_error* err);
hwm_status hwm_client_task_complete(hwm_client* client, uint64_t id, const void* result,
                                    size_t bytes, hwm_error* err);
// HWM_EAGAIN: not done yet.
hwm_status hwm_client_task_result(hwm_client* client, uint64_t id, hwm_task* task, hwm_error* err);

// ---- reports and statistics
// Non-blocking: return, length, parameter version and variant of a finished training episode.
void hwm_client_episode(hwm_client* client, uint32_t env, uint32_t episode, double episode_return,
                        uint32_t steps, const float* variant, int variant_dim, uint64_t version);
// Statistics as a JSON object; malloc'd: caller owns, free with free().
hwm_status hwm_client_stats(hwm_client* client, char** json, hwm_error* err);
hwm_status hwm_client_ping(hwm_client* client, int timeout_ms, hwm_error* err);
// A consistent copy of the whole store, beside it on the server's machine, under this name; waits
// until it is on disk. path (may be NULL) receives where it lies.
hwm_status hwm_client_snapshot(hwm_client* client, const char* name, char* path, size_t path_bytes,
                               hwm_error* err);
// Ask the server to stop cleanly (operator or learner).
hwm_status hwm_client_shutdown(hwm_client* client, hwm_error* err);

#endif
