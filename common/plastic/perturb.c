// data path  [8] learner, [2] controller
#include "plastic/perturb.h"

#include <string.h>

void hwm_perturbation(const hwm_controller* c, uint64_t seed, float* eps) {
    const hwm_param_list* list = hwm_controller_params(c);
    memset(eps, 0, list->count * sizeof *eps);
    for (int k = 0; k < list->n; k++) {
        if (hwm_controller_is_learned(c, k)) {
            hwm_rng rng;  // a stream per tensor
            hwm_rng_init(&rng, seed, HWM_PURPOSE_PERTURBATION, (uint32_t)k, 0, 0);
            hwm_rng_fill_normal(&rng, eps + list->entry[k].offset,
                                hwm_tensor_count(&list->entry[k].spec), 0, 1);
        }
    }
}

double hwm_perturb(const hwm_controller* c, const float* phi, uint64_t seed, int sign, float sigma,
                   float* out) {
    const hwm_param_list* list = hwm_controller_params(c);
    const float step = (float)sign * sigma;
    double squares = 0;
    size_t learned = 0;
    hwm_perturbation(c, seed, out);
    for (int k = 0; k < list->n; k++) {
        const size_t from = list->entry[k].offset, n = hwm_tensor_count(&list->entry[k].spec);
        const bool counts = hwm_controller_is_learned(c, k);
        for (size_t j = from; j < from + n; j++) {
            out[j] = phi[j] + step * out[j];
            squares += counts ? (double)out[j] * (double)out[j] : 0;
        }
        learned += counts ? n : 0;
    }
    return learned ? squares / (double)learned : 0;
}
