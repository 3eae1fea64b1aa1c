// data path  [7] sampler
#include "server/sampler.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/rng.h"

enum { AHEAD = 6, BATCH_MAX = 65536, LENGTH_MAX = 65536, CONTEXT_MAX = 1024 };
static const uint64_t ROWS_MAX = 16u << 20;  // of one reply

// A run of rows of one chunk that goes to consecutive rows of the batch.
typedef struct piece {
    const uint8_t* value;
    uint64_t id;
    uint32_t row, rows;  // in the chunk
    uint32_t to;         // first row in the batch
    uint32_t steps;      // of the chunk
    int32_t patch;       // row of the piece that is the end of an abandoned episode, HWM_NONE: none
    uint32_t unverified;  // bytes to check before the first use, 0: known to be right
    uint32_t crc;
    uint32_t sequence;  // key tensors go to this sequence
    bool key;           // the key frame of this chunk is wanted
} piece;

typedef struct start {
    uint64_t id;
    uint32_t row;  // in the chunk
    double probability;
} start;

struct hwm_sampler {
    hwm_store* store;
    hwm_store_view* view;
    start* start;
    size_t starts_capacity;
    piece* piece;
    size_t n_pieces, pieces_capacity;
    int n_starts;  // drawn so far
    uint32_t*
        offset;  // (pieces, n_offsets): copies, because the index may move while rows are copied
    size_t offsets_capacity;
    hwm_segment* segment;
    size_t n_segments, segments_capacity;
    uint64_t damaged;  // chunk that failed its checksum in the last draw
};

hwm_status hwm_sampler_create(hwm_sampler** out, hwm_store* store, hwm_error* err) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a sampler");
    }
    (*out)->store = store;
    hwm_status status = hwm_store_view_create(store, &(*out)->view, err);
    if (status != HWM_OK) {
        hwm_sampler_destroy(out);
    }
    return status;
}

void hwm_sampler_destroy(hwm_sampler** sampler) {
    hwm_sampler* s = *sampler;
    if (s == NULL) {
        return;
    }
    hwm_store_view_destroy(&s->view);
    free(s->start);
    free(s->piece);
    free(s->offset);
    free(s->segment);
    free(s);
    *sampler = NULL;
}

hwm_status hwm_sample_check(const hwm_table_config* table, const hwm_sample_request* r,
                            hwm_error* err) {
    if (r->batch < 1 || r->batch > BATCH_MAX || r->length < 1 || r->length > LENGTH_MAX) {
        return hwm_fail(err, HWM_EINVAL,
                        "a sample of %d sequences of %d rows; 1 to %d of 1 to %d are allowed",
                        r->batch, r->length, BATCH_MAX, LENGTH_MAX);
    }
    if (r->context < 0 || r->context > CONTEXT_MAX || r->context_window < 0) {
        return hwm_fail(err, HWM_EINVAL,
                        "context %d within %d steps; 0 to %d and a window from 0 are allowed",
                        r->context, r->context_window, CONTEXT_MAX);
    }
    uint64_t rows = (uint64_t)r->batch * (uint64_t)(r->length + 2 * r->context);
    if (rows > ROWS_MAX) {
        return hwm_fail(err, HWM_EINVAL, "a sample of %llu rows; %llu fit one reply",
                        (unsigned long long)rows, (unsigned long long)ROWS_MAX);
    }
    double shares = r->fraction_terminal + r->fraction_first + r->fraction_recent;
    if (!(r->fraction_terminal >= 0) || !(r->fraction_first >= 0) || !(r->fraction_recent >= 0) ||
        !(shares <= 1.0 + 1e-9)) {
        return hwm_fail(
            err, HWM_EINVAL,
            "shares of terminal %g, first %g and recent %g starts must not be negative and sum to "
            "at most 1",
            r->fraction_terminal, r->fraction_first, r->fraction_recent);
    }
    if (r->terminal_back_min < 0 || r->terminal_back_max < r->terminal_back_min ||
        r->terminal_back_max > LENGTH_MAX) {
        return hwm_fail(err, HWM_EINVAL,
                        "sequences that end %d to %d rows before a terminal; 0 to %d are allowed",
                        r->terminal_back_min, r->terminal_back_max, LENGTH_MAX);
    }
    if (r->cross_episodes && (r->materialise || r->context > 0)) {
        return hwm_fail(err, HWM_EINVAL,
                        "sequences that cross episodes have neither a plastic state to materialise "
                        "nor context of one episode");
    }
    if (r->fraction_recent > 0 && r->recent_steps < 1) {
        return hwm_fail(err, HWM_EINVAL, "fraction_recent %g needs recent_steps, which is %lld",
                        r->fraction_recent, (long long)r->recent_steps);
    }
    if (r->columns != 0 && (r->columns >> table->signature.n_columns) != 0) {
        return hwm_fail(err, HWM_EINVAL, "columns 0x%x are asked for; table %s has %d", r->columns,
                        table->name, table->signature.n_columns);
    }
    if ((int)r->selector < 0 || r->selector > HWM_SELECT_ONLINE) {
        return hwm_fail(err, HWM_EINVAL, "unknown selector %d", (int)r->selector);
    }
    if (r->selector == HWM_SELECT_PRIORITISED &&
        !(r->priority_exponent >= 0 && r->priority_exponent <= 16)) {
        return hwm_fail(err, HWM_EINVAL, "priority_exponent is %g; 0 to 16 are allowed",
                        r->priority_exponent);
    }
    return HWM_OK;
}

