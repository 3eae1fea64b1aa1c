// The disk under the store: full, and losing what was not synced. This program stands between LMDB
// and the kernel: its own pwrite, writev and fdatasync remember what reached the disk and what only
// reached the kernel.
//
//   power failure   the file becomes what was synced, plus a random part of the pages written since
//   full disk       a small file system on a loop device; without the right to mount one, writes
//   beyond a limit fail
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/server/fixture.h"

// ---- between LMDB and the kernel

enum { PAGE = 4096 };
typedef struct unsynced_page {
    off_t at;
    uint8_t bytes[PAGE];
} unsynced_page;

static struct disk {
    bool recording;
    int syncs;         // fdatasync on the data file, and writes that sync by themselves
    off_t limit;       // writes beyond fail with ENOSPC; 0: no limit
    uint8_t* durable;  // what a power failure leaves at least
    size_t durable_bytes;
    unsynced_page* page;  // written since the last sync, oldest first
    size_t n_pages, capacity;
    char path[192];
} disk;

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at);
ssize_t pwrite64(int fd, const void* data, size_t bytes, off_t at);
ssize_t writev(int fd, const struct iovec* part, int n);
int fdatasync(int fd);

static bool is_data_file(int fd) {
    char link[64], target[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    return n > 8 && memcmp(target + n - 8, "data.mdb", 8) == 0;
}

static void reach_disk(off_t at, const void* bytes, size_t size) {
    size_t end = (size_t)at + size;
    if (end > disk.durable_bytes) {
        disk.durable = realloc(disk.durable, end);
        memset(disk.durable + disk.durable_bytes, 0, end - disk.durable_bytes);
        disk.durable_bytes = end;
    }
    memcpy(disk.durable + at, bytes, size);
}

static void remember(int fd, off_t at, const uint8_t* bytes, size_t size) {
    if (fcntl(fd, F_GETFL) & O_DSYNC) {
        reach_disk(at, bytes, size);
        return;
    }
    for (size_t done = 0; done < size;) {
        size_t part = PAGE - (size_t)(at + (off_t)done) % PAGE;
        part = part < size - done ? part : size - done;
        if (disk.n_pages == disk.capacity) {
            disk.capacity = disk.capacity > 0 ? 2 * disk.capacity : 256;
            disk.page = realloc(disk.page, disk.capacity * sizeof *disk.page);
        }
        // a page is written whole or not at all: begin with what the file holds there
        unsynced_page* p = &disk.page[disk.n_pages++];
        p->at = (at + (off_t)done) / PAGE * PAGE;
        memset(p->bytes, 0, PAGE);
        syscall(SYS_pread64, fd, p->bytes, PAGE, p->at);
        memcpy(p->bytes + (at + (off_t)done - p->at), bytes + done, part);
        done += part;
    }
}

static bool beyond_limit(int fd, off_t at, size_t bytes) {
    return disk.limit > 0 && at + (off_t)bytes > disk.limit && is_data_file(fd);
}

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
    if (beyond_limit(fd, at, bytes)) {
        errno = ENOSPC;
        return -1;
    }
    if (disk.recording && is_data_file(fd)) {
        remember(fd, at, data, bytes);
    }
    return syscall(SYS_pwrite64, fd, data, bytes, at);
}

ssize_t pwrite64(int fd, const void* data, size_t bytes, off_t at) {
    return pwrite(fd, data, bytes, at);
}

ssize_t writev(int fd, const struct iovec* part, int n) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    size_t bytes = 0;
    for (int i = 0; i < n; i++) {
        bytes += part[i].iov_len;
    }
    if (beyond_limit(fd, at, bytes)) {
        errno = ENOSPC;
        return -1;
    }
    for (int i = 0; disk.recording && i < n && is_data_file(fd); i++) {
        remember(fd, at, part[i].iov_base, part[i].iov_len);
        at += (off_t)part[i].iov_len;
    }
    return syscall(SYS_writev, fd, part, n);
}

