// data path  [4] wire
//
// Replies: plain structs to bytes and back.
#include <string.h>

#include "net/wire_codec.h"

hwm_status hwm_wire_pack_reply(hwm_wire* w, const hwm_reply* r, hwm_bytes* out, hwm_error* err) {
    Hwm__Reply m = HWM__REPLY__INIT;
    CHECK(hwm_wire_check_reply(r, err));
    hwm_wire_begin(w, w->packing);
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
        char** endpoint = hwm_wire_alloc(w, sizeof *endpoint);
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
        b->signature = h->signature == NULL ? NULL : hwm_wire_put_signature(w, h->signature);
        b->n_announce = (size_t)h->n_announce;
        b->announce = hwm_wire_put_announces(w, h->announce, h->n_announce);
        break;
    }
    case HWM_REPLY_HEARTBEAT: {
        BODY(m, heartbeat, Hwm__HeartbeatReply, hwm__heartbeat_reply__init);
        b->n_announce = (size_t)r->announces.n;
        b->announce = hwm_wire_put_announces(w, r->announces.row, r->announces.n);
        b->open_requests = r->announces.open_requests;
        break;
    }
    case HWM_REPLY_PARAMS: {
        BODY(m, params, Hwm__ParamsReply, hwm__params_reply__init);
        b->n_version = (size_t)r->announces.n;
        b->version = hwm_wire_put_announces(w, r->announces.row, r->announces.n);
        break;
    }
    case HWM_REPLY_ANNOUNCE: {
        Hwm__Announce** one = hwm_wire_put_announces(w, &r->announce, 1);
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
        b->tensor = hwm_wire_put_specs(w, p->tensor, p->n_tensors);
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
        Hwm__TasksReply__Row* row = hwm_wire_alloc(w, n * sizeof *row);
        b->row = hwm_wire_alloc(w, n * sizeof *b->row);
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
    return hwm_wire_finish(w, &m.base, out, err);
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
            CHECK(hwm_wire_get_signature(b->signature, &w->signature, err));
            h->signature = &w->signature;
        }
        return hwm_wire_get_announces(w, b->announce, b->n_announce, &h->n_announce, &h->announce,
                                      err);
    }
    case HWM_REPLY_HEARTBEAT:
        out->announces.open_requests = m->heartbeat->open_requests;
        return hwm_wire_get_announces(w, m->heartbeat->announce, m->heartbeat->n_announce,
                                      &out->announces.n, &out->announces.row, err);
    case HWM_REPLY_PARAMS:
        return hwm_wire_get_announces(w, m->params->version, m->params->n_version,
                                      &out->announces.n, &out->announces.row, err);
    case HWM_REPLY_ANNOUNCE: {
        const hwm_announce* row = NULL;
        int n = 0;
        CHECK(hwm_wire_get_announces(w, &m->announce, 1, &n, &row, err));
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
        hwm_tensor_spec* spec = hwm_wire_alloc(w, b->n_tensor * sizeof *spec);
        if (spec == NULL) {
            return hwm_fail(err, HWM_EINVAL, "tensors is %zu; 0 to %d are allowed", b->n_tensor,
                            HWM_PARAMS_MAX);
        }
        CHECK(hwm_wire_get_specs(b->tensor, b->n_tensor, spec, HWM_PARAMS_MAX, err));
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
        CHECK(hwm_wire_check_size("tasks", m->tasks->n_row, 0, HWM_TASK_ROWS_MAX, err));
        hwm_wire_task_row* row = hwm_wire_alloc(w, m->tasks->n_row * sizeof *row);
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
    hwm_wire_begin(w, w->unpacked);
    hwm_envelope e = hwm_wire_scan(bytes, size);
    out->protocol = (uint32_t)e.protocol;
    out->id = e.id;
    CHECK(hwm_wire_check_envelope(&e, size, err));
    CHECK(hwm_wire_check_size("status", e.status, 0, HWM_STATUS_COUNT - 1, err));
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
    ProtobufCAllocator allocator = hwm_wire_allocator(w);
    Hwm__Reply* m = hwm__reply__unpack(&allocator, size, bytes);
    if (m == NULL || (uint32_t)m->body_case != e.kind) {
        return hwm_fail(err, HWM_EPROTO, "reply of %zu bytes is malformed", size);
    }
    out->kind = (hwm_reply_kind)e.kind;
    out->message = m->message;
    CHECK(convert_reply(w, m, out, err));
    return hwm_wire_check_reply(out, err);
}
