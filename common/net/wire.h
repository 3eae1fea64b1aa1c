// data path  [4] wire
//
// Envelopes: hwm.Request and hwm.Reply of hwm.proto as plain structs. The same check runs before
// packing and after unpacking, so that neither side can send what the other would refuse. Append
// and SampleReply carry the bulk: they are written and read in one pass by hand; everything else
// goes through the generated code.
//
// A hwm_wire is the scratch of one thread. What unpack hands out is borrowed from it (or from the
// message's own bytes, for the bulk) until the next unpack; what pack hands out, until the next
// pack.
#ifndef HWM_NET_WIRE_H
#define HWM_NET_WIRE_H

#include "net/client.h"
#include "net/packed.h"

enum {
    HWM_PROTOCOL = 1,
    HWM_MESSAGE_BYTES_MAX = 64 << 20,  // of any message
    HWM_PLAIN_BYTES_MAX = 6 << 20,     // of one that goes through the generated code
    HWM_PART_BYTES_MAX = 1 << 20,      // of a parameter set in one message
    HWM_TASK_BYTES_MAX = 4 << 20,      // payload or result
    HWM_ANNOUNCE_MAX = 64,             // parameter sets, or versions of a listing
    HWM_TASK_ROWS_MAX = 1024,
    HWM_CLIENT_ID_BYTES = 16,
    HWM_TASK_TYPE_MAX = 32,
    HWM_PRIORITIES_MAX = 65536
};

typedef struct hwm_bytes {
    const void* data;
    size_t size;
} hwm_bytes;

// ---- requests; the numbers are those of the oneof in hwm.proto
typedef enum hwm_request_kind {
    HWM_REQUEST_HELLO = 10,
    HWM_REQUEST_HEARTBEAT,
    HWM_REQUEST_TABLE_CREATE,
    HWM_REQUEST_TABLE_CLOSE,
    HWM_REQUEST_APPEND,
    HWM_REQUEST_SAMPLE,
    HWM_REQUEST_PRIORITIES,
    HWM_REQUEST_EPISODE,
    HWM_REQUEST_STATS,
    HWM_REQUEST_PUBLISH,
    HWM_REQUEST_FETCH,
    HWM_REQUEST_LIST_PARAMS,
    HWM_REQUEST_TASK_SUBMIT,
    HWM_REQUEST_TASK_LEASE,
    HWM_REQUEST_TASK_COMPLETE,
    HWM_REQUEST_TASK_RESULT,
    HWM_REQUEST_LIST_TASKS,
    HWM_REQUEST_BARRIER,
    HWM_REQUEST_SNAPSHOT,
    HWM_REQUEST_SHUTDOWN,
    HWM_REQUEST_PING,
    HWM_REQUEST_BYE,
    HWM_REQUEST_KIND_END
} hwm_request_kind;
const char* hwm_request_name(hwm_request_kind kind);  // "append"; "unknown" for any other number

typedef struct hwm_wire_hello {
    hwm_bytes client;  // HWM_CLIENT_ID_BYTES, or none
    uint32_t role;     // hwm_role
    const char* table;
    uint32_t environments;
    bool subscribe;
    const char* host;
    uint32_t pid;
    const char* version;
} hwm_wire_hello;

typedef struct hwm_wire_heartbeat {
    uint64_t param_version;
    uint64_t env_steps;
    double blocked_s;
} hwm_wire_heartbeat;

typedef struct hwm_wire_sample {
    const char* table;
    hwm_sample_request request;
} hwm_wire_sample;

typedef struct hwm_wire_priorities {
    const char* table;
    hwm_bytes env, incarnation, step, priority;  // u32, u32, i64, f64, N each
} hwm_wire_priorities;

typedef struct hwm_wire_episode {
    uint32_t env, episode;
    double episode_return;
    uint32_t steps;
    int variant_dim;
    const float* variant;
    uint64_t param_version;
} hwm_wire_episode;

typedef struct hwm_wire_publish {
    const char* set;
    uint64_t version;
    uint32_t tag;  // hwm_block_tag
    int n_tensors;
    const hwm_tensor_spec* tensor;
    uint64_t size, offset;  // bytes
    hwm_bytes values;
    uint32_t crc;
} hwm_wire_publish;

typedef struct hwm_wire_fetch {
    const char* set;
    uint64_t version, offset;
    uint32_t part_bytes;
} hwm_wire_fetch;

typedef struct hwm_wire_submit {
    const char* type;
    hwm_bytes payload;
    uint32_t lease_ms;
    uint64_t nonce;
} hwm_wire_submit;

typedef struct hwm_wire_barrier {
    uint64_t round;
    uint32_t parties;
} hwm_wire_barrier;

