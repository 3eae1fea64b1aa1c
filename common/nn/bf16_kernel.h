// Inside the library: kernels of the products in bfloat16 and their dispatch.
#ifndef HWM_NN_BF16_KERNEL_H
#define HWM_NN_BF16_KERNEL_H

#include "nn/bf16.h"
#include "nn/cpu.h"

// c = start + a b over one or two tiles of 16 rows by one or two of 16 columns, `depth` tiles deep.
typedef struct nn_bf16_block {
    int rows, columns, depth;  // tiles
    const nn_bf16* a;          // (rows, depth, tile), a row of tiles a_next numbers on
    const nn_bf16* b;          // (columns, depth, tile), a column of tiles b_next numbers on
    ptrdiff_t a_next, b_next;
    const float* start;  // rows start_row apart (0: one for all rows)
    ptrdiff_t start_row;
    float* c;
    ptrdiff_t ldc;
    // what the next columns read, to be fetched meanwhile: ahead_lines cache lines of every tile of
    // b from here on (0: none)
    const nn_bf16* ahead;
    int ahead_lines;
} nn_bf16_block;

typedef struct nn_bf16_kernel {
    // before and after blocks on a thread; enter's result is what leave gets
    unsigned (*enter)(void);
    void (*leave)(unsigned);
    void (*block)(const nn_bf16_block* block);
    // x (m, cols), rows ld apart, rounded into columns at .. at + cols of tiles to (m / 16, depth)
    void (*pack)(int m, int cols, const float* x, ptrdiff_t ld, int at, int depth, nn_bf16* to);
    // one tile of a right operand from 16 rows of 32 numbers of its transpose
    void (*turn)(const float* const row[NN_BF16_ROWS], nn_bf16* tile);
    // one tile from 32 rows of 16 numbers: of a right operand, or (across) of a left one
    void (*pair)(const float* const row[NN_BF16_DEPTH], bool across, nn_bf16* tile);
} nn_bf16_kernel;

extern const nn_bf16_kernel nn_bf16_base, nn_bf16_avx512, nn_bf16_amx;
void nn_bf16_select(nn_cpu_level level);

#endif
