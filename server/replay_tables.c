// data path  [6] store
//
// The rare calls of the owner: tables, environment ranges, abandoned streams, blobs, statistics.
// Each is one small transaction of its own, which waits for the group that the writer is just
// committing.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
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

static hwm_status config_check(const hwm_replay* replay, const hwm_table_config* c,
                               hwm_error* err) {
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
    if (replay->n_tables == HWM_TABLES_MAX) {
        return hwm_fail(err, HWM_EFULL, "there are %d tables already", HWM_TABLES_MAX);
    }
    return HWM_OK;
}

hwm_status hwm_replay_table_create(hwm_replay* replay, const hwm_table_config* config, int* table,
                                   hwm_error* err) {
    int found = hwm_replay_table_find(replay, config->name);
    if (found >= 0 && config->name[0] != '\0') {
        *table = found;
        return hwm_signature_compare(&replay->table[found].config.signature, &config->signature,
                                     err);
    }
    hwm_status status = config_check(replay, config, err);
    if (status != HWM_OK) {
        return status;
    }
    pthread_mutex_lock(&replay->commit);
    int id = replay->n_tables;
    hwm_table_state state = {.next_chunk = 1};
    hwm_replay_slot* t = &replay->table[id];
    hwm_store_txn* txn = NULL;
    hwm_index* index = NULL;
    char* experiment = strdup(config->experiment != NULL ? config->experiment : "");
    status = experiment != NULL ? HWM_OK : hwm_fail(err, HWM_ENOMEM, "no memory for a table");
    if (status == HWM_OK) {
        status =
            hwm_index_create(&index, config->signature.n_columns + config->signature.n_keys, err);
    }
    if (status == HWM_OK) {
        status = hwm_store_begin(replay->store, &txn, err);
    }
    if (status == HWM_OK) {
        status = hwm_store_table_put(txn, id, config, err);
    }
    if (status == HWM_OK) {
        status = hwm_store_state_put(txn, id, &state, err);
    }
    if (status == HWM_OK) {
        status = hwm_store_commit(&txn, err);
    }
    hwm_store_abort(&txn);
    if (status == HWM_OK) {
        pthread_mutex_lock(&replay->queue);
        t->config = *config;
        t->experiment = experiment;
        t->config.experiment = experiment;
        t->index = index;
        t->state = state;
        hwm_limiter_init(&t->limiter, &config->limiter, NULL);
        replay->n_tables++;
        pthread_mutex_unlock(&replay->queue);
        *table = id;
        hwm_log(HWM_LOG_INFO, "store", "table created",
                "name=%s capacity_steps=%" PRId64 " samples_per_insert=%g", config->name,
                config->capacity_steps, config->limiter.samples_per_insert);
    } else {
        hwm_index_destroy(&index);
        free(experiment);
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

// Runs one small transaction: begin, what `change` does, commit.
typedef hwm_status (*change)(hwm_store_txn* txn, void* context, hwm_error* err);
static hwm_status transact(hwm_replay* replay, change make, void* context, hwm_error* err) {
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

typedef struct state_change {
    int table;
    const hwm_table_state* state;
    const hwm_env_range* range;
    int n_ranges;
    const hwm_stream* expired;
    int n_expired;
} state_change;

static hwm_status put_state(hwm_store_txn* txn, void* context, hwm_error* err) {
    const state_change* c = context;
    hwm_status status = hwm_store_state_put(txn, c->table, c->state, err);
    if (status == HWM_OK && c->range != NULL) {
        status = hwm_store_ranges_put(txn, c->table, c->range, c->n_ranges, err);
    }
    for (int i = 0; i < c->n_expired && status == HWM_OK; i++) {
        status = hwm_store_stream_delete(txn, c->table, c->expired[i], err);
    }
    return status;
}

static hwm_status put_states(hwm_store_txn* txn, void* context, hwm_error* err) {
    hwm_replay* replay = context;
    hwm_status status = HWM_OK;
    for (int i = 0; i < replay->n_tables && status == HWM_OK; i++) {
        replay->table[i].state.sampled_steps = replay->table[i].limiter.sampled;
        status = hwm_store_state_put(txn, i, &replay->table[i].state, err);
    }
    return status;
}

void hwm_replay_save_states(hwm_replay* replay) {
    hwm_error err;
    if (transact(replay, put_states, replay, &err) != HWM_OK) {
        hwm_log(HWM_LOG_WARN, "store", "counters not saved", "reason=\"%s\"", err.text);
    }
}

hwm_status hwm_replay_table_close(hwm_replay* replay, int table, hwm_error* err) {
    if (table < 0 || table >= replay->n_tables) {
        return hwm_fail(err, HWM_ENOTFOUND, "no table %d", table);
    }
    hwm_replay_slot* t = &replay->table[table];
    pthread_mutex_lock(&replay->commit);
    hwm_table_state state = t->state;
    state.closed = 1;
    hwm_status status =
        transact(replay, put_state, &(state_change){.table = table, .state = &state}, err);
    pthread_mutex_lock(&replay->queue);
    if (status == HWM_OK) {
        t->state.closed = 1;
        t->limiter.closed = true;
        // what the limiter holds is refused: no more inserts
        for (hwm_append_op* op; (op = hwm_append_pop(&t->held)) != NULL;) {
            hwm_completion c = {.kind = HWM_DONE_APPEND,
                                .token = op->token,
                                .status = HWM_ECLOSED,
                                .text = "the table was closed for inserts"};
            t->refused++;
            hwm_replay_done(replay, &c);
            hwm_append_free(op);
        }
        hwm_replay_pump(replay, t);
    }
    pthread_mutex_unlock(&replay->queue);
    pthread_mutex_unlock(&replay->commit);
    return status;
}

// ---- workers

// Streams that were handed on to a later incarnation and whose chunks are all evicted: nothing
// refers to them any more, so their last sequence is forgotten.
typedef struct expiry {
    const hwm_env_range* range;
    int n_ranges;
    hwm_stream* stream;
    size_t n, capacity;
} expiry;

static void collect_expired(void* context, const hwm_stream_info* s) {
    expiry* e = context;
    bool expired = false;
    for (int i = 0; i < e->n_ranges && s->chunks == 0; i++) {
        const hwm_env_range* r = &e->range[i];
        expired = expired || (s->stream.env >= r->first && s->stream.env - r->first < r->n &&
                              s->stream.incarnation < r->incarnation);
    }
    if (expired && e->n == e->capacity) {
        size_t capacity = e->capacity > 0 ? 2 * e->capacity : 64;
        hwm_stream* grown = realloc(e->stream, capacity * sizeof *grown);
        if (grown == NULL) {
            return;  // it stays until the next time
        }
        e->stream = grown;
        e->capacity = capacity;
    }
    if (expired) {
        e->stream[e->n++] = s->stream;
    }
}

hwm_status hwm_replay_assign(hwm_replay* replay, int table, int environments, uint32_t* first_env,
                             uint32_t* incarnation, hwm_error* err) {
    if (table < 0 || table >= replay->n_tables || environments < 1 || environments > 1 << 20) {
        return hwm_fail(err, HWM_EINVAL, "cannot assign %d environments of table %d", environments,
                        table);
    }
    hwm_replay_slot* t = &replay->table[table];
    pthread_mutex_lock(&replay->commit);
    hwm_status status = HWM_OK;
    // a range of that size which nobody holds, or a new one
    int at = 0;
    while (at < t->n_ranges && (t->range_used[at] || t->range[at].n != (uint32_t)environments)) {
        at++;
    }
    int n = at == t->n_ranges ? at + 1 : t->n_ranges;
    hwm_env_range* range = calloc((size_t)n, sizeof *range);
    bool* used = calloc((size_t)n, sizeof *used);
    if (range == NULL || used == NULL) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory for %d environment ranges", n);
        goto done;
    }
    if (t->n_ranges > 0) {
        memcpy(range, t->range, (size_t)t->n_ranges * sizeof *range);
        memcpy(used, t->range_used, (size_t)t->n_ranges * sizeof *used);
    }
    hwm_table_state state = t->state;
    if (at == t->n_ranges) {
        range[at] = (hwm_env_range){state.next_env, (uint32_t)environments, 0};
        state.next_env += (uint32_t)environments;
    } else {
        range[at].incarnation++;
    }
    used[at] = true;
    expiry old = {.range = range, .n_ranges = n};
    hwm_index_each_stream(t->index, collect_expired, &old);
    status = transact(replay, put_state,
                      &(state_change){table, &state, range, n, old.stream, (int)old.n}, err);
    if (status == HWM_OK && old.n > 0) {
        hwm_index_lock(t->index, true);
        for (size_t i = 0; i < old.n; i++) {
            hwm_index_stream_forget(t->index, old.stream[i]);
        }
        hwm_index_unlock(t->index);
    }
    free(old.stream);
    if (status == HWM_OK) {
        t->state.next_env = state.next_env;
        *first_env = range[at].first;
        *incarnation = range[at].incarnation;
        hwm_env_range* range_before = t->range;
        bool* used_before = t->range_used;
        t->range = range;
        t->range_used = used;
        t->n_ranges = n;
        range = range_before;
        used = used_before;
    }
done:
    free(range);
    free(used);
    pthread_mutex_unlock(&replay->commit);
    return status;
}

typedef struct abandon_change {
    hwm_replay_slot* table;
    int id;
    uint32_t first_env, n, incarnation;
    int closed;
} abandon_change;

static hwm_status put_abandoned(hwm_store_txn* txn, void* context, hwm_error* err) {
    abandon_change* c = context;
    for (uint32_t env = c->first_env; env < c->first_env + c->n; env++) {
        const hwm_stream_info* s =
            hwm_index_stream(c->table->index, (hwm_stream){env, c->incarnation});
        if (s == NULL || s->segment == HWM_NONE ||
            hwm_index_run(c->table->index, (uint32_t)s->segment)->closed) {
            continue;
        }
        hwm_chunk_meta meta;
        hwm_status status = hwm_store_meta_get(txn, c->id, s->last_chunk, &meta, err);
        if (status == HWM_OK) {
            meta.state |= HWM_META_CLOSED;
            status = hwm_store_meta_put(txn, c->id, s->last_chunk, &meta, err);
        }
        if (status != HWM_OK) {
            return status;
        }
        c->closed++;
    }
    return HWM_OK;
}

void hwm_replay_abandon(hwm_replay* replay, int table, uint32_t first_env, int environments,
                        uint32_t incarnation) {
    if (table < 0 || table >= replay->n_tables || environments < 1) {
        return;
    }
    hwm_replay_slot* t = &replay->table[table];
    hwm_error err;
    pthread_mutex_lock(&replay->commit);
    abandon_change c = {t, table, first_env, (uint32_t)environments, incarnation, 0};
    hwm_status status = transact(replay, put_abandoned, &c, &err);
    if (status == HWM_OK) {
        hwm_index_lock(t->index, true);
        for (uint32_t env = first_env; env < first_env + (uint32_t)environments; env++) {
            hwm_index_close_stream(t->index, (hwm_stream){env, incarnation});
        }
        hwm_index_unlock(t->index);
        for (int i = 0; i < t->n_ranges; i++) {
            if (t->range[i].first == first_env && t->range[i].incarnation == incarnation) {
                t->range_used[i] = false;
            }
        }
        hwm_log(HWM_LOG_INFO, "store", "streams abandoned",
                "table=%s first_env=%u environments=%d incarnation=%u open_episodes=%d",
                t->config.name, first_env, environments, incarnation, c.closed);
    } else {
        hwm_log(HWM_LOG_ERROR, "store", "abandoning streams failed",
                "table=%s first_env=%u reason=\"%s\"", t->config.name, first_env, err.text);
    }
    pthread_mutex_unlock(&replay->commit);
}

typedef struct drop_change {
    int table;
    uint64_t id;
} drop_change;

static hwm_status delete_chunk(hwm_store_txn* txn, void* context, hwm_error* err) {
    const drop_change* c = context;
    return hwm_store_chunk_delete(txn, c->table, c->id, err);
}

void hwm_replay_drop(hwm_replay* replay, int table, uint64_t id) {
    hwm_replay_slot* t = &replay->table[table];
    hwm_error err = {0};
    pthread_mutex_lock(&replay->commit);
    bool there = id >= hwm_index_oldest(t->index) && id <= hwm_index_newest(t->index) &&
                 hwm_index_entry(t->index, id)->steps > 0;
    if (there) {
        // where the disk refuses, the chunk is gone from memory at least, and the next start finds
        // it again
        hwm_status status = transact(replay, delete_chunk, &(drop_change){table, id}, &err);
        hwm_log(HWM_LOG_ERROR, "store", "damaged chunk dropped",
                "table=%s chunk=%" PRIu64 " steps=%" PRIu32 " deleted=%s", t->config.name, id,
                hwm_index_entry(t->index, id)->steps, status == HWM_OK ? "yes" : err.text);
        hwm_index_lock(t->index, true);
        hwm_index_drop(t->index, id);
        hwm_index_unlock(t->index);
        pthread_mutex_lock(&replay->queue);
        t->damaged++;
        t->stored_steps = hwm_index_steps(t->index);
        pthread_mutex_unlock(&replay->queue);
    }
    pthread_mutex_unlock(&replay->commit);
}

static bool op_refers(const hwm_append_op* op, const char* set, uint64_t version) {
    for (; op != NULL; op = op->next) {
        if (op->meta.param_version == version &&
            strncmp(op->meta.set, set, sizeof op->meta.set) == 0) {
            return true;
        }
    }
    return false;
}

bool hwm_replay_version_in_use(hwm_replay* replay, const char* set, uint64_t version) {
    // chunks on their way in count too; in the order of their way, so that none slips through
    pthread_mutex_lock(&replay->queue);
    bool used =
        op_refers(replay->ready.head, set, version) || op_refers(replay->committing, set, version);
    for (int i = 0; i < replay->n_tables && !used; i++) {
        used = op_refers(replay->table[i].held.head, set, version);
    }
    pthread_mutex_unlock(&replay->queue);
    for (int i = 0; i < replay->n_tables && !used; i++) {
        hwm_index_lock(replay->table[i].index, false);
        used = hwm_index_version_in_use(replay->table[i].index, set, version);
        hwm_index_unlock(replay->table[i].index);
    }
    return used;
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

static hwm_status blob_transact(hwm_replay* replay, change make, blob_change* c) {
    hwm_error err;
    pthread_mutex_lock(&replay->commit);
    hwm_status status = transact(replay, make, c, &err);
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

// ---- snapshot

static void* snapshot_main(void* argument) {
    hwm_replay* replay = argument;
    hwm_error err = {0};
    hwm_status status = hwm_store_snapshot(replay->store, replay->snapshot_dir, &err);
    hwm_completion c = {
        .kind = HWM_DONE_SNAPSHOT, .token = replay->snapshot_token, .status = status};
    snprintf(c.text, sizeof c.text, "%.*s", (int)sizeof c.text - 1, err.text);
    pthread_mutex_lock(&replay->queue);
    replay->snapshot_running = false;
    hwm_replay_done(replay, &c);
    pthread_mutex_unlock(&replay->queue);
    return NULL;
}

hwm_status hwm_replay_snapshot(hwm_replay* replay, const char* to, uint64_t token) {
    if (strlen(to) >= sizeof replay->snapshot_dir) {
        return HWM_EINVAL;
    }
    pthread_mutex_lock(&replay->queue);
    bool running = replay->snapshot_running;
    pthread_mutex_unlock(&replay->queue);
    if (running) {
        return HWM_EAGAIN;
    }
    if (replay->snapshot_started) {
        pthread_join(replay->snapshot, NULL);
        replay->snapshot_started = false;
    }
    strcpy(replay->snapshot_dir, to);
    replay->snapshot_token = token;
    replay->snapshot_running = true;  // no other thread yet
    if (pthread_create(&replay->snapshot, NULL, snapshot_main, replay) != 0) {
        replay->snapshot_running = false;
        return HWM_EAGAIN;
    }
    replay->snapshot_started = true;
    return HWM_OK;
}

size_t hwm_replay_admitted(hwm_replay* replay) {
    pthread_mutex_lock(&replay->queue);
    size_t n = replay->ready.n + replay->n_committing;
    pthread_mutex_unlock(&replay->queue);
    return n;
}

// ---- statistics

static void count_stream(void* context, const hwm_stream_info* stream) {
    *(size_t*)context += stream->chunks > 0;
}

static void table_json(FILE* out, hwm_replay* replay, hwm_replay_slot* t) {
    hwm_index_lock(t->index, false);
    size_t streams = 0;
    hwm_index_each_stream(t->index, count_stream, &streams);
    fprintf(out,
            "{\"name\":\"%s\",\"steps\":%" PRIu64 ",\"chunks\":%" PRIu64
            ",\"segments\":%zu,\"streams\":%zu,"
            "\"bytes\":%" PRIu64 ",\"index_bytes\":%zu,\"capacity_steps\":%" PRId64
            ",\"capacity_bytes\":%" PRId64,
            t->config.name, hwm_index_steps(t->index),
            hwm_index_newest(t->index) + 1 - hwm_index_oldest(t->index),
            hwm_index_segments(t->index), streams, hwm_index_bytes(t->index),
            hwm_index_memory(t->index), t->config.capacity_steps, t->config.capacity_bytes);
    hwm_index_unlock(t->index);
    pthread_mutex_lock(&replay->queue);
    const hwm_limiter* l = &t->limiter;
    fprintf(out,
            ",\"inserted_steps\":%" PRIu64 ",\"evicted_steps\":%" PRIu64
            ",\"sampled_steps\":%" PRIu64 ",\"appends\":%" PRIu64 ",\"duplicates\":%" PRIu64
            ",\"refused\":%" PRIu64 ",\"gaps\":%" PRIu64 ",\"damaged\":%" PRIu64
            ",\"samples\":%" PRIu64 ",\"closed\":%s",
            l->committed, t->evicted_steps, l->sampled, t->appends_done, t->duplicates, t->refused,
            t->gaps, t->damaged, t->samples_done, l->closed ? "true" : "false");
    fprintf(out,
            ",\"limiter\":{\"samples_per_insert\":%.9g,\"min_size_steps\":%" PRId64
            ",\"diff\":%.9g,\"diff_min\":%.9g,\"diff_max\":%.9g,\"waiting_inserts\":%zu,"
            "\"waiting_samples\":%zu,\"insert_waits\":%" PRIu64
            ",\"insert_wait_s\":%.6f,\"sample_waits\":%" PRIu64 ",\"sample_wait_s\":%.6f}}",
            l->ratio, l->min_size_steps, hwm_limiter_diff(l), l->diff_min, l->diff_max, t->held.n,
            t->waiting.n, l->insert_waits, l->insert_wait_s, l->sample_waits, l->sample_wait_s);
    pthread_mutex_unlock(&replay->queue);
}

// JSON has no nan: before the first commit there is nothing to tell.
static double quantile_or_zero(const hwm_metric* metric, double q) {
    return hwm_metric_value(metric) > 0.0 ? hwm_metric_quantile(metric, q) : 0.0;
}

char* hwm_replay_stats_json(hwm_replay* replay) {
    static const char* durability[] = {"full", "group", "process"};
    char* text = NULL;
    size_t size;
    FILE* out = open_memstream(&text, &size);
    if (out == NULL) {
        return NULL;
    }
    uint64_t used, unused;
    hwm_store_pages(replay->store, &used, &unused);
    fprintf(out,
            "{\"store\":{\"durability\":\"%s\",\"map_bytes\":%zu,\"file_bytes\":%" PRIu64
            ",\"free_bytes\":%" PRIu64 ",\"commits\":%.0f,\"failures\":%.0f,\"commit_p50_s\":%.6f,"
            "\"commit_p99_s\":%.6f},\"tables\":[",
            durability[replay->config.durability], hwm_store_map_bytes(replay->store), used, unused,
            hwm_metric_value(replay->commits), hwm_metric_value(replay->failures),
            quantile_or_zero(replay->commit_seconds, 0.5),
            quantile_or_zero(replay->commit_seconds, 0.99));
    for (int i = 0; i < replay->n_tables; i++) {
        fputs(i > 0 ? "," : "", out);
        table_json(out, replay, &replay->table[i]);
    }
    fputs("]}", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
