// Gradient check in double: every backward pass against central differences.
#include "gradient.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

#ifndef HWM_F64
#error "gradient checks link the double twins"
#endif

enum { INPUTS_MAX = 12 };

typedef struct setup {
    const gradient_case* c;
    nn_tape* tape;
    double* x[INPUTS_MAX];
    double* g[INPUTS_MAX];
    double* weight;  // of the output, made at the first run
    size_t outputs;
} setup;

static double run(setup* s, bool backward) {
    nn_tape_reset(s->tape);
    nn_tape_record(s->tape, true);
    nn_var in[INPUTS_MAX];
    for (int i = 0; i < s->c->n; i++)
        in[i] = nn_wrap(s->tape, s->x[i], s->c->constant[i] ? NULL : s->g[i], s->c->rows[i],
                        s->c->cols[i]);
    nn_var y = s->c->build(s->tape, in, s->c->context);
    const size_t n = (size_t)y->rows * (size_t)y->cols;
    if (!s->weight) {
        s->outputs = n;
        s->weight = malloc(n * sizeof(double));
        hwm_rng rng;
        hwm_rng_init(&rng, s->c->seed, HWM_PURPOSE_TEST, 1, 0, 0);
        for (size_t i = 0; i < n; i++)
            s->weight[i] = hwm_rng_uniform_double(&rng) * 2.0 - 1.0 + 0.05;
    }
    HWM_ASSERT(n == s->outputs);
    double loss = 0.0;
    for (size_t i = 0; i < n; i++)
        loss += s->weight[i] * y->x[i];
    if (backward) {
        HWM_ASSERT(y->g);
        for (size_t i = 0; i < n; i++)
            y->g[i] += s->weight[i];
        nn_tape_backward(s->tape);
    }
    return loss;
}

double gradient_error(const gradient_case* c) {
    setup s = {.c = c};
    HWM_ASSERT(c->n <= INPUTS_MAX && nn_tape_create(&s.tape, 1u << 28) == HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, c->seed, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < c->n; i++) {
        const size_t n = (size_t)c->rows[i] * (size_t)c->cols[i];
        s.x[i] = malloc(n * sizeof(double));
        s.g[i] = calloc(n, sizeof(double));
        const bool given = c->lo[i] != 0.0 || c->hi[i] != 0.0;
        const double lo = given ? c->lo[i] : -1.5, hi = given ? c->hi[i] : 1.5;
        for (size_t j = 0; j < n; j++)
            s.x[i][j] = lo + (hi - lo) * hwm_rng_uniform_double(&rng);
    }
    run(&s, true);

    const double tolerance = c->tolerance > 0 ? c->tolerance : 1e-7;
    double worst_of_all = 0.0;
    for (int i = 0; i < c->n; i++) {
        if (c->constant[i])
            continue;
        const size_t n = (size_t)c->rows[i] * (size_t)c->cols[i];
        double largest = 1e-12, worst = 0.0, worst_tape = 0.0, worst_numeric = 0.0;
        size_t where = 0;
        for (size_t j = 0; j < n; j++) {
            // fourth-order difference: its own error is far below the tolerance
            const double x = s.x[i][j], h = 1e-3;
            double at[4];
            const double steps[4] = {-2.0 * h, -h, h, 2.0 * h};
            for (int k = 0; k < 4; k++) {
                s.x[i][j] = x + steps[k];
                at[k] = run(&s, false);
            }
            s.x[i][j] = x;
            const double numeric = (at[0] - 8.0 * at[1] + 8.0 * at[2] - at[3]) / (12.0 * h);
            const double tape = s.g[i][j];
            largest = fmax(largest, fmax(fabs(numeric), fabs(tape)));
            const double difference = fabs(numeric - tape);
            if (!(difference <= worst)) {  // a NaN is the worst
                worst = difference;
                where = j;
                worst_tape = tape;
                worst_numeric = numeric;
            }
        }
        const double relative = isnan(worst) ? INFINITY : worst / largest;
        if (relative > tolerance)
            printf("input %d number %zu: tape %.12g, differences %.12g, relative error %.3g\n", i,
                   where, worst_tape, worst_numeric, relative);
        worst_of_all = fmax(worst_of_all, relative);
    }
    for (int i = 0; i < c->n; i++) {
        free(s.x[i]);
        free(s.g[i]);
    }
    free(s.weight);
    nn_tape_destroy(&s.tape);
    return worst_of_all;
}

bool gradient_matches(const gradient_case* c) {
    return gradient_error(c) <= (c->tolerance > 0 ? c->tolerance : 1e-7);
}
