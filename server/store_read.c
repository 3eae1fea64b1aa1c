// data path  [6] store
//
// Reading: walks over everything at the start and for `hwm check`, views of the samplers, blobs.
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "server/store_lmdb.h"
#include "server/table_record.h"

hwm_status hwm_meta_read(const MDB_val* value, int n_offsets, uint64_t id, hwm_chunk_meta* meta,
                         hwm_error* err) {
    size_t bytes = hwm_meta_bytes(n_offsets), skip = offsetof(hwm_chunk_meta, version);
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
        double limiter_offset = 0;
        size_t id;
        memcpy(&id, key.mv_data, sizeof id);
        status = hwm_table_record_read(value.mv_data, value.mv_size, &config, &limiter_offset,
                                       &experiment, err);
        if (status == HWM_OK && mdb_get(w.txn, store->states, &key, &state_value) == 0 &&
            state_value.mv_size == sizeof state) {
            memcpy(&state, state_value.mv_data, sizeof state);
        }
        if (status == HWM_OK) {
            status = visit(context, (int)id, &config, limiter_offset, &state);
        }
        free(experiment);
    }
    walk_end(&w);
    return status != HWM_OK || rc == 0 || rc == MDB_NOTFOUND
               ? status
               : hwm_store_failed(err, rc, "reading the tables");
}

hwm_status hwm_store_each_chunk(hwm_store* store, int table, hwm_visit_chunk visit, void* context,
                                hwm_error* err) {
    const hwm_table_handles* t = &store->table[table];
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
        status = hwm_meta_read(&value, t->n_offsets, id, &meta, err);
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
               : hwm_store_failed(err, rc, "reading the chunks");
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
    const hwm_table_handles* t = &store->table[table];
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
            } else if (hwm_meta_read(&meta_value, t->n_offsets, id, &meta, &damage) != HWM_OK) {
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
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "reading the chunks");
}

hwm_status hwm_store_each_stream(hwm_store* store, int table, hwm_visit_stream visit, void* context,
                                 hwm_error* err) {
    walk w;
    hwm_stream_key first = hwm_stream_key_of(table, (hwm_stream){0});
    MDB_val key = {sizeof first, &first}, value;
    hwm_status status = HWM_OK;
    int rc = walk_begin(&w, store, store->streams);
    MDB_cursor_op op = MDB_SET_RANGE;
    while (rc == 0 && status == HWM_OK && (rc = mdb_cursor_get(w.cursor, &key, &value, op)) == 0) {
        hwm_stream_key k;
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
               : hwm_store_failed(err, rc, "reading the streams");
}

hwm_status hwm_store_ranges_get(hwm_store* store, int table, hwm_env_range** range, int* n,
                                hwm_error* err) {
    *range = NULL;
    *n = 0;
    size_t id = HWM_STORE_RANGES_KEY + (size_t)table;
    MDB_val key = {sizeof id, &id}, value;
    MDB_txn* txn;
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return hwm_store_failed(err, rc, "reading environment ranges");
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
        status = hwm_store_failed(err, rc, "reading environment ranges");
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
        return hwm_store_failed(err, rc, "opening a view");
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
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "renewing a view");
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
        return hwm_store_failed(err, rc, "locating chunks");
    }
    MDB_val key = {sizeof first_id, &first_id}, v;
    for (int i = 0; i < n && rc == 0; i++) {
        rc = mdb_cursor_get(cursor, &key, &v, i == 0 ? MDB_SET : MDB_NEXT);
        value[i] = v.mv_data;
    }
    mdb_cursor_close(cursor);
    return rc == 0 ? HWM_OK : hwm_store_failed(err, rc, "locating chunks");
}

hwm_status hwm_store_blob_get(hwm_store* store, const char* key, void** value, size_t* bytes,
                              hwm_error* err) {
    *value = NULL;
    MDB_val k, v;
    MDB_txn* txn;
    hwm_status status = hwm_blob_key(key, &k, err);
    if (status != HWM_OK) {
        return status;
    }
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return hwm_store_failed(err, rc, "reading a blob");
    }
    uint32_t crc = 0;
    rc = mdb_get(txn, store->blobs, &k, &v);
    if (rc != 0) {
        status = hwm_store_failed(err, rc, key);
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
