// Who is updated at this step, and by which modulator.
#include "plastic/moment.h"

#include <string.h>

void hwm_moment_find(const hwm_controller* c, const hwm_real* s, const hwm_real* active,
                     hwm_moment* t) {
    const hwm_real k = (hwm_real)c->rule.update_every;
    t->all = !active && c->naive_f == HWM_NONE && c->phase_f == HWM_NONE;
    for (int l = 0; l < HWM_LANES; l++) {
        bool live = !active || active[l] != 0;
        bool naive = c->naive_f != HWM_NONE && hwm_cfeature(s, c->naive_f)[l] != 0;
        hwm_real phase = c->phase_f != HWM_NONE ? hwm_cfeature(s, c->phase_f)[l] : k - 1;
        t->live[l] = live;
        t->naive[l] = live && naive;
        t->update[l] = live && !naive && phase == k - 1;
        t->bounded[l] = t->naive[l] != 0 || t->update[l] != 0;
        t->window[l] = live && phase >= k - (hwm_real)c->rule.average;
    }
}

const hwm_real* hwm_moment_modulate(const hwm_controller* c, const hwm_layer* y,
                                    const hwm_real* coef, const hwm_real* x, const hwm_real* old_x,
                                    const hwm_real* mean, hwm_real mod[HWM_LANES]) {
    const hwm_layer* head = &c->layer[c->n_layers - 1];
    const hwm_real* hidden = hwm_cfeature(x, head->pre_f);
    const hwm_real* reward = c->reward_f == HWM_NONE ? NULL : hwm_cfeature(x, c->reward_f);
    switch ((hwm_modulator)c->modulator) {
    case HWM_MODULATOR_LINEAR:
        hebb_modulator(mod, coef + y->mod_x_c, x, c->inputs,
                       y->mod_h_c == HWM_NONE ? NULL : coef + y->mod_h_c, hidden, head->Q);
        return mod;
    case HWM_MODULATOR_UNIT:
        memcpy(mod, hidden, HWM_LANES * sizeof *mod);
        return mod;
    case HWM_MODULATOR_REWARD:
        HWM_ASSERT(reward);
        for (int l = 0; l < HWM_LANES; l++) {
            mod[l] = reward[l] - mean[l];
        }
        return mod;
    case HWM_MODULATOR_PREDICTION:
        hebb_prediction(mod, reward, coef + y->mod_x_c, old_x, c->inputs);
        return mod;
    case HWM_MODULATOR_LATENT:
        memcpy(mod, hwm_cfeature(x, c->signal_f), HWM_LANES * sizeof *mod);
        return mod;
    case HWM_MODULATOR_DEFAULT:
    case HWM_MODULATOR_NONE:
        break;
    }
    return NULL;
}

void hwm_moment_keep(hwm_real* to, const hwm_real* from, const hwm_real* mask, int features) {
    if (!mask) {
        memcpy(to, from, (size_t)features * HWM_LANES * sizeof *to);
        return;
    }
    for (int k = 0; k < features * HWM_LANES; k++) {
        to[k] = mask[k % HWM_LANES] != 0 ? from[k] : to[k];
    }
}
