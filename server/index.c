// data path  [7] sampler
#include <stdlib.h>
#include <string.h>

#include "server/index_internal.h"

enum { FIRST_CAPACITY = 1024 };

// Room for n elements, at least doubling. Running out of memory here is fatal: the index cannot be
// less than the store.
void* hwm_grow(void* p, size_t* capacity, size_t n, size_t element) {
    if (n <= *capacity) {
        return p;
    }
    size_t want = *capacity * 2 > n ? *capacity * 2 : n;
    want = want < 16 ? 16 : want;
    void* q = realloc(p, want * element);
    HWM_ASSERT(q != NULL);
    *capacity = want;
    return q;
}

// ---- create, lock

hwm_status hwm_index_create(hwm_index** out, int n_offsets, hwm_error* err) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for an index");
    }
    hwm_index* x = *out;
    // a steady flow of samples must not keep the writer out
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&x->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    x->n_offsets = n_offsets;
    x->oldest = x->next = 1;
    return HWM_OK;
}

void hwm_index_destroy(hwm_index** index) {
    hwm_index* x = *index;
    if (x == NULL) {
        return;
    }
    for (int i = 0; i < STARTS_MAX; i++) {
        hwm_starts_free(&x->starts[i]);
    }
    hwm_priorities_free(x);
    hwm_draws_free(x);
    for (size_t i = 0; i < x->n_streams; i++) {
        free(x->stream[i].id);
    }
    for (size_t i = 0; i < x->n_runs; i++) {
        free(x->run[i].id);
    }
    free(x->entry);
    free(x->offset);
    free(x->run);
    free(x->free_run);
    free(x->stream);
    hwm_map_free(&x->stream_map);
    free(x->param);
    free(x->free_param);
    hwm_map_free(&x->param_map);
    pthread_rwlock_destroy(&x->lock);
    free(x);
    *index = NULL;
}

void hwm_index_lock(hwm_index* index, bool write) {
    int rc = write ? pthread_rwlock_wrlock(&index->lock) : pthread_rwlock_rdlock(&index->lock);
    HWM_ASSERT(rc == 0);
}

void hwm_index_unlock(hwm_index* index) {
    pthread_rwlock_unlock(&index->lock);
}

// ---- streams and segments

static uint64_t stream_key(hwm_stream s) {
    return (uint64_t)s.env << 32 | s.incarnation;
}

static hwm_stream_info* stream_find(const hwm_index* x, hwm_stream stream) {
    uint32_t i = hwm_map_get(&x->stream_map, stream_key(stream));
    return i == UINT32_MAX ? NULL : &x->stream[i];
}

static hwm_stream_info* stream_make(hwm_index* x, hwm_stream stream) {
    hwm_stream_info* s = stream_find(x, stream);
    if (s == NULL) {
        x->stream = hwm_grow(x->stream, &x->streams_capacity, x->n_streams + 1, sizeof *x->stream);
        hwm_map_put(&x->stream_map, stream_key(stream), (uint32_t)x->n_streams);
        s = &x->stream[x->n_streams++];
        *s = (hwm_stream_info){.stream = stream, .segment = HWM_NONE};
    }
    return s;
}

static uint32_t run_make(hwm_index* x) {
    uint32_t i;
    if (x->n_free_runs > 0) {
        i = x->free_run[--x->n_free_runs];
    } else {
        size_t both = x->runs_capacity;
        x->run = hwm_grow(x->run, &both, x->n_runs + 1, sizeof *x->run);
        x->free_run = hwm_grow(x->free_run, &x->runs_capacity, x->n_runs + 1, sizeof *x->free_run);
        i = (uint32_t)x->n_runs++;
        x->run[i] = (hwm_run){0};
    }
    hwm_run* r = &x->run[i];  // keeps its list of ids
    *r = (hwm_run){
        .id = r->id, .capacity = r->capacity, .before = HWM_NO_SEGMENT, .after = HWM_NO_SEGMENT};
    x->live_runs++;
    return i;
}

// The segment does not begin, or not end, with a whole episode's edge any more: nothing crosses it.
static void unlink_before(hwm_index* x, hwm_run* r) {
    if (r->before != HWM_NO_SEGMENT) {
        x->run[r->before].after = HWM_NO_SEGMENT;
        r->before = HWM_NO_SEGMENT;
    }
}

