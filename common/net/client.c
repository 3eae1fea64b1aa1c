// data path  [5] link
//
// The client: connection state and the dispatch of replies. Below it lie the append window
// (client_window.c) and what waits for an answer (client_pending.c), above it the calls that ask
// and wait (calls.c).
//
//   state   DOWN -> socket open, hello sent -> HELLO -> answered -> UP. A lost peer, a silent one
//   or ECLOSED leads back. ids     sequence << 3 | kind, so that a reply finds its owner without a
//   table. Appends have a sequence of their own
//           without gaps: entry k of the window is sequence base + k.
//   window  encoded chunks in order, sent while the bytes in flight stay below the server's credit,
//   kept until they are
//           acknowledged, sent again on every new connection.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/client_state.h"

hwm_client_config hwm_client_default_config(void) {
    hwm_client_config c = {.role = HWM_ROLE_VIEWER};
    return c;
}

// ---- connection

static void go_down(hwm_client* c, const char* why) {
    if (c->state == CLIENT_UP) {
        hwm_log(HWM_LOG_WARN, "client", "connection lost", "endpoint=%s reason=\"%s\"",
                c->config.endpoint, why);
    }
    hwm_link_close(&c->link, 0);
    c->state = CLIENT_DOWN;
    c->backoff_ms = c->backoff_ms == 0                   ? BACKOFF_MIN_MS
                    : c->backoff_ms * 2 < BACKOFF_MAX_MS ? c->backoff_ms * 2
                                                         : BACKOFF_MAX_MS;
    c->retry_ns = hwm_clock_ns() + hwm_client_jitter(c->backoff_ms) * 1000000LL;
}

static hwm_status send_plain(hwm_client* c, const hwm_request* request, hwm_error* err) {
    hwm_bytes bytes;
    hwm_status s = hwm_wire_pack_request(c->wire, request, &bytes, err);
    if (s == HWM_OK && c->link != NULL) {
        s = hwm_link_send(c->link, NULL, bytes.data, bytes.size);
    }
    return s;
}

static void say_hello(hwm_client* c) {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    hwm_request r = {.id = c->hello_id = c->next++ << 3 | ID_HELLO, .kind = HWM_REQUEST_HELLO};
    r.hello = (hwm_wire_hello){.client = {c->identity, sizeof c->identity},
                               .role = c->config.role,
                               .table = c->config.table,
                               .environments = (uint32_t)c->config.environments,
                               .subscribe = c->config.subscribe,
                               .host = host,
                               .pid = (uint32_t)getpid(),
                               .version = HWM_VERSION};
    c->hello_ns = hwm_clock_ns();
    hwm_status s = send_plain(c, &r, &c->fatal);
    if (s != HWM_OK && s != HWM_EAGAIN) {
        c->fatal.code = s;
    }
}

static void open_link(hwm_client* c) {
    hwm_link_config link = {.endpoint = c->config.endpoint,
                            .key_dir = c->config.key_dir,
                            .insecure = c->config.insecure,
                            .role = c->config.role,
                            .identity = c->identity};
    hwm_error err = {0};
    hwm_status s = hwm_link_connect(&c->link, &link, &err);
    if (s != HWM_OK) {
        c->fatal = err;  // a wrong address or key file does not heal
        return;
    }
    c->state = CLIENT_HELLO;
    c->heard_ns = hwm_clock_ns();
    say_hello(c);
}

// What was in flight on the old connection goes out again.
static void resend_everything(hwm_client* c) {
    for (size_t k = 0; k < c->window_n; k++) {
        hwm_client_window_entry(c, k)->sent = false;
    }
    c->in_flight_bytes = 0;
    c->in_flight = 0;
    c->window_sent = 0;
    for (int k = 0; k < SAMPLES_MAX; k++) {
        if (c->sample[k].state == SAMPLE_WAITING) {
            hwm_client_sample_send(c, &c->sample[k]);
        }
    }
    if (c->call.waiting && c->call.bytes != NULL) {
        hwm_link_send(c->link, NULL, c->call.bytes, c->call.size);
    }
}

