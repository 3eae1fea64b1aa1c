// A plain double-precision controller.
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double larger(double a, double b) {
    return a > b ? a : b;
}
static double smaller(double a, double b) {
    return a < b ? a : b;
}

static const double* find(const ref_controller* r, int l, const char* what, int* count) {
    char name[HWM_NAME_MAX];
    snprintf(name, sizeof name, "%s.%s", r->layer[l].name, what);
    int k = hwm_param_list_find(r->params, name);
    if (k < 0) {
        return NULL;
    }
    if (count) {
        *count = (int)hwm_tensor_count(&r->params->entry[k].spec);
    }
    return r->phi + r->params->entry[k].offset;
}

static const double* entry(const ref_controller* r, const char* name) {
    int k = hwm_param_list_find(r->params, name);
    return k < 0 ? NULL : r->phi + r->params->entry[k].offset;
}

// Coefficient "A".."E" or "eta" of every synapse of a layer, whatever it is shared with.
static void find_term(ref_controller* r, int l, int term) {
    static const char* const names[6] = {"A", "B", "C", "D", "E", "eta"};
    const char* what = names[term];
    const int granularity = r->rule->granularity;
    ref_layer* y = &r->layer[l];
    char name[32];
    int first_pre = 0, first_post = 0;
    for (int k = 0; k < y->post; k++) {
        first_post += k ? r->layer[k - 1].P : r->inputs;
        first_pre += k >= y->pre ? 0 : k ? r->layer[k - 1].P : r->inputs;
    }
    snprintf(name, sizeof name, "%s.%s", granularity == HWM_SHARED ? "shared" : "unit", what);
    const double* p = granularity == HWM_SHARED || granularity == HWM_PER_NEURON
                          ? entry(r, name)
                          : find(r, l, what, NULL);
    const double* which = find(r, l, "which", NULL);
    for (int k = 0; k < y->P * y->Q; k++) {
        double* to = &y->term[term][k];
        if (!p) {
            *to = term == 5 ? 1 : 0;
        } else if (granularity == HWM_PER_NEURON) {
            double pre = p[first_pre + k % y->Q], post = p[first_post + k / y->Q];
            *to = term == 5 ? (pre + post) / 2 : term == 1 ? pre : term == 2 ? post : pre * post;
        } else {
            *to = granularity == HWM_SHARED      ? p[(int)which[k]]
                  : granularity == HWM_PER_LAYER ? p[0]
                                                 : p[k];
        }
    }
}

void ref_init(ref_controller* r, const hwm_controller_config* config, const hwm_rule_config* rule,
              const hwm_param_list* params, const double* phi, int inputs, int outputs,
              const int* plastic) {
    memset(r, 0, sizeof *r);
    r->config = config;
    r->rule = rule;
    r->params = params;
    r->phi = phi;
    r->inputs = inputs;
    r->outputs = outputs;
    r->n_layers = config->hidden.n + 1;
    const bool recurrent = config->cell == HWM_CELL_RECURRENT;
    r->n_all = r->n_layers + (recurrent ? config->hidden.n : 0);
    for (int l = 0; l < r->n_all; l++) {
        const int of = l < r->n_layers ? l : l - r->n_layers;
        r->layer[l].P = of < config->hidden.n ? (int)config->hidden.v[of] : outputs;
        r->layer[l].Q = l >= r->n_layers ? r->layer[l].P : l ? r->layer[l - 1].P : inputs;
        r->layer[l].post = of + 1;
        r->layer[l].pre = l < r->n_layers ? of : of + 1;
        r->layer[l].plastic = plastic[l] != 0;
        snprintf(r->layer[l].name, sizeof r->layer[l].name, "%s%d",
                 l < r->n_layers ? "layer" : "recurrent", of + 1);
        for (int term = 0; plastic[l] && term < 6; term++) {
            find_term(r, l, term);
        }
        r->layer[l].m_x = find(r, l, "m_x", NULL);
        r->layer[l].m_h = find(r, l, "m_h", NULL);
        r->layer[l].net_in = find(r, l, "net_in", NULL);
        r->layer[l].net_out = find(r, l, "net_out", NULL);
        r->layer[l].fixed = find(r, l, "W", NULL);
        if (!plastic[l]) {
            memcpy(r->layer[l].w, r->layer[l].fixed,
                   sizeof(double) * (size_t)(r->layer[l].P * r->layer[l].Q));
        }
    }
}

