// CRC-32C by ISA-L, which picks the fastest code for the CPU at run time.
#include "base/crc.h"

#include <isa-l/crc.h>

uint32_t hwm_crc32c(uint32_t crc, const void* data, size_t bytes) {
    // ISA-L takes an int length, and neither inverts the register before nor after
    enum { PART_BYTES_MAX = 1 << 30 };
    unsigned char* p = (unsigned char*)(uintptr_t)data;
    uint32_t reg = ~crc;
    while (bytes) {
        size_t part = bytes < PART_BYTES_MAX ? bytes : PART_BYTES_MAX;
        reg = crc32_iscsi(p, (int)part, reg);
        p += part;
        bytes -= part;
    }
    return ~reg;
}
