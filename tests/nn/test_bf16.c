// Products of operands rounded to bfloat16: against a double reference over odd sizes, with a bound
// from the number of roundings, and with the same bits at every instruction set of this machine,
// with every cut of rows, columns and threads.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/bf16.h"
#include "nn/cpu.h"
#include "nn/layers.h"
#include "nn/pool.h"

enum { GUARD = 7 };  // untouched numbers after the end of c

static float of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float* filled(hwm_rng* rng, size_t n) {
    float* x = malloc((n + GUARD) * sizeof *x);
    hwm_rng_fill_normal(rng, x, n + GUARD, 0.0f, 1.0f);
    return x;
}

// ---- rounding

static void test_rounds_to_the_nearest_and_halfway_to_even(void** state) {
    (void)state;
    const struct {
        uint32_t bits;
        nn_bf16 rounded;
    } cases[] = {
        {0x3f800000, 0x3f80},  // 1
        {0x3f807fff, 0x3f80},  // just below halfway
        {0x3f808000, 0x3f80},  // halfway, to even: down
        {0x3f808001, 0x3f81},  // just above
        {0x3f818000, 0x3f82},  // halfway, to even: up
        {0xbf818000, 0xbf82},  // the same below zero
        {0x3fffffff, 0x4000},  // carries into the exponent
        {0x7f7f7fff, 0x7f7f},  // the largest
        {0x7f7f8000, 0x7f80},  // above it infinity
        {0xff7fffff, 0xff80}, {0x7f800000, 0x7f80},
        {0xff800000, 0xff80}, {0x7fc00000, 0x7fc0},  // NaN, quiet
        {0x7f800001, 0x7fc0},                        // NaN whose payload would be lost
        {0xffffffff, 0xffff}, {0x00000000, 0x0000},
        {0x80000000, 0x8000}, {0x00008001, 0x0001},  // denormal numbers like others
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(nn_bf16_round(of_bits(cases[i].bits)), cases[i].rounded);
    // all numbers with 16 more bits: no other bfloat16 is nearer
    for (uint32_t bits = 0x3f000000; bits < 0x40000000; bits += 0x301) {
        const nn_bf16 r = nn_bf16_round(of_bits(bits));
        const double x = of_bits(bits), error = fabs(nn_bf16_value(r) - x);
        assert_true(error <= fabs(nn_bf16_value((nn_bf16)(r - 1)) - x));
        assert_true(error <= fabs(nn_bf16_value((nn_bf16)(r + 1)) - x));
        assert_true(error <= ldexp(x, -8));
    }
    assert_true(isnan(nn_bf16_value(nn_bf16_round(NAN))));
}

// ---- products

// A layer's product over blocks: the first of its inputs differs from block to block, or there is
// one only, the second is shared.
typedef struct layer {
    int m, blocks, out, in, from, own, shared;  // columns: from .. + own .. + shared
    bool bias, add;
} layer;

static void run(const layer* l, const float* own, const float* shared, const nn_bf16* packed,
                const float* bias, float* c) {
    const nn_bf16_input input[2] = {{own, l->blocks * l->own + 2, l->from, l->own, l->own},
                                    {shared, l->shared + 1, l->from + l->own, l->shared, 0}};
    nn_bf16_product(l->m, l->blocks, l->out, l->in, l->shared > 0 ? 2 : 1, input, packed, c,
                    l->blocks * l->out + 3, l->bias ? bias : NULL, l->add);
}

static void check(layer l) {
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)(l.m * 1000003 + l.out * 1009 + l.in), HWM_PURPOSE_TEST,
                 (uint32_t)l.from, 0, 0);
    const int N = l.blocks * l.out, ldc = N + 3, ld_own = l.blocks * l.own + 2;
    float* own = filled(&rng, (size_t)l.m * (size_t)ld_own);
    float* shared = filled(&rng, (size_t)l.m * (size_t)(l.shared + 1));
    float* w = filled(&rng, (size_t)N * (size_t)l.in);
    float* bias = filled(&rng, (size_t)N);
    const size_t size = (size_t)l.m * (size_t)ldc, each = nn_bf16_weight_count(l.out, l.in);
    float* before = filled(&rng, size);
    nn_bf16* packed = aligned_alloc(64, (size_t)l.blocks * each * sizeof *packed);
    for (int g = 0; g < l.blocks; g++)
        nn_bf16_weight_pack(l.out, l.in, w + (size_t)(g * l.out) * (size_t)l.in,
                            packed + (size_t)g * each);
    float* first = NULL;
    for (int level = 0; level <= (int)nn_cpu_best(); level++)
        for (int threads = 1; threads <= 2; threads++) {
            nn_cpu_select((nn_cpu_level)level);
            nn_threads_set(threads);
            float* c = malloc((size + GUARD) * sizeof *c);
            memcpy(c, before, (size + GUARD) * sizeof *c);
            run(&l, own, shared, packed, bias, c);
            if (first) {
                assert_memory_equal(c, first, (size + GUARD) * sizeof *c);
                free(c);
            } else {
                first = c;
            }
        }
    // Every number goes through at most 16 multiply-adds and one addition of a tile, and then one
    // addition a tile: so many roundings of at most 2^-24 of all that is added up.
    const int depth = (l.from + l.own + l.shared + 31) / 32 - l.from / 32;
    const double unit = (16 + 1 + depth + 1) * ldexp(1, -24) * 1.001;
    for (int i = 0; i < l.m; i++)
        for (int j = 0; j < ldc; j++) {
            const size_t at = (size_t)i * (size_t)ldc + (size_t)j;
            if (j >= N) {
                assert_true(first[at] == before[at]);  // padding stays
                continue;
            }
            const float start = l.add ? before[at] : l.bias ? bias[j] : 0.0f;
            double sum = (double)start, all = fabs(sum);
            for (int p = 0; p < l.own + l.shared; p++) {
                const float x = p < l.own ? own[i * ld_own + j / l.out * l.own + p]
                                          : shared[i * (l.shared + 1) + p - l.own];
                const double term = (double)nn_bf16_value(nn_bf16_round(x)) *
                                    (double)nn_bf16_value(nn_bf16_round(w[j * l.in + l.from + p]));
                sum += term;
                all += fabs(term);
            }
            assert_true(fabs((double)first[at] - sum) <= unit * all);
        }
    assert_memory_equal(first + size, before + size, GUARD * sizeof *first);
    nn_threads_set(1);
    nn_cpu_select(nn_cpu_best());
    void* all[] = {first, own, shared, w, bias, before, packed};
    for (int i = 0; i < 7; i++)
        free(all[i]);
}

