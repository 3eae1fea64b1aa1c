// data path  [4] wire
//
// Inside the wire codec: the scratch, what several messages share, and the one includer of the
// generated code.
#ifndef HWM_NET_WIRE_CODEC_H
#define HWM_NET_WIRE_CODEC_H

#include "base/arena.h"
#include "hwm.pb-c.h"
#include "net/wire_check.h"

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

#define STR(text) ((char*)((text) == NULL ? "" : (text)))
#define BIN(bytes)                                                                                 \
    { .len = (bytes).size, .data = (uint8_t*)(uintptr_t)(bytes).data }
#define UNBIN(bin) ((hwm_bytes){.data = (bin).data, .size = (bin).len})

#define SAMPLE_COUNTS(X) X(batch) X(length) X(context) X(context_window) X(selector) X(columns)
#define SAMPLE_SHARES(X)                                                                           \
    X(fraction_terminal)                                                                           \
    X(terminal_back_min) X(terminal_back_max) X(fraction_first) X(fraction_recent)
#define SAMPLE_OTHERS(X)                                                                           \
    X(materialise) X(recent_steps) X(priority_exponent) X(uncounted) X(draw) X(cross_episodes)
#define SAMPLE_NUMBERS(X)  SAMPLE_COUNTS(X) SAMPLE_SHARES(X) SAMPLE_OTHERS(X)
#define LIMITER_NUMBERS(X) X(samples_per_insert) X(min_size_steps) X(burst_steps) X(prefetch_steps)

// A generated body on the arena, hung into the envelope's oneof.
#define BODY(envelope, member, Type, init)                                                         \
    Type* b = hwm_wire_alloc(w, sizeof *b);                                                        \
    if (b == NULL) {                                                                               \
        return hwm_fail(err, HWM_ENOMEM, "no memory to pack a message");                           \
    }                                                                                              \
    init(b);                                                                                       \
    (envelope).member = b

// ---- memory: the arena of the message at hand. NULL beyond its limit; the pack or unpack fails
void hwm_wire_begin(hwm_wire* wire, hwm_arena* arena);
void* hwm_wire_alloc(void* wire, size_t bytes);
ProtobufCAllocator hwm_wire_allocator(hwm_wire* wire);

// ---- parts of several messages. put: on the arena, borrows the strings; NULL: no memory
Hwm__TensorSpec** hwm_wire_put_specs(hwm_wire* wire, const hwm_tensor_spec* spec, int n);
hwm_status hwm_wire_get_specs(Hwm__TensorSpec* const* list, size_t n, hwm_tensor_spec* spec,
                              size_t max, hwm_error* err);
Hwm__Signature* hwm_wire_put_signature(hwm_wire* wire, const hwm_signature* signature);
hwm_status hwm_wire_get_signature(const Hwm__Signature* from, hwm_signature* out, hwm_error* err);
Hwm__Announce** hwm_wire_put_announces(hwm_wire* wire, const hwm_announce* row, int n);
hwm_status hwm_wire_get_announces(hwm_wire* wire, Hwm__Announce* const* list, size_t n, int* n_out,
                                  const hwm_announce** out, hwm_error* err);

// The message's bytes, in wire->packed.
hwm_status hwm_wire_finish(hwm_wire* wire, const ProtobufCMessage* message, hwm_bytes* out,
                           hwm_error* err);

// ---- the envelope without its body: which kind it is decides how it is read, and a refusal needs
// the id
typedef struct hwm_envelope {
    uint64_t protocol, id, status;
    uint32_t kind;
    hwm_bytes body;
    bool bad;
} hwm_envelope;
hwm_envelope hwm_wire_scan(const void* bytes, size_t size);
hwm_status hwm_wire_check_envelope(const hwm_envelope* envelope, size_t size, hwm_error* err);

#endif
