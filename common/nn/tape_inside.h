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

// Record backward for c.y; nothing where c.y has no gradient.
void nn_record(nn_tape* t, nn_backward_fn backward, call c);
// The transposed copy of a weight in `blocks` blocks of rows, made at the first call.
const hwm_real* nn_transposed(nn_tape* t, nn_var w, int blocks);
// w->g[at ..] (out,in) += dy' x over rows. Of weights that are leaves of the tape (wrapped memory)
// small products are put off and joined into a few large ones at the end of the backward run; the
// bits are the same, see gemm.h.
void nn_weight_gradient(nn_tape* t, nn_var w, size_t at, int out, int in, int rows,
                        const hwm_real* dy, int ld_dy, const hwm_real* x, int ld_x);

#endif
