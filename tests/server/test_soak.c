// Episode lengths mixed from 9 to 1000 at 80 % of what the map is made for, long after the table is
// full: the file stops growing and the index with it, although every episode leaves a chunk of odd
// size behind.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/server/fixture.h"

enum { STREAMS = 8, CHUNK = 64, IN_FLIGHT = 200 };

static uint64_t number_in(hwm_replay* replay, const char* key) {
    char* json = hwm_replay_stats_json(replay);
    char name[64];
    snprintf(name, sizeof name, "\"%s\":", key);
    uint64_t x = strtoull(strstr(json, name) + strlen(name), NULL, 10);
    free(json);
    return x;
}

static void test_file_and_index_stay_flat(void** state) {
    (void)state;
    const char* full = getenv("HWM_FULL");
    int turns = full != NULL && full[0] == '1' ? 40 : 8;  // of the whole content
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    scratch_dir dir = scratch_make();
    hwm_replay_config config = fixture_config(dir.path);
    config.map_bytes = 64 << 20;
    config.commit_ms = 1;
    hwm_replay* replay;
    hwm_error err = {0};
    int table;
    // live data may fill 60 % of the map; the table takes 80 % of that
    hwm_table_config t = fixture_table(10000000);
    t.capacity_bytes = (int64_t)(0.8 * 0.6 * (double)config.map_bytes);
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_OK);
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, 9, HWM_PURPOSE_TEST, 0, 0, 0);
    writer_state w[STREAMS];
    uint32_t left[STREAMS] = {0};
    for (uint32_t i = 0; i < STREAMS; i++) {
        w[i] = writer_begin(i, 0);
    }
    static uint8_t bytes[CHUNK_BYTES_MAX];
    uint64_t stored = 0, file_early = 0, index_early = 0;
    int in_flight = 0;
    double target = (double)turns * (double)t.capacity_bytes;
    for (uint64_t n = 0; (double)stored < target; n++) {
        uint32_t i = hwm_rng_below(&rng, STREAMS);
        if (left[i] == 0) {
            left[i] = 9 + hwm_rng_below(&rng, 992);
        }
        // chunks of very different sizes: an episode's last one is whatever is left
        uint32_t steps = left[i] < CHUNK * 10 ? left[i] : CHUNK * 10;
        left[i] -= steps;
        hwm_chunk chunk;
        size_t size = writer_chunk(&w[i], steps, left[i] == 0 ? HWM_FLAG_LAST : 0, bytes, &chunk);
        assert_int_equal(hwm_replay_append(replay, table, &chunk, bytes, size, 1), HWM_OK);
        stored += size;
        in_flight++;
        hwm_completion c;
        while (in_flight > 0 && (in_flight >= IN_FLIGHT || hwm_replay_next(replay, &c))) {
            if (in_flight >= IN_FLIGHT) {
                c = fixture_wait(replay);
            }
            if (c.status != HWM_OK) {
                fail_msg("%s", c.text);
            }
            in_flight--;
        }
        if (file_early == 0 && (double)stored > target / 2) {
            file_early = number_in(replay, "file_bytes");
            index_early = number_in(replay, "index_bytes");
        }
    }
    for (; in_flight > 0; in_flight--) {
        assert_int_equal(fixture_wait(replay).status, HWM_OK);
    }
    uint64_t file = number_in(replay, "file_bytes"), index = number_in(replay, "index_bytes");
    print_message(
        "file %.1f MB half way, %.1f MB at the end; live %.1f MB; index %.2f and %.2f MB\n",
        (double)file_early * 1e-6, (double)file * 1e-6, (double)number_in(replay, "bytes") * 1e-6,
        (double)index_early * 1e-6, (double)index * 1e-6);
    assert_true((double)file <= 1.05 * (double)file_early);
    assert_true((double)file <= 0.9 * (double)config.map_bytes);
    assert_true((double)index <= 1.05 * (double)index_early);
    // 0.1 byte of index per byte stored
    assert_true((double)index < 0.1 * (double)number_in(replay, "bytes"));
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_file_and_index_stay_flat)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
