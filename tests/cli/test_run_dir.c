// The run directory: one supervisor at a time, sockets with short paths, another experiment is
// refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "deploy/cli/run_dir.h"
#include "scratch.h"

static hwm_run_dir dir, other;
static hwm_error err;

static void test_run_dir_opens_and_cleans_up(void** state) {
    (void)state;
    assert_int_equal(hwm_run_dir_open(&dir, scratch_path("a/b/run"), &err), HWM_OK);
    assert_true(hwm_path_exists(scratch_path("a/b/run/logs")));
    assert_true(hwm_path_exists(scratch_path("a/b/run/endpoint")));
    char endpoint[256];
    assert_int_equal(hwm_endpoint_find(scratch_path("a/b/run"), endpoint, sizeof endpoint, &err),
                     HWM_OK);
    assert_string_equal(endpoint, dir.endpoint);
    hwm_run_dir_close(&dir);
    assert_false(hwm_path_exists(scratch_path("a/b/run/endpoint")));
    assert_int_equal(hwm_endpoint_find(scratch_path("a/b/run"), endpoint, sizeof endpoint, &err),
                     HWM_ENOTFOUND);
}

static void test_run_dir_belongs_to_one_supervisor(void** state) {
    (void)state;
    assert_int_equal(hwm_run_dir_open(&dir, scratch_path("lock"), &err), HWM_OK);
    assert_int_equal(hwm_run_dir_open(&other, scratch_path("lock"), &err), HWM_EDENIED);
    assert_non_null(strstr(err.text, "another `hwm train` is running"));
    // the refused one must not take away what belongs to the first
    hwm_run_dir_close(&other);
    assert_true(hwm_path_exists(scratch_path("lock/endpoint")));
    hwm_run_dir_close(&dir);
    assert_int_equal(hwm_run_dir_open(&other, scratch_path("lock"), &err), HWM_OK);
    hwm_run_dir_close(&other);
}

static void test_run_dir_long_path_gets_a_short_socket(void** state) {
    (void)state;
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(hwm_run_dir_open(&dir, scratch_path(name), &err), HWM_OK);
    assert_true(strlen(dir.endpoint) - strlen("ipc://") <= 107);
    char socket_dir[64];
    snprintf(socket_dir, sizeof socket_dir, "%s", dir.socket_dir);
    assert_true(hwm_path_exists(socket_dir));
    hwm_run_dir_close(&dir);
    assert_false(hwm_path_exists(socket_dir));
}

static void test_run_dir_is_a_file(void** state) {
    (void)state;
    scratch_write("file", "x", "w");
    assert_int_equal(hwm_run_dir_open(&dir, scratch_path("file"), &err), HWM_EIO);
    assert_non_null(strstr(err.text, "not a directory"));
    hwm_run_dir_close(&dir);
}

static void test_run_dir_refuses_another_experiment(void** state) {
    (void)state;
    assert_int_equal(hwm_run_dir_open(&dir, scratch_path("match"), &err), HWM_OK);
    hwm_experiment* e = NULL;
    assert_int_equal(hwm_experiment_load(&e, NULL, "run:\n  name: one\n", NULL, 0, &err), HWM_OK);
    assert_int_equal(hwm_run_dir_match(&dir, e, &err), HWM_OK);
    assert_false(dir.resumes);
    int n = 0;
    hwm_config_section* sections = hwm_experiment_sections(e, &n);
    char* yaml = hwm_config_print(sections, n, HWM_CONFIG_PLAIN);
    scratch_write("match/config.yaml", yaml, "w");
    free(yaml);
    assert_int_equal(hwm_run_dir_match(&dir, e, &err), HWM_OK);
    assert_true(dir.resumes);
    // how long it runs may change
    e->run.max_env_steps += 1000;
    assert_int_equal(hwm_run_dir_match(&dir, e, &err), HWM_OK);
    // what it is may not
    e->train.lr = 0.5;
    assert_int_equal(hwm_run_dir_match(&dir, e, &err), HWM_EEXIST);
    assert_non_null(strstr(err.text, "train.lr is 0.003, here it is 0.5"));
    assert_false(dir.resumes);
    scratch_write("match/config.yaml", "run: [", "w");
    assert_int_equal(hwm_run_dir_match(&dir, e, &err), HWM_ECORRUPT);
    hwm_experiment_destroy(&e);
    hwm_run_dir_close(&dir);
}

