// kill -9 of the process that owns the store, at random moments, in every durability: what was
// acknowledged is there exactly once and in order, nothing is corrupt, and no repair is needed.
// Priorities are those of the last time they were saved, all of them.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/server/fixture.h"

enum { STREAMS = 4, EPISODE_CHUNKS = 5 };

// What the victim has promised to the outside, seen by its parent.
typedef struct promises {
    volatile uint64_t acknowledged[STREAMS];  // last sequence
    volatile uint64_t refused;
} promises;

static uint32_t steps_of(uint32_t env, uint64_t sequence) {
    return 1 + (uint32_t)((sequence * 7 + env * 3) % 9);
}

// The stream as it was before `sequence`, whatever the process that wrote it.
static writer_state stream_at(uint32_t env, uint64_t sequence) {
    static uint8_t bytes[CHUNK_BYTES_MAX];
    writer_state w = writer_begin(env, 0);
    hwm_chunk chunk;
    while (w.sequence + 1 < sequence) {
        writer_chunk(&w, steps_of(env, w.sequence + 1),
                     (w.sequence + 1) % EPISODE_CHUNKS == 0 ? HWM_FLAG_LAST : 0, bytes, &chunk);
    }
    return w;
}

// Appends for ever, a few chunks of every stream in flight, and writes down every acknowledgement.
static void victim(const hwm_replay_config* config, promises* p) {
    static uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_replay* replay;
    if (hwm_replay_open(&replay, config, NULL) != HWM_OK) {
        p->refused++;
        _exit(1);
    }
    writer_state w[STREAMS];
    for (uint32_t env = 0; env < STREAMS; env++) {
        w[env] = stream_at(env, p->acknowledged[env] + 1);
    }
    int in_flight = 0;
    while (true) {
        for (uint32_t env = 0; env < STREAMS && in_flight < 24; env++, in_flight++) {
            uint64_t sequence = w[env].sequence + 1;
            hwm_chunk chunk;
            size_t size =
                writer_chunk(&w[env], steps_of(env, sequence),
                             sequence % EPISODE_CHUNKS == 0 ? HWM_FLAG_LAST : 0, bytes, &chunk);
            if (hwm_replay_append(replay, 0, &chunk, bytes, size, sequence * STREAMS + env) !=
                HWM_OK) {
                p->refused++;
            }
        }
        hwm_completion c;
        while (hwm_replay_next(replay, &c)) {
            in_flight--;
            if (c.status == HWM_OK || c.status == HWM_EDUPLICATE) {
                p->acknowledged[c.token % STREAMS] = c.token / STREAMS;
            } else {
                p->refused++;
            }
        }
    }
}

// Every row that is stored, oldest first: each once, each stream without a hole, nothing
// acknowledged missing.
static void examine(const hwm_replay_config* config, const promises* p, int64_t capacity) {
    hwm_replay* replay;
    hwm_error err = {0};
    if (hwm_replay_open(&replay, config, &err) != HWM_OK) {
        fail_msg("does not reopen: %s", err.text);
    }
    char* json = hwm_replay_stats_json(replay);
    long steps = atol(strstr(json, "\"steps\":") + 8);
    bool evicted = atol(strstr(json, "\"evicted_steps\":") + 16) > 0;
    free(json);
    assert_true(steps <= capacity + 64);
    if (steps > 0) {
        hwm_sample_request r = {.batch = (int)steps, .length = 1, .selector = HWM_SELECT_OLDEST};
        hwm_status status;
        hwm_batch* b = fixture_sample(replay, 0, &r, &status);
        assert_int_equal(status, HWM_OK);
        hwm_signature g = fixture_signature();
        fixture_check(b, &g);
        uint64_t next[STREAMS] = {0};
        bool seen[STREAMS] = {0};
        for (int i = 0; i < b->batch; i++) {
            uint32_t env = b->stream[i].env;
            assert_true(env < STREAMS);
            assert_true(!seen[env] || b->step[i] == next[env]);
            assert_true(seen[env] || evicted || b->step[i] == 0);
            seen[env] = true;
            next[env] = b->step[i] + 1;
        }
        for (uint32_t env = 0; env < STREAMS; env++) {
            if (p->acknowledged[env] > 0) {
                writer_state w = stream_at(env, p->acknowledged[env] + 1);
                assert_true(next[env] >= w.step);
            }
        }
        hwm_replay_batch_free(replay, &b);
    }
    hwm_replay_close(&replay);
}

