// data path  [8] learner: which coefficients acted
#include "versions.h"

#include <stdlib.h>
#include <string.h>

struct hwm_versions {
    const hwm_controller* controller;
    hwm_versions_fetch fetch;
    void* context;
    size_t slots, phi_count, coef_count;
    uint64_t* version;  // (slots) 0: empty; version v lives in slot v mod slots
    hwm_real* coef;     // (slots, coef_count)
    hwm_real* phi;      // scratch
    float* fetched;     // scratch
    int64_t misses;
};

hwm_status hwm_versions_create(hwm_versions** out, const hwm_controller* controller,
                               size_t bytes_max, hwm_versions_fetch fetch, void* context) {
    *out = NULL;
    hwm_versions* v = calloc(1, sizeof *v);
    if (!v)
        return HWM_ENOMEM;
    v->controller = controller;
    v->fetch = fetch;
    v->context = context;
    v->phi_count = hwm_controller_params(controller)->count;
    v->coef_count = (size_t)hwm_controller_coef_count(controller);
    v->slots = bytes_max / ((v->coef_count + 1) * sizeof(hwm_real));
    if (v->slots < 8)
        v->slots = 8;
    if (v->slots > 65536)
        v->slots = 65536;
    v->version = calloc(v->slots, sizeof *v->version);
    v->coef = calloc(v->slots * (v->coef_count + 1), sizeof *v->coef);
    v->phi = calloc(v->phi_count + 1, sizeof *v->phi);
    v->fetched = calloc(v->phi_count + 1, sizeof *v->fetched);
    if (!v->version || !v->coef || !v->phi || !v->fetched) {
        hwm_versions_destroy(&v);
        return HWM_ENOMEM;
    }
    *out = v;
    return HWM_OK;
}

void hwm_versions_destroy(hwm_versions** versions) {
    if (!versions || !*versions)
        return;
    free((*versions)->version);
    free((*versions)->coef);
    free((*versions)->phi);
    free((*versions)->fetched);
    free(*versions);
    *versions = NULL;
}

void hwm_versions_put(hwm_versions* v, uint64_t version, const float* phi) {
    const size_t slot = version % v->slots;
    for (size_t i = 0; i < v->phi_count; i++)
        v->phi[i] = (hwm_real)phi[i];
    hwm_controller_prepare(v->controller, v->phi, v->coef + slot * v->coef_count);
    v->version[slot] = version;
}

hwm_status hwm_versions_get(hwm_versions* v, uint64_t version, const hwm_real** coef,
                            hwm_error* err) {
    *coef = NULL;
    if (version == 0)
        return hwm_fail(err, HWM_EPROTO, "a chunk names version 0 of the controller's parameters");
    const size_t slot = version % v->slots;
    if (v->version[slot] != version) {
        hwm_status status = v->fetch ? v->fetch(v->context, version, v->fetched, err)
                                     : hwm_fail(err, HWM_ENOTFOUND, "version %llu is not known",
                                                (unsigned long long)version);
        if (status != HWM_OK)
            return status;
        v->misses++;
        hwm_versions_put(v, version, v->fetched);
    }
    *coef = v->coef + slot * v->coef_count;
    return HWM_OK;
}

int64_t hwm_versions_fetched(const hwm_versions* versions) {
    return versions->misses;
}
