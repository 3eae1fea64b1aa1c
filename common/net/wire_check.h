// data path  [4] wire
//
// What a message may hold: the same check before packing and after unpacking.
#ifndef HWM_NET_WIRE_CHECK_H
#define HWM_NET_WIRE_CHECK_H

#include "net/wire.h"

// Each returns HWM_OK, or another status with the offending value in *err.
hwm_status hwm_wire_check_request(const hwm_request* request, hwm_error* err);
hwm_status hwm_wire_check_reply(const hwm_reply* reply, hwm_error* err);

// name: letters, digits and, inside, - _ . ; less than max bytes. NULL is empty.
hwm_status hwm_wire_check_name(const char* what, const char* name, size_t max, bool may_be_empty,
                               hwm_error* err);
hwm_status hwm_wire_check_text(const char* what, const char* text, size_t max, hwm_error* err);
hwm_status hwm_wire_check_size(const char* what, uint64_t size, uint64_t min, uint64_t max,
                               hwm_error* err);

#define CHECK(call)                                                                                \
    do {                                                                                           \
        hwm_status check_status = (call);                                                          \
        if (check_status != HWM_OK) {                                                              \
            return check_status;                                                                   \
        }                                                                                          \
    } while (0)

#endif