static void on_hello(hwm_client* c, const hwm_reply* r) {
    if (r->status == HWM_EAGAIN || r->status == HWM_ENOTFOUND) {
        c->not_yet = true;
        hwm_fail(&c->why, HWM_EAGAIN, "%s", r->message);
        c->hello_again_ns = hwm_clock_ns() + hwm_client_jitter(HELLO_AGAIN_MS) * 1000000LL;
        return;
    }
    if (r->status != HWM_OK || r->kind != HWM_REPLY_HELLO) {
        hwm_fail(&c->fatal, r->status == HWM_OK ? HWM_EPROTO : r->status,
                 "the server refused us: %s", r->message);
        return;
    }
    const hwm_wire_hello_reply* h = &r->hello;
    bool changed = c->greeted &&
                   (h->incarnation != c->hello.incarnation || h->first_env != c->hello.first_env);
    char* experiment = strdup(h->experiment);
    if (experiment == NULL) {
        hwm_fail(&c->fatal, HWM_ENOMEM, "no memory for the experiment");
        return;
    }
    // the experiment that was handed out stays valid until destroy: it is the same one after a
    // reconnect
    if (c->hello.experiment == NULL || strcmp(c->hello.experiment, experiment) != 0) {
        if (c->hello.experiment != NULL) {
            free(c->experiment_before);
            c->experiment_before = c->hello.experiment;
        }
        c->hello.experiment = experiment;
    } else {
        free(experiment);
    }
    snprintf(c->hello.table, sizeof c->hello.table, "%s", h->table);
    snprintf(c->hello.server_version, sizeof c->hello.server_version, "%s", h->server_version);
    c->hello.rank = h->rank;
    c->hello.first_env = h->first_env;
    c->hello.incarnation = h->incarnation;
    c->hello.seed = h->seed;
    c->hello.heartbeat_ms = (int)h->heartbeat_ms;
    c->credit_bytes = h->credit_bytes > 0 ? h->credit_bytes : CREDIT_DEFAULT_BYTES;
    if (h->signature != NULL) {
        c->signature = *h->signature;
        c->hello.signature = &c->signature;
        c->have_signature = true;
    }
    for (int k = 0; k < h->n_announce; k++) {
        hwm_client_on_announce(c, &h->announce[k]);
    }
    c->state = CLIENT_UP;
    c->backoff_ms = 0;
    c->not_yet = false;
    c->reborn |= changed;
    c->greeted = true;
    c->heartbeat_ns = hwm_clock_ns();
    resend_everything(c);
}

// ---- what arrives

static void on_message(hwm_client* c, const hwm_message* message) {
    hwm_reply r;
    hwm_error err;
    hwm_status s = hwm_wire_unpack_reply(c->wire, message->bytes, message->size, &r, &err);
    c->heard_ns = hwm_clock_ns();
    if (s == HWM_EVERSION && c->state == CLIENT_HELLO) {
        c->fatal = err;
        return;
    }
    if (s != HWM_OK) {
        if (c->malformed++ == 0) {
            hwm_log(HWM_LOG_WARN, "client", "bad reply", "reason=\"%s\"", err.text);
        }
        return;
    }
    if (r.status == HWM_ECLOSED && (r.id & 7) != ID_HELLO && c->state != CLIENT_DOWN) {
        // the server does not know us (any more): say hello on the same connection. Of several
        // requests in flight each comes back so; all are sent again once hello is answered
        if (c->state == CLIENT_UP) {
            c->state = CLIENT_HELLO;
            say_hello(c);
        }
        return;
    }
    switch (r.id & 7) {
    case ID_NONE:
        if (r.kind == HWM_REPLY_ANNOUNCE) {
            hwm_client_on_announce(c, &r.announce);
        }
        break;
    case ID_HELLO:
        if (c->state == CLIENT_HELLO && r.id == c->hello_id) {
            on_hello(c, &r);
        }
        break;
    case ID_APPEND:
        hwm_client_on_append(c, &r);
        break;
    case ID_SAMPLE:
        hwm_client_on_sample(c, &r);
        break;
    case ID_CALL:
        hwm_client_on_call(c, &r);
        break;
    case ID_HEARTBEAT:
        if (r.status == HWM_EDENIED) {
            hwm_fail(&c->fatal, HWM_EDENIED, "the server refuses us: %s", r.message);
        } else if (r.kind == HWM_REPLY_HEARTBEAT) {
            for (int k = 0; k < r.announces.n; k++) {
                hwm_client_on_announce(c, &r.announces.row[k]);
            }
        }
        break;
    default:
        break;
    }
}

