// data path  [6] store  [7] sampler
//
// Requests on their way: appends and samples wait here for the limiter, samplers and the writer
// take them, completions go back to the owner.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/packed.h"
#include "server/replay_internal.h"

// ---- queues

void hwm_append_free(hwm_append_op* op) {
    if (op->release != NULL) {
        op->release(op->kept);
    }
    free(op);
}

void hwm_append_push(hwm_append_list* list, hwm_append_op* op) {
    op->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = op;
    } else {
        list->head = op;
    }
    list->tail = op;
    list->n++;
    list->bytes += op->meta.value_bytes;
}

hwm_append_op* hwm_append_pop(hwm_append_list* list) {
    hwm_append_op* op = list->head;
    if (op != NULL) {
        list->head = op->next;
        list->tail = op->next != NULL ? list->tail : NULL;
        list->n--;
        list->bytes -= op->meta.value_bytes;
        op->next = NULL;
    }
    return op;
}

void hwm_append_join(hwm_append_list* list, hwm_append_list* tail) {
    if (tail->head != NULL) {
        if (list->tail != NULL) {
            list->tail->next = tail->head;
        } else {
            list->head = tail->head;
        }
        list->tail = tail->tail;
        list->n += tail->n;
        list->bytes += tail->bytes;
    }
    *tail = (hwm_append_list){0};
}

void hwm_sample_push(hwm_sample_list* list, hwm_sample_op* op) {
    op->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = op;
    } else {
        list->head = op;
    }
    list->tail = op;
    list->n++;
}

hwm_sample_op* hwm_sample_pop(hwm_sample_list* list) {
    hwm_sample_op* op = list->head;
    if (op != NULL) {
        list->head = op->next;
        list->tail = op->next != NULL ? list->tail : NULL;
        list->n--;
        op->next = NULL;
    }
    return op;
}

bool hwm_sample_remove(hwm_sample_list* list, hwm_sample_op* op) {
    hwm_sample_op* before = NULL;
    for (hwm_sample_op* o = list->head; o != NULL; before = o, o = o->next) {
        if (o != op) {
            continue;
        }
        if (before != NULL) {
            before->next = o->next;
        } else {
            list->head = o->next;
        }
        list->tail = list->tail == o ? before : list->tail;
        list->n--;
        return true;
    }
    return false;
}

void hwm_replay_done(hwm_replay* replay, const hwm_completion* completion) {
    if (replay->n_done == replay->done_capacity) {
        size_t capacity = replay->done_capacity > 0 ? replay->done_capacity * 2 : 256;
        hwm_completion* ring = malloc(capacity * sizeof *ring);
        HWM_ASSERT(ring != NULL);
        for (size_t i = 0; i < replay->n_done; i++) {
            ring[i] = replay->done[(replay->done_head + i) % replay->done_capacity];
        }
        free(replay->done);
        replay->done = ring;
        replay->done_head = 0;
        replay->done_capacity = capacity;
    }
    replay->done[(replay->done_head + replay->n_done++) % replay->done_capacity] = *completion;
    if (replay->n_done == 1) {
        uint64_t one = 1;
        ssize_t ignored = write(replay->fd, &one, sizeof one);
        (void)ignored;
    }
}

uint64_t hwm_sample_steps(const hwm_sample_request* r) {
    return (uint64_t)r->batch * (uint64_t)r->length;
}

void hwm_replay_refuse_list(hwm_replay* replay, hwm_replay_slot* t, hwm_append_list* list,
                            hwm_status status, const char* text) {
    for (hwm_append_op* op; (op = hwm_append_pop(list)) != NULL;) {
        hwm_completion c = {.kind = HWM_DONE_APPEND, .token = op->token, .status = status};
        snprintf(c.text, sizeof c.text, "%s", text);
        t->refused[status]++;
        hwm_replay_done(replay, &c);
        hwm_append_free(op);
    }
}

// The writer is woken by the first chunk of a group and by the one that fills it.
static void make_ready(hwm_replay* replay, hwm_replay_slot* t, hwm_append_op* op) {
    size_t before = replay->ready.bytes;
    hwm_limiter_insert(&t->limiter, op->meta.steps);
    hwm_append_push(&replay->ready, op);
    if (before == 0 ||
        (before < replay->group_bytes && replay->ready.bytes >= replay->group_bytes)) {
        pthread_cond_signal(&replay->writer_wake);
    }
}

