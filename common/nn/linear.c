// Linear and normalised layers on the tape: their products, packed copies of weights, and gradients
// of weights, which wait until the end of the backward run.
#include <stddef.h>
#include <string.h>

#include "nn/gemm.h"
#include "nn/layers.h"
#include "nn/linear_inside.h"
#include "nn/pool.h"
#include "nn/rows.h"
#include "nn/tape_inside.h"

// ---- packed copies

const hwm_real* nn_packed(nn_tape* t, nn_var w, int blocks) {
    if (!w->packed) {
        const int rows = w->rows / blocks;
        const size_t block = (size_t)rows * (size_t)w->cols;
        w->packed = nn_beside(t, w, nn_count(w) * sizeof(hwm_real));
        w->packed_blocks = blocks;
        for (int b = 0; b < blocks; b++)
            nn_weight_pack(rows, w->cols, w->x + (size_t)b * block, w->packed + (size_t)b * block);
    }
    HWM_ASSERT(w->packed_blocks == blocks);
    return w->packed;
}

void nn_prepare(nn_tape* t, nn_var w, int blocks) {
    nn_packed(t, w, blocks);
}

void nn_block_product(nn_tape* t, nn_var w, int g, int blocks, int rows, const hwm_real* x, int ldx,
                      hwm_real* y, int ldy, const hwm_real* bias) {
    const int out = w->rows / blocks;
    if (w->bf16)
        nn_rounded_product(w, g, blocks, rows, x, ldx, y, ldy, bias);
    else
        nn_gemm_weight(rows, out, w->cols, 0, w->cols, x, ldx,
                       nn_packed(t, w, blocks) + (size_t)g * (size_t)out * (size_t)w->cols, y, ldy,
                       bias, false);
}

// ---- gradients of weights

typedef nn_weight_product product;

typedef struct block_products {
    product *first, *last;
} block_products;
typedef struct weight_products {
    struct weight_products* next;
    nn_var w;
    int out, in, blocks;
    block_products block[];
} weight_products;

// Where the gradients of one block go: straight into g (out,in), and those of one-hot columns by
// way of scatter (in,out), of which columns [low,high) of the input are in use.
typedef struct target {
    hwm_real *g, *scatter;
    int out, in, low, high;
} target;

static void add_product(const target* to, int rows, const hwm_real* dy, int ld_dy,
                        const hwm_real* x, int ld_x, int at, int cols) {
    nn_gemm_tn(to->out, cols, rows, dy, ld_dy, x, ld_x, to->g + at, to->in, true);
}

static void add_hot(nn_tape* t, target* to, const product* p, int part, int at) {
    const nn_part* x = &p->part[part];
    if (!to->scatter) {
        to->scatter = nn_tape_take(t, (size_t)to->in * (size_t)to->out * sizeof *to->scatter);
        to->low = to->high = at;
    }
    // columns are cleared when they are first used
    if (at < to->low || at + x->cols > to->high) {
        HWM_ASSERT(to->low == to->high);
        to->low = at;
        to->high = at + x->cols;
        memset(to->scatter + (size_t)at * (size_t)to->out, 0,
               (size_t)x->cols * (size_t)to->out * sizeof *to->scatter);
    }
    nn_hot_backward(to->scatter + (size_t)at * (size_t)to->out, p->dy, p->ld_dy, x->hot,
                    x->cols / x->classes, x->classes, p->rows, to->out);
}

// In tiles, so that both sides touch whole lines.
static void finish_hot(const target* to) {
    enum { TILE = 16 };
    const int in = to->in, out = to->out;
    for (int j0 = to->low; to->scatter && j0 < to->high; j0 += TILE)
        for (int i0 = 0; i0 < out; i0 += TILE)
            for (int i = i0; i < i0 + TILE && i < out; i++)
                for (int j = j0; j < j0 + TILE && j < to->high; j++)
                    to->g[(ptrdiff_t)i * in + j] += to->scatter[(ptrdiff_t)j * out + i];
}

