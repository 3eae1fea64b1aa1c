// hwm-server's command line. Every option can also be given as HWM_<NAME> in the environment.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/signals.h"
#include "server/server.h"

enum { OVERRIDES_MAX = 64 };

static void usage(FILE* out, hwm_config_section* sections, int n) {
    fprintf(
        out,
        "usage: hwm-server --listen ENDPOINT --dir DIR [options]\n\n"
        "The replay service: workers, learners and operators talk to it alone.\n\n"
        "  --listen ENDPOINT   ipc:///path or tcp://host:port (HWM_LISTEN)\n"
        "  --dir DIR           where the store lies; made when missing (HWM_DIR)\n"
        "  --key-dir DIR       CURVE keys, made by hwm keygen (HWM_KEY_DIR)\n"
        "  --http ADDR:PORT    /metrics, /healthz, /readyz, /api/stats; a bare port listens on "
        "loopback (HWM_HTTP)\n"
        "  --insecure          allow plain text on addresses that are neither ipc nor loopback\n"
        "  --config FILE       YAML with the sections below (HWM_CONFIG)\n"
        "  --set A.B=V         override one value; may be repeated\n"
        "  --log-json          log as JSON lines\n"
        "  --version, --help\n\n");
    hwm_config_help(sections, n, out);
}

int hwm_server_main(int argc, char** argv) {
    static const struct option long_options[] = {{"listen", required_argument, NULL, 'l'},
                                                 {"dir", required_argument, NULL, 'd'},
                                                 {"key-dir", required_argument, NULL, 'k'},
                                                 {"http", required_argument, NULL, 'p'},
                                                 {"insecure", no_argument, NULL, 'i'},
                                                 {"config", required_argument, NULL, 'c'},
                                                 {"set", required_argument, NULL, 's'},
                                                 {"log-json", no_argument, NULL, 'j'},
                                                 {"version", no_argument, NULL, 'v'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    const char* overrides[OVERRIDES_MAX];
    int n_overrides = 0;
    const char* dir = getenv("HWM_DIR");
    const char* file = getenv("HWM_CONFIG");
    hwm_log_format format = HWM_LOG_TEXT;
    hwm_server_config config;
    hwm_server_default_config(&config);
    hwm_config_section sections[] = {{.table = &hwm_service_table, .target = &config.service},
                                     {.table = &hwm_replay_table, .target = &config.replay}};
    config.endpoint = getenv("HWM_LISTEN");
    config.key_dir = getenv("HWM_KEY_DIR");
    config.http = getenv("HWM_HTTP");

    int option;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        switch (option) {
        case 'l':
            config.endpoint = optarg;
            break;
        case 'd':
            dir = optarg;
            break;
        case 'k':
            config.key_dir = optarg;
            break;
        case 'p':
            config.http = optarg;
            break;
        case 'i':
            config.insecure = true;
            break;
        case 'c':
            file = optarg;
            break;
        case 's':
            if (n_overrides == OVERRIDES_MAX) {
                fprintf(stderr, "hwm-server: more than %d --set\n", OVERRIDES_MAX);
                return 2;
            }
            overrides[n_overrides++] = optarg;
            break;
        case 'j':
            format = HWM_LOG_JSON;
            break;
        case 'v':
            printf("hwm-server %s\n", HWM_VERSION);
            return 0;
        case 'h':
            usage(stdout, sections, 2);
            return 0;
        default:
            fprintf(stderr, "hwm-server: --help lists the options\n");
            return 2;
        }
    }
    if (optind < argc || config.endpoint == NULL || dir == NULL) {
        fprintf(stderr, "hwm-server: %s%s; --help lists the options\n",
                optind < argc ? "unknown argument " : "--listen and --dir are needed",
                optind < argc ? argv[optind] : "");
        return 2;
    }
    hwm_log_setup("hwm-server", HWM_LOG_INFO, format);
    hwm_signals_install();

    hwm_error err = {0};
    hwm_status s = hwm_config_load(sections, 2, file, NULL, overrides, n_overrides, &err);
    if (s == HWM_OK && strlen(dir) >= sizeof config.replay.dir) {
        s = hwm_fail(&err, HWM_EINVAL, "--dir has %zu bytes; at most %zu are allowed", strlen(dir),
                     sizeof config.replay.dir - 1);
    }
    hwm_server* server = NULL;
    if (s == HWM_OK) {
        snprintf(config.replay.dir, sizeof config.replay.dir, "%s", dir);
        mkdir(dir, 0755);  // that it is missing for another reason, the store says
        s = hwm_server_create(&server, &config, &err);
    }
    if (s != HWM_OK) {
        fprintf(stderr, "hwm-server: %s\n", err.text);
        return 1;
    }
    s = hwm_server_run(server, true);
    hwm_server_destroy(&server);
    return s == HWM_OK ? 0 : 1;
}
