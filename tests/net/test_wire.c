// Envelopes: every message comes back as it went in; whatever is cut, flipped or invented is
// refused or well-formed, never read beyond its bytes; and a server that is fed a flood of it goes
// on serving.
#include "fixture.h"

#include "net/keys.h"
#include "net/link.h"
#include "net/wire.h"

static hwm_wire* wire;

static int make_wire(void** state) {
    (void)state;
    return hwm_wire_create(&wire) == HWM_OK ? 0 : -1;
}

static int free_wire(void** state) {
    (void)state;
    hwm_wire_destroy(&wire);
    return 0;
}

// One of every request, with values that can be told apart.
static const uint8_t client_id[HWM_CLIENT_ID_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
                                                       9, 10, 11, 12, 13, 14, 15, 16};
static hwm_table_config table;
static hwm_tensor_spec tensors[2];
static const float variant[3] = {0.5f, -1.0f, 2.0f};

static bool sample_request(hwm_request_kind kind, hwm_request* r) {
    memset(r, 0, sizeof *r);
    r->id = 77;
    r->kind = kind;
    switch (kind) {
    case HWM_REQUEST_HELLO:
        r->hello = (hwm_wire_hello){
            {client_id, sizeof client_id}, HWM_ROLE_LEARNER, "t", 4, true, "host", 9, "0.1"};
        return true;
    case HWM_REQUEST_HEARTBEAT:
        r->heartbeat = (hwm_wire_heartbeat){5, 6, 7.5};
        return true;
    case HWM_REQUEST_TABLE_CREATE:
        table = fixture_table();
        table.limiter = (hwm_limiter_config){2.5, 100, 200, 300};
        r->table_create = &table;
        return true;
    case HWM_REQUEST_TABLE_CLOSE:
        r->append.table = "t";
        return true;
    case HWM_REQUEST_SAMPLE:
        r->sample.table = "t";
        r->sample.request = (hwm_sample_request){.batch = 3,
                                                 .length = 4,
                                                 .context = 5,
                                                 .context_window = 6,
                                                 .materialise = true,
                                                 .selector = HWM_SELECT_NEWEST,
                                                 .fraction_terminal = 0.25,
                                                 .terminal_back_min = 7,
                                                 .terminal_back_max = 8,
                                                 .fraction_first = 0.125,
                                                 .fraction_recent = 0.5,
                                                 .recent_steps = 1000,
                                                 .priority_exponent = 0.75,
                                                 .uncounted = true,
                                                 .cross_episodes = true,
                                                 .draw = UINT64_MAX,
                                                 .columns = 5};
        return true;
    case HWM_REQUEST_PRIORITIES: {
        static const uint32_t four[2] = {1, 2};
        static const uint64_t eight[2] = {3, 4};
        static const double priority[2] = {0.5, 2.0};
        r->priorities =
            (hwm_wire_priorities){"t", {four, 8}, {four, 8}, {eight, 16}, {priority, 16}};
        return true;
    }
    case HWM_REQUEST_EPISODE:
        r->episode = (hwm_wire_episode){1, 2, -3.5, 4, 3, variant, 5};
        return true;
    case HWM_REQUEST_PUBLISH:
        tensors[0] = hwm_spec("a", HWM_F32, 2, 3, 4);
        tensors[1] = hwm_spec("b", HWM_F32, 0);
        r->publish = (hwm_wire_publish){"set", 9, HWM_BLOCK_ACTING, 2,         tensors,
                                        52,    4, {variant, 12},    0xdeadbeef};
        return true;
    case HWM_REQUEST_FETCH:
        r->fetch = (hwm_wire_fetch){"set", 9, 10, 11};
        return true;
    case HWM_REQUEST_TASK_SUBMIT:
        r->submit = (hwm_wire_submit){"evaluate", {"payload", 7}, 1000, 99};
        return true;
    case HWM_REQUEST_TASK_COMPLETE:
        r->task.id = 5;
        r->task.result = (hwm_bytes){"result", 6};
        return true;
    case HWM_REQUEST_TASK_RESULT:
        r->task.id = 6;
        return true;
    case HWM_REQUEST_BARRIER:
        r->barrier = (hwm_wire_barrier){12, 3};
        return true;
    case HWM_REQUEST_LIST_PARAMS:
    case HWM_REQUEST_TASK_LEASE:
    case HWM_REQUEST_SNAPSHOT:
        r->name = "name";
        return true;
    case HWM_REQUEST_STATS:
    case HWM_REQUEST_LIST_TASKS:
    case HWM_REQUEST_SHUTDOWN:
    case HWM_REQUEST_PING:
    case HWM_REQUEST_BYE:
        return true;
    default:
        return false;  // append has a codec of its own
    }
}

