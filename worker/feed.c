// data path  [10] feed
//
// Parameter feed.
#include "worker/feed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One version, ready to act.
typedef struct set {
    uint64_t version;
    hwm_real *phi, *coef;
} set;

struct hwm_feed {
    const hwm_controller* controller;
    const hwm_param_list* list;
    uint64_t waiting;  // version that waits in fetched; 0: nothing
    float* fetched;    // (phi); what acts since the last apply
    set acting;
    set* kept;  // (kept_max) older ones; behind n_kept spare ones
    int n_kept, n_sets, kept_max;
    bool in_order;
};

static bool allocate_set(const hwm_controller* c, set* s) {
    s->phi = calloc(hwm_controller_params(c)->count + 1, sizeof *s->phi);
    s->coef = calloc((size_t)hwm_controller_coef_count(c) + 1, sizeof *s->coef);
    return s->phi && s->coef;
}

static void free_set(set* s) {
    free(s->phi);
    free(s->coef);
    *s = (set){0};
}

hwm_status hwm_feed_create(hwm_feed** out, const hwm_controller* controller,
                           const hwm_param_list* list, int kept_max, hwm_error* err) {
    *out = NULL;
    hwm_feed* f = calloc(1, sizeof *f);
    size_t n = list->count;
    if (f) {
        f->controller = controller;
        f->list = list;
        f->kept_max = kept_max;
        f->fetched = calloc(n + 1, sizeof *f->fetched);
        f->kept = calloc((size_t)kept_max + 1, sizeof *f->kept);
    }
    if (!f || !f->fetched || !f->kept || !allocate_set(controller, &f->acting)) {
        hwm_feed_destroy(&f);
        return hwm_fail(err, HWM_ENOMEM, "no memory for %zu parameters", n);
    }
    *out = f;
    return HWM_OK;
}

void hwm_feed_destroy(hwm_feed** feed) {
    hwm_feed* f = *feed;
    if (f) {
        for (int k = 0; f->kept && k < f->n_sets; k++) {
            free_set(&f->kept[k]);
        }
        free_set(&f->acting);
        free(f->kept);
        free(f->fetched);
        free(f);
        *feed = NULL;
    }
}

void hwm_feed_in_order(hwm_feed* f) {
    f->in_order = true;
}

hwm_status hwm_feed_update(hwm_feed* f, hwm_client* client, hwm_error* err) {
    uint64_t newest = hwm_client_announced(client, HWM_CONTROLLER_SET);
    uint64_t have = f->waiting ? f->waiting : f->acting.version;
    if (newest <= have) {
        return HWM_OK;
    }
    if (f->in_order && f->waiting) {
        return HWM_OK;
    }
    const hwm_param_list* list = f->list;
    uint64_t got = 0, wanted = f->in_order ? f->acting.version + 1 : 0;
    f->waiting = 0;  // what waits is overwritten now
    hwm_status s =
        hwm_client_fetch(client, HWM_CONTROLLER_SET, wanted, list, f->fetched, &got, err);
    if (s) {
        return s;
    }
    for (size_t k = 0; k < list->count; k++) {
        if (!isfinite(f->fetched[k])) {
            return hwm_fail(err, HWM_ENUMERIC, "version %llu of %s holds %g",
                            (unsigned long long)got, HWM_CONTROLLER_SET, (double)f->fetched[k]);
        }
    }
    f->waiting = got > f->acting.version ? got : 0;
    return HWM_OK;
}

bool hwm_feed_waits(const hwm_feed* f) {
    return f->waiting != 0;
}

// The set that acted goes to the kept ones, a spare one takes its place. Returns false when there
// is no room: it acts on, and what waits goes on waiting.
static bool keep_acting(hwm_feed* f) {
    if (f->n_kept == f->kept_max) {
        return false;
    }
    if (f->n_kept == f->n_sets) {
        if (!allocate_set(f->controller, &f->kept[f->n_sets])) {
            free_set(&f->kept[f->n_sets]);
            return false;
        }
        f->n_sets++;
    }
    set spare = f->kept[f->n_kept];
    f->kept[f->n_kept++] = f->acting;
    f->acting = spare;
    return true;
}

bool hwm_feed_apply(hwm_feed* f, bool keep) {
    if (!f->waiting || (keep && !keep_acting(f))) {
        return false;
    }
    size_t n = hwm_controller_params(f->controller)->count;
    for (size_t k = 0; k < n; k++) {
        f->acting.phi[k] = (hwm_real)f->fetched[k];
    }
    hwm_controller_prepare(f->controller, f->acting.phi, f->acting.coef);
    f->acting.version = f->waiting;
    f->waiting = 0;
    return true;
}

int hwm_feed_kept(const hwm_feed* f) {
    return f->n_kept;
}

const hwm_real* hwm_feed_kept_coef(const hwm_feed* f, int k) {
    return f->kept[k].coef;
}

void hwm_feed_release(hwm_feed* f, int k) {
    set gone = f->kept[k];
    f->kept[k] = f->kept[--f->n_kept];
    f->kept[f->n_kept] = gone;
}

const float* hwm_feed_phi(const hwm_feed* f) {
    return f->fetched;
}

uint64_t hwm_feed_version(const hwm_feed* f) {
    return f->acting.version;
}

hwm_param_ref hwm_feed_ref(const hwm_feed* f, const hwm_real* coef) {
    hwm_param_ref ref = {.version = f->acting.version};
    for (int k = 0; coef && k < f->n_kept; k++) {
        ref.version = f->kept[k].coef == coef ? f->kept[k].version : ref.version;
    }
    snprintf(ref.set, sizeof ref.set, "%s", HWM_CONTROLLER_SET);
    return ref;
}

const hwm_real* hwm_feed_coef(const hwm_feed* f) {
    return f->acting.coef;
}

const hwm_real* hwm_feed_delta_scale(const hwm_feed* f) {
    return hwm_controller_delta_scale(f->controller, f->acting.phi);
}