// Products in the order in which they came. Those of few rows are copied side by side, so that one
// pass over a large gradient serves many time steps.
static void finish_block(nn_tape* t, const weight_products* all, int block) {
    enum { ROWS = 256 };
    const size_t mark = nn_tape_used(t), size = (size_t)all->out * (size_t)all->in;
    target to = {.g = all->w->g + (size_t)block * size, .out = all->out, .in = all->in};
    hwm_real *dy = NULL, *x = NULL;
    const bool rounded = all->w->bf16 != NULL;
    if (rounded)
        nn_rounded_weight_gradient(t, all->block[block].first, to.g, to.out, to.in);
    int rows = 0, at[3] = {0};       // rows that wait, first columns of their parts
    bool dense[2] = {false, false};  // which of their parts wait
    for (const product* p = all->block[block].first;; p = p->next) {
        const bool copy = p && p->rows <= ROWS / 4;
        const bool same = p && at[1] == p->part[0].cols && dense[0] == !p->part[0].hot &&
                          dense[1] == (p->part[1].cols > 0 && !p->part[1].hot);
        if (rows > 0 && (!copy || !same || rows + p->rows > ROWS)) {
            for (int i = 0; i < 2; i++)
                if (dense[i])
                    add_product(&to, rows, dy, to.out, x + at[i], to.in, at[i], at[i + 1] - at[i]);
            rows = 0;
        }
        if (!p)
            break;
        at[1] = p->part[0].cols;
        at[2] = at[1] + p->part[1].cols;
        for (int i = 0; i < 2; i++) {
            const nn_part* part = &p->part[i];
            dense[i] = part->cols > 0 && !part->hot;
            if (part->hot)
                add_hot(t, &to, p, i, at[i]);
            else if (dense[i] && !copy && !rounded)
                add_product(&to, p->rows, p->dy, p->ld_dy, part->x, part->ld, at[i], part->cols);
        }
        if (rounded || !copy || !(dense[0] || dense[1]))
            continue;
        if (!dy) {
            dy = nn_tape_take(t, (size_t)ROWS * (size_t)to.out * sizeof *dy);
            x = nn_tape_take(t, (size_t)ROWS * (size_t)to.in * sizeof *x);
        }
        for (int n = 0; n < p->rows; n++, rows++) {
            memcpy(dy + (size_t)rows * (size_t)to.out, p->dy + (size_t)n * (size_t)p->ld_dy,
                   (size_t)to.out * sizeof *dy);
            for (int i = 0; i < 2; i++)
                if (dense[i])
                    memcpy(x + (size_t)rows * (size_t)to.in + at[i],
                           p->part[i].x + (size_t)n * (size_t)p->part[i].ld,
                           (size_t)p->part[i].cols * sizeof *x);
        }
    }
    finish_hot(&to);
    nn_tape_give_back(t, mark);
}

void nn_finish_weights(nn_tape* t) {
    nn_put_off* off = nn_tape_put_off(t);
    for (weight_products* all = off->first; all; all = all->next) {
        for (int b = 0; b < all->blocks; b++)
            finish_block(t, all, b);
        all->w->pending = NULL;
    }
    *off = (nn_put_off){0};
}

