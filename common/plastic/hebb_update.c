// The rules with coefficients: one kernel for abcd, mod3, shifted and trace, and its backward.
#include "plastic/hebb.h"

static const hwm_v8 one = {1, 1, 1, 1, 1, 1, 1, 1};

static inline hwm_v8 absolute(hwm_v8 x) {
#ifdef HWM_F64
    return (hwm_v8)((hwm_m8)x & INT64_MAX);
#else
    return (hwm_v8)((hwm_m8)x & INT32_MAX);
#endif
}

static inline hwm_v8 larger(hwm_v8 a, hwm_v8 b) {
    return hwm_select(a > b, a, b);
}

// Half h of feature f.
static inline hwm_v8 half(const hwm_real* x, int f, int h) {
    return *(const hwm_v8*)(x + f * HWM_LANES + 8 * h);
}
static inline hwm_v8* half_at(hwm_real* x, int f, int h) {
    return (hwm_v8*)(x + f * HWM_LANES + 8 * h);
}

// f_i = max(1/2, 1 - oja y^2)
static inline hwm_v8 shrink(hwm_v8 y, hwm_real oja) {
    hwm_v8 f = one - oja * (y * y);
    return larger(f, 0.5f * one);
}

// The plain case, which most of the time goes to: no modulator, mask, trace or shrinking. Same
// operations as below.
static void update_plain(hwm_real* w, const hwm_real* rule, const hebb_factors* f,
                         hwm_real* largest) {
    hwm_v8 max_lo = {0}, max_hi = {0};
    for (int i = 0; i < f->P; i++) {
        const hwm_v8 y_lo = half(f->post, i, 0), y_hi = half(f->post, i, 1);
        const hwm_real *x = f->pre, *xb = f->pre_b;
        for (int j = 0; j < f->Q; j++, w += HWM_LANES, rule += 4, x += HWM_LANES, xb += HWM_LANES) {
            hwm_v8 lo = half(x, 0, 0) * (rule[0] * y_lo) + rule[1] * half(xb, 0, 0) +
                        (rule[2] * y_lo + rule[3]);
            hwm_v8 hi = half(x, 0, 1) * (rule[0] * y_hi) + rule[1] * half(xb, 0, 1) +
                        (rule[2] * y_hi + rule[3]);
            lo = half(w, 0, 0) + lo;
            hi = half(w, 0, 1) + hi;
            *half_at(w, 0, 0) = lo;
            *half_at(w, 0, 1) = hi;
            max_lo = larger(absolute(lo), max_lo);
            max_hi = larger(absolute(hi), max_hi);
        }
    }
    LO(largest, 0) = max_lo;
    HI(largest, 0) = max_hi;
}

void hebb_update(hwm_real* w, hwm_real* trace, const hwm_real* rule, const hebb_factors* f,
                 hwm_real* largest) {
    if (!f->mod && !f->mask && !trace && f->oja == 0) {
        update_plain(w, rule, f, largest);
        return;
    }
    hwm_v8 max[2] = {{0}, {0}};
    for (int i = 0; i < f->P; i++) {
        for (int j = 0; j < f->Q; j++, w += HWM_LANES, rule += 4) {
            for (int h = 0; h < 2; h++) {
                hwm_v8 y = half(f->post, i, h), before = half(w, 0, h);
                hwm_v8 change = half(f->pre, j, h) * (rule[0] * y) +
                                rule[1] * half(f->pre_b, j, h) + (rule[2] * y + rule[3]);
                const hwm_m8 live = f->mask ? half(f->mask, 0, h) != 0 : one != 0;
                if (trace) {
                    hwm_v8* e = half_at(trace, i * f->Q + j, h);
                    change = f->trace_decay * *e + change;
                    *e = hwm_select(live, change, *e);
                }
                if (f->mod) {
                    change = half(f->mod, 0, h) * change;
                }
                hwm_v8 kept = before;
                if (f->oja != 0) {
                    kept = before * shrink(y, f->oja);
                }
                hwm_v8 after = hwm_select(live, kept + change, before);
                *half_at(w, 0, h) = after;
                max[h] = larger(absolute(after), max[h]);
            }
        }
    }
    LO(largest, 0) = max[0];
    HI(largest, 0) = max[1];
}

