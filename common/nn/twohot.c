// Two-hot codes over symmetric exponentially spaced bins: encode, cross-entropy, expectation.
#include <math.h>

#include "nn/dist.h"
#include "nn/rows.h"
#include "nn/tape_inside.h"

enum { HALF = NN_BINS / 2 };

void nn_twohot_bins(hwm_real bins[NN_BINS]) {
    for (int i = 0; i <= HALF; i++) {
        // symexp(-20 ... 0)
        const double x = -20.0 + 20.0 * i / HALF;
        bins[i] = (hwm_real)-expm1(-x);
        bins[NN_BINS - 1 - i] = -bins[i];
    }
    bins[HALF] = 0;
}

void nn_twohot_encode(const hwm_real bins[NN_BINS], hwm_real x, int* k, hwm_real* w) {
    x = x > bins[0] ? x : bins[0];
    x = x < bins[NN_BINS - 1] ? x : bins[NN_BINS - 1];
    int lo = 0, hi = NN_BINS - 1;  // bins[lo] <= x <= bins[hi]
    while (hi - lo > 1) {
        const int middle = (lo + hi) / 2;
        if (bins[middle] <= x)
            lo = middle;
        else
            hi = middle;
    }
    *k = lo;
    *w = (x - bins[lo]) / (bins[hi] - bins[lo]);
}

typedef struct twohot {
    nn_var y, x, p;
    const hwm_real* bins;
    int* k;       // (N) lower bins
    hwm_real* w;  // (N) weights of the upper ones
} twohot;

// loss = log sum exp(x) - (1-w) x_k - w x_{k+1}:  dx += dy (p - code)
static void loss_backward(void* context) {
    const twohot* c = context;
    for (int n = 0; n < c->y->rows; n++) {
        const hwm_real d = c->y->g[n];
        hwm_real* g = c->x->g + (size_t)n * NN_BINS;
        const hwm_real* p = c->p->x + (size_t)n * NN_BINS;
        for (int i = 0; i < NN_BINS; i++)
            g[i] += d * p[i];
        g[c->k[n]] -= d * (1 - c->w[n]);
        g[c->k[n] + 1] -= d * c->w[n];
    }
}

nn_var nn_twohot_loss(nn_tape* t, nn_var x, const hwm_real* target, const hwm_real bins[NN_BINS]) {
    HWM_ASSERT(x->cols == NN_BINS);
    nn_var y = nn_new(t, x->rows, 1, x->g), p = nn_new(t, x->rows, NN_BINS, false);
    twohot* c = nn_tape_alloc(t, sizeof *c);
    *c = (twohot){.y = y, .x = x, .p = p};
    c->k = nn_tape_alloc(t, (size_t)x->rows * sizeof *c->k);
    c->w = nn_tape_alloc(t, (size_t)x->rows * sizeof *c->w);
    nn_softmax_forward(p->x, x->x, 0, x->rows, NN_BINS);
    for (int n = 0; n < x->rows; n++) {
        const hwm_real *row = x->x + (size_t)n * NN_BINS, *prob = p->x + (size_t)n * NN_BINS;
        nn_twohot_encode(bins, target[n], &c->k[n], &c->w[n]);
        // log sum exp from the largest: p_max = exp(0) / sum
        int top = 0;
        for (int i = 1; i < NN_BINS; i++)
            top = row[i] > row[top] ? i : top;
        const double sum = (double)row[top] - log((double)prob[top]);
        const double w = c->w[n];
        y->x[n] = (hwm_real)(sum - (1.0 - w) * row[c->k[n]] - w * row[c->k[n] + 1]);
    }
    if (y->g)
        nn_custom(t, loss_backward, c);
    return y;
}

static void mean_backward(void* context) {  // y = sum p b:  dx += dy p (b - y)
    const twohot* c = context;
    for (int n = 0; n < c->y->rows; n++) {
        const hwm_real d = c->y->g[n], mean = c->y->x[n];
        hwm_real* g = c->x->g + (size_t)n * NN_BINS;
        const hwm_real* p = c->p->x + (size_t)n * NN_BINS;
        for (int i = 0; i < NN_BINS; i++)
            g[i] += d * p[i] * (c->bins[i] - mean);
    }
}

nn_var nn_twohot_mean(nn_tape* t, nn_var x, const hwm_real bins[NN_BINS]) {
    HWM_ASSERT(x->cols == NN_BINS);
    nn_var y = nn_new(t, x->rows, 1, x->g), p = nn_new(t, x->rows, NN_BINS, false);
    nn_softmax_forward(p->x, x->x, 0, x->rows, NN_BINS);
    for (int n = 0; n < x->rows; n++) {
        const hwm_real* q = p->x + (size_t)n * NN_BINS;
        // in pairs, bins[i] = -bins[end - i]: equal probabilities cancel exactly
        double sum = 0.0;
        for (int i = HALF - 1; i >= 0; i--)
            sum += ((double)q[NN_BINS - 1 - i] - (double)q[i]) * (double)bins[NN_BINS - 1 - i];
        y->x[n] = (hwm_real)sum;
    }
    if (y->g) {
        twohot* c = nn_tape_alloc(t, sizeof *c);
        *c = (twohot){.y = y, .x = x, .p = p, .bins = bins};
        nn_custom(t, mean_backward, c);
    }
    return y;
}
