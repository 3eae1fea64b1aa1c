// data path  [6] store
//
// What the files of the store share, and the one includer of LMDB: store.c (open, close, pages),
// store_write.c (the write transaction), store_read.c (walks at the start, views).
#ifndef HWM_SERVER_STORE_LMDB_H
#define HWM_SERVER_STORE_LMDB_H

#include <lmdb.h>

#include "server/store.h"

// Bytes that LMDB puts before a value on overflow pages.
enum { HWM_OVERFLOW_HEADER = 16 };

typedef struct hwm_table_handles {
    bool open;
    MDB_dbi chunks, values;
    int n_offsets;
} hwm_table_handles;

struct hwm_store {
    MDB_env* env;
    int lock_fd;  // flock on DIR/owner: one process
    size_t page_bytes;
    size_t map_bytes;      // quota
    size_t map_bytes_max;  // addresses taken from the start, so that growing moves nothing
    size_t grown_bytes;    // what the file may take before the next word about it
    uint64_t begun;        // write transactions
    MDB_dbi tables, states, streams, blobs;
    hwm_table_handles table[HWM_TABLES_MAX];
    struct hwm_store_txn {
        hwm_store* store;
        MDB_txn* txn;
        uint32_t created;  // bit t: the handles of table t were opened in this transaction
    } writer;
};

// Keys of "states" beside those of the tables.
enum { HWM_STORE_RANGES_KEY = 0x10000 };  // + table

// Key of "streams": big-endian, so that the streams of a table stand together in key order.
typedef struct hwm_stream_key {
    uint32_t table, env, incarnation;
} hwm_stream_key;
hwm_stream_key hwm_stream_key_of(int table, hwm_stream stream);

struct hwm_store_view {
    hwm_store* store;
    MDB_txn* txn;
    bool active;
};

// What LMDB's code means here, as a status with a sentence.
hwm_status hwm_store_failed(hwm_error* err, int rc, const char* what);
hwm_status hwm_store_open_table(hwm_store* store, MDB_txn* txn, int table, int n_offsets,
                                unsigned flags, hwm_error* err);
// Metadata of a chunk from its record, checked.
hwm_status hwm_meta_read(const MDB_val* value, int n_offsets, uint64_t id, hwm_chunk_meta* meta,
                         hwm_error* err);
size_t hwm_meta_bytes(int n_offsets);
// LMDB keys hold 511 bytes; blob keys are short names.
hwm_status hwm_blob_key(const char* name, MDB_val* key, hwm_error* err);

#endif
