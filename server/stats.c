// Statistics as one JSON object: the server, its tables, its clients, parameters and tasks.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/service.h"

static long resident_bytes(void) {
    // second number of statm: resident pages
    long pages = 0;
    FILE* f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%*d %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(f);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

static void put_client(hwm_text* t, const hwm_server* s, const hwm_session* c, int64_t now) {
    const hwm_announce* newest;
    int sets = hwm_hub_newest(s->hub, &newest);
    uint64_t lag = 0;
    for (int k = 0; k < sets; k++) {
        if (strcmp(newest[k].set, "controller") == 0 && newest[k].version > c->param_version) {
            lag = newest[k].version - c->param_version;
        }
    }
    hwm_text_put(t, "{\"id\":%" PRIu64 ",\"rank\":%u,\"host\":", c->number, c->rank);
    hwm_text_quote(t, c->host);
    hwm_text_put(t, ",\"role\":\"%s\",\"pid\":%u,\"program\":", hwm_role_name(c->role), c->pid);
    hwm_text_quote(t, c->version);
    hwm_text_put(t, ",\"address\":");
    hwm_text_quote(t, c->address);
    hwm_text_put(t, ",\"key\":");
    hwm_text_quote(t, c->key);
    hwm_text_put(t,
                 ",\"alive\":%s,\"first_seen_s\":%.1f,\"last_seen_s\":%.2f,\"requests\":%" PRIu64
                 ",\"refused\":%" PRIu64 ",\"unread_bytes\":%zu",
                 c->alive ? "true" : "false", (double)(now - c->first_seen_ns) * 1e-9,
                 (double)(now - c->heard_ns) * 1e-9, c->requests, c->refused,
                 hwm_meter_bytes(c->unread));
    if (c->environments > 0) {
        double sum = 0.0;
        hwm_text_put(
            t,
            ",\"first_env\":%u,\"environments\":%u,\"incarnation\":%u,\"env_steps\":%" PRIu64
            ",\"steps_per_s\":%.1f,\"chunks\":%" PRIu64 ",\"bytes\":%" PRIu64
            ",\"episodes\":%" PRIu64 ",\"blocked_s\":%.2f,\"version\":%" PRIu64
            ",\"version_lag\":%" PRIu64 ",\"recent_returns\":[",
            c->first_env, c->environments, c->incarnation,
            c->env_steps > c->append_steps ? c->env_steps : c->append_steps, c->steps_per_s,
            c->appends, c->append_bytes_total, c->episodes, c->blocked_s, c->param_version, lag);
        for (int k = 0; k < c->n_returns; k++) {
            // oldest first
            uint64_t at = (c->episodes - (uint64_t)c->n_returns + (uint64_t)k) % RETURNS_KEPT;
            hwm_text_put(t, "%s%.6g", k > 0 ? "," : "", c->recent_return[at]);
            sum += c->recent_return[at];
        }
        hwm_text_put(t, "],\"return_mean\":");
        hwm_text_put(t, c->n_returns > 0 ? "%.6g" : "null",
                     sum / (c->n_returns > 0 ? c->n_returns : 1));
    } else {
        hwm_text_put(t, ",\"samples\":%" PRIu64 ",\"samples_per_s\":%.1f,\"open_samples\":%u",
                     c->samples, c->samples_per_s, c->open_samples);
    }
    hwm_text_put(t, "}");
}

static void put_role(hwm_text* t, const hwm_server* s, hwm_role role, const char* name,
                     int64_t now) {
    bool first = true;
    hwm_text_put(t, ",\"%s\":[", name);
    for (int k = 0; k < s->n_sessions; k++) {
        const hwm_session* c = &s->session[k];
        if (c->used && c->role == role) {
            hwm_text_put(t, first ? "" : ",");
            put_client(t, s, c, now);
            first = false;
        }
    }
    hwm_text_put(t, "]");
}

char* hwm_stats_json(hwm_server* s) {
    const int64_t now = hwm_clock_ns();
    const hwm_service_counters* n = &s->counters;
    struct rusage usage;
    hwm_text t = {0};
    memset(&usage, 0, sizeof usage);
    getrusage(RUSAGE_SELF, &usage);

    hwm_text_put(
        &t,
        "{\"version\":\"%s\",\"protocol\":%d,\"pid\":%d,\"uptime_s\":%.1f,\"memory_bytes\":%ld"
        ",\"cpu_s\":%.2f,\"endpoint\":",
        HWM_VERSION, HWM_PROTOCOL, (int)getpid(), (double)(now - s->started_ns) * 1e-9,
        resident_bytes(),
        (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
            1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
    hwm_text_quote(&t, hwm_link_endpoint(s->link));
    // of the file system that holds the store
    struct statvfs disk;
    if (statvfs(s->config.replay.dir, &disk) == 0) {
        hwm_text_put(&t, ",\"disk\":{\"total_bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64 "}",
                     (uint64_t)disk.f_blocks * disk.f_frsize,
                     (uint64_t)disk.f_bavail * disk.f_frsize);
    }
    hwm_text_put(&t,
                 ",\"requests\":{\"total\":%" PRIu64 ",\"refused\":%" PRIu64
                 ",\"malformed\":%" PRIu64 ",\"foreign_frames\":%" PRIu64 ",\"unroutable\":%" PRIu64
                 ",\"dropped_replies\":%" PRIu64 ",\"hellos\":%" PRIu64 ",\"dead_clients\":%" PRIu64
                 ",\"refused_keys\":%" PRIu64 ",\"failed_handshakes\":%" PRIu64
                 ",\"revoked_keys\":%" PRIu64 ",\"ingest_bytes\":%zu,\"kinds\":{",
                 n->requests, n->refused, n->malformed, hwm_link_malformed(s->link), n->unroutable,
                 n->dropped_replies, n->hellos, n->deaths, hwm_link_refused_keys(s->link),
                 hwm_link_failed_handshakes(s->link), n->revoked, s->ingest_bytes);
    const char* comma = "";
    for (int k = HWM_REQUEST_HELLO; k < HWM_REQUEST_KIND_END; k++) {
        if (n->by_kind[k] > 0) {
            hwm_text_put(&t, "%s\"%s\":%" PRIu64, comma, hwm_request_name((hwm_request_kind)k),
                         n->by_kind[k]);
            comma = ",";
        }
    }
    hwm_text_put(&t, "},\"refusals\":{");
    comma = "";
    for (int k = 0; k < HWM_STATUS_COUNT; k++) {
        if (n->by_status[k] > 0) {
            hwm_text_put(&t, "%s\"%s\":%" PRIu64, comma, hwm_status_name((hwm_status)k),
                         n->by_status[k]);
            comma = ",";
        }
    }
    hwm_text_put(&t, "}},\"replay\":");
    char* tables = hwm_replay_stats_json(s->replay);
    hwm_text_put(&t, "%s", tables != NULL ? tables : "{}");
    free(tables);
    put_role(&t, s, HWM_ROLE_WORKER, "workers", now);
    put_role(&t, s, HWM_ROLE_LEARNER, "learners", now);
    put_role(&t, s, HWM_ROLE_OPERATOR, "operators", now);
    put_role(&t, s, HWM_ROLE_VIEWER, "viewers", now);
    hwm_text_put(&t, ",\"params\":");
    hwm_hub_stats(s->hub, &t);
    hwm_text_put(&t, ",\"tasks\":");
    hwm_tasks_stats(s->tasks, &t);
    hwm_text_put(&t, "}");
    return hwm_text_take(&t);
}
