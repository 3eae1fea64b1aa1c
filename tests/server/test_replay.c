// The replay service with a real store: what is appended is found again, exactly once, in the order
// and with the numbers it was written with.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/server/fixture.h"

typedef struct world {
    scratch_dir dir;
    hwm_replay_config config;
    hwm_replay* replay;
    int table;
    hwm_signature signature;
} world;

static world world_open(int64_t capacity) {
    world w = {.dir = scratch_make(), .signature = fixture_signature()};
    hwm_error err;
    w.config = fixture_config(w.dir.path);
    assert_int_equal(hwm_replay_open(&w.replay, &w.config, &err), HWM_OK);
    hwm_table_config table = fixture_table(capacity);
    assert_int_equal(hwm_replay_table_create(w.replay, &table, &w.table, &err), HWM_OK);
    return w;
}

static void world_reopen(world* w) {
    hwm_error err = {0};
    hwm_replay_close(&w->replay);
    if (hwm_replay_open(&w->replay, &w->config, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    w->table = hwm_replay_table_find(w->replay, "test");
    assert_int_equal(w->table, 0);
}

static void world_close(world* w) {
    hwm_replay_close(&w->replay);
    scratch_remove(&w->dir);
}

static void test_replay_returns_what_was_appended(void** state) {
    (void)state;
    world w = world_open(100000);
    for (uint32_t env = 0; env < 4; env++) {
        writer_state s = writer_begin(env, 0);
        for (int chunk = 0; chunk < 30; chunk++) {
            s.version = (uint64_t)chunk / 3;
            int end = chunk % 7 == 6 ? HWM_FLAG_LAST | (chunk % 2 ? HWM_FLAG_TERMINAL : 0) : 0;
            assert_int_equal(fixture_append(w.replay, w.table, &s, 3 + (uint32_t)chunk % 6, end),
                             HWM_OK);
        }
    }
    hwm_sample_request r = {.batch = 64, .length = 11};
    for (int mode = 0; mode < 8; mode++) {
        r.materialise = mode & 1;
        r.context = mode & 2 ? 5 : 0;
        r.context_window = mode & 4 ? 3 : 0;
        r.draw = (uint64_t)mode;
        hwm_status status;
        hwm_batch* b = fixture_sample(w.replay, w.table, &r, &status);
        assert_int_equal(status, HWM_OK);
        assert_int_equal(b->batch, 64);
        fixture_check(b, &w.signature);
        hwm_replay_batch_free(w.replay, &b);
    }
    world_close(&w);
}

static void test_replay_same_draw_same_batch_after_reopening(void** state) {
    (void)state;
    world w = world_open(300);
    writer_state s = writer_begin(0, 0);
    for (int chunk = 0; chunk < 90; chunk++) {
        assert_int_equal(
            fixture_append(w.replay, w.table, &s, 8, chunk % 10 == 9 ? HWM_FLAG_LAST : 0), HWM_OK);
    }
    hwm_sample_request r = {.batch = 32, .length = 9, .draw = 123, .fraction_first = 0.25};
    uint64_t step[32];
    for (int pass = 0; pass < 2; pass++) {
        hwm_status status;
        hwm_batch* b = fixture_sample(w.replay, w.table, &r, &status);
        assert_int_equal(status, HWM_OK);
        fixture_check(b, &w.signature);
        assert_int_equal(b->inserted_steps, 720);
        if (pass == 0) {
            memcpy(step, b->step, sizeof step);
        } else {
            assert_memory_equal(step, b->step, sizeof step);
        }
        for (int i = 0; i < 32; i++) {
            assert_true(b->step[i] >= 720 - 300);  // the rest was evicted
        }
        hwm_replay_batch_free(w.replay, &b);
        world_reopen(&w);
    }
    world_close(&w);
}

static void test_replay_stores_each_chunk_once(void** state) {
    (void)state;
    world w = world_open(1000);
    uint8_t bytes[2][CHUNK_BYTES_MAX];
    size_t size[2];
    hwm_chunk chunk[2];
    writer_state s = writer_begin(3, 1);
    for (int i = 0; i < 2; i++) {
        size[i] = writer_chunk(&s, 4, 0, bytes[i], &chunk[i]);
    }
    for (int pass = 0; pass < 3; pass++) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk[i], bytes[i], size[i], 1),
                             HWM_OK);
            assert_int_equal(fixture_wait(w.replay).status, pass == 0 ? HWM_OK : HWM_EDUPLICATE);
        }
        if (pass == 1) {
            world_reopen(&w);
        }
    }
    char* json = hwm_replay_stats_json(w.replay);
    assert_non_null(strstr(json, "\"steps\":8,"));
    assert_non_null(strstr(json, "\"inserted_steps\":8,"));
    free(json);
    world_close(&w);
}