static int resolve(int value, int standard) {
    return value == 0 ? standard : value;
}

static int modulator_of(const ref_controller* r) {
    bool linear = r->rule->kind == HWM_RULE_MOD3 || r->rule->kind == HWM_RULE_TRACE;
    bool reward = r->rule->kind == HWM_RULE_MICONI;
    return resolve(r->rule->modulator, linear   ? HWM_MODULATOR_LINEAR
                                       : reward ? HWM_MODULATOR_REWARD
                                                : HWM_MODULATOR_NONE);
}

static int naive_of(const ref_controller* r) {
    switch (r->rule->kind) {
    case HWM_RULE_HEBB:
        return HWM_NAIVE_HEBB;
    case HWM_RULE_OJA:
        return HWM_NAIVE_OJA;
    case HWM_RULE_BCM:
        return HWM_NAIVE_BCM;
    default:
        return r->rule->naive;
    }
}

static int each_part(double* part, int size, double* state, int at, int set) {
    for (int i = 0; i < size; i++) {
        *(set ? &part[i] : &state[at + i]) = set ? state[at + i] : part[i];
    }
    return at + size;
}

static int each_state(ref_controller* r, double* state, int set) {
    const hwm_rule_config* rule = r->rule;
    const bool old = rule->kind == HWM_RULE_MOD3 || rule->kind == HWM_RULE_SHIFTED;
    int at = 0;
    for (int l = 0; l < r->n_all; l++) {
        ref_layer* y = &r->layer[l];
        const int n = y->P * y->Q, on = y->plastic;
        at = each_part(y->past, l >= r->n_layers ? y->Q : 0, state, at, set);
        at = each_part(y->w, on ? n : 0, state, at, set);
        at = each_part(y->w0, on && rule->bound == HWM_BOUND_DECAY ? n : 0, state, at, set);
        at = each_part(y->trace, on && rule->kind == HWM_RULE_TRACE ? n : 0, state, at, set);
        at = each_part(y->old_pre, on && old ? y->Q : 0, state, at, set);
        at = each_part(y->old_post, on && old ? y->P : 0, state, at, set);
        at = each_part(y->mean_pre, on && rule->average > 1 ? y->Q : 0, state, at, set);
        at = each_part(y->mean_post, on && rule->average > 1 ? y->P : 0, state, at, set);
        at = each_part(y->theta, on && naive_of(r) == HWM_NAIVE_BCM ? y->P : 0, state, at, set);
    }
    int modulator = modulator_of(r);
    at = each_part(&r->phase, rule->update_every > 1, state, at, set);
    at = each_part(&r->reward_mean,
                   modulator == HWM_MODULATOR_REWARD || rule->kind == HWM_RULE_NETWORK, state, at,
                   set);
    at = each_part(r->old_x, modulator == HWM_MODULATOR_PREDICTION ? r->inputs : 0, state, at, set);
    return each_part(r->naive, naive_of(r) ? 8 : 0, state, at, set);
}

void ref_set_state(ref_controller* r, const double* state) {
    for (int l = 0; l < r->n_all; l++) {
        ref_layer* y = &r->layer[l];
        memset(y->trace, 0, sizeof y->trace);
        memset(y->old_pre, 0, sizeof y->old_pre);
        memset(y->old_post, 0, sizeof y->old_post);
        memset(y->mean_pre, 0, sizeof y->mean_pre);
        memset(y->mean_post, 0, sizeof y->mean_post);
    }
    memset(r->old_x, 0, sizeof r->old_x);
    memset(r->naive, 0, sizeof r->naive);
    r->phase = r->reward_mean = 0;
    each_state(r, (double*)(uintptr_t)state, 1);
}

int ref_get_state(const ref_controller* r, double* state) {
    return each_state((ref_controller*)(uintptr_t)r, state, 0);
}

// What synapse (i, j) passes on: W, or W + alpha Hebb.
static double strength(const ref_controller* r, const ref_layer* y, int i, int j) {
    const int k = i * y->Q + j;
    return y->plastic && r->rule->kind == HWM_RULE_MICONI ? y->fixed[k] + y->term[0][k] * y->w[k]
                                                          : y->w[k];
}