void nn_weight_gradient(nn_tape* t, nn_var w, int block, int blocks, int rows, const hwm_real* dy,
                        int ld_dy, nn_part a, nn_part b) {
    const int out = w->rows / blocks, in = w->cols;
    HWM_ASSERT(a.cols + b.cols == in);
    if (!w->leaf) {  // somebody's backward is going to read it
        hwm_real* g = w->g + (size_t)block * (size_t)out * (size_t)in;
        nn_gemm_tn(out, a.cols, rows, dy, ld_dy, a.x, a.ld, g, in, true);
        if (b.cols > 0)
            nn_gemm_tn(out, b.cols, rows, dy, ld_dy, b.x, b.ld, g + a.cols, in, true);
        return;
    }
    weight_products* all = w->pending;
    if (!all) {
        all = nn_tape_alloc(t, sizeof *all + (size_t)blocks * sizeof all->block[0]);
        all->w = w;
        all->out = out;
        all->in = in;
        all->blocks = blocks;
        w->pending = all;
        nn_put_off* off = nn_tape_put_off(t);
        if (off->last)
            off->last->next = all;
        else
            off->first = all;
        off->last = all;
    }
    HWM_ASSERT(all->blocks == blocks);
    block_products* list = &all->block[block];
    product* p = nn_tape_take(t, sizeof *p);
    *p = (product){.dy = dy, .ld_dy = ld_dy, .rows = rows, .part = {a, b}};
    if (list->last)
        list->last->next = p;
    else
        list->first = p;
    list->last = p;
}

// ---- the layer

typedef nn_affine affine;

static nn_part block_of(const affine* k, int g) {
    const int cols = k->a->cols / k->blocks;
    return (nn_part){k->a->x + g * cols, k->a->cols, cols, k->a->hot, k->a->classes};
}

// The same from row `from` on.
static nn_part rows_of(nn_part p, int from) {
    p.x += (ptrdiff_t)from * p.ld;
    if (p.hot)
        p.hot += (ptrdiff_t)from * (p.cols / p.classes);
    return p;
}

// rows [first,last) of y_g = or (add) += columns x of the input, which begin at `from`, times their
// rows of the packed weight
static void add_part(const affine* k, int g, nn_part x, int from, bool add, const hwm_real* packed,
                     int first, int last) {
    const int out = k->y->cols / k->blocks, in = k->w->cols, width = nn_weight_block(out);
    const int rows = last - first, ld = k->y->cols;
    x = rows_of(x, first);
    hwm_real* to = k->y->x + (ptrdiff_t)first * ld + g * out;
    const hwm_real* bias = k->bias && !add ? k->bias->x + g * out : NULL;
    if (!x.hot) {
        nn_gemm_weight(rows, out, in, from, x.cols, x.x, x.ld, packed, to, ld, bias, add);
        return;
    }
    for (int j = 0; j < out; j += width)
        nn_hot_forward(to + j, ld, packed + (ptrdiff_t)j * in + (ptrdiff_t)from * width,
                       bias ? bias + j : NULL, add, x.hot, x.cols / x.classes, x.classes, rows,
                       width);
}

static void affine_rows(const affine* k, int first, int last) {
    const hwm_real* packed = k->w->packed;
    const size_t block = nn_count(k->w) / (size_t)k->blocks;
    const bool rounded = k->w->bf16 != NULL, begun = rounded && nn_rounded_forward(k, first, last);
    for (int g = 0; g < k->blocks; g++, packed += block) {
        const nn_part part = block_of(k, g);
        if (!rounded || part.hot)
            add_part(k, g, part, 0, begun, packed, first, last);
        if (k->b && (!rounded || k->b->hot))
            add_part(k, g, nn_whole(k->b), part.cols, true, packed, first, last);
    }
}

// dx (rows, part.cols) += dy (rows, out) times columns [from, from + part.cols) of w_g
static void add_dx(const affine* k, int g, int from, int cols, hwm_real* dx, int ld_dx) {
    enum { FEW_ROWS = 64, LARGE = 1 << 17 };
    nn_var w = k->w;
    const int in = w->cols, out = w->rows / k->blocks;
    const hwm_real* d = k->y->g + g * out;
    const size_t at = (size_t)g * (size_t)out * (size_t)in;
    if (k->y->rows > FEW_ROWS || nn_count(w) < LARGE || in % NN_WEIGHT_COLUMNS != 0 ||
        from % NN_WEIGHT_COLUMNS != 0 || cols % NN_WEIGHT_COLUMNS != 0) {
        nn_gemm_nn(k->y->rows, cols, out, d, k->y->cols, w->x + at + from, in, dx, ld_dx, NULL,
                   true);
        return;
    }
    if (!w->columns) {
        w->columns = nn_beside(k->t, w, nn_count(w) * sizeof(hwm_real));
        for (int b = 0; b < k->blocks; b++) {
            const size_t block = (size_t)b * (size_t)out * (size_t)in;
            nn_columns_pack(out, in, w->x + block, w->columns + block);
        }
    }
    nn_gemm_columns(k->y->rows, cols, out, from, d, k->y->cols, w->columns + at, dx, ld_dx);
}

