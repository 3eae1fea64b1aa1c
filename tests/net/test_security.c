// Keys: who comes in, as what, and who is turned away, counted and named. Over tcp loopback with
// CURVE.
#include "fixture.h"

#include <sys/stat.h>

#include "net/keys.h"

static fixture_server f;
static char keys[96];

static int setup(void** state) {
    (void)state;
    hwm_error err = {0};
    fixture_init(&f);
    snprintf(keys, sizeof keys, "%s/keys", f.dir);
    if (hwm_keys_init(keys, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    snprintf(f.endpoint, sizeof f.endpoint, "tcp://127.0.0.1:*");
    f.config.key_dir = keys;
    fixture_start(&f);
    snprintf(f.endpoint, sizeof f.endpoint, "%s", hwm_server_endpoint(f.server));
    return 0;
}

static int teardown(void** state) {
    (void)state;
    fixture_stop(&f);
    fixture_remove(&f);
    return 0;
}

static hwm_status try_connect(hwm_client** client, const char* key_dir, hwm_role role,
                              hwm_error* err) {
    hwm_client_config config = fixture_client(&f, role);
    config.key_dir = key_dir;
    config.connect_timeout_ms = 600;
    return hwm_client_create(client, &config, err);
}

static hwm_client* connect_with_key(hwm_role role) {
    hwm_client* client = NULL;
    hwm_error err = {0};
    hwm_client_config config = fixture_client(&f, role);
    config.key_dir = keys;
    if (hwm_client_create(&client, &config, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    return client;
}

static void test_keys_let_every_role_in(void** state) {
    (void)state;
    hwm_client* learner = connect_with_key(HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = connect_with_key(HWM_ROLE_WORKER);
    fixture_append(worker, 0, 50);
    assert_true(fixture_wait_acknowledged(worker, 50, 20));
    hwm_client* viewer = connect_with_key(HWM_ROLE_VIEWER);
    assert_int_equal(400, fixture_stat(viewer, "inserted_steps"));
    assert_int_equal(0, fixture_stat(viewer, "refused_keys"));
    assert_int_equal(0, fixture_stat(viewer, "failed_handshakes"));
    hwm_client_destroy(&viewer, 0, NULL);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_keys_turn_away_strangers(void** state) {
    (void)state;
    hwm_client* viewer = connect_with_key(HWM_ROLE_VIEWER);
    hwm_client* stranger = NULL;
    hwm_error err = {0};
    // plain text against a server with keys
    assert_int_equal(HWM_ETIMEDOUT, try_connect(&stranger, NULL, HWM_ROLE_OPERATOR, &err));
    assert_null(stranger);
    long failed = fixture_stat(viewer, "failed_handshakes");
    assert_true(failed >= 1);

    // a key of its own making, for the right server
    char other[128], path[256], command[512];
    snprintf(other, sizeof other, "%s/other", f.dir);
    assert_int_equal(HWM_OK, hwm_keys_init(other, &err));
    snprintf(command, sizeof command, "cp %s/server.pub %s/server.pub", keys, other);
    assert_int_equal(0, system(command));
    assert_int_equal(HWM_ETIMEDOUT, try_connect(&stranger, other, HWM_ROLE_OPERATOR, &err));
    assert_non_null(strstr(err.text, "does not know this key"));
    assert_true(fixture_stat(viewer, "refused_keys") >= 1);

    // a good key, but the wrong server's public key
    snprintf(other, sizeof other, "%s/third", f.dir);
    assert_int_equal(HWM_OK, hwm_keys_init(other, &err));
    snprintf(command, sizeof command, "cp %s/operator.key %s/client.key", keys, other);
    assert_int_equal(0, system(command));
    assert_int_equal(HWM_ETIMEDOUT, try_connect(&stranger, other, HWM_ROLE_OPERATOR, &err));
    assert_true(fixture_stat(viewer, "failed_handshakes") > failed);

    // no key at all where one is asked for
    snprintf(path, sizeof path, "%s/nothing", f.dir);
    assert_int_equal(HWM_ENOTFOUND, try_connect(&stranger, path, HWM_ROLE_OPERATOR, &err));
    assert_non_null(strstr(err.text, "nothing/server.pub"));
    hwm_client_destroy(&viewer, 0, NULL);
}

static void test_keys_that_are_revoked_end_at_the_next_request(void** state) {
    (void)state;
    hwm_client* learner = connect_with_key(HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = connect_with_key(HWM_ROLE_WORKER);
    fixture_append(worker, 0, 4);
    assert_true(fixture_wait_acknowledged(worker, 4, 20));

    char path[160];
    snprintf(path, sizeof path, "%s/authorized/worker.pub", keys);
    assert_int_equal(0, unlink(path));
    hwm_error err = {0};
    assert_int_equal(HWM_EDENIED, hwm_client_ping(worker, 5000, &err));
    assert_non_null(strstr(err.text, "not authorised"));
    assert_true(fixture_stat(learner, "revoked_keys") >= 1);
    // what it appends is not taken, and it is told so for good
    hwm_status s = HWM_OK;
    double end = hwm_clock_s() + 20;
    while (s == HWM_OK && hwm_clock_s() < end) {
        s = hwm_client_poll(worker, 20, NULL);
    }
    assert_int_equal(HWM_EDENIED, s);
    assert_int_equal(32, fixture_stat(learner, "inserted_steps"));
    hwm_client* again = NULL;
    assert_int_equal(HWM_ETIMEDOUT, try_connect(&again, keys, HWM_ROLE_WORKER, &err));
    hwm_client_destroy(&worker, 0, NULL);

    // a new key works without a restart
    assert_int_equal(HWM_OK, hwm_keys_add(keys, "client", HWM_ROLE_WORKER, &err));
    hwm_client* fresh = connect_with_key(HWM_ROLE_WORKER);
    assert_true(hwm_client_connected(fresh));
    hwm_client_destroy(&fresh, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_keys_bound_the_role(void** state) {
    (void)state;
    // the viewer's key under another role's name
    char command[512];
    snprintf(command, sizeof command, "cp %s/viewer.key %s/worker.key", keys, keys);
    assert_int_equal(0, system(command));
    hwm_client* client = NULL;
    hwm_error err = {0};
    hwm_client* learner = connect_with_key(HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    assert_int_equal(HWM_EDENIED, try_connect(&client, keys, HWM_ROLE_WORKER, &err));
    assert_non_null(strstr(err.text, "this key is for a viewer, not for a worker"));
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_keys_files_are_checked(void** state) {
    (void)state;
    char path[160], bad[160];
    hwm_error err = {0};
    hwm_key_pair pair;
    struct stat st;
    snprintf(path, sizeof path, "%s/worker.key", keys);
    assert_int_equal(HWM_OK, hwm_keys_load(path, &pair, &err));
    assert_int_equal(HWM_ROLE_WORKER, pair.role);
    assert_int_equal(40, strlen(pair.secret_key));
    assert_int_equal(0, stat(path, &st));
    assert_int_equal(0600, st.st_mode & 0777);
    // made again: nothing changes; a name twice is refused
    hwm_key_pair again;
    assert_int_equal(HWM_OK, hwm_keys_init(keys, &err));
    assert_int_equal(HWM_OK, hwm_keys_load(path, &again, &err));
    assert_string_equal(pair.public_key, again.public_key);
    assert_int_equal(HWM_EEXIST, hwm_keys_add(keys, "worker", HWM_ROLE_WORKER, &err));
    assert_int_equal(HWM_EINVAL, hwm_keys_add(keys, "../x", HWM_ROLE_WORKER, &err));
    snprintf(bad, sizeof bad, "%s/bad.key", keys);
    FILE* file = fopen(bad, "w");
    fprintf(file, "curve\n    public-key = \"short\"\n");
    fclose(file);
    assert_int_equal(HWM_ECORRUPT, hwm_keys_load(bad, &pair, &err));
    assert_non_null(strstr(err.text, "bad.key"));
}

int main(void) {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        SERVED(test_keys_let_every_role_in),
        SERVED(test_keys_turn_away_strangers),
        SERVED(test_keys_that_are_revoked_end_at_the_next_request),
        SERVED(test_keys_bound_the_role),
        SERVED(test_keys_files_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
