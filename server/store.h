// data path  [6] store
//
// Tables of encoded chunks in one LMDB environment: the durable half of the replay, without
// threads, queues or limits.
//
// DESIGN
//   values.N  chunk id -> the bytes that arrived, padded to a size class of whole pages. The store
//   never re-encodes them. chunks.N  chunk id -> hwm_chunk_meta: who, when, CRC-32C, and where in
//   the value every column and key tensor lies.
//             The index is rebuilt from here without reading a value.
//   streams   (table, env, incarnation) -> last sequence that is stored: committed with its chunk,
//   which makes appends
//             exactly-once. tables: configuration and counters. blobs: small things beside the
//             tables.
//   Chunk ids rise by one from 1 in each table, so key order is insertion order, appends go to the
//   right edge of the tree and eviction takes the left one. Values always lie on overflow pages of
//   their own (a class is never below one page), which LMDB writes once and never moves: the
//   address of a value stays good until the chunk is deleted and every reader that was open at that
//   time is gone. The index keeps these addresses; the sampler never descends the tree.
//
// GROWTH  The map is laid out for map_bytes_max from the start (addresses, neither memory nor
// disk),
//   so the file grows past its quota without a moment in which a reader's addresses change. Live
//   data keep to their share of the quota: growth only bridges a time in which freed pages cannot
//   be reused.
//
// CAVEATS  One process, one write transaction at a time (hwm_store_begin waits). A view holds back
// the reuse of freed pages:
//   keep it for one batch at most.
#ifndef HWM_SERVER_STORE_H
#define HWM_SERVER_STORE_H

#include "net/client.h"
#include "server/replay.h"

enum { HWM_TABLES_MAX = 32, HWM_OFFSETS_MAX = HWM_COLUMNS_MAX + HWM_KEYS_MAX };

// On disk, little-endian; `offset` is cut to the n_columns + n_keys of the table.
enum { HWM_META_VERSION = 1 };
enum {
    HWM_META_CLOSED = 1
};  // the episode was abandoned after this chunk: its last row gets is_last when it is sampled
typedef struct hwm_chunk_meta {
    uint32_t crc;      // CRC-32C of this record from `version` on
    uint16_t version;  // HWM_META_VERSION
    uint8_t edge;      // HWM_FLAG_FIRST of the first row, LAST and TERMINAL of the last one
    uint8_t state;     // HWM_META_CLOSED
    uint32_t value_crc;
    uint32_t value_bytes;  // as they arrived, without padding
    uint32_t env;
    uint32_t incarnation;
    uint64_t sequence;
    uint64_t first_step;
    uint64_t inserted_before;  // steps that were put into the table before this chunk
    uint32_t episode;
    uint32_t episode_step;
    uint32_t steps;
    int32_t sign;
    uint64_t param_version;
    uint64_t perturbation_seed;
    float sigma;
    uint32_t n_offsets;
    char set[HWM_SET_NAME_MAX];
    uint32_t offset[HWM_OFFSETS_MAX];  // into the value, columns then keys
} hwm_chunk_meta;

// What is known of a stream whose chunks may all have been evicted.
typedef struct hwm_stream_record {
    uint64_t last_sequence;
    uint64_t last_chunk;  // id
} hwm_stream_record;

// Counters of a table, rewritten with every group.
typedef struct hwm_table_state {
    uint64_t inserted_steps;
    uint64_t inserted_chunks;
    uint64_t evicted_steps;
    uint64_t sampled_steps;  // counted ones
    uint64_t next_chunk;     // id
    uint32_t next_env;       // for hwm_replay_assign
    uint8_t closed;
    uint8_t reserved[3];
} hwm_table_state;

// Environment indices first .. first + n - 1, handed out together; the incarnation counts how often
// they were before.
typedef struct hwm_env_range {
    uint32_t first, n, incarnation;
} hwm_env_range;

typedef struct hwm_store hwm_store;
typedef struct hwm_store_txn hwm_store_txn;    // the write transaction
typedef struct hwm_store_view hwm_store_view;  // a snapshot of one reader thread

// Returns HWM_OK, HWM_EIO (with what the operating system said), HWM_EVERSION (written by a newer
// format), HWM_EEXIST (another process owns the directory), HWM_ENOMEM.
hwm_status hwm_store_open(hwm_store** out, const hwm_replay_config* config, hwm_error* err);
void hwm_store_close(hwm_store** store);
size_t hwm_store_map_bytes(const hwm_store* store);  // quota
size_t hwm_store_map_bytes_max(const hwm_store* store);
// Pages in use now: of the file, and of those the free ones.
void hwm_store_pages(hwm_store* store, uint64_t* used_bytes, uint64_t* free_bytes);
// Commits since the oldest read transaction that is open now began: pages freed since then cannot
// be used again. 0: none is open.
uint64_t hwm_store_reader_lag(hwm_store* store);
// Bytes of the map that a value takes.
size_t hwm_store_class_bytes(size_t value_bytes);

