// Matrix products of operands rounded to bfloat16 (8 bits of mantissa, the range of float32), with
// sums in float32: half the memory of float32, and on processors with AMX tiles about ten times the
// rate. Weights are rounded once, when they are packed; the other operand inside the product.
//
//   c + sum over groups of 32 columns, in ascending order, of (even products + odd products),
//   both summed in ascending order from 0 with one rounding a step; denormal numbers count as 0
//
// which is what the instruction TDPBF16PS computes. AVX-512 and AVX2 repeat it in float32, so that
// the bits are the same at every instruction set. A number depends on its row and its column only.
//
// Float32 build only.
#ifndef HWM_NN_BF16_H
#define HWM_NN_BF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t nn_bf16;

// The nearest bfloat16, halfway cases to even; above the largest one infinity; NaN stays NaN.
static inline nn_bf16 nn_bf16_round(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
    return (nn_bf16)(((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16);
}
static inline float nn_bf16_value(nn_bf16 x) {
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// A weight (out,in) in tiles of 32 rows of its transpose by 16 columns, pairs of rows side by side:
//   packed [out / 16][in / 32][16][16][2], both rounded up, zeros beyond the end
enum { NN_BF16_ROWS = 16, NN_BF16_DEPTH = 32, NN_BF16_TILE = NN_BF16_ROWS * NN_BF16_DEPTH };
size_t nn_bf16_weight_count(int out, int in);  // numbers of packed
void nn_bf16_weight_pack(int out, int in, const float* w, nn_bf16* packed);

// The same for products with the weight as it stands, w (k,n), rows ld apart: as if its transpose
// (n,k) had been given to nn_bf16_weight_pack
void nn_bf16_columns_pack(int k, int n, const float* w, int ld, nn_bf16* packed);

// Columns [from, from + cols) of a layer's input: x (m, cols) of the first block, rows ld apart;
// that of the next block stands `step` numbers on, 0: all blocks read the same.
typedef struct nn_bf16_input {
    const float* x;
    int ld, from, cols, step;
} nn_bf16_input;
// c_g (m,out) = bias_g (out) or 0, or (add) what is there, + its inputs times those rows of the
// transpose of weight g, for blocks g < blocks: c_g = c + g * out, bias_g likewise (NULL: none),
// weight g = packed + g * nn_bf16_weight_count(out, in). Inputs: one or two, the second from where
// the first ends. 16-byte alignment of packed is enough, 64 is faster
void nn_bf16_product(int m, int blocks, int out, int in, int inputs, const nn_bf16_input* input,
                     const nn_bf16* packed, float* c, int ldc, const float* bias, bool add);

// Gradients of weights: c (m,n) += a' b over `rows` rows that may stand anywhere, row[i] points to
// the numbers of row i. First both are packed, a (rows, m) across, b (rows, n) not, each in
// nn_bf16_weight_count(m or n, rows) numbers; then multiplied.
void nn_bf16_rows_pack(const float* const* row, int rows, int cols, bool across, nn_bf16* packed);
void nn_bf16_accumulate(int m, int n, int rows, const nn_bf16* a, const nn_bf16* b, float* c,
                        int ldc);

#endif
