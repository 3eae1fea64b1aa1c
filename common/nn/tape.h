// Tape: records kernel calls on an arena while they run, and runs their backward kernels in exact
// reverse order.
//
// A value is a matrix (rows, cols), row-major. Its gradient g has the same shape, is zeroed when
// the value is made, and every backward adds to it (+=). A value whose g is NULL is a constant:
// nothing flows through it. Reset gives all memory back, so that the second update allocates
// nothing. Composition reads like the equations: h = nn_elu(t, nn_linear(t, x, w, b)).
//
// Without a tape: nn/gemm.h, nn/rows.h and nn/dist_rows.h (forward and backward pairs over rows),
// nn/elements.h and nn/vmath.h. One
// step after the other without a backward run: a tape that does not record (nn_tape_record).
#ifndef HWM_NN_TAPE_H
#define HWM_NN_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"

typedef struct nn_tape nn_tape;
typedef struct nn_value {
    hwm_real* x;  // (rows, cols)
    hwm_real* g;  // same shape, or NULL
    int rows, cols;
    bool leaf;  // wrapped memory: its g is complete when nn_tape_backward returns, not earlier
    // packed copy (gemm.h), made by the first layer that uses this value as its weight, or NULL, of
    // packed_blocks blocks of rows
    hwm_real* packed;
    int packed_blocks;
    // the same in bfloat16 (bf16.h): layers' products use it, NULL: those are of hwm_real; packed
    // for backward passes, what blocks have of their own and what they share, or NULL
    uint16_t *bf16, *bf16_back[2];
    hwm_real* columns;  // the same, packed for backward passes on few rows, or NULL
    hwm_real*
        soft;  // softmax of the rows, made by the first two-hot operation on this value, or NULL
    void* pending;  // products of its gradient that were put off, or NULL
    // rows are one-hot codes: class of each group of `classes` columns, -1 for a group of zeros,
    // (rows, cols / classes); NULL: they are not. x holds the codes too
    const int* hot;
    int classes;
} nn_value;
typedef nn_value* nn_var;  // lives on the tape until reset

hwm_status nn_tape_create(nn_tape** out, size_t bytes_max);
void nn_tape_destroy(nn_tape** tape);
void nn_tape_reset(nn_tape* tape);
// true: record backward calls (the default); false: forward only (evaluation, targets).
void nn_tape_record(nn_tape* tape, bool record);
// Run all recorded backwards, newest first. Seeds must be written to the g of the losses before
// (nn_seed).
void nn_tape_backward(nn_tape* tape);
// bytes in use now and at most since create
size_t nn_tape_used(const nn_tape* tape);
size_t nn_tape_high_water(const nn_tape* tape);
void nn_seed(nn_var loss, hwm_real weight);  // loss->g[] += weight for every element

// Scratch that lives until reset; zeroed, 64-byte aligned. Asserts when bytes_max is exceeded.
void* nn_tape_alloc(nn_tape* tape, size_t bytes);
// New value on the tape; grad: with gradient. Contents of x undefined.
nn_var nn_new(nn_tape* tape, int rows, int cols, bool grad);
// Wrap memory that the caller keeps alive and unchanged until reset (a parameter and its gradient,
// a batch). Wrap a weight once per update and use the same nn_var at every step: its packed
// copy is then made once.
nn_var nn_wrap(nn_tape* tape, hwm_real* x, hwm_real* g, int rows, int cols);
// The same numbers, without gradient: stop-gradient.
nn_var nn_stop(nn_tape* tape, nn_var x);

// The same numbers on another tape (or this one) with another gradient, NULL: none; a prepared
// weight stays prepared. Several threads may run tapes with twins of one value.
nn_var nn_twin(nn_tape* tape, nn_var x, hwm_real* g);
// Make the packed copy of a weight in `blocks` blocks of rows now, before its twins are used.
void nn_prepare(nn_tape* tape, nn_var w, int blocks);
// The same in bfloat16: products of layers with this weight and its twins, forward and backward,
// are computed from operands rounded to bfloat16. Rows picked by one-hot codes are not rounded; who
// picks any needs nn_prepare as well. Float32 build only.
void nn_prepare_bf16(nn_tape* tape, nn_var w, int blocks);

