// Statistics for Prometheus, from the JSON that the server answers: what /metrics and
// `hwm stats --prometheus` print.
#ifndef HWM_SERVER_REPORT_H
#define HWM_SERVER_REPORT_H

#include <stdbool.h>

// Prometheus text format 0.0.4.
//   registered  in  also the series of the server's own registry, for whoever has only the JSON
// malloc'd: caller owns, free with free(). NULL: out of memory or not the server's JSON.
char* hwm_report_prometheus(const char* json, bool registered);

#endif
