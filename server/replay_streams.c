// data path  [6] store
//
// The life of streams: environment ranges that are handed out, streams that are abandoned, expire
// or lose a damaged chunk, and which parameters their chunks refer to.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/replay_internal.h"

typedef struct assign_change {
    int table;
    const hwm_table_state* state;
    const hwm_env_range* range;
    int n_ranges;
    const hwm_stream* expired;
    int n_expired;
} assign_change;

static hwm_status put_assigned(hwm_store_txn* txn, void* context, hwm_error* err) {
    const assign_change* c = context;
    hwm_status status = hwm_store_state_put(txn, c->table, c->state, err);
    if (status == HWM_OK && c->range != NULL) {
        status = hwm_store_ranges_put(txn, c->table, c->range, c->n_ranges, err);
    }
    for (int i = 0; i < c->n_expired && status == HWM_OK; i++) {
        status = hwm_store_stream_delete(txn, c->table, c->expired[i], err);
    }
    return status;
}

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
    hwm_replay_commit_lock(replay);
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
    if (at == t->n_ranges && t->order.streams > 0 &&
        (uint64_t)state.next_env + (uint64_t)environments > t->order.streams) {
        status = hwm_fail(err, HWM_EAGAIN,
                          "rounds of %u environments: all are held, by a worker that lives or is "
                          "not yet taken for dead",
                          t->order.streams);
        goto done;
    }
    if (at == t->n_ranges) {
        range[at] = (hwm_env_range){state.next_env, (uint32_t)environments, 0};
        state.next_env += (uint32_t)environments;
    } else if (t->order.streams == 0) {
        range[at].incarnation++;
    }  // rounds: whoever takes the range over plays the same episodes on, to the last bit
    used[at] = true;
    expiry old = {.range = range, .n_ranges = n};
    hwm_index_each_stream(t->index, collect_expired, &old);
    status =
        hwm_replay_transact(replay, put_assigned,
                            &(assign_change){table, &state, range, n, old.stream, (int)old.n}, err);
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
    hwm_replay_commit_lock(replay);
    abandon_change c = {t, table, first_env, (uint32_t)environments, incarnation, 0};
    bool goes_on = t->order.streams > 0;  // rounds: another worker continues the open episodes
    hwm_status status = goes_on ? HWM_OK : hwm_replay_transact(replay, put_abandoned, &c, &err);
    if (status == HWM_OK) {
        hwm_index_lock(t->index, true);
        for (uint32_t env = first_env; !goes_on && env < first_env + (uint32_t)environments;
             env++) {
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
    hwm_replay_commit_lock(replay);
    bool there = id >= hwm_index_oldest(t->index) && id <= hwm_index_newest(t->index) &&
                 hwm_index_entry(t->index, id)->steps > 0;
    if (there) {
        // where the disk refuses, the chunk is gone from memory at least, and the next start finds
        // it again
        hwm_status status =
            hwm_replay_transact(replay, delete_chunk, &(drop_change){table, id}, &err);
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
        used = op_refers(replay->table[i].held.head, set, version) ||
               op_refers(replay->table[i].early.head, set, version);
    }
    pthread_mutex_unlock(&replay->queue);
    for (int i = 0; i < replay->n_tables && !used; i++) {
        hwm_index_lock(replay->table[i].index, false);
        used = hwm_index_version_in_use(replay->table[i].index, set, version);
        hwm_index_unlock(replay->table[i].index);
    }
    return used;
}
