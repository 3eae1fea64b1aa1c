// data path  [6] store
#include "server/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/log.h"
#include "server/table_record.h"

enum { STORE_FORMAT = 1, OVERFLOW_HEADER = 16, READERS_MAX = 64 };

typedef struct table_handles {
    bool open;
    MDB_dbi chunks, values;
    int n_offsets;
} table_handles;

struct hwm_store {
    MDB_env* env;
    int lock_fd;  // flock on DIR/owner: one process
    size_t page_bytes, map_bytes;
    MDB_dbi tables, states, streams, blobs;
    table_handles table[HWM_TABLES_MAX];
    struct hwm_store_txn {
        hwm_store* store;
        MDB_txn* txn;
        uint32_t created;  // bit t: the handles of table t were opened in this transaction
    } writer;
};

struct hwm_store_view {
    hwm_store* store;
    MDB_txn* txn;
    bool active;
};

static hwm_status failed(hwm_error* err, int rc, const char* what) {
    switch (rc) {
    case ENOSPC:
    case EDQUOT:
        return hwm_fail(err, HWM_EFULL, "%s: the disk of the replay directory is full", what);
    case MDB_MAP_FULL:
        return hwm_fail(err, HWM_EFULL,
                        "%s: the map is full: raise store.map_bytes or lower the capacity", what);
    case MDB_TXN_FULL:
        return hwm_fail(err, HWM_EFULL, "%s: too much in one group", what);
    case ENOMEM:
        return hwm_fail(err, HWM_ENOMEM, "%s: out of memory", what);
    case MDB_NOTFOUND:
        return hwm_fail(err, HWM_ENOTFOUND, "%s: not found", what);
    case MDB_VERSION_MISMATCH:
    case MDB_INVALID:
        return hwm_fail(err, HWM_EVERSION, "%s: not a replay directory of this format (%s)", what,
                        mdb_strerror(rc));
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return hwm_fail(err, HWM_ECORRUPT, "%s: %s; try: hwm check DIR --repair", what,
                        mdb_strerror(rc));
    default:
        return hwm_fail(err, HWM_EIO, "%s: %s", what, mdb_strerror(rc));
    }
}

// ---- open and close

static hwm_status open_table(hwm_store* store, MDB_txn* txn, int table, int n_offsets,
                             unsigned flags, hwm_error* err) {
    char name[32];
    table_handles* t = &store->table[table];
    snprintf(name, sizeof name, "chunks.%d", table);
    int rc = mdb_dbi_open(txn, name, MDB_INTEGERKEY | flags, &t->chunks);
    if (rc == 0) {
        snprintf(name, sizeof name, "values.%d", table);
        rc = mdb_dbi_open(txn, name, MDB_INTEGERKEY | flags, &t->values);
    }
    if (rc != 0) {
        return failed(err, rc, "opening a table of the store");
    }
    t->n_offsets = n_offsets;
    t->open = true;
    return HWM_OK;
}

