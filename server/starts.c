// data path  [7] sampler
#include <stdlib.h>
#include <string.h>

#include "server/index_internal.h"

static void tree_add(uint32_t* tree, size_t capacity, size_t slot, uint32_t amount) {
    for (size_t i = slot + 1; i <= capacity; i += i & -i) {
        tree[i] += amount;
    }
}

// Sum over slots 0 .. slot-1.
static uint64_t tree_before(const uint32_t* tree, size_t slot) {
    uint64_t sum = 0;
    for (size_t i = slot; i > 0; i -= i & -i) {
        sum += tree[i];
    }
    return sum;
}

static void starts_add(const hwm_index* x, hwm_starts* s, hwm_start_kind kind, uint64_t id,
                       int64_t amount) {
    if (amount != 0) {
        tree_add(s->tree[kind], x->capacity, hwm_slot_of(x, id), (uint32_t)amount);
        s->total[kind] += (uint64_t)amount;
    }
}

// ---- how often a start was drawn

bool hwm_index_spent(const hwm_index* index, uint64_t id, uint32_t row) {
    const uint16_t* drawn = index->drawn != NULL ? index->drawn[hwm_slot_of(index, id)] : NULL;
    return drawn != NULL && drawn[row] >= index->times_limit;
}

// Rows [from, to) of a chunk that may still be drawn.
uint32_t hwm_starts_left(const hwm_index* x, uint64_t id, uint32_t from, uint32_t to) {
    uint32_t n = to - from;
    if (x->drawn != NULL && x->drawn[hwm_slot_of(x, id)] != NULL) {
        for (uint32_t row = from; row < to; row++) {
            n -= hwm_index_spent(x, id, row);
        }
    }
    return n;
}

// Rows stored of the episodes that follow a segment, counted as far as `enough`.
static uint32_t rows_behind(const hwm_index* x, const hwm_run* r, uint32_t enough) {
    uint32_t rows = 0;
    for (uint32_t next = r->after; next != HWM_NO_SEGMENT && rows < enough;) {
        rows += x->run[next].end - x->run[next].begin;
        next = x->run[next].after;
    }
    return rows < enough ? rows : enough;
}

uint32_t hwm_starts_rows(const hwm_index* x, const hwm_starts* s, const hwm_entry* e) {
    const hwm_run* r = &x->run[e->segment];
    uint32_t end = r->end + (s->crossing ? rows_behind(x, r, s->length - 1) : 0);
    if (end - r->begin < s->length || end - s->length < e->row) {
        return 0;
    }
    uint32_t past = end - s->length + 1 - e->row;  // first row that is no start any more
    return past < e->steps ? past : e->steps;
}

// Starts of all kinds in a chunk, given how its segment stands now.
static void starts_of_chunk(const hwm_index* x, const hwm_starts* s, uint64_t id,
                            uint32_t count[HWM_START_KINDS]) {
    const hwm_entry* e = hwm_index_entry(x, id);
    memset(count, 0, HWM_START_KINDS * sizeof *count);
    uint32_t rows = e->steps > 0 ? hwm_starts_rows(x, s, e) : 0;
    if (rows == 0) {
        return;
    }
    const hwm_run* r = &x->run[e->segment];
    uint32_t ends = r->end - s->length - e->row;  // row from which a sequence ends the segment
    count[HWM_START_ANY] = hwm_starts_left(x, id, 0, rows);
    count[HWM_START_FIRST] = r->first && e->row == 0 && !hwm_index_spent(x, id, 0);
    count[HWM_START_TERMINAL] = r->terminal && r->end - r->begin >= s->length && ends < e->steps &&
                                !hwm_index_spent(x, id, ends);
}

// ---- counts

