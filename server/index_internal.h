// data path  [7] sampler
//
// What index.c (chunks, segments, streams) and starts.c (counts of starts, priorities, the online
// queue) share.
#ifndef HWM_SERVER_INDEX_INTERNAL_H
#define HWM_SERVER_INDEX_INTERNAL_H

#include <pthread.h>

#include "server/index.h"
#include "server/map.h"

enum { STARTS_MAX = HWM_ONLINE_MAX };

// A sequence of the online queue.
typedef struct hwm_fresh {
    uint64_t id;   // chunk of its start
    uint32_t row;  // in the chunk
} hwm_fresh;

struct hwm_starts {
    uint32_t key;  // length, HWM_CROSSING included; 0: unused
    uint32_t length;
    bool crossing;
    uint64_t used;  // clock of the last use
    uint64_t total[HWM_START_KINDS];
    uint32_t* tree[HWM_START_KINDS];  // (capacity + 1) Fenwick trees over the slots

    // prioritised: sums of priority^exponent over the starts of each chunk, as a binary tree with
    // its leaves at capacity + slot: each node is recomputed from its children, so no error gathers
    double* weight;  // (2 * capacity); NULL: not asked for
    double exponent;

    // online: sequences that were completed and not handed out; head is taken by samplers without
    // the write lock
    bool online;
    hwm_fresh* fresh;
    uint64_t fresh_head;
    size_t n_fresh, fresh_capacity;
};

struct hwm_index {
    pthread_rwlock_t lock;
    int n_offsets;

    // ring of chunks: id lives in slot id & (capacity - 1)
    uint64_t oldest, next;  // ids; empty when equal
    size_t capacity;
    hwm_entry* entry;  // (capacity)
    uint32_t* offset;  // (capacity, n_offsets)

    // segments, with a list of free places
    hwm_run* run;
    size_t n_runs, runs_capacity;
    uint32_t* free_run;
    size_t n_free_runs, live_runs, resumed_runs;

    hwm_stream_info* stream;
    size_t n_streams, streams_capacity;
    hwm_map stream_map;

    struct param_slot {
        hwm_param_ref ref;
        uint64_t key;  // in param_map
        uint64_t chunks;
    } * param;
    size_t n_params, params_capacity;
    uint32_t* free_param;
    size_t n_free_params;
    hwm_map param_map;

    // priorities: of the rows of each chunk, NULL where no row has one of its own; `initial` is the
    // highest priority known when the chunk came. Allocated when they are first asked for
    float** priority;  // (capacity)
    float* initial;    // (capacity)
    float highest;

    // draws: of the rows of each chunk, NULL where none was drawn
    uint32_t times_limit;  // 0: not counted
    uint16_t** drawn;      // (capacity)

    // where online queues stood when they were kept: taken up when one is opened
    hwm_online_place kept_online[HWM_ONLINE_MAX];
    int n_kept_online;

    uint64_t steps, bytes, inserted;
    uint64_t loaded;  // inserted steps when the store was opened: what is older is not fresh
    hwm_starts starts[STARTS_MAX];
    uint64_t clock;
};

// Room for n elements, at least doubling.
void* hwm_grow(void* p, size_t* capacity, size_t n, size_t element);

static inline size_t hwm_slot_of(const hwm_index* x, uint64_t id) {
    return id & (x->capacity - 1);
}

// ---- index_params.c: a chunk begins or ends to refer to these parameters
uint32_t hwm_param_take(hwm_index* index, const hwm_param_ref* ref);
void hwm_param_drop(hwm_index* index, uint32_t param);

// ---- starts.c, for every length that is asked for: what has changed
void hwm_starts_free(hwm_starts* starts);
void hwm_starts_rebuild(hwm_index* index);  // after the ring moved
void hwm_starts_appended(hwm_index* index, const hwm_run* run,
                         uint32_t old_end);  // newest chunk of the run
void hwm_starts_evicting(hwm_index* index);  // the oldest chunk, still in place
// Rows of a chunk from which a sequence is stored, drawn before or not; and of rows [from, to)
// those that may still be drawn.
uint32_t hwm_starts_rows(const hwm_index* index, const hwm_starts* starts, const hwm_entry* entry);
uint32_t hwm_starts_left(const hwm_index* index, uint64_t id, uint32_t from, uint32_t to);

// ---- starts_weights.c: sums of priorities where they are asked for
void hwm_weights_build(hwm_index* index, hwm_starts* starts);
void hwm_weights_update(hwm_index* index, hwm_starts* starts, uint64_t id);
void hwm_weights_clear(hwm_index* index, hwm_starts* starts, uint64_t id);

// ---- starts_online.c: the newest chunk of the run may have completed sequences
void hwm_fresh_append(hwm_index* index, hwm_starts* starts, const hwm_run* run, uint32_t old_end);

void hwm_priorities_free(hwm_index* index);
void hwm_draws_free(hwm_index* index);

#endif
