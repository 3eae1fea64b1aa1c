// Updates of the recurrent agent in lanes: the same bits with 1, 2 and 3 threads and at every
// instruction set, in either precision, and nothing allocated after the first; in bfloat16 close to
// those in float32.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/dreamer.h"
#include "nn/cpu.h"
#include "nn/gemm.h"
#include "nn/pool.h"

enum { B = 6, T = 5, O = 3, A = 2, ROWS = B * T, UPDATES = 3 };

typedef struct result {
    hwm_real *model, *behaviour;
    size_t model_count, behaviour_count;
    hwm_dreamer_losses losses;
} result;

static void fill(hwm_rng* rng, hwm_real* x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = (hwm_real)hwm_rng_uniform(rng);
}

static hwm_real* copy(const nn_params* p) {
    hwm_real* x = malloc(p->list.count * sizeof *x);
    return memcpy(x, p->value, p->list.count * sizeof *x);
}

// A batch of random rows, in which some episodes end.
typedef struct rows {
    hwm_real obs[ROWS * O], action[ROWS * A], reward[ROWS], keep[ROWS], cont[ROWS], last[ROWS],
        draws[ROWS * 8], deter[B * 96], stoch[B * 40];
    hwm_rssm_batch batch;
} rows;

static void make_rows(rows* r, hwm_rng* rng) {
    memset(r, 0, sizeof *r);
    fill(rng, r->obs, ROWS * O);
    fill(rng, r->action, ROWS * A);
    fill(rng, r->reward, ROWS);
    fill(rng, r->draws, ROWS * 8);
    fill(rng, r->deter, B * 96);
    for (int i = 0; i < B * 8; i++)
        r->stoch[i * 5 + i % 5] = 1;
    for (int i = 0; i < ROWS; i++) {
        r->keep[i] = i % 7 != 0;  // sequences begin with a state of their own, but the first
        r->cont[i] = i % 9 ? 1 : 0;
        r->last[i] = i + B < ROWS && (i + B) % 7 == 0;
    }
    r->batch = (hwm_rssm_batch){.N = B,
                                .T = T,
                                .obs = r->obs,
                                .action = r->action,
                                .reward = r->reward,
                                .keep = r->keep,
                                .cont = r->cont,
                                .draws = r->draws,
                                .deter = r->deter,
                                .stoch = r->stoch};
}

static hwm_dreamer* make(bool discrete, const int lane[2], hwm_precision precision) {
    hwm_dreamer_config c = hwm_dreamer_default(0, O, A);
    c.sizes = (hwm_rssm_sizes){"lanes", 96, 32, 5, 48, 8, 2, B, T};
    c.discrete = discrete;
    c.horizon = 4;
    c.lane_sequences = lane[0];
    c.lane_rows = lane[1];
    c.lr = c.behaviour_lr = 1e-3;
    c.warmup_updates = 0;
    c.precision = precision;
    hwm_dreamer* d;
    assert_int_equal(hwm_dreamer_create(&d, &c, 3), HWM_OK);
    return d;
}

static result run(int threads, nn_cpu_level level, bool discrete, const int lane[2],
                  hwm_precision precision) {
    nn_threads_set(threads);
    nn_cpu_select(level);
    hwm_dreamer* d = make(discrete, lane, precision);
    hwm_rng rng;
    hwm_rng_init(&rng, 9, HWM_PURPOSE_TEST, 0, 0, 0);
    rows in;
    make_rows(&in, &rng);
    result r;
    size_t bytes = 0;
    for (int i = 0; i < UPDATES; i++) {
        hwm_error err = {0};
        if (hwm_dreamer_update(d, &in.batch, in.last, &rng, &r.losses, &err) != HWM_OK)
            fail_msg("%s", err.text);
        if (i == 0)
            bytes = hwm_dreamer_memory(d);
        assert_int_equal(hwm_dreamer_memory(d), bytes);
    }
    r.model = copy(hwm_dreamer_model(d));
    r.behaviour = copy(hwm_dreamer_behaviour(d));
    r.model_count = hwm_dreamer_model(d)->list.count;
    r.behaviour_count = hwm_dreamer_behaviour(d)->list.count;
    hwm_dreamer_destroy(&d);
    nn_threads_set(1);
    nn_cpu_select(nn_cpu_best());
    return r;
}

static void same(const result* a, const result* b) {
    assert_memory_equal(a->model, b->model, a->model_count * sizeof(hwm_real));
    assert_memory_equal(a->behaviour, b->behaviour, a->behaviour_count * sizeof(hwm_real));
    assert_true(a->losses.model.total == b->losses.model.total);
    assert_true(a->losses.value == b->losses.value && a->losses.policy == b->losses.policy);
}

static void release(result* r) {
    free(r->model);
    free(r->behaviour);
}

static void test_the_same_bits_with_every_thread_count_and_instruction_set(void** state) {
    (void)state;
    const int lanes[2][2] = {{2, 7}, {0, 0}};
    for (int k = 0; k < 4; k++) {
        const hwm_precision precision = k / 2 ? HWM_PRECISION_BFLOAT16 : HWM_PRECISION_FLOAT32;
        result first = run(1, NN_CPU_BASE, k % 2 == 1, lanes[k % 2], precision);
        assert_true(isfinite(first.losses.model.total));
        for (int level = 0; level <= (int)nn_cpu_best(); level++)
            for (int threads = 1; threads <= 3; threads++) {
                result r = run(threads, (nn_cpu_level)level, k % 2 == 1, lanes[k % 2], precision);
                same(&first, &r);
                release(&r);
            }
        release(&first);
    }
}

