// data path  [4] wire
//
// A chunk as the protobuf message hwm.Chunk: written in one pass, read where it lies. The bytes are
// what travels inside an Append and what the store keeps, so any protobuf implementation can read a
// table.
#ifndef HWM_NET_CHUNK_CODEC_H
#define HWM_NET_CHUNK_CODEC_H

#include "record/chunk.h"

enum { HWM_CHUNK_STEPS_MAX = 65536 };

// Exact size of the encoded chunk. Columns with a codec must be packed (net/packed.h).
size_t hwm_chunk_encoded_bytes(const hwm_signature* signature, const hwm_chunk* chunk);

// Encode into out. Returns the bytes written, 0 when capacity is too small.
size_t hwm_chunk_encode(const hwm_signature* signature, const hwm_chunk* chunk, void* out,
                        size_t capacity);

// Decode and check: counts and sizes against the signature, flags and numbers against each other.
// Column and key pointers of *chunk are borrowed from `bytes` and may be unaligned: read them with
// memcpy. HWM_EPROTO: malformed bytes; HWM_ESIGNATURE: other columns; HWM_EINVAL: impossible
// values. Each with the offending value.
hwm_status hwm_chunk_decode(const hwm_signature* signature, const void* bytes, size_t size,
                            hwm_chunk* chunk, hwm_error* err);

// The part of hwm_chunk_decode that needs no bytes: what a writer and a reader both hold a chunk
// to.
hwm_status hwm_chunk_check(const hwm_signature* signature, const hwm_chunk* chunk, hwm_error* err);

#endif
