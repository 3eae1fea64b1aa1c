// Body of the kernels of bf16.h in float32, included by one file per instruction set, which defines
//   V, VL, VI     vector of floats, its length, vector of integers    MR   rows of a block
//   v_load, v_store, v_set1, v_zero, v_fma, v_add   on floats
//   vi_load, vi_set1, v_even, v_odd                 pairs, and their two numbers as floats
//   KERNEL        name of the table
//
// Even and odd products of a tile are summed in registers of their own, their sum is added to c.
#include <immintrin.h>

static void pack(int m, int cols, const float* x, ptrdiff_t ld, int at, int depth, nn_bf16* to) {
    for (int i = 0; i < m; i++, x += ld) {
        nn_bf16* row = to + (ptrdiff_t)(i / NN_BF16_ROWS) * depth * NN_BF16_TILE +
                       i % NN_BF16_ROWS * NN_BF16_DEPTH;
        for (int j = 0; j < cols;) {
            const int place = (at + j) % NN_BF16_DEPTH, left = cols - j;
            nn_bf16* tile = row + (at + j) / NN_BF16_DEPTH * NN_BF16_TILE + place;
            if (place == 0 && left >= NN_BF16_DEPTH) {
                for (int q = 0; q < NN_BF16_DEPTH; q++)
                    tile[q] = nn_bf16_round(x[j + q]);
                j += NN_BF16_DEPTH;
                continue;
            }
            const int n = NN_BF16_DEPTH - place < left ? NN_BF16_DEPTH - place : left;
            for (int q = 0; q < n; q++)
                tile[q] = nn_bf16_round(x[j + q]);
            j += n;
        }
    }
}

// rows first .. first + MR of a row of tiles, nv vectors of columns from j on
static inline __attribute__((always_inline)) void few_rows(const int nv, const nn_bf16_block* k,
                                                           int row, int first, int j) {
    const nn_bf16* a = k->a + row * k->a_next + first * NN_BF16_DEPTH;
    const nn_bf16* b[2];
    for (int v = 0; v < nv; v++) {
        const int column = j + v * VL;
        b[v] = k->b + column / 16 * k->b_next + column % 16 * 2;
    }
    const float* start = k->start + (row * NN_BF16_ROWS + first) * k->start_row + j;
    float* c = k->c + (row * NN_BF16_ROWS + first) * k->ldc + j;
    V sum[MR][2];
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            sum[i][v] = v_load(start + i * k->start_row + v * VL);
    for (int t = 0; t < k->depth; t++, a += NN_BF16_TILE) {
        V even[MR][2], odd[MR][2];
#pragma GCC unroll 8
        for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++)
                even[i][v] = odd[i][v] = v_zero();
        for (int p = 0; p < NN_BF16_DEPTH / 2; p++) {
            V be[2], bo[2];
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                const VI pairs = vi_load(b[v] + t * NN_BF16_TILE + p * 32);
                be[v] = v_even(pairs);
                bo[v] = v_odd(pairs);
            }
#pragma GCC unroll 8
            for (int i = 0; i < MR; i++) {
                int32_t pair;
                memcpy(&pair, a + i * NN_BF16_DEPTH + 2 * p, sizeof pair);
                const VI pairs = vi_set1(pair);
                const V ae = v_even(pairs), ao = v_odd(pairs);
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++) {
                    even[i][v] = v_fma(ae, be[v], even[i][v]);
                    odd[i][v] = v_fma(ao, bo[v], odd[i][v]);
                }
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++)
                sum[i][v] = v_add(sum[i][v], v_add(even[i][v], odd[i][v]));
    }
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            v_store(c + i * k->ldc + v * VL, sum[i][v]);
}

static void block(const nn_bf16_block* k) {
    for (int row = 0; row < k->rows; row++)
        for (int first = 0; first < NN_BF16_ROWS; first += MR)
            for (int j = 0; j < 16 * k->columns; j += 2 * VL)
                if (16 * k->columns - j >= 2 * VL)
                    few_rows(2, k, row, first, j);
                else
                    few_rows(1, k, row, first, j);
}

// Denormal operands and results count as 0.
static unsigned enter(void) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | _MM_FLUSH_ZERO_ON | 0x40);
    return before;
}
static void leave(unsigned before) {
    _mm_setcsr(before);
}

const nn_bf16_kernel KERNEL = {enter, leave, block, pack};