static void test_replay_remembers_streams_that_were_evicted(void** state) {
    (void)state;
    world w = world_open(40);
    uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_chunk chunk;
    writer_state quiet = writer_begin(0, 0), busy = writer_begin(1, 0);
    size_t size = writer_chunk(&quiet, 4, 0, bytes, &chunk);
    assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 1), HWM_OK);
    assert_int_equal(fixture_wait(w.replay).status, HWM_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(fixture_append(w.replay, w.table, &busy, 8, 0), HWM_OK);
    }
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 1), HWM_OK);
        assert_int_equal(fixture_wait(w.replay).status, HWM_EDUPLICATE);
        world_reopen(&w);
    }
    assert_int_equal(fixture_append(w.replay, w.table, &quiet, 4, 0), HWM_OK);
    world_close(&w);
}

static void test_replay_shares_of_terminal_and_first_starts(void** state) {
    (void)state;
    world w = world_open(100000);
    writer_state s = writer_begin(0, 0);
    for (int episode = 0; episode < 20; episode++) {
        for (int chunk = 0; chunk < 5; chunk++) {
            int end = chunk < 4     ? 0
                      : episode % 2 ? HWM_FLAG_LAST
                                    : HWM_FLAG_LAST | HWM_FLAG_TERMINAL;
            assert_int_equal(fixture_append(w.replay, w.table, &s, 7, end), HWM_OK);
        }
    }
    hwm_sample_request r = {.batch = 200,
                            .length = 10,
                            .fraction_terminal = 0.25,
                            .fraction_first = 0.25,
                            .fraction_recent = 0.25,
                            .recent_steps = 70,
                            .draw = 5};
    hwm_status status;
    hwm_batch* b = fixture_sample(w.replay, w.table, &r, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &w.signature);
    int terminal = 0, first = 0, recent = 0;
    const uint8_t* flags = b->column[HWM_COLUMN_FLAGS];
    for (int i = 0; i < b->batch; i++) {
        terminal += (flags[b->row[i + 1] - 1] & HWM_FLAG_TERMINAL) != 0;
        first += (flags[b->row[i]] & HWM_FLAG_FIRST) != 0;
        recent += b->step[i] >= 700 - 70;
        bool t = (flags[b->row[i + 1] - 1] & HWM_FLAG_TERMINAL) != 0;
        bool f = (flags[b->row[i]] & HWM_FLAG_FIRST) != 0, n = b->step[i] >= 700 - 70;
        // 20 episodes of 26 starts; 10 terminals; the newest two episodes are recent
        double p = 0.25 / 520 + (t ? 0.25 / 10 : 0) + (f ? 0.25 / 20 : 0) + (n ? 0.25 / 52 : 0);
        assert_true(b->probability[i] > p * 0.999999 && b->probability[i] < p * 1.000001);
    }
    assert_true(terminal >= 49 && terminal <= 62);
    assert_true(first >= 49 && first <= 65);
    assert_true(recent >= 49 && recent <= 75);
    hwm_replay_batch_free(w.replay, &b);
    world_close(&w);
}

