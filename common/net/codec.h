// data path  [4] wire
//
// Inside net: the hand-written codecs that chunk, batch and wire share.
#ifndef HWM_NET_CODEC_H
#define HWM_NET_CODEC_H

#include "record/chunk.h"

size_t hwm_param_ref_bytes(const hwm_param_ref* param);
uint8_t* hwm_param_ref_put(uint8_t* at, const hwm_param_ref* param);
bool hwm_param_ref_get(const void* bytes, size_t size, hwm_param_ref* param);  // false: malformed

#endif
