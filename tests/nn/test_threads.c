// Threads, segments and row kernels: the same bits with 1 and more threads, with and without
// segments, at every instruction set.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/cpu.h"
#include "nn/dist.h"
#include "nn/gemm.h"
#include "nn/layers.h"
#include "nn/pool.h"

// ---- the pool

typedef struct marks {
    atomic_int count[1000];
} marks;
static void mark(void* context, int i) {
    atomic_fetch_add(&((marks*)context)->count[i], 1);
}
static void mark_nested(void* context, int i) {
    marks* m = context;
    (void)i;
    if (nn_threads() == 1)  // a task has its own thread only
        nn_parallel(10, mark, m);
}

static void test_every_task_runs_once(void** state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        assert_int_equal(nn_threads_set(threads), threads);
        assert_int_equal(nn_threads(), threads);
        for (int round = 0; round < 300; round++) {
            marks m;
            memset(&m, 0, sizeof m);
            const int n = 1 + round * 3;
            nn_parallel(n, mark, &m);
            for (int i = 0; i < 1000; i++)
                assert_int_equal(atomic_load(&m.count[i]), i < n);
        }
        marks m;
        memset(&m, 0, sizeof m);
        nn_parallel(7, mark_nested, &m);
        for (int i = 0; i < 10; i++)
            assert_int_equal(atomic_load(&m.count[i]), 7);
    }
    nn_threads_set(1);
}

static void test_products_with_more_threads(void** state) {
    (void)state;
    const int shapes[][3] = {{200, 130, 70}, {1000, 33, 64}, {16, 700, 128}, {96, 256, 300}};
    for (size_t s = 0; s < 4; s++) {
        const int m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        hwm_rng rng;
        hwm_rng_init(&rng, s, HWM_PURPOSE_TEST, 0, 0, 0);
        float* a = malloc((size_t)(m * k) * sizeof *a);
        float* b = malloc((size_t)(k * n) * sizeof *b);
        float* c[2];
        hwm_rng_fill_normal(&rng, a, (size_t)(m * k), 0.0f, 1.0f);
        hwm_rng_fill_normal(&rng, b, (size_t)(k * n), 0.0f, 1.0f);
        for (int form = 0; form < 3; form++) {
            for (int threads = 1; threads <= 2; threads++) {
                nn_threads_set(threads);
                float* out = c[threads - 1] = calloc((size_t)(m * n), sizeof *out);
                if (form == 0)
                    nn_gemm_nn(m, n, k, a, k, b, n, out, n, b, false);
                else if (form == 1)
                    nn_gemm_tn(m, n, k, a, m, b, n, out, n, true);
                else
                    nn_gemm_nt(m, n, k, a, k, b, k, out, n, NULL, false);
            }
            assert_memory_equal(c[0], c[1], (size_t)(m * n) * sizeof(float));
            free(c[0]);
            free(c[1]);
        }
        free(a);
        free(b);
    }
    nn_threads_set(1);
}

// ---- a recurrent network: plain and in segments, and with threads

enum { T = 12, N = 16, D = 48, A = 3, H = 40, C = 4, S = 6 };
typedef struct net {
    float *value, *grad;
    size_t count;
    nn_var w_in, b_in, g_in, w_z, b_z, w_p, h, z;
    float inputs[T * N * A], draws[T * N * S];
    int step, steps;
} net;

static void one_step(nn_tape* t, net* n) {
    nn_var x = nn_wrap(t, n->inputs + (size_t)n->step * N * A, NULL, N, A);
    nn_var in = nn_concat(t, 2, (nn_var[]){n->z, x});
    nn_var e = nn_layer(t, in, n->w_in, n->b_in, n->g_in);
    n->h = nn_gru(t, nn_linear_parts(t, n->h, e, n->w_z, n->b_z, 2), n->h, 2);
    nn_var p = nn_categorical(t, nn_linear(t, n->h, n->w_p, NULL), C, 0.01f);
    n->z = nn_one_hot(t, p, C, n->draws + (size_t)n->step * N * S);
    n->step++;
}

typedef struct piece {
    net* net;
    nn_var h, z;
    int step;
} piece;
static void run_piece(nn_tape* t, void* context, nn_var* out) {
    const piece* p = context;
    net n = *p->net;
    n.h = p->h;
    n.z = p->z;
    n.step = p->step;
    for (int i = 0; i < p->net->steps; i++)
        one_step(t, &n);
    out[0] = n.h;
    out[1] = n.z;
}