// ---- the loop

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Everything that time asks for. Returns when to look again.
static int64_t timers(hwm_client* c, int64_t now) {
    const int64_t beat = (c->hello.heartbeat_ms > 0 ? c->hello.heartbeat_ms : 1000) * 1000000LL;
    switch (c->state) {
    case CLIENT_DOWN:
        if (now >= c->retry_ns) {
            open_link(c);
            return now + 1000000;
        }
        return c->retry_ns;
    case CLIENT_HELLO:
        if (c->hello_again_ns != 0 && now >= c->hello_again_ns) {
            c->hello_again_ns = 0;
            say_hello(c);
        } else if (c->hello_again_ns == 0 && now - c->hello_ns > HELLO_WAIT_MS * 1000000LL) {
            if (c->why.text[0] == '\0') {
                snprintf(c->why.text, sizeof c->why.text, "no answer");
            }
            go_down(c, "no answer to hello");
            return c->retry_ns;
        }
        return c->hello_again_ns != 0 ? c->hello_again_ns : c->hello_ns + HELLO_WAIT_MS * 1000000LL;
    default:
        // after a pause of our own, what the server said meanwhile still lies in the socket
        if (now - c->turn_ns > beat) {
            c->heard_ns = now;
        }
        if (now - c->heard_ns > SILENT_BEATS * beat) {
            go_down(c, "the server is silent");
            return c->retry_ns;
        }
        if (now >= c->heartbeat_ns) {
            hwm_request r = {.id = c->next++ << 3 | ID_HEARTBEAT, .kind = HWM_REQUEST_HEARTBEAT};
            r.heartbeat = c->progress;
            send_plain(c, &r, NULL);
            c->heartbeat_ns = now + beat;
        }
        hwm_client_window_pump(c);
        return earlier(c->heartbeat_ns, now + FULL_AGAIN_MS * 1000000LL / 2);
    }
}

// Handle what is there; wait at most timeout_ms when nothing is. True when something arrived.
bool hwm_client_turn(hwm_client* c, int timeout_ms) {
    int64_t now = hwm_clock_ns();
    int64_t due = timers(c, now);
    c->turn_ns = now;
    int64_t wait_ms = due > now ? (due - now + 999999) / 1000000 : 0;
    if (wait_ms > timeout_ms) {
        wait_ms = timeout_ms;
    }
    if (c->link == NULL) {
        if (wait_ms > 0) {
            hwm_sleep_ms((int)wait_ms);
        }
        return false;
    }
    bool arrived = false;
    int ready = hwm_link_wait(c->link, -1, (int)wait_ms);
    if (ready & HWM_LINK_MESSAGE) {
        hwm_message message;
        for (int k = 0;
             k < TURN_MESSAGES && c->link != NULL && hwm_link_receive(c->link, &message) == HWM_OK;
             k++) {
            on_message(c, &message);
            hwm_message_close(&message);
            arrived = true;
        }
    }
    if (ready & HWM_LINK_LOST) {
        // a refusal that was named stays the reason until an answer comes; a bare loss may follow
        // it
        char reason[160];
        bool named = hwm_link_reason(c->link)[0] != '\0';
        snprintf(reason, sizeof reason, "%s",
                 named ? hwm_link_reason(c->link) : "the server closed the connection");
        if (named || c->why.text[0] == '\0') {
            snprintf(c->why.text, sizeof c->why.text, "%s", reason);
        }
        go_down(c, reason);
    }
    if (c->state == CLIENT_UP) {
        hwm_client_window_pump(c);
    }
    return arrived;
}

hwm_status hwm_client_poll(hwm_client* c, int timeout_ms, bool* reborn) {
    int64_t end = hwm_clock_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        int64_t left = (end - hwm_clock_ns() + 999999) / 1000000;  // rounded down, 1 ms would spin
        if (hwm_client_turn(c, left > 0 ? (int)left : 0) || left <= 0) {
            break;
        }
    }
    if (reborn != NULL) {
        *reborn = c->reborn;
        c->reborn = false;
    }
    return c->fatal.code;
}

// ---- create and destroy

