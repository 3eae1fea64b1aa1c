// phi -> coef, its backward, the initial phi, and fresh weights.
#include <math.h>
#include <string.h>

#include "plastic/impl.h"

static const hwm_real* entry(const hwm_controller* c, const hwm_real* phi, int p) {
    return phi + c->params.entry[p].offset;
}

// Value of a coefficient of synapse k: entries are per synapse or one for the layer.
static hwm_real pick(const hwm_controller* c, const hwm_real* phi, int p, size_t k,
                     hwm_real absent) {
    if (p < 0) {
        return absent;
    }
    return entry(c, phi, p)[c->rule.granularity == HWM_PER_LAYER ? 0 : k];
}

static void give(const hwm_controller* c, hwm_real* g_phi, int p, size_t k, hwm_real g) {
    if (p >= 0) {
        g_phi[c->params.entry[p].offset + (c->rule.granularity == HWM_PER_LAYER ? 0 : k)] += g;
    }
}

static void copy_vector(const hwm_controller* c, const hwm_real* phi, int p, hwm_real* coef,
                        size_t at) {
    if (p >= 0 && at != HWM_NONE) {
        memcpy(coef + at, entry(c, phi, p),
               hwm_tensor_count(&c->params.entry[p].spec) * sizeof *coef);
    }
}

static void give_vector(const hwm_controller* c, hwm_real* g_phi, int p, const hwm_real* g_coef,
                        size_t at) {
    if (p >= 0 && at != HWM_NONE) {
        size_t n = hwm_tensor_count(&c->params.entry[p].spec);
        for (size_t k = 0; k < n; k++) {
            g_phi[c->params.entry[p].offset + k] += g_coef[at + k];
        }
    }
}

void hwm_controller_prepare(const hwm_controller* c, const hwm_real* phi, hwm_real* coef) {
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        copy_vector(c, phi, y->w_p, coef, y->w_c);
        copy_vector(c, phi, y->mod_x_p, coef, y->mod_x_c);
        copy_vector(c, phi, y->mod_h_p, coef, y->mod_h_c);
        if (!y->plastic) {
            continue;
        }
        // a = eta A, b = eta B, c = eta C, d = eta D + E
        hwm_real* rule = coef + y->rule_c;
        for (size_t k = 0; k < (size_t)y->P * (size_t)y->Q; k++) {
            hwm_real eta = (hwm_real)c->rule.eta * pick(c, phi, y->eta_p, k, 1);
            for (int t = 0; t < 4; t++) {
                rule[4 * k + (size_t)t] = eta * pick(c, phi, y->term_p[t], k, 0);
            }
            rule[4 * k + 3] += pick(c, phi, y->term_p[4], k, 0);
        }
    }
}

void hwm_controller_prepare_backward(const hwm_controller* c, const hwm_real* phi,
                                     const hwm_real* coef, const hwm_real* g_coef,
                                     hwm_real* g_phi) {
    (void)coef;
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        if (y->plastic || c->config.static_learned) {
            give_vector(c, g_phi, y->w_p, g_coef, y->w_c);
        }
        give_vector(c, g_phi, y->mod_x_p, g_coef, y->mod_x_c);
        give_vector(c, g_phi, y->mod_h_p, g_coef, y->mod_h_c);
        if (!y->plastic) {
            continue;
        }
        const hwm_real* g = g_coef + y->rule_c;
        for (size_t k = 0; k < (size_t)y->P * (size_t)y->Q; k++) {
            hwm_real eta = (hwm_real)c->rule.eta * pick(c, phi, y->eta_p, k, 1);
            hwm_real g_eta = 0;
            for (int t = 0; t < 4; t++) {
                give(c, g_phi, y->term_p[t], k, eta * g[4 * k + (size_t)t]);
                g_eta += g[4 * k + (size_t)t] * pick(c, phi, y->term_p[t], k, 0);
            }
            give(c, g_phi, y->eta_p, k, (hwm_real)c->rule.eta * g_eta);
            give(c, g_phi, y->term_p[4], k, g[4 * k + 3]);
        }
    }
}

// One weight of a layer with Q inputs and P outputs. Sources: Glorot & Bengio 2010; He et al. 2015;
// Martens 2010 (sparse).
static hwm_real draw(int kind, double scale, int P, int Q, hwm_rng* rng) {
    float s = (float)scale;
    float bound = 0;
    switch ((hwm_weights)kind) {
    case HWM_WEIGHTS_UNIFORM:
        bound = s;
        break;
    case HWM_WEIGHTS_XAVIER:
        bound = s * sqrtf(6.0f / (float)(P + Q));
        break;
    case HWM_WEIGHTS_KAIMING:
        bound = sqrtf(6.0f / ((1.0f + s * s) * (float)Q));
        break;
    case HWM_WEIGHTS_DEFAULT:
        bound = 1.0f / sqrtf((float)Q);
        break;
    case HWM_WEIGHTS_NORMAL:
        return (hwm_real)(s * hwm_rng_normal(rng));
    case HWM_WEIGHTS_SPARSE:
        return (hwm_real)(0.01f * hwm_rng_normal(rng));
    case HWM_WEIGHTS_ONES:
        return 1;
    case HWM_WEIGHTS_ZEROS:
        return 0;
    }
    return (hwm_real)(bound * (2.0f * hwm_rng_uniform(rng) - 1.0f));
}

