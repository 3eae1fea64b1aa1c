// data path  [4] wire
//
// The one user of the generated code. A message goes plain struct -> check -> generated struct (on
// the scratch arena) -> bytes, and back the same way. The bulk fields of Append and SampleReply are
// never unpacked: the envelope around them is scanned.
#include "net/wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "hwm.pb-c.h"
#include "net/pb.h"

// A hostile message can ask for some 30 times its size in pointers and structs; beyond this it is
// refused.
enum { ARENA_BYTES = 160 << 20 };

struct hwm_wire {
    hwm_arena* unpacked;  // a reply may name what its request holds: each direction has its own
    hwm_arena* packing;
    hwm_arena* arena;  // the one in use
    uint8_t* packed;   // malloc'd, grows to the largest plain message
    size_t packed_bytes;
    bool exhausted;
    hwm_table_config table;   // of TABLE_CREATE
    hwm_signature signature;  // of a hello reply
};

hwm_status hwm_wire_create(hwm_wire** out) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL || hwm_arena_create(&(*out)->unpacked, ARENA_BYTES) != HWM_OK ||
        hwm_arena_create(&(*out)->packing, ARENA_BYTES) != HWM_OK) {
        hwm_wire_destroy(out);
        return HWM_ENOMEM;
    }
    return HWM_OK;
}

void hwm_wire_destroy(hwm_wire** wire) {
    if (*wire != NULL) {
        hwm_arena_destroy(&(*wire)->unpacked);
        hwm_arena_destroy(&(*wire)->packing);
        free((*wire)->packed);
        free(*wire);
        *wire = NULL;
    }
}

static void* wire_alloc(void* context, size_t bytes) {
    hwm_wire* w = context;
    void* p = bytes < ARENA_BYTES ? hwm_arena_alloc(w->arena, bytes > 0 ? bytes : 1) : NULL;
    w->exhausted |= p == NULL;
    return p;
}
static void wire_free(void* context, void* pointer) {
    (void)context;
    (void)pointer;  // the arena is released as a whole
}
static ProtobufCAllocator wire_allocator(hwm_wire* w) {
    ProtobufCAllocator a = {.alloc = wire_alloc, .free = wire_free, .allocator_data = w};
    return a;
}

const char* hwm_request_name(hwm_request_kind kind) {
    static const char* const name[] = {
        "hello",       "heartbeat",  "table_create",  "table_close", "append",     "sample",
        "priorities",  "episode",    "stats",         "publish",     "fetch",      "list_params",
        "task_submit", "task_lease", "task_complete", "task_result", "list_tasks", "barrier",
        "snapshot",    "shutdown",   "ping",          "bye"};
    _Static_assert(sizeof name / sizeof name[0] == HWM_REQUEST_KIND_END - HWM_REQUEST_HELLO,
                   "one name per request");
    return kind >= HWM_REQUEST_HELLO && kind < HWM_REQUEST_KIND_END ? name[kind - HWM_REQUEST_HELLO]
                                                                    : "unknown";
}

// ---- checks: the same before packing and after unpacking

static hwm_status check_name(const char* what, const char* name, size_t max, bool may_be_empty,
                             hwm_error* err) {
    size_t n = name == NULL ? 0 : strlen(name);
    if ((n == 0 && !may_be_empty) || n >= max) {
        return hwm_fail(err, HWM_EINVAL, "%s has %zu bytes; %d to %zu are allowed", what, n,
                        may_be_empty ? 0 : 1, max - 1);
    }
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && ((c != '-' && c != '_' && c != '.') || i == 0)) {
            return hwm_fail(
                err, HWM_EINVAL,
                "%s: byte %zu is 0x%02x; letters, digits and, inside, - _ . are allowed", what, i,
                (unsigned char)c);
        }
    }
    return HWM_OK;
}

static hwm_status check_text(const char* what, const char* text, size_t max, hwm_error* err) {
    size_t n = text == NULL ? 0 : strlen(text);
    return n < max ? HWM_OK
                   : hwm_fail(err, HWM_EINVAL, "%s has %zu bytes; at most %zu are allowed", what, n,
                              max - 1);
}

static hwm_status check_size(const char* what, uint64_t size, uint64_t min, uint64_t max,
                             hwm_error* err) {
    return size >= min && size <= max
               ? HWM_OK
               : hwm_fail(err, HWM_EINVAL, "%s is %llu; %llu to %llu are allowed", what,
                          (unsigned long long)size, (unsigned long long)min,
                          (unsigned long long)max);
}

static hwm_status check_fraction(const char* what, double value, double max, hwm_error* err) {
    return value >= 0.0 && value <= max
               ? HWM_OK
               : hwm_fail(err, HWM_EINVAL, "%s is %g; 0 to %g are allowed", what, value, max);
}

#define CHECK(call)                                                                                \
    do {                                                                                           \
        hwm_status check_status = (call);                                                          \
        if (check_status != HWM_OK) {                                                              \
            return check_status;                                                                   \
        }                                                                                          \
    } while (0)

static hwm_status check_sample(const hwm_wire_sample* s, hwm_error* err) {
    const hwm_sample_request* r = &s->request;
    CHECK(check_name("table", s->table, 64, true, err));
    CHECK(check_size("batch", (uint64_t)(int64_t)r->batch, 1, 65536, err));
    CHECK(check_size("length", (uint64_t)(int64_t)r->length, 1, 65536, err));
    CHECK(check_size("context", (uint64_t)(int64_t)r->context, 0, 4096, err));
    CHECK(check_size("batch * (length + 2 * context)",
                     (uint64_t)r->batch * ((uint64_t)r->length + 2 * (uint64_t)r->context), 1,
                     4 << 20, err));
    CHECK(check_size("context_window", (uint64_t)(int64_t)r->context_window, 0, INT32_MAX, err));
    CHECK(check_size("selector", (uint64_t)r->selector, 0, HWM_SELECT_ONLINE, err));
    CHECK(check_fraction("fraction_terminal", r->fraction_terminal, 1, err));
    CHECK(check_fraction("fraction_first", r->fraction_first, 1, err));
    CHECK(check_fraction("fraction_recent", r->fraction_recent, 1, err));
    CHECK(check_fraction("fraction_terminal + fraction_first + fraction_recent",
                         r->fraction_terminal + r->fraction_first + r->fraction_recent, 1 + 1e-9,
                         err));
    CHECK(check_fraction("priority_exponent", r->priority_exponent, 16, err));
    return check_size("recent_steps", (uint64_t)r->recent_steps, 0, INT64_MAX, err);
}