static void test_every_raggedness(void** state) {
    (void)state;
    static const int rows[] = {1, 15, 16, 17, 32, 37}, columns[] = {1, 16, 23, 32, 49},
                     depths[] = {1, 31, 32, 33, 70};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 5; j++)
            for (int p = 0; p < 5; p++) {
                const bool bias = (i + j + p) % 3 == 0, add = (i + j + p) % 3 == 1;
                check((layer){rows[i], 1, columns[j], depths[p], 0, depths[p], 0, bias, add});
            }
}

static void test_parts_blocks_and_pieces(void** state) {
    (void)state;
    static const layer layers[] = {
        {20, 1, 40, 100, 33, 50, 0, true, false},    // columns from the middle of a tile
        {32, 1, 40, 96, 0, 96, 0, true, false},      // whole tiles, and then in their place
        {32, 1, 40, 100, 33, 50, 0, true, false},    // tiles that an input fills in part
        {20, 1, 40, 100, 0, 48, 52, true, false},    // two parts that share a tile
        {16, 2, 48, 144, 0, 48, 96, true, false},    // blocks
        {33, 3, 10, 70, 0, 30, 40, false, false},    // blocks of no whole tiles
        {33, 3, 10, 70, 0, 30, 0, false, true},      // a part of the columns
        {300, 2, 70, 96, 0, 64, 32, true, false},    // several pieces of rows
        {70, 1, 33, 2100, 0, 2100, 0, true, false},  // of depth
        {40, 2, 64, 1500, 0, 100, 1400, true, false},
        {16, 4, 96, 640, 0, 256, 384, false, false},  // spread by columns
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        check(layers[i]);
}

// A row is what it is alone, and in every place.
static void test_rows_do_not_depend_on_their_neighbours(void** state) {
    (void)state;
    enum { M = 50, OUT = 40, IN = 90 };
    hwm_rng rng;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
    float *x = filled(&rng, M * IN), *w = filled(&rng, OUT * IN), whole[M * OUT], row[OUT];
    nn_bf16* packed = aligned_alloc(64, nn_bf16_weight_count(OUT, IN) * sizeof *packed);
    nn_bf16_weight_pack(OUT, IN, w, packed);
    const nn_bf16_input all = {x, IN, 0, IN, 0};
    nn_bf16_product(M, 1, OUT, IN, 1, &all, packed, whole, OUT, NULL, false);
    for (int i = 0; i < M; i++) {
        const nn_bf16_input one = {x + i * IN, IN, 0, IN, 0};
        nn_bf16_product(1, 1, OUT, IN, 1, &one, packed, row, OUT, NULL, false);
        assert_memory_equal(row, whole + i * OUT, sizeof row);
    }
    free(x);
    free(w);
    free(packed);
}

// Numbers of every size, denormal ones too, have the same bits at every instruction set; what
// reaches infinity or is no number is that everywhere.
static void test_extreme_numbers(void** state) {
    (void)state;
    enum { M = 32, OUT = 32, IN = 96 };
    hwm_rng rng;
    hwm_rng_init(&rng, 6, HWM_PURPOSE_TEST, 0, 0, 0);
    float x[M * IN], w[OUT * IN], before[M * OUT], c[M * OUT], first[M * OUT];
    nn_bf16* packed = aligned_alloc(64, nn_bf16_weight_count(OUT, IN) * sizeof *packed);
    for (int kind = 0; kind < 3; kind++) {
        // exponents around which products and sums become denormal; any; and those of infinity too
        const uint32_t low[] = {61, 0, 200}, range[] = {6, 128, 56};
        for (int i = 0; i < M * IN; i++)
            x[i] = of_bits((low[kind] + hwm_rng_u32(&rng) % range[kind]) << 23 |
                           (hwm_rng_u32(&rng) & 0x807fffff));
        for (int i = 0; i < OUT * IN; i++)
            w[i] = of_bits((low[kind] + hwm_rng_u32(&rng) % range[kind]) << 23 |
                           (hwm_rng_u32(&rng) & 0x807fffff));
        for (int i = 0; i < M * OUT; i++)
            before[i] = of_bits(hwm_rng_u32(&rng) % 3 << 23 | (hwm_rng_u32(&rng) & 0x807fffff));
        nn_bf16_weight_pack(OUT, IN, w, packed);
        for (int level = 0; level <= (int)nn_cpu_best(); level++) {
            nn_cpu_select((nn_cpu_level)level);
            memcpy(c, before, sizeof c);
            const nn_bf16_input input = {x, IN, 0, IN, 0};
            nn_bf16_product(M, 1, OUT, IN, 1, &input, packed, c, OUT, NULL, true);
            if (level == 0)
                memcpy(first, c, sizeof c);
            for (int i = 0; i < M * OUT; i++) {
                assert_true(isnan(c[i]) ? isnan(first[i]) : memcmp(&c[i], &first[i], 4) == 0);
                assert_false(kind < 2 && !isfinite(c[i]));
                assert_true(c[i] == 0 || isnan(c[i]) || fabsf(c[i]) >= of_bits(0x00800000));
            }
        }
    }
    free(packed);
    nn_cpu_select(nn_cpu_best());
}

// ---- the products of backward passes

// c (m,n) += a' b over rows that stand anywhere, and c += a w with a weight as it stands: at every
// instruction set the same bits, within the bound of the roundings.
static void test_weight_gradients(void** state) {
    (void)state;
    static const int shapes[][3] = {{16, 16, 32},  {1, 1, 1},    {17, 33, 31},  {64, 48, 512},
                                    {23, 200, 65}, {100, 7, 33}, {300, 40, 100}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int m = shapes[s][0], n = shapes[s][1], k = shapes[s][2], ldc = n + 5;
        const size_t M = (size_t)m, N = (size_t)n, K = (size_t)k, size = M * (size_t)ldc;
        hwm_rng rng;
        hwm_rng_init(&rng, s, HWM_PURPOSE_TEST, 1, 0, 0);
        float *a = filled(&rng, K * M), *b = filled(&rng, K * N), *before = filled(&rng, size);
        const float** at[2] = {malloc(K * sizeof *at[0]), malloc(K * sizeof *at[1])};
        for (int p = 0; p < k; p++) {  // not in the order of memory
            at[0][p] = a + (size_t)(k - 1 - p) * M;
            at[1][p] = b + (size_t)((p + 3) % k) * N;
        }
        const size_t count[2] = {nn_bf16_weight_count(m, k), nn_bf16_weight_count(n, k)};
        nn_bf16* packed[2] = {aligned_alloc(64, count[0] * sizeof(nn_bf16)),
                              aligned_alloc(64, count[1] * sizeof(nn_bf16))};
        float* first = NULL;
        for (int level = 0; level <= (int)nn_cpu_best(); level++)
            for (int threads = 1; threads <= 2; threads++) {
                nn_cpu_select((nn_cpu_level)level);
                nn_threads_set(threads);
                float* c = malloc((size + GUARD) * sizeof *c);
                memcpy(c, before, (size + GUARD) * sizeof *c);
                nn_bf16_rows_pack(at[0], k, m, true, packed[0]);
                nn_bf16_rows_pack(at[1], k, n, false, packed[1]);
                nn_bf16_accumulate(m, n, k, packed[0], packed[1], c, ldc);
                if (first) {
                    assert_memory_equal(c, first, (size + GUARD) * sizeof *c);
                    free(c);
                } else {
                    first = c;
                }
            }
        const double unit = (16 + 1 + (k + 31) / 32 + 1) * ldexp(1, -24) * 1.001;
        for (int i = 0; i < m; i++)
            for (int j = 0; j < ldc; j++) {
                const size_t place = (size_t)i * (size_t)ldc + (size_t)j;
                double sum = (double)before[place], all = fabs(sum);
                for (int p = 0; p < k && j < n; p++) {
                    const double term = (double)nn_bf16_value(nn_bf16_round(at[0][p][i])) *
                                        (double)nn_bf16_value(nn_bf16_round(at[1][p][j]));
                    sum += term;
                    all += fabs(term);
                }
                assert_true(fabs((double)first[place] - sum) <= (j < n ? unit * all : 0.0));
            }
        nn_threads_set(1);
        nn_cpu_select(nn_cpu_best());
        free((void*)at[0]);
        free((void*)at[1]);
        void* all[] = {first, a, b, before, packed[0], packed[1]};
        for (int i = 0; i < 6; i++)
            free(all[i]);
    }
}

// A weight packed as it stands is its transpose packed, at every instruction set.
static void test_both_ways_of_packing_agree(void** state) {
    (void)state;
    static const int shapes[][2] = {{16, 32}, {1, 1}, {15, 70}, {33, 31}, {80, 96}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int level = 0; level <= (int)nn_cpu_best(); level++) {
            nn_cpu_select((nn_cpu_level)level);
            const int out = shapes[s][0], in = shapes[s][1], ld = out + 2;
            hwm_rng rng;
            hwm_rng_init(&rng, s, HWM_PURPOSE_TEST, 2, 0, 0);
            float *w = filled(&rng, (size_t)(out * in)), *turned = filled(&rng, (size_t)(ld * in));
            w[0] = NAN;
            for (int i = 0; i < out; i++)
                for (int j = 0; j < in; j++)
                    turned[j * ld + i] = w[i * in + j];
            const size_t bytes = nn_bf16_weight_count(out, in) * sizeof(nn_bf16);
            nn_bf16 *a = aligned_alloc(64, bytes), *b = aligned_alloc(64, bytes);
            nn_bf16_weight_pack(out, in, w, a);
            nn_bf16_columns_pack(in, out, turned, ld, b);
            assert_memory_equal(a, b, bytes);
            // [out / 16][in / 32][pair][16][2]
            const int depth = (in + 31) / 32;
            for (int i = 0; i < out; i++)
                for (int j = 0; j < in; j++)
                    assert_int_equal(
                        a[((i / 16 * depth + j / 32) * 16 + j % 32 / 2) * 32 + i % 16 * 2 + j % 2],
                        nn_bf16_round(w[i * in + j]));
            void* all[] = {w, turned, a, b};
            for (int i = 0; i < 4; i++)
                free(all[i]);
        }
    nn_cpu_select(nn_cpu_best());
}

// ---- layers on a tape

enum { ROWS = 300, GROUPS = 2, OWN = 24, SHARED = 40, OUT = 20, IN = OWN + SHARED };
typedef struct gradients {
    float y[ROWS * GROUPS * OUT], x[ROWS * GROUPS * OWN], shared[ROWS * SHARED],
        w[GROUPS * OUT * IN];
} gradients;

// A block-linear layer of two parts used twice, more rows together than a piece of the weight's
// gradient has: its results and all its gradients.
static void run_layer(bool rounded, float* w, float* x, float* shared, gradients* g) {
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 24), HWM_OK);
    memset(g, 0, sizeof *g);
    nn_var weight = nn_wrap(t, w, g->w, GROUPS * OUT, IN);
    if (rounded)
        nn_prepare_bf16(t, weight, GROUPS);
    nn_var a = nn_wrap(t, x, g->x, ROWS, GROUPS * OWN),
           b = nn_wrap(t, shared, g->shared, ROWS, SHARED);
    nn_var y = nn_linear_parts(t, a, b, weight, NULL, GROUPS);
    nn_var again = nn_linear_parts(t, nn_tanh(t, a), b, weight, NULL, GROUPS);
    nn_seed(nn_mean(t, nn_add(t, nn_tanh(t, y), nn_tanh(t, again)), NULL), 1.0f);
    memcpy(g->y, y->x, sizeof g->y);
    nn_tape_backward(t);
    nn_tape_destroy(&t);
}

