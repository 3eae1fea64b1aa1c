// data path  [6] store  [7] sampler
#include "server/replay.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "server/keep.h"
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
    {"map_bytes_max", HWM_CONFIG_INT, offsetof(hwm_replay_config, map_bytes_max), "0", 0, 1e14,
     NULL,
     "the store grows beyond map_bytes up to here while a snapshot or another long reader holds "
     "freed "
     "pages back; 0: twice map_bytes"},
    {"sampler_threads", HWM_CONFIG_INT, offsetof(hwm_replay_config, sampler_threads), "2", 1, 16,
     NULL, "threads that assemble batches"},
};
const hwm_config_table hwm_replay_table = {
    .section = "store",
    .help = "durable replay: LMDB environment, group commit, samplers",
    .fields = fields,
    .n = sizeof fields / sizeof fields[0],
};

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

hwm_status hwm_replay_slot_set_up(hwm_replay_slot* t, const hwm_table_config* config,
                                  double limiter_offset, const hwm_table_state* state,
                                  hwm_error* err) {
    hwm_status status = hwm_limiter_init(&t->limiter, &config->limiter, err);
    if (status == HWM_OK) {
        status = hwm_order_init(&t->order, config, state->inserted_steps, err);
    }
    if (status != HWM_OK) {
        return status;
    }
    t->limiter.offset = limiter_offset;
    t->config = *config;
    t->experiment = strdup(config->experiment != NULL ? config->experiment : "");
    if (t->experiment == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a table");
    }
    t->config.experiment = t->experiment;
    t->state = *state;
    hwm_limiter_restore(&t->limiter, state->inserted_steps, state->sampled_steps);
    t->limiter.closed = state->closed;
    status =
        hwm_index_create(&t->index, config->signature.n_columns + config->signature.n_keys, err);
    if (status == HWM_OK) {
        hwm_index_limit_times(t->index, config->max_times_sampled);
    }
    return status;
}

void hwm_replay_slot_tear_down(hwm_replay_slot* t) {
    for (hwm_append_op* op; (op = hwm_append_pop(&t->early)) != NULL;) {
        hwm_append_free(op);
    }
    for (hwm_append_op* op; (op = hwm_append_pop(&t->held)) != NULL;) {
        hwm_append_free(op);
    }
    for (hwm_sample_op* op; (op = hwm_sample_pop(&t->waiting)) != NULL;) {
        free(op);
    }
    hwm_index_destroy(&t->index);
    hwm_order_destroy(&t->order);
    free(t->experiment);
    free(t->range);
    free(t->range_used);
    memset(t, 0, sizeof *t);
}

static hwm_status load_table(void* context, int table, const hwm_table_config* config,
                             double limiter_offset, const hwm_table_state* state) {
    loading* l = context;
    if (table != l->replay->n_tables) {
        return hwm_fail(l->err, HWM_ECORRUPT, "table %d follows table %d in the store", table,
                        l->replay->n_tables - 1);
    }
    hwm_replay_slot* t = &l->replay->table[table];
    l->replay->n_tables++;
    return hwm_replay_slot_set_up(t, config, limiter_offset, state, l->err);
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
        if (status == HWM_OK) {
            status = hwm_keep_load(replay->store, i, t->index, err);
        }
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
    // a commit that waits for the disk is shared by more
    r->group_bytes = config->durability == HWM_DURABLE_PROCESS ? 4 << 20 : 16 << 20;
    // chunks and LMDB's dirty pages come and go with every group: giving their memory back to the
    // system each time would cost a page fault per 4 KiB stored
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->turn, NULL);
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
        hwm_replay_slot_tear_down(&r->table[i]);
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
    pthread_mutex_destroy(&r->turn);
    free(r);
    *replay = NULL;
}

void hwm_replay_commit_lock(hwm_replay* replay) {
    // who stands first in `turn` gets the lock next: a busy writer cannot take it again and again
    pthread_mutex_lock(&replay->turn);
    pthread_mutex_lock(&replay->commit);
    pthread_mutex_unlock(&replay->turn);
}

int hwm_replay_fd(const hwm_replay* replay) {
    return replay->fd;
}
