// Somebody between a client and its server, who sends every reply on and before it many mutations
// of it: the client drops them, believes them where they are well-formed, ends with a sentence
// where they say so, but never reads beyond a message, and a client behind an honest line works.
// 50,000 mutated replies; HWM_FULL: a million.
#include "fixture.h"

#include <stdatomic.h>

#include "base/log.h"
#include "net/link.h"

enum { COPIES = 50, ROOM = 1 << 16 };

typedef struct middle {
    char endpoint[96];
    hwm_link *front, *back;
    pthread_t thread;
    atomic_bool stop, honest;
    atomic_int mutated;
} middle;

static void pass_on(middle* m, const hwm_peer* to, const hwm_message* reply, hwm_rng* rng) {
    static uint8_t bytes[ROOM];
    for (int k = 0; k < COPIES && !m->honest && reply->size < ROOM; k++) {
        size_t size = reply->size;
        memcpy(bytes, reply->bytes, size);
        fixture_mutate(rng, bytes, &size, ROOM);
        m->mutated += hwm_link_send(m->front, to, bytes, size) == HWM_OK;
    }
    hwm_link_send(m->front, to, reply->bytes, reply->size);
}

// One client at a time: replies go to whoever asked last.
static void* middle_run(void* argument) {
    middle* m = argument;
    hwm_peer client = {0};
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    while (!m->stop) {
        hwm_message message;
        while (hwm_link_receive(m->front, &message) == HWM_OK) {
            client = message.from;
            hwm_link_send(m->back, NULL, message.bytes, message.size);
            hwm_message_close(&message);
        }
        while (hwm_link_receive(m->back, &message) == HWM_OK) {
            pass_on(m, &client, &message, &rng);
            hwm_message_close(&message);
        }
        hwm_link_wait(m->front, -1, 1);
    }
    return NULL;
}

static void middle_start(middle* m, const fixture_server* f) {
    static const uint8_t name[16] = {7};
    hwm_error err = {0};
    *m = (middle){.front = NULL};
    snprintf(m->endpoint, sizeof m->endpoint, "ipc://%s/middle", f->dir);
    hwm_link_config front = {.endpoint = m->endpoint};
    hwm_link_config back = {.endpoint = f->endpoint, .identity = name};
    assert_int_equal(HWM_OK, hwm_link_bind(&m->front, &front, &err));
    assert_int_equal(HWM_OK, hwm_link_connect(&m->back, &back, &err));
    assert_int_equal(0, pthread_create(&m->thread, NULL, middle_run, m));
}

static void middle_stop(middle* m) {
    m->stop = true;
    pthread_join(m->thread, NULL);
    hwm_link_close(&m->front, 0);
    hwm_link_close(&m->back, 0);
}

// One of everything that is answered; what the answers say does not matter. Returns whether a batch
// came.
static bool use(hwm_client* client, uint64_t round) {
    hwm_error err = {0};
    hwm_param_list list;
    hwm_param_list_init(&list);
    hwm_param_list_add(&list, hwm_spec("a", HWM_F32, 1, 64));
    float values[64] = {0};
    uint64_t id = 0, got;
    hwm_sample_request r = {.batch = 4,
                            .length = 6,
                            .context = (int)(round % 3),
                            .materialise = round % 2 == 0,
                            .draw = round};
    const hwm_batch* batch = NULL;
    bool sampled = false;
    if (hwm_client_sample_begin(client, &r, &id, &err) == HWM_OK) {
        sampled = hwm_client_sample_wait(client, id, 300, &batch, &err) == HWM_OK;
        hwm_client_sample_end(client, id);
    }
    char* json = NULL;
    hwm_client_stats(client, &json, &err);
    free(json);
    hwm_client_publish(client, "controller", round + 1, HWM_BLOCK_RULE, &list, values, &err);
    hwm_client_fetch(client, "controller", 0, &list, values, &got, &err);
    hwm_task task = {0};
    hwm_client_task_submit(client, "evaluate", "x", 1, 1000, &id, &err);
    hwm_client_task_lease(client, "evaluate", &task, &err);
    hwm_client_task_complete(client, task.id, "y", 1, &err);
    hwm_client_task_result(client, id, &task, &err);
    hwm_client_announced(client, "controller");
    hwm_client_ping(client, 300, &err);
    hwm_client_poll(client, 0, NULL);
    return sampled;
}

static void check_batch(hwm_client* client) {
    hwm_sample_request r = {.batch = 8, .length = 6};
    const hwm_batch* b = NULL;
    uint64_t id;
    hwm_error err = {0};
    assert_int_equal(HWM_OK, hwm_client_sample_begin(client, &r, &id, &err));
    if (hwm_client_sample_wait(client, id, 20000, &b, &err) != HWM_OK) {
        fail_msg("sample: %s", err.text);
    }
    for (int i = 0; i < 8; i++) {
        for (uint32_t t = 0; t < 6; t++) {
            const float* reward = b->column[HWM_COLUMN_REWARD];
            assert_true(reward[b->row[i] + t] == (float)(b->step[i] + t));
        }
    }
    hwm_client_sample_end(client, id);
}

static void test_client_survives_mutated_replies(void** state) {
    (void)state;
    const int wanted = fixture_full() ? 1000000 : 50000;
    fixture_server f;
    middle m;
    hwm_error err = {0};
    fixture_init(&f);
    fixture_start(&f);
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 20);
    assert_true(fixture_wait_acknowledged(worker, 20, 20));
    middle_start(&m, &f);

    hwm_client* client = NULL;
    hwm_client_config config = fixture_client(&f, HWM_ROLE_OPERATOR);
    config.endpoint = m.endpoint;
    config.connect_timeout_ms = 500;
    int clients = 0, batches = 0;
    for (uint64_t round = 0; m.mutated < wanted; round++) {
        // a reply may have told it to give up: then the next one comes
        if (client == NULL) {
            clients += hwm_client_create(&client, &config, &err) == HWM_OK;
        }
        if (client != NULL) {
            batches += use(client, round);
        }
        if (client != NULL && (round % 20 == 19 || hwm_client_poll(client, 0, NULL) != HWM_OK)) {
            hwm_client_destroy(&client, 0, NULL);
        }
        if (round % 100 == 0) {
            assert_int_equal(HWM_OK, hwm_client_ping(learner, 20000, &err));
            hwm_client_poll(worker, 0, NULL);
        }
    }
    hwm_client_destroy(&client, 0, NULL);
    print_message("%d mutated replies, %d clients, %d batches\n", (int)m.mutated, clients, batches);
    assert_true(clients > 0 && batches > 0);

    // the line is honest again: a client that never saw the other kind reads what is stored
    m.honest = true;
    config.connect_timeout_ms = 20000;
    config.role = HWM_ROLE_LEARNER;
    config.table = "table";
    if (hwm_client_create(&client, &config, &err) != HWM_OK) {
        fail_msg("connect: %s", err.text);
    }
    check_batch(client);
    hwm_client_destroy(&client, 0, NULL);
    middle_stop(&m);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
    fixture_stop(&f);
    fixture_remove(&f);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR + 1, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_client_survives_mutated_replies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