// The named databases, and those of the tables that exist.
static hwm_status open_databases(hwm_store* store, hwm_error* err) {
    MDB_txn* txn = NULL;
    MDB_cursor* cursor = NULL;
    hwm_status status = HWM_OK;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "tables", MDB_CREATE | MDB_INTEGERKEY, &store->tables);
    }
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "states", MDB_CREATE | MDB_INTEGERKEY, &store->states);
    }
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "streams", MDB_CREATE, &store->streams);
    }
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "blobs", MDB_CREATE, &store->blobs);
    }
    // a directory of a newer program is refused, not damaged
    uint32_t format = STORE_FORMAT;
    size_t format_key = SIZE_MAX;
    MDB_val key = {sizeof format_key, &format_key}, value;
    if (rc == 0) {
        rc = mdb_get(txn, store->states, &key, &value);
        if (rc == MDB_NOTFOUND) {
            value = (MDB_val){sizeof format, &format};
            rc = mdb_put(txn, store->states, &key, &value, 0);
        } else if (rc == 0) {
            if (value.mv_size == sizeof format) {
                memcpy(&format, value.mv_data, sizeof format);
            }
            if (value.mv_size != sizeof format || format != STORE_FORMAT) {
                status = hwm_fail(err, HWM_EVERSION,
                                  "the replay directory has format %u; this program reads %d",
                                  format, STORE_FORMAT);
                goto done;
            }
        }
    }
    if (rc == 0) {
        rc = mdb_cursor_open(txn, store->tables, &cursor);
    }
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t id;
        memcpy(&id, key.mv_data, sizeof id);
        hwm_table_config config;
        char* experiment = NULL;
        status = id < HWM_TABLES_MAX ? hwm_table_record_read(value.mv_data, value.mv_size, &config,
                                                             &experiment, err)
                                     : hwm_fail(err, HWM_ECORRUPT, "the store names table %zu", id);
        free(experiment);
        if (status == HWM_OK) {
            status = open_table(store, txn, (int)id,
                                config.signature.n_columns + config.signature.n_keys, 0, err);
        }
        if (status != HWM_OK) {
            goto done;
        }
    }
    if (rc != 0 && rc != MDB_NOTFOUND) {
        status = failed(err, rc, "reading the tables of the store");
    }
done:
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    if (txn == NULL) {
        return status;
    }
    if (status != HWM_OK) {
        mdb_txn_abort(txn);
        return status;
    }
    rc = mdb_txn_commit(txn);
    return rc == 0 ? HWM_OK : failed(err, rc, "creating the store");
}

hwm_status hwm_store_open(hwm_store** out, const hwm_replay_config* config, hwm_error* err) {
    *out = NULL;
    hwm_store* store = calloc(1, sizeof *store);
    if (store == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for the store");
    }
    store->lock_fd = -1;
    hwm_status status = HWM_OK;
    char path[HWM_CONFIG_STRING_MAX + 16];
    if (mkdir(config->dir, 0777) != 0 && errno != EEXIST) {
        status = hwm_fail(err, HWM_EIO, "cannot create %s: %s", config->dir, strerror(errno));
        goto fail;
    }
    snprintf(path, sizeof path, "%s/owner", config->dir);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->lock_fd < 0) {
        status = hwm_fail(err, HWM_EIO, "cannot open %s: %s", path, strerror(errno));
        goto fail;
    }
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        status = hwm_fail(err, HWM_EEXIST, "%s is in use by another process", config->dir);
        goto fail;
    }

    // no read-ahead: windows are small and random, and chunks may be more than memory holds
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    flags |= config->durability == HWM_DURABLE_GROUP     ? MDB_NOMETASYNC
             : config->durability == HWM_DURABLE_PROCESS ? MDB_NOSYNC
                                                         : 0;
    store->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t map_bytes = (size_t)config->map_bytes / store->page_bytes * store->page_bytes;
    int rc = mdb_env_create(&store->env);
    if (rc == 0) {
        rc = mdb_env_set_mapsize(store->env, map_bytes);
    }
    if (rc == 0) {
        rc = mdb_env_set_maxdbs(store->env, 4 + 2 * HWM_TABLES_MAX);
    }
    if (rc == 0) {
        rc = mdb_env_set_maxreaders(store->env, READERS_MAX);
    }
    if (rc == 0) {
        rc = mdb_env_open(store->env, config->dir, flags, 0666);
    }
    if (rc != 0) {
        status = failed(err, rc, config->dir);
        goto fail;
    }
    int dead = 0;
    mdb_reader_check(store->env, &dead);
    status = open_databases(store, err);
    if (status != HWM_OK) {
        goto fail;
    }
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    store->map_bytes = info.me_mapsize;
    MDB_stat stat;
    mdb_env_stat(store->env, &stat);
    store->page_bytes = stat.ms_psize;
    *out = store;
    return HWM_OK;
fail:
    hwm_store_close(&store);
    return status;
}

