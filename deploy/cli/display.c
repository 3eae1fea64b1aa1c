#include "display.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

static const double live_interval_s = 0.5, line_interval_s = 5.0;
enum { WIDTH_MIN = 20, WIDTH_MAX = 160, BLOCK_BYTES = 16384 };

void hwm_display_duration(double seconds, char* text, size_t size) {
    if (!isfinite(seconds) || seconds < 0.0) {
        snprintf(text, size, "-");
        return;
    }
    long s = lround(seconds);
    if (s >= 86400) {
        snprintf(text, size, "%ldd%02ldh", s / 86400, s % 86400 / 3600);
    } else if (s >= 3600) {
        snprintf(text, size, "%ldh%02ldm", s / 3600, s % 3600 / 60);
    } else if (s >= 60) {
        snprintf(text, size, "%ldm%02lds", s / 60, s % 60);
    } else {
        snprintf(text, size, "%lds", s);
    }
}

void hwm_display_count(double value, char* text, size_t size) {
    if (!isfinite(value)) {
        snprintf(text, size, "-");
        return;
    }
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", fabs(value));
    size_t out = 0;
    if (value < -0.5 && out + 1 < size) {
        text[out++] = '-';
    }
    for (int i = 0; i < n && out + 2 < size; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            text[out++] = ',';
        }
        text[out++] = digits[i];
    }
    text[out] = '\0';
}

void hwm_display_bytes(double bytes, char* text, size_t size) {
    static const char* const unit[] = {"B", "KB", "MB", "GB", "TB"};
    int u = 0;
    while (bytes >= 1000.0 && u < 4) {
        bytes /= 1000.0;
        u++;
    }
    snprintf(text, size, isfinite(bytes) ? "%.3g %s" : "-", bytes, unit[u]);
}

void hwm_display_number(double value, char* text, size_t size) {
    if (!isfinite(value)) {
        snprintf(text, size, "-");
    } else if (fabs(value) >= 99.95) {
        snprintf(text, size, "%.0f", value);
    } else {
        snprintf(text, size, "%.3g", value);
    }
}

int hwm_display_sparkline(const double* values, int n_values, int columns, bool utf8, char* text,
                          size_t size) {
    static const char* const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char* const ascii[] = {"_", ".", ",", "-", "=", "+", "*", "#"};
    int used = n_values < columns ? n_values : columns;
    double lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < n_values; i++) {
        lo = fmin(lo, values[i]);
        hi = fmax(hi, values[i]);
    }
    size_t out = 0;
    text[0] = '\0';
    for (int c = 0; c < used; c++) {
        // the mean of the values that fall into this column
        int from = (int)((long)c * n_values / used), to = (int)((long)(c + 1) * n_values / used);
        double sum = 0.0;
        for (int i = from; i < to; i++) {
            sum += values[i];
        }
        double mean = sum / (to - from);
        int level = hi > lo ? (int)((mean - lo) / (hi - lo) * 7.999) : 0;
        const char* bar = utf8 ? bars[level] : ascii[level];
        if (out + strlen(bar) + 1 > size) {
            break;
        }
        memcpy(text + out, bar, strlen(bar) + 1);
        out += strlen(bar);
    }
    return (int)out;
}

// ---- the block: lines of parts; a part that does not fit any more is left out

typedef struct block {
    char* text;
    size_t size, used;
    int width, column, lines;
} block;

static void put(block* b, const char* text) {
    size_t n = strlen(text);
    if (b->used + n + 1 <= b->size) {
        memcpy(b->text + b->used, text, n + 1);
        b->used += n;
    }
}