static uint64_t total(const promises* p) {
    uint64_t n = 0;
    for (int i = 0; i < STREAMS; i++) {
        n += p->acknowledged[i];
    }
    return n;
}

static void kill_at_random(hwm_durability durability, int kills, int64_t capacity) {
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    scratch_dir dir = scratch_make();
    hwm_replay_config config = fixture_config(dir.path);
    config.durability = durability;
    config.commit_ms = 1;
    promises* p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    hwm_replay* replay;
    hwm_error err = {0};
    int table;
    hwm_table_config t = fixture_table(capacity);
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_OK);
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    hwm_replay_close(&replay);

    hwm_rng rng;
    hwm_rng_init(&rng, 11, HWM_PURPOSE_TEST, durability, 0, 0);
    for (int k = 0; k < kills; k++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            victim(&config, p);
        }
        // its progress decides when, not the clock of a loaded machine: after so many more
        // acknowledgements, at most 10 s
        uint64_t until = total(p) + hwm_rng_below(&rng, 200);
        for (int ms = 0; ms < 10000 && total(p) <= until; ms++) {
            usleep(1000);
        }
        usleep(hwm_rng_below(&rng, 3000));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(p->refused, 0);
        if (k % 5 == 4 || k + 1 == kills) {
            examine(&config, p, capacity);
        }
    }
    assert_true(total(p) > 0);
    munmap(p, sizeof *p);
    scratch_remove(&dir);
}

static int kills(void) {
    const char* full = getenv("HWM_FULL");
    return full != NULL && full[0] == '1' ? 67 : 10;
}

static void test_replay_survives_kill_when_durability_is_process(void** state) {
    (void)state;
    kill_at_random(HWM_DURABLE_PROCESS, kills(), 30000);
}

static void test_replay_survives_kill_when_durability_is_group(void** state) {
    (void)state;
    kill_at_random(HWM_DURABLE_GROUP, kills(), 30000);
}

static void test_replay_survives_kill_when_durability_is_full_and_chunks_are_evicted(void** state) {
    (void)state;
    kill_at_random(HWM_DURABLE_FULL, kills(), 200);
}

// ---- priorities

enum { ROWS = 280, WEIGHTS = 7 };  // every weight as often as the others

static double weight(uint64_t step, int set) {
    return 1.0 + (double)((step + (uint64_t)set) % WEIGHTS);
}

static void prioritise(hwm_replay* replay, int set) {
    static hwm_stream stream[ROWS];
    static uint64_t step[ROWS];
    static double priority[ROWS];
    for (uint64_t i = 0; i < ROWS; i++) {
        step[i] = i;
        priority[i] = weight(i, set);
    }
    assert_int_equal(hwm_replay_prioritise(replay, 0, ROWS, stream, step, priority, NULL), HWM_OK);
}