// Sequences near a terminal: how far before it they end is uniform, and what would begin before the
// episode begins with it.
static void test_replay_draws_before_terminals(void** state) {
    (void)state;
    enum { LONG = 35, SHORT = 14, LENGTH = 10, LO = 3, HI = 12, BATCH = 1000 };
    world w = world_open(100000);
    writer_state s = writer_begin(0, 0);
    for (int episode = 0; episode < 20; episode++) {
        const int chunks = episode % 2 ? LONG / 7 : SHORT / 7;
        for (int chunk = 0; chunk < chunks; chunk++) {
            int end = chunk < chunks - 1 ? 0 : HWM_FLAG_LAST | HWM_FLAG_TERMINAL;
            assert_int_equal(fixture_append(w.replay, w.table, &s, 7, end), HWM_OK);
        }
    }
    hwm_sample_request r = {.batch = BATCH,
                            .length = LENGTH,
                            .fraction_terminal = 1,
                            .terminal_back_min = LO,
                            .terminal_back_max = HI,
                            .draw = 5};
    hwm_status status;
    hwm_batch* b = fixture_sample(w.replay, w.table, &r, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &w.signature);
    int seen[HI + 1] = {0}, clipped = 0, of_long = 0;
    for (int i = 0; i < BATCH; i++) {
        const int pair = LONG + SHORT, at = (int)b->step[i] % pair;
        const bool is_short = at < SHORT;
        const int row = is_short ? at : at - SHORT, rows = is_short ? SHORT : LONG;
        const int back = rows - LENGTH - row;
        assert_true(row >= 0 && back >= (is_short ? 0 : LO) && back <= HI);
        // one of 20 terminals; a short episode has room for 4 rows, so 4 .. 12 all begin with it
        const double p = row == 0 ? 9.0 / 10 / 20 : 1.0 / 10 / 20;
        assert_true(b->probability[i] > p * 0.999999 && b->probability[i] < p * 1.000001);
        seen[back] += !is_short;
        of_long += !is_short;
        clipped += is_short && row == 0;
    }
    for (int back = LO; back <= HI; back++) {
        assert_true(seen[back] > of_long / 10 / 2 && seen[back] < of_long / 10 * 2);
    }
    assert_true(clipped > (BATCH - of_long) * 8 / 10);
    hwm_replay_batch_free(w.replay, &b);
    r.terminal_back_min = HI + 1;
    assert_int_equal(hwm_replay_sample(w.replay, w.table, &r, 1), HWM_OK);
    hwm_completion c = fixture_wait(w.replay);
    assert_int_equal(c.status, HWM_EINVAL);
    world_close(&w);
}

// A request for which nothing is stored that fits: it waits, and nothing comes.
static void expect_nothing(const world* w, const hwm_sample_request* r) {
    hwm_completion c;
    assert_int_equal(hwm_replay_sample(w->replay, w->table, r, 1), HWM_OK);
    bool waits = false;
    for (int i = 0; i < 1000 && !waits; i++) {
        assert_false(hwm_replay_next(w->replay, &c));
        usleep(1000);
        char* json = hwm_replay_stats_json(w->replay);
        waits = strstr(json, "\"waiting_samples\":1,") != NULL;
        free(json);
    }
    assert_true(waits);
    hwm_replay_cancel(w->replay, 1);
    assert_false(hwm_replay_next(w->replay, &c));
}

