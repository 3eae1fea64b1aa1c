// Task queue: typed opaque payloads that workers lease with a deadline. A task whose worker
// vanished or is late is leased again; the first result counts, later ones are duplicates. After 5
// leases without a result a task has failed.
//
// Tasks live in memory: who submits them asks for the result, and submits again when the server
// does not know the task (ids of an earlier server never come back).
//
// Threads: the router thread only.
#ifndef HWM_SERVER_TASKS_H
#define HWM_SERVER_TASKS_H

#include "net/wire.h"
#include "server/text.h"

typedef struct hwm_tasks hwm_tasks;
hwm_status hwm_tasks_create(hwm_tasks** out);
void hwm_tasks_destroy(hwm_tasks** tasks);

// nonce: a repeated submission (same, not 0) returns the same id. HWM_EFULL: too many or too large
// tasks wait.
hwm_status hwm_tasks_submit(hwm_tasks* tasks, const hwm_wire_submit* submit, uint64_t* id,
                            hwm_error* err);

typedef struct hwm_task_view {  // borrowed until the next call
    uint64_t id;
    const char* type;
    hwm_bytes payload, result;
    uint32_t attempts;
} hwm_task_view;
// owner: who leases, a number that names it, not 0. type "": any. HWM_EAGAIN: nothing waits.
hwm_status hwm_tasks_lease(hwm_tasks* tasks, const char* type, uint64_t owner, int64_t now_ns,
                           hwm_task_view* view, hwm_error* err);
// HWM_EDUPLICATE: another result came first. HWM_ENOTFOUND: no such task.
hwm_status hwm_tasks_complete(hwm_tasks* tasks, uint64_t id, hwm_bytes result, hwm_error* err);
// HWM_EAGAIN: not done. HWM_ETIMEDOUT: failed. HWM_ENOTFOUND: no such task (any more).
hwm_status hwm_tasks_result(hwm_tasks* tasks, uint64_t id, hwm_task_view* view, hwm_error* err);

void hwm_tasks_expire(hwm_tasks* tasks, int64_t now_ns);  // leases whose deadline passed wait again
void hwm_tasks_owner_gone(hwm_tasks* tasks, uint64_t owner);  // so do those of a dead worker
int hwm_tasks_list(const hwm_tasks* tasks, hwm_wire_task_row* row, uint64_t* owner, int max);
void hwm_tasks_stats(const hwm_tasks* tasks, hwm_text* json);

#endif
