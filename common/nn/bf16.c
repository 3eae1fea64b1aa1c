// Products in bfloat16: packing, pieces, threads, dispatch.
#include "nn/bf16.h"

#include "base/status.h"
#include "nn/bf16_kernel.h"
#include "nn/gemm_kernel.h"
#include "nn/pool.h"

#ifdef HWM_F64
void nn_bf16_select(nn_cpu_level level) {
    (void)level;
}
#else

static const nn_bf16_kernel* kernel = &nn_bf16_base;

void nn_bf16_select(nn_cpu_level level) {
    kernel = &nn_bf16_base;
#if defined(__x86_64__)
    if (level == NN_CPU_AVX512)
        kernel = &nn_bf16_avx512;
    if (level == NN_CPU_AMX)
        kernel = &nn_bf16_amx;
#else
    (void)level;
#endif
}

// Here for the same reason as in gemm.c.
__attribute__((constructor)) static void choose_at_start(void) {
    nn_bf16_select(nn_cpu_best());
}

// Rows and depth of a piece of the input, in tiles: it stays in the L2 cache while the weight
// passes by.
enum { PIECE_ROWS = 16, PIECE_DEPTH = 32, COLUMNS = 16 };

static int tiles_of(int n, int size) {
    return (n + size - 1) / size;
}
static int least(int a, int b) {
    return a < b ? a : b;
}

static const float zero[2 * COLUMNS];

// The first n numbers of a row, and zeros.
static const float* ragged_row(float* copy, int width, const float* row, int n) {
    for (int i = 0; i < width; i++)
        copy[i] = i < n ? row[i] : 0.0f;
    return copy;
}

// ---- weights

size_t nn_bf16_weight_count(int out, int in) {
    return (size_t)tiles_of(out, COLUMNS) * (size_t)tiles_of(in, NN_BF16_DEPTH) * NN_BF16_TILE;
}

typedef struct packing {
    int out, in;
    const float* w;
    nn_bf16* packed;
} packing;

// 16 columns of the transpose
static void pack_strip(void* context, int strip) {
    const packing* k = context;
    const int depth = tiles_of(k->in, NN_BF16_DEPTH), first = strip * COLUMNS;
    nn_bf16* tile = k->packed + (size_t)strip * (size_t)depth * NN_BF16_TILE;
    for (int t = 0; t < depth; t++, tile += NN_BF16_TILE) {
        const int from = t * NN_BF16_DEPTH, n = least(k->in - from, NN_BF16_DEPTH);
        const float* row[COLUMNS];
        float copy[COLUMNS][NN_BF16_DEPTH];
        for (int j = 0; j < COLUMNS; j++) {
            row[j] = first + j < k->out ? k->w + (size_t)(first + j) * (size_t)k->in + from : zero;
            if (n < NN_BF16_DEPTH)
                row[j] = ragged_row(copy[j], NN_BF16_DEPTH, row[j], n);
        }
        kernel->turn(row, tile);
    }
}

void nn_bf16_weight_pack(int out, int in, const float* w, nn_bf16* packed) {
    packing k = {out, in, w, packed};
    nn_parallel(tiles_of(out, COLUMNS), pack_strip, &k);
}

// Rows of a matrix, at places of their own or ld apart, in tiles of 32 by 16 columns.
typedef struct rows_packing {
    const float* const* row;
    const float* x;
    int ld, rows, cols;
    bool across;  // in the order of the left operand: 16 columns by 32 rows
    nn_bf16* packed;
} rows_packing;

// 16 columns
static void pack_columns(void* context, int strip) {
    const rows_packing* k = context;
    const int depth = tiles_of(k->rows, NN_BF16_DEPTH), from = strip * COLUMNS,
              cols = least(k->cols - from, COLUMNS);
    nn_bf16* tile = k->packed + (size_t)strip * (size_t)depth * NN_BF16_TILE;
    for (int t = 0; t < depth; t++, tile += NN_BF16_TILE) {
        const float* row[NN_BF16_DEPTH];
        float copy[NN_BF16_DEPTH][COLUMNS];
        for (int i = 0, r = t * NN_BF16_DEPTH; i < NN_BF16_DEPTH; i++, r++) {
            row[i] = r >= k->rows ? zero
                     : k->row     ? k->row[r] + from
                                  : k->x + (ptrdiff_t)r * k->ld + from;
            if (cols < COLUMNS)
                row[i] = ragged_row(copy[i], COLUMNS, row[i], cols);
        }
        kernel->pair(row, k->across, tile);
    }
}

void nn_bf16_columns_pack(int k, int n, const float* w, int ld, nn_bf16* packed) {
    rows_packing all = {.x = w, .ld = ld, .rows = k, .cols = n, .packed = packed};
    nn_parallel(tiles_of(n, COLUMNS), pack_columns, &all);
}

void nn_bf16_rows_pack(const float* const* row, int rows, int cols, bool across, nn_bf16* packed) {
    rows_packing all = {.row = row, .rows = rows, .cols = cols, .across = across, .packed = packed};
    nn_parallel(tiles_of(cols, COLUMNS), pack_columns, &all);
}