static void unlink_after(hwm_index* x, hwm_run* r) {
    if (r->after != HWM_NO_SEGMENT) {
        x->run[r->after].before = HWM_NO_SEGMENT;
        r->after = HWM_NO_SEGMENT;
    }
}

// The stream's new segment follows the one before it without a gap, where that ended an episode.
static void link_run(hwm_index* x, uint32_t before, uint32_t made) {
    hwm_run *p = &x->run[before], *r = &x->run[made];
    if (p->last && r->first && p->first_step + p->end == r->first_step) {
        p->after = made;
        r->before = before;
    }
}

// ---- append, evict

// Twice the ring: every chunk moves to its new slot, and the trees are built anew.
static void ring_grow(hwm_index* x) {
    size_t old = x->capacity, capacity = old > 0 ? old * 2 : FIRST_CAPACITY;
    hwm_entry* entry = malloc(capacity * sizeof *entry);
    uint32_t* offset = malloc(capacity * (size_t)(x->n_offsets + 1) * sizeof *offset);
    HWM_ASSERT(entry != NULL && offset != NULL);
    float** priority = x->priority != NULL ? calloc(capacity, sizeof *priority) : NULL;
    float* initial = x->priority != NULL ? calloc(capacity, sizeof *initial) : NULL;
    HWM_ASSERT(x->priority == NULL || (priority != NULL && initial != NULL));
    uint16_t** drawn = x->drawn != NULL ? calloc(capacity, sizeof *drawn) : NULL;
    HWM_ASSERT(x->drawn == NULL || drawn != NULL);
    size_t row = (size_t)x->n_offsets;
    for (uint64_t id = x->oldest; id < x->next; id++) {
        size_t from = id & (old - 1), to = id & (capacity - 1);
        entry[to] = x->entry[from];
        memcpy(offset + to * row, x->offset + from * row, row * sizeof *offset);
        if (priority != NULL) {
            priority[to] = x->priority[from];
            initial[to] = x->initial[from];
        }
        if (drawn != NULL) {
            drawn[to] = x->drawn[from];
        }
    }
    free(x->priority);
    free(x->initial);
    x->priority = priority;
    x->initial = initial;
    free(x->drawn);
    x->drawn = drawn;
    free(x->entry);
    free(x->offset);
    x->entry = entry;
    x->offset = offset;
    x->capacity = capacity;
    hwm_starts_rebuild(x);
}

static void ring_room(hwm_index* x) {
    if (x->next - x->oldest == x->capacity) {
        ring_grow(x);
    }
}

static bool continues(const hwm_index* x, const hwm_stream_info* s, const hwm_chunk_meta* m) {
    if (s->segment == HWM_NONE || (m->edge & HWM_FLAG_FIRST) ||
        m->sequence != s->last_sequence + 1) {
        return false;
    }
    const hwm_run* r = &x->run[s->segment];
    return !r->closed && !r->last && r->episode == m->episode &&
           r->first_step + r->end == m->first_step;
}

