// data path  [7] sampler
//
// The parameters that stored chunks refer to: each distinct reference once, with the number of
// chunks that use it.
#include <string.h>

#include "server/index_internal.h"

static uint64_t param_hash(const hwm_param_ref* p) {
    uint64_t h = hwm_mix(p->version + 1) ^ hwm_mix(p->perturbation_seed + 2);
    uint32_t sigma;
    memcpy(&sigma, &p->sigma, sizeof sigma);
    h = hwm_mix(h ^ ((uint64_t)sigma << 8) ^ (uint64_t)(p->sign + 1));
    for (size_t i = 0; i < sizeof p->set && p->set[i] != '\0'; i++) {
        h = hwm_mix(h ^ (uint8_t)p->set[i]);
    }
    return h;
}

static bool param_equal(const hwm_param_ref* a, const hwm_param_ref* b) {
    return a->version == b->version && a->perturbation_seed == b->perturbation_seed &&
           a->sign == b->sign && a->sigma == b->sigma &&
           strncmp(a->set, b->set, sizeof a->set) == 0;
}

uint32_t hwm_param_take(hwm_index* x, const hwm_param_ref* ref) {
    uint64_t key = param_hash(ref);
    uint32_t p;
    while ((p = hwm_map_get(&x->param_map, key)) != UINT32_MAX &&
           !param_equal(&x->param[p].ref, ref)) {
        key++;
    }
    if (p == UINT32_MAX) {
        if (x->n_free_params > 0) {
            p = x->free_param[--x->n_free_params];
        } else {
            size_t both = x->params_capacity;
            x->param = hwm_grow(x->param, &both, x->n_params + 1, sizeof *x->param);
            x->free_param = hwm_grow(x->free_param, &x->params_capacity, x->n_params + 1,
                                     sizeof *x->free_param);
            p = (uint32_t)x->n_params++;
        }
        x->param[p] = (struct param_slot){*ref, key, 0};
        hwm_map_put(&x->param_map, key, p);
    }
    x->param[p].chunks++;
    return p;
}

void hwm_param_drop(hwm_index* x, uint32_t p) {
    if (--x->param[p].chunks == 0) {
        hwm_map_delete(&x->param_map, x->param[p].key);
        x->free_param[x->n_free_params++] = p;
    }
}

bool hwm_index_version_in_use(const hwm_index* index, const char* set, uint64_t version) {
    for (size_t i = 0; i < index->n_params; i++) {
        const struct param_slot* p = &index->param[i];
        if (p->chunks > 0 && p->ref.version == version &&
            strncmp(p->ref.set, set, sizeof p->ref.set) == 0) {
            return true;
        }
    }
    return false;
}
