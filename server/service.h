// Inside the service: the state that its files share. All of it belongs to the router thread. The
// files below stand in order: each calls only those before it.
#ifndef HWM_SERVER_SERVICE_H
#define HWM_SERVER_SERVICE_H

#include <stdatomic.h>

#include "base/log.h"
#include "base/metrics.h"
#include "net/link.h"
#include "net/wire.h"
#include "server/hub.h"
#include "server/server.h"
#include "server/tasks.h"

enum { SESSIONS_MAX = 4096, RETURNS_KEPT = 16, BARRIER_MAX = 64 };

// ---- sessions.c: who is connected
typedef struct hwm_session {
    bool used, alive, lost_reply;
    uint64_t number;  // names the session in tasks and the hub; never given twice
    hwm_peer peer;
    uint8_t id[HWM_CLIENT_ID_BYTES];
    bool has_id;
    hwm_role role;
    char host[64], version[32], key[48], address[64];
    uint32_t pid;
    bool subscribe;
    int table;  // -1: none
    uint32_t rank, first_env, environments, incarnation;
    int64_t first_seen_ns, heard_ns;

    uint32_t open_samples;
    size_t append_bytes;  // waiting for their commit
    hwm_meter* unread;    // replies that are still here; NULL before the first large one
    uint64_t appends, append_steps, append_bytes_total, samples, episodes, requests, refused;
    uint64_t env_steps, param_version;
    double blocked_s;
    double recent_return[RETURNS_KEPT];
    int n_returns;
    double steps_per_s, samples_per_s;  // over the last rate interval
    uint64_t rate_steps, rate_samples;
} hwm_session;

// ---- ingest.c: what waits in the store
typedef struct hwm_pending {
    bool used;
    uint32_t generation;
    hwm_completion_kind kind;
    uint64_t session;  // number
    int slot;          // of the session
    uint64_t request;
    size_t bytes;
    uint32_t steps;
    int table;
    uint32_t next_free;
} hwm_pending;

typedef struct hwm_service_counters {
    uint64_t requests, refused, malformed, unroutable, dropped_replies, deaths, hellos, revoked;
    uint64_t by_kind[HWM_REQUEST_KIND_END];
    uint64_t by_status[HWM_STATUS_COUNT];
} hwm_service_counters;

// Clients that wait for each other at the end of a round.
typedef struct hwm_barrier_wait {
    uint64_t round, session, request;
    uint32_t parties;
    hwm_peer peer;
} hwm_barrier_wait;

struct hwm_server {
    hwm_server_config config;
    hwm_link* link;
    hwm_wire* wire;
    hwm_replay* replay;
    hwm_hub* hub;
    hwm_tasks* tasks;
    atomic_bool stop;
    bool draining;
    int64_t started_ns, tick_ns, rate_ns;

    hwm_session* session;  // (SESSIONS_MAX)
    uint16_t* by_peer;     // (4 * SESSIONS_MAX) open addressing; slot + 1, 0: empty
    int n_sessions;        // slots in use, from 0
    uint64_t next_session;

    hwm_pending* pending;
    uint32_t n_pending, free_pending;  // index + 1, 0: none
    size_t ingest_bytes;
    char snapshot_path[HWM_CONFIG_STRING_MAX + 96];  // one is made at a time

    hwm_meter* unread;  // replies to those who have said no hello

    hwm_barrier_wait barrier[BARRIER_MAX];
    int n_barrier;
    hwm_service_counters counters;
    struct hwm_http* http;
};

hwm_session* hwm_sessions_find(hwm_server* server, const hwm_peer* peer);
hwm_session* hwm_sessions_find_id(hwm_server* server, const uint8_t* id);
hwm_session* hwm_sessions_by_number(hwm_server* server, int slot, uint64_t number);
// A free slot, or the longest dead one. NULL: all are alive.
hwm_session* hwm_sessions_new(hwm_server* server);
void hwm_sessions_set_peer(hwm_server* server, hwm_session* session, const hwm_peer* peer);
void hwm_sessions_drop(hwm_server* server, hwm_session* session);
uint32_t hwm_sessions_free_rank(const hwm_server* server, hwm_role role, int table);

// ---- reply.c
// A reply that finds the peer's queue full, by messages or by bytes, is gone: its client is taken
// for dead, so that it says hello and asks again for everything that was not answered.
// Takes ownership of a large reply's malloc'd bytes, sets *bytes to NULL.
void hwm_rpc_bulk(hwm_server* server, const hwm_peer* to, void** bytes, size_t size);
void hwm_rpc_reply(hwm_server* server, const hwm_peer* to, const hwm_reply* reply);
void hwm_rpc_accept(hwm_server* server, const hwm_session* session, uint64_t id);  // HWM_OK
// status with a sentence; counts it.
void hwm_rpc_refuse(hwm_server* server, const hwm_peer* to, uint64_t id, hwm_status status,
                    const char* format, ...) __attribute__((format(printf, 5, 6)));

// ---- ingest.c
// The chunk's bytes lie in the message, whose memory may be kept.
void hwm_ingest_append(hwm_server* server, hwm_session* session, const hwm_request* request,
                       hwm_message* message);
void hwm_ingest_sample(hwm_server* server, hwm_session* session, const hwm_request* request);
void hwm_ingest_priorities(hwm_server* server, hwm_session* session, const hwm_request* request);
void hwm_ingest_snapshot(hwm_server* server, hwm_session* session, uint64_t request,
                         const char* path);
bool hwm_ingest_complete(hwm_server* server);  // one completion; false: none waits
void hwm_ingest_forget(hwm_server* server, const hwm_session* session);

// ---- departures.c
// Workers and learners come and go at level info; who only asks (health checks, statistics) at
// debug.
hwm_log_level hwm_session_log_level(const hwm_session* session);
// Streams abandoned, samples cancelled, leases returned. The slot stays for the statistics.
void hwm_sessions_end(hwm_server* server, hwm_session* session, const char* why);
void hwm_sessions_tick(hwm_server* server, int64_t now_ns);

// ---- stats.c
char* hwm_stats_json(hwm_server* server);  // malloc'd: caller owns, free with free()

// ---- rpc.c
void hwm_rpc_message(hwm_server* server, hwm_message* message);

#endif
