// Backward of a plastic step: the state before it (recovered, or as stored) and all gradients.
#include <string.h>

#include "plastic/moment.h"

typedef struct step {
    const hwm_real *coef, *x, *u, *record, *before;
    hwm_real *s, *gs, *g, *g_u, *g_coef;
    bool stored;
    hwm_moment t;
    const hwm_real *old_x, *mean;  // before the step
} step;

// The factor that waited for this step passes its gradient on, where it was taken over.
static void take_over(hwm_real* g_from, hwm_real* g_old, const hwm_real* update, int features) {
    for (int k = 0; k < features * HWM_LANES; k++) {
        if (!update || update[k % HWM_LANES] != 0) {
            g_from[k] += g_old[k];
            g_old[k] = 0;
        }
    }
}

// Into the averaging window again: the mean as the rule saw it; its gradient ends where the window
// began anew.
static void enter_window(hwm_real* mean, hwm_real* g_mean, const hwm_real* x, const hwm_moment* t,
                         hwm_real m, int features) {
    for (int k = 0; k < features * HWM_LANES; k++) {
        mean[k] += t->window[k % HWM_LANES] * (x[k] / m);
        g_mean[k] = t->update[k % HWM_LANES] != 0 ? 0 : g_mean[k];
    }
}

static void leave_window(hwm_real* g_x, const hwm_real* g_mean, const hwm_moment* t, hwm_real m,
                         int features) {
    for (int k = 0; k < features * HWM_LANES; k++) {
        g_x[k] += t->window[k % HWM_LANES] * (g_mean[k] / m);
    }
}

// Gradient of the running mean after this step: to the reward and to the mean before it.
static void follow_backward(const hwm_controller* c, step* p, const hwm_real* g_after) {
    const hwm_real rate = (hwm_real)c->rule.reward_rate;
    for (int l = 0; l < HWM_LANES; l++) {
        hwm_feature(p->g, c->reward_f)[l] += rate * g_after[l];
        hwm_feature(p->gs, c->mean_f)[l] += (1 - rate) * g_after[l];
    }
}

static void modulator_backward(const hwm_controller* c, const hwm_layer* y, step* p,
                               const hwm_real* mod, const hwm_real* g_mod) {
    const hwm_layer* head = &c->layer[c->n_layers - 1];
    hwm_real* g_hidden = hwm_feature(p->g, head->pre_f);
    switch ((hwm_modulator)c->modulator) {
    case HWM_MODULATOR_LINEAR: {
        bool hidden = y->mod_h_c != HWM_NONE;
        hebb_modulator_backward(
            p->g_coef + y->mod_x_c, p->g, hidden ? p->g_coef + y->mod_h_c : NULL, g_hidden, g_mod,
            mod, p->coef + y->mod_x_c, p->x, c->inputs, hidden ? p->coef + y->mod_h_c : NULL,
            hwm_cfeature(p->x, head->pre_f), head->Q);
        break;
    }
    case HWM_MODULATOR_UNIT:
        for (int l = 0; l < HWM_LANES; l++) {
            g_hidden[l] += g_mod[l];
        }
        break;
    case HWM_MODULATOR_PREDICTION:
        hebb_prediction_backward(p->g_coef + y->mod_x_c, hwm_feature(p->gs, c->old_x_f),
                                 hwm_feature(p->g, c->reward_f), g_mod, mod, p->coef + y->mod_x_c,
                                 p->old_x, c->inputs);
        break;
    case HWM_MODULATOR_REWARD:
        for (int l = 0; l < HWM_LANES; l++) {
            hwm_feature(p->g, c->reward_f)[l] += g_mod[l];
            hwm_feature(p->gs, c->mean_f)[l] -= g_mod[l];
        }
        break;
    case HWM_MODULATOR_LATENT:
        for (int l = 0; l < HWM_LANES; l++) {
            hwm_feature(p->g, c->signal_f)[l] += g_mod[l];
        }
        break;
    case HWM_MODULATOR_DEFAULT:
    case HWM_MODULATOR_NONE:
        break;
    }
}

