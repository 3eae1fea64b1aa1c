// Layers of the world models on the tape.
#include "nn/layers.h"

#include <math.h>
#include <string.h>

#include "nn/elements.h"
#include "nn/linear_inside.h"
#include "nn/rows.h"

// ---- recurrent cell

typedef struct gates {
    nn_var y, z, h;
    hwm_real* cache;  // (rows, 3, D)
    hwm_real* spare;  // gradient of gates that nobody asked for, or NULL
    int blocks;
} gates;

static void gru_piece(void* context, int piece, int from, int to) {
    const gates* k = context;
    (void)piece;
    const size_t at = (size_t)from * (size_t)k->y->cols;
    nn_gru_forward(k->y->x + at, k->cache ? k->cache + 3 * at : NULL, k->z->x + 3 * at,
                   k->h->x + at, to - from, k->y->cols, k->blocks);
}

static void gru_backward_piece(void* context, int piece, int from, int to) {
    const gates* k = context;
    (void)piece;
    const size_t at = (size_t)from * (size_t)k->y->cols;
    nn_gru_backward((k->z->g ? k->z->g : k->spare) + 3 * at, k->h->g ? k->h->g + at : NULL,
                    k->y->g + at, k->cache + 3 * at, k->z->x + 3 * at, k->h->x + at, to - from,
                    k->y->cols, k->blocks);
}

static void gru_backward(void* context) {
    const gates* k = context;
    nn_over_rows(k->y->rows, 3 * k->y->cols, gru_backward_piece, context);
}

nn_var nn_gru(nn_tape* t, nn_var z, nn_var h, int blocks) {
    HWM_ASSERT(z->rows == h->rows && z->cols == 3 * h->cols && h->cols % blocks == 0);
    nn_var y = nn_new(t, h->rows, h->cols, z->g || h->g);
    gates* k = nn_tape_alloc(t, sizeof *k);
    *k = (gates){.y = y, .z = z, .h = h, .blocks = blocks};
    if (y->g)
        k->cache = nn_new(t, z->rows, z->cols, false)->x;
    if (y->g && !z->g)
        k->spare = nn_new(t, z->rows, z->cols, false)->x;
    nn_over_rows(y->rows, 3 * y->cols, gru_piece, k);
    if (y->g)
        nn_custom(t, gru_backward, k);
    return y;
}

// Where nothing is recorded one block of gates at a time is enough.
nn_var nn_gru_layer(nn_tape* t, nn_var x, nn_var w, nn_var b, nn_var h, int blocks) {
    if (nn_recording(t))
        return nn_gru(t, nn_block_linear(t, x, w, b, blocks), h, blocks);
    HWM_ASSERT(x->cols == h->cols && w->rows == 3 * h->cols && h->cols % blocks == 0);
    HWM_ASSERT(w->cols == x->cols / blocks && (!b || b->cols == w->rows));
    const int N = h->rows, d = h->cols / blocks, in = w->cols;
    nn_var y = nn_new(t, N, h->cols, false);
    if (!w->bf16)
        nn_packed(t, w, blocks);
    const size_t mark = nn_tape_used(t);
    hwm_real* z = nn_tape_take(t, (size_t)N * 3 * (size_t)d * sizeof *z);
    for (int g = 0; g < blocks; g++) {
        nn_block_product(t, w, g, blocks, N, x->x + g * in, x->cols, z, 3 * d,
                         b ? b->x + g * 3 * d : NULL);
        nn_gru_block(y->x + g * d, y->cols, z, h->x + g * d, h->cols, N, d);
    }
    nn_tape_give_back(t, mark);
    return y;
}

// ---- rows

typedef struct gathered {
    nn_var y, x;
    const int* index;
} gathered;

static void gather_backward(void* context) {
    const gathered* k = context;
    for (int i = 0; i < k->y->rows; i++)
        nn_accumulate(k->x->g + (size_t)k->index[i] * (size_t)k->x->cols,
                      k->y->g + (size_t)i * (size_t)k->y->cols, k->y->cols);
}

nn_var nn_gather(nn_tape* t, nn_var x, const int* index, int n) {
    nn_var y = nn_new(t, n, x->cols, x->g);
    for (int i = 0; i < n; i++) {
        HWM_ASSERT(index[i] >= 0 && index[i] < x->rows);
        memcpy(y->x + (size_t)i * (size_t)x->cols, x->x + (size_t)index[i] * (size_t)x->cols,
               (size_t)x->cols * sizeof(hwm_real));
    }
    if (x->hot) {
        const int groups = x->cols / x->classes;
        int* hot = nn_tape_take(t, (size_t)n * (size_t)groups * sizeof *hot);
        for (int i = 0; i < n; i++)
            memcpy(hot + (size_t)i * (size_t)groups, x->hot + (size_t)index[i] * (size_t)groups,
                   (size_t)groups * sizeof *hot);
        y->hot = hot;
        y->classes = x->classes;
    }
    if (y->g) {
        gathered* k = nn_tape_alloc(t, sizeof *k);
        *k = (gathered){y, x, index};
        nn_custom(t, gather_backward, k);
    }
    return y;
}

static void mask_rows_backward(void* context) {  // y_n = keep_n x_n
    const call* k = context;
    for (int i = 0; i < k->y->rows; i++) {
        const hwm_real* d = k->y->g + (size_t)i * (size_t)k->y->cols;
        hwm_real* g = k->a->g + (size_t)i * (size_t)k->y->cols;
        for (int j = 0; j < k->y->cols; j++)
            g[j] += k->p[i] * d[j];
    }
}

