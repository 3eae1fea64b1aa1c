// Tape: one reserved block, a bump pointer, and a list of backward calls, newest first.
#include "nn/tape.h"

#include "nn/gemm.h"
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

// One product of a weight's gradient that was put off.
typedef struct product {
    struct product* next;
    const hwm_real *dy, *x;
    int ld_dy, ld_x, rows;
} product;

// All that was put off for one block of a weight.
typedef struct block_products {
    product *first, *last;
} block_products;
typedef struct weight_products {
    struct weight_products* next;
    nn_var w;
    int out, in, blocks;
    block_products block[];
} weight_products;

struct nn_tape {
    unsigned char* base;
    size_t size, used, high_water;
    size_t top;    // memory from here on outlives segments: what belongs to values made outside
    size_t inner;  // where the innermost segment's memory begins; 0 outside
    op* newest;
    weight_products *first_weight, *last_weight;
    bool record;
};

hwm_status nn_tape_create(nn_tape** out, size_t bytes_max) {
    *out = NULL;
    nn_tape* t = calloc(1, sizeof *t);
    if (!t)
        return HWM_ENOMEM;
    // address space only: a page costs memory once it is touched, and stays for the next update
    t->size = (bytes_max + 4095) & ~(size_t)4095;
    void* base = mmap(NULL, t->size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        free(t);
        return HWM_ENOMEM;
    }
    madvise(base, t->size, MADV_HUGEPAGE);  // a hint: refused is fine
    t->base = base;
    t->top = t->size;
    t->record = true;
    *out = t;
    return HWM_OK;
}

void nn_tape_destroy(nn_tape** tape) {
    if (!*tape)
        return;
    munmap((*tape)->base, (*tape)->size);
    free(*tape);
    *tape = NULL;
}

void nn_tape_reset(nn_tape* t) {
    t->used = 0;
    t->top = t->size;
    t->inner = 0;
    t->newest = NULL;
    t->first_weight = t->last_weight = NULL;
}

