// What each selector draws, by counting: uniform and prioritised by chi-square, newest, oldest and
// online exactly.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/server/fixture.h"

enum { EPISODES = 20, ROWS = 35, LENGTH = 10, STARTS = ROWS - LENGTH + 1, STEPS = EPISODES * ROWS };

typedef struct world {
    scratch_dir dir;
    hwm_replay_config config;
    hwm_replay* replay;
    writer_state w;
} world;

static void append_episode(world* w) {
    for (int chunk = 0; chunk < 5; chunk++) {
        assert_int_equal(fixture_append(w->replay, 0, &w->w, 7, chunk == 4 ? HWM_FLAG_LAST : 0),
                         HWM_OK);
    }
}

static world world_open(int episodes, int64_t capacity) {
    world w = {.dir = scratch_make(), .w = writer_begin(0, 0)};
    hwm_error err;
    int table;
    w.config = fixture_config(w.dir.path);
    w.config.sampler_threads = 1;
    hwm_table_config t = fixture_table(capacity);
    assert_int_equal(hwm_replay_open(&w.replay, &w.config, &err), HWM_OK);
    assert_int_equal(hwm_replay_table_create(w.replay, &t, &table, &err), HWM_OK);
    for (int i = 0; i < episodes; i++) {
        append_episode(&w);
    }
    return w;
}

static void world_close(world* w) {
    hwm_replay_close(&w->replay);
    scratch_remove(&w->dir);
}

static hwm_batch* sample(world* w, hwm_selector selector, int batch, double exponent,
                         uint64_t draw) {
    hwm_sample_request r = {.batch = batch,
                            .length = LENGTH,
                            .selector = selector,
                            .priority_exponent = exponent,
                            .draw = draw};
    hwm_status status;
    hwm_batch* b = fixture_sample(w->replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    hwm_signature g = fixture_signature();
    fixture_check(b, &g);
    return b;
}

// Draws many batches and compares how often each start came with what it should have been; p
// (STEPS), 0: never.
static void count_and_compare(world* w, hwm_selector selector, double exponent, const double* p) {
    enum { BATCHES = 60, BATCH = 500 };
    static int count[STEPS];
    memset(count, 0, sizeof count);
    for (uint64_t draw = 0; draw < BATCHES; draw++) {
        hwm_batch* b = sample(w, selector, BATCH, exponent, draw);
        for (int i = 0; i < BATCH; i++) {
            assert_true(p[b->step[i]] > 0);
            assert_true(fabs(b->probability[i] / p[b->step[i]] - 1) < 1e-6);
            count[b->step[i]]++;
        }
        hwm_replay_batch_free(w->replay, &b);
    }
    double chi = 0;
    int cells = 0;
    for (int i = 0; i < STEPS; i++) {
        double expected = p[i] * BATCHES * BATCH;
        if (expected > 0) {
            chi += (count[i] - expected) * (count[i] - expected) / expected;
            cells++;
        }
    }
    double freedom = cells - 1;
    assert_true(fabs(chi - freedom) < 4.5 * sqrt(2 * freedom));
}

static void test_uniform_draws_every_start_equally_often(void** state) {
    (void)state;
    world w = world_open(EPISODES, 100000);
    static double p[STEPS];
    for (int i = 0; i < STEPS; i++) {
        p[i] = i % ROWS < STARTS ? 1.0 / (EPISODES * STARTS) : 0;
    }
    count_and_compare(&w, HWM_SELECT_UNIFORM, 0, p);
    world_close(&w);
}

static void test_prioritised_draws_in_proportion(void** state) {
    (void)state;
    world w = world_open(EPISODES - 1, 100000);
    static double p[STEPS], priority[STEPS];
    static uint64_t step[STEPS];
    static hwm_stream stream[STEPS];
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < STEPS; i++) {
        step[i] = (uint64_t)i;
        priority[i] = i % 3 == 0 ? 0 : 0.1 + 4 * hwm_rng_uniform_double(&rng);
    }
    hwm_error err = {0};
    int known = (EPISODES - 1) * ROWS;
    // a draw before, so that the tree exists and is changed in place
    hwm_batch* b = sample(&w, HWM_SELECT_PRIORITISED, 10, 0.6, 0);
    hwm_replay_batch_free(w.replay, &b);
    assert_int_equal(hwm_replay_prioritise(w.replay, 0, known, stream, step, priority, &err),
                     HWM_OK);
    // what comes later has the highest priority known
    append_episode(&w);
    double highest = 1;
    for (int i = 0; i < known; i++) {
        highest = (float)priority[i] > highest ? (float)priority[i] : highest;
    }
    for (int i = known; i < STEPS; i++) {
        priority[i] = highest;
    }
    for (int pass = 0; pass < 3; pass++) {
        double exponent = pass == 0 ? 0.6 : pass == 1 ? 1 : 0, sum = 0;
        for (int i = 0; i < STEPS; i++) {
            p[i] = i % ROWS < STARTS && priority[i] > 0 ? pow((float)priority[i], exponent) : 0;
            sum += p[i];
        }
        for (int i = 0; i < STEPS; i++) {
            p[i] /= sum;
        }
        count_and_compare(&w, HWM_SELECT_PRIORITISED, exponent, p);
    }
    // bad values are refused, starts that nobody knows are passed over
    priority[0] = -1;
    assert_int_equal(hwm_replay_prioritise(w.replay, 0, 1, stream, step, priority, &err),
                     HWM_EINVAL);
    priority[0] = NAN;
    assert_int_equal(hwm_replay_prioritise(w.replay, 0, 1, stream, step, priority, &err),
                     HWM_EINVAL);
    priority[0] = 1;
    stream[0].env = 77;
    assert_int_equal(hwm_replay_prioritise(w.replay, 0, 1, stream, step, priority, &err), HWM_OK);
    world_close(&w);
}

