// Prints a registry with metrics of every kind and awkward content, for the checkers of others.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"

int main(void) {
    const double bounds[] = {0.001, 0.01, 0.1, 1, 10};
    hwm_metric_add(hwm_counter("hwm_test_chunks_total", "reason=\"a \\\"quoted\\\" one\"",
                               "Chunks that were \"refused\",\nwith a back\\slash."),
                   3);
    hwm_metric_add(hwm_counter("hwm_test_chunks_total", "reason=\"other\"",
                               "Chunks that were \"refused\",\nwith a back\\slash."),
                   1e15);
    hwm_metric_set(hwm_gauge("hwm_test_fill_ratio", NULL, "How full it is."), 0.1);
    hwm_metric_set(hwm_gauge("hwm_test_lag_seconds", NULL, "Not known yet."), NAN);
    hwm_metric_set(hwm_gauge("hwm_test_limit_bytes", NULL, "No limit."), INFINITY);
    hwm_metric* h = hwm_histogram("hwm_test_wait_seconds", "side=\"in\"", bounds, 5, "Waiting.");
    for (int i = 0; i < 100; i++)
        hwm_metric_observe(h, 0.0005 * i * i);
    hwm_histogram("hwm_test_wait_seconds", "side=\"out\"", bounds, 5, "Waiting.");
    char* text = hwm_metrics_prometheus();
    if (!text)
        return 1;
    fputs(text, stdout);
    free(text);
    return 0;
}
