// Lines are put together on the stack and written with one write(2), so that lines of several
// processes and threads never mix.
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    LOG_LINE_BYTES_MAX = 4096,
    LOG_EVENTS = 256,  // distinct (level, component, event) whose rate is watched
    LOG_BURST = 10,    // lines of one event within the window; what exceeds it is counted
    LOG_WINDOW_MS = 10000,
};

// How often one event was logged in its current window, and how many lines of it were held back.
typedef struct log_event {
    uint64_t hash;  // 0: free
    int64_t window_start_ms;
    uint32_t count;
    uint32_t held_back;
} log_event;

static struct {
    pthread_mutex_t lock;
    char program[64];
    hwm_log_level level;
    hwm_log_format format;
    log_event events[LOG_EVENTS];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .program = "hwm", .level = HWM_LOG_INFO};

static const char* const level_names[] = {"debug", "info", "warn", "error"};

void hwm_log_setup(const char* program, hwm_log_level level, hwm_log_format format) {
    pthread_mutex_lock(&state.lock);
    snprintf(state.program, sizeof state.program, "%s", program);
    state.level = level;
    state.format = format;
    pthread_mutex_unlock(&state.lock);
}

static uint64_t hash_event(hwm_log_level level, const char* component, const char* event) {
    uint64_t h = 1469598103934665603u + (uint64_t)level;
    for (const char* s = component; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    h = (h ^ '/') * 1099511628211u;
    for (const char* s = event; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h | 1;
}

// True when the line may be written; *held_back is then the number of lines of this event that were
// not.
static bool admit(hwm_log_level level, const char* component, const char* event, int64_t now_ms,
                  uint32_t* held_back) {
    *held_back = 0;
    uint64_t h = hash_event(level, component, event);
    log_event* e = &state.events[h % LOG_EVENTS];
    if (e->hash != h)  // two events on one slot take turns: a line too many, never one too few
        *e = (log_event){.hash = h, .window_start_ms = now_ms};
    if (now_ms - e->window_start_ms >= LOG_WINDOW_MS) {
        e->window_start_ms = now_ms;
        e->count = 0;
    }
    if (++e->count > LOG_BURST) {
        e->held_back++;
        return false;
    }
    *held_back = e->held_back;
    e->held_back = 0;
    return true;
}

// Append to a line of LOG_LINE_BYTES_MAX bytes, leaving room for the newline; what does not fit is
// cut.
typedef struct line {
    char text[LOG_LINE_BYTES_MAX];
    size_t n;
} line;

static void put_char(line* l, char c) {
    if (l->n < LOG_LINE_BYTES_MAX - 1)
        l->text[l->n++] = c;
}

static void put(line* l, const char* s) {
    while (*s)
        put_char(l, *s++);
}

// The bytes of a JSON string; what JSON cannot hold raw is escaped.
static void put_json(line* l, const char* s, size_t n) {
    put_char(l, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            put_char(l, '\\');
            put_char(l, (char)c);
        } else if (c < 0x20) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put(l, escape);
        } else {
            put_char(l, (char)c);
        }
    }
    put_char(l, '"');
}

static bool is_json_number(const char* s, size_t n) {
    size_t i = 0;
    if (i < n && s[i] == '-')
        i++;
    size_t digits = i;
    while (i < n && s[i] >= '0' && s[i] <= '9')
        i++;
    if (i == digits || (s[digits] == '0' && i - digits > 1))
        return false;
    if (i < n && s[i] == '.') {
        size_t fraction = ++i;
        while (i < n && s[i] >= '0' && s[i] <= '9')
            i++;
        if (i == fraction)
            return false;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        if (i < n && (s[i] == '+' || s[i] == '-'))
            i++;
        size_t exponent = i;
        while (i < n && s[i] >= '0' && s[i] <= '9')
            i++;
        if (i == exponent)
            return false;
    }
    return i == n;
}

// detail is "key=value key="a value"": each pair becomes a member; a word without '=' continues the
// value before it.
static void put_json_detail(line* l, const char* detail) {
    const char* s = detail;
    while (*s) {
        while (*s == ' ')
            s++;
        size_t key = strcspn(s, " =");
        if (s[key] != '=' || key == 0) {  // free text to the end
            if (*s) {
                put(l, ",\"text\":");
                put_json(l, s, strlen(s));
            }
            return;
        }
        put_char(l, ',');
        put_json(l, s, key);
        put_char(l, ':');
        s += key + 1;
        if (*s == '"') {
            const char* end = strchr(s + 1, '"');
            size_t n = end ? (size_t)(end - s - 1) : strlen(s + 1);
            put_json(l, s + 1, n);
            s += 1 + n + (end ? 1 : 0);
            continue;
        }
        // the value reaches to the next word that has a '=' in it
        size_t n = strcspn(s, " ");
        while (s[n] == ' ') {
            size_t word = strcspn(s + n + 1, " =");
            if (s[n + 1 + word] == '=' && word > 0)
                break;
            n += 1 + strcspn(s + n + 1, " ");
        }
        if (is_json_number(s, n))
            for (size_t i = 0; i < n; i++)
                put_char(l, s[i]);
        else
            put_json(l, s, n);
        s += n;
    }
}

static void write_line(line* l) {
    l->text[l->n++] = '\n';
    size_t done = 0;
    while (done < l->n) {
        ssize_t n = write(STDERR_FILENO, l->text + done, l->n - done);
        if (n < 0 && errno != EINTR)
            return;  // nowhere left to complain to
        if (n > 0)
            done += (size_t)n;
    }
}

void hwm_log(hwm_log_level level, const char* component, const char* event, const char* format,
             ...) {
    char detail[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    for (char* c = detail; *c; c++)  // one event, one line
        if (*c == '\n' || *c == '\r')
            *c = ' ';

    pthread_mutex_lock(&state.lock);
    uint32_t held_back;
    int64_t now_ms = hwm_clock_wall_ms();
    if (level >= state.level &&
        admit(level, component, event, hwm_clock_ns() / 1000000, &held_back)) {
        time_t seconds = (time_t)(now_ms / 1000);
        struct tm utc;
        gmtime_r(&seconds, &utc);
        char stamp[64], number[32];
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
        size_t length = strlen(stamp);
        snprintf(stamp + length, sizeof stamp - length, ".%03dZ", (int)(now_ms % 1000));
        snprintf(number, sizeof number, "%u", held_back);
        line l = {.n = 0};
        if (state.format == HWM_LOG_JSON) {
            const char* members[][2] = {{"{\"time\":", stamp},
                                        {",\"level\":", level_names[level]},
                                        {",\"program\":", state.program},
                                        {",\"component\":", component},
                                        {",\"event\":", event}};
            for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
                put(&l, members[i][0]);
                put_json(&l, members[i][1], strlen(members[i][1]));
            }
            put_json_detail(&l, detail);
            if (held_back) {
                put(&l, ",\"held_back\":");
                put(&l, number);
            }
            put_char(&l, '}');
        } else {
            put(&l, stamp);
            put(&l, level == HWM_LOG_INFO || level == HWM_LOG_WARN ? "  " : " ");
            put(&l, level_names[level]);
            put_char(&l, ' ');
            put(&l, state.program);
            put_char(&l, ' ');
            put(&l, component);
            put(&l, ": ");
            put(&l, event);
            if (detail[0]) {
                put_char(&l, ' ');
                put(&l, detail);
            }
            if (held_back) {
                put(&l, " held_back=");
                put(&l, number);
            }
        }
        write_line(&l);
    }
    pthread_mutex_unlock(&state.lock);
}