// Cut otherwise the sums round otherwise, and that is all: three updates end close together.
static void test_lanes_change_no_more_than_the_rounding(void** state) {
    (void)state;
    const int one[2] = {B, ROWS}, many[2] = {1, 4};
    result a = run(1, nn_cpu_best(), false, one, HWM_PRECISION_FLOAT32),
           b = run(1, nn_cpu_best(), false, many, HWM_PRECISION_FLOAT32);
    assert_true(fabs(a.losses.model.total - b.losses.model.total) < 1e-4 * a.losses.model.total);
    assert_true(fabs(a.losses.value - b.losses.value) < 1e-4 * fabs(a.losses.value));
    release(&a);
    release(&b);
}

// How far b is from a: the length of their difference over that of a.
static double apart(const hwm_real* a, const hwm_real* b, size_t n) {
    double off = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        off += pow((double)a[i] - (double)b[i], 2);
        all += pow((double)a[i], 2);
    }
    return sqrt(off / all);
}

static void count_forms(void* context, char form, int m, int n, int k) {
    (void)m, (void)n, (void)k;
    ((int*)context)[form - 'a']++;
}

static void test_bfloat16_is_close_to_float32(void** state) {
    (void)state;
    const int lane[2] = {0, 0};
    hwm_rng rng;
    hwm_rng_init(&rng, 10, HWM_PURPOSE_TEST, 0, 0, 0);
    rows in;
    make_rows(&in, &rng);
    // heads begin with zeros: some updates until what they say depends on what they read
    hwm_dreamer* d[2] = {make(false, lane, HWM_PRECISION_FLOAT32),
                         make(false, lane, HWM_PRECISION_BFLOAT16)};
    hwm_dreamer_losses l[2];
    hwm_error err = {0};
    for (int i = 0; i < 50; i++)
        assert_int_equal(hwm_dreamer_update(d[0], &in.batch, in.last, &rng, &l[0], &err), HWM_OK);
    double off[2];
    for (int k = 0; k < 2; k++) {
        const nn_params* from[] = {hwm_dreamer_model(d[0]), hwm_dreamer_behaviour(d[0]),
                                   hwm_dreamer_training_of(d[0]).slow};
        nn_params* to[] = {hwm_dreamer_model(d[k]), hwm_dreamer_behaviour(d[k]),
                           hwm_dreamer_training_of(d[k]).slow};
        for (int s = 0; s < 3; s++)
            memmove(to[s]->value, from[s]->value, to[s]->list.count * sizeof(hwm_real));
        memmove(hwm_dreamer_training_of(d[k]).range, hwm_dreamer_training_of(d[0]).range,
                3 * sizeof(double));
        hwm_rng_init(&rng, 11, HWM_PURPOSE_TEST, 0, 0, 0);
        int forms[26] = {0};
        nn_gemm_watch(count_forms, forms);
        hwm_dreamer_gradient(d[k], &in.batch, in.last, &rng, &l[k]);
        nn_gemm_watch(NULL, NULL);
        // all products in the precision that was asked for
        const int float32 = forms['n' - 'a'] + forms['t' - 'a'] + forms['b' - 'a'],
                  bfloat16 = forms['w' - 'a'] + forms['o' - 'a'];
        assert_true(k == 0 ? float32 > 0 && bfloat16 == 0 : float32 == 0 && bfloat16 > 0);
    }
    for (int s = 0; s < 2; s++) {
        const nn_params *a = s ? hwm_dreamer_behaviour(d[0]) : hwm_dreamer_model(d[0]),
                        *b = s ? hwm_dreamer_behaviour(d[1]) : hwm_dreamer_model(d[1]);
        off[s] = apart(a->grad, b->grad, a->list.count);
    }
    // Operands are off by 2^-9 = 0.2 % at most, at random, in each of some layers; a draw that
    // falls between the two probabilities, also 0.2 % apart, takes one of 30 rows elsewhere.
    const double losses[][2] = {
        {l[0].model.total, l[1].model.total},
        {l[0].policy, l[1].policy},
        {l[0].value, l[1].value},
        {l[0].replay_value, l[1].replay_value},
        {l[0].entropy, l[1].entropy},
        {l[0].imagined_return, l[1].imagined_return},
    };
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        assert_true(fabs(losses[i][0] - losses[i][1]) <= 0.02 * fabs(losses[i][0]));
        assert_true(losses[i][0] != losses[i][1]);  // and it was rounded
    }
    for (int s = 0; s < 2; s++)
        assert_true(off[s] > 1e-3 && off[s] < 0.05);
    hwm_dreamer_destroy(&d[0]);
    hwm_dreamer_destroy(&d[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_bits_with_every_thread_count_and_instruction_set),
        cmocka_unit_test(test_lanes_change_no_more_than_the_rounding),
        cmocka_unit_test(test_bfloat16_is_close_to_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
