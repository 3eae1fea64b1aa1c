// HTTP and the text made of the statistics: every path, what it answers when, and that the numbers
// are the server's.
#include "fixture.h"

#include "net/link.h"
#include "net/wire.h"
#include "server/http.h"
#include "server/report.h"

static fixture_server f;

static int setup(void** state) {
    (void)state;
    fixture_init(&f);
    f.config.http = "0";
    fixture_start(&f);
    return 0;
}

static int teardown(void** state) {
    (void)state;
    fixture_stop(&f);
    fixture_remove(&f);
    return 0;
}

// The whole answer to one request, malloc'd.
static char* ask_at(uint16_t port, const char* request) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(0, connect(fd, (struct sockaddr*)&a, sizeof a));
    assert_int_equal((ssize_t)strlen(request), write(fd, request, strlen(request)));
    size_t size = 0, room = 1 << 20;
    char* text = malloc(room);
    ssize_t n;
    while (size + 1 < room && (n = read(fd, text + size, room - size - 1)) > 0) {
        size += (size_t)n;
    }
    text[size] = '\0';
    close(fd);
    return text;
}

static char* ask(const char* request) {
    return ask_at(hwm_server_http_port(f.server), request);
}

static char* get_at(uint16_t port, const char* path) {
    char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             path);
    return ask_at(port, request);
}

static char* get(const char* path) {
    return get_at(hwm_server_http_port(f.server), path);
}

static void expect(char* answer, const char* words) {
    if (strstr(answer, words) == NULL) {
        fail_msg("\"%.2000s\" does not hold \"%s\"", answer, words);
    }
}

static void test_http_answers_every_path(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 10);
    assert_true(fixture_wait_acknowledged(worker, 10, 20));
    hwm_client_episode(worker, 0, 0, 12.5, 80, NULL, 0, 3);
    hwm_error err = {0};
    assert_int_equal(HWM_OK, hwm_client_ping(worker, 5000, &err));

    char* text = get("/healthz");
    expect(text, "200 OK");
    expect(text, "ok\n");
    free(text);
    double end = hwm_clock_s() + 10;
    text = get("/readyz");
    while (strstr(text, "200 OK") == NULL && hwm_clock_s() < end) {
        free(text);
        hwm_sleep_ms(50);
        text = get("/readyz");
    }
    expect(text, "ready\n");
    free(text);

    text = get("/metrics");
    expect(text, "text/plain; version=0.0.4");
    expect(text, "hwm_replay_inserted_steps_total{table=\"table\"} 80\n");
    expect(text, "# TYPE hwm_replay_inserted_steps_total counter\n");
    expect(text, "hwm_service_connected_clients{role=\"worker\"} 1\n");
    expect(text, "hwm_service_requests_received_total{kind=\"append\"} 10\n");
    expect(text, "hwm_worker_recent_return_number{rank=\"0\",");
    expect(text, "hwm_store_commits_total");  // of the process's own registry
    free(text);

    text = get("/api/stats");
    expect(text, "application/json");
    char* body = strstr(text, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(80, fixture_number(body, "inserted_steps"));
    free(text);

    text = get("/elsewhere");
    expect(text, "404 Not Found");
    free(text);
    text =
        ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    expect(text, "405");
    free(text);
    text = ask("rubbish\r\n\r\n");
    assert_null(strstr(text, "200 OK"));
    free(text);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
}

static void expect_at(uint16_t port, const char* path, const char* status, const char* words) {
    char* text = get_at(port, path);
    expect(text, status);
    expect(text, words);
    free(text);
}

// Without a server behind it: what is said before the first statistics, while it stops, and when
// the router has not come by for too long.
static void test_http_says_what_is_wrong(void** state) {
    (void)state;
    hwm_http* http = NULL;
    hwm_error err = {0};
    assert_int_equal(HWM_OK, hwm_http_start(&http, "0", &err));
    uint16_t port = hwm_http_port(http);
    expect_at(port, "/healthz", "200 OK", "ok\n");
    expect_at(port, "/readyz", "503", "not ready: starting or stopping\n");
    expect_at(port, "/api/stats", "503", "no statistics yet\n");
    expect_at(port, "/metrics", "503", "no statistics yet\n");
    int64_t now = hwm_clock_ns();
    char* json = strdup("{\"version\":\"x\"}");
    assert_true(hwm_http_wants(http, now));
    hwm_http_put(http, &json, true, now);
    assert_null(json);
    assert_false(hwm_http_wants(http, now));  // it has them
    expect_at(port, "/readyz", "200 OK", "ready\n");
    expect_at(port, "/api/stats", "200 OK", "\r\n\r\n{\"version\":\"x\"}");
    hwm_http_put(http, NULL, false, now);
    expect_at(port, "/readyz", "503", "not ready");
    expect_at(port, "/healthz", "200 OK", "ok\n");
    hwm_http_put(http, NULL, true, now);
    hwm_http_wants(http, now - 10000000000);  // 10 s ago, the last time
    expect_at(port, "/healthz", "503", "the service does not answer\n");
    expect_at(port, "/readyz", "503", "not ready");
    hwm_http_stop(&http);
    assert_null(http);
}

