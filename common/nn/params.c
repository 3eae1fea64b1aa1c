// Trainable parameters: one list, one block of values, one of gradients.
#include "nn/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

hwm_status nn_params_create(nn_params** out, const hwm_param_list* list) {
    *out = NULL;
    nn_params* p = calloc(1, sizeof *p);
    if (!p)
        return HWM_ENOMEM;
    p->list = *list;
    // 64-byte blocks; at least one, so that an empty list is a list
    const size_t bytes = (list->count * sizeof(hwm_real) + 64) / 64 * 64;
    p->value = aligned_alloc(64, bytes);
    p->grad = aligned_alloc(64, bytes);
    if (!p->value || !p->grad) {
        nn_params_destroy(&p);
        return HWM_ENOMEM;
    }
    memset(p->value, 0, bytes);
    memset(p->grad, 0, bytes);
    *out = p;
    return HWM_OK;
}

void nn_params_destroy(nn_params** params) {
    if (!*params)
        return;
    free((*params)->value);
    free((*params)->grad);
    free(*params);
    *params = NULL;
}

void nn_params_zero_grad(nn_params* p) {
    memset(p->grad, 0, p->list.count * sizeof(hwm_real));
}

static const hwm_param_entry* entry(const nn_params* p, int i) {
    HWM_ASSERT(i >= 0 && i < p->list.n);
    return &p->list.entry[i];
}

nn_var nn_param(nn_tape* tape, nn_params* p, int i) {
    const hwm_param_entry* e = entry(p, i);
    // (out, in) stays a matrix, a vector is one row, more dimensions fold into the columns
    const size_t n = hwm_tensor_count(&e->spec);
    const int rows = e->spec.ndim >= 2 ? (int)e->spec.shape[0] : 1;
    return nn_wrap(tape, p->value + e->offset, p->grad + e->offset, rows, (int)(n / (size_t)rows));
}

void nn_params_init_normal(nn_params* p, int i, hwm_rng* rng, double std) {
    const hwm_param_entry* e = entry(p, i);
    for (size_t j = 0, n = hwm_tensor_count(&e->spec); j < n; j++)
        p->value[e->offset + j] = (hwm_real)(std * (double)hwm_rng_normal(rng));
}

void nn_params_init_trunc(nn_params* p, int i, hwm_rng* rng, double fan_in, double scale) {
    const hwm_param_entry* e = entry(p, i);
    HWM_ASSERT(fan_in > 0);
    // 1.1368 undoes the loss of variance that the truncation at 2 sigma brings
    const double std = scale * 1.1368 / sqrt(fan_in);
    for (size_t j = 0, n = hwm_tensor_count(&e->spec); j < n; j++)
        p->value[e->offset + j] = (hwm_real)(std * (double)hwm_rng_truncated_normal(rng));
}

void nn_params_fill(nn_params* p, int i, double value) {
    const hwm_param_entry* e = entry(p, i);
    for (size_t j = 0, n = hwm_tensor_count(&e->spec); j < n; j++)
        p->value[e->offset + j] = (hwm_real)value;
}

void nn_params_ema(nn_params* target, const nn_params* source, double rate) {
    HWM_ASSERT(target->list.count == source->list.count);
    const hwm_real r = (hwm_real)rate;
    for (size_t i = 0; i < target->list.count; i++)
        target->value[i] += r * (source->value[i] - target->value[i]);
}

void nn_params_to_float(const nn_params* p, float* out) {
    for (size_t i = 0; i < p->list.count; i++)
        out[i] = (float)p->value[i];
}

void nn_params_from_float(nn_params* p, const float* in) {
    for (size_t i = 0; i < p->list.count; i++)
        p->value[i] = (hwm_real)in[i];
}

void nn_params_load(nn_params* p, const hwm_param_list* list, const float* values) {
    for (int i = 0; i < p->list.n; i++) {
        const hwm_param_entry* e = entry(p, i);
        const int at = hwm_param_list_find(list, e->spec.name);
        for (size_t j = 0; at >= 0 && j < hwm_tensor_count(&e->spec); j++)
            p->value[e->offset + j] = (hwm_real)values[list->entry[at].offset + j];
    }
}

void nn_params_export(const nn_params* p, const hwm_param_list* list, float* values) {
    for (int i = 0; i < p->list.n; i++) {
        const hwm_param_entry* e = entry(p, i);
        const int at = hwm_param_list_find(list, e->spec.name);
        for (size_t j = 0; at >= 0 && j < hwm_tensor_count(&e->spec); j++)
            values[list->entry[at].offset + j] = (float)p->value[e->offset + j];
    }
}
