// CRC-32C (Castagnoli), the one checksum of chunks, parameter sets and files. The only user of
// isa-l.
#ifndef HWM_RECORD_CRC_H
#define HWM_RECORD_CRC_H

#include <stddef.h>
#include <stdint.h>

// Checksum of bytes that follow those already in `crc`; start with 0. crc32c(crc32c(0, a), b) is
// the checksum of a then b.
uint32_t hwm_crc32c(uint32_t crc, const void* bytes, size_t size);

#endif
