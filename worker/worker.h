// data path  [1] env .. [5] link
//
// The rollout worker: needs only the server's address (and key). What to run, its parameters and
// its seeds come from there.
#ifndef HWM_WORKER_WORKER_H
#define HWM_WORKER_WORKER_H

#include "base/command.h"

typedef struct hwm_worker_options {
    const char* server;   // endpoint
    const char* key_dir;  // NULL: plain text
    bool insecure;
    const char* table;     // NULL: the server's only one
    int environments;      // 0: as the experiment says
    int threads;           // 0: as the experiment says
    size_t backlog_bytes;  // 0: 64 MiB
    double give_up_s;      // exit when no server answered for so long; 0: never
    double pace_hz;        // decisions per second of every environment at most; 0: no limit
} hwm_worker_options;

// Runs until SIGINT or SIGTERM, then sends what is under way. Returns the exit status: 0 asked to
// stop, 1 the server is gone for good or refuses us, 2 the experiment cannot be run here.
int hwm_worker_run(const hwm_worker_options* options);

// Command line of hwm-worker.
extern const hwm_command hwm_worker_command;

#endif
