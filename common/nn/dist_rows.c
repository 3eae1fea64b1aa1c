#include "nn/dist_rows.h"

#include <math.h>
#include <stddef.h>

#include "nn/vmath.h"

enum { PIECE = 64 };  // numbers of a row that go through memory of our own at a time

static size_t row(int n, int D) {
    return (size_t)n * (size_t)D;
}

static int piece_of(int from, int D) {
    return D - from < PIECE ? D - from : PIECE;
}

static hwm_real row_dot(const hwm_real* a, const hwm_real* b, int n) {
    hwm_real s[16] = {0};
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            s[j] += a[i + j] * b[i + j];
    for (int j = 0; i + j < n; j++)
        s[j] += a[i + j] * b[i + j];
    hwm_real sum = 0;
    for (int j = 0; j < 16; j++)
        sum += s[j];
    return sum;
}

// ---- categorical

void nn_kl_forward(hwm_real* y, hwm_real* ratio, const hwm_real* p, const hwm_real* q, int N,
                   int D) {
    hwm_real log_q[PIECE];
    for (int n = 0; n < N; n++) {
        hwm_real* l = ratio + row(n, D);
        nn_vlog((size_t)D, p + row(n, D), l);
        for (int from = 0; from < D; from += PIECE) {
            const int m = piece_of(from, D);
            nn_vlog((size_t)m, q + row(n, D) + from, log_q);
            for (int i = 0; i < m; i++)
                l[from + i] -= log_q[i];
        }
        y[n] = row_dot(p + row(n, D), l, D);
    }
}

void nn_kl_backward(hwm_real* dp, hwm_real* dq, const hwm_real* dy, const hwm_real* p,
                    const hwm_real* q, const hwm_real* ratio, int N, int D) {
    for (int n = 0; n < N; n++) {
        const size_t at = row(n, D);
        if (dp)
            for (int i = 0; i < D; i++)
                dp[at + (size_t)i] += dy[n] * (ratio[at + (size_t)i] + 1);
        if (dq)
            for (int i = 0; i < D; i++)
                dq[at + (size_t)i] -= dy[n] * p[at + (size_t)i] / q[at + (size_t)i];
    }
}

void nn_entropy_forward(hwm_real* y, hwm_real* log_p, const hwm_real* p, int N, int D) {
    nn_vlog(row(N, D), p, log_p);
    for (int n = 0; n < N; n++)
        y[n] = -row_dot(p + row(n, D), log_p + row(n, D), D);
}

void nn_entropy_backward(hwm_real* dp, const hwm_real* dy, const hwm_real* log_p, int N, int D) {
    for (int n = 0; n < N; n++)
        for (int i = 0; i < D; i++) {
            const size_t at = row(n, D) + (size_t)i;
            dp[at] -= dy[n] * (log_p[at] + 1);
        }
}

void nn_categorical_log_prob_forward(hwm_real* y, const hwm_real* p, const hwm_real* chosen, int N,
                                     int D) {
    for (int n = 0; n < N; n++) {
        hwm_real sum = 0;
        for (int i = 0; i < D; i++) {
            const size_t at = row(n, D) + (size_t)i;
            if (chosen[at] != 0)
                sum += chosen[at] * (hwm_real)log((double)p[at]);
        }
        y[n] = sum;
    }
}

void nn_categorical_log_prob_backward(hwm_real* dp, const hwm_real* dy, const hwm_real* p,
                                      const hwm_real* chosen, int N, int D) {
    for (int n = 0; n < N; n++)
        for (int i = 0; i < D; i++) {
            const size_t at = row(n, D) + (size_t)i;
            dp[at] += chosen[at] == 0 ? 0 : dy[n] * chosen[at] / p[at];
        }
}

// ---- bounded normal

static const hwm_real std_span = (hwm_real)0.9, std_low = (hwm_real)0.1, std_shift = 2;
static const double half_log_2pi = 0.91893853320467274178;

void nn_bounded_normal_forward(hwm_real* d, const hwm_real* x, int N, int A) {
    for (int n = 0; n < N; n++) {
        const hwm_real* from = x + row(n, 2 * A);
        hwm_real* to = d + row(n, 2 * A);
        nn_vtanh((size_t)A, from, to);
        for (int i = A; i < 2 * A; i++)
            to[i] = from[i] + std_shift;
        nn_vsigmoid((size_t)A, to + A, to + A);
        for (int i = A; i < 2 * A; i++)
            to[i] = std_span * to[i] + std_low;
    }
}

void nn_bounded_normal_backward(hwm_real* dx, const hwm_real* dd, const hwm_real* d, int N, int A) {
    for (int n = 0; n < N; n++) {
        const size_t at = row(n, 2 * A);
        const hwm_real *y = d + at, *g = dd + at;
        hwm_real* to = dx + at;
        for (int i = 0; i < A; i++)
            to[i] += g[i] * (1 - y[i] * y[i]);
        for (int i = A; i < 2 * A; i++) {
            const hwm_real s = (y[i] - std_low) / std_span;
            to[i] += g[i] * std_span * s * (1 - s);
        }
    }
}

