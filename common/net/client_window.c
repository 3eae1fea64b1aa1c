// data path  [5] link
//
// The client's append window: encoded chunks in order, sent while the bytes in flight stay below
// the server's credit, kept until they are acknowledged.
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/client_state.h"

int hwm_client_jitter(int ms) {
    uint32_t r;
    return getrandom(&r, sizeof r, 0) == sizeof r ? ms / 2 + (int)(r % (uint32_t)(ms + 1)) : ms;
}

window_slot* hwm_client_window_entry(hwm_client* c, size_t k) {
    return &c->window[(c->window_head + k) % c->window_slots];
}

static bool window_grow(hwm_client* c) {
    size_t slots = c->window_slots == 0 ? 64 : 2 * c->window_slots;
    window_slot* grown = calloc(slots, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (size_t k = 0; k < c->window_n; k++) {
        grown[k] = *hwm_client_window_entry(c, k);
    }
    free(c->window);
    c->window = grown;
    c->window_slots = slots;
    c->window_head = 0;
    return true;
}

// Send what the credit allows, in order.
void hwm_client_window_pump(hwm_client* c) {
    int64_t now = 0;
    while (c->state == CLIENT_UP && c->window_sent < c->window_n) {
        window_slot* e = hwm_client_window_entry(c, c->window_sent);
        if (!e->done && !e->sent) {
            if (c->in_flight > 0 &&
                (c->in_flight_bytes + e->size > c->credit_bytes || c->in_flight == FLIGHT_MAX)) {
                return;
            }
            if (e->not_before_ns != 0) {
                now = now ? now : hwm_clock_ns();
                if (now < e->not_before_ns) {
                    return;
                }
            }
            if (hwm_link_send(c->link, NULL, e->bytes, e->size) != HWM_OK) {
                return;
            }
            e->sent = true;
            c->in_flight_bytes += e->size;
            c->in_flight++;
        }
        c->window_sent++;
    }
}

void hwm_client_on_append(hwm_client* c, const hwm_reply* r) {
    uint64_t sequence = r->id >> 3;
    if (sequence < c->window_base || sequence - c->window_base >= c->window_n) {
        return;  // acknowledged before: the answer to a repeated one
    }
    size_t k = (size_t)(sequence - c->window_base);
    window_slot* e = hwm_client_window_entry(c, k);
    if (e->done) {
        return;
    }
    if (e->sent) {
        c->in_flight_bytes -= e->size;
        c->in_flight--;
        e->sent = false;
    }
    switch (r->status) {
    case HWM_OK:
    case HWM_EDUPLICATE:
        c->acknowledged++;
        break;
    case HWM_EAGAIN:
    case HWM_EFULL:
        // the server has no room now: the chunk stays ours, and what follows it waits too
        if (r->status == HWM_EFULL && !c->told_full) {
            hwm_log(HWM_LOG_WARN, "client", "server is full", "reason=\"%s\"", r->message);
        }
        c->told_full = r->status == HWM_EFULL;
        e->not_before_ns = hwm_clock_ns() + hwm_client_jitter(FULL_AGAIN_MS) * 1000000LL;
        c->window_sent = k < c->window_sent ? k : c->window_sent;
        return;
    default:
        c->refused++;
        hwm_fail(&c->append_error, r->status, "the server refused a chunk: %s", r->message);
        hwm_log(HWM_LOG_ERROR, "client", "chunk refused", "status=%s reason=\"%s\"",
                hwm_status_name(r->status), r->message);
    }
    e->done = true;
    c->told_full = false;
    c->window_bytes -= e->size;
    free(e->bytes);
    e->bytes = NULL;
    while (c->window_n > 0 && hwm_client_window_entry(c, 0)->done) {
        memset(hwm_client_window_entry(c, 0), 0, sizeof(window_slot));
        c->window_head = (c->window_head + 1) % c->window_slots;
        c->window_base++;
        c->window_n--;
        c->window_sent -= c->window_sent > 0;
    }
}

hwm_status hwm_client_append(hwm_client* c, const hwm_signature* signature, const hwm_chunk* chunk,
                             hwm_error* err) {
    if (c->fatal.code != HWM_OK || c->append_error.code != HWM_OK) {
        hwm_error* what = c->fatal.code != HWM_OK ? &c->fatal : &c->append_error;
        hwm_status s = hwm_fail(err, what->code, "%s", what->text);
        c->append_error.code = HWM_OK;
        return s;
    }
    hwm_status s = hwm_chunk_check(signature, chunk, err);
    if (s != HWM_OK) {
        return s;
    }
    if (c->window_bytes >= c->config.backlog_bytes) {
        return hwm_fail(err, HWM_EAGAIN, "%zu bytes wait for acknowledgement, the limit is %zu",
                        c->window_bytes, c->config.backlog_bytes);
    }
    if (c->window_n == c->window_slots && !window_grow(c)) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a chunk");
    }
    hwm_chunk packed;
    if (hwm_signature_packs(signature)) {
        s = c->packer == NULL ? hwm_packer_create(&c->packer, err) : HWM_OK;
        s = s != HWM_OK ? s : hwm_packer_pack(c->packer, signature, chunk, &packed, err);
        if (s != HWM_OK) {
            return s;
        }
        chunk = &packed;
    }
    window_slot e = {0};
    uint64_t id = (c->window_base + c->window_n) << 3 | ID_APPEND;
    e.bytes = hwm_wire_append(id, signature, chunk, &e.size);
    if (e.bytes == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a chunk");
    }
    if (e.size > HWM_MESSAGE_BYTES_MAX) {
        s = hwm_fail(err, HWM_EINVAL, "chunk of %zu bytes; at most %d are allowed", e.size,
                     HWM_MESSAGE_BYTES_MAX);
        free(e.bytes);
        return s;
    }
    *hwm_client_window_entry(c, c->window_n) = e;
    c->window_n++;
    c->window_bytes += e.size;
    hwm_client_window_pump(c);
    return HWM_OK;
}

size_t hwm_client_backlog_bytes(const hwm_client* c) {
    return c->window_bytes;
}
uint64_t hwm_client_acknowledged(const hwm_client* c) {
    return c->acknowledged;
}
