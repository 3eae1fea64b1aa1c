// data path  [7] sampler
#include "server/index.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { STARTS_MAX = 16, FIRST_CAPACITY = 1024 };

struct hwm_starts {
    uint32_t length;  // 0: unused
    uint64_t used;    // clock of the last use
    uint64_t total[HWM_START_KINDS];
    uint32_t* tree[HWM_START_KINDS];  // (capacity + 1) Fenwick trees over the slots
};

// uint64 -> uint32, open addressing with linear probing; an empty place has value UINT32_MAX
typedef struct map {
    uint64_t* key;
    uint32_t* value;
    size_t n, capacity;  // power of two
} map;

struct hwm_index {
    pthread_rwlock_t lock;
    int n_offsets;

    // ring of chunks: id lives in slot id & (capacity - 1)
    uint64_t oldest, next;  // ids; empty when equal
    size_t capacity;
    hwm_entry* entry;  // (capacity)
    uint32_t* offset;  // (capacity, n_offsets)

    // segments, with a list of free places
    hwm_run* run;
    size_t n_runs, runs_capacity;
    uint32_t* free_run;
    size_t n_free_runs, live_runs;

    hwm_stream_info* stream;
    size_t n_streams, streams_capacity;
    map stream_map;

    struct param_slot {
        hwm_param_ref ref;
        uint64_t key;  // in param_map
        uint64_t chunks;
    } * param;
    size_t n_params, params_capacity;
    uint32_t* free_param;
    size_t n_free_params;
    map param_map;

    uint64_t steps, bytes, inserted;
    hwm_starts starts[STARTS_MAX];
    uint64_t clock;
};

// Room for n elements, at least doubling. Running out of memory here is fatal: the index cannot be
// less than the store.
static void* grow(void* p, size_t* capacity, size_t n, size_t element) {
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

// ---- map

static uint64_t mix(uint64_t x) {  // finaliser of SplitMix64
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint32_t map_get(const map* m, uint64_t key) {
    if (m->capacity == 0) {
        return UINT32_MAX;
    }
    for (size_t i = mix(key) & (m->capacity - 1); m->value[i] != UINT32_MAX;
         i = (i + 1) & (m->capacity - 1)) {
        if (m->key[i] == key) {
            return m->value[i];
        }
    }
    return UINT32_MAX;
}

static void map_place(map* m, uint64_t key, uint32_t value) {
    size_t i = mix(key) & (m->capacity - 1);
    while (m->value[i] != UINT32_MAX) {
        i = (i + 1) & (m->capacity - 1);
    }
    m->key[i] = key;
    m->value[i] = value;
}

static void map_put(map* m, uint64_t key, uint32_t value) {
    if ((m->n + 1) * 2 > m->capacity) {
        map old = *m;
        m->capacity = old.capacity > 0 ? old.capacity * 2 : 64;
        m->key = malloc(m->capacity * sizeof *m->key);
        m->value = malloc(m->capacity * sizeof *m->value);
        HWM_ASSERT(m->key != NULL && m->value != NULL);
        memset(m->value, 0xff, m->capacity * sizeof *m->value);
        for (size_t i = 0; i < old.capacity; i++) {
            if (old.value[i] != UINT32_MAX) {
                map_place(m, old.key[i], old.value[i]);
            }
        }
        free(old.key);
        free(old.value);
    }
    map_place(m, key, value);
    m->n++;
}

static void map_delete(map* m, uint64_t key) {
    size_t mask = m->capacity - 1, i = mix(key) & mask;
    while (m->value[i] != UINT32_MAX && m->key[i] != key) {
        i = (i + 1) & mask;
    }
    if (m->value[i] == UINT32_MAX) {
        return;
    }
    // close the hole: move up what could no longer be reached
    for (size_t j = (i + 1) & mask; m->value[j] != UINT32_MAX; j = (j + 1) & mask) {
        size_t home = mix(m->key[j]) & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            m->key[i] = m->key[j];
            m->value[i] = m->value[j];
            i = j;
        }
    }
    m->value[i] = UINT32_MAX;
    m->n--;
}

static void map_free(map* m) {
    free(m->key);
    free(m->value);
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
        for (int k = 0; k < HWM_START_KINDS; k++) {
            free(x->starts[i].tree[k]);
        }
    }
    for (size_t i = 0; i < x->n_runs; i++) {
        free(x->run[i].id);
    }
    free(x->entry);
    free(x->offset);
    free(x->run);
    free(x->free_run);
    free(x->stream);
    map_free(&x->stream_map);
    free(x->param);
    free(x->free_param);
    map_free(&x->param_map);
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

// ---- starts

static size_t slot_of(const hwm_index* x, uint64_t id) {
    return id & (x->capacity - 1);
}

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
        tree_add(s->tree[kind], x->capacity, slot_of(x, id), (uint32_t)amount);
        s->total[kind] += (uint64_t)amount;
    }
}

