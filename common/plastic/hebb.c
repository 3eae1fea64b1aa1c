// Kernels of one dense layer on one block of 16 samples.
#include "plastic/hebb.h"

#include "plastic/tanh.h"

static void tanh_feature(hwm_real* y) {
    for (int l = 0; l < HWM_LANES; l++) {
        y[l] = hwm_tanh(y[l]);
    }
}

void hebb_tanh(hwm_real* post, int P) {
    for (int i = 0; i < P; i++) {
        tanh_feature(hwm_feature(post, (size_t)i));
    }
}

void hebb_dense_sum(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = LO(post, i), hi = HI(post, i);
        for (int j = 0; j < Q; j++, w += HWM_LANES) {
            lo += CLO(w, 0) * CLO(pre, j);
            hi += CHI(w, 0) * CHI(pre, j);
        }
        LO(post, i) = lo;
        HI(post, i) = hi;
    }
}

void hebb_static_sum(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = LO(post, i), hi = HI(post, i);
        for (int j = 0; j < Q; j++, w++) {
            lo += *w * CLO(pre, j);
            hi += *w * CHI(pre, j);
        }
        LO(post, i) = lo;
        HI(post, i) = hi;
    }
}

void hebb_dense_backward(hwm_real* g_pre, hwm_real* g_w, const hwm_real* g_post, const hwm_real* w,
                         const hwm_real* pre, const hwm_real* post, int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = CLO(g_post, i) * (1 - CLO(post, i) * CLO(post, i));
        hwm_v8 hi = CHI(g_post, i) * (1 - CHI(post, i) * CHI(post, i));
        for (int j = 0; j < Q; j++, w += HWM_LANES, g_w += HWM_LANES) {
            LO(g_w, 0) += lo * CLO(pre, j);
            HI(g_w, 0) += hi * CHI(pre, j);
            LO(g_pre, j) += lo * CLO(w, 0);
            HI(g_pre, j) += hi * CHI(w, 0);
        }
    }
}

void hebb_static_backward(hwm_real* g_pre, hwm_real* g_w, const hwm_real* g_post, const hwm_real* w,
                          const hwm_real* pre, const hwm_real* post, int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = CLO(g_post, i) * (1 - CLO(post, i) * CLO(post, i));
        hwm_v8 hi = CHI(g_post, i) * (1 - CHI(post, i) * CHI(post, i));
        for (int j = 0; j < Q; j++, w++, g_w++) {
            *g_w += hwm_lane_sum(lo * CLO(pre, j), hi * CHI(pre, j));
            LO(g_pre, j) += lo * *w;
            HI(g_pre, j) += hi * *w;
        }
    }
}

void hebb_max_norm(hwm_real* w, const hwm_real* largest, hwm_real w_max, const hwm_real* mask,
                   hwm_real* m, size_t n) {
    bool any = false;
    hwm_real inverse[HWM_LANES];
    for (int l = 0; l < HWM_LANES; l++) {
        hwm_real over = largest[l] / w_max;
        m[l] = over > 1 && (!mask || mask[l] != 0) ? over : 1;
        inverse[l] = 1 / m[l];
        any |= m[l] != 1;
    }
    // mostly nothing is too large, and a product with 1 changes nothing
    for (size_t k = 0; any && k < n; k++) {
        LO(w, k) *= CLO(inverse, 0);
        HI(w, k) *= CHI(inverse, 0);
    }
}

void hebb_clip(hwm_real* w, hwm_real w_max, const hwm_real* mask, size_t n) {
    for (size_t k = 0; k < n; k++) {
        hwm_real* x = hwm_feature(w, k);
        for (int l = 0; l < HWM_LANES; l++) {
            hwm_real y = x[l] > w_max ? w_max : x[l] < -w_max ? -w_max : x[l];
            x[l] = !mask || mask[l] != 0 ? y : x[l];
        }
    }
}

