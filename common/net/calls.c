// data path  [5] link
//
// Requests that ask and wait: tables, samples, parameters, tasks, statistics. One of them waits at
// a time; samples may be many. Every one can be repeated without harm, so all are sent again after
// a reconnect.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/signals.h"
#include "net/client_state.h"

// Longest wait for an answer once a signal has asked to stop; how soon a signal is noticed.
enum { STOP_CALL_MS = 2000, TURN_MS = 200 };

// ---- one call

// Send and wait. take reads the reply's body while it lasts; it may set call.status.
static hwm_status call_and_wait(hwm_client* c, hwm_request* request, hwm_reply_kind want,
                                void (*take)(hwm_client*, const hwm_reply*, void*), void* context,
                                int timeout_ms, hwm_error* err) {
    hwm_bytes bytes;
    request->id = c->next++ << 3 | ID_CALL;
    hwm_status s = hwm_wire_pack_request(c->wire, request, &bytes, err);
    if (s != HWM_OK) {
        return s;
    }
    client_call* call = &c->call;
    if (bytes.size > call->size || call->bytes == NULL) {
        free(call->bytes);
        call->bytes = malloc(bytes.size);
        if (call->bytes == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for a request");
        }
    }
    memcpy(call->bytes, bytes.data, bytes.size);
    call->size = bytes.size;
    call->id = request->id;
    call->take = take;
    call->context = context;
    call->waiting = true;
    call->answered = false;
    if (c->state == CLIENT_UP) {
        hwm_link_send(c->link, NULL, call->bytes, call->size);
    }

    int64_t end = hwm_clock_ns() + (int64_t)timeout_ms * 1000000;
    while (!call->answered && c->fatal.code == HWM_OK) {
        // who is asked to stop does not wait for a server that may be gone
        if (hwm_signals_stop_requested() && end - hwm_clock_ns() > STOP_CALL_MS * 1000000LL) {
            end = hwm_clock_ns() + STOP_CALL_MS * 1000000LL;
        }
        int64_t left = (end - hwm_clock_ns()) / 1000000;
        if (left <= 0) {
            break;
        }
        hwm_client_turn(c, left < TURN_MS ? (int)left : TURN_MS);
    }
    call->waiting = false;
    free(call->bytes);
    call->bytes = NULL;
    if (!call->answered) {
        return c->fatal.code != HWM_OK
                   ? hwm_fail(err, c->fatal.code, "%s", c->fatal.text)
                   : hwm_fail(err, HWM_ETIMEDOUT, "%s: no answer from %s within %d ms%s",
                              hwm_request_name(request->kind), c->config.endpoint, timeout_ms,
                              c->state == CLIENT_UP ? "" : " (not connected)");
    }
    if (call->status != HWM_OK) {
        return hwm_fail(err, call->status, "%s: %s", hwm_request_name(request->kind),
                        call->message[0] ? call->message : hwm_status_text(call->status));
    }
    if (want != HWM_REPLY_NONE && call->kind != want) {
        return hwm_fail(err, HWM_EPROTO, "%s was answered by a message of kind %d",
                        hwm_request_name(request->kind), (int)call->kind);
    }
    return HWM_OK;
}

// ---- tables

hwm_status hwm_client_table_create(hwm_client* c, const hwm_table_config* config, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_TABLE_CREATE, .table_create = config};
    hwm_status s = call_and_wait(c, &r, HWM_REPLY_NONE, NULL, NULL, CALL_TIMEOUT_MS, err);
    if (s == HWM_OK) {
        c->signature = config->signature;
        c->have_signature = true;
        snprintf(c->hello.table, sizeof c->hello.table, "%s", config->name);
    }
    return s;
}

hwm_status hwm_client_table_close(hwm_client* c, const char* table, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_TABLE_CLOSE};
    r.append.table = table;
    return call_and_wait(c, &r, HWM_REPLY_NONE, NULL, NULL, CALL_TIMEOUT_MS, err);
}

// ---- samples

