// Matrix products at every shape class against a double reference, at every instruction set, with
// identical bits.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/cpu.h"
#include "nn/gemm.h"
#include "nn/pool.h"

enum { GUARD = 7 };  // untouched numbers after the end of c

typedef enum form { FORM_NN, FORM_TN, FORM_NT } form;

static float* filled(hwm_rng* rng, size_t n) {
    float* x = malloc((n + GUARD) * sizeof *x);
    hwm_rng_fill_uniform(rng, x, n + GUARD, -1.0f, 1.0f);
    return x;
}

static void call(form f, int m, int n, int k, const float* a, int lda, const float* b, int ldb,
                 float* c, int ldc, const float* bias, bool add) {
    if (f == FORM_NN)
        nn_gemm_nn(m, n, k, a, lda, b, ldb, c, ldc, bias, add);
    else if (f == FORM_TN)
        nn_gemm_tn(m, n, k, a, lda, b, ldb, c, ldc, add);
    else
        nn_gemm_nt(m, n, k, a, lda, b, ldb, c, ldc, bias, add);
}

static void check(form f, int m, int n, int k, int pad, bool with_bias, bool add) {
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)(m * 1000003 + n * 1009 + k), HWM_PURPOSE_TEST, (uint32_t)f, 0, 0);
    const int lda = (f == FORM_TN ? m : k) + pad, ldb = (f == FORM_NT ? k : n) + pad, ldc = n + pad;
    float* a = filled(&rng, (size_t)(f == FORM_TN ? k : m) * (size_t)lda);
    float* b = filled(&rng, (size_t)(f == FORM_NT ? n : k) * (size_t)ldb);
    float* bias = filled(&rng, (size_t)n);
    const size_t size = (size_t)m * (size_t)ldc;
    float* before = filled(&rng, size);
    float* first = NULL;
    for (int level = 0; level <= (int)nn_cpu_best(); level++) {
        nn_cpu_select((nn_cpu_level)level);
        float* c = malloc((size + GUARD) * sizeof *c);
        memcpy(c, before, (size + GUARD) * sizeof *c);
        call(f, m, n, k, a, lda, b, ldb, c, ldc, with_bias ? bias : NULL, add);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < ldc; j++) {
                const size_t at = (size_t)i * (size_t)ldc + (size_t)j;
                if (j >= n) {
                    assert_true(c[at] == before[at]);  // padding stays
                    continue;
                }
                double sum = (add ? before[at] : 0.0) + (with_bias ? bias[j] : 0.0);
                for (int p = 0; p < k; p++)
                    sum += (double)(f == FORM_TN ? a[p * lda + i] : a[i * lda + p]) *
                           (f == FORM_NT ? b[j * ldb + p] : b[p * ldb + j]);
                assert_true(fabs(c[at] - sum) <= 2e-7 * (4.0 + k));
            }
        assert_memory_equal(c + size, before + size, GUARD * sizeof *c);
        // the same bits at every instruction set
        if (first)
            assert_memory_equal(c, first, size * sizeof *c);
        free(first);
        first = c;
    }
    free(first);
    free(a);
    free(b);
    free(bias);
    free(before);
}

static void test_every_small_shape(void** state) {
    (void)state;
    for (int m = 1; m <= 14; m++)
        for (int n = 1; n <= 70; n += n < 18 ? 1 : 5)
            for (int k = 1; k <= 9; k += 4) {
                check(FORM_NN, m, n, k, 0, n % 2, false);
                check(FORM_TN, m, n, k, 1, false, n % 2);
                check(FORM_NT, m, n, k, 2, n % 3 == 0, false);
                check(FORM_NN, m, n, k, 3, false, true);
            }
}

static void test_larger_shapes(void** state) {
    (void)state;
    const int shapes[][3] = {{32, 64, 64},
                             {128, 64, 5},
                             {128, 6, 64},
                             {33, 96, 96},
                             {17, 129, 31},
                             {16, 512, 64},
                             {40, 300, 200},
                             {9, 700, 600},
                             // several pieces of rows, of k, and copies of either operand
                             {100, 130, 300},
                             {800, 70, 40},
                             {390, 70, 270},
                             {97, 200, 513}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int* s = shapes[i];
        check(FORM_NN, s[0], s[1], s[2], 0, true, false);
        check(FORM_TN, s[0], s[1], s[2], 0, false, true);
        check(FORM_NT, s[0], s[1], s[2], 0, true, false);
    }
}

