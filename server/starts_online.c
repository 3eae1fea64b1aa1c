// data path  [7] sampler
//
// The online queue: sequences in the order in which they were completed, each handed out once.
#include <string.h>

#include "server/index_internal.h"

void hwm_fresh_append(hwm_index* x, hwm_starts* s, const hwm_run* r, uint32_t old_end) {
    if (s->fresh_head > 1024 && s->fresh_head * 2 > s->n_fresh) {
        s->n_fresh -= s->fresh_head;
        memmove(s->fresh, s->fresh + s->fresh_head, s->n_fresh * sizeof *s->fresh);
        s->fresh_head = 0;
    }
    for (uint32_t k = old_end / s->length; (k + 1) * s->length <= r->end; k++) {
        if (k * s->length >= r->begin) {
            s->fresh = hwm_grow(s->fresh, &s->fresh_capacity, s->n_fresh + 1, sizeof *s->fresh);
            uint64_t id = hwm_index_chunk_of_row(x, r, k * s->length);
            s->fresh[s->n_fresh++] = (hwm_fresh){id, k * s->length - hwm_index_entry(x, id)->row};
        }
    }
}

bool hwm_starts_online(const hwm_starts* starts) {
    return starts->online;
}

void hwm_index_open_online(hwm_index* index, uint32_t length) {
    hwm_index* x = index;
    hwm_index_starts_create(x, length);
    for (int i = 0; i < STARTS_MAX; i++) {
        hwm_starts* s = &x->starts[i];
        if (s->key != length || s->online) {
            continue;
        }
        s->online = true;
        // what came since the start of the process, in the order in which it came; where the queue
        // was kept, also what waited then
        const hwm_online_place* kept = NULL;
        for (int k = 0; k < x->n_kept_online; k++) {
            kept = x->kept_online[k].length == length ? &x->kept_online[k] : kept;
        }
        for (uint64_t id = x->oldest; id < x->next; id++) {
            const hwm_entry* e = hwm_index_entry(x, id);
            if (e->steps > 0 && (kept != NULL || e->inserted_before >= x->loaded)) {
                hwm_run until = x->run[e->segment];
                until.end = e->row + e->steps;
                hwm_fresh_append(x, s, &until, e->row);
            }
            if (kept != NULL && id + 1 == kept->next && s->n_fresh > kept->waiting) {
                s->fresh_head = s->n_fresh - kept->waiting;
            }
        }
    }
}

bool hwm_starts_take_fresh(const hwm_index* index, const hwm_starts* starts, uint64_t* id,
                           uint32_t* row) {
    uint64_t* head = &((hwm_starts*)starts)->fresh_head;  // the one field that readers move
    uint64_t at = __atomic_load_n(head, __ATOMIC_RELAXED);
    while (at < starts->n_fresh) {
        if (!__atomic_compare_exchange_n(head, &at, at + 1, false, __ATOMIC_RELAXED,
                                         __ATOMIC_RELAXED)) {
            continue;
        }
        const hwm_fresh* f = &starts->fresh[at++];
        const hwm_entry* e = hwm_index_entry(index, f->id);
        // evicted, or cut short, before its turn came
        if (f->id >= index->oldest && e->steps > 0 && !hwm_index_spent(index, f->id, f->row) &&
            index->run[e->segment].end - e->row - f->row >= starts->length) {
            *id = f->id;
            *row = f->row;
            return true;
        }
    }
    return false;
}

int hwm_index_online_places(const hwm_index* index, hwm_online_place place[HWM_ONLINE_MAX]) {
    int n = 0;
    for (int i = 0; i < STARTS_MAX; i++) {
        const hwm_starts* s = &index->starts[i];
        if (s->key != 0 && s->online) {
            uint64_t head = __atomic_load_n(&s->fresh_head, __ATOMIC_RELAXED);
            place[n++] = (hwm_online_place){.length = s->key,
                                            .next = index->next,
                                            .waiting = s->n_fresh > head ? s->n_fresh - head : 0};
        }
    }
    // queues of an earlier process that nobody has asked for since
    for (int k = 0; k < index->n_kept_online && n < HWM_ONLINE_MAX; k++) {
        bool open = false;
        for (int i = 0; i < n; i++) {
            open = open || place[i].length == index->kept_online[k].length;
        }
        if (!open) {
            place[n++] = index->kept_online[k];
        }
    }
    return n;
}

void hwm_index_online_resume(hwm_index* index, const void* place, int n) {
    index->n_kept_online = n < HWM_ONLINE_MAX ? n : HWM_ONLINE_MAX;
    memcpy(index->kept_online, place, (size_t)index->n_kept_online * sizeof *index->kept_online);
}
