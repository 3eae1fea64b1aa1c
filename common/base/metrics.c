// The registry: a fixed array of metrics, appended to under a lock, read and updated without one.
//
// Values are doubles in atomic words: counters and gauges are one word, a histogram has a word per
// bucket and one for the sum. A handle never moves and never dies, so a hot loop holds it in a
// static.
#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { METRICS_MAX = 512, BUCKETS_MAX = 32, NAME_BYTES_MAX = 96, LABELS_BYTES_MAX = 160 };

typedef enum metric_kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM } metric_kind;

struct hwm_metric {
    char name[NAME_BYTES_MAX];
    char labels[LABELS_BYTES_MAX];  // without braces; empty: none
    const char* help;
    metric_kind kind;
    _Atomic uint64_t value;  // bits of a double; histogram: sum
    int n_bounds;
    double bounds[BUCKETS_MAX];
    _Atomic uint64_t buckets[BUCKETS_MAX + 1];  // counts, not cumulative; the last is +Inf
};

static hwm_metric registry[METRICS_MAX];
static atomic_int registered;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;

static const char* const kind_names[] = {"counter", "gauge", "histogram"};

static double to_double(uint64_t bits) {
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t to_bits(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void atomic_add(_Atomic uint64_t* word, double value) {
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(word, &old, to_bits(to_double(old) + value),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

static bool name_is_valid(const char* name) {
    if (strncmp(name, "hwm_", 4) != 0 || strlen(name) >= NAME_BYTES_MAX)
        return false;
    int parts = 1;
    for (const char* c = name; *c; c++) {
        if (*c == '_')
            parts++;
        else if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9'))
            return false;
    }
    return parts >= 4;
}

static bool ends_in(const char* s, const char* end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static hwm_metric* metric_register(metric_kind kind, const char* name, const char* labels,
                                   const double* bounds, int n, const char* help) {
    HWM_ASSERT(name_is_valid(name));
    HWM_ASSERT((kind == KIND_COUNTER) == ends_in(name, "_total"));
    HWM_ASSERT(help && help[0]);
    if (!labels)
        labels = "";
    HWM_ASSERT(strlen(labels) < LABELS_BYTES_MAX);
    HWM_ASSERT(n >= 0 && n <= BUCKETS_MAX);
    for (int i = 1; i < n; i++)
        HWM_ASSERT(bounds[i - 1] < bounds[i]);

    pthread_mutex_lock(&registry_lock);
    int count = atomic_load(&registered);
    hwm_metric* m = NULL;
    for (int i = 0; i < count && !m; i++)
        if (strcmp(registry[i].name, name) == 0 && strcmp(registry[i].labels, labels) == 0)
            m = &registry[i];
    if (m) {
        HWM_ASSERT(m->kind == kind);
    } else {
        HWM_ASSERT(count < METRICS_MAX);
        m = &registry[count];
        memcpy(m->name, name, strlen(name) + 1);
        memcpy(m->labels, labels, strlen(labels) + 1);
        m->help = help;
        m->kind = kind;
        m->n_bounds = n;
        for (int i = 0; i < n; i++)
            m->bounds[i] = bounds[i];
        atomic_store(&registered, count + 1);  // publishes the fields above
    }
    pthread_mutex_unlock(&registry_lock);
    return m;
}

hwm_metric* hwm_counter(const char* name, const char* labels, const char* help) {
    return metric_register(KIND_COUNTER, name, labels, NULL, 0, help);
}

hwm_metric* hwm_gauge(const char* name, const char* labels, const char* help) {
    return metric_register(KIND_GAUGE, name, labels, NULL, 0, help);
}

hwm_metric* hwm_histogram(const char* name, const char* labels, const double* bounds, int n,
                          const char* help) {
    return metric_register(KIND_HISTOGRAM, name, labels, bounds, n, help);
}

void hwm_metric_add(hwm_metric* m, double value) {
    HWM_ASSERT(m->kind != KIND_HISTOGRAM);
    atomic_add(&m->value, value);
}

void hwm_metric_set(hwm_metric* m, double value) {
    HWM_ASSERT(m->kind == KIND_GAUGE);
    atomic_store_explicit(&m->value, to_bits(value), memory_order_relaxed);
}

void hwm_metric_observe(hwm_metric* m, double value) {
    HWM_ASSERT(m->kind == KIND_HISTOGRAM);
    int b = 0;
    while (b < m->n_bounds && !(value <= m->bounds[b]))
        b++;
    atomic_fetch_add_explicit(&m->buckets[b], 1, memory_order_relaxed);
    atomic_add(&m->value, value);
}

static uint64_t observations(const hwm_metric* m) {
    uint64_t n = 0;
    for (int b = 0; b <= m->n_bounds; b++)
        n += atomic_load_explicit(&m->buckets[b], memory_order_relaxed);
    return n;
}

double hwm_metric_value(const hwm_metric* m) {
    if (m->kind == KIND_HISTOGRAM)
        return (double)observations(m);
    return to_double(atomic_load_explicit(&m->value, memory_order_relaxed));
}

// Linear within the bucket; the last bucket has no upper end, so its lower one is the answer. NaN
// without observations.
double hwm_metric_quantile(const hwm_metric* m, double q) {
    HWM_ASSERT(m->kind == KIND_HISTOGRAM);
    uint64_t n = observations(m);
    if (n == 0)
        return NAN;
    double rank = q * (double)n, below = 0;
    for (int b = 0; b < m->n_bounds; b++) {
        double count = (double)atomic_load_explicit(&m->buckets[b], memory_order_relaxed);
        if (count > 0 && below + count >= rank) {
            double hi = m->bounds[b];
            double lo = b > 0 ? m->bounds[b - 1] : hi > 0 ? 0.0 : hi;
            return lo + (hi - lo) * (rank - below) / count;
        }
        below += count;
    }
    return m->n_bounds > 0 ? m->bounds[m->n_bounds - 1] : NAN;
}

// A number as Prometheus spells it: 15 digits where they read back to the same bits (0.1 stays
// 0.1), otherwise 17.
int hwm_metric_buckets(const hwm_metric* m, const double** bounds, uint64_t cumulative[33],
                       double* sum) {
    HWM_ASSERT(m->kind == KIND_HISTOGRAM);
    uint64_t n = 0;
    for (int b = 0; b <= m->n_bounds; b++) {
        n += atomic_load_explicit(&m->buckets[b], memory_order_relaxed);
        cumulative[b] = n;
    }
    *bounds = m->bounds;
    *sum = to_double(atomic_load_explicit(&m->value, memory_order_relaxed));
    return m->n_bounds;
}

static void print_value(FILE* f, double v) {
    char text[40];
    if (isnan(v)) {
        fputs("NaN", f);
    } else if (isinf(v)) {
        fputs(v > 0 ? "+Inf" : "-Inf", f);
    } else {
        snprintf(text, sizeof text, "%.15g", v);
        if (strtod(text, NULL) != v)
            snprintf(text, sizeof text, "%.17g", v);
        fputs(text, f);
    }
}

static void print_help(FILE* f, const char* help) {
    for (const char* c = help; *c; c++) {
        if (*c == '\\')
            fputs("\\\\", f);
        else if (*c == '\n')
            fputs("\\n", f);
        else
            fputc(*c, f);
    }
}

static void print_series(FILE* f, const hwm_metric* m) {
    const char *open = m->labels[0] ? "{" : "", *close = m->labels[0] ? "}" : "";
    if (m->kind != KIND_HISTOGRAM) {
        fprintf(f, "%s%s%s%s ", m->name, open, m->labels, close);
        print_value(f, hwm_metric_value(m));
        fputc('\n', f);
        return;
    }
    const char* comma = m->labels[0] ? "," : "";
    uint64_t cumulative = 0;
    for (int b = 0; b <= m->n_bounds; b++) {
        cumulative += atomic_load_explicit(&m->buckets[b], memory_order_relaxed);
        fprintf(f, "%s_bucket{%s%sle=\"", m->name, m->labels, comma);
        print_value(f, b < m->n_bounds ? m->bounds[b] : INFINITY);
        fprintf(f, "\"} %llu\n", (unsigned long long)cumulative);
    }
    fprintf(f, "%s_sum%s%s%s ", m->name, open, m->labels, close);
    print_value(f, to_double(atomic_load_explicit(&m->value, memory_order_relaxed)));
    fprintf(f, "\n%s_count%s%s%s %llu\n", m->name, open, m->labels, close,
            (unsigned long long)cumulative);
}

char* hwm_metrics_prometheus(void) {
    char* text = NULL;
    size_t size = 0;
    FILE* f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    int n = atomic_load(&registered);
    for (int i = 0; i < n; i++) {
        // all series of a name stand together, under one HELP and TYPE
        bool first = true;
        for (int j = 0; j < i && first; j++)
            first = strcmp(registry[j].name, registry[i].name) != 0;
        if (!first)
            continue;
        fprintf(f, "# HELP %s ", registry[i].name);
        print_help(f, registry[i].help);
        fprintf(f, "\n# TYPE %s %s\n", registry[i].name, kind_names[registry[i].kind]);
        for (int j = i; j < n; j++)
            if (strcmp(registry[j].name, registry[i].name) == 0)
                print_series(f, &registry[j]);
    }
    bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

static void print_json_number(FILE* f, double v) {
    if (isfinite(v))
        print_value(f, v);
    else
        fputs("null", f);
}

static void print_json_key(FILE* f, const hwm_metric* m) {
    fprintf(f, "\"%s", m->name);
    if (m->labels[0]) {
        fputc('{', f);
        for (const char* c = m->labels; *c; c++) {
            if (*c == '"' || *c == '\\')
                fputc('\\', f);
            fputc(*c, f);
        }
        fputc('}', f);
    }
    fputs("\":", f);
}

char* hwm_metrics_json(void) {
    char* text = NULL;
    size_t size = 0;
    FILE* f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    int n = atomic_load(&registered);
    fputc('{', f);
    for (int i = 0; i < n; i++) {
        const hwm_metric* m = &registry[i];
        if (i)
            fputc(',', f);
        print_json_key(f, m);
        if (m->kind != KIND_HISTOGRAM) {
            print_json_number(f, hwm_metric_value(m));
            continue;
        }
        fprintf(f, "{\"count\":%.0f,\"sum\":", hwm_metric_value(m));
        print_json_number(f, to_double(atomic_load_explicit(&m->value, memory_order_relaxed)));
        static const struct {
            const char* key;
            double q;
        } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}};
        for (size_t k = 0; k < sizeof quantiles / sizeof quantiles[0]; k++) {
            fprintf(f, ",\"%s\":", quantiles[k].key);
            print_json_number(f, hwm_metric_quantile(m, quantiles[k].q));
        }
        fputc('}', f);
    }
    fputc('}', f);
    bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