hwm_status hwm_client_sample_wait(hwm_client* c, uint64_t id, int timeout_ms,
                                  const hwm_batch** batch, hwm_error* err) {
    *batch = NULL;
    sample_slot* slot = hwm_client_sample_find(c, id);
    if (slot == NULL) {
        return hwm_fail(err, HWM_EINVAL, "no sample request %llu is in flight",
                        (unsigned long long)id);
    }
    int64_t end = hwm_clock_ns() + (int64_t)timeout_ms * 1000000;
    while (slot->state == SAMPLE_WAITING && c->fatal.code == HWM_OK) {
        int64_t left = (end - hwm_clock_ns() + 999999) / 1000000;
        hwm_client_turn(c, left > 0 ? (int)left : 0);
        if (left <= 0 && slot->state == SAMPLE_WAITING) {
            return hwm_fail(err, HWM_ETIMEDOUT, "no sample within %d ms%s", timeout_ms,
                            c->state == CLIENT_UP ? "" : " (not connected)");
        }
    }
    if (slot->state == SAMPLE_WAITING) {
        return hwm_fail(err, c->fatal.code, "%s", c->fatal.text);
    }
    if (slot->error.code != HWM_OK) {
        return hwm_fail(err, slot->error.code, "%s", slot->error.text);
    }
    *batch = &slot->batch;
    return HWM_OK;
}

hwm_status hwm_client_prioritise(hwm_client* c, int n, const hwm_stream* stream,
                                 const uint64_t* step, const double* priority, hwm_error* err) {
    if (n < 1 || n > HWM_PRIORITIES_MAX) {
        return hwm_fail(err, HWM_EINVAL, "priorities is %d; 1 to %d are allowed", n,
                        HWM_PRIORITIES_MAX);
    }
    const size_t rows = (size_t)n;
    uint32_t* name = malloc(rows * 2 * sizeof *name);
    if (name == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for %d priorities", n);
    }
    for (size_t k = 0; k < rows; k++) {
        name[k] = stream[k].env;
        name[rows + k] = stream[k].incarnation;
    }
    hwm_request r = {.kind = HWM_REQUEST_PRIORITIES};
    r.priorities = (hwm_wire_priorities){.table = c->hello.table,
                                         .env = {name, 4 * rows},
                                         .incarnation = {name + rows, 4 * rows},
                                         .step = {step, 8 * rows},
                                         .priority = {priority, 8 * rows}};
    hwm_status s = call_and_wait(c, &r, HWM_REPLY_NONE, NULL, NULL, CALL_TIMEOUT_MS, err);
    free(name);
    return s;
}

// ---- parameters

hwm_status hwm_client_publish(hwm_client* c, const char* set, uint64_t version, hwm_block_tag tag,
                              const hwm_param_list* list, const float* values, hwm_error* err) {
    hwm_tensor_spec spec[HWM_PARAMS_MAX];
    for (int k = 0; k < list->n; k++) {
        spec[k] = list->entry[k].spec;
    }
    const uint64_t size = list->count * sizeof(float);
    const uint32_t crc = hwm_params_crc(list, values);
    uint64_t offset = 0;
    hwm_status s;
    do {
        uint64_t part = size - offset < HWM_PART_BYTES_MAX ? size - offset : HWM_PART_BYTES_MAX;
        hwm_request r = {.kind = HWM_REQUEST_PUBLISH};
        r.publish = (hwm_wire_publish){.set = set,
                                       .version = version,
                                       .tag = (uint32_t)tag,
                                       .n_tensors = offset == 0 ? list->n : 0,
                                       .tensor = spec,
                                       .size = size,
                                       .offset = offset,
                                       .values = {(const uint8_t*)values + offset, (size_t)part},
                                       .crc = crc};
        s = call_and_wait(c, &r, HWM_REPLY_NONE, NULL, NULL, CALL_TIMEOUT_MS, err);
        offset += part;
        if (s == HWM_ENOTFOUND && offset > part) {
            offset = 0;  // the server restarted in between and lost the first parts
            s = HWM_OK;
        }
    } while (s == HWM_OK && offset < size);
    return s;
}

typedef struct fetch_part {
    const hwm_param_list* list;
    float* values;
    uint64_t offset;  // wanted
    uint64_t version, size, got;
    uint32_t crc;
} fetch_part;

