// data path  [2] controller: weight updates that an agent chooses
#include "plastic/delta.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plastic/controller_config.h"
#include "plastic/materialise.h"

enum { VIEW_RAW_MAX = 64, VIEW_PROJECTED = 16, LAYERS_MAX = 32 };

struct hwm_delta {
    hwm_delta_config config;
    int n_layers;  // plastic ones
    hwm_layer_view layer[LAYERS_MAX];
    int synapses, inputs, view;
    float* basis;       // (K, synapses), of kind basis
    float* projection;  // (V, synapses), rows of length 1; NULL: the view is raw
    float* step;        // (K) scratch, of kind basis
};

// N(0, 1/Q) per layer, so that a layer's change does not grow with its width.
static void fill(const hwm_delta* d, uint32_t which, int rows, float* out) {
    for (int k = 0; k < rows; k++) {
        hwm_rng rng;
        hwm_rng_init(&rng, d->config.seed, HWM_PURPOSE_EXPERIMENT, which, (uint32_t)k, 0);
        for (int l = 0; l < d->n_layers; l++) {
            const int n = d->layer[l].P * d->layer[l].Q;
            hwm_rng_fill_normal(&rng, out, (size_t)n, 0, 1.0f / sqrtf((float)d->layer[l].Q));
            out += n;
        }
    }
}

static void normalise(float* rows, int n_rows, int n) {
    for (int k = 0; k < n_rows; k++, rows += n) {
        float squares = 0;
        for (int j = 0; j < n; j++) {
            squares += rows[j] * rows[j];
        }
        const float scale = 1.0f / sqrtf(squares);
        for (int j = 0; j < n; j++) {
            rows[j] *= scale;
        }
    }
}

static int count_inputs(const hwm_delta* d) {
    int neurons = 0, sides = 0;
    for (int l = 0; l < d->n_layers; l++) {
        neurons += d->layer[l].P;
        sides += d->layer[l].P + d->layer[l].Q;
    }
    switch ((hwm_delta_kind)d->config.kind) {
    case HWM_DELTA_DIRECT:
        return d->synapses;
    case HWM_DELTA_BASIS:
        return d->config.basis;
    case HWM_DELTA_LAYER:
        return 4 * d->n_layers;
    case HWM_DELTA_NEURON:
        return neurons;
    case HWM_DELTA_LOWRANK:
        return d->config.rank * sides;
    }
    return 0;
}

hwm_status hwm_delta_create(hwm_delta** out, const hwm_controller* c,
                            const hwm_delta_config* config, hwm_error* err) {
    *out = NULL;
    if (config->bound == HWM_BOUND_DECAY) {
        return hwm_fail(err, HWM_EINVAL,
                        "rule.bound = decay has no meaning where an agent changes the weights: "
                        "none, clip or max_norm");
    }
    hwm_delta* d = calloc(1, sizeof *d);
    if (!d) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for weight updates");
    }
    d->config = *config;
    for (int l = 0; l < hwm_controller_layers(c) && d->n_layers < LAYERS_MAX; l++) {
        const hwm_layer_view y = hwm_controller_layer(c, l);
        if (y.plastic) {
            d->layer[d->n_layers++] = y;
            d->synapses += y.P * y.Q;
        }
    }
    const bool basis = config->kind == HWM_DELTA_BASIS;
    const size_t n = (size_t)d->synapses;
    d->inputs = count_inputs(d);
    d->view = basis ? d->inputs : d->synapses <= VIEW_RAW_MAX ? d->synapses : VIEW_PROJECTED;
    if (d->synapses == 0) {
        hwm_delta_destroy(&d);
        return hwm_fail(err, HWM_EINVAL,
                        "controller.plastic names no layer: there is no weight "
                        "that an agent could change");
    }
    if (basis) {
        d->basis = malloc((size_t)d->inputs * n * sizeof *d->basis);
        d->step = calloc((size_t)d->inputs, sizeof *d->step);
    }
    if (basis || d->view != d->synapses) {
        d->projection = calloc((size_t)d->view * n, sizeof *d->projection);
    }
    if ((basis && (!d->basis || !d->step)) || (d->view != d->synapses && !d->projection)) {
        hwm_delta_destroy(&d);
        return hwm_fail(err, HWM_ENOMEM, "no memory for %d bases of %zu synapses", config->basis,
                        n);
    }
    if (d->basis) {
        fill(d, 0x64656c74, d->inputs, d->basis);
        memcpy(d->projection, d->basis, (size_t)d->inputs * n * sizeof *d->basis);
    } else if (d->projection) {
        fill(d, 0x76696577, d->view, d->projection);
    }
    if (d->projection) {
        normalise(d->projection, d->view, d->synapses);
    }
    *out = d;
    return HWM_OK;
}

void hwm_delta_destroy(hwm_delta** delta) {
    if (*delta) {
        free((*delta)->basis);
        free((*delta)->projection);
        free((*delta)->step);
        free(*delta);
        *delta = NULL;
    }
}

int hwm_delta_inputs(const hwm_delta* d) {
    return d->inputs;
}
int hwm_delta_view(const hwm_delta* d) {
    return d->view;
}
int hwm_delta_synapses(const hwm_delta* d) {
    return d->synapses;
}