void hwm_index_append(hwm_index* index, uint64_t id, const hwm_chunk_meta* meta,
                      const uint8_t* value, bool verified) {
    hwm_index* x = index;
    if (x->oldest == x->next) {
        x->oldest = x->next = id;
    }
    HWM_ASSERT(id >= x->next);
    while (x->next < id) {  // removed by a repair: an entry without rows keeps the ids dense
        ring_room(x);
        x->entry[hwm_slot_of(x, x->next++)] =
            (hwm_entry){.inserted_before = x->inserted, .verified = 1};
    }
    ring_room(x);
    hwm_stream_info* s = stream_make(x, (hwm_stream){meta->env, meta->incarnation});
    if (!continues(x, s, meta)) {
        bool resumed = s->segment != HWM_NONE && x->run[s->segment].episode == meta->episode;
        if (s->segment != HWM_NONE) {
            x->run[s->segment].closed = true;
        }
        int64_t before = s->segment;
        uint32_t made = run_make(x);
        s->segment = made;
        hwm_run* r = &x->run[made];
        r->stream = s->stream;
        r->episode = meta->episode;
        r->first_step = meta->first_step;
        r->first = (meta->edge & HWM_FLAG_FIRST) != 0;
        r->resumed = resumed;
        x->resumed_runs += resumed;
        if (before != HWM_NONE) {
            link_run(x, (uint32_t)before, made);
        }
    }
    uint32_t segment = (uint32_t)s->segment;
    hwm_run* r = &x->run[segment];
    uint32_t old_end = r->end;
    size_t capacity = r->capacity;
    r->id = hwm_grow(r->id, &capacity, r->n + 1u, sizeof *r->id);
    r->capacity = (uint32_t)capacity;
    r->id[r->n++] = id;
    r->end += meta->steps;
    r->last = (meta->edge & HWM_FLAG_LAST) != 0;
    r->terminal = (meta->edge & HWM_FLAG_TERMINAL) != 0;
    r->closed = r->last || (meta->state & HWM_META_CLOSED);

    hwm_param_ref ref = {.version = meta->param_version,
                         .perturbation_seed = meta->perturbation_seed,
                         .sign = meta->sign,
                         .sigma = meta->sigma};
    memcpy(ref.set, meta->set, sizeof ref.set);
    size_t slot = hwm_slot_of(x, id);
    x->entry[slot] = (hwm_entry){
        .value = value,
        .inserted_before = meta->inserted_before,
        .segment = segment,
        .row = old_end,
        .position = r->base + r->n - 1,
        .steps = meta->steps,
        .param = hwm_param_take(x, &ref),
        .value_bytes = meta->value_bytes,
        .value_crc = meta->value_crc,
        .verified = verified,
    };
    memcpy(x->offset + slot * (size_t)x->n_offsets, meta->offset,
           (size_t)x->n_offsets * sizeof *x->offset);
    x->next++;
    s->last_sequence = meta->sequence;
    s->last_chunk = id;
    s->chunks++;
    capacity = s->capacity;
    s->id = hwm_grow(s->id, &capacity, s->n + 1u, sizeof *s->id);
    s->capacity = (uint32_t)capacity;
    s->id[s->n++] = id;
    if (x->priority != NULL) {
        x->initial[slot] = x->highest;
    }
    x->steps += meta->steps;
    x->bytes += hwm_store_class_bytes(meta->value_bytes);
    x->inserted = meta->inserted_before + meta->steps;
    hwm_starts_appended(x, r, old_end);
}

void hwm_index_evict(hwm_index* index) {
    hwm_index* x = index;
    HWM_ASSERT(x->oldest < x->next);
    const hwm_entry* e = hwm_index_entry(x, x->oldest);
    if (e->steps == 0) {
        x->oldest++;
        return;
    }
    hwm_run* r = &x->run[e->segment];
    hwm_starts_evicting(x);
    hwm_param_drop(x, e->param);
    hwm_stream_info* s = stream_find(x, r->stream);
    s->chunks--;
    s->head++;
    if (s->head >= 64 && s->head * 2 >= s->n) {
        memmove(s->id, s->id + s->head, (s->n - s->head) * sizeof *s->id);
        s->n -= s->head;
        s->head = 0;
    }
    x->steps -= e->steps;
    x->bytes -= hwm_store_class_bytes(e->value_bytes);
    r->begin = e->row + e->steps;
    unlink_before(x, r);
    r->head++;
    if (r->head == r->n) {
        unlink_after(x, r);
        if (s->segment == (int64_t)e->segment) {
            s->segment = HWM_NONE;
        }
        // a run of ordinary length keeps its list for the next one; a very long one gives it back
        if (r->capacity > 4096) {
            free(r->id);
            r->id = NULL;
            r->capacity = 0;
        }
        x->free_run[x->n_free_runs++] = e->segment;
        x->live_runs--;
        x->resumed_runs -= r->resumed;
    } else if (r->head >= 64 && r->head * 2 >= r->n) {
        memmove(r->id, r->id + r->head, (r->n - r->head) * sizeof *r->id);
        r->n -= r->head;
        r->base += r->head;
        r->head = 0;
    }
    x->oldest++;
}

