// data path  [6] store
//
// Deterministic mode: the one order in which chunks are let into a table, whatever their arrival.
//
//   order   round by round; in a round environment 0 first, then 1, ...; of an environment by
//           sequence. Each environment gives `steps` rows a round (`first_steps` in the
//           first one), so the place of the next chunk
//           follows from the number of steps that were let in, also after a restart.
//
// Threads: none of its own; the caller holds a lock.
#ifndef HWM_SERVER_ORDER_H
#define HWM_SERVER_ORDER_H

#include "net/client.h"

typedef struct hwm_order {
    uint32_t streams, steps, first_steps;  // 0: no order
    uint64_t let_in;                       // steps, ever
    struct hwm_order_last {
        uint32_t incarnation;
        uint64_t sequence;
    } * last;  // (streams) newest chunk that was let in
} hwm_order;

typedef enum hwm_order_place {
    HWM_ORDER_NOW,
    HWM_ORDER_LATER,  // others come first
    HWM_ORDER_AGAIN,  // it was let in before
    HWM_ORDER_NEVER,  // no such environment, or more rows than its round has left
} hwm_order_place;

// let_in: steps that the table was given so far. HWM_EINVAL: one of streams and steps is 0, or
// they are beyond what the server can hold; HWM_ENOMEM.
hwm_status hwm_order_init(hwm_order* order, const hwm_table_config* config, uint64_t let_in,
                          hwm_error* err);
void hwm_order_destroy(hwm_order* order);
hwm_order_place hwm_order_of(const hwm_order* order, hwm_stream stream, uint64_t sequence,
                             uint32_t steps);
// The chunk goes in now.
void hwm_order_take(hwm_order* order, hwm_stream stream, uint64_t sequence, uint32_t steps);
// The chunk was refused after all: it may come again. The caller sets let_in back.
void hwm_order_back(hwm_order* order, hwm_stream stream, uint64_t sequence);

#endif