// Lets the chunk go on: to the writer, or to those that the limiter holds.
static void let_in(hwm_replay* replay, hwm_replay_slot* t, hwm_append_op* op) {
    // the first chunk of a stream is always let in, so that a new worker is seen
    bool first = op->meta.sequence == 1 && t->order.streams == 0;
    if (first || (t->held.n == 0 && hwm_limiter_can_insert(&t->limiter, op->meta.steps))) {
        make_ready(replay, t, op);
    } else {
        t->limiter.insert_waits++;
        hwm_append_push(&t->held, op);
    }
}

// Early chunks whose turn has come, one after the other. What was let in before goes on too: the
// store says that it is a duplicate.
static void let_in_early(hwm_replay* replay, hwm_replay_slot* t) {
    hwm_append_list passed = {0}, never = {0};
    for (hwm_append_op* op; (op = hwm_append_pop(&t->early)) != NULL;) {
        hwm_stream stream = {op->meta.env, op->meta.incarnation};
        switch (op->stored ? HWM_ORDER_AGAIN
                           : hwm_order_of(&t->order, stream, op->meta.sequence, op->meta.steps)) {
        case HWM_ORDER_LATER:
            hwm_append_push(&passed, op);
            break;
        case HWM_ORDER_NOW:
            hwm_order_take(&t->order, stream, op->meta.sequence, op->meta.steps);
            let_in(replay, t, op);
            // the turn of those that were passed over may have come: from the oldest again
            hwm_append_join(&passed, &t->early);
            hwm_append_join(&t->early, &passed);
            break;
        case HWM_ORDER_AGAIN:
            let_in(replay, t, op);
            break;
        case HWM_ORDER_NEVER:
            hwm_append_push(&never, op);
        }
    }
    t->early = passed;
    hwm_replay_refuse_list(replay, t, &never, HWM_EINVAL,
                           "the table takes chunks round by round: an environment that it does not "
                           "know, or more rows than its round has left");
}

void hwm_replay_pump(hwm_replay* replay, hwm_replay_slot* t) {
    int64_t now = hwm_clock_ns();
    while (t->held.n > 0 && hwm_limiter_can_insert(&t->limiter, t->held.head->meta.steps)) {
        hwm_append_op* op = hwm_append_pop(&t->held);
        t->limiter.insert_wait_s += (double)(now - op->queued_ns) * 1e-9;
        make_ready(replay, t, op);
    }
    // first come, first served; a request for which nothing was found waits for the next commit
    // without blocking others
    hwm_sample_list rest = {0};
    bool blocked = false;
    for (hwm_sample_op* op; (op = hwm_sample_pop(&t->waiting)) != NULL;) {
        uint64_t steps = hwm_sample_steps(&op->request);
        bool starved = op->starved_commit == t->commits + 1 && !t->limiter.closed;
        bool may =
            hwm_limiter_can_sample(&t->limiter, t->stored_steps, steps, op->request.uncounted);
        if (starved || !may || (blocked && !op->request.uncounted)) {
            blocked = blocked || (!starved && !op->request.uncounted);
            hwm_sample_push(&rest, op);
            continue;
        }
        t->limiter.sample_wait_s += (double)(now - op->queued_ns) * 1e-9;
        op->counted = !op->request.uncounted;
        if (op->counted) {
            hwm_limiter_sample(&t->limiter, steps);
        }
        hwm_sample_push(&replay->jobs, op);
        pthread_cond_signal(&replay->sampler_wake);
    }
    t->waiting = rest;
    // samples that were counted may have let inserts go
    if (t->held.n > 0 && hwm_limiter_can_insert(&t->limiter, t->held.head->meta.steps)) {
        hwm_replay_pump(replay, t);
    }
}

// ---- append, sample, completions

static bool known_table(const hwm_replay* replay, int table) {
    return table >= 0 && table < replay->n_tables;
}

