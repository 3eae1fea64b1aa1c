// CRC-32C (Castagnoli), as stored beside every record and sent beside every parameter block.
#ifndef HWM_BASE_CRC_H
#define HWM_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

// crc of the bytes so far (0 to begin with) continued over data: crc32c(crc32c(0, a), b) is the crc
// of a followed by b.
uint32_t hwm_crc32c(uint32_t crc, const void* data, size_t bytes);

#endif
