// Task runner: leases evaluation tasks and plays them in a thread of its own, so that rollouts go
// on meanwhile.
#ifndef HWM_WORKER_TASKS_H
#define HWM_WORKER_TASKS_H

#include "experiment/evaluate.h"
#include "net/client.h"

typedef struct hwm_tasks hwm_tasks;

// experiment and controller: borrowed until destroy.
hwm_status hwm_tasks_create(hwm_tasks** out, const hwm_experiment* experiment,
                            const hwm_controller* controller, hwm_error* err);
// Waits for the task that is being played (a stop signal ends it early); its lease is left to
// expire.
void hwm_tasks_destroy(hwm_tasks** tasks);
// Lease a task when nothing is being played, report one that is done. Call a few times a second.
void hwm_tasks_poll(hwm_tasks* tasks, hwm_client* client);

#endif
