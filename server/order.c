// data path  [6] store
#include "server/order.h"

#include <stdlib.h>

enum { STREAMS_MAX = 1 << 20 };

hwm_status hwm_order_init(hwm_order* order, const hwm_table_config* config, uint64_t let_in,
                          hwm_error* err) {
    const uint32_t streams = config->order_streams, steps = config->order_steps;
    *order = (hwm_order){0};
    if (streams == 0 && steps == 0) {
        return HWM_OK;
    }
    if (streams == 0 || steps == 0 || streams > STREAMS_MAX) {
        return hwm_fail(err, HWM_EINVAL,
                        "order_streams %u and order_steps %u: both 0, or 1 to %d environments with "
                        "at least 1 step a round",
                        streams, steps, STREAMS_MAX);
    }
    order->last = calloc(streams, sizeof *order->last);
    if (order->last == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for the order of %u environments", streams);
    }
    order->streams = streams;
    order->steps = steps;
    order->first_steps = config->order_first_steps > 0 ? config->order_first_steps : steps;
    order->let_in = let_in;
    return HWM_OK;
}

void hwm_order_destroy(hwm_order* order) {
    free(order->last);
    *order = (hwm_order){0};
}

hwm_order_place hwm_order_of(const hwm_order* o, hwm_stream stream, uint64_t sequence,
                             uint32_t steps) {
    if (o->streams == 0) {
        return HWM_ORDER_NOW;
    }
    if (stream.env >= o->streams) {
        return HWM_ORDER_NEVER;
    }
    const struct hwm_order_last* last = &o->last[stream.env];
    if (stream.incarnation == last->incarnation && sequence <= last->sequence) {
        return HWM_ORDER_AGAIN;
    }
    // where the table stands: whose turn, and how many rows of it are there
    uint64_t first = (uint64_t)o->streams * o->first_steps;
    uint32_t round = o->let_in < first ? o->first_steps : o->steps;
    uint64_t at = o->let_in < first ? o->let_in : o->let_in - first;
    if (stream.env != at / round % o->streams) {
        return HWM_ORDER_LATER;
    }
    return steps <= round - at % round ? HWM_ORDER_NOW : HWM_ORDER_NEVER;
}

void hwm_order_take(hwm_order* o, hwm_stream stream, uint64_t sequence, uint32_t steps) {
    if (o->streams > 0) {
        o->last[stream.env] = (struct hwm_order_last){stream.incarnation, sequence};
        o->let_in += steps;
    }
}

void hwm_order_back(hwm_order* o, hwm_stream stream, uint64_t sequence) {
    if (stream.env < o->streams) {
        struct hwm_order_last* last = &o->last[stream.env];
        if (last->incarnation == stream.incarnation && last->sequence >= sequence) {
            last->sequence = sequence - 1;
        }
    }
}
