// A round is published under the lock by raising `round`; each thread takes the part of its own
// number, so which thread steps which environment never changes (caches stay warm) and results
// cannot depend on scheduling.
#include "env/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct member {
    env_pool* pool;
    int number;  // 1 .. threads-1
    pthread_t thread;
} member;

struct env_pool {
    int threads;
    int started;
    pthread_mutex_t lock;
    pthread_cond_t begin, done;
    uint64_t round;
    int pending;  // threads that still work on this round
    bool stop;
    int count;
    env_pool_work work;
    void* context;
    member member[];
};

static void run_part(env_pool* p, int number) {
    int begin = (int)((int64_t)p->count * number / p->threads);
    int end = (int)((int64_t)p->count * (number + 1) / p->threads);
    if (begin < end) {
        p->work(p->context, begin, end);
    }
}

static void* member_main(void* argument) {
    member* m = argument;
    env_pool* p = m->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->round == seen && !p->stop) {
            pthread_cond_wait(&p->begin, &p->lock);
        }
        if (p->stop) {
            break;
        }
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        run_part(p, m->number);
        pthread_mutex_lock(&p->lock);
        if (--p->pending == 0) {
            pthread_cond_signal(&p->done);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

hwm_status env_pool_create(env_pool** out, int threads, hwm_error* err) {
    *out = NULL;
    env_pool* p = calloc(1, sizeof *p + (size_t)threads * sizeof(member));
    if (!p) {
        return hwm_fail(err, HWM_ENOMEM, "environments: out of memory for %d threads", threads);
    }
    p->threads = threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begin, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int k = 1; k < threads; k++) {
        member* m = &p->member[k];
        *m = (member){.pool = p, .number = k};
        int code = pthread_create(&m->thread, NULL, member_main, m);
        if (code != 0) {
            env_pool_destroy(&p);
            return hwm_fail(err, HWM_ENOMEM, "environments: thread %d of %d did not start: %s", k,
                            threads, strerror(code));
        }
        p->started = k;
    }
    *out = p;
    return HWM_OK;
}

void env_pool_destroy(env_pool** pool) {
    env_pool* p = *pool;
    if (!p) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->begin);
    pthread_mutex_unlock(&p->lock);
    for (int k = 1; k <= p->started; k++) {
        pthread_join(p->member[k].thread, NULL);
    }
    pthread_cond_destroy(&p->begin);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    free(p);
    *pool = NULL;
}

void env_pool_run(env_pool* pool, int count, env_pool_work work, void* context) {
    if (pool->threads == 1) {
        work(context, 0, count);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->count = count;
    pool->work = work;
    pool->context = context;
    pool->pending = pool->threads - 1;
    pool->round++;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->lock);
    run_part(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->pending > 0) {
        pthread_cond_wait(&pool->done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}
