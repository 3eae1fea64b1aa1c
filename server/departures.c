// Clients that leave, fall silent or are forgotten, and their rates.
#include <inttypes.h>

#include "base/log.h"
#include "server/service.h"

enum { RATE_NS = 2000000000, REMEMBERED_S = 300 };

hwm_log_level hwm_session_log_level(const hwm_session* session) {
    return session->role == HWM_ROLE_WORKER || session->role == HWM_ROLE_LEARNER ? HWM_LOG_INFO
                                                                                 : HWM_LOG_DEBUG;
}

void hwm_sessions_end(hwm_server* s, hwm_session* session, const char* why) {
    if (!session->alive) {
        return;
    }
    hwm_log(hwm_session_log_level(session), "service", "client left",
            "client=%" PRIu64 " role=%s host=%s pid=%u address=%s reason=\"%s\" steps=%" PRIu64,
            session->number, hwm_role_name(session->role), session->host, session->pid,
            session->address, why, session->append_steps);
    session->alive = false;
    hwm_ingest_forget(s, session);
    hwm_hub_forget(s->hub, session->number);
    hwm_tasks_owner_gone(s->tasks, session->number);
    if (session->environments > 0 && session->table >= 0) {
        hwm_replay_abandon(s->replay, session->table, session->first_env,
                           (int)session->environments, session->incarnation);
    }
    for (int k = 0; k < s->n_barrier;) {
        if (s->barrier[k].session == session->number) {
            s->barrier[k] = s->barrier[--s->n_barrier];
        } else {
            k++;
        }
    }
}

void hwm_sessions_tick(hwm_server* s, int64_t now) {
    bool rates = now - s->rate_ns >= RATE_NS;
    for (int k = 0; k < s->n_sessions; k++) {
        hwm_session* session = &s->session[k];
        if (!session->used) {
            continue;
        }
        if (session->alive && session->lost_reply) {
            s->counters.deaths++;
            hwm_sessions_end(s, session, "does not read its replies");
        }
        if (session->alive && now - session->heard_ns > s->config.service.dead_ms * 1000000) {
            s->counters.deaths++;
            hwm_sessions_end(s, session, "silent");
        }
        if (!session->alive && hwm_meter_bytes(session->unread) == 0 &&
            (session->append_steps == 0 || now - session->heard_ns > REMEMBERED_S * 1000000000LL)) {
            hwm_sessions_drop(s, session);  // nothing to tell about it
            continue;
        }
        if (rates) {
            session->steps_per_s = (double)(session->append_steps - session->rate_steps) /
                                   ((double)(now - s->rate_ns) * 1e-9);
            session->rate_steps = session->append_steps;
            session->samples_per_s = (double)(session->samples - session->rate_samples) /
                                     ((double)(now - s->rate_ns) * 1e-9);
            session->rate_samples = session->samples;
        }
    }
    if (rates) {
        hwm_replay_rates(s->replay, now);
        s->rate_ns = now;
    }
}
