// Adam, LaProp with adaptive gradient clipping, and plain gradient descent on one flat block.
//   Adam    Kingma & Ba 2015, arXiv:1412.6980
//   LaProp  Ziyin, Wang & Ueda 2020, arXiv:2002.04839: the gradient is normalised first, then
//   averaged AGC     Brock et al. 2021, arXiv:2102.06171, with one norm per tensor
#include "nn/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct nn_optim {
    nn_optim_config config;
    hwm_param_list list;
    hwm_real *m, *v;  // (count) moments
    double* scale;  // (n) what each tensor's gradient is multiplied with: global clipping times AGC
    int64_t updates, skipped;
};

nn_optim_config nn_optim_adam(double lr, double clip_norm) {
    return (nn_optim_config){.kind = NN_ADAM,
                             .lr = lr,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-8,
                             .clip_norm = clip_norm};
}

nn_optim_config nn_optim_laprop(double lr) {
    return (nn_optim_config){.kind = NN_LAPROP,
                             .lr = lr,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-20,
                             .agc = 0.3,
                             .warmup_updates = 1000};
}

hwm_status nn_optim_create(nn_optim** out, const nn_optim_config* config,
                           const hwm_param_list* list) {
    *out = NULL;
    HWM_ASSERT(config->beta1 >= 0 && config->beta1 < 1 && config->beta2 >= 0 && config->beta2 < 1);
    nn_optim* o = calloc(1, sizeof *o);
    if (!o)
        return HWM_ENOMEM;
    o->config = *config;
    o->list = *list;
    o->m = calloc(list->count + 1, sizeof *o->m);
    o->v = calloc(list->count + 1, sizeof *o->v);
    o->scale = calloc((size_t)list->n + 1, sizeof *o->scale);
    if (!o->m || !o->v || !o->scale) {
        nn_optim_destroy(&o);
        return HWM_ENOMEM;
    }
    *out = o;
    return HWM_OK;
}

void nn_optim_destroy(nn_optim** optim) {
    if (!*optim)
        return;
    free((*optim)->m);
    free((*optim)->v);
    free((*optim)->scale);
    free(*optim);
    *optim = NULL;
}

void nn_optim_set_lr(nn_optim* o, double lr) {
    o->config.lr = lr;
}
int64_t nn_optim_updates(const nn_optim* o) {
    return o->updates;
}
int64_t nn_optim_skipped(const nn_optim* o) {
    return o->skipped;
}

