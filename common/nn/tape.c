// Tape: one reserved block, a bump pointer, and a list of backward calls, newest first.
#include "nn/tape.h"

#include "nn/pool.h"
#include "nn/tape_inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64 };

typedef struct op {
    struct op* older;
    nn_backward_fn backward;
    void* context;
} op;

struct nn_tape {
    unsigned char* base;
    size_t size, used, high_water;
    size_t top;    // memory from here on outlives segments: what belongs to values made outside
    size_t inner;  // where the innermost segment's memory begins; 0 outside
    op* newest;
    nn_put_off put_off;
    unsigned char* shared;  // gradients of sections, address space like base; NULL: no section yet
    size_t shared_used;
    bool in_section;
    bool record;
};

// Address space only: a page costs memory once it is touched, and stays for the next update.
static unsigned char* reserve(size_t bytes) {
    void* base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    madvise(base, bytes, MADV_HUGEPAGE);  // a hint: refused is fine
    return base;
}

hwm_status nn_tape_create(nn_tape** out, size_t bytes_max) {
    *out = NULL;
    nn_tape* t = calloc(1, sizeof *t);
    if (!t)
        return HWM_ENOMEM;
    t->size = (bytes_max + 4095) & ~(size_t)4095;
    t->base = reserve(t->size);
    if (!t->base) {
        free(t);
        return HWM_ENOMEM;
    }
    t->top = t->size;
    t->record = true;
    *out = t;
    return HWM_OK;
}

void nn_tape_destroy(nn_tape** tape) {
    if (!*tape)
        return;
    munmap((*tape)->base, (*tape)->size);
    if ((*tape)->shared)
        munmap((*tape)->shared, (*tape)->size);
    free(*tape);
    *tape = NULL;
}

void nn_tape_reset(nn_tape* t) {
    t->used = 0;
    t->top = t->size;
    t->inner = 0;
    t->newest = NULL;
    t->put_off = (nn_put_off){0};
    t->in_section = false;
}

void nn_tape_record(nn_tape* t, bool record) {
    t->record = record;
}

bool nn_recording(const nn_tape* t) {
    return t->record;
}

size_t nn_tape_used(const nn_tape* t) {
    return t->used;
}
size_t nn_tape_high_water(const nn_tape* t) {
    return t->high_water;
}

static void* take(nn_tape* t, size_t bytes) {
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    HWM_ASSERT(bytes <= t->top - t->used);  // bytes_max of nn_tape_create is too small
    void* p = t->base + t->used;
    t->used += bytes;
    if (nn_tape_used(t) > t->high_water)
        t->high_water = nn_tape_used(t);
    return p;
}

static void* take_top(nn_tape* t, size_t bytes) {
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    HWM_ASSERT(bytes <= t->top - t->used);
    t->top -= bytes;
    if (nn_tape_used(t) > t->high_water)
        t->high_water = nn_tape_used(t);
    return t->base + t->top;
}

void* nn_tape_take(nn_tape* t, size_t bytes) {
    return take(t, bytes);
}

void nn_tape_give_back(nn_tape* t, size_t mark) {
    t->used = mark;
}

nn_put_off* nn_tape_put_off(nn_tape* t) {
    return &t->put_off;
}

void* nn_beside(nn_tape* t, nn_var v, size_t bytes) {
    const unsigned char* at = (const unsigned char*)v;
    const bool within = at >= t->base + t->inner && at < t->base + t->used;
    return within ? take(t, bytes) : take_top(t, bytes);
}

void* nn_tape_alloc(nn_tape* t, size_t bytes) {
    return memset(take(t, bytes), 0, bytes);
}

// Memory of a section's gradients, cleared when the section is opened.
static void* share(nn_tape* t, size_t bytes) {
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    HWM_ASSERT(bytes <= t->size - t->shared_used);
    void* p = t->shared + t->shared_used;
    t->shared_used += bytes;
    return p;
}