// ---- pass 1: draw the starts

static void philox(const hwm_table_config* table, uint64_t draw, uint32_t i, uint32_t j,
                   uint32_t out[4]) {
    uint32_t counter[4] = {(uint32_t)draw, (uint32_t)(draw >> 32), i, j};
    uint32_t key[2] = {(uint32_t)table->seed ^ HWM_PURPOSE_SAMPLER << 24,
                       (uint32_t)(table->seed >> 32)};
    hwm_philox4x32(counter, key, out);
}

// Uniform in [0, n): the high word of a 64 x 64 bit product.
static uint64_t below(uint64_t n, uint32_t hi, uint32_t lo) {
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)((uint64_t)hi << 32 | lo) * n) >> 64);
}

// Shares of a request after those that have nothing to offer fell to the uniform one.
typedef struct shares {
    double terminal, first, recent;
    uint64_t n_any, n_terminal, n_first, before_recent, recent_edge;
    double weight;  // of all starts, prioritised
} shares;

static shares shares_of(const hwm_index* index, const hwm_starts* starts,
                        const hwm_sample_request* r) {
    shares s = {.n_any = hwm_starts_total(starts, HWM_START_ANY),
                .n_terminal = hwm_starts_total(starts, HWM_START_TERMINAL),
                .n_first = hwm_starts_total(starts, HWM_START_FIRST)};
    bool ranked = r->selector == HWM_SELECT_NEWEST || r->selector == HWM_SELECT_OLDEST;
    if (r->selector == HWM_SELECT_PRIORITISED) {
        s.weight = hwm_starts_weight(starts);
    }
    if (!ranked) {
        s.terminal = s.n_terminal > 0 ? r->fraction_terminal : 0;
        s.first = s.n_first > 0 ? r->fraction_first : 0;
    }
    if (!ranked && r->fraction_recent > 0) {
        uint64_t inserted = hwm_index_inserted(index), recent = (uint64_t)r->recent_steps;
        s.before_recent = hwm_starts_before_recent(index, starts, recent);
        s.recent_edge = inserted > recent ? inserted - recent : 0;
        s.recent = s.before_recent < s.n_any ? r->fraction_recent : 0;
    }
    return s;
}

// From the start whose last row is a terminal to one that ends terminal_back rows before it, or to
// the oldest stored row of its segment.
static void step_back(const hwm_index* index, const hwm_sample_request* r, const uint32_t u[4],
                      start* a) {
    const hwm_entry* e = hwm_index_entry(index, a->id);
    const hwm_run* run = hwm_index_run(index, e->segment);
    uint32_t row = e->row + a->row, room = row - run->begin;
    uint32_t span = (uint32_t)(r->terminal_back_max - r->terminal_back_min) + 1;
    uint32_t back = (uint32_t)r->terminal_back_min + (uint32_t)((uint64_t)u[2] * span >> 32);
    row -= back < room ? back : room;
    a->id = hwm_index_chunk_of_row(index, run, row);
    a->row = row - hwm_index_entry(index, a->id)->row;
}

