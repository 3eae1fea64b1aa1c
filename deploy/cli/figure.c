#include "figure.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
// what fontconfig keeps until the process ends is not ours to free
__attribute__((weak)) const char* __lsan_default_suppressions(void);
const char* __lsan_default_suppressions(void) {
    return "leak:libfontconfig";
}
#endif

struct hwm_figure {
    char path[4096];
    bool png;
    cairo_surface_t* surface;
    cairo_t* cairo;
    int width, height;
};

static const hwm_colour ink = {0.13, 0.13, 0.15}, grey = {0.55, 0.55, 0.58},
                        faint = {0.90, 0.90, 0.91};
static const double small = 11.0, normal = 12.0, large = 14.0;  // text, pixels

hwm_colour hwm_colour_of(int i) {
    static const hwm_colour palette[] = {
        {0.00, 0.45, 0.70}, {0.84, 0.37, 0.00}, {0.00, 0.62, 0.45}, {0.80, 0.47, 0.65},
        {0.90, 0.62, 0.00}, {0.34, 0.71, 0.91}, {0.35, 0.35, 0.35},
    };
    return palette[i % (int)(sizeof palette / sizeof palette[0])];
}

static void set_colour(hwm_figure* f, hwm_colour c, double alpha) {
    cairo_set_source_rgba(f->cairo, c.r, c.g, c.b, alpha);
}