// Without colours (ESC [ .. m), which take no room.
static int columns_of(const char* text) {
    int n = 0;
    for (; *text; text++) {
        const char* end = *text == '\033' ? strchr(text, 'm') : NULL;
        text = end ? end : text;
        n += !end && ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

static bool part(block* b, const char* format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int columns = columns_of(text);
    if (b->column + columns > b->width) {
        return false;
    }
    put(b, text);
    b->column += columns;
    return true;
}

static void end_line(block* b) {
    // no spaces at the end of a line
    while (b->used > 0 && b->text[b->used - 1] == ' ') {
        b->text[--b->used] = '\0';
    }
    put(b, "\n");
    b->column = 0;
    b->lines++;
}

static void bar(block* b, double share, int columns, bool utf8) {
    char text[4 * WIDTH_MAX + 1] = "";
    size_t used = 0;
    int full = isfinite(share) ? (int)(share * columns + 0.5) : 0;
    for (int i = 0; i < columns; i++) {
        const char* c = utf8 ? (i < full ? "█" : "░") : (i < full ? "#" : ".");
        memcpy(text + used, c, strlen(c) + 1);
        used += strlen(c);
    }
    part(b, "%s", text);
}

int hwm_display_block(const hwm_progress* p, int width, bool utf8, bool colour, char* text,
                      size_t size) {
    width = width < WIDTH_MIN ? WIDTH_MIN : width > WIDTH_MAX ? WIDTH_MAX : width;
    block b = {text, size, 0, width, 0, 0};
    text[0] = '\0';
    char x[64], y[64], z[64];

    // how far
    if (colour) {
        put(&b, "\033[1m");
    }
    part(&b, "%.*s ", width - 6, p->name);
    if (colour) {
        put(&b, "\033[0m");
    }
    double share = hwm_progress_share(p);
    int reserved = 46;
    if (isfinite(share)) {
        int columns = width - b.column - reserved;
        columns = columns > 60 ? 60 : columns;
        if (columns >= 8) {
            bar(&b, share, columns, utf8);
        }
        part(&b, " %3.0f %%", 100.0 * share);
    }
    hwm_display_duration(p->wall_s, x, sizeof x);
    hwm_display_duration(hwm_progress_eta_s(p), y, sizeof y);
    part(&b, "  ETA %s", y);
    part(&b, "  elapsed %s", x);
    part(&b, "  %s", p->phase);
    end_line(&b);

    // how much
    hwm_display_count(p->env_steps, x, sizeof x);
    if (p->max_env_steps > 0) {
        hwm_display_count(p->max_env_steps, y, sizeof y);
        if (!part(&b, "  steps     %s of %s env steps", x, y)) {
            part(&b, "  steps     %s", x);
        }
    } else {
        part(&b, "  steps     %s env steps", x);
    }
    hwm_display_count(p->updates, y, sizeof y);
    part(&b, "  %s updates", y);
    end_line(&b);
    hwm_display_number(p->env_steps_per_s, x, sizeof x);
    hwm_display_number(p->updates_per_s, y, sizeof y);
    part(&b, "  speed     %s env steps/s", x);
    part(&b, "  %s updates/s", y);
    end_line(&b);

    // how well
    hwm_display_number(p->return_mean, x, sizeof x);
    hwm_display_number(p->eval_mean, y, sizeof y);
    hwm_display_number(p->eval_best, z, sizeof z);
    part(&b, "  return    train %s", x);
    part(&b, "  eval %s", y);
    part(&b, "  best %s", z);
    if (width - b.column >= 10) {
        char line[4 * 48 + 1];
        int columns = width - b.column - 2;
        hwm_display_sparkline(p->history, p->n_history, columns > 48 ? 48 : columns, utf8, line,
                              sizeof line);
        part(&b, "  %s", line);
    }
    end_line(&b);
    hwm_display_number(p->imagined_return, x, sizeof x);
    hwm_display_number(p->real_return, y, sizeof y);
    if (!part(&b, "  imagined  %s against %s real", x, y)) {
        part(&b, "  imagined  %s", x);
    }
    hwm_display_number(p->model_loss, x, sizeof x);
    part(&b, "  model loss %s", x);
    end_line(&b);

    // by whom, from what
    hwm_display_count(p->replay_steps, x, sizeof x);
    hwm_display_bytes(p->replay_bytes, y, sizeof y);
    part(&b, "  replay    %s steps", x);
    part(&b, "  %s", y);
    end_line(&b);
    part(&b, "  workers   %d of %d", p->workers_alive, p->workers);
    if (p->worker_restarts > 0) {
        part(&b, "  %d restart%s", p->worker_restarts, p->worker_restarts == 1 ? "" : "s");
    }
    if (isfinite(p->version)) {
        hwm_display_count(p->version, x, sizeof x);
        part(&b, "  parameters version %s", x);
    }
    end_line(&b);
    return b.lines;
}

static void terminal_size(int* width, int* height) {
    struct winsize size;
    const char* columns = getenv("COLUMNS");
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *width = known && size.ws_col > 0       ? size.ws_col
             : columns && atoi(columns) > 0 ? atoi(columns)
                                            : 80;
    *height = known && size.ws_row > 0 ? size.ws_row : 24;
}

int hwm_display_rows(const int* columns, int lines, int width) {
    int rows = 0;
    for (int i = 0; i < lines; i++) {
        rows += columns[i] > width ? (columns[i] + width - 1) / width : 1;
    }
    return rows;
}

void hwm_display_open(hwm_display* d, bool json) {
    memset(d, 0, sizeof *d);
    setlocale(LC_CTYPE, "");
    d->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    const char* term = getenv("TERM");
    bool terminal = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
    d->mode = json ? HWM_DISPLAY_JSON : terminal ? HWM_DISPLAY_LIVE : HWM_DISPLAY_LINES;
    d->colour = d->mode == HWM_DISPLAY_LIVE && !getenv("NO_COLOR");
    d->last_s = hwm_clock_s() - live_interval_s;
    if (d->mode == HWM_DISPLAY_LIVE) {
        printf("\033[?25l");  // no cursor while the block moves
    }
}

static void flush(hwm_display* d) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        d->closed = true;
    }
}

