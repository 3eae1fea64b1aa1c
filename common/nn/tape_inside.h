// Inside the library: what the files that define tape operations share.
#ifndef HWM_NN_TAPE_INSIDE_H
#define HWM_NN_TAPE_INSIDE_H

#include "nn/tape.h"

// Context of most operations: y = f(a, b, c) with borrowed arrays, a number and an integer.
typedef struct call {
    nn_var y, a, b, c;
    const hwm_real *p, *q;
    nn_tape* t;
    hwm_real s;
    int k;
} call;

static inline size_t nn_count(nn_var v) {
    return (size_t)v->rows * (size_t)v->cols;
}

// Memory that lives as long as the value v: until reset, or, where v was made inside a segment,
// until its end.
void* nn_beside(nn_tape* t, nn_var v, size_t bytes);

// fn(context, from, to) over rows [0, rows) in pieces of about 16 k numbers, spread over the
// threads. The pieces depend on the sizes only; piece is the running number of the piece that
// starts at `from`.
typedef void (*nn_rows_fn)(void* context, int piece, int from, int to);
int nn_pieces(int rows, int cols);
void nn_over_rows(int rows, int cols, nn_rows_fn fn, void* context);

bool nn_recording(const nn_tape* t);
// Record backward for c.y; nothing where c.y has no gradient.
void nn_record(nn_tape* t, nn_backward_fn backward, call c);
// The packed copy (gemm.h) of a weight in `blocks` blocks of rows, made at the first call.
const hwm_real* nn_packed(nn_tape* t, nn_var w, int blocks);
// Columns of a layer's input: x (rows, cols), rows ld apart; hot, classes as in nn_value.
typedef struct nn_part {
    const hwm_real* x;
    int ld, cols;
    const int* hot;
    int classes;
} nn_part;
// w->g (out,in) of one of its blocks of rows += dy' [a b] over rows; b.cols 0: a alone. Of weights
// that are leaves of the tape (wrapped memory) products are put off to the end of the backward run,
// and small ones joined into a few large ones; the bits are the same, see gemm.h.
void nn_weight_gradient(nn_tape* t, nn_var w, int block, int blocks, int rows, const hwm_real* dy,
                        int ld_dy, nn_part a, nn_part b);
static inline nn_part nn_whole(nn_var x) {
    return (nn_part){x->x, x->cols, x->cols, x->hot, x->classes};
}
// All that was put off, in the order in which it came.
typedef struct nn_put_off {
    struct weight_products *first, *last;
} nn_put_off;
nn_put_off* nn_tape_put_off(nn_tape* t);
void nn_finish_weights(nn_tape* t);

// Memory of the tape whose contents are undefined, and giving back what was taken after a mark.
void* nn_tape_take(nn_tape* t, size_t bytes);
void nn_tape_give_back(nn_tape* t, size_t mark);

#endif
