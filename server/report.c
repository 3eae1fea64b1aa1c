#include "server/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "server/text.h"

// ---- Prometheus: one row per series; a path names the value inside its object

typedef struct series {
    const char* path;  // keys joined by '.'
    const char* name;
    const char* kind;
    const char* help;
} series;

static const series of_server[] = {
    {"uptime_s", "hwm_server_uptime_seconds", "gauge", "time since the start"},
    {"memory_bytes", "hwm_server_memory_bytes", "gauge", "resident memory"},
    {"cpu_s", "hwm_server_cpu_seconds_total", "counter", "processor time used"},
    {"requests.total", "hwm_service_requests_all_total", "counter", "requests received"},
    {"requests.malformed", "hwm_service_requests_malformed_total", "counter",
     "requests that could not be read"},
    {"requests.foreign_frames", "hwm_service_messages_foreign_total", "counter",
     "messages of other frames"},
    {"requests.dropped_replies", "hwm_service_replies_dropped_total", "counter",
     "replies that found a full queue"},
    {"requests.unroutable", "hwm_service_replies_unroutable_total", "counter",
     "replies whose client was gone"},
    {"requests.hellos", "hwm_service_hellos_accepted_total", "counter",
     "clients that joined or came back"},
    {"requests.dead_clients", "hwm_service_clients_dead_total", "counter",
     "clients that fell silent"},
    {"requests.refused_keys", "hwm_service_keys_refused_total", "counter",
     "connections with an unknown key"},
    {"requests.failed_handshakes", "hwm_service_handshakes_failed_total", "counter",
     "connections without CURVE or for another server"},
    {"requests.revoked_keys", "hwm_service_keys_revoked_total", "counter",
     "requests of keys that were taken out"},
    {"requests.ingest_bytes", "hwm_service_ingest_waiting_bytes", "gauge",
     "appends that wait for their commit"},
    {"replay.store.map_bytes", "hwm_store_map_limit_bytes", "gauge", "quota of the store"},
    {"replay.store.file_bytes", "hwm_store_file_size_bytes", "gauge", "pages of the file in use"},
    {"replay.store.free_bytes", "hwm_store_free_pages_bytes", "gauge",
     "pages that can be used again"},
    {"replay.store.oldest_reader_commits", "hwm_store_oldest_reader_commits", "gauge",
     "commits since the oldest open read transaction began"},
    {"disk.total_bytes", "hwm_server_disk_total_bytes", "gauge",
     "size of the file system that holds the store"},
    {"disk.free_bytes", "hwm_server_disk_free_bytes", "gauge", "what is free of it"},
    {"params.published", "hwm_hub_versions_published_total", "counter",
     "parameter versions published"},
    {"params.fetched_bytes", "hwm_hub_fetched_bytes_total", "counter", "parameters handed out"},
    {"params.removed", "hwm_hub_versions_removed_total", "counter",
     "parameter versions no longer kept"},
    {"tasks.submitted", "hwm_queue_submitted_tasks_total", "counter", "tasks submitted"},
    {"tasks.completed", "hwm_queue_completed_tasks_total", "counter", "tasks with a result"},
    {"tasks.failed", "hwm_queue_failed_tasks", "gauge", "tasks given up"},
    {"tasks.waiting", "hwm_queue_waiting_tasks", "gauge", "tasks that nobody has leased"},
    {"tasks.leased", "hwm_queue_leased_tasks", "gauge", "tasks at a worker"},
};

