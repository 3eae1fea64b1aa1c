// data path  [6] store
//
// The write transaction: chunks with their metadata, streams, tables, blobs.
#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "server/store_lmdb.h"
#include "server/table_record.h"

enum { CHECK_READERS = 64 };  // write transactions between two looks

hwm_status hwm_store_begin(hwm_store* store, hwm_store_txn** txn, hwm_error* err) {
    *txn = NULL;
    MDB_txn* t;
    // a reader that was killed holds its pages until somebody looks
    if (store->begun++ % CHECK_READERS == 0) {
        int dead = 0;
        mdb_reader_check(store->env, &dead);
    }
    int rc = mdb_txn_begin(store->env, NULL, 0, &t);
    if (rc != 0) {
        return hwm_store_failed(err, rc, "beginning a transaction");
    }
    store->writer = (hwm_store_txn){store, t, 0};
    *txn = &store->writer;
    return HWM_OK;
}

// Handles that were opened in a transaction which did not commit are void.
static void forget_created(hwm_store_txn* txn) {
    for (int t = 0; t < HWM_TABLES_MAX; t++) {
        if (txn->created & (1u << t)) {
            txn->store->table[t].open = false;
        }
    }
}

// The file is larger than planned: a line now, and again for every eighth of the quota.
static void tell_growth(hwm_store* store) {
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    size_t used = (info.me_last_pgno + 1) * store->page_bytes;
    if (used > store->grown_bytes) {
        hwm_log(HWM_LOG_WARN, "store", "the store grows beyond its quota",
                "file_bytes=%zu map_bytes=%zu map_bytes_max=%zu", used, store->map_bytes,
                store->map_bytes_max);
        store->grown_bytes = used + store->map_bytes / 8;
    }
}

hwm_status hwm_store_commit(hwm_store_txn** txn, hwm_error* err) {
    hwm_store_txn* t = *txn;
    *txn = NULL;
    int rc = mdb_txn_commit(t->txn);
    if (rc != 0) {
        forget_created(t);
        return hwm_store_failed(err, rc, "committing");
    }
    tell_growth(t->store);
    return HWM_OK;
}

void hwm_store_abort(hwm_store_txn** txn) {
    if (*txn != NULL) {
        mdb_txn_abort((*txn)->txn);
        forget_created(*txn);
        *txn = NULL;
    }
}

hwm_status hwm_store_table_put(hwm_store_txn* txn, int table, const hwm_table_config* config,
                               double limiter_offset, hwm_error* err) {
    size_t id = (size_t)table;
    MDB_val key = {sizeof id, &id}, value = {hwm_table_record_bytes(config), NULL};
    int rc = mdb_put(txn->txn, txn->store->tables, &key, &value, MDB_RESERVE);
    if (rc != 0) {
        return hwm_store_failed(err, rc, "storing a table");
    }
    hwm_table_record_write(config, limiter_offset, value.mv_data);
    if (txn->store->table[table].open) {
        return HWM_OK;
    }
    txn->created |= 1u << table;
    return hwm_store_open_table(txn->store, txn->txn, table,
                                config->signature.n_columns + config->signature.n_keys, MDB_CREATE,
                                err);
}

hwm_status hwm_store_state_put(hwm_store_txn* txn, int table, const hwm_table_state* state,
                               hwm_error* err) {
    size_t id = (size_t)table;
    MDB_val key = {sizeof id, &id}, value = {sizeof *state, (void*)state};
    int rc = mdb_put(txn->txn, txn->store->states, &key, &value, 0);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "storing the counters of a table");
}

size_t hwm_meta_bytes(int n_offsets) {
    return offsetof(hwm_chunk_meta, offset) + (size_t)n_offsets * sizeof(uint32_t);
}

static void meta_seal(hwm_chunk_meta* meta) {
    size_t skip = offsetof(hwm_chunk_meta, version);
    meta->version = HWM_META_VERSION;
    meta->crc = hwm_crc32c(0, (uint8_t*)meta + skip, hwm_meta_bytes((int)meta->n_offsets) - skip);
}

// Copy and checksum in blocks that stay in the first-level cache, so that memory is walked once.
static uint32_t copy_and_sum(uint8_t* to, const uint8_t* from, size_t bytes) {
    enum { BLOCK = 16384 };
    uint32_t crc = 0;
    for (size_t done = 0; done < bytes; done += BLOCK) {
        size_t n = bytes - done < BLOCK ? bytes - done : BLOCK;
        memcpy(to + done, from + done, n);
        crc = hwm_crc32c(crc, from + done, n);
    }
    return crc;
}

hwm_status hwm_store_chunk_put(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                               const void* value, hwm_error* err) {
    const hwm_table_handles* t = &txn->store->table[table];
    size_t padded = hwm_store_class_bytes(meta->value_bytes) - HWM_OVERFLOW_HEADER;
    MDB_val key = {sizeof id, &id}, v = {padded, NULL};
    int rc = mdb_put(txn->txn, t->values, &key, &v, MDB_APPEND | MDB_RESERVE);
    if (rc != 0) {
        return hwm_store_failed(err, rc, "storing a chunk");
    }
    meta->value_crc = copy_and_sum(v.mv_data, value, meta->value_bytes);
    memset((uint8_t*)v.mv_data + meta->value_bytes, 0, padded - meta->value_bytes);
    meta->n_offsets = (uint32_t)t->n_offsets;
    meta_seal(meta);
    v = (MDB_val){hwm_meta_bytes(t->n_offsets), meta};
    rc = mdb_put(txn->txn, t->chunks, &key, &v, MDB_APPEND);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "storing the metadata of a chunk");
}

