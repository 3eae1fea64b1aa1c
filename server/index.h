// data path  [7] sampler
//
// What is stored, in memory: one entry per chunk (where its bytes lie, where each column starts),
// chained into segments, and for every sequence length that is asked for a tree that counts the
// possible starts.
//
// WORDS
//   segment  a run of chunks of one stream and one episode without a gap: what a sequence may
//   cross. It is closed when its
//            episode ended, when the next chunk of the stream does not continue it, or when its
//            worker was declared dead; the last row of a closed segment that lacks is_last is given
//            it when it is sampled.
//   start    a row from which `length` rows of the same segment are stored. The starts of a chunk
//   are always its first rows,
//            so a count per chunk names them all: rank r of all starts in insertion order is found
//            by one descent of a Fenwick tree (Fenwick 1994, "A new data structure for cumulative
//            frequency tables").
//   crossing a sequence that may go on, where its episode ended, with the first row of the stream's
//            next episode: rows of several segments, linked where one follows the other without a
//            gap. Episodes shorter than a sequence are part of those.
// DETERMINISM  Ranks follow insertion order, whatever the layout in memory, so equal content gives
// equal draws after a restart.
//
// Threads: samplers read under hwm_index_lock(false), the writer changes under
// hwm_index_lock(true).
#ifndef HWM_SERVER_INDEX_H
#define HWM_SERVER_INDEX_H

#include "server/store.h"

enum { HWM_NONE = -1 };
#define HWM_NO_SEGMENT UINT32_MAX

// One chunk.
typedef struct hwm_entry {
    const uint8_t* value;  // in the map
    uint64_t inserted_before;
    uint32_t segment;
    uint32_t row;       // of its first row in the segment
    uint32_t position;  // in the segment's list of chunks, counted from the segment's beginning
    uint32_t steps;     // 0: no such chunk any more
    uint32_t param;     // for hwm_index_param
    uint32_t value_bytes;
    uint32_t value_crc;
    uint32_t verified;  // 1: the value's checksum was right when it was first read (or it was
                        // written by this process)
} hwm_entry;

typedef struct hwm_run {  // segment
    hwm_stream stream;
    uint64_t first_step;  // of row 0 in the stream
    uint32_t episode;
    uint32_t begin, end;  // rows stored: begin rises with eviction
    bool first;           // row 0 is the first step of the episode
    bool last, terminal;  // of row end-1, as stored
    bool closed;
    bool resumed;  // goes on with the episode of the stream's segment before it, behind a gap
    // segments of the stream's previous and next episode, where those end and begin right here
    uint32_t before, after;  // HWM_NO_SEGMENT: none
    // chunk ids, oldest first: id[head .. n)
    uint64_t* id;
    uint32_t head, n, capacity;
    uint32_t base;  // position of id[0]
} hwm_run;

typedef struct hwm_stream_info {
    hwm_stream stream;
    uint64_t last_sequence;
    uint64_t last_chunk;  // id; 0: none
    int64_t segment;      // the open or newest one, HWM_NONE when it is gone
    uint32_t chunks;      // stored
    // their ids, oldest first: id[head .. n)
    uint64_t* id;
    uint32_t head, n, capacity;
    // of the writer, while it builds a group
    uint64_t planned_sequence;
    uint64_t planned_group;
    uint64_t refused_sequence;  // the first one that was refused and must come again before later
                                // ones; 0: none
} hwm_stream_info;

typedef struct hwm_index hwm_index;

hwm_status hwm_index_create(hwm_index** out, int n_offsets, hwm_error* err);
void hwm_index_destroy(hwm_index** index);
void hwm_index_lock(hwm_index* index, bool write);
void hwm_index_unlock(hwm_index* index);

// ---- writer (write lock held)
// id is above the newest one (ids in between were removed by a repair); `value` as in
// hwm_store_addresses. verified: written by this process.
void hwm_index_append(hwm_index* index, uint64_t id, const hwm_chunk_meta* meta,
                      const uint8_t* value, bool verified);
void hwm_index_evict(hwm_index* index);  // the oldest chunk
// A chunk that turned out damaged: its segment is cut there, nothing crosses the hole.
void hwm_index_drop(hwm_index* index, uint64_t id);
// All chunks of the store are loaded: what is there is not fresh any more.
void hwm_index_loaded(hwm_index* index);
// Priority of the start (stream, step), >= 0. False: it is not stored (any more).
bool hwm_index_prioritise(hwm_index* index, hwm_stream stream, uint64_t step, double priority);
// The stream's segment ends here: what arrives later is a segment of its own.
void hwm_index_close_stream(hwm_index* index, hwm_stream stream);
// The stream's entry, made where it is new; borrowed until the next stream is made. Write lock.
hwm_stream_info* hwm_index_stream_plan(hwm_index* index, hwm_stream stream);
// A start is drawn `times` times at most, whatever the length of the sequence; 0: without limit.
// Counted from the start of the process.
void hwm_index_limit_times(hwm_index* index, uint32_t times);
uint32_t hwm_index_times_limit(const hwm_index* index);
bool hwm_index_spent(const hwm_index* index, uint64_t id, uint32_t row);  // the limit is reached
// Counts one draw of a start, or takes it back (where its chunk is gone: nothing). Only with a
// limit.
void hwm_index_drawn(hwm_index* index, uint64_t id, uint32_t row, bool back);
// A stream whose chunks are gone but whose last sequence still guards against repetition.
void hwm_index_stream_set(hwm_index* index, hwm_stream stream, const hwm_stream_record* record);
void hwm_index_stream_forget(hwm_index* index, hwm_stream stream);

