// Layers of the world models on the tape: normalised layers, block-linear layers, the recurrent
// cell's gates, row bookkeeping.
#ifndef HWM_NN_LAYERS_H
#define HWM_NN_LAYERS_H

#include "nn/tape.h"

// y = g x / rms(x) per row, eps 1e-4; g (1,D).  nn_norm_silu: silu of that in the same pass
nn_var nn_norm(nn_tape* t, nn_var x, nn_var g);
nn_var nn_norm_silu(nn_tape* t, nn_var x, nn_var g);
// silu(norm(x w' + b)): one layer of the DreamerV3 networks. b may be NULL
nn_var nn_layer(nn_tape* t, nn_var x, nn_var w, nn_var b, nn_var g);
// y = x w' + b block by block: x (N, G*in), w (G*out, in), b (1, G*out): block k of y sees block k
// of x only
nn_var nn_block_linear(nn_tape* t, nn_var x, nn_var w, nn_var b, int blocks);
// The same of an input in two parts that are never copied together: block k of y sees block k of
// x (N, G*d) and the whole of shared (N,K), w (G*out, d + K). shared may be NULL; blocks 1: a plain
// layer on [x shared]. Columns that are one-hot codes cost the sum of the rows they pick.
nn_var nn_linear_parts(nn_tape* t, nn_var x, nn_var shared, nn_var w, nn_var b, int blocks);
// silu(norm(.)) of that
nn_var nn_layer_parts(nn_tape* t, nn_var x, nn_var shared, nn_var w, nn_var b, nn_var g,
                      int blocks);
// New state from the gates z (N, 3D) in blocks (rows.h, nn_gru_forward) and the old state h (N,D)
nn_var nn_gru(nn_tape* t, nn_var z, nn_var h, int blocks);
// nn_gru(nn_block_linear(x, w, b), h)
nn_var nn_gru_layer(nn_tape* t, nn_var x, nn_var w, nn_var b, nn_var h, int blocks);
// Row i of y is row index[i] of x; index (n) borrowed until reset, may repeat
nn_var nn_gather(nn_tape* t, nn_var x, const int* index, int n);
// y = x * keep of its row: keep (rows) borrowed until reset, 0 resets a state at an episode's start
nn_var nn_mask_rows(nn_tape* t, nn_var x, const hwm_real* keep);
nn_var nn_sub(nn_tape* t, nn_var a, nn_var b);
nn_var nn_symlog(nn_tape* t, nn_var x);  // sign(x) log(1 + |x|)
nn_var nn_symexp(nn_tape* t, nn_var x);  // its inverse
nn_var nn_at_least(nn_tape* t, nn_var x,
                   hwm_real low);  // max(x, low): no gradient where x < low (free nats)
// x / max(1, |x|), denominator without gradient
nn_var nn_squash(nn_tape* t, nn_var x);
// sum_n weight_n x_n / rows over all columns: (1,1); weight (rows) borrowed, NULL: all 1
nn_var nn_mean(nn_tape* t, nn_var x, const hwm_real* weight);
nn_var nn_sum_columns(nn_tape* t, nn_var x);  // (rows, 1)

#endif
