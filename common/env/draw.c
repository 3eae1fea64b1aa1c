// Shapes by their signed distance: a pixel is covered as far as its centre lies inside.
#include "env/draw.h"

#include <math.h>

void env_draw_begin(env_canvas* c, uint8_t* rgb, int width, int height, double x, double y,
                    double view, env_color background) {
    int smaller = width < height ? width : height;
    *c = (env_canvas){.width = width, .height = height, .rgb = rgb};
    c->pixel = 2.0 * view / smaller;
    c->left = x - 0.5 * c->pixel * width;
    c->top = y + 0.5 * c->pixel * height;
    for (int k = 0; k < width * height; k++) {
        rgb[3 * k] = background.r;
        rgb[3 * k + 1] = background.g;
        rgb[3 * k + 2] = background.b;
    }
}

// distance: m, below 0 inside
static void cover(env_canvas* c, int column, int row, double distance, env_color color) {
    double a = 0.5 - distance / c->pixel;
    a = a < 0.0 ? 0.0 : a > 1.0 ? 1.0 : a;
    uint8_t* p = c->rgb + 3 * ((int64_t)row * c->width + column);
    p[0] = (uint8_t)(p[0] + a * (color.r - p[0]) + 0.5);
    p[1] = (uint8_t)(p[1] + a * (color.g - p[1]) + 0.5);
    p[2] = (uint8_t)(p[2] + a * (color.b - p[2]) + 0.5);
}

typedef struct window {
    int first_column, last_column, first_row, last_row;
} window;

static int clamped(double v, int max) {
    return v < 0.0 ? 0 : v > max ? max : (int)v;
}

// Pixels that a shape within these bounds can touch.
static window window_of(const env_canvas* c, double left, double right, double bottom, double top) {
    return (window){clamped((left - c->left) / c->pixel - 1.0, c->width),
                    clamped((right - c->left) / c->pixel + 2.0, c->width),
                    clamped((c->top - top) / c->pixel - 1.0, c->height),
                    clamped((c->top - bottom) / c->pixel + 2.0, c->height)};
}

void env_draw_capsule(env_canvas* c, double x1, double y1, double x2, double y2, double radius,
                      env_color color) {
    window w = window_of(c, fmin(x1, x2) - radius, fmax(x1, x2) + radius, fmin(y1, y2) - radius,
                         fmax(y1, y2) + radius);
    double dx = x2 - x1, dy = y2 - y1, length2 = dx * dx + dy * dy;
    for (int row = w.first_row; row < w.last_row; row++) {
        for (int column = w.first_column; column < w.last_column; column++) {
            double x = c->left + (column + 0.5) * c->pixel - x1;
            double y = c->top - (row + 0.5) * c->pixel - y1;
            // nearest point of the line
            double s = length2 > 0.0 ? (x * dx + y * dy) / length2 : 0.0;
            s = s < 0.0 ? 0.0 : s > 1.0 ? 1.0 : s;
            cover(c, column, row, hypot(x - s * dx, y - s * dy) - radius, color);
        }
    }
}

void env_draw_box(env_canvas* c, double x, double y, double half_width, double half_height,
                  env_color color) {
    window w = window_of(c, x - half_width, x + half_width, y - half_height, y + half_height);
    for (int row = w.first_row; row < w.last_row; row++) {
        for (int column = w.first_column; column < w.last_column; column++) {
            double dx = fabs(c->left + (column + 0.5) * c->pixel - x) - half_width;
            double dy = fabs(c->top - (row + 0.5) * c->pixel - y) - half_height;
            cover(c, column, row, fmax(dx, dy), color);
        }
    }
}
