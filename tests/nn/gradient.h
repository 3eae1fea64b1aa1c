// Gradient check in double: every backward pass against central differences.
//
// build makes an output of any shape from the inputs; the loss is a fixed random weighting of all
// its numbers. Each number of each input is moved by +-h; the two gradients may differ by
// `tolerance` of the largest gradient of that input (the default 1e-7 leaves room for rounding
// only, so that a factor of 1.0001 in one backward line is caught).
#ifndef HWM_TESTS_NN_GRADIENT_H
#define HWM_TESTS_NN_GRADIENT_H

#include "nn/tape.h"

typedef nn_var (*gradient_build)(nn_tape* tape, const nn_var* inputs, void* context);

typedef struct gradient_case {
    gradient_build build;
    void* context;
    int n;  // inputs
    int rows[12], cols[12];
    double lo[12], hi[12];  // inputs are uniform in [lo, hi]; both 0: [-1.5, 1.5]
    bool constant[12];      // an input without gradient
    double tolerance;       // 0: 1e-7
    uint64_t seed;
} gradient_case;

// Largest difference relative to the largest gradient of its input; prints the worst place when
// above the tolerance.
double gradient_error(const gradient_case* c);
bool gradient_matches(const gradient_case* c);

#endif
