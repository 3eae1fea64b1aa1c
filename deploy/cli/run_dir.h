// The run directory: where everything of one training run lies, and what makes the same command
// resume it.
//
//   config.yaml  metrics.jsonl  checkpoints/{latest,best,step-N}/  logs/*.log  replay/  endpoint
//   lock
#ifndef HWM_CLI_RUN_DIR_H
#define HWM_CLI_RUN_DIR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "experiment/experiment.h"

enum { HWM_PATH_MAX = 4096 };

typedef struct hwm_run_dir {
    char path[HWM_PATH_MAX];  // absolute
    char endpoint[160];       // ipc:// address of its server, at most 107 bytes of path
    char socket_dir[64];  // temporary directory of the socket where the run's own path is too long;
                          // "" otherwise
    bool resumes;         // there was a config.yaml of the same experiment
    int lock;             // descriptor of the locked file, -1: not locked
} hwm_run_dir;

// path joined with name into out (HWM_PATH_MAX). false when it does not fit.
bool hwm_path_join(char* out, const char* path, const char* name);
bool hwm_path_exists(const char* path);
// mkdir -p
hwm_status hwm_path_make(const char* path, hwm_error* err);

// Create or open, take the lock (HWM_EDENIED when another `hwm train` holds it) and choose the
// endpoint.
hwm_status hwm_run_dir_open(hwm_run_dir* dir, const char* path, hwm_error* err);
// Unlock, remove socket, endpoint file and temporary socket directory.
void hwm_run_dir_close(hwm_run_dir* dir);

// Compare an experiment that is about to run with the one the directory holds. Differences in the
// fields that may change on resuming (`run.max_env_steps`, `run.workers`) are fine; any other is
// HWM_EEXIST with key, old and new value.
hwm_status hwm_run_dir_match(hwm_run_dir* dir, hwm_experiment* experiment, hwm_error* err);

// Value of a field "section.name" as YAML text into out. false when there is no such field.
bool hwm_experiment_get(hwm_experiment* experiment, const char* key, char* out, size_t size);

// --checkpoint RUN_DIR | STEP_DIR: the checkpoint directory (of a run: best, then latest) and the
// config.yaml that belongs to it. HWM_ENOTFOUND with what was looked for.
hwm_status hwm_checkpoint_find(const char* path, char* checkpoint, char* config, hwm_error* err);

// --server: an endpoint, or a run directory whose `endpoint` file names one. out: at least 256
// bytes.
hwm_status hwm_endpoint_find(const char* text, char* out, size_t size, hwm_error* err);

#endif
