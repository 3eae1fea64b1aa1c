// Task runner: leases tasks and plays them in a thread of its own, so that rollouts go on
// meanwhile. Evaluation for every kind of agent; individuals where the experiment evolves, one task
// ahead, so that the thread never waits for the link.
#ifndef HWM_WORKER_TASKS_H
#define HWM_WORKER_TASKS_H

#include "experiment/evaluate.h"
#include "net/client.h"

typedef struct hwm_tasks hwm_tasks;

// experiment and list, of the set "controller": borrowed until destroy.
hwm_status hwm_tasks_create(hwm_tasks** out, const hwm_experiment* experiment,
                            const hwm_param_list* list, hwm_error* err);
// Waits for the task that is being played (a stop signal ends it early); its lease is left to
// expire.
void hwm_tasks_destroy(hwm_tasks** tasks);
// Report a task that is done, begin the next one, lease what can be leased. Call a few times a
// second, more often where individuals are evaluated. Returns true while something is being played.
bool hwm_tasks_poll(hwm_tasks* tasks, hwm_client* client);
int64_t hwm_tasks_env_steps(const hwm_tasks* tasks);  // of individuals, so far
uint64_t hwm_tasks_version(const hwm_tasks* tasks);   // of the parameters of the newest task

#endif