int fdatasync(int fd) {
    disk.syncs += is_data_file(fd);
    if (disk.recording && is_data_file(fd)) {
        for (size_t i = 0; i < disk.n_pages; i++) {
            reach_disk(disk.page[i].at, disk.page[i].bytes, PAGE);
        }
        disk.n_pages = 0;
    }
    return 0;  // the kernel's own sync would only cost time here
}

// The state of the disk after a power failure: of the pages that were not synced, each may have got
// there or not.
static void lose_power(hwm_rng* rng) {
    for (size_t i = 0; i < disk.n_pages; i++) {
        if (hwm_rng_below(rng, 2) == 0) {
            reach_disk(disk.page[i].at, disk.page[i].bytes, PAGE);
        }
    }
    disk.n_pages = 0;
    disk.recording = false;
    int fd = open(disk.path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(syscall(SYS_pwrite64, fd, disk.durable, disk.durable_bytes, 0),
                     disk.durable_bytes);
    close(fd);
}

// ---- power failure

static hwm_replay* open_replay(const hwm_replay_config* config) {
    hwm_replay* replay;
    hwm_error err = {0};
    if (hwm_replay_open(&replay, config, &err) != HWM_OK) {
        fail_msg("does not open: %s", err.text);
    }
    return replay;
}

static int64_t stored_steps(hwm_replay* replay) {
    char* json = hwm_replay_stats_json(replay);
    int64_t steps = atoll(strstr(json, "\"steps\":") + 8);
    free(json);
    return steps;
}

// All stored rows must be whole and without a hole; returns the step after the newest of stream 0.
static uint64_t examine(hwm_replay* replay) {
    int64_t steps = stored_steps(replay);
    if (steps == 0) {
        return 0;
    }
    hwm_sample_request r = {.batch = (int)steps, .length = 1, .selector = HWM_SELECT_OLDEST};
    hwm_status status;
    hwm_signature g = fixture_signature();
    hwm_batch* b = fixture_sample(replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &g);
    for (int i = 1; i < b->batch; i++) {
        assert_int_equal(b->step[i], b->step[i - 1] + 1);
    }
    uint64_t next = b->step[b->batch - 1] + 1;
    hwm_replay_batch_free(replay, &b);
    return next;
}

static void fail_power(hwm_durability durability, int rounds) {
    hwm_rng rng;
    hwm_rng_init(&rng, 21, HWM_PURPOSE_TEST, durability, 0, 0);
    int lost = 0;
    for (int round = 0; round < rounds; round++) {
        scratch_dir dir = scratch_make();
        hwm_replay_config config = fixture_config(dir.path);
        config.durability = durability;
        hwm_table_config t = fixture_table(round % 2 ? 100 : 100000);
        hwm_replay* replay;
        int table;
        disk = (struct disk){.recording = true,
                             .durable = disk.durable,
                             .page = disk.page,
                             .capacity = disk.capacity};
        snprintf(disk.path, sizeof disk.path, "%s/data.mdb", dir.path);
        replay = open_replay(&config);
        assert_int_equal(hwm_replay_table_create(replay, &t, &table, NULL), HWM_OK);
        // the table itself is not what is lost here: one more commit makes it durable
        writer_state w = writer_begin(0, 0);
        uint64_t before_last = 0;
        int chunks = 2 + (int)hwm_rng_below(&rng, 30);
        for (int i = 0; i < chunks; i++) {
            before_last = w.step;
            assert_int_equal(fixture_append(replay, table, &w, 1 + hwm_rng_below(&rng, 8), 0),
                             HWM_OK);
        }
        // power fails before the process ends: what it writes while closing never happened
        size_t n_pages = disk.n_pages;
        uint8_t* durable = malloc(disk.durable_bytes);
        size_t durable_bytes = disk.durable_bytes;
        memcpy(durable, disk.durable, durable_bytes);
        unsynced_page* page = malloc((n_pages + 1) * sizeof *page);
        memcpy(page, disk.page, n_pages * sizeof *page);
        disk.recording = false;
        hwm_replay_close(&replay);
        free(disk.durable);
        disk.durable = durable;
        disk.durable_bytes = durable_bytes;
        free(disk.page);
        disk.page = page;
        disk.n_pages = n_pages;
        disk.capacity = n_pages + 1;
        lose_power(&rng);

        replay = open_replay(&config);
        uint64_t next = examine(replay);
        if (durability == HWM_DURABLE_FULL) {
            assert_int_equal(next, w.step);
        } else {
            assert_true(next >= before_last);  // each chunk was a group of its own here
            lost += next < w.step;
        }
        // and it goes on: where a group was lost, the worker's next chunk leaves a gap
        assert_int_equal(fixture_append(replay, 0, &w, 5, HWM_FLAG_LAST), HWM_OK);
        hwm_replay_close(&replay);
        scratch_remove(&dir);
    }
    assert_true(durability == HWM_DURABLE_FULL || lost > 0);  // or the test would not test anything
}

static void test_full_durability_loses_nothing_to_a_power_failure(void** state) {
    (void)state;
    fail_power(HWM_DURABLE_FULL, 12);
}

static void test_group_durability_loses_at_most_the_last_group(void** state) {
    (void)state;
    fail_power(HWM_DURABLE_GROUP, 24);
}

// Safe against the death of processes only: no commit waits for the disk, and the server says at
// its start what that means.
static void test_process_durability_never_syncs_and_says_so(void** state) {
    (void)state;
    for (int durability = HWM_DURABLE_FULL; durability <= HWM_DURABLE_PROCESS; durability++) {
        scratch_dir dir = scratch_make();
        hwm_replay_config config = fixture_config(dir.path);
        config.durability = durability;
        hwm_table_config t = fixture_table(1000);
        int table, log = dup(STDERR_FILENO);
        FILE* said = tmpfile();
        hwm_log_setup("test", HWM_LOG_WARN, HWM_LOG_TEXT);
        fflush(stderr);
        dup2(fileno(said), STDERR_FILENO);
        hwm_replay* replay = open_replay(&config);
        fflush(stderr);
        dup2(log, STDERR_FILENO);
        close(log);
        hwm_log_setup("test", HWM_LOG_ERROR + 1, HWM_LOG_TEXT);
        char text[2048];
        rewind(said);
        text[fread(text, 1, sizeof text - 1, said)] = '\0';
        fclose(said);
        assert_int_equal(strstr(text, "not a power failure") != NULL,
                         durability == HWM_DURABLE_PROCESS);
        assert_int_equal(hwm_replay_table_create(replay, &t, &table, NULL), HWM_OK);
        writer_state w = writer_begin(0, 0);
        disk = (struct disk){.durable = disk.durable, .page = disk.page, .capacity = disk.capacity};
        for (int i = 0; i < 20; i++) {
            assert_int_equal(fixture_append(replay, table, &w, 5, 0), HWM_OK);
        }
        assert_true(durability == HWM_DURABLE_PROCESS ? disk.syncs == 0 : disk.syncs >= 20);
        hwm_replay_close(&replay);
        scratch_remove(&dir);
    }
}

// ---- full disk

typedef struct small_disk {
    scratch_dir outer;
    char dir[160], image[160];
    bool mounted;
} small_disk;

static small_disk small_make(void) {
    small_disk d = {.outer = scratch_make()};
    char command[1024];
    snprintf(d.dir, sizeof d.dir, "%s/fs", d.outer.path);
    snprintf(d.image, sizeof d.image, "%s/image", d.outer.path);
    assert_int_equal(mkdir(d.dir, 0755), 0);
    snprintf(command, sizeof command,
             "truncate -s 12M %s && /sbin/mkfs.ext4 -q -F -m 0 -O ^has_journal %s && mount -o loop "
             "%s %s",
             d.image, d.image, d.image, d.dir);
    char quiet[1100];
    snprintf(quiet, sizeof quiet, "(%s) >/dev/null 2>&1", command);
    d.mounted = geteuid() == 0 && system(quiet) == 0;
    return d;
}

// A file that takes the room, so that giving it back is a moment.
static void ballast(const small_disk* d, bool there) {
    char path[192];
    snprintf(path, sizeof path, "%s/ballast", d->dir);
    if (!d->mounted) {
        disk.limit = there ? 3 << 20 : 0;
    } else if (there) {
        int fd = open(path, O_WRONLY | O_CREAT, 0644);
        static const uint8_t block[1 << 16];
        for (int i = 0; i < 96; i++) {
            assert_int_equal(write(fd, block, sizeof block), sizeof block);
        }
        fsync(fd);
        close(fd);
    } else {
        unlink(path);
    }
}

static void small_remove(small_disk* d) {
    if (d->mounted) {
        umount(d->dir);
        rmdir(d->dir);
    } else {
        scratch_dir inner;
        snprintf(inner.path, sizeof inner.path, "%.120s", d->dir);
        scratch_remove(&inner);
    }
    unlink(d->image);
    scratch_remove(&d->outer);
}

static void test_full_disk_refuses_inserts_and_recovers(void** state) {
    (void)state;
    disk.recording = false;
    disk.limit = 0;
    small_disk d = small_make();
    ballast(&d, true);
    hwm_replay_config config = fixture_config(d.dir);
    config.durability = HWM_DURABLE_GROUP;
    hwm_table_config t = fixture_table(1000000);
    int table;
    hwm_replay* replay = open_replay(&config);
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, NULL), HWM_OK);
    static uint8_t bytes[CHUNK_BYTES_MAX];
    writer_state w = writer_begin(0, 0);
    hwm_chunk chunk;
    size_t size = 0;
    hwm_completion c = {0};
    int stored = 0;
    while (c.status == HWM_OK && stored < 2000) {
        size = writer_chunk(&w, 1000, 0, bytes, &chunk);
        assert_int_equal(hwm_replay_append(replay, table, &chunk, bytes, size, 1), HWM_OK);
        c = fixture_wait(replay);
        stored += c.status == HWM_OK;
    }
    assert_int_equal(c.status, HWM_EFULL);
    assert_non_null(strstr(c.text, "full"));
    assert_true(stored > 10);
    // nothing of it is stored, what is stored is read, and a later chunk does not overtake the
    // refused one
    assert_int_equal(stored_steps(replay), stored * 1000);
    hwm_sample_request r = {.batch = 64, .length = 50};
    hwm_status status;
    hwm_signature g = fixture_signature();
    hwm_batch* b = fixture_sample(replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    fixture_check(b, &g);
    hwm_replay_batch_free(replay, &b);
    static uint8_t later_bytes[CHUNK_BYTES_MAX];
    hwm_chunk later;
    size_t later_size = writer_chunk(&w, 2, 0, later_bytes, &later);
    assert_int_equal(hwm_replay_append(replay, table, &later, later_bytes, later_size, 2), HWM_OK);
    c = fixture_wait(replay);
    assert_true(c.status == HWM_EAGAIN || c.status == HWM_EFULL);

    // space returns: the same chunks are sent again and fit
    ballast(&d, false);
    assert_int_equal(hwm_replay_append(replay, table, &chunk, bytes, size, 3), HWM_OK);
    assert_int_equal(fixture_wait(replay).status, HWM_OK);
    assert_int_equal(hwm_replay_append(replay, table, &later, later_bytes, later_size, 4), HWM_OK);
    assert_int_equal(fixture_wait(replay).status, HWM_OK);
    hwm_replay_close(&replay);
    replay = open_replay(&config);
    assert_int_equal(stored_steps(replay), stored * 1000 + 1002);
    r = (hwm_sample_request){.batch = 1, .length = 1, .selector = HWM_SELECT_NEWEST};
    b = fixture_sample(replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    assert_int_equal(b->step[0], stored * 1000 + 1001);
    hwm_replay_batch_free(replay, &b);
    hwm_replay_close(&replay);
    small_remove(&d);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR + 1, HWM_LOG_TEXT);  // refusals are expected here
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_durability_loses_nothing_to_a_power_failure),
        cmocka_unit_test(test_group_durability_loses_at_most_the_last_group),
        cmocka_unit_test(test_process_durability_never_syncs_and_says_so),
        cmocka_unit_test(test_full_disk_refuses_inserts_and_recovers),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    free(disk.durable);
    free(disk.page);
    return failures;
}