static void take_part(hwm_client* c, const hwm_reply* r, void* context) {
    fetch_part* f = context;
    if (r->kind != HWM_REPLY_FETCH) {
        return;
    }
    const hwm_wire_publish* p = &r->fetch;
    const uint64_t room = f->list->count * sizeof(float);
    hwm_error e = {0};
    if (p->size != room) {
        hwm_fail(&e, HWM_ESIGNATURE, "%s version %llu has %llu bytes, %llu are expected", p->set,
                 (unsigned long long)p->version, (unsigned long long)p->size,
                 (unsigned long long)room);
    } else if (p->offset != f->offset || (p->values.size == 0 && p->size > p->offset)) {
        hwm_fail(&e, HWM_EPROTO, "part at %llu arrived, %llu was asked for",
                 (unsigned long long)p->offset, (unsigned long long)f->offset);
    } else if (p->offset == 0) {
        for (int k = 0; k < f->list->n && e.code == HWM_OK; k++) {
            char a[128], b[128];
            if (k >= p->n_tensors ||
                !hwm_tensor_spec_equal(&p->tensor[k], &f->list->entry[k].spec)) {
                hwm_fail(&e, HWM_ESIGNATURE,
                         "%s version %llu, tensor %d: the hub has %s, %s is expected", p->set,
                         (unsigned long long)p->version, k,
                         k < p->n_tensors ? hwm_tensor_spec_text(&p->tensor[k], a, sizeof a)
                                          : "none",
                         hwm_tensor_spec_text(&f->list->entry[k].spec, b, sizeof b));
            }
        }
    }
    if (e.code != HWM_OK) {
        c->call.status = e.code;
        snprintf(c->call.message, sizeof c->call.message, "%.1023s", e.text);
        return;
    }
    if (p->values.size > 0) {  // a rule of constants publishes no values
        memcpy((uint8_t*)f->values + p->offset, p->values.data, p->values.size);
    }
    f->version = p->version;
    f->size = p->size;
    f->crc = p->crc;
    f->got = p->values.size;
}

hwm_status hwm_client_fetch(hwm_client* c, const char* set, uint64_t version,
                            const hwm_param_list* list, float* values, uint64_t* got,
                            hwm_error* err) {
    fetch_part f = {.list = list, .values = values, .version = version};
    do {
        hwm_request r = {.kind = HWM_REQUEST_FETCH};
        r.fetch = (hwm_wire_fetch){.set = set, .version = f.version, .offset = f.offset};
        hwm_status s = call_and_wait(c, &r, HWM_REPLY_FETCH, take_part, &f, CALL_TIMEOUT_MS, err);
        if (s != HWM_OK) {
            return s;
        }
        f.offset += f.got;
    } while (f.offset < f.size);
    uint32_t crc = hwm_params_crc(list, values);
    if (crc != f.crc) {
        return hwm_fail(err, HWM_ECORRUPT,
                        "%s version %llu: checksum %08x arrived, %08x was published", set,
                        (unsigned long long)f.version, crc, f.crc);
    }
    if (got != NULL) {
        *got = f.version;
    }
    return HWM_OK;
}

// ---- tasks

static void take_task(hwm_client* c, const hwm_reply* r, void* context) {
    hwm_task* task = context;
    if (r->kind != HWM_REPLY_TASK) {
        return;
    }
    memset(task, 0, sizeof *task);
    free(c->task_payload);
    free(c->task_result);
    c->task_payload = malloc(r->task.payload.size + 1);
    c->task_result = malloc(r->task.result.size + 1);
    if (c->task_payload == NULL || c->task_result == NULL) {
        c->call.status = HWM_ENOMEM;
        return;
    }
    if (r->task.payload.size > 0) {
        memcpy(c->task_payload, r->task.payload.data, r->task.payload.size);
    }
    if (r->task.result.size > 0) {
        memcpy(c->task_result, r->task.result.data, r->task.result.size);
    }
    task->id = r->task.task;
    snprintf(task->type, sizeof task->type, "%s", r->task.type);
    task->payload = c->task_payload;
    task->payload_bytes = r->task.payload.size;
    task->result = c->task_result;
    task->result_bytes = r->task.result.size;
}

