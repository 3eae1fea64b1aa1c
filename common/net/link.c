// data path  [5] link
#include "net/link_state.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/wire.h"

enum {
    QUEUE_MESSAGES = 4096,  // per peer and direction; bytes are bounded by credits above
    KERNEL_BUFFER_BYTES = 1 << 20,
    CONNECT_TIMEOUT_MS = 5000,  // of one TCP attempt
    HANDSHAKE_MS = 5000,
    KEEP_BYTES_MIN = 16384,
    IO_THREADS_MAX = 8,
};
#define ZAP_ADDRESS "inproc://zeromq.zap.01"
#define ZAP_DOMAIN  "hwm"

// ---- the context of the process

static pthread_mutex_t context_lock = PTHREAD_MUTEX_INITIALIZER;
static void* context;
static int context_users;
static uint64_t links_made;

// Threads of libzmq. Encryption runs in them at about 1 GB/s each, so a server with keys has one
// for every second processor, and two at least; without keys one carries more than the store takes.
static int io_threads(bool encrypts) {
    int n = encrypts ? (int)sysconf(_SC_NPROCESSORS_ONLN) / 2 : 1;
    n = encrypts && n < 2 ? 2 : n;
    return n < IO_THREADS_MAX ? n : IO_THREADS_MAX;
}

static void* context_take(bool encrypts, uint64_t* number) {
    pthread_mutex_lock(&context_lock);
    if (context == NULL) {
        context = zmq_ctx_new();
        if (context != NULL) {
            zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 4096);
            zmq_ctx_set(context, ZMQ_IO_THREADS, io_threads(encrypts));
        }
    }
    if (context != NULL) {
        context_users++;
    }
    *number = ++links_made;
    void* c = context;
    pthread_mutex_unlock(&context_lock);
    return c;
}

static void context_give_back(void) {
    pthread_mutex_lock(&context_lock);
    if (--context_users == 0) {
        while (zmq_ctx_term(context) != 0 && zmq_errno() == EINTR) {
        }
        context = NULL;
    }
    pthread_mutex_unlock(&context_lock);
}

// ---- create and close

static bool is_local(const char* endpoint) {
    return strncmp(endpoint, "ipc://", 6) == 0 || strncmp(endpoint, "inproc://", 9) == 0 ||
           strncmp(endpoint, "tcp://127.", 10) == 0 || strncmp(endpoint, "tcp://[::1]:", 12) == 0 ||
           strncmp(endpoint, "tcp://localhost:", 16) == 0;
}

static bool set_int(void* socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

// ---- CURVE

static hwm_status use_client_keys(hwm_link* link, const hwm_link_config* config, hwm_error* err) {
    hwm_key_pair own;
    char server[HWM_KEY_TEXT];
    hwm_status s = hwm_keys_load_client(config->key_dir, config->role, &own, server, err);
    if (s != HWM_OK) {
        return s;
    }
    bool ok =
        zmq_setsockopt(link->socket, ZMQ_CURVE_SERVERKEY, server, HWM_KEY_TEXT) == 0 &&
        zmq_setsockopt(link->socket, ZMQ_CURVE_PUBLICKEY, own.public_key, HWM_KEY_TEXT) == 0 &&
        zmq_setsockopt(link->socket, ZMQ_CURVE_SECRETKEY, own.secret_key, HWM_KEY_TEXT) == 0;
    return ok ? HWM_OK
              : hwm_fail(err, HWM_EIO, "cannot use the keys of %s: %s", config->key_dir,
                         zmq_strerror(zmq_errno()));
}

// The handler stands before the socket listens, so that nobody slips in between.
static hwm_status use_server_keys(hwm_link* link, void* c, const hwm_link_config* config,
                                  hwm_error* err) {
    char path[512];
    hwm_key_pair own;
    snprintf(path, sizeof path, "%s/server.key", config->key_dir);
    hwm_status s = hwm_keys_load(path, &own, err);
    s = s != HWM_OK ? s : hwm_keyring_open(&link->keyring, config->key_dir, err);
    if (s != HWM_OK) {
        return s;
    }
    link->peer = calloc(PEERS_MAX, sizeof *link->peer);
    link->zap = zmq_socket(c, ZMQ_ROUTER);
    if (link->peer == NULL || link->zap == NULL || !set_int(link->zap, ZMQ_LINGER, 0) ||
        zmq_bind(link->zap, ZAP_ADDRESS) != 0) {
        return hwm_fail(err, HWM_EIO, "cannot handle keys (%s): one server with keys per process",
                        zmq_strerror(zmq_errno()));
    }
    bool ok =
        set_int(link->socket, ZMQ_CURVE_SERVER, 1) &&
        zmq_setsockopt(link->socket, ZMQ_CURVE_SECRETKEY, own.secret_key, HWM_KEY_TEXT) == 0 &&
        zmq_setsockopt(link->socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN)) == 0;
    return ok ? HWM_OK
              : hwm_fail(err, HWM_EIO, "cannot use the keys of %s: %s", config->key_dir,
                         zmq_strerror(zmq_errno()));
}

