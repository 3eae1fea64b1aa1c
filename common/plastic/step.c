// data path  [2] controller
//
// One control step of a batch: act, learn, and both backwards, block by block and layer by layer.
#include <string.h>

#include "plastic/hebb.h"

// What one block of a batch sees.
static hwm_real* block_of(hwm_real* array, int b, int features) {
    return array + (size_t)b * (size_t)features * HWM_LANES;
}
static const hwm_real* cblock_of(const hwm_real* array, int b, int features) {
    return array + (size_t)b * (size_t)features * HWM_LANES;
}

void hwm_controller_act(const hwm_controller* c, const hwm_real* coef, int batch,
                        const hwm_real* state, hwm_real* act) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const hwm_real* s = cblock_of(state, b, c->state_size);
        hwm_real* x = block_of(act, b, c->activations);
        for (int l = 0; l < c->n_layers; l++) {
            const hwm_layer* y = &c->layer[l];
            hwm_real *pre = hwm_feature(x, y->pre_f), *post = hwm_feature(x, y->post_f);
            if (y->plastic) {
                hebb_dense_forward(post, hwm_cfeature(s, y->w_f), pre, y->P, y->Q);
            } else {
                hebb_static_forward(post, coef + y->w_c, pre, y->P, y->Q);
            }
        }
    }
}

void hwm_controller_act_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                 const hwm_real* state, const hwm_real* act, hwm_real* g_act,
                                 hwm_real* g_state, hwm_real* g_coef) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const hwm_real* s = cblock_of(state, b, c->state_size);
        const hwm_real* x = cblock_of(act, b, c->activations);
        hwm_real *gs = block_of(g_state, b, c->state_size), *g = block_of(g_act, b, c->activations);
        for (int l = c->n_layers - 1; l >= 0; l--) {
            const hwm_layer* y = &c->layer[l];
            const hwm_real *pre = hwm_cfeature(x, y->pre_f), *post = hwm_cfeature(x, y->post_f);
            hwm_real *g_pre = hwm_feature(g, y->pre_f), *g_post = hwm_feature(g, y->post_f);
            if (y->plastic) {
                hebb_dense_backward(g_pre, hwm_feature(gs, y->w_f), g_post, hwm_cfeature(s, y->w_f),
                                    pre, post, y->P, y->Q);
            } else {
                hebb_static_backward(g_pre, g_coef + y->w_c, g_post, coef + y->w_c, pre, post, y->P,
                                     y->Q);
            }
        }
    }
}

static void modulate(const hwm_controller* c, const hwm_layer* y, const hwm_real* coef,
                     const hwm_real* x, hwm_real* mod) {
    const hwm_layer* head = &c->layer[c->n_layers - 1];
    bool hidden = y->mod_h_c != HWM_NONE;
    hebb_modulator(mod, coef + y->mod_x_c, x, c->inputs, hidden ? coef + y->mod_h_c : NULL,
                   hwm_cfeature(x, head->pre_f), head->Q);
}

// Trace of one feature: to = from where active.
static void keep(hwm_real* to, const hwm_real* from, const hwm_real* active, int features) {
    for (int k = 0; k < features * HWM_LANES; k++) {
        to[k] = !active || active[k % HWM_LANES] != 0 ? from[k] : to[k];
    }
}

void hwm_controller_learn(const hwm_controller* c, const hwm_real* coef, int batch,
                          const hwm_real* act, const hwm_real* u, const hwm_real* active,
                          hwm_real* state, hwm_real* scale) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const hwm_real* x = cblock_of(act, b, c->activations);
        const hwm_real* live = active ? active + (size_t)b * HWM_LANES : NULL;
        hwm_real* s = block_of(state, b, c->state_size);
        hwm_real* record = scale ? block_of(scale, b, c->record_size) : NULL;
        for (int l = 0; l < c->n_layers; l++) {
            const hwm_layer* y = &c->layer[l];
            if (!y->plastic) {
                continue;
            }
            const size_t n = (size_t)y->P * (size_t)y->Q;
            hwm_real* w = hwm_feature(s, y->w_f);
            const hwm_real* pre = hwm_cfeature(x, y->pre_f);
            const hwm_real* post = l == c->n_layers - 1 && c->output_action
                                       ? cblock_of(u, b, c->outputs)
                                       : hwm_cfeature(x, y->post_f);
            hwm_real largest[HWM_LANES], m[HWM_LANES], mod[HWM_LANES];

            if (c->rule.kind == HWM_RULE_MOD3) {
                // factors of the previous step, modulator of this one; then this step's factors
                // wait for the next
                hwm_real *old_pre = hwm_feature(s, y->old_pre_f),
                         *old_post = hwm_feature(s, y->old_post_f);
                modulate(c, y, coef, x, mod);
                hebb_update(w, coef + y->rule_c, old_pre, old_post, mod, live, largest, y->P, y->Q);
                if (record) {
                    keep(hwm_feature(record, y->rec_pre_f), old_pre, NULL, y->Q);
                    keep(hwm_feature(record, y->rec_post_f), old_post, NULL, y->P);
                }
                keep(old_pre, pre, live, y->Q);
                keep(old_post, post, live, y->P);
            } else {
                hebb_update(w, coef + y->rule_c, pre, post, NULL, live, largest, y->P, y->Q);
            }

            if (c->rule.bound == HWM_BOUND_MAX_NORM) {
                hebb_max_norm(w, largest, (hwm_real)c->rule.w_max, live, m, n);
                if (record) {
                    keep(hwm_feature(record, y->m_f), m, NULL, 1);
                }
            } else if (c->rule.bound == HWM_BOUND_CLIP) {
                hebb_clip(w, (hwm_real)c->rule.w_max, live, n);
            }
        }
    }
}