// Which set the rows are drawn by; fails where they are of several. fresh: rows behind them that
// never had a priority of their own.
static int set_in_force(hwm_replay* replay, uint64_t fresh) {
    hwm_sample_request r = {
        .batch = 400, .length = 1, .selector = HWM_SELECT_PRIORITISED, .priority_exponent = 1};
    hwm_status status;
    hwm_batch* b = fixture_sample(replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    double sum = ROWS / WEIGHTS * (WEIGHTS * (WEIGHTS + 1) / 2) + (double)fresh * WEIGHTS;
    bool fits[WEIGHTS];
    uint64_t of_fresh = 0;
    memset(fits, true, sizeof fits);
    for (int i = 0; i < b->batch; i++) {
        of_fresh += b->step[i] >= ROWS;
        for (int set = 0; set < WEIGHTS; set++) {
            // what came later counts as the highest that is known
            double w = b->step[i] < ROWS ? weight(b->step[i], set) : WEIGHTS;
            double off = b->probability[i] * sum / w - 1;
            fits[set] = fits[set] && off > -1e-6 && off < 1e-6;
        }
    }
    hwm_replay_batch_free(replay, &b);
    assert_true((of_fresh > 0) == (fresh > 0));
    int found = -1;
    for (int set = 0; set < WEIGHTS; set++) {
        assert_true(!fits[set] || found < 0);
        found = fits[set] ? set : found;
    }
    assert_true(found >= 0);
    return found;
}

// Killed with new priorities that were not saved; while they are saved by a clean stop; after a
// snapshot saved them.
static void test_priorities_after_kill_are_those_that_were_saved(void** state) {
    (void)state;
    enum { NOT_SAVED, WHILE_CLOSING, AFTER_SNAPSHOT, WAYS };
    scratch_dir dir = scratch_make();
    hwm_replay_config config = fixture_config(dir.path);
    hwm_replay* replay;
    hwm_error err = {0};
    int table;
    hwm_table_config t = fixture_table(10000);
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_OK);
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    writer_state w = writer_begin(0, 0);
    for (int i = 0; i < ROWS / 7; i++) {
        assert_int_equal(fixture_append(replay, 0, &w, 7, i % 5 == 4 ? HWM_FLAG_LAST : 0), HWM_OK);
    }
    prioritise(replay, 0);
    hwm_replay_close(&replay);

    volatile int* closing =
        mmap(NULL, sizeof *closing, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(closing != MAP_FAILED);
    hwm_rng rng;
    hwm_rng_init(&rng, 12, HWM_PURPOSE_TEST, 0, 0, 0);
    int saved = 0, torn_old = 0, torn_new = 0;
    for (int k = 0; k < WAYS * kills(); k++) {
        int set = (saved + 1) % WEIGHTS, way = k % WAYS;
        *closing = 0;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            if (hwm_replay_open(&replay, &config, NULL) != HWM_OK) {
                _exit(1);
            }
            prioritise(replay, set);
            if (way == AFTER_SNAPSHOT) {
                char copy[160];
                snprintf(copy, sizeof copy, "%s/copy", dir.path);
                hwm_replay_snapshot(replay, copy, 1);
                fixture_wait(replay);
            }
            *closing = 1;
            if (way != WHILE_CLOSING) {
                pause();  // for the kill
                _exit(1);
            }
            hwm_replay_close(&replay);
            _exit(0);
        }
        for (int ms = 0; ms < 10000 && !*closing; ms++) {
            usleep(1000);
        }
        assert_true(*closing);
        usleep(hwm_rng_below(&rng, 1500));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) || way == WHILE_CLOSING);

        assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_OK);
        int found = set_in_force(replay, 0);
        hwm_replay_close(&replay);
        assert_true(found == saved || found == set);
        assert_true(way == WHILE_CLOSING || found == (way == NOT_SAVED ? saved : set));
        torn_old += way == WHILE_CLOSING && found == saved;
        torn_new += way == WHILE_CLOSING && found == set;
        saved = found;
        char command[200];
        snprintf(command, sizeof command, "rm -rf '%s/copy'", dir.path);
        assert_int_equal(system(command), 0);
    }
    print_message("killed while saving: %d found the old ones, %d the new\n", torn_old, torn_new);

    // what was appended and never saved counts as new
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool ok = hwm_replay_open(&replay, &config, NULL) == HWM_OK &&
                  fixture_append(replay, 0, &w, 7, HWM_FLAG_LAST) == HWM_OK;
        raise(ok ? SIGKILL : SIGABRT);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_OK);
    assert_int_equal(set_in_force(replay, 7), saved);
    hwm_replay_close(&replay);
    munmap((void*)(uintptr_t)closing, sizeof *closing);
    scratch_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_survives_kill_when_durability_is_process),
        cmocka_unit_test(test_replay_survives_kill_when_durability_is_group),
        cmocka_unit_test(test_replay_survives_kill_when_durability_is_full_and_chunks_are_evicted),
        cmocka_unit_test(test_priorities_after_kill_are_those_that_were_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
