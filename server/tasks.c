#include "server/tasks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { TASKS_MAX = 16384, ATTEMPTS_MAX = 5, DONE_KEPT = 4096 };
enum { TASK_BYTES_ALL_MAX = 512 << 20 };

typedef enum task_state { TASK_WAITING, TASK_LEASED, TASK_DONE, TASK_FAILED } task_state;

typedef struct task {
    uint64_t id, nonce, owner;
    char type[HWM_TASK_TYPE_MAX];
    task_state state;
    uint32_t attempts, lease_ms;
    int64_t deadline_ns;
    void* payload;
    size_t payload_bytes;
    void* result;
    size_t result_bytes;
} task;

// A ring in order of submission: ids are base, base + 1, ...; the finished ones leave from the
// head.
struct hwm_tasks {
    task* ring;
    size_t head, n;
    uint64_t base;
    size_t first_waiting;  // no task before this one waits
    size_t bytes;
    uint64_t submitted, completed, failed, leased, leased_again, duplicates;
    size_t waiting, in_lease;
};

static task* at(const hwm_tasks* t, size_t k) {
    return &t->ring[(t->head + k) % TASKS_MAX];
}

hwm_status hwm_tasks_create(hwm_tasks** out) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL || ((*out)->ring = calloc(TASKS_MAX, sizeof(task))) == NULL) {
        hwm_tasks_destroy(out);
        return HWM_ENOMEM;
    }
    // ids of this server's life: a range that no earlier one used
    (*out)->base = (uint64_t)hwm_clock_wall_ms() << 20;
    return HWM_OK;
}

static void drop(hwm_tasks* t, task* k) {
    t->bytes -= k->payload_bytes + k->result_bytes;
    free(k->payload);
    free(k->result);
    memset(k, 0, sizeof *k);
}

void hwm_tasks_destroy(hwm_tasks** tasks) {
    hwm_tasks* t = *tasks;
    if (t == NULL) {
        return;
    }
    for (size_t k = 0; t->ring != NULL && k < t->n; k++) {
        drop(t, at(t, k));
    }
    free(t->ring);
    free(t);
    *tasks = NULL;
}

static task* find(hwm_tasks* t, uint64_t id) {
    return id >= t->base && id - t->base < t->n ? at(t, (size_t)(id - t->base)) : NULL;
}

static void pop_head(hwm_tasks* t) {
    drop(t, at(t, 0));
    t->head = (t->head + 1) % TASKS_MAX;
    t->base++;
    t->n--;
    t->first_waiting -= t->first_waiting > 0;
}

static bool finished(const task* k) {
    return k->state == TASK_DONE || k->state == TASK_FAILED;
}

hwm_status hwm_tasks_submit(hwm_tasks* t, const hwm_wire_submit* submit, uint64_t* id,
                            hwm_error* err) {
    // a repetition comes right after the first one: look at the youngest few
    for (size_t k = t->n; submit->nonce != 0 && k > 0 && t->n - k < 256; k--) {
        if (at(t, k - 1)->nonce == submit->nonce) {
            *id = at(t, k - 1)->id;
            return HWM_OK;
        }
    }
    while (t->n > DONE_KEPT && finished(at(t, 0))) {
        pop_head(t);
    }
    if (t->n == TASKS_MAX || t->bytes + submit->payload.size > TASK_BYTES_ALL_MAX) {
        return hwm_fail(err, HWM_EFULL, "%zu tasks of %zu bytes wait, the limit is %d and %d", t->n,
                        t->bytes, TASKS_MAX, TASK_BYTES_ALL_MAX);
    }
    task* k = at(t, t->n);
    memset(k, 0, sizeof *k);
    k->payload = malloc(submit->payload.size + 1);
    if (k->payload == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a task");
    }
    if (submit->payload.size > 0) {
        memcpy(k->payload, submit->payload.data, submit->payload.size);
    }
    k->payload_bytes = submit->payload.size;
    k->id = *id = t->base + t->n;
    k->nonce = submit->nonce;
    k->lease_ms = submit->lease_ms;
    snprintf(k->type, sizeof k->type, "%s", submit->type);
    t->n++;
    t->bytes += k->payload_bytes;
    t->submitted++;
    t->waiting++;
    return HWM_OK;
}

static void fill(hwm_task_view* view, const task* k) {
    *view = (hwm_task_view){.id = k->id,
                            .type = k->type,
                            .payload = {k->payload, k->payload_bytes},
                            .result = {k->result, k->result_bytes},
                            .attempts = k->attempts};
}

