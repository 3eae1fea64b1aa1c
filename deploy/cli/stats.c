// hwm stats and hwm ping: ask a running server.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "commands.h"
#include "net/client.h"
#include "run_dir.h"
#include "server/report.h"
#include "view.h"

typedef struct server_options {
    const char* server;
    const char* key_dir;
    bool insecure;
    bool json, values, prometheus, watch;
    int64_t count;
} server_options;

static hwm_exit connect_server(const char* command, const server_options* o, hwm_client** client) {
    char endpoint[256];
    hwm_error err = {0};
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    hwm_signals_install();
    hwm_status s = hwm_endpoint_find(o->server, endpoint, sizeof endpoint, &err);
    if (s == HWM_OK) {
        hwm_client_config config = hwm_client_default_config();
        config.endpoint = endpoint;
        config.key_dir = o->key_dir;
        config.insecure = o->insecure;
        config.role = HWM_ROLE_OPERATOR;
        config.connect_timeout_ms = 3000;
        s = hwm_client_create(client, &config, &err);
    }
    if (s != HWM_OK) {
        fprintf(stderr, "hwm %s: %s\n", command, err.text);
    }
    return s == HWM_OK ? HWM_EXIT_DONE : s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
}

// One page, or the object itself. values: every value on a line of its own, as key.key value: easy
// to grep.
static void print_values(const hwm_json* json, const char* prefix) {
    size_t n = hwm_json_size(json, "");
    for (size_t i = 0; i < n; i++) {
        char key[256], index[24];
        snprintf(index, sizeof index, "%zu", i);
        const hwm_json* value =
            hwm_json_is_array(json) ? hwm_json_at(json, index) : hwm_json_member(json, i);
        snprintf(key, sizeof key, "%s%s%s", prefix, prefix[0] ? "." : "",
                 hwm_json_is_array(json) ? index : hwm_json_key(json, i));
        if (hwm_json_is_object(value) || hwm_json_is_array(value)) {
            print_values(value, key);
        } else if (hwm_json_is_number(value)) {
            printf("%-48s %.12g\n", key, hwm_json_number(value, "", NAN));
        } else {
            printf("%-48s %s\n", key,
                   hwm_json_text(value, "", hwm_json_true(value, "") ? "yes" : "no"));
        }
    }
}

// What the server's /metrics says of it, from the same formatter.
static void print_prometheus(const char* json) {
    char* text = hwm_report_prometheus(json, true);
    if (text) {
        fputs(text, stdout);
        fflush(stdout);
    }
    free(text);
}

static void print_page(const hwm_json* json, const hwm_json* previous, double elapsed_s) {
    static char text[1 << 18];
    hwm_view_options o = {.width = 160, .previous = previous, .elapsed_s = elapsed_s};
    hwm_view_page(json, &o, text, sizeof text);
    fputs(text, stdout);
    fflush(stdout);
}

// Ask once, or every interval until a signal comes.
static hwm_exit ask(hwm_client* client, const server_options* o) {
    hwm_json* previous = NULL;
    double previous_s = 0.0;
    hwm_exit code = HWM_EXIT_DONE;
    do {
        char* text = NULL;
        hwm_error err = {0};
        if (hwm_client_stats(client, &text, &err) != HWM_OK) {
            fprintf(stderr, "hwm stats: %s\n", err.text);
            code = HWM_EXIT_FAILED;
            break;
        }
        hwm_json* json = hwm_json_parse(text, strlen(text));
        double now_s = hwm_clock_s();
        if (o->json) {
            printf("%s\n", text);
            fflush(stdout);
        } else if (o->prometheus) {
            print_prometheus(text);
        } else if (json && o->values) {
            print_values(json, "");
        } else if (json) {
            print_page(json, previous, now_s - previous_s);
        }
        free(text);
        hwm_json_free(&previous);
        previous = json;
        previous_s = now_s;
        for (int waited = 0; o->watch && waited < 2000 && !hwm_signals_stop_requested();
             waited += 100) {
            hwm_client_poll(client, 100, NULL);
        }
        if (o->watch && !o->json) {
            printf("\n");
        }
    } while (o->watch && !hwm_signals_stop_requested() && !ferror(stdout));
    hwm_json_free(&previous);
    return code;
}

