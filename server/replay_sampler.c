// data path  [7] sampler
//
// The sampler threads: take a request, draw its batch, report it; what found nothing waits again.
#include <stdio.h>
#include <stdlib.h>

#include "server/replay_internal.h"

enum { DAMAGED_MAX = 64 };  // chunks that one request may find damaged
#define AGE_SHARE 0.05      // of the newest batch in the mean age

static double mean_age(const hwm_batch* batch) {
    double sum = 0.0;
    for (int i = 0; i < batch->batch; i++) {
        sum += (double)batch->age_steps[i];
    }
    return batch->batch > 0 ? sum / batch->batch : 0.0;
}

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
    const double age = c.status == HWM_OK ? mean_age(&block->batch) : 0.0;
    pthread_mutex_lock(&replay->queue);
    hwm_sample_remove(&replay->running, op);
    if (c.status == HWM_OK && !op->cancelled) {
        c.batch = &block->batch;
        t->sample_age_steps += (age - t->sample_age_steps) * (t->samples_done > 0 ? AGE_SHARE : 1);
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
        hwm_limiter_sample_undone(&t->limiter, hwm_sample_steps(&op->request));
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