static hwm_status check_table(const hwm_table_config* t, hwm_error* err) {
    CHECK(check_name("table", t->name, sizeof t->name, false, err));
    CHECK(hwm_signature_check(&t->signature, err));
    CHECK(check_fraction("samples_per_insert", t->limiter.samples_per_insert, 1e9, err));
    CHECK(check_size("min_size_steps", (uint64_t)t->limiter.min_size_steps, 0, INT64_MAX, err));
    CHECK(check_size("burst_steps", (uint64_t)t->limiter.burst_steps, 0, INT64_MAX, err));
    CHECK(check_size("prefetch_steps", (uint64_t)t->limiter.prefetch_steps, 0, INT64_MAX, err));
    CHECK(check_size("capacity_steps", (uint64_t)t->capacity_steps, 1, INT64_MAX, err));
    CHECK(check_size("capacity_bytes", (uint64_t)t->capacity_bytes, 0, INT64_MAX, err));
    return check_text("experiment", t->experiment, 1 << 20, err);
}

// Values of a set, whole or a part, of publish and of fetch.
static hwm_status check_part(const hwm_wire_publish* p, hwm_error* err) {
    CHECK(check_name("set", p->set, HWM_SET_NAME_MAX, false, err));
    CHECK(check_size("version", p->version, 1, INT64_MAX, err));
    CHECK(check_size("tag", p->tag, HWM_BLOCK_RULE, HWM_BLOCK_ACTING, err));
    CHECK(check_size("size", p->size, 0, HWM_MESSAGE_BYTES_MAX - HWM_PLAIN_BYTES_MAX, err));
    CHECK(check_size("offset", p->offset, 0, p->size, err));
    CHECK(check_size("part", p->values.size, 0, HWM_PART_BYTES_MAX, err));
    CHECK(check_size("offset + part", p->offset + p->values.size, 0, p->size, err));
    CHECK(check_size("tensors", (uint64_t)(int64_t)p->n_tensors, 0, HWM_PARAMS_MAX, err));
    for (int k = 0; k < p->n_tensors; k++) {
        const hwm_tensor_spec* t = &p->tensor[k];
        if (t->name[0] == '\0' || t->dtype != HWM_F32) {
            return hwm_fail(err, HWM_EINVAL, "tensor %d (%s): named f32 tensors are allowed", k,
                            t->name);
        }
    }
    return HWM_OK;
}

static hwm_status check_request(const hwm_request* r, hwm_error* err) {
    if (r->id == 0) {
        return hwm_fail(err, HWM_EPROTO, "request id is 0; ids start at 1");
    }
    switch (r->kind) {
    case HWM_REQUEST_HELLO:
        if (r->hello.client.size != 0 && r->hello.client.size != HWM_CLIENT_ID_BYTES) {
            return hwm_fail(err, HWM_EINVAL, "client id has %zu bytes, not %d",
                            r->hello.client.size, HWM_CLIENT_ID_BYTES);
        }
        CHECK(check_size("role", r->hello.role, HWM_ROLE_WORKER, HWM_ROLE_VIEWER, err));
        CHECK(check_name("table", r->hello.table, 64, true, err));
        CHECK(check_text("host", r->hello.host, 256, err));
        CHECK(check_text("version", r->hello.version, 32, err));
        return check_size("environments", r->hello.environments, 0, 65536, err);
    case HWM_REQUEST_HEARTBEAT:
        return check_fraction("blocked_s", r->heartbeat.blocked_s, 1e12, err);
    case HWM_REQUEST_TABLE_CREATE:
        return check_table(r->table_create, err);
    case HWM_REQUEST_TABLE_CLOSE:
        return check_name("table", r->append.table, 64, true, err);
    case HWM_REQUEST_APPEND:
        CHECK(check_name("table", r->append.table, 64, true, err));
        return check_size("chunk bytes", r->append.chunk.size, 1, HWM_MESSAGE_BYTES_MAX, err);
    case HWM_REQUEST_SAMPLE:
        return check_sample(&r->sample, err);
    case HWM_REQUEST_PRIORITIES: {
        const hwm_wire_priorities* p = &r->priorities;
        size_t n = p->env.size / 4;
        CHECK(check_name("table", p->table, 64, true, err));
        CHECK(check_size("priorities", n, 1, HWM_PRIORITIES_MAX, err));
        return p->env.size == 4 * n && p->incarnation.size == 4 * n && p->step.size == 8 * n &&
                       p->priority.size == 8 * n
                   ? HWM_OK
                   : hwm_fail(
                         err, HWM_EINVAL,
                         "priorities: env, incarnation, step and priority have %zu, %zu, %zu and "
                         "%zu bytes: not N of 4, 4, 8 and 8",
                         p->env.size, p->incarnation.size, p->step.size, p->priority.size);
    }
    case HWM_REQUEST_EPISODE:
        if (!isfinite(r->episode.episode_return)) {
            return hwm_fail(err, HWM_ENUMERIC, "episode return is %g", r->episode.episode_return);
        }
        return check_size("variant", (uint64_t)(int64_t)r->episode.variant_dim, 0, 64, err);
    case HWM_REQUEST_PUBLISH:
        return check_part(&r->publish, err);
    case HWM_REQUEST_FETCH:
        CHECK(check_name("set", r->fetch.set, HWM_SET_NAME_MAX, false, err));
        return check_size("part_bytes", r->fetch.part_bytes, 0, HWM_PART_BYTES_MAX, err);
    case HWM_REQUEST_LIST_PARAMS:
        return check_name("set", r->name, HWM_SET_NAME_MAX, true, err);
    case HWM_REQUEST_TASK_SUBMIT:
        CHECK(check_name("task type", r->submit.type, HWM_TASK_TYPE_MAX, false, err));
        CHECK(check_size("lease_ms", r->submit.lease_ms, 1, 86400000, err));
        return check_size("payload", r->submit.payload.size, 0, HWM_TASK_BYTES_MAX, err);
    case HWM_REQUEST_TASK_LEASE:
        return check_name("task type", r->name, HWM_TASK_TYPE_MAX, true, err);
    case HWM_REQUEST_TASK_COMPLETE:
        return check_size("result", r->task.result.size, 0, HWM_TASK_BYTES_MAX, err);
    case HWM_REQUEST_BARRIER:
        return check_size("parties", r->barrier.parties, 1, 4096, err);
    case HWM_REQUEST_SNAPSHOT:
        return check_name("snapshot", r->name, 64, false, err);
    case HWM_REQUEST_STATS:
    case HWM_REQUEST_TASK_RESULT:
    case HWM_REQUEST_LIST_TASKS:
    case HWM_REQUEST_SHUTDOWN:
    case HWM_REQUEST_PING:
    case HWM_REQUEST_BYE:
        return HWM_OK;
    default:
        return hwm_fail(err, HWM_EUNSUPPORTED, "request kind %d is unknown to protocol %d",
                        (int)r->kind, HWM_PROTOCOL);
    }
}

