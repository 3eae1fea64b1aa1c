// data path  [6] store
//
// The writer thread: takes what is queued, puts it into one transaction together with the evictions
// that make room for it, commits, applies the outcome to the indices, and only then reports
// completions.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/replay_internal.h"

enum { GROUP_BYTES_MAX = 64 << 20, EVICT_SLACK = 64 };
static const double MAP_SHARE =
    0.6;  // of the map that live values may fill; the rest lets LMDB find runs of pages

// What a group does to one table.
typedef struct plan {
    uint64_t first_id, next_id;  // ids of the group
    uint64_t oldest;             // after evictions
    uint64_t steps, bytes;       // stored, after what was planned so far
    hwm_table_state state;
    bool touched;
} plan;

static hwm_status evict_for(hwm_replay* replay, hwm_store_txn* txn, int table, plan* p,
                            uint64_t* live_bytes, int* budget, hwm_error* err) {
    hwm_replay_slot* t = &replay->table[table];
    uint64_t map_limit = (uint64_t)((double)hwm_store_map_bytes(replay->store) * MAP_SHARE);
    while (p->oldest<p->first_id&& * budget> 0 &&
           (p->steps > (uint64_t)t->config.capacity_steps ||
            (t->config.capacity_bytes > 0 && p->bytes > (uint64_t)t->config.capacity_bytes) ||
            *live_bytes > map_limit)) {
        const hwm_entry* e = hwm_index_entry(t->index, p->oldest);
        if (e->steps == 0) {
            p->oldest++;
            continue;
        }
        hwm_status status = hwm_store_chunk_delete(txn, table, p->oldest, err);
        if (status != HWM_OK) {
            return status;
        }
        uint64_t bytes = hwm_store_class_bytes(e->value_bytes);
        p->steps -= e->steps;
        p->bytes -= bytes;
        *live_bytes -= bytes;
        p->state.evicted_steps += e->steps;
        p->oldest++;
        --*budget;
    }
    return HWM_OK;
}

// One chunk into the transaction. op->status: HWM_OK, or why it does not count.
static hwm_status put_chunk(hwm_replay* replay, hwm_store_txn* txn, hwm_append_op* op, plan* p,
                            uint64_t* live_bytes, hwm_error* err) {
    hwm_replay_slot* t = &replay->table[op->table];
    hwm_stream stream = {op->meta.env, op->meta.incarnation};
    hwm_index_lock(t->index, true);
    hwm_stream_info* s = hwm_index_stream_plan(t->index, stream);
    hwm_index_unlock(t->index);
    uint64_t last = s->planned_group == replay->group ? s->planned_sequence : s->last_sequence;
    if (op->meta.sequence <= last) {
        op->status = HWM_EDUPLICATE;
        return HWM_OK;
    }
    if (s->refused_sequence != 0 && op->meta.sequence > s->refused_sequence) {
        op->status = HWM_EAGAIN;
        return HWM_OK;
    }
    if (op->meta.sequence != last + 1) {
        hwm_log(HWM_LOG_WARN, "store", "gap in a stream",
                "table=%s env=%u incarnation=%u stored=%llu received=%llu", t->config.name,
                stream.env, stream.incarnation, (unsigned long long)last,
                (unsigned long long)op->meta.sequence);
        pthread_mutex_lock(&replay->queue);
        t->gaps++;
        pthread_mutex_unlock(&replay->queue);
    }
    op->id = p->next_id;
    op->meta.inserted_before = p->state.inserted_steps;
    hwm_status status = hwm_store_chunk_put(txn, op->table, op->id, &op->meta, op->bytes, err);
    if (status != HWM_OK) {
        return status;
    }
    p->touched = true;
    p->next_id++;
    p->steps += op->meta.steps;
    p->bytes += hwm_store_class_bytes(op->meta.value_bytes);
    *live_bytes += hwm_store_class_bytes(op->meta.value_bytes);
    p->state.inserted_steps += op->meta.steps;
    p->state.inserted_chunks++;
    s->planned_sequence = op->meta.sequence;
    s->planned_group = replay->group;
    op->status = HWM_OK;
    return HWM_OK;
}

// The rest of the transaction: last sequences and counters.
static hwm_status put_ends(hwm_replay* replay, hwm_store_txn* txn, hwm_append_op* ops, plan* plans,
                           hwm_error* err) {
    for (hwm_append_op* op = ops; op != NULL; op = op->next) {
        hwm_stream stream = {op->meta.env, op->meta.incarnation};
        const hwm_stream_info* s = hwm_index_stream(replay->table[op->table].index, stream);
        if (op->status == HWM_OK && s->planned_sequence == op->meta.sequence) {
            hwm_stream_record record = {op->meta.sequence, op->id};
            hwm_status status = hwm_store_stream_put(txn, op->table, stream, &record, err);
            if (status != HWM_OK) {
                return status;
            }
        }
    }
    for (int i = 0; i < replay->n_tables; i++) {
        if (plans[i].touched) {
            plans[i].state.next_chunk = plans[i].next_id;
            hwm_status status = hwm_store_state_put(txn, i, &plans[i].state, err);
            if (status != HWM_OK) {
                return status;
            }
        }
    }
    return HWM_OK;
}

