// What remains of the base: checksums, clocks, signals, and assertions that stay on.
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc.h"
#include "base/signals.h"
#include "base/status.h"

static void test_crc32c_gives_the_known_answers(void** state) {
    (void)state;
    unsigned char bytes[32];
    assert_int_equal(hwm_crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof bytes);  // the vectors of RFC 3720, B.4
    assert_int_equal(hwm_crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(hwm_crc32c(0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(hwm_crc32c(0, bytes, 32), 0x46dd794e);
    assert_int_equal(hwm_crc32c(hwm_crc32c(0, bytes, 13), bytes + 13, 19), 0x46dd794e);
    assert_int_equal(hwm_crc32c(7, NULL, 0), 7);
}

static void test_clocks_go_forward(void** state) {
    (void)state;
    int64_t start = hwm_clock_ns();
    double start_s = hwm_clock_s();
    hwm_sleep_ms(20);
    assert_true(hwm_clock_ns() - start >= 20000000);
    assert_true(hwm_clock_s() - start_s >= 0.02);
    assert_true(hwm_clock_wall_ms() > 1600000000000);
    hwm_sleep_ms(-1);
}

static void test_a_signal_asks_for_a_stop_and_wakes_a_sleeper(void** state) {
    (void)state;
    hwm_signals_install();
    assert_false(hwm_signals_stop_requested());
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int64_t start = hwm_clock_ns();
        while (!hwm_signals_stop_requested() && hwm_clock_ns() - start < (int64_t)60e9)
            hwm_sleep_ms(60000);
        raise(SIGPIPE);  // ignored
        raise(SIGINT);   // the second one changes nothing
        _exit(hwm_signals_which() == SIGTERM ? 0 : 1);
    }
    // a signal between the child's check and its sleep would only be seen at the next one: send
    // until it is gone
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        hwm_sleep_ms(20);
        kill(child, SIGTERM);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(hwm_signals_which(), 0);
}

static void test_assertions_stay_on(void** state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        HWM_ASSERT(child != 0);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_gives_the_known_answers),
        cmocka_unit_test(test_clocks_go_forward),
        cmocka_unit_test(test_a_signal_asks_for_a_stop_and_wakes_a_sleeper),
        cmocka_unit_test(test_assertions_stay_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
