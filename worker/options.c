// Command line of hwm-worker.
#include <stdio.h>

#include "base/command.h"
#include "env/env.h"
#include "worker/worker.h"

typedef struct options {
    const char *server, *key_dir, *table, *plugin_dir;
    bool insecure;
    int64_t environments, threads, backlog_mib;
    double give_up_s, pace_hz;
} options;

#define OPTION(name, argument, type, field, text, lo, hi, help)                                    \
    { name, argument, type, offsetof(options, field), text, lo, hi, help }
static const hwm_option rows[] = {
    OPTION("--server", "ENDPOINT", HWM_OPTION_TEXT, server, NULL, 0, 0,
           "The server: ipc:///path/server.sock or tcp://host:port."),
    OPTION("--key-dir", "DIR", HWM_OPTION_TEXT, key_dir, NULL, 0, 0,
           "CURVE keys of this worker; needed for any address beyond this machine."),
    OPTION("--insecure", NULL, HWM_OPTION_FLAG, insecure, NULL, 0, 0,
           "Allow plain text to other machines."),
    OPTION("--table", "NAME", HWM_OPTION_TEXT, table, NULL, 0, 0,
           "Which table to fill, where the server has several."),
    OPTION("--plugin-dir", "DIR", HWM_OPTION_TEXT, plugin_dir, NULL, 0, 0,
           "The only folder that environment plug-ins are loaded from."),
    OPTION("--environments", "N", HWM_OPTION_INT, environments, "0", 0, 4096,
           "Environments in lock step; 0: worker.environments of the experiment."),
    OPTION("--threads", "N", HWM_OPTION_INT, threads, "0", 0, 256,
           "Threads that step them; 0: worker.threads of the experiment."),
    OPTION("--backlog-mib", "N", HWM_OPTION_INT, backlog_mib, "64", 1, 65536,
           "Unacknowledged experience held while the server is away, in MiB."),
    OPTION("--give-up-s", "S", HWM_OPTION_REAL, give_up_s, "0", 0, 1e9,
           "Exit when no server has answered for S seconds; 0: never."),
    OPTION("--pace-hz", "R", HWM_OPTION_REAL, pace_hz, "0", 0, 1e6,
           "Decisions per second of every environment at most, for real time; 0: no limit."),
};

static hwm_exit run(const void* parsed, const char* const* operands, int n_operands) {
    const options* o = parsed;
    (void)operands;
    (void)n_operands;
    if (!o->server || !*o->server) {
        fprintf(stderr, "hwm-worker: --server is missing; for example --server tcp://host:5555\n");
        return HWM_EXIT_USAGE;
    }
    hwm_env_plugin_dir(o->plugin_dir);
    hwm_worker_options worker = {
        .server = o->server,
        .key_dir = o->key_dir,
        .insecure = o->insecure,
        .table = o->table,
        .environments = (int)o->environments,
        .threads = (int)o->threads,
        .backlog_bytes = (size_t)o->backlog_mib << 20,
        .give_up_s = o->give_up_s,
        .pace_hz = o->pace_hz,
    };
    return (hwm_exit)hwm_worker_run(&worker);
}

const hwm_command hwm_worker_command = {
    .name = "hwm-worker",
    .operands = "",
    .summary = "Step environments with the server's plastic controller and send what happens.",
    .details =
        "Experiment, parameters, environment indices and seeds come from the server. SIGTERM sends "
        "what is under way and exits 0; a server that is gone or refuses gives 1; an experiment "
        "that cannot be run here gives 2.",
    .example = "hwm-worker --server ipc:///run/hwm/server.sock\n"
               "hwm-worker --server tcp://replay:5555 --key-dir ~/.hwm/worker --environments 32",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};
