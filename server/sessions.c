// Who is connected: one slot per client, found by the identity of its connection.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/service.h"

enum { INDEX_SLOTS = 4 * SESSIONS_MAX, RATE_NS = 2000000000, REMEMBERED_S = 300 };

static uint32_t hash(const hwm_peer* peer) {
    uint32_t h = 2166136261u;
    for (int k = 0; k < peer->size; k++) {
        h = (h ^ peer->id[k]) * 16777619u;
    }
    return h;
}

static bool same_peer(const hwm_peer* a, const hwm_peer* b) {
    return a->size == b->size && memcmp(a->id, b->id, a->size) == 0;
}

static void index_add(hwm_server* s, const hwm_session* session) {
    uint32_t k = hash(&session->peer) % INDEX_SLOTS;
    while (s->by_peer[k] != 0) {
        k = (k + 1) % INDEX_SLOTS;
    }
    s->by_peer[k] = (uint16_t)(session - s->session + 1);
}

// Peers change seldom: the index is built again instead of being mended.
static void index_rebuild(hwm_server* s) {
    memset(s->by_peer, 0, INDEX_SLOTS * sizeof *s->by_peer);
    for (int k = 0; k < s->n_sessions; k++) {
        if (s->session[k].used && s->session[k].peer.size > 0) {
            index_add(s, &s->session[k]);
        }
    }
}

hwm_session* hwm_sessions_find(hwm_server* s, const hwm_peer* peer) {
    for (uint32_t k = hash(peer) % INDEX_SLOTS; s->by_peer[k] != 0; k = (k + 1) % INDEX_SLOTS) {
        hwm_session* session = &s->session[s->by_peer[k] - 1];
        if (same_peer(&session->peer, peer)) {
            return session;
        }
    }
    return NULL;
}

hwm_session* hwm_sessions_find_id(hwm_server* s, const uint8_t* id) {
    for (int k = 0; k < s->n_sessions; k++) {
        if (s->session[k].used && s->session[k].has_id &&
            memcmp(s->session[k].id, id, HWM_CLIENT_ID_BYTES) == 0) {
            return &s->session[k];
        }
    }
    return NULL;
}

hwm_session* hwm_sessions_by_number(hwm_server* s, int slot, uint64_t number) {
    hwm_session* session = &s->session[slot];
    return session->used && session->alive && session->number == number ? session : NULL;
}

hwm_session* hwm_sessions_new(hwm_server* s) {
    hwm_session* best = NULL;
    for (int k = 0; k < s->n_sessions; k++) {
        hwm_session* session = &s->session[k];
        if (!session->used) {
            best = session;
            break;
        }
        if (!session->alive && s->n_sessions == SESSIONS_MAX &&
            (best == NULL || session->heard_ns < best->heard_ns)) {
            best = session;
        }
    }
    if (best == NULL && s->n_sessions < SESSIONS_MAX) {
        best = &s->session[s->n_sessions++];
    }
    if (best == NULL) {
        return NULL;
    }
    bool indexed = best->used;
    memset(best, 0, sizeof *best);
    if (indexed) {
        index_rebuild(s);
    }
    best->used = best->alive = true;
    best->number = ++s->next_session;
    best->table = -1;
    best->first_seen_ns = best->heard_ns = hwm_clock_ns();
    return best;
}

void hwm_sessions_set_peer(hwm_server* s, hwm_session* session, const hwm_peer* peer) {
    if (!same_peer(&session->peer, peer)) {
        session->peer = *peer;
        index_rebuild(s);
    }
}

void hwm_sessions_drop(hwm_server* s, hwm_session* session) {
    memset(session, 0, sizeof *session);
    while (s->n_sessions > 0 && !s->session[s->n_sessions - 1].used) {
        s->n_sessions--;
    }
    index_rebuild(s);
}

uint32_t hwm_sessions_free_rank(const hwm_server* s, hwm_role role, int table) {
    for (uint32_t rank = 0;; rank++) {
        bool taken = false;
        for (int k = 0; k < s->n_sessions && !taken; k++) {
            const hwm_session* other = &s->session[k];
            taken = other->used && other->alive && other->role == role && other->table == table &&
                    other->rank == rank;
        }
        if (!taken) {
            return rank;
        }
    }
}

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
        if (session->alive && now - session->heard_ns > s->config.service.dead_ms * 1000000) {
            s->counters.deaths++;
            hwm_sessions_end(s, session, "silent");
        }
        if (!session->alive &&
            (session->append_steps == 0 || now - session->heard_ns > REMEMBERED_S * 1000000000LL)) {
            hwm_sessions_drop(s, session);  // nothing to tell about it
            continue;
        }
        if (rates) {
            session->steps_per_s = (double)(session->append_steps - session->rate_steps) /
                                   ((double)(now - s->rate_ns) * 1e-9);
            session->rate_steps = session->append_steps;
        }
    }
    if (rates) {
        s->rate_ns = now;
    }
}