static hwm_status append(hwm_replay* replay, int table, const hwm_chunk* chunk, const void* bytes,
                         size_t size, uint64_t token, void (*release)(void*), void* kept) {
    HWM_ASSERT(known_table(replay, table));
    hwm_replay_slot* t = &replay->table[table];
    const hwm_signature* g = &t->config.signature;
    if (size == 0 || size > UINT32_MAX || chunk->steps == 0 || chunk->sequence == 0) {
        return HWM_EINVAL;
    }
    hwm_append_op* op = malloc(sizeof *op + (release == NULL ? size : 0));
    if (op == NULL) {
        return HWM_ENOMEM;
    }
    const uint8_t* flags = chunk->column[HWM_COLUMN_FLAGS];
    memset(op, 0, sizeof *op);
    op->table = table;
    op->token = token;
    op->queued_ns = hwm_clock_ns();
    op->meta = (hwm_chunk_meta){
        .edge = (flags[0] & HWM_FLAG_FIRST) |
                (flags[chunk->steps - 1] & (HWM_FLAG_LAST | HWM_FLAG_TERMINAL)),
        .value_bytes = (uint32_t)size,
        .env = chunk->stream.env,
        .incarnation = chunk->stream.incarnation,
        .sequence = chunk->sequence,
        .first_step = chunk->first_step,
        .episode = chunk->episode,
        .episode_step = chunk->episode_step,
        .steps = chunk->steps,
        .sign = chunk->param.sign,
        .param_version = chunk->param.version,
        .perturbation_seed = chunk->param.perturbation_seed,
        .sigma = chunk->param.sigma,
        .n_offsets = (uint32_t)(g->n_columns + g->n_keys),
    };
    memcpy(op->meta.set, chunk->param.set, sizeof op->meta.set);
    for (int i = 0; i < g->n_columns + g->n_keys; i++) {
        const uint8_t* at = i < g->n_columns ? chunk->column[i] : chunk->key[i - g->n_columns];
        size_t need = i < g->n_columns ? hwm_chunk_column_bytes(g, chunk, i)
                                       : hwm_tensor_bytes(&g->key[i - g->n_columns]);
        const uint8_t* begin = bytes;
        if (at < begin || need > size || (size_t)(at - begin) > size - need) {
            free(op);
            return HWM_EPROTO;  // the view does not lie in the bytes
        }
        op->meta.offset[i] = (uint32_t)(at - begin);
    }
    if (release == NULL) {
        memcpy(op + 1, bytes, size);
    }
    op->bytes = release == NULL ? (const uint8_t*)(op + 1) : bytes;
    op->release = release;
    op->kept = kept;
    if (t->config.order_streams > 0) {
        hwm_index_lock(t->index, false);
        const hwm_stream_info* s = hwm_index_stream(t->index, chunk->stream);
        op->stored = s != NULL && s->last_sequence >= chunk->sequence;
        hwm_index_unlock(t->index);
    }

    pthread_mutex_lock(&replay->queue);
    hwm_status status = HWM_OK;
    if (t->limiter.closed) {
        status = HWM_ECLOSED;
    } else if (t->limiter.ratio > 0 && chunk->steps > (uint64_t)t->limiter.burst_steps) {
        status = HWM_EINVAL;  // would never be let in
    } else if (t->order.streams == 0) {
        let_in(replay, t, op);
    } else {
        hwm_append_push(&t->early, op);
        let_in_early(replay, t);
    }
    pthread_mutex_unlock(&replay->queue);
    if (status != HWM_OK) {
        free(op);
    }
    return status;
}

hwm_status hwm_replay_append(hwm_replay* replay, int table, const hwm_chunk* chunk,
                             const void* bytes, size_t size, uint64_t token) {
    return append(replay, table, chunk, bytes, size, token, NULL, NULL);
}

hwm_status hwm_replay_append_kept(hwm_replay* replay, int table, const hwm_chunk* chunk,
                                  const void* bytes, size_t size, uint64_t token,
                                  void (*release)(void*), void* kept) {
    return append(replay, table, chunk, bytes, size, token, release, kept);
}