static float run_net(net* n, bool segments, size_t* high_water) {
    nn_tape* t;
    assert_int_equal(nn_tape_create(&t, 1 << 26), HWM_OK);
    memset(n->grad, 0, n->count * sizeof(float));
    float *v = n->value, *g = n->grad;
    const int shapes[6][2] = {{H, S * C + A},     {1, H},     {1, H},
                              {3 * D, D / 2 + H}, {1, 3 * D}, {S * C, D}};
    nn_var* to[6] = {&n->w_in, &n->b_in, &n->g_in, &n->w_z, &n->b_z, &n->w_p};
    for (int i = 0; i < 6; i++) {
        *to[i] = nn_wrap(t, v, g, shapes[i][0], shapes[i][1]);
        v += shapes[i][0] * shapes[i][1];
        g += shapes[i][0] * shapes[i][1];
    }
    n->h = nn_new(t, N, D, true);
    n->z = nn_new(t, N, S * C, true);
    memset(n->h->x, 0, N * D * sizeof(float));
    memset(n->z->x, 0, N * S * C * sizeof(float));
    n->step = 0;
    if (segments) {
        n->steps = 4;
        for (int i = 0; i < T; i += 4) {
            piece* p = nn_tape_alloc(t, sizeof *p);
            *p = (piece){n, n->h, n->z, i};
            nn_var out[2];
            nn_segment(t, run_piece, p, 2, out);
            n->h = out[0];
            n->z = out[1];
        }
    } else {
        for (int i = 0; i < T; i++)
            one_step(t, n);
    }
    nn_var loss = nn_mean(t, nn_mul(t, n->h, n->h), NULL);
    nn_seed(loss, 1.0f);
    nn_tape_backward(t);
    const float result = loss->x[0];
    *high_water = nn_tape_high_water(t);
    nn_tape_destroy(&t);
    return result;
}

static net* make_net(void) {
    net* n = calloc(1, sizeof *n);
    n->count = H * (S * C + A) + H + H + 3 * D * (D / 2 + H) + 3 * D + S * C * D;
    n->value = malloc(n->count * sizeof(float));
    n->grad = malloc(n->count * sizeof(float));
    hwm_rng rng;
    hwm_rng_init(&rng, 4, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_rng_fill_normal(&rng, n->value, n->count, 0.0f, 0.3f);
    hwm_rng_fill_normal(&rng, n->inputs, T * N * A, 0.0f, 1.0f);
    hwm_rng_fill_uniform(&rng, n->draws, T * N * S, 0.0f, 1.0f);
    return n;
}

static void free_net(net* n) {
    free(n->value);
    free(n->grad);
    free(n);
}

static void test_segments_give_the_same_bits_in_less_memory(void** state) {
    (void)state;
    net* n = make_net();
    size_t plain_bytes, segment_bytes;
    const float plain = run_net(n, false, &plain_bytes);
    float* grad = malloc(n->count * sizeof(float));
    memcpy(grad, n->grad, n->count * sizeof(float));
    const float again = run_net(n, true, &segment_bytes);
    assert_true(plain == again);
    assert_memory_equal(grad, n->grad, n->count * sizeof(float));
    float largest = 0.0f;
    for (size_t i = 0; i < n->count; i++)
        largest = grad[i] > largest ? grad[i] : largest;
    assert_true(largest > 1e-3f);
    assert_true(segment_bytes < plain_bytes * 3 / 4);
    free(grad);
    free_net(n);
}

static void test_updates_are_the_same_at_every_level_and_thread_count(void** state) {
    (void)state;
    net* n = make_net();
    size_t bytes;
    nn_cpu_select(NN_CPU_BASE);
    const float first = run_net(n, false, &bytes);
    float* grad = malloc(n->count * sizeof(float));
    memcpy(grad, n->grad, n->count * sizeof(float));
    for (int level = 0; level <= (int)nn_cpu_best(); level++)
        for (int threads = 1; threads <= 2; threads++) {
            nn_cpu_select((nn_cpu_level)level);
            nn_threads_set(threads);
            assert_true(run_net(n, false, &bytes) == first);
            assert_memory_equal(grad, n->grad, n->count * sizeof(float));
        }
    nn_threads_set(1);
    free(grad);
    free_net(n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_task_runs_once),
        cmocka_unit_test(test_products_with_more_threads),
        cmocka_unit_test(test_segments_give_the_same_bits_in_less_memory),
        cmocka_unit_test(test_updates_are_the_same_at_every_level_and_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