static void layer_backward(const hwm_controller* c, int l, step* p) {
    const hwm_layer* y = &c->layer[l];
    const bool done = l == c->n_layers - 1 && c->output_action;  // post is u, not a
    const bool old = c->row->old, averaged = y->sum_pre_f != HWM_NONE;
    const hwm_real m = (hwm_real)c->rule.average;
    const hwm_real* update = p->t.all ? NULL : p->t.update;
    hwm_real *w = hwm_feature(p->s, y->w_f), *g_w = hwm_feature(p->gs, y->w_f);
    const bool recurrent = y->past_f != HWM_NONE;
    const hwm_real* pre = hwm_pre(y, p->x, p->s);
    const hwm_real* post = done ? p->u : hwm_cfeature(p->x, y->post_f);
    hwm_real* g_pre = recurrent ? hwm_feature(p->gs, y->past_f) : hwm_feature(p->g, y->pre_f);
    hwm_real* g_post = done ? p->g_u : hwm_feature(p->g, y->post_f);

    if (c->rule.bound == HWM_BOUND_DECAY) {
        hebb_decay_backward(p->stored ? NULL : w, g_w, hwm_feature(p->gs, y->w0_f),
                            hwm_feature(p->s, y->w0_f), (hwm_real)c->rule.decay,
                            p->t.all ? NULL : p->t.bounded, y->n);
    }

    // this step's factors: activations, or their means
    hwm_real *now_pre_g = g_pre, *now_post_g = g_post;
    if (averaged) {
        hwm_real *mean_pre = hwm_feature(p->s, y->sum_pre_f),
                 *mean_post = hwm_feature(p->s, y->sum_post_f);
        now_pre_g = hwm_feature(p->gs, y->sum_pre_f);
        now_post_g = hwm_feature(p->gs, y->sum_post_f);
        enter_window(mean_pre, now_pre_g, pre, &p->t, m, y->Q);
        enter_window(mean_post, now_post_g, post, &p->t, m, y->P);
        pre = mean_pre;
        post = mean_post;
    }
    hwm_real *old_pre = NULL, *old_post = NULL, *g_old_pre = NULL, *g_old_post = NULL;
    if (old) {
        old_pre = hwm_feature(p->s, y->old_pre_f);
        old_post = hwm_feature(p->s, y->old_post_f);
        g_old_pre = hwm_feature(p->gs, y->old_pre_f);
        g_old_post = hwm_feature(p->gs, y->old_post_f);
        take_over(now_pre_g, g_old_pre, update, y->Q);
        take_over(now_post_g, g_old_post, update, y->P);
        if (!p->stored) {
            hwm_moment_keep(old_pre, hwm_cfeature(p->record, y->rec_pre_f), NULL, y->Q);
            hwm_moment_keep(old_post, hwm_cfeature(p->record, y->rec_post_f), NULL, y->P);
        }
    }

    const bool shifted_pre = c->rule.kind == HWM_RULE_MOD3;
    hwm_real mod[HWM_LANES], g_mod[HWM_LANES] = {0};
    hwm_real reward[HWM_LANES] = {0}, g_reward[HWM_LANES] = {0};
    if (c->row->network) {
        // the rule saw the running mean after this step's reward
        const hwm_real* r = hwm_cfeature(p->x, c->reward_f);
        for (int k = 0; k < HWM_LANES; k++) {
            reward[k] = p->mean[k] + (hwm_real)c->rule.reward_rate * (r[k] - p->mean[k]);
        }
    }
    hebb_factors f = {
        .pre = shifted_pre ? old_pre : pre,
        .pre_b = old ? old_pre : pre,
        .post = old ? old_post : post,
        .mod = hwm_moment_modulate(c, y, p->coef, p->x, p->old_x, p->mean, mod),
        .mask = update,
        .oja = (hwm_real)c->rule.oja,
        .trace_decay = (hwm_real)c->rule.trace_decay,
        .reward = reward,
        .P = y->P,
        .Q = y->Q,
    };
    hebb_gradients g = {
        .pre = shifted_pre ? g_old_pre : now_pre_g,
        .pre_b = old ? g_old_pre : now_pre_g,
        .post = old ? g_old_post : now_post_g,
        .mod = f.mod ? g_mod : NULL,
        .reward = g_reward,
    };
    hebb_undo undo = {
        .m = c->rule.bound == HWM_BOUND_MAX_NORM ? hwm_cfeature(p->record, y->m_f) : NULL,
        .clip = c->rule.bound == HWM_BOUND_CLIP ? (hwm_real)c->rule.w_max : 0,
        .stored = p->stored,
    };
    if (c->row->mixed) {
        hebb_mixed_update_backward(w, g_w, p->g_coef + y->rule_c, &g, p->coef + y->rule_c, &f,
                                   &undo);
    } else if (c->row->network) {
        hebb_network_backward(w, g_w, p->g_coef + y->net_c, &g, p->coef + y->net_c,
                              (int)c->rule.units, &f, &undo);
    } else {
        bool trace = c->row->trace;
        hebb_update_backward(w, trace ? hwm_feature(p->s, y->trace_f) : NULL, g_w,
                             trace ? hwm_feature(p->gs, y->trace_f) : NULL, p->g_coef + y->rule_c,
                             &g, p->coef + y->rule_c, &f, &undo);
    }
    if (c->row->network) {
        follow_backward(c, p, g_reward);
    }
    if (f.mod) {
        modulator_backward(c, y, p, mod, g_mod);
    }
    if (averaged) {
        leave_window(g_pre, now_pre_g, &p->t, m, y->Q);
        leave_window(g_post, now_post_g, &p->t, m, y->P);
        hwm_moment_keep(hwm_feature(p->s, y->sum_pre_f), hwm_cfeature(p->before, y->sum_pre_f),
                        NULL, y->Q);
        hwm_moment_keep(hwm_feature(p->s, y->sum_post_f), hwm_cfeature(p->before, y->sum_post_f),
                        NULL, y->P);
    }
}