// An encoded request of this kind, malloc'd.
static uint8_t* encoded(hwm_request_kind kind, size_t* size) {
    hwm_request r;
    hwm_error err = {0};
    if (kind == HWM_REQUEST_APPEND) {
        const hwm_signature s = fixture_signature();
        fixture_chunk f;
        return hwm_wire_append(77, &s, fixture_fill(&f, (hwm_stream){0, 0}, 2), size);
    }
    if (!sample_request(kind, &r)) {
        return NULL;
    }
    hwm_bytes bytes;
    if (hwm_wire_pack_request(wire, &r, &bytes, &err) != HWM_OK) {
        fail_msg("%s: %s", hwm_request_name(kind), err.text);
    }
    uint8_t* copy = malloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    *size = bytes.size;
    return copy;
}

static void test_wire_requests_come_back(void** state) {
    (void)state;
    int kinds = 0;
    for (int kind = HWM_REQUEST_HELLO; kind < HWM_REQUEST_KIND_END; kind++) {
        size_t size = 0;
        uint8_t* bytes = encoded((hwm_request_kind)kind, &size);
        if (bytes == NULL) {
            continue;
        }
        hwm_request r;
        hwm_error err = {0};
        if (hwm_wire_unpack_request(wire, bytes, size, &r, &err) != HWM_OK) {
            fail_msg("%s: %s", hwm_request_name((hwm_request_kind)kind), err.text);
        }
        assert_int_equal(kind, r.kind);
        assert_int_equal(77, r.id);
        kinds++;
        switch (kind) {
        case HWM_REQUEST_HELLO:
            assert_memory_equal(client_id, r.hello.client.data, sizeof client_id);
            assert_string_equal("host", r.hello.host);
            assert_true(r.hello.subscribe && r.hello.environments == 4 && r.hello.pid == 9);
            break;
        case HWM_REQUEST_TABLE_CREATE:
            assert_int_equal(
                HWM_OK, hwm_signature_compare(&table.signature, &r.table_create->signature, &err));
            assert_true(r.table_create->limiter.samples_per_insert == 2.5);
            assert_int_equal(300, r.table_create->limiter.prefetch_steps);
            assert_string_equal(table.experiment, r.table_create->experiment);
            break;
        case HWM_REQUEST_SAMPLE: {
            hwm_request want;
            sample_request(HWM_REQUEST_SAMPLE, &want);
            const hwm_sample_request *a = &want.sample.request, *b = &r.sample.request;
            assert_true(a->batch == b->batch && a->length == b->length && a->context == b->context);
            assert_true(a->context_window == b->context_window && a->selector == b->selector);
            assert_true(a->fraction_terminal == b->fraction_terminal &&
                        a->fraction_first == b->fraction_first);
            assert_true(a->terminal_back_min == b->terminal_back_min &&
                        a->terminal_back_max == b->terminal_back_max);
            assert_true(a->fraction_recent == b->fraction_recent &&
                        a->recent_steps == b->recent_steps);
            assert_true(a->draw == b->draw && a->columns == b->columns && b->materialise &&
                        b->uncounted && a->cross_episodes == b->cross_episodes);
            break;
        }
        case HWM_REQUEST_EPISODE:
            assert_true(r.episode.episode_return == -3.5 && r.episode.variant_dim == 3);
            assert_memory_equal(variant, r.episode.variant, sizeof variant);
            break;
        case HWM_REQUEST_PUBLISH:
            assert_int_equal(2, r.publish.n_tensors);
            assert_true(hwm_tensor_spec_equal(&tensors[0], &r.publish.tensor[0]));
            assert_true(r.publish.crc == 0xdeadbeef && r.publish.offset == 4 &&
                        r.publish.size == 52);
            assert_memory_equal(variant, r.publish.values.data, 12);
            break;
        case HWM_REQUEST_TASK_SUBMIT:
            assert_memory_equal("payload", r.submit.payload.data, 7);
            assert_true(r.submit.nonce == 99 && r.submit.lease_ms == 1000);
            break;
        default:
            break;
        }
        free(bytes);
    }
    assert_int_equal(22, kinds);
}