static void test_prioritised_survives_growth_and_eviction(void** state) {
    (void)state;
    world w = world_open(2, 4000);
    hwm_error err = {0};
    for (int round = 0; round < 300; round++) {
        append_episode(&w);
        hwm_batch* b = sample(&w, HWM_SELECT_PRIORITISED, 32, 1, (uint64_t)round);
        double priority[32];
        for (int i = 0; i < 32; i++) {
            assert_true(b->probability[i] > 0 && b->probability[i] <= 1);
            assert_true(b->step[i] + 4100 > w.w.step);
            priority[i] = (double)(b->step[i] % 5);
        }
        assert_int_equal(hwm_replay_prioritise(w.replay, 0, 32, b->stream, b->step, priority, &err),
                         HWM_OK);
        // a start whose priority is 0 now is not drawn again
        hwm_batch* again = sample(&w, HWM_SELECT_PRIORITISED, 200, 1, 1000000 + (uint64_t)round);
        for (int i = 0; i < 32; i++) {
            for (int k = 0; k < 200 && priority[i] == 0; k++) {
                assert_true(again->step[k] != b->step[i]);
            }
        }
        hwm_replay_batch_free(w.replay, &b);
        hwm_replay_batch_free(w.replay, &again);
    }
    world_close(&w);
}

static void test_newest_and_oldest_come_in_order(void** state) {
    (void)state;
    world w = world_open(EPISODES, 350);  // the newest 10 episodes are left
    hwm_batch* b = sample(&w, HWM_SELECT_NEWEST, 100, 0, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(b->step[i], STEPS - ROWS * (1 + i / STARTS) + STARTS - 1 - i % STARTS);
    }
    hwm_replay_batch_free(w.replay, &b);
    b = sample(&w, HWM_SELECT_OLDEST, 100, 0, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(b->step[i], STEPS - 350 + ROWS * (i / STARTS) + i % STARTS);
    }
    hwm_replay_batch_free(w.replay, &b);
    world_close(&w);
}

