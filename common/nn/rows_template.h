// Body of the row kernels, included once per instruction set with ROWS_TABLE, the name of the table
// that it defines.
#include <math.h>
#include <stddef.h>

#include "nn/rows_kernel.h"
#include "nn/vmath_scalar.h"

typedef hwm_real R;
#ifdef HWM_F64
#define ROOT sqrt
#else
#define ROOT sqrtf
#endif
enum { LANES = 16 };

// Sum in 16 partial sums, added pairwise: the same order at every vector length.
INLINE R lanes_sum(const R* s) {
    R a[8], b[4];
    for (int i = 0; i < 8; i++)
        a[i] = s[i] + s[i + 8];
    for (int i = 0; i < 4; i++)
        b[i] = a[i] + a[i + 4];
    return (b[0] + b[2]) + (b[1] + b[3]);
}

INLINE R dot(const R* x, const R* y, int n) {
    R s[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            s[j] += x[i + j] * y[i + j];
    for (int j = 0; i + j < n; j++)
        s[j] += x[i + j] * y[i + j];
    return lanes_sum(s);
}

// y may be x: what a number becomes depends on it and on its row's sum only
static void rms_forward(R* y, R* restrict rrms, const R* x, const R* restrict g, R eps, int silu,
                        int N, int D) {
    // all sums first: the divisions and roots of many rows then overlap
    for (int n = 0; n < N; n++)
        rrms[n] = dot(x + (size_t)n * (size_t)D, x + (size_t)n * (size_t)D, D);
    for (int n = 0; n < N; n++)
        rrms[n] = (R)1 / ROOT(rrms[n] / (R)D + eps);
    for (int n = 0; n < N; n++, x += D, y += D) {
        const R r = rrms[n];
        if (silu)
#pragma GCC ivdep
            for (int i = 0; i < D; i++) {
                const R a = x[i] * r * g[i];
                y[i] = a * one_sigmoid(a);
            }
        else
#pragma GCC ivdep
            for (int i = 0; i < D; i++)
                y[i] = x[i] * r * g[i];
    }
}

// a = g x r, y = a sigmoid(a):  da = dy (s + y (1 - s));  dg += da x r;
// with e = da g:  dx += r (e - x r^2 mean(e x))
static void rms_backward(R* restrict dx, R* restrict dg, const R* restrict dy, const R* restrict x,
                         const R* restrict g, const R* restrict rrms, int silu, R* restrict scratch,
                         int N, int D) {
    R* restrict e = scratch;
    for (int n = 0; n < N; n++, x += D, dy += D) {
        const R r = rrms[n];
        if (silu)
            for (int i = 0; i < D; i++) {
                const R a = x[i] * r * g[i];
                const R s = one_sigmoid(a);
                e[i] = dy[i] * (s + a * s * ((R)1 - s));
            }
        else
            for (int i = 0; i < D; i++)
                e[i] = dy[i];
        if (dg)
            for (int i = 0; i < D; i++)
                dg[i] += e[i] * x[i] * r;
        if (!dx)
            continue;
        for (int i = 0; i < D; i++)
            e[i] *= g[i];
        const R k = dot(e, x, D) / (R)D * r * r;
        for (int i = 0; i < D; i++)
            dx[i] += r * (e[i] - x[i] * k);
        dx += D;
    }
}

static void gru_forward(R* restrict y, int ldy, R* restrict cache, int D, const R* restrict z,
                        int ldz, const R* restrict h, int ldh, int N, int d) {
    if (!cache) {
        for (int n = 0; n < N; n++, z += ldz, h += ldh, y += ldy)
            for (int i = 0; i < d; i++) {
                const R c = one_tanh(one_sigmoid(z[i]) * z[d + i]);
                const R u = one_sigmoid(z[2 * d + i] - (R)1);
                y[i] = u * c + ((R)1 - u) * h[i];
            }
        return;
    }
    for (int n = 0; n < N; n++, cache += 3 * D, z += ldz, h += ldh, y += ldy) {
        R* restrict r = cache, * restrict c = cache + D, * restrict u = cache + 2 * D;
        for (int i = 0; i < d; i++) {
            r[i] = one_sigmoid(z[i]);
            c[i] = one_tanh(r[i] * z[d + i]);
            u[i] = one_sigmoid(z[2 * d + i] - (R)1);
            y[i] = u[i] * c[i] + ((R)1 - u[i]) * h[i];
        }
    }
}

static void gru_backward(R* restrict dz, R* restrict dh, const R* restrict dy,
                         const R* restrict cache, const R* restrict z, const R* restrict h, int N,
                         int D, int G) {
    const int d = D / G;
    for (int n = 0; n < N; n++, cache += 2 * D)
        for (int b = 0; b < G; b++, z += 3 * d, dz += 3 * d, h += d, dy += d, cache += d) {
            const R* restrict r = cache, * restrict c = cache + D, * restrict u = cache + 2 * D;
            for (int i = 0; i < d; i++) {
                // y = u*c + (1-u)*h;  c = tanh(r * z_c)
                const R du = dy[i] * (c[i] - h[i]);
                const R dt = dy[i] * u[i] * ((R)1 - c[i] * c[i]);
                const R dr = dt * z[d + i];
                dz[i] += dr * r[i] * ((R)1 - r[i]);
                dz[d + i] += dt * r[i];
                dz[2 * d + i] += du * u[i] * ((R)1 - u[i]);
            }
            if (dh) {
                for (int i = 0; i < d; i++)
                    dh[i] += dy[i] * ((R)1 - u[i]);
                dh += d;
            }
        }
}

// Groups of C numbers one after the other, C known when compiled: sums and maxima in the order of
// the classes, many groups side by side.
INLINE void softmax_groups(R* restrict p, const R* restrict x, R mix, int groups, const int C) {
    enum { SIDE = 64, CLASSES_MAX = 16 };
    R m[SIDE], e[SIDE * CLASSES_MAX];
    for (; groups > 0; groups -= SIDE, p += SIDE * C, x += SIDE * C) {
        const int n = groups < SIDE ? groups : SIDE;
        for (int k = 0; k < n; k++) {
            R most = x[k * C];
            for (int i = 1; i < C; i++)
                most = x[k * C + i] > most ? x[k * C + i] : most;
            m[k] = most;
        }
        for (int k = 0; k < n; k++)
            for (int i = 0; i < C; i++)
                e[k * C + i] = x[k * C + i] - m[k];
        for (int i = 0; i < n * C; i++)
            e[i] = one_exp_below(e[i]);
        for (int k = 0; k < n; k++) {
            R sum = e[k * C];
            for (int i = 1; i < C; i++)
                sum += e[k * C + i];
            m[k] = ((R)1 - mix) / sum;
        }
        const R floor = mix / (R)C;
        for (int k = 0; k < n; k++)
            for (int i = 0; i < C; i++)
                p[k * C + i] = e[k * C + i] * m[k] + floor;
    }
}

// One row in LANES running maxima and sums.
static void softmax_row(R* restrict p, const R* restrict x, R mix, int C) {
    R m[LANES], s[LANES];
    for (int j = 0; j < LANES; j++) {
        m[j] = x[j < C ? j : 0];
        s[j] = 0;
    }
    int i = LANES;
    for (; i + LANES <= C; i += LANES)
        for (int j = 0; j < LANES; j++)
            m[j] = x[i + j] > m[j] ? x[i + j] : m[j];
    for (int j = 0; j < LANES; j++)
        m[j] = i + j < C && x[i + j] > m[j] ? x[i + j] : m[j];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            m[j] = m[j + half] > m[j] ? m[j + half] : m[j];
    const R most = m[0];
    for (i = 0; i + LANES <= C; i += LANES)
        for (int j = 0; j < LANES; j++) {
            const R e = one_exp_below(x[i + j] - most);
            p[i + j] = e;
            s[j] += e;
        }
    for (int j = 0; j < LANES; j++)
        if (i + j < C) {
            const R e = one_exp_below(x[i + j] - most);
            p[i + j] = e;
            s[j] += e;
        }
    const R scale = ((R)1 - mix) / lanes_sum(s), floor = mix / (R)C;
    for (i = 0; i < C; i++)
        p[i] = p[i] * scale + floor;
}

static void softmax_forward(R* restrict p, const R* restrict x, R mix, int rows, int C) {
    if (C == 4)
        softmax_groups(p, x, mix, rows, 4);
    else if (C == 8)
        softmax_groups(p, x, mix, rows, 8);
    else if (C == 16)
        softmax_groups(p, x, mix, rows, 16);
    else
        for (int n = 0; n < rows; n++, p += C, x += C)
            softmax_row(p, x, mix, C);
}

// p = (1-mix) s + mix/C:  dx_i += (1-mix) s_i (dp_i - sum_j s_j dp_j), and (1-mix) s = p - mix/C
static void softmax_backward(R* restrict dx, const R* restrict dp, const R* restrict p, R mix,
                             int rows, int C) {
    const R floor = mix / (R)C, rest = (R)1 / ((R)1 - mix);
    for (int n = 0; n < rows; n++, p += C, dp += C, dx += C) {
        R mean = 0;
        if (C < LANES) {
            for (int i = 0; i < C; i++)
                mean += (p[i] - floor) * dp[i];
        } else {
            R s[LANES] = {0};
            int i = 0;
            for (; i + LANES <= C; i += LANES)
                for (int j = 0; j < LANES; j++)
                    s[j] += (p[i + j] - floor) * dp[i + j];
            for (int j = 0; i + j < C; j++)
                s[j] += (p[i + j] - floor) * dp[i + j];
            mean = lanes_sum(s);
        }
        mean *= rest;
        for (int q = 0; q < C; q++)
            dx[q] += (p[q] - floor) * (dp[q] - mean);
    }
}

INLINE void draw_groups(int* restrict pick, const R* restrict p, const R* restrict u, int n,
                        const int C) {
    for (int k = 0; k < n; k++) {
        R sum = p[k * C];
        int count = u[k] >= sum;
        for (int c = 1; c + 1 < C; c++) {
            sum += p[k * C + c];
            count += u[k] >= sum;
        }
        pick[k] = count;
    }
}

static void draw(int* restrict pick, const R* restrict p, const R* restrict u, int n, int C) {
    if (C == 4)
        draw_groups(pick, p, u, n, 4);
    else
        draw_groups(pick, p, u, n, C);
}

// A vector register, at any address
#ifdef __AVX512F__
enum { VEC_BYTES = 64 };
#else
enum { VEC_BYTES = 32 };
#endif
typedef R vec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(R)), may_alias));
enum { VEC = VEC_BYTES / sizeof(R), WIDE = 4 };

