// data path  [6] store
//
// Snapshots and statistics.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/replay_internal.h"

// ---- snapshot

static void* snapshot_main(void* argument) {
    hwm_replay* replay = argument;
    hwm_error err = {0};
    hwm_replay_save_states(replay);
    hwm_status status = hwm_store_snapshot(replay->store, replay->snapshot_dir, &err);
    hwm_completion c = {
        .kind = HWM_DONE_SNAPSHOT, .token = replay->snapshot_token, .status = status};
    snprintf(c.text, sizeof c.text, "%.*s", (int)sizeof c.text - 1, err.text);
    pthread_mutex_lock(&replay->queue);
    replay->snapshot_running = false;
    hwm_replay_done(replay, &c);
    pthread_mutex_unlock(&replay->queue);
    return NULL;
}

hwm_status hwm_replay_snapshot(hwm_replay* replay, const char* to, uint64_t token) {
    if (strlen(to) >= sizeof replay->snapshot_dir) {
        return HWM_EINVAL;
    }
    pthread_mutex_lock(&replay->queue);
    bool running = replay->snapshot_running;
    pthread_mutex_unlock(&replay->queue);
    if (running) {
        return HWM_EAGAIN;
    }
    if (replay->snapshot_started) {
        pthread_join(replay->snapshot, NULL);
        replay->snapshot_started = false;
    }
    strcpy(replay->snapshot_dir, to);
    replay->snapshot_token = token;
    replay->snapshot_running = true;  // no other thread yet
    if (pthread_create(&replay->snapshot, NULL, snapshot_main, replay) != 0) {
        replay->snapshot_running = false;
        return HWM_EAGAIN;
    }
    replay->snapshot_started = true;
    return HWM_OK;
}

size_t hwm_replay_admitted(hwm_replay* replay) {
    pthread_mutex_lock(&replay->queue);
    size_t n = replay->ready.n + replay->n_committing;
    pthread_mutex_unlock(&replay->queue);
    return n;
}

// ---- statistics

static void count_stream(void* context, const hwm_stream_info* stream) {
    *(size_t*)context += stream->chunks > 0;
}

static void table_json(FILE* out, hwm_replay* replay, hwm_replay_slot* t) {
    hwm_index_lock(t->index, false);
    size_t streams = 0;
    hwm_index_each_stream(t->index, count_stream, &streams);
    fprintf(out,
            "{\"name\":\"%s\",\"steps\":%" PRIu64 ",\"chunks\":%" PRIu64
            ",\"segments\":%zu,\"episodes\":%zu,\"streams\":%zu,"
            "\"bytes\":%" PRIu64 ",\"index_bytes\":%zu,\"capacity_steps\":%" PRId64
            ",\"capacity_bytes\":%" PRId64,
            t->config.name, hwm_index_steps(t->index),
            hwm_index_newest(t->index) + 1 - hwm_index_oldest(t->index),
            hwm_index_segments(t->index), hwm_index_episodes(t->index), streams,
            hwm_index_bytes(t->index), hwm_index_memory(t->index), t->config.capacity_steps,
            t->config.capacity_bytes);
    hwm_index_unlock(t->index);
    pthread_mutex_lock(&replay->queue);
    const hwm_limiter* l = &t->limiter;
    uint64_t refused = 0;
    for (int k = 0; k < HWM_STATUS_COUNT; k++) {
        refused += t->refused[k];
    }
    fprintf(out,
            ",\"inserted_steps\":%" PRIu64 ",\"evicted_steps\":%" PRIu64
            ",\"sampled_steps\":%" PRIu64 ",\"appends\":%" PRIu64 ",\"duplicates\":%" PRIu64
            ",\"refused\":%" PRIu64 ",\"gaps\":%" PRIu64 ",\"damaged\":%" PRIu64
            ",\"samples\":%" PRIu64 ",\"closed\":%s",
            l->committed, t->evicted_steps, l->sampled, t->appends_done, t->duplicates, refused,
            t->gaps, t->damaged, t->samples_done, l->closed ? "true" : "false");
    fputs(",\"refusals\":{", out);
    const char* comma = "";
    for (int k = 0; k < HWM_STATUS_COUNT; k++) {
        if (t->refused[k] > 0) {
            fprintf(out, "%s\"%s\":%" PRIu64, comma, hwm_status_name((hwm_status)k), t->refused[k]);
            comma = ",";
        }
    }
    fprintf(out,
            "},\"inserted_per_s\":%.1f,\"sampled_per_s\":%.1f,\"ratio\":%.6g,"
            "\"sample_age_steps\":%.1f",
            t->inserted_per_s, t->sampled_per_s,
            l->committed > 0 ? (double)l->sampled / (double)l->committed : 0.0,
            t->sample_age_steps);
    fprintf(out,
            ",\"limiter\":{\"samples_per_insert\":%.9g,\"min_size_steps\":%" PRId64
            ",\"diff\":%.9g,\"diff_min\":%.9g,\"diff_max\":%.9g,\"waiting_inserts\":%zu,"
            "\"waiting_samples\":%zu,\"insert_waits\":%" PRIu64
            ",\"insert_wait_s\":%.6f,\"sample_waits\":%" PRIu64 ",\"sample_wait_s\":%.6f}}",
            l->ratio, l->min_size_steps, hwm_limiter_diff(l), l->diff_min, l->diff_max, t->held.n,
            t->waiting.n, l->insert_waits, l->insert_wait_s, l->sample_waits, l->sample_wait_s);
    pthread_mutex_unlock(&replay->queue);
}