hwm_status hwm_tasks_lease(hwm_tasks* t, const char* type, uint64_t owner, int64_t now_ns,
                           hwm_task_view* view, hwm_error* err) {
    bool passed_waiting = false;
    for (size_t i = t->first_waiting; i < t->n; i++) {
        task* k = at(t, i);
        if (k->state != TASK_WAITING) {
            t->first_waiting += !passed_waiting && i == t->first_waiting;
            continue;
        }
        if (type[0] != '\0' && strcmp(type, k->type) != 0) {
            passed_waiting = true;
            continue;
        }
        k->state = TASK_LEASED;
        k->owner = owner;
        k->attempts++;
        k->deadline_ns = now_ns + (int64_t)k->lease_ms * 1000000;
        t->leased++;
        t->leased_again += k->attempts > 1;
        t->waiting--;
        t->in_lease++;
        fill(view, k);
        view->result = (hwm_bytes){0};
        return HWM_OK;
    }
    return hwm_fail(err, HWM_EAGAIN, "no task waits");
}

hwm_status hwm_tasks_complete(hwm_tasks* t, uint64_t id, hwm_bytes result, hwm_error* err) {
    task* k = find(t, id);
    if (k == NULL) {
        return hwm_fail(err, HWM_ENOTFOUND, "task %" PRIu64 " is not known", id);
    }
    if (k->state == TASK_DONE) {
        t->duplicates++;
        return hwm_fail(err, HWM_EDUPLICATE, "task %" PRIu64 " has a result already", id);
    }
    void* copy = malloc(result.size + 1);
    if (copy == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a result");
    }
    if (result.size > 0) {
        memcpy(copy, result.data, result.size);
    }
    // a late result of a task that waits again, or was given up, is as good as any
    t->waiting -= k->state == TASK_WAITING;
    t->in_lease -= k->state == TASK_LEASED;
    t->failed -= k->state == TASK_FAILED;
    t->bytes += result.size;
    t->bytes -= k->payload_bytes;
    free(k->payload);
    k->payload = NULL;
    k->payload_bytes = 0;
    k->result = copy;
    k->result_bytes = result.size;
    k->state = TASK_DONE;
    k->owner = 0;
    t->completed++;
    return HWM_OK;
}

hwm_status hwm_tasks_result(hwm_tasks* t, uint64_t id, hwm_task_view* view, hwm_error* err) {
    const task* k = find(t, id);
    if (k == NULL) {
        return hwm_fail(err, HWM_ENOTFOUND, "task %" PRIu64 " is not known: submit it again", id);
    }
    if (k->state == TASK_FAILED) {
        return hwm_fail(err, HWM_ETIMEDOUT,
                        "task %" PRIu64 " (%s) was leased %u times without a result", id, k->type,
                        k->attempts);
    }
    if (k->state != TASK_DONE) {
        return hwm_fail(err, HWM_EAGAIN, "task %" PRIu64 " is not done", id);
    }
    fill(view, k);
    return HWM_OK;
}

static void lease_ends(hwm_tasks* t, size_t i) {
    task* k = at(t, i);
    k->owner = 0;
    t->in_lease--;
    if (k->attempts >= ATTEMPTS_MAX) {
        k->state = TASK_FAILED;
        t->failed++;
        hwm_log(HWM_LOG_WARN, "tasks", "task failed", "id=%" PRIu64 " type=%s leases=%u", k->id,
                k->type, k->attempts);
    } else {
        k->state = TASK_WAITING;
        t->waiting++;
        t->first_waiting = i < t->first_waiting ? i : t->first_waiting;
    }
}

void hwm_tasks_expire(hwm_tasks* t, int64_t now_ns) {
    for (size_t i = 0; t->in_lease > 0 && i < t->n; i++) {
        if (at(t, i)->state == TASK_LEASED && now_ns >= at(t, i)->deadline_ns) {
            lease_ends(t, i);
        }
    }
}

void hwm_tasks_owner_gone(hwm_tasks* t, uint64_t owner) {
    for (size_t i = 0; t->in_lease > 0 && i < t->n; i++) {
        if (at(t, i)->state == TASK_LEASED && at(t, i)->owner == owner) {
            lease_ends(t, i);
        }
    }
}

int hwm_tasks_list(const hwm_tasks* t, hwm_wire_task_row* row, uint64_t* owner, int max) {
    int n = 0;
    for (size_t i = t->n; i > 0 && n < max; i--) {
        const task* k = at(t, i - 1);
        owner[n] = k->owner;
        row[n++] = (hwm_wire_task_row){k->id, k->type, (uint32_t)k->state, k->attempts, ""};
    }
    return n;
}

void hwm_tasks_stats(const hwm_tasks* t, hwm_text* json) {
    hwm_text_put(json,
                 "{\"submitted\":%" PRIu64 ",\"completed\":%" PRIu64 ",\"failed\":%" PRIu64
                 ",\"waiting\":%zu,\"leased\":%zu,\"leases\":%" PRIu64 ",\"leased_again\":%" PRIu64
                 ",\"duplicate_results\":%" PRIu64 ",\"bytes\":%zu}",
                 t->submitted, t->completed, t->failed, t->waiting, t->in_lease, t->leased,
                 t->leased_again, t->duplicates, t->bytes);
}
