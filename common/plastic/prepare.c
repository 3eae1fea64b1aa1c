// phi -> coef, its backward, the initial phi, and fresh weights.
#include <math.h>
#include <string.h>

#include "plastic/impl.h"

static const hwm_real* entry(const hwm_controller* c, const hwm_real* phi, int p) {
    return phi + c->params.entry[p].offset;
}

// Number of a unit among x_0, x_1 .. x_L, from its feature in act.
static size_t unit_of(const hwm_controller* c, size_t f) {
    const size_t between = (size_t)((c->reward_f != HWM_NONE) + (c->signal_f != HWM_NONE));
    return f < (size_t)c->inputs ? f : f - between;
}

// Where the numbers behind coefficient t (HWM_TERMS: the factor of eta) of synapse (i, j) stand in
// phi: none, one, or two (granularity neuron: of the post and the pre unit).
typedef struct source {
    int n;
    size_t at[2];
} source;

static source find(const hwm_controller* c, const hwm_layer* y, const hwm_real* phi, int t, int i,
                   int j) {
    const hwm_param_entry* e = c->params.entry;
    int per_layer = t == HWM_TERMS ? y->eta_p : y->term_p[t];
    int per_unit = t == HWM_TERMS ? c->unit_eta_p : c->unit_p[t];
    int per_rule = t == HWM_TERMS ? c->shared_eta_p : c->shared_p[t];
    size_t k = (size_t)i * (size_t)y->Q + (size_t)j;
    source s = {0, {0, 0}};
    if (per_layer >= 0) {
        s.n = 1;
        s.at[0] = e[per_layer].offset + (c->rule.granularity == HWM_PER_LAYER ? 0 : k);
    } else if (per_rule >= 0) {
        hwm_real which = phi[e[y->which_p].offset + k];
        s.n = 1;
        s.at[0] = e[per_rule].offset + (size_t)which;
    } else if (per_unit >= 0) {
        size_t post = e[per_unit].offset + unit_of(c, y->post_f + (size_t)i);
        size_t pre = e[per_unit].offset + unit_of(c, y->pre_f + (size_t)j);
        // B belongs to the pre unit, C to the post unit, the others to both
        s.n = t == 1 || t == 2 ? 1 : 2;
        s.at[0] = t == 1 ? pre : post;
        s.at[1] = pre;
    }
    return s;
}

// Of two numbers: eta is their mean, a coefficient their product (NcHL: Ferigo & Iacca 2022 write
// B, C, A, D for ours A..D).
static hwm_real pick(const hwm_real* phi, source s, int t) {
    if (s.n == 0) {
        return t == HWM_TERMS ? 1 : 0;
    }
    hwm_real x = phi[s.at[0]];
    if (s.n == 2) {
        hwm_real z = phi[s.at[1]];
        return t == HWM_TERMS ? (x + z) / 2 : x * z;
    }
    return x;
}

