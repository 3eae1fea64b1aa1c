// data path  [5] link
//
// The client: connection state, the append window and the dispatch of replies. The calls that ask
// and wait are in calls.c.
//
//   state   DOWN -> socket open, hello sent -> HELLO -> answered -> UP. A lost peer, a silent one
//   or ECLOSED leads back. ids     sequence << 3 | kind, so that a reply finds its owner without a
//   table. Appends have a sequence of their own
//           without gaps: entry k of the window is sequence base + k.
//   window  encoded chunks in order, sent while the bytes in flight stay below the server's credit,
//   kept until they are
//           acknowledged, sent again on every new connection.
#include <errno.h>
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

static int jittered(int ms) {
    uint32_t r;
    return getrandom(&r, sizeof r, 0) == sizeof r ? ms / 2 + (int)(r % (uint32_t)(ms + 1)) : ms;
}

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
    c->retry_ns = hwm_clock_ns() + jittered(c->backoff_ms) * 1000000LL;
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
        window_entry(c, k)->sent = false;
    }
    c->in_flight_bytes = 0;
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
        c->hello_again_ns = hwm_clock_ns() + jittered(HELLO_AGAIN_MS) * 1000000LL;
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

// ---- append

window_slot* window_entry(hwm_client* c, size_t k) {
    return &c->window[(c->window_head + k) % c->window_slots];
}

static bool window_grow(hwm_client* c) {
    size_t slots = c->window_slots == 0 ? 64 : 2 * c->window_slots;
    window_slot* grown = calloc(slots, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (size_t k = 0; k < c->window_n; k++) {
        grown[k] = *window_entry(c, k);
    }
    free(c->window);
    c->window = grown;
    c->window_slots = slots;
    c->window_head = 0;
    return true;
}

// Send what the credit allows, in order.
static void window_pump(hwm_client* c) {
    int64_t now = 0;
    while (c->state == CLIENT_UP && c->window_sent < c->window_n) {
        window_slot* e = window_entry(c, c->window_sent);
        if (!e->done && !e->sent) {
            if (c->in_flight_bytes > 0 && c->in_flight_bytes + e->size > c->credit_bytes) {
                return;
            }
            if (e->not_before_ns != 0) {
                now = now ? now : hwm_clock_ns();
                if (now < e->not_before_ns) {
                    return;
                }
            }
            if (hwm_link_send(c->link, NULL, e->bytes, e->size) != HWM_OK) {
                return;
            }
            e->sent = true;
            c->in_flight_bytes += e->size;
        }
        c->window_sent++;
    }
}

static void on_append(hwm_client* c, const hwm_reply* r) {
    uint64_t sequence = r->id >> 3;
    if (sequence < c->window_base || sequence - c->window_base >= c->window_n) {
        return;  // acknowledged before: the answer to a repeated one
    }
    size_t k = (size_t)(sequence - c->window_base);
    window_slot* e = window_entry(c, k);
    if (e->done) {
        return;
    }
    if (e->sent) {
        c->in_flight_bytes -= e->size;
        e->sent = false;
    }
    switch (r->status) {
    case HWM_OK:
    case HWM_EDUPLICATE:
        c->acknowledged++;
        break;
    case HWM_EAGAIN:
    case HWM_EFULL:
        // the server has no room now: the chunk stays ours, and what follows it waits too
        if (r->status == HWM_EFULL && !c->told_full) {
            hwm_log(HWM_LOG_WARN, "client", "server is full", "reason=\"%s\"", r->message);
        }
        c->told_full = r->status == HWM_EFULL;
        e->not_before_ns = hwm_clock_ns() + jittered(FULL_AGAIN_MS) * 1000000LL;
        c->window_sent = k < c->window_sent ? k : c->window_sent;
        return;
    default:
        c->refused++;
        hwm_fail(&c->append_error, r->status, "the server refused a chunk: %s", r->message);
        hwm_log(HWM_LOG_ERROR, "client", "chunk refused", "status=%s reason=\"%s\"",
                hwm_status_name(r->status), r->message);
    }
    e->done = true;
    c->told_full = false;
    c->window_bytes -= e->size;
    free(e->bytes);
    e->bytes = NULL;
    while (c->window_n > 0 && window_entry(c, 0)->done) {
        memset(window_entry(c, 0), 0, sizeof(window_slot));
        c->window_head = (c->window_head + 1) % c->window_slots;
        c->window_base++;
        c->window_n--;
        c->window_sent -= c->window_sent > 0;
    }
}

hwm_status hwm_client_append(hwm_client* c, const hwm_signature* signature, const hwm_chunk* chunk,
                             hwm_error* err) {
    if (c->fatal.code != HWM_OK || c->append_error.code != HWM_OK) {
        hwm_error* what = c->fatal.code != HWM_OK ? &c->fatal : &c->append_error;
        hwm_status s = hwm_fail(err, what->code, "%s", what->text);
        c->append_error.code = HWM_OK;
        return s;
    }
    hwm_status s = hwm_chunk_check(signature, chunk, err);
    if (s != HWM_OK) {
        return s;
    }
    if (c->window_bytes >= c->config.backlog_bytes) {
        return hwm_fail(err, HWM_EAGAIN, "%zu bytes wait for acknowledgement, the limit is %zu",
                        c->window_bytes, c->config.backlog_bytes);
    }
    if (c->window_n == c->window_slots && !window_grow(c)) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a chunk");
    }
    window_slot e = {0};
    uint64_t id = (c->window_base + c->window_n) << 3 | ID_APPEND;
    e.bytes = hwm_wire_append(id, signature, chunk, &e.size);
    if (e.bytes == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a chunk");
    }
    if (e.size > HWM_MESSAGE_BYTES_MAX) {
        s = hwm_fail(err, HWM_EINVAL, "chunk of %zu bytes; at most %d are allowed", e.size,
                     HWM_MESSAGE_BYTES_MAX);
        free(e.bytes);
        return s;
    }
    *window_entry(c, c->window_n) = e;
    c->window_n++;
    c->window_bytes += e.size;
    window_pump(c);
    return HWM_OK;
}

