// data path  [2] controller
//
// Act of a batch and its backward, block by block and layer by layer.
#include <string.h>

#include "plastic/hebb.h"

// post += what the synapses of y bring, from activations x and state s.
static void add_input(const hwm_controller* c, const hwm_layer* y, const hwm_real* coef,
                      const hwm_real* x, const hwm_real* s, hwm_real* post) {
    const hwm_real* pre = hwm_pre(y, x, s);
    if (!y->plastic) {
        hebb_static_sum(post, coef + y->w_c, pre, y->P, y->Q);
    } else if (c->row->mixed) {
        hebb_mixed_sum(post, hwm_cfeature(s, y->w_f), coef + y->rule_c, pre, y->P, y->Q);
    } else {
        hebb_dense_sum(post, hwm_cfeature(s, y->w_f), pre, y->P, y->Q);
    }
}

void hwm_controller_act(const hwm_controller* c, const hwm_real* coef, int batch,
                        const hwm_real* state, hwm_real* act) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const hwm_real* s = hwm_cblock(state, b, c->state_size);
        hwm_real* x = hwm_block(act, b, c->activations);
        for (int l = 0; l < c->n_layers; l++) {
            const hwm_layer* y = &c->layer[l];
            hwm_real* post = hwm_feature(x, y->post_f);
            memset(post, 0, (size_t)y->P * HWM_LANES * sizeof *post);
            add_input(c, y, coef, x, s, post);
            if (y->loop >= 0) {
                add_input(c, &c->layer[y->loop], coef, x, s, post);
            }
            hebb_tanh(post, y->P);
        }
    }
}

// One block: what act reads and the gradients it leaves.
typedef struct act_block {
    const hwm_real *coef, *s, *x;
    hwm_real *g, *gs, *g_coef;
} act_block;

static void input_backward(const hwm_controller* c, const hwm_layer* y, const act_block* p) {
    const hwm_real *pre = hwm_pre(y, p->x, p->s), *post = hwm_cfeature(p->x, y->post_f);
    const hwm_real* g_post = hwm_cfeature(p->g, y->post_f);
    hwm_real* g_pre =
        y->past_f == HWM_NONE ? hwm_feature(p->g, y->pre_f) : hwm_feature(p->gs, y->past_f);
    if (!y->plastic) {
        hebb_static_backward(g_pre, p->g_coef + y->w_c, g_post, p->coef + y->w_c, pre, post, y->P,
                             y->Q);
    } else if (c->row->mixed) {
        hebb_mixed_backward(g_pre, hwm_feature(p->gs, y->w_f), p->g_coef + y->rule_c, g_post,
                            hwm_cfeature(p->s, y->w_f), p->coef + y->rule_c, pre, post, y->P, y->Q);
    } else {
        hebb_dense_backward(g_pre, hwm_feature(p->gs, y->w_f), g_post, hwm_cfeature(p->s, y->w_f),
                            pre, post, y->P, y->Q);
    }
}

void hwm_controller_act_backward(const hwm_controller* c, const hwm_real* coef, int batch,
                                 const hwm_real* state, const hwm_real* act, hwm_real* g_act,
                                 hwm_real* g_state, hwm_real* g_coef) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const act_block p = {.coef = coef,
                             .s = hwm_cblock(state, b, c->state_size),
                             .x = hwm_cblock(act, b, c->activations),
                             .g = hwm_block(g_act, b, c->activations),
                             .gs = hwm_block(g_state, b, c->state_size),
                             .g_coef = g_coef};
        for (int l = c->n_layers - 1; l >= 0; l--) {
            const hwm_layer* y = &c->layer[l];
            if (y->loop >= 0) {
                input_backward(c, &c->layer[y->loop], &p);
            }
            input_backward(c, y, &p);
        }
    }
}

int hwm_controller_choose(const float* a, int A, float u) {
    float sum = 0;
    for (int k = 0; k < A; k++) {
        sum += HWM_CHOICE_FLOOR + a[k];
    }
    float left = u * sum;
    int k = 0;
    for (; k < A - 1 && left >= HWM_CHOICE_FLOOR + a[k]; k++) {
        left -= HWM_CHOICE_FLOOR + a[k];
    }
    return k;
}