static void test_http_survives_mutated_requests(void** state) {
    (void)state;
    static const char request[] =
        "GET /api/stats?x=%41 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nCookie: a=b\r\n\r\nabc";
    fixture_strangers(hwm_server_http_port(f.server), (const uint8_t*)request, sizeof request - 1,
                      fixture_full() ? 1000000 : 5000);
    char* text = get("/healthz");
    expect(text, "200 OK");
    free(text);
    hwm_client* viewer = fixture_connect(&f, HWM_ROLE_VIEWER);
    assert_int_equal(0, fixture_stat(viewer, "refused"));
    hwm_client_destroy(&viewer, 0, NULL);
}

static void test_http_refuses_bad_addresses(void** state) {
    (void)state;
    static const char* const bad[] = {"",           "x",     "70000",     "-1", "localhost:80",
                                      "127.0.0.1:", "[::1]", "1.2.3.4:8o"};
    hwm_error err = {0};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        hwm_http* http = NULL;
        assert_int_equal(HWM_EINVAL, hwm_http_start(&http, bad[k], &err));
        assert_null(http);
        assert_non_null(strstr(err.text, "ADDR:PORT"));
    }
    // a port that is taken
    char taken[32];
    hwm_http* http = NULL;
    snprintf(taken, sizeof taken, "127.0.0.1:%u", hwm_server_http_port(f.server));
    assert_int_equal(HWM_EIO, hwm_http_start(&http, taken, &err));
    assert_int_equal(HWM_OK, hwm_http_start(&http, "[::1]:0", &err));
    assert_true(hwm_http_port(http) > 0);
    hwm_http_stop(&http);
}

