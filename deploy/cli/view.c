#include "view.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "display.h"

enum { WORKERS_SHOWN_MAX = 4096 };

typedef struct page {
    char* text;
    size_t size, used;
    int width, lines;
} page;

// Bytes of a line that fit: without the last of its parts, which commas, colons and semicolons
// separate; cut only where not even the first fits.
static size_t fitting(const char* text, int width) {
    size_t n = 0;
    for (int columns = 0; text[n] && columns < width; columns++) {
        n++;
        while (((unsigned char)text[n] & 0xc0) == 0x80) {
            n++;
        }
    }
    if (text[n]) {
        for (size_t k = n; k > 0; k--) {
            if (strchr(",:;", text[k]) && text[k + 1] == ' ') {
                return k;
            }
        }
    }
    return n;
}

// One line of parts; those at the end that the width has no room for are left out.
__attribute__((format(printf, 2, 3))) static void line(page* p, const char* format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n = fitting(text, p->width);
    if (p->used + n + 2 <= p->size) {
        memcpy(p->text + p->used, text, n);
        p->used += n;
        p->text[p->used++] = '\n';
        p->text[p->used] = '\0';
        p->lines++;
    }
}

typedef struct shown {
    char s[32];
} shown;

static shown count(const hwm_json* j, const char* path) {
    shown t;
    hwm_display_count(hwm_json_number(j, path, NAN), t.s, sizeof t.s);
    return t;
}

static shown bytes(const hwm_json* j, const char* path) {
    shown t;
    hwm_display_bytes(hwm_json_number(j, path, NAN), t.s, sizeof t.s);
    return t;
}

static shown number(const hwm_json* j, const char* path) {
    shown t;
    hwm_display_number(hwm_json_number(j, path, NAN), t.s, sizeof t.s);
    return t;
}

static shown duration(const hwm_json* j, const char* path) {
    shown t;
    hwm_display_duration(hwm_json_number(j, path, NAN), t.s, sizeof t.s);
    return t;
}

// Change of a counter per second since the earlier answer.
static shown rate(const hwm_json* stats, const hwm_view_options* o, const char* path) {
    shown t = {"-"};
    if (o->previous && o->elapsed_s > 0) {
        double now = hwm_json_number(stats, path, NAN),
               then = hwm_json_number(o->previous, path, NAN);
        hwm_display_number((now - then) / o->elapsed_s, t.s, sizeof t.s);
    }
    return t;
}

// Between the two answers; where there is only one, what the server measured last.
static shown lately(const hwm_json* stats, const hwm_view_options* o, const char* path,
                    const hwm_json* table, const char* own) {
    return o->previous ? rate(stats, o, path) : number(table, own);
}

// ---- workers, sorted

typedef struct worker_row {
    const hwm_json* json;
    double key;
    const char* host;
} worker_row;

static int by_key(const void* a, const void* b) {
    const worker_row *x = a, *y = b;
    if (x->host && y->host && strcmp(x->host, y->host) != 0) {
        return strcmp(x->host, y->host);
    }
    return (x->key > y->key) - (x->key < y->key);
}

static const char* const sort_names[HWM_VIEW_SORTS] = {"rank",   "host", "steps",  "steps/s",
                                                       "return", "lag",  "blocked"};
static const char* const sort_keys[HWM_VIEW_SORTS] = {
    "rank", "rank", "env_steps", "steps_per_s", "return_mean", "version_lag", "blocked_s"};

const char* hwm_view_sort_name(hwm_view_sort sort) {
    return sort_names[sort];
}

// Columns of the table of workers, from left to right.
typedef enum column {
    RANK,
    HOST,
    PID,
    STATE,
    ENVS,
    STEPS,
    RATE,
    EPISODES,
    RETURN,
    VERSION,
    LAG,
    BLOCKED,
    SEEN,
    COLUMNS
} column;
static const struct {
    const char* title;
    int width;  // negative: to the left
    const char* key;
} column_of[COLUMNS] = {
    [RANK] = {"rank", 6, "rank"},
    [HOST] = {"host", -12, "host"},
    [PID] = {"pid", 7, "pid"},
    [STATE] = {"state", 5, "alive"},
    [ENVS] = {"envs", 5, "environments"},
    [STEPS] = {"steps", 13, "env_steps"},
    [RATE] = {"steps/s", 9, "steps_per_s"},
    [EPISODES] = {"episodes", 9, "episodes"},
    [RETURN] = {"return", 8, "return_mean"},
    [VERSION] = {"version", 8, "version"},
    [LAG] = {"lag", 5, "version_lag"},
    [BLOCKED] = {"blocked", 9, "blocked_s"},
    [SEEN] = {"last seen", 9, "last_seen_s"},
};