// Share of the draws of one segment's terminal that step_back brings to segment row `row`.
static double terminal_share(const hwm_run* run, const hwm_sample_request* r, uint32_t row) {
    int64_t lo = r->terminal_back_min, hi = r->terminal_back_max;
    int64_t back = (int64_t)run->end - r->length - row;
    if (!run->terminal || back < 0 || back > hi) {
        return 0;
    }
    if (row == run->begin) {  // and everything that would lie before it
        return (double)(hi - (back > lo ? back : lo) + 1) / (double)(hi - lo + 1);
    }
    return back >= lo ? 1 / (double)(hi - lo + 1) : 0;
}

// Probability of a start under the mixture it was drawn from; what the online queue hands out
// counts as uniform.
static double probability(const shares* s, const hwm_index* index, const hwm_starts* starts,
                          const hwm_sample_request* r, const start* a) {
    const hwm_entry* e = hwm_index_entry(index, a->id);
    const hwm_run* run = hwm_index_run(index, e->segment);
    uint32_t row = a->row;
    double p = 1 - s->terminal - s->first - s->recent;
    p *= s->weight > 0 ? hwm_starts_weight_of(index, starts, a->id, row) / s->weight
                       : 1 / (double)s->n_any;
    if (s->terminal > 0) {
        p += s->terminal / (double)s->n_terminal * terminal_share(run, r, e->row + row);
    }
    if (s->first > 0 && run->first && e->row + row == 0) {
        p += s->first / (double)s->n_first;
    }
    if (s->recent > 0 && e->inserted_before + row >= s->recent_edge) {
        p += s->recent / (double)(s->n_any - s->before_recent);
    }
    return p;
}

// Start number i of the request.
static void draw_start(const hwm_index* index, const hwm_table_config* table,
                       const hwm_starts* starts, const hwm_sample_request* r, const shares* share,
                       double phase, int i, start* a) {
    uint32_t u[4];
    philox(table, r->draw, (uint32_t)i, 0, u);
    double x = (double)i * 0.6180339887498949 + phase;
    x -= (double)(int64_t)x;
    hwm_start_kind kind = HWM_START_ANY;
    uint64_t rank = 0;
    bool found = false;
    // with a limit every draw takes its start away, so the next newest is the newest again
    uint64_t place = hwm_index_times_limit(index) > 0 ? 0 : (uint64_t)i % share->n_any;
    if (r->selector == HWM_SELECT_NEWEST) {
        rank = share->n_any - 1 - place;
    } else if (r->selector == HWM_SELECT_OLDEST) {
        rank = place;
    } else if (x < share->terminal) {
        kind = HWM_START_TERMINAL;
        rank = below(share->n_terminal, u[0], u[1]);
    } else if (x < share->terminal + share->first) {
        kind = HWM_START_FIRST;
        rank = below(share->n_first, u[0], u[1]);
    } else if (x < share->terminal + share->first + share->recent) {
        rank = share->before_recent + below(share->n_any - share->before_recent, u[0], u[1]);
    } else if (share->weight > 0) {
        double at = ((double)u[0] + (double)u[1] * 0x1p-32) * 0x1p-32 * share->weight;
        hwm_starts_find_weight(index, starts, at, &a->id, &a->row);
        found = true;
    } else {
        rank = below(share->n_any, u[0], u[1]);
        found = r->selector == HWM_SELECT_ONLINE &&
                hwm_starts_take_fresh(index, starts, &a->id, &a->row);
    }
    if (!found) {
        hwm_starts_find(index, starts, kind, rank, &a->id, &a->row);
    }
    if (kind == HWM_START_TERMINAL && r->terminal_back_max > 0) {
        start back = *a;
        step_back(index, r, u, &back);
        *a = hwm_index_spent(index, back.id, back.row) ? *a : back;
    }
}

// Takes back what a request that failed has drawn. Write lock.
static void undraw(const hwm_sampler* s, hwm_index* index) {
    for (int i = 0; i < s->n_starts; i++) {
        hwm_index_drawn(index, s->start[i].id, s->start[i].row, true);
    }
}