// JSON has no nan: before the first commit there is nothing to tell.
static double quantile_or_zero(const hwm_metric* metric, double q) {
    return hwm_metric_value(metric) > 0.0 ? hwm_metric_quantile(metric, q) : 0.0;
}

static void histogram_json(FILE* out, const char* name, const hwm_metric* metric) {
    const double* bounds;
    uint64_t cumulative[33];
    double sum;
    int n = hwm_metric_buckets(metric, &bounds, cumulative, &sum);
    fprintf(out, ",\"%s\":{\"le\":[", name);
    for (int k = 0; k < n; k++) {
        fprintf(out, "%s%.9g", k > 0 ? "," : "", bounds[k]);
    }
    fputs("],\"count\":[", out);  // up to each bound, then all
    for (int k = 0; k <= n; k++) {
        fprintf(out, "%s%" PRIu64, k > 0 ? "," : "", cumulative[k]);
    }
    fprintf(out, "],\"sum\":%.9g}", sum);
}

void hwm_replay_count_refusal(hwm_replay* replay, int table, hwm_status status) {
    pthread_mutex_lock(&replay->queue);
    replay->table[table].refused[status]++;
    pthread_mutex_unlock(&replay->queue);
}

void hwm_replay_rates(hwm_replay* replay, int64_t now_ns) {
    const double s = (double)(now_ns - replay->rate_ns) * 1e-9;
    pthread_mutex_lock(&replay->queue);
    for (int i = 0; i < replay->n_tables; i++) {
        hwm_replay_slot* t = &replay->table[i];
        const hwm_limiter* l = &t->limiter;
        if (replay->rate_ns != 0 && s > 0.0) {
            t->inserted_per_s = (double)(int64_t)(l->committed - t->rate_inserted) / s;
            t->sampled_per_s = (double)(int64_t)(l->sampled - t->rate_sampled) / s;
        }
        t->rate_inserted = l->committed;
        t->rate_sampled = l->sampled;
    }
    pthread_mutex_unlock(&replay->queue);
    replay->rate_ns = now_ns;
}

char* hwm_replay_stats_json(hwm_replay* replay) {
    static const char* durability[] = {"full", "group", "process"};
    char* text = NULL;
    size_t size;
    FILE* out = open_memstream(&text, &size);
    if (out == NULL) {
        return NULL;
    }
    uint64_t used, unused;
    hwm_store_pages(replay->store, &used, &unused);
    fprintf(out,
            "{\"store\":{\"durability\":\"%s\",\"map_bytes\":%zu,\"map_bytes_max\":%zu,\"file_"
            "bytes\":%" PRIu64 ",\"free_bytes\":%" PRIu64
            ",\"commits\":%.0f,\"failures\":%.0f,\"commit_p50_s\":%.6f,"
            "\"commit_p99_s\":%.6f,\"oldest_reader_commits\":%" PRIu64,
            durability[replay->config.durability], hwm_store_map_bytes(replay->store),
            hwm_store_map_bytes_max(replay->store), used, unused, hwm_metric_value(replay->commits),
            hwm_metric_value(replay->failures), quantile_or_zero(replay->commit_seconds, 0.5),
            quantile_or_zero(replay->commit_seconds, 0.99), hwm_store_reader_lag(replay->store));
    histogram_json(out, "commit_seconds", replay->commit_seconds);
    histogram_json(out, "commit_chunks", replay->commit_chunks);
    fputs("},\"tables\":[", out);
    for (int i = 0; i < replay->n_tables; i++) {
        fputs(i > 0 ? "," : "", out);
        table_json(out, replay, &replay->table[i]);
    }
    fputs("]}", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