static hwm_exit run_stats(const void* options, const char* const* operands, int n_operands) {
    const server_options* o = options;
    server_options with = *o;
    if (o->json + o->values + o->prometheus > 1) {
        fprintf(stderr, "hwm stats: --json, --values and --prometheus: one of them at a time\n");
        return HWM_EXIT_USAGE;
    }
    with.server = o->server ? o->server : n_operands ? operands[0] : NULL;
    hwm_client* client = NULL;
    hwm_exit code = connect_server("stats", &with, &client);
    if (code == HWM_EXIT_DONE) {
        code = ask(client, o);
    }
    hwm_client_destroy(&client, 0, NULL);
    return code;
}

static hwm_exit run_ping(const void* options, const char* const* operands, int n_operands) {
    (void)operands;
    (void)n_operands;
    const server_options* o = options;
    hwm_client* client = NULL;
    hwm_exit code = connect_server("ping", o, &client);
    double worst_ms = 0.0, sum_ms = 0.0;
    int64_t done = 0;
    for (; code == HWM_EXIT_DONE && done < o->count && !hwm_signals_stop_requested(); done++) {
        hwm_error err = {0};
        double started_s = hwm_clock_s();
        if (hwm_client_ping(client, 3000, &err) != HWM_OK) {
            fprintf(stderr, "hwm ping: %s\n", err.text);
            code = HWM_EXIT_FAILED;
            break;
        }
        double ms = 1000.0 * (hwm_clock_s() - started_s);
        sum_ms += ms;
        worst_ms = fmax(worst_ms, ms);
    }
    if (code == HWM_EXIT_DONE && done > 0) {
        printf("server %s answers: %" PRId64 " round trips, mean %.3f ms, longest %.3f ms\n",
               hwm_client_hello(client)->server_version, done, sum_ms / (double)done, worst_ms);
    }
    hwm_client_destroy(&client, 0, NULL);
    return code;
}

#define OPTION(field) offsetof(server_options, field)
#define SERVER_OPTIONS                                                                             \
    {"--server",                                                                                   \
     "ENDPOINT",                                                                                   \
     HWM_OPTION_TEXT,                                                                              \
     OPTION(server),                                                                               \
     NULL,                                                                                         \
     0,                                                                                            \
     0,                                                                                            \
     "The server's address (ipc:///path, tcp://host:port), or the directory of a run on this "     \
     "machine."},                                                                                  \
        {"--key-dir",                                                                              \
         "DIR",                                                                                    \
         HWM_OPTION_TEXT,                                                                          \
         OPTION(key_dir),                                                                          \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         "CURVE keys from `hwm keygen`; needed except on ipc and loopback."},                      \
    {                                                                                              \
        "--insecure", NULL, HWM_OPTION_FLAG, OPTION(insecure), NULL, 0, 0,                         \
            "Plain text to an address that is neither ipc nor loopback."                           \
    }

static const hwm_option stats_table[] = {
    SERVER_OPTIONS,
    {"--json", NULL, HWM_OPTION_FLAG, OPTION(json), NULL, 0, 0, "Print the server's JSON object."},
    {"--prometheus", NULL, HWM_OPTION_FLAG, OPTION(prometheus), NULL, 0, 0,
     "Print the server's series in the Prometheus text format, as its /metrics does."},
    {"--values", NULL, HWM_OPTION_FLAG, OPTION(values), NULL, 0, 0,
     "Print every value on a line of its own, as key.key value."},
    {"--watch", NULL, HWM_OPTION_FLAG, OPTION(watch), NULL, 0, 0,
     "Again every 2 seconds, with rates."},
};
const hwm_command hwm_command_stats = {
    .name = "stats",
    .operands = "[ENDPOINT]",
    .operands_max = 1,
    .summary = "Print the counters of a server: tables, limiter, workers, link",
    .example =
        "hwm stats --server runs/cartpole-seed0\nhwm stats --server tcp://127.0.0.1:5555 --json",
    .options = stats_table,
    .n_options = sizeof stats_table / sizeof stats_table[0],
    .options_bytes = sizeof(server_options),
    .run = run_stats,
};

static const hwm_option ping_table[] = {
    SERVER_OPTIONS,
    {"--count", "N", HWM_OPTION_INT, OPTION(count), "10", 1, 1e6, "Round trips."},
};
const hwm_command hwm_command_ping = {
    .name = "ping",
    .operands = "",
    .summary = "Measure the round trip to a server",
    .example = "hwm ping --server tcp://127.0.0.1:5555",
    .options = ping_table,
    .n_options = sizeof ping_table / sizeof ping_table[0],
    .options_bytes = sizeof(server_options),
    .run = run_ping,
};