hwm_status hwm_replay_sample(hwm_replay* replay, int table, const hwm_sample_request* request,
                             uint64_t token) {
    HWM_ASSERT(known_table(replay, table));
    hwm_replay_slot* t = &replay->table[table];
    hwm_error err = {0};
    hwm_status status = hwm_sample_check(&t->config, request, &err);
    uint64_t steps = hwm_sample_steps(request);
    if (status == HWM_OK && t->limiter.ratio > 0 && !request->uncounted &&
        steps > (uint64_t)t->limiter.prefetch_steps) {
        status = hwm_fail(
            &err, HWM_EINVAL,
            "a sample of %llu steps is more than the table's prefetch_steps %lld: it would wait "
            "for ever",
            (unsigned long long)steps, (long long)t->limiter.prefetch_steps);
    }
    hwm_sample_op* op = status == HWM_OK ? calloc(1, sizeof *op) : NULL;
    if (status == HWM_OK && op == NULL) {
        return HWM_ENOMEM;
    }
    pthread_mutex_lock(&replay->queue);
    if (status != HWM_OK) {
        // a refusal comes as a completion too, with its sentence
        hwm_completion c = {.kind = HWM_DONE_SAMPLE, .token = token, .status = status};
        snprintf(c.text, sizeof c.text, "%.*s", (int)sizeof c.text - 1, err.text);
        hwm_replay_done(replay, &c);
    } else {
        op->table = table;
        op->token = token;
        op->queued_ns = hwm_clock_ns();
        op->request = *request;
        hwm_sample_push(&t->waiting, op);
        size_t before = replay->jobs.n + replay->running.n;
        hwm_replay_pump(replay, t);
        t->limiter.sample_waits += replay->jobs.n + replay->running.n == before;
    }
    pthread_mutex_unlock(&replay->queue);
    return HWM_OK;
}

hwm_status hwm_replay_prioritise(hwm_replay* replay, int table, int n, const hwm_stream* stream,
                                 const uint64_t* step, const double* priority, hwm_error* err) {
    HWM_ASSERT(known_table(replay, table));
    for (int i = 0; i < n; i++) {
        if (!(priority[i] >= 0) || priority[i] > 1e30) {
            return hwm_fail(err, HWM_EINVAL, "priority %g of step %llu: 0 to 1e30 are allowed",
                            priority[i], (unsigned long long)step[i]);
        }
    }
    hwm_index* index = replay->table[table].index;
    hwm_index_lock(index, true);
    for (int i = 0; i < n; i++) {
        hwm_index_prioritise(index, stream[i], step[i], priority[i]);
    }
    hwm_index_unlock(index);
    return HWM_OK;
}

static void cancel_in(hwm_replay* replay, hwm_sample_list* list, uint64_t token) {
    hwm_sample_list rest = {0};
    for (hwm_sample_op* op; (op = hwm_sample_pop(list)) != NULL;) {
        if (op->token != token) {
            hwm_sample_push(&rest, op);
            continue;
        }
        if (op->counted) {
            hwm_limiter_sample_undone(&replay->table[op->table].limiter,
                                      hwm_sample_steps(&op->request));
        }
        free(op);
    }
    *list = rest;
}

void hwm_replay_cancel(hwm_replay* replay, uint64_t token) {
    pthread_mutex_lock(&replay->queue);
    for (int i = 0; i < replay->n_tables; i++) {
        cancel_in(replay, &replay->table[i].waiting, token);
    }
    cancel_in(replay, &replay->jobs, token);
    for (hwm_sample_op* op = replay->running.head; op != NULL; op = op->next) {
        op->cancelled = op->cancelled || op->token == token;
    }
    for (int i = 0; i < replay->n_tables; i++) {
        hwm_replay_pump(replay, &replay->table[i]);
    }
    pthread_mutex_unlock(&replay->queue);
}

bool hwm_replay_next(hwm_replay* replay, hwm_completion* completion) {
    pthread_mutex_lock(&replay->queue);
    bool any = replay->n_done > 0;
    if (any) {
        *completion = replay->done[replay->done_head];
        replay->done_head = (replay->done_head + 1) % replay->done_capacity;
        replay->n_done--;
    }
    if (replay->n_done == 0) {
        uint64_t count;
        ssize_t ignored = read(replay->fd, &count, sizeof count);
        (void)ignored;
    }
    pthread_mutex_unlock(&replay->queue);
    return any;
}

void hwm_replay_batch_free(hwm_replay* replay, hwm_batch** batch) {
    enum { KEEP = 8 };
    hwm_batch_block* block = (hwm_batch_block*)*batch;
    *batch = NULL;
    if (block == NULL) {
        return;
    }
    pthread_mutex_lock(&replay->queue);
    bool keep = replay->n_free_batches < KEEP;
    if (keep) {
        block->next = replay->free_batch;
        replay->free_batch = block;
        replay->n_free_batches++;
    }
    pthread_mutex_unlock(&replay->queue);
    if (!keep) {
        hwm_batch_block_destroy(&block);
    }
}
