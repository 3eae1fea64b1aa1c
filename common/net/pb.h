// data path  [4] wire
//
// The protobuf wire format, as far as the bulk messages need it: they are read where they lie and
// written in one pass, which generated code cannot do (it copies every field). Everything else goes
// through the generated code.
//
// Reader: `at` runs to `end`; a malformed byte sets `bad` and every later read returns 0. Nothing
// is ever read beyond `end`.
#ifndef HWM_NET_PB_H
#define HWM_NET_PB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "columns are little-endian on the wire and are used in place"
#endif

enum { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

typedef struct pb_reader {
    const uint8_t* at;
    const uint8_t* end;
    bool bad;
} pb_reader;

static inline pb_reader pb_reader_of(const void* bytes, size_t size) {
    pb_reader r = {.at = bytes,
                   .end = bytes ? (const uint8_t*)bytes + size : NULL,
                   .bad = bytes == NULL && size > 0};
    return r;
}

static inline uint64_t pb_get_varint(pb_reader* r) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    r->bad = true;
    return 0;
}

// Next field: its number and wire type. False at the end or when malformed.
static inline bool pb_next(pb_reader* r, uint32_t* field, int* type) {
    if (r->bad || r->at >= r->end) {
        return false;
    }
    uint64_t tag = pb_get_varint(r);
    *field = (uint32_t)(tag >> 3);
    *type = (int)(tag & 7);
    if (tag >> 3 == 0 || tag >> 32 != 0) {
        r->bad = true;
    }
    return !r->bad;
}

// A length-delimited field: a reader over its bytes, in place.
static inline pb_reader pb_get_bytes(pb_reader* r) {
    uint64_t size = pb_get_varint(r);
    pb_reader inner = {.at = r->at, .end = r->at, .bad = false};
    if (r->bad || size > (uint64_t)(r->end - r->at)) {
        r->bad = true;
        return inner;
    }
    inner.end = r->at + size;
    r->at += size;
    return inner;
}

static inline uint64_t pb_get_fixed(pb_reader* r, size_t bytes) {
    uint64_t value = 0;
    if ((size_t)(r->end - r->at) < bytes) {
        r->bad = true;
        return 0;
    }
    memcpy(&value, r->at, bytes);
    r->at += bytes;
    return value;
}

// A field that this version does not know.
static inline void pb_skip(pb_reader* r, int type) {
    switch (type) {
    case PB_VARINT:
        pb_get_varint(r);
        break;
    case PB_FIXED64:
        pb_get_fixed(r, 8);
        break;
    case PB_BYTES:
        pb_get_bytes(r);
        break;
    case PB_FIXED32:
        pb_get_fixed(r, 4);
        break;
    default:
        r->bad = true;
    }
}

// ---- sizes and writing: the caller has reserved the room

static inline size_t pb_varint_bytes(uint64_t value) {
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}
static inline size_t pb_tag_bytes(uint32_t field) {
    return field < 16 ? 1 : 2;
}
// Proto3: a zero number is left out.
static inline size_t pb_number_bytes(uint32_t field, uint64_t value) {
    return value == 0 ? 0 : pb_tag_bytes(field) + pb_varint_bytes(value);
}
static inline size_t pb_field_bytes(uint32_t field, size_t size) {
    return pb_tag_bytes(field) + pb_varint_bytes(size) + size;
}
static inline uint64_t pb_zigzag(int32_t value) {
    return ((uint32_t)value << 1) ^ (value < 0 ? UINT32_MAX : 0);
}
static inline int32_t pb_unzigzag(uint64_t value) {
    return (int32_t)((uint32_t)value >> 1) ^ -(int32_t)(value & 1);
}

static inline uint8_t* pb_put_varint(uint8_t* at, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        *at++ = (uint8_t)(value | 0x80);
    }
    *at++ = (uint8_t)value;
    return at;
}
static inline uint8_t* pb_put_tag(uint8_t* at, uint32_t field, int type) {
    return pb_put_varint(at, (uint64_t)field << 3 | (uint64_t)type);
}
static inline uint8_t* pb_put_number(uint8_t* at, uint32_t field, uint64_t value) {
    return value == 0 ? at : pb_put_varint(pb_put_tag(at, field, PB_VARINT), value);
}
// Tag and length only: the caller writes the bytes.
static inline uint8_t* pb_put_head(uint8_t* at, uint32_t field, size_t size) {
    return pb_put_varint(pb_put_tag(at, field, PB_BYTES), size);
}
static inline uint8_t* pb_put_bytes(uint8_t* at, uint32_t field, const void* bytes, size_t size) {
    at = pb_put_head(at, field, size);
    if (size > 0) {
        memcpy(at, bytes, size);
    }
    return at + size;
}

#endif
