// Products in bfloat16 on AMX tiles. A thread's tiles are configured while it is inside a product
// only: a context switch then has no tiles to save. The kernel must have granted their use (cpu.c).
#include <immintrin.h>

#include "nn/bf16_kernel.h"

// Tile configuration as LDTILECFG reads it (palette 1).
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
} tile_config;

static const tile_config all_tiles = {
    .palette = 1,
    .column_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

static unsigned enter(void) {
    _tile_loadconfig(&all_tiles);
    return 0;
}

static void leave(unsigned before) {
    (void)before;
    _tile_release();
}

// tiles 0 .. 3: c; 4, 5: rows of a; 6, 7: columns of b
static inline __attribute__((always_inline)) void tiles(const int rows, const int columns,
                                                        const nn_bf16_block* k) {
    const size_t row = (size_t)k->start_row * sizeof(float), line = 64;
    const float *top = k->start, *low = top + NN_BF16_ROWS * k->start_row;
    _tile_loadd(0, top, row);
    if (columns > 1)
        _tile_loadd(1, top + 16, row);
    if (rows > 1)
        _tile_loadd(2, low, row);
    if (rows > 1 && columns > 1)
        _tile_loadd(3, low + 16, row);
    if (k->start != k->c)  // lines that are only going to be written
        for (int i = 0; i < rows * NN_BF16_ROWS; i++)
            for (int j = 0; j < columns; j++)
                __builtin_prefetch(k->c + i * k->ldc + 16 * j, 1, 2);
    const nn_bf16 *a = k->a, *b = k->b, *ahead = k->ahead;
    for (int t = 0; t < k->depth;
         t++, a += NN_BF16_TILE, b += NN_BF16_TILE, ahead += NN_BF16_TILE) {
        for (int i = 0; i < k->ahead_lines; i++) {
            _mm_prefetch((const char*)(ahead + i * 32), _MM_HINT_T1);
            if (columns > 1)
                _mm_prefetch((const char*)(ahead + k->b_next + i * 32), _MM_HINT_T1);
        }
        _tile_loadd(4, a, line);
        _tile_loadd(6, b, line);
        if (columns > 1)
            _tile_loadd(7, b + k->b_next, line);
        if (rows > 1)
            _tile_loadd(5, a + k->a_next, line);
        _tile_dpbf16ps(0, 4, 6);
        if (columns > 1)
            _tile_dpbf16ps(1, 4, 7);
        if (rows > 1)
            _tile_dpbf16ps(2, 5, 6);
        if (rows > 1 && columns > 1)
            _tile_dpbf16ps(3, 5, 7);
    }
    const size_t ldc = (size_t)k->ldc * sizeof(float);
    float* under = k->c + NN_BF16_ROWS * k->ldc;
    _tile_stored(0, k->c, ldc);
    if (columns > 1)
        _tile_stored(1, k->c + 16, ldc);
    if (rows > 1)
        _tile_stored(2, under, ldc);
    if (rows > 1 && columns > 1)
        _tile_stored(3, under + 16, ldc);
}

static void block(const nn_bf16_block* k) {
    if (k->rows > 1 && k->columns > 1)
        tiles(2, 2, k);
    else if (k->rows > 1)
        tiles(2, 1, k);
    else if (k->columns > 1)
        tiles(1, 2, k);
    else
        tiles(1, 1, k);
}

// packing as for AVX-512
static void pack(int m, int cols, const float* x, ptrdiff_t ld, int at, int depth, nn_bf16* to) {
    nn_bf16_avx512.pack(m, cols, x, ld, at, depth, to);
}
static void turn(const float* const row[NN_BF16_ROWS], nn_bf16* tile) {
    nn_bf16_avx512.turn(row, tile);
}
static void pair(const float* const row[NN_BF16_DEPTH], bool across, nn_bf16* tile) {
    nn_bf16_avx512.pair(row, across, tile);
}

const nn_bf16_kernel nn_bf16_amx = {enter, leave, block, pack, turn, pair};
