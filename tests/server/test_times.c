// max_times_sampled: no start is drawn more often, every start is drawn so often before the table
// has nothing left, whatever the selector; then requests wait for the next chunk.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/server/fixture.h"

enum { LIMIT = 3, LENGTH = 4, ROWS_MAX = 4096 };

typedef struct world {
    scratch_dir dir;
    hwm_replay* replay;
    writer_state w;
    int drawn[ROWS_MAX];  // by step of the start
} world;

static void begin(world* w, int64_t capacity) {
    memset(w, 0, sizeof *w);
    w->dir = scratch_make();
    hwm_replay_config config = fixture_config(w->dir.path);
    hwm_table_config t = fixture_table(capacity);
    t.max_times_sampled = LIMIT;
    int table;
    assert_int_equal(hwm_replay_open(&w->replay, &config, NULL), HWM_OK);
    assert_int_equal(hwm_replay_table_create(w->replay, &t, &table, NULL), HWM_OK);
    w->w = writer_begin(0, 0);
}

static void end(world* w) {
    hwm_replay_close(&w->replay);
    scratch_remove(&w->dir);
}

static void append(world* w, int chunks, uint32_t steps) {
    for (int i = 0; i < chunks; i++) {
        assert_int_equal(fixture_append(w->replay, 0, &w->w, steps, 0), HWM_OK);
    }
}

// One batch, counted; false: nothing is left and the request waits (it is taken back).
static bool draw(world* w, hwm_sample_request r, int batch) {
    static uint64_t next;
    hwm_signature g = fixture_signature();
    hwm_completion c;
    r.batch = batch;
    r.length = LENGTH;
    r.draw = next++;
    assert_int_equal(hwm_replay_sample(w->replay, 0, &r, 5), HWM_OK);
    while (!hwm_replay_next(w->replay, &c)) {
        char* json = hwm_replay_stats_json(w->replay);
        bool waits = strstr(json, "\"waiting_samples\":1") != NULL;
        free(json);
        if (waits) {
            hwm_replay_cancel(w->replay, 5);
            return false;
        }
        usleep(100);
    }
    assert_int_equal(c.status, HWM_OK);
    fixture_check(c.batch, &g);
    for (int i = 0; i < batch; i++) {
        assert_true(++w->drawn[c.batch->step[i]] <= LIMIT);
        assert_true(c.batch->probability[i] > 0 && c.batch->probability[i] <= 1 + 1e-9);
    }
    hwm_replay_batch_free(w->replay, &c.batch);
    return true;
}

static int total(const world* w) {
    int n = 0;
    for (int i = 0; i < ROWS_MAX; i++) {
        n += w->drawn[i];
    }
    return n;
}

static void test_every_start_is_drawn_so_often_and_no_more(void** state) {
    (void)state;
    static world w;
    static const hwm_sample_request kind[] = {
        {.selector = HWM_SELECT_UNIFORM},
        {.selector = HWM_SELECT_PRIORITISED, .priority_exponent = 0.7},
        {.selector = HWM_SELECT_NEWEST},
        {.selector = HWM_SELECT_OLDEST},
        {.selector = HWM_SELECT_ONLINE},
        {.selector = HWM_SELECT_UNIFORM, .fraction_first = 0.3, .fraction_terminal = 0.3},
        {.selector = HWM_SELECT_UNIFORM, .fraction_recent = 0.5, .recent_steps = 13},
    };
    for (size_t k = 0; k < sizeof kind / sizeof kind[0]; k++) {
        begin(&w, 100000);
        append(&w, 6, 10);
        assert_int_equal(fixture_append(w.replay, 0, &w.w, 7, HWM_FLAG_LAST | HWM_FLAG_TERMINAL),
                         HWM_OK);
        const int starts = 67 - LENGTH + 1;
        // batches of 7: at the end fewer than 7 draws are left, which a batch of 7 leaves alone
        while (draw(&w, kind[k], 7)) {
        }
        assert_int_equal(total(&w), starts * LIMIT / 7 * 7);
        while (draw(&w, kind[k], 1)) {
        }
        assert_int_equal(total(&w), starts * LIMIT);
        for (int i = 0; i < starts; i++) {
            assert_int_equal(w.drawn[i], LIMIT);
        }
        // what comes new is drawn, nothing else
        append(&w, 1, 5);
        while (draw(&w, kind[k], 1)) {
        }
        assert_int_equal(total(&w), (starts + 2) * LIMIT);
        end(&w);
    }
}

