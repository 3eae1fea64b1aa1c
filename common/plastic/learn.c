// data path  [2] controller
//
// One plastic step of a batch, block by block and layer by layer.
#include <string.h>

#include "plastic/moment.h"

// mean += x / m over the window, so that after m steps it is their mean.
static void average(hwm_real* mean, const hwm_real* x, const hwm_moment* t, hwm_real m,
                    int features) {
    for (int k = 0; k < features * HWM_LANES; k++) {
        mean[k] += t->window[k % HWM_LANES] * (x[k] / m);
    }
}

static void clear(hwm_real* x, const hwm_real* mask, int features) {
    for (int k = 0; k < features * HWM_LANES; k++) {
        x[k] = mask[k % HWM_LANES] != 0 ? 0 : x[k];
    }
}

static void bound(const hwm_controller* c, const hwm_layer* y, hwm_real* s, const hwm_real* largest,
                  const hwm_real* mask, hwm_real* record) {
    hwm_real* w = hwm_feature(s, y->w_f);
    hwm_real m[HWM_LANES];
    switch ((hwm_bound)c->rule.bound) {
    case HWM_BOUND_MAX_NORM:
        hebb_max_norm(w, largest, (hwm_real)c->rule.w_max, mask, m, y->n);
        if (record) {
            memcpy(hwm_feature(record, y->m_f), m, sizeof m);
        }
        break;
    case HWM_BOUND_CLIP:
        hebb_clip(w, (hwm_real)c->rule.w_max, mask, y->n);
        break;
    case HWM_BOUND_DECAY:
        hebb_decay(w, hwm_feature(s, y->w0_f), (hwm_real)c->rule.decay, mask, y->n);
        break;
    case HWM_BOUND_NONE:
        break;
    }
}

// What the block-wide parts of the step look like to a layer.
typedef struct step {
    const hwm_real *coef, *x, *u;
    hwm_real *s, *record;
    hwm_moment t;
    hwm_real mean[HWM_LANES];  // of the reward, before the step
} step;

static void learn_layer(const hwm_controller* c, int l, step* p) {
    const hwm_layer* y = &c->layer[l];
    hwm_real *w = hwm_feature(p->s, y->w_f), *s = p->s;
    const hwm_real* update = p->t.all ? NULL : p->t.update;
    const hwm_real* pre = hwm_pre(y, p->x, s);
    const hwm_real* post =
        l == c->n_layers - 1 && c->output_action ? p->u : hwm_cfeature(p->x, y->post_f);
    const hwm_real* old_x = c->old_x_f == HWM_NONE ? NULL : hwm_feature(s, c->old_x_f);
    hwm_real largest[HWM_LANES] = {0}, mod[HWM_LANES];

    if (c->row->naive) {
        hebb_naive(w, y->theta_f == HWM_NONE ? NULL : hwm_feature(s, y->theta_f),
                   hwm_feature(s, c->naive_f), pre, post, p->t.naive, l, largest, y->P, y->Q);
        bound(c, y, s, largest, p->t.bounded, p->record);
        return;
    }
    if (y->sum_pre_f != HWM_NONE) {
        average(hwm_feature(s, y->sum_pre_f), pre, &p->t, (hwm_real)c->rule.average, y->Q);
        average(hwm_feature(s, y->sum_post_f), post, &p->t, (hwm_real)c->rule.average, y->P);
        pre = hwm_feature(s, y->sum_pre_f);
        post = hwm_feature(s, y->sum_post_f);
    }
    const bool old = c->row->old;
    hwm_real* old_pre = old ? hwm_feature(s, y->old_pre_f) : NULL;
    hwm_real* old_post = old ? hwm_feature(s, y->old_post_f) : NULL;
    if (old && p->record) {
        hwm_moment_keep(hwm_feature(p->record, y->rec_pre_f), old_pre, NULL, y->Q);
        hwm_moment_keep(hwm_feature(p->record, y->rec_post_f), old_post, NULL, y->P);
    }

    // shifted: pre of A is this step's, everything else of the previous one
    hebb_factors f = {
        .pre = c->rule.kind == HWM_RULE_MOD3 ? old_pre : pre,
        .pre_b = old ? old_pre : pre,
        .post = old ? old_post : post,
        .mod = hwm_moment_modulate(c, y, p->coef, p->x, old_x, p->mean, mod),
        .mask = update,
        .oja = (hwm_real)c->rule.oja,
        .trace_decay = (hwm_real)c->rule.trace_decay,
        .reward = c->mean_f == HWM_NONE ? NULL : hwm_feature(s, c->mean_f),
        .P = y->P,
        .Q = y->Q,
    };
    if (c->row->mixed) {
        hebb_mixed_update(w, p->coef + y->rule_c, &f, largest);
    } else if (c->row->network) {
        hebb_network(w, p->coef + y->net_c, (int)c->rule.units, &f, largest);
    } else {
        hebb_update(w, c->row->trace ? hwm_feature(s, y->trace_f) : NULL, p->coef + y->rule_c, &f,
                    largest);
    }
    if (c->naive) {
        hebb_naive(w, y->theta_f == HWM_NONE ? NULL : hwm_feature(s, y->theta_f),
                   hwm_feature(s, c->naive_f), hwm_pre(y, p->x, s), hwm_cfeature(p->x, y->post_f),
                   p->t.naive, l, largest, y->P, y->Q);
    }
    bound(c, y, s, largest, p->t.all ? NULL : p->t.bounded, p->record);

    // this update's factors wait for the next; the window begins anew
    if (old) {
        hwm_moment_keep(old_pre, pre, update, y->Q);
        hwm_moment_keep(old_post, post, update, y->P);
    }
    if (y->sum_pre_f != HWM_NONE) {
        clear(hwm_feature(s, y->sum_pre_f), p->t.update, y->Q);
        clear(hwm_feature(s, y->sum_post_f), p->t.update, y->P);
    }
}