void ref_act(ref_controller* r, const double* x0, double reward) {
    r->reward = reward;
    memcpy(r->x[0], x0, sizeof(double) * (size_t)r->inputs);
    for (int l = 0; l < r->n_layers; l++) {
        const bool hidden = l < r->n_layers - 1 && r->n_all > r->n_layers;
        for (int i = 0; i < r->layer[l].P; i++) {
            double s = 0;
            for (int j = 0; j < r->layer[l].Q; j++) {
                s += strength(r, &r->layer[l], i, j) * r->x[l][j];
            }
            const ref_layer* loop = &r->layer[r->n_layers + l];
            for (int j = 0; hidden && j < loop->Q; j++) {
                s += strength(r, loop, i, j) * loop->past[j];
            }
            r->x[l + 1][i] = tanh(s);
        }
    }
}

double ref_modulator(const ref_controller* r, int l, double mean_before) {
    const double *a = r->layer[l].m_x, *b = r->layer[l].m_h;
    const double* hidden = r->x[r->n_layers - 1];
    double z = 0;
    switch (modulator_of(r)) {
    case HWM_MODULATOR_LINEAR:
        for (int j = 0; j < r->inputs; j++) {
            z += a[j] * r->x[0][j];
        }
        for (int j = 0; b && j < r->layer[r->n_layers - 1].Q; j++) {
            z += b[j] * hidden[j];
        }
        return tanh(z);
    case HWM_MODULATOR_UNIT:
        return hidden[0];
    case HWM_MODULATOR_REWARD:
        return r->reward - mean_before;
    case HWM_MODULATOR_PREDICTION:
        for (int j = 0; j < r->inputs; j++) {
            z += a[j] * r->old_x[j];
        }
        return tanh(r->reward - z);
    case HWM_MODULATOR_LATENT:
        a = entry(r, "modulator.latent");
        for (int j = 0; j < r->rule->latent; j++) {
            z += a[j] * r->z[j];
        }
        return tanh(z);
    default:
        return 1;
    }
}

static void bound(const ref_controller* r, int l, const double* frozen_m, double* m) {
    ref_layer* y = (ref_layer*)(uintptr_t)&r->layer[l];
    double largest = 0;
    for (int k = 0; k < y->P * y->Q; k++) {
        largest = larger(largest, fabs(y->w[k]));
    }
    *m = frozen_m ? *frozen_m : larger(1, largest / r->rule->w_max);
    for (int k = 0; k < y->P * y->Q; k++) {
        if (r->rule->bound == HWM_BOUND_MAX_NORM) {
            y->w[k] /= *m;
        } else if (r->rule->bound == HWM_BOUND_CLIP) {
            y->w[k] = larger(-r->rule->w_max, smaller(r->rule->w_max, y->w[k]));
        } else if (r->rule->bound == HWM_BOUND_DECAY) {
            y->w[k] = (1 - r->rule->decay) * y->w[k] + r->rule->decay * y->w0[k];
        }
    }
}

static void naive_layer(ref_controller* r, int l, const double* pre, const double* post) {
    ref_layer* y = &r->layer[l];
    const double *c = r->naive, eta = c[1];
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)c[5] + ((uint64_t)c[6] << 24), HWM_PURPOSE_RULE_NOISE, (uint32_t)l,
                 0, (uint32_t)c[7]);
    for (int i = 0; i < y->P; i++) {
        for (int j = 0; j < y->Q; j++) {
            double* w = &y->w[i * y->Q + j];
            if (c[0] == HWM_NAIVE_HEBB) {
                *w += eta * (c[2] * pre[j] * post[i] + c[3] * (double)hwm_rng_normal(&rng));
            } else if (c[0] == HWM_NAIVE_OJA) {
                *w += eta * (pre[j] * post[i] - post[i] * post[i] * *w);
            } else {
                *w += eta * pre[j] * post[i] * (post[i] - y->theta[i]);
            }
        }
        if (c[0] == HWM_NAIVE_BCM) {
            y->theta[i] += c[4] * (post[i] * post[i] - y->theta[i]);
        }
    }
}

// dW of synapse (i, j) without the modulator.
static double network_change(const ref_controller* r, int l, double x, double y, double w) {
    const double *u = r->layer[l].net_in, *v = r->layer[l].net_out;
    double change = 0;
    for (int k = 0; k < r->rule->units; k++, u += 5) {
        change += r->rule->eta * v[k] *
                  tanh(u[0] * x + u[1] * y + u[2] * w + u[3] * r->reward_mean + u[4]);
    }
    return change;
}

