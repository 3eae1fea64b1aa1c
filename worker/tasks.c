// Task runner.
#include "worker/tasks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "experiment/fitness.h"
#include "worker/feed.h"

typedef struct task {
    uint64_t id;
    bool leased, fitness;
    float* phi;
    hwm_evaluate_request evaluate;
    hwm_fitness_request individuals;
    // of the thread
    hwm_evaluate_result evaluated;
    hwm_fitness_result played;
    hwm_status status;
    hwm_error err;
} task;

enum { TASKS_AHEAD = 1 };

struct hwm_tasks {
    const hwm_experiment* experiment;
    const hwm_param_list* list;
    hwm_fitness* fitness;  // NULL: no individuals here
    float* phi;            // newest version fetched
    uint64_t version;      // ... which it is; 0: none
    int64_t env_steps;
    bool playing;
    pthread_t thread;
    atomic_bool done;
    int current;  // the one that is being played, or was last
    task slot[1 + TASKS_AHEAD];
    hwm_metric *tasks_done, *tasks_failed, *individuals;
};

hwm_status hwm_tasks_create(hwm_tasks** out, const hwm_experiment* experiment,
                            const hwm_param_list* list, hwm_error* err) {
    *out = NULL;
    hwm_tasks* t = calloc(1, sizeof *t);
    if (!t) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for tasks");
    }
    t->experiment = experiment;
    t->list = list;
    t->phi = calloc(t->list->count + 1, sizeof *t->phi);
    bool failed = !t->phi;
    for (int k = 0; k < 1 + TASKS_AHEAD; k++) {
        t->slot[k].phi = calloc(t->list->count + 1, sizeof *t->slot[k].phi);
        failed |= !t->slot[k].phi;
    }
    hwm_status s = failed ? hwm_fail(err, HWM_ENOMEM, "no memory for tasks") : HWM_OK;
    if (s == HWM_OK && experiment->agent.kind == HWM_AGENT_ES) {
        s = hwm_fitness_create(&t->fitness, experiment, err);
    }
    if (s) {
        hwm_tasks_destroy(&t);
        return s;
    }
    t->tasks_done = hwm_counter("hwm_worker_tasks_done_total", NULL, "Tasks completed.");
    t->tasks_failed = hwm_counter("hwm_worker_tasks_failed_total", NULL, "Tasks that failed here.");
    t->individuals = hwm_counter("hwm_worker_individuals_total", NULL,
                                 "Individuals of an evolution strategy evaluated.");
    *out = t;
    return HWM_OK;
}

void hwm_tasks_destroy(hwm_tasks** tasks) {
    hwm_tasks* t = *tasks;
    if (!t) {
        return;
    }
    if (t->playing) {
        pthread_join(t->thread, NULL);
    }
    for (int k = 0; k < 1 + TASKS_AHEAD; k++) {
        free(t->slot[k].phi);
    }
    hwm_fitness_destroy(&t->fitness);
    free(t->phi);
    free(t);
    *tasks = NULL;
}

static void* play(void* argument) {
    hwm_tasks* t = argument;
    task* k = &t->slot[t->current];
    k->status = k->fitness
                    ? hwm_fitness_play(t->fitness, k->phi, &k->individuals, &k->played, &k->err)
                    : hwm_evaluate(t->experiment, k->phi, &k->evaluate, &k->evaluated, &k->err);
    atomic_store(&t->done, true);
    return NULL;
}

static void failed(hwm_tasks* t, task* k, hwm_status s, const char* text) {
    k->leased = false;
    hwm_metric_add(t->tasks_failed, 1);
    hwm_log(HWM_LOG_WARN, "tasks", k->fitness ? "fitness task failed" : "evaluation task failed",
            "id=%llu status=%s reason=\"%s\"", (unsigned long long)k->id, hwm_status_name(s), text);
}

static void report(hwm_tasks* t, task* k, hwm_client* client) {
    _Static_assert((int)HWM_FITNESS_BYTES_MAX >= (int)HWM_EVALUATE_REPLY_MAX,
                   "one buffer for both");
    uint8_t bytes[HWM_FITNESS_BYTES_MAX];
    if (k->status) {
        failed(t, k, k->status, k->err.text);
        return;
    }
    hwm_error err;
    size_t size = k->fitness ? hwm_fitness_result_encode(&k->played, bytes)
                             : hwm_evaluate_result_encode(&k->evaluated, bytes);
    hwm_status s = hwm_client_task_complete(client, k->id, bytes, size, &err);
    // somebody else was faster: the same numbers, nothing failed
    if (s && s != HWM_EDUPLICATE) {
        failed(t, k, s, err.text);
        return;
    }
    k->leased = false;
    hwm_metric_add(t->tasks_done, 1);
    if (k->fitness) {
        t->env_steps += k->played.env_steps;
        hwm_metric_add(t->individuals, k->played.n);
    }
}

// Lease a task into k; false: there is none.
static bool lease(hwm_tasks* t, task* k, hwm_client* client) {
    hwm_task leased;
    hwm_error err = {HWM_OK, ""};
    // a worker of an evolving experiment takes what comes, evaluations included
    if (hwm_client_task_lease(client, t->fitness ? "" : HWM_TASK_EVALUATE, &leased, &err) !=
        HWM_OK) {
        return false;  // nothing to do, or no server: the next poll asks again
    }
    uint64_t version = 0;
    k->id = leased.id;
    k->leased = true;
    k->fitness = strcmp(leased.type, HWM_TASK_FITNESS) == 0;
    hwm_status s = HWM_OK;
    if (k->fitness) {
        s = hwm_fitness_request_decode(leased.payload, leased.payload_bytes, &k->individuals, &err);
        version = k->individuals.version;
    } else {
        s = hwm_evaluate_request_decode(leased.payload, leased.payload_bytes, &k->evaluate,
                                        &version, &err);
    }
    if (s == HWM_OK && version != t->version) {
        t->version = 0;
        s = hwm_client_fetch(client, HWM_CONTROLLER_SET, version, t->list, t->phi, &t->version,
                             &err);
    }
    if (s) {
        failed(t, k, s, err.text);
        return false;
    }
    memcpy(k->phi, t->phi, t->list->count * sizeof *k->phi);
    return true;
}

static void begin(hwm_tasks* t, int which) {
    t->current = which;
    atomic_store(&t->done, false);
    t->playing = pthread_create(&t->thread, NULL, play, t) == 0;
    if (!t->playing) {
        failed(t, &t->slot[which], HWM_EAGAIN, "no thread to play it");
    }
}

bool hwm_tasks_poll(hwm_tasks* t, hwm_client* client) {
    const int other = (t->current + 1) % (1 + TASKS_AHEAD);
    task* finished = NULL;
    if (t->playing && atomic_load(&t->done)) {
        pthread_join(t->thread, NULL);
        t->playing = false;
        finished = &t->slot[t->current];
        // the one that waits goes first, then we talk
        if (t->slot[other].leased) {
            begin(t, other);
        }
    }
    if (finished) {
        report(t, finished, client);
    }
    if (!t->playing && lease(t, &t->slot[t->current], client)) {
        begin(t, t->current);
    }
    const int ahead = (t->current + 1) % (1 + TASKS_AHEAD);
    if (t->fitness && t->playing && !t->slot[ahead].leased) {
        lease(t, &t->slot[ahead], client);
    }
    return t->playing;
}

int64_t hwm_tasks_env_steps(const hwm_tasks* tasks) {
    return tasks->env_steps;
}

uint64_t hwm_tasks_version(const hwm_tasks* tasks) {
    return tasks->version;
}