// Rows [lo, hi) of a segment have become starts; terminal: the last of them is one of that kind.
static void starts_extend(hwm_index* x, hwm_starts* s, const hwm_run* r, uint32_t lo, uint32_t hi,
                          bool terminal) {
    lo = lo > r->begin ? lo : r->begin;
    for (uint32_t i = r->n; lo < hi && i-- > r->head;) {
        uint64_t id = r->id[i];
        const hwm_entry* e = hwm_index_entry(x, id);
        uint32_t a = lo > e->row ? lo : e->row;
        uint32_t b = hi < e->row + e->steps ? hi : e->row + e->steps;
        if (b > a) {
            starts_add(x, s, HWM_START_ANY, id, hwm_starts_left(x, id, a - e->row, b - e->row));
            starts_add(x, s, HWM_START_FIRST, id, r->first && a == 0 && !hwm_index_spent(x, id, 0));
            starts_add(x, s, HWM_START_TERMINAL, id,
                       terminal && b == hi && !hwm_index_spent(x, id, b - 1 - e->row));
            if (s->weight != NULL) {
                hwm_weights_update(x, s, id);
            }
        }
        if (e->row <= lo) {
            break;
        }
    }
}

// First row of a segment that is no start, with so many rows behind it.
static uint32_t past_starts(const hwm_run* r, uint32_t behind, uint32_t length) {
    uint32_t past = r->end + behind >= length ? r->end + behind - length + 1 : 0;
    return past < r->end ? past : r->end;
}

// A chunk was appended to the segment: the rows that have become starts lie in it and in chunks
// before it, also those of earlier episodes where sequences cross.
static void starts_append(hwm_index* x, hwm_starts* s, const hwm_run* r, uint32_t old_end) {
    uint32_t length = s->length;
    if (r->end - r->begin >= length) {
        starts_extend(x, s, r, old_end >= length ? old_end - length + 1 : 0, r->end - length + 1,
                      r->terminal);
    }
    uint32_t had = old_end - r->begin, has = r->end - r->begin;  // rows behind a segment
    for (uint32_t at = r->before; s->crossing && at != HWM_NO_SEGMENT && had < length - 1;) {
        const hwm_run* p = &x->run[at];
        if (p->end - p->begin + has >= length) {
            starts_extend(x, s, p, past_starts(p, had, length), past_starts(p, has, length), false);
        }
        had += p->end - p->begin;
        has += p->end - p->begin;
        at = p->before;
    }
}

static void starts_build(hwm_index* x, hwm_starts* s) {
    for (int k = 0; k < HWM_START_KINDS; k++) {
        free(s->tree[k]);
        s->tree[k] = calloc(x->capacity + 1, sizeof *s->tree[k]);
        HWM_ASSERT(s->tree[k] != NULL);
        s->total[k] = 0;
    }
    // leaves first, then each node hands its sum to its parent: linear time
    for (uint64_t id = x->oldest; id < x->next; id++) {
        uint32_t count[HWM_START_KINDS];
        starts_of_chunk(x, s, id, count);
        for (int k = 0; k < HWM_START_KINDS; k++) {
            s->tree[k][hwm_slot_of(x, id) + 1] = count[k];
            s->total[k] += count[k];
        }
    }
    for (int k = 0; k < HWM_START_KINDS; k++) {
        for (size_t i = 1; i <= x->capacity; i++) {
            size_t parent = i + (i & -i);
            if (parent <= x->capacity) {
                s->tree[k][parent] += s->tree[k][i];
            }
        }
    }
}

void hwm_draws_free(hwm_index* index) {
    for (size_t i = 0; index->drawn != NULL && i < index->capacity; i++) {
        free(index->drawn[i]);
    }
    free(index->drawn);
    index->drawn = NULL;
}

void hwm_index_limit_times(hwm_index* index, uint32_t times) {
    if (times == 0) {
        hwm_draws_free(index);
    } else if (index->drawn == NULL) {
        index->drawn = calloc(index->capacity + 1, sizeof *index->drawn);
        HWM_ASSERT(index->drawn != NULL);
    }
    index->times_limit = times;
    hwm_starts_rebuild(index);
}