// columns [j, j + count * VEC) of one row, in registers
INLINE void hot_columns(R* y, const R* w, const R* bias, bool add, const int* hot, int S, int C,
                        int n, const int count) {
    vec sum[WIDE];
    for (int v = 0; v < count; v++)
        sum[v] = add ? *(const vec*)(y + v * VEC) : bias ? *(const vec*)(bias + v * VEC) : (vec){0};
    for (int s = 0; s < S; s++, w += (ptrdiff_t)C * n) {
        if (hot[s] < 0)
            continue;
        const R* row = w + (ptrdiff_t)hot[s] * n;
#pragma GCC unroll 4
        for (int v = 0; v < count; v++)
            sum[v] += *(const vec*)(row + v * VEC);
    }
    for (int v = 0; v < count; v++)
        *(vec*)(y + v * VEC) = sum[v];
}

static void hot_forward(R* y, int ldy, const R* w, const R* bias, bool add, const int* hot, int S,
                        int C, int N, int n) {
    for (int i = 0; i < N; i++, y += ldy, hot += S) {
        int j = 0;
        for (; j + WIDE * VEC <= n; j += WIDE * VEC)
            hot_columns(y + j, w + j, bias ? bias + j : NULL, add, hot, S, C, n, WIDE);
        for (; j + VEC <= n; j += VEC)
            hot_columns(y + j, w + j, bias ? bias + j : NULL, add, hot, S, C, n, 1);
        for (; j < n; j++) {
            R sum = add ? y[j] : bias ? bias[j] : 0;
            for (int s = 0; s < S; s++)
                if (hot[s] >= 0)
                    sum += w[((ptrdiff_t)s * C + hot[s]) * n + j];
            y[j] = sum;
        }
    }
}

