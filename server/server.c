// The router thread: waits for the socket and for the store, serves both in turns, looks at the
// clock ten times a second.
#include "server/server.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "server/http.h"
#include "server/service.h"

enum { TICK_MS = 100, MESSAGES_PER_TURN = 256, COMPLETIONS_PER_TURN = 256 };

#define FIELD(name) offsetof(hwm_service_config, name)
static const hwm_config_field fields[] = {
    {"heartbeat_ms", HWM_CONFIG_INT, FIELD(heartbeat_ms), "1000", 50, 60000, NULL,
     "clients send something at least this often, in ms"},
    {"dead_ms", HWM_CONFIG_INT, FIELD(dead_ms), "5000", 200, 600000, NULL,
     "a client that is silent for so long is dead, in ms"},
    {"credit_bytes", HWM_CONFIG_INT, FIELD(credit_bytes), "4194304", 65536, 1 << 30, NULL,
     "appends of one client that may wait for their commit, in bytes"},
    {"ingest_bytes", HWM_CONFIG_INT, FIELD(ingest_bytes), "268435456", 1 << 20, 1e12, NULL,
     "appends of all clients that may wait for their commit, in bytes"},
    {"requests_max", HWM_CONFIG_INT, FIELD(requests_max), "64", 1, 4096, NULL,
     "sample requests of one client that may wait"},
    {"reply_bytes", HWM_CONFIG_INT, FIELD(reply_bytes), "268435456", 1 << 16, 1e12, NULL,
     "replies that one client has not read yet; beyond, it is taken for dead, in bytes"},
    {"drain_ms", HWM_CONFIG_INT, FIELD(drain_ms), "5000", 0, 60000, NULL,
     "at the end, time for what is queued to be committed and acknowledged, in ms"},
};
const hwm_config_table hwm_service_table = {"service", "limits of the network service", fields,
                                            sizeof fields / sizeof fields[0]};

void hwm_server_default_config(hwm_server_config* config) {
    memset(config, 0, sizeof *config);
    hwm_config_section sections[] = {{.table = &hwm_service_table, .target = &config->service},
                                     {.table = &hwm_replay_table, .target = &config->replay}};
    hwm_config_defaults(sections, 2);
}

hwm_status hwm_server_create(hwm_server** out, const hwm_server_config* config, hwm_error* err) {
    *out = NULL;
    hwm_server* s = calloc(1, sizeof *s);
    if (s == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a server");
    }
    s->config = *config;
    s->started_ns = s->tick_ns = s->rate_ns = hwm_clock_ns();
    s->session = calloc(SESSIONS_MAX, sizeof *s->session);
    s->by_peer = calloc(4 * SESSIONS_MAX, sizeof *s->by_peer);
    hwm_status status = HWM_OK;
    if (s->session == NULL || s->by_peer == NULL || hwm_wire_create(&s->wire) != HWM_OK ||
        hwm_tasks_create(&s->tasks) != HWM_OK) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory for a server");
    }
    // the store first: whoever can connect finds it open
    hwm_link_config link = {
        .endpoint = config->endpoint, .key_dir = config->key_dir, .insecure = config->insecure};
    if (status == HWM_OK) {
        status = hwm_replay_open(&s->replay, &config->replay, err);
    }
    if (status == HWM_OK) {
        status = hwm_hub_create(&s->hub, s->replay, err);
    }
    if (status == HWM_OK) {
        status = hwm_link_bind(&s->link, &link, err);
    }
    if (status == HWM_OK && config->http != NULL) {
        status = hwm_http_start(&s->http, config->http, err);
    }
    if (status != HWM_OK) {
        hwm_server_destroy(&s);
        return status;
    }
    hwm_log(HWM_LOG_INFO, "service", "listening", "endpoint=%s dir=%s curve=%s",
            hwm_link_endpoint(s->link), config->replay.dir, config->key_dir != NULL ? "yes" : "no");
    *out = s;
    return HWM_OK;
}

const char* hwm_server_endpoint(const hwm_server* s) {
    return hwm_link_endpoint(s->link);
}
uint16_t hwm_server_http_port(const hwm_server* s) {
    return s->http != NULL ? hwm_http_port(s->http) : 0;
}
void hwm_server_stop(hwm_server* s) {
    atomic_store(&s->stop, true);
}

// One turn: what has arrived, what the store completed, what time asks for.
static void turn(hwm_server* s, int timeout_ms) {
    int ready = hwm_link_wait(s->link, hwm_replay_fd(s->replay), timeout_ms);
    if (ready & HWM_LINK_MESSAGE) {
        hwm_message message;
        for (int k = 0; k < MESSAGES_PER_TURN && hwm_link_receive(s->link, &message) == HWM_OK;
             k++) {
            hwm_rpc_message(s, &message);
            hwm_message_close(&message);
        }
    }
    for (int k = 0; k < COMPLETIONS_PER_TURN && hwm_ingest_complete(s); k++) {
    }
    int64_t now = hwm_clock_ns();
    if (now - s->tick_ns >= TICK_MS * 1000000LL) {
        s->tick_ns = now;
        hwm_sessions_tick(s, now);
        hwm_tasks_expire(s->tasks, now);
        if (s->http != NULL) {
            char* json = hwm_http_wants(s->http, now) ? hwm_stats_json(s) : NULL;
            hwm_http_put(s->http, json != NULL ? &json : NULL, !s->draining, now);
        }
    }
}

hwm_status hwm_server_run(hwm_server* s, bool signals) {
    while (!atomic_load(&s->stop) && !(signals && hwm_signals_stop_requested())) {
        turn(s, TICK_MS);
    }

    // the end: nothing new is taken, what is queued is committed and acknowledged
    s->draining = true;
    // (what the limiter holds is never committed: its workers keep it)
    int64_t end = hwm_clock_ns() + s->config.service.drain_ms * 1000000;
    while (hwm_replay_admitted(s->replay) > 0 && hwm_clock_ns() < end) {
        turn(s, 10);
    }
    turn(s, 0);  // the last acknowledgements
    size_t left = hwm_replay_admitted(s->replay);
    hwm_log(HWM_LOG_INFO, "service", "stopped",
            "uptime_s=%.1f requests=%" PRIu64 " unacknowledged_appends=%zu",
            (double)(hwm_clock_ns() - s->started_ns) * 1e-9, s->counters.requests, left);
    return HWM_OK;
}

void hwm_server_destroy(hwm_server** server) {
    hwm_server* s = *server;
    if (s == NULL) {
        return;
    }
    *server = NULL;
    hwm_http_stop(&s->http);
    hwm_hub_destroy(&s->hub);
    hwm_tasks_destroy(&s->tasks);
    if (s->replay != NULL) {
        hwm_replay_close(&s->replay);
    }
    hwm_link_close(&s->link, 1000);  // replies on their way may leave
    hwm_wire_destroy(&s->wire);
    for (int k = 0; k < s->n_sessions; k++) {
        hwm_meter_release(&s->session[k].unread);
    }
    hwm_meter_release(&s->unread);
    free(s->session);
    free(s->by_peer);
    free(s->pending);
    free(s);
}
