// A client that asks and never reads: what it leaves unread stays below its limit in bytes, it is
// given up, and nobody else notices.
#include "fixture.h"

#include "base/log.h"
#include "net/wire.h"

enum { REPLY_BYTES = 4 << 20, BATCH = 500, LENGTH = 4, REQUESTS = 4000 };

static void put(int fd, const void* bytes, size_t size) {
    assert_int_equal((ssize_t)size, send(fd, bytes, size, MSG_NOSIGNAL));
}

static void get(int fd, void* bytes, size_t size) {
    assert_int_equal((ssize_t)size, recv(fd, bytes, size, MSG_WAITALL));
}

// A DEALER of ZMTP 3.0 by hand, because libzmq would read for it.
static int dealer(uint16_t port) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    static const uint8_t ready[] = "\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06"
                                   "DEALER";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(0, connect(fd, (struct sockaddr*)&a, sizeof a));
    put(fd, greeting, sizeof greeting);
    put(fd, ready, sizeof ready - 1);
    // nothing may follow before the server is ready as well
    uint8_t answer[256];
    get(fd, answer, sizeof greeting);
    get(fd, answer, 2);
    get(fd, answer + 2, answer[1]);
    return fd;
}

static void send_request(int fd, hwm_wire* wire, const hwm_request* request) {
    hwm_bytes bytes;
    hwm_error err = {0};
    assert_int_equal(HWM_OK, hwm_wire_pack_request(wire, request, &bytes, &err));
    assert_true(bytes.size < 256);
    // an empty frame with more to come, then the message
    const uint8_t head[] = {1, 0, 0, (uint8_t)bytes.size};
    put(fd, head, sizeof head);
    put(fd, bytes.data, bytes.size);
}

// Bytes that the only operator has not read; -1: no operator is known.
static long unread_of_operator(hwm_client* client) {
    char* json = NULL;
    hwm_error err = {0};
    if (hwm_client_stats(client, &json, &err) != HWM_OK) {
        fail_msg("stats: %s", err.text);
    }
    const char* at = strstr(json, "\"operators\":[{");
    long bytes = at != NULL ? fixture_number(at, "unread_bytes") : -1;
    free(json);
    return bytes;
}

static void test_client_that_does_not_read_is_given_up(void** state) {
    (void)state;
    fixture_server f;
    fixture_init(&f);
    snprintf(f.endpoint, sizeof f.endpoint, "tcp://127.0.0.1:*");
    f.config.service.reply_bytes = REPLY_BYTES;
    fixture_start(&f);
    snprintf(f.endpoint, sizeof f.endpoint, "%s", hwm_server_endpoint(f.server));
    hwm_client* learner = fixture_connect(&f, HWM_ROLE_LEARNER);
    fixture_create_table(learner);
    hwm_client* worker = fixture_connect(&f, HWM_ROLE_WORKER);
    fixture_append(worker, 0, 100);
    assert_true(fixture_wait_acknowledged(worker, 100, 20));

    hwm_wire* wire;
    assert_int_equal(HWM_OK, hwm_wire_create(&wire));
    int fd = dealer((uint16_t)atoi(strrchr(f.endpoint, ':') + 1));
    hwm_request r = {.id = 1, .kind = HWM_REQUEST_HELLO};
    r.hello = (hwm_wire_hello){.role = HWM_ROLE_OPERATOR, .table = "", .host = "", .version = ""};
    send_request(fd, wire, &r);
    long unread_max = 0, appended = 100;
    for (uint64_t k = 0; k < REQUESTS; k++) {
        r = (hwm_request){.id = 2 + k, .kind = HWM_REQUEST_SAMPLE};
        r.sample.table = "";
        r.sample.request = (hwm_sample_request){.batch = BATCH, .length = LENGTH, .draw = k};
        send_request(fd, wire, &r);
        if (k % 40 == 39) {
            fixture_append(worker, (uint64_t)appended, (uint64_t)appended + 1);
            appended++;
            hwm_client_poll(worker, 1, NULL);
            long unread = unread_of_operator(learner);
            unread_max = unread > unread_max ? unread : unread_max;
        }
    }
    assert_true(fixture_wait_acknowledged(worker, (uint64_t)appended, 20));
    // at least one was dropped for want of room, and the room was used
    assert_true(fixture_stat(learner, "dropped_replies") > 0);
    assert_true(fixture_stat(learner, "dead_clients") > 0);
    print_message("at most %ld bytes unread\n", unread_max);
    assert_true(unread_max > REPLY_BYTES / 2 && unread_max <= REPLY_BYTES);

    // with the connection goes what it left, and the session with it
    close(fd);
    double end = hwm_clock_s() + 10;
    while (unread_of_operator(learner) >= 0 && hwm_clock_s() < end) {
        hwm_client_poll(learner, 50, NULL);
    }
    assert_int_equal(-1, unread_of_operator(learner));
    hwm_wire_destroy(&wire);
    hwm_client_destroy(&worker, 0, NULL);
    hwm_client_destroy(&learner, 0, NULL);
    fixture_stop(&f);
    fixture_remove(&f);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_that_does_not_read_is_given_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
