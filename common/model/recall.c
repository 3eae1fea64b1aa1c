// data path  [8] learner: world model
#include "model/recall.h"

#include <math.h>

static int width_of(const hwm_rssm* r) {
    return r->size.deter + r->size.variables + r->action;
}

hwm_status hwm_recall_create(hwm_recall* recall, int64_t bytes, const hwm_rssm* rssm,
                             hwm_error* err) {
    *recall = (hwm_recall){0};
    return bytes > 0 ? hwm_latent_cache_create(&recall->cache, (size_t)bytes, width_of(rssm), err)
                     : HWM_OK;
}

void hwm_recall_destroy(hwm_recall* recall) {
    hwm_latent_cache_destroy(&recall->cache);
}

void hwm_recall_forget(hwm_recall* recall) {
    if (recall->cache)
        hwm_latent_cache_clear(recall->cache);
}

double hwm_recall_share(const hwm_recall* recall) {
    return recall->cache ? (double)recall->remembered / (double)recall->looked_up : NAN;
}

void hwm_recall_begin(hwm_recall* recall, const hwm_rssm* rssm, hwm_latent_key first, int n,
                      hwm_rssm_batch* batch) {
    const size_t D = (size_t)rssm->size.deter, S = (size_t)rssm->size.variables,
                 C = (size_t)rssm->size.classes, A = (size_t)rssm->action, i = (size_t)n;
    recall->looked_up++;
    const float* from =
        first.step > 0
            ? hwm_latent_cache_get(recall->cache, (hwm_latent_key){first.stream, first.step - 1})
            : NULL;
    if (!from)
        return;
    recall->remembered++;
    for (size_t j = 0; j < D; j++)
        batch->deter[i * D + j] = (hwm_real)from[j];
    for (size_t j = 0; j < S; j++)
        for (size_t k = 0; k < C; k++)
            batch->stoch[(i * S + j) * C + k] = k == (size_t)from[D + j];
    for (size_t j = 0; j < A; j++)
        batch->action[i * A + j] = (hwm_real)from[D + S + j];
    batch->keep[i] = 1;
}

void hwm_recall_keep(hwm_recall* recall, const hwm_rssm* rssm, hwm_latent_key key,
                     const hwm_real* deter, const hwm_real* stoch, const hwm_real* action) {
    const int D = rssm->size.deter, S = rssm->size.variables, C = rssm->size.classes;
    float* to = hwm_latent_cache_put(recall->cache, key);
    for (int j = 0; j < D; j++)
        to[j] = (float)deter[j];
    for (int j = 0; j < S; j++) {
        int k = 0;
        while (k < C - 1 && stoch[j * C + k] == 0)
            k++;
        to[D + j] = (float)k;
    }
    for (int j = 0; j < rssm->action; j++)
        to[D + S + j] = (float)action[j];
}