// ---- products

typedef struct product {
    int m, blocks, out, in, inputs;
    const nn_bf16_input* input;
    const nn_bf16* packed;
    float* c;
    int ldc;
    const float* bias;
    bool add;
    int low, high;  // tiles of depth that the inputs touch
    // what a task does: rows, and columns of tiles of all blocks, those of a block one after the
    // other
    int rows_each, columns_each, row_tasks;
} product;

// Tiles (rows, depth) of the inputs of block g; all false: only of those that differ from block to
// block
static void pack_inputs(const product* k, int row, int m, int g, bool all, int from, int depth,
                        nn_bf16* tiles) {
    for (int i = 0; i < k->inputs; i++) {
        const nn_bf16_input* x = &k->input[i];
        if (!all && x->step == 0)
            continue;
        // its columns within the piece
        const int first = from * NN_BF16_DEPTH, end = first + depth * NN_BF16_DEPTH;
        const int a = x->from > first ? x->from : first, b = least(x->from + x->cols, end);
        if (a < b)
            kernel->pack(m, b - a,
                         x->x + (ptrdiff_t)row * x->ld + (ptrdiff_t)g * x->step + (a - x->from),
                         x->ld, a - first, depth, tiles);
    }
}

// rows and columns of c that are no whole tiles go by way of a copy
static void whole_or_ragged(const nn_bf16_block* b, int rows, int columns) {
    if (rows % NN_BF16_ROWS == 0 && columns % COLUMNS == 0) {
        kernel->block(b);
        return;
    }
    float whole[4 * NN_BF16_ROWS * COLUMNS] = {0};
    enum { WIDTH = 2 * COLUMNS };
    for (int i = 0; i < rows; i++)
        memcpy(whole + i * WIDTH, b->start + i * b->start_row, (size_t)columns * sizeof *whole);
    nn_bf16_block copy = *b;
    copy.start = copy.c = whole;
    copy.start_row = copy.ldc = WIDTH;
    kernel->block(&copy);
    for (int i = 0; i < rows; i++)
        memcpy(b->c + i * b->ldc, whole + i * WIDTH, (size_t)columns * sizeof *whole);
}

// Columns of tiles [first,last) of block g, of m rows from `row` on
static void multiply(const product* k, int row, int m, int g, int first, int last, int from,
                     int depth, const nn_bf16* tiles) {
    const int depth_all = tiles_of(k->in, NN_BF16_DEPTH);
    const ptrdiff_t strip = (ptrdiff_t)depth_all * NN_BF16_TILE;
    const nn_bf16* weight = k->packed + (size_t)g * nn_bf16_weight_count(k->out, k->in);
    const bool add = k->add || from > k->low;
    // lines of a tile that each pair of rows of tiles fetches, for the next columns or block
    const int pairs = tiles_of(m, 2 * NN_BF16_ROWS), lines = NN_BF16_ROWS / pairs;
    for (int s = first; s < last; s += 2)
        for (int i = 0; i < m; i += 2 * NN_BF16_ROWS) {
            const int column = s * COLUMNS, rows = least(m - i, 2 * NN_BF16_ROWS),
                      columns = least(least(k->out - column, 2 * COLUMNS), (last - s) * COLUMNS);
            float* c = k->c + (ptrdiff_t)(row + i) * k->ldc + (ptrdiff_t)g * k->out + column;
            const nn_bf16_block b = {
                .rows = tiles_of(rows, NN_BF16_ROWS),
                .columns = tiles_of(columns, COLUMNS),
                .depth = depth,
                .a = tiles + (ptrdiff_t)(i / NN_BF16_ROWS) * depth * NN_BF16_TILE,
                .b = weight + s * strip + (ptrdiff_t)from * NN_BF16_TILE,
                .a_next = (ptrdiff_t)depth * NN_BF16_TILE,
                .b_next = strip,
                .start = add       ? c
                         : k->bias ? k->bias + (ptrdiff_t)g * k->out + column
                                   : zero,
                .start_row = add ? k->ldc : 0,
                .c = c,
                .ldc = k->ldc,
                .ahead =
                    weight + (s + 2) * strip + (ptrdiff_t)from * NN_BF16_TILE + i / 32 * lines * 32,
                .ahead_lines = lines};
            whole_or_ragged(&b, rows, columns);
        }
}