static bool ends_with(const char* text, const char* end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

hwm_status hwm_figure_create(hwm_figure** out, const char* path, int width, int height,
                             hwm_error* err) {
    *out = NULL;
    if (path && !ends_with(path, ".png") && !ends_with(path, ".svg")) {
        return hwm_fail(err, HWM_EINVAL, "%s: a figure's name ends in .png or .svg", path);
    }
    if (path && strlen(path) >= sizeof((hwm_figure*)0)->path) {
        return hwm_fail(err, HWM_EINVAL, "the path is too long: %.80s...", path);
    }
    hwm_figure* f = calloc(1, sizeof *f);
    if (!f) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    f->width = width;
    f->height = height;
    snprintf(f->path, sizeof f->path, "%s", path ? path : "");
    f->png = path && ends_with(path, ".png");
    f->surface = path && !f->png ? cairo_svg_surface_create(path, width, height)
                                 : cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    if (cairo_surface_status(f->surface) != CAIRO_STATUS_SUCCESS) {
        hwm_status s = hwm_fail(err, HWM_EIO, "cannot write %s: %s", path ? path : "a picture",
                                cairo_status_to_string(cairo_surface_status(f->surface)));
        cairo_surface_destroy(f->surface);
        free(f);
        return s;
    }
    f->cairo = cairo_create(f->surface);
    cairo_select_font_face(f->cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_line_join(f->cairo, CAIRO_LINE_JOIN_ROUND);
    cairo_set_source_rgb(f->cairo, 1, 1, 1);
    cairo_paint(f->cairo);
    *out = f;
    return HWM_OK;
}

hwm_status hwm_figure_finish(hwm_figure** figure, hwm_error* err) {
    hwm_figure* f = *figure;
    if (!f) {
        return HWM_OK;
    }
    cairo_status_t s = cairo_status(f->cairo);
    cairo_destroy(f->cairo);
    if (f->png && s == CAIRO_STATUS_SUCCESS) {
        s = cairo_surface_write_to_png(f->surface, f->path);
    }
    cairo_surface_finish(f->surface);
    if (s == CAIRO_STATUS_SUCCESS) {
        s = cairo_surface_status(f->surface);
    }
    cairo_surface_destroy(f->surface);
    hwm_status result = HWM_OK;
    if (s != CAIRO_STATUS_SUCCESS) {
        result = hwm_fail(err, HWM_EIO, "cannot write %s: %s", f->path, cairo_status_to_string(s));
    }
    free(f);
    *figure = NULL;
    return result;
}

void hwm_figure_rgb(hwm_figure* f, uint8_t* rgb) {
    cairo_surface_flush(f->surface);
    const uint8_t* data = cairo_image_surface_get_data(f->surface);
    int stride = cairo_image_surface_get_stride(f->surface);
    for (int y = 0; y < f->height; y++) {
        for (int x = 0; x < f->width; x++) {
            uint32_t pixel;
            memcpy(&pixel, data + (size_t)y * (size_t)stride + (size_t)x * 4, sizeof pixel);
            *rgb++ = (uint8_t)(pixel >> 16);
            *rgb++ = (uint8_t)(pixel >> 8);
            *rgb++ = (uint8_t)pixel;
        }
    }
}

// ---- axes

// 1, 2 or 5 times a power of ten, so that about n steps cover the range.
static double tick_step(double range, int n) {
    double raw = range / n, power = pow(10.0, floor(log10(raw))), x = raw / power;
    return power * (x <= 1.0 ? 1.0 : x <= 2.0 ? 2.0 : x <= 5.0 ? 5.0 : 10.0);
}

void hwm_axis_round(double* lo, double* hi) {
    if (!(isfinite(*lo) && isfinite(*hi))) {
        *lo = 0.0;
        *hi = 1.0;
    }
    if (*hi - *lo < 1e-12 * fmax(1.0, fabs(*hi))) {
        double half = fmax(0.5, 0.05 * fabs(*hi));
        *lo -= half;
        *hi += half;
    }
    double step = tick_step(*hi - *lo, 5);
    *lo = step * floor(*lo / step + 1e-9);
    *hi = step * ceil(*hi / step - 1e-9);
}

static double to_x(const hwm_panel* p, double x) {
    return p->x + p->width * (x - p->x_min) / (p->x_max - p->x_min);
}

static double to_y(const hwm_panel* p, double y) {
    return p->y + p->height * (1.0 - (y - p->y_min) / (p->y_max - p->y_min));
}

static void tick_text(double value, double step, char* text, size_t size) {
    if (fabs(value) < step * 1e-6) {
        snprintf(text, size, "0");
    } else if (step >= 1000.0 && fmod(step, 1000.0) == 0.0) {
        snprintf(text, size, "%gk", value / 1000.0);
    } else {
        snprintf(text, size, "%.6g", value);
    }
}

void hwm_figure_text(hwm_figure* f, double x, double y, double size, double align, const char* text,
                     hwm_colour colour) {
    cairo_text_extents_t extents;
    cairo_set_font_size(f->cairo, size);
    cairo_text_extents(f->cairo, text, &extents);
    set_colour(f, colour, 1.0);
    cairo_move_to(f->cairo, x - align * extents.x_advance, y);
    cairo_show_text(f->cairo, text);
}

void hwm_figure_axes(hwm_figure* f, const hwm_panel* p, const char* title, const char* x_label,
                     const char* y_label) {
    char text[32];
    cairo_set_line_width(f->cairo, 1.0);
    double step = tick_step(p->y_max - p->y_min, 5);
    for (double v = step * ceil(p->y_min / step - 1e-9); v <= p->y_max + 1e-9 * step; v += step) {
        double y = floor(to_y(p, v)) + 0.5;
        set_colour(f, faint, 1.0);
        cairo_move_to(f->cairo, p->x, y);
        cairo_line_to(f->cairo, p->x + p->width, y);
        cairo_stroke(f->cairo);
        tick_text(v, step, text, sizeof text);
        hwm_figure_text(f, p->x - 6, y + 4, small, 1.0, text, grey);
    }
    step = tick_step(p->x_max - p->x_min, p->width > 300 ? 6 : 4);
    for (double v = step * ceil(p->x_min / step - 1e-9); v <= p->x_max + 1e-9 * step; v += step) {
        double x = floor(to_x(p, v)) + 0.5;
        set_colour(f, grey, 1.0);
        cairo_move_to(f->cairo, x, p->y + p->height);
        cairo_line_to(f->cairo, x, p->y + p->height + 4);
        cairo_stroke(f->cairo);
        tick_text(v, step, text, sizeof text);
        hwm_figure_text(f, x, p->y + p->height + 17, small, 0.5, text, grey);
    }
    set_colour(f, grey, 1.0);
    cairo_rectangle(f->cairo, floor(p->x) + 0.5, floor(p->y) + 0.5, floor(p->width),
                    floor(p->height));
    cairo_stroke(f->cairo);
    if (title) {
        hwm_figure_text(f, p->x, p->y - 10, large, 0.0, title, ink);
    }
    if (x_label) {
        hwm_figure_text(f, p->x + p->width / 2, p->y + p->height + 34, normal, 0.5, x_label, ink);
    }
    if (y_label) {
        cairo_save(f->cairo);
        cairo_translate(f->cairo, p->x - 44, p->y + p->height / 2);
        cairo_rotate(f->cairo, -acos(0.0));
        hwm_figure_text(f, 0, 0, normal, 0.5, y_label, ink);
        cairo_restore(f->cairo);
    }
}

static void clip_to(hwm_figure* f, const hwm_panel* p) {
    cairo_save(f->cairo);
    cairo_rectangle(f->cairo, p->x, p->y - 1, p->width, p->height + 2);
    cairo_clip(f->cairo);
}

void hwm_figure_line(hwm_figure* f, const hwm_panel* p, const double* x, const double* y, int n,
                     hwm_colour colour, double line_width, bool dashed) {
    static const double dash[] = {5.0, 4.0};
    clip_to(f, p);
    set_colour(f, colour, 1.0);
    cairo_set_line_width(f->cairo, line_width);
    cairo_set_dash(f->cairo, dash, dashed ? 2 : 0, 0.0);
    bool open = false;
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i])) {
            open = false;
        } else if (open) {
            cairo_line_to(f->cairo, to_x(p, x[i]), to_y(p, y[i]));
        } else {
            cairo_move_to(f->cairo, to_x(p, x[i]), to_y(p, y[i]));
            open = true;
        }
    }
    cairo_stroke(f->cairo);
    cairo_set_dash(f->cairo, dash, 0, 0.0);
    cairo_restore(f->cairo);
}