// Bits of the columns that there is room for: the one that is sorted by, then what matters most.
static unsigned columns_that_fit(int width, hwm_view_sort sort) {
    static const column sorted[HWM_VIEW_SORTS] = {RANK, HOST, STEPS, RATE, RETURN, LAG, BLOCKED};
    const column order[] = {RANK, sorted[sort], STATE,    RATE,    RETURN,  STEPS, LAG,
                            SEEN, HOST,         EPISODES, VERSION, BLOCKED, ENVS,  PID};
    unsigned fit = 0;
    int used = -1;
    for (size_t k = 0; k < sizeof order / sizeof order[0]; k++) {
        int more = abs(column_of[order[k]].width) + 1;
        if (!(fit & 1u << order[k]) && used + more <= width) {
            fit |= 1u << order[k];
            used += more;
        }
    }
    return fit;
}

// json NULL: the titles.
static void worker_line(page* p, unsigned fit, const hwm_json* json) {
    char text[256];
    int used = 0;
    for (column k = RANK; k < COLUMNS; k++) {
        const char* key = column_of[k].key;
        shown value;
        if (!(fit & 1u << k)) {
            continue;
        }
        if (!json) {
            snprintf(value.s, sizeof value.s, "%s", column_of[k].title);
        } else if (k == HOST) {
            snprintf(value.s, sizeof value.s, "%.12s", hwm_json_text(json, key, "-"));
        } else if (k == STATE) {
            snprintf(value.s, sizeof value.s, "%s", hwm_json_true(json, key) ? "alive" : "dead");
        } else if (k == PID) {
            snprintf(value.s, sizeof value.s, "%.0f", hwm_json_number(json, key, NAN));
        } else {
            value = k == BLOCKED || k == SEEN  ? duration(json, key)
                    : k == RATE || k == RETURN ? number(json, key)
                                               : count(json, key);
        }
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%*s", used ? " " : "",
                         column_of[k].width, value.s);
    }
    line(p, "%s", text);
}

static void workers(page* p, const hwm_json* stats, const hwm_view_options* o) {
    int n = (int)hwm_json_size(stats, "workers");
    n = n < WORKERS_SHOWN_MAX ? n : WORKERS_SHOWN_MAX;
    worker_row* row = calloc((size_t)n + 1, sizeof *row);
    if (!row) {
        return;
    }
    int alive = 0;
    double steps_per_s = 0.0;
    for (int i = 0; i < n; i++) {
        char path[32];
        snprintf(path, sizeof path, "workers.%d", i);
        row[i].json = hwm_json_at(stats, path);
        row[i].key = hwm_json_number(row[i].json, sort_keys[o->sort], -INFINITY);
        row[i].host = o->sort == HWM_VIEW_HOST ? hwm_json_text(row[i].json, "host", "") : NULL;
        if (hwm_json_true(row[i].json, "alive")) {
            alive++;
            steps_per_s += hwm_json_number(row[i].json, "steps_per_s", 0.0);
        }
    }
    qsort(row, (size_t)n, sizeof *row, by_key);
    shown total;
    hwm_display_number(steps_per_s, total.s, sizeof total.s);
    line(p, "workers   %d alive of %d, %s env steps/s", alive, n, total.s);
    unsigned fit = columns_that_fit(p->width, o->sort);
    if (n > 0) {
        worker_line(p, fit, NULL);
    }
    for (int i = 0; i < n; i++) {
        if (o->height > 0 && p->lines >= o->height - 1 && i < n - 1) {
            line(p, "       and %d more", n - i);
            break;
        }
        worker_line(p, fit, row[o->reverse ? n - 1 - i : i].json);
    }
    free(row);
}

// ---- the server, its tables, its learners

static void refusals(page* p, const hwm_json* reasons) {
    char text[256];
    size_t used = 0;
    for (size_t i = 0; reasons && i < hwm_json_size(reasons, "") && used < sizeof text; i++) {
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s %s", i ? ", " : "",
                             hwm_json_key(reasons, i), count(reasons, hwm_json_key(reasons, i)).s);
    }
    if (used > 0) {
        line(p, "  refused %s", text);
    }
}