// ---- readers (either lock held)
const hwm_stream_info* hwm_index_stream(const hwm_index* index,
                                        hwm_stream stream);  // NULL: never seen
// Calls visit for every stream.
void hwm_index_each_stream(const hwm_index* index, void (*visit)(void*, const hwm_stream_info*),
                           void* context);
bool hwm_index_version_in_use(const hwm_index* index, const char* set, uint64_t version);
uint64_t hwm_index_oldest(const hwm_index* index);  // id; equal to newest + 1 when empty
uint64_t hwm_index_newest(const hwm_index* index);
uint64_t hwm_index_steps(const hwm_index* index);     // stored
uint64_t hwm_index_bytes(const hwm_index* index);     // of the map, size classes included
uint64_t hwm_index_inserted(const hwm_index* index);  // ever
size_t hwm_index_segments(const hwm_index* index);
// Of which steps are stored; one that a gap cut in two counts once while its beginning is stored.
size_t hwm_index_episodes(const hwm_index* index);
size_t hwm_index_memory(const hwm_index* index);  // bytes of this index
const hwm_entry* hwm_index_entry(const hwm_index* index, uint64_t id);
const uint32_t* hwm_index_offsets(const hwm_index* index, uint64_t id);  // columns then keys
const hwm_run* hwm_index_run(const hwm_index* index, uint32_t segment);
const hwm_param_ref* hwm_index_param(const hwm_index* index, uint32_t param);
void hwm_index_set_verified(hwm_index* index, uint64_t id);  // read lock is enough
// Id of the chunk that holds `row` (begin <= row < end) of a segment.
uint64_t hwm_index_chunk_of_row(const hwm_index* index, const hwm_run* run, uint32_t row);

// ---- starts for sequences of `length` rows; length | HWM_CROSSING: crossing ones. A terminal
// start is one within its segment in both cases, and so is what the online queue hands out.
enum { HWM_CROSSING = 1 << 30 };
typedef enum hwm_start_kind {
    HWM_START_ANY,
    HWM_START_FIRST,     // the first step of an episode
    HWM_START_TERMINAL,  // the last row of the sequence is a terminal
    HWM_START_KINDS
} hwm_start_kind;
typedef struct hwm_starts hwm_starts;
// NULL when this length was not asked for lately: call hwm_index_starts_create under the write
// lock.
const hwm_starts* hwm_index_starts(hwm_index* index, uint32_t length);
void hwm_index_starts_create(hwm_index* index, uint32_t length);
uint64_t hwm_starts_total(const hwm_starts* starts, hwm_start_kind kind);
// The start of this rank in insertion order of its chunk: chunk id and row in that chunk.
void hwm_starts_find(const hwm_index* index, const hwm_starts* starts, hwm_start_kind kind,
                     uint64_t rank, uint64_t* id, uint32_t* row);
// Prioritised: sums of priority^exponent over all starts. Where hwm_starts_weighed says no, weigh
// under the write lock.
bool hwm_starts_weighed(const hwm_starts* starts, double exponent);
void hwm_index_weigh(hwm_index* index, uint32_t length, double exponent);
double hwm_starts_weight(const hwm_starts* starts);  // of all
// The start at `at` in [0, weight), and its own weight.
void hwm_starts_find_weight(const hwm_index* index, const hwm_starts* starts, double at,
                            uint64_t* id, uint32_t* row);
double hwm_starts_weight_of(const hwm_index* index, const hwm_starts* starts, uint64_t id,
                            uint32_t row);
// Online queue: sequences rows [k * length, (k + 1) * length) of a segment, each handed out once,
// in the order in which they were completed. Where hwm_starts_online says no, open it under the
// write lock. False: the queue is empty.
bool hwm_starts_online(const hwm_starts* starts);
void hwm_index_open_online(hwm_index* index, uint32_t length);
bool hwm_starts_take_fresh(const hwm_index* index, const hwm_starts* starts, uint64_t* id,
                           uint32_t* row);
// Where the open queues stand, for a later process; returns how many. Read lock.
enum { HWM_ONLINE_MAX = 16 };
typedef struct hwm_online_place {
    uint32_t length, reserved;  // length: HWM_CROSSING included
    uint64_t next;              // id of the chunk that came next
    uint64_t waiting;           // sequences that were complete and not handed out
} hwm_online_place;
int hwm_index_online_places(const hwm_index* index, hwm_online_place place[HWM_ONLINE_MAX]);
// Before the first request, after the chunks are loaded: queues go on from there. (Where eviction
// has cut a segment, its sequences are counted from the cut.)
void hwm_index_online_resume(hwm_index* index, const void* place, int n);
// Priorities of the rows of a chunk: *own, NULL where no row has one of its own; *initial, of the
// others. False: nobody has asked for priorities. And to set them: steps 0: none of its own.
bool hwm_index_priorities(const hwm_index* index, uint64_t id, const float** own, float* initial);
void hwm_index_priorities_set(hwm_index* index, uint64_t id, const void* own, uint32_t steps,
                              float initial);
// Chunks from this one on, whose rows have none of their own, count as new ones do.
void hwm_index_priorities_new(hwm_index* index, uint64_t id);
// Starts of HWM_START_ANY that lie before the newest `steps` steps of the table.
uint64_t hwm_starts_before_recent(const hwm_index* index, const hwm_starts* starts, uint64_t steps);

#endif
