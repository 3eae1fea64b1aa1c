// Answers on their way out.
#include <stdarg.h>
#include <stdio.h>

#include "server/service.h"

void hwm_rpc_sent(hwm_server* s, const hwm_peer* to, hwm_status status) {
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

void hwm_rpc_reply(hwm_server* s, const hwm_peer* to, const hwm_reply* reply) {
    hwm_bytes bytes;
    hwm_error err;
    hwm_status status = hwm_wire_pack_reply(s->wire, reply, &bytes, &err);
    if (status != HWM_OK) {
        hwm_log(HWM_LOG_ERROR, "service", "reply not packed", "kind=%d reason=\"%s\"",
                (int)reply->kind, err.text);
        return;
    }
    hwm_rpc_sent(s, to, hwm_link_send(s->link, to, bytes.data, bytes.size));
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