static void test_online_hands_out_every_fresh_sequence_once(void** state) {
    (void)state;
    world w = world_open(4, 100000);
    int handed[STEPS] = {0}, fresh = 0;
    for (int round = 0; round < EPISODES - 4; round++) {
        hwm_batch* b = sample(&w, HWM_SELECT_ONLINE, round == 0 ? 12 : 4, 0, (uint64_t)round);
        // the first of each batch are fresh: rows 0, 10 and 20 of an episode, oldest first
        int want = round == 0 ? 12 : 3;
        for (int i = 0; i < want; i++, fresh++) {
            assert_int_equal(b->step[i], ROWS * (fresh / 3) + LENGTH * (fresh % 3));
            assert_int_equal(handed[b->step[i]]++, 0);
        }
        hwm_replay_batch_free(w.replay, &b);
        append_episode(&w);
    }
    // after a clean stop the queue goes on: first what waited, then what comes; what was handed out
    // is not handed out again
    for (int restart = 0; restart < 3; restart++) {
        hwm_replay_close(&w.replay);
        hwm_error err;
        assert_int_equal(hwm_replay_open(&w.replay, &w.config, &err), HWM_OK);
        if (restart == 1) {
            continue;  // nobody asks: the place is kept for the next process
        }
        append_episode(&w);
        hwm_batch* b = sample(&w, HWM_SELECT_ONLINE, 3, 0, 0);
        for (int i = 0; i < 3; i++, fresh++) {
            assert_int_equal(b->step[i], ROWS * (fresh / 3) + LENGTH * (fresh % 3));
        }
        hwm_replay_batch_free(w.replay, &b);
    }
    world_close(&w);
}

// Priorities outlive a clean stop and are part of a snapshot; starts that never had one of their
// own count as new.
static void test_priorities_are_kept_over_a_restart_and_in_a_snapshot(void** state) {
    (void)state;
    world w = world_open(8, 100000);
    scratch_dir copy = scratch_make();
    assert_int_equal(rmdir(copy.path), 0);
    double p[STEPS] = {0}, sum = 0;
    hwm_stream stream = {0, 0};
    for (uint64_t step = 0; step < (uint64_t)STEPS; step++) {
        bool start = step < 8 * ROWS && step % ROWS < STARTS;
        bool own = step % 5 == 0 && step < 6 * ROWS;
        double priority = own ? 0.2 + (double)(step % 7) * 0.3 : 0;
        if (start && own) {
            assert_int_equal(hwm_replay_prioritise(w.replay, 0, 1, &stream, &step, &priority, NULL),
                             HWM_OK);
        }
    }
    // what a start weighs: its own, else what new ones had when its chunk got its first (1)
    for (uint64_t step = 0; step < 8 * ROWS; step++) {
        if (step % ROWS < STARTS) {
            bool own = step % 5 == 0 && step < 6 * ROWS;
            p[step] = sqrt(own ? (double)(float)(0.2 + (double)(step % 7) * 0.3) : 1.0);
            sum += p[step];
        }
    }
    for (int i = 0; i < STEPS; i++) {
        p[i] /= sum;
    }
    count_and_compare(&w, HWM_SELECT_PRIORITISED, 0.5, p);
    assert_int_equal(hwm_replay_snapshot(w.replay, copy.path, 3), HWM_OK);
    hwm_completion c = fixture_wait(w.replay);
    assert_int_equal(c.kind, HWM_DONE_SNAPSHOT);
    assert_int_equal(c.status, HWM_OK);

    for (int from = 0; from < 2; from++) {
        hwm_replay_close(&w.replay);
        hwm_replay_config config = fixture_config(from == 0 ? w.dir.path : copy.path);
        config.sampler_threads = 1;
        hwm_error err;
        if (hwm_replay_open(&w.replay, &config, &err) != HWM_OK) {
            fail_msg("%s", err.text);
        }
        count_and_compare(&w, HWM_SELECT_PRIORITISED, 0.5, p);
    }
    world_close(&w);
    scratch_remove(&copy);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform_draws_every_start_equally_often),
        cmocka_unit_test(test_prioritised_draws_in_proportion),
        cmocka_unit_test(test_prioritised_survives_growth_and_eviction),
        cmocka_unit_test(test_newest_and_oldest_come_in_order),
        cmocka_unit_test(test_online_hands_out_every_fresh_sequence_once),
        cmocka_unit_test(test_priorities_are_kept_over_a_restart_and_in_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
