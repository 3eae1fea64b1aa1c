// Updates of the recurrent agent in lanes: the same bits with 1, 2 and 3 threads and at every
// instruction set, and nothing allocated after the first.
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

static result run(int threads, nn_cpu_level level, bool discrete, const int lane[2]) {
    nn_threads_set(threads);
    nn_cpu_select(level);
    hwm_dreamer_config c = hwm_dreamer_default(0, O, A);
    c.sizes = (hwm_rssm_sizes){"lanes", 96, 32, 5, 48, 8, 2, B, T};
    c.discrete = discrete;
    c.horizon = 4;
    c.lane_sequences = lane[0];
    c.lane_rows = lane[1];
    c.lr = c.behaviour_lr = 1e-3;
    c.warmup_updates = 0;
    hwm_dreamer* d;
    assert_int_equal(hwm_dreamer_create(&d, &c, 3), HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, 9, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_real obs[ROWS * O], action[ROWS * A], reward[ROWS], keep[ROWS], cont[ROWS], last[ROWS],
        draws[ROWS * 8], deter[B * 96], stoch[B * 40] = {0};
    fill(&rng, obs, ROWS * O);
    fill(&rng, action, ROWS * A);
    fill(&rng, reward, ROWS);
    fill(&rng, draws, ROWS * 8);
    fill(&rng, deter, B * 96);
    for (int i = 0; i < B * 8; i++)
        stoch[i * 5 + i % 5] = 1;
    for (int i = 0; i < ROWS; i++) {
        keep[i] = i % 7 != 0;  // sequences begin with a state of their own, but the first
        cont[i] = i % 9 ? 1 : 0;
        last[i] = i + B < ROWS && (i + B) % 7 == 0;
    }
    const hwm_rssm_batch b = {.N = B,
                              .T = T,
                              .obs = obs,
                              .action = action,
                              .reward = reward,
                              .keep = keep,
                              .cont = cont,
                              .draws = draws,
                              .deter = deter,
                              .stoch = stoch};
    result r;
    size_t bytes = 0;
    for (int i = 0; i < UPDATES; i++) {
        hwm_error err = {0};
        if (hwm_dreamer_update(d, &b, last, &rng, &r.losses, &err) != HWM_OK)
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
    for (int k = 0; k < 2; k++) {
        result first = run(1, NN_CPU_BASE, k == 1, lanes[k]);
        assert_true(isfinite(first.losses.model.total));
        for (int level = 0; level <= (int)nn_cpu_best(); level++)
            for (int threads = 1; threads <= 3; threads++) {
                result r = run(threads, (nn_cpu_level)level, k == 1, lanes[k]);
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
    result a = run(1, nn_cpu_best(), false, one), b = run(1, nn_cpu_best(), false, many);
    assert_true(fabs(a.losses.model.total - b.losses.model.total) < 1e-4 * a.losses.model.total);
    assert_true(fabs(a.losses.value - b.losses.value) < 1e-4 * fabs(a.losses.value));
    release(&a);
    release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_bits_with_every_thread_count_and_instruction_set),
        cmocka_unit_test(test_lanes_change_no_more_than_the_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