static void affine_backward(void* context) {
    const affine* k = context;
    nn_var y = k->y, a = k->a, b = k->b, w = k->w;
    const int out = w->rows / k->blocks;
    if (w->bf16)
        nn_rounded_dx(k);
    for (int g = 0; g < k->blocks; g++) {
        const hwm_real* d = y->g + g * out;
        const nn_part part = block_of(k, g);
        if (a->g && !w->bf16)
            add_dx(k, g, 0, part.cols, a->g + g * part.cols, a->cols);
        if (b && b->g && !w->bf16)
            add_dx(k, g, part.cols, b->cols, b->g, b->cols);
        if (w->g)
            nn_weight_gradient(k->t, w, g, k->blocks, y->rows, d, y->cols, part,
                               b ? nn_whole(b) : (nn_part){0});
    }
    if (k->bias && k->bias->g)
        nn_sum_rows(k->bias->g, y->g, y->rows, y->cols);
}

// A layer with y made and its backward recorded; nothing computed yet.
static affine prepare_affine(nn_tape* t, nn_var a, nn_var b, nn_var w, nn_var bias, int blocks) {
    HWM_ASSERT(blocks > 0 && w->rows % blocks == 0 && a->cols % blocks == 0);
    HWM_ASSERT(a->cols / blocks + (b ? b->cols : 0) == w->cols && (!b || b->rows == a->rows));
    HWM_ASSERT(!a->hot || blocks == 1);
    HWM_ASSERT(!bias || (bias->rows == 1 && bias->cols == w->rows));
    const bool grad = a->g || (b && b->g) || w->g || (bias && bias->g);
    const affine k = {t, nn_new(t, a->rows, w->rows, grad), a, b, w, bias, blocks};
    if (!w->bf16 || a->hot || (b && b->hot))
        nn_packed(t, w, blocks);
    if (k.y->g) {
        affine* kept = nn_tape_take(t, sizeof *kept);
        *kept = k;
        nn_custom(t, affine_backward, kept);
    }
    return k;
}

nn_var nn_linear_parts(nn_tape* t, nn_var x, nn_var shared, nn_var w, nn_var b, int blocks) {
    const affine k = prepare_affine(t, x, shared, w, b, blocks);
    affine_rows(&k, 0, k.y->rows);
    return k.y;
}

nn_var nn_block_linear(nn_tape* t, nn_var x, nn_var w, nn_var b, int blocks) {
    return nn_linear_parts(t, x, NULL, w, b, blocks);
}

// ---- normalised layers

static const hwm_real norm_eps = (hwm_real)1e-4;

// ---- normalised layers

// What forward and backward of a normalised layer share, and where each piece of rows puts its part
// of the gain's gradient.
typedef struct normalised {
    nn_var y, x, g;
    hwm_real* rrms;   // (rows)
    hwm_real* parts;  // (pieces, 3, cols): sum for dg, two rows of scratch
    int silu;
} normalised;

static void norm_piece(void* context, int piece, int from, int to) {
    const normalised* k = context;
    (void)piece;
    const size_t at = (size_t)from * (size_t)k->x->cols;
    nn_rms_forward(k->y->x + at, k->rrms + from, k->x->x + at, k->g->x, norm_eps, k->silu,
                   to - from, k->x->cols);
}