// Draws sequences of `length` from a table of one stream, whose starts may only be `start`
// (n_starts), and wants every one of them. is_last[k]: what the last row of start k says.
static void expect_starts(const world* w, int length, const uint64_t* start, const bool* is_last,
                          int n_starts) {
    hwm_sample_request r = {.batch = 64, .length = length};
    hwm_status status;
    hwm_batch* b = fixture_sample(w->replay, w->table, &r, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &w->signature);
    const uint8_t* flags = b->column[HWM_COLUMN_FLAGS];
    uint32_t seen = 0;
    for (int i = 0; i < b->batch; i++) {
        int k = 0;
        while (k < n_starts && start[k] != b->step[i]) {
            k++;
        }
        assert_true(k < n_starts);
        seen |= 1u << k;
        for (int t = 0; t < length; t++) {
            bool ends = t + 1 == length && is_last[k];
            assert_int_equal(flags[b->row[i] + (uint32_t)t] & (HWM_FLAG_LAST | HWM_FLAG_TERMINAL),
                             ends ? HWM_FLAG_LAST : 0);
        }
    }
    assert_int_equal(seen, (1u << n_starts) - 1);
    hwm_replay_batch_free(w->replay, &b);
}

static void test_replay_closes_abandoned_episodes(void** state) {
    (void)state;
    world w = world_open(1000);
    hwm_error err;
    uint32_t first, incarnation;
    assert_int_equal(hwm_replay_assign(w.replay, w.table, 2, &first, &incarnation, &err), HWM_OK);
    assert_int_equal(first, 0);
    assert_int_equal(incarnation, 0);
    writer_state s = writer_begin(1, 0);
    assert_int_equal(fixture_append(w.replay, w.table, &s, 6, 0), HWM_OK);
    const uint64_t start[] = {0, 1};
    expect_starts(&w, 5, start, (const bool[]){false, false}, 2);  // while its worker lives: open
    hwm_replay_abandon(w.replay, w.table, 0, 2, 0);
    for (int pass = 0; pass < 2; pass++) {
        expect_starts(&w, 5, start, (const bool[]){false, true}, 2);
        world_reopen(&w);
    }
    // the range is free again, in its next incarnation
    assert_int_equal(hwm_replay_assign(w.replay, w.table, 2, &first, &incarnation, &err), HWM_OK);
    assert_int_equal(first, 0);
    assert_int_equal(incarnation, 1);
    assert_int_equal(hwm_replay_assign(w.replay, w.table, 2, &first, &incarnation, &err), HWM_OK);
    assert_int_equal(first, 2);
    assert_int_equal(incarnation, 0);
    world_close(&w);
}

// A late chunk of a worker that was given up continues its numbers, but is a segment of its own:
// no sequence leads into it, and it is sampled by itself.
static void test_replay_keeps_late_chunks_apart(void** state) {
    (void)state;
    world w = world_open(1000);
    writer_state s = writer_begin(0, 0);
    assert_int_equal(fixture_append(w.replay, w.table, &s, 6, 0), HWM_OK);
    hwm_replay_abandon(w.replay, w.table, 0, 1, 0);
    assert_int_equal(fixture_append(w.replay, w.table, &s, 6, 0), HWM_OK);
    const uint64_t start[] = {0, 1, 6, 7};
    for (int pass = 0; pass < 2; pass++) {
        expect_starts(&w, 5, start, (const bool[]){false, true, false, false}, 4);
        expect_nothing(&w, &(hwm_sample_request){.batch = 8, .length = 7});
        world_reopen(&w);
    }
    world_close(&w);
}

