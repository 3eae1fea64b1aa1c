// Linear layers whose products are computed from operands rounded to bfloat16: forward, gradients
// of inputs and of weights.
#include <stddef.h>

#include "nn/bf16.h"
#include "nn/linear_inside.h"

#ifdef HWM_F64
// Gradients are checked in double: there are no such weights.
void nn_prepare_bf16(nn_tape* t, nn_var w, int blocks) {
    (void)t;
    HWM_ASSERT(!w && !blocks);
}
void nn_rounded_product(nn_var w, int g, int blocks, int rows, const hwm_real* x, int ldx,
                        hwm_real* y, int ldy, const hwm_real* bias) {
    (void)g, (void)blocks, (void)rows, (void)x, (void)ldx, (void)y, (void)ldy, (void)bias;
    HWM_ASSERT(!w);
}
bool nn_rounded_forward(const nn_affine* k, int first, int last) {
    (void)first, (void)last;
    HWM_ASSERT(!k);
    return false;
}
void nn_rounded_dx(const nn_affine* k) {
    HWM_ASSERT(!k);
}
void nn_rounded_weight_gradient(nn_tape* t, const nn_weight_product* first, hwm_real* g, int out,
                                int in) {
    (void)t, (void)first, (void)out, (void)in;
    HWM_ASSERT(!g);
}
#else

void nn_prepare_bf16(nn_tape* t, nn_var w, int blocks) {
    const int rows = w->rows / blocks;
    const size_t each = nn_bf16_weight_count(rows, w->cols);
    w->bf16 = nn_beside(t, w, (size_t)blocks * each * sizeof *w->bf16);
    for (int b = 0; b < blocks; b++)
        nn_bf16_weight_pack(rows, w->cols, w->x + (size_t)b * (size_t)rows * (size_t)w->cols,
                            w->bf16 + (size_t)b * each);
}

void nn_rounded_product(nn_var w, int g, int blocks, int rows, const hwm_real* x, int ldx,
                        hwm_real* y, int ldy, const hwm_real* bias) {
    const int out = w->rows / blocks;
    const nn_bf16_input input = {x, ldx, 0, w->cols, 0};
    nn_bf16_product(rows, 1, out, w->cols, 1, &input,
                    w->bf16 + (size_t)g * nn_bf16_weight_count(out, w->cols), y, ldy, bias, false);
}

bool nn_rounded_forward(const nn_affine* k, int first, int last) {
    const int own = k->a->cols / k->blocks;
    nn_bf16_input input[2];
    int n = 0;
    if (!k->a->hot)
        input[n++] = (nn_bf16_input){k->a->x + (ptrdiff_t)first * k->a->cols, k->a->cols, 0, own,
                                     k->blocks > 1 ? own : 0};
    if (k->b && !k->b->hot)
        input[n++] = (nn_bf16_input){k->b->x + (ptrdiff_t)first * k->b->cols, k->b->cols, own,
                                     k->b->cols, 0};
    if (n > 0)
        nn_bf16_product(last - first, k->blocks, k->w->rows / k->blocks, k->w->cols, n, input,
                        k->w->bf16, k->y->x + (ptrdiff_t)first * k->y->cols, k->y->cols,
                        k->bias ? k->bias->x : NULL, false);
    return n > 0;
}

// ---- gradients of inputs

// Columns [from, from + cols) of the weight, so that its rows are summed over: of each block, or
// (whole) of all of them as one weight.
static const nn_bf16* backward_weight(const nn_affine* k, int part, int from, int cols,
                                      bool whole) {
    nn_var w = k->w;
    const int blocks = whole ? 1 : k->blocks, rows = w->rows / blocks;
    const size_t each = nn_bf16_weight_count(cols, rows);
    if (!w->bf16_back[part]) {
        w->bf16_back[part] = nn_beside(k->t, w, (size_t)blocks * each * sizeof *w->bf16);
        for (int b = 0; b < blocks; b++)
            nn_bf16_columns_pack(rows, cols,
                                 w->x + (size_t)b * (size_t)rows * (size_t)w->cols + from, w->cols,
                                 w->bf16_back[part] + (size_t)b * each);
    }
    return w->bf16_back[part];
}

void nn_rounded_dx(const nn_affine* k) {
    nn_var y = k->y, a = k->a, b = k->b;
    const int own = a->cols / k->blocks, out = k->w->rows / k->blocks;
    if (a->g) {
        const nn_bf16_input dy = {y->g, y->cols, 0, out, k->blocks > 1 ? out : 0};
        nn_bf16_product(y->rows, k->blocks, own, out, 1, &dy, backward_weight(k, 0, 0, own, false),
                        a->g, a->cols, NULL, true);
    }
    if (b && b->g) {  // what all blocks read: one sum over the outputs of all of them
        const nn_bf16_input dy = {y->g, y->cols, 0, y->cols, 0};
        nn_bf16_product(y->rows, 1, b->cols, y->cols, 1, &dy,
                        backward_weight(k, 1, own, b->cols, true), b->g, b->cols, NULL, true);
    }
}

// ---- gradients of weights

enum { ROWS = 512 };  // of a piece, which stays in the cache while the gradient passes by

// Products whose rows are summed in one go.
typedef struct piece {
    int rows;
    bool dense[2];  // parts that are no codes
    const float *dy[ROWS], *x[2][ROWS];
    int at[3];  // first columns of the parts
    hwm_real* g;
    int out, in;
    nn_bf16 *a, *b;  // packed (out, ROWS), (ROWS, in)
} piece;

static void finish_piece(piece* k) {
    if (k->rows > 0 && (k->dense[0] || k->dense[1])) {
        nn_bf16_rows_pack(k->dy, k->rows, k->out, true, k->a);
        for (int i = 0; i < 2; i++)
            if (k->dense[i]) {
                const int cols = k->at[i + 1] - k->at[i];
                nn_bf16_rows_pack(k->x[i], k->rows, cols, false, k->b);
                nn_bf16_accumulate(k->out, cols, k->rows, k->a, k->b, k->g + k->at[i], k->in);
            }
    }
    k->rows = 0;
}

void nn_rounded_weight_gradient(nn_tape* t, const nn_weight_product* first, hwm_real* g, int out,
                                int in) {
    const size_t mark = nn_tape_used(t);
    piece* k = nn_tape_take(t, sizeof *k);
    *k = (piece){.g = g, .out = out, .in = in};
    k->a = nn_tape_take(t, nn_bf16_weight_count(out, ROWS) * sizeof *k->a);
    k->b = nn_tape_take(t, nn_bf16_weight_count(in, ROWS) * sizeof *k->b);
    for (const nn_weight_product* p = first; p; p = p->next) {
        const bool dense[2] = {!p->part[0].hot, p->part[1].cols > 0 && !p->part[1].hot};
        if (k->at[1] != p->part[0].cols || k->dense[0] != dense[0] || k->dense[1] != dense[1])
            finish_piece(k);
        k->at[1] = p->part[0].cols;
        k->at[2] = k->at[1] + p->part[1].cols;
        k->dense[0] = dense[0];
        k->dense[1] = dense[1];
        for (int n = 0; n < p->rows; n++) {
            k->dy[k->rows] = p->dy + (ptrdiff_t)n * p->ld_dy;
            for (int i = 0; i < 2; i++)
                k->x[i][k->rows] = p->part[i].x + (ptrdiff_t)n * p->part[i].ld;
            if (++k->rows == ROWS)
                finish_piece(k);
        }
    }
    finish_piece(k);
    nn_tape_give_back(t, mark);
}
#endif