static hwm_status check_reply(const hwm_reply* r, hwm_error* err) {
    CHECK(check_size("status", (uint64_t)r->status, 0, HWM_STATUS_COUNT - 1, err));
    switch (r->kind) {
    case HWM_REPLY_HELLO:
        CHECK(check_name("table", r->hello.table, 64, true, err));
        CHECK(check_text("server version", r->hello.server_version, 32, err));
        CHECK(check_size("heartbeat_ms", r->hello.heartbeat_ms, 1, 600000, err));
        return r->hello.signature == NULL ? HWM_OK : hwm_signature_check(r->hello.signature, err);
    case HWM_REPLY_HEARTBEAT:
    case HWM_REPLY_PARAMS:
        return check_size("announcements", (uint64_t)r->announces.n, 0, HWM_ANNOUNCE_MAX, err);
    case HWM_REPLY_FETCH:
        return check_part(&r->fetch, err);
    case HWM_REPLY_TASK:
        CHECK(check_size("payload", r->task.payload.size, 0, HWM_TASK_BYTES_MAX, err));
        return check_size("result", r->task.result.size, 0, HWM_TASK_BYTES_MAX, err);
    case HWM_REPLY_TASKS:
        return check_size("tasks", (uint64_t)r->tasks.n, 0, HWM_TASK_ROWS_MAX, err);
    default:
        return HWM_OK;
    }
}

// ---- plain <-> generated: one list of fields per message serves both directions

#define STR(text) ((char*)((text) == NULL ? "" : (text)))
#define BIN(bytes)                                                                                 \
    { .len = (bytes).size, .data = (uint8_t*)(uintptr_t)(bytes).data }
#define UNBIN(bin) ((hwm_bytes){.data = (bin).data, .size = (bin).len})

#define SAMPLE_COUNTS(X)   X(batch) X(length) X(context) X(context_window) X(selector) X(columns)
#define SAMPLE_SHARES(X)   X(fraction_terminal) X(fraction_first) X(fraction_recent)
#define SAMPLE_OTHERS(X)   X(materialise) X(recent_steps) X(priority_exponent) X(uncounted) X(draw)
#define SAMPLE_NUMBERS(X)  SAMPLE_COUNTS(X) SAMPLE_SHARES(X) SAMPLE_OTHERS(X)
#define LIMITER_NUMBERS(X) X(samples_per_insert) X(min_size_steps) X(burst_steps) X(prefetch_steps)

static Hwm__TensorSpec** put_specs(hwm_wire* w, const hwm_tensor_spec* spec, int n) {
    Hwm__TensorSpec** list = wire_alloc(w, (size_t)n * sizeof *list);
    Hwm__TensorSpec* row = wire_alloc(w, (size_t)n * sizeof *row);
    if (list == NULL || row == NULL) {
        return NULL;
    }
    for (int k = 0; k < n; k++) {
        hwm__tensor_spec__init(&row[k]);
        row[k].name = (char*)(uintptr_t)spec[k].name;
        row[k].dtype = (Hwm__DType)spec[k].dtype;
        row[k].n_shape = (size_t)spec[k].ndim;
        row[k].shape = (uint32_t*)(uintptr_t)spec[k].shape;
        list[k] = &row[k];
    }
    return list;
}

static hwm_status get_specs(Hwm__TensorSpec* const* list, size_t n, hwm_tensor_spec* spec,
                            size_t max, hwm_error* err) {
    CHECK(check_size("tensors", n, 0, max, err));
    for (size_t k = 0; k < n; k++) {
        CHECK(check_size("dimensions", list[k]->n_shape, 0, HWM_NDIM_MAX, err));
        CHECK(check_text("tensor name", list[k]->name, HWM_NAME_MAX, err));
        memset(&spec[k], 0, sizeof spec[k]);
        snprintf(spec[k].name, sizeof spec[k].name, "%s", list[k]->name);
        spec[k].dtype = (hwm_dtype)list[k]->dtype;
        spec[k].ndim = (int)list[k]->n_shape;
        for (int d = 0; d < spec[k].ndim; d++) {
            spec[k].shape[d] = list[k]->shape[d];
        }
    }
    return HWM_OK;
}

