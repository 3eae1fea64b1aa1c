// Kernels of one dense layer on one block of 16 samples. Arrays are features of lanes: pre (Q),
// post (P), w (P,Q) row-major. No state, no allocation. Sums run over features in ascending order;
// nothing is fused or reassociated.
#ifndef HWM_PLASTIC_HEBB_H
#define HWM_PLASTIC_HEBB_H

#include "plastic/impl.h"

// post += W pre: per-sample weights, one (P,Q) array for all samples, or a mixture of both,
// W + alpha w with W and alpha from rule (P,Q,4). post = tanh(post).
void hebb_dense_sum(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q);
void hebb_static_sum(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q);
void hebb_mixed_sum(hwm_real* post, const hwm_real* w, const hwm_real* rule, const hwm_real* pre,
                    int P, int Q);
void hebb_tanh(hwm_real* post, int P);
// delta = g_post (1 - post^2);  g_w += delta pre';  g_pre += W' delta
void hebb_dense_backward(hwm_real* g_pre, hwm_real* g_w, const hwm_real* g_post, const hwm_real* w,
                         const hwm_real* pre, const hwm_real* post, int P, int Q);
void hebb_static_backward(hwm_real* g_pre, hwm_real* g_w, const hwm_real* g_post, const hwm_real* w,
                          const hwm_real* pre, const hwm_real* post, int P, int Q);
void hebb_mixed_backward(hwm_real* g_pre, hwm_real* g_w, hwm_real* g_rule, const hwm_real* g_post,
                         const hwm_real* w, const hwm_real* rule, const hwm_real* pre,
                         const hwm_real* post, int P, int Q);

// What a plasticity step of a layer sees.
typedef struct hebb_factors {
    const hwm_real* pre;     // (Q) of A pre post
    const hwm_real* pre_b;   // (Q) of B pre: the same, but for rule shifted
    const hwm_real* post;    // (P)
    const hwm_real* mod;     // (1) M; NULL: 1
    const hwm_real* mask;    // (1) 1: this sample is updated, 0: it is left as it is; NULL: all are
    hwm_real oja;            // f_i = max(1/2, 1 - oja post_i^2); 0: f = 1
    hwm_real trace_decay;    // lambda
    const hwm_real* reward;  // (1) network: running mean of the reward
    int P, Q;
} hebb_factors;

// Gradients of the factors, all +=; mod NULL where the factor is; reward: network only.
typedef struct hebb_gradients {
    hwm_real *pre, *pre_b, *post, *mod, *reward;
} hebb_gradients;

// What the bound did, for backward.
typedef struct hebb_undo {
    const hwm_real* m;  // (1) scale of max_norm; NULL: 1
    hwm_real clip;      // limit of clip; 0: none
    bool stored;        // w (and trace) hold the values before the step; else they are recovered
} hebb_undo;

// f_i of one sample, from its post
static inline hwm_real hebb_keep(const hebb_factors* f, hwm_real y) {
    hwm_real keep = 1 - f->oja * (y * y);
    return keep > (hwm_real)0.5 ? keep : (hwm_real)0.5;
}
static inline hwm_real hebb_larger(hwm_real largest, hwm_real w) {
    hwm_real size = w < 0 ? -w : w;
    return size > largest ? size : largest;
}

// One plasticity step, in place:
//   change = pre a post + b pre_b + (c post + d)                  rule (P,Q,4): a, b, c, d,
//   learning rate included trace NULL: dw = M change;  else trace = lambda trace + change, dw = M
//   trace w = f w + dw largest (1): max |w| after the step
// Source: Najarro & Risi 2020, arXiv:2007.02686 (ABCD rule with a learning rate per synapse).
void hebb_update(hwm_real* w, hwm_real* trace, const hwm_real* rule, const hebb_factors* f,
                 hwm_real* largest);
// Its backward. w: after the step on entry, before it on return; g_w, g_trace likewise:
//   w = (m w - dw) / f;  G = g_w / m;  g_w = f G;  g_rule += sum over samples of g_change (pre
//   post, pre_b, post, 1)
// trace (before the step) and g_trace NULL without one.
void hebb_update_backward(hwm_real* w, const hwm_real* trace, hwm_real* g_w, hwm_real* g_trace,
                          hwm_real* g_rule, const hebb_gradients* g, const hwm_real* rule,
                          const hebb_factors* f, const hebb_undo* undo);

// Rule miconi: w is Hebb, rule (P,Q,4) holds W, alpha, eta:
//   w = (1 - eta) f w + M eta pre post
// Backward wants the stored w (undo->stored).
// Source: Miconi, Stanley & Clune 2018, arXiv:1804.02464
void hebb_mixed_update(hwm_real* w, const hwm_real* rule, const hebb_factors* f, hwm_real* largest);
void hebb_mixed_update_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_rule,
                                const hebb_gradients* g, const hwm_real* rule,
                                const hebb_factors* f, const hebb_undo* undo);

// Rule network: change = v . tanh(U [pre, post, W, reward, 1]), dw = M change, w = f w + dw.
//   net (units,5) U, then (units) v
void hebb_network(hwm_real* w, const hwm_real* net, int units, const hebb_factors* f,
                  hwm_real* largest);
void hebb_network_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_net, const hebb_gradients* g,
                           const hwm_real* net, int units, const hebb_factors* f,
                           const hebb_undo* undo);

// Naive rules, by the constants (HWM_NAIVE_FEATURES) of each sample. theta (P): bcm, else NULL.
// layer: names the noise.
void hebb_naive(hwm_real* w, hwm_real* theta, const hwm_real* constants, const hwm_real* pre,
                const hwm_real* post, const hwm_real* mask, int layer, hwm_real* largest, int P,
                int Q);

// m = max(1, largest / w_max);  w /= m, as a product with 1 / m.
void hebb_max_norm(hwm_real* w, const hwm_real* largest, hwm_real w_max, const hwm_real* mask,
                   hwm_real* m, size_t n);
void hebb_clip(hwm_real* w, hwm_real w_max, const hwm_real* mask, size_t n);
// w += rate (w0 - w). Its backward recovers w (NULL: not wanted) and moves the gradient: g_w0 +=
// rate g_w, g_w *= 1 - rate.
void hebb_decay(hwm_real* w, const hwm_real* w0, hwm_real rate, const hwm_real* mask, size_t n);
void hebb_decay_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_w0, const hwm_real* w0,
                         hwm_real rate, const hwm_real* mask, size_t n);

// M = tanh(u . x + v . h): x (n_x), h (n_h); v NULL: without h.
void hebb_modulator(hwm_real* mod, const hwm_real* u, const hwm_real* x, int n_x, const hwm_real* v,
                    const hwm_real* h, int n_h);
void hebb_modulator_backward(hwm_real* g_u, hwm_real* g_x, hwm_real* g_v, hwm_real* g_h,
                             const hwm_real* g_mod, const hwm_real* mod, const hwm_real* u,
                             const hwm_real* x, int n_x, const hwm_real* v, const hwm_real* h,
                             int n_h);
// M = tanh(reward - u . x)
void hebb_prediction(hwm_real* mod, const hwm_real* reward, const hwm_real* u, const hwm_real* x,
                     int n_x);
void hebb_prediction_backward(hwm_real* g_u, hwm_real* g_x, hwm_real* g_reward,
                              const hwm_real* g_mod, const hwm_real* mod, const hwm_real* u,
                              const hwm_real* x, int n_x);

#endif
