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
    nn_var y, x;
    const hwm_real* bins;
    int targets;
    int* k;       // (targets,N) lower bins
    hwm_real* w;  // (targets,N) weights of the upper ones
} twohot;

static void soft_piece(void* context, int piece, int from, int to) {
    nn_value* x = context;
    (void)piece;
    const size_t at = (size_t)from * NN_BINS;
    nn_softmax_forward(x->soft + at, x->x + at, 0, to - from, NN_BINS);
}

static const hwm_real* soft(nn_tape* t, nn_var x) {
    HWM_ASSERT(x->cols == NN_BINS);
    if (!x->soft) {
        x->soft = nn_beside(t, x, nn_count(x) * sizeof(hwm_real));
        nn_over_rows(x->rows, NN_BINS, soft_piece, x);
    }
    return x->soft;
}

// loss = log sum exp(x) - (1-w) x_k - w x_{k+1}:  dx += dy (p - code)
static void loss_backward_piece(void* context, int piece, int from, int to) {
    const twohot* c = context;
    const int N = c->y->rows;
    (void)piece;
    for (int n = from; n < to; n++) {
        const hwm_real d = c->y->g[n], all = d * (hwm_real)c->targets;
        hwm_real* g = c->x->g + (size_t)n * NN_BINS;
        const hwm_real* p = c->x->soft + (size_t)n * NN_BINS;
        for (int i = 0; i < NN_BINS; i++)
            g[i] += all * p[i];
        for (int i = 0; i < c->targets; i++) {
            const int k = c->k[i * N + n];
            const hwm_real w = c->w[i * N + n];
            g[k] -= d * (1 - w);
            g[k + 1] -= d * w;
        }
    }
}

static void loss_backward(void* context) {
    const twohot* c = context;
    nn_over_rows(c->y->rows, NN_BINS, loss_backward_piece, context);
}

nn_var nn_twohot_loss2(nn_tape* t, nn_var x, const hwm_real* target, const hwm_real* second,
                       const hwm_real bins[NN_BINS]) {
    const int N = x->rows;
    nn_var y = nn_new(t, N, 1, x->g);
    twohot* c = nn_tape_alloc(t, sizeof *c);
    *c = (twohot){.y = y, .x = x, .targets = second ? 2 : 1};
    c->k = nn_tape_alloc(t, (size_t)(c->targets * N) * sizeof *c->k);
    c->w = nn_tape_alloc(t, (size_t)(c->targets * N) * sizeof *c->w);
    const hwm_real* p = soft(t, x);
    for (int n = 0; n < N; n++) {
        const hwm_real *row = x->x + (size_t)n * NN_BINS, *prob = p + (size_t)n * NN_BINS;
        nn_twohot_encode(bins, target[n], &c->k[n], &c->w[n]);
        if (second)
            nn_twohot_encode(bins, second[n], &c->k[N + n], &c->w[N + n]);
        // log sum exp from a class that is not rare: x_i - log p_i, the likelier of the two bins or
        // the largest
        int top = c->k[n];
        if (prob[top] < (hwm_real)1e-3)
            for (int i = 0; i < NN_BINS; i++)
                top = row[i] > row[top] ? i : top;
        const double sum = (double)row[top] - log((double)prob[top]);
        double loss = 0;
        for (int i = 0; i < c->targets; i++) {
            const int k = c->k[i * N + n];
            const double w = (double)c->w[i * N + n];
            loss += sum - (1.0 - w) * (double)row[k] - w * (double)row[k + 1];
        }
        y->x[n] = (hwm_real)loss;
    }
    if (y->g)
        nn_custom(t, loss_backward, c);
    return y;
}

nn_var nn_twohot_loss(nn_tape* t, nn_var x, const hwm_real* target, const hwm_real bins[NN_BINS]) {
    return nn_twohot_loss2(t, x, target, NULL, bins);
}

static void mean_backward(void* context) {  // y = sum p b:  dx += dy p (b - y)
    const twohot* c = context;
    for (int n = 0; n < c->y->rows; n++) {
        const hwm_real d = c->y->g[n], mean = c->y->x[n];
        hwm_real* g = c->x->g + (size_t)n * NN_BINS;
        const hwm_real* p = c->x->soft + (size_t)n * NN_BINS;
        for (int i = 0; i < NN_BINS; i++)
            g[i] += d * p[i] * (c->bins[i] - mean);
    }
}

static void expectations(const hwm_real* p, int rows, const hwm_real* bins, hwm_real* out) {
    enum { LANES = 8 };
    for (int n = 0; n < rows; n++, p += NN_BINS) {
        // in pairs, bins[i] = -bins[end - i]: equal probabilities cancel exactly
        double s[LANES] = {0};
        int i = 0;
        for (; i + LANES <= HALF; i += LANES)
            for (int j = 0; j < LANES; j++)
                s[j] += ((double)p[NN_BINS - 1 - i - j] - (double)p[i + j]) *
                        (double)bins[NN_BINS - 1 - i - j];
        for (int j = 0; i + j < HALF; j++)
            s[j] += ((double)p[NN_BINS - 1 - i - j] - (double)p[i + j]) *
                    (double)bins[NN_BINS - 1 - i - j];
        double sum = 0.0;
        for (int j = 0; j < LANES; j++)
            sum += s[j];
        out[n] = (hwm_real)sum;
    }
}

nn_var nn_twohot_mean(nn_tape* t, nn_var x, const hwm_real bins[NN_BINS]) {
    nn_var y = nn_new(t, x->rows, 1, x->g);
    expectations(soft(t, x), x->rows, bins, y->x);
    if (y->g) {
        twohot* c = nn_tape_alloc(t, sizeof *c);
        *c = (twohot){.y = y, .x = x, .bins = bins};
        nn_custom(t, mean_backward, c);
    }
    return y;
}

const hwm_real* nn_twohot_values(nn_tape* t, nn_var x, const hwm_real bins[NN_BINS]) {
    nn_var y = nn_new(t, x->rows, 1, false);
    expectations(soft(t, x), x->rows, bins, y->x);
    return y->x;
}