hwm_status hwm_client_task_submit(hwm_client* c, const char* type, const void* payload,
                                  size_t bytes, int lease_ms, uint64_t* id, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_TASK_SUBMIT};
    uint64_t name;
    memcpy(&name, c->identity, sizeof name);
    r.submit = (hwm_wire_submit){.type = type,
                                 .payload = {payload, bytes},
                                 .lease_ms = (uint32_t)lease_ms,
                                 .nonce = (name ^ c->next << 1) | 1};
    hwm_task task;
    hwm_status s = call_and_wait(c, &r, HWM_REPLY_TASK, take_task, &task, CALL_TIMEOUT_MS, err);
    if (s == HWM_OK && id != NULL) {
        *id = task.id;
    }
    return s;
}

hwm_status hwm_client_task_lease(hwm_client* c, const char* type, hwm_task* task, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_TASK_LEASE, .name = type};
    return call_and_wait(c, &r, HWM_REPLY_TASK, take_task, task, CALL_TIMEOUT_MS, err);
}

hwm_status hwm_client_task_complete(hwm_client* c, uint64_t id, const void* result, size_t bytes,
                                    hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_TASK_COMPLETE};
    r.task.id = id;
    r.task.result = (hwm_bytes){result, bytes};
    hwm_status s = call_and_wait(c, &r, HWM_REPLY_NONE, NULL, NULL, CALL_TIMEOUT_MS, err);
    return s;
}

hwm_status hwm_client_task_result(hwm_client* c, uint64_t id, hwm_task* task, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_TASK_RESULT};
    r.task.id = id;
    return call_and_wait(c, &r, HWM_REPLY_TASK, take_task, task, CALL_TIMEOUT_MS, err);
}

// ---- reports and statistics

void hwm_client_episode(hwm_client* c, uint32_t env, uint32_t episode, double episode_return,
                        uint32_t steps, const float* variant, int variant_dim, uint64_t version) {
    hwm_request r = {.id = c->next++ << 3 | ID_REPORT, .kind = HWM_REQUEST_EPISODE};
    hwm_bytes bytes;
    r.episode = (hwm_wire_episode){.env = env,
                                   .episode = episode,
                                   .episode_return = episode_return,
                                   .steps = steps,
                                   .variant = variant,
                                   .variant_dim = variant_dim,
                                   .param_version = version};
    if (c->state == CLIENT_UP && hwm_wire_pack_request(c->wire, &r, &bytes, NULL) == HWM_OK) {
        hwm_link_send(c->link, NULL, bytes.data, bytes.size);
    }
}

static void take_text(hwm_client* c, const hwm_reply* r, void* context) {
    (void)c;
    if (r->kind == HWM_REPLY_STATS || r->kind == HWM_REPLY_SNAPSHOT) {
        *(char**)context = strdup(r->text);
    }
}

hwm_status hwm_client_stats(hwm_client* c, char** json, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_STATS};
    *json = NULL;
    hwm_status s = call_and_wait(c, &r, HWM_REPLY_STATS, take_text, json, CALL_TIMEOUT_MS, err);
    if (s == HWM_OK && *json == NULL) {
        s = hwm_fail(err, HWM_ENOMEM, "no memory for the statistics");
    }
    return s;
}

hwm_status hwm_client_ping(hwm_client* c, int timeout_ms, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_PING};
    return call_and_wait(c, &r, HWM_REPLY_NONE, NULL, NULL, timeout_ms, err);
}

hwm_status hwm_client_shutdown(hwm_client* c, hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_SHUTDOWN};
    return call_and_wait(c, &r, HWM_REPLY_NONE, NULL, NULL, CALL_TIMEOUT_MS, err);
}

hwm_status hwm_client_snapshot(hwm_client* c, const char* name, char* path, size_t path_bytes,
                               hwm_error* err) {
    hwm_request r = {.kind = HWM_REQUEST_SNAPSHOT, .name = name};
    char* text = NULL;
    hwm_status s =
        call_and_wait(c, &r, HWM_REPLY_SNAPSHOT, take_text, &text, SNAPSHOT_TIMEOUT_MS, err);
    if (s == HWM_OK && path != NULL) {
        snprintf(path, path_bytes, "%s", text != NULL ? text : "");
    }
    free(text);
    return s;
}