static hwm_status draw_starts(hwm_sampler* s, hwm_index* index, const hwm_table_config* table,
                              const hwm_starts* starts, const hwm_sample_request* r,
                              hwm_error* err) {
    uint32_t u[4];
    philox(table, r->draw, UINT32_MAX, 0, u);
    double phase = u[0] * 0x1p-32;
    bool limited = hwm_index_times_limit(index) > 0;  // then under the write lock
    shares share = shares_of(index, starts, r);
    for (s->n_starts = 0; s->n_starts < r->batch; s->n_starts++) {
        if (limited) {
            share = shares_of(index, starts, r);
        }
        if (share.n_any == 0) {
            undraw(s, index);
            return hwm_fail(err, HWM_EAGAIN, "no %d sequences of %d rows are left to draw",
                            r->batch, r->length);
        }
        start* a = &s->start[s->n_starts];
        draw_start(index, table, starts, r, &share, phase, s->n_starts, a);
        if (limited) {
            a->probability = probability(&share, index, starts, r, a);
            hwm_index_drawn(index, a->id, a->row, false);
        }
        __builtin_prefetch(hwm_index_entry(index, a->id));
        __builtin_prefetch(hwm_index_offsets(index, a->id));
    }
    for (int i = 0; !limited && i < r->batch; i++) {
        s->start[i].probability = probability(&share, index, starts, r, &s->start[i]);
    }
    return HWM_OK;
}

// ---- pass 2: cut the sequences into pieces of chunks

static hwm_status room(void** array, size_t* capacity, size_t n, size_t element, hwm_error* err) {
    if (n <= *capacity) {
        return HWM_OK;
    }
    size_t want = n + n / 2;
    void* p = realloc(*array, want * element);
    if (p == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a sample of %zu pieces", n);
    }
    *array = p;
    *capacity = want;
    return HWM_OK;
}

// Rows [from, to) of a segment to batch rows at *row on, beginning in chunk `id`. The offsets are
// copied now and bound later.
static hwm_status add_pieces(hwm_sampler* s, const hwm_index* index, int n_offsets,
                             const hwm_run* run, uint64_t id, uint32_t from, uint32_t to,
                             uint32_t* row, uint32_t sequence, bool segments, bool key,
                             hwm_error* err) {
    uint32_t at = hwm_index_entry(index, id)->position - run->base;
    uint32_t param = UINT32_MAX;
    while (true) {
        const hwm_entry* e = hwm_index_entry(index, id);
        uint32_t end = e->row + e->steps < to ? e->row + e->steps : to;
        if (s->n_pieces == s->pieces_capacity) {
            hwm_status status = room((void**)&s->piece, &s->pieces_capacity, s->n_pieces + 1,
                                     sizeof *s->piece, err);
            if (status != HWM_OK) {
                return status;
            }
        }
        size_t offsets = (s->n_pieces + 1) * (size_t)n_offsets;
        if (offsets > s->offsets_capacity) {
            hwm_status status =
                room((void**)&s->offset, &s->offsets_capacity, offsets, sizeof *s->offset, err);
            if (status != HWM_OK) {
                return status;
            }
        }
        piece* p = &s->piece[s->n_pieces];
        *p = (piece){
            .value = e->value,
            .id = id,
            .row = from - e->row,
            .rows = end - from,
            .to = *row,
            .steps = e->steps,
            .patch =
                run->closed && !run->last && end == run->end ? (int32_t)(end - from) - 1 : HWM_NONE,
            .unverified = __atomic_load_n(&e->verified, __ATOMIC_RELAXED) ? 0 : e->value_bytes,
            .crc = e->value_crc,
            .sequence = sequence,
            .key = key,
        };
        memcpy(s->offset + s->n_pieces * (size_t)n_offsets, hwm_index_offsets(index, id),
               (size_t)n_offsets * sizeof *s->offset);
        s->n_pieces++;
        if (segments && e->param != param) {
            hwm_status status = room((void**)&s->segment, &s->segments_capacity, s->n_segments + 1,
                                     sizeof *s->segment, err);
            if (status != HWM_OK) {
                return status;
            }
            s->segment[s->n_segments++] = (hwm_segment){*row, *hwm_index_param(index, e->param)};
            param = e->param;
        }
        *row += end - from;
        from = end;
        key = false;
        if (from == to) {
            return HWM_OK;
        }
        id = run->id[++at];
    }
}

