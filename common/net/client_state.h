// data path  [5] link
//
// Inside net: the client's state. client_window.c and client_pending.c lie below client.c (the
// connection), calls.c above it.
#ifndef HWM_NET_CLIENT_STATE_H
#define HWM_NET_CLIENT_STATE_H

#include "net/chunk_codec.h"
#include "net/link.h"
#include "net/packed.h"
#include "net/wire.h"

enum {
    SAMPLES_MAX = 64,  // requests in flight
    BACKLOG_DEFAULT_BYTES = 64 << 20,
    CREDIT_DEFAULT_BYTES = 4 << 20,
    FLIGHT_MAX = 1024,  // appends in flight: fewer than the server's queue of replies holds
    BACKOFF_MIN_MS = 25,
    BACKOFF_MAX_MS = 3000,
    HELLO_WAIT_MS = 3000,  // for an answer, before the socket is opened anew
    HELLO_AGAIN_MS = 100,  // after "not yet"
    FULL_AGAIN_MS = 200,   // after a refused append that may be repeated
    SILENT_BEATS = 5,      // heartbeats without a sound: the server is gone
    TURN_MESSAGES = 256,   // handled before the timers are looked at again
    CALL_TIMEOUT_MS = 30000,
    SNAPSHOT_TIMEOUT_MS = 600000
};

enum { ID_NONE, ID_HELLO, ID_HEARTBEAT, ID_APPEND, ID_SAMPLE, ID_CALL, ID_REPORT };

typedef enum client_state { CLIENT_DOWN, CLIENT_HELLO, CLIENT_UP } client_state;

typedef struct window_slot {
    void* bytes;
    size_t size;
    bool sent;  // on this connection
    bool done;  // acknowledged or refused
    int64_t not_before_ns;
} window_slot;

typedef enum sample_state { SAMPLE_FREE, SAMPLE_WAITING, SAMPLE_DONE } sample_state;
typedef struct sample_slot {
    sample_state state;
    uint64_t id;
    hwm_sample_request request;
    hwm_batch batch;
    hwm_error error;
    void* block;
    size_t block_bytes;
} sample_slot;

// The one call that waits for its answer. The answer's bulk is copied: it must outlive the message.
typedef struct client_call {
    bool waiting, answered;
    uint64_t id;
    void* bytes;  // the request, for sending again after a reconnect
    size_t size;
    hwm_status status;
    char message[1024];
    hwm_reply_kind kind;
    void (*take)(hwm_client* client, const hwm_reply* reply, void* context);
    void* context;
} client_call;

struct hwm_client {
    hwm_client_config config;  // strings copied
    uint8_t identity[HWM_CLIENT_ID_BYTES];
    hwm_wire* wire;
    hwm_link* link;  // NULL while down

    // connection
    client_state state;
    bool greeted, reborn, not_yet, told_full;
    hwm_error fatal;  // the server refuses us for good
    hwm_error why;    // why there is no connection yet
    uint64_t next;    // sequence of ids other than appends
    uint64_t hello_id;
    int backoff_ms;
    int64_t retry_ns, hello_ns, hello_again_ns, heard_ns, heartbeat_ns, turn_ns;
    hwm_hello hello;
    char* experiment_before;
    hwm_signature signature;  // of the table
    bool have_signature;
    hwm_packer* packer;  // NULL until a column with a codec is met
    hwm_wire_heartbeat progress;
    uint64_t malformed;

    // append window: a ring
    window_slot* window;
    size_t window_slots, window_head, window_n;
    size_t window_sent;  // entries from the head that need no sending
    size_t window_bytes, in_flight_bytes, in_flight, credit_bytes;
    uint64_t window_base;  // sequence of the head
    uint64_t acknowledged, refused;
    hwm_error append_error;

    sample_slot sample[SAMPLES_MAX];
    client_call call;
    int n_announced;
    hwm_announce announced[HWM_ANNOUNCE_MAX];
    void* task_payload;
    void* task_result;
};

// ---- client_window.c
window_slot* hwm_client_window_entry(hwm_client* client, size_t k);
void hwm_client_window_pump(hwm_client* client);  // send what the credit allows, in order
void hwm_client_on_append(hwm_client* client, const hwm_reply* reply);
int hwm_client_jitter(int ms);  // ms / 2 .. 3 ms / 2

// ---- client_pending.c
void hwm_client_sample_send(hwm_client* client, const sample_slot* slot);
sample_slot* hwm_client_sample_find(hwm_client* client, uint64_t id);
void hwm_client_on_sample(hwm_client* client, const hwm_reply* reply);
void hwm_client_on_call(hwm_client* client, const hwm_reply* reply);
void hwm_client_on_announce(hwm_client* client, const hwm_announce* announce);
void hwm_client_call_free(hwm_client* client);

// ---- client.c
// Handle what is there; wait at most timeout_ms when nothing is. True when something arrived.
bool hwm_client_turn(hwm_client* client, int timeout_ms);

#endif