static hwm_status link_open(hwm_link** out, const hwm_link_config* config, bool router,
                            hwm_error* err) {
    *out = NULL;
    if (config->endpoint == NULL || strlen(config->endpoint) >= sizeof(*out)->endpoint) {
        return hwm_fail(err, HWM_EINVAL, "endpoint is missing or longer than 255 bytes");
    }
    if (config->key_dir == NULL && !config->insecure && !is_local(config->endpoint)) {
        return hwm_fail(
            err, HWM_EDENIED,
            "%s is neither ipc nor loopback: give keys (--key-dir, made by hwm keygen) or, "
            "on a network you trust, --insecure",
            config->endpoint);
    }
    uint64_t number;
    void* c = context_take(router && config->key_dir != NULL, &number);
    if (c == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a ZeroMQ context");
    }
    hwm_link* link = calloc(1, sizeof *link);
    if (link == NULL) {
        context_give_back();
        return hwm_fail(err, HWM_ENOMEM, "no memory for a link");
    }
    link->router = router;
    link->socket = zmq_socket(c, router ? ZMQ_ROUTER : ZMQ_DEALER);
    if (link->socket == NULL) {
        hwm_fail(err, HWM_EIO, "cannot open a socket: %s", zmq_strerror(zmq_errno()));
        hwm_link_close(&link, 0);
        return HWM_EIO;
    }

    int64_t largest = HWM_MESSAGE_BYTES_MAX;
    bool ok = zmq_setsockopt(link->socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) == 0 &&
              set_int(link->socket, ZMQ_SNDHWM, QUEUE_MESSAGES) &&
              set_int(link->socket, ZMQ_RCVHWM, QUEUE_MESSAGES) &&
              set_int(link->socket, ZMQ_SNDBUF, KERNEL_BUFFER_BYTES) &&
              set_int(link->socket, ZMQ_RCVBUF, KERNEL_BUFFER_BYTES) &&
              set_int(link->socket, ZMQ_LINGER, 0) &&
              set_int(link->socket, ZMQ_IPV6, strchr(config->endpoint, '[') != NULL) &&
              set_int(link->socket, ZMQ_HEARTBEAT_IVL, 0) &&
              set_int(link->socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
              set_int(link->socket, ZMQ_TCP_KEEPALIVE, 1);
    if (router) {
        ok = ok && set_int(link->socket, ZMQ_ROUTER_MANDATORY, 1) &&
             set_int(link->socket, ZMQ_ROUTER_HANDOVER, 1) &&
             set_int(link->socket, ZMQ_BACKLOG, 1024);
    } else {
        ok = ok && set_int(link->socket, ZMQ_RECONNECT_IVL, -1) &&
             set_int(link->socket, ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS);
        if (config->identity != NULL) {
            // a first byte of 0 is reserved for identities that ZeroMQ makes
            uint8_t identity[HWM_CLIENT_ID_BYTES + 1];
            identity[0] = 'h';
            memcpy(identity + 1, config->identity, HWM_CLIENT_ID_BYTES);
            ok = ok && zmq_setsockopt(link->socket, ZMQ_ROUTING_ID, identity, sizeof identity) == 0;
        }
    }
    if (!router || config->key_dir != NULL) {
        snprintf(link->monitor_address, sizeof link->monitor_address, "inproc://link-%llu",
                 (unsigned long long)number);
        int events = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                     (router ? ZMQ_EVENT_ACCEPTED : ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED);
        ok = ok && zmq_socket_monitor(link->socket, link->monitor_address, events) == 0;
        link->monitor = ok ? zmq_socket(c, ZMQ_PAIR) : NULL;
        ok = ok && link->monitor != NULL && set_int(link->monitor, ZMQ_LINGER, 0) &&
             zmq_connect(link->monitor, link->monitor_address) == 0;
    }
    if (ok && config->key_dir != NULL) {
        hwm_status s =
            router ? use_server_keys(link, c, config, err) : use_client_keys(link, config, err);
        if (s != HWM_OK) {
            hwm_link_close(&link, 0);
            return s;
        }
    }
    if (!ok) {
        hwm_fail(err, HWM_EIO, "cannot set up a socket: %s", zmq_strerror(zmq_errno()));
        hwm_link_close(&link, 0);
        return HWM_EIO;
    }
    *out = link;
    return HWM_OK;
}

hwm_status hwm_link_connect(hwm_link** out, const hwm_link_config* config, hwm_error* err) {
    hwm_status s = link_open(out, config, false, err);
    if (s == HWM_OK && zmq_connect((*out)->socket, config->endpoint) != 0) {
        s = hwm_fail(err, HWM_EIO, "cannot connect to %s: %s", config->endpoint,
                     zmq_strerror(zmq_errno()));
        hwm_link_close(out, 0);
    }
    if (s == HWM_OK) {
        snprintf((*out)->endpoint, sizeof(*out)->endpoint, "%s", config->endpoint);
    }
    return s;
}

hwm_status hwm_link_bind(hwm_link** out, const hwm_link_config* config, hwm_error* err) {
    hwm_status s = link_open(out, config, true, err);
    if (s == HWM_OK && zmq_bind((*out)->socket, config->endpoint) != 0) {
        s = hwm_fail(err, HWM_EIO, "cannot listen on %s: %s", config->endpoint,
                     zmq_strerror(zmq_errno()));
        hwm_link_close(out, 0);
    }
    if (s == HWM_OK) {
        size_t size = sizeof(*out)->endpoint;
        if (zmq_getsockopt((*out)->socket, ZMQ_LAST_ENDPOINT, (*out)->endpoint, &size) != 0) {
            snprintf((*out)->endpoint, sizeof(*out)->endpoint, "%s", config->endpoint);
        }
    }
    return s;
}

void hwm_link_close(hwm_link** link, int linger_ms) {
    hwm_link* l = *link;
    if (l == NULL) {
        return;
    }
    *link = NULL;
    if (l->socket != NULL) {
        if (l->monitor != NULL) {
            zmq_socket_monitor(l->socket, NULL, 0);
        }
        set_int(l->socket, ZMQ_LINGER, linger_ms);
        zmq_close(l->socket);
    }
    if (l->monitor != NULL) {
        zmq_close(l->monitor);
    }
    if (l->zap != NULL) {
        zmq_close(l->zap);
    }
    hwm_keyring_close(&l->keyring);
    free(l->peer);
    free(l);
    context_give_back();
}

const char* hwm_link_endpoint(const hwm_link* link) {
    return link->endpoint;
}
const char* hwm_link_reason(const hwm_link* link) {
    return link->reason;
}
hwm_keyring* hwm_link_keyring(const hwm_link* link) {
    return link->keyring;
}
uint64_t hwm_link_refused_keys(const hwm_link* link) {
    return link->refused_keys;
}
uint64_t hwm_link_failed_handshakes(const hwm_link* link) {
    return link->failed_handshakes;
}
uint64_t hwm_link_malformed(const hwm_link* link) {
    return link->malformed;
}

// ---- sending

struct hwm_meter {
    atomic_size_t bytes, users;
};

// A metered message on its way.
typedef struct metered {
    hwm_meter* meter;
    size_t size;
} metered;

hwm_meter* hwm_meter_create(void) {
    hwm_meter* meter = calloc(1, sizeof *meter);
    if (meter != NULL) {
        atomic_init(&meter->users, 1);
    }
    return meter;
}

void hwm_meter_release(hwm_meter** meter) {
    if (*meter != NULL && atomic_fetch_sub(&(*meter)->users, 1) == 1) {
        free(*meter);
    }
    *meter = NULL;
}

size_t hwm_meter_bytes(const hwm_meter* meter) {
    return meter != NULL ? atomic_load(&meter->bytes) : 0;
}

// Called by libzmq, in any thread, once the bytes are with the kernel or nobody wants them.
static void free_metered(void* data, void* hint) {
    metered* m = hint;
    atomic_fetch_sub(&m->meter->bytes, m->size);
    hwm_meter_release(&m->meter);
    free(m);
    free(data);
}

static hwm_status send_message(hwm_link* link, const hwm_peer* to, zmq_msg_t* message) {
    // the identity decides whether the peer can be reached; after it the other frames cannot fail
    if (link->router) {
        while (zmq_send(link->socket, to->id, to->size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
            if (zmq_errno() != EINTR) {
                int why = zmq_errno();
                zmq_msg_close(message);
                return why == EAGAIN ? HWM_EAGAIN : why == EHOSTUNREACH ? HWM_ECLOSED : HWM_EIO;
            }
        }
    }
    while (zmq_send(link->socket, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        if (zmq_errno() != EINTR) {
            int why = zmq_errno();
            zmq_msg_close(message);
            return why == EAGAIN ? HWM_EAGAIN : HWM_EIO;
        }
    }
    while (zmq_msg_send(message, link->socket, 0) < 0) {
        if (zmq_errno() != EINTR) {
            zmq_msg_close(message);
            return HWM_EIO;
        }
    }
    return HWM_OK;
}

hwm_status hwm_link_send(hwm_link* link, const hwm_peer* to, const void* bytes, size_t size) {
    zmq_msg_t message;
    if (size > HWM_MESSAGE_BYTES_MAX) {
        return HWM_EINVAL;
    }
    if (zmq_msg_init_size(&message, size) != 0) {
        return HWM_ENOMEM;
    }
    memcpy(zmq_msg_data(&message), bytes, size);
    return send_message(link, to, &message);
}

hwm_status hwm_link_send_owned(hwm_link* link, const hwm_peer* to, void** bytes, size_t size,
                               hwm_meter* meter) {
    zmq_msg_t message;
    void* data = *bytes;
    *bytes = NULL;
    if (size > HWM_MESSAGE_BYTES_MAX) {
        free(data);
        return HWM_EINVAL;
    }
    metered* m = malloc(sizeof *m);
    if (m == NULL) {
        free(data);
        return HWM_ENOMEM;
    }
    *m = (metered){meter, size};
    atomic_fetch_add(&meter->users, 1);
    atomic_fetch_add(&meter->bytes, size);
    if (zmq_msg_init_data(&message, data, size, free_metered, m) != 0) {
        free_metered(data, m);
        return HWM_ENOMEM;
    }
    return send_message(link, to, &message);
}

// ---- receiving

// Drop the rest of a message whose frames are not ours.
static void drop_rest(hwm_link* link, zmq_msg_t* message) {
    while (zmq_msg_more(message) && zmq_msg_recv(message, link->socket, ZMQ_DONTWAIT) >= 0) {
    }
    link->malformed++;
}

static const char* property(zmq_msg_t* message, const char* name, char* out, size_t size) {
    const char* value = zmq_msg_gets(message, name);
    snprintf(out, size, "%s", value == NULL ? "" : value);
    return out;
}

hwm_status hwm_link_receive(hwm_link* link, hwm_message* out) {
    _Static_assert(sizeof(zmq_msg_t) <= sizeof out->storage, "zmq_msg_t fits its storage");
    zmq_msg_t* message = (zmq_msg_t*)(void*)out->storage;
    for (;;) {
        zmq_msg_init(message);
        if (zmq_msg_recv(message, link->socket, ZMQ_DONTWAIT) < 0) {
            int why = zmq_errno();
            zmq_msg_close(message);
            if (why == EINTR) {
                continue;
            }
            return why == EAGAIN ? HWM_EAGAIN : HWM_EIO;
        }
        // [identity] [empty] [body]
        bool ok = true;
        out->from.size = 0;
        if (link->router) {
            size_t n = zmq_msg_size(message);
            ok = n > 0 && n <= sizeof out->from.id && zmq_msg_more(message);
            if (ok) {
                out->from.size = (uint8_t)n;
                memcpy(out->from.id, zmq_msg_data(message), n);
                ok = zmq_msg_recv(message, link->socket, ZMQ_DONTWAIT) >= 0;
            }
        }
        ok = ok && zmq_msg_size(message) == 0 && zmq_msg_more(message) &&
             zmq_msg_recv(message, link->socket, ZMQ_DONTWAIT) >= 0 && !zmq_msg_more(message);
        if (!ok) {
            drop_rest(link, message);
            zmq_msg_close(message);
            continue;
        }
        out->bytes = zmq_msg_data(message);
        out->size = zmq_msg_size(message);
        out->key = property(message, "User-Id", link->key, sizeof link->key);
        out->address = property(message, "Peer-Address", link->address, sizeof link->address);
        return HWM_OK;
    }
}

void* hwm_message_keep(hwm_message* message) {
    // libzmq receives small messages into one shared buffer, which a kept one would pin
    if (message->size < KEEP_BYTES_MIN) {
        return NULL;
    }
    zmq_msg_t* kept = malloc(sizeof *kept);
    if (kept != NULL) {
        zmq_msg_init(kept);
        zmq_msg_move(kept, (zmq_msg_t*)(void*)message->storage);
    }
    return kept;
}

void hwm_message_release(void* kept) {
    zmq_msg_close(kept);
    free(kept);
}

void hwm_message_close(hwm_message* message) {
    zmq_msg_close((zmq_msg_t*)(void*)message->storage);
    message->bytes = NULL;
}