// What belongs to no layer goes back to before the step; x_0 gets the gradient of what was kept of
// it.
static void retreat(const hwm_controller* c, step* p) {
    if (c->mean_f != HWM_NONE) {
        if (!p->stored) {
            memcpy(hwm_feature(p->s, c->mean_f), hwm_cfeature(p->record, c->rec_mean_f),
                   HWM_LANES * sizeof *p->s);
        }
        p->mean = hwm_feature(p->s, c->mean_f);
        hwm_real g_after[HWM_LANES];
        memcpy(g_after, hwm_feature(p->gs, c->mean_f), sizeof g_after);
        memset(hwm_feature(p->gs, c->mean_f), 0, sizeof g_after);
        follow_backward(c, p, g_after);
    }
    if (c->old_x_f != HWM_NONE) {
        hwm_real *old_x = hwm_feature(p->s, c->old_x_f), *g_old_x = hwm_feature(p->gs, c->old_x_f);
        if (!p->stored) {
            hwm_moment_keep(old_x, hwm_cfeature(p->record, c->rec_old_x_f), NULL, c->inputs);
        }
        take_over(p->g, g_old_x, NULL, c->inputs);
        p->old_x = old_x;
    }
    for (int l = c->n_layers; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!p->stored) {
            hwm_moment_keep(hwm_feature(p->s, y->past_f), hwm_cfeature(p->record, y->rec_past_f),
                            NULL, y->Q);
        }
        take_over(hwm_feature(p->g, y->post_f), hwm_feature(p->gs, y->past_f), NULL, y->Q);
    }
}

void hwm_controller_learn_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                   const hwm_real* act, const hwm_real* u, const hwm_real* scale,
                                   hwm_real* state, const hwm_real* before, hwm_real* g_state,
                                   hwm_real* g_act, hwm_real* g_u, hwm_real* g_coef) {
    HWM_ASSERT(c->row->differentiable);
    const bool stored = before != NULL;
    HWM_ASSERT(stored || hwm_controller_invertible(c));
    for (int b = 0; b < hwm_blocks(batch); b++) {
        step p = {.coef = coef,
                  .x = hwm_cblock(act, b, c->activations),
                  .u = hwm_cblock(u, b, c->outputs),
                  .record = scale ? hwm_cblock(scale, b, c->record_size) : NULL,
                  .before = stored ? hwm_cblock(before, b, c->state_size) : NULL,
                  .s = hwm_block(state, b, c->state_size),
                  .gs = hwm_block(g_state, b, c->state_size),
                  .g = hwm_block(g_act, b, c->activations),
                  .g_u = hwm_block(g_u, b, c->outputs),
                  .g_coef = g_coef,
                  .stored = stored};
        if (stored) {
            memcpy(p.s, p.before, (size_t)c->state_size * HWM_LANES * sizeof *p.s);
        }
        hwm_moment_find(c, p.s, NULL, &p.t);
        retreat(c, &p);
        for (int l = 0; l < c->n_connections; l++) {
            if (c->layer[l].plastic) {
                layer_backward(c, l, &p);
            }
        }
    }
}