void nn_section_begin(nn_tape* t) {
    HWM_ASSERT(!t->newest && !t->in_section && t->inner == 0);
    if (!t->shared)
        t->shared = reserve(t->size);
    HWM_ASSERT(t->shared);  // address space costs nothing
    t->shared_used = 0;
    t->in_section = true;
}

nn_section nn_section_end(nn_tape* t) {
    HWM_ASSERT(t->in_section);
    const nn_section s = {t->newest, t->shared_used};
    t->newest = NULL;
    t->in_section = false;
    return s;
}

void nn_section_open(nn_tape* t, const nn_section* section) {
    HWM_ASSERT(!t->newest && !t->in_section);
    t->newest = section->newest;
    if (section->bytes > 0)
        memset(t->shared, 0, section->bytes);
}

nn_var nn_new(nn_tape* t, int rows, int cols, bool grad) {
    HWM_ASSERT(rows > 0 && cols > 0);
    const size_t bytes = (size_t)rows * (size_t)cols * sizeof(hwm_real);
    nn_var v = take(t, sizeof *v);
    hwm_real* x = take(t, bytes);
    hwm_real* g = !grad || !t->record ? NULL
                  : t->in_section     ? share(t, bytes)
                                      : nn_tape_alloc(t, bytes);
    *v = (nn_value){.x = x, .g = g, .rows = rows, .cols = cols};
    return v;
}

nn_var nn_wrap(nn_tape* t, hwm_real* x, hwm_real* g, int rows, int cols) {
    HWM_ASSERT(x && rows > 0 && cols > 0);
    nn_var v = take(t, sizeof *v);
    *v = (nn_value){.x = x, .g = g, .rows = rows, .cols = cols, .leaf = true};
    return v;
}

nn_var nn_twin(nn_tape* t, nn_var x, hwm_real* g) {
    nn_var v = take(t, sizeof *v);
    *v = *x;
    v->g = g;
    v->pending = NULL;
    return v;
}

nn_var nn_stop(nn_tape* t, nn_var x) {
    return nn_twin(t, x, NULL);
}

void nn_record(nn_tape* t, nn_backward_fn backward, call c) {
    if (!c.y->g)
        return;
    call* kept = take(t, sizeof *kept);
    *kept = c;
    nn_custom(t, backward, kept);
}

void nn_custom(nn_tape* t, nn_backward_fn backward, void* context) {
    if (!t->record)
        return;
    op* o = take(t, sizeof *o);
    *o = (op){.older = t->newest, .backward = backward, .context = context};
    t->newest = o;
}

void nn_seed(nn_var loss, hwm_real weight) {
    HWM_ASSERT(loss->g);
    const size_t n = (size_t)loss->rows * (size_t)loss->cols;
    for (size_t i = 0; i < n; i++)
        loss->g[i] += weight;
}

static void run_backward(nn_tape* t) {
    for (op* o = t->newest; o; o = o->older)
        o->backward(o->context);
    t->newest = NULL;
    nn_finish_weights(t);
}

void nn_tape_backward(nn_tape* t) {
    run_backward(t);
}

// ---- rows over threads

enum { PIECE = 16384 };

static int rows_of_piece(int cols) {
    return cols < PIECE ? PIECE / cols : 1;
}

int nn_pieces(int rows, int cols) {
    const int each = rows_of_piece(cols);
    return (rows + each - 1) / each;
}

typedef struct rows_task {
    nn_rows_fn fn;
    void* context;
    int rows, each;
} rows_task;

static void run_piece(void* context, int i) {
    const rows_task* k = context;
    const int from = i * k->each, to = from + k->each;
    k->fn(k->context, i, from, to < k->rows ? to : k->rows);
}

void nn_over_rows(int rows, int cols, nn_rows_fn fn, void* context) {
    rows_task k = {fn, context, rows, rows_of_piece(cols)};
    nn_parallel(nn_pieces(rows, cols), run_piece, &k);
}

// ---- segments

enum { OUT_MAX = 32 };
typedef struct segment {
    nn_tape* tape;
    nn_segment_fn fn;
    void* context;
    int n;
    nn_var out[OUT_MAX];
} segment;