void hwm_index_drop(hwm_index* index, uint64_t id) {
    hwm_index* x = index;
    if (id < x->oldest || id >= x->next || hwm_index_entry(x, id)->steps == 0) {
        return;
    }
    hwm_entry* e = &x->entry[hwm_slot_of(x, id)];
    uint32_t old = e->segment;
    hwm_stream_info* s = stream_find(x, x->run[old].stream);
    uint32_t at = e->position - x->run[old].base, tail = x->run[old].n - at - 1;
    if (at > x->run[old].head && tail > 0) {
        // what comes behind the hole becomes a segment of its own; rows keep their numbers
        uint32_t made = run_make(x);
        hwm_run *r = &x->run[old], *m = &x->run[made];
        uint64_t* list = m->id;
        size_t capacity = m->capacity;
        list = hwm_grow(list, &capacity, tail, sizeof *list);
        memcpy(list, r->id + at + 1, tail * sizeof *list);
        *m = (hwm_run){.stream = r->stream,
                       .first_step = r->first_step,
                       .episode = r->episode,
                       .begin = e->row + e->steps,
                       .end = r->end,
                       .last = r->last,
                       .terminal = r->terminal,
                       .closed = r->closed,
                       .resumed = true,
                       .before = HWM_NO_SEGMENT,
                       .after = r->after,
                       .id = list,
                       .n = tail,
                       .capacity = (uint32_t)capacity,
                       .base = e->position + 1};
        if (r->after != HWM_NO_SEGMENT) {
            x->run[r->after].before = made;
            r->after = HWM_NO_SEGMENT;
        }
        x->resumed_runs++;
        for (uint32_t i = 0; i < tail; i++) {
            x->entry[hwm_slot_of(x, list[i])].segment = made;
        }
        if (s->segment == (int64_t)old) {
            s->segment = made;
        }
    }
    hwm_run* r = &x->run[old];
    if (at == r->head) {  // the oldest of its segment: as if it had been evicted
        r->head++;
        r->begin = e->row + e->steps;
        unlink_before(x, r);
    } else {
        r->n = at;
        r->end = e->row;
        unlink_after(x, r);
        r->last = r->terminal = false;
        r->closed = true;
    }
    if (r->head == r->n) {
        unlink_after(x, r);
        if (s->segment == (int64_t)old) {
            s->segment = HWM_NONE;
        }
        x->free_run[x->n_free_runs++] = old;
        x->live_runs--;
        x->resumed_runs -= r->resumed;
    }
    for (uint32_t i = s->head; i < s->n; i++) {
        if (s->id[i] == id) {
            memmove(s->id + i, s->id + i + 1, (s->n - i - 1) * sizeof *s->id);
            s->n--;
            break;
        }
    }
    s->chunks--;
    x->steps -= e->steps;
    x->bytes -= hwm_store_class_bytes(e->value_bytes);
    hwm_param_drop(x, e->param);
    *e = (hwm_entry){.inserted_before = e->inserted_before, .verified = 1};
    if (x->priority != NULL) {
        free(x->priority[hwm_slot_of(x, id)]);
        x->priority[hwm_slot_of(x, id)] = NULL;
    }
    if (x->drawn != NULL) {
        free(x->drawn[hwm_slot_of(x, id)]);
        x->drawn[hwm_slot_of(x, id)] = NULL;
    }
    hwm_starts_rebuild(x);
}

void hwm_index_loaded(hwm_index* index) {
    index->loaded = index->inserted;
}

void hwm_index_close_stream(hwm_index* index, hwm_stream stream) {
    hwm_stream_info* s = stream_find(index, stream);
    if (s != NULL && s->segment != HWM_NONE) {
        index->run[s->segment].closed = true;
    }
}

hwm_stream_info* hwm_index_stream_plan(hwm_index* index, hwm_stream stream) {
    return stream_make(index, stream);
}

void hwm_index_stream_set(hwm_index* index, hwm_stream stream, const hwm_stream_record* record) {
    hwm_stream_info* s = stream_make(index, stream);
    if (record->last_sequence > s->last_sequence) {
        s->last_sequence = record->last_sequence;
        s->last_chunk = record->last_chunk;
    }
}

void hwm_index_stream_forget(hwm_index* index, hwm_stream stream) {
    hwm_stream_info* s = stream_find(index, stream);
    if (s == NULL) {
        return;
    }
    HWM_ASSERT(s->chunks == 0);
    hwm_map_delete(&index->stream_map, stream_key(stream));
    free(s->id);
    // the last one takes the free place
    hwm_stream_info* moved = &index->stream[--index->n_streams];
    if (moved != s) {
        hwm_map_delete(&index->stream_map, stream_key(moved->stream));
        *s = *moved;
        hwm_map_put(&index->stream_map, stream_key(s->stream), (uint32_t)(s - index->stream));
    }
}

// ---- readers

const hwm_stream_info* hwm_index_stream(const hwm_index* index, hwm_stream stream) {
    return stream_find(index, stream);
}