void hwm_store_close(hwm_store** store) {
    hwm_store* s = *store;
    if (s == NULL) {
        return;
    }
    if (s->env != NULL) {
        mdb_env_close(s->env);
    }
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    free(s);
    *store = NULL;
}

size_t hwm_store_map_bytes(const hwm_store* store) {
    return store->map_bytes;
}

void hwm_store_pages(hwm_store* store, uint64_t* used_bytes, uint64_t* free_bytes) {
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    *used_bytes = (info.me_last_pgno + 1) * store->page_bytes;
    *free_bytes = 0;
    // database 0 is LMDB's own list of free pages: each value is a count followed by page numbers
    MDB_txn* txn;
    MDB_cursor* cursor;
    if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != 0) {
        return;
    }
    if (mdb_cursor_open(txn, 0, &cursor) == 0) {
        MDB_val key, value;
        while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
            size_t count;
            memcpy(&count, value.mv_data, sizeof count);
            *free_bytes += count * store->page_bytes;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
}

// Whole pages: all counts up to 8, then eight classes per power of two, so that at most 1/8 is
// padding and a page run that eviction frees fits the chunks that follow.
size_t hwm_store_class_bytes(size_t value_bytes) {
    size_t pages = (value_bytes + OVERFLOW_HEADER + 4095) / 4096;
    if (pages > 8) {
        size_t unit = (size_t)1 << (60 - __builtin_clzll(pages - 1));
        pages = (pages + unit - 1) / unit * unit;
    }
    return pages * 4096;
}

// ---- write transaction