void hebb_update_backward(hwm_real* w, const hwm_real* trace, hwm_real* g_w, hwm_real* g_trace,
                          hwm_real* g_rule, const hebb_gradients* g, const hwm_real* rule,
                          const hebb_factors* f, const hebb_undo* undo) {
    const hwm_v8 zero = {0};
    hwm_v8 g_mod[2] = {{0}, {0}};
    for (int i = 0; i < f->P; i++) {
        hwm_v8 g_post[2] = {{0}, {0}};
        for (int j = 0; j < f->Q; j++, w += HWM_LANES, g_w += HWM_LANES, rule += 4, g_rule += 4) {
            hwm_v8 sum[4][2];
            for (int h = 0; h < 2; h++) {
                const hwm_v8 x = half(f->pre, j, h), xb = half(f->pre_b, j, h),
                             y = half(f->post, i, h);
                const hwm_v8 mask = f->mask ? half(f->mask, 0, h) : one;
                const hwm_v8 M = f->mod ? half(f->mod, 0, h) : one;
                const hwm_v8 m = undo->m ? half(undo->m, 0, h) : one;
                const hwm_v8 keep =
                    f->oja != 0 ? hwm_select(mask != 0, shrink(y, f->oja), one) : one;
                hwm_v8* wh = half_at(w, 0, h);
                hwm_v8* gh = half_at(g_w, 0, h);

                // forward again: dw = M (change), or M (lambda trace + change); w after = (keep w +
                // dw) / m
                hwm_v8 change = x * (rule[0] * y) + rule[1] * xb + (rule[2] * y + rule[3]);
                if (trace) {
                    change = f->trace_decay * half(trace, i * f->Q + j, h) + change;
                }
                if (!undo->stored) {
                    *wh = (m * *wh - mask * (M * change)) / keep;
                }
                hwm_v8 G = *gh / m;
                if (undo->clip > 0) {
                    hwm_v8 free_of_bound = keep * *wh + mask * (M * change);
                    G = hwm_select((absolute(free_of_bound) > undo->clip) & (mask != 0), zero, G);
                }
                *gh = G * keep;
                g_mod[h] += mask * (G * change);
                hwm_v8 g_change = mask * (G * M);
                if (trace) {
                    hwm_v8* ge = half_at(g_trace, i * f->Q + j, h);
                    g_change += mask * *ge;
                    *ge = hwm_select(mask != 0, f->trace_decay * g_change, *ge);
                }
                *half_at(g->pre, j, h) += g_change * (rule[0] * y);
                *half_at(g->pre_b, j, h) += g_change * rule[1];
                g_post[h] += g_change * (rule[0] * x + rule[2]);
                if (f->oja != 0) {
                    // through keep = 1 - oja y^2, where it is not at its floor
                    hwm_v8 through = mask * (G * *wh) * (-2 * f->oja * y);
                    g_post[h] += hwm_select(keep > 0.5f * one, through, zero);
                }
                sum[0][h] = g_change * (x * y);
                sum[1][h] = g_change * xb;
                sum[2][h] = g_change * y;
                sum[3][h] = g_change;
            }
            for (int k = 0; k < 4; k++) {
                g_rule[k] += hwm_lane_sum(sum[k][0], sum[k][1]);
            }
        }
        *half_at(g->post, i, 0) += g_post[0];
        *half_at(g->post, i, 1) += g_post[1];
    }
    if (g->mod) {
        LO(g->mod, 0) += g_mod[0];
        HI(g->mod, 0) += g_mod[1];
    }
}
