// Two-hot codes over symmetric exponentially spaced bins: encode, cross-entropy, expectation.
#include <math.h>
#include <stddef.h>

#include "nn/dist_rows.h"

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

void nn_twohot_loss_forward(hwm_real* y, const hwm_real* x, const hwm_real* p, const int* k,
                            const hwm_real* w, int N, int M) {
    for (int n = 0; n < N; n++) {
        const hwm_real *logit = x + (size_t)n * NN_BINS, *prob = p + (size_t)n * NN_BINS;
        // log sum exp from a class that is not rare: x_i - log p_i, the lower bin of the first code
        // or the largest
        int top = k[n * M];
        if (prob[top] < (hwm_real)1e-3)
            for (int i = 0; i < NN_BINS; i++)
                top = logit[i] > logit[top] ? i : top;
        const double sum = (double)logit[top] - log((double)prob[top]);
        double loss = 0;
        for (int i = n * M; i < (n + 1) * M; i++)
            loss += sum - (1.0 - (double)w[i]) * (double)logit[k[i]] -
                    (double)w[i] * (double)logit[k[i] + 1];
        y[n] = (hwm_real)loss;
    }
}

void nn_twohot_loss_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* p, const int* k,
                             const hwm_real* w, int N, int M) {
    for (int n = 0; n < N; n++) {
        const hwm_real all = dy[n] * (hwm_real)M;
        hwm_real* g = dx + (size_t)n * NN_BINS;
        const hwm_real* prob = p + (size_t)n * NN_BINS;
        for (int i = 0; i < NN_BINS; i++)
            g[i] += all * prob[i];
        for (int i = n * M; i < (n + 1) * M; i++) {
            g[k[i]] -= dy[n] * (1 - w[i]);
            g[k[i] + 1] -= dy[n] * w[i];
        }
    }
}

void nn_twohot_mean_forward(hwm_real* y, const hwm_real* p, const hwm_real bins[NN_BINS], int N) {
    enum { LANES = 8 };
    for (int n = 0; n < N; n++, p += NN_BINS) {
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
        y[n] = (hwm_real)sum;
    }
}

void nn_twohot_mean_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, const hwm_real* p,
                             const hwm_real bins[NN_BINS], int N) {
    for (int n = 0; n < N; n++) {
        hwm_real* g = dx + (size_t)n * NN_BINS;
        const hwm_real* prob = p + (size_t)n * NN_BINS;
        for (int i = 0; i < NN_BINS; i++)
            g[i] += dy[n] * prob[i] * (bins[i] - y[n]);
    }
}