// After the commit: the indices learn what was evicted and what was added, with the addresses of
// the values.
static hwm_status apply(hwm_replay* replay, hwm_append_op* ops, plan* plans, hwm_error* err) {
    hwm_status status = hwm_store_view_begin(replay->view, err);
    for (int i = 0; i < replay->n_tables && status == HWM_OK; i++) {
        plan* p = &plans[i];
        hwm_replay_slot* t = &replay->table[i];
        if (!p->touched) {
            continue;
        }
        t->state = p->state;
        int n = (int)(p->next_id - p->first_id);
        const uint8_t** address = malloc((size_t)(n + 1) * sizeof *address);
        HWM_ASSERT(address != NULL);
        status =
            n > 0 ? hwm_store_addresses(replay->view, i, p->first_id, n, address, err) : HWM_OK;
        if (status == HWM_OK) {
            hwm_index_lock(t->index, true);
            while (hwm_index_oldest(t->index) < p->oldest) {
                hwm_index_evict(t->index);
            }
            for (hwm_append_op* op = ops; op != NULL; op = op->next) {
                if (op->table == i && op->status == HWM_OK) {
                    hwm_index_append(t->index, op->id, &op->meta, address[op->id - p->first_id],
                                     true);
                }
                hwm_stream_info* s;
                if (op->table == i && op->status == HWM_OK &&
                    (s = hwm_index_stream_plan(t->index,
                                               (hwm_stream){op->meta.env, op->meta.incarnation}))
                            ->refused_sequence <= op->meta.sequence) {
                    s->refused_sequence = 0;
                }
            }
            hwm_index_unlock(t->index);
        }
        free(address);
    }
    hwm_store_view_end(replay->view);
    return status;
}

// A group that could not be stored: none of it is, and what follows in its streams has to wait for
// it.
static void refuse(hwm_replay* replay, hwm_append_op* ops, hwm_status status) {
    for (hwm_append_op* op = ops; op != NULL; op = op->next) {
        hwm_replay_slot* t = &replay->table[op->table];
        if (op->status == HWM_EDUPLICATE) {
            continue;
        }
        op->status = status;
        hwm_index_lock(t->index, true);
        hwm_stream_info* s =
            hwm_index_stream_plan(t->index, (hwm_stream){op->meta.env, op->meta.incarnation});
        if (s->refused_sequence == 0 || op->meta.sequence < s->refused_sequence) {
            s->refused_sequence = op->meta.sequence;
        }
        hwm_index_unlock(t->index);
    }
}

static hwm_status commit_group(hwm_replay* replay, hwm_append_op* ops, hwm_error* err) {
    plan plans[HWM_TABLES_MAX];
    uint64_t live_bytes = 0;
    int budget = EVICT_SLACK;
    hwm_replay_commit_lock(replay);
    replay->group++;
    for (int i = 0; i < replay->n_tables; i++) {
        hwm_replay_slot* t = &replay->table[i];
        plans[i] = (plan){.first_id = t->state.next_chunk,
                          .next_id = t->state.next_chunk,
                          .oldest = hwm_index_oldest(t->index),
                          .steps = hwm_index_steps(t->index),
                          .bytes = hwm_index_bytes(t->index),
                          .state = t->state};
        if (hwm_index_oldest(t->index) > hwm_index_newest(t->index)) {
            plans[i].oldest = plans[i].first_id;  // empty
        }
        pthread_mutex_lock(&replay->queue);
        plans[i].state.sampled_steps = t->limiter.sampled;
        pthread_mutex_unlock(&replay->queue);
        live_bytes += plans[i].bytes;
    }
    hwm_store_txn* txn = NULL;
    hwm_status status = hwm_store_begin(replay->store, &txn, err);
    for (hwm_append_op* op = ops; op != NULL && status == HWM_OK; op = op->next) {
        plan* p = &plans[op->table];
        status = put_chunk(replay, txn, op, p, &live_bytes, err);
        if (status == HWM_OK && op->status == HWM_OK) {
            budget += 4;
            status = evict_for(replay, txn, op->table, p, &live_bytes, &budget, err);
        }
    }
    if (status == HWM_OK) {
        status = put_ends(replay, txn, ops, plans, err);
    }
    if (status == HWM_OK) {
        status = hwm_store_commit(&txn, err);
    }
    hwm_store_abort(&txn);
    if (status == HWM_OK) {
        status = apply(replay, ops, plans, err);
        HWM_ASSERT(status == HWM_OK);  // what was just committed is readable
    } else {
        refuse(replay, ops, status);
    }
    pthread_mutex_unlock(&replay->commit);
    return status;
}

static void order_back(hwm_replay_slot* t, const hwm_append_op* op) {
    hwm_order_back(&t->order, (hwm_stream){op->meta.env, op->meta.incarnation}, op->meta.sequence);
}

