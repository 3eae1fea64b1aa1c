#include "nn/elements.h"

#include <math.h>
#include <string.h>

#include "nn/vmath.h"

void nn_elu_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n) {
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * (y[i] > 0 ? 1 : y[i] + 1);
}

void nn_tanh_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n) {
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * (1 - y[i] * y[i]);
}

void nn_sigmoid_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n) {
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * y[i] * (1 - y[i]);
}

void nn_silu_forward(hwm_real* y, hwm_real* s, const hwm_real* x, size_t n) {
    nn_vsigmoid(n, x, s);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * s[i];
}

void nn_silu_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, const hwm_real* s,
                      size_t n) {
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * (s[i] + y[i] * (1 - s[i]));
}

void nn_softplus_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* s, size_t n) {
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * s[i];
}

// y = sign(x) f(|x|)
static void odd(hwm_real* y, const hwm_real* x, size_t n,
                void (*f)(size_t n, const hwm_real* x, hwm_real* y)) {
    for (size_t i = 0; i < n; i++)
        y[i] = (hwm_real)fabs(x[i]);
    f(n, y, y);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] < 0 ? -y[i] : y[i];
}

void nn_symlog_forward(hwm_real* y, const hwm_real* x, size_t n) {
    odd(y, x, n, nn_vlog1p);
}

void nn_symlog_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* x, size_t n) {
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] / (1 + (hwm_real)fabs(x[i]));
}

void nn_symexp_forward(hwm_real* y, const hwm_real* x, size_t n) {
    odd(y, x, n, nn_vexpm1);
}

void nn_symexp_backward(hwm_real* dx, const hwm_real* dy, const hwm_real* y, size_t n) {
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * (1 + (hwm_real)fabs(y[i]));
}

void nn_columns_copy(hwm_real* y, int ldy, const hwm_real* x, int ldx, int N, int D) {
    for (int n = 0; n < N; n++)
        memcpy(y + (size_t)n * (size_t)ldy, x + (size_t)n * (size_t)ldx,
               (size_t)D * sizeof(hwm_real));
}

void nn_columns_add(hwm_real* y, int ldy, const hwm_real* x, int ldx, int N, int D) {
    for (int n = 0; n < N; n++) {
        hwm_real* to = y + (size_t)n * (size_t)ldy;
        const hwm_real* from = x + (size_t)n * (size_t)ldx;
        for (int i = 0; i < D; i++)
            to[i] += from[i];
    }
}