void hwm_controller_learn_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                   const hwm_real* act, const hwm_real* u, const hwm_real* scale,
                                   hwm_real* state, const hwm_real* before, hwm_real* g_state,
                                   hwm_real* g_act, hwm_real* g_u, hwm_real* g_coef) {
    (void)before;
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const hwm_real* x = cblock_of(act, b, c->activations);
        const hwm_real* record = scale ? cblock_of(scale, b, c->record_size) : NULL;
        hwm_real *s = block_of(state, b, c->state_size), *gs = block_of(g_state, b, c->state_size);
        hwm_real* g = block_of(g_act, b, c->activations);
        for (int l = 0; l < c->n_layers; l++) {
            const hwm_layer* y = &c->layer[l];
            if (!y->plastic) {
                continue;
            }
            bool done = l == c->n_layers - 1 && c->output_action;  // post is u, not a
            hwm_real *w = hwm_feature(s, y->w_f), *g_w = hwm_feature(gs, y->w_f);
            const hwm_real* m =
                c->rule.bound == HWM_BOUND_MAX_NORM ? hwm_cfeature(record, y->m_f) : NULL;
            const hwm_real* pre = hwm_cfeature(x, y->pre_f);
            const hwm_real* post = done ? cblock_of(u, b, c->outputs) : hwm_cfeature(x, y->post_f);
            hwm_real* g_pre = hwm_feature(g, y->pre_f);
            hwm_real* g_post = done ? block_of(g_u, b, c->outputs) : hwm_feature(g, y->post_f);

            if (c->rule.kind != HWM_RULE_MOD3) {
                hebb_update_backward(w, g_w, g_coef + y->rule_c, g_pre, g_post, NULL,
                                     coef + y->rule_c, pre, post, NULL, m, y->P, y->Q);
                continue;
            }
            // the traces after the step are this step's factors; those before it come from the
            // record
            hwm_real *old_pre = hwm_feature(s, y->old_pre_f),
                     *old_post = hwm_feature(s, y->old_post_f);
            hwm_real *g_old_pre = hwm_feature(gs, y->old_pre_f),
                     *g_old_post = hwm_feature(gs, y->old_post_f);
            for (int k = 0; k < y->Q * HWM_LANES; k++) {
                g_pre[k] += g_old_pre[k];
                g_old_pre[k] = 0;
            }
            for (int k = 0; k < y->P * HWM_LANES; k++) {
                g_post[k] += g_old_post[k];
                g_old_post[k] = 0;
            }
            keep(old_pre, hwm_cfeature(record, y->rec_pre_f), NULL, y->Q);
            keep(old_post, hwm_cfeature(record, y->rec_post_f), NULL, y->P);

            const hwm_layer* head = &c->layer[c->n_layers - 1];
            bool hidden = y->mod_h_c != HWM_NONE;
            hwm_real mod[HWM_LANES], g_mod[HWM_LANES] = {0};
            modulate(c, y, coef, x, mod);
            hebb_update_backward(w, g_w, g_coef + y->rule_c, g_old_pre, g_old_post, g_mod,
                                 coef + y->rule_c, old_pre, old_post, mod, m, y->P, y->Q);
            hebb_modulator_backward(g_coef + y->mod_x_c, g, hidden ? g_coef + y->mod_h_c : NULL,
                                    hwm_feature(g, head->pre_f), g_mod, mod, coef + y->mod_x_c, x,
                                    c->inputs, hidden ? coef + y->mod_h_c : NULL,
                                    hwm_cfeature(x, head->pre_f), head->Q);
        }
    }
}