hwm_status hwm_client_create(hwm_client** out, const hwm_client_config* config, hwm_error* err) {
    *out = NULL;
    if (config->endpoint == NULL || config->environments < 0) {
        return hwm_fail(err, HWM_EINVAL,
                        "a client needs an endpoint, as ipc:///path or tcp://host:port");
    }
    hwm_client* c = calloc(1, sizeof *c);
    if (c == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a client");
    }
    c->config = *config;
    c->config.endpoint = strdup(config->endpoint);
    c->config.key_dir = config->key_dir != NULL ? strdup(config->key_dir) : NULL;
    c->config.table = config->table != NULL ? strdup(config->table) : NULL;
    c->config.backlog_bytes =
        config->backlog_bytes > 0 ? config->backlog_bytes : BACKLOG_DEFAULT_BYTES;
    int timeout = config->connect_timeout_ms > 0 ? config->connect_timeout_ms : 10000;
    c->next = 1;
    c->window_base = 1;
    if (c->config.endpoint == NULL || hwm_wire_create(&c->wire) != HWM_OK ||
        getrandom(c->identity, sizeof c->identity, 0) != sizeof c->identity) {
        hwm_client_destroy(&c, 0, NULL);
        return hwm_fail(err, HWM_ENOMEM, "no memory for a client");
    }

    int64_t end = hwm_clock_ns() + (int64_t)timeout * 1000000;
    while (c->state != CLIENT_UP && c->fatal.code == HWM_OK) {
        int64_t left = (end - hwm_clock_ns()) / 1000000;
        if (left <= 0) {
            if (c->not_yet) {
                hwm_fail(&c->fatal, HWM_EAGAIN, "%s", c->why.text);
            } else {
                hwm_fail(&c->fatal, HWM_ETIMEDOUT, "no server at %s within %d ms%s%s",
                         config->endpoint, timeout, c->why.text[0] ? ": " : "", c->why.text);
            }
            break;
        }
        hwm_client_turn(c, (int)left);
    }
    if (c->fatal.code != HWM_OK) {
        hwm_status s = hwm_fail(err, c->fatal.code, "%s", c->fatal.text);
        hwm_client_destroy(&c, 0, NULL);
        return s;
    }
    *out = c;
    return HWM_OK;
}

void hwm_client_destroy(hwm_client** client, int linger_ms, uint64_t* unacknowledged) {
    hwm_client* c = *client;
    if (unacknowledged != NULL) {
        *unacknowledged = 0;
    }
    if (c == NULL) {
        return;
    }
    *client = NULL;
    int64_t end = hwm_clock_ns() + (int64_t)linger_ms * 1000000;
    while (c->greeted && c->window_n > 0 && c->fatal.code == HWM_OK && hwm_clock_ns() < end) {
        hwm_client_turn(c, 10);
    }
    if (unacknowledged != NULL) {
        for (size_t k = 0; k < c->window_n; k++) {
            *unacknowledged += !hwm_client_window_entry(c, k)->done;
        }
    }
    if (c->state == CLIENT_UP) {
        hwm_request bye = {.id = c->next++ << 3 | ID_CALL, .kind = HWM_REQUEST_BYE};
        send_plain(c, &bye, NULL);
    }
    hwm_link_close(&c->link, c->state == CLIENT_UP ? 500 : 0);
    for (size_t k = 0; k < c->window_n; k++) {
        free(hwm_client_window_entry(c, k)->bytes);
    }
    for (int k = 0; k < SAMPLES_MAX; k++) {
        free(c->sample[k].block);
    }
    hwm_client_call_free(c);
    hwm_wire_destroy(&c->wire);
    hwm_packer_destroy(&c->packer);
    free(c->window);
    free(c->hello.experiment);
    free(c->experiment_before);
    free((char*)(uintptr_t)c->config.endpoint);
    free((char*)(uintptr_t)c->config.key_dir);
    free((char*)(uintptr_t)c->config.table);
    free(c);
}

const hwm_hello* hwm_client_hello(const hwm_client* c) {
    return &c->hello;
}
bool hwm_client_connected(const hwm_client* c) {
    return c->state == CLIENT_UP;
}

void hwm_client_progress(hwm_client* c, uint64_t env_steps, uint64_t param_version,
                         double blocked_s) {
    c->progress = (hwm_wire_heartbeat){
        .env_steps = env_steps, .param_version = param_version, .blocked_s = blocked_s};
}
