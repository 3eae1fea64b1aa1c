// Tables over their life: joined with other values, opened again, written by an older and by a
// newer program, and filled in the one order of the deterministic mode whatever the arrival.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>
#include <zstd.h>

#include "base/log.h"
#include "base/rng.h"
#include "server/maintain.h"
#include "tests/server/fixture.h"

static hwm_replay* open_in(const scratch_dir* dir) {
    hwm_replay_config config = fixture_config(dir->path);
    hwm_replay* replay;
    hwm_error err = {0};
    if (hwm_replay_open(&replay, &config, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    return replay;
}

static double number_in(hwm_replay* replay, const char* key) {
    char* json = hwm_replay_stats_json(replay);
    char name[64];
    snprintf(name, sizeof name, "\"%s\":", key);
    char* at = strstr(json, name);
    assert_non_null(at);
    double x = atof(at + strlen(name));
    free(json);
    return x;
}

static void append_many(hwm_replay* replay, writer_state* w, int chunks, uint32_t steps) {
    for (int i = 0; i < chunks; i++) {
        assert_int_equal(fixture_append(replay, 0, w, steps, 0), HWM_OK);
    }
}

static void sample_rows(hwm_replay* replay, int batch, int length) {
    hwm_sample_request r = {.batch = batch, .length = length};
    hwm_status status;
    hwm_batch* b = fixture_sample(replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    hwm_replay_batch_free(replay, &b);
}

static void test_table_takes_another_capacity(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    hwm_replay* replay = open_in(&dir);
    hwm_table_config t = fixture_table(1000);
    int table;
    hwm_error err;
    writer_state w = writer_begin(0, 0);
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    append_many(replay, &w, 50, 10);
    assert_int_equal(number_in(replay, "steps"), 500);
    // smaller, while open: what is too much leaves with the next appends
    t.capacity_steps = 100;
    t.experiment = "run:\n  name: other\n";
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    append_many(replay, &w, 2, 10);
    assert_int_equal(number_in(replay, "steps"), 100);
    hwm_replay_close(&replay);
    // it is stored, and so is the experiment
    replay = open_in(&dir);
    assert_int_equal(hwm_replay_table_config(replay, 0)->capacity_steps, 100);
    assert_string_equal(hwm_replay_table_config(replay, 0)->experiment, t.experiment);
    append_many(replay, &w, 3, 10);
    assert_int_equal(number_in(replay, "steps"), 100);
    // larger, after opening again
    t.capacity_steps = 5000;
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    append_many(replay, &w, 20, 10);
    assert_int_equal(number_in(replay, "steps"), 300);
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

static void test_table_takes_another_limiter_from_where_it_stands(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    hwm_replay* replay = open_in(&dir);
    hwm_table_config t = fixture_table(100000);
    t.limiter = (hwm_limiter_config){
        .samples_per_insert = 1, .min_size_steps = 100, .burst_steps = 50, .prefetch_steps = 60};
    int table;
    hwm_error err;
    writer_state w = writer_begin(0, 0);
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    append_many(replay, &w, 10, 10);
    for (int i = 0; i < 20; i++) {  // 40 sampled, 40 inserted
        sample_rows(replay, 8, 5);
        append_many(replay, &w, 4, 10);
    }
    assert_int_equal(number_in(replay, "inserted_steps"), 900);
    assert_int_equal(number_in(replay, "sampled_steps"), 800);
    // eight times the ratio: nobody has to make up for the 900 steps that went by under the old one
    for (int opened = 0; opened < 2; opened++) {
        t.limiter.samples_per_insert = 8;
        assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
        assert_int_equal(number_in(replay, "inserted_steps"), 900);
        assert_int_equal(number_in(replay, "sampled_steps"), 800);
        assert_true(number_in(replay, "diff") == number_in(replay, "diff_min") + 60);
        hwm_replay_close(&replay);
        replay = open_in(&dir);
    }
    hwm_sample_request r = {.batch = 8, .length = 5};
    sample_rows(replay, 12, 5);  // the prefetch is all there is
    assert_int_equal(hwm_replay_sample(replay, 0, &r, 7), HWM_OK);
    hwm_completion c;
    assert_false(hwm_replay_next(replay, &c));
    append_many(replay, &w, 1, 5);  // 5 inserted steps allow 40
    c = fixture_wait(replay);
    assert_int_equal(c.kind, HWM_DONE_SAMPLE);
    assert_int_equal(c.status, HWM_OK);
    hwm_replay_batch_free(replay, &c.batch);

    // what could only stop is refused, and nothing has changed
    hwm_table_config bad = t;
    bad.limiter.burst_steps = 0;
    assert_int_equal(hwm_replay_table_create(replay, &bad, &table, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "burst_steps 0"));
    bad = t;
    bad.limiter.min_size_steps = 200000;
    assert_int_equal(hwm_replay_table_create(replay, &bad, &table, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "200000 is above capacity_steps 100000"));
    bad = t;
    bad.seed = 8;
    assert_int_equal(hwm_replay_table_create(replay, &bad, &table, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "seed 7, not 8"));
    bad = t;
    bad.order_streams = 2;
    bad.order_steps = 10;
    assert_int_equal(hwm_replay_table_create(replay, &bad, &table, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "rounds of 0 environments"));
    assert_memory_equal(&hwm_replay_table_config(replay, 0)->limiter, &t.limiter, sizeof t.limiter);
    assert_int_equal(hwm_replay_table_config(replay, 0)->seed, 7);
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

// ---- rounds

enum { ENVS = 3, ROUND = 8, FIRST_ROUND = 16, ROUNDS = 4 };  // the first one is as long as two

typedef struct packet {
    uint8_t bytes[4096];
    size_t size;
    hwm_chunk chunk;
} packet;

// All chunks of the run, environment by environment; each round's rows in chunks of odd sizes.
static int make_packets(packet* p) {
    static const uint32_t sizes[ENVS][3] = {{3, 5, 0}, {8, 0, 0}, {1, 4, 3}};
    int n = 0;
    for (uint32_t env = 0; env < ENVS; env++) {
        writer_state w = writer_begin(env, 0);
        for (int round = 0; round < ROUNDS + 1; round++) {
            for (int k = 0; k < 3 && sizes[env][k] > 0; k++, n++) {
                p[n].size = writer_chunk(&w, sizes[env][k], 0, p[n].bytes, &p[n].chunk);
            }
        }
    }
    return n;
}

static void content(hwm_replay* replay, uint64_t* out, int n) {
    hwm_sample_request r = {.batch = n, .length = 1, .selector = HWM_SELECT_OLDEST};
    hwm_status status;
    hwm_batch* b = fixture_sample(replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    for (int i = 0; i < n; i++) {
        out[i] = (uint64_t)b->stream[i].env << 32 | b->step[i];
    }
    hwm_replay_batch_free(replay, &b);
}

static void test_rounds_are_stored_in_one_order_whatever_the_arrival(void** state) {
    (void)state;
    static packet p[64];
    int n = make_packets(p);
    const int rows = ENVS * (FIRST_ROUND + (ROUNDS - 1) * ROUND);
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int world = 0; world < 12; world++) {
        scratch_dir dir = scratch_make();
        hwm_replay* replay = open_in(&dir);
        hwm_table_config t = fixture_table(1000);
        t.order_streams = ENVS;
        t.order_steps = ROUND;
        t.order_first_steps = FIRST_ROUND;
        int table, next[ENVS] = {0}, left = n, restarts = world % 3 == 2;
        hwm_error err;
        assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
        // each environment in its own order, all mixed at random; now and then one is sent twice
        int acknowledged = 0, repeated = 0, sent = 0, from[ENVS + 1] = {0};
        for (int i = 0; i < n; i++) {
            from[p[i].chunk.stream.env + 1] = i + 1;
        }
        while (left > 0) {
            uint32_t env = hwm_rng_below(&rng, ENVS);
            if (from[env] + next[env] == from[env + 1]) {
                continue;
            }
            const packet* q = &p[from[env] + next[env]];
            bool twice = hwm_rng_below(&rng, 4) == 0;
            for (int k = 0; k < 1 + twice; k++, sent++) {
                assert_int_equal(hwm_replay_append(replay, 0, &q->chunk, q->bytes, q->size, 1),
                                 HWM_OK);
            }
            repeated += twice;
            next[env]++;
            left--;
            if (restarts > 0 && left == n / 2) {
                // the server stops in the middle: what it did not acknowledge comes again
                hwm_completion c;
                while (hwm_replay_next(replay, &c)) {
                }
                hwm_replay_close(&replay);
                replay = open_in(&dir);
                memset(next, 0, sizeof next);
                left = n;
                restarts--;
                acknowledged = repeated = sent = 0;
            }
        }
        for (int i = 0; i < sent; i++) {
            hwm_completion c = fixture_wait(replay);
            assert_true(c.status == HWM_OK || c.status == HWM_EDUPLICATE);
            acknowledged++;
        }
        assert_int_equal(acknowledged, n + repeated);
        uint64_t have[ENVS * ROUND * (ROUNDS + 1)];
        content(replay, have, rows);
        for (int i = 0, round = 0; round < ROUNDS; round++) {
            int first = round == 0 ? 0 : FIRST_ROUND + (round - 1) * ROUND;
            for (uint64_t env = 0; env < ENVS; env++) {
                for (int row = 0; row < (round == 0 ? FIRST_ROUND : ROUND); row++) {
                    assert_int_equal(have[i++], env << 32 | (uint64_t)(first + row));
                }
            }
        }
        hwm_replay_close(&replay);
        scratch_remove(&dir);
    }
}

static void test_rounds_hold_what_is_early_and_refuse_what_never_fits(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    hwm_replay* replay = open_in(&dir);
    hwm_table_config t = fixture_table(1000);
    t.order_streams = 2;
    int table;
    hwm_error err;
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "order_streams 2 and order_steps 0"));
    t.order_steps = 6;
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    static uint8_t bytes[CHUNK_BYTES_MAX];
    writer_state w[3] = {writer_begin(0, 0), writer_begin(1, 0), writer_begin(2, 0)};
    hwm_chunk chunk;
    hwm_completion c;
    size_t size = writer_chunk(&w[1], 6, 0, bytes, &chunk);
    assert_int_equal(hwm_replay_append(replay, 0, &chunk, bytes, size, 11), HWM_OK);
    usleep(20000);
    assert_false(hwm_replay_next(replay, &c));  // environment 0 comes first
    // no such environment; more rows than a round has; more than its round has left
    size = writer_chunk(&w[2], 2, 0, bytes, &chunk);
    assert_int_equal(hwm_replay_append(replay, 0, &chunk, bytes, size, 12), HWM_OK);
    c = fixture_wait(replay);
    assert_int_equal(c.token, 12);
    assert_int_equal(c.status, HWM_EINVAL);
    assert_non_null(strstr(c.text, "round by round"));
    size = writer_chunk(&w[2], 7, 0, bytes, &chunk);
    chunk.stream.env = 0;
    assert_int_equal(hwm_replay_append(replay, 0, &chunk, bytes, size, 13), HWM_OK);
    assert_int_equal(fixture_wait(replay).status, HWM_EINVAL);
    assert_int_equal(fixture_append(replay, 0, &w[0], 4, 0), HWM_OK);
    writer_state too_long = w[0];
    assert_int_equal(fixture_append(replay, 0, &too_long, 3, 0), HWM_EINVAL);
    // with the rest of environment 0 both go in
    size = writer_chunk(&w[0], 2, 0, bytes, &chunk);
    assert_int_equal(hwm_replay_append(replay, 0, &chunk, bytes, size, 14), HWM_OK);
    uint64_t seen = 0;
    for (int i = 0; i < 2; i++) {
        c = fixture_wait(replay);
        assert_int_equal(c.status, HWM_OK);
        seen |= 1ull << c.token;
    }
    assert_int_equal(seen, 1u << 11 | 1u << 14);
    // a worker that dies leaves its episode open for the one that takes its range over
    uint32_t first, incarnation;
    assert_int_equal(hwm_replay_assign(replay, 0, 2, &first, &incarnation, &err), HWM_OK);
    hwm_replay_abandon(replay, 0, first, 2, incarnation);
    assert_int_equal(hwm_replay_assign(replay, 0, 2, &first, &incarnation, &err), HWM_OK);
    assert_int_equal(first, 0);
    assert_int_equal(incarnation, 0);
    writer_state again = w[0];
    again.sequence--;
    assert_int_equal(fixture_append(replay, 0, &again, 2, 0), HWM_EDUPLICATE);
    assert_int_equal(fixture_append(replay, 0, &w[0], 6, 0), HWM_OK);
    hwm_sample_request r = {.batch = 1, .length = 12};
    hwm_status status;
    hwm_signature g = fixture_signature();
    hwm_batch* b = fixture_sample(replay, 0, &r, &status);  // one segment over the change of hands
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &g);
    for (int row = 0; row < 12; row++) {
        assert_false(((const uint8_t*)b->column[HWM_COLUMN_FLAGS])[row] & HWM_FLAG_LAST);
    }
    hwm_replay_batch_free(replay, &b);
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

// ---- formats

static void write_file(const char* path, const void* bytes, size_t size) {
    FILE* f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

// The store of the first format, as its program left it: 3 streams of 4 chunks of 5 steps; stream 0
// ended with a terminal, stream 1 open, stream 2 abandoned; 20 steps sampled.
static void test_store_of_the_first_version_opens(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    static uint8_t packed[1 << 16], bytes[1 << 20];
    const char* source = getenv("HWM_SOURCE_DIR");
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/server/store-1.mdb.zst",
             source != NULL ? source : ".");
    FILE* f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(packed, 1, sizeof packed, f);
    fclose(f);
    size_t size = ZSTD_decompress(bytes, sizeof bytes, packed, n);
    assert_false(ZSTD_isError(size));
    snprintf(path, sizeof path, "%s/data.mdb", dir.path);
    write_file(path, bytes, size);

    hwm_replay* replay = open_in(&dir);
    const hwm_table_config* t = hwm_replay_table_config(replay, 0);
    assert_string_equal(t->name, "test");
    assert_int_equal(t->capacity_steps, 1000);
    assert_true(t->limiter.samples_per_insert == 2.0);
    assert_int_equal(t->max_times_sampled, 0);
    assert_int_equal(t->order_streams, 0);
    assert_int_equal(number_in(replay, "sampled_steps"), 20);
    hwm_sample_request r = {.batch = 60, .length = 1, .selector = HWM_SELECT_OLDEST};
    hwm_status status;
    hwm_signature g = fixture_signature();
    hwm_batch* b = fixture_sample(replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &g);
    const uint8_t* flags = b->column[HWM_COLUMN_FLAGS];
    for (int i = 0; i < 60; i++) {
        uint8_t want = b->step[i] == 0 ? HWM_FLAG_FIRST
                       : b->step[i] < 19 || b->stream[i].env == 1
                           ? 0
                           : HWM_FLAG_LAST | (b->stream[i].env == 0 ? HWM_FLAG_TERMINAL : 0);
        assert_int_equal(flags[i], want);
    }
    hwm_replay_batch_free(replay, &b);
    void* note;
    size_t note_bytes;
    assert_int_equal(hwm_replay_blob_get(replay, "note", &note, &note_bytes), HWM_OK);
    assert_memory_equal(note, "format one", 10);
    free(note);
    // it goes on: the stream that was open continues, the handed-out range is remembered
    writer_state w = writer_begin(1, 0);
    w.sequence = 4;
    w.step = w.episode_step = 20;
    w.running = true;
    assert_int_equal(fixture_append(replay, 0, &w, 5, 0), HWM_OK);
    uint32_t first, incarnation;
    assert_int_equal(hwm_replay_assign(replay, 0, 2, &first, &incarnation, NULL), HWM_OK);
    assert_int_equal(first, 0);
    assert_int_equal(incarnation, 1);
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

// Changes one record of the environment as another program would have written it.
static void overwrite(const scratch_dir* dir, const char* database, size_t id, size_t at,
                      uint32_t word) {
    MDB_env* env;
    MDB_txn* txn;
    MDB_dbi dbi;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, dir->path, 0, 0666), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, database, MDB_INTEGERKEY, &dbi), 0);
    MDB_val key = {sizeof id, &id}, value;
    assert_int_equal(mdb_get(txn, dbi, &key, &value), 0);
    uint8_t* copy = malloc(value.mv_size);
    memcpy(copy, value.mv_data, value.mv_size);
    memcpy(copy + at, &word, sizeof word);
    MDB_val changed = {value.mv_size, copy};
    assert_int_equal(mdb_put(txn, dbi, &key, &changed, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    free(copy);
    mdb_env_close(env);
}

static void test_store_of_a_newer_version_is_refused_and_left_alone(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    hwm_replay* replay = open_in(&dir);
    hwm_table_config t = fixture_table(1000);
    int table;
    hwm_error err;
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    writer_state w = writer_begin(0, 0);
    append_many(replay, &w, 3, 5);
    hwm_replay_close(&replay);
    hwm_replay_config config = fixture_config(dir.path);

    overwrite(&dir, "states", SIZE_MAX, 0, 2);  // the format of the whole directory
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_EVERSION);
    assert_null(replay);
    assert_non_null(strstr(err.text, "has format 2; this program reads 1"));
    hwm_check_report report;
    FILE* out = tmpfile();
    assert_int_equal(hwm_replay_check(dir.path, true, false, out, &report, &err), HWM_EVERSION);
    assert_non_null(strstr(err.text, "format 2"));
    fclose(out);

    overwrite(&dir, "states", SIZE_MAX, 0, 1);
    overwrite(&dir, "tables", 0, 0, 7);  // one table
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_EVERSION);
    assert_non_null(strstr(err.text, "version 7"));
    overwrite(&dir, "tables", 0, 0, 2);
    replay = open_in(&dir);
    sample_rows(replay, 15, 1);
    hwm_replay_close(&replay);

    // no LMDB file at all
    char path[256];
    snprintf(path, sizeof path, "%s/data.mdb", dir.path);
    static const char text[8192] = "not a store";
    write_file(path, text, sizeof text);
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_EVERSION);
    assert_non_null(strstr(err.text, "not a replay directory"));
    scratch_remove(&dir);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR + 1, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_takes_another_capacity),
        cmocka_unit_test(test_table_takes_another_limiter_from_where_it_stands),
        cmocka_unit_test(test_rounds_are_stored_in_one_order_whatever_the_arrival),
        cmocka_unit_test(test_rounds_hold_what_is_early_and_refuse_what_never_fits),
        cmocka_unit_test(test_store_of_the_first_version_opens),
        cmocka_unit_test(test_store_of_a_newer_version_is_refused_and_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