static hwm_status cut(hwm_sampler* s, const hwm_index* index, const hwm_table_config* table,
                      const hwm_sample_request* r, hwm_error* err) {
    int n_offsets = table->signature.n_columns + table->signature.n_keys;
    uint32_t rows = 0;
    s->n_pieces = s->n_segments = 0;
    for (int i = 0; i < r->batch; i++) {
        const start* a = &s->start[i];
        const hwm_entry* e = hwm_index_entry(index, a->id);
        const hwm_run* run = hwm_index_run(index, e->segment);
        uint32_t from = e->row + a->row;
        if (i + AHEAD < r->batch) {
            uint32_t next = hwm_index_entry(index, s->start[i + AHEAD].id)->segment;
            __builtin_prefetch(hwm_index_run(index, next));
        }
        uint32_t left = (uint32_t)r->length, have = run->end - from;
        hwm_status status = add_pieces(
            s, index, n_offsets, run, a->id, r->materialise ? e->row : from,
            from + (left < have ? left : have), &rows, (uint32_t)i, true, r->materialise, err);
        // on through the episodes that follow
        for (const hwm_run* next = run; status == HWM_OK && left > have;) {
            left -= have;
            next = hwm_index_run(index, next->after);
            have = next->end;
            status = add_pieces(s, index, n_offsets, next, next->id[next->head], 0,
                                left < have ? left : have, &rows, (uint32_t)i, true, false, err);
        }
        // context: pairs (j, j+1) of the same episode, drawn around the start
        uint32_t lo = run->begin, hi = run->end - 1, u[4] = {0};
        if (r->context_window > 0) {
            uint32_t w = (uint32_t)r->context_window;
            lo = from > lo + w ? from - w : lo;
            hi = hi > from + w + 1 ? from + w + 1 : hi;
        }
        for (int k = 0; k < r->context && status == HWM_OK; k++) {
            if (k % 4 == 0) {
                philox(table, r->draw, (uint32_t)i, (uint32_t)(1 + k / 4), u);
            }
            uint32_t j = lo + (uint32_t)((uint64_t)u[k % 4] * (hi - lo) >> 32);
            status = add_pieces(s, index, n_offsets, run, hwm_index_chunk_of_row(index, run, j), j,
                                j + 2, &rows, (uint32_t)i, false, false, err);
        }
        if (status != HWM_OK) {
            return status;
        }
    }
    return HWM_OK;
}

// What describes each sequence; the index is still locked.
static void describe(const hwm_sampler* s, const hwm_index* index, const hwm_sample_request* r,
                     hwm_batch* b) {
    uint32_t rows = 0;
    uint64_t inserted = hwm_index_inserted(index);
    b->inserted_steps = (int64_t)inserted;
    for (int i = 0; i < r->batch; i++) {
        const start* a = &s->start[i];
        const hwm_entry* e = hwm_index_entry(index, a->id);
        const hwm_run* run = hwm_index_run(index, e->segment);
        b->row[i] = rows;
        b->prefix[i] = r->materialise ? a->row : 0;
        rows += b->prefix[i] + (uint32_t)(r->length + 2 * r->context);
        b->stream[i] = run->stream;
        b->step[i] = run->first_step + e->row + a->row;
        b->episode[i] = run->episode;
        b->probability[i] = a->probability;
        b->age_steps[i] = (int64_t)(inserted - e->inserted_before - a->row);
    }
    b->row[r->batch] = rows;
    if (s->n_segments > 0) {
        memcpy(b->segment, s->segment, s->n_segments * sizeof *s->segment);
    }
}

// ---- pass 3: copy rows, without the lock

typedef struct wanted {
    int column;
    size_t bytes;  // of one row; 0: packed
    uint8_t* to;
    uint8_t* frames;  // packed: where the frames begin, and how many bytes are there so far
    uint32_t end;
} wanted;

static void prefetch_piece(const piece* p, const uint32_t* offset, const wanted* w, int n) {
    for (int c = 0; c < n; c++) {
        __builtin_prefetch(p->value + offset[w[c].column] + p->row * w[c].bytes);
    }
}

// What was on disk when the process began is checked when it is first read.
static hwm_status verify(hwm_sampler* s, hwm_index* index, const hwm_table_config* table,
                         hwm_error* err) {
    for (size_t i = 0; i < s->n_pieces; i++) {
        const piece* p = &s->piece[i];
        if (p->unverified == 0) {
            continue;
        }
        if (hwm_crc32c(0, p->value, p->unverified) != p->crc) {
            s->damaged = p->id;
            return hwm_fail(err, HWM_ECORRUPT, "chunk %llu of table %s fails its checksum",
                            (unsigned long long)p->id, table->name);
        }
        hwm_index_lock(index, false);
        hwm_index_set_verified(index, p->id);
        hwm_index_unlock(index);
    }
    return HWM_OK;
}

