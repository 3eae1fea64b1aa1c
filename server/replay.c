// data path  [6] store  [7] sampler
#include "server/replay.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/replay_internal.h"

static const hwm_config_field fields[] = {
    {"dir", HWM_CONFIG_STRING, offsetof(hwm_replay_config, dir), "replay", 1,
     HWM_CONFIG_STRING_MAX - 1, NULL, "directory of the replay store"},
    {"durability", HWM_CONFIG_ENUM, offsetof(hwm_replay_config, durability), "group", 0, 0,
     "full|group|process",
     "what an acknowledgement promises: full: survives power failure; group: power failure may "
     "lose the last group; "
     "process: safe against process failure only"},
    {"commit_ms", HWM_CONFIG_INT, offsetof(hwm_replay_config, commit_ms), "10", 0, 1000, NULL,
     "milliseconds a group gathers under load before it is committed"},
    {"map_bytes", HWM_CONFIG_INT, offsetof(hwm_replay_config, map_bytes), "17179869184", 1 << 20,
     1e14, NULL, "quota of the store in bytes; live data fill at most 60 % of it"},
    {"sampler_threads", HWM_CONFIG_INT, offsetof(hwm_replay_config, sampler_threads), "2", 1, 16,
     NULL, "threads that assemble batches"},
};
const hwm_config_table hwm_replay_table = {
    .section = "store",
    .help = "durable replay: LMDB environment, group commit, samplers",
    .fields = fields,
    .n = sizeof fields / sizeof fields[0],
};

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