// ---- write transaction
hwm_status hwm_store_begin(hwm_store* store, hwm_store_txn** txn, hwm_error* err);
hwm_status hwm_store_commit(hwm_store_txn** txn, hwm_error* err);  // on failure nothing has changed
void hwm_store_abort(hwm_store_txn** txn);
// HWM_EFULL: disk or map. All writers below return that, HWM_EIO or HWM_OK; after a failure only
// abort is allowed.
hwm_status hwm_store_table_put(hwm_store_txn* txn, int table, const hwm_table_config* config,
                               double limiter_offset, hwm_error* err);
hwm_status hwm_store_state_put(hwm_store_txn* txn, int table, const hwm_table_state* state,
                               hwm_error* err);
// Fills in crc, version, value_crc of *meta. id must be the largest so far.
hwm_status hwm_store_chunk_put(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                               const void* value, hwm_error* err);
hwm_status hwm_store_chunk_delete(hwm_store_txn* txn, int table, uint64_t id, hwm_error* err);
hwm_status hwm_store_meta_get(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                              hwm_error* err);
// Rewrites the metadata of a chunk (its crc is computed here).
hwm_status hwm_store_meta_put(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                              hwm_error* err);
hwm_status hwm_store_stream_put(hwm_store_txn* txn, int table, hwm_stream stream,
                                const hwm_stream_record* record, hwm_error* err);
hwm_status hwm_store_stream_delete(hwm_store_txn* txn, int table, hwm_stream stream,
                                   hwm_error* err);
hwm_status hwm_store_ranges_put(hwm_store_txn* txn, int table, const hwm_env_range* range, int n,
                                hwm_error* err);
hwm_status hwm_store_blob_put(hwm_store_txn* txn, const char* key, const void* value, size_t bytes,
                              hwm_error* err);
hwm_status hwm_store_blob_delete(hwm_store_txn* txn, const char* key, hwm_error* err);

// ---- start: what is stored, in key order. A visitor that returns anything but HWM_OK ends the
// walk with it.
typedef hwm_status (*hwm_visit_table)(void* context, int table, const hwm_table_config* config,
                                      double limiter_offset, const hwm_table_state* state);
typedef hwm_status (*hwm_visit_chunk)(void* context, uint64_t id, const hwm_chunk_meta* meta,
                                      const uint8_t* value);
typedef hwm_status (*hwm_visit_stream)(void* context, hwm_stream stream,
                                       const hwm_stream_record* record);
hwm_status hwm_store_each_table(hwm_store* store, hwm_visit_table visit, void* context,
                                hwm_error* err);
// HWM_ECORRUPT names the chunk whose metadata is damaged.
hwm_status hwm_store_each_chunk(hwm_store* store, int table, hwm_visit_chunk visit, void* context,
                                hwm_error* err);
hwm_status hwm_store_each_stream(hwm_store* store, int table, hwm_visit_stream visit, void* context,
                                 hwm_error* err);
// malloc'd: caller owns, free with free(). NULL and 0 where there are none.
hwm_status hwm_store_ranges_get(hwm_store* store, int table, hwm_env_range** range, int* n,
                                hwm_error* err);

// Every record, also the damaged ones: problem is NULL, or says what is wrong; then meta or value
// may be NULL. Reads every value, to check it against its CRC.
typedef void (*hwm_visit_record)(void* context, uint64_t id, const hwm_chunk_meta* meta,
                                 const char* problem);
hwm_status hwm_store_each_record(hwm_store* store, int table, hwm_visit_record visit, void* context,
                                 hwm_error* err);
// A consistent copy into an existing empty directory, while appends go on. The store may be owned
// by another process: hwm_store_open_reader.
hwm_status hwm_store_copy(hwm_store* store, const char* dir, hwm_error* err);
// The same into a new directory under that name, complete and on disk before the name appears
// (maintain.c).
hwm_status hwm_store_snapshot(hwm_store* store, const char* to, hwm_error* err);
// Only for copies: opens what another process may own, without writing to it.
hwm_status hwm_store_open_reader(hwm_store** out, const char* dir, hwm_error* err);

// ---- views: one per thread, refreshed for every batch
hwm_status hwm_store_view_create(hwm_store* store, hwm_store_view** view, hwm_error* err);
void hwm_store_view_destroy(hwm_store_view** view);
hwm_status hwm_store_view_begin(hwm_store_view* view, hwm_error* err);  // newest snapshot
void hwm_store_view_end(hwm_store_view* view);
// Addresses of the values of n consecutive chunks, within an open view; see DESIGN for how long
// they stay good.
hwm_status hwm_store_addresses(hwm_store_view* view, int table, uint64_t first_id, int n,
                               const uint8_t** value, hwm_error* err);
// malloc'd copy: caller owns, free with free().
hwm_status hwm_store_blob_get(hwm_store* store, const char* key, void** value, size_t* bytes,
                              hwm_error* err);
void hwm_store_blob_list(hwm_store* store, const char* prefix,
                         void (*visit)(void*, const char* key), void* context);

#endif
