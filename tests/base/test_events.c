// TensorBoard event files: what cannot be asked of a reader (tests/base/read_events.py reads every
// value back).
#include "test.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/events.h"
#include "scratch.h"

static void test_steps_may_not_go_back_and_tags_are_checked(void** state) {
    hwm_events* e;
    hwm_error err;
    assert_int_equal(hwm_events_create(&e, *state, -1, &err), HWM_OK);
    assert_int_equal(hwm_events_scalar(e, 10, "a", 1), HWM_OK);
    assert_int_equal(hwm_events_scalar(e, 10, "b", 1), HWM_OK);
    assert_int_equal(hwm_events_scalar(e, 9, "a", 1), HWM_EINVAL);
    assert_int_equal(hwm_events_scalar(e, 11, "", 1), HWM_EINVAL);
    char tag[300];
    memset(tag, 't', sizeof tag - 1);
    tag[sizeof tag - 1] = 0;
    assert_int_equal(hwm_events_scalar(e, 11, tag, 1), HWM_EINVAL);
    const float nothing[2] = {NAN, INFINITY};
    assert_int_equal(hwm_events_histogram(e, 11, "h", nothing, 2), HWM_OK);
    hwm_events_destroy(&e);
    assert_null(e);
    hwm_events_destroy(&e);
}

static void test_a_folder_that_is_not_there_is_named(void** state) {
    (void)state;
    hwm_events* e;
    hwm_error err;
    assert_int_equal(hwm_events_create(&e, "/nowhere", -1, &err), HWM_EIO);
    assert_null(e);
    assert_non_null(strstr(err.text, "/nowhere/events.out.tfevents."));
    assert_non_null(strstr(err.text, "No such file or directory"));
}

static off_t only_file_bytes(const char* dir) {
    char path[512];
    scratch_only_file(dir, path, sizeof path);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return s.st_size;
}

// A disk that is full for a while: no half record stays behind, and nothing buffered is lost when
// space returns.
static void test_a_full_disk_loses_nothing(void** state) {
    hwm_events* e;
    hwm_error err;
    assert_int_equal(hwm_events_create(&e, *state, -1, &err), HWM_OK);
    off_t start = only_file_bytes(*state);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = (rlim_t)start + 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(hwm_events_scalar(e, i, "train/return", (float)i), HWM_OK);
    assert_int_equal(hwm_events_flush(e), HWM_EIO);
    assert_int_equal(only_file_bytes(*state), start);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(hwm_events_flush(e), HWM_OK);
    assert_int_equal((only_file_bytes(*state) - start) % 20, 0);
    assert_true(only_file_bytes(*state) > start + 20 * 30);
    hwm_events_destroy(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steps_may_not_go_back_and_tags_are_checked,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test(test_a_folder_that_is_not_there_is_named),
        cmocka_unit_test_setup_teardown(test_a_full_disk_loses_nothing, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