static void expect_pack_refusal(const hwm_request* r, const char* words) {
    hwm_bytes bytes;
    hwm_error err = {0};
    assert_int_not_equal(HWM_OK, hwm_wire_pack_request(wire, r, &bytes, &err));
    if (strstr(err.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    }
}

static void test_wire_checks_before_packing(void** state) {
    (void)state;
    hwm_request r;
    sample_request(HWM_REQUEST_SAMPLE, &r);
    r.sample.request.batch = -1;
    expect_pack_refusal(&r, "batch is");
    sample_request(HWM_REQUEST_SAMPLE, &r);
    r.sample.request.fraction_terminal = 1.5;
    expect_pack_refusal(&r, "fraction_terminal is 1.5");
    sample_request(HWM_REQUEST_SAMPLE, &r);
    r.sample.request.terminal_back_min = 9;
    expect_pack_refusal(&r, "terminal_back_min is 9");
    sample_request(HWM_REQUEST_TABLE_CREATE, &r);
    snprintf(table.name, sizeof table.name, "a/b");
    expect_pack_refusal(&r, "byte 1 is 0x2f");
    sample_request(HWM_REQUEST_EPISODE, &r);
    r.episode.episode_return = 0.0 / 0.0;
    expect_pack_refusal(&r, "nan");
    sample_request(HWM_REQUEST_TASK_SUBMIT, &r);
    r.submit.payload.size = HWM_TASK_BYTES_MAX + 1;
    expect_pack_refusal(&r, "payload is 4194305");
    sample_request(HWM_REQUEST_PRIORITIES, &r);
    r.priorities.step.size = 8;
    expect_pack_refusal(&r, "8, 8, 8 and 16 bytes");
    sample_request(HWM_REQUEST_PUBLISH, &r);
    r.publish.size = 8;
    expect_pack_refusal(&r, "offset + part is 16");
}

static void test_wire_names_another_protocol(void** state) {
    (void)state;
    // Request{protocol 3, id 8, ping}
    const uint8_t bytes[] = {0x08, 3, 0x10, 8, 0xf2, 0x01, 0};
    hwm_request r;
    hwm_error err = {0};
    assert_int_equal(HWM_EVERSION, hwm_wire_unpack_request(wire, bytes, sizeof bytes, &r, &err));
    assert_int_equal(8, r.id);  // so that the refusal finds its request
    assert_non_null(strstr(err.text, "protocol 3"));
}

static void test_wire_survives_truncation_and_bit_flips(void** state) {
    (void)state;
    for (int kind = HWM_REQUEST_HELLO; kind < HWM_REQUEST_KIND_END; kind++) {
        size_t size = 0;
        uint8_t* bytes = encoded((hwm_request_kind)kind, &size);
        if (bytes == NULL) {
            continue;
        }
        for (size_t n = 0; n <= size; n++) {
            uint8_t* cut = malloc(n > 0 ? n : 1);
            memcpy(cut, bytes, n);
            hwm_request request;
            hwm_reply reply;
            hwm_error err = {0};
            hwm_status s = hwm_wire_unpack_request(wire, cut, n, &request, &err);
            assert_true(s == HWM_OK || strlen(err.text) > 5);
            s = hwm_wire_unpack_reply(wire, cut, n, &reply, &err);
            assert_true(s == HWM_OK || strlen(err.text) > 5);
            free(cut);
        }
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            hwm_request request;
            hwm_reply reply;
            hwm_error err = {0};
            hwm_status s = hwm_wire_unpack_request(wire, bytes, size, &request, &err);
            assert_true(s == HWM_OK || strlen(err.text) > 5);
            hwm_wire_unpack_reply(wire, bytes, size, &reply, &err);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(bytes);
    }
}

// A repeated field of empty messages asks for far more memory than it has bytes: refused, not
// served.
static void test_wire_bounds_what_a_message_may_ask_for(void** state) {
    (void)state;
    enum { BYTES = 5 << 20 };
    uint8_t* bytes = malloc(BYTES + 64);
    uint8_t* at = bytes;
    const uint8_t envelope[] = {0x08, 1, 0x10, 5, 0x9a, 0x01};  // protocol 1, id 5, publish
    memcpy(at, envelope, sizeof envelope);
    at += sizeof envelope;
    for (size_t n = BYTES; n >= 128; n >>= 7) {
        *at++ = (uint8_t)(n | 0x80);
    }
    *at++ = BYTES >> 21;
    for (int k = 0; k < BYTES / 2; k++) {
        *at++ = 0x22;  // tensor
        *at++ = 0;
    }
    hwm_request r;
    hwm_error err = {0};
    assert_int_not_equal(HWM_OK,
                         hwm_wire_unpack_request(wire, bytes, (size_t)(at - bytes), &r, &err));
    assert_true(strlen(err.text) > 5);
    free(bytes);
}

// The same against the whole server, on a connection that has said hello, so that the requests
// reach their handlers.
static hwm_client* connect_with(const fixture_server* f, hwm_role role, const char* name) {
    hwm_client_config config = fixture_client(f, role);
    config.key_dir = f->config.key_dir;
    config.table = name;
    hwm_client* client = NULL;
    hwm_error err = {0};
    if (hwm_client_create(&client, &config, &err) != HWM_OK) {
        fail_msg("connect: %s", err.text);
    }
    return client;
}

static void flood(fixture_server* f, int frames) {
    fixture_start(f);
    snprintf(f->endpoint, sizeof f->endpoint, "%s", hwm_server_endpoint(f->server));
    hwm_client* learner = connect_with(f, HWM_ROLE_LEARNER, NULL);
    fixture_create_table(learner);

    hwm_link_config config = {.endpoint = f->endpoint,
                              .identity = client_id,
                              .key_dir = f->config.key_dir,
                              .role = HWM_ROLE_OPERATOR};
    hwm_link* link = NULL;
    hwm_error err = {0};
    assert_int_equal(HWM_OK, hwm_link_connect(&link, &config, &err));
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    enum { ROOM = 4096 };
    uint8_t bytes[ROOM];
    uint64_t replies = 0;
    uint8_t* model[HWM_REQUEST_KIND_END] = {0};
    size_t model_bytes[HWM_REQUEST_KIND_END] = {0};
    for (int kind = HWM_REQUEST_HELLO; kind < HWM_REQUEST_KIND_END; kind++) {
        // not those that end the server or write files
        if (kind != HWM_REQUEST_SHUTDOWN && kind != HWM_REQUEST_SNAPSHOT &&
            kind != HWM_REQUEST_BYE) {
            model[kind] = encoded((hwm_request_kind)kind, &model_bytes[kind]);
        }
    }
    // an operator with one environment of the table
    hwm_request hello;
    sample_request(HWM_REQUEST_HELLO, &hello);
    hello.hello.table = "";
    hello.hello.role = HWM_ROLE_OPERATOR;
    hello.hello.environments = 1;
    hwm_bytes packed;
    assert_int_equal(HWM_OK, hwm_wire_pack_request(wire, &hello, &packed, &err));
    uint8_t* good_hello = malloc(packed.size);
    size_t good_bytes = packed.size;
    memcpy(good_hello, packed.data, packed.size);

    for (int n = 0; n < frames; n++) {
        if (n % 100 == 0) {
            hwm_link_send(link, NULL, good_hello, good_bytes);
        }
        int kind;
        do {
            kind = HWM_REQUEST_HELLO +
                   (int)hwm_rng_below(&rng, HWM_REQUEST_KIND_END - HWM_REQUEST_HELLO);
        } while (model[kind] == NULL || model_bytes[kind] > ROOM);
        size_t size = model_bytes[kind];
        memcpy(bytes, model[kind], size);
        fixture_mutate(&rng, bytes, &size, ROOM);
        // a mutation may turn any message into a shutdown or a bye: field 29 or 31
        bool ends = false;
        for (size_t k = 0; k + 1 < size; k++) {
            ends |= (bytes[k] == 0xea || bytes[k] == 0xe2) && (bytes[k + 1] & 0x7f) == 1;
        }
        if (!ends) {
            while (hwm_link_send(link, NULL, bytes, size) == HWM_EAGAIN) {
                hwm_link_wait(link, -1, 10);
                hwm_message m;
                while (hwm_link_receive(link, &m) == HWM_OK) {
                    replies++;
                    hwm_message_close(&m);
                }
            }
        }
        hwm_message m;
        while (n % 64 == 0 && hwm_link_receive(link, &m) == HWM_OK) {
            replies++;
            hwm_message_close(&m);
        }
    }
    // the server still serves everybody else; mutated requests may have closed the first table
    hwm_table_config after = fixture_table();
    snprintf(after.name, sizeof after.name, "after");
    if (hwm_client_table_create(learner, &after, &err) != HWM_OK) {
        fail_msg("table: %s", err.text);
    }
    hwm_client* worker = connect_with(f, HWM_ROLE_WORKER, "after");
    fixture_append(worker, 0, 4);
    assert_true(fixture_wait_acknowledged(worker, 4, 60));
    assert_true(replies > (uint64_t)frames / 20);
    assert_true(fixture_stat(learner, "malformed") > frames / 10);
    hwm_link_close(&link, 0);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
    for (int kind = 0; kind < HWM_REQUEST_KIND_END; kind++) {
        free(model[kind]);
    }
    free(good_hello);
    fixture_stop(f);
    fixture_remove(f);
}

static void test_server_survives_mutated_frames(void** state) {
    (void)state;
    fixture_server f;
    fixture_init(&f);
    flood(&f, fixture_full() ? 1000000 : 50000);
}

// The same from a client with a key, and meanwhile bytes of strangers at the same port: greetings
// of ZMTP that are mutated, too.
static void test_server_survives_mutated_frames_with_keys(void** state) {
    (void)state;
    fixture_server f;
    char keys[96];
    hwm_error err = {0};
    fixture_init(&f);
    snprintf(keys, sizeof keys, "%s/keys", f.dir);
    assert_int_equal(HWM_OK, hwm_keys_init(keys, &err));
    snprintf(f.endpoint, sizeof f.endpoint, "tcp://127.0.0.1:*");
    f.config.key_dir = keys;
    flood(&f, fixture_full() ? 1000000 : 50000);
}

static void test_server_survives_mutated_greetings(void** state) {
    (void)state;
    // ZMTP 3.1, mechanism CURVE, as a client; then the head of a HELLO command
    uint8_t greeting[80] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1, 'C', 'U', 'R', 'V', 'E'};
    memcpy(greeting + 64, "\x04\xc8\x05HELLO\x01\x00", 10);
    fixture_server f;
    char keys[96];
    hwm_error err = {0};
    fixture_init(&f);
    snprintf(keys, sizeof keys, "%s/keys", f.dir);
    assert_int_equal(HWM_OK, hwm_keys_init(keys, &err));
    snprintf(f.endpoint, sizeof f.endpoint, "tcp://127.0.0.1:*");
    f.config.key_dir = keys;
    fixture_start(&f);
    snprintf(f.endpoint, sizeof f.endpoint, "%s", hwm_server_endpoint(f.server));
    uint16_t port = (uint16_t)atoi(strrchr(f.endpoint, ':') + 1);
    fixture_strangers(port, greeting, sizeof greeting, fixture_full() ? 1000000 : 5000);
    hwm_client* viewer = connect_with(&f, HWM_ROLE_VIEWER, NULL);
    assert_true(fixture_stat(viewer, "failed_handshakes") > 0);
    assert_int_equal(0, fixture_stat(viewer, "refused_keys"));
    hwm_client_destroy(&viewer, 0, NULL);
    fixture_stop(&f);
    fixture_remove(&f);
}

int main(void) {
#define WIRED(test) cmocka_unit_test_setup_teardown(test, make_wire, free_wire)
    const struct CMUnitTest tests[] = {
        WIRED(test_wire_requests_come_back),
        WIRED(test_wire_checks_before_packing),
        WIRED(test_wire_names_another_protocol),
        WIRED(test_wire_survives_truncation_and_bit_flips),
        WIRED(test_wire_bounds_what_a_message_may_ask_for),
        WIRED(test_server_survives_mutated_frames),
        WIRED(test_server_survives_mutated_frames_with_keys),
        WIRED(test_server_survives_mutated_greetings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
