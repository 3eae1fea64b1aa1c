// A plain double-precision controller.
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double* find(const ref_controller* r, int l, const char* what, int* count) {
    char name[HWM_NAME_MAX];
    snprintf(name, sizeof name, "layer%d.%s", l + 1, what);
    int k = hwm_param_list_find(r->params, name);
    if (k < 0) {
        return NULL;
    }
    if (count) {
        *count = (int)hwm_tensor_count(&r->params->entry[k].spec);
    }
    return r->phi + r->params->entry[k].offset;
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
    for (int l = 0; l < r->n_layers; l++) {
        r->layer[l].Q = l ? r->layer[l - 1].P : inputs;
        r->layer[l].P = l < config->hidden.n ? (int)config->hidden.v[l] : outputs;
        r->layer[l].plastic = plastic[l] != 0;
        if (!plastic[l]) {
            memcpy(r->layer[l].w, find(r, l, "W", NULL),
                   sizeof(double) * (size_t)(r->layer[l].P * r->layer[l].Q));
        }
    }
}

static int each_state(ref_controller* r, double* state, int set) {
    int at = 0;
    for (int l = 0; l < r->n_layers; l++) {
        ref_layer* y = &r->layer[l];
        if (!y->plastic) {
            continue;
        }
        double* part[3] = {y->w, y->old_pre, y->old_post};
        int size[3] = {y->P * y->Q, y->Q, y->P};
        for (int k = 0; k < (r->rule->kind == HWM_RULE_MOD3 ? 3 : 1); k++) {
            for (int i = 0; i < size[k]; i++, at++) {
                if (set) {
                    part[k][i] = state[at];
                } else {
                    state[at] = part[k][i];
                }
            }
        }
    }
    return at;
}

void ref_set_state(ref_controller* r, const double* state) {
    each_state(r, (double*)(uintptr_t)state, 1);
}

int ref_get_state(const ref_controller* r, double* state) {
    return each_state((ref_controller*)(uintptr_t)r, state, 0);
}

void ref_act(ref_controller* r, const double* x0) {
    memcpy(r->x[0], x0, sizeof(double) * (size_t)r->inputs);
    for (int l = 0; l < r->n_layers; l++) {
        const ref_layer* y = &r->layer[l];
        for (int i = 0; i < y->P; i++) {
            double s = 0;
            for (int j = 0; j < y->Q; j++) {
                s += y->w[i * y->Q + j] * r->x[l][j];
            }
            r->x[l + 1][i] = tanh(s);
        }
    }
}

static double coefficient(const ref_controller* r, int l, const char* what, int i, int j,
                          double absent) {
    const double* p = find(r, l, what, NULL);
    if (!p) {
        return absent;
    }
    return r->rule->granularity == HWM_PER_LAYER ? p[0] : p[i * r->layer[l].Q + j];
}

void ref_learn(ref_controller* r, const double* u, const double* frozen_m) {
    int n_plastic = 0;
    for (int l = 0; l < r->n_layers; l++) {
        ref_layer* y = &r->layer[l];
        if (!y->plastic) {
            continue;
        }
        bool mod3 = r->rule->kind == HWM_RULE_MOD3;
        bool output_u =
            l == r->n_layers - 1 && (r->rule->output_post == HWM_OUTPUT_ACTION ||
                                     (r->rule->output_post == HWM_OUTPUT_DEFAULT && mod3));
        double pre[REF_UNITS_MAX], post[REF_UNITS_MAX], M = 1;
        memcpy(pre, r->x[l], sizeof pre);
        memcpy(post, output_u ? u : r->x[l + 1], sizeof(double) * (size_t)y->P);
        if (mod3) {
            const double *a = find(r, l, "m_x", NULL), *b = find(r, l, "m_h", NULL);
            M = 0;
            for (int j = 0; j < r->inputs; j++) {
                M += a[j] * r->x[0][j];
            }
            for (int j = 0; b && j < r->layer[r->n_layers - 1].Q; j++) {
                M += b[j] * r->x[r->n_layers - 1][j];
            }
            M = tanh(M);
        }
        const double* px = mod3 ? y->old_pre : pre;
        const double* py = mod3 ? y->old_post : post;
        double largest = 0;
        for (int i = 0; i < y->P; i++) {
            for (int j = 0; j < y->Q; j++) {
                double eta = r->rule->eta * coefficient(r, l, "eta", i, j, 1);
                double dw = eta * (coefficient(r, l, "A", i, j, 0) * px[j] * py[i] +
                                   coefficient(r, l, "B", i, j, 0) * px[j] +
                                   coefficient(r, l, "C", i, j, 0) * py[i] +
                                   coefficient(r, l, "D", i, j, 0)) +
                            coefficient(r, l, "E", i, j, 0);
                y->w[i * y->Q + j] += M * dw;
                largest = fmax(largest, fabs(y->w[i * y->Q + j]));
            }
        }
        r->m[l] = fmax(1, largest / r->rule->w_max);
        if (frozen_m) {
            r->m[l] = frozen_m[n_plastic];
        }
        for (int k = 0; k < y->P * y->Q; k++) {
            if (r->rule->bound == HWM_BOUND_MAX_NORM) {
                y->w[k] /= r->m[l];
            } else if (r->rule->bound == HWM_BOUND_CLIP) {
                y->w[k] = fmax(-r->rule->w_max, fmin(r->rule->w_max, y->w[k]));
            }
        }
        memcpy(y->old_pre, pre, sizeof(double) * (size_t)y->Q);
        memcpy(y->old_post, post, sizeof(double) * (size_t)y->P);
        n_plastic++;
    }
}
