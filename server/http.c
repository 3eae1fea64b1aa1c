#include "server/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/report.h"

enum {
    FRESH_MS = 1000,  // how old an answer may be
    IDLE_MS = 30000,  // without a request for so long, nothing is prepared
    STALE_MS = 5000,  // the router has not come by: not healthy
    CONNECTIONS_MAX = 64,
    PER_ADDRESS_MAX = 16,
    TIMEOUT_S = 10,
    WAIT_MS = 500,  // a first request may wait for the router
};

struct hwm_http {
    struct MHD_Daemon* daemon;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t fresh;
    char* json;
    bool ready;
    int64_t put_ns, asked_ns, alive_ns;
};

static enum MHD_Result answer(struct MHD_Connection* connection, unsigned status, const char* type,
                              char* text) {
    // text is malloc'd and belongs to the response from here on
    struct MHD_Response* response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

// A copy of the newest statistics, waiting a moment for fresh ones; NULL: none came.
static char* copy_json(hwm_http* h) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += WAIT_MS * 1000000L;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_mutex_lock(&h->lock);
    h->asked_ns = hwm_clock_ns();
    while (h->asked_ns - h->put_ns > 2 * FRESH_MS * 1000000LL &&
           pthread_cond_timedwait(&h->fresh, &h->lock, &end) == 0) {
    }
    char* copy = h->json != NULL ? strdup(h->json) : NULL;
    pthread_mutex_unlock(&h->lock);
    return copy;
}

static char* metrics_text(hwm_http* h) {
    char* json = copy_json(h);
    char* service = json != NULL ? hwm_report_prometheus(json, false) : NULL;
    char* process = hwm_metrics_prometheus();
    size_t a = service != NULL ? strlen(service) : 0, b = process != NULL ? strlen(process) : 0;
    char* text = service != NULL ? malloc(a + b + 1) : NULL;
    if (text != NULL) {
        memcpy(text, service, a);
        memcpy(text + a, process != NULL ? process : "", b);
        text[a + b] = '\0';
    }
    free(json);
    free(service);
    free(process);
    return text;
}

static enum MHD_Result on_request(void* context, struct MHD_Connection* connection, const char* url,
                                  const char* method, const char* version, const char* upload,
                                  size_t* upload_size, void** state) {
    hwm_http* h = context;
    (void)version;
    (void)upload;
    (void)state;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        *upload_size = 0;
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", strdup("GET only\n"));
    }
    pthread_mutex_lock(&h->lock);
    bool alive = hwm_clock_ns() - h->alive_ns < STALE_MS * 1000000LL;
    bool ready = alive && h->ready;
    pthread_mutex_unlock(&h->lock);
    if (strcmp(url, "/healthz") == 0) {
        return answer(connection, alive ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
                      strdup(alive ? "ok\n" : "the service does not answer\n"));
    }
    if (strcmp(url, "/readyz") == 0) {
        return answer(connection, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
                      strdup(ready ? "ready\n" : "not ready: starting or stopping\n"));
    }
    char* text = NULL;
    const char* type = "text/plain; version=0.0.4; charset=utf-8";
    if (strcmp(url, "/metrics") == 0) {
        text = metrics_text(h);
    } else if (strcmp(url, "/api/stats") == 0) {
        text = copy_json(h);
        type = "application/json";
    } else {
        return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain",
                      strdup("/metrics  /healthz  /readyz  /api/stats\n"));
    }
    if (text == NULL) {
        return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
                      strdup("no statistics yet\n"));
    }
    return answer(connection, MHD_HTTP_OK, type, text);
}

// "PORT", "ADDR:PORT" or "[ADDR]:PORT"
static bool parse_address(const char* text, struct sockaddr_storage* out) {
    char host[64] = "127.0.0.1";
    const char* colon = strrchr(text, ':');
    const char* port_text = colon != NULL ? colon + 1 : text;
    char* end;
    long port = strtol(port_text, &end, 10);
    if (end == port_text || *end != '\0' || port < 0 || port > 65535) {
        return false;
    }
    if (colon != NULL) {
        size_t n = (size_t)(colon - text);
        bool brackets = n >= 2 && text[0] == '[' && text[n - 1] == ']';
        snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n),
                 brackets ? text + 1 : text);
    }
    memset(out, 0, sizeof *out);
    struct sockaddr_in* v4 = (struct sockaddr_in*)out;
    struct sockaddr_in6* v6 = (struct sockaddr_in6*)out;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return true;
    }
    return false;
}

hwm_status hwm_http_start(hwm_http** out, const char* address, hwm_error* err) {
    struct sockaddr_storage where;
    *out = NULL;
    if (!parse_address(address, &where)) {
        return hwm_fail(err, HWM_EINVAL,
                        "--http %s: PORT, ADDR:PORT or [ADDR]:PORT with a numeric address",
                        address);
    }
    hwm_http* h = calloc(1, sizeof *h);
    if (h == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for HTTP");
    }
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->fresh, NULL);
    h->alive_ns = hwm_clock_ns();
    h->put_ns = h->asked_ns = INT64_MIN / 2;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO;
    flags |= where.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0u;
    h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR,
                                 (struct sockaddr*)&where, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                                 (unsigned)PER_ADDRESS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned)TIMEOUT_S, MHD_OPTION_END);
    if (h->daemon == NULL) {
        hwm_http_stop(&h);
        return hwm_fail(err, HWM_EIO, "cannot serve HTTP on %s: is the port taken?", address);
    }
    const union MHD_DaemonInfo* info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    h->port = info != NULL ? info->port : 0;
    hwm_log(HWM_LOG_INFO, "http", "listening", "address=%s port=%u", address, h->port);
    *out = h;
    return HWM_OK;
}

void hwm_http_stop(hwm_http** http) {
    hwm_http* h = *http;
    if (h == NULL) {
        return;
    }
    *http = NULL;
    if (h->daemon != NULL) {
        MHD_stop_daemon(h->daemon);
    }
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->fresh);
    free(h->json);
    free(h);
}

uint16_t hwm_http_port(const hwm_http* h) {
    return h->port;
}

bool hwm_http_wants(hwm_http* h, int64_t now) {
    pthread_mutex_lock(&h->lock);
    h->alive_ns = now;
    bool wants = now - h->put_ns >= FRESH_MS * 1000000LL && now - h->asked_ns < IDLE_MS * 1000000LL;
    pthread_mutex_unlock(&h->lock);
    return wants;
}

void hwm_http_put(hwm_http* h, char** json, bool ready, int64_t now) {
    pthread_mutex_lock(&h->lock);
    h->ready = ready;
    if (json != NULL) {
        char* old = h->json;
        h->json = *json;
        *json = NULL;
        h->put_ns = now;
        free(old);
        pthread_cond_broadcast(&h->fresh);
    }
    pthread_mutex_unlock(&h->lock);
}
