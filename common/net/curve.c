// data path  [5] link
#include "net/curve.h"

#include <string.h>
#include <zmq.h>

hwm_status hwm_curve_keypair(char public_key[HWM_KEY_TEXT], char secret_key[HWM_KEY_TEXT],
                             hwm_error* err) {
    return zmq_curve_keypair(public_key, secret_key) == 0
               ? HWM_OK
               : hwm_fail(err, HWM_EUNSUPPORTED, "this libzmq was built without CURVE: %s",
                          zmq_strerror(zmq_errno()));
}

bool hwm_curve_key_valid(const char* text) {
    uint8_t binary[32];
    return strlen(text) == HWM_KEY_TEXT - 1 && zmq_z85_decode(binary, text) != NULL;
}