static Hwm__Signature* put_signature(hwm_wire* w, const hwm_signature* signature) {
    Hwm__Signature* s = wire_alloc(w, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    hwm__signature__init(s);
    s->n_column = (size_t)signature->n_columns;
    s->column = put_specs(w, signature->column, signature->n_columns);
    s->n_key = (size_t)signature->n_keys;
    s->key = put_specs(w, signature->key, signature->n_keys);
    return s;
}

static hwm_status get_signature(const Hwm__Signature* s, hwm_signature* out, hwm_error* err) {
    memset(out, 0, sizeof *out);
    if (s == NULL) {
        return hwm_fail(err, HWM_EINVAL, "the signature is missing");
    }
    CHECK(get_specs(s->column, s->n_column, out->column, HWM_COLUMNS_MAX, err));
    CHECK(get_specs(s->key, s->n_key, out->key, HWM_KEYS_MAX, err));
    out->n_columns = (int)s->n_column;
    out->n_keys = (int)s->n_key;
    return hwm_signature_check(out, err);
}

static Hwm__Announce** put_announces(hwm_wire* w, const hwm_announce* row, int n) {
    Hwm__Announce** list = wire_alloc(w, (size_t)n * sizeof *list);
    Hwm__Announce* a = wire_alloc(w, (size_t)n * sizeof *a);
    if (list == NULL || a == NULL) {
        return NULL;
    }
    for (int k = 0; k < n; k++) {
        hwm__announce__init(&a[k]);
        a[k].set = (char*)(uintptr_t)row[k].set;
        a[k].version = row[k].version;
        a[k].size = row[k].size;
        a[k].tag = row[k].tag;
        list[k] = &a[k];
    }
    return list;
}

static hwm_status get_announces(hwm_wire* w, Hwm__Announce* const* list, size_t n, int* n_out,
                                const hwm_announce** out, hwm_error* err) {
    CHECK(check_size("announcements", n, 0, HWM_ANNOUNCE_MAX, err));
    hwm_announce* row = wire_alloc(w, n * sizeof *row);
    if (row == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for %zu announcements", n);
    }
    for (size_t k = 0; k < n; k++) {
        CHECK(check_name("set", list[k]->set, HWM_SET_NAME_MAX, false, err));
        memset(&row[k], 0, sizeof row[k]);
        snprintf(row[k].set, sizeof row[k].set, "%s", list[k]->set);
        row[k].version = list[k]->version;
        row[k].size = list[k]->size;
        row[k].tag = list[k]->tag;
    }
    *n_out = (int)n;
    *out = row;
    return HWM_OK;
}

// ---- packing

static hwm_status finish_pack(hwm_wire* w, const ProtobufCMessage* message, hwm_bytes* out,
                              hwm_error* err) {
    if (w->exhausted) {
        return hwm_fail(err, HWM_ENOMEM, "no memory to pack a message");
    }
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > w->packed_bytes) {
        free(w->packed);
        w->packed_bytes = 0;
        if ((w->packed = malloc(size + size / 2)) == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for a message of %zu bytes", size);
        }
        w->packed_bytes = size + size / 2;
    }
    protobuf_c_message_pack(message, w->packed);
    out->data = w->packed;
    out->size = size;
    return HWM_OK;
}

static void begin(hwm_wire* w, hwm_arena* arena) {
    w->arena = arena;
    hwm_arena_release(arena, 0);
    w->exhausted = false;
}

// A generated body on the arena, hung into the envelope's oneof.
#define BODY(envelope, member, Type, init)                                                         \
    Type* b = wire_alloc(w, sizeof *b);                                                            \
    if (b == NULL) {                                                                               \
        return hwm_fail(err, HWM_ENOMEM, "no memory to pack a message");                           \
    }                                                                                              \
    init(b);                                                                                       \
    (envelope).member = b