static const series of_table[] = {
    {"steps", "hwm_replay_table_steps", "gauge", "steps stored"},
    {"chunks", "hwm_replay_table_chunks", "gauge", "chunks stored"},
    {"episodes", "hwm_replay_table_episodes", "gauge", "episodes stored"},
    {"bytes", "hwm_replay_table_bytes", "gauge", "bytes stored"},
    {"capacity_steps", "hwm_replay_capacity_steps", "gauge", "steps kept at most"},
    {"inserted_steps", "hwm_replay_inserted_steps_total", "counter", "steps inserted"},
    {"evicted_steps", "hwm_replay_evicted_steps_total", "counter", "steps evicted"},
    {"sampled_steps", "hwm_replay_sampled_steps_total", "counter", "steps sampled and counted"},
    {"appends", "hwm_replay_appends_committed_total", "counter", "chunks committed"},
    {"samples", "hwm_replay_batches_sampled_total", "counter", "sample requests answered"},
    {"inserted_per_s", "hwm_replay_inserted_steps_per_second", "gauge",
     "steps inserted per second lately"},
    {"sampled_per_s", "hwm_replay_sampled_steps_per_second", "gauge",
     "steps sampled per second lately"},
    {"ratio", "hwm_replay_samples_per_insert_ratio", "gauge", "sampled steps per inserted step"},
    {"sample_age_steps", "hwm_replay_sample_age_steps", "gauge",
     "mean age of what is sampled: steps inserted since"},
    {"duplicates", "hwm_replay_chunks_duplicate_total", "counter",
     "chunks that were stored before"},
    {"gaps", "hwm_replay_stream_gaps_total", "counter", "missing sequences that were accepted"},
    {"damaged", "hwm_replay_chunks_damaged_total", "counter", "chunks that failed their checksum"},
    {"limiter.diff", "hwm_limiter_cursor_steps", "gauge", "inserted * ratio - sampled"},
    {"limiter.diff_min", "hwm_limiter_cursor_min_steps", "gauge", "samples wait below"},
    {"limiter.diff_max", "hwm_limiter_cursor_max_steps", "gauge", "inserts wait above"},
    {"limiter.waiting_inserts", "hwm_limiter_inserts_waiting_chunks", "gauge",
     "chunks held by the limiter"},
    {"limiter.waiting_samples", "hwm_limiter_samples_waiting_requests", "gauge",
     "sample requests held by the limiter"},
    {"limiter.insert_wait_s", "hwm_limiter_insert_wait_seconds_total", "counter",
     "time that inserts were held"},
    {"limiter.sample_wait_s", "hwm_limiter_sample_wait_seconds_total", "counter",
     "time that samples were held"},
};

static const series of_table_refusal = {"refusals", "hwm_replay_chunks_refused_total", "counter",
                                        "appends refused, by reason"};

static const series of_learner[] = {
    {"samples", "hwm_learner_batches_received_total", "counter", "batches handed out"},
    {"samples_per_s", "hwm_learner_batches_per_second", "gauge", "batches per second lately"},
    {"last_seen_s", "hwm_learner_last_seen_seconds", "gauge", "since it was heard"},
};

// Registered by the server's process, so that /metrics has them anyway; hwm stats has only the
// JSON.
static const series of_store[] = {
    {"replay.store.commits", "hwm_store_commits_total", "counter", "groups committed"},
    {"replay.store.failures", "hwm_store_failures_total", "counter",
     "groups refused by disk or map"},
};
static const series of_store_histogram[] = {
    {"replay.store.commit_seconds", "hwm_store_commit_seconds", "histogram",
     "time to store one group"},
    {"replay.store.commit_chunks", "hwm_store_commit_chunks", "histogram", "chunks of one group"},
};

static const series of_worker[] = {
    {"env_steps", "hwm_worker_env_steps_total", "counter", "Simulator steps, repeats counted."},
    {"steps_per_s", "hwm_worker_stored_steps_per_second", "gauge",
     "environment steps stored per second"},
    {"episodes", "hwm_worker_episodes_finished_total", "counter", "training episodes finished"},
    {"return_mean", "hwm_worker_recent_return_number", "gauge",
     "mean return of the last 16 episodes"},
    {"blocked_s", "hwm_worker_blocked_time_seconds_total", "counter",
     "time the worker could not step"},
    {"version_lag", "hwm_worker_version_lag_versions", "gauge",
     "published versions it has not applied"},
    {"last_seen_s", "hwm_worker_last_seen_seconds", "gauge", "since it was heard"},
};

static bool number_at(const hwm_json* object, const char* path, double* value) {
    *value = hwm_json_number(object, path, NAN);
    return !isnan(*value);
}