void hebb_decay(hwm_real* w, const hwm_real* w0, hwm_real rate, const hwm_real* mask, size_t n) {
    for (size_t k = 0; k < n; k++) {
        hwm_real* x = hwm_feature(w, k);
        const hwm_real* home = hwm_cfeature(w0, k);
        for (int l = 0; l < HWM_LANES; l++) {
            hwm_real y = x[l] + rate * (home[l] - x[l]);
            x[l] = !mask || mask[l] != 0 ? y : x[l];
        }
    }
}

void hebb_decay_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_w0, const hwm_real* w0,
                         hwm_real rate, const hwm_real* mask, size_t n) {
    for (size_t k = 0; k < n; k++) {
        hwm_real *x = w ? hwm_feature(w, k) : NULL, *g = hwm_feature(g_w, k),
                 *g0 = hwm_feature(g_w0, k);
        const hwm_real* home = hwm_cfeature(w0, k);
        for (int l = 0; l < HWM_LANES; l++) {
            if (!mask || mask[l] != 0) {
                if (w) {
                    x[l] = (x[l] - rate * home[l]) / (1 - rate);
                }
                g0[l] += rate * g[l];
                g[l] *= 1 - rate;
            }
        }
    }
}

static void dot(hwm_real* y, const hwm_real* u, const hwm_real* x, int n) {
    for (int k = 0; k < n; k++) {
        LO(y, 0) += u[k] * CLO(x, k);
        HI(y, 0) += u[k] * CHI(x, k);
    }
}

static void dot_backward(hwm_real* g_u, hwm_real* g_x, const hwm_real* g, const hwm_real* u,
                         const hwm_real* x, int n) {
    for (int k = 0; k < n; k++) {
        g_u[k] += hwm_lane_sum(CLO(g, 0) * CLO(x, k), CHI(g, 0) * CHI(x, k));
        LO(g_x, k) += u[k] * CLO(g, 0);
        HI(g_x, k) += u[k] * CHI(g, 0);
    }
}

void hebb_modulator(hwm_real* mod, const hwm_real* u, const hwm_real* x, int n_x, const hwm_real* v,
                    const hwm_real* h, int n_h) {
    for (int l = 0; l < HWM_LANES; l++) {
        mod[l] = 0;
    }
    dot(mod, u, x, n_x);
    if (v) {
        dot(mod, v, h, n_h);
    }
    tanh_feature(mod);
}

void hebb_modulator_backward(hwm_real* g_u, hwm_real* g_x, hwm_real* g_v, hwm_real* g_h,
                             const hwm_real* g_mod, const hwm_real* mod, const hwm_real* u,
                             const hwm_real* x, int n_x, const hwm_real* v, const hwm_real* h,
                             int n_h) {
    // through M = tanh(z): dz = dM (1 - M^2)
    hwm_real g_z[HWM_LANES];
    for (int l = 0; l < HWM_LANES; l++) {
        g_z[l] = g_mod[l] * (1 - mod[l] * mod[l]);
    }
    dot_backward(g_u, g_x, g_z, u, x, n_x);
    if (v) {
        dot_backward(g_v, g_h, g_z, v, h, n_h);
    }
}

void hebb_prediction(hwm_real* mod, const hwm_real* reward, const hwm_real* u, const hwm_real* x,
                     int n_x) {
    hwm_real expected[HWM_LANES] = {0};
    dot(expected, u, x, n_x);
    for (int l = 0; l < HWM_LANES; l++) {
        mod[l] = reward[l] - expected[l];
    }
    tanh_feature(mod);
}

void hebb_prediction_backward(hwm_real* g_u, hwm_real* g_x, hwm_real* g_reward,
                              const hwm_real* g_mod, const hwm_real* mod, const hwm_real* u,
                              const hwm_real* x, int n_x) {
    hwm_real g_expected[HWM_LANES];
    for (int l = 0; l < HWM_LANES; l++) {
        g_expected[l] = -g_mod[l] * (1 - mod[l] * mod[l]);
        g_reward[l] -= g_expected[l];
    }
    dot_backward(g_u, g_x, g_expected, u, x, n_x);
}