hwm_status hwm_wire_pack_request(hwm_wire* w, const hwm_request* r, hwm_bytes* out,
                                 hwm_error* err) {
    Hwm__Request m = HWM__REQUEST__INIT;
    CHECK(check_request(r, err));
    begin(w, w->packing);
    m.protocol = HWM_PROTOCOL;
    m.id = r->id;
    m.body_case = (Hwm__Request__BodyCase)r->kind;
    switch (r->kind) {
    case HWM_REQUEST_HELLO: {
        BODY(m, hello, Hwm__Hello, hwm__hello__init);
        b->client = (ProtobufCBinaryData)BIN(r->hello.client);
        b->role = (Hwm__Role)r->hello.role;
        b->table = STR(r->hello.table);
        b->environments = r->hello.environments;
        b->subscribe = r->hello.subscribe;
        b->host = STR(r->hello.host);
        b->pid = r->hello.pid;
        b->version = STR(r->hello.version);
        break;
    }
    case HWM_REQUEST_HEARTBEAT: {
        BODY(m, heartbeat, Hwm__Heartbeat, hwm__heartbeat__init);
        b->param_version = r->heartbeat.param_version;
        b->env_steps = r->heartbeat.env_steps;
        b->blocked_s = r->heartbeat.blocked_s;
        break;
    }
    case HWM_REQUEST_TABLE_CREATE: {
        BODY(m, table_create, Hwm__TableCreate, hwm__table_create__init);
        const hwm_table_config* t = r->table_create;
        b->name = STR(t->name);
        b->signature = put_signature(w, &t->signature);
#define X(field) b->field = t->limiter.field;
        LIMITER_NUMBERS(X)
#undef X
        b->capacity_steps = t->capacity_steps;
        b->capacity_bytes = t->capacity_bytes;
        b->experiment = STR(t->experiment);
        b->seed = t->seed;
        break;
    }
    case HWM_REQUEST_TABLE_CLOSE: {
        BODY(m, table_close, Hwm__TableClose, hwm__table_close__init);
        b->table = STR(r->append.table);
        break;
    }
    case HWM_REQUEST_SAMPLE: {
        BODY(m, sample, Hwm__Sample, hwm__sample__init);
        b->table = STR(r->sample.table);
#define X(field) b->field = r->sample.request.field;
        SAMPLE_NUMBERS(X)
#undef X
        break;
    }
    case HWM_REQUEST_PRIORITIES: {
        BODY(m, priorities, Hwm__Priorities, hwm__priorities__init);
        b->table = STR(r->priorities.table);
        b->env = (ProtobufCBinaryData)BIN(r->priorities.env);
        b->incarnation = (ProtobufCBinaryData)BIN(r->priorities.incarnation);
        b->step = (ProtobufCBinaryData)BIN(r->priorities.step);
        b->priority = (ProtobufCBinaryData)BIN(r->priorities.priority);
        break;
    }
    case HWM_REQUEST_EPISODE: {
        BODY(m, episode, Hwm__Episode, hwm__episode__init);
        b->env = r->episode.env;
        b->episode = r->episode.episode;
        b->episode_return = r->episode.episode_return;
        b->steps = r->episode.steps;
        b->n_variant = (size_t)r->episode.variant_dim;
        b->variant = (float*)(uintptr_t)r->episode.variant;
        b->param_version = r->episode.param_version;
        break;
    }
    case HWM_REQUEST_PUBLISH: {
        BODY(m, publish, Hwm__Publish, hwm__publish__init);
        const hwm_wire_publish* p = &r->publish;
        b->set = STR(p->set);
        b->version = p->version;
        b->tag = p->tag;
        b->n_tensor = (size_t)p->n_tensors;
        b->tensor = put_specs(w, p->tensor, p->n_tensors);
        b->size = p->size;
        b->offset = p->offset;
        b->values = (ProtobufCBinaryData)BIN(p->values);
        b->crc = p->crc;
        break;
    }
    case HWM_REQUEST_FETCH: {
        BODY(m, fetch, Hwm__Fetch, hwm__fetch__init);
        b->set = STR(r->fetch.set);
        b->version = r->fetch.version;
        b->offset = r->fetch.offset;
        b->part_bytes = r->fetch.part_bytes;
        break;
    }
    case HWM_REQUEST_LIST_PARAMS: {
        BODY(m, list_params, Hwm__ListParams, hwm__list_params__init);
        b->set = STR(r->name);
        break;
    }
    case HWM_REQUEST_TASK_SUBMIT: {
        BODY(m, task_submit, Hwm__TaskSubmit, hwm__task_submit__init);
        b->type = STR(r->submit.type);
        b->payload = (ProtobufCBinaryData)BIN(r->submit.payload);
        b->lease_ms = r->submit.lease_ms;
        b->nonce = r->submit.nonce;
        break;
    }
    case HWM_REQUEST_TASK_LEASE: {
        BODY(m, task_lease, Hwm__TaskLease, hwm__task_lease__init);
        b->type = STR(r->name);
        break;
    }
    case HWM_REQUEST_TASK_COMPLETE: {
        BODY(m, task_complete, Hwm__TaskComplete, hwm__task_complete__init);
        b->task = r->task.id;
        b->result = (ProtobufCBinaryData)BIN(r->task.result);
        break;
    }
    case HWM_REQUEST_TASK_RESULT: {
        BODY(m, task_result, Hwm__TaskResult, hwm__task_result__init);
        b->task = r->task.id;
        break;
    }
    case HWM_REQUEST_BARRIER: {
        BODY(m, barrier, Hwm__Barrier, hwm__barrier__init);
        b->round = r->barrier.round;
        b->parties = r->barrier.parties;
        break;
    }
    case HWM_REQUEST_SNAPSHOT: {
        BODY(m, snapshot, Hwm__Snapshot, hwm__snapshot__init);
        b->name = STR(r->name);
        break;
    }
    case HWM_REQUEST_STATS: {
        BODY(m, stats, Hwm__Stats, hwm__stats__init);
        break;
    }
    case HWM_REQUEST_LIST_TASKS: {
        BODY(m, list_tasks, Hwm__ListTasks, hwm__list_tasks__init);
        break;
    }
    case HWM_REQUEST_SHUTDOWN: {
        BODY(m, shutdown, Hwm__Shutdown, hwm__shutdown__init);
        break;
    }
    case HWM_REQUEST_PING: {
        BODY(m, ping, Hwm__Ping, hwm__ping__init);
        break;
    }
    case HWM_REQUEST_BYE: {
        BODY(m, bye, Hwm__Bye, hwm__bye__init);
        break;
    }
    default:
        return hwm_fail(err, HWM_EUNSUPPORTED, "%s is not packed here", hwm_request_name(r->kind));
    }
    return finish_pack(w, &m.base, out, err);
}