// Running mean of the reward; what it was before the step stays in p->mean.
static void follow_reward(const hwm_controller* c, step* p) {
    hwm_real* mean = hwm_feature(p->s, c->mean_f);
    const hwm_real* reward = hwm_cfeature(p->x, c->reward_f);
    memcpy(p->mean, mean, sizeof p->mean);
    if (p->record) {
        memcpy(hwm_feature(p->record, c->rec_mean_f), mean, sizeof p->mean);
    }
    for (int l = 0; l < HWM_LANES; l++) {
        mean[l] += p->t.live[l] * ((hwm_real)c->rule.reward_rate * (reward[l] - mean[l]));
    }
}

// Activations that recurrent connections read at the next step.
static void remember(const hwm_controller* c, const hwm_real* x, const hwm_real* live, hwm_real* s,
                     hwm_real* record) {
    for (int l = c->n_layers; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        hwm_real* past = hwm_feature(s, y->past_f);
        if (record) {
            hwm_moment_keep(hwm_feature(record, y->rec_past_f), past, NULL, y->Q);
        }
        hwm_moment_keep(past, hwm_cfeature(x, y->post_f), live, y->Q);
    }
}

// What the whole block carries on to the next step.
static void advance(const hwm_controller* c, step* p) {
    if (c->old_x_f != HWM_NONE) {
        hwm_real* old_x = hwm_feature(p->s, c->old_x_f);
        if (p->record) {
            hwm_moment_keep(hwm_feature(p->record, c->rec_old_x_f), old_x, NULL, c->inputs);
        }
        hwm_moment_keep(old_x, p->x, p->t.live, c->inputs);
    }
    remember(c, p->x, p->t.live, p->s, p->record);
    for (int l = 0; c->phase_f != HWM_NONE && l < HWM_LANES; l++) {
        hwm_real* phase = hwm_feature(p->s, c->phase_f) + l;
        hwm_real next = *phase + 1;
        *phase = p->t.live[l] != 0 ? (next == (hwm_real)c->rule.update_every ? 0 : next) : *phase;
    }
    for (int l = 0; c->naive_f != HWM_NONE && l < HWM_LANES; l++) {
        hwm_feature(p->s, c->naive_f + HWM_NAIVE_STEP)[l] += p->t.naive[l];
    }
}

void hwm_controller_learn(const hwm_controller* c, const hwm_real* coef, int batch,
                          const hwm_real* act, const hwm_real* u, const hwm_real* active,
                          hwm_real* state, hwm_real* scale) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        step p = {.coef = coef,
                  .x = hwm_cblock(act, b, c->activations),
                  .u = hwm_cblock(u, b, c->outputs),
                  .s = hwm_block(state, b, c->state_size),
                  .record = scale ? hwm_block(scale, b, c->record_size) : NULL};
        hwm_moment_find(c, p.s, active ? active + (size_t)b * HWM_LANES : NULL, &p.t);
        if (c->mean_f != HWM_NONE) {
            follow_reward(c, &p);
        }
        for (int l = 0; l < c->n_connections; l++) {
            if (c->layer[l].plastic) {
                learn_layer(c, l, &p);
            }
        }
        advance(c, &p);
    }
}

void hwm_controller_go_on(const hwm_controller* c, int batch, const hwm_real* act,
                          const hwm_real* active, hwm_real* state) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        remember(c, hwm_cblock(act, b, c->activations), active + (size_t)b * HWM_LANES,
                 hwm_block(state, b, c->state_size), NULL);
    }
}