static void test_replay_forgets_expired_streams(void** state) {
    (void)state;
    world w = world_open(60);
    hwm_error err;
    uint32_t first, incarnation;
    uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_chunk chunk;
    assert_int_equal(hwm_replay_assign(w.replay, w.table, 1, &first, &incarnation, &err), HWM_OK);
    writer_state s = writer_begin(0, 0);
    size_t size = writer_chunk(&s, 4, 0, bytes, &chunk);
    for (int round = 0; round < 2; round++) {
        // while a chunk of it is stored, or nobody has taken its place, the stream is remembered
        assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 1), HWM_OK);
        assert_int_equal(fixture_wait(w.replay).status, round == 0 ? HWM_OK : HWM_EDUPLICATE);
        hwm_replay_abandon(w.replay, w.table, 0, 1, (uint32_t)round);
        assert_int_equal(hwm_replay_assign(w.replay, w.table, 1, &first, &incarnation, &err),
                         HWM_OK);
        assert_int_equal(incarnation, round + 1);
    }
    writer_state next = writer_begin(0, 2);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(fixture_append(w.replay, w.table, &next, 8, 0), HWM_OK);
    }
    assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 1), HWM_OK);
    assert_int_equal(fixture_wait(w.replay).status, HWM_EDUPLICATE);
    hwm_replay_abandon(w.replay, w.table, 0, 1, 2);
    assert_int_equal(hwm_replay_assign(w.replay, w.table, 1, &first, &incarnation, &err), HWM_OK);
    assert_int_equal(incarnation, 3);
    // now it is gone, from the store as well: the number means nothing any more, and only what is
    // stored is sampled
    world_reopen(&w);
    hwm_sample_request r = {.batch = 50, .length = 8};
    hwm_status status;
    hwm_batch* b = fixture_sample(w.replay, w.table, &r, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &w.signature);
    for (int i = 0; i < b->batch; i++) {
        assert_int_equal(b->stream[i].incarnation, 2);
    }
    hwm_replay_batch_free(w.replay, &b);
    assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 1), HWM_OK);
    assert_int_equal(fixture_wait(w.replay).status, HWM_OK);
    world_close(&w);
}

static void test_replay_accepts_a_gap_and_closes_what_came_before(void** state) {
    (void)state;
    world w = world_open(1000);
    static uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_chunk chunk;
    writer_state s = writer_begin(0, 0);
    assert_int_equal(fixture_append(w.replay, w.table, &s, 6, 0), HWM_OK);
    writer_chunk(&s, 6, 0, bytes, &chunk);  // lost
    assert_int_equal(fixture_append(w.replay, w.table, &s, 6, 0), HWM_OK);
    const uint64_t start[] = {0, 1, 12, 13};
    for (int pass = 0; pass < 2; pass++) {
        expect_starts(&w, 5, start, (const bool[]){false, true, false, false}, 4);
        expect_nothing(&w, &(hwm_sample_request){.batch = 8, .length = 7});
        char* json = hwm_replay_stats_json(w.replay);
        assert_non_null(strstr(json, pass == 0 ? "\"gaps\":1" : "\"gaps\":0"));
        free(json);
        world_reopen(&w);
    }
    world_close(&w);
}

