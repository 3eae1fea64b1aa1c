// data path  [6] store
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store_lmdb.h"
#include "server/table_record.h"

enum { STORE_FORMAT = 1, READERS_MAX = 64 };

hwm_status hwm_store_failed(hwm_error* err, int rc, const char* what) {
    switch (rc) {
    case ENOSPC:
    case EDQUOT:
        return hwm_fail(err, HWM_EFULL, "%s: the disk of the replay directory is full", what);
    case MDB_MAP_FULL:
        return hwm_fail(err, HWM_EFULL,
                        "%s: the map is full: raise store.map_bytes_max or lower the capacity",
                        what);
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

hwm_status hwm_store_open_table(hwm_store* store, MDB_txn* txn, int table, int n_offsets,
                                unsigned flags, hwm_error* err) {
    char name[32];
    hwm_table_handles* t = &store->table[table];
    snprintf(name, sizeof name, "chunks.%d", table);
    int rc = mdb_dbi_open(txn, name, MDB_INTEGERKEY | flags, &t->chunks);
    if (rc == 0) {
        snprintf(name, sizeof name, "values.%d", table);
        rc = mdb_dbi_open(txn, name, MDB_INTEGERKEY | flags, &t->values);
    }
    if (rc != 0) {
        return hwm_store_failed(err, rc, "opening a table of the store");
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
        double ignored;
        status = id < HWM_TABLES_MAX ? hwm_table_record_read(value.mv_data, value.mv_size, &config,
                                                             &ignored, &experiment, err)
                                     : hwm_fail(err, HWM_ECORRUPT, "the store names table %zu", id);
        free(experiment);
        if (status == HWM_OK) {
            status = hwm_store_open_table(
                store, txn, (int)id, config.signature.n_columns + config.signature.n_keys, 0, err);
        }
        if (status != HWM_OK) {
            goto done;
        }
    }
    if (rc != 0 && rc != MDB_NOTFOUND) {
        status = hwm_store_failed(err, rc, "reading the tables of the store");
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
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "creating the store");
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
    store->map_bytes = (size_t)config->map_bytes / store->page_bytes * store->page_bytes;
    store->grown_bytes = store->map_bytes;
    size_t most = config->map_bytes_max > 0 ? (size_t)config->map_bytes_max : 2 * store->map_bytes;
    most =
        most > store->map_bytes ? most / store->page_bytes * store->page_bytes : store->map_bytes;
    int rc = mdb_env_create(&store->env);
    if (rc == 0) {
        rc = mdb_env_set_mapsize(store->env, most);
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
        status = hwm_store_failed(err, rc, config->dir);
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
    store->map_bytes_max = info.me_mapsize;
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

size_t hwm_store_map_bytes_max(const hwm_store* store) {
    return store->map_bytes_max;
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

// One line per reader: process, thread, transaction ("-": none is open).
static int oldest_reader(const char* line, void* context) {
    uint64_t* oldest = context;
    unsigned long long txn;
    if (sscanf(line, "%*d %*x %llu", &txn) == 1 && txn < *oldest) {
        *oldest = txn;
    }
    return 0;
}

uint64_t hwm_store_reader_lag(hwm_store* store) {
    MDB_envinfo info;
    uint64_t oldest = UINT64_MAX;
    mdb_reader_list(store->env, oldest_reader, &oldest);
    mdb_env_info(store->env, &info);
    return oldest < info.me_last_txnid ? info.me_last_txnid - oldest : 0;
}

// Whole pages: all counts up to 8, then eight classes per power of two, so that at most 1/8 is
// padding and a page run that eviction frees fits the chunks that follow.
size_t hwm_store_class_bytes(size_t value_bytes) {
    size_t pages = (value_bytes + HWM_OVERFLOW_HEADER + 4095) / 4096;
    if (pages > 8) {
        size_t unit = (size_t)1 << (60 - __builtin_clzll(pages - 1));
        pages = (pages + unit - 1) / unit * unit;
    }
    return pages * 4096;
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
        return hwm_store_failed(err, rc, dir);
    }
    *out = store;
    return HWM_OK;
}

hwm_status hwm_store_copy(hwm_store* store, const char* dir, hwm_error* err) {
    int rc = mdb_env_copy2(store->env, dir, 0);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, dir);
}