static void test_checkpoint_find_says_what_is_missing(void** state) {
    (void)state;
    char checkpoint[HWM_PATH_MAX], config[HWM_PATH_MAX];
    assert_int_equal(hwm_checkpoint_find(scratch_path("nowhere"), checkpoint, config, &err),
                     HWM_ENOTFOUND);
    assert_non_null(strstr(err.text, "no such directory"));
    assert_int_equal(hwm_path_make(scratch_path("run/checkpoints/best"), &err), HWM_OK);
    assert_int_equal(hwm_path_make(scratch_path("run/checkpoints/latest"), &err), HWM_OK);
    assert_int_equal(hwm_checkpoint_find(scratch_path("run"), checkpoint, config, &err),
                     HWM_ENOTFOUND);
    assert_non_null(strstr(err.text, "neither a run directory"));
    scratch_write("run/config.yaml", "", "w");
    assert_int_equal(hwm_checkpoint_find(scratch_path("run"), checkpoint, config, &err),
                     HWM_ENOTFOUND);
    assert_non_null(strstr(err.text, "no checkpoint yet"));
    // latest, unless there is a best
    scratch_write("run/checkpoints/latest/controller.safetensors", "", "w");
    assert_int_equal(hwm_checkpoint_find(scratch_path("run"), checkpoint, config, &err), HWM_OK);
    assert_non_null(strstr(checkpoint, "checkpoints/latest"));
    scratch_write("run/checkpoints/best/controller.safetensors", "", "w");
    assert_int_equal(hwm_checkpoint_find(scratch_path("run"), checkpoint, config, &err), HWM_OK);
    assert_non_null(strstr(checkpoint, "checkpoints/best"));
    // a checkpoint itself finds the configuration of its run
    assert_int_equal(
        hwm_checkpoint_find(scratch_path("run/checkpoints/latest"), checkpoint, config, &err),
        HWM_OK);
    assert_non_null(strstr(checkpoint, "checkpoints/latest"));
    assert_true(hwm_path_exists(config));
}

static void test_endpoint_find(void** state) {
    (void)state;
    char endpoint[256];
    assert_int_equal(hwm_endpoint_find("tcp://127.0.0.1:5555", endpoint, sizeof endpoint, &err),
                     HWM_OK);
    assert_string_equal(endpoint, "tcp://127.0.0.1:5555");
    assert_int_equal(hwm_endpoint_find(NULL, endpoint, sizeof endpoint, &err), HWM_EINVAL);
    assert_int_equal(hwm_endpoint_find("/nonexistent", endpoint, sizeof endpoint, &err),
                     HWM_ENOTFOUND);
}

static void test_experiment_get(void** state) {
    (void)state;
    hwm_experiment* e = NULL;
    assert_int_equal(hwm_experiment_load(&e, NULL, "run:\n  seed: 17\n", NULL, 0, &err), HWM_OK);
    char value[64];
    assert_true(hwm_experiment_get(e, "run.seed", value, sizeof value));
    assert_string_equal(value, "17");
    assert_false(hwm_experiment_get(e, "run.sead", value, sizeof value));
    assert_false(hwm_experiment_get(e, "rune.seed", value, sizeof value));
    hwm_experiment_destroy(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_dir_opens_and_cleans_up),
        cmocka_unit_test(test_run_dir_belongs_to_one_supervisor),
        cmocka_unit_test(test_run_dir_long_path_gets_a_short_socket),
        cmocka_unit_test(test_run_dir_is_a_file),
        cmocka_unit_test(test_run_dir_refuses_another_experiment),
        cmocka_unit_test(test_checkpoint_find_says_what_is_missing),
        cmocka_unit_test(test_endpoint_find),
        cmocka_unit_test(test_experiment_get),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