// Starts of all kinds in a chunk, given how its segment stands now.
static void starts_of_chunk(const hwm_run* r, const hwm_entry* e, uint32_t length,
                            uint32_t count[HWM_START_KINDS]) {
    memset(count, 0, HWM_START_KINDS * sizeof *count);
    if (r->end - r->begin < length || r->end - length < e->row) {
        return;
    }
    uint32_t past = r->end - length + 1;  // first row that is no start any more
    count[HWM_START_ANY] = past - e->row < e->steps ? past - e->row : e->steps;
    count[HWM_START_FIRST] = r->first && e->row == 0;
    count[HWM_START_TERMINAL] = r->terminal && past - 1 - e->row < e->steps;
}

// A chunk was appended to the segment: the rows that have become starts lie in it and in chunks
// before it.
static void starts_append(hwm_index* x, hwm_starts* s, const hwm_run* r, uint32_t old_end) {
    uint32_t length = s->length;
    if (r->end - r->begin < length) {
        return;
    }
    uint32_t hi = r->end - length + 1;
    uint32_t lo = old_end >= length ? old_end - length + 1 : 0;  // rows below were starts before
    lo = lo > r->begin ? lo : r->begin;
    for (uint32_t i = r->n; i-- > r->head;) {
        uint64_t id = r->id[i];
        const hwm_entry* e = hwm_index_entry(x, id);
        uint32_t a = lo > e->row ? lo : e->row;
        uint32_t b = hi < e->row + e->steps ? hi : e->row + e->steps;
        if (b > a) {
            starts_add(x, s, HWM_START_ANY, id, b - a);
            starts_add(x, s, HWM_START_FIRST, id, r->first && a == 0);
            starts_add(x, s, HWM_START_TERMINAL, id, r->terminal && b == hi);
        }
        if (e->row <= lo) {
            break;
        }
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
        const hwm_entry* e = hwm_index_entry(x, id);
        if (e->steps == 0) {
            continue;
        }
        starts_of_chunk(&x->run[e->segment], e, s->length, count);
        for (int k = 0; k < HWM_START_KINDS; k++) {
            s->tree[k][slot_of(x, id) + 1] = count[k];
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

const hwm_starts* hwm_index_starts(hwm_index* index, uint32_t length) {
    for (int i = 0; i < STARTS_MAX; i++) {
        if (index->starts[i].length == length) {
            __atomic_store_n(&index->starts[i].used,
                             __atomic_add_fetch(&index->clock, 1, __ATOMIC_RELAXED),
                             __ATOMIC_RELAXED);
            return &index->starts[i];
        }
    }
    return NULL;
}

void hwm_index_starts_create(hwm_index* index, uint32_t length) {
    HWM_ASSERT(length > 0);
    if (hwm_index_starts(index, length) != NULL) {
        return;  // another sampler was faster
    }
    hwm_starts* s = &index->starts[0];
    for (int i = 1; i < STARTS_MAX; i++) {
        s = index->starts[i].used < s->used ? &index->starts[i] : s;
    }
    s->length = length;
    s->used = ++index->clock;
    starts_build(index, s);
}

uint64_t hwm_starts_total(const hwm_starts* starts, hwm_start_kind kind) {
    return starts->total[kind];
}

// Starts in chunks older than `id`, in insertion order: the ring is cut at the oldest chunk.
static uint64_t starts_before(const hwm_index* x, const hwm_starts* s, hwm_start_kind kind,
                              uint64_t id) {
    uint64_t cut = tree_before(s->tree[kind], slot_of(x, x->oldest));
    uint64_t at = tree_before(s->tree[kind], slot_of(x, id));
    return slot_of(x, id) >= slot_of(x, x->oldest) ? at - cut : s->total[kind] - cut + at;
}

void hwm_starts_find(const hwm_index* index, const hwm_starts* starts, hwm_start_kind kind,
                     uint64_t rank, uint64_t* id, uint32_t* row) {
    const uint32_t* tree = starts->tree[kind];
    size_t oldest_slot = slot_of(index, index->oldest);
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
    } else {
        *row = kind == HWM_START_ANY ? (uint32_t)rank : 0;
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
    uint32_t count[HWM_START_KINDS] = {0};
    if (e->steps > 0) {
        starts_of_chunk(&index->run[e->segment], e, starts->length, count);
    }
    uint64_t skip = edge - e->inserted_before;
    uint64_t before = starts_before(index, starts, HWM_START_ANY, lo) +
                      (skip < count[HWM_START_ANY] ? skip : count[HWM_START_ANY]);
    return before < total ? before : total;
}

// ---- parameters: each distinct reference once, with the number of chunks that use it

static uint64_t param_hash(const hwm_param_ref* p) {
    uint64_t h = mix(p->version + 1) ^ mix(p->perturbation_seed + 2);
    uint32_t sigma;
    memcpy(&sigma, &p->sigma, sizeof sigma);
    h = mix(h ^ ((uint64_t)sigma << 8) ^ (uint64_t)(p->sign + 1));
    for (size_t i = 0; i < sizeof p->set && p->set[i] != '\0'; i++) {
        h = mix(h ^ (uint8_t)p->set[i]);
    }
    return h;
}

static bool param_equal(const hwm_param_ref* a, const hwm_param_ref* b) {
    return a->version == b->version && a->perturbation_seed == b->perturbation_seed &&
           a->sign == b->sign && a->sigma == b->sigma &&
           strncmp(a->set, b->set, sizeof a->set) == 0;
}

static uint32_t param_take(hwm_index* x, const hwm_param_ref* ref) {
    uint64_t key = param_hash(ref);
    uint32_t p;
    while ((p = map_get(&x->param_map, key)) != UINT32_MAX && !param_equal(&x->param[p].ref, ref)) {
        key++;
    }
    if (p == UINT32_MAX) {
        if (x->n_free_params > 0) {
            p = x->free_param[--x->n_free_params];
        } else {
            size_t both = x->params_capacity;
            x->param = grow(x->param, &both, x->n_params + 1, sizeof *x->param);
            x->free_param =
                grow(x->free_param, &x->params_capacity, x->n_params + 1, sizeof *x->free_param);
            p = (uint32_t)x->n_params++;
        }
        x->param[p] = (struct param_slot){*ref, key, 0};
        map_put(&x->param_map, key, p);
    }
    x->param[p].chunks++;
    return p;
}

static void param_drop(hwm_index* x, uint32_t p) {
    if (--x->param[p].chunks == 0) {
        map_delete(&x->param_map, x->param[p].key);
        x->free_param[x->n_free_params++] = p;
    }
}

bool hwm_index_version_in_use(const hwm_index* index, const char* set, uint64_t version) {
    for (size_t i = 0; i < index->n_params; i++) {
        const struct param_slot* p = &index->param[i];
        if (p->chunks > 0 && p->ref.version == version &&
            strncmp(p->ref.set, set, sizeof p->ref.set) == 0) {
            return true;
        }
    }
    return false;
}

// ---- streams and segments

static uint64_t stream_key(hwm_stream s) {
    return (uint64_t)s.env << 32 | s.incarnation;
}

static hwm_stream_info* stream_find(const hwm_index* x, hwm_stream stream) {
    uint32_t i = map_get(&x->stream_map, stream_key(stream));
    return i == UINT32_MAX ? NULL : &x->stream[i];
}

static hwm_stream_info* stream_make(hwm_index* x, hwm_stream stream) {
    hwm_stream_info* s = stream_find(x, stream);
    if (s == NULL) {
        x->stream = grow(x->stream, &x->streams_capacity, x->n_streams + 1, sizeof *x->stream);
        map_put(&x->stream_map, stream_key(stream), (uint32_t)x->n_streams);
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
        x->run = grow(x->run, &both, x->n_runs + 1, sizeof *x->run);
        x->free_run = grow(x->free_run, &x->runs_capacity, x->n_runs + 1, sizeof *x->free_run);
        i = (uint32_t)x->n_runs++;
        x->run[i] = (hwm_run){0};
    }
    hwm_run* r = &x->run[i];  // keeps its list of ids
    *r = (hwm_run){.id = r->id, .capacity = r->capacity};
    x->live_runs++;
    return i;
}

// ---- append, evict

// Twice the ring: every chunk moves to its new slot, and the trees are built anew.
static void ring_grow(hwm_index* x) {
    size_t old = x->capacity, capacity = old > 0 ? old * 2 : FIRST_CAPACITY;
    hwm_entry* entry = malloc(capacity * sizeof *entry);
    uint32_t* offset = malloc(capacity * (size_t)(x->n_offsets + 1) * sizeof *offset);
    HWM_ASSERT(entry != NULL && offset != NULL);
    size_t row = (size_t)x->n_offsets;
    for (uint64_t id = x->oldest; id < x->next; id++) {
        size_t from = id & (old - 1), to = id & (capacity - 1);
        entry[to] = x->entry[from];
        memcpy(offset + to * row, x->offset + from * row, row * sizeof *offset);
    }
    free(x->entry);
    free(x->offset);
    x->entry = entry;
    x->offset = offset;
    x->capacity = capacity;
    for (int i = 0; i < STARTS_MAX; i++) {
        if (x->starts[i].length > 0) {
            starts_build(x, &x->starts[i]);
        }
    }
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
        x->entry[slot_of(x, x->next++)] =
            (hwm_entry){.inserted_before = x->inserted, .verified = 1};
    }
    ring_room(x);
    hwm_stream_info* s = stream_make(x, (hwm_stream){meta->env, meta->incarnation});
    if (!continues(x, s, meta)) {
        if (s->segment != HWM_NONE) {
            x->run[s->segment].closed = true;
        }
        uint32_t made = run_make(x);
        s->segment = made;
        hwm_run* r = &x->run[made];
        r->stream = s->stream;
        r->episode = meta->episode;
        r->first_step = meta->first_step;
        r->first = (meta->edge & HWM_FLAG_FIRST) != 0;
    }
    uint32_t segment = (uint32_t)s->segment;
    hwm_run* r = &x->run[segment];
    uint32_t old_end = r->end;
    size_t capacity = r->capacity;
    r->id = grow(r->id, &capacity, r->n + 1u, sizeof *r->id);
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
    size_t slot = slot_of(x, id);
    x->entry[slot] = (hwm_entry){
        .value = value,
        .inserted_before = meta->inserted_before,
        .segment = segment,
        .row = old_end,
        .position = r->base + r->n - 1,
        .steps = meta->steps,
        .param = param_take(x, &ref),
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
    x->steps += meta->steps;
    x->bytes += hwm_store_class_bytes(meta->value_bytes);
    x->inserted = meta->inserted_before + meta->steps;
    for (int i = 0; i < STARTS_MAX; i++) {
        if (x->starts[i].length > 0) {
            starts_append(x, &x->starts[i], r, old_end);
        }
    }
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
    for (int i = 0; i < STARTS_MAX; i++) {
        if (x->starts[i].length > 0) {
            uint32_t count[HWM_START_KINDS];
            starts_of_chunk(r, e, x->starts[i].length, count);
            for (int k = 0; k < HWM_START_KINDS; k++) {
                starts_add(x, &x->starts[i], (hwm_start_kind)k, x->oldest, -(int64_t)count[k]);
            }
        }
    }
    param_drop(x, e->param);
    hwm_stream_info* s = stream_find(x, r->stream);
    s->chunks--;
    x->steps -= e->steps;
    x->bytes -= hwm_store_class_bytes(e->value_bytes);
    r->begin = e->row + e->steps;
    r->head++;
    if (r->head == r->n) {
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
    } else if (r->head >= 64 && r->head * 2 >= r->n) {
        memmove(r->id, r->id + r->head, (r->n - r->head) * sizeof *r->id);
        r->n -= r->head;
        r->base += r->head;
        r->head = 0;
    }
    x->oldest++;
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
    map_delete(&index->stream_map, stream_key(stream));
    // the last one takes the free place
    hwm_stream_info* moved = &index->stream[--index->n_streams];
    if (moved != s) {
        map_delete(&index->stream_map, stream_key(moved->stream));
        *s = *moved;
        map_put(&index->stream_map, stream_key(s->stream), (uint32_t)(s - index->stream));
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
        if (x->starts[i].length > 0) {
            bytes += HWM_START_KINDS * (x->capacity + 1) * sizeof(uint32_t);
        }
    }
    return bytes;
}

const hwm_entry* hwm_index_entry(const hwm_index* index, uint64_t id) {
    return &index->entry[slot_of(index, id)];
}

const uint32_t* hwm_index_offsets(const hwm_index* index, uint64_t id) {
    return index->offset + slot_of(index, id) * (size_t)index->n_offsets;
}

const hwm_run* hwm_index_run(const hwm_index* index, uint32_t segment) {
    return &index->run[segment];
}

const hwm_param_ref* hwm_index_param(const hwm_index* index, uint32_t param) {
    return &index->param[param].ref;
}

void hwm_index_set_verified(hwm_index* index, uint64_t id) {
    if (id >= index->oldest && id < index->next) {
        __atomic_store_n(&index->entry[slot_of(index, id)].verified, 1, __ATOMIC_RELAXED);
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
