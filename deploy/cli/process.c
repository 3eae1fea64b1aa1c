#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

hwm_status hwm_process_own_dir(char* dir, size_t size, hwm_error* err) {
    ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    if (n <= 0 || n >= (ssize_t)size - 1) {
        return hwm_fail(err, HWM_EIO, "cannot find the directory of this program: %s",
                        n < 0 ? strerror(errno) : "its path is too long");
    }
    dir[n] = '\0';
    char* slash = strrchr(dir, '/');
    if (slash) {
        *slash = '\0';
    }
    return HWM_OK;
}

hwm_status hwm_process_start(hwm_process* process, char* const* argv, hwm_error* err) {
    if (access(argv[0], X_OK) != 0) {
        return hwm_fail(
            err, HWM_ENOTFOUND,
            "%s: %s; the programs of HWM must lie in one directory (build/bin after a build)",
            argv[0], strerror(errno));
    }
    int log = open(process->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0) {
        return hwm_fail(err, HWM_EIO, "%s: %s", process->log, strerror(errno));
    }
    pid_t supervisor = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        int error = errno;
        close(log);
        return hwm_fail(err, HWM_EIO, "cannot start %s: %s", argv[0], strerror(error));
    }
    if (pid == 0) {
        // only async-signal-safe calls between fork and exec: other threads of ours may hold locks
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != supervisor) {
            _exit(1);
        }
        signal(SIGPIPE, SIG_DFL);
        int null = open("/dev/null", O_RDONLY);
        if (null >= 0) {
            dup2(null, STDIN_FILENO);
        }
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    close(log);
    process->pid = pid;
    process->exit_status = 0;
    process->started_s = hwm_clock_s();
    process->starts++;
    return HWM_OK;
}

static bool ended(hwm_process* process, int options) {
    int status = 0;
    pid_t got = waitpid(process->pid, &status, options);
    if (got == process->pid) {
        process->exit_status = status;
    } else if (!(got < 0 && errno == ECHILD)) {
        return false;
    }
    process->pid = 0;
    process->ended_s = hwm_clock_s();
    return true;
}

bool hwm_process_reap(hwm_process* process) {
    return process->pid > 0 && ended(process, WNOHANG);
}

void hwm_process_ask(const hwm_process* process) {
    if (process->pid > 0) {
        kill(process->pid, SIGTERM);
        kill(process->pid, SIGCONT);  // one that was stopped could not hear it
    }
}

bool hwm_process_stop(hwm_process* process, double timeout_s) {
    if (process->pid <= 0) {
        return true;
    }
    hwm_process_ask(process);
    double deadline = hwm_clock_s() + timeout_s;
    while (hwm_clock_s() < deadline) {
        if (hwm_process_reap(process)) {
            return true;
        }
        usleep(10000);
    }
    kill(process->pid, SIGKILL);
    while (!ended(process, 0)) {
    }
    return false;
}

bool hwm_process_failed(const hwm_process* process) {
    return !(WIFEXITED(process->exit_status) && WEXITSTATUS(process->exit_status) == 0);
}

void hwm_process_describe(const hwm_process* process, char* text, size_t size) {
    if (WIFSIGNALED(process->exit_status)) {
        int number = WTERMSIG(process->exit_status);
        snprintf(text, size, "was killed by signal %d (%s)", number, strsignal(number));
    } else {
        snprintf(text, size, "ended with exit status %d", WEXITSTATUS(process->exit_status));
    }
}

void hwm_process_log_tail(const hwm_process* process, int lines, char* text, size_t size) {
    text[0] = '\0';
    FILE* f = fopen(process->log, "r");
    if (!f) {
        return;
    }
    fseek(f, 0, SEEK_END);
    long end = ftell(f);
    long from = end > (long)size - 1 ? end - ((long)size - 1) : 0;
    fseek(f, from, SEEK_SET);
    size_t n = fread(text, 1, size - 1, f);
    fclose(f);
    text[n] = '\0';
    while (n > 0 && text[n - 1] == '\n') {
        text[--n] = '\0';
    }
    // keep the last `lines` whole lines
    const char* start = text + n;
    for (int seen = 0; start > text; start--) {
        if (start[-1] == '\n' && ++seen == lines) {
            break;
        }
    }
    memmove(text, start, strlen(start) + 1);
}