static void test_replay_holds_inserts_until_samples_catch_up(void** state) {
    (void)state;
    world w = {.dir = scratch_make(), .signature = fixture_signature()};
    hwm_error err;
    w.config = fixture_config(w.dir.path);
    assert_int_equal(hwm_replay_open(&w.replay, &w.config, &err), HWM_OK);
    hwm_table_config table = fixture_table(1000);
    table.limiter = (hwm_limiter_config){
        .samples_per_insert = 2, .min_size_steps = 16, .burst_steps = 8, .prefetch_steps = 16};
    assert_int_equal(hwm_replay_table_create(w.replay, &table, &w.table, &err), HWM_OK);
    writer_state s = writer_begin(0, 0);
    // 16 steps are free, 8 more are the burst; the next chunk has to wait
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fixture_append(w.replay, w.table, &s, 8, 0), HWM_OK);
    }
    static uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_chunk chunk;
    size_t size = writer_chunk(&s, 8, 0, bytes, &chunk);
    assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 77), HWM_OK);
    hwm_completion c;
    assert_false(hwm_replay_next(w.replay, &c));
    // one sample of 16 steps pays for 8 inserted ones
    hwm_sample_request r = {.batch = 4, .length = 4};
    assert_int_equal(hwm_replay_sample(w.replay, w.table, &r, 1), HWM_OK);
    bool sampled = false, appended = false;
    for (int i = 0; i < 2; i++) {
        c = fixture_wait(w.replay);
        assert_int_equal(c.status, HWM_OK);
        sampled = sampled || c.kind == HWM_DONE_SAMPLE;
        appended = appended || (c.kind == HWM_DONE_APPEND && c.token == 77);
        hwm_replay_batch_free(w.replay, &c.batch);
    }
    assert_true(sampled && appended);
    // sampling in turn stops at the lower bound, is refunded when cancelled, and uncounted samples
    // pass
    int served = 0;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(hwm_replay_sample(w.replay, w.table, &r, 1000 + (uint64_t)i), HWM_OK);
    }
    for (int i = 0; i < 2;
         i++) {  // 32 inserted * 2 - 16 sampled - 32 = 16 ahead, and 16 of prefetch
        c = fixture_wait(w.replay);
        served += c.kind == HWM_DONE_SAMPLE && c.status == HWM_OK;
        hwm_replay_batch_free(w.replay, &c.batch);
    }
    assert_int_equal(served, 2);
    assert_false(hwm_replay_next(w.replay, &c));
    r.uncounted = true;
    assert_int_equal(hwm_replay_sample(w.replay, w.table, &r, 5), HWM_OK);
    c = fixture_wait(w.replay);
    assert_int_equal(c.token, 5);
    hwm_replay_batch_free(w.replay, &c.batch);
    for (int i = 0; i < 8; i++) {
        hwm_replay_cancel(w.replay, 1000 + (uint64_t)i);
    }
    char* json = hwm_replay_stats_json(w.replay);
    assert_non_null(strstr(json, "\"sampled_steps\":48,"));
    assert_non_null(strstr(json, "\"waiting_samples\":0,"));
    free(json);
    // what is held counts for the versions in use, is not stored by closing, and may come again
    for (int i = 0; i < 8; i++) {
        s.version = 40 + (uint64_t)i;
        size = writer_chunk(&s, 8, 0, bytes, &chunk);
        assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 200), HWM_OK);
    }
    assert_true(hwm_replay_version_in_use(w.replay, "controller", 47));
    world_reopen(&w);
    assert_false(hwm_replay_version_in_use(w.replay, "controller", 47));
    json = hwm_replay_stats_json(w.replay);
    assert_non_null(strstr(json, "\"inserted_steps\":48,"));
    assert_non_null(strstr(json, "\"sampled_steps\":48,"));
    free(json);
    // closing the table refuses what is held and lifts the lower bound
    assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 201), HWM_OK);
    assert_int_equal(hwm_replay_table_close(w.replay, w.table, &err), HWM_OK);
    c = fixture_wait(w.replay);
    assert_int_equal(c.token, 201);
    assert_int_equal(c.status, HWM_ECLOSED);
    assert_int_equal(hwm_replay_append(w.replay, w.table, &chunk, bytes, size, 202), HWM_ECLOSED);
    r.uncounted = false;
    for (int i = 0; i < 10; i++) {
        hwm_status late;
        hwm_batch* b = fixture_sample(w.replay, w.table, &r, &late);
        assert_int_equal(late, HWM_OK);
        hwm_replay_batch_free(w.replay, &b);
    }
    // a request that could never be served is refused with a sentence
    r = (hwm_sample_request){.batch = 100, .length = 4};
    hwm_status status;
    assert_null(fixture_sample(w.replay, w.table, &r, &status));
    assert_int_equal(status, HWM_EINVAL);
    world_close(&w);
}

static void visit_key(void* context, const char* key) {
    strcat(context, key);
    strcat(context, ";");
}

