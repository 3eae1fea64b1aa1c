// Inside the library: what linear layers in either precision share.
#ifndef HWM_NN_LINEAR_INSIDE_H
#define HWM_NN_LINEAR_INSIDE_H

#include "nn/tape_inside.h"

// y (rows, G*out) = [a_g b] w_g' + bias_g per block g: block g sees block g of a and the whole of b
typedef struct nn_affine {
    nn_tape* t;
    nn_var y, a, b, w, bias;
    int blocks;
} nn_affine;

// One product of a weight's gradient that was put off: rows of dy and of the input's two parts.
typedef struct nn_weight_product {
    struct nn_weight_product* next;
    const hwm_real* dy;
    int ld_dy, rows;
    nn_part part[2];
} nn_weight_product;

// y (rows, out) = x (rows, in) times the transpose of block g of a weight, + bias
void nn_block_product(nn_tape* t, nn_var w, int g, int blocks, int rows, const hwm_real* x, int ldx,
                      hwm_real* y, int ldy, const hwm_real* bias);

// ---- the same with operands rounded to bfloat16, for weights that were prepared so
// (linear_bf16.c)

void nn_rounded_product(nn_var w, int g, int blocks, int rows, const hwm_real* x, int ldx,
                        hwm_real* y, int ldy, const hwm_real* bias);
// Rows [first,last) of a layer, one-hot columns left out. Returns false where there are no others:
// then y is not written.
bool nn_rounded_forward(const nn_affine* k, int first, int last);
// Gradients of the inputs += dy times the weight.
void nn_rounded_dx(const nn_affine* k);
// g (out,in) += dy' [part part] of all products from `first` on, one-hot columns left out
void nn_rounded_weight_gradient(nn_tape* t, const nn_weight_product* first, hwm_real* g, int out,
                                int in);

#endif