typedef struct hwm_request {
    uint32_t protocol;
    uint64_t id;
    hwm_request_kind kind;
    union {
        hwm_wire_hello hello;
        hwm_wire_heartbeat heartbeat;
        const hwm_table_config* table_create;
        struct {
            const char* table;  // TABLE_CLOSE, APPEND
            hwm_bytes chunk;    // APPEND: an encoded hwm.Chunk, inside the message
        } append;
        hwm_wire_sample sample;
        hwm_wire_priorities priorities;
        hwm_wire_episode episode;
        hwm_wire_publish publish;
        hwm_wire_fetch fetch;
        const char* name;  // LIST_PARAMS: set; TASK_LEASE: type; SNAPSHOT: name
        hwm_wire_submit submit;
        struct {
            uint64_t id;  // TASK_COMPLETE, TASK_RESULT
            hwm_bytes result;
        } task;
        hwm_wire_barrier barrier;
    };
} hwm_request;

// ---- replies
typedef enum hwm_reply_kind {
    HWM_REPLY_NONE = 0,
    HWM_REPLY_HELLO = 10,
    HWM_REPLY_HEARTBEAT,
    HWM_REPLY_SAMPLE,
    HWM_REPLY_STATS,
    HWM_REPLY_FETCH,
    HWM_REPLY_PARAMS,
    HWM_REPLY_TASK,
    HWM_REPLY_TASKS,
    HWM_REPLY_ANNOUNCE,
    HWM_REPLY_BARRIER,
    HWM_REPLY_SNAPSHOT,
    HWM_REPLY_KIND_END
} hwm_reply_kind;

typedef struct hwm_announce {
    char set[HWM_SET_NAME_MAX];
    uint64_t version, size;
    uint32_t tag;
} hwm_announce;

typedef struct hwm_wire_hello_reply {
    const char* table;
    const char* experiment;
    uint32_t rank, first_env, incarnation;
    uint64_t seed;
    uint32_t heartbeat_ms;
    uint64_t credit_bytes;
    const char* server_version;
    const char* endpoint;            // one today
    const hwm_signature* signature;  // NULL: no table yet
    int n_announce;
    const hwm_announce* announce;
} hwm_wire_hello_reply;

typedef struct hwm_wire_task_row {
    uint64_t task;
    const char* type;
    uint32_t state, attempts;
    const char* owner;
} hwm_wire_task_row;

typedef struct hwm_reply {
    uint32_t protocol;
    uint64_t id;
    hwm_status status;
    const char* message;
    hwm_reply_kind kind;
    union {
        hwm_wire_hello_reply hello;
        struct {
            int n;
            const hwm_announce* row;
            uint32_t open_requests;
        } announces;            // HEARTBEAT, PARAMS
        hwm_announce announce;  // ANNOUNCE
        hwm_bytes sample;       // SAMPLE: an encoded hwm.SampleReply, inside the message
        const char* text;       // STATS: JSON; SNAPSHOT: path
        hwm_wire_publish fetch;
        struct {
            uint64_t task;
            const char* type;
            hwm_bytes payload, result;
            uint32_t attempts;
        } task;
        struct {
            int n;
            const hwm_wire_task_row* row;
        } tasks;
        uint64_t round;
    };
} hwm_reply;

typedef struct hwm_wire hwm_wire;
hwm_status hwm_wire_create(hwm_wire** out);
void hwm_wire_destroy(hwm_wire** wire);

// HWM_EINVAL with the offending value when the check fails; APPEND and SAMPLE are written by the
// functions below instead.
hwm_status hwm_wire_pack_request(hwm_wire* wire, const hwm_request* request, hwm_bytes* out,
                                 hwm_error* err);
hwm_status hwm_wire_pack_reply(hwm_wire* wire, const hwm_reply* reply, hwm_bytes* out,
                               hwm_error* err);
// HWM_EPROTO malformed, HWM_EVERSION another protocol, HWM_EINVAL an impossible value. protocol and
// id are filled in wherever they could be read, so that a refusal reaches its request.
hwm_status hwm_wire_unpack_request(hwm_wire* wire, const void* bytes, size_t size,
                                   hwm_request* request, hwm_error* err);
hwm_status hwm_wire_unpack_reply(hwm_wire* wire, const void* bytes, size_t size, hwm_reply* reply,
                                 hwm_error* err);

// ---- bulk
// A whole Request with one Append, encoded into malloc'd bytes: caller owns, free with free(). NULL
// when out of memory.
void* hwm_wire_append(uint64_t id, const hwm_signature* signature, const hwm_chunk* chunk,
                      size_t* size);
// A whole Reply with one SampleReply; keys are sent where batch->key[0] is not NULL. malloc'd:
// caller owns, free with free(). NULL when out of memory or larger than a message may be.
void* hwm_wire_batch(uint64_t id, const hwm_signature* signature, const hwm_batch* batch,
                     size_t* size);
// Decode a SampleReply into *batch: every array is copied once, into *block (grown with realloc,
// 64-byte aligned parts).
//   signature  in   columns and keys of the table: sizes are checked against it
//   packer     in   unpacks columns with a codec; NULL where the signature has none
//   block, block_bytes  in/out  malloc'd memory of the caller, kept between calls; batch's pointers
//   lie in it
hwm_status hwm_wire_batch_decode(const hwm_signature* signature, hwm_packer* packer,
                                 hwm_bytes reply, void** block, size_t* block_bytes,
                                 hwm_batch* batch, hwm_error* err);

#endif