uint32_t hwm_index_times_limit(const hwm_index* index) {
    return index->times_limit;
}

void hwm_index_drawn(hwm_index* index, uint64_t id, uint32_t row, bool back) {
    hwm_index* x = index;
    if (id < x->oldest || id >= x->next || hwm_index_entry(x, id)->steps == 0 || x->drawn == NULL) {
        return;
    }
    uint16_t** drawn = &x->drawn[hwm_slot_of(x, id)];
    if (*drawn == NULL) {
        *drawn = calloc(hwm_index_entry(x, id)->steps, sizeof **drawn);
        HWM_ASSERT(*drawn != NULL);
    }
    uint16_t times = (uint16_t)((*drawn)[row] + (back ? -1 : 1));
    bool changes = back ? (*drawn)[row] == x->times_limit : times == x->times_limit;
    uint32_t before[STARTS_MAX][HWM_START_KINDS], after[HWM_START_KINDS];
    for (int i = 0; changes && i < STARTS_MAX; i++) {
        if (x->starts[i].key != 0) {
            starts_of_chunk(x, &x->starts[i], id, before[i]);
        }
    }
    (*drawn)[row] = times;
    for (int i = 0; changes && i < STARTS_MAX; i++) {
        hwm_starts* s = &x->starts[i];
        if (s->key != 0) {
            starts_of_chunk(x, s, id, after);
            for (int k = 0; k < HWM_START_KINDS; k++) {
                starts_add(x, s, (hwm_start_kind)k, id, (int64_t)after[k] - before[i][k]);
            }
            if (s->weight != NULL) {
                hwm_weights_update(x, s, id);
            }
        }
    }
}

void hwm_starts_free(hwm_starts* starts) {
    for (int k = 0; k < HWM_START_KINDS; k++) {
        free(starts->tree[k]);
    }
    free(starts->weight);
    free(starts->fresh);
    *starts = (hwm_starts){0};
}

void hwm_starts_rebuild(hwm_index* index) {
    for (int i = 0; i < STARTS_MAX; i++) {
        hwm_starts* s = &index->starts[i];
        if (s->key != 0) {
            starts_build(index, s);
            if (s->weight != NULL) {
                hwm_weights_build(index, s);
            }
        }
    }
}

void hwm_starts_appended(hwm_index* index, const hwm_run* run, uint32_t old_end) {
    for (int i = 0; i < STARTS_MAX; i++) {
        hwm_starts* s = &index->starts[i];
        if (s->key != 0) {
            starts_append(index, s, run, old_end);
            if (s->online) {
                hwm_fresh_append(index, s, run, old_end);
            }
        }
    }
}

void hwm_starts_evicting(hwm_index* index) {
    for (int i = 0; i < STARTS_MAX; i++) {
        hwm_starts* s = &index->starts[i];
        if (s->key != 0) {
            uint32_t count[HWM_START_KINDS];
            starts_of_chunk(index, s, index->oldest, count);
            for (int k = 0; k < HWM_START_KINDS; k++) {
                starts_add(index, s, (hwm_start_kind)k, index->oldest, -(int64_t)count[k]);
            }
            if (s->weight != NULL) {
                hwm_weights_clear(index, s, index->oldest);
            }
        }
    }
    if (index->priority != NULL) {
        size_t slot = hwm_slot_of(index, index->oldest);
        free(index->priority[slot]);
        index->priority[slot] = NULL;
    }
    if (index->drawn != NULL) {
        size_t slot = hwm_slot_of(index, index->oldest);
        free(index->drawn[slot]);
        index->drawn[slot] = NULL;
    }
}

const hwm_starts* hwm_index_starts(hwm_index* index, uint32_t length) {
    for (int i = 0; i < STARTS_MAX; i++) {
        if (index->starts[i].key == length) {
            __atomic_store_n(&index->starts[i].used,
                             __atomic_add_fetch(&index->clock, 1, __ATOMIC_RELAXED),
                             __ATOMIC_RELAXED);
            return &index->starts[i];
        }
    }
    return NULL;
}

