// A cursor over the bytes of a task: one walk over the fields packs or unpacks them, little-endian.
// Private to common/experiment.
#ifndef HWM_EXPERIMENT_CURSOR_H
#define HWM_EXPERIMENT_CURSOR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

// Reading over the end is remembered, not done.
typedef struct hwm_cursor {
    uint8_t* at;
    size_t left;
    bool overrun;
} hwm_cursor;

typedef void hwm_transfer(hwm_cursor* c, void* value, size_t size);

static inline void hwm_cursor_put(hwm_cursor* c, void* value, size_t size) {
    HWM_ASSERT(size <= c->left);
    memcpy(c->at, value, size);
    c->at += size;
    c->left -= size;
}

static inline void hwm_cursor_get(hwm_cursor* c, void* value, size_t size) {
    if (size > c->left) {
        c->overrun = true;
        memset(value, 0, size);
        return;
    }
    memcpy(value, c->at, size);
    c->at += size;
    c->left -= size;
}

#endif
