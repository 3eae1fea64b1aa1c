// CRC-32C on top of isa-l, which picks the fastest form for the CPU.
#include "record/crc.h"

#include <isa-l/crc.h>

uint32_t hwm_crc32c(uint32_t crc, const void* bytes, size_t size) {
    // isa-l takes the bare register and an int length: undo the final inversion, feed in parts
    unsigned int reg = ~crc;
    const unsigned char* p = bytes;
    while (size > 0) {
        int part = size > (1u << 30) ? (1 << 30) : (int)size;
        reg = crc32_iscsi((unsigned char*)(uintptr_t)p, part, reg);
        p += part;
        size -= (size_t)part;
    }
    return ~reg;
}