hwm_status hwm_wire_pack_reply(hwm_wire* w, const hwm_reply* r, hwm_bytes* out, hwm_error* err) {
    Hwm__Reply m = HWM__REPLY__INIT;
    CHECK(check_reply(r, err));
    begin(w, w->packing);
    m.protocol = HWM_PROTOCOL;
    m.id = r->id;
    m.status = (Hwm__Status)r->status;
    m.message = STR(r->message);
    m.body_case = (Hwm__Reply__BodyCase)r->kind;
    switch (r->kind) {
    case HWM_REPLY_NONE:
        break;
    case HWM_REPLY_HELLO: {
        BODY(m, hello, Hwm__HelloReply, hwm__hello_reply__init);
        const hwm_wire_hello_reply* h = &r->hello;
        char** endpoint = wire_alloc(w, sizeof *endpoint);
        if (endpoint == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory to pack a message");
        }
        *endpoint = STR(h->endpoint);
        b->table = STR(h->table);
        b->experiment = STR(h->experiment);
        b->rank = h->rank;
        b->first_env = h->first_env;
        b->incarnation = h->incarnation;
        b->seed = h->seed;
        b->heartbeat_ms = h->heartbeat_ms;
        b->credit_bytes = h->credit_bytes;
        b->server_version = STR(h->server_version);
        b->n_endpoint = h->endpoint != NULL;
        b->endpoint = endpoint;
        b->signature = h->signature == NULL ? NULL : put_signature(w, h->signature);
        b->n_announce = (size_t)h->n_announce;
        b->announce = put_announces(w, h->announce, h->n_announce);
        break;
    }
    case HWM_REPLY_HEARTBEAT: {
        BODY(m, heartbeat, Hwm__HeartbeatReply, hwm__heartbeat_reply__init);
        b->n_announce = (size_t)r->announces.n;
        b->announce = put_announces(w, r->announces.row, r->announces.n);
        b->open_requests = r->announces.open_requests;
        break;
    }
    case HWM_REPLY_PARAMS: {
        BODY(m, params, Hwm__ParamsReply, hwm__params_reply__init);
        b->n_version = (size_t)r->announces.n;
        b->version = put_announces(w, r->announces.row, r->announces.n);
        break;
    }
    case HWM_REPLY_ANNOUNCE: {
        Hwm__Announce** one = put_announces(w, &r->announce, 1);
        m.announce = one == NULL ? NULL : one[0];
        break;
    }
    case HWM_REPLY_STATS: {
        BODY(m, stats, Hwm__StatsReply, hwm__stats_reply__init);
        b->json = STR(r->text);
        break;
    }
    case HWM_REPLY_SNAPSHOT: {
        BODY(m, snapshot, Hwm__SnapshotReply, hwm__snapshot_reply__init);
        b->path = STR(r->text);
        break;
    }
    case HWM_REPLY_FETCH: {
        BODY(m, fetch, Hwm__FetchReply, hwm__fetch_reply__init);
        const hwm_wire_publish* p = &r->fetch;
        b->set = STR(p->set);
        b->version = p->version;
        b->tag = p->tag;
        b->size = p->size;
        b->offset = p->offset;
        b->crc = p->crc;
        b->n_tensor = (size_t)p->n_tensors;
        b->tensor = put_specs(w, p->tensor, p->n_tensors);
        b->values = (ProtobufCBinaryData)BIN(p->values);
        break;
    }
    case HWM_REPLY_TASK: {
        BODY(m, task, Hwm__TaskReply, hwm__task_reply__init);
        b->task = r->task.task;
        b->type = STR(r->task.type);
        b->payload = (ProtobufCBinaryData)BIN(r->task.payload);
        b->result = (ProtobufCBinaryData)BIN(r->task.result);
        b->attempts = r->task.attempts;
        break;
    }
    case HWM_REPLY_TASKS: {
        BODY(m, tasks, Hwm__TasksReply, hwm__tasks_reply__init);
        size_t n = (size_t)r->tasks.n;
        Hwm__TasksReply__Row* row = wire_alloc(w, n * sizeof *row);
        b->row = wire_alloc(w, n * sizeof *b->row);
        if (row == NULL || b->row == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory to pack a message");
        }
        for (size_t k = 0; k < n; k++) {
            hwm__tasks_reply__row__init(&row[k]);
            row[k].task = r->tasks.row[k].task;
            row[k].type = STR(r->tasks.row[k].type);
            row[k].state = r->tasks.row[k].state;
            row[k].attempts = r->tasks.row[k].attempts;
            row[k].owner = STR(r->tasks.row[k].owner);
            b->row[k] = &row[k];
        }
        b->n_row = n;
        break;
    }
    case HWM_REPLY_BARRIER: {
        BODY(m, barrier, Hwm__BarrierReply, hwm__barrier_reply__init);
        b->round = r->round;
        break;
    }
    default:
        return hwm_fail(err, HWM_EUNSUPPORTED, "reply kind %d is not packed here", (int)r->kind);
    }
    return finish_pack(w, &m.base, out, err);
}

// ---- unpacking

// The envelope without its body: which kind it is decides how it is read, and a refusal needs the
// id.
typedef struct envelope {
    uint64_t protocol, id, status;
    uint32_t kind;
    hwm_bytes body;
    bool bad;
} envelope;

static envelope scan(const void* bytes, size_t size) {
    envelope e;
    memset(&e, 0, sizeof e);
    pb_reader r = pb_reader_of(bytes, size);
    uint32_t field;
    int type;
    while (pb_next(&r, &field, &type)) {
        if (type == PB_VARINT && field >= 1 && field <= 3) {
            uint64_t* number[] = {&e.protocol, &e.id, &e.status};
            *number[field - 1] = pb_get_varint(&r);
        } else if (type == PB_BYTES && field >= HWM_REQUEST_HELLO) {
            pb_reader inner = pb_get_bytes(&r);
            e.kind = field;
            e.body.data = inner.at;
            e.body.size = (size_t)(inner.end - inner.at);
        } else {
            pb_skip(&r, type);
        }
    }
    e.bad = r.bad;
    return e;
}

static hwm_status check_envelope(const envelope* e, size_t size, hwm_error* err) {
    if (e->bad) {
        return hwm_fail(err, HWM_EPROTO, "message of %zu bytes is malformed", size);
    }
    if (e->protocol != HWM_PROTOCOL) {
        return hwm_fail(
            err, HWM_EVERSION,
            "the peer speaks protocol %llu, this is hwm %s with protocol %d: use programs "
            "of the same version",
            (unsigned long long)e->protocol, HWM_VERSION, HWM_PROTOCOL);
    }
    return HWM_OK;
}

static hwm_status unpack_append(const envelope* e, hwm_request* out, hwm_wire* w, hwm_error* err) {
    pb_reader r = pb_reader_of(e->body.data, e->body.size);
    uint32_t field;
    int type;
    out->append.table = "";
    while (pb_next(&r, &field, &type)) {
        if (type == PB_BYTES && field == 1) {
            pb_reader inner = pb_get_bytes(&r);
            size_t n = (size_t)(inner.end - inner.at);
            char* name = n < 64 ? wire_alloc(w, n + 1) : NULL;
            if (name == NULL) {
                return hwm_fail(err, HWM_EINVAL, "table has %zu bytes; at most 63 are allowed", n);
            }
            memcpy(name, inner.at, n);
            name[n] = '\0';
            out->append.table = name;
        } else if (type == PB_BYTES && field == 2) {
            pb_reader inner = pb_get_bytes(&r);
            out->append.chunk = (hwm_bytes){inner.at, (size_t)(inner.end - inner.at)};
        } else {
            pb_skip(&r, type);
        }
    }
    return r.bad ? hwm_fail(err, HWM_EPROTO, "append of %zu bytes is malformed", e->body.size)
                 : HWM_OK;
}

