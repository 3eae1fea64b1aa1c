// data path  [6] store
//
// Tables and blobs: rare calls of the owner, each one small transaction of its own, which waits for
// the group that the writer is just committing.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/keep.h"
#include "server/replay_internal.h"

// ---- tables

static bool name_is_fine(const char* name) {
    size_t n = name != NULL ? strnlen(name, 64) : 0;
    if (n == 0 || n == 64) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || c == '.')) {
            return false;
        }
    }
    return true;
}

static hwm_status config_check(const hwm_table_config* c, hwm_error* err) {
    if (!name_is_fine(c->name)) {
        return hwm_fail(err, HWM_EINVAL,
                        "table name '%.64s': 1 to 63 letters, digits, '-', '_' and '.' are allowed",
                        c->name);
    }
    hwm_status status = hwm_signature_check(&c->signature, err);
    if (status != HWM_OK) {
        return status;
    }
    hwm_limiter limiter;
    status = hwm_limiter_init(&limiter, &c->limiter, err);
    if (status != HWM_OK) {
        return status;
    }
    if (c->capacity_steps < 1 || c->capacity_bytes < 0) {
        return hwm_fail(err, HWM_EINVAL,
                        "table %s: capacity of %" PRId64 " steps and %" PRId64
                        " bytes; at least 1 step, and 0 bytes for no limit",
                        c->name, c->capacity_steps, c->capacity_bytes);
    }
    if (c->limiter.min_size_steps > c->capacity_steps) {
        return hwm_fail(err, HWM_EINVAL,
                        "table %s: min_size_steps %" PRId64 " is above capacity_steps %" PRId64
                        ": sampling would never begin",
                        c->name, c->limiter.min_size_steps, c->capacity_steps);
    }
    if (c->max_times_sampled > UINT16_MAX) {
        return hwm_fail(err, HWM_EINVAL, "table %s: max_times_sampled is %u; 0 to %u are allowed",
                        c->name, c->max_times_sampled, UINT16_MAX);
    }
    return HWM_OK;
}

hwm_status hwm_replay_transact(hwm_replay* replay, hwm_store_change make, void* context,
                               hwm_error* err) {
    hwm_store_txn* txn;
    hwm_status status = hwm_store_begin(replay->store, &txn, err);
    if (status == HWM_OK) {
        status = make(txn, context, err);
    }
    if (status == HWM_OK) {
        status = hwm_store_commit(&txn, err);
    }
    hwm_store_abort(&txn);
    return status;
}

typedef struct table_change {
    int table;
    const hwm_table_config* config;
    double limiter_offset;
    const hwm_table_state* state;  // NULL: stays
} table_change;

static hwm_status put_table(hwm_store_txn* txn, void* context, hwm_error* err) {
    const table_change* c = context;
    hwm_status status = hwm_store_table_put(txn, c->table, c->config, c->limiter_offset, err);
    return status == HWM_OK && c->state != NULL ? hwm_store_state_put(txn, c->table, c->state, err)
                                                : status;
}