static void norm_backward_piece(void* context, int piece, int from, int to) {
    const normalised* k = context;
    const int D = k->x->cols;
    const size_t at = (size_t)from * (size_t)D;
    hwm_real* part = k->parts + (size_t)piece * 3 * (size_t)D;
    nn_rms_backward(k->x->g ? k->x->g + at : NULL, k->g->g ? part : NULL, k->y->g + at,
                    k->x->x + at, k->g->x, k->rrms + from, k->silu, part + D, to - from, D);
}

static void norm_backward(void* context) {
    const normalised* k = context;
    const int rows = k->x->rows, D = k->x->cols;
    nn_over_rows(rows, D, norm_backward_piece, context);
    if (k->g->g)
        for (int i = 0; i < nn_pieces(rows, D); i++)
            nn_accumulate(k->g->g, k->parts + (size_t)i * 3 * (size_t)D, D);
}

// What forward and backward need, recorded where y has a gradient; y may be x where nothing is.
static normalised* prepare_norm(nn_tape* t, nn_var y, nn_var x, nn_var g, int silu) {
    HWM_ASSERT(g->rows == 1 && g->cols == x->cols);
    normalised* k = nn_tape_alloc(t, sizeof *k);
    *k = (normalised){.y = y, .x = x, .g = g, .silu = silu};
    k->rrms = nn_new(t, 1, x->rows, false)->x;
    if (y->g) {
        k->parts = nn_tape_alloc(t, (size_t)nn_pieces(x->rows, x->cols) * 3 * (size_t)x->cols *
                                        sizeof(hwm_real));
        nn_custom(t, norm_backward, k);
    }
    return k;
}

static nn_var norm(nn_tape* t, nn_var x, nn_var g, int silu) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g || g->g);
    nn_over_rows(x->rows, x->cols, norm_piece, prepare_norm(t, y, x, g, silu));
    return y;
}

nn_var nn_norm(nn_tape* t, nn_var x, nn_var g) {
    return norm(t, x, g, 0);
}
nn_var nn_norm_silu(nn_tape* t, nn_var x, nn_var g) {
    return norm(t, x, g, 1);
}
// ---- linear, normalised, silu: each piece of rows goes through all of it while it is in the cache

typedef struct layer {
    affine linear;
    normalised* norm;
} layer;

enum { FUSED_ROWS = 128, FUSED_WEIGHTS = 1 << 18 };

static void layer_rows(const layer* k, int first, int last) {
    affine_rows(&k->linear, first, last);
    norm_piece(k->norm, 0, first, last);
}

static void layer_piece(void* context, int i) {
    const layer* k = context;
    const int first = i * FUSED_ROWS, rows = k->linear.y->rows;
    layer_rows(k, first, first + FUSED_ROWS < rows ? first + FUSED_ROWS : rows);
}

nn_var nn_layer_parts(nn_tape* t, nn_var x, nn_var shared, nn_var w, nn_var b, nn_var g,
                      int blocks) {
    layer k = {.linear = prepare_affine(t, x, shared, w, b, blocks)};
    nn_var sums = k.linear.y;
    // where nothing is recorded nobody reads the sums again: the result takes their place
    nn_var y = nn_recording(t) ? nn_new(t, sums->rows, sums->cols, sums->g || g->g) : sums;
    k.norm = prepare_norm(t, y, sums, g, 1);
    if (nn_count(w) <= FUSED_WEIGHTS) {
        nn_parallel((y->rows + FUSED_ROWS - 1) / FUSED_ROWS, layer_piece, &k);
    } else {  // a large weight is read once for all rows, by all threads
        affine_rows(&k.linear, 0, y->rows);
        nn_over_rows(y->rows, y->cols, norm_piece, k.norm);
    }
    return y;
}

nn_var nn_layer(nn_tape* t, nn_var x, nn_var w, nn_var b, nn_var g) {
    return nn_layer_parts(t, x, NULL, w, b, g, 1);
}
