// data path  [2] controller
//
// x_0 from the observation and what goes with it, and its backward. At the first step of an episode
// the change, the previous action and the previous reward are 0. Likewise M from the latent.
#include <string.h>

#include "plastic/hebb.h"

// y (n) = x (n) * scale, where keep; everything one feature of lanes.
static void put(hwm_real* y, const hwm_real* x, hwm_real scale, const hwm_real* first) {
    for (int l = 0; l < HWM_LANES; l++) {
        y[l] = first && first[l] != 0 ? 0 : x[l] * scale;
    }
}

void hwm_controller_input(const hwm_controller* c, int batch, const hwm_real* obs,
                          const hwm_real* previous_obs, const hwm_real* delta_scale,
                          const hwm_real* previous_action, const hwm_real* previous_reward,
                          const hwm_real* first, hwm_real* act) {
    const size_t O = (size_t)c->obs_dim, A = (size_t)c->action_dim;
    for (int b = 0; b < hwm_blocks(batch); b++) {
        hwm_real* x = act + (size_t)b * (size_t)c->activations * HWM_LANES;
        const hwm_real* o = obs + (size_t)b * O * HWM_LANES;
        const hwm_real* start = first + (size_t)b * HWM_LANES;
        for (int k = 0; k < c->config.inputs.n; k++) {
            switch (c->config.inputs.v[k][0]) {
            case 'o':
                for (size_t f = 0; f < O; f++, x += HWM_LANES) {
                    put(x, hwm_cfeature(o, f), c->obs_inverse[f], NULL);
                }
                break;
            case 'd':
                for (size_t f = 0; f < O; f++, x += HWM_LANES) {
                    const hwm_real* now = hwm_cfeature(o, f);
                    const hwm_real* then =
                        hwm_cfeature(previous_obs + (size_t)b * O * HWM_LANES, f);
                    hwm_real change[HWM_LANES];
                    for (int l = 0; l < HWM_LANES; l++) {
                        change[l] = now[l] - then[l];
                    }
                    put(x, change, c->obs_inverse[f] / delta_scale[f], start);
                }
                break;
            case 'a':
                for (size_t f = 0; f < A; f++, x += HWM_LANES) {
                    put(x, hwm_cfeature(previous_action + (size_t)b * A * HWM_LANES, f), 1, start);
                }
                break;
            case 'r':
                put(x, previous_reward + (size_t)b * HWM_LANES, 1, start);
                x += HWM_LANES;
                break;
            default:
                for (int l = 0; l < HWM_LANES; l++) {
                    x[l] = 1;
                }
                x += HWM_LANES;
            }
        }
        if (c->reward_f != HWM_NONE) {
            put(x, previous_reward + (size_t)b * HWM_LANES, 1, start);
            x += HWM_LANES;
        }
        for (int l = 0; c->signal_f != HWM_NONE && l < HWM_LANES; l++) {
            x[l] = 0;  // until hwm_controller_modulate
        }
    }
}

// x += g * scale, where not first
static void add(hwm_real* x, const hwm_real* g, hwm_real scale, const hwm_real* first) {
    for (int l = 0; x && l < HWM_LANES; l++) {
        x[l] += first && first[l] != 0 ? 0 : g[l] * scale;
    }
}

void hwm_controller_input_backward(const hwm_controller* c, int batch, const hwm_real* delta_scale,
                                   const hwm_real* first, const hwm_real* g_act, hwm_real* g_obs,
                                   hwm_real* g_previous_obs, hwm_real* g_previous_action,
                                   hwm_real* g_previous_reward) {
    const size_t O = (size_t)c->obs_dim, A = (size_t)c->action_dim;
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const hwm_real* g = g_act + (size_t)b * (size_t)c->activations * HWM_LANES;
        const hwm_real* start = first + (size_t)b * HWM_LANES;
        hwm_real* go = g_obs ? g_obs + (size_t)b * O * HWM_LANES : NULL;
        hwm_real* gp = g_previous_obs ? g_previous_obs + (size_t)b * O * HWM_LANES : NULL;
        hwm_real* gr = g_previous_reward ? g_previous_reward + (size_t)b * HWM_LANES : NULL;
        hwm_real* ga = g_previous_action ? g_previous_action + (size_t)b * A * HWM_LANES : NULL;
        for (int k = 0; k < c->config.inputs.n; k++) {
            switch (c->config.inputs.v[k][0]) {
            case 'o':
                for (size_t f = 0; f < O; f++, g += HWM_LANES) {
                    add(go ? hwm_feature(go, f) : NULL, g, c->obs_inverse[f], NULL);
                }
                break;
            case 'd':
                for (size_t f = 0; f < O; f++, g += HWM_LANES) {
                    hwm_real scale = c->obs_inverse[f] / delta_scale[f];
                    add(go ? hwm_feature(go, f) : NULL, g, scale, start);
                    add(gp ? hwm_feature(gp, f) : NULL, g, -scale, start);
                }
                break;
            case 'a':
                for (size_t f = 0; f < A; f++, g += HWM_LANES) {
                    add(ga ? hwm_feature(ga, f) : NULL, g, 1, start);
                }
                break;
            case 'r':
                add(gr, g, 1, start);
                g += HWM_LANES;
                break;
            default:
                g += HWM_LANES;
            }
        }
        if (c->reward_f != HWM_NONE) {  // what modulators and the network rule read
            add(gr, g, 1, start);
        }
    }
}

int hwm_controller_latent(const hwm_controller* c) {
    return c->modulator == HWM_MODULATOR_LATENT ? c->rule.latent : 0;
}

const hwm_real* hwm_controller_latent_weights(const hwm_controller* c, const hwm_real* coef) {
    return coef + c->latent_c;
}

void hwm_controller_modulate(const hwm_controller* c, const hwm_real* m, int batch,
                             const hwm_real* z, int stride, hwm_real* act) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        hwm_real* signal = hwm_feature(hwm_block(act, b, c->activations), c->signal_f);
        for (int l = 0; l < HWM_LANES; l++) {
            const int i = b * HWM_LANES + l;
            signal[l] = 0;
            for (int k = 0; i < batch && k < c->rule.latent; k++) {
                signal[l] += m[k] * z[(size_t)i * (size_t)stride + (size_t)k];
            }
        }
        hebb_tanh(signal, 1);
    }
}

void hwm_controller_modulate_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                      const hwm_real* z, int stride, const hwm_real* act,
                                      const hwm_real* g_act, hwm_real* g_z, hwm_real* g_coef) {
    for (int i = 0; i < batch; i++) {
        const int b = i / HWM_LANES, l = i % HWM_LANES;
        const hwm_real M = hwm_cfeature(hwm_cblock(act, b, c->activations), c->signal_f)[l];
        // M = tanh(m . z)
        const hwm_real g =
            hwm_cfeature(hwm_cblock(g_act, b, c->activations), c->signal_f)[l] * (1 - M * M);
        const size_t at = (size_t)i * (size_t)stride;
        for (size_t k = 0; k < (size_t)c->rule.latent; k++) {
            g_coef[c->latent_c + k] += g * z[at + k];
            if (g_z) {
                g_z[at + k] += g * coef[c->latent_c + k];
            }
        }
    }
}
