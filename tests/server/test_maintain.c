// check, repair, snapshot and restore on real directories, with damage done to the file by hand.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "server/maintain.h"
#include "server/store.h"
#include "tests/server/fixture.h"

enum { CHUNKS = 12, STEPS = 8 };

static hwm_replay* open_replay(const char* dir) {
    hwm_replay* replay;
    hwm_error err = {0};
    hwm_replay_config config = fixture_config(dir);
    if (hwm_replay_open(&replay, &config, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    return replay;
}

// One stream of one long episode, then closed.
static void fill(const char* dir) {
    hwm_replay* replay = open_replay(dir);
    hwm_table_config t = fixture_table(100000);
    int table;
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, NULL), HWM_OK);
    writer_state w = writer_begin(0, 0);
    for (int i = 0; i < CHUNKS; i++) {
        assert_int_equal(fixture_append(replay, table, &w, STEPS, 0), HWM_OK);
    }
    assert_int_equal(hwm_replay_blob_put(replay, "params/1", "0123456789abcdef", 16), HWM_OK);
    hwm_replay_close(&replay);
}

// Flips a bit in the middle of the first place where `bytes` stand in the file.
static void damage(const char* dir, const void* bytes, size_t size) {
    char path[192];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_RDWR);
    struct stat s = {0};
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &s), 0);
    uint8_t* map = mmap(NULL, (size_t)s.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    uint8_t* at = memmem(map, (size_t)s.st_size, bytes, size);
    assert_non_null(at);
    at[size / 2] ^= 4;
    munmap(map, (size_t)s.st_size);
    close(fd);
}

static void damage_chunk(const char* dir, int which) {
    static uint8_t bytes[CHUNK_BYTES_MAX];
    writer_state w = writer_begin(0, 0);
    hwm_chunk chunk;
    size_t size = 0;
    for (int i = 0; i <= which; i++) {
        size = writer_chunk(&w, STEPS, 0, bytes, &chunk);
    }
    damage(dir, bytes, size);
}

static hwm_status check(const char* dir, bool repair, hwm_check_report* report, char* text,
                        size_t size) {
    FILE* out = fmemopen(text, size, "w");
    hwm_error err = {0};
    hwm_status status = hwm_replay_check(dir, repair, false, out, report, &err);
    fclose(out);
    return status;
}

