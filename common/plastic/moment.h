// What learn and its backward share: who is updated at this step, and by which modulator.
#ifndef HWM_PLASTIC_MOMENT_H
#define HWM_PLASTIC_MOMENT_H

#include "plastic/hebb.h"

// Lanes of one block at one step: 1 or 0.
typedef struct hwm_moment {
    bool all;                     // every lane is updated: no masks needed
    hwm_real live[HWM_LANES];     // not held by the caller
    hwm_real update[HWM_LANES];   // its weights change by the learned rule
    hwm_real naive[HWM_LANES];    // they change by a naive rule
    hwm_real bounded[HWM_LANES];  // they change at all
    hwm_real window[HWM_LANES];   // activations count towards the mean
} hwm_moment;

// s: state block before the step. active (1) or NULL.
void hwm_moment_find(const hwm_controller* c, const hwm_real* s, const hwm_real* active,
                     hwm_moment* t);
// M of a layer, from activations x, old x_0 and running mean of the reward before the step. Returns
// NULL for M = 1.
const hwm_real* hwm_moment_modulate(const hwm_controller* c, const hwm_layer* y,
                                    const hwm_real* coef, const hwm_real* x, const hwm_real* old_x,
                                    const hwm_real* mean, hwm_real mod[HWM_LANES]);

// to = from where mask (NULL: everywhere), over so many features.
void hwm_moment_keep(hwm_real* to, const hwm_real* from, const hwm_real* mask, int features);

#endif
