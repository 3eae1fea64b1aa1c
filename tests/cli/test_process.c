// Child processes: logs, ends, stopping one that does not want to stop, dying with the supervisor.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "deploy/cli/process.h"
#include "scratch.h"

static hwm_process make(const char* name) {
    hwm_process p;
    memset(&p, 0, sizeof p);
    snprintf(p.name, sizeof p.name, "%s", name);
    snprintf(p.log, sizeof p.log, "%s", scratch_path(name));
    return p;
}

static void start(hwm_process* p, char* script) {
    char* argv[] = {"/bin/sh", "-c", script, NULL};
    hwm_error err = {0};
    assert_int_equal(hwm_process_start(p, argv, &err), HWM_OK);
}

static void wait_end(hwm_process* p) {
    for (int i = 0; i < 500 && !hwm_process_reap(p); i++) {
        hwm_sleep_ms(10);
    }
    assert_int_equal(p->pid, 0);
}

static void test_process_logs_and_reports_its_exit(void** state) {
    (void)state;
    hwm_process p = make("a.log");
    start(&p, "echo one; echo two >&2; echo three; exit 3");
    wait_end(&p);
    char text[256];
    hwm_process_describe(&p, text, sizeof text);
    assert_string_equal(text, "ended with exit status 3");
    assert_true(hwm_process_failed(&p));
    hwm_process_log_tail(&p, 2, text, sizeof text);
    assert_string_equal(text, "two\nthree");
    hwm_process_log_tail(&p, 9, text, sizeof text);
    assert_string_equal(text, "one\ntwo\nthree");
    hwm_process_log_tail(&p, 1, text, 4);
    assert_string_equal(text, "ee");
    // a second start appends
    start(&p, "echo four");
    wait_end(&p);
    assert_false(hwm_process_failed(&p));
    hwm_process_log_tail(&p, 2, text, sizeof text);
    assert_string_equal(text, "three\nfour");
}

static void test_process_names_the_signal(void** state) {
    (void)state;
    hwm_process p = make("b.log");
    start(&p, "kill -9 $$");
    wait_end(&p);
    char text[256];
    hwm_process_describe(&p, text, sizeof text);
    assert_string_equal(text, "was killed by signal 9 (Killed)");
}

static void test_process_stop_is_gentle_first(void** state) {
    (void)state;
    hwm_process p = make("c.log");
    start(&p, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    char text[64] = "";
    for (int i = 0; i < 300 && !strstr(text, "up"); i++) {
        hwm_sleep_ms(10);
        hwm_process_log_tail(&p, 3, text, sizeof text);
    }
    assert_true(hwm_process_stop(&p, 5.0));
    assert_false(hwm_process_failed(&p));
    hwm_process_log_tail(&p, 1, text, sizeof text);
    assert_string_equal(text, "bye");
    // one that does not listen is killed
    hwm_process q = make("d.log");
    start(&q, "trap '' TERM; echo up; while :; do sleep 0.01; done");
    text[0] = '\0';
    for (int i = 0; i < 300 && !strstr(text, "up"); i++) {
        hwm_sleep_ms(10);
        hwm_process_log_tail(&q, 3, text, sizeof text);
    }
    assert_false(hwm_process_stop(&q, 0.1));
    assert_int_equal(q.pid, 0);
    assert_true(WIFSIGNALED(q.exit_status) && WTERMSIG(q.exit_status) == SIGKILL);
}

static void test_process_missing_program_is_a_sentence(void** state) {
    (void)state;
    hwm_process p = make("e.log");
    char* argv[] = {"/nonexistent/hwm-server", NULL};
    hwm_error err = {0};
    assert_int_equal(hwm_process_start(&p, argv, &err), HWM_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nonexistent/hwm-server: No such file"));
    assert_int_equal(p.pid, 0);
}

static void test_process_dies_with_its_supervisor(void** state) {
    (void)state;
    const char* file = scratch_path("grandchild");
    int pipe_end[2];
    assert_int_equal(pipe(pipe_end), 0);
    pid_t supervisor = fork();
    if (supervisor == 0) {
        hwm_process p = make("f.log");
        char* argv[] = {"/bin/sleep", "60", NULL};
        hwm_error err = {0};
        hwm_process_start(&p, argv, &err);
        (void)!write(pipe_end[1], &p.pid, sizeof p.pid);
        pause();
        _exit(0);
    }
    (void)file;
    pid_t child = 0;
    assert_int_equal(read(pipe_end[0], &child, sizeof child), sizeof child);
    hwm_sleep_ms(100);  // past its exec
    kill(supervisor, SIGKILL);
    waitpid(supervisor, NULL, 0);
    bool gone = false;
    for (int i = 0; i < 300 && !gone; i++) {
        hwm_sleep_ms(10);
        char path[64], line[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", child);
        FILE* f = fopen(path, "r");
        gone = !f || !fgets(line, sizeof line, f) || strstr(line, ") Z ");
        if (f) {
            fclose(f);
        }
    }
    assert_true(gone);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_logs_and_reports_its_exit),
        cmocka_unit_test(test_process_names_the_signal),
        cmocka_unit_test(test_process_stop_is_gentle_first),
        cmocka_unit_test(test_process_missing_program_is_a_sentence),
        cmocka_unit_test(test_process_dies_with_its_supervisor),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