hwm_status hwm_store_chunk_delete(hwm_store_txn* txn, int table, uint64_t id, hwm_error* err) {
    const hwm_table_handles* t = &txn->store->table[table];
    MDB_val key = {sizeof id, &id};
    // one half may be missing where a damaged chunk is removed
    int rc = mdb_del(txn->txn, t->chunks, &key, NULL);
    int rc_value = mdb_del(txn->txn, t->values, &key, NULL);
    if (rc == 0 || rc == MDB_NOTFOUND) {
        rc = rc_value != 0 && (rc_value != MDB_NOTFOUND || rc == MDB_NOTFOUND) ? rc_value : 0;
    }
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "deleting a chunk");
}

hwm_status hwm_store_meta_get(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                              hwm_error* err) {
    const hwm_table_handles* t = &txn->store->table[table];
    MDB_val key = {sizeof id, &id}, value;
    int rc = mdb_get(txn->txn, t->chunks, &key, &value);
    return rc == 0 ? hwm_meta_read(&value, t->n_offsets, id, meta, err)
                   : hwm_store_failed(err, rc, "reading the metadata of a chunk");
}

hwm_status hwm_store_meta_put(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                              hwm_error* err) {
    const hwm_table_handles* t = &txn->store->table[table];
    meta_seal(meta);
    MDB_val key = {sizeof id, &id}, value = {hwm_meta_bytes(t->n_offsets), meta};
    int rc = mdb_put(txn->txn, t->chunks, &key, &value, 0);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "storing the metadata of a chunk");
}

hwm_stream_key hwm_stream_key_of(int table, hwm_stream stream) {
    return (hwm_stream_key){__builtin_bswap32((uint32_t)table), __builtin_bswap32(stream.env),
                            __builtin_bswap32(stream.incarnation)};
}

hwm_status hwm_store_stream_put(hwm_store_txn* txn, int table, hwm_stream stream,
                                const hwm_stream_record* record, hwm_error* err) {
    hwm_stream_key k = hwm_stream_key_of(table, stream);
    MDB_val key = {sizeof k, &k}, value = {sizeof *record, (void*)record};
    int rc = mdb_put(txn->txn, txn->store->streams, &key, &value, 0);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "storing a stream");
}

hwm_status hwm_store_stream_delete(hwm_store_txn* txn, int table, hwm_stream stream,
                                   hwm_error* err) {
    hwm_stream_key k = hwm_stream_key_of(table, stream);
    MDB_val key = {sizeof k, &k};
    int rc = mdb_del(txn->txn, txn->store->streams, &key, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? HWM_OK : hwm_store_failed(err, rc, "deleting a stream");
}

hwm_status hwm_blob_key(const char* name, MDB_val* key, hwm_error* err) {
    size_t n = strlen(name);
    if (n == 0 || n > 500) {
        return hwm_fail(err, HWM_EINVAL, "a blob's key has 1 to 500 bytes, not %zu", n);
    }
    *key = (MDB_val){n, (void*)name};
    return HWM_OK;
}

hwm_status hwm_store_ranges_put(hwm_store_txn* txn, int table, const hwm_env_range* range, int n,
                                hwm_error* err) {
    size_t id = HWM_STORE_RANGES_KEY + (size_t)table;
    MDB_val key = {sizeof id, &id}, value = {(size_t)n * sizeof *range, (void*)range};
    int rc = mdb_put(txn->txn, txn->store->states, &key, &value, 0);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "storing environment ranges");
}

hwm_status hwm_store_blob_put(hwm_store_txn* txn, const char* key, const void* value, size_t bytes,
                              hwm_error* err) {
    MDB_val k, v = {bytes + 4, NULL};
    hwm_status status = hwm_blob_key(key, &k, err);
    if (status != HWM_OK) {
        return status;
    }
    int rc = mdb_put(txn->txn, txn->store->blobs, &k, &v, MDB_RESERVE);
    if (rc != 0) {
        return hwm_store_failed(err, rc, "storing a blob");
    }
    uint32_t crc = hwm_crc32c(0, value, bytes);
    memcpy(v.mv_data, &crc, 4);
    if (bytes > 0) {
        memcpy((uint8_t*)v.mv_data + 4, value, bytes);
    }
    return HWM_OK;
}

hwm_status hwm_store_blob_delete(hwm_store_txn* txn, const char* key, hwm_error* err) {
    MDB_val k;
    hwm_status status = hwm_blob_key(key, &k, err);
    if (status != HWM_OK) {
        return status;
    }
    int rc = mdb_del(txn->txn, txn->store->blobs, &k, NULL);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "deleting a blob");
}