static void hot_backward(R* restrict g, const R* restrict dy, int ldd, const int* restrict hot,
                         int S, int C, int N, int n) {
    for (int i = 0; i < N; i++, dy += ldd, hot += S)
        for (int s = 0; s < S; s++) {
            if (hot[s] < 0)
                continue;
            R* restrict to = g + ((ptrdiff_t)s * C + hot[s]) * n;
            for (int j = 0; j < n; j++)
                to[j] += dy[j];
        }
}

static void elu_scale(R* restrict g, const R* restrict y, int n) {
    for (int i = 0; i < n; i++)
        g[i] *= y[i] > 0 ? (R)1 : y[i] + (R)1;
}

static void tanh_scale(R* restrict g, const R* restrict y, int n) {
    for (int i = 0; i < n; i++)
        g[i] *= (R)1 - y[i] * y[i];
}

static void sigmoid_scale(R* restrict g, const R* restrict y, int n) {
    for (int i = 0; i < n; i++)
        g[i] *= y[i] * ((R)1 - y[i]);
}

static void accumulate(R* restrict x, const R* restrict y, int n) {
    for (int i = 0; i < n; i++)
        x[i] += y[i];
}

static void sum_rows(R* restrict db, const R* restrict dy, int N, int D) {
    for (int n = 0; n < N; n++, dy += D)
        for (int i = 0; i < D; i++)
            db[i] += dy[i];
}

const nn_rows_table ROWS_TABLE = {rms_forward,     rms_backward,     gru_forward, gru_backward,
                                  softmax_forward, softmax_backward, draw,        hot_forward,
                                  hot_backward,    elu_scale,        tanh_scale,  sigmoid_scale,
                                  accumulate,      sum_rows};