static void test_rows_do_not_depend_on_their_neighbours(void** state) {
    (void)state;
    enum { M = 37, N = 50, K = 23 };
    hwm_rng rng;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
    float a[M * K], b[K * N], whole[M * N], row[N];
    hwm_rng_fill_normal(&rng, a, M * K, 0.0f, 1.0f);
    hwm_rng_fill_normal(&rng, b, K * N, 0.0f, 1.0f);
    nn_gemm_nn(M, N, K, a, K, b, N, whole, N, NULL, false);
    for (int i = 0; i < M; i++) {
        nn_gemm_nn(1, N, K, a + i * K, K, b, N, row, N, NULL, false);
        assert_memory_equal(row, whole + i * N, sizeof row);
    }
}

static void test_transpose(void** state) {
    (void)state;
    enum { R = 13, C = 21 };
    float in[R * C], out[R * C];
    for (int i = 0; i < R * C; i++)
        in[i] = (float)i;
    nn_transpose(R, C, in, out);
    for (int i = 0; i < R; i++)
        for (int j = 0; j < C; j++)
            assert_true(out[j * R + i] == in[i * C + j]);
}

// Packed weights: the bits of the plain product with the transposed weight, for parts of its rows,
// whole or in blocks, added or with a bias; and of the product with some of its columns.
static void test_packed_weights(void** state) {
    (void)state;
    const int shapes[][4] = {{5, 64, 96, 1},
                             {130, 192, 300, 64},
                             {17, 255, 70, 10},
                             {9, 640, 512, 256},
                             {9, 640, 512, 64}};
    hwm_rng rng;
    hwm_rng_init(&rng, 6, HWM_PURPOSE_TEST, 0, 0, 0);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int m = shapes[s][0], out = shapes[s][1], in = shapes[s][2], from = shapes[s][3];
        const int k = in - from;
        const size_t count = (size_t)out * (size_t)in, c_count = (size_t)m * (size_t)(out + in);
        float *w = malloc(count * sizeof *w), *turned = malloc(count * sizeof *w),
              *packed = malloc(count * sizeof *w), *a = malloc(c_count * sizeof *a),
              *c[2] = {malloc(c_count * sizeof *a), malloc(c_count * sizeof *a)};
        hwm_rng_fill_normal(&rng, w, count, 0.0f, 1.0f);
        hwm_rng_fill_normal(&rng, a, c_count, 0.0f, 1.0f);
        nn_transpose(out, in, w, turned);
        nn_weight_pack(out, in, w, packed);
        for (int level = 0; level <= (int)nn_cpu_best(); level++)
            for (int threads = 1; threads <= 2; threads++) {
                nn_cpu_select((nn_cpu_level)level);
                nn_threads_set(threads);
                nn_gemm_nn(m, out, from, a, in, turned, out, c[0], out, w, false);
                nn_gemm_nn(m, out, k, a + from, in, turned + (size_t)from * (size_t)out, out, c[0],
                           out, NULL, true);
                nn_gemm_weight(m, out, in, 0, from, a, in, packed, c[1], out, w, false);
                nn_gemm_weight(m, out, in, from, k, a + from, in, packed, c[1], out, NULL, true);
                assert_memory_equal(c[0], c[1], (size_t)m * (size_t)out * sizeof(float));
            }
        if (in % NN_WEIGHT_COLUMNS == 0) {
            nn_columns_pack(out, in, w, packed);
            for (int i = 0; i < 2; i++)
                memcpy(c[i], a, c_count * sizeof *a);
            nn_gemm_nn(m, k, out, a, out, w + from, in, c[0], in, NULL, true);
            nn_gemm_columns(m, k, out, from, a, out, packed, c[1], in);
            assert_memory_equal(c[0], c[1], c_count * sizeof(float));
        }
        nn_threads_set(1);
        float* all[] = {w, turned, packed, a, c[0], c[1]};
        for (int i = 0; i < 6; i++)
            free(all[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_small_shape),
        cmocka_unit_test(test_larger_shapes),
        cmocka_unit_test(test_rows_do_not_depend_on_their_neighbours),
        cmocka_unit_test(test_transpose),
        cmocka_unit_test(test_packed_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