// Numbers that count are printed as such; a double holds them exactly below 2^53.
static void put_number(hwm_text* t, double v) {
    if (v == (double)(int64_t)v && v > -9e15 && v < 9e15) {
        hwm_text_put(t, "%" PRId64, (int64_t)v);
    } else {
        hwm_text_put(t, "%.9g", v);
    }
}

static void put_label(hwm_text* t, const char* name, const char* value) {
    hwm_text_put(t, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\') {
            hwm_text_put(t, "\\%c", *value);
        } else {
            hwm_text_put(t, "%c", *value == '\n' ? ' ' : *value);
        }
    }
    hwm_text_put(t, "\"");
}

static void head(hwm_text* t, const series* s) {
    hwm_text_put(t, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help, s->name, s->kind);
}

static void rows_of_list(hwm_text* t, const hwm_json* list, const series* rows, size_t n,
                         void (*labels)(hwm_text*, const hwm_json*)) {
    for (size_t k = 0; k < n; k++) {
        bool headed = false;
        for (size_t i = 0; i < hwm_json_size(list, ""); i++) {
            const hwm_json* object = hwm_json_member(list, i);
            double v;
            if (!number_at(object, rows[k].path, &v)) {
                continue;
            }
            if (!headed) {
                head(t, &rows[k]);
                headed = true;
            }
            hwm_text_put(t, "%s{", rows[k].name);
            labels(t, object);
            hwm_text_put(t, "} ");
            put_number(t, v);
            hwm_text_put(t, "\n");
        }
    }
}

static const char* text_of(const hwm_json* object, const char* key) {
    return hwm_json_text(object, key, "");
}

static void table_labels(hwm_text* t, const hwm_json* table) {
    put_label(t, "table", text_of(table, "name"));
}

static void worker_labels(hwm_text* t, const hwm_json* worker) {
    char number[32];
    double rank = 0.0, pid = 0.0;
    number_at(worker, "rank", &rank);
    number_at(worker, "pid", &pid);
    snprintf(number, sizeof number, "%.0f", rank);
    put_label(t, "rank", number);
    hwm_text_put(t, ",");
    put_label(t, "host", text_of(worker, "host"));
    snprintf(number, sizeof number, "%.0f", pid);
    hwm_text_put(t, ",");
    put_label(t, "pid", number);
}

// An object of numbers as one series with a label: {"append": 3} -> name{label="append"} 3
static void rows_of_map(hwm_text* t, const hwm_json* map, const char* label, const series* s) {
    if (hwm_json_size(map, "") > 0) {
        head(t, s);
    }
    for (size_t i = 0; i < hwm_json_size(map, ""); i++) {
        hwm_text_put(t, "%s{", s->name);
        put_label(t, label, hwm_json_key(map, i));
        hwm_text_put(t, "} ");
        put_number(t, hwm_json_number(hwm_json_member(map, i), "", 0.0));
        hwm_text_put(t, "\n");
    }
}

// Refusals of every table: two labels.
static void rows_of_refusals(hwm_text* t, const hwm_json* tables, const series* s) {
    bool headed = false;
    for (size_t i = 0; i < hwm_json_size(tables, ""); i++) {
        const hwm_json* table = hwm_json_member(tables, i);
        const hwm_json* map = hwm_json_at(table, s->path);
        for (size_t k = 0; k < hwm_json_size(map, ""); k++) {
            if (!headed) {
                head(t, s);
                headed = true;
            }
            hwm_text_put(t, "%s{", s->name);
            put_label(t, "table", text_of(table, "name"));
            hwm_text_put(t, ",");
            put_label(t, "reason", hwm_json_key(map, k));
            hwm_text_put(t, "} ");
            put_number(t, hwm_json_number(hwm_json_member(map, k), "", 0.0));
            hwm_text_put(t, "\n");
        }
    }
}

