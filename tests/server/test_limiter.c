// The limiter alone: its bounds, over random interleavings of many writers and samplers with kills
// in between, and that they never deadlock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "server/limiter.h"

enum { ACTORS = 12 };

typedef struct actor {
    enum { IDLE, WRITING, SAMPLING } doing;
    uint64_t steps;
} actor;

// 100,000 short interleavings and 20 long ones, each with bounds and an order of its own.
static void test_limiter_stays_within_its_bounds(void** state) {
    (void)state;
    enum { SHORT = 100000, LONG = 20 };
    hwm_rng rng;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int world = 0; world < SHORT + LONG; world++) {
        const int events = world < SHORT ? 40 : 5000;
        hwm_limiter_config config = {
            .samples_per_insert = 0.25 + 8 * hwm_rng_uniform_double(&rng),
            .min_size_steps = hwm_rng_below(&rng, world < SHORT ? 60 : 300),
            .burst_steps = 1 + hwm_rng_below(&rng, 64),
            .prefetch_steps = 1 + hwm_rng_below(&rng, 256),
        };
        hwm_limiter l;
        hwm_error err;
        assert_int_equal(hwm_limiter_init(&l, &config, &err), HWM_OK);
        actor a[ACTORS] = {0};
        uint64_t inserted = 0, writing = 0, sampled = 0, moves = 0;
        double ratio = config.samples_per_insert, middle = (double)config.min_size_steps * ratio;
        for (int i = 0; i < events; i++) {
            actor* who = &a[hwm_rng_below(&rng, ACTORS)];
            bool killed = hwm_rng_below(&rng, 20) == 0;
            if (who->doing == WRITING) {
                // counted here once more, by what happened and not by what the limiter thinks
                if (killed) {
                    hwm_limiter_insert_undone(&l, who->steps);
                } else {
                    hwm_limiter_insert_done(&l, who->steps);
                    inserted += who->steps;
                }
                writing -= who->steps;
                who->doing = IDLE;
            } else if (who->doing == SAMPLING) {
                if (killed) {
                    hwm_limiter_sample_undone(&l, who->steps);
                    sampled -= who->steps;
                }
                who->doing = IDLE;
            } else if (hwm_rng_below(&rng, 2) == 0) {
                who->steps = 1 + hwm_rng_below(&rng, (uint32_t)config.burst_steps);
                if (hwm_limiter_can_insert(&l, who->steps)) {
                    hwm_limiter_insert(&l, who->steps);
                    who->doing = WRITING;
                    writing += who->steps;
                    moves++;
                    assert_true(inserted + writing <= (uint64_t)config.min_size_steps ||
                                (double)(inserted + writing) * ratio - (double)sampled <=
                                    middle + (double)config.burst_steps * ratio + 1e-6);
                }
            } else {
                who->steps = 1 + hwm_rng_below(&rng, (uint32_t)config.prefetch_steps);
                if (hwm_limiter_can_sample(&l, l.committed, who->steps, false)) {
                    hwm_limiter_sample(&l, who->steps);
                    who->doing = SAMPLING;
                    sampled += who->steps;
                    moves++;
                    assert_true(inserted >= (uint64_t)config.min_size_steps);
                }
            }
            assert_true(sampled == 0 || (double)inserted * ratio - (double)sampled >=
                                            middle - (double)config.prefetch_steps - 1e-6);
            assert_int_equal(l.committed, inserted);
            assert_int_equal(l.admitted, inserted + writing);
            assert_int_equal(l.sampled, sampled);
            bool idle = true;
            for (int k = 0; k < ACTORS; k++) {
                idle = idle && a[k].doing == IDLE;
            }
            // never a standstill: the largest append or the largest sample may go
            if (idle) {
                assert_true(hwm_limiter_can_insert(&l, (uint64_t)config.burst_steps) ||
                            hwm_limiter_can_sample(&l, l.committed, (uint64_t)config.prefetch_steps,
                                                   false));
            }
        }
        assert_true(moves > (uint64_t)events / 50);
    }
}

static void test_limiter_refuses_what_could_only_stop(void** state) {
    (void)state;
    hwm_limiter l;
    hwm_error err;
    hwm_limiter_config good = {
        .samples_per_insert = 4, .min_size_steps = 100, .burst_steps = 8, .prefetch_steps = 64};
    assert_int_equal(hwm_limiter_init(&l, &good, &err), HWM_OK);
    hwm_limiter_config bad[5] = {good, good, good, good, good};
    bad[0].samples_per_insert = -1;
    bad[1].burst_steps = 0;
    bad[2].prefetch_steps = 0;
    bad[3].min_size_steps = -5;
    bad[4].samples_per_insert = 0.0 / 0.0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(hwm_limiter_init(&l, &bad[i], &err), HWM_EINVAL);
        assert_true(err.text[0] != '\0');
    }
}

static void test_limiter_lifts_the_lower_bound_when_closed(void** state) {
    (void)state;
    hwm_limiter l;
    hwm_error err;
    hwm_limiter_config c = {
        .samples_per_insert = 1, .min_size_steps = 100, .burst_steps = 8, .prefetch_steps = 10};
    assert_int_equal(hwm_limiter_init(&l, &c, &err), HWM_OK);
    hwm_limiter_insert(&l, 50);
    hwm_limiter_insert_done(&l, 50);
    assert_false(hwm_limiter_can_sample(&l, 50, 10, false));
    assert_false(hwm_limiter_can_sample(&l, 50, 10, true));
    l.closed = true;
    for (int i = 0; i < 100; i++) {
        assert_true(hwm_limiter_can_sample(&l, 50, 10, false));
        hwm_limiter_sample(&l, 10);
    }
    assert_false(hwm_limiter_can_sample(&l, 0, 1, false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limiter_stays_within_its_bounds),
        cmocka_unit_test(test_limiter_refuses_what_could_only_stop),
        cmocka_unit_test(test_limiter_lifts_the_lower_bound_when_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