// Whoever joins a table with other values than it has changes it: capacity, limiter, experiment and
// max_times_sampled. What is stored was made with the rest, so that is refused.
static hwm_status table_change_to(hwm_replay* replay, int table, const hwm_table_config* config,
                                  hwm_error* err) {
    hwm_replay_slot* t = &replay->table[table];
    const hwm_table_config* now = &t->config;
    const char* text = config->experiment != NULL ? config->experiment : "";
    hwm_status status = hwm_signature_compare(&now->signature, &config->signature, err);
    if (status != HWM_OK) {
        return status;
    }
    if (config->seed != now->seed) {
        return hwm_fail(err, HWM_EINVAL,
                        "table %s draws with seed %" PRIu64 ", not %" PRIu64
                        ": take another directory for another run",
                        now->name, now->seed, config->seed);
    }
    if (config->order_streams != now->order_streams || config->order_steps != now->order_steps ||
        config->order_first_steps != now->order_first_steps) {
        return hwm_fail(err, HWM_EINVAL,
                        "table %s takes rounds of %u environments with %u steps (the first: %u), "
                        "not of %u with "
                        "%u (%u)",
                        now->name, now->order_streams, now->order_steps, now->order_first_steps,
                        config->order_streams, config->order_steps, config->order_first_steps);
    }
    bool limits = memcmp(&config->limiter, &now->limiter, sizeof now->limiter) != 0;
    bool times = config->max_times_sampled != now->max_times_sampled;
    if (!limits && !times && config->capacity_steps == now->capacity_steps &&
        config->capacity_bytes == now->capacity_bytes && strcmp(text, now->experiment) == 0) {
        return HWM_OK;
    }
    status = config_check(config, err);
    char* experiment = status == HWM_OK ? strdup(text) : NULL;
    if (status == HWM_OK && experiment == NULL) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory for a table");
    }
    if (status != HWM_OK) {
        return status;
    }
    hwm_replay_commit_lock(replay);
    pthread_mutex_lock(&replay->queue);
    hwm_limiter limiter = t->limiter;
    pthread_mutex_unlock(&replay->queue);
    status = limits ? hwm_limiter_change(&limiter, &config->limiter, err) : HWM_OK;
    if (status == HWM_OK) {
        table_change change = {table, config, limiter.offset, NULL};
        status = hwm_replay_transact(replay, put_table, &change, err);
    }
    if (status == HWM_OK) {
        if (times) {
            hwm_index_lock(t->index, true);
            hwm_index_limit_times(t->index, config->max_times_sampled);
            hwm_index_unlock(t->index);
        }
        pthread_mutex_lock(&replay->queue);
        if (limits) {
            hwm_limiter_change(&t->limiter, &config->limiter, NULL);
        }
        // only what changes: samplers read the rest meanwhile
        char* before = t->experiment;
        t->config.capacity_steps = config->capacity_steps;
        t->config.capacity_bytes = config->capacity_bytes;
        t->config.limiter = config->limiter;
        t->config.max_times_sampled = config->max_times_sampled;
        t->config.experiment = t->experiment = experiment;
        experiment = before;
        hwm_replay_pump(replay, t);
        pthread_mutex_unlock(&replay->queue);
        hwm_log(HWM_LOG_INFO, "store", "table changed",
                "name=%s capacity_steps=%" PRId64 " capacity_bytes=%" PRId64
                " samples_per_insert=%g max_times_sampled=%u",
                config->name, config->capacity_steps, config->capacity_bytes,
                config->limiter.samples_per_insert, config->max_times_sampled);
    }
    pthread_mutex_unlock(&replay->commit);
    free(experiment);
    return status;
}

hwm_status hwm_replay_table_create(hwm_replay* replay, const hwm_table_config* config, int* table,
                                   hwm_error* err) {
    int found = hwm_replay_table_find(replay, config->name);
    if (found >= 0 && config->name[0] != '\0') {
        *table = found;
        return table_change_to(replay, found, config, err);
    }
    hwm_status status = config_check(config, err);
    if (status == HWM_OK && replay->n_tables == HWM_TABLES_MAX) {
        status = hwm_fail(err, HWM_EFULL, "there are %d tables already", HWM_TABLES_MAX);
    }
    if (status != HWM_OK) {
        return status;
    }
    hwm_replay_commit_lock(replay);
    int id = replay->n_tables;
    hwm_replay_slot* t = &replay->table[id];
    hwm_table_state state = {.next_chunk = 1};
    status = hwm_replay_slot_set_up(t, config, 0, &state, err);
    if (status == HWM_OK) {
        table_change change = {id, config, 0, &state};
        status = hwm_replay_transact(replay, put_table, &change, err);
    }
    if (status == HWM_OK) {
        pthread_mutex_lock(&replay->queue);
        replay->n_tables++;
        pthread_mutex_unlock(&replay->queue);
        *table = id;
        hwm_log(HWM_LOG_INFO, "store", "table created",
                "name=%s capacity_steps=%" PRId64 " samples_per_insert=%g", config->name,
                config->capacity_steps, config->limiter.samples_per_insert);
    } else {
        hwm_replay_slot_tear_down(t);
    }
    pthread_mutex_unlock(&replay->commit);
    return status;
}

