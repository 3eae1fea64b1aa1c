// Metrics: counters, gauges and histograms, registered once with help and unit, updated without
// locks from hot loops, rendered as Prometheus text and as JSON. Names:
// hwm_<component>_<what>_<unit>, counters end in _total.
#ifndef HWM_BASE_METRICS_H
#define HWM_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hwm_metric hwm_metric;

// Handles live as long as the process. Registering the same name again returns the same handle
// (same kind required). labels: NULL or fixed text such as: reason="signature"
hwm_metric* hwm_counter(const char* name, const char* labels, const char* help);
hwm_metric* hwm_gauge(const char* name, const char* labels, const char* help);
// bounds: ascending upper bounds of the buckets, n of them (at most 32); +Inf is implied.
hwm_metric* hwm_histogram(const char* name, const char* labels, const double* bounds, int n,
                          const char* help);

void hwm_metric_add(hwm_metric* metric, double value);      // counter, gauge
void hwm_metric_set(hwm_metric* metric, double value);      // gauge
void hwm_metric_observe(hwm_metric* metric, double value);  // histogram
double hwm_metric_value(const hwm_metric* metric);          // counter, gauge; histogram: count
double hwm_metric_quantile(const hwm_metric* metric, double q);
// A histogram's upper bounds (n of them) and, for each and for +Inf, the observations up to it.
int hwm_metric_buckets(const hwm_metric* metric, const double** bounds, uint64_t cumulative[33],
                       double* sum);

// Text in Prometheus format 0.0.4, or a JSON object. malloc'd: caller owns, free with free(). NULL
// when out of memory.
char* hwm_metrics_prometheus(void);
char* hwm_metrics_json(void);

#endif
