// Client and server together over ipc, the real ones: what is appended is acknowledged once and
// sampled back, parameters arrive whole, tasks count once, and a restarted server or a dead client
// costs nothing that was acknowledged.
#include "fixture.h"

static fixture_server f;

static int setup(void** state) {
    (void)state;
    fixture_init(&f);
    fixture_start(&f);
    return 0;
}

static int teardown(void** state) {
    (void)state;
    fixture_stop(&f);
    fixture_remove(&f);
    return 0;
}

static void test_client_worker_waits_for_the_table(void** state) {
    (void)state;
    hwm_client_config config = fixture_client(&f, HWM_ROLE_WORKER);
    config.connect_timeout_ms = 300;
    hwm_client* worker = NULL;
    hwm_error err = {0};
    assert_int_equal(HWM_EAGAIN, hwm_client_create(&worker, &config, &err));
    assert_null(worker);
    assert_non_null(strstr(err.text, "no table exists yet"));

    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    worker = fixture_connect(&f, HWM_ROLE_WORKER);
    assert_string_equal("table", hwm_client_hello(worker)->table);
    assert_string_equal("run: {seed: 7}", hwm_client_hello(worker)->experiment);
    assert_int_equal(7, hwm_client_hello(worker)->seed);
    // a second worker has other environments
    hwm_client* second = fixture_connect(&f, HWM_ROLE_WORKER);
    assert_int_not_equal(hwm_client_hello(worker)->first_env, hwm_client_hello(second)->first_env);
    assert_int_equal(1, hwm_client_hello(second)->rank);
    hwm_client_destroy(&second, 0, NULL);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_client_connect_says_that_nobody_is_there(void** state) {
    (void)state;
    hwm_client_config config = fixture_client(&f, HWM_ROLE_VIEWER);
    config.endpoint = "ipc:///tmp/hwm-test-nobody";
    config.connect_timeout_ms = 300;
    hwm_client* client = NULL;
    hwm_error err = {0};
    assert_int_equal(HWM_ETIMEDOUT, hwm_client_create(&client, &config, &err));
    assert_non_null(strstr(err.text, "no server at ipc:///tmp/hwm-test-nobody"));
    config.endpoint = "tcp://192.0.2.1:4000";
    assert_int_equal(HWM_EDENIED, hwm_client_create(&client, &config, &err));
    assert_non_null(strstr(err.text, "--key-dir"));
}

static void check_rows(const hwm_batch* b) {
    const float* reward = b->column[HWM_COLUMN_REWARD];
    const float* obs = b->column[HWM_COLUMN_OBS];
    const float* act = b->column[HWM_COLUMN_ACT];
    for (int i = 0; i < b->batch; i++) {
        uint32_t start = b->row[i] + b->prefix[i];
        assert_true(reward[start] == (float)b->step[i]);
        for (uint32_t r = b->row[i]; r < b->row[i + 1]; r++) {
            assert_true(reward[r] == reward[b->row[i]] + (float)(r - b->row[i]));
            assert_true(obs[r * OBS + 2] == reward[r] + 3000.0f);
            assert_true(act[r * ACT + 4] == reward[r] - 5000.0f);
        }
        // the key frame is the state before the first row
        if (b->key[0] != NULL) {
            const float* w0 = b->key[0];
            const int64_t* phase = b->key[1];
            assert_true(w0[6 * i] == reward[b->row[i]]);
            assert_true((float)phase[i] == reward[b->row[i]]);
        }
    }
    for (int g = 0; g < b->n_segments; g++) {
        float step = reward[b->segment[g].row];
        assert_string_equal("controller", b->segment[g].param.set);
        assert_int_equal(1 + (uint64_t)step / CHUNK_STEPS / 4, b->segment[g].param.version);
    }
}

static void test_client_samples_what_was_appended(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 100);
    assert_true(fixture_wait_acknowledged(worker, 100, 20));
    assert_int_equal(0, hwm_client_backlog_bytes(worker));
    assert_int_equal(800, fixture_stat(learner, "inserted_steps"));

    // several requests in flight, collected in another order
    uint64_t id[8];
    hwm_error err = {0};
    for (int k = 0; k < 8; k++) {
        hwm_sample_request r = {
            .batch = 32, .length = 10, .materialise = k % 2 == 0, .draw = (uint64_t)k};
        assert_int_equal(HWM_OK, hwm_client_sample_begin(learner, &r, &id[k], &err));
    }
    for (int k = 7; k >= 0; k--) {
        const hwm_batch* batch = NULL;
        if (hwm_client_sample_wait(learner, id[k], 20000, &batch, &err) != HWM_OK) {
            fail_msg("sample: %s", err.text);
        }
        assert_int_equal(32, batch->batch);
        assert_int_equal(10, batch->length);
        assert_int_equal(800, batch->inserted_steps);
        assert_true((batch->key[0] != NULL) == (k % 2 == 0));
        check_rows(batch);
        hwm_client_sample_end(learner, id[k]);
    }
    // only some columns
    hwm_sample_request some = {.batch = 4, .length = 2, .columns = 1u << HWM_COLUMN_REWARD};
    const hwm_batch* batch = NULL;
    assert_int_equal(HWM_OK, hwm_client_sample_begin(learner, &some, &id[0], &err));
    assert_int_equal(HWM_OK, hwm_client_sample_wait(learner, id[0], 20000, &batch, &err));
    assert_non_null(batch->column[HWM_COLUMN_REWARD]);
    assert_null(batch->column[HWM_COLUMN_OBS]);
    hwm_client_sample_end(learner, id[0]);
    // a request that cannot be is named at once
    some.batch = 0;
    assert_int_equal(HWM_EINVAL, hwm_client_sample_begin(learner, &some, &id[0], &err));
    assert_non_null(strstr(err.text, "batch is 0"));
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_client_appends_survive_a_restart_of_the_server(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    const hwm_hello before = *hwm_client_hello(worker);
    fixture_append(worker, 0, 40);
    fixture_stop(&f);
    fixture_append(worker, 40, 60);  // while nobody is there: the backlog keeps them
    assert_true(hwm_client_backlog_bytes(worker) > 0);
    fixture_start(&f);

    bool reborn = false;
    double end = hwm_clock_s() + 20;
    while (!reborn && hwm_clock_s() < end) {
        hwm_client_poll(worker, 20, &reborn);
    }
    assert_true(fixture_wait_acknowledged(worker, 60, 20));
    assert_true(hwm_client_connected(worker));
    if (reborn) {
        assert_true(before.incarnation != hwm_client_hello(worker)->incarnation ||
                    before.first_env != hwm_client_hello(worker)->first_env);
    }
    // each chunk once, whatever was sent twice
    assert_int_equal(480, fixture_stat(learner, "inserted_steps"));
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_client_that_was_silent_comes_back_as_another(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 4);
    assert_true(fixture_wait_acknowledged(worker, 4, 20));
    const hwm_hello before = *hwm_client_hello(worker);

    // the learner lives on; the worker says nothing until it is dead
    double end = hwm_clock_s() + 20;
    while (fixture_stat(learner, "dead_clients") < 1 && hwm_clock_s() < end) {
        hwm_sleep_ms(50);
    }
    assert_int_equal(1, fixture_stat(learner, "dead_clients"));
    bool reborn = false;
    end = hwm_clock_s() + 20;
    while (!reborn && hwm_clock_s() < end) {
        hwm_client_poll(worker, 20, &reborn);
    }
    assert_true(reborn);
    const hwm_hello* after = hwm_client_hello(worker);
    assert_true(after->incarnation != before.incarnation || after->first_env != before.first_env);
    fixture_append(worker, 0, 4);  // the new stream starts again at its beginning
    assert_true(fixture_wait_acknowledged(worker, 8, 20));
    assert_int_equal(64, fixture_stat(learner, "inserted_steps"));
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

// A learner that computed for too long: every request it then has in flight comes back as unknown.
static void test_client_samples_again_after_it_was_silent(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 100);
    assert_true(fixture_wait_acknowledged(worker, 100, 20));
    double end = hwm_clock_s() + 20;
    while (fixture_stat(worker, "dead_clients") < 1 && hwm_clock_s() < end) {
        hwm_sleep_ms(50);
    }
    assert_int_equal(1, fixture_stat(worker, "dead_clients"));
    uint64_t id[8];
    hwm_error err = {0};
    for (int k = 0; k < 8; k++) {
        hwm_sample_request r = {.batch = 32, .length = 10, .draw = (uint64_t)k};
        assert_int_equal(HWM_OK, hwm_client_sample_begin(learner, &r, &id[k], &err));
    }
    for (int k = 0; k < 8; k++) {
        const hwm_batch* batch = NULL;
        if (hwm_client_sample_wait(learner, id[k], 20000, &batch, &err) != HWM_OK) {
            fail_msg("sample: %s", err.text);
        }
        assert_int_equal(32, batch->batch);
        check_rows(batch);
        hwm_client_sample_end(learner, id[k]);
    }
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void make_params(hwm_param_list* list, uint32_t rows, float** values) {
    hwm_param_list_init(list);
    hwm_param_list_add(list, hwm_spec("rule.a", HWM_F32, 2, rows, 100));
    hwm_param_list_add(list, hwm_spec("rule.b", HWM_F32, 1, 7));
    *values = calloc(list->count, sizeof(float));
    assert_non_null(*values);
}

static void test_hub_hands_out_whole_versions_only(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    hwm_param_list list;
    float *values, *got;
    make_params(&list, 9000, &values);  // 3.6 MB: four parts
    make_params(&list, 9000, &got);
    hwm_error err = {0};
    uint64_t version = 0;
    assert_int_equal(HWM_ENOTFOUND,
                     hwm_client_fetch(worker, "controller", 0, &list, got, &version, &err));
    for (uint64_t v = 1; v <= 12; v++) {
        for (size_t k = 0; k < list.count; k++) {
            values[k] = (float)v + (float)k;
        }
        if (hwm_client_publish(learner, "controller", v, HWM_BLOCK_RULE, &list, values, &err) !=
            HWM_OK) {
            fail_msg("publish: %s", err.text);
        }
        // announced without being asked
        double end = hwm_clock_s() + 10;
        while (hwm_client_announced(worker, "controller") < v && hwm_clock_s() < end) {
            hwm_client_poll(worker, 20, NULL);
        }
        assert_int_equal(v, hwm_client_announced(worker, "controller"));
        assert_int_equal(HWM_OK,
                         hwm_client_fetch(worker, "controller", 0, &list, got, &version, &err));
        assert_int_equal(v, version);
        assert_memory_equal(values, got, list.count * sizeof(float));
    }
    // a version must rise, an equal one is the repetition of a request
    assert_int_equal(
        HWM_OK, hwm_client_publish(learner, "controller", 12, HWM_BLOCK_RULE, &list, values, &err));
    assert_int_equal(
        HWM_EEXIST, hwm_client_publish(learner, "controller", 5, HWM_BLOCK_RULE, &list, got, &err));
    assert_non_null(strstr(err.text, "not above the newest, 12"));
    // another shape is refused with the difference named
    hwm_param_list other;
    hwm_param_list_init(&other);
    hwm_param_list_add(&other, hwm_spec("rule.x", HWM_F32, 2, 9000, 100));
    hwm_param_list_add(&other, hwm_spec("rule.b", HWM_F32, 1, 7));
    assert_int_equal(HWM_ESIGNATURE,
                     hwm_client_fetch(worker, "controller", 0, &other, got, &version, &err));
    assert_non_null(strstr(err.text, "rule.x"));

    // versions survive a restart; a late joiner has
    // it with its hello
    fixture_stop(&f);
    fixture_start(&f);
    hwm_client* late = fixture_connect(&f, HWM_ROLE_VIEWER);
    assert_int_equal(12, hwm_client_announced(late, "controller"));
    assert_int_equal(HWM_OK, hwm_client_fetch(late, "controller", 12, &list, got, &version, &err));
    assert_memory_equal(values, got, list.count * sizeof(float));
    // 12 versions of 3.6 MB fit the bytes that are kept; of acting blocks only the newest few are
    assert_int_equal(HWM_OK, hwm_client_fetch(late, "controller", 5, &list, got, &version, &err));
    assert_true(got[0] == 5.0f);
    for (uint64_t v = 1; v <= 6; v++) {
        assert_int_equal(
            HWM_OK, hwm_client_publish(learner, "actor", v, HWM_BLOCK_ACTING, &list, values, &err));
    }
    assert_int_equal(HWM_OK, hwm_client_fetch(late, "actor", 3, &list, got, &version, &err));
    assert_int_equal(HWM_ENOTFOUND, hwm_client_fetch(late, "actor", 2, &list, got, &version, &err));
    free(values);
    free(got);
    hwm_client_destroy(&late, 0, NULL);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

// A thousand versions of which every tenth one acted: what nobody refers to is removed, however old
// the chunks are that stand before it.
static void test_hub_keeps_what_stored_chunks_refer_to(void** state) {
    (void)state;
    enum { VERSIONS = 1000, EVERY = 10, NEWEST_KEPT = 64 };
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    const hwm_signature signature = fixture_signature();
    const hwm_hello* hello = hwm_client_hello(worker);
    hwm_param_list list;
    float *values, *got;
    make_params(&list, 1, &values);
    make_params(&list, 1, &got);
    hwm_error err = {0};
    for (uint64_t v = 1; v <= VERSIONS; v++) {
        values[0] = (float)v;
        assert_int_equal(HWM_OK, hwm_client_publish(learner, "controller", v, HWM_BLOCK_RULE, &list,
                                                    values, &err));
        if (v % EVERY == 0) {
            fixture_chunk chunk;
            fixture_fill(&chunk, (hwm_stream){hello->first_env, hello->incarnation}, v / EVERY - 1);
            chunk.chunk.param.version = v;
            assert_int_equal(HWM_OK, hwm_client_append(worker, &signature, &chunk.chunk, &err));
            assert_true(fixture_wait_acknowledged(worker, v / EVERY, 20));
        }
    }
    char* json = NULL;
    assert_int_equal(HWM_OK, hwm_client_stats(learner, &json, &err));
    long stored = fixture_number(json, "stored");
    free(json);
    assert_true(stored >= VERSIONS / EVERY && stored <= VERSIONS / EVERY + NEWEST_KEPT + 64);
    for (uint64_t v = EVERY; v <= VERSIONS; v += EVERY) {
        uint64_t version = 0;
        assert_int_equal(HWM_OK,
                         hwm_client_fetch(worker, "controller", v, &list, got, &version, &err));
        assert_true(got[0] == (float)v);
    }
    uint64_t version = 0;
    assert_int_equal(HWM_ENOTFOUND,
                     hwm_client_fetch(worker, "controller", 5, &list, got, &version, &err));
    free(values);
    free(got);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

// Tasks live in the server's memory: after a restart the one who submitted is told that its task is
// not known, a result that comes late finds nobody, and a new submission is another task.
static void test_tasks_forgotten_by_a_restart_are_submitted_again(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    hwm_error err = {0};
    uint64_t before = 0, after = 0;
    hwm_task task;
    assert_int_equal(HWM_OK,
                     hwm_client_task_submit(learner, "evaluate", "x", 1, 60000, &before, &err));
    assert_int_equal(HWM_OK, hwm_client_task_lease(worker, "evaluate", &task, &err));
    fixture_stop(&f);
    fixture_start(&f);
    assert_int_equal(HWM_ENOTFOUND, hwm_client_task_result(learner, before, &task, &err));
    assert_non_null(strstr(err.text, "submit it again"));
    assert_int_equal(HWM_ENOTFOUND, hwm_client_task_complete(worker, before, "r", 1, &err));
    assert_int_equal(HWM_OK,
                     hwm_client_task_submit(learner, "evaluate", "x", 1, 60000, &after, &err));
    assert_true(after > before);
    assert_int_equal(HWM_OK, hwm_client_task_lease(worker, "evaluate", &task, &err));
    assert_int_equal(HWM_OK, hwm_client_task_complete(worker, task.id, "r", 1, &err));
    assert_int_equal(HWM_OK, hwm_client_task_result(learner, after, &task, &err));
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_tasks_are_leased_again_and_count_once(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* first = fixture_connect(&f, HWM_ROLE_WORKER);
    hwm_client* second = fixture_connect(&f, HWM_ROLE_WORKER);
    hwm_error err = {0};
    uint64_t id = 0;
    hwm_task task;
    assert_int_equal(HWM_EAGAIN, hwm_client_task_lease(first, "evaluate", &task, &err));
    assert_int_equal(HWM_OK,
                     hwm_client_task_submit(learner, "evaluate", "payload", 7, 60000, &id, &err));
    assert_int_equal(HWM_EAGAIN, hwm_client_task_result(learner, id, &task, &err));
    // several in a row are several tasks
    uint64_t others[5];
    for (int k = 0; k < 5; k++) {
        assert_int_equal(HWM_OK, hwm_client_task_submit(learner, "other", "payload", 7, 60000,
                                                        &others[k], &err));
        assert_true(others[k] > (k ? others[k - 1] : id));
    }
    assert_int_equal(HWM_EAGAIN, hwm_client_task_lease(first, "fitness", &task, &err));
    assert_int_equal(HWM_OK, hwm_client_task_lease(first, "evaluate", &task, &err));
    assert_int_equal(id, task.id);
    assert_memory_equal("payload", task.payload, 7);
    assert_int_equal(HWM_EAGAIN, hwm_client_task_lease(second, "evaluate", &task, &err));

    // the worker that holds it leaves: the other one gets it, and the first result is the one that
    // counts
    hwm_client_destroy(&first, 0, NULL);
    hwm_status s;
    double end = hwm_clock_s() + 20;
    while ((s = hwm_client_task_lease(second, "", &task, &err)) == HWM_EAGAIN &&
           hwm_clock_s() < end) {
        hwm_client_poll(second, 20, NULL);
    }
    assert_int_equal(HWM_OK, s);
    assert_int_equal(id, task.id);
    assert_int_equal(HWM_OK, hwm_client_task_complete(second, id, "one", 3, &err));
    assert_int_equal(HWM_EDUPLICATE, hwm_client_task_complete(second, id, "two", 3, &err));
    assert_int_equal(HWM_OK, hwm_client_task_result(learner, id, &task, &err));
    assert_int_equal(3, task.result_bytes);
    assert_memory_equal("one", task.result, 3);
    assert_int_equal(HWM_ENOTFOUND, hwm_client_task_result(learner, id + 99, &task, &err));

    // a deadline: leased, forgotten, leased again, until it has failed
    assert_int_equal(HWM_OK, hwm_client_task_submit(learner, "slow", "x", 1, 1, &id, &err));
    int leases = 0;
    end = hwm_clock_s() + 20;
    while ((s = hwm_client_task_result(learner, id, &task, &err)) == HWM_EAGAIN &&
           hwm_clock_s() < end) {
        hwm_task leased;
        leases += hwm_client_task_lease(second, "slow", &leased, &err) == HWM_OK;
        hwm_client_poll(second, 20, NULL);
    }
    assert_int_equal(HWM_ETIMEDOUT, s);
    assert_int_equal(5, leases);
    hwm_client_destroy(&second, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_roles_bound_what_a_client_may_do(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* viewer = fixture_connect(&f, HWM_ROLE_VIEWER);
    const hwm_signature signature = fixture_signature();
    hwm_error err = {0};
    fixture_chunk chunk;
    fixture_fill(&chunk, (hwm_stream){0, 0}, 0);
    assert_int_equal(HWM_OK, hwm_client_append(viewer, &signature, &chunk.chunk, &err));
    double end = hwm_clock_s() + 20;
    hwm_status s = HWM_OK;
    while (s == HWM_OK && hwm_clock_s() < end) {
        hwm_client_poll(viewer, 20, NULL);
        s = hwm_client_append(viewer, &signature, &chunk.chunk, &err);
    }
    assert_int_equal(HWM_EDENIED, s);
    assert_non_null(strstr(err.text, "a viewer may not append"));
    assert_int_equal(HWM_EDENIED, hwm_client_shutdown(viewer, &err));
    assert_int_equal(0, fixture_stat(viewer, "inserted_steps"));
    assert_int_equal(HWM_OK, hwm_client_ping(viewer, 5000, &err));
    hwm_client_destroy(&viewer, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

// A start with a thousand times the priority of all others together is what nearly every draw
// finds.
static void test_client_priorities_steer_the_sampler(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 20);
    assert_true(fixture_wait_acknowledged(worker, 20, 20));
    hwm_stream stream = {hwm_client_hello(worker)->first_env,
                         hwm_client_hello(worker)->incarnation};
    uint64_t step = 42;
    double priority = 1e6;
    hwm_error err = {0};
    if (hwm_client_prioritise(learner, 1, &stream, &step, &priority, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    hwm_sample_request r = {
        .batch = 100, .length = 2, .selector = HWM_SELECT_PRIORITISED, .priority_exponent = 1.0};
    uint64_t id;
    const hwm_batch* batch = NULL;
    assert_int_equal(HWM_OK, hwm_client_sample_begin(learner, &r, &id, &err));
    assert_int_equal(HWM_OK, hwm_client_sample_wait(learner, id, 20000, &batch, &err));
    int hits = 0;
    for (int i = 0; i < batch->batch; i++) {
        hits += batch->step[i] == 42;
    }
    assert_true(hits > 90);
    hwm_client_sample_end(learner, id);
    priority = -1.0;
    assert_int_not_equal(HWM_OK,
                         hwm_client_prioritise(learner, 1, &stream, &step, &priority, &err));
    assert_true(strlen(err.text) > 10);
    assert_int_equal(HWM_EINVAL,
                     hwm_client_prioritise(learner, 0, &stream, &step, &priority, &err));
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void test_snapshot_is_a_store_of_its_own(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 10);
    assert_true(fixture_wait_acknowledged(worker, 10, 20));
    char path[512];
    hwm_error err = {0};
    if (hwm_client_snapshot(learner, "first", path, sizeof path, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(HWM_EINVAL, hwm_client_snapshot(learner, "../x", path, sizeof path, &err));
    fixture_append(worker, 10, 12);
    assert_true(fixture_wait_acknowledged(worker, 12, 20));
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);

    // a server on the copy has what was stored when it was made
    fixture_stop(&f);
    snprintf(f.config.replay.dir, sizeof f.config.replay.dir, "%.200s", path);
    fixture_start(&f);
    hwm_client* viewer = fixture_connect(&f, HWM_ROLE_VIEWER);
    assert_int_equal(80, fixture_stat(viewer, "inserted_steps"));
    hwm_client_destroy(&viewer, 0, NULL);
}

static void test_server_refuses_what_does_not_fit_the_table(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_table_config other = fixture_table();
    other.signature.column[4] = hwm_spec("act", HWM_F32, 1, ACT + 1);
    hwm_error err = {0};
    assert_int_equal(HWM_ESIGNATURE, hwm_client_table_create(learner, &other, &err));
    assert_non_null(strstr(err.text, "act"));

    // a stream of another living worker
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    hwm_client* thief = fixture_connect(&f, HWM_ROLE_WORKER);
    const hwm_signature signature = fixture_signature();
    const hwm_hello* hello = hwm_client_hello(worker);
    fixture_chunk chunk;
    fixture_fill(&chunk, (hwm_stream){hello->first_env, hello->incarnation}, 0);
    hwm_status s = hwm_client_append(thief, &signature, &chunk.chunk, &err);
    double end = hwm_clock_s() + 20;
    while (s == HWM_OK && hwm_clock_s() < end) {
        hwm_client_poll(thief, 20, NULL);
        s = hwm_client_append(thief, &signature, &chunk.chunk, &err);
    }
    assert_int_equal(HWM_EDENIED, s);
    assert_non_null(strstr(err.text, "belongs to client"));
    hwm_client_destroy(&thief, 0, NULL);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

int main(void) {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        SERVED(test_client_worker_waits_for_the_table),
        SERVED(test_client_connect_says_that_nobody_is_there),
        SERVED(test_client_samples_what_was_appended),
        SERVED(test_client_appends_survive_a_restart_of_the_server),
        SERVED(test_client_that_was_silent_comes_back_as_another),
        SERVED(test_client_samples_again_after_it_was_silent),
        SERVED(test_hub_hands_out_whole_versions_only),
        SERVED(test_hub_keeps_what_stored_chunks_refer_to),
        SERVED(test_tasks_are_leased_again_and_count_once),
        SERVED(test_tasks_forgotten_by_a_restart_are_submitted_again),
        SERVED(test_roles_bound_what_a_client_may_do),
        SERVED(test_client_priorities_steer_the_sampler),
        SERVED(test_snapshot_is_a_store_of_its_own),
        SERVED(test_server_refuses_what_does_not_fit_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