// sparse: in every column, share `scale` (rounded up) of the P weights is zeroed, chosen without
// replacement.
static void thin_column(hwm_real* column, size_t stride, double scale, int P, hwm_rng* rng) {
    int zeros = (int)ceil(scale * P);
    for (int i = 0; i < P; i++) {
        int left = P - i;
        if ((int)hwm_rng_below(rng, (uint32_t)left) < zeros) {
            column[(size_t)i * stride] = 0;
            zeros--;
        }
    }
}

// Fill (P,Q) weights whose elements are `stride` apart.
static void draw_layer(int kind, double scale, int P, int Q, hwm_rng* rng, hwm_real* w,
                       size_t stride) {
    for (size_t k = 0; k < (size_t)P * (size_t)Q; k++) {
        w[k * stride] = draw(kind, scale, P, Q, rng);
    }
    for (int j = 0; kind == HWM_WEIGHTS_SPARSE && j < Q; j++) {
        thin_column(w + (size_t)j * stride, (size_t)Q * stride, scale, P, rng);
    }
}

static void fill(const hwm_controller* c, hwm_real* phi, int p, hwm_rng* rng, double mean,
                 double std) {
    if (p >= 0) {
        hwm_real* x = phi + c->params.entry[p].offset;
        size_t n = hwm_tensor_count(&c->params.entry[p].spec);
        for (size_t k = 0; k < n; k++) {
            x[k] = (hwm_real)((float)mean + (std > 0 ? (float)std * hwm_rng_normal(rng) : 0));
        }
    }
}

void hwm_controller_init(const hwm_controller* c, hwm_rng* rng, hwm_real* phi) {
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!y->plastic) {
            draw_layer(c->config.static_weights, c->config.static_weights_scale, y->P, y->Q, rng,
                       phi + c->params.entry[y->w_p].offset, 1);
            continue;
        }
        for (int t = 0; t < HWM_TERMS; t++) {
            fill(c, phi, y->term_p[t], rng, 0, c->rule.phi_std);
        }
        fill(c, phi, y->eta_p, rng, 1, 0);
        fill(c, phi, y->w_p, rng, 0, 0);
        fill(c, phi, y->mod_x_p, rng, 0, c->rule.modulator_std);
        fill(c, phi, y->mod_h_p, rng, 0, c->rule.modulator_std);
    }
    fill(c, phi, c->delta_p, rng, 1, 0);
}

void hwm_controller_reset(const hwm_controller* c, const hwm_real* coef, hwm_rng* rng,
                          hwm_real* state, int sample) {
    size_t block = (size_t)(sample / HWM_LANES) * (size_t)c->state_size * HWM_LANES;
    hwm_real* lane = state + block + (size_t)(sample % HWM_LANES);
    for (int f = 0; f < c->state_size; f++) {
        lane[(size_t)f * HWM_LANES] = 0;
    }
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!y->plastic) {
            continue;
        }
        hwm_real* w = lane + y->w_f * HWM_LANES;
        draw_layer(c->config.weights, c->config.weights_scale, y->P, y->Q, rng, w, HWM_LANES);
        for (size_t k = 0; y->w_c != HWM_NONE && k < (size_t)y->P * (size_t)y->Q; k++) {
            w[k * HWM_LANES] += coef[y->w_c + k];
        }
    }
}

void hwm_controller_reset_backward(const hwm_controller* c, int batch, const hwm_real* fresh,
                                   const hwm_real* g_state, hwm_real* g_coef) {
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!y->plastic || y->w_c == HWM_NONE) {
            continue;
        }
        for (int b = 0; b < hwm_blocks(batch); b++) {
            const hwm_real* g = g_state + (size_t)b * (size_t)c->state_size * HWM_LANES;
            const hwm_v8* f = (const hwm_v8*)(fresh + (size_t)b * HWM_LANES);
            for (size_t k = 0; k < (size_t)y->P * (size_t)y->Q; k++) {
                const hwm_v8* gw = (const hwm_v8*)hwm_cfeature(g, y->w_f + k);
                g_coef[y->w_c + k] += hwm_lane_sum(gw[0] * f[0], gw[1] * f[1]);
            }
        }
    }
}
