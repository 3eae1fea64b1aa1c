// data path  [4] wire
#include "net/wire_check.h"

#include <math.h>
#include <string.h>

hwm_status hwm_wire_check_name(const char* what, const char* name, size_t max, bool may_be_empty,
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

hwm_status hwm_wire_check_text(const char* what, const char* text, size_t max, hwm_error* err) {
    size_t n = text == NULL ? 0 : strlen(text);
    return n < max ? HWM_OK
                   : hwm_fail(err, HWM_EINVAL, "%s has %zu bytes; at most %zu are allowed", what, n,
                              max - 1);
}

hwm_status hwm_wire_check_size(const char* what, uint64_t size, uint64_t min, uint64_t max,
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

static hwm_status check_sample(const hwm_wire_sample* s, hwm_error* err) {
    const hwm_sample_request* r = &s->request;
    CHECK(hwm_wire_check_name("table", s->table, 64, true, err));
    CHECK(hwm_wire_check_size("batch", (uint64_t)(int64_t)r->batch, 1, 65536, err));
    CHECK(hwm_wire_check_size("length", (uint64_t)(int64_t)r->length, 1, 65536, err));
    CHECK(hwm_wire_check_size("context", (uint64_t)(int64_t)r->context, 0, 4096, err));
    CHECK(hwm_wire_check_size("batch * (length + 2 * context)",
                              (uint64_t)r->batch * ((uint64_t)r->length + 2 * (uint64_t)r->context),
                              1, 4 << 20, err));
    CHECK(hwm_wire_check_size("context_window", (uint64_t)(int64_t)r->context_window, 0, INT32_MAX,
                              err));
    CHECK(hwm_wire_check_size("selector", (uint64_t)r->selector, 0, HWM_SELECT_ONLINE, err));
    CHECK(check_fraction("fraction_terminal", r->fraction_terminal, 1, err));
    CHECK(hwm_wire_check_size("terminal_back_max", (uint64_t)(int64_t)r->terminal_back_max, 0,
                              65536, err));
    CHECK(hwm_wire_check_size("terminal_back_min", (uint64_t)(int64_t)r->terminal_back_min, 0,
                              (uint64_t)r->terminal_back_max, err));
    CHECK(check_fraction("fraction_first", r->fraction_first, 1, err));
    CHECK(check_fraction("fraction_recent", r->fraction_recent, 1, err));
    CHECK(check_fraction("fraction_terminal + fraction_first + fraction_recent",
                         r->fraction_terminal + r->fraction_first + r->fraction_recent, 1 + 1e-9,
                         err));
    CHECK(check_fraction("priority_exponent", r->priority_exponent, 16, err));
    return hwm_wire_check_size("recent_steps", (uint64_t)r->recent_steps, 0, INT64_MAX, err);
}

static hwm_status check_table(const hwm_table_config* t, hwm_error* err) {
    CHECK(hwm_wire_check_name("table", t->name, sizeof t->name, false, err));
    CHECK(hwm_signature_check(&t->signature, err));
    CHECK(check_fraction("samples_per_insert", t->limiter.samples_per_insert, 1e9, err));
    CHECK(hwm_wire_check_size("min_size_steps", (uint64_t)t->limiter.min_size_steps, 0, INT64_MAX,
                              err));
    CHECK(hwm_wire_check_size("burst_steps", (uint64_t)t->limiter.burst_steps, 0, INT64_MAX, err));
    CHECK(hwm_wire_check_size("prefetch_steps", (uint64_t)t->limiter.prefetch_steps, 0, INT64_MAX,
                              err));
    CHECK(hwm_wire_check_size("capacity_steps", (uint64_t)t->capacity_steps, 1, INT64_MAX, err));
    CHECK(hwm_wire_check_size("capacity_bytes", (uint64_t)t->capacity_bytes, 0, INT64_MAX, err));
    return hwm_wire_check_text("experiment", t->experiment, 1 << 20, err);
}

// Values of a set, whole or a part, of publish and of fetch.
static hwm_status check_part(const hwm_wire_publish* p, hwm_error* err) {
    CHECK(hwm_wire_check_name("set", p->set, HWM_SET_NAME_MAX, false, err));
    CHECK(hwm_wire_check_size("version", p->version, 1, INT64_MAX, err));
    CHECK(hwm_wire_check_size("tag", p->tag, HWM_BLOCK_RULE, HWM_BLOCK_ACTING, err));
    CHECK(
        hwm_wire_check_size("size", p->size, 0, HWM_MESSAGE_BYTES_MAX - HWM_PLAIN_BYTES_MAX, err));
    CHECK(hwm_wire_check_size("offset", p->offset, 0, p->size, err));
    CHECK(hwm_wire_check_size("part", p->values.size, 0, HWM_PART_BYTES_MAX, err));
    CHECK(hwm_wire_check_size("offset + part", p->offset + p->values.size, 0, p->size, err));
    CHECK(hwm_wire_check_size("tensors", (uint64_t)(int64_t)p->n_tensors, 0, HWM_PARAMS_MAX, err));
    for (int k = 0; k < p->n_tensors; k++) {
        const hwm_tensor_spec* t = &p->tensor[k];
        if (t->name[0] == '\0' || t->dtype != HWM_F32) {
            return hwm_fail(err, HWM_EINVAL, "tensor %d (%s): named f32 tensors are allowed", k,
                            t->name);
        }
    }
    return HWM_OK;
}

hwm_status hwm_wire_check_request(const hwm_request* r, hwm_error* err) {
    if (r->id == 0) {
        return hwm_fail(err, HWM_EPROTO, "request id is 0; ids start at 1");
    }
    switch (r->kind) {
    case HWM_REQUEST_HELLO:
        if (r->hello.client.size != 0 && r->hello.client.size != HWM_CLIENT_ID_BYTES) {
            return hwm_fail(err, HWM_EINVAL, "client id has %zu bytes, not %d",
                            r->hello.client.size, HWM_CLIENT_ID_BYTES);
        }
        CHECK(hwm_wire_check_size("role", r->hello.role, HWM_ROLE_WORKER, HWM_ROLE_VIEWER, err));
        CHECK(hwm_wire_check_name("table", r->hello.table, 64, true, err));
        CHECK(hwm_wire_check_text("host", r->hello.host, 256, err));
        CHECK(hwm_wire_check_text("version", r->hello.version, 32, err));
        return hwm_wire_check_size("environments", r->hello.environments, 0, 65536, err);
    case HWM_REQUEST_HEARTBEAT:
        return check_fraction("blocked_s", r->heartbeat.blocked_s, 1e12, err);
    case HWM_REQUEST_TABLE_CREATE:
        return check_table(r->table_create, err);
    case HWM_REQUEST_TABLE_CLOSE:
        return hwm_wire_check_name("table", r->append.table, 64, true, err);
    case HWM_REQUEST_APPEND:
        CHECK(hwm_wire_check_name("table", r->append.table, 64, true, err));
        return hwm_wire_check_size("chunk bytes", r->append.chunk.size, 1, HWM_MESSAGE_BYTES_MAX,
                                   err);
    case HWM_REQUEST_SAMPLE:
        return check_sample(&r->sample, err);
    case HWM_REQUEST_PRIORITIES: {
        const hwm_wire_priorities* p = &r->priorities;
        size_t n = p->env.size / 4;
        CHECK(hwm_wire_check_name("table", p->table, 64, true, err));
        CHECK(hwm_wire_check_size("priorities", n, 1, HWM_PRIORITIES_MAX, err));
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
        return hwm_wire_check_size("variant", (uint64_t)(int64_t)r->episode.variant_dim, 0, 64,
                                   err);
    case HWM_REQUEST_PUBLISH:
        return check_part(&r->publish, err);
    case HWM_REQUEST_FETCH:
        CHECK(hwm_wire_check_name("set", r->fetch.set, HWM_SET_NAME_MAX, false, err));
        return hwm_wire_check_size("part_bytes", r->fetch.part_bytes, 0, HWM_PART_BYTES_MAX, err);
    case HWM_REQUEST_LIST_PARAMS:
        return hwm_wire_check_name("set", r->name, HWM_SET_NAME_MAX, true, err);
    case HWM_REQUEST_TASK_SUBMIT:
        CHECK(hwm_wire_check_name("task type", r->submit.type, HWM_TASK_TYPE_MAX, false, err));
        CHECK(hwm_wire_check_size("lease_ms", r->submit.lease_ms, 1, 86400000, err));
        return hwm_wire_check_size("payload", r->submit.payload.size, 0, HWM_TASK_BYTES_MAX, err);
    case HWM_REQUEST_TASK_LEASE:
        return hwm_wire_check_name("task type", r->name, HWM_TASK_TYPE_MAX, true, err);
    case HWM_REQUEST_TASK_COMPLETE:
        return hwm_wire_check_size("result", r->task.result.size, 0, HWM_TASK_BYTES_MAX, err);
    case HWM_REQUEST_BARRIER:
        return hwm_wire_check_size("parties", r->barrier.parties, 1, 4096, err);
    case HWM_REQUEST_SNAPSHOT:
        return hwm_wire_check_name("snapshot", r->name, 64, false, err);
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

hwm_status hwm_wire_check_reply(const hwm_reply* r, hwm_error* err) {
    CHECK(hwm_wire_check_size("status", (uint64_t)r->status, 0, HWM_STATUS_COUNT - 1, err));
    switch (r->kind) {
    case HWM_REPLY_HELLO:
        CHECK(hwm_wire_check_name("table", r->hello.table, 64, true, err));
        CHECK(hwm_wire_check_text("server version", r->hello.server_version, 32, err));
        CHECK(hwm_wire_check_size("heartbeat_ms", r->hello.heartbeat_ms, 1, 600000, err));
        return r->hello.signature == NULL ? HWM_OK : hwm_signature_check(r->hello.signature, err);
    case HWM_REPLY_HEARTBEAT:
    case HWM_REPLY_PARAMS:
        return hwm_wire_check_size("announcements", (uint64_t)r->announces.n, 0, HWM_ANNOUNCE_MAX,
                                   err);
    case HWM_REPLY_FETCH:
        return check_part(&r->fetch, err);
    case HWM_REPLY_TASK:
        CHECK(hwm_wire_check_size("payload", r->task.payload.size, 0, HWM_TASK_BYTES_MAX, err));
        return hwm_wire_check_size("result", r->task.result.size, 0, HWM_TASK_BYTES_MAX, err);
    case HWM_REPLY_TASKS:
        return hwm_wire_check_size("tasks", (uint64_t)r->tasks.n, 0, HWM_TASK_ROWS_MAX, err);
    default:
        return HWM_OK;
    }
}