void hwm_delta_see(const hwm_delta* d, const float* state, float* view) {
    const float scale = 1.0f / (float)d->config.w_max;
    if (!d->projection) {
        for (int l = 0; l < d->n_layers; l++) {
            const hwm_layer_view* y = &d->layer[l];
            for (int k = 0; k < y->P * y->Q; k++) {
                *view++ = state[y->w + (size_t)k] * scale;
            }
        }
        return;
    }
    // in units of the size that weights of variance 1/Q per row have: of a basis, its coefficients
    float size = 0;
    for (int l = 0; l < d->n_layers; l++) {
        size += (float)d->layer[l].P;
    }
    size = sqrtf(size);
    for (int k = 0; k < d->view; k++) {
        const float* p = d->projection + (size_t)k * (size_t)d->synapses;
        float sum = 0;
        for (int l = 0; l < d->n_layers; l++) {
            const hwm_layer_view* y = &d->layer[l];
            const float* w = state + y->w;
            for (int j = 0; j < y->P * y->Q; j++) {
                sum += *p++ * w[j];
            }
        }
        view[k] = sum / size * (d->basis ? scale : 1.0f);
    }
}

static float clipped(float u) {
    return u > 1.0f ? 1.0f : u < -1.0f ? -1.0f : u;
}

static void bound(const hwm_delta* d, float* w, int n) {
    const float most = (float)d->config.w_max;
    if (d->config.bound == HWM_BOUND_CLIP) {
        for (int k = 0; k < n; k++) {
            w[k] = w[k] > most ? most : w[k] < -most ? -most : w[k];
        }
    } else if (d->config.bound == HWM_BOUND_MAX_NORM) {
        float largest = 0;
        for (int k = 0; k < n; k++) {
            largest = fabsf(w[k]) > largest ? fabsf(w[k]) : largest;
        }
        for (int k = 0; largest > most && k < n; k++) {
            w[k] *= most / largest;
        }
    }
}

// What each base gets. Bases of thousands of synapses are as good as orthogonal, so the
// coefficients stand in the weights themselves, and bound clip keeps them within w_max.
static void weigh(const hwm_delta* d, const float* state, const float* u) {
    const float eta = (float)d->config.eta / sqrtf((float)d->inputs), most = (float)d->config.w_max;
    hwm_delta_see(d, state, d->step);
    for (int b = 0; b < d->inputs; b++) {
        const float now = d->step[b] * most, next = now + eta * clipped(u[b]);
        const bool out = d->config.bound == HWM_BOUND_CLIP && fabsf(next) > most;
        // beyond the bound it comes back, but is not thrown back
        d->step[b] = !out                       ? next - now
                     : fabsf(next) < fabsf(now) ? next - now
                     : fabsf(now) > most        ? 0.0f
                                                : (next > 0 ? most : -most) - now;
    }
}

// One layer's share of u, from *u on, which is moved behind it. from: synapses of the layers
// before.
static void change(const hwm_delta* d, const hwm_layer_view* y, int from, const float* act,
                   const float** u, float* w) {
    const float eta = (float)d->config.eta;
    const float *pre = act + y->pre, *post = act + y->post, *a = *u;
    const int P = y->P, Q = y->Q, n = P * Q;
    switch ((hwm_delta_kind)d->config.kind) {
    case HWM_DELTA_DIRECT:
        for (int k = 0; k < n; k++) {
            w[k] += eta * clipped(a[k]);
        }
        *u += n;
        break;
    case HWM_DELTA_BASIS:
        HWM_ASSERT(d->basis);
        for (int b = 0; b < d->inputs; b++) {
            const float step = d->step[b];
            const float* p = d->basis + (size_t)b * (size_t)d->synapses + from;
            for (int k = 0; k < n; k++) {
                w[k] += step * p[k];
            }
        }
        break;
    case HWM_DELTA_LAYER:
        for (int i = 0; i < P; i++) {
            for (int j = 0; j < Q; j++) {
                w[i * Q + j] += eta * (clipped(a[0]) * pre[j] * post[i] + clipped(a[1]) * pre[j] +
                                       clipped(a[2]) * post[i] + clipped(a[3]));
            }
        }
        *u += 4;
        break;
    case HWM_DELTA_NEURON:
        for (int i = 0; i < P; i++) {
            for (int j = 0; j < Q; j++) {
                w[i * Q + j] += eta * clipped(a[i]) * pre[j];
            }
        }
        *u += P;
        break;
    case HWM_DELTA_LOWRANK:
        for (int r = 0; r < d->config.rank; r++, a += P + Q) {
            for (int i = 0; i < P; i++) {
                for (int j = 0; j < Q; j++) {
                    w[i * Q + j] += eta * clipped(a[i]) * clipped(a[P + j]);
                }
            }
        }
        *u = a;
        break;
    }
}

void hwm_delta_apply(const hwm_delta* d, const float* act, const float* u, float* state) {
    int from = 0;
    const bool coefficients = d->basis && d->config.bound == HWM_BOUND_CLIP;
    if (d->basis) {
        weigh(d, state, u);
    }
    for (int l = 0; l < d->n_layers; l++) {
        const hwm_layer_view* y = &d->layer[l];
        change(d, y, from, act, &u, state + y->w);
        if (!coefficients) {
            bound(d, state + y->w, y->P * y->Q);
        }
        from += y->P * y->Q;
    }
}