// In double, in eight running sums: squares of finite floats cannot overflow, so a sum is finite
// exactly when all numbers are.
static double sum_squares(size_t n, const hwm_real* x) {
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            s[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        s[i % 8] += (double)x[i] * (double)x[i];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

static void adam(size_t n, hwm_real* p, const hwm_real* grad, hwm_real* m, hwm_real* v,
                 hwm_real scale, hwm_real b1, hwm_real b2, hwm_real m_scale, hwm_real v_scale,
                 hwm_real eps, hwm_real lr) {
    for (size_t i = 0; i < n; i++) {
        const hwm_real g = grad[i] * scale;
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        p[i] -= lr * (m[i] * m_scale) / ((hwm_real)sqrt(v[i] * v_scale) + eps);
    }
}

static void laprop(size_t n, hwm_real* p, const hwm_real* grad, hwm_real* m, hwm_real* v,
                   hwm_real scale, hwm_real b1, hwm_real b2, hwm_real m_scale, hwm_real v_scale,
                   hwm_real eps, hwm_real lr) {
    for (size_t i = 0; i < n; i++) {
        const hwm_real g = grad[i] * scale;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        // a zero gradient gives 0 / (0 + eps) = 0
        m[i] = b1 * m[i] + (1 - b1) * g / ((hwm_real)sqrt(v[i] * v_scale) + eps);
        p[i] -= lr * (m[i] * m_scale);
    }
}

hwm_status nn_optim_apply(nn_optim* o, nn_params* params, double* norm, hwm_error* err) {
    const hwm_param_list* list = &o->list;
    HWM_ASSERT(params->list.count == list->count && params->list.n == list->n);
    const nn_optim_config* c = &o->config;

    // norms per tensor; refuse what is not finite before anything is changed
    double total = 0.0;
    for (int i = 0; i < list->n; i++) {
        const hwm_param_entry* e = &list->entry[i];
        const double squares = sum_squares(hwm_tensor_count(&e->spec), params->grad + e->offset);
        if (!isfinite(squares)) {
            o->skipped++;
            return hwm_fail(err, HWM_ENUMERIC,
                            "gradient of '%s' is not finite: update %lld skipped (%lld in all)",
                            e->spec.name, (long long)(o->updates + 1), (long long)o->skipped);
        }
        o->scale[i] = squares;
        total += squares;
    }
    const double global = sqrt(total);
    if (norm)
        *norm = global;
    const double clip = c->clip_norm > 0 && global > c->clip_norm ? c->clip_norm / global : 1.0;
    for (int i = 0; i < list->n; i++) {
        const hwm_param_entry* e = &list->entry[i];
        double scale = clip;
        if (c->agc > 0) {
            const double g = sqrt(o->scale[i]) * clip;
            const double p =
                sqrt(sum_squares(hwm_tensor_count(&e->spec), params->value + e->offset));
            const double most = c->agc * (p > 1e-3 ? p : 1e-3);
            scale *= g > most ? most / g : 1.0;
        }
        o->scale[i] = scale;
    }

    o->updates++;
    const double t = (double)o->updates;
    const double warm = c->warmup_updates > 0 && o->updates < c->warmup_updates
                            ? t / (double)c->warmup_updates
                            : 1.0;
    const hwm_real lr = (hwm_real)(c->lr * warm), eps = (hwm_real)c->eps;
    const hwm_real b1 = (hwm_real)c->beta1, b2 = (hwm_real)c->beta2;
    const hwm_real m_scale = (hwm_real)(1.0 / (1.0 - pow(c->beta1, t)));
    const hwm_real v_scale = (hwm_real)(1.0 / (1.0 - pow(c->beta2, t)));
    for (int i = 0; i < list->n; i++) {
        const size_t at = list->entry[i].offset, n = hwm_tensor_count(&list->entry[i].spec);
        hwm_real *p = params->value + at, *g = params->grad + at;
        const hwm_real scale = (hwm_real)o->scale[i];
        switch (c->kind) {
        case NN_ADAM:
            adam(n, p, g, o->m + at, o->v + at, scale, b1, b2, m_scale, v_scale, eps, lr);
            break;
        case NN_LAPROP:
            laprop(n, p, g, o->m + at, o->v + at, scale, b1, b2, m_scale, v_scale, eps, lr);
            break;
        case NN_SGD:
            for (size_t j = 0; j < n; j++)
                p[j] -= lr * scale * g[j];
            break;
        }
    }
    return HWM_OK;
}

// ---- state: m (count), v (count), updates and skipped as two exact floats each (24 bits low, the
// rest high)

size_t nn_optim_state_count(const nn_optim* o) {
    return 2 * o->list.count + 4;
}

enum { LOW = 1 << 24 };

void nn_optim_save(const nn_optim* o, float* out) {
    const size_t n = o->list.count;
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)o->m[i];
        out[n + i] = (float)o->v[i];
    }
    out[2 * n + 0] = (float)(o->updates % LOW);
    out[2 * n + 1] = (float)(o->updates / LOW);
    out[2 * n + 2] = (float)(o->skipped % LOW);
    out[2 * n + 3] = (float)(o->skipped / LOW);
}

void nn_optim_load(nn_optim* o, const float* in) {
    const size_t n = o->list.count;
    for (size_t i = 0; i < n; i++) {
        o->m[i] = (hwm_real)in[i];
        o->v[i] = (hwm_real)in[n + i];
    }
    o->updates = (int64_t)in[2 * n] + (int64_t)in[2 * n + 1] * LOW;
    o->skipped = (int64_t)in[2 * n + 2] + (int64_t)in[2 * n + 3] * LOW;
}