// Takes op out of the list; false: it is not there.
static bool sample_remove(hwm_sample_list* list, hwm_sample_op* op) {
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

static uint64_t sample_steps(const hwm_sample_request* r) {
    return (uint64_t)r->batch * (uint64_t)r->length;
}

void hwm_replay_pump(hwm_replay* replay, hwm_replay_slot* t) {
    int64_t now = hwm_clock_ns();
    while (t->held.n > 0 && hwm_limiter_can_insert(&t->limiter, t->held.head->meta.steps)) {
        hwm_append_op* op = hwm_append_pop(&t->held);
        t->limiter.insert_wait_s += (double)(now - op->queued_ns) * 1e-9;
        hwm_limiter_insert(&t->limiter, op->meta.steps);
        hwm_append_push(&replay->ready, op);
        pthread_cond_signal(&replay->writer_wake);
    }
    // first come, first served; a request for which nothing was found waits for the next commit
    // without blocking others
    hwm_sample_list rest = {0};
    bool blocked = false;
    for (hwm_sample_op* op; (op = hwm_sample_pop(&t->waiting)) != NULL;) {
        uint64_t steps = sample_steps(&op->request);
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

// ---- sampler threads

enum { DAMAGED_MAX = 64 };  // chunks that one request may find damaged

// The lock is held on entry and on return.
static void serve(hwm_replay* replay, hwm_sampler* sampler, hwm_sample_op* op) {
    hwm_replay_slot* t = &replay->table[op->table];
    hwm_batch_block* block = replay->free_batch;
    uint64_t commit_before = t->commits;
    if (block != NULL) {
        replay->free_batch = block->next;
        replay->n_free_batches--;
    }
    hwm_sample_push(&replay->running, op);
    pthread_mutex_unlock(&replay->queue);

    hwm_completion c = {.kind = HWM_DONE_SAMPLE, .token = op->token};
    hwm_error err = {0};
    if (block == NULL) {
        block = calloc(1, sizeof *block);
    }
    if (block == NULL) {
        c.status = hwm_fail(&err, HWM_ENOMEM, "no memory for a batch");
    }
    for (int i = 0; block != NULL && i < DAMAGED_MAX; i++) {
        c.status = hwm_sampler_draw(sampler, t->index, &t->config, &op->request, block, &err);
        if (c.status != HWM_ECORRUPT) {
            break;
        }
        // the disk has changed what was stored: without that chunk there is still a table
        hwm_replay_drop(replay, op->table, hwm_sampler_damaged(sampler));
    }
    pthread_mutex_lock(&replay->queue);
    sample_remove(&replay->running, op);
    if (c.status == HWM_OK && !op->cancelled) {
        c.batch = &block->batch;
        t->samples_done++;
        hwm_replay_done(replay, &c);
        free(op);
        return;
    }
    if (block != NULL) {
        block->next = replay->free_batch;
        replay->free_batch = block;
        replay->n_free_batches++;
    }
    if (op->counted) {
        hwm_limiter_sample_undone(&t->limiter, sample_steps(&op->request));
        op->counted = false;
    }
    if (op->cancelled) {
        free(op);
    } else if (c.status == HWM_EAGAIN && !t->limiter.closed) {
        op->starved_commit = commit_before + 1;
        hwm_sample_push(&t->waiting, op);
    } else {
        c.status = c.status == HWM_EAGAIN ? HWM_ENOTFOUND : c.status;
        snprintf(c.text, sizeof c.text, "%.*s", (int)sizeof c.text - 1, err.text);
        hwm_replay_done(replay, &c);
        free(op);
    }
    hwm_replay_pump(replay, t);
}

void* hwm_replay_sampler_main(void* argument) {
    hwm_replay* replay = argument;
    hwm_sampler* sampler = NULL;
    hwm_error err;
    hwm_status status = hwm_sampler_create(&sampler, replay->store, &err);
    HWM_ASSERT(status == HWM_OK);
    pthread_mutex_lock(&replay->queue);
    while (!replay->stop_samplers) {
        hwm_sample_op* op = hwm_sample_pop(&replay->jobs);
        if (op != NULL) {
            serve(replay, sampler, op);
        } else {
            pthread_cond_wait(&replay->sampler_wake, &replay->queue);
        }
    }
    pthread_mutex_unlock(&replay->queue);
    hwm_sampler_destroy(&sampler);
    return NULL;
}

// ---- open and close

typedef struct loading {
    hwm_replay* replay;
    hwm_replay_slot* table;
    hwm_error* err;
} loading;

static hwm_status load_chunk(void* context, uint64_t id, const hwm_chunk_meta* meta,
                             const uint8_t* value) {
    loading* l = context;
    hwm_index_append(l->table->index, id, meta, value, false);
    return HWM_OK;
}

static hwm_status load_stream(void* context, hwm_stream stream, const hwm_stream_record* record) {
    loading* l = context;
    hwm_index_stream_set(l->table->index, stream, record);
    return HWM_OK;
}

static hwm_status table_set_up(hwm_replay_slot* t, const hwm_table_config* config,
                               const hwm_table_state* state, hwm_error* err) {
    hwm_status status = hwm_limiter_init(&t->limiter, &config->limiter, err);
    if (status != HWM_OK) {
        return status;
    }
    t->config = *config;
    t->experiment = strdup(config->experiment != NULL ? config->experiment : "");
    if (t->experiment == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a table");
    }
    t->config.experiment = t->experiment;
    t->state = *state;
    hwm_limiter_restore(&t->limiter, state->inserted_steps, state->sampled_steps);
    t->limiter.closed = state->closed;
    return hwm_index_create(&t->index, config->signature.n_columns + config->signature.n_keys, err);
}

static void table_tear_down(hwm_replay_slot* t) {
    for (hwm_append_op* op; (op = hwm_append_pop(&t->held)) != NULL;) {
        hwm_append_free(op);
    }
    for (hwm_sample_op* op; (op = hwm_sample_pop(&t->waiting)) != NULL;) {
        free(op);
    }
    hwm_index_destroy(&t->index);
    free(t->experiment);
    free(t->range);
    free(t->range_used);
    memset(t, 0, sizeof *t);
}

static hwm_status load_table(void* context, int table, const hwm_table_config* config,
                             const hwm_table_state* state) {
    loading* l = context;
    if (table != l->replay->n_tables) {
        return hwm_fail(l->err, HWM_ECORRUPT, "table %d follows table %d in the store", table,
                        l->replay->n_tables - 1);
    }
    hwm_replay_slot* t = &l->replay->table[table];
    l->replay->n_tables++;
    return table_set_up(t, config, state, l->err);
}

static hwm_status load(hwm_replay* replay, hwm_error* err) {
    loading l = {replay, NULL, err};
    hwm_status status = hwm_store_each_table(replay->store, load_table, &l, err);
    for (int i = 0; i < replay->n_tables && status == HWM_OK; i++) {
        hwm_replay_slot* t = l.table = &replay->table[i];
        status = hwm_store_each_chunk(replay->store, i, load_chunk, &l, err);
        if (status == HWM_OK) {
            status = hwm_store_each_stream(replay->store, i, load_stream, &l, err);
        }
        if (status == HWM_OK) {
            status = hwm_store_ranges_get(replay->store, i, &t->range, &t->n_ranges, err);
        }
        hwm_index_loaded(t->index);
        t->stored_steps = hwm_index_steps(t->index);
        t->evicted_steps = t->state.evicted_steps;
        if (status == HWM_OK && t->n_ranges > 0) {
            t->range_used = calloc((size_t)t->n_ranges, sizeof *t->range_used);
            status =
                t->range_used != NULL ? HWM_OK : hwm_fail(err, HWM_ENOMEM, "no memory for a table");
        }
        if (status == HWM_OK) {
            hwm_log(
                HWM_LOG_INFO, "store", "table opened",
                "name=%s steps=%llu chunks=%llu inserted=%llu", t->config.name,
                (unsigned long long)hwm_index_steps(t->index),
                (unsigned long long)(hwm_index_newest(t->index) + 1 - hwm_index_oldest(t->index)),
                (unsigned long long)t->state.inserted_steps);
        }
    }
    return status;
}

static void register_metrics(hwm_replay* replay) {
    static const double seconds[] = {1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3};
    static const double chunks[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    replay->commits = hwm_counter("hwm_store_commits_total", NULL, "groups committed");
    replay->failures =
        hwm_counter("hwm_store_failures_total", NULL, "groups refused by disk or map");
    replay->commit_seconds =
        hwm_histogram("hwm_store_commit_seconds", NULL, seconds, 10, "time to store one group");
    replay->commit_chunks =
        hwm_histogram("hwm_store_commit_chunks", NULL, chunks, 11, "chunks of one group");
}

hwm_status hwm_replay_open(hwm_replay** out, const hwm_replay_config* config, hwm_error* err) {
    *out = NULL;
    hwm_replay* r = calloc(1, sizeof *r);
    if (r == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for the replay service");
    }
    r->config = *config;
    // chunks and LMDB's dirty pages come and go with every group: giving their memory back to the
    // system each time would cost a page fault per 4 KiB stored
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->commit, NULL);
    pthread_mutex_init(&r->queue, NULL);
    pthread_cond_init(&r->writer_wake, &attr);
    pthread_cond_init(&r->sampler_wake, &attr);
    pthread_condattr_destroy(&attr);
    register_metrics(r);
    hwm_status status = HWM_OK;
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->fd < 0) {
        status = hwm_fail(err, HWM_EIO, "no event descriptor for the replay service");
        goto fail;
    }
    status = hwm_store_open(&r->store, config, err);
    if (status == HWM_OK) {
        status = hwm_store_view_create(r->store, &r->view, err);
    }
    if (status == HWM_OK) {
        status = load(r, err);
    }
    if (status != HWM_OK) {
        goto fail;
    }
    if (config->durability == HWM_DURABLE_PROCESS) {
        hwm_log(
            HWM_LOG_WARN, "store", "durability is process",
            "dir=%s meaning=\"acknowledged chunks survive a killed process, not a power failure\"",
            config->dir);
    }
    if (pthread_create(&r->writer, NULL, hwm_replay_writer_main, r) != 0) {
        status = hwm_fail(err, HWM_EIO, "no thread for the writer");
        goto fail;
    }
    r->writer_started = true;
    for (; r->n_samplers < config->sampler_threads && r->n_samplers < 16; r->n_samplers++) {
        if (pthread_create(&r->sampler[r->n_samplers], NULL, hwm_replay_sampler_main, r) != 0) {
            status = hwm_fail(err, HWM_EIO, "no thread for a sampler");
            goto fail;
        }
    }
    *out = r;
    return HWM_OK;
fail:
    hwm_replay_close(&r);
    return status;
}

void hwm_replay_close(hwm_replay** replay) {
    hwm_replay* r = *replay;
    if (r == NULL) {
        return;
    }
    // what was admitted is stored; what the limiter held was never acknowledged, and its sender
    // keeps it
    pthread_mutex_lock(&r->queue);
    r->stop_writer = r->stop_samplers = true;
    pthread_cond_broadcast(&r->writer_wake);
    pthread_cond_broadcast(&r->sampler_wake);
    pthread_mutex_unlock(&r->queue);
    if (r->writer_started) {
        pthread_join(r->writer, NULL);
    }
    for (int i = 0; i < r->n_samplers; i++) {
        pthread_join(r->sampler[i], NULL);
    }
    if (r->snapshot_started) {
        pthread_join(r->snapshot, NULL);
    }
    for (hwm_sample_op* op; (op = hwm_sample_pop(&r->jobs)) != NULL;) {
        free(op);
    }
    if (r->writer_started) {
        hwm_replay_save_states(r);
    }
    for (; r->n_done > 0; r->n_done--, r->done_head++) {
        hwm_batch_block* block = (hwm_batch_block*)r->done[r->done_head % r->done_capacity].batch;
        hwm_batch_block_destroy(&block);
    }
    free(r->done);
    while (r->free_batch != NULL) {
        hwm_batch_block* block = r->free_batch;
        r->free_batch = block->next;
        hwm_batch_block_destroy(&block);
    }
    for (int i = 0; i < r->n_tables; i++) {
        table_tear_down(&r->table[i]);
    }
    hwm_store_view_destroy(&r->view);
    hwm_store_close(&r->store);
    if (r->fd >= 0) {
        close(r->fd);
    }
    pthread_cond_destroy(&r->writer_wake);
    pthread_cond_destroy(&r->sampler_wake);
    pthread_mutex_destroy(&r->queue);
    pthread_mutex_destroy(&r->commit);
    free(r);
    *replay = NULL;
}

int hwm_replay_fd(const hwm_replay* replay) {
    return replay->fd;
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
        size_t need = i < g->n_columns ? chunk->steps * hwm_tensor_bytes(&g->column[i])
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

    pthread_mutex_lock(&replay->queue);
    hwm_status status = HWM_OK;
    if (t->limiter.closed) {
        status = HWM_ECLOSED;
    } else if (t->limiter.ratio > 0 && chunk->steps > (uint64_t)t->limiter.burst_steps) {
        status = HWM_EINVAL;  // would never be let in
    } else if (chunk->sequence == 1 ||
               (t->held.n == 0 && hwm_limiter_can_insert(&t->limiter, chunk->steps))) {
        // the first chunk of a stream is always let in, so that a new worker is seen
        hwm_limiter_insert(&t->limiter, chunk->steps);
        hwm_append_push(&replay->ready, op);
        if (replay->ready.n == 1) {
            pthread_cond_signal(&replay->writer_wake);
        }
    } else {
        t->limiter.insert_waits++;
        hwm_append_push(&t->held, op);
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
    uint64_t steps = sample_steps(request);
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
                                      sample_steps(&op->request));
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
