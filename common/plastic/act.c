// data path  [2] controller
//
// Act of a batch and its backward, block by block and layer by layer.
#include "plastic/hebb.h"

void hwm_controller_act(const hwm_controller* c, const hwm_real* coef, int batch,
                        const hwm_real* state, hwm_real* act) {
    for (int b = 0; b < hwm_blocks(batch); b++) {
        const hwm_real* s = hwm_cblock(state, b, c->state_size);
        hwm_real* x = hwm_block(act, b, c->activations);
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
        const hwm_real* s = hwm_cblock(state, b, c->state_size);
        const hwm_real* x = hwm_cblock(act, b, c->activations);
        hwm_real *gs = hwm_block(g_state, b, c->state_size),
                 *g = hwm_block(g_act, b, c->activations);
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
