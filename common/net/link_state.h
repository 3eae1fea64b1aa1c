// data path  [5] link
//
// Inside the link: its state, shared by link.c (sockets, sending, receiving) and link_watch.c
// (waiting, strangers), and the one includer of ZeroMQ.
#ifndef HWM_NET_LINK_STATE_H
#define HWM_NET_LINK_STATE_H

#include <zmq.h>

#include "net/link.h"

enum { PEERS_MAX = 16384, PEER_TEXT = 64 };

struct hwm_link {
    void* socket;
    void* monitor;  // connection events; of a ROUTER only with keys
    void* zap;      // ROUTER with keys: asked by libzmq about every connection (RFC 27)
    bool router;
    hwm_keyring* keyring;
    char (*peer)[PEER_TEXT];  // (PEERS_MAX) address behind each file descriptor
    bool handshake_failed;    // the next lost connection is the one that failed
    uint64_t refused_keys, failed_handshakes;
    int64_t told_key_ns, told_handshake_ns;  // last log line of either
    char endpoint[256];
    char reason[160];
    char monitor_address[64];
    uint64_t malformed;
    char address[64];
    char key[48];
};

#endif
