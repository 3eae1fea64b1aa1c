// hwm-worker: options, signals, log; everything else is hwm_worker_run.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/signals.h"
#include "worker/worker.h"

static void usage(FILE* out) {
    fprintf(
        out,
        "hwm-worker --server ENDPOINT [options]\n"
        "Steps environments with the server's plastic controller and sends what happens.\n\n"
        "  --server ENDPOINT   as ipc:///path/server.sock or tcp://host:5555   [HWM_SERVER]\n"
        "  --key-dir DIR       CURVE keys of this worker   [HWM_KEY_DIR]\n"
        "  --insecure          allow plain text to other hosts   [HWM_INSECURE=1]\n"
        "  --table NAME        which table, where the server has several   [HWM_TABLE]\n"
        "  --environments N    environments in lock step; default: worker.environments of the "
        "experiment   [HWM_ENVIRONMENTS]\n"
        "  --threads N         threads that step them; default: worker.threads   [HWM_THREADS]\n"
        "  --backlog-mib N     unacknowledged experience held, default 64   [HWM_BACKLOG_MIB]\n"
        "  --give-up-s S       exit when no server answered for S seconds; default: never   "
        "[HWM_GIVE_UP_S]\n"
        "  --help, --version\n\n"
        "Exit status: 0 asked to stop, 1 server gone or refusing, 2 bad options or experiment.\n");
}

// A number in [lo, hi], from the command line or the environment. Returns false after a sentence to
// stderr.
static bool number(const char* name, const char* text, double lo, double hi, double* value) {
    char* end;
    errno = 0;
    *value = strtod(text, &end);
    if (errno || end == text || *end || !(*value >= lo && *value <= hi)) {
        fprintf(stderr, "hwm-worker: %s is %s; allowed are numbers from %g to %g\n", name, text, lo,
                hi);
        return false;
    }
    return true;
}

int main(int argc, char** argv) {
    static const struct option options[] = {
        {"server", required_argument, NULL, 's'},
        {"key-dir", required_argument, NULL, 'k'},
        {"insecure", no_argument, NULL, 'i'},
        {"table", required_argument, NULL, 't'},
        {"environments", required_argument, NULL, 'e'},
        {"threads", required_argument, NULL, 'j'},
        {"backlog-mib", required_argument, NULL, 'b'},
        {"give-up-s", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    const char* insecure = getenv("HWM_INSECURE");
    const char *environments = getenv("HWM_ENVIRONMENTS"), *threads = getenv("HWM_THREADS");
    const char *backlog = getenv("HWM_BACKLOG_MIB"), *give_up = getenv("HWM_GIVE_UP_S");
    hwm_worker_options o = {.server = getenv("HWM_SERVER"),
                            .key_dir = getenv("HWM_KEY_DIR"),
                            .table = getenv("HWM_TABLE"),
                            .insecure = insecure && strcmp(insecure, "1") == 0};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            o.server = optarg;
            break;
        case 'k':
            o.key_dir = optarg;
            break;
        case 'i':
            o.insecure = true;
            break;
        case 't':
            o.table = optarg;
            break;
        case 'e':
            environments = optarg;
            break;
        case 'j':
            threads = optarg;
            break;
        case 'b':
            backlog = optarg;
            break;
        case 'g':
            give_up = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        case 'v':
            printf("hwm-worker %s\n", HWM_VERSION);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    double value;
    if (optind < argc || !o.server || !*o.server) {
        fprintf(stderr,
                optind < argc ? "hwm-worker: unexpected argument %s\n"
                              : "hwm-worker: no --server%s\n",
                optind < argc ? argv[optind] : "");
        usage(stderr);
        return 2;
    }
    if (environments) {
        if (!number("--environments", environments, 1, 4096, &value)) {
            return 2;
        }
        o.environments = (int)value;
    }
    if (threads) {
        if (!number("--threads", threads, 1, 256, &value)) {
            return 2;
        }
        o.threads = (int)value;
    }
    if (backlog) {
        if (!number("--backlog-mib", backlog, 1, 65536, &value)) {
            return 2;
        }
        o.backlog_bytes = (size_t)value << 20;
    }
    if (give_up && !number("--give-up-s", give_up, 0, 1e9, &o.give_up_s)) {
        return 2;
    }
    hwm_log_setup("hwm-worker", HWM_LOG_INFO, HWM_LOG_TEXT);
    hwm_signals_install();
    return hwm_worker_run(&o);
}