// Requests that the C client does not make: lists, and the barrier at which clients wait for each
// other.
static hwm_reply call(hwm_link* link, hwm_wire* wire, hwm_request* request) {
    hwm_bytes bytes;
    hwm_reply reply;
    hwm_error err = {0};
    if (hwm_wire_pack_request(wire, request, &bytes, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(HWM_OK, hwm_link_send(link, NULL, bytes.data, bytes.size));
    double end = hwm_clock_s() + 20;
    for (;;) {
        hwm_message m;
        assert_true(hwm_clock_s() < end);
        hwm_link_wait(link, -1, 100);
        if (hwm_link_receive(link, &m) != HWM_OK) {
            continue;
        }
        hwm_status s = hwm_wire_unpack_reply(wire, m.bytes, m.size, &reply, &err);
        hwm_message_close(&m);
        if (s != HWM_OK) {
            fail_msg("%s", err.text);
        }
        if (reply.id == request->id) {
            return reply;
        }
    }
}

static void test_rpc_lists_and_barrier(void** state) {
    (void)state;
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_param_list list;
    hwm_param_list_init(&list);
    hwm_param_list_add(&list, hwm_spec("a", HWM_F32, 1, 4));
    const float values[4] = {1, 2, 3, 4};
    hwm_error err = {0};
    for (uint64_t v = 1; v <= 3; v++) {
        assert_int_equal(HWM_OK, hwm_client_publish(learner, "controller", v, HWM_BLOCK_RULE, &list,
                                                    values, &err));
    }
    uint64_t id;
    assert_int_equal(HWM_OK, hwm_client_task_submit(learner, "evaluate", "x", 1, 1000, &id, &err));

    hwm_wire* wire = NULL;
    hwm_link* link[2] = {NULL, NULL};
    assert_int_equal(HWM_OK, hwm_wire_create(&wire));
    for (int k = 0; k < 2; k++) {
        const uint8_t name[16] = {(uint8_t)(k + 1)};
        hwm_link_config config = {.endpoint = f.endpoint, .identity = name};
        assert_int_equal(HWM_OK, hwm_link_connect(&link[k], &config, &err));
        hwm_request hello = {.id = 1, .kind = HWM_REQUEST_HELLO};
        hello.hello =
            (hwm_wire_hello){.role = HWM_ROLE_OPERATOR, .table = "", .host = "", .version = ""};
        assert_int_equal(HWM_OK, call(link[k], wire, &hello).status);
    }
    hwm_request r = {.id = 2, .kind = HWM_REQUEST_LIST_PARAMS, .name = "controller"};
    hwm_reply reply = call(link[0], wire, &r);
    assert_int_equal(3, reply.announces.n);
    assert_int_equal(3, reply.announces.row[0].version);  // newest first
    assert_int_equal(16, reply.announces.row[2].size);
    r = (hwm_request){.id = 3, .kind = HWM_REQUEST_LIST_TASKS};
    reply = call(link[0], wire, &r);
    assert_int_equal(1, reply.tasks.n);
    assert_true(reply.tasks.row[0].task == id && reply.tasks.row[0].state == 0);
    assert_string_equal("evaluate", reply.tasks.row[0].type);

    // the first of two waits until the second is there
    r = (hwm_request){.id = 4, .kind = HWM_REQUEST_BARRIER, .barrier = {.round = 5, .parties = 2}};
    hwm_bytes bytes;
    assert_int_equal(HWM_OK, hwm_wire_pack_request(wire, &r, &bytes, &err));
    assert_int_equal(HWM_OK, hwm_link_send(link[0], NULL, bytes.data, bytes.size));
    hwm_message m;
    assert_int_equal(0, hwm_link_wait(link[0], -1, 300));
    reply = call(link[1], wire, &r);
    assert_true(reply.status == HWM_OK && reply.round == 5);
    assert_true(hwm_link_wait(link[0], -1, 20000) & HWM_LINK_MESSAGE);
    assert_int_equal(HWM_OK, hwm_link_receive(link[0], &m));
    assert_int_equal(HWM_OK, hwm_wire_unpack_reply(wire, m.bytes, m.size, &reply, &err));
    assert_true(reply.id == 4 && reply.round == 5);
    hwm_message_close(&m);

    // closing a table, and one that is not there
    assert_int_equal(HWM_OK, hwm_client_table_close(learner, "table", &err));
    assert_int_equal(HWM_ENOTFOUND, hwm_client_table_close(learner, "other", &err));
    hwm_link_close(&link[0], 0);
    hwm_link_close(&link[1], 0);
    hwm_wire_destroy(&wire);
    hwm_client_destroy(&learner, 0, NULL);
}

// Many come, ask once and go without a word: nothing of them stays.
static void test_server_survives_a_storm_of_connections(void** state) {
    (void)state;
    const int storm = fixture_full() ? 10000 : 1000;
    hwm_client* viewer = fixture_connect(&f, HWM_ROLE_VIEWER);
    hwm_wire* wire = NULL;
    hwm_error err = {0};
    assert_int_equal(HWM_OK, hwm_wire_create(&wire));
    for (int k = 0; k < storm; k++) {
        uint8_t name[16] = {0};
        memcpy(name, &k, sizeof k);
        name[15] = 9;
        hwm_link_config config = {.endpoint = f.endpoint, .identity = name};
        hwm_link* link = NULL;
        assert_int_equal(HWM_OK, hwm_link_connect(&link, &config, &err));
        hwm_request r = {.id = 1, .kind = HWM_REQUEST_HELLO};
        r.hello = (hwm_wire_hello){.client = {name, sizeof name},
                                   .role = HWM_ROLE_VIEWER,
                                   .table = "",
                                   .host = "",
                                   .version = ""};
        if (k % 2 == 0) {
            assert_int_equal(HWM_OK, call(link, wire, &r).status);
        } else {
            hwm_bytes bytes;
            assert_int_equal(HWM_OK, hwm_wire_pack_request(wire, &r, &bytes, &err));
            hwm_link_send(link, NULL, bytes.data, bytes.size);  // and is gone
        }
        hwm_link_close(&link, 0);
        if (k % 100 == 0) {
            assert_int_equal(HWM_OK, hwm_client_ping(viewer, 20000, &err));
        }
    }
    assert_true(fixture_stat(viewer, "hellos") > storm / 2);
    // all of them dead and forgotten
    char* json = NULL;
    double end = hwm_clock_s() + 30;
    do {
        free(json);
        hwm_client_poll(viewer, 100, NULL);
        assert_int_equal(HWM_OK, hwm_client_stats(viewer, &json, &err));
    } while (strlen(json) > 4000 && hwm_clock_s() < end);
    assert_true(strlen(json) <= 4000);
    free(json);
    hwm_wire_destroy(&wire);
    hwm_client_destroy(&viewer, 0, NULL);
}

int main(void) {
#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        SERVED(test_http_answers_every_path),
        cmocka_unit_test(test_http_says_what_is_wrong),
        SERVED(test_http_survives_mutated_requests),
        SERVED(test_http_refuses_bad_addresses),
        SERVED(test_rpc_lists_and_barrier),
        SERVED(test_server_survives_a_storm_of_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
