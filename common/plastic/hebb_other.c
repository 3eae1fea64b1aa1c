// The network rule with its backward, and the naive rules.
#include "plastic/hebb.h"
#include "plastic/tanh.h"

void hebb_network(hwm_real* w, const hwm_real* net, int units, const hebb_factors* f,
                  hwm_real* largest) {
    const hwm_real* v = net + 5 * units;
    for (int l = 0; l < HWM_LANES; l++) {
        largest[l] = 0;
    }
    for (int i = 0; i < f->P; i++) {
        const hwm_real* y = hwm_cfeature(f->post, (size_t)i);
        for (int j = 0; j < f->Q; j++, w += HWM_LANES) {
            const hwm_real* x = hwm_cfeature(f->pre, (size_t)j);
            hwm_real change[HWM_LANES] = {0};
            for (int k = 0; k < units; k++) {
                const hwm_real* u = net + 5 * k;
                for (int l = 0; l < HWM_LANES; l++) {
                    hwm_real z =
                        u[0] * x[l] + u[1] * y[l] + u[2] * w[l] + u[3] * f->reward[l] + u[4];
                    change[l] += v[k] * hwm_tanh(z);
                }
            }
            for (int l = 0; l < HWM_LANES; l++) {
                hwm_real dw = f->mod ? f->mod[l] * change[l] : change[l];
                hwm_real after = hebb_keep(f, y[l]) * w[l] + dw;
                w[l] = !f->mask || f->mask[l] != 0 ? after : w[l];
                largest[l] = hebb_larger(largest[l], w[l]);
            }
        }
    }
}

void hebb_network_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_net, const hebb_gradients* g,
                           const hwm_real* net, int units, const hebb_factors* f,
                           const hebb_undo* undo) {
    const hwm_real* v = net + 5 * units;
    HWM_ASSERT(undo->stored);
    for (int i = 0; i < f->P; i++) {
        const hwm_real* y = hwm_cfeature(f->post, (size_t)i);
        hwm_real* g_y = hwm_feature(g->post, (size_t)i);
        for (int j = 0; j < f->Q; j++, w += HWM_LANES, g_w += HWM_LANES) {
            const hwm_real* x = hwm_cfeature(f->pre, (size_t)j);
            hwm_real* g_x = hwm_feature(g->pre, (size_t)j);
            for (int l = 0; l < HWM_LANES; l++) {
                if (f->mask && f->mask[l] == 0) {
                    continue;
                }
                // forward again, for the bound and the modulator
                const hwm_real in[5] = {x[l], y[l], w[l], f->reward[l], 1};
                hwm_real hidden[64], change = 0;
                for (int k = 0; k < units; k++) {
                    const hwm_real* u = net + 5 * k;
                    hidden[k] =
                        hwm_tanh(u[0] * in[0] + u[1] * in[1] + u[2] * in[2] + u[3] * in[3] + u[4]);
                    change += v[k] * hidden[k];
                }
                hwm_real M = f->mod ? f->mod[l] : 1, keep = hebb_keep(f, y[l]);
                hwm_real G = g_w[l] / (undo->m ? undo->m[l] : 1);
                hwm_real free_of_bound = keep * w[l] + M * change;
                if (undo->clip > 0 && (free_of_bound > undo->clip || free_of_bound < -undo->clip)) {
                    G = 0;
                }
                g_w[l] = G * keep;
                if (keep > (hwm_real)0.5) {
                    g_y[l] += G * w[l] * (-2 * f->oja * y[l]);
                }
                if (g->mod) {
                    g->mod[l] += G * change;
                }
                for (int k = 0; k < units; k++) {
                    const hwm_real* u = net + 5 * k;
                    hwm_real g_z = G * M * v[k] * (1 - hidden[k] * hidden[k]);
                    g_net[5 * units + k] += G * M * hidden[k];
                    for (int n = 0; n < 5; n++) {
                        g_net[5 * k + n] += g_z * in[n];
                    }
                    g_x[l] += g_z * u[0];
                    g_y[l] += g_z * u[1];
                    g_w[l] += g_z * u[2];
                    g->reward[l] += g_z * u[3];
                }
            }
        }
    }
}

// dW of one synapse of one sample.
static hwm_real naive_change(hwm_naive kind, const hwm_real* c, hwm_real x, hwm_real y, hwm_real w,
                             hwm_real theta, hwm_rng* noise) {
    hwm_real eta = c[HWM_NAIVE_ETA * HWM_LANES];
    switch (kind) {
    case HWM_NAIVE_HEBB:
        return eta * (c[HWM_NAIVE_ALPHA * HWM_LANES] * (x * y) +
                      c[HWM_NAIVE_BETA * HWM_LANES] * (hwm_real)hwm_rng_normal(noise));
    case HWM_NAIVE_OJA:
        return eta * (x * y - y * y * w);
    case HWM_NAIVE_BCM:
        return eta * (x * y * (y - theta));
    case HWM_NAIVE_NONE:
        break;
    }
    return 0;
}

void hebb_naive(hwm_real* w, hwm_real* theta, const hwm_real* constants, const hwm_real* pre,
                const hwm_real* post, const hwm_real* mask, int layer, hwm_real* largest, int P,
                int Q) {
    for (int l = 0; l < HWM_LANES; l++) {
        if (mask && mask[l] == 0) {
            continue;
        }
        const hwm_real* c = constants + l;
        hwm_naive kind = (hwm_naive)c[0];
        // the noise of a step is a function of the episode's seed, the layer and the step
        uint64_t seed = (uint64_t)c[HWM_NAIVE_SEED * HWM_LANES] |
                        (uint64_t)c[HWM_NAIVE_SEED_HIGH * HWM_LANES] << 24;
        hwm_rng noise;
        hwm_rng_init(&noise, seed, HWM_PURPOSE_RULE_NOISE, (uint32_t)layer, 0,
                     (uint32_t)c[HWM_NAIVE_STEP * HWM_LANES]);
        largest[l] = 0;
        for (int i = 0; i < P; i++) {
            hwm_real y = post[i * HWM_LANES + l];
            hwm_real* threshold = theta ? theta + i * HWM_LANES + l : NULL;
            for (int j = 0; j < Q; j++) {
                hwm_real* at = w + ((size_t)i * (size_t)Q + (size_t)j) * HWM_LANES + l;
                *at += naive_change(kind, c, pre[j * HWM_LANES + l], y, *at,
                                    threshold ? *threshold : 0, &noise);
                largest[l] = hebb_larger(largest[l], *at);
            }
            if (kind == HWM_NAIVE_BCM && threshold) {
                *threshold += c[HWM_NAIVE_RATE * HWM_LANES] * (y * y - *threshold);
            }
        }
    }
}