static void learned_layer(ref_controller* r, int l, const double* pre, const double* post,
                          double M) {
    const int kind = r->rule->kind;
    ref_layer* y = &r->layer[l];
    const double* xa = kind == HWM_RULE_MOD3 ? y->old_pre : pre;
    const double* xb = kind == HWM_RULE_MOD3 || kind == HWM_RULE_SHIFTED ? y->old_pre : pre;
    const double* yy = kind == HWM_RULE_MOD3 || kind == HWM_RULE_SHIFTED ? y->old_post : post;
    for (int i = 0; i < y->P; i++) {
        for (int j = 0; j < y->Q; j++) {
            double* w = &y->w[i * y->Q + j];
            const int k = i * y->Q + j;
            double change, keep = 1;
            if (kind == HWM_RULE_NETWORK) {
                change = network_change(r, l, xa[j], yy[i], *w);
            } else {
                change = r->rule->eta * y->term[5][k] *
                             (y->term[0][k] * xa[j] * yy[i] + y->term[1][k] * xb[j] +
                              y->term[2][k] * yy[i] + y->term[3][k]) +
                         y->term[4][k];
            }
            if (kind == HWM_RULE_MICONI) {
                double eta = r->rule->eta * y->term[5][k];
                change = eta * xa[j] * yy[i];
                keep = 1 - eta;
            }
            if (kind == HWM_RULE_TRACE) {
                double* e = &y->trace[i * y->Q + j];
                change = *e = r->rule->trace_decay * *e + change;
            }
            *w = keep * *w * larger(0.5, 1 - r->rule->oja * yy[i] * yy[i]) + M * change;
        }
    }
    memcpy(y->old_pre, pre, sizeof(double) * (size_t)y->Q);
    memcpy(y->old_post, post, sizeof(double) * (size_t)y->P);
}

void ref_learn(ref_controller* r, const double* u, const double* frozen_m) {
    const hwm_rule_config* rule = r->rule;
    const int every = (int)rule->update_every, average = (int)rule->average;
    const bool naive = naive_of(r) && r->naive[0] != 0;
    const bool update = every == 1 || (int)r->phase == every - 1;
    const bool output_u = rule->output_post == HWM_OUTPUT_ACTION ||
                          (rule->output_post == HWM_OUTPUT_DEFAULT && rule->kind == HWM_RULE_MOD3);
    const double mean_before = r->reward_mean;
    int n_plastic = 0;
    r->reward_mean += rule->reward_rate * (r->reward - r->reward_mean);
    for (int l = 0; l < r->n_all; l++) {
        ref_layer* y = &r->layer[l];
        if (!y->plastic) {
            continue;
        }
        double pre[REF_UNITS_MAX], post[REF_UNITS_MAX];
        memcpy(pre, l < r->n_layers ? r->x[l] : y->past, sizeof pre);
        memcpy(post, r->x[y->post], sizeof post);
        if (naive) {
            naive_layer(r, l, pre, post);
        }
        if (output_u && l == r->n_layers - 1) {
            memcpy(post, u, sizeof(double) * (size_t)y->P);
        }
        if (average > 1 && (int)r->phase >= every - average) {
            for (int j = 0; j < y->Q; j++) {
                pre[j] = y->mean_pre[j] += pre[j] / average;
            }
            for (int i = 0; i < y->P; i++) {
                post[i] = y->mean_post[i] += post[i] / average;
            }
        }
        if (update && !naive) {
            learned_layer(r, l, pre, post, ref_modulator(r, l, mean_before));
            memset(y->mean_pre, 0, sizeof y->mean_pre);
            memset(y->mean_post, 0, sizeof y->mean_post);
        }
        r->m[l] = 1;
        if (naive || update) {
            bound(r, l, frozen_m ? &frozen_m[n_plastic] : NULL, &r->m[l]);
        }
        n_plastic++;
    }
    for (int l = r->n_layers; l < r->n_all; l++) {
        memcpy(r->layer[l].past, r->x[r->layer[l].post], sizeof r->layer[l].past);
    }
    memcpy(r->old_x, r->x[0], sizeof(double) * (size_t)r->inputs);
    r->phase = every > 1 ? ((int)r->phase + 1) % every : 0;
    r->naive[7] += naive;
}
