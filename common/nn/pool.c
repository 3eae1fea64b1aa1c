// Thread pool. One 64-bit ticket holds (generation, number of tasks, next task): a thread takes a
// task by moving the ticket on, so that a helper that wakes up late can never mistake an old
// generation for a new one. Helpers spin for some microseconds, since the next kernel usually
// follows at once, and sleep after that.
#include "nn/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { THREADS_MAX = 64, SPINS = 400, COUNT_BITS = 20 };
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

static struct {
    pthread_mutex_t owner;  // held by the caller whose tasks run
    pthread_mutex_t lock;   // sleeping helpers
    pthread_cond_t start;
    pthread_t helper[THREADS_MAX];
    int helpers;
    atomic_bool stop;
    nn_task_fn task;  // stable while a task of its generation is unfinished
    void* context;
    atomic_uint_fast64_t ticket;
    atomic_int finished, sleeping;
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .start = PTHREAD_COND_INITIALIZER};

static _Thread_local bool inside;

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool tasks_left(uint64_t ticket) {
    return (ticket & COUNT_MASK) < ((ticket >> COUNT_BITS) & COUNT_MASK);
}

static void run_tasks(void) {
    inside = true;
    uint64_t ticket = atomic_load(&pool.ticket);
    while (tasks_left(ticket)) {
        if (!atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket + 1))
            continue;
        pool.task(pool.context, (int)(ticket & COUNT_MASK));
        atomic_fetch_add(&pool.finished, 1);
        ticket = atomic_load(&pool.ticket);
    }
    inside = false;
}

static void* help(void* unused) {
    (void)unused;
    while (!atomic_load(&pool.stop)) {
        for (int i = 0; i < SPINS && !tasks_left(atomic_load(&pool.ticket)); i++)
            relax();
        if (!tasks_left(atomic_load(&pool.ticket))) {
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.sleeping, 1);
            while (!tasks_left(atomic_load(&pool.ticket)) && !atomic_load(&pool.stop))
                pthread_cond_wait(&pool.start, &pool.lock);
            atomic_fetch_sub(&pool.sleeping, 1);
            pthread_mutex_unlock(&pool.lock);
        }
        run_tasks();
    }
    return NULL;
}

static void wake_sleepers(void) {
    if (atomic_load(&pool.sleeping) == 0)
        return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.start);
    pthread_mutex_unlock(&pool.lock);
}

int nn_threads(void) {
    return inside ? 1 : pool.helpers + 1;
}

int nn_threads_set(int n) {
    HWM_ASSERT(n >= 1 && n <= THREADS_MAX && !inside);
    pthread_mutex_lock(&pool.owner);
    atomic_store(&pool.stop, true);
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.start);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.helpers; i++)
        pthread_join(pool.helper[i], NULL);
    atomic_store(&pool.stop, false);
    pool.helpers = 0;
    while (pool.helpers < n - 1 &&
           pthread_create(&pool.helper[pool.helpers], NULL, help, NULL) == 0)
        pool.helpers++;
    pthread_mutex_unlock(&pool.owner);
    return pool.helpers + 1;
}

void nn_parallel(int n, nn_task_fn task, void* context) {
    HWM_ASSERT(n >= 0 && (uint64_t)n <= COUNT_MASK);
    if (n <= 1 || pool.helpers == 0 || inside || pthread_mutex_trylock(&pool.owner) != 0) {
        for (int i = 0; i < n; i++)
            task(context, i);
        return;
    }
    pool.task = task;
    pool.context = context;
    atomic_store(&pool.finished, 0);
    const uint64_t generation = (atomic_load(&pool.ticket) >> (2 * COUNT_BITS)) + 1;
    atomic_store(&pool.ticket, generation << (2 * COUNT_BITS) | (uint64_t)n << COUNT_BITS);
    wake_sleepers();
    run_tasks();
    for (int spins = 0; atomic_load(&pool.finished) < n; spins++) {
        if (spins < 10 * SPINS)
            relax();
        else
            sched_yield();
    }
    pthread_mutex_unlock(&pool.owner);
}
