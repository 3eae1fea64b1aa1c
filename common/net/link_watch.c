// data path  [5] link
//
// Waiting on a link, and whom a ROUTER with keys lets in: libzmq asks over ZAP about every
// connection, and its monitor tells of those that failed before their first message.
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/link_state.h"

enum { TELL_MS = 100 };  // between two log lines about strangers

// ---- strangers

// A flood of them must not fill the log: the counters hold the truth.
static bool may_tell(int64_t* told_ns) {
    int64_t now = hwm_clock_ns();
    if (now - *told_ns < TELL_MS * 1000000LL) {
        return false;
    }
    *told_ns = now;
    return true;
}

// One question of libzmq: version, request id, domain, address, identity, mechanism, key. It is
// answered with the key as user id, which every later message of the connection carries.
static void answer_zap(hwm_link* link) {
    enum { FRAMES = 9 };  // identity of the asking session and an empty frame come first
    zmq_msg_t frame[FRAMES];
    int n = 0;
    bool again = true;
    while (again) {
        zmq_msg_t m;
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, link->zap, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&m);
            break;
        }
        again = zmq_msg_more(&m);
        if (n < FRAMES) {
            frame[n] = m;
        } else {
            zmq_msg_close(&m);
        }
        n++;
    }
    if (n == FRAMES) {
        char key[HWM_KEY_TEXT] = "", address[PEER_TEXT];
        bool curve =
            zmq_msg_size(&frame[7]) == 5 && memcmp(zmq_msg_data(&frame[7]), "CURVE", 5) == 0 &&
            zmq_msg_size(&frame[8]) == 32 && zmq_z85_encode(key, zmq_msg_data(&frame[8]), 32);
        const hwm_key_pair* who = curve ? hwm_keyring_find(link->keyring, key) : NULL;
        snprintf(address, sizeof address, "%.*s", (int)zmq_msg_size(&frame[5]),
                 (const char*)zmq_msg_data(&frame[5]));
        if (who == NULL) {
            link->refused_keys++;
            if (may_tell(&link->told_key_ns)) {
                hwm_log(HWM_LOG_WARN, "link", "key refused", "address=%s key=%s refused=%llu",
                        address, key, (unsigned long long)link->refused_keys);
            }
        }
        const char* reply[] = {who ? "200" : "400", who ? "OK" : "this key is not authorised",
                               who ? key : "", ""};
        for (int k = 0; k < 4; k++) {  // identity, empty, version, request id
            zmq_msg_send(&frame[k], link->zap, ZMQ_SNDMORE);
        }
        for (int k = 0; k < 4; k++) {
            zmq_send(link->zap, reply[k], strlen(reply[k]), k < 3 ? ZMQ_SNDMORE : 0);
        }
    }
    for (int k = 0; k < (n < FRAMES ? n : FRAMES); k++) {
        zmq_msg_close(&frame[k]);
    }
}

static void remember_peer(hwm_link* link, uint32_t fd) {
    struct sockaddr_storage a = {0};
    socklen_t size = sizeof a;
    if (fd >= PEERS_MAX) {
        return;
    }
    char* text = link->peer[fd];
    snprintf(text, PEER_TEXT, "unknown");
    if (getpeername((int)fd, (struct sockaddr*)&a, &size) != 0) {
        return;
    }
    if (a.ss_family == AF_UNIX) {
        struct ucred who;
        size = sizeof who;
        if (getsockopt((int)fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
            snprintf(text, PEER_TEXT, "pid %d, uid %u", (int)who.pid, who.uid);
        }
        return;
    }
    char port[8];
    char host[46];
    if (getnameinfo((struct sockaddr*)&a, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(text, PEER_TEXT, "%s:%s", host, port);
    }
}

// A connection that failed before its first message: libzmq says so, and then that its descriptor
// is closed.
static void on_router_event(hwm_link* link, uint16_t kind, uint32_t value) {
    switch (kind) {
    case ZMQ_EVENT_ACCEPTED:
        remember_peer(link, value);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        if (link->handshake_failed && may_tell(&link->told_handshake_ns)) {
            hwm_log(HWM_LOG_WARN, "link", "handshake failed",
                    "address=%s reason=\"no CURVE, or another server's key\" failed=%llu",
                    value < PEERS_MAX ? link->peer[value] : "unknown",
                    (unsigned long long)link->failed_handshakes);
        }
        link->handshake_failed = false;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        break;  // refused by key: counted there
    default:
        link->failed_handshakes++;
        link->handshake_failed = true;
    }
}

// ---- waiting

// Read connection events; true when the peer is lost.
static bool read_monitor(hwm_link* link) {
    bool lost = false;
    for (;;) {
        zmq_msg_t event;
        zmq_msg_init(&event);
        if (zmq_msg_recv(&event, link->monitor, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&event);
            return lost;
        }
        uint16_t kind = 0;
        uint32_t value = 0;
        if (zmq_msg_size(&event) >= 6) {
            memcpy(&kind, zmq_msg_data(&event), 2);
            memcpy(&value, (const uint8_t*)zmq_msg_data(&event) + 2, 4);
        }
        while (zmq_msg_more(&event) && zmq_msg_recv(&event, link->monitor, ZMQ_DONTWAIT) >= 0) {
        }
        zmq_msg_close(&event);
        if (link->router) {
            on_router_event(link, kind, value);
            continue;
        }
        switch (kind) {
        case ZMQ_EVENT_CONNECTED:
            link->reason[0] = '\0';
            break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
            snprintf(link->reason, sizeof link->reason, "the server does not know this key (%u)",
                     value);
            lost = true;
            break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            snprintf(
                link->reason, sizeof link->reason,
                "the handshake failed (0x%x): one side uses keys and the other does not, or the "
                "server's key is another",
                value);
            lost = true;
            break;
        case ZMQ_EVENT_CLOSED:
            if (link->reason[0] == '\0') {
                snprintf(link->reason, sizeof link->reason, "nothing listens there");
            }
            lost = true;
            break;
        default:
            lost = true;
        }
    }
}

int hwm_link_wait(hwm_link* link, int fd, int timeout_ms) {
    zmq_pollitem_t item[4];
    int n = 0, at_fd = -1, at_monitor = -1, at_zap = -1;
    item[n++] = (zmq_pollitem_t){.socket = link->socket, .events = ZMQ_POLLIN};
    if (fd >= 0) {
        at_fd = n;
        item[n++] = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    }
    if (link->monitor != NULL) {
        at_monitor = n;
        item[n++] = (zmq_pollitem_t){.socket = link->monitor, .events = ZMQ_POLLIN};
    }
    if (link->zap != NULL) {
        at_zap = n;
        item[n++] = (zmq_pollitem_t){.socket = link->zap, .events = ZMQ_POLLIN};
    }
    if (zmq_poll(item, n, timeout_ms) <= 0) {
        return 0;
    }
    int ready = item[0].revents & ZMQ_POLLIN ? HWM_LINK_MESSAGE : 0;
    if (at_fd >= 0 && (item[at_fd].revents & (ZMQ_POLLIN | ZMQ_POLLERR))) {
        ready |= HWM_LINK_FD;
    }
    if (at_zap >= 0 && (item[at_zap].revents & ZMQ_POLLIN)) {
        answer_zap(link);
    }
    if (at_monitor >= 0 && (item[at_monitor].revents & ZMQ_POLLIN) && read_monitor(link)) {
        ready |= HWM_LINK_LOST;
    }
    return ready;
}