// Codes stay codes where rows are kept or dropped as a whole.
static void mask_hot(nn_tape* t, nn_var x, const hwm_real* keep, nn_var y) {
    const int groups = x->cols / x->classes;
    for (int i = 0; i < x->rows; i++)
        if (keep[i] != 0 && keep[i] != 1)
            return;
    int* hot = nn_tape_take(t, (size_t)x->rows * (size_t)groups * sizeof *hot);
    for (int i = 0; i < x->rows; i++)
        for (int j = 0; j < groups; j++)
            hot[i * groups + j] = keep[i] == 0 ? -1 : x->hot[i * groups + j];
    y->hot = hot;
    y->classes = x->classes;
}

nn_var nn_mask_rows(nn_tape* t, nn_var x, const hwm_real* keep) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    for (int i = 0; i < x->rows; i++)
        for (int j = 0; j < x->cols; j++) {
            const size_t at = (size_t)i * (size_t)x->cols + (size_t)j;
            // a state that is dropped may hold anything
            y->x[at] = keep[i] == 0 ? 0 : keep[i] * x->x[at];
        }
    if (x->hot)
        mask_hot(t, x, keep, y);
    nn_record(t, mask_rows_backward, (call){.y = y, .a = x, .p = keep});
    return y;
}

static void sum_columns_backward(void* context) {
    const call* k = context;
    for (int i = 0; i < k->a->rows; i++)
        for (int j = 0; j < k->a->cols; j++)
            k->a->g[(size_t)i * (size_t)k->a->cols + (size_t)j] += k->y->g[i];
}

nn_var nn_sum_columns(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, 1, x->g);
    for (int i = 0; i < x->rows; i++) {
        double sum = 0.0;
        for (int j = 0; j < x->cols; j++)
            sum += (double)x->x[(size_t)i * (size_t)x->cols + (size_t)j];
        y->x[i] = (hwm_real)sum;
    }
    nn_record(t, sum_columns_backward, (call){.y = y, .a = x});
    return y;
}

static void mean_backward(void* context) {
    const call* k = context;
    const hwm_real each = k->y->g[0] / (hwm_real)k->a->rows;
    for (int i = 0; i < k->a->rows; i++) {
        const hwm_real s = k->p ? each * k->p[i] : each;
        for (int j = 0; j < k->a->cols; j++)
            k->a->g[(size_t)i * (size_t)k->a->cols + (size_t)j] += s;
    }
}

nn_var nn_mean(nn_tape* t, nn_var x, const hwm_real* weight) {
    nn_var y = nn_new(t, 1, 1, x->g);
    double sum = 0.0;
    for (int i = 0; i < x->rows; i++) {
        double row = 0.0;
        for (int j = 0; j < x->cols; j++)
            row += (double)x->x[(size_t)i * (size_t)x->cols + (size_t)j];
        sum += weight ? (weight[i] == 0 ? 0.0 : row * (double)weight[i]) : row;
    }
    y->x[0] = (hwm_real)(sum / x->rows);
    nn_record(t, mean_backward, (call){.y = y, .a = x, .p = weight});
    return y;
}

// ---- element-wise

static void sub_backward(void* context) {  // y = a - b
    const call* k = context;
    const size_t n = nn_count(k->y);
    if (k->a->g)
        nn_accumulate(k->a->g, k->y->g, (int)n);
    if (k->b->g)
        for (size_t i = 0; i < n; i++)
            k->b->g[i] -= k->y->g[i];
}

nn_var nn_sub(nn_tape* t, nn_var a, nn_var b) {
    HWM_ASSERT(a->rows == b->rows && a->cols == b->cols);
    nn_var y = nn_new(t, a->rows, a->cols, a->g || b->g);
    for (size_t i = 0, n = nn_count(y); i < n; i++)
        y->x[i] = a->x[i] - b->x[i];
    nn_record(t, sub_backward, (call){.y = y, .a = a, .b = b});
    return y;
}

static void symlog_backward(void* context) {  // y' = 1 / (1 + |x|)
    const call* k = context;
    nn_symlog_backward(k->a->g, k->y->g, k->a->x, nn_count(k->y));
}

nn_var nn_symlog(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_symlog_forward(y->x, x->x, nn_count(x));
    nn_record(t, symlog_backward, (call){.y = y, .a = x});
    return y;
}

static void symexp_backward(void* context) {  // y' = exp(|x|) = |y| + 1
    const call* k = context;
    nn_symexp_backward(k->a->g, k->y->g, k->y->x, nn_count(k->y));
}

nn_var nn_symexp(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_symexp_forward(y->x, x->x, nn_count(x));
    nn_record(t, symexp_backward, (call){.y = y, .a = x});
    return y;
}

static void at_least_backward(void* context) {
    const call* k = context;
    for (size_t i = 0, n = nn_count(k->y); i < n; i++)
        k->a->g[i] += k->a->x[i] < k->s ? 0 : k->y->g[i];
}

nn_var nn_at_least(nn_tape* t, nn_var x, hwm_real low) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    for (size_t i = 0, n = nn_count(x); i < n; i++)
        y->x[i] = x->x[i] < low ? low : x->x[i];
    nn_record(t, at_least_backward, (call){.y = y, .a = x, .s = low});
    return y;
}

static void squash_backward(void* context) {
    const call* k = context;
    for (size_t i = 0, n = nn_count(k->y); i < n; i++) {
        const hwm_real size = (hwm_real)fabs(k->a->x[i]);
        k->a->g[i] += k->y->g[i] / (size > 1 ? size : 1);
    }
}

nn_var nn_squash(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    for (size_t i = 0, n = nn_count(x); i < n; i++) {
        const hwm_real size = (hwm_real)fabs(x->x[i]);
        y->x[i] = x->x[i] / (size > 1 ? size : 1);
    }
    nn_record(t, squash_backward, (call){.y = y, .a = x});
    return y;
}