void hwm_figure_band(hwm_figure* f, const hwm_panel* p, const double* x, const double* low,
                     const double* high, int n, hwm_colour colour) {
    clip_to(f, p);
    set_colour(f, colour, 0.18);
    // each stretch of finite points is one polygon: along the upper edge, back along the lower
    for (int from = 0; from < n;) {
        int to = from;
        while (to < n && isfinite(low[to]) && isfinite(high[to])) {
            to++;
        }
        if (to - from > 1) {
            for (int i = from; i < to; i++) {
                cairo_line_to(f->cairo, to_x(p, x[i]), to_y(p, high[i]));
            }
            for (int i = to - 1; i >= from; i--) {
                cairo_line_to(f->cairo, to_x(p, x[i]), to_y(p, low[i]));
            }
            cairo_close_path(f->cairo);
            cairo_fill(f->cairo);
        }
        from = to + 1;
    }
    cairo_restore(f->cairo);
}

void hwm_figure_vertical(hwm_figure* f, const hwm_panel* p, double x, hwm_colour colour) {
    double xs[2] = {x, x}, ys[2] = {p->y_min, p->y_max};
    hwm_figure_line(f, p, xs, ys, 2, colour, 1.0, true);
}

// Blue over white to red: t in [-1, 1].
static hwm_colour diverging(double t) {
    t = fmax(-1.0, fmin(1.0, t));
    double s = fabs(t);
    hwm_colour end = t < 0 ? (hwm_colour){0.13, 0.40, 0.67} : (hwm_colour){0.70, 0.09, 0.17};
    return (hwm_colour){1 + s * (end.r - 1), 1 + s * (end.g - 1), 1 + s * (end.b - 1)};
}

static uint32_t pixel_of(hwm_colour c) {
    return (uint32_t)(c.r * 255 + 0.5) << 16 | (uint32_t)(c.g * 255 + 0.5) << 8 |
           (uint32_t)(c.b * 255 + 0.5);
}