static void product_task(void* context, int task) {
    static _Thread_local _Alignas(64) nn_bf16 tiles[PIECE_ROWS * PIECE_DEPTH * NN_BF16_TILE];
    const product* k = context;
    const int strips = tiles_of(k->out, COLUMNS), all = strips * k->blocks;
    const int first = task / k->row_tasks * k->columns_each,
              last = least(first + k->columns_each, all);
    int row = task % k->row_tasks * k->rows_each;
    const int end = least(row + k->rows_each, k->m);
    // columns of the first and last tiles that no input has
    const nn_bf16_input* tail = &k->input[k->inputs - 1];
    const bool ragged =
        k->input[0].from % NN_BF16_DEPTH != 0 || (tail->from + tail->cols) % NN_BF16_DEPTH != 0;
    const unsigned before = kernel->enter();
    for (; row < end; row += PIECE_ROWS * NN_BF16_ROWS) {
        const int m = least(end - row, PIECE_ROWS * NN_BF16_ROWS);
        for (int from = k->low; from < k->high; from += PIECE_DEPTH) {
            const int depth = least(k->high - from, PIECE_DEPTH);
            if (ragged || m % NN_BF16_ROWS != 0)
                memset(tiles, 0,
                       (size_t)(tiles_of(m, NN_BF16_ROWS) * depth) * NN_BF16_TILE * sizeof *tiles);
            for (int s = first, g = s / strips; s < last; g++) {
                const int to = least(last, (g + 1) * strips);
                pack_inputs(k, row, m, g, s == first, from, depth, tiles);
                multiply(k, row, m, g, s - g * strips, to - g * strips, from, depth, tiles);
                s = to;
            }
        }
    }
    kernel->leave(before);
}

// A task has whole blocks of rows of a weight that fits the cache beside them, or, where there are
// few rows, some of the weight's columns.
static void cut(product* k) {
    enum { TASK_ROWS = 128, TASKS_PER_THREAD = 4 };
    const int columns = tiles_of(k->out, COLUMNS) * k->blocks;
    k->rows_each = k->m;
    k->columns_each = columns;
    const double multiply_adds = (double)k->m * k->blocks * k->out * k->in;
    if (nn_threads() > 1 && multiply_adds >= 1 << 21) {
        const int tasks = TASKS_PER_THREAD * nn_threads();
        if (k->m >= 2 * TASK_ROWS)
            k->rows_each = TASK_ROWS * tiles_of(k->m, tasks * TASK_ROWS);
        else
            k->columns_each = 2 * tiles_of(columns, 2 * tasks);
    }
    k->row_tasks = tiles_of(k->m, k->rows_each);
}

void nn_bf16_product(int m, int blocks, int out, int in, int inputs, const nn_bf16_input* input,
                     const nn_bf16* packed, float* c, int ldc, const float* bias, bool add) {
    const nn_bf16_input* tail = &input[inputs - 1];
    const int end = tail->from + tail->cols;
    HWM_ASSERT(m > 0 && inputs >= 1 && input[0].from >= 0 && end <= in && !(bias && add));
    HWM_ASSERT(inputs == 1 || (inputs == 2 && input[0].from + input[0].cols == tail->from));
    for (int g = 0; g < blocks; g++)
        nn_gemm_tell('w', m, out, end - input[0].from);
    product k = {.m = m,
                 .blocks = blocks,
                 .out = out,
                 .in = in,
                 .inputs = inputs,
                 .input = input,
                 .packed = packed,
                 .c = c,
                 .ldc = ldc,
                 .bias = bias,
                 .add = add,
                 .low = input[0].from / NN_BF16_DEPTH,
                 .high = tiles_of(end, NN_BF16_DEPTH)};
    cut(&k);
    nn_parallel(k.row_tasks * tiles_of(tiles_of(out, COLUMNS) * blocks, k.columns_each),
                product_task, &k);
}

// ---- gradients of weights

typedef struct accumulation {
    int m, n, depth;
    const nn_bf16 *a, *b;
    float* c;
    int ldc;
} accumulation;

// 32 columns of c
static void accumulate_columns(void* context, int task) {
    const accumulation* k = context;
    const ptrdiff_t strip = (ptrdiff_t)k->depth * NN_BF16_TILE;
    const int column = task * 2 * COLUMNS, columns = least(k->n - column, 2 * COLUMNS);
    const unsigned before = kernel->enter();
    for (int i = 0; i < k->m; i += 2 * NN_BF16_ROWS) {
        const int rows = least(k->m - i, 2 * NN_BF16_ROWS);
        float* c = k->c + (ptrdiff_t)i * k->ldc + column;
        const nn_bf16_block b = {.rows = tiles_of(rows, NN_BF16_ROWS),
                                 .columns = tiles_of(columns, COLUMNS),
                                 .depth = k->depth,
                                 .a = k->a + i / NN_BF16_ROWS * strip,
                                 .b = k->b + 2 * task * strip,
                                 .a_next = strip,
                                 .b_next = strip,
                                 .start = c,
                                 .start_row = k->ldc,
                                 .c = c,
                                 .ldc = k->ldc};
        whole_or_ragged(&b, rows, columns);
    }
    kernel->leave(before);
}

void nn_bf16_accumulate(int m, int n, int rows, const nn_bf16* a, const nn_bf16* b, float* c,
                        int ldc) {
    HWM_ASSERT(m > 0 && n > 0 && rows > 0);
    nn_gemm_tell('o', m, n, rows);
    accumulation k = {m, n, tiles_of(rows, NN_BF16_DEPTH), a, b, c, ldc};
    nn_parallel(tiles_of(n, 2 * COLUMNS), accumulate_columns, &k);
}
#endif
