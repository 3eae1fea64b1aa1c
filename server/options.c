// The command line of hwm-server.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/signals.h"
#include "server/server.h"

typedef struct options {
    const char *listen, *dir, *key_dir, *http, *config;
    hwm_text_list set;
    bool insecure, print_config;
} options;

#define OPTION(name, argument, type, field, help)                                                  \
    { name, argument, type, offsetof(options, field), NULL, 0, 0, help }
static const hwm_option rows[] = {
    OPTION("--listen", "ENDPOINT", HWM_OPTION_TEXT, listen,
           "Where clients connect: ipc:///path or tcp://host:port."),
    OPTION("--dir", "DIR", HWM_OPTION_TEXT, dir, "Where the store lies; made when missing."),
    OPTION("--key-dir", "DIR", HWM_OPTION_TEXT, key_dir, "CURVE keys, as `hwm keygen` makes them."),
    OPTION(
        "--http", "ADDR:PORT", HWM_OPTION_TEXT, http,
        "Serve /metrics, /healthz, /readyz and /api/stats there; a bare port listens on loopback."),
    OPTION("--insecure", NULL, HWM_OPTION_FLAG, insecure,
           "Allow plain text on addresses that are neither ipc nor loopback."),
    OPTION("--config", "FILE", HWM_OPTION_TEXT, config, "YAML with the sections below."),
    OPTION("--set", "SECTION.NAME=VALUE", HWM_OPTION_LIST, set, "Override one value of them."),
    OPTION("--print-config", NULL, HWM_OPTION_FLAG, print_config,
           "Start nothing: print every value of them and where it came from."),
};

static void print_sections(FILE* out) {
    hwm_server_config config;
    hwm_server_default_config(&config);
    hwm_config_section sections[] = {{.table = &hwm_service_table, .target = &config.service},
                                     {.table = &hwm_replay_table, .target = &config.replay}};
    hwm_config_help(sections, 2, out);
}

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    hwm_server_config config;
    hwm_server_default_config(&config);
    hwm_config_section sections[] = {{.table = &hwm_service_table, .target = &config.service},
                                     {.table = &hwm_replay_table, .target = &config.replay}};
    hwm_error err = {0};
    if (o->print_config) {
        hwm_status s = hwm_config_load(sections, 2, o->config, NULL, o->set.v, o->set.n, &err);
        if (s == HWM_OK) {
            s = hwm_config_show(sections, 2, HWM_CONFIG_ORIGINS, &err);
        }
        if (s != HWM_OK) {
            fprintf(stderr, "hwm-server: %s\n", err.text);
        }
        return s == HWM_OK ? HWM_EXIT_DONE : s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
    }
    const char* missing = !o->listen ? "--listen" : !o->dir ? "--dir" : NULL;
    if (missing) {
        fprintf(stderr, "hwm-server: %s is missing; `hwm-server --help` explains it\n", missing);
        return HWM_EXIT_USAGE;
    }
    hwm_status s = hwm_config_load(sections, 2, o->config, NULL, o->set.v, o->set.n, &err);
    if (s == HWM_OK && strlen(o->dir) >= sizeof config.replay.dir) {
        s = hwm_fail(&err, HWM_EINVAL, "--dir has %zu bytes; at most %zu are allowed",
                     strlen(o->dir), sizeof config.replay.dir - 1);
    }
    if (s != HWM_OK) {
        fprintf(stderr, "hwm-server: %s\n", err.text);
        return s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
    }
    config.endpoint = o->listen;
    config.key_dir = o->key_dir;
    config.http = o->http;
    config.insecure = o->insecure;
    snprintf(config.replay.dir, sizeof config.replay.dir, "%s", o->dir);
    if (mkdir(o->dir, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "hwm-server: %s cannot be made: %s\n", o->dir, strerror(errno));
        return HWM_EXIT_FAILED;
    }
    hwm_signals_install();
    hwm_server* server = NULL;
    s = hwm_server_create(&server, &config, &err);
    if (s != HWM_OK) {
        fprintf(stderr, "hwm-server: %s\n", err.text);
        return HWM_EXIT_FAILED;
    }
    s = hwm_server_run(server, true);
    hwm_server_destroy(&server);
    return s == HWM_OK ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
}

const hwm_command hwm_server_command = {
    .name = "hwm-server",
    .operands = "",
    .summary = "The replay service: workers, learners and operators talk to it alone",
    .details = "SIGTERM commits what is under way and exits 0. Plain text is for ipc and loopback; "
               "any other "
               "address needs keys.",
    .example = "hwm-server --listen ipc:///run/hwm/server.sock --dir /var/lib/hwm\n"
               "hwm-server --listen tcp://0.0.0.0:5555 --key-dir ~/.hwm/server --dir /var/lib/hwm "
               "--http 9100",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
    .more_help = print_sections,
};