// An image surface, stretched over the rectangle without smoothing.
static void paint_image(hwm_figure* f, cairo_surface_t* image, double x, double y, double width,
                        double height) {
    cairo_surface_mark_dirty(image);
    cairo_save(f->cairo);
    cairo_translate(f->cairo, x, y);
    cairo_scale(f->cairo, width / cairo_image_surface_get_width(image),
                height / cairo_image_surface_get_height(image));
    cairo_set_source_surface(f->cairo, image, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(f->cairo), CAIRO_FILTER_NEAREST);
    cairo_rectangle(f->cairo, 0, 0, cairo_image_surface_get_width(image),
                    cairo_image_surface_get_height(image));
    cairo_fill(f->cairo);
    cairo_restore(f->cairo);
}

void hwm_figure_heat(hwm_figure* f, const hwm_panel* p, const float* values, int rows, int columns,
                     double limit) {
    cairo_surface_t* image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows);
    uint8_t* data = cairo_image_surface_get_data(image);
    if (data) {
        size_t stride = (size_t)cairo_image_surface_get_stride(image);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                float v = values[(size_t)r * (size_t)columns + (size_t)c];
                uint32_t pixel = isfinite(v) ? pixel_of(diverging(v / limit)) : pixel_of(faint);
                memcpy(data + (size_t)r * stride + (size_t)c * 4, &pixel, sizeof pixel);
            }
        }
        paint_image(f, image, p->x, p->y, p->width, p->height);
    }
    cairo_surface_destroy(image);
}

void hwm_figure_heat_scale(hwm_figure* f, const hwm_panel* p, double limit) {
    enum { STEPS = 64 };
    double x = p->x + p->width + 8, height = p->height / STEPS;
    for (int i = 0; i < STEPS; i++) {
        set_colour(f, diverging(1.0 - 2.0 * i / (STEPS - 1)), 1.0);
        cairo_rectangle(f->cairo, x, p->y + i * height, 10, height + 0.5);
        cairo_fill(f->cairo);
    }
    char text[32];
    const double at[] = {limit, 0.0, -limit};
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%.2g", at[i]);
        hwm_figure_text(f, x + 14, p->y + 9 + i * (p->height - 9) / 2, small, 0.0, text, grey);
    }
}

void hwm_figure_legend(hwm_figure* f, const hwm_panel* p, int i, const char* text,
                       hwm_colour colour, bool dashed) {
    static const double dash[] = {5.0, 4.0};
    double x = p->x + 10, y = p->y + 16 + 17 * i;
    cairo_text_extents_t extents;
    cairo_set_font_size(f->cairo, small);
    cairo_text_extents(f->cairo, text, &extents);
    // on white, so that lines below do not disturb it
    cairo_set_source_rgba(f->cairo, 1, 1, 1, 0.8);
    cairo_rectangle(f->cairo, x - 4, y - 12, extents.x_advance + 40, 17);
    cairo_fill(f->cairo);
    set_colour(f, colour, 1.0);
    cairo_set_line_width(f->cairo, 2.0);
    cairo_set_dash(f->cairo, dash, dashed ? 2 : 0, 0.0);
    cairo_move_to(f->cairo, x, y - 4);
    cairo_line_to(f->cairo, x + 24, y - 4);
    cairo_stroke(f->cairo);
    cairo_set_dash(f->cairo, dash, 0, 0.0);
    hwm_figure_text(f, x + 30, y, small, 0.0, text, ink);
}

void hwm_figure_fill(hwm_figure* f, double x, double y, double width, double height,
                     hwm_colour colour) {
    set_colour(f, colour, 1.0);
    cairo_rectangle(f->cairo, x, y, width, height);
    cairo_fill(f->cairo);
}

void hwm_figure_picture(hwm_figure* f, double x, double y, const uint8_t* rgb, int columns,
                        int rows) {
    cairo_surface_t* image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows);
    uint8_t* data = cairo_image_surface_get_data(image);
    if (data) {
        size_t stride = (size_t)cairo_image_surface_get_stride(image);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                const uint8_t* v = rgb + ((size_t)r * (size_t)columns + (size_t)c) * 3;
                uint32_t pixel = (uint32_t)v[0] << 16 | (uint32_t)v[1] << 8 | v[2];
                memcpy(data + (size_t)r * stride + (size_t)c * 4, &pixel, sizeof pixel);
            }
        }
        paint_image(f, image, x, y, columns, rows);
    }
    cairo_surface_destroy(image);
}