// A terminal that became narrower since has wrapped the block's lines: it takes more rows.
static void erase(hwm_display* d) {
    int width, height;
    terminal_size(&width, &height);
    if (d->drawn_lines > 0) {
        printf("\033[%dA\033[J", hwm_display_rows(d->drawn_columns, d->drawn_lines, width));
        d->drawn_lines = 0;
    }
}

static void draw(hwm_display* d, const hwm_progress* p) {
    static char text[BLOCK_BYTES];
    int width, height;
    terminal_size(&width, &height);
    erase(d);
    // the last column would wrap on some terminals
    hwm_display_block(p, width - 1, d->utf8, d->colour, text, sizeof text);
    // what scrolls off the top cannot be erased: as many lines as there is room for
    for (char* line = text; *line && d->drawn_lines < height - 1; d->drawn_lines++) {
        char* end = strchr(line, '\n');
        *end = '\0';
        puts(line);
        d->drawn_columns[d->drawn_lines] = columns_of(line);
        line = end + 1;
    }
}

static void print_line(const hwm_progress* p) {
    char elapsed[32], eta[32], steps[32], updates[32], rate[32], update_rate[32], train[32],
        eval[32], best[32], imagined[32], real[32], replay[32];
    hwm_display_duration(p->wall_s, elapsed, sizeof elapsed);
    hwm_display_duration(hwm_progress_eta_s(p), eta, sizeof eta);
    hwm_display_count(p->env_steps, steps, sizeof steps);
    hwm_display_count(p->updates, updates, sizeof updates);
    hwm_display_number(p->env_steps_per_s, rate, sizeof rate);
    hwm_display_number(p->updates_per_s, update_rate, sizeof update_rate);
    hwm_display_number(p->return_mean, train, sizeof train);
    hwm_display_number(p->eval_mean, eval, sizeof eval);
    hwm_display_number(p->eval_best, best, sizeof best);
    hwm_display_number(p->imagined_return, imagined, sizeof imagined);
    hwm_display_number(p->real_return, real, sizeof real);
    hwm_display_count(p->replay_steps, replay, sizeof replay);
    printf(
        "%s  %s  env steps %s (%s/s)  updates %s (%s/s)  return %s  eval %s  best %s  imagined %s  "
        "real %s  replay %s  workers %d/%d  ETA %s\n",
        elapsed, p->phase, steps, rate, updates, update_rate, train, eval, best, imagined, real,
        replay, p->workers_alive, p->workers, eta);
}

void hwm_display_update(hwm_display* d, const hwm_progress* p, bool now) {
    double interval = d->mode == HWM_DISPLAY_LIVE ? live_interval_s : line_interval_s;
    double t = hwm_clock_s();
    if (d->mode == HWM_DISPLAY_JSON || d->closed || (!now && t - d->last_s < interval)) {
        return;
    }
    d->last_s = t;
    if (d->mode == HWM_DISPLAY_LIVE) {
        draw(d, p);
    } else {
        print_line(p);
    }
    flush(d);
}

void hwm_display_note(hwm_display* d, const char* sentence) {
    if (d->mode == HWM_DISPLAY_JSON || d->closed) {
        fprintf(stderr, "%s\n", sentence);
        return;
    }
    erase(d);
    printf("%s\n", sentence);
    flush(d);
}

void hwm_display_json(hwm_display* d, const char* line) {
    if (d->mode == HWM_DISPLAY_JSON && !d->closed) {
        puts(line);
        flush(d);
    }
}

void hwm_display_close(hwm_display* d) {
    if (d->mode == HWM_DISPLAY_LIVE && !d->closed) {
        printf("\033[?25h");
        flush(d);
    }
    d->drawn_lines = 0;
}
