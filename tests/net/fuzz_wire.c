// libFuzzer targets of everything that is read from a peer: the first byte chooses the reader, the
// rest is the message.
//
//   cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DHWM_TESTS=ON -DHWM_FUZZ=ON
//   -DHWM_SANITIZE=address,undefined ninja -C build-fuzz fuzz_wire && build-fuzz/tests/fuzz_wire
//   -max_len=4096 -max_total_time=60 CORPUS
#include <stdlib.h>

#include "net/chunk_codec.h"
#include "net/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

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

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static hwm_wire* wire;
    static void* block;
    static size_t block_bytes;
    static hwm_packer* packer;
    if (wire == NULL &&
        (hwm_wire_create(&wire) != HWM_OK || hwm_packer_create(&packer, NULL) != HWM_OK)) {
        abort();
    }
    if (size == 0) {
        return 0;
    }
    const hwm_signature signature = small_signature();
    hwm_error err;
    hwm_bytes packed;
    hwm_request request;
    hwm_reply reply;
    hwm_chunk chunk;
    hwm_batch batch;
    switch (data[0] % 4) {
    case 0:
        // what was accepted can be sent again: the check is the same in both directions
        if (hwm_wire_unpack_request(wire, data + 1, size - 1, &request, &err) == HWM_OK &&
            request.kind != HWM_REQUEST_APPEND &&
            hwm_wire_pack_request(wire, &request, &packed, &err) != HWM_OK) {
            abort();
        }
        break;
    case 1:
        hwm_wire_unpack_reply(wire, data + 1, size - 1, &reply, &err);
        break;
    case 2:
        if (hwm_chunk_decode(&signature, data + 1, size - 1, &chunk, &err) == HWM_OK) {
            size_t bytes = hwm_chunk_encoded_bytes(&signature, &chunk);
            void* copy = malloc(bytes);
            if (copy == NULL || hwm_chunk_encode(&signature, &chunk, copy, bytes) != bytes) {
                abort();
            }
            free(copy);
        }
        break;
    default:
        hwm_wire_batch_decode(&signature, packer, (hwm_bytes){data + 1, size - 1}, &block,
                              &block_bytes, &batch, &err);
    }
    return 0;
}
