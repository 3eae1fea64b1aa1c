// Task runner.
#include "worker/tasks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "worker/feed.h"

struct hwm_tasks {
    const hwm_experiment* experiment;
    const hwm_param_list* list;
    bool playing;
    pthread_t thread;
    atomic_bool done;
    uint64_t id;
    // written before the thread starts
    hwm_evaluate_request request;
    float* phi;
    // written by the thread before done
    hwm_evaluate_result result;
    hwm_status status;
    hwm_error err;
    hwm_metric *tasks_done, *tasks_failed;
};

hwm_status hwm_tasks_create(hwm_tasks** out, const hwm_experiment* experiment,
                            const hwm_controller* controller, hwm_error* err) {
    *out = NULL;
    hwm_tasks* t = calloc(1, sizeof *t);
    if (t) {
        t->list = hwm_controller_params(controller);
        t->phi = calloc(t->list->count + 1, sizeof *t->phi);
    }
    if (!t || !t->phi) {
        free(t);
        return hwm_fail(err, HWM_ENOMEM, "no memory for tasks");
    }
    t->experiment = experiment;
    t->tasks_done = hwm_counter("hwm_worker_tasks_done_total", NULL, "Evaluation tasks completed.");
    t->tasks_failed =
        hwm_counter("hwm_worker_tasks_failed_total", NULL, "Evaluation tasks that failed here.");
    *out = t;
    return HWM_OK;
}

void hwm_tasks_destroy(hwm_tasks** tasks) {
    if (*tasks) {
        if ((*tasks)->playing) {
            pthread_join((*tasks)->thread, NULL);
        }
        free((*tasks)->phi);
        free(*tasks);
        *tasks = NULL;
    }
}

static void* play(void* argument) {
    hwm_tasks* t = argument;
    t->status = hwm_evaluate(t->experiment, t->phi, &t->request, &t->result, &t->err);
    atomic_store(&t->done, true);
    return NULL;
}

static void failed(hwm_tasks* t, hwm_status s, const char* text) {
    hwm_metric_add(t->tasks_failed, 1);
    hwm_log(HWM_LOG_WARN, "tasks", "evaluation task failed", "id=%llu status=%s reason=\"%s\"",
            (unsigned long long)t->id, hwm_status_name(s), text);
}

static void report(hwm_tasks* t, hwm_client* client) {
    pthread_join(t->thread, NULL);
    t->playing = false;
    if (t->status) {
        failed(t, t->status, t->err.text);
        return;
    }
    uint8_t bytes[HWM_EVALUATE_REPLY_MAX];
    hwm_error err;
    size_t size = hwm_evaluate_result_encode(&t->result, bytes);
    hwm_status s = hwm_client_task_complete(client, t->id, bytes, size, &err);
    if (s) {
        failed(t, s, err.text);
    } else {
        hwm_metric_add(t->tasks_done, 1);
    }
}

void hwm_tasks_poll(hwm_tasks* t, hwm_client* client) {
    if (t->playing) {
        if (atomic_load(&t->done)) {
            report(t, client);
        }
        return;
    }
    hwm_task task;
    hwm_error err = {HWM_OK, ""};
    if (hwm_client_task_lease(client, HWM_TASK_EVALUATE, &task, &err) != HWM_OK) {
        return;  // nothing to do, or no server: the next poll asks again
    }
    uint64_t version = 0, got;
    t->id = task.id;
    hwm_status s =
        hwm_evaluate_request_decode(task.payload, task.payload_bytes, &t->request, &version, &err);
    if (s == HWM_OK) {
        s = hwm_client_fetch(client, HWM_CONTROLLER_SET, version, t->list, t->phi, &got, &err);
    }
    if (s) {
        failed(t, s, err.text);
        return;
    }
    atomic_store(&t->done, false);
    t->playing = pthread_create(&t->thread, NULL, play, t) == 0;
    if (!t->playing) {
        failed(t, HWM_EAGAIN, "no thread to play it");
    }
}
