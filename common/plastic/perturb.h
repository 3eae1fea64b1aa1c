// data path  [8] learner, [2] controller: individuals of an evolution strategy
//
// An individual is a name, hwm_param_ref: phi of (set, version), plus sign * sigma * eps, with eps
// regenerated from the perturbation's seed wherever it is needed, so that parameters never travel.
#ifndef HWM_PLASTIC_PERTURB_H
#define HWM_PLASTIC_PERTURB_H

#include "plastic/controller.h"

// eps (count of the controller's list): N(0, 1) where phi is learned, 0 elsewhere; the same bits on
// every host.
void hwm_perturbation(const hwm_controller* c, uint64_t seed, float* eps);
// out = phi + sign sigma eps(seed); all (count). Returns the mean square of out's learned numbers.
double hwm_perturb(const hwm_controller* c, const float* phi, uint64_t seed, int sign, float sigma,
                   float* out);

#endif
