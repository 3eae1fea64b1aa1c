// Figures: panels with axes, lines, bands, heat maps and pictures, written as PNG or SVG. The one
// user of cairo.
#ifndef HWM_CLI_FIGURE_H
#define HWM_CLI_FIGURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hwm_figure hwm_figure;

typedef struct hwm_colour {
    double r, g, b;
} hwm_colour;
// Okabe and Ito's palette, which stays distinguishable with every kind of colour vision; i wraps
// around.
hwm_colour hwm_colour_of(int i);

// path: ends in .png or .svg; NULL: kept in memory (hwm_figure_rgb). Size in pixels.
hwm_status hwm_figure_create(hwm_figure** out, const char* path, int width, int height,
                             hwm_error* err);
// Write the file and free. HWM_EIO, HWM_EFULL: the file could not be written.
hwm_status hwm_figure_finish(hwm_figure** figure, hwm_error* err);
// In-memory figures: rgb (height, width, 3).
void hwm_figure_rgb(hwm_figure* figure, uint8_t* rgb);

// A rectangle of the figure with the values its sides stand for.
typedef struct hwm_panel {
    double x, y, width, height;  // pixels, of the area between the axes; y from the top
    double x_min, x_max, y_min, y_max;
} hwm_panel;

// Widen [lo, hi] to round values and to something that is not empty.
void hwm_axis_round(double* lo, double* hi);
// Frame, ticks with their numbers, labels and a title (each may be NULL).
void hwm_figure_axes(hwm_figure* figure, const hwm_panel* panel, const char* title,
                     const char* x_label, const char* y_label);
// Points that are not finite interrupt a line. dashed: for what is predicted rather than measured.
void hwm_figure_line(hwm_figure* figure, const hwm_panel* panel, const double* x, const double* y,
                     int n, hwm_colour colour, double line_width, bool dashed);
void hwm_figure_band(hwm_figure* figure, const hwm_panel* panel, const double* x, const double* low,
                     const double* high, int n, hwm_colour colour);
void hwm_figure_vertical(hwm_figure* figure, const hwm_panel* panel, double x, hwm_colour colour);
// values (rows, columns), row 0 on top, from -limit (blue) over 0 (white) to limit (red).
void hwm_figure_heat(hwm_figure* figure, const hwm_panel* panel, const float* values, int rows,
                     int columns, double limit);
// The scale of a heat map beside its panel.
void hwm_figure_heat_scale(hwm_figure* figure, const hwm_panel* panel, double limit);
// Entry i of the legend in the panel's upper left corner (or its lower right).
void hwm_figure_legend(hwm_figure* figure, const hwm_panel* panel, int i, const char* text,
                       hwm_colour colour, bool dashed);
// align: 0 left, 0.5 middle, 1 right of x; y is the base line.
void hwm_figure_text(hwm_figure* figure, double x, double y, double size, double align,
                     const char* text, hwm_colour colour);
void hwm_figure_fill(hwm_figure* figure, double x, double y, double width, double height,
                     hwm_colour colour);
// rgb (rows, columns, 3) with its upper left corner at x, y.
void hwm_figure_picture(hwm_figure* figure, double x, double y, const uint8_t* rgb, int columns,
                        int rows);

#endif
