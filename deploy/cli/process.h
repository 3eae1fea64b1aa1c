// Child processes of `hwm train`: each with a log file of its own, in a process group of its own
// (so that Ctrl-C reaches the supervisor alone, which then stops them in order), and bound to die
// with the supervisor.
#ifndef HWM_CLI_PROCESS_H
#define HWM_CLI_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

typedef struct hwm_process {
    char name[32];     // "server", "worker-0"
    char log[4096];    // path of its log, appended to
    pid_t pid;         // 0: not running
    int exit_status;   // as waitpid gave it, valid once it has ended
    double started_s;  // hwm_clock_s
    double ended_s;
    int starts;  // how often it was started
} hwm_process;

// Directory of this executable, where the other programs lie too.
hwm_status hwm_process_own_dir(char* dir, size_t size, hwm_error* err);

// argv: NULL-terminated, argv[0] the path of the program. stdout and stderr go to the log, stdin is
// /dev/null.
hwm_status hwm_process_start(hwm_process* process, char* const* argv, hwm_error* err);

// Non-blocking. true when it has just ended (then pid is 0 and exit_status holds how).
bool hwm_process_reap(hwm_process* process);

// SIGTERM, without waiting.
void hwm_process_ask(const hwm_process* process);

// SIGTERM, wait at most timeout_s, then SIGKILL. false when it had to be killed. Returns at once
// when it is not running.
bool hwm_process_stop(hwm_process* process, double timeout_s);

// "exited with status 1", "was killed by signal 9 (Killed)". Static buffer per call site: text
// (size).
void hwm_process_describe(const hwm_process* process, char* text, size_t size);
bool hwm_process_failed(const hwm_process* process);  // ended otherwise than with exit 0

// The last lines of its log since the last start, at most `lines` of them and size - 1 bytes.
void hwm_process_log_tail(const hwm_process* process, int lines, char* text, size_t size);

#endif