hwm_status hwm_store_begin(hwm_store* store, hwm_store_txn** txn, hwm_error* err) {
    *txn = NULL;
    MDB_txn* t;
    int rc = mdb_txn_begin(store->env, NULL, 0, &t);
    if (rc != 0) {
        return failed(err, rc, "beginning a transaction");
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

hwm_status hwm_store_commit(hwm_store_txn** txn, hwm_error* err) {
    hwm_store_txn* t = *txn;
    *txn = NULL;
    int rc = mdb_txn_commit(t->txn);
    if (rc != 0) {
        forget_created(t);
        return failed(err, rc, "committing");
    }
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
                               hwm_error* err) {
    size_t id = (size_t)table;
    MDB_val key = {sizeof id, &id}, value = {hwm_table_record_bytes(config), NULL};
    int rc = mdb_put(txn->txn, txn->store->tables, &key, &value, MDB_RESERVE);
    if (rc != 0) {
        return failed(err, rc, "storing a table");
    }
    hwm_table_record_write(config, value.mv_data);
    if (txn->store->table[table].open) {
        return HWM_OK;
    }
    txn->created |= 1u << table;
    return open_table(txn->store, txn->txn, table,
                      config->signature.n_columns + config->signature.n_keys, MDB_CREATE, err);
}

hwm_status hwm_store_state_put(hwm_store_txn* txn, int table, const hwm_table_state* state,
                               hwm_error* err) {
    size_t id = (size_t)table;
    MDB_val key = {sizeof id, &id}, value = {sizeof *state, (void*)state};
    int rc = mdb_put(txn->txn, txn->store->states, &key, &value, 0);
    return rc == 0 ? HWM_OK : failed(err, rc, "storing the counters of a table");
}

static size_t meta_bytes(int n_offsets) {
    return offsetof(hwm_chunk_meta, offset) + (size_t)n_offsets * sizeof(uint32_t);
}

static void meta_seal(hwm_chunk_meta* meta) {
    size_t skip = offsetof(hwm_chunk_meta, version);
    meta->version = HWM_META_VERSION;
    meta->crc = hwm_crc32c(0, (uint8_t*)meta + skip, meta_bytes((int)meta->n_offsets) - skip);
}

static hwm_status meta_read(const MDB_val* value, int n_offsets, uint64_t id, hwm_chunk_meta* meta,
                            hwm_error* err) {
    size_t bytes = meta_bytes(n_offsets), skip = offsetof(hwm_chunk_meta, version);
    if (value->mv_size != bytes) {
        return hwm_fail(err, HWM_ECORRUPT, "metadata of chunk %llu has %zu bytes instead of %zu",
                        (unsigned long long)id, value->mv_size, bytes);
    }
    memcpy(meta, value->mv_data, bytes);
    if (meta->crc != hwm_crc32c(0, (uint8_t*)meta + skip, bytes - skip)) {
        return hwm_fail(err, HWM_ECORRUPT, "metadata of chunk %llu fails its checksum",
                        (unsigned long long)id);
    }
    if (meta->version != HWM_META_VERSION) {
        return hwm_fail(err, HWM_EVERSION,
                        "metadata of chunk %llu is of version %u; this program reads %d",
                        (unsigned long long)id, meta->version, HWM_META_VERSION);
    }
    return HWM_OK;
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
    const table_handles* t = &txn->store->table[table];
    size_t padded = hwm_store_class_bytes(meta->value_bytes) - OVERFLOW_HEADER;
    MDB_val key = {sizeof id, &id}, v = {padded, NULL};
    int rc = mdb_put(txn->txn, t->values, &key, &v, MDB_APPEND | MDB_RESERVE);
    if (rc != 0) {
        return failed(err, rc, "storing a chunk");
    }
    meta->value_crc = copy_and_sum(v.mv_data, value, meta->value_bytes);
    memset((uint8_t*)v.mv_data + meta->value_bytes, 0, padded - meta->value_bytes);
    meta->n_offsets = (uint32_t)t->n_offsets;
    meta_seal(meta);
    v = (MDB_val){meta_bytes(t->n_offsets), meta};
    rc = mdb_put(txn->txn, t->chunks, &key, &v, MDB_APPEND);
    return rc == 0 ? HWM_OK : failed(err, rc, "storing the metadata of a chunk");
}

hwm_status hwm_store_chunk_delete(hwm_store_txn* txn, int table, uint64_t id, hwm_error* err) {
    const table_handles* t = &txn->store->table[table];
    MDB_val key = {sizeof id, &id};
    // one half may be missing where a damaged chunk is removed
    int rc = mdb_del(txn->txn, t->chunks, &key, NULL);
    int rc_value = mdb_del(txn->txn, t->values, &key, NULL);
    if (rc == 0 || rc == MDB_NOTFOUND) {
        rc = rc_value != 0 && (rc_value != MDB_NOTFOUND || rc == MDB_NOTFOUND) ? rc_value : 0;
    }
    return rc == 0 ? HWM_OK : failed(err, rc, "deleting a chunk");
}

hwm_status hwm_store_meta_get(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                              hwm_error* err) {
    const table_handles* t = &txn->store->table[table];
    MDB_val key = {sizeof id, &id}, value;
    int rc = mdb_get(txn->txn, t->chunks, &key, &value);
    return rc == 0 ? meta_read(&value, t->n_offsets, id, meta, err)
                   : failed(err, rc, "reading the metadata of a chunk");
}

hwm_status hwm_store_meta_put(hwm_store_txn* txn, int table, uint64_t id, hwm_chunk_meta* meta,
                              hwm_error* err) {
    const table_handles* t = &txn->store->table[table];
    meta_seal(meta);
    MDB_val key = {sizeof id, &id}, value = {meta_bytes(t->n_offsets), meta};
    int rc = mdb_put(txn->txn, t->chunks, &key, &value, 0);
    return rc == 0 ? HWM_OK : failed(err, rc, "storing the metadata of a chunk");
}

// Big-endian, so that the streams of a table stand together in key order.
typedef struct stream_key {
    uint32_t table, env, incarnation;
} stream_key;

static stream_key stream_key_of(int table, hwm_stream stream) {
    return (stream_key){__builtin_bswap32((uint32_t)table), __builtin_bswap32(stream.env),
                        __builtin_bswap32(stream.incarnation)};
}

hwm_status hwm_store_stream_put(hwm_store_txn* txn, int table, hwm_stream stream,
                                const hwm_stream_record* record, hwm_error* err) {
    stream_key k = stream_key_of(table, stream);
    MDB_val key = {sizeof k, &k}, value = {sizeof *record, (void*)record};
    int rc = mdb_put(txn->txn, txn->store->streams, &key, &value, 0);
    return rc == 0 ? HWM_OK : failed(err, rc, "storing a stream");
}

hwm_status hwm_store_stream_delete(hwm_store_txn* txn, int table, hwm_stream stream,
                                   hwm_error* err) {
    stream_key k = stream_key_of(table, stream);
    MDB_val key = {sizeof k, &k};
    int rc = mdb_del(txn->txn, txn->store->streams, &key, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? HWM_OK : failed(err, rc, "deleting a stream");
}

// LMDB keys hold 511 bytes; blob keys are short names.
static hwm_status blob_key(const char* name, MDB_val* key, hwm_error* err) {
    size_t n = strlen(name);
    if (n == 0 || n > 500) {
        return hwm_fail(err, HWM_EINVAL, "a blob's key has 1 to 500 bytes, not %zu", n);
    }
    *key = (MDB_val){n, (void*)name};
    return HWM_OK;
}

enum { RANGES_KEY = 0x10000 };  // in "states": RANGES_KEY + table

hwm_status hwm_store_ranges_put(hwm_store_txn* txn, int table, const hwm_env_range* range, int n,
                                hwm_error* err) {
    size_t id = RANGES_KEY + (size_t)table;
    MDB_val key = {sizeof id, &id}, value = {(size_t)n * sizeof *range, (void*)range};
    int rc = mdb_put(txn->txn, txn->store->states, &key, &value, 0);
    return rc == 0 ? HWM_OK : failed(err, rc, "storing environment ranges");
}

hwm_status hwm_store_blob_put(hwm_store_txn* txn, const char* key, const void* value, size_t bytes,
                              hwm_error* err) {
    MDB_val k, v = {bytes + 4, NULL};
    hwm_status status = blob_key(key, &k, err);
    if (status != HWM_OK) {
        return status;
    }
    int rc = mdb_put(txn->txn, txn->store->blobs, &k, &v, MDB_RESERVE);
    if (rc != 0) {
        return failed(err, rc, "storing a blob");
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
    hwm_status status = blob_key(key, &k, err);
    if (status != HWM_OK) {
        return status;
    }
    int rc = mdb_del(txn->txn, txn->store->blobs, &k, NULL);
    return rc == 0 ? HWM_OK : failed(err, rc, "deleting a blob");
}

// ---- start

// A read transaction with a cursor on one database, for a walk in key order.
typedef struct walk {
    MDB_txn* txn;
    MDB_cursor* cursor;
} walk;

static int walk_begin(walk* w, hwm_store* store, MDB_dbi dbi) {
    *w = (walk){0};
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &w->txn);
    if (rc == 0) {
        rc = mdb_cursor_open(w->txn, dbi, &w->cursor);
    }
    return rc;
}

static void walk_end(walk* w) {
    if (w->cursor != NULL) {
        mdb_cursor_close(w->cursor);
    }
    if (w->txn != NULL) {
        mdb_txn_abort(w->txn);
    }
}

hwm_status hwm_store_each_table(hwm_store* store, hwm_visit_table visit, void* context,
                                hwm_error* err) {
    walk w;
    MDB_val key, value, state_value;
    hwm_status status = HWM_OK;
    int rc = walk_begin(&w, store, store->tables);
    while (rc == 0 && status == HWM_OK &&
           (rc = mdb_cursor_get(w.cursor, &key, &value, MDB_NEXT)) == 0) {
        hwm_table_config config;
        hwm_table_state state = {.next_chunk = 1};
        char* experiment;
        size_t id;
        memcpy(&id, key.mv_data, sizeof id);
        status = hwm_table_record_read(value.mv_data, value.mv_size, &config, &experiment, err);
        if (status == HWM_OK && mdb_get(w.txn, store->states, &key, &state_value) == 0 &&
            state_value.mv_size == sizeof state) {
            memcpy(&state, state_value.mv_data, sizeof state);
        }
        if (status == HWM_OK) {
            status = visit(context, (int)id, &config, &state);
        }
        free(experiment);
    }
    walk_end(&w);
    return status != HWM_OK || rc == 0 || rc == MDB_NOTFOUND
               ? status
               : failed(err, rc, "reading the tables");
}

hwm_status hwm_store_each_chunk(hwm_store* store, int table, hwm_visit_chunk visit, void* context,
                                hwm_error* err) {
    const table_handles* t = &store->table[table];
    walk w;
    MDB_cursor* values = NULL;
    MDB_val key, value, value_key, bytes;
    hwm_status status = HWM_OK;
    int rc = walk_begin(&w, store, t->chunks);
    if (rc == 0) {
        rc = mdb_cursor_open(w.txn, t->values, &values);
    }
    // both trees hold the same ids: two cursors side by side, without looking at a value
    while (rc == 0 && status == HWM_OK &&
           (rc = mdb_cursor_get(w.cursor, &key, &value, MDB_NEXT)) == 0) {
        hwm_chunk_meta meta;
        uint64_t id, value_id = 0;
        memcpy(&id, key.mv_data, sizeof id);
        status = meta_read(&value, t->n_offsets, id, &meta, err);
        if (status != HWM_OK) {
            break;
        }
        rc = mdb_cursor_get(values, &value_key, &bytes, MDB_NEXT);
        if (rc == 0) {
            memcpy(&value_id, value_key.mv_data, sizeof value_id);
        }
        if (rc != 0 || value_id != id || bytes.mv_size < meta.value_bytes) {
            status = hwm_fail(err, HWM_ECORRUPT, "chunk %llu has metadata but no value",
                              (unsigned long long)id);
            break;
        }
        status = visit(context, id, &meta, bytes.mv_data);
    }
    if (values != NULL) {
        mdb_cursor_close(values);
    }
    walk_end(&w);
    return status != HWM_OK || rc == 0 || rc == MDB_NOTFOUND
               ? status
               : failed(err, rc, "reading the chunks");
}

static const char* record_problem(const hwm_chunk_meta* meta, const MDB_val* value, int n_offsets) {
    if (value->mv_size < meta->value_bytes) {
        return "its value is shorter than its metadata says";
    }
    for (int i = 0; i < n_offsets; i++) {
        if (meta->offset[i] > meta->value_bytes) {
            return "its metadata points outside its value";
        }
    }
    return hwm_crc32c(0, value->mv_data, meta->value_bytes) == meta->value_crc
               ? NULL
               : "its value fails its checksum";
}

hwm_status hwm_store_each_record(hwm_store* store, int table, hwm_visit_record visit, void* context,
                                 hwm_error* err) {
    const table_handles* t = &store->table[table];
    walk w;
    MDB_cursor* values = NULL;
    MDB_val key, meta_value, value_key, value;
    int rc = walk_begin(&w, store, t->chunks);
    if (rc == 0) {
        rc = mdb_cursor_open(w.txn, t->values, &values);
    }
    if (rc == 0) {
        // a merge of the two trees by id
        uint64_t id = 0, value_id = 0;
        int more = mdb_cursor_get(w.cursor, &key, &meta_value, MDB_NEXT);
        int more_values = mdb_cursor_get(values, &value_key, &value, MDB_NEXT);
        while (more == 0 || more_values == 0) {
            hwm_chunk_meta meta;
            hwm_error damage;
            memcpy(&id, more == 0 ? key.mv_data : value_key.mv_data, sizeof id);
            memcpy(&value_id, more_values == 0 ? value_key.mv_data : key.mv_data, sizeof value_id);
            bool has_meta = more == 0 && (more_values != 0 || id <= value_id);
            bool has_value = more_values == 0 && (more != 0 || value_id <= id);
            if (!has_value) {
                visit(context, id, NULL, "it has metadata but no value");
            } else if (!has_meta) {
                visit(context, value_id, NULL, "it has a value but no metadata");
            } else if (meta_read(&meta_value, t->n_offsets, id, &meta, &damage) != HWM_OK) {
                visit(context, id, NULL, "its metadata are damaged");
            } else {
                visit(context, id, &meta, record_problem(&meta, &value, t->n_offsets));
            }
            if (has_meta) {
                more = mdb_cursor_get(w.cursor, &key, &meta_value, MDB_NEXT);
            }
            if (has_value) {
                more_values = mdb_cursor_get(values, &value_key, &value, MDB_NEXT);
            }
        }
        rc = more != MDB_NOTFOUND ? more : more_values != MDB_NOTFOUND ? more_values : 0;
    }
    if (values != NULL) {
        mdb_cursor_close(values);
    }
    walk_end(&w);
    return rc == 0 ? HWM_OK : failed(err, rc, "reading the chunks");
}

hwm_status hwm_store_open_reader(hwm_store** out, const char* dir, hwm_error* err) {
    *out = NULL;
    hwm_store* store = calloc(1, sizeof *store);
    if (store == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for the store");
    }
    store->lock_fd = -1;
    int rc = mdb_env_create(&store->env);
    if (rc == 0) {
        rc = mdb_env_open(store->env, dir, MDB_RDONLY | MDB_NOTLS, 0666);
    }
    if (rc != 0) {
        hwm_store_close(&store);
        return failed(err, rc, dir);
    }
    *out = store;
    return HWM_OK;
}

hwm_status hwm_store_copy(hwm_store* store, const char* dir, hwm_error* err) {
    int rc = mdb_env_copy2(store->env, dir, 0);
    return rc == 0 ? HWM_OK : failed(err, rc, dir);
}

hwm_status hwm_store_each_stream(hwm_store* store, int table, hwm_visit_stream visit, void* context,
                                 hwm_error* err) {
    walk w;
    stream_key first = stream_key_of(table, (hwm_stream){0});
    MDB_val key = {sizeof first, &first}, value;
    hwm_status status = HWM_OK;
    int rc = walk_begin(&w, store, store->streams);
    MDB_cursor_op op = MDB_SET_RANGE;
    while (rc == 0 && status == HWM_OK && (rc = mdb_cursor_get(w.cursor, &key, &value, op)) == 0) {
        stream_key k;
        hwm_stream_record record;
        op = MDB_NEXT;
        if (key.mv_size != sizeof k || value.mv_size != sizeof record) {
            status = hwm_fail(err, HWM_ECORRUPT, "a stream record has %zu bytes", value.mv_size);
            break;
        }
        memcpy(&k, key.mv_data, sizeof k);
        memcpy(&record, value.mv_data, sizeof record);
        if (k.table != first.table) {
            break;
        }
        status =
            visit(context, (hwm_stream){__builtin_bswap32(k.env), __builtin_bswap32(k.incarnation)},
                  &record);
    }
    walk_end(&w);
    return status != HWM_OK || rc == 0 || rc == MDB_NOTFOUND
               ? status
               : failed(err, rc, "reading the streams");
}

hwm_status hwm_store_ranges_get(hwm_store* store, int table, hwm_env_range** range, int* n,
                                hwm_error* err) {
    *range = NULL;
    *n = 0;
    size_t id = RANGES_KEY + (size_t)table;
    MDB_val key = {sizeof id, &id}, value;
    MDB_txn* txn;
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return failed(err, rc, "reading environment ranges");
    }
    hwm_status status = HWM_OK;
    rc = mdb_get(txn, store->states, &key, &value);
    if (rc == 0 && value.mv_size > 0) {
        *range = malloc(value.mv_size);
        if (*range == NULL) {
            status = hwm_fail(err, HWM_ENOMEM, "no memory for environment ranges");
        } else {
            memcpy(*range, value.mv_data, value.mv_size);
            *n = (int)(value.mv_size / sizeof **range);
        }
    } else if (rc != 0 && rc != MDB_NOTFOUND) {
        status = failed(err, rc, "reading environment ranges");
    }
    mdb_txn_abort(txn);
    return status;
}

// ---- views

hwm_status hwm_store_view_create(hwm_store* store, hwm_store_view** view, hwm_error* err) {
    *view = calloc(1, sizeof **view);
    if (*view == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a view");
    }
    (*view)->store = store;
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &(*view)->txn);
    if (rc != 0) {
        free(*view);
        *view = NULL;
        return failed(err, rc, "opening a view");
    }
    mdb_txn_reset((*view)->txn);
    return HWM_OK;
}

void hwm_store_view_destroy(hwm_store_view** view) {
    if (*view != NULL) {
        mdb_txn_abort((*view)->txn);
        free(*view);
        *view = NULL;
    }
}

hwm_status hwm_store_view_begin(hwm_store_view* view, hwm_error* err) {
    int rc = mdb_txn_renew(view->txn);
    view->active = rc == 0;
    return rc == 0 ? HWM_OK : failed(err, rc, "renewing a view");
}

void hwm_store_view_end(hwm_store_view* view) {
    if (view->active) {
        mdb_txn_reset(view->txn);
        view->active = false;
    }
}

hwm_status hwm_store_addresses(hwm_store_view* view, int table, uint64_t first_id, int n,
                               const uint8_t** value, hwm_error* err) {
    MDB_cursor* cursor;
    int rc = mdb_cursor_open(view->txn, view->store->table[table].values, &cursor);
    if (rc != 0) {
        return failed(err, rc, "locating chunks");
    }
    MDB_val key = {sizeof first_id, &first_id}, v;
    for (int i = 0; i < n && rc == 0; i++) {
        rc = mdb_cursor_get(cursor, &key, &v, i == 0 ? MDB_SET : MDB_NEXT);
        value[i] = v.mv_data;
    }
    mdb_cursor_close(cursor);
    return rc == 0 ? HWM_OK : failed(err, rc, "locating chunks");
}

hwm_status hwm_store_blob_get(hwm_store* store, const char* key, void** value, size_t* bytes,
                              hwm_error* err) {
    *value = NULL;
    MDB_val k, v;
    MDB_txn* txn;
    hwm_status status = blob_key(key, &k, err);
    if (status != HWM_OK) {
        return status;
    }
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return failed(err, rc, "reading a blob");
    }
    uint32_t crc = 0;
    rc = mdb_get(txn, store->blobs, &k, &v);
    if (rc != 0) {
        status = failed(err, rc, key);
    } else if (v.mv_size < 4 || (memcpy(&crc, v.mv_data, 4),
                                 crc != hwm_crc32c(0, (uint8_t*)v.mv_data + 4, v.mv_size - 4))) {
        status = hwm_fail(err, HWM_ECORRUPT, "blob %s fails its checksum", key);
    } else if ((*value = malloc(v.mv_size)) == NULL) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory for blob %s of %zu bytes", key, v.mv_size);
    } else {
        *bytes = v.mv_size - 4;
        memcpy(*value, (uint8_t*)v.mv_data + 4, *bytes);
    }
    mdb_txn_abort(txn);
    return status;
}

void hwm_store_blob_list(hwm_store* store, const char* prefix,
                         void (*visit)(void*, const char* key), void* context) {
    walk w;
    size_t n = strlen(prefix);
    MDB_val key = {n, (void*)prefix}, value;
    int rc = walk_begin(&w, store, store->blobs);
    MDB_cursor_op op = n > 0 ? MDB_SET_RANGE : MDB_FIRST;
    while (rc == 0 && mdb_cursor_get(w.cursor, &key, &value, op) == 0) {
        op = MDB_NEXT;
        if (key.mv_size < n || memcmp(key.mv_data, prefix, n) != 0) {
            break;
        }
        char name[512];
        memcpy(name, key.mv_data, key.mv_size);
        name[key.mv_size] = '\0';
        visit(context, name);
    }
    walk_end(&w);
}
