// Kernels of one dense layer on one block of 16 samples. Arrays are features of lanes: pre (Q),
// post (P), w (P,Q) row-major. No state, no allocation. Sums run over features in ascending order;
// nothing is fused or reassociated.
#ifndef HWM_PLASTIC_HEBB_H
#define HWM_PLASTIC_HEBB_H

#include "plastic/impl.h"

// post = tanh(W pre): per-sample weights, or one (P,Q) array for all samples.
void hebb_dense_forward(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q);
void hebb_static_forward(hwm_real* post, const hwm_real* w, const hwm_real* pre, int P, int Q);
// delta = g_post (1 - post^2);  g_w += delta pre';  g_pre += W' delta
void hebb_dense_backward(hwm_real* g_pre, hwm_real* g_w, const hwm_real* g_post, const hwm_real* w,
                         const hwm_real* pre, const hwm_real* post, int P, int Q);
void hebb_static_backward(hwm_real* g_pre, hwm_real* g_w, const hwm_real* g_post, const hwm_real* w,
                          const hwm_real* pre, const hwm_real* post, int P, int Q);

// One plasticity step, in place:
//   dw = M (pre (a post + b) + (c post + d)),   w += dw where active
//   rule (P,Q,4) planes a, b, c, d with the learning rate in them   mod (1), NULL: M = 1   active
//   (1), NULL: all largest (1): max |w| after the step; NULL: not wanted
// Source: Najarro & Risi 2020, arXiv:2007.02686 (ABCD rule with a learning rate per synapse).
void hebb_update(hwm_real* w, const hwm_real* rule, const hwm_real* pre, const hwm_real* post,
                 const hwm_real* mod, const hwm_real* active, hwm_real* largest, int P, int Q);
// m = max(1, largest / w_max);  w /= m, as a product with 1 / m.
void hebb_max_norm(hwm_real* w, const hwm_real* largest, hwm_real w_max, const hwm_real* active,
                   hwm_real* m, size_t n);
void hebb_clip(hwm_real* w, hwm_real w_max, const hwm_real* active, size_t n);

// Backward of update and max_norm (m NULL: no bound). w: after the step on entry, before it on
// return:
//   w = m w - dw;  G = g_w / m (in place);  g_rule += sum over samples of G M (pre post, pre, post,
//   1) g_pre += sum_i G M (a post + b);  g_post += sum_j G M (a pre + c);  g_mod += sum_ij G dw / M
// g_mod NULL where mod is.
void hebb_update_backward(hwm_real* w, hwm_real* g_w, hwm_real* g_rule, hwm_real* g_pre,
                          hwm_real* g_post, hwm_real* g_mod, const hwm_real* rule,
                          const hwm_real* pre, const hwm_real* post, const hwm_real* mod,
                          const hwm_real* m, int P, int Q);

// M = tanh(u . x + v . h): x (n_x), h (n_h); v NULL: without h.
void hebb_modulator(hwm_real* mod, const hwm_real* u, const hwm_real* x, int n_x, const hwm_real* v,
                    const hwm_real* h, int n_h);
void hebb_modulator_backward(hwm_real* g_u, hwm_real* g_x, hwm_real* g_v, hwm_real* g_h,
                             const hwm_real* g_mod, const hwm_real* mod, const hwm_real* u,
                             const hwm_real* x, int n_x, const hwm_real* v, const hwm_real* h,
                             int n_h);

#endif