// Segments that are computed again: fn runs forward without recording, only its outputs are kept;
// the backward run calls it once more with recording and goes on through it, with the same bits as
// without a segment. fn must compute the same both times (draws come from arrays, not from a
// generator) and may read anything that stays on the tape; out (n_out) are its results. Memory: one
// segment's values instead of all.
typedef void (*nn_segment_fn)(nn_tape* tape, void* context, nn_var* out);
void nn_segment(nn_tape* tape, nn_segment_fn fn, void* context, int n_out, nn_var* out);
// The same without a backward run: fn is computed, its outputs are kept as constants, everything
// else is given back.
void nn_constant(nn_tape* tape, nn_segment_fn fn, void* context, int n_out, nn_var* out);

// Sections: parts of a graph that are run backwards one at a time, none of which reads another's
// values. Their gradients share memory, so that it stays in the cache. What is made between begin
// and end belongs to the section; open makes it what nn_tape_backward runs next, with gradients of
// zero, and its losses are made and seeded after that. Nothing else may wait to be run backwards.
typedef struct nn_section {
    struct op* newest;
    size_t bytes;
} nn_section;
void nn_section_begin(nn_tape* tape);
nn_section nn_section_end(nn_tape* tape);
void nn_section_open(nn_tape* tape, const nn_section* section);

// A kernel of another library plugs in here: backward(context) is called once, in reverse order,
// when recording.
typedef void (*nn_backward_fn)(void* context);
void nn_custom(nn_tape* tape, nn_backward_fn backward, void* context);

// ---- composition (each records its own backward)
nn_var nn_linear(nn_tape* t, nn_var x, nn_var w,
                 nn_var b);  // y = x w' + b; w (out,in), b (1,out) or NULL
// f(x w' + b) in one pass with one buffer: the layer of choice for small networks
typedef enum nn_act { NN_LINEAR, NN_ELU, NN_TANH, NN_SIGMOID } nn_act;
nn_var nn_dense(nn_tape* t, nn_var x, nn_var w, nn_var b, nn_act act);
nn_var nn_elu(nn_tape* t, nn_var x);
nn_var nn_silu(nn_tape* t, nn_var x);
nn_var nn_tanh(nn_tape* t, nn_var x);
nn_var nn_sigmoid(nn_tape* t, nn_var x);
nn_var nn_softplus(nn_tape* t, nn_var x);
nn_var nn_add(nn_tape* t, nn_var a, nn_var b);
nn_var nn_mul(nn_tape* t, nn_var a, nn_var b);  // elementwise
nn_var nn_scale(nn_tape* t, nn_var a, hwm_real s);
nn_var nn_concat(nn_tape* t, int n, const nn_var* parts);      // along columns
nn_var nn_columns(nn_tape* t, nn_var x, int from, int count);  // slice of columns
nn_var nn_rows(nn_tape* t, nn_var x, int from, int count);     // slice of rows (shares memory)
nn_var nn_stack(nn_tape* t, int n, const nn_var* parts);       // along rows
// per column, lo and hi (cols) borrowed until reset; gradient 0 outside
nn_var nn_clamp(nn_tape* t, nn_var x, const hwm_real* lo, const hwm_real* hi);
nn_var nn_mean_rows(nn_tape* t, nn_var x, int group);  // mean over consecutive groups of rows
// losses: sum_n weight_n loss_n / rows (weight NULL: all 1), so weights that average 1 keep the
// scale; return (1,1). target, weight: borrowed until reset
nn_var nn_mse(nn_tape* t, nn_var y, const hwm_real* target,
              const hwm_real* weight);  // mean over columns
nn_var nn_bce_logits(nn_tape* t, nn_var logit, const hwm_real* target, const hwm_real* weight);

#endif