static double apart(const float* a, const float* b, size_t n) {
    double off = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        off += pow((double)a[i] - (double)b[i], 2);
        all += pow((double)a[i], 2);
    }
    return sqrt(off / all);
}

// Operands are off by 2^-9 of themselves at most, half of that as a rule, and independently: so is
// the length of what is computed from two such matrices, less than 2^-8 of it.
static void test_layers_are_close_to_float32(void** state) {
    (void)state;
    hwm_rng rng;
    hwm_rng_init(&rng, 8, HWM_PURPOSE_TEST, 0, 0, 0);
    float *w = filled(&rng, GROUPS * OUT * IN), *x = filled(&rng, ROWS * GROUPS * OWN),
          *shared = filled(&rng, ROWS * SHARED);
    for (int i = 0; i < GROUPS * OUT * IN; i++)
        w[i] *= 0.1f;
    gradients *exact = malloc(sizeof *exact), *first = malloc(sizeof *first),
              *g = malloc(sizeof *g);
    run_layer(false, w, x, shared, exact);
    for (int level = 0; level <= (int)nn_cpu_best(); level++) {
        nn_cpu_select((nn_cpu_level)level);
        run_layer(true, w, x, shared, level == 0 ? first : g);
        if (level > 0)
            assert_memory_equal(first, g, sizeof *g);
    }
    const double off[4] = {apart(exact->y, first->y, ROWS * GROUPS * OUT),
                           apart(exact->x, first->x, ROWS * GROUPS * OWN),
                           apart(exact->shared, first->shared, ROWS * SHARED),
                           apart(exact->w, first->w, GROUPS * OUT * IN)};
    for (int i = 0; i < 4; i++)
        assert_true(off[i] > 1e-4 && off[i] < ldexp(1, -8));
    void* all[] = {w, x, shared, exact, first, g};
    for (int i = 0; i < 6; i++)
        free(all[i]);
    nn_cpu_select(nn_cpu_best());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds_to_the_nearest_and_halfway_to_even),
        cmocka_unit_test(test_every_raggedness),
        cmocka_unit_test(test_parts_blocks_and_pieces),
        cmocka_unit_test(test_rows_do_not_depend_on_their_neighbours),
        cmocka_unit_test(test_extreme_numbers),
        cmocka_unit_test(test_weight_gradients),
        cmocka_unit_test(test_both_ways_of_packing_agree),
        cmocka_unit_test(test_layers_are_close_to_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
