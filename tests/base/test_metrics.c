// Metrics: registration, updates from many threads, quantiles and both renderings.
#include "test.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

static void test_registering_again_gives_the_same_handle(void** state) {
    (void)state;
    hwm_metric* a = hwm_counter("hwm_test_events_total", "kind=\"a\"", "Events of the test.");
    hwm_metric* b = hwm_counter("hwm_test_events_total", "kind=\"b\"", "Events of the test.");
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(a, hwm_counter("hwm_test_events_total", "kind=\"a\"", "Events of the test."));
    hwm_metric_add(a, 2);
    hwm_metric_add(a, 0.5);
    hwm_metric_add(b, 1);
    assert_true(hwm_metric_value(a) == 2.5);
    assert_true(hwm_metric_value(b) == 1);
}

enum { THREADS = 4, ADDS = 20000 };
static hwm_metric *shared_counter, *shared_histogram;

static void* add_many(void* argument) {
    (void)argument;
    for (int i = 0; i < ADDS; i++) {
        hwm_metric_add(shared_counter, 1);
        hwm_metric_observe(shared_histogram, i % 4);
    }
    return NULL;
}

static void test_no_update_is_lost_between_threads(void** state) {
    (void)state;
    const double bounds[] = {0, 1, 2};
    shared_counter = hwm_counter("hwm_test_adds_total", NULL, "Additions.");
    shared_histogram = hwm_histogram("hwm_test_value_steps", NULL, bounds, 3, "Values.");
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_true(hwm_metric_value(shared_counter) == THREADS * ADDS);
    assert_true(hwm_metric_value(shared_histogram) == THREADS * ADDS);
}

static void test_quantiles_are_linear_within_a_bucket(void** state) {
    (void)state;
    const double bounds[] = {1, 2, 4};
    hwm_metric* h = hwm_histogram("hwm_test_wait_seconds", NULL, bounds, 3, "Waiting.");
    assert_true(isnan(hwm_metric_quantile(h, 0.5)));
    for (int i = 0; i < 10; i++)
        hwm_metric_observe(h, 1.5);
    assert_true(fabs(hwm_metric_quantile(h, 0.5) - 1.5) < 1e-12);
    assert_true(fabs(hwm_metric_quantile(h, 1.0) - 2.0) < 1e-12);
    for (int i = 0; i < 10; i++)
        hwm_metric_observe(h, 100);  // beyond the last bound: its lower end is all that is known
    assert_true(hwm_metric_quantile(h, 0.99) == 4);
    hwm_metric_observe(h, NAN);  // lands in the last bucket, not in the first
    assert_true(hwm_metric_quantile(h, 0.01) > 1);
}

static void test_prometheus_text_has_every_series_once(void** state) {
    (void)state;
    hwm_metric* g = hwm_gauge("hwm_test_fill_ratio", "table=\"t\"", "How full\nit is.");
    hwm_metric_set(g, 0.25);
    const double bounds[] = {0.5, 1};
    hwm_metric* h = hwm_histogram("hwm_test_size_bytes", "side=\"in\"", bounds, 2, "Sizes.");
    hwm_metric_observe(h, 0.5);
    hwm_metric_observe(h, 0.75);
    hwm_metric_observe(h, 7);
    char* text = hwm_metrics_prometheus();
    assert_non_null(text);
    assert_non_null(strstr(text, "# HELP hwm_test_fill_ratio How full\\nit is.\n"
                                 "# TYPE hwm_test_fill_ratio gauge\n"
                                 "hwm_test_fill_ratio{table=\"t\"} 0.25\n"));
    assert_non_null(strstr(text, "# TYPE hwm_test_size_bytes histogram\n"
                                 "hwm_test_size_bytes_bucket{side=\"in\",le=\"0.5\"} 1\n"
                                 "hwm_test_size_bytes_bucket{side=\"in\",le=\"1\"} 2\n"
                                 "hwm_test_size_bytes_bucket{side=\"in\",le=\"+Inf\"} 3\n"
                                 "hwm_test_size_bytes_sum{side=\"in\"} 8.25\n"
                                 "hwm_test_size_bytes_count{side=\"in\"} 3\n"));
    const char* help = strstr(text, "# HELP hwm_test_events_total");
    assert_non_null(help);
    assert_null(strstr(help + 1, "# HELP hwm_test_events_total"));
    assert_non_null(strstr(help, "hwm_test_events_total{kind=\"a\"} 2.5\n"
                                 "hwm_test_events_total{kind=\"b\"} 1\n"));
    free(text);
    char* json = hwm_metrics_json();
    assert_non_null(json);
    assert_non_null(strstr(json, "\"hwm_test_fill_ratio{table=\\\"t\\\"}\":0.25"));
    assert_non_null(strstr(json,
                           "\"hwm_test_size_bytes{side=\\\"in\\\"}\":{\"count\":3,\"sum\":8.25,"
                           "\"p50\":"));
    assert_int_equal(json[strlen(json) - 1], '}');
    free(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registering_again_gives_the_same_handle),
        cmocka_unit_test(test_no_update_is_lost_between_threads),
        cmocka_unit_test(test_quantiles_are_linear_within_a_bucket),
        cmocka_unit_test(test_prometheus_text_has_every_series_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