static void test_check_finds_nothing_in_a_sound_store(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    hwm_check_report r;
    char text[1024] = "";
    assert_int_equal(check(dir.path, false, &r, text, sizeof text), HWM_ENOTFOUND);
    fill(dir.path);
    assert_int_equal(check(dir.path, false, &r, text, sizeof text), HWM_OK);
    assert_int_equal(r.tables, 1);
    assert_int_equal(r.chunks, CHUNKS);
    assert_int_equal(r.steps, CHUNKS * STEPS);
    assert_int_equal(r.blobs, 1);
    assert_int_equal(r.bad_chunks + r.bad_blobs, 0);
    // not beside a running server
    hwm_replay* replay = open_replay(dir.path);
    assert_int_equal(check(dir.path, false, &r, text, sizeof text), HWM_EEXIST);
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

static void test_repair_removes_the_damaged_and_cuts_its_stream(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    fill(dir.path);
    damage_chunk(dir.path, 5);
    damage(dir.path, "0123456789abcdef", 16);
    hwm_check_report r;
    char text[1024] = "";
    assert_int_equal(check(dir.path, false, &r, text, sizeof text), HWM_ECORRUPT);
    assert_int_equal(r.bad_chunks, 1);
    assert_int_equal(r.bad_blobs, 1);
    assert_non_null(
        strstr(text, "chunk 6 (stream 0/0, sequence 6, 8 steps): its value fails its checksum"));
    assert_non_null(strstr(text, "blob params/1"));

    assert_int_equal(check(dir.path, true, &r, text, sizeof text), HWM_OK);
    assert_int_equal(r.removed_chunks, 1);
    assert_int_equal(r.removed_blobs, 1);
    assert_non_null(strstr(text, "removed"));
    assert_int_equal(check(dir.path, false, &r, text, sizeof text), HWM_OK);
    assert_int_equal(r.chunks, CHUNKS - 1);

    // nothing crosses the hole, the end before it is closed, and the stream goes on where it was
    hwm_replay* replay = open_replay(dir.path);
    hwm_status status;
    hwm_signature g = fixture_signature();
    writer_state w = writer_begin(0, 0);
    static uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_chunk chunk;
    for (int i = 0; i < CHUNKS; i++) {
        writer_chunk(&w, STEPS, 0, bytes, &chunk);
    }
    assert_int_equal(fixture_append(replay, 0, &w, STEPS, HWM_FLAG_LAST), HWM_OK);
    hwm_sample_request q = {.batch = 500, .length = 20};
    hwm_batch* b = fixture_sample(replay, 0, &q, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &g);
    int at_end = 0;
    for (int i = 0; i < b->batch; i++) {
        assert_true(b->step[i] + 20 <= 5 * STEPS || b->step[i] >= 6 * STEPS);
        if (b->step[i] + 20 == 5 * STEPS) {
            at_end++;
            assert_true(((uint8_t*)b->column[0])[b->row[i + 1] - 1] & HWM_FLAG_LAST);
        }
    }
    assert_true(at_end > 0);
    hwm_replay_batch_free(replay, &b);
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

// What a running server does about a record that the disk has changed: it is never served, it goes,
// and the rest stays.
static void test_replay_drops_a_damaged_chunk_when_it_meets_it(void** state) {
    (void)state;
    scratch_dir dir = scratch_make();
    fill(dir.path);
    static const int damaged[] = {0, 4, CHUNKS - 1};
    for (int i = 0; i < 3; i++) {
        damage_chunk(dir.path, damaged[i]);
    }
    hwm_replay* replay = open_replay(dir.path);
    hwm_signature g = fixture_signature();
    hwm_status status;
    for (int length = 1; length <= 2 * STEPS; length += STEPS) {
        hwm_sample_request q = {.batch = 600, .length = length, .materialise = true, .context = 3};
        hwm_batch* b = fixture_sample(replay, 0, &q, &status);
        assert_int_equal(status, HWM_OK);
        fixture_check(b, &g);
        for (int i = 0; i < b->batch; i++) {
            uint64_t from = b->step[i], to = from + (uint64_t)length;
            assert_true((from >= STEPS && to <= 4 * STEPS) ||
                        (from >= 5 * STEPS && to <= (CHUNKS - 1) * STEPS));
        }
        hwm_replay_batch_free(replay, &b);
    }
    char* json = hwm_replay_stats_json(replay);
    assert_non_null(strstr(json, "\"damaged\":3"));
    free(json);
    // the table goes on, and evicts over the holes
    writer_state w = writer_begin(1, 0);
    assert_int_equal(fixture_append(replay, 0, &w, STEPS, 0), HWM_OK);
    hwm_replay_close(&replay);
    hwm_check_report r;
    char text[1024] = "";
    assert_int_equal(check(dir.path, false, &r, text, sizeof text), HWM_OK);
    assert_int_equal(r.chunks, CHUNKS - 3 + 1);
    scratch_remove(&dir);
}

static void test_snapshot_is_consistent_while_appends_go_on(void** state) {
    (void)state;
    scratch_dir dir = scratch_make(), parent = scratch_make();
    fill(dir.path);
    hwm_replay* replay = open_replay(dir.path);
    static uint8_t bytes[CHUNK_BYTES_MAX];
    writer_state w = writer_begin(1, 0);
    int in_flight = 0;
    char name[160];
    hwm_error err = {0};
    for (int i = 0; i < 400; i++, in_flight++) {
        hwm_chunk chunk;
        size_t size = writer_chunk(&w, STEPS, 0, bytes, &chunk);
        assert_int_equal(hwm_replay_append(replay, 0, &chunk, bytes, size, 1), HWM_OK);
        if (i == 200) {
            snprintf(name, sizeof name, "%s/copy", parent.path);
            assert_int_equal(hwm_replay_snapshot(replay, name, 2), HWM_OK);
            in_flight++;
        }
    }
    while (in_flight > 0) {
        hwm_completion c = fixture_wait(replay);
        assert_int_equal(c.status, HWM_OK);
        assert_int_equal(c.kind, c.token == 2 ? HWM_DONE_SNAPSHOT : HWM_DONE_APPEND);
        in_flight--;
    }
    assert_int_equal(hwm_replay_admitted(replay), 0);
    for (int i = 0; i < 20; i++) {  // too late for the copy
        assert_int_equal(fixture_append(replay, 0, &w, STEPS, 0), HWM_OK);
    }
    // the same name again is refused
    assert_int_equal(hwm_replay_snapshot(replay, name, 3), HWM_OK);
    assert_int_equal(fixture_wait(replay).status, HWM_EEXIST);
    hwm_replay_close(&replay);
    hwm_check_report r, whole;
    char text[1024];
    assert_int_equal(check(name, false, &r, text, sizeof text), HWM_OK);
    assert_int_equal(check(dir.path, false, &whole, text, sizeof text), HWM_OK);
    assert_true(r.chunks >= CHUNKS && r.chunks <= CHUNKS + 400);
    assert_int_equal(whole.chunks, CHUNKS + 420);

    // a copy made from outside, by another process than the owner
    char other[160];
    snprintf(other, sizeof other, "%s/other", parent.path);
    replay = open_replay(dir.path);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(hwm_replay_copy(dir.path, other, NULL) == HWM_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    hwm_replay_close(&replay);
    assert_int_equal(check(other, false, &whole, text, sizeof text), HWM_OK);
    assert_int_equal(whole.chunks, CHUNKS + 420);

    // back over the newer store, only where it is asked for
    assert_int_equal(hwm_replay_restore(name, dir.path, false, &err), HWM_EEXIST);
    assert_int_equal(hwm_replay_restore(name, dir.path, true, &err), HWM_OK);
    assert_int_equal(check(dir.path, false, &whole, text, sizeof text), HWM_OK);
    assert_int_equal(whole.chunks, r.chunks);
    // a damaged snapshot is not restored
    damage_chunk(name, 3);
    assert_int_equal(hwm_replay_restore(name, dir.path, true, &err), HWM_ECORRUPT);
    scratch_dir copy;
    snprintf(copy.path, sizeof copy.path, "%.100s/copy", parent.path);
    scratch_remove(&copy);
    snprintf(copy.path, sizeof copy.path, "%.100s/other", parent.path);
    scratch_remove(&copy);
    scratch_remove(&parent);
    scratch_remove(&dir);
}

// ---- the map

// Another process that reads the store until it is told to stop (or killed).
static pid_t hold_reader(const char* dir, int* stop) {
    int go[2], ready[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        hwm_store* store;
        hwm_store_view* view;
        char byte = 'r';
        close(go[1]);
        if (hwm_store_open_reader(&store, dir, NULL) != HWM_OK ||
            hwm_store_view_create(store, &view, NULL) != HWM_OK ||
            hwm_store_view_begin(view, NULL) != HWM_OK || write(ready[1], &byte, 1) != 1) {
            _exit(1);
        }
        ssize_t n = read(go[0], &byte, 1);  // until the parent closes its end
        hwm_store_view_destroy(&view);
        hwm_store_close(&store);
        _exit(n == 0 ? 0 : 1);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    *stop = go[1];
    return pid;
}

static uint64_t number_in(hwm_replay* replay, const char* key) {
    char* json = hwm_replay_stats_json(replay);
    char name[64];
    snprintf(name, sizeof name, "\"%s\":", key);
    uint64_t x = strtoull(strstr(json, name) + strlen(name), NULL, 10);
    free(json);
    return x;
}

// A reader that stays holds freed pages back: the file grows past its quota, up to the maximum;
// there inserts are refused, reads go on, and when the reader is gone (or was killed) it goes on as
// well.
static void test_map_grows_while_a_reader_holds_pages(void** state) {
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        scratch_dir dir = scratch_make();
        hwm_replay_config config = fixture_config(dir.path);
        config.map_bytes = 4 << 20;
        config.map_bytes_max = 8 << 20;
        hwm_table_config t = fixture_table(1 << 20);
        t.capacity_bytes = 1500000;
        hwm_replay* replay;
        int table, stop, status;
        assert_int_equal(hwm_replay_open(&replay, &config, NULL), HWM_OK);
        assert_int_equal(hwm_replay_table_create(replay, &t, &table, NULL), HWM_OK);
        writer_state w = writer_begin(0, 0);
        for (int i = 0; i < 200; i++) {  // some 36 KB each: several times the capacity
            assert_int_equal(fixture_append(replay, 0, &w, 1000, 0), HWM_OK);
        }
        assert_true(number_in(replay, "file_bytes") < (uint64_t)config.map_bytes);
        pid_t reader = hold_reader(dir.path, &stop);
        static uint8_t bytes[CHUNK_BYTES_MAX];
        hwm_chunk chunk;
        hwm_completion c = {.status = HWM_OK};
        bool grown = false;
        size_t size = 0;
        for (int i = 0; i < 1000 && c.status == HWM_OK; i++) {
            size = writer_chunk(&w, 1000, 0, bytes, &chunk);
            assert_int_equal(hwm_replay_append(replay, 0, &chunk, bytes, size, 1), HWM_OK);
            c = fixture_wait(replay);
            grown = grown || number_in(replay, "file_bytes") > (uint64_t)config.map_bytes;
        }
        assert_true(grown);
        assert_int_equal(c.status, HWM_EFULL);
        assert_non_null(strstr(c.text, "the map is full"));
        hwm_sample_request r = {.batch = 32, .length = 700};
        hwm_status s;
        hwm_signature g = fixture_signature();
        hwm_batch* b = fixture_sample(replay, 0, &r, &s);
        assert_int_equal(s, HWM_OK);
        fixture_check(b, &g);
        hwm_replay_batch_free(replay, &b);

        if (killed) {
            kill(reader, SIGKILL);
        }
        close(stop);
        assert_int_equal(waitpid(reader, &status, 0), reader);
        assert_true(killed ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
        // within as many groups as pass between two looks for dead readers
        for (int i = 0; i < 70 && c.status == HWM_EFULL; i++) {
            assert_int_equal(hwm_replay_append(replay, 0, &chunk, bytes, size, 2), HWM_OK);
            c = fixture_wait(replay);
        }
        assert_int_equal(c.status, HWM_OK);
        uint64_t file = number_in(replay, "file_bytes");
        for (int i = 0; i < 300; i++) {
            assert_int_equal(fixture_append(replay, 0, &w, 1000, 0), HWM_OK);
        }
        assert_int_equal(number_in(replay, "file_bytes"), file);
        hwm_replay_close(&replay);
        scratch_remove(&dir);
    }
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_finds_nothing_in_a_sound_store),
        cmocka_unit_test(test_repair_removes_the_damaged_and_cuts_its_stream),
        cmocka_unit_test(test_replay_drops_a_damaged_chunk_when_it_meets_it),
        cmocka_unit_test(test_snapshot_is_consistent_while_appends_go_on),
        cmocka_unit_test(test_map_grows_while_a_reader_holds_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