size_t hwm_client_backlog_bytes(const hwm_client* c) {
    return c->window_bytes;
}
uint64_t hwm_client_acknowledged(const hwm_client* c) {
    return c->acknowledged;
}

// ---- what arrives

void hwm_client_on_announce(hwm_client* c, const hwm_announce* a) {
    int k = 0;
    while (k < c->n_announced && strcmp(c->announced[k].set, a->set) != 0) {
        k++;
    }
    if (k == HWM_ANNOUNCE_MAX) {
        return;
    }
    if (k == c->n_announced) {
        c->announced[c->n_announced++] = *a;
    } else if (a->version > c->announced[k].version) {
        c->announced[k] = *a;
    }
}

uint64_t hwm_client_announced(const hwm_client* c, const char* set) {
    for (int k = 0; k < c->n_announced; k++) {
        if (strcmp(c->announced[k].set, set) == 0) {
            return c->announced[k].version;
        }
    }
    return 0;
}

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
        on_append(c, &r);
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
        window_pump(c);
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
        window_pump(c);
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
            *unacknowledged += !window_entry(c, k)->done;
        }
    }
    if (c->state == CLIENT_UP) {
        hwm_request bye = {.id = c->next++ << 3 | ID_CALL, .kind = HWM_REQUEST_BYE};
        send_plain(c, &bye, NULL);
    }
    hwm_link_close(&c->link, c->state == CLIENT_UP ? 500 : 0);
    for (size_t k = 0; k < c->window_n; k++) {
        free(window_entry(c, k)->bytes);
    }
    for (int k = 0; k < SAMPLES_MAX; k++) {
        free(c->sample[k].block);
    }
    hwm_client_call_free(c);
    hwm_wire_destroy(&c->wire);
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
