// Inside of the plastic library: where everything of a layer stands.
#ifndef HWM_PLASTIC_IMPL_H
#define HWM_PLASTIC_IMPL_H

#include "plastic/controller.h"
#include "plastic/controller_config.h"

enum { HWM_LAYERS_MAX = HWM_CONFIG_LIST_MAX + 1, HWM_TERMS = 5 };
#define HWM_NONE ((size_t)-1)

// Offsets: *_f features of act, state or record (times HWM_LANES within a block); *_c reals of
// coef; *_p entries of phi.
typedef struct hwm_layer {
    int P, Q;  // post and pre units
    bool plastic;
    size_t pre_f, post_f;  // in act
    size_t w_f;            // in state: W (P,Q); plastic only
    size_t old_pre_f;      // in state: pre (Q) of the previous step; mod3
    size_t old_post_f;     // in state: post (P) of the previous step; mod3
    size_t m_f;            // in record: scale of the bound (1); max_norm
    size_t rec_pre_f;      // in record: old pre (Q), old post (P) before the step; mod3
    size_t rec_post_f;
    size_t rule_c;   // in coef: (P,Q,4) a, b, c, d, learning rate included; plastic
    size_t w_c;      // in coef: W (P,Q) of a static layer, or the mean of W_0; HWM_NONE: neither
    size_t mod_x_c;  // in coef: modulator's weights of x_0; mod3
    size_t mod_h_c;  // in coef: and of the last hidden layer; HWM_NONE without one
    int term_p[HWM_TERMS];  // A..E; -1: not a term
    int eta_p, w_p, mod_x_p, mod_h_p;
} hwm_layer;

struct hwm_controller {
    hwm_controller_config config;
    hwm_rule_config rule;
    int obs_dim, action_dim;
    bool discrete;
    bool output_action;     // post of the output layer is the action taken
    hwm_real* obs_inverse;  // (obs_dim) 1 / scale

    int n_layers;
    hwm_layer layer[HWM_LAYERS_MAX];
    int inputs, outputs, activations, state_size, record_size;
    size_t coef_count;
    hwm_param_list params;
    int delta_p;  // input.delta_scale, or -1
};

// 8 lanes; two of them are a feature of a block. Loads and stores need no alignment beyond that of
// a real.
typedef hwm_real hwm_v8
    __attribute__((vector_size(8 * sizeof(hwm_real)), aligned(sizeof(hwm_real)), may_alias));

#ifdef HWM_F64
typedef int64_t hwm_m8 __attribute__((vector_size(64), aligned(8), may_alias));
#else
typedef int32_t hwm_m8 __attribute__((vector_size(32), aligned(4), may_alias));
#endif
// a where mask (all ones) else b (mask all zeros)
static inline hwm_v8 hwm_select(hwm_m8 mask, hwm_v8 a, hwm_v8 b) {
    return (hwm_v8)((mask & (hwm_m8)a) | (~mask & (hwm_m8)b));
}

static inline hwm_real* hwm_feature(hwm_real* block, size_t f) {
    return block + f * HWM_LANES;
}
static inline const hwm_real* hwm_cfeature(const hwm_real* block, size_t f) {
    return block + f * HWM_LANES;
}
static inline int hwm_blocks(int batch) {
    return (batch + HWM_LANES - 1) / HWM_LANES;
}
// Sum over the lanes of a feature in a fixed order.
static inline hwm_real hwm_lane_sum(hwm_v8 lo, hwm_v8 hi) {
    hwm_v8 s = lo + hi;
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

#endif
