// Who is connected: one slot per client, found by the identity of its connection.
#include <string.h>

#include "base/clock.h"
#include "server/service.h"

enum { INDEX_SLOTS = 4 * SESSIONS_MAX };

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
    hwm_meter_release(&best->unread);
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
    hwm_meter_release(&session->unread);
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