void nn_normal_log_prob_forward(hwm_real* y, const hwm_real* d, const hwm_real* a, int N, int A) {
    for (int n = 0; n < N; n++) {
        const hwm_real *m = d + row(n, 2 * A), *s = m + A;
        double sum = 0.0;
        for (int i = 0; i < A; i++) {
            const double z = ((double)a[row(n, A) + (size_t)i] - m[i]) / s[i];
            sum -= 0.5 * z * z + log((double)s[i]) + half_log_2pi;
        }
        y[n] = (hwm_real)sum;
    }
}

void nn_normal_log_prob_backward(hwm_real* dd, const hwm_real* dy, const hwm_real* d,
                                 const hwm_real* a, int N, int A) {
    for (int n = 0; n < N; n++) {
        const hwm_real *m = d + row(n, 2 * A), *s = m + A, *of = a + row(n, A);
        hwm_real *gm = dd + row(n, 2 * A), *gs = gm + A;
        for (int i = 0; i < A; i++) {
            const hwm_real z = (of[i] - m[i]) / s[i];
            gm[i] += dy[n] * z / s[i];
            gs[i] += dy[n] * (z * z - 1) / s[i];
        }
    }
}

void nn_normal_entropy_forward(hwm_real* y, const hwm_real* d, int N, int A) {
    for (int n = 0; n < N; n++) {
        const hwm_real* s = d + row(n, 2 * A) + A;
        double sum = 0.0;
        for (int i = 0; i < A; i++)
            sum += log((double)s[i]) + half_log_2pi + 0.5;
        y[n] = (hwm_real)sum;
    }
}

void nn_normal_entropy_backward(hwm_real* dd, const hwm_real* dy, const hwm_real* d, int N, int A) {
    for (int n = 0; n < N; n++)
        for (int i = A; i < 2 * A; i++) {
            const size_t at = row(n, 2 * A) + (size_t)i;
            dd[at] += dy[n] / d[at];
        }
}

void nn_normal_sample(hwm_real* action, const hwm_real* d, const hwm_real* noise, int N, int A) {
    for (int n = 0; n < N; n++) {
        const hwm_real* m = d + row(n, 2 * A);
        for (int i = 0; i < A; i++) {
            const size_t at = row(n, A) + (size_t)i;
            action[at] = m[i] + (noise ? m[A + i] * noise[at] : 0);
        }
    }
}

// ---- Bernoulli

void nn_bernoulli_log_prob_forward(hwm_real* y, hwm_real* s, const hwm_real* x,
                                   const hwm_real* outcome, int N, int D) {
    hwm_real soft[PIECE];
    for (int n = 0; n < N; n++) {
        hwm_real sum = 0;
        for (int from = 0; from < D; from += PIECE) {
            const size_t at = row(n, D) + (size_t)from;
            const int m = piece_of(from, D);
            nn_vsoftplus((size_t)m, x + at, soft);
            for (int i = 0; i < m; i++)
                sum += x[at + (size_t)i] * outcome[at + (size_t)i] - soft[i];
        }
        y[n] = sum;
    }
    if (s)
        nn_vsigmoid(row(N, D), x, s);
}

void nn_bernoulli_log_prob_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* s,
                                    const hwm_real* outcome, int N, int D) {
    for (int n = 0; n < N; n++)
        for (int i = 0; i < D; i++) {
            const size_t at = row(n, D) + (size_t)i;
            dx[at] += dy[n] * (outcome[at] - s[at]);
        }
}

void nn_bernoulli_entropy_forward(hwm_real* y, hwm_real* s, const hwm_real* x, int N, int D) {
    hwm_real soft[PIECE];
    nn_vsigmoid(row(N, D), x, s);
    for (int n = 0; n < N; n++) {
        hwm_real sum = 0;
        for (int from = 0; from < D; from += PIECE) {
            const size_t at = row(n, D) + (size_t)from;
            const int m = piece_of(from, D);
            nn_vsoftplus((size_t)m, x + at, soft);
            for (int i = 0; i < m; i++)
                sum += soft[i] - x[at + (size_t)i] * s[at + (size_t)i];
        }
        y[n] = sum;
    }
}

void nn_bernoulli_entropy_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* x,
                                   const hwm_real* s, int N, int D) {
    for (int n = 0; n < N; n++)
        for (int i = 0; i < D; i++) {
            const size_t at = row(n, D) + (size_t)i;
            dx[at] -= dy[n] * x[at] * s[at] * (1 - s[at]);
        }
}

// ---- squared error

void nn_squared_error_forward(hwm_real* y, const hwm_real* x, const hwm_real* target, int N,
                              int D) {
    for (int n = 0; n < N; n++) {
        hwm_real sum = 0;
        for (int i = 0; i < D; i++) {
            const hwm_real e = x[row(n, D) + (size_t)i] - target[row(n, D) + (size_t)i];
            sum += e * e;
        }
        y[n] = sum;
    }
}

void nn_squared_error_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* x,
                               const hwm_real* target, int N, int D) {
    for (int n = 0; n < N; n++) {
        const hwm_real d = 2 * dy[n];
        for (int i = 0; i < D; i++) {
            const size_t at = row(n, D) + (size_t)i;
            dx[at] += d * (x[at] - target[at]);
        }
    }
}
