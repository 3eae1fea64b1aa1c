// data path  [10] feed
//
// Parameter feed.
#include "worker/feed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hwm_feed {
    const hwm_controller* controller;
    uint64_t version, waiting;  // that acts; that waits, 0: nothing
    float* fetched;             // (phi)
    hwm_real *phi, *coef;       // of the version that acts
};

hwm_status hwm_feed_create(hwm_feed** out, const hwm_controller* controller, hwm_error* err) {
    *out = NULL;
    hwm_feed* f = calloc(1, sizeof *f);
    size_t n = hwm_controller_params(controller)->count;
    if (f) {
        f->controller = controller;
        f->fetched = calloc(n + 1, sizeof *f->fetched);
        f->phi = calloc(n + 1, sizeof *f->phi);
        f->coef = calloc((size_t)hwm_controller_coef_count(controller) + 1, sizeof *f->coef);
    }
    if (!f || !f->fetched || !f->phi || !f->coef) {
        if (f) {
            hwm_feed_destroy(&f);
        }
        return hwm_fail(err, HWM_ENOMEM, "no memory for %zu parameters", n);
    }
    *out = f;
    return HWM_OK;
}

void hwm_feed_destroy(hwm_feed** feed) {
    if (*feed) {
        free((*feed)->fetched);
        free((*feed)->phi);
        free((*feed)->coef);
        free(*feed);
        *feed = NULL;
    }
}

hwm_status hwm_feed_update(hwm_feed* f, hwm_client* client, hwm_error* err) {
    uint64_t newest = hwm_client_announced(client, HWM_CONTROLLER_SET);
    uint64_t have = f->waiting ? f->waiting : f->version;
    if (newest <= have) {
        return HWM_OK;
    }
    const hwm_param_list* list = hwm_controller_params(f->controller);
    uint64_t got = 0;
    f->waiting = 0;  // what waits is overwritten now
    hwm_status s = hwm_client_fetch(client, HWM_CONTROLLER_SET, 0, list, f->fetched, &got, err);
    if (s) {
        return s;
    }
    for (size_t k = 0; k < list->count; k++) {
        if (!isfinite(f->fetched[k])) {
            return hwm_fail(err, HWM_ENUMERIC, "version %llu of %s holds %g",
                            (unsigned long long)got, HWM_CONTROLLER_SET, (double)f->fetched[k]);
        }
    }
    f->waiting = got > f->version ? got : 0;
    return HWM_OK;
}

bool hwm_feed_apply(hwm_feed* f) {
    if (!f->waiting) {
        return false;
    }
    size_t n = hwm_controller_params(f->controller)->count;
    for (size_t k = 0; k < n; k++) {
        f->phi[k] = (hwm_real)f->fetched[k];
    }
    hwm_controller_prepare(f->controller, f->phi, f->coef);
    f->version = f->waiting;
    f->waiting = 0;
    return true;
}

void hwm_feed_forget(hwm_feed* f) {
    f->version = f->waiting = 0;
}

uint64_t hwm_feed_version(const hwm_feed* f) {
    return f->version;
}

hwm_param_ref hwm_feed_ref(const hwm_feed* f) {
    hwm_param_ref ref = {.version = f->version};
    snprintf(ref.set, sizeof ref.set, "%s", HWM_CONTROLLER_SET);
    return ref;
}

const hwm_real* hwm_feed_coef(const hwm_feed* f) {
    return f->coef;
}

const hwm_real* hwm_feed_delta_scale(const hwm_feed* f) {
    return hwm_controller_delta_scale(f->controller, f->phi);
}