// Of a packed column in a chunk: where the frame of a row ends, row -1 included.
static uint32_t end_of(const uint8_t* packed, uint32_t row, uint32_t past) {
    uint32_t end = 0;
    if (row + past > 0) {
        memcpy(&end, packed + 4 * (size_t)(row + past - 1), 4);
    }
    return end;
}

// The rows of a piece of a packed column: its frames as they are, their ends counted anew.
static void copy_packed(wanted* w, const piece* p, const uint8_t* packed) {
    uint32_t begin = end_of(packed, p->row, 0), end = end_of(packed, p->row, p->rows);
    memcpy(w->frames + w->end, packed + 4 * (size_t)p->steps + begin, end - begin);
    for (uint32_t t = 0; t < p->rows; t++) {
        uint32_t at = w->end + end_of(packed, p->row, t + 1) - begin;
        memcpy(w->to + 4 * (size_t)(p->to + t), &at, 4);
    }
    w->end += end - begin;
}

// Packed columns: their size in this batch, and room for them.
static hwm_status place_packed(const hwm_sampler* s, size_t n_offsets, wanted* w, int n,
                               hwm_batch_block* out, hwm_error* err) {
    const size_t rows = out->batch.row[out->batch.batch];
    size_t total = 0;
    for (int c = 0; c < n; c++) {
        if (w[c].bytes > 0) {
            continue;
        }
        size_t bytes = 4 * rows;
        for (size_t i = 0; i < s->n_pieces; i++) {
            const piece* p = &s->piece[i];
            const uint8_t* packed = p->value + s->offset[i * n_offsets + (size_t)w[c].column];
            bytes += end_of(packed, p->row, p->rows) - end_of(packed, p->row, 0);
        }
        out->batch.packed_bytes[w[c].column] = bytes;
        total += bytes;
    }
    if (total == 0) {
        return HWM_OK;
    }
    if (total > UINT32_MAX) {
        return hwm_fail(err, HWM_EINVAL, "a sample of %zu packed bytes: ask for less", total);
    }
    hwm_status status = hwm_batch_block_packed(out, total, err);
    uint8_t* at = out->packed;
    for (int c = 0; c < n && status == HWM_OK; c++) {
        if (w[c].bytes == 0) {
            out->batch.column[w[c].column] = w[c].to = at;
            w[c].frames = at + 4 * rows;
            at += out->batch.packed_bytes[w[c].column];
        }
    }
    return status;
}

static hwm_status copy(hwm_sampler* s, hwm_index* index, const hwm_table_config* table,
                       hwm_batch_block* out, uint32_t columns, hwm_error* err) {
    const hwm_signature* g = &table->signature;
    hwm_batch* b = &out->batch;
    size_t n_offsets = (size_t)(g->n_columns + g->n_keys);
    wanted w[HWM_COLUMNS_MAX];
    int n = 0;
    for (int c = 0; c < g->n_columns; c++) {
        if (columns == 0 || (columns >> c & 1)) {
            bool packed = g->column[c].codec != HWM_CODEC_RAW;
            w[n++] = (wanted){.column = c,
                              .bytes = packed ? 0 : hwm_tensor_bytes(&g->column[c]),
                              .to = b->column[c]};
        }
    }
    hwm_status status = verify(s, index, table, err);
    if (status == HWM_OK) {
        status = place_packed(s, n_offsets, w, n, out, err);
    }
    if (status != HWM_OK) {
        return status;
    }
    uint8_t* flags = b->column[HWM_COLUMN_FLAGS];
    for (size_t i = 0; i < AHEAD && i < s->n_pieces; i++) {
        prefetch_piece(&s->piece[i], s->offset + i * n_offsets, w, n);
    }
    for (size_t i = 0; i < s->n_pieces; i++) {
        const piece* p = &s->piece[i];
        const uint32_t* offset = s->offset + i * n_offsets;
        if (i + AHEAD < s->n_pieces) {
            prefetch_piece(p + AHEAD, offset + AHEAD * n_offsets, w, n);
        }
        for (int c = 0; c < n; c++) {
            const uint8_t* column = p->value + offset[w[c].column];
            if (w[c].bytes > 0) {
                memcpy(w[c].to + p->to * w[c].bytes, column + p->row * w[c].bytes,
                       p->rows * w[c].bytes);
            } else {
                copy_packed(&w[c], p, column);
            }
        }
        if (p->patch != HWM_NONE && flags != NULL) {
            flags[p->to + (uint32_t)p->patch] |= HWM_FLAG_LAST;
        }
        for (int k = 0; p->key && k < g->n_keys; k++) {
            size_t bytes = hwm_tensor_bytes(&g->key[k]);
            memcpy((uint8_t*)b->key[k] + p->sequence * bytes, p->value + offset[g->n_columns + k],
                   bytes);
        }
    }
    return HWM_OK;
}

