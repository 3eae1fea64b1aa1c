// Answers on their way out.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/service.h"

enum { BULK_BYTES_MIN = 4096 };  // smaller ones are bounded by their number

static void sent(hwm_server* s, const hwm_peer* to, hwm_status status) {
    if (status == HWM_OK) {
        return;
    }
    s->counters.unroutable += status == HWM_ECLOSED;
    if (status != HWM_ECLOSED) {
        hwm_session* session = hwm_sessions_find(s, to);
        s->counters.dropped_replies++;
        if (session != NULL) {
            session->lost_reply = true;
        }
    }
}

void hwm_rpc_bulk(hwm_server* s, const hwm_peer* to, void** bytes, size_t size) {
    hwm_session* session = hwm_sessions_find(s, to);
    hwm_meter** unread = session != NULL ? &session->unread : &s->unread;
    *unread = *unread != NULL ? *unread : hwm_meter_create();
    size_t waiting = hwm_meter_bytes(*unread);
    if (*unread == NULL ||
        (waiting > 0 && waiting + size > (size_t)s->config.service.reply_bytes)) {
        free(*bytes);
        *bytes = NULL;
        sent(s, to, HWM_EAGAIN);
        return;
    }
    sent(s, to, hwm_link_send_owned(s->link, to, bytes, size, *unread));
}

void hwm_rpc_reply(hwm_server* s, const hwm_peer* to, const hwm_reply* reply) {
    hwm_bytes bytes;
    hwm_error err;
    hwm_status status = hwm_wire_pack_reply(s->wire, reply, &bytes, &err);
    if (status != HWM_OK) {
        hwm_log(HWM_LOG_ERROR, "service", "reply not packed", "kind=%d reason=\"%s\"",
                (int)reply->kind, err.text);
        return;
    }
    void* copy = bytes.size >= BULK_BYTES_MIN ? malloc(bytes.size) : NULL;
    if (copy != NULL) {
        memcpy(copy, bytes.data, bytes.size);
        hwm_rpc_bulk(s, to, &copy, bytes.size);
        return;
    }
    sent(s, to, hwm_link_send(s->link, to, bytes.data, bytes.size));
}

void hwm_rpc_refuse(hwm_server* s, const hwm_peer* to, uint64_t id, hwm_status status,
                    const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    s->counters.refused++;
    s->counters.by_status[status]++;
    hwm_rpc_reply(s, to, &(hwm_reply){.id = id, .status = status, .message = text});
}

void hwm_rpc_accept(hwm_server* s, const hwm_session* session, uint64_t id) {
    hwm_rpc_reply(s, &session->peer, &(hwm_reply){.id = id});
}
