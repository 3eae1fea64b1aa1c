// The few protobuf fields that an Event needs are put together by hand: the schema has not changed
// in ten years, and the generated code of a dozen nested messages would weigh more than this file.
#include "base/events.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc.h"

enum {
    TAG_BYTES_MAX = 200,
    BUCKETS = 30,
    RECORD_BYTES_MAX = 2048,  // a histogram: 2 * BUCKETS doubles, the tag, and some
    BUFFER_BYTES = 64 * 1024,
    FRAME_BYTES = 16,
};

struct hwm_events {
    int fd;
    int64_t last_step;
    off_t written;  // bytes of whole records in the file
    size_t used;    // bytes of whole records in the buffer
    unsigned char buffer[BUFFER_BYTES];
};

// A message under construction.
typedef struct message {
    unsigned char bytes[RECORD_BYTES_MAX];
    size_t n;
} message;

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static void put_varint(message* m, uint64_t v) {
    while (v >= 0x80) {
        m->bytes[m->n++] = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    m->bytes[m->n++] = (unsigned char)v;
}

static void put_key(message* m, int field, int wire) {
    put_varint(m, (uint64_t)(field << 3 | wire));
}

static void put_raw(message* m, const void* bytes, size_t n) {
    HWM_ASSERT(m->n + n <= sizeof m->bytes);
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

static void put_double(message* m, int field, double v) {
    put_key(m, field, WIRE_FIXED64);
    put_raw(m, &v, sizeof v);
}

static void put_bytes(message* m, int field, const void* bytes, size_t n) {
    put_key(m, field, WIRE_BYTES);
    put_varint(m, n);
    put_raw(m, bytes, n);
}

static void put_int(message* m, int field, int64_t v) {
    put_key(m, field, WIRE_VARINT);
    put_varint(m, (uint64_t)v);
}

// CRCs are stored so that a CRC over data that holds CRCs keeps its strength.
static uint32_t masked_crc(const void* bytes, size_t n) {
    uint32_t crc = hwm_crc32c(0, bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

hwm_status hwm_events_flush(hwm_events* e) {
    size_t done = 0;
    while (done < e->used) {
        ssize_t n = write(e->fd, e->buffer + done, e->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            // take back the piece that did fit: what is in the buffer is written again by the next
            // flush
            if (ftruncate(e->fd, e->written) == 0)
                lseek(e->fd, e->written, SEEK_SET);
            return HWM_EIO;
        }
        done += (size_t)n;
    }
    e->written += (off_t)e->used;
    e->used = 0;
    return HWM_OK;
}

static hwm_status put_record(hwm_events* e, const message* m) {
    if (e->used + m->n + FRAME_BYTES > sizeof e->buffer) {
        hwm_status status = hwm_events_flush(e);
        if (status != HWM_OK)
            return status;
    }
    uint64_t length = m->n;
    uint32_t length_crc = masked_crc(&length, sizeof length);
    uint32_t bytes_crc = masked_crc(m->bytes, m->n);
    unsigned char* p = e->buffer + e->used;
    memcpy(p, &length, 8);
    memcpy(p + 8, &length_crc, 4);
    memcpy(p + 12, m->bytes, m->n);
    memcpy(p + 12 + m->n, &bytes_crc, 4);
    e->used += m->n + FRAME_BYTES;
    return HWM_OK;
}

// Event{wall_time = 1, step = 2}
static void begin_event(message* m, int64_t step) {
    m->n = 0;
    put_double(m, 1, (double)hwm_clock_wall_ms() * 1e-3);
    put_int(m, 2, step);
}

// Event{summary = 5 {value = 1 {tag = 1, ...}}}: value is the rest of the innermost message.
static hwm_status put_value(hwm_events* e, int64_t step, const char* tag, const message* value) {
    if (step < e->last_step || strlen(tag) == 0 || strlen(tag) > TAG_BYTES_MAX)
        return HWM_EINVAL;
    message inner = {.n = 0}, summary = {.n = 0}, event;
    put_bytes(&inner, 1, tag, strlen(tag));
    put_raw(&inner, value->bytes, value->n);
    put_bytes(&summary, 1, inner.bytes, inner.n);
    begin_event(&event, step);
    put_bytes(&event, 5, summary.bytes, summary.n);
    hwm_status status = put_record(e, &event);
    if (status == HWM_OK)
        e->last_step = step;
    return status;
}

hwm_status hwm_events_create(hwm_events** out, const char* dir, int64_t resume_step,
                             hwm_error* err) {
    *out = NULL;
    char host[64] = "localhost", path[4096];
    gethostname(host, sizeof host - 1);
    int n = snprintf(path, sizeof path, "%s/events.out.tfevents.%lld.%s.%d", dir,
                     (long long)(hwm_clock_wall_ms() / 1000), host, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof path)
        return hwm_fail(err, HWM_EINVAL, "%.100s...: path too long", dir);
    hwm_events* e = calloc(1, sizeof *e);
    if (!e)
        return hwm_fail(err, HWM_ENOMEM, "%s: out of memory", path);
    e->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (e->fd < 0) {
        hwm_fail(err, HWM_EIO, "%s: cannot be written: %s", path, strerror(errno));
        free(e);
        return HWM_EIO;
    }
    e->written = lseek(e->fd, 0, SEEK_END);  // the same process may open its file again
    message event = {.n = 0};
    static const char version[] = "brain.Event:2";
    put_double(&event, 1, (double)hwm_clock_wall_ms() * 1e-3);
    put_bytes(&event, 3, version, sizeof version - 1);
    put_record(e, &event);
    if (resume_step >= 0) {
        message log = {.n = 0};
        put_int(&log, 1, 1);  // SessionLog.START
        begin_event(&event, resume_step);
        put_bytes(&event, 7, log.bytes, log.n);
        put_record(e, &event);
        e->last_step = resume_step;
    }
    if (hwm_events_flush(e) != HWM_OK) {
        hwm_fail(err, HWM_EIO, "%s: cannot be written: %s", path, strerror(errno));
        close(e->fd);
        free(e);
        return HWM_EIO;
    }
    *out = e;
    return HWM_OK;
}

void hwm_events_destroy(hwm_events** events) {
    hwm_events* e = *events;
    if (!e)
        return;
    hwm_events_flush(e);
    close(e->fd);
    free(e);
    *events = NULL;
}

hwm_status hwm_events_scalar(hwm_events* e, int64_t step, const char* tag, float value) {
    message m = {.n = 0};
    put_key(&m, 2, WIRE_FIXED32);
    put_raw(&m, &value, sizeof value);
    return put_value(e, step, tag, &m);
}

// HistogramProto{min = 1, max = 2, num = 3, sum = 4, sum_squares = 5, bucket_limit = 6, bucket =
// 7}, BUCKETS of equal width.
hwm_status hwm_events_histogram(hwm_events* e, int64_t step, const char* tag, const float* values,
                                size_t n) {
    double lo = INFINITY, hi = -INFINITY, sum = 0, squares = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        double v = values[i];
        if (!isfinite(v))
            continue;
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
        sum += v;
        squares += v * v;
        count++;
    }
    if (count == 0)
        return HWM_OK;
    double limit[BUCKETS], bucket[BUCKETS] = {0};
    // all values equal: a narrow histogram around them, so that every bucket has a width
    double width = hi > lo ? (hi - lo) / BUCKETS : fmax(fabs(lo), 1e-12) * 1e-6;
    for (int b = 0; b < BUCKETS; b++)
        limit[b] = b == BUCKETS - 1 && hi > lo ? hi : lo + width * (b + 1);
    for (size_t i = 0; i < n; i++) {
        double v = values[i];
        if (!isfinite(v))
            continue;
        int b = (int)((v - lo) / width);
        bucket[b < BUCKETS ? b : BUCKETS - 1] += 1;
    }
    message histogram = {.n = 0}, m = {.n = 0};
    put_double(&histogram, 1, lo);
    put_double(&histogram, 2, hi);
    put_double(&histogram, 3, (double)count);
    put_double(&histogram, 4, sum);
    put_double(&histogram, 5, squares);
    put_bytes(&histogram, 6, limit, sizeof limit);
    put_bytes(&histogram, 7, bucket, sizeof bucket);
    put_bytes(&m, 5, histogram.bytes, histogram.n);
    return put_value(e, step, tag, &m);
}