static void put_histogram(hwm_text* t, const hwm_json* histogram, const series* s) {
    const hwm_json *le = hwm_json_at(histogram, "le"), *n = hwm_json_at(histogram, "count");
    const size_t bounds = hwm_json_size(le, "");
    if (hwm_json_size(n, "") != bounds + 1) {
        return;
    }
    head(t, s);
    for (size_t k = 0; k <= bounds; k++) {
        hwm_text_put(t, "%s_bucket{le=\"", s->name);
        if (k < bounds) {
            put_number(t, hwm_json_number(hwm_json_member(le, k), "", 0.0));
        } else {
            hwm_text_put(t, "+Inf");
        }
        hwm_text_put(t, "\"} ");
        put_number(t, hwm_json_number(hwm_json_member(n, k), "", 0.0));
        hwm_text_put(t, "\n");
    }
    hwm_text_put(t, "%s_sum %.9g\n%s_count ", s->name, hwm_json_number(histogram, "sum", 0.0),
                 s->name);
    put_number(t, hwm_json_number(hwm_json_member(n, bounds), "", 0.0));
    hwm_text_put(t, "\n");
}

static void rows_of_server(hwm_text* t, const hwm_json* root, const series* rows, size_t n) {
    for (size_t k = 0; k < n; k++) {
        double v;
        if (number_at(root, rows[k].path, &v)) {
            head(t, &rows[k]);
            hwm_text_put(t, "%s ", rows[k].name);
            put_number(t, v);
            hwm_text_put(t, "\n");
        }
    }
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

char* hwm_report_prometheus(const char* json, bool registered) {
    hwm_json* root = hwm_json_parse(json, strlen(json));
    if (root == NULL) {
        return NULL;
    }
    hwm_text t = {0};
    rows_of_server(&t, root, of_server, COUNT(of_server));
    if (registered) {
        rows_of_server(&t, root, of_store, COUNT(of_store));
        for (size_t k = 0; k < COUNT(of_store_histogram); k++) {
            put_histogram(&t, hwm_json_at(root, of_store_histogram[k].path),
                          &of_store_histogram[k]);
        }
    }
    static const series kinds = {"", "hwm_service_requests_received_total", "counter",
                                 "requests by kind"};
    static const series refusals = {"", "hwm_service_requests_refused_total", "counter",
                                    "refusals by reason"};
    rows_of_map(&t, hwm_json_at(root, "requests.kinds"), "kind", &kinds);
    rows_of_map(&t, hwm_json_at(root, "requests.refusals"), "reason", &refusals);
    rows_of_list(&t, hwm_json_at(root, "replay.tables"), of_table, COUNT(of_table), table_labels);
    rows_of_refusals(&t, hwm_json_at(root, "replay.tables"), &of_table_refusal);
    rows_of_list(&t, hwm_json_at(root, "workers"), of_worker, COUNT(of_worker), worker_labels);
    rows_of_list(&t, hwm_json_at(root, "learners"), of_learner, COUNT(of_learner), worker_labels);

    static const series clients = {"", "hwm_service_connected_clients", "gauge", "clients by role"};
    static const char* const role[] = {"workers", "learners", "operators", "viewers"};
    head(&t, &clients);
    for (size_t k = 0; k < COUNT(role); k++) {
        const hwm_json* list = hwm_json_at(root, role[k]);
        size_t alive = 0;
        for (size_t i = 0; i < hwm_json_size(list, ""); i++) {
            alive += hwm_json_true(hwm_json_member(list, i), "alive");
        }
        hwm_text_put(&t, "%s{role=\"%.*s\"} %zu\n", clients.name, (int)strlen(role[k]) - 1, role[k],
                     alive);
    }
    const hwm_json* sets = hwm_json_at(root, "params.sets");
    static const series version = {"", "hwm_hub_newest_version", "gauge",
                                   "newest version of a parameter set"};
    if (hwm_json_size(sets, "") > 0) {
        head(&t, &version);
    }
    for (size_t i = 0; i < hwm_json_size(sets, ""); i++) {
        hwm_text_put(&t, "%s{", version.name);
        put_label(&t, "set", hwm_json_key(sets, i));
        hwm_text_put(&t, "} ");
        put_number(&t, hwm_json_number(hwm_json_member(sets, i), "version", 0.0));
        hwm_text_put(&t, "\n");
    }
    hwm_json_free(&root);
    return hwm_text_take(&t);
}
