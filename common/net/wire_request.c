// data path  [4] wire
//
// Requests: plain structs to bytes and back.
#include <stdio.h>
#include <string.h>

#include "net/pb.h"
#include "net/wire_codec.h"

hwm_status hwm_wire_pack_request(hwm_wire* w, const hwm_request* r, hwm_bytes* out,
                                 hwm_error* err) {
    Hwm__Request m = HWM__REQUEST__INIT;
    CHECK(hwm_wire_check_request(r, err));
    hwm_wire_begin(w, w->packing);
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
        b->signature = hwm_wire_put_signature(w, &t->signature);
#define X(field) b->field = t->limiter.field;
        LIMITER_NUMBERS(X)
#undef X
        b->capacity_steps = t->capacity_steps;
        b->capacity_bytes = t->capacity_bytes;
        b->experiment = STR(t->experiment);
        b->seed = t->seed;
        b->max_times_sampled = t->max_times_sampled;
        b->order_streams = t->order_streams;
        b->order_steps = t->order_steps;
        b->order_first_steps = t->order_first_steps;
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
        b->tensor = hwm_wire_put_specs(w, p->tensor, p->n_tensors);
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
    return hwm_wire_finish(w, &m.base, out, err);
}

static hwm_status unpack_append(const hwm_envelope* e, hwm_request* out, hwm_wire* w,
                                hwm_error* err) {
    pb_reader r = pb_reader_of(e->body.data, e->body.size);
    uint32_t field;
    int type;
    out->append.table = "";
    while (pb_next(&r, &field, &type)) {
        if (type == PB_BYTES && field == 1) {
            pb_reader inner = pb_get_bytes(&r);
            size_t n = (size_t)(inner.end - inner.at);
            char* name = n < 64 ? hwm_wire_alloc(w, n + 1) : NULL;
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
        CHECK(hwm_wire_check_name("table", b->name, sizeof t->name, false, err));
        snprintf(t->name, sizeof t->name, "%s", b->name);
        CHECK(hwm_wire_get_signature(b->signature, &t->signature, err));
#define X(field) t->limiter.field = b->field;
        LIMITER_NUMBERS(X)
#undef X
        t->capacity_steps = b->capacity_steps;
        t->capacity_bytes = b->capacity_bytes;
        t->experiment = b->experiment;
        t->seed = b->seed;
        t->max_times_sampled = b->max_times_sampled;
        t->order_streams = b->order_streams;
        t->order_steps = b->order_steps;
        t->order_first_steps = b->order_first_steps;
        out->table_create = t;
        break;
    }
    case HWM_REQUEST_TABLE_CLOSE:
        out->append.table = m->table_close->table;
        break;
    case HWM_REQUEST_SAMPLE: {
        const Hwm__Sample* b = m->sample;
        // numbers that an int cannot hold are refused before they are narrowed
        CHECK(hwm_wire_check_size("batch", b->batch, 1, 65536, err));
        CHECK(hwm_wire_check_size("length", b->length, 1, 65536, err));
        CHECK(hwm_wire_check_size("context", b->context, 0, 4096, err));
        CHECK(hwm_wire_check_size("context_window", b->context_window, 0, INT32_MAX, err));
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
        CHECK(hwm_wire_check_size("variant", m->episode->n_variant, 0, 64, err));
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
        hwm_tensor_spec* spec = hwm_wire_alloc(w, b->n_tensor * sizeof *spec);
        if (spec == NULL) {
            return hwm_fail(err, HWM_EINVAL, "tensors is %zu; 0 to %d are allowed", b->n_tensor,
                            HWM_PARAMS_MAX);
        }
        CHECK(hwm_wire_get_specs(b->tensor, b->n_tensor, spec, HWM_PARAMS_MAX, err));
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
    hwm_wire_begin(w, w->unpacked);
    hwm_envelope e = hwm_wire_scan(bytes, size);
    out->protocol = (uint32_t)e.protocol;
    out->id = e.id;
    out->kind = (hwm_request_kind)e.kind;
    CHECK(hwm_wire_check_envelope(&e, size, err));
    if (e.kind < HWM_REQUEST_HELLO || e.kind >= HWM_REQUEST_KIND_END) {
        return hwm_fail(err, HWM_EUNSUPPORTED, "request kind %u is unknown to protocol %d", e.kind,
                        HWM_PROTOCOL);
    }
    if (out->kind == HWM_REQUEST_APPEND) {
        CHECK(unpack_append(&e, out, w, err));
        return hwm_wire_check_request(out, err);
    }
    if (size > HWM_PLAIN_BYTES_MAX) {
        return hwm_fail(err, HWM_EINVAL, "%s of %zu bytes; at most %d are allowed",
                        hwm_request_name(out->kind), size, HWM_PLAIN_BYTES_MAX);
    }
    ProtobufCAllocator allocator = hwm_wire_allocator(w);
    Hwm__Request* m = hwm__request__unpack(&allocator, size, bytes);
    if (m == NULL || (uint32_t)m->body_case != e.kind) {
        return hwm_fail(err, HWM_EPROTO, "%s of %zu bytes is malformed",
                        hwm_request_name(out->kind), size);
    }
    CHECK(convert_request(w, m, out, err));
    return hwm_wire_check_request(out, err);
}