void hwm_index_starts_create(hwm_index* index, uint32_t length) {
    HWM_ASSERT((length & ~(uint32_t)HWM_CROSSING) > 0);
    if (hwm_index_starts(index, length) != NULL) {
        return;  // another sampler was faster
    }
    hwm_starts* s = &index->starts[0];
    for (int i = 1; i < STARTS_MAX; i++) {
        s = index->starts[i].used < s->used ? &index->starts[i] : s;
    }
    hwm_starts_free(s);
    s->key = length;
    s->length = length & ~(uint32_t)HWM_CROSSING;
    s->crossing = (length & HWM_CROSSING) != 0;
    s->used = ++index->clock;
    starts_build(index, s);
}

uint64_t hwm_starts_total(const hwm_starts* starts, hwm_start_kind kind) {
    return starts->total[kind];
}

// Starts in chunks older than `id`, in insertion order: the ring is cut at the oldest chunk.
static uint64_t starts_before(const hwm_index* x, const hwm_starts* s, hwm_start_kind kind,
                              uint64_t id) {
    uint64_t cut = tree_before(s->tree[kind], hwm_slot_of(x, x->oldest));
    uint64_t at = tree_before(s->tree[kind], hwm_slot_of(x, id));
    return hwm_slot_of(x, id) >= hwm_slot_of(x, x->oldest) ? at - cut : s->total[kind] - cut + at;
}

void hwm_starts_find(const hwm_index* index, const hwm_starts* starts, hwm_start_kind kind,
                     uint64_t rank, uint64_t* id, uint32_t* row) {
    const uint32_t* tree = starts->tree[kind];
    size_t oldest_slot = hwm_slot_of(index, index->oldest);
    uint64_t total = starts->total[kind];
    rank += tree_before(tree, oldest_slot);
    rank = rank >= total ? rank - total : rank;
    // descend: the last slot whose sum of all before it is not above rank
    size_t slot = 0;
    for (size_t step = index->capacity; step > 0; step >>= 1) {
        size_t next = slot + step;
        if (next <= index->capacity && tree[next] <= rank) {
            slot = next;
            rank -= tree[next];
        }
    }
    *id = index->oldest + ((slot - oldest_slot) & (index->capacity - 1));
    if (kind == HWM_START_TERMINAL) {
        const hwm_entry* e = hwm_index_entry(index, *id);
        *row = index->run[e->segment].end - starts->length - e->row;
    } else if (kind == HWM_START_FIRST) {
        *row = 0;
    } else {
        *row = (uint32_t)rank;
        // among those that may still be drawn
        if (index->drawn != NULL && index->drawn[hwm_slot_of(index, *id)] != NULL) {
            for (*row = 0; hwm_index_spent(index, *id, *row) || rank-- > 0; ++*row) {
            }
        }
    }
}

uint64_t hwm_starts_before_recent(const hwm_index* index, const hwm_starts* starts,
                                  uint64_t steps) {
    uint64_t total = starts->total[HWM_START_ANY];
    if (index->oldest == index->next || steps >= index->inserted) {
        return 0;
    }
    // the newest chunk that begins before the edge
    uint64_t edge = index->inserted - steps, lo = index->oldest, hi = index->next;
    if (hwm_index_entry(index, lo)->inserted_before >= edge) {
        return 0;
    }
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (hwm_index_entry(index, mid)->inserted_before < edge) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    const hwm_entry* e = hwm_index_entry(index, lo);
    uint32_t rows = e->steps > 0 ? hwm_starts_rows(index, starts, e) : 0;
    uint64_t skip = edge - e->inserted_before;
    uint64_t before = starts_before(index, starts, HWM_START_ANY, lo) +
                      hwm_starts_left(index, lo, 0, skip < rows ? (uint32_t)skip : rows);
    return before < total ? before : total;
}
