// The rule miconi: fixed weights and a Hebbian trace beside them, forward, update and backward.
#include "plastic/hebb.h"

enum { FIXED, ALPHA, ETA, PLANES = 4 };

void hebb_mixed_sum(hwm_real* post, const hwm_real* w, const hwm_real* rule, const hwm_real* pre,
                    int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = LO(post, i), hi = HI(post, i);
        for (int j = 0; j < Q; j++, w += HWM_LANES, rule += PLANES) {
            lo += (rule[FIXED] + rule[ALPHA] * CLO(w, 0)) * CLO(pre, j);
            hi += (rule[FIXED] + rule[ALPHA] * CHI(w, 0)) * CHI(pre, j);
        }
        LO(post, i) = lo;
        HI(post, i) = hi;
    }
}

void hebb_mixed_backward(hwm_real* g_pre, hwm_real* g_w, hwm_real* g_rule, const hwm_real* g_post,
                         const hwm_real* w, const hwm_real* rule, const hwm_real* pre,
                         const hwm_real* post, int P, int Q) {
    for (int i = 0; i < P; i++) {
        hwm_v8 lo = CLO(g_post, i) * (1 - CLO(post, i) * CLO(post, i));
        hwm_v8 hi = CHI(g_post, i) * (1 - CHI(post, i) * CHI(post, i));
        for (int j = 0; j < Q; j++) {
            const hwm_v8 x_lo = lo * CLO(pre, j), x_hi = hi * CHI(pre, j);
            g_rule[FIXED] += hwm_lane_sum(x_lo, x_hi);
            g_rule[ALPHA] += hwm_lane_sum(x_lo * CLO(w, 0), x_hi * CHI(w, 0));
            LO(g_w, 0) += rule[ALPHA] * x_lo;
            HI(g_w, 0) += rule[ALPHA] * x_hi;
            LO(g_pre, j) += lo * (rule[FIXED] + rule[ALPHA] * CLO(w, 0));
            HI(g_pre, j) += hi * (rule[FIXED] + rule[ALPHA] * CHI(w, 0));
            w += HWM_LANES;
            g_w += HWM_LANES;
            rule += PLANES;
            g_rule += PLANES;
        }
    }
}

void hebb_mixed_update(hwm_real* w, const hwm_real* rule, const hebb_factors* f,
                       hwm_real* largest) {
    for (int l = 0; l < HWM_LANES; l++) {
        largest[l] = 0;
    }
    for (int i = 0; i < f->P; i++) {
        const hwm_real* y = hwm_cfeature(f->post, (size_t)i);
        hwm_real keep[HWM_LANES];
        for (int l = 0; l < HWM_LANES; l++) {
            keep[l] = hebb_keep(f, y[l]);
        }
        for (int j = 0; j < f->Q; j++, w += HWM_LANES, rule += PLANES) {
            const hwm_real* x = hwm_cfeature(f->pre, (size_t)j);
            for (int l = 0; l < HWM_LANES; l++) {
                hwm_real change = rule[ETA] * (x[l] * y[l]);
                hwm_real dw = f->mod ? f->mod[l] * change : change;
                hwm_real after = (1 - rule[ETA]) * (keep[l] * w[l]) + dw;
                w[l] = !f->mask || f->mask[l] != 0 ? after : w[l];
                largest[l] = hebb_larger(largest[l], w[l]);
            }
        }
    }
}

void hebb_mixed_update_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_rule,
                                const hebb_gradients* g, const hwm_real* rule,
                                const hebb_factors* f, const hebb_undo* undo) {
    HWM_ASSERT(undo->stored);
    for (int i = 0; i < f->P; i++) {
        const hwm_real* y = hwm_cfeature(f->post, (size_t)i);
        hwm_real* g_y = hwm_feature(g->post, (size_t)i);
        for (int j = 0; j < f->Q; j++) {
            const hwm_real* x = hwm_cfeature(f->pre, (size_t)j);
            hwm_real* g_x = hwm_feature(g->pre, (size_t)j);
            for (int l = 0; l < HWM_LANES; l++) {
                if (f->mask && f->mask[l] == 0) {
                    continue;
                }
                // w after = (1 - eta) (keep w) + M (eta (x y))
                hwm_real M = f->mod ? f->mod[l] : 1, keep = hebb_keep(f, y[l]), eta = rule[ETA];
                hwm_real G = g_w[l] / (undo->m ? undo->m[l] : 1);
                hwm_real free_of_bound = (1 - eta) * (keep * w[l]) + M * (eta * (x[l] * y[l]));
                if (undo->clip > 0 && (free_of_bound > undo->clip || free_of_bound < -undo->clip)) {
                    G = 0;
                }
                g_rule[ETA] += G * (M * (x[l] * y[l]) - keep * w[l]);
                g_w[l] = G * (1 - eta) * keep;
                if (keep > (hwm_real)0.5) {
                    g_y[l] += G * (1 - eta) * w[l] * (-2 * f->oja * y[l]);
                }
                if (g->mod) {
                    g->mod[l] += G * (eta * (x[l] * y[l]));
                }
                g_x[l] += G * M * eta * y[l];
                g_y[l] += G * M * eta * x[l];
            }
            w += HWM_LANES;
            g_w += HWM_LANES;
            rule += PLANES;
            g_rule += PLANES;
        }
    }
}
