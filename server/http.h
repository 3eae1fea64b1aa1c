// HTTP beside the socket, for people and for Prometheus: /metrics, /healthz, /readyz and
// /api/stats, read only.
//
// The router thread puts a fresh text in about once a second, and only while somebody asks; the
// HTTP thread hands it out. So no request can make the router wait, and many cost no more than one.
#ifndef HWM_SERVER_HTTP_H
#define HWM_SERVER_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hwm_http hwm_http;
// address: "PORT" (loopback) or "ADDR:PORT" ("0.0.0.0:9100", "[::1]:9100"); port 0: any free one.
hwm_status hwm_http_start(hwm_http** out, const char* address, hwm_error* err);
void hwm_http_stop(hwm_http** http);
uint16_t hwm_http_port(const hwm_http* http);

// Router thread: true when a fresh text is wanted now.
bool hwm_http_wants(hwm_http* http, int64_t now_ns);
// json: takes ownership of the malloc'd text, sets *json to NULL. ready: takes appends.
void hwm_http_put(hwm_http* http, char** json, bool ready, int64_t now_ns);

#endif