static hwm_status convert_request(hwm_wire* w, const Hwm__Request* m, hwm_request* out,
                                  hwm_error* err) {
    switch (out->kind) {
    case HWM_REQUEST_HELLO:
        out->hello = (hwm_wire_hello){.client = UNBIN(m->hello->client),
                                      .role = (uint32_t)m->hello->role,
                                      .table = m->hello->table,
                                      .environments = m->hello->environments,
                                      .subscribe = m->hello->subscribe,
                                      .host = m->hello->host,
                                      .pid = m->hello->pid,
                                      .version = m->hello->version};
        break;
    case HWM_REQUEST_HEARTBEAT:
        out->heartbeat = (hwm_wire_heartbeat){.param_version = m->heartbeat->param_version,
                                              .env_steps = m->heartbeat->env_steps,
                                              .blocked_s = m->heartbeat->blocked_s};
        break;
    case HWM_REQUEST_TABLE_CREATE: {
        const Hwm__TableCreate* b = m->table_create;
        hwm_table_config* t = &w->table;
        memset(t, 0, sizeof *t);
        CHECK(check_name("table", b->name, sizeof t->name, false, err));
        snprintf(t->name, sizeof t->name, "%s", b->name);
        CHECK(get_signature(b->signature, &t->signature, err));
#define X(field) t->limiter.field = b->field;
        LIMITER_NUMBERS(X)
#undef X
        t->capacity_steps = b->capacity_steps;
        t->capacity_bytes = b->capacity_bytes;
        t->experiment = b->experiment;
        t->seed = b->seed;
        out->table_create = t;
        break;
    }
    case HWM_REQUEST_TABLE_CLOSE:
        out->append.table = m->table_close->table;
        break;
    case HWM_REQUEST_SAMPLE: {
        const Hwm__Sample* b = m->sample;
        // numbers that an int cannot hold are refused before they are narrowed
        CHECK(check_size("batch", b->batch, 1, 65536, err));
        CHECK(check_size("length", b->length, 1, 65536, err));
        CHECK(check_size("context", b->context, 0, 4096, err));
        CHECK(check_size("context_window", b->context_window, 0, INT32_MAX, err));
        out->sample.table = b->table;
#define X(field) out->sample.request.field = b->field;
        SAMPLE_NUMBERS(X)
#undef X
        break;
    }
    case HWM_REQUEST_PRIORITIES:
        out->priorities = (hwm_wire_priorities){.table = m->priorities->table,
                                                .env = UNBIN(m->priorities->env),
                                                .incarnation = UNBIN(m->priorities->incarnation),
                                                .step = UNBIN(m->priorities->step),
                                                .priority = UNBIN(m->priorities->priority)};
        break;
    case HWM_REQUEST_EPISODE:
        CHECK(check_size("variant", m->episode->n_variant, 0, 64, err));
        out->episode = (hwm_wire_episode){.env = m->episode->env,
                                          .episode = m->episode->episode,
                                          .episode_return = m->episode->episode_return,
                                          .steps = m->episode->steps,
                                          .variant_dim = (int)m->episode->n_variant,
                                          .variant = m->episode->variant,
                                          .param_version = m->episode->param_version};
        break;
    case HWM_REQUEST_PUBLISH: {
        const Hwm__Publish* b = m->publish;
        hwm_tensor_spec* spec = wire_alloc(w, b->n_tensor * sizeof *spec);
        if (spec == NULL) {
            return hwm_fail(err, HWM_EINVAL, "tensors is %zu; 0 to %d are allowed", b->n_tensor,
                            HWM_PARAMS_MAX);
        }
        CHECK(get_specs(b->tensor, b->n_tensor, spec, HWM_PARAMS_MAX, err));
        out->publish = (hwm_wire_publish){.set = b->set,
                                          .version = b->version,
                                          .tag = b->tag,
                                          .n_tensors = (int)b->n_tensor,
                                          .tensor = spec,
                                          .size = b->size,
                                          .offset = b->offset,
                                          .values = UNBIN(b->values),
                                          .crc = b->crc};
        break;
    }
    case HWM_REQUEST_FETCH:
        out->fetch = (hwm_wire_fetch){.set = m->fetch->set,
                                      .version = m->fetch->version,
                                      .offset = m->fetch->offset,
                                      .part_bytes = m->fetch->part_bytes};
        break;
    case HWM_REQUEST_LIST_PARAMS:
        out->name = m->list_params->set;
        break;
    case HWM_REQUEST_TASK_SUBMIT:
        out->submit = (hwm_wire_submit){.type = m->task_submit->type,
                                        .payload = UNBIN(m->task_submit->payload),
                                        .lease_ms = m->task_submit->lease_ms,
                                        .nonce = m->task_submit->nonce};
        break;
    case HWM_REQUEST_TASK_LEASE:
        out->name = m->task_lease->type;
        break;
    case HWM_REQUEST_TASK_COMPLETE:
        out->task.id = m->task_complete->task;
        out->task.result = UNBIN(m->task_complete->result);
        break;
    case HWM_REQUEST_TASK_RESULT:
        out->task.id = m->task_result->task;
        break;
    case HWM_REQUEST_BARRIER:
        out->barrier =
            (hwm_wire_barrier){.round = m->barrier->round, .parties = m->barrier->parties};
        break;
    case HWM_REQUEST_SNAPSHOT:
        out->name = m->snapshot->name;
        break;
    default:
        break;
    }
    return HWM_OK;
}

hwm_status hwm_wire_unpack_request(hwm_wire* w, const void* bytes, size_t size, hwm_request* out,
                                   hwm_error* err) {
    memset(out, 0, sizeof *out);
    begin(w, w->unpacked);
    envelope e = scan(bytes, size);
    out->protocol = (uint32_t)e.protocol;
    out->id = e.id;
    out->kind = (hwm_request_kind)e.kind;
    CHECK(check_envelope(&e, size, err));
    if (e.kind < HWM_REQUEST_HELLO || e.kind >= HWM_REQUEST_KIND_END) {
        return hwm_fail(err, HWM_EUNSUPPORTED, "request kind %u is unknown to protocol %d", e.kind,
                        HWM_PROTOCOL);
    }
    if (out->kind == HWM_REQUEST_APPEND) {
        CHECK(unpack_append(&e, out, w, err));
        return check_request(out, err);
    }
    if (size > HWM_PLAIN_BYTES_MAX) {
        return hwm_fail(err, HWM_EINVAL, "%s of %zu bytes; at most %d are allowed",
                        hwm_request_name(out->kind), size, HWM_PLAIN_BYTES_MAX);
    }
    ProtobufCAllocator allocator = wire_allocator(w);
    Hwm__Request* m = hwm__request__unpack(&allocator, size, bytes);
    if (m == NULL || (uint32_t)m->body_case != e.kind) {
        return hwm_fail(err, HWM_EPROTO, "%s of %zu bytes is malformed",
                        hwm_request_name(out->kind), size);
    }
    CHECK(convert_request(w, m, out, err));
    return check_request(out, err);
}

