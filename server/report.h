// Statistics for people and for Prometheus, from the JSON that the server answers: what hwm stats
// and /metrics print.
#ifndef HWM_SERVER_REPORT_H
#define HWM_SERVER_REPORT_H

// Prometheus text format 0.0.4. malloc'd: caller owns, free with free(). NULL: out of memory or not
// the server's JSON.
char* hwm_report_prometheus(const char* json);

// A table of at most some 100 columns. before, interval_s: an earlier answer and the time between
// the two, for the rates; NULL: totals only. malloc'd as above.
char* hwm_report_table(const char* json, const char* before, double interval_s);

#endif
