// hwm-server as a library: one ROUTER, served by one thread, in front of the replay store, the
// parameter hub and the task queue.
//
//   client ==ROUTER==> unpack, check -> append, sample -> hwm_replay (its own threads) ->
//   completion -> reply
//                                    -> everything else is answered at once
//
// A client is known after its hello. It is dead when it is silent for dead_ms: its streams are
// abandoned, its samples cancelled, its leases handed out again. Whatever it asks afterwards is
// answered "say hello".
#ifndef HWM_SERVER_SERVER_H
#define HWM_SERVER_SERVER_H

#include "base/command.h"
#include "server/replay.h"

typedef struct hwm_service_config {
    int64_t heartbeat_ms;  // clients send something at least this often
    int64_t dead_ms;       // silent for so long: dead
    int64_t credit_bytes;  // appends of one client that wait for their commit
    int64_t ingest_bytes;  // of all clients together
    int64_t requests_max;  // samples of one client that wait
    int64_t reply_bytes;   // replies of one client that it has not read
    int64_t drain_ms;      // at the end: time for what is queued
} hwm_service_config;
extern const hwm_config_table hwm_service_table;  // section "service"

typedef struct hwm_server_config {
    const char* endpoint;  // as ipc:///path, tcp://host:port, tcp://127.0.0.1:*
    const char* key_dir;   // NULL: plain text
    const char* http;      // ADDR:PORT or PORT (loopback); NULL: none
    bool insecure;
    hwm_service_config service;
    hwm_replay_config replay;
} hwm_server_config;

// Every field to its default; replay.dir is left empty.
void hwm_server_default_config(hwm_server_config* config);

typedef struct hwm_server hwm_server;
// Opens the store and listens: clients may connect from here on.
hwm_status hwm_server_create(hwm_server** out, const hwm_server_config* config, hwm_error* err);
const char* hwm_server_endpoint(const hwm_server* server);  // with the real port
uint16_t hwm_server_http_port(const hwm_server* server);    // 0: none
// Serves until hwm_server_stop, a shutdown request or (signals) SIGINT and SIGTERM; then commits
// what is queued.
hwm_status hwm_server_run(hwm_server* server, bool signals);
void hwm_server_stop(hwm_server* server);  // from any thread
void hwm_server_destroy(hwm_server** server);

// The program's command line.
extern const hwm_command hwm_server_command;

#endif