static hwm_status convert_reply(hwm_wire* w, const Hwm__Reply* m, hwm_reply* out, hwm_error* err) {
    switch (out->kind) {
    case HWM_REPLY_HELLO: {
        const Hwm__HelloReply* b = m->hello;
        hwm_wire_hello_reply* h = &out->hello;
        h->table = b->table;
        h->experiment = b->experiment;
        h->rank = b->rank;
        h->first_env = b->first_env;
        h->incarnation = b->incarnation;
        h->seed = b->seed;
        h->heartbeat_ms = b->heartbeat_ms;
        h->credit_bytes = b->credit_bytes;
        h->server_version = b->server_version;
        h->endpoint = b->n_endpoint > 0 ? b->endpoint[0] : NULL;
        if (b->signature != NULL) {
            CHECK(get_signature(b->signature, &w->signature, err));
            h->signature = &w->signature;
        }
        return get_announces(w, b->announce, b->n_announce, &h->n_announce, &h->announce, err);
    }
    case HWM_REPLY_HEARTBEAT:
        out->announces.open_requests = m->heartbeat->open_requests;
        return get_announces(w, m->heartbeat->announce, m->heartbeat->n_announce, &out->announces.n,
                             &out->announces.row, err);
    case HWM_REPLY_PARAMS:
        return get_announces(w, m->params->version, m->params->n_version, &out->announces.n,
                             &out->announces.row, err);
    case HWM_REPLY_ANNOUNCE: {
        const hwm_announce* row = NULL;
        int n = 0;
        CHECK(get_announces(w, &m->announce, 1, &n, &row, err));
        out->announce = row[0];
        return HWM_OK;
    }
    case HWM_REPLY_STATS:
        out->text = m->stats->json;
        return HWM_OK;
    case HWM_REPLY_SNAPSHOT:
        out->text = m->snapshot->path;
        return HWM_OK;
    case HWM_REPLY_FETCH: {
        const Hwm__FetchReply* b = m->fetch;
        hwm_tensor_spec* spec = wire_alloc(w, b->n_tensor * sizeof *spec);
        if (spec == NULL) {
            return hwm_fail(err, HWM_EINVAL, "tensors is %zu; 0 to %d are allowed", b->n_tensor,
                            HWM_PARAMS_MAX);
        }
        CHECK(get_specs(b->tensor, b->n_tensor, spec, HWM_PARAMS_MAX, err));
        out->fetch = (hwm_wire_publish){.set = b->set,
                                        .version = b->version,
                                        .tag = b->tag,
                                        .n_tensors = (int)b->n_tensor,
                                        .tensor = spec,
                                        .size = b->size,
                                        .offset = b->offset,
                                        .values = UNBIN(b->values),
                                        .crc = b->crc};
        return HWM_OK;
    }
    case HWM_REPLY_TASK:
        out->task.task = m->task->task;
        out->task.type = m->task->type;
        out->task.payload = UNBIN(m->task->payload);
        out->task.result = UNBIN(m->task->result);
        out->task.attempts = m->task->attempts;
        return HWM_OK;
    case HWM_REPLY_TASKS: {
        CHECK(check_size("tasks", m->tasks->n_row, 0, HWM_TASK_ROWS_MAX, err));
        hwm_wire_task_row* row = wire_alloc(w, m->tasks->n_row * sizeof *row);
        if (row == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for %zu tasks", m->tasks->n_row);
        }
        for (size_t k = 0; k < m->tasks->n_row; k++) {
            const Hwm__TasksReply__Row* b = m->tasks->row[k];
            row[k] = (hwm_wire_task_row){b->task, b->type, b->state, b->attempts, b->owner};
        }
        out->tasks.n = (int)m->tasks->n_row;
        out->tasks.row = row;
        return HWM_OK;
    }
    case HWM_REPLY_BARRIER:
        out->round = m->barrier->round;
        return HWM_OK;
    default:
        return HWM_OK;
    }
}

hwm_status hwm_wire_unpack_reply(hwm_wire* w, const void* bytes, size_t size, hwm_reply* out,
                                 hwm_error* err) {
    memset(out, 0, sizeof *out);
    out->message = "";
    begin(w, w->unpacked);
    envelope e = scan(bytes, size);
    out->protocol = (uint32_t)e.protocol;
    out->id = e.id;
    CHECK(check_envelope(&e, size, err));
    CHECK(check_size("status", e.status, 0, HWM_STATUS_COUNT - 1, err));
    out->status = (hwm_status)e.status;
    if (e.kind == HWM_REPLY_SAMPLE) {
        out->kind = HWM_REPLY_SAMPLE;
        out->sample = e.body;
        return HWM_OK;
    }
    if (e.kind >= HWM_REPLY_KIND_END) {
        return hwm_fail(err, HWM_EUNSUPPORTED, "reply kind %u is unknown to protocol %d", e.kind,
                        HWM_PROTOCOL);
    }
    if (size > HWM_PLAIN_BYTES_MAX) {
        return hwm_fail(err, HWM_EPROTO, "reply kind %u of %zu bytes; at most %d are allowed",
                        e.kind, size, HWM_PLAIN_BYTES_MAX);
    }
    ProtobufCAllocator allocator = wire_allocator(w);
    Hwm__Reply* m = hwm__reply__unpack(&allocator, size, bytes);
    if (m == NULL || (uint32_t)m->body_case != e.kind) {
        return hwm_fail(err, HWM_EPROTO, "reply of %zu bytes is malformed", size);
    }
    out->kind = (hwm_reply_kind)e.kind;
    out->message = m->message;
    CHECK(convert_reply(w, m, out, err));
    return check_reply(out, err);
}