// A chunk of an ordered table was refused: what came behind it has to come again as well, and the
// order goes on where the table stands. Queue lock held.
static void put_order_back(hwm_replay* replay, int table) {
    hwm_replay_slot* t = &replay->table[table];
    hwm_append_list rest = {0}, back = {0};
    for (hwm_append_op* op; (op = hwm_append_pop(&replay->ready)) != NULL;) {
        if (op->table == table) {
            hwm_limiter_insert_undone(&t->limiter, op->meta.steps);
            order_back(t, op);
        }
        hwm_append_push(op->table == table ? &back : &rest, op);
    }
    replay->ready = rest;
    for (hwm_append_op* op; (op = hwm_append_pop(&t->held)) != NULL;) {
        order_back(t, op);
        hwm_append_push(&back, op);
    }
    hwm_replay_refuse_list(replay, t, &back, HWM_EAGAIN,
                           "a chunk that comes before it was refused: send it again");
    t->order.let_in = t->state.inserted_steps;
}

static void report(hwm_replay* replay, hwm_append_op* ops, const hwm_error* err) {
    uint32_t touched = 0, refused = 0;  // bit t: of table t
    pthread_mutex_lock(&replay->queue);
    replay->committing = NULL;
    replay->n_committing = 0;
    for (hwm_append_op *op = ops, *next; op != NULL; op = next) {
        next = op->next;
        hwm_replay_slot* t = &replay->table[op->table];
        hwm_completion c = {.kind = HWM_DONE_APPEND, .token = op->token, .status = op->status};
        if (op->status == HWM_OK) {
            hwm_limiter_insert_done(&t->limiter, op->meta.steps);
            t->appends_done++;
            if (!(touched >> op->table & 1)) {
                touched |= 1u << op->table;
                t->commits++;
                t->stored_steps = hwm_index_steps(t->index);
                t->evicted_steps = t->state.evicted_steps;
            }
        } else {
            hwm_limiter_insert_undone(&t->limiter, op->meta.steps);
            if (op->status == HWM_EDUPLICATE) {
                t->duplicates++;
            } else {
                t->refused[op->status]++;
                refused |= 1u << op->table;
                order_back(t, op);
                snprintf(c.text, sizeof c.text, "%.*s", (int)sizeof c.text - 1,
                         op->status == HWM_EAGAIN
                             ? "an earlier chunk of the stream was refused: send that one first"
                             : err->text);
            }
        }
        hwm_replay_done(replay, &c);
        hwm_append_free(op);
    }
    for (int i = 0; i < replay->n_tables; i++) {
        if ((refused >> i & 1) && replay->table[i].order.streams > 0) {
            put_order_back(replay, i);
        }
        hwm_replay_pump(replay, &replay->table[i]);
    }
    pthread_mutex_unlock(&replay->queue);
}

void* hwm_replay_writer_main(void* argument) {
    hwm_replay* replay = argument;
    int64_t pause_ns = replay->config.commit_ms * 1000000;
    pthread_mutex_lock(&replay->queue);
    while (true) {
        while (replay->ready.n == 0 && !replay->stop_writer) {
            pthread_cond_wait(&replay->writer_wake, &replay->queue);
        }
        if (replay->ready.n == 0) {
            break;
        }
        // under load a group gathers for commit_ms; after a quiet time the first chunk goes at once
        int64_t due = replay->last_commit_ns + pause_ns;
        while (replay->ready.bytes < replay->group_bytes && !replay->stop_writer &&
               hwm_clock_ns() < due) {
            struct timespec until = {due / 1000000000, due % 1000000000};
            if (pthread_cond_timedwait(&replay->writer_wake, &replay->queue, &until) == ETIMEDOUT) {
                break;
            }
        }
        hwm_append_list group = {0};
        while (replay->ready.n > 0 &&
               (group.n == 0 ||
                group.bytes + replay->ready.head->meta.value_bytes <= GROUP_BYTES_MAX)) {
            hwm_append_push(&group, hwm_append_pop(&replay->ready));
        }
        replay->committing = group.head;
        replay->n_committing = group.n;
        pthread_mutex_unlock(&replay->queue);

        hwm_error err = {0};
        replay->last_commit_ns = hwm_clock_ns();
        size_t chunks = group.n;
        hwm_status status = commit_group(replay, group.head, &err);
        if (status == HWM_OK) {
            hwm_metric_add(replay->commits, 1);
            hwm_metric_observe(replay->commit_chunks, (double)chunks);
            hwm_metric_observe(replay->commit_seconds,
                               (double)(hwm_clock_ns() - replay->last_commit_ns) * 1e-9);
        } else {
            hwm_metric_add(replay->failures, 1);
            hwm_log(HWM_LOG_ERROR, "store", "a group was refused", "chunks=%zu reason=\"%s\"",
                    chunks, err.text);
        }
        report(replay, group.head, &err);
        pthread_mutex_lock(&replay->queue);
    }
    pthread_mutex_unlock(&replay->queue);
    return NULL;
}
