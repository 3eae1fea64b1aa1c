// data path  [5] link
//
// CURVE keys as text: Z85, 40 characters and NUL.
#ifndef HWM_NET_CURVE_H
#define HWM_NET_CURVE_H

#include <stdbool.h>

#include "base/status.h"

enum { HWM_KEY_TEXT = 41 };

hwm_status hwm_curve_keypair(char public_key[HWM_KEY_TEXT], char secret_key[HWM_KEY_TEXT],
                             hwm_error* err);
bool hwm_curve_key_valid(const char* text);

#endif