void nn_tape_record(nn_tape* t, bool record) {
    t->record = record;
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

void* nn_beside(nn_tape* t, nn_var v, size_t bytes) {
    const unsigned char* at = (const unsigned char*)v;
    const bool within = at >= t->base + t->inner && at < t->base + t->used;
    return within ? take(t, bytes) : take_top(t, bytes);
}

void* nn_tape_alloc(nn_tape* t, size_t bytes) {
    return memset(take(t, bytes), 0, bytes);
}

nn_var nn_new(nn_tape* t, int rows, int cols, bool grad) {
    HWM_ASSERT(rows > 0 && cols > 0);
    const size_t bytes = (size_t)rows * (size_t)cols * sizeof(hwm_real);
    nn_var v = take(t, sizeof *v);
    hwm_real* x = take(t, bytes);
    hwm_real* g = grad && t->record ? nn_tape_alloc(t, bytes) : NULL;
    *v = (nn_value){.x = x, .g = g, .rows = rows, .cols = cols};
    return v;
}

nn_var nn_wrap(nn_tape* t, hwm_real* x, hwm_real* g, int rows, int cols) {
    HWM_ASSERT(x && rows > 0 && cols > 0);
    nn_var v = take(t, sizeof *v);
    *v = (nn_value){.x = x, .g = g, .rows = rows, .cols = cols, .leaf = true};
    return v;
}

nn_var nn_stop(nn_tape* t, nn_var x) {
    nn_var v = take(t, sizeof *v);
    *v = *x;
    v->g = NULL;
    return v;
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

// ---- weights

const hwm_real* nn_transposed(nn_tape* t, nn_var w, int blocks) {
    if (!w->xt) {
        const int rows = w->rows / blocks;
        const size_t block = (size_t)rows * (size_t)w->cols;
        w->xt = nn_beside(t, w, nn_count(w) * sizeof(hwm_real));
        w->xt_blocks = blocks;
        for (int b = 0; b < blocks; b++)
            nn_transpose(rows, w->cols, w->x + (size_t)b * block, w->xt + (size_t)b * block);
    }
    HWM_ASSERT(w->xt_blocks == blocks);
    return w->xt;
}

void nn_weight_gradient(nn_tape* t, nn_var w, size_t at, int out, int in, int rows,
                        const hwm_real* dy, int ld_dy, const hwm_real* x, int ld_x) {
    if (!w->leaf) {  // somebody's backward is going to read it
        nn_gemm_tn(out, in, rows, dy, ld_dy, x, ld_x, w->g + at, in, true);
        return;
    }
    weight_products* all = w->pending;
    if (!all) {
        const int blocks = w->rows / out;
        all = nn_tape_alloc(t, sizeof *all + (size_t)blocks * sizeof all->block[0]);
        all->w = w;
        all->out = out;
        all->in = in;
        all->blocks = blocks;
        w->pending = all;
        if (t->last_weight)
            t->last_weight->next = all;
        else
            t->first_weight = all;
        t->last_weight = all;
    }
    HWM_ASSERT(all->out == out && all->in == in);
    block_products* b = &all->block[at / ((size_t)out * (size_t)in)];
    product* p = take(t, sizeof *p);
    *p = (product){.dy = dy, .x = x, .ld_dy = ld_dy, .ld_x = ld_x, .rows = rows};
    if (b->last)
        b->last->next = p;
    else
        b->first = p;
    b->last = p;
}

// Products that were put off, in the order in which they came; those of few rows are copied side by
// side, so that one pass over a large gradient serves many time steps.
static void finish_block(nn_tape* t, const weight_products* all, int block) {
    enum { ROWS = 256 };
    const size_t mark = t->used;
    hwm_real *dy = NULL, *x = NULL;
    int rows = 0;
    hwm_real* g = all->w->g + (size_t)block * (size_t)all->out * (size_t)all->in;
    for (const product* p = all->block[block].first; p; p = p->next) {
        const bool copy = p->rows <= ROWS / 4;
        if (rows > 0 && (!copy || rows + p->rows > ROWS)) {
            nn_gemm_tn(all->out, all->in, rows, dy, all->out, x, all->in, g, all->in, true);
            rows = 0;
        }
        if (!copy) {
            nn_gemm_tn(all->out, all->in, p->rows, p->dy, p->ld_dy, p->x, p->ld_x, g, all->in,
                       true);
            continue;
        }
        if (!dy) {
            dy = take(t, (size_t)ROWS * (size_t)all->out * sizeof *dy);
            x = take(t, (size_t)ROWS * (size_t)all->in * sizeof *x);
        }
        for (int i = 0; i < p->rows; i++, rows++) {
            memcpy(dy + (size_t)rows * (size_t)all->out, p->dy + (size_t)i * (size_t)p->ld_dy,
                   (size_t)all->out * sizeof *dy);
            memcpy(x + (size_t)rows * (size_t)all->in, p->x + (size_t)i * (size_t)p->ld_x,
                   (size_t)all->in * sizeof *x);
        }
    }
    if (rows > 0)
        nn_gemm_tn(all->out, all->in, rows, dy, all->out, x, all->in, g, all->in, true);
    t->used = mark;
}

static void run_backward(nn_tape* t) {
    for (op* o = t->newest; o; o = o->older)
        o->backward(o->context);
    t->newest = NULL;
    for (weight_products* all = t->first_weight; all; all = all->next) {
        for (int b = 0; b < all->blocks; b++)
            finish_block(t, all, b);
        all->w->pending = NULL;
    }
    t->first_weight = t->last_weight = NULL;
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

// Runs fn without recording and moves its outputs down to where its memory began, by way of a place
// that neither touches.
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
    size_t bytes = 0;
    for (int i = 0; i < n_out; i++)
        bytes += 2 * (nn_count(inner[i]) * sizeof(hwm_real) + ALIGN) + sizeof(nn_value) + ALIGN;
    take(t, bytes);
    nn_value kept[OUT_MAX];
    for (int i = 0; i < n_out; i++) {
        const size_t size = nn_count(inner[i]) * sizeof(hwm_real);
        kept[i] = *inner[i];
        kept[i].x = memcpy(take(t, size), inner[i]->x, size);
    }
    t->used = mark;
    for (int i = 0; i < n_out; i++) {
        out[i] = nn_new(t, kept[i].rows, kept[i].cols, grad);
        memcpy(out[i]->x, kept[i].x, nn_count(out[i]) * sizeof(hwm_real));
    }
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