static void test_replay_keeps_blobs(void** state) {
    (void)state;
    world w = world_open(1000);
    size_t big = 3 << 20, bytes;
    uint8_t* value = malloc(big);
    for (size_t i = 0; i < big; i++) {
        value[i] = (uint8_t)(i * 7);
    }
    assert_int_equal(hwm_replay_blob_put(w.replay, "params/controller/2", value, big), HWM_OK);
    assert_int_equal(hwm_replay_blob_put(w.replay, "params/controller/1", "x", 1), HWM_OK);
    assert_int_equal(hwm_replay_blob_put(w.replay, "task/9", "", 0), HWM_OK);
    world_reopen(&w);
    void* got;
    assert_int_equal(hwm_replay_blob_get(w.replay, "params/controller/2", &got, &bytes), HWM_OK);
    assert_int_equal(bytes, big);
    assert_memory_equal(got, value, big);
    free(got);
    free(value);
    assert_int_equal(hwm_replay_blob_get(w.replay, "none", &got, &bytes), HWM_ENOTFOUND);
    char keys[256] = "";
    hwm_replay_blob_list(w.replay, "params/", visit_key, keys);
    assert_string_equal(keys, "params/controller/1;params/controller/2;");
    assert_int_equal(hwm_replay_blob_delete(w.replay, "params/controller/1"), HWM_OK);
    assert_int_equal(hwm_replay_blob_delete(w.replay, "params/controller/1"), HWM_ENOTFOUND);
    keys[0] = '\0';
    hwm_replay_blob_list(w.replay, "", visit_key, keys);
    assert_string_equal(keys, "params/controller/2;task/9;");
    world_close(&w);
}

static void test_replay_refuses_another_signature_and_a_second_owner(void** state) {
    (void)state;
    world w = world_open(1000);
    hwm_error err = {0};
    int table;
    hwm_table_config other = fixture_table(1000);
    other.signature.column[HWM_COLUMN_OBS] = hwm_spec("obs", HWM_F32, 1, 17);
    assert_int_equal(hwm_replay_table_create(w.replay, &other, &table, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "obs"));
    hwm_replay* second;
    assert_int_equal(hwm_replay_open(&second, &w.config, &err), HWM_EEXIST);
    assert_null(second);
    other = fixture_table(1000);
    strcpy(other.name, "../x");
    assert_int_equal(hwm_replay_table_create(w.replay, &other, &table, &err), HWM_EINVAL);
    world_close(&w);
}

static void test_replay_knows_which_versions_are_in_use(void** state) {
    (void)state;
    world w = world_open(20);
    writer_state s = writer_begin(0, 0);
    for (uint64_t version = 1; version <= 6; version++) {
        s.version = version;
        assert_int_equal(fixture_append(w.replay, w.table, &s, 5, 0), HWM_OK);
    }
    for (uint64_t version = 1; version <= 7; version++) {
        assert_int_equal(hwm_replay_version_in_use(w.replay, "controller", version),
                         version >= 3 && version <= 6);
        assert_false(hwm_replay_version_in_use(w.replay, "critic", version));
    }
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_returns_what_was_appended),
        cmocka_unit_test(test_replay_same_draw_same_batch_after_reopening),
        cmocka_unit_test(test_replay_stores_each_chunk_once),
        cmocka_unit_test(test_replay_remembers_streams_that_were_evicted),
        cmocka_unit_test(test_replay_shares_of_terminal_and_first_starts),
        cmocka_unit_test(test_replay_draws_before_terminals),
        cmocka_unit_test(test_replay_closes_abandoned_episodes),
        cmocka_unit_test(test_replay_keeps_late_chunks_apart),
        cmocka_unit_test(test_replay_forgets_expired_streams),
        cmocka_unit_test(test_replay_accepts_a_gap_and_closes_what_came_before),
        cmocka_unit_test(test_replay_holds_inserts_until_samples_catch_up),
        cmocka_unit_test(test_replay_keeps_blobs),
        cmocka_unit_test(test_replay_refuses_another_signature_and_a_second_owner),
        cmocka_unit_test(test_replay_knows_which_versions_are_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