int hwm_replay_table_find(const hwm_replay* replay, const char* name) {
    if (name == NULL || name[0] == '\0') {
        return replay->n_tables == 1 ? 0 : -1;
    }
    for (int i = 0; i < replay->n_tables; i++) {
        if (strcmp(replay->table[i].config.name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const hwm_table_config* hwm_replay_table_config(const hwm_replay* replay, int table) {
    return table >= 0 && table < replay->n_tables ? &replay->table[table].config : NULL;
}

typedef struct state_change {
    int table;
    const hwm_table_state* state;
} state_change;

static hwm_status put_state(hwm_store_txn* txn, void* context, hwm_error* err) {
    const state_change* c = context;
    return hwm_store_state_put(txn, c->table, c->state, err);
}

static hwm_status put_states(hwm_store_txn* txn, void* context, hwm_error* err) {
    hwm_replay* replay = context;
    hwm_status status = HWM_OK;
    for (int i = 0; i < replay->n_tables && status == HWM_OK; i++) {
        pthread_mutex_lock(&replay->queue);
        replay->table[i].state.sampled_steps = replay->table[i].limiter.sampled;
        pthread_mutex_unlock(&replay->queue);
        status = hwm_store_state_put(txn, i, &replay->table[i].state, err);
        if (status == HWM_OK) {
            status = hwm_keep_save(txn, replay->store, i, replay->table[i].index, err);
        }
    }
    return status;
}

void hwm_replay_save_states(hwm_replay* replay) {
    hwm_error err;
    hwm_replay_commit_lock(replay);
    if (hwm_replay_transact(replay, put_states, replay, &err) != HWM_OK) {
        hwm_log(HWM_LOG_WARN, "store", "counters and priorities not saved", "reason=\"%s\"",
                err.text);
    }
    pthread_mutex_unlock(&replay->commit);
}

hwm_status hwm_replay_table_close(hwm_replay* replay, int table, hwm_error* err) {
    if (table < 0 || table >= replay->n_tables) {
        return hwm_fail(err, HWM_ENOTFOUND, "no table %d", table);
    }
    hwm_replay_slot* t = &replay->table[table];
    hwm_replay_commit_lock(replay);
    hwm_table_state state = t->state;
    state.closed = 1;
    hwm_status status = hwm_replay_transact(replay, put_state,
                                            &(state_change){.table = table, .state = &state}, err);
    pthread_mutex_lock(&replay->queue);
    if (status == HWM_OK) {
        t->state.closed = 1;
        t->limiter.closed = true;
        // what waits is refused: no more inserts
        hwm_replay_refuse_list(replay, t, &t->held, HWM_ECLOSED,
                               "the table was closed for inserts");
        hwm_replay_refuse_list(replay, t, &t->early, HWM_ECLOSED,
                               "the table was closed for inserts");
        hwm_replay_pump(replay, t);
    }
    pthread_mutex_unlock(&replay->queue);
    pthread_mutex_unlock(&replay->commit);
    return status;
}

// ---- blobs

typedef struct blob_change {
    const char* key;
    const void* value;
    size_t bytes;
} blob_change;

static hwm_status put_blob(hwm_store_txn* txn, void* context, hwm_error* err) {
    const blob_change* c = context;
    return hwm_store_blob_put(txn, c->key, c->value, c->bytes, err);
}

static hwm_status delete_blob(hwm_store_txn* txn, void* context, hwm_error* err) {
    const blob_change* c = context;
    return hwm_store_blob_delete(txn, c->key, err);
}

static hwm_status blob_transact(hwm_replay* replay, hwm_store_change make, blob_change* c) {
    hwm_error err;
    hwm_replay_commit_lock(replay);
    hwm_status status = hwm_replay_transact(replay, make, c, &err);
    pthread_mutex_unlock(&replay->commit);
    if (status != HWM_OK && status != HWM_ENOTFOUND) {
        hwm_log(HWM_LOG_ERROR, "store", "a blob was refused", "key=%s bytes=%zu reason=\"%s\"",
                c->key, c->bytes, err.text);
    }
    return status;
}

hwm_status hwm_replay_blob_put(hwm_replay* replay, const char* key, const void* value,
                               size_t bytes) {
    if (bytes > 64u << 20) {
        return HWM_EINVAL;
    }
    return blob_transact(replay, put_blob, &(blob_change){key, value, bytes});
}

hwm_status hwm_replay_blob_get(hwm_replay* replay, const char* key, void** value, size_t* bytes) {
    return hwm_store_blob_get(replay->store, key, value, bytes, NULL);
}

hwm_status hwm_replay_blob_delete(hwm_replay* replay, const char* key) {
    return blob_transact(replay, delete_blob, &(blob_change){key, NULL, 0});
}

void hwm_replay_blob_list(hwm_replay* replay, const char* prefix,
                          void (*visit)(void*, const char* key), void* context) {
    hwm_store_blob_list(replay->store, prefix, visit, context);
}