static void give(const hwm_real* phi, hwm_real* g_phi, source s, int t, hwm_real g) {
    if (s.n == 1) {
        g_phi[s.at[0]] += g;
    } else if (s.n == 2 && t == HWM_TERMS) {
        g_phi[s.at[0]] += g / 2;
        g_phi[s.at[1]] += g / 2;
    } else if (s.n == 2) {
        g_phi[s.at[0]] += g * phi[s.at[1]];
        g_phi[s.at[1]] += g * phi[s.at[0]];
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
                        size_t at, hwm_real scale) {
    if (p >= 0 && at != HWM_NONE) {
        size_t n = hwm_tensor_count(&c->params.entry[p].spec);
        for (size_t k = 0; k < n; k++) {
            g_phi[c->params.entry[p].offset + k] += g_coef[at + k] * scale;
        }
    }
}

static void prepare_planes(const hwm_controller* c, const hwm_layer* y, const hwm_real* phi,
                           hwm_real* rule) {
    for (int i = 0; i < y->P; i++) {
        for (int j = 0; j < y->Q; j++, rule += 4) {
            hwm_real eta =
                (hwm_real)c->rule.eta * pick(phi, find(c, y, phi, HWM_TERMS, i, j), HWM_TERMS);
            if (c->row->mixed) {
                rule[0] = entry(c, phi, y->w_p)[i * y->Q + j];
                rule[1] = pick(phi, find(c, y, phi, 0, i, j), 0);
                rule[2] = eta;
                rule[3] = 0;
                continue;
            }
            for (int t = 0; t < 4; t++) {
                rule[t] = eta * pick(phi, find(c, y, phi, t, i, j), t);
            }
            rule[3] += pick(phi, find(c, y, phi, 4, i, j), 4);
        }
    }
}

static void prepare_planes_backward(const hwm_controller* c, const hwm_layer* y,
                                    const hwm_real* phi, const hwm_real* g, hwm_real* g_phi) {
    for (int i = 0; i < y->P; i++) {
        for (int j = 0; j < y->Q; j++, g += 4) {
            source at_eta = find(c, y, phi, HWM_TERMS, i, j);
            if (c->row->mixed) {
                g_phi[c->params.entry[y->w_p].offset + (size_t)(i * y->Q + j)] += g[0];
                give(phi, g_phi, find(c, y, phi, 0, i, j), 0, g[1]);
                give(phi, g_phi, at_eta, HWM_TERMS, (hwm_real)c->rule.eta * g[2]);
                continue;
            }
            hwm_real eta = (hwm_real)c->rule.eta * pick(phi, at_eta, HWM_TERMS);
            hwm_real g_eta = 0;
            for (int t = 0; t < 4; t++) {
                source s = find(c, y, phi, t, i, j);
                give(phi, g_phi, s, t, eta * g[t]);
                g_eta += g[t] * pick(phi, s, t);
            }
            give(phi, g_phi, at_eta, HWM_TERMS, (hwm_real)c->rule.eta * g_eta);
            give(phi, g_phi, find(c, y, phi, 4, i, j), 4, g[3]);
        }
    }
}

// coef: a = eta A, b = eta B, c = eta C, d = eta D + E; of miconi W, A, eta; the network's outputs
// times eta; the rest as it is.
void hwm_controller_prepare(const hwm_controller* c, const hwm_real* phi, hwm_real* coef) {
    copy_vector(c, phi, c->latent_p, coef, c->latent_c);
    for (int l = 0; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        copy_vector(c, phi, y->w_p, coef, y->w_c);
        copy_vector(c, phi, y->mod_x_p, coef, y->mod_x_c);
        copy_vector(c, phi, y->mod_h_p, coef, y->mod_h_c);
        if (y->rule_c != HWM_NONE) {
            prepare_planes(c, y, phi, coef + y->rule_c);
        }
        if (y->net_c != HWM_NONE) {
            size_t units = (size_t)c->rule.units;
            copy_vector(c, phi, y->net_in_p, coef, y->net_c);
            copy_vector(c, phi, y->net_out_p, coef, y->net_c + 5 * units);
            for (size_t k = 0; k < units; k++) {
                coef[y->net_c + 5 * units + k] *= (hwm_real)c->rule.eta;
            }
        }
    }
}

void hwm_controller_prepare_backward(const hwm_controller* c, const hwm_real* phi,
                                     const hwm_real* coef, const hwm_real* g_coef,
                                     hwm_real* g_phi) {
    (void)coef;
    give_vector(c, g_phi, c->latent_p, g_coef, c->latent_c, 1);
    for (int l = 0; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        if (y->plastic || c->config.static_learned) {
            give_vector(c, g_phi, y->w_p, g_coef, y->w_c, 1);
        }
        give_vector(c, g_phi, y->mod_x_p, g_coef, y->mod_x_c, 1);
        give_vector(c, g_phi, y->mod_h_p, g_coef, y->mod_h_c, 1);
        if (y->rule_c != HWM_NONE) {
            prepare_planes_backward(c, y, phi, g_coef + y->rule_c, g_phi);
        }
        if (y->net_c != HWM_NONE) {
            size_t units = (size_t)c->rule.units;
            give_vector(c, g_phi, y->net_in_p, g_coef, y->net_c, 1);
            give_vector(c, g_phi, y->net_out_p, g_coef, y->net_c + 5 * units,
                        (hwm_real)c->rule.eta);
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
    // a product of two numbers of units shall spread like one number of a synapse
    for (int t = 0; t < HWM_TERMS; t++) {
        bool product = t != 1 && t != 2;
        fill(c, phi, c->unit_p[t], rng, 0, product ? sqrt(c->rule.phi_std) : c->rule.phi_std);
        fill(c, phi, c->shared_p[t], rng, 0, c->rule.phi_std);
    }
    fill(c, phi, c->unit_eta_p, rng, 1, 0);
    fill(c, phi, c->shared_eta_p, rng, 1, 0);
    for (int l = 0; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!y->plastic) {
            draw_layer(c->config.static_weights, c->config.static_weights_scale, y->P, y->Q, rng,
                       phi + c->params.entry[y->w_p].offset, 1);
            continue;
        }
        for (int t = 0; t < HWM_TERMS; t++) {
            fill(c, phi, y->term_p[t], rng, 0, c->rule.phi_std);
        }
        for (size_t k = 0; y->which_p >= 0 && k < y->n; k++) {
            phi[c->params.entry[y->which_p].offset + k] =
                (hwm_real)hwm_rng_below(rng, (uint32_t)c->rule.shared_rules);
        }
        fill(c, phi, y->eta_p, rng, 1, 0);
        if (c->row->mixed) {
            draw_layer(c->config.static_weights, c->config.static_weights_scale, y->P, y->Q, rng,
                       phi + c->params.entry[y->w_p].offset, 1);
        } else {
            fill(c, phi, y->w_p, rng, 0, 0);
        }
        fill(c, phi, y->net_in_p, rng, 0, 1 / sqrt(5.0));
        fill(c, phi, y->net_out_p, rng, 0, c->rule.phi_std);
        fill(c, phi, y->mod_x_p, rng, 0, c->rule.modulator_std);
        fill(c, phi, y->mod_h_p, rng, 0, c->rule.modulator_std);
    }
    fill(c, phi, c->delta_p, rng, 1, 0);
    fill(c, phi, c->latent_p, rng, 0,
         c->latent_p >= 0 ? c->rule.modulator_std / sqrt((double)c->rule.latent) : 0);
}

void hwm_controller_draw_means(const hwm_controller* c, hwm_rng* rng, hwm_real* phi) {
    for (int l = 0; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        const bool out = l == c->n_layers - 1;
        if (y->plastic && !out && !c->row->mixed && y->w_p >= 0) {
            draw_layer(c->config.static_weights, c->config.static_weights_scale, y->P, y->Q, rng,
                       phi + c->params.entry[y->w_p].offset, 1);
        }
    }
}

static hwm_real* lane_of(const hwm_controller* c, hwm_real* state, int sample) {
    return hwm_block(state, sample / HWM_LANES, c->state_size) + sample % HWM_LANES;
}

// Constants of a naive episode. Learning rates are drawn over a decade up to rule.eta.
void hwm_controller_naive(const hwm_controller* c, hwm_rng* rng, hwm_real* state, int sample) {
    HWM_ASSERT(c->naive_f != HWM_NONE);
    hwm_real* x = lane_of(c, state, sample) + c->naive_f * HWM_LANES;
    float eta = (float)c->rule.eta * (0.1f + 0.9f * hwm_rng_uniform(rng));
    x[0] = (hwm_real)c->naive;
    x[HWM_NAIVE_ETA * HWM_LANES] = (hwm_real)eta;
    x[HWM_NAIVE_ALPHA * HWM_LANES] = (hwm_real)hwm_rng_normal(rng);
    x[HWM_NAIVE_BETA * HWM_LANES] = (hwm_real)hwm_rng_uniform(rng);
    x[HWM_NAIVE_RATE * HWM_LANES] = (hwm_real)(0.01f + 0.09f * hwm_rng_uniform(rng));
    x[HWM_NAIVE_SEED * HWM_LANES] = (hwm_real)(hwm_rng_u32(rng) >> 8);
    x[HWM_NAIVE_SEED_HIGH * HWM_LANES] = (hwm_real)(hwm_rng_u32(rng) >> 8);
    x[HWM_NAIVE_STEP * HWM_LANES] = 0;
}

void hwm_controller_clear_naive(const hwm_controller* c, hwm_real* state, int sample) {
    if (c->naive_f != HWM_NONE && !c->row->naive) {
        lane_of(c, state, sample)[c->naive_f * HWM_LANES] = 0;
    }
}

static bool is_activity(const hwm_controller* c, size_t f) {
    bool found = false;
    for (int l = c->n_layers; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        found |= f >= y->past_f && f < y->past_f + (size_t)y->Q;
    }
    return found;
}

static void start(const hwm_controller* c, const hwm_real* coef, hwm_rng* rng, hwm_real* state,
                  int sample, bool keep_activity) {
    hwm_real* lane = lane_of(c, state, sample);
    for (size_t f = 0; f < (size_t)c->state_size; f++) {
        if (!keep_activity || !is_activity(c, f)) {
            lane[f * HWM_LANES] = 0;
        }
    }
    for (int l = 0; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!y->plastic || c->row->mixed) {  // Hebb_0 = 0
            continue;
        }
        hwm_real* w = lane + y->w_f * HWM_LANES;
        draw_layer(c->config.weights, c->config.weights_scale, y->P, y->Q, rng, w, HWM_LANES);
        for (size_t k = 0; k < y->n; k++) {
            if (y->w_c != HWM_NONE) {
                w[k * HWM_LANES] += coef[y->w_c + k];
            }
            if (y->w0_f != HWM_NONE) {
                lane[(y->w0_f + k) * HWM_LANES] = w[k * HWM_LANES];
            }
        }
    }
    if (c->row->naive) {
        hwm_controller_naive(c, rng, state, sample);
    }
}

void hwm_controller_reset(const hwm_controller* c, const hwm_real* coef, hwm_rng* rng,
                          hwm_real* state, int sample) {
    start(c, coef, rng, state, sample, false);
}

void hwm_controller_renew(const hwm_controller* c, const hwm_real* coef, hwm_rng* rng,
                          hwm_real* state, int sample) {
    start(c, coef, rng, state, sample, true);
}

void hwm_controller_reset_backward(const hwm_controller* c, int batch, const hwm_real* fresh,
                                   const hwm_real* g_state, hwm_real* g_coef) {
    for (int l = 0; l < c->n_connections; l++) {
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
                if (y->w0_f != HWM_NONE) {
                    const hwm_v8* g0 = (const hwm_v8*)hwm_cfeature(g, y->w0_f + k);
                    g_coef[y->w_c + k] += hwm_lane_sum(g0[0] * f[0], g0[1] * f[1]);
                }
            }
        }
    }
}
