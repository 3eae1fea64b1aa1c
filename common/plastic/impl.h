// Inside of the plastic library: where everything of a layer stands.
#ifndef HWM_PLASTIC_IMPL_H
#define HWM_PLASTIC_IMPL_H

#include "plastic/controller.h"
#include "plastic/controller_config.h"

enum { HWM_LAYERS_MAX = HWM_CONFIG_LIST_MAX + 1, HWM_TERMS = 5 };
enum { HWM_CONNECTIONS_MAX = 2 * HWM_CONFIG_LIST_MAX + 1 };  // a recurrent one per hidden layer
#define HWM_NONE ((size_t)-1)

// One row per rule: what it needs and what can be done with it.
typedef struct hwm_rule_row {
    const char* name;
    bool planes;         // coefficients A..E in (P,Q,4) planes a, b, c, d
    bool old;            // factors of the previous update
    bool trace;          // eligibility trace (P,Q)
    bool network;        // small network instead of planes
    bool mixed;          // acts with W + alpha Hebb; planes W, alpha, eta; the state holds Hebb
    int naive;           // hwm_naive: constants drawn per episode instead of learned ones
    int modulator;       // hwm_modulator where the configuration says default
    bool output_action;  // post of the output layer where the configuration says default
    bool differentiable;
    bool invertible;  // W before the step follows from W after it (with a bound that can be undone)
} hwm_rule_row;
extern const hwm_rule_row hwm_rule_rows[HWM_RULE_KINDS];

// Offsets: *_f features of act, state or record (times HWM_LANES within a block); *_c reals of
// coef; *_p entries of phi. HWM_NONE or -1: not there.
//
// A layer, or the recurrent connections of one: post is the layer's, pre its own post of the
// previous step, which the state holds.
typedef struct hwm_layer {
    int P, Q;  // post and pre units
    bool plastic;
    char name[24];         // layer1, recurrent1
    int loop;              // of a layer: its recurrent connections in hwm_controller.layer, or -1
    size_t n;              // P * Q
    size_t pre_f, post_f;  // in act; pre_f of recurrent connections: post_f
    // in state
    size_t past_f;     // recurrent connections: pre (Q), activations of the previous step
    size_t w_f;        // W, or Hebb (P,Q)
    size_t w0_f;       // W_0 (P,Q): bound decay
    size_t trace_f;    // eligibility (P,Q)
    size_t theta_f;    // BCM threshold (P)
    size_t old_pre_f;  // pre (Q) and post (P) of the previous update
    size_t old_post_f;
    size_t sum_pre_f;  // sums over the averaging window
    size_t sum_post_f;
    // in record
    size_t m_f;        // scale of the bound (1)
    size_t rec_pre_f;  // old pre, old post before the step
    size_t rec_post_f;
    size_t rec_past_f;  // past before the step
    // in coef
    size_t rule_c;   // (P,Q,4) a, b, c, d, learning rate included; mixed: W, alpha, eta, 0
    size_t net_c;    // network: (units,5) weights of pre, post, W, reward, 1; then (units) outputs
                     // times the learning rate
    size_t w_c;      // W (P,Q) of a static layer, or the mean of W_0
    size_t mod_x_c;  // modulator's weights of x_0
    size_t mod_h_c;  // and of the last hidden layer
    // in phi
    int term_p[HWM_TERMS];  // A..E per synapse or layer
    int eta_p, w_p, mod_x_p, mod_h_p, which_p, net_in_p, net_out_p;
} hwm_layer;

struct hwm_controller {
    hwm_controller_config config;
    hwm_rule_config rule;
    const hwm_rule_row* row;
    int obs_dim, action_dim;
    bool discrete;
    bool output_action;     // post of the output layer is the action taken
    int modulator, naive;   // resolved
    hwm_real* obs_inverse;  // (obs_dim) 1 / scale

    int n_layers;       // of the network
    int n_connections;  // layers, and the recurrent connections behind them
    hwm_layer layer[HWM_CONNECTIONS_MAX];
    int inputs, outputs, activations, state_size, record_size;
    int n_parts;
    hwm_tensor_spec part[HWM_KEYS_MAX];  // tensors that tile the state, in order
    size_t reward_f;                     // in act: the reward, for modulators and the network rule
    size_t signal_f;                     // in act: M where the latent gives it
    // in state, for all layers
    size_t phase_f;     // decisions since the last update (1)
    size_t mean_f;      // running mean of the reward (1)
    size_t old_x_f;     // x_0 of the previous step (inputs)
    size_t rec_mean_f;  // in record: mean and old x_0 before the step
    size_t rec_old_x_f;
    size_t naive_f;  // hwm_naive in force (1), then constants of the episode (HWM_NAIVE_CONSTANTS)
    size_t coef_count;
    hwm_param_list params;
    int delta_p;   // input.delta_scale
    int latent_p;  // modulator.latent
    size_t latent_c;
    int unit_p[HWM_TERMS], unit_eta_p;      // A..E, eta per unit: granularity neuron
    int shared_p[HWM_TERMS], shared_eta_p;  // A..E, eta per rule: granularity shared
};

// Constants of a naive episode, features behind naive_f.
enum {
    HWM_NAIVE_ETA = 1,  // learning rate
    HWM_NAIVE_ALPHA,    // hebb: of pre post'
    HWM_NAIVE_BETA,     // hebb: of the noise
    HWM_NAIVE_RATE,     // bcm: of the threshold
    HWM_NAIVE_SEED,     // of the noise: two whole numbers below 2^24
    HWM_NAIVE_SEED_HIGH,
    HWM_NAIVE_STEP,  // of the episode, for the noise
    HWM_NAIVE_FEATURES
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

// Both halves of feature f of lanes x.
#define LO(x, f)  (*(hwm_v8*)((x) + (size_t)(f)*HWM_LANES))
#define HI(x, f)  (*(hwm_v8*)((x) + (size_t)(f)*HWM_LANES + 8))
#define CLO(x, f) (*(const hwm_v8*)((x) + (size_t)(f)*HWM_LANES))
#define CHI(x, f) (*(const hwm_v8*)((x) + (size_t)(f)*HWM_LANES + 8))

static inline hwm_real* hwm_feature(hwm_real* block, size_t f) {
    return block + f * HWM_LANES;
}
static inline const hwm_real* hwm_cfeature(const hwm_real* block, size_t f) {
    return block + f * HWM_LANES;
}
// What one block of a batch sees of an array of so many features.
static inline hwm_real* hwm_block(hwm_real* array, int b, int features) {
    return array + (size_t)b * (size_t)features * HWM_LANES;
}
static inline const hwm_real* hwm_cblock(const hwm_real* array, int b, int features) {
    return array + (size_t)b * (size_t)features * HWM_LANES;
}
// What the synapses of y read: activations x, or those of the previous step in state s.
static inline const hwm_real* hwm_pre(const hwm_layer* y, const hwm_real* x, const hwm_real* s) {
    return y->past_f == HWM_NONE ? hwm_cfeature(x, y->pre_f) : hwm_cfeature(s, y->past_f);
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