static void test_a_waiting_request_goes_on_with_the_next_chunk(void** state) {
    (void)state;
    static world w;
    begin(&w, 100000);
    append(&w, 1, LENGTH);
    for (int i = 0; i < LIMIT; i++) {
        assert_true(draw(&w, (hwm_sample_request){0}, 1));
    }
    hwm_sample_request r = {.batch = 1, .length = LENGTH};
    assert_int_equal(hwm_replay_sample(w.replay, 0, &r, 6), HWM_OK);
    static uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_chunk chunk;
    size_t size = writer_chunk(&w.w, 1, 0, bytes, &chunk);
    assert_int_equal(hwm_replay_append(w.replay, 0, &chunk, bytes, size, 7), HWM_OK);
    for (int i = 0; i < 2; i++) {
        hwm_completion c = fixture_wait(w.replay);
        assert_int_equal(c.status, HWM_OK);
        if (c.kind == HWM_DONE_SAMPLE) {
            assert_int_equal(c.batch->step[0], 1);
            hwm_replay_batch_free(w.replay, &c.batch);
        }
    }
    end(&w);
}

// Growth of the ring, eviction and another limit, with counts by hand.
static void test_counts_survive_growth_and_eviction_but_not_the_process(void** state) {
    (void)state;
    static world w;
    begin(&w, 500);
    for (int round = 0; round < 60; round++) {
        append(&w, 25, 2);  // 1500 chunks in all: the ring grows and turns
        for (int i = 0; i < 4; i++) {
            assert_true(
                draw(&w, (hwm_sample_request){.fraction_recent = 0.5, .recent_steps = 40}, 8));
        }
    }
    assert_int_equal(total(&w), 60 * 32);
    while (draw(&w, (hwm_sample_request){0}, 1)) {
    }
    for (int i = 2500; i < 3000 - LENGTH + 1; i++) {
        assert_int_equal(w.drawn[i], LIMIT);
    }
    // a higher limit: as many again as it was raised by
    hwm_table_config t = fixture_table(500);
    t.max_times_sampled = LIMIT + 1;
    int table;
    hwm_error err;
    assert_int_equal(hwm_replay_table_create(w.replay, &t, &table, &err), HWM_OK);
    memset(w.drawn, 0, sizeof w.drawn);
    while (draw(&w, (hwm_sample_request){0}, 1)) {
    }
    assert_int_equal(total(&w), 500 - LENGTH + 1);
    t.max_times_sampled = 70000;
    assert_int_equal(hwm_replay_table_create(w.replay, &t, &table, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "max_times_sampled is 70000"));
    // counted from the start of the process
    hwm_replay_close(&w.replay);
    hwm_replay_config config = fixture_config(w.dir.path);
    assert_int_equal(hwm_replay_open(&w.replay, &config, NULL), HWM_OK);
    assert_int_equal(hwm_replay_table_config(w.replay, 0)->max_times_sampled, LIMIT + 1);
    memset(w.drawn, 0, sizeof w.drawn);
    assert_true(draw(&w, (hwm_sample_request){0}, 8));
    // no limit: drawn for ever
    t.max_times_sampled = 0;
    assert_int_equal(hwm_replay_table_create(w.replay, &t, &table, &err), HWM_OK);
    hwm_sample_request r = {.batch = 4000, .length = LENGTH};
    hwm_status status;
    hwm_batch* b = fixture_sample(w.replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    hwm_replay_batch_free(w.replay, &b);
    end(&w);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_start_is_drawn_so_often_and_no_more),
        cmocka_unit_test(test_a_waiting_request_goes_on_with_the_next_chunk),
        cmocka_unit_test(test_counts_survive_growth_and_eviction_but_not_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
