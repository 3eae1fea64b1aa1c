// libFuzzer: one program per message that is read from a peer. The input is the message's body; the
// envelope around it is right, so that every input reaches the reader of its message.
//
//   FUZZ_REQUEST, FUZZ_REPLY   number in the oneof of hwm.proto; 0 of a reply: without a body
//   FUZZ_CHUNK, FUZZ_BATCH     the bulk of Append and of SampleReply
//
// fuzz.py builds all of them with clang and runs each for a while.
#include <stdlib.h>

#include "net/chunk_codec.h"
#include "net/packed.h"
#include "net/pb.h"
#include "net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#if defined(FUZZ_CHUNK) || defined(FUZZ_BATCH)
static hwm_signature small_signature(void) {
    hwm_signature s = {.n_columns = 6, .n_keys = 1};
    s.column[0] = hwm_spec("flags", HWM_U8, 0);
    s.column[1] = hwm_spec("reward", HWM_F32, 0);
    s.column[2] = hwm_spec("obs", HWM_F32, 1, 2);
    s.column[3] = hwm_spec("action", HWM_F32, 1, 1);
    s.column[4] = hwm_spec("act", HWM_F32, 1, 3);
    s.column[5] = hwm_spec("pixels", HWM_U8, 1, 300);
    s.key[0] = hwm_spec("W0", HWM_F32, 1, 2);
    hwm_signature_compress(&s, HWM_COMPRESS_PIXELS);
    return s;
}
#else
// protocol 1, id 1, the body under its number.
static uint8_t* envelope(uint32_t field, const uint8_t* body, size_t size, size_t* total) {
    uint8_t* message = malloc(size + 32);
    if (message == NULL) {
        abort();
    }
    uint8_t* at = pb_put_number(message, 1, HWM_PROTOCOL);
    at = pb_put_number(at, 2, 1);
    at = field == 0 ? at : pb_put_bytes(at, field, body, size);
    *total = (size_t)(at - message);
    return message;
}

static hwm_wire* wire_of(void) {
    static hwm_wire* wire;
    if (wire == NULL && hwm_wire_create(&wire) != HWM_OK) {
        abort();
    }
    return wire;
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    hwm_error err = {0};
#if defined(FUZZ_REQUEST)
    size_t total;
    uint8_t* message = envelope(FUZZ_REQUEST, data, size, &total);
    hwm_request request;
    hwm_bytes packed;
    hwm_status s = hwm_wire_unpack_request(wire_of(), message, total, &request, &err);
    // what was accepted can be sent again: the check is the same in both directions
    if (s == HWM_OK && FUZZ_REQUEST != HWM_REQUEST_APPEND &&
        hwm_wire_pack_request(wire_of(), &request, &packed, &err) != HWM_OK) {
        abort();
    }
    if (s != HWM_OK && err.text[0] == '\0') {
        abort();  // a refusal says why
    }
    free(message);
#elif defined(FUZZ_REPLY)
    size_t total;
    uint8_t* message = envelope(FUZZ_REPLY, data, size, &total);
    hwm_reply reply;
    hwm_bytes packed;
    hwm_status s = hwm_wire_unpack_reply(wire_of(), message, total, &reply, &err);
    if (s == HWM_OK && FUZZ_REPLY != HWM_REPLY_SAMPLE &&
        hwm_wire_pack_reply(wire_of(), &reply, &packed, &err) != HWM_OK) {
        abort();
    }
    free(message);
#elif defined(FUZZ_CHUNK)
    const hwm_signature signature = small_signature();
    hwm_chunk chunk;
    if (hwm_chunk_decode(&signature, data, size, &chunk, &err) == HWM_OK) {
        size_t bytes = hwm_chunk_encoded_bytes(&signature, &chunk);
        void* copy = malloc(bytes);
        if (copy == NULL || hwm_chunk_encode(&signature, &chunk, copy, bytes) != bytes) {
            abort();
        }
        free(copy);
    }
#else
    static void* block;
    static size_t block_bytes;
    static hwm_packer* packer;
    if (packer == NULL && hwm_packer_create(&packer, NULL) != HWM_OK) {
        abort();
    }
    const hwm_signature signature = small_signature();
    hwm_batch batch;
    hwm_wire_batch_decode(&signature, packer, (hwm_bytes){data, size}, &block, &block_bytes, &batch,
                          &err);
#endif
    return 0;
}
