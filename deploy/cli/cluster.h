// The processes of one run on this machine: a server, workers, a learner. Starts them in that
// order, restarts a worker that dies, notices when the server or the learner ends, and stops what
// is left: workers, learner, server.
#ifndef HWM_CLI_CLUSTER_H
#define HWM_CLI_CLUSTER_H

#include "command.h"
#include "process.h"
#include "run_dir.h"

enum { HWM_CLUSTER_WORKERS_MAX = 64 };

typedef struct hwm_cluster_config {
    const char* experiment;  // path of the experiment file
    const hwm_text_list* set;
    int workers;
} hwm_cluster_config;

typedef enum hwm_cluster_event {
    HWM_CLUSTER_RUNNING,
    HWM_CLUSTER_FINISHED,  // the learner ended by itself with exit 0
    HWM_CLUSTER_LEARNER_DIED,
    HWM_CLUSTER_SERVER_DIED,
    HWM_CLUSTER_WORKERS_FAIL,  // a worker dies again and again right after its start
} hwm_cluster_event;

typedef struct hwm_cluster {
    hwm_cluster_config config;
    hwm_run_dir* dir;
    char bin[HWM_PATH_MAX];
    hwm_process server, learner;
    hwm_process worker[HWM_CLUSTER_WORKERS_MAX];
    double restart_at[HWM_CLUSTER_WORKERS_MAX];  // hwm_clock_s; 0: none is due
    int quick_deaths[HWM_CLUSTER_WORKERS_MAX];   // in a row
    int worker_restarts;
    const hwm_process* culprit;  // whose end stopped the run
} hwm_cluster;

// Start all processes. On failure what was started is stopped again.
hwm_status hwm_cluster_start(hwm_cluster* cluster, const hwm_cluster_config* config,
                             hwm_run_dir* dir, hwm_error* err);
// Look after the children; note (size) receives a sentence when a worker died or came back, ""
// otherwise.
hwm_cluster_event hwm_cluster_tend(hwm_cluster* cluster, char* note, size_t size);
// Workers, learner, server. note (size): a sentence where one had to be killed.
void hwm_cluster_stop(hwm_cluster* cluster, char* note, size_t size);
int hwm_cluster_workers_alive(const hwm_cluster* cluster);

#endif