static bool ready_for(const hwm_starts* starts, const hwm_sample_request* r) {
    return (r->selector != HWM_SELECT_PRIORITISED ||
            hwm_starts_weighed(starts, r->priority_exponent)) &&
           (r->selector != HWM_SELECT_ONLINE || hwm_starts_online(starts));
}

// What a request needs of the index and a reader cannot make; also where draws are counted. Returns
// with the write lock.
static const hwm_starts* lock_and_prepare(hwm_index* index, uint32_t length,
                                          const hwm_sample_request* r) {
    hwm_index_lock(index, true);
    hwm_index_starts_create(index, length);
    const hwm_starts* starts = hwm_index_starts(index, length);
    if (ready_for(starts, r)) {
        return starts;
    }
    if (r->selector == HWM_SELECT_PRIORITISED) {
        hwm_index_weigh(index, length, r->priority_exponent);
    } else {
        hwm_index_open_online(index, length);
    }
    return starts;
}

hwm_status hwm_sampler_draw(hwm_sampler* sampler, hwm_index* index, const hwm_table_config* table,
                            const hwm_sample_request* request, hwm_batch_block* out,
                            hwm_error* err) {
    const hwm_sample_request* r = request;
    hwm_status status = room((void**)&sampler->start, &sampler->starts_capacity, (size_t)r->batch,
                             sizeof *sampler->start, err);
    if (status != HWM_OK) {
        return status;
    }
    // the view comes first: what the index names from now on is protected by it, evicted or not
    status = hwm_store_view_begin(sampler->view, err);
    if (status != HWM_OK) {
        return status;
    }
    // context needs a row with a successor, so a lone row is no start then
    uint32_t length = (uint32_t)(r->context > 0 && r->length < 2 ? 2 : r->length);
    length |= r->cross_episodes ? HWM_CROSSING : 0;
    hwm_index_lock(index, false);
    const hwm_starts* starts = hwm_index_starts(index, length);
    bool limited = hwm_index_times_limit(index) > 0;
    if (starts == NULL || !ready_for(starts, r) || limited) {
        hwm_index_unlock(index);
        starts = lock_and_prepare(index, length, r);
    }
    if (hwm_starts_total(starts, HWM_START_ANY) == 0) {
        status = hwm_fail(err, HWM_EAGAIN, "no sequence of %d rows is stored yet", r->length);
    } else {
        status = draw_starts(sampler, index, table, starts, r, err);
    }
    if (status == HWM_OK) {
        status = cut(sampler, index, table, r, err);
        if (status == HWM_OK) {
            const piece* tail = &sampler->piece[sampler->n_pieces - 1];
            status = hwm_batch_block_layout(out, table, r, tail->to + tail->rows,
                                            sampler->n_segments, err);
        }
        if (status == HWM_OK) {
            describe(sampler, index, r, &out->batch);
        }
        if (status != HWM_OK && hwm_index_times_limit(index) > 0) {
            undraw(sampler, index);
        }
    }
    hwm_index_unlock(index);
    if (status == HWM_OK) {
        status = copy(sampler, index, table, out, r->columns, err);
        if (status != HWM_OK && limited) {
            hwm_index_lock(index, true);
            undraw(sampler, index);
            hwm_index_unlock(index);
        }
    }
    hwm_store_view_end(sampler->view);
    return status;
}

uint64_t hwm_sampler_damaged(const hwm_sampler* sampler) {
    return sampler->damaged;
}
