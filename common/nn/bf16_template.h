// Body of the kernels of bf16.h in float32, included by one file per instruction set, which defines
//   V, VL, VI     vector of floats, its length, vector of integers    MR   rows of a block
//   v_load, v_store, v_zero, v_fma, v_add   on floats
//   vi_load, vi_set1, v_even, v_odd                 pairs, and their two numbers as floats
//   vi_store, vi_and, vi_or, vi_add, vi_right       on integers
//   nan_or(x, y)  quiet x where x is NaN, else y        narrow(a, to)   upper halves of 32 numbers
//   KERNEL        name of the table
//
// Even and odd products of a tile are summed in registers of their own, their sum is added to c.

// numbers whose upper 16 bits are the nearest bfloat16
static inline __attribute__((always_inline)) VI rounded(const float* x) {
    const VI bits = vi_load(x), lowest = vi_and(vi_right(bits, 16), vi_set1(1));
    const VI nearest = vi_add(vi_add(bits, vi_set1(0x7fff)), lowest);
    return nan_or(bits, nearest);
}

static inline __attribute__((always_inline)) void round_row(const float* x, nn_bf16* to) {
    VI all[32 / VL];
#pragma GCC unroll 4
    for (int i = 0; i < 32 / VL; i++)
        all[i] = rounded(x + i * VL);
    narrow(all, to);
}

static void pack(int m, int cols, const float* x, ptrdiff_t ld, int at, int depth, nn_bf16* to) {
    const int head = at % NN_BF16_DEPTH == 0 ? 0 : NN_BF16_DEPTH - at % NN_BF16_DEPTH;
    const int begin = head < cols ? head : cols;
    const int end = begin + (cols - begin) / NN_BF16_DEPTH * NN_BF16_DEPTH;
    for (int i = 0; i < m; i++, x += ld) {
        nn_bf16* row = to + (ptrdiff_t)(i / NN_BF16_ROWS) * depth * NN_BF16_TILE +
                       i % NN_BF16_ROWS * NN_BF16_DEPTH;
        nn_bf16* first = row + at / NN_BF16_DEPTH * NN_BF16_TILE + at % NN_BF16_DEPTH;
        for (int j = 0; j < begin; j++)
            first[j] = nn_bf16_round(x[j]);
        nn_bf16* tile = row + (at + begin) / NN_BF16_DEPTH * NN_BF16_TILE;
        for (int j = begin; j < end; j += NN_BF16_DEPTH, tile += NN_BF16_TILE)
            round_row(x + j, tile);
        for (int j = end; j < cols; j++)
            tile[j - end] = nn_bf16_round(x[j]);
    }
}

// 16 x 16 pairs, their rows turned into columns: halves, quarters, ... change places
typedef uint32_t pair_row __attribute__((vector_size(64)));
#define LOW(l, s)  ((l) & (s) ? 16 + (l) - (s) : (l))
#define HIGH(l, s) ((l) & (s) ? 16 + (l) : (l) + (s))
#define LANES(f, s)                                                                                \
    f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s),      \
        f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#define CHANGE_PLACES(s)                                                                           \
    for (int i = 0; i < 16; i++)                                                                   \
        if (!(i & (s))) {                                                                          \
            const pair_row a = v[i], b = v[i + (s)];                                               \
            v[i] = __builtin_shufflevector(a, b, LANES(LOW, s));                                   \
            v[i + (s)] = __builtin_shufflevector(a, b, LANES(HIGH, s));                            \
        }
static inline void turn_pairs(pair_row v[16]) {
    CHANGE_PLACES(8)
    CHANGE_PLACES(4)
    CHANGE_PLACES(2)
    CHANGE_PLACES(1)
}

static void turn(const float* const row[NN_BF16_ROWS], nn_bf16* tile) {
    pair_row v[16];
    for (int i = 0; i < 16; i++)
        round_row(row[i], (nn_bf16*)&v[i]);
    turn_pairs(v);
    memcpy(tile, v, sizeof v);
}

static void pair(const float* const row[NN_BF16_DEPTH], bool across, nn_bf16* tile) {
    pair_row v[16];
    for (int p = 0; p < 16; p++)
        for (int j = 0; j < 16; j += VL) {
            const VI even = vi_right(rounded(row[2 * p] + j), 16),
                     odd = vi_and(rounded(row[2 * p + 1] + j), vi_set1(-0x10000));
            vi_store((uint32_t*)&v[p] + j, vi_or(even, odd));
        }
    if (across)
        turn_pairs(v);
    memcpy(tile, v, sizeof v);
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
    _mm_setcsr(before | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON);
    return before;
}
static void leave(unsigned before) {
    _mm_setcsr(before);
}

const nn_bf16_kernel KERNEL = {enter, leave, block, pack, turn, pair};
