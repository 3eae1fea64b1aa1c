// A canvas for native environments: filled shapes with soft edges in metres, y up. Private to
// common/env.
#ifndef HWM_ENV_DRAW_H
#define HWM_ENV_DRAW_H

#include <stdint.h>

typedef struct env_canvas {
    int width, height;
    uint8_t* rgb;      // (height, width, 3), row 0 on top
    double left, top;  // m, of the picture's corner
    double pixel;      // m per pixel
} env_canvas;

typedef struct env_color {
    uint8_t r, g, b;
} env_color;

// Fill the picture and look at (x, y), at least `view` metres to every side.
void env_draw_begin(env_canvas* c, uint8_t* rgb, int width, int height, double x, double y,
                    double view, env_color background);
// A line of that radius with round ends; a disc where both ends are equal.
void env_draw_capsule(env_canvas* c, double x1, double y1, double x2, double y2, double radius,
                      env_color color);
// An upright rectangle about (x, y).
void env_draw_box(env_canvas* c, double x, double y, double half_width, double half_height,
                  env_color color);

#endif
