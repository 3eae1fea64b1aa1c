// Kernels of one dense layer on one block of 16 samples.
#include "plastic/hebb.h"

#include "plastic/tanh.h"

#define LO(x, f)  (*(hwm_v8*)((x) + (size_t)(f)*HWM_LANES))
#define HI(x, f)  (*(hwm_v8*)((x) + (size_t)(f)*HWM_LANES + 8))
#define CLO(x, f) (*(const hwm_v8*)((x) + (size_t)(f)*HWM_LANES))
#define CHI(x, f) (*(const hwm_v8*)((x) + (size_t)(f)*HWM_LANES + 8))

static void tanh_feature(hwm_real* y) {
    for (int l = 0; l < HWM_LANES; l++) {
        y[l] = hwm_tanh(y[l]);
    }
}

void hebb_dense_forward(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = {0}, hi = {0};
        for (int j = 0; j < Q; j++, w += HWM_LANES) {
            lo += CLO(w, 0) * CLO(pre, j);
            hi += CHI(w, 0) * CHI(pre, j);
        }
        LO(post, i) = lo;
        HI(post, i) = hi;
        tanh_feature(hwm_feature(post, (size_t)i));
    }
}

void hebb_static_forward(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = {0}, hi = {0};
        for (int j = 0; j < Q; j++, w++) {
            lo += *w * CLO(pre, j);
            hi += *w * CHI(pre, j);
        }
        LO(post, i) = lo;
        HI(post, i) = hi;
        tanh_feature(hwm_feature(post, (size_t)i));
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

static hwm_v8 max_abs(hwm_v8 largest, hwm_v8 x) {
    x = hwm_select(x < 0, -x, x);
    return hwm_select(x > largest, x, largest);
}

void hebb_update(hwm_real* w, const hwm_real* rule, const hwm_real* pre, const hwm_real* post,
                 const hwm_real* mod, const hwm_real* active, hwm_real* largest, int P, int Q) {
    const hwm_v8 one = {1, 1, 1, 1, 1, 1, 1, 1};
    const hwm_v8 mlo = mod ? CLO(mod, 0) : one, mhi = mod ? CHI(mod, 0) : one;
    const hwm_v8 alo = active ? CLO(active, 0) : one, ahi = active ? CHI(active, 0) : one;
    hwm_v8 max_lo = {0}, max_hi = {0};
    for (int i = 0; i < P; i++) {
        const hwm_v8 plo = CLO(post, i), phi = CHI(post, i);
        for (int j = 0; j < Q; j++, w += HWM_LANES, rule += 4) {
            hwm_v8 dlo = CLO(pre, j) * (rule[0] * plo + rule[1]) + (rule[2] * plo + rule[3]);
            hwm_v8 dhi = CHI(pre, j) * (rule[0] * phi + rule[1]) + (rule[2] * phi + rule[3]);
            if (mod) {
                dlo = mlo * dlo;
                dhi = mhi * dhi;
            }
            hwm_v8 wlo = CLO(w, 0) + dlo, whi = CHI(w, 0) + dhi;
            if (active) {
                wlo = hwm_select(alo != 0, wlo, CLO(w, 0));
                whi = hwm_select(ahi != 0, whi, CHI(w, 0));
            }
            LO(w, 0) = wlo;
            HI(w, 0) = whi;
            max_lo = max_abs(max_lo, wlo);
            max_hi = max_abs(max_hi, whi);
        }
    }
    if (largest) {
        LO(largest, 0) = max_lo;
        HI(largest, 0) = max_hi;
    }
}

void hebb_max_norm(hwm_real* w, const hwm_real* largest, hwm_real w_max, const hwm_real* active,
                   hwm_real* m, size_t n) {
    bool any = false;
    hwm_real inverse[HWM_LANES];
    for (int l = 0; l < HWM_LANES; l++) {
        hwm_real over = largest[l] / w_max;
        m[l] = over > 1 && (!active || active[l] != 0) ? over : 1;
        inverse[l] = 1 / m[l];
        any |= m[l] != 1;
    }
    // mostly nothing is too large, and a product with 1 changes nothing
    for (size_t k = 0; any && k < n; k++) {
        LO(w, k) *= CLO(inverse, 0);
        HI(w, k) *= CHI(inverse, 0);
    }
}

void hebb_clip(hwm_real* w, hwm_real w_max, const hwm_real* active, size_t n) {
    for (size_t k = 0; k < n; k++) {
        hwm_real* x = hwm_feature(w, k);
        for (int l = 0; l < HWM_LANES; l++) {
            hwm_real y = x[l] > w_max ? w_max : x[l] < -w_max ? -w_max : x[l];
            x[l] = !active || active[l] != 0 ? y : x[l];
        }
    }
}

void hebb_update_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_rule, hwm_real* g_pre,
                          hwm_real* g_post, hwm_real* g_mod, const hwm_real* rule,
                          const hwm_real* pre, const hwm_real* post, const hwm_real* mod,
                          const hwm_real* m, int P, int Q) {
    const hwm_v8 one = {1, 1, 1, 1, 1, 1, 1, 1};
    const hwm_v8 M[2] = {mod ? CLO(mod, 0) : one, mod ? CHI(mod, 0) : one};
    const hwm_v8 scale[2] = {m ? CLO(m, 0) : one, m ? CHI(m, 0) : one};
    hwm_v8 g_m[2] = {{0}, {0}};
    for (int i = 0; i < P; i++) {
        const hwm_v8 y[2] = {CLO(post, i), CHI(post, i)};
        hwm_v8 g_y[2] = {{0}, {0}};
        for (int j = 0; j < Q; j++, w += HWM_LANES, g_w += HWM_LANES, rule += 4, g_rule += 4) {
            hwm_v8 G[2], Gx[2], Gy[2], Gxy[2];
            for (int h = 0; h < 2; h++) {
                hwm_v8 x = *(const hwm_v8*)(pre + (size_t)j * HWM_LANES + 8 * (size_t)h);
                hwm_v8* wh = (hwm_v8*)(w + 8 * (size_t)h);
                hwm_v8* gh = (hwm_v8*)(g_w + 8 * (size_t)h);
                hwm_v8* gx = (hwm_v8*)(g_pre + (size_t)j * HWM_LANES + 8 * (size_t)h);

                // dw without M: pre (a post + b) + (c post + d)
                hwm_v8 by_pre = rule[0] * y[h] + rule[1];
                hwm_v8 change = x * by_pre + (rule[2] * y[h] + rule[3]);
                *wh = scale[h] * *wh - M[h] * change;
                hwm_v8 g = *gh / scale[h];
                *gh = g;
                g_m[h] += g * change;
                g = g * M[h];
                *gx += g * by_pre;
                g_y[h] += g * (rule[0] * x + rule[2]);
                G[h] = g;
                Gx[h] = g * x;
                Gy[h] = g * y[h];
                Gxy[h] = Gx[h] * y[h];
            }
            g_rule[0] += hwm_lane_sum(Gxy[0], Gxy[1]);
            g_rule[1] += hwm_lane_sum(Gx[0], Gx[1]);
            g_rule[2] += hwm_lane_sum(Gy[0], Gy[1]);
            g_rule[3] += hwm_lane_sum(G[0], G[1]);
        }
        LO(g_post, i) += g_y[0];
        HI(g_post, i) += g_y[1];
    }
    if (mod) {
        LO(g_mod, 0) += g_m[0];
        HI(g_mod, 0) += g_m[1];
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
