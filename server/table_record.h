// The configuration of a table as it lies on disk: little-endian, versioned, with its own checksum.
#ifndef HWM_SERVER_TABLE_RECORD_H
#define HWM_SERVER_TABLE_RECORD_H

#include "net/client.h"

// limiter_offset: what the limiter's arithmetic carries over from earlier ratios (limiter.h).
size_t hwm_table_record_bytes(const hwm_table_config* config);
void hwm_table_record_write(const hwm_table_config* config, double limiter_offset, void* out);
// *experiment: malloc'd text that config->experiment points to; caller owns, free with free().
// HWM_ECORRUPT, HWM_EVERSION or HWM_ENOMEM with a sentence.
hwm_status hwm_table_record_read(const void* bytes, size_t size, hwm_table_config* config,
                                 double* limiter_offset, char** experiment, hwm_error* err);

#endif