static void segment_backward(void* context) {
    const segment* s = context;
    nn_tape* t = s->tape;
    const size_t mark = t->used, outside = t->inner;
    op* const outer = t->newest;
    t->inner = mark;
    t->newest = NULL;
    t->record = true;
    nn_var again[OUT_MAX];
    s->fn(t, s->context, again);
    for (int i = 0; i < s->n; i++)
        if (again[i]->g)
            for (size_t j = 0, n = nn_count(again[i]); j < n; j++)
                again[i]->g[j] += s->out[i]->g[j];
    run_backward(t);
    t->newest = outer;
    t->inner = outside;
    t->used = mark;
}

static size_t hot_bytes(const nn_value* v) {
    return v->hot ? nn_count((nn_var)v) / (size_t)v->classes * sizeof *v->hot : 0;
}

// The places of kept outputs, made in this order at `used`; x and hot of `from` are copied there.
static void keep(nn_tape* t, const nn_value* from, bool grad, nn_var* out) {
    *out = nn_new(t, from->rows, from->cols, grad);
    memmove((*out)->x, from->x, nn_count(*out) * sizeof(hwm_real));
    if (from->hot) {
        (*out)->hot = memmove(take(t, hot_bytes(from)), from->hot, hot_bytes(from));
        (*out)->classes = from->classes;
    }
}

// Runs fn without recording and moves its outputs down to where its memory began.
static void run_and_compact(nn_tape* t, nn_segment_fn fn, void* context, int n_out, nn_var* out,
                            bool grad) {
    HWM_ASSERT(n_out > 0 && n_out <= OUT_MAX);
    const size_t mark = t->used, outside = t->inner;
    const bool record = t->record;
    t->record = false;
    t->inner = mark;
    nn_var inner[OUT_MAX];
    fn(t, context, inner);
    t->record = record;
    t->inner = outside;
    nn_value kept[OUT_MAX];
    size_t bytes = 0;  // that the kept outputs take
    for (int i = 0; i < n_out; i++) {
        kept[i] = *inner[i];
        bytes += (grad ? 2 : 1) * (nn_count(inner[i]) * sizeof(hwm_real) + ALIGN) +
                 hot_bytes(inner[i]) + sizeof(nn_value) + 2 * ALIGN;
    }
    // where an output lies in what the kept ones are going to take, all go by way of a place that
    // neither touches
    bool apart = true;
    for (int i = 0; i < n_out; i++) {
        const unsigned char *x = (const unsigned char*)kept[i].x,
                            *hot = (const unsigned char*)kept[i].hot, *from = t->base + mark,
                            *to = from + bytes;
        apart = apart && (x >= to || x < from) && (!hot || hot >= to || hot < from);
    }
    if (!apart) {
        if (t->used < mark + bytes)
            take(t, mark + bytes - t->used);
        for (int i = 0; i < n_out; i++) {
            const size_t size = nn_count(inner[i]) * sizeof(hwm_real);
            kept[i].x = memcpy(take(t, size), kept[i].x, size);
            if (kept[i].hot)
                kept[i].hot =
                    memcpy(take(t, hot_bytes(&kept[i])), kept[i].hot, hot_bytes(&kept[i]));
        }
    }
    t->used = mark;
    for (int i = 0; i < n_out; i++)
        keep(t, &kept[i], grad, &out[i]);
}

void nn_constant(nn_tape* t, nn_segment_fn fn, void* context, int n_out, nn_var* out) {
    run_and_compact(t, fn, context, n_out, out, false);
}

void nn_segment(nn_tape* t, nn_segment_fn fn, void* context, int n_out, nn_var* out) {
    if (!t->record) {
        fn(t, context, out);
        return;
    }
    segment* s = nn_tape_alloc(t, sizeof *s);
    *s = (segment){.tape = t, .fn = fn, .context = context, .n = n_out};
    run_and_compact(t, fn, context, n_out, out, true);
    memcpy(s->out, out, (size_t)n_out * sizeof out[0]);
    nn_custom(t, segment_backward, s);
}
