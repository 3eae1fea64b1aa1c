// data path  [5] link
//
// One ZeroMQ socket: a DEALER at a client, the ROUTER at the server. Messages are an empty
// delimiter and one frame.
//
// Threads: create, use and destroy in one thread. ONE CONTEXT per process, made on first use.
// RECONNECT is the owner's: a DEALER that lost its peer says so once (HWM_LINK_LOST) and stays
// dead; the owner opens a new one
//   and sends again whatever was not answered. Nothing is retried behind its back, so nothing can
//   be lost unnoticed.
// LIMITS: messages above HWM_MESSAGE_BYTES_MAX end their connection; a ROUTER whose peer does not
// read says HWM_EAGAIN.
#ifndef HWM_NET_LINK_H
#define HWM_NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/keys.h"

typedef struct hwm_peer {
    uint8_t size;
    uint8_t id[32];
} hwm_peer;

typedef struct hwm_message {
    hwm_peer from;      // ROUTER only
    const void* bytes;  // borrowed until hwm_message_close
    size_t size;
    const char* key;      // public key that sent it, Z85; "" in plain text; borrowed
    const char* address;  // of the peer, "" if unknown; borrowed
    _Alignas(16) unsigned char storage[64];
} hwm_message;

typedef struct hwm_link_config {
    const char* endpoint;     // ipc:///path, tcp://host:port; a ROUTER may listen on tcp://host:*
    const char* key_dir;      // CURVE; NULL: plain text
    bool insecure;            // allow plain text on any address
    hwm_role role;            // DEALER: which key of key_dir
    const uint8_t* identity;  // DEALER: 16 bytes that name it
} hwm_link_config;

typedef struct hwm_link hwm_link;
// HWM_EDENIED: plain text on an address that is neither ipc nor loopback. HWM_EIO: cannot bind or
// connect, with the reason.
hwm_status hwm_link_connect(hwm_link** out, const hwm_link_config* config, hwm_error* err);
hwm_status hwm_link_bind(hwm_link** out, const hwm_link_config* config, hwm_error* err);
// linger_ms: how long what was sent may take to leave.
void hwm_link_close(hwm_link** link, int linger_ms);
const char* hwm_link_endpoint(const hwm_link* link);  // the real one, where the port was left open

// Copies. to: NULL for a DEALER. HWM_EAGAIN: the queue is full. HWM_ECLOSED: no such peer.
hwm_status hwm_link_send(hwm_link* link, const hwm_peer* to, const void* bytes, size_t size);
// Bytes that were sent and have not left this process yet. Shared by whoever sends and by the
// messages under way, from any thread: the last to let go frees it.
typedef struct hwm_meter hwm_meter;
hwm_meter* hwm_meter_create(void);  // NULL: no memory
void hwm_meter_release(hwm_meter** meter);
size_t hwm_meter_bytes(const hwm_meter* meter);  // 0 of NULL
// Takes ownership of malloc'd bytes, sets *bytes to NULL (on failure too). The meter counts them.
hwm_status hwm_link_send_owned(hwm_link* link, const hwm_peer* to, void** bytes, size_t size,
                               hwm_meter* meter);
// HWM_OK with a message, HWM_EAGAIN: none waits. Frames of another form are dropped and counted.
hwm_status hwm_link_receive(hwm_link* link, hwm_message* message);
void hwm_message_close(hwm_message* message);
// Takes the message's memory over, so that `bytes` outlive the close: give it back with
// hwm_message_release, from any thread. NULL where the message is small (copy it) or memory is
// short; the message is then as before.
void* hwm_message_keep(hwm_message* message);
void hwm_message_release(void* kept);

enum { HWM_LINK_MESSAGE = 1, HWM_LINK_FD = 2, HWM_LINK_LOST = 4 };
// Wait for a message, for fd (-1: none) to be readable or for the loss of the peer; a set of the
// above, 0 on timeout.
int hwm_link_wait(hwm_link* link, int fd, int timeout_ms);
// Why the connection could not be made or was lost, as far as known; "" else.
const char* hwm_link_reason(const hwm_link* link);
uint64_t hwm_link_malformed(const hwm_link* link);  // messages dropped by receive

// ROUTER with keys: who may come in (NULL in plain text), and who was turned away before the first
// message: connections with an unknown key, and those that do not speak CURVE with this server's
// key. Each is logged with its address.
hwm_keyring* hwm_link_keyring(const hwm_link* link);
uint64_t hwm_link_refused_keys(const hwm_link* link);
uint64_t hwm_link_failed_handshakes(const hwm_link* link);

#endif