void hwm_index_each_stream(const hwm_index* index, void (*visit)(void*, const hwm_stream_info*),
                           void* context) {
    for (size_t i = 0; i < index->n_streams; i++) {
        visit(context, &index->stream[i]);
    }
}

uint64_t hwm_index_oldest(const hwm_index* index) {
    return index->oldest;
}

uint64_t hwm_index_newest(const hwm_index* index) {
    return index->next - 1;
}

uint64_t hwm_index_steps(const hwm_index* index) {
    return index->steps;
}

uint64_t hwm_index_bytes(const hwm_index* index) {
    return index->bytes;
}

uint64_t hwm_index_inserted(const hwm_index* index) {
    return index->inserted;
}

size_t hwm_index_segments(const hwm_index* index) {
    return index->live_runs;
}

size_t hwm_index_episodes(const hwm_index* index) {
    return index->live_runs - index->resumed_runs;
}

size_t hwm_index_memory(const hwm_index* index) {
    const hwm_index* x = index;
    size_t bytes = x->capacity * (sizeof *x->entry + (size_t)x->n_offsets * sizeof *x->offset);
    bytes += x->runs_capacity * (sizeof *x->run + sizeof *x->free_run);
    for (size_t i = 0; i < x->n_runs; i++) {
        bytes += x->run[i].capacity * sizeof *x->run[i].id;
    }
    bytes += x->streams_capacity * sizeof *x->stream;
    bytes += x->params_capacity * (sizeof *x->param + sizeof *x->free_param);
    bytes +=
        (x->stream_map.capacity + x->param_map.capacity) * (sizeof(uint64_t) + sizeof(uint32_t));
    for (int i = 0; i < STARTS_MAX; i++) {
        const hwm_starts* s = &x->starts[i];
        if (s->key != 0) {
            bytes += HWM_START_KINDS * (x->capacity + 1) * sizeof(uint32_t);
            bytes += s->weight != NULL ? 2 * x->capacity * sizeof *s->weight : 0;
            bytes += s->fresh_capacity * sizeof *s->fresh;
        }
    }
    for (size_t i = 0; i < x->n_streams; i++) {
        bytes += x->stream[i].capacity * sizeof *x->stream[i].id;
    }
    for (uint64_t id = x->oldest; x->drawn != NULL && id < x->next; id++) {
        bytes += sizeof *x->drawn;
        bytes += x->drawn[hwm_slot_of(x, id)] != NULL
                     ? hwm_index_entry(x, id)->steps * sizeof **x->drawn
                     : 0;
    }
    for (uint64_t id = x->oldest; x->priority != NULL && id < x->next; id++) {
        const hwm_entry* e = hwm_index_entry(x, id);
        bytes += sizeof(float) * (1 + (x->priority[hwm_slot_of(x, id)] != NULL ? e->steps : 0));
    }
    return bytes;
}

const hwm_entry* hwm_index_entry(const hwm_index* index, uint64_t id) {
    return &index->entry[hwm_slot_of(index, id)];
}

const uint32_t* hwm_index_offsets(const hwm_index* index, uint64_t id) {
    return index->offset + hwm_slot_of(index, id) * (size_t)index->n_offsets;
}

const hwm_run* hwm_index_run(const hwm_index* index, uint32_t segment) {
    return &index->run[segment];
}

const hwm_param_ref* hwm_index_param(const hwm_index* index, uint32_t param) {
    return &index->param[param].ref;
}

void hwm_index_set_verified(hwm_index* index, uint64_t id) {
    if (id >= index->oldest && id < index->next) {
        __atomic_store_n(&index->entry[hwm_slot_of(index, id)].verified, 1, __ATOMIC_RELAXED);
    }
}

uint64_t hwm_index_chunk_of_row(const hwm_index* index, const hwm_run* run, uint32_t row) {
    // chunks of a segment are mostly of one size: a guess from the oldest is right or close
    uint32_t lo = run->head, hi = run->n;
    const hwm_entry* e = hwm_index_entry(index, run->id[lo]);
    uint32_t at = lo + (row - e->row) / e->steps;
    at = at < hi ? at : hi - 1;
    while (true) {
        e = hwm_index_entry(index, run->id[at]);
        if (row < e->row) {
            hi = at;
        } else if (row - e->row >= e->steps) {
            lo = at + 1;
        } else {
            return run->id[at];
        }
        at = lo + (hi - lo) / 2;
    }
}