static void tables(page* p, const hwm_json* stats, const hwm_view_options* o) {
    size_t n = hwm_json_size(stats, "replay.tables");
    for (size_t i = 0; i < n; i++) {
        char path[64], inserted[80], sampled[80];
        snprintf(path, sizeof path, "replay.tables.%zu", i);
        const hwm_json* t = hwm_json_at(stats, path);
        snprintf(inserted, sizeof inserted, "%s.inserted_steps", path);
        snprintf(sampled, sizeof sampled, "%s.sampled_steps", path);
        line(p, "table     %s%s: %s of %s steps, %s chunks, %s, %s episodes",
             hwm_json_text(t, "name", "?"), hwm_json_true(t, "closed") ? " (closed)" : "",
             count(t, "steps").s, count(t, "capacity_steps").s, count(t, "chunks").s,
             bytes(t, "bytes").s, count(t, "episodes").s);
        line(
            p,
            "  flow    inserted %s (%s/s), sampled %s (%s/s, %s per insert, age %s steps), evicted "
            "%s, duplicates %s, refused %s",
            count(t, "inserted_steps").s, lately(stats, o, inserted, t, "inserted_per_s").s,
            count(t, "sampled_steps").s, lately(stats, o, sampled, t, "sampled_per_s").s,
            number(t, "ratio").s, count(t, "sample_age_steps").s, count(t, "evicted_steps").s,
            count(t, "duplicates").s, count(t, "refused").s);
        refusals(p, hwm_json_at(t, "refusals"));
        line(p,
             "  limiter %s sampled per inserted step; at %s of %s .. %s; waiting: %s inserts, %s "
             "samples; waited: inserts %s, samples %s",
             number(t, "limiter.samples_per_insert").s, count(t, "limiter.diff").s,
             count(t, "limiter.diff_min").s, count(t, "limiter.diff_max").s,
             count(t, "limiter.waiting_inserts").s, count(t, "limiter.waiting_samples").s,
             duration(t, "limiter.insert_wait_s").s, duration(t, "limiter.sample_wait_s").s);
    }
    if (n == 0) {
        line(p, "table     none yet: a learner creates it");
    }
}

static void parameters(page* p, const hwm_json* stats) {
    const hwm_json* sets = hwm_json_at(stats, "params.sets");
    size_t n = hwm_json_size(sets, "");
    for (size_t i = 0; sets && i < n; i++) {
        const hwm_json* s = hwm_json_member(sets, i);
        line(p, "params    %s: version %s, %s, %s versions kept", hwm_json_key(sets, i),
             count(s, "version").s, bytes(s, "bytes").s, count(s, "stored").s);
    }
}

static void learners(page* p, const hwm_json* stats) {
    size_t n = hwm_json_size(stats, "learners");
    for (size_t i = 0; i < n; i++) {
        char path[32];
        snprintf(path, sizeof path, "learners.%zu", i);
        const hwm_json* l = hwm_json_at(stats, path);
        line(p, "learner   rank %s on %s, pid %.0f, %s: %s samples, last seen %s ago",
             count(l, "rank").s, hwm_json_text(l, "host", "-"), hwm_json_number(l, "pid", NAN),
             hwm_json_true(l, "alive") ? "alive" : "dead", count(l, "samples").s,
             duration(l, "last_seen_s").s);
    }
    if (n == 0) {
        line(p, "learner   none");
    }
}

int hwm_view_page(const hwm_json* stats, const hwm_view_options* o, char* text, size_t size) {
    page p = {text, size, 0, o->width, 0};
    text[0] = '\0';
    line(&p, "server    hwm-server %s at %s, up %s", hwm_json_text(stats, "version", "?"),
         hwm_json_text(stats, "endpoint", "?"), duration(stats, "uptime_s").s);
    line(&p, "  load    memory %s, cpu %s s, requests %s (%s/s), refused %s, malformed %s",
         bytes(stats, "memory_bytes").s, number(stats, "cpu_s").s, count(stats, "requests.total").s,
         rate(stats, o, "requests.total").s, count(stats, "requests.refused").s,
         count(stats, "requests.malformed").s);
    line(&p, "  store   durability %s, file %s of %s, commits %s (99 %% within %s s), failures %s",
         hwm_json_text(stats, "replay.store.durability", "-"),
         bytes(stats, "replay.store.file_bytes").s, bytes(stats, "replay.store.map_bytes").s,
         count(stats, "replay.store.commits").s, number(stats, "replay.store.commit_p99_s").s,
         count(stats, "replay.store.failures").s);
    line(&p, "  disk    %s free of %s, free pages in the file %s, oldest reader %s commits old",
         bytes(stats, "disk.free_bytes").s, bytes(stats, "disk.total_bytes").s,
         bytes(stats, "replay.store.free_bytes").s,
         count(stats, "replay.store.oldest_reader_commits").s);
    tables(&p, stats, o);
    parameters(&p, stats);
    line(&p, "tasks     %s waiting, %s leased, %s completed, %s failed",
         count(stats, "tasks.waiting").s, count(stats, "tasks.leased").s,
         count(stats, "tasks.completed").s, count(stats, "tasks.failed").s);
    learners(&p, stats);
    workers(&p, stats, o);
    return p.lines;
}
