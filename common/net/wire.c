// data path  [4] wire
//
// A message goes plain struct -> check -> generated struct (on the scratch arena) -> bytes, and
// back the same way. The bulk fields of Append and SampleReply are never unpacked: the envelope
// around them is scanned. Requests are in wire_request.c, replies in wire_reply.c.
#include "net/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/pb.h"
#include "net/wire_codec.h"

// A hostile message can ask for some 30 times its size in pointers and structs; beyond this it is
// refused.
enum { ARENA_BYTES = 160 << 20 };

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

void* hwm_wire_alloc(void* context, size_t bytes) {
    hwm_wire* w = context;
    void* p = bytes < ARENA_BYTES ? hwm_arena_alloc(w->arena, bytes > 0 ? bytes : 1) : NULL;
    w->exhausted |= p == NULL;
    return p;
}
static void wire_free(void* context, void* pointer) {
    (void)context;
    (void)pointer;  // the arena is released as a whole
}
ProtobufCAllocator hwm_wire_allocator(hwm_wire* w) {
    ProtobufCAllocator a = {.alloc = hwm_wire_alloc, .free = wire_free, .allocator_data = w};
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

// ---- parts of several messages

Hwm__TensorSpec** hwm_wire_put_specs(hwm_wire* w, const hwm_tensor_spec* spec, int n) {
    Hwm__TensorSpec** list = hwm_wire_alloc(w, (size_t)n * sizeof *list);
    Hwm__TensorSpec* row = hwm_wire_alloc(w, (size_t)n * sizeof *row);
    if (list == NULL || row == NULL) {
        return NULL;
    }
    for (int k = 0; k < n; k++) {
        hwm__tensor_spec__init(&row[k]);
        row[k].name = (char*)(uintptr_t)spec[k].name;
        row[k].dtype = (Hwm__DType)spec[k].dtype;
        row[k].codec = (Hwm__Codec)spec[k].codec;
        row[k].n_shape = (size_t)spec[k].ndim;
        row[k].shape = (uint32_t*)(uintptr_t)spec[k].shape;
        list[k] = &row[k];
    }
    return list;
}

hwm_status hwm_wire_get_specs(Hwm__TensorSpec* const* list, size_t n, hwm_tensor_spec* spec,
                              size_t max, hwm_error* err) {
    CHECK(hwm_wire_check_size("tensors", n, 0, max, err));
    for (size_t k = 0; k < n; k++) {
        CHECK(hwm_wire_check_size("dimensions", list[k]->n_shape, 0, HWM_NDIM_MAX, err));
        CHECK(hwm_wire_check_text("tensor name", list[k]->name, HWM_NAME_MAX, err));
        memset(&spec[k], 0, sizeof spec[k]);
        snprintf(spec[k].name, sizeof spec[k].name, "%s", list[k]->name);
        spec[k].dtype = (hwm_dtype)list[k]->dtype;
        spec[k].codec = (hwm_codec)list[k]->codec;
        spec[k].ndim = (int)list[k]->n_shape;
        for (int d = 0; d < spec[k].ndim; d++) {
            spec[k].shape[d] = list[k]->shape[d];
        }
    }
    return HWM_OK;
}

Hwm__Signature* hwm_wire_put_signature(hwm_wire* w, const hwm_signature* signature) {
    Hwm__Signature* s = hwm_wire_alloc(w, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    hwm__signature__init(s);
    s->n_column = (size_t)signature->n_columns;
    s->column = hwm_wire_put_specs(w, signature->column, signature->n_columns);
    s->n_key = (size_t)signature->n_keys;
    s->key = hwm_wire_put_specs(w, signature->key, signature->n_keys);
    return s;
}

hwm_status hwm_wire_get_signature(const Hwm__Signature* s, hwm_signature* out, hwm_error* err) {
    memset(out, 0, sizeof *out);
    if (s == NULL) {
        return hwm_fail(err, HWM_EINVAL, "the signature is missing");
    }
    CHECK(hwm_wire_get_specs(s->column, s->n_column, out->column, HWM_COLUMNS_MAX, err));
    CHECK(hwm_wire_get_specs(s->key, s->n_key, out->key, HWM_KEYS_MAX, err));
    out->n_columns = (int)s->n_column;
    out->n_keys = (int)s->n_key;
    return hwm_signature_check(out, err);
}

Hwm__Announce** hwm_wire_put_announces(hwm_wire* w, const hwm_announce* row, int n) {
    Hwm__Announce** list = hwm_wire_alloc(w, (size_t)n * sizeof *list);
    Hwm__Announce* a = hwm_wire_alloc(w, (size_t)n * sizeof *a);
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

hwm_status hwm_wire_get_announces(hwm_wire* w, Hwm__Announce* const* list, size_t n, int* n_out,
                                  const hwm_announce** out, hwm_error* err) {
    CHECK(hwm_wire_check_size("announcements", n, 0, HWM_ANNOUNCE_MAX, err));
    hwm_announce* row = hwm_wire_alloc(w, n * sizeof *row);
    if (row == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for %zu announcements", n);
    }
    for (size_t k = 0; k < n; k++) {
        CHECK(hwm_wire_check_name("set", list[k]->set, HWM_SET_NAME_MAX, false, err));
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

hwm_status hwm_wire_finish(hwm_wire* w, const ProtobufCMessage* message, hwm_bytes* out,
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

void hwm_wire_begin(hwm_wire* w, hwm_arena* arena) {
    w->arena = arena;
    hwm_arena_release(arena, 0);
    w->exhausted = false;
}

// ---- the envelope

hwm_envelope hwm_wire_scan(const void* bytes, size_t size) {
    hwm_envelope e;
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

hwm_status hwm_wire_check_envelope(const hwm_envelope* e, size_t size, hwm_error* err) {
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
