// Sections "controller" and "rule" of an experiment.
#ifndef HWM_PLASTIC_CONTROLLER_CONFIG_H
#define HWM_PLASTIC_CONTROLLER_CONFIG_H

#include "base/config.h"

// How W_0 of a plastic layer is drawn in every episode, and how a static layer starts.
#define HWM_WEIGHTS_CHOICES "uniform|normal|xavier|kaiming|sparse|ones|zeros|default"
typedef enum hwm_weights {
    HWM_WEIGHTS_UNIFORM,  // U(-s, s)
    HWM_WEIGHTS_NORMAL,   // N(0, s^2)
    HWM_WEIGHTS_XAVIER,   // U(-b, b), b = s sqrt(6 / (fan_in + fan_out))
    HWM_WEIGHTS_KAIMING,  // U(-b, b), b = sqrt(6 / ((1 + s^2) fan_in)): s is the slope a
    HWM_WEIGHTS_SPARSE,   // N(0, 0.01^2), of which a share s of every input's synapses is 0
    HWM_WEIGHTS_ONES,
    HWM_WEIGHTS_ZEROS,
    HWM_WEIGHTS_DEFAULT,  // U(-b, b), b = 1 / sqrt(fan_in)
} hwm_weights;

typedef enum hwm_cell {
    HWM_CELL_MLP,        // x_l = tanh(W_l x_{l-1})
    HWM_CELL_RECURRENT,  // hidden layers: x_l = tanh(W_l x_{l-1} + R_l x_l of the previous step)
} hwm_cell;

typedef struct hwm_controller_config {
    int cell;                 // hwm_cell
    hwm_int_list hidden;      // units of the hidden layers; empty: none
    hwm_string_list inputs;   // o, d, a, r, 1: the blocks of x_0 in order
    hwm_string_list plastic;  // all, last, recurrent, none, or numbers of layers from 1
    int weights;              // hwm_weights: W_0 of plastic layers
    double weights_scale;     // s of the distribution
    bool weights_mean;        // the mean of W_0 is learned: an entry of phi
    int static_weights;       // hwm_weights: start of static layers
    double static_weights_scale;
    bool static_learned;  // false: static layers stay a fixed random projection
} hwm_controller_config;

// Order as in the table of rules (rules.h).
#define HWM_RULE_CHOICES "abcd|mod3|shifted|trace|network|hebb|oja|bcm|miconi"
typedef enum hwm_rule_kind {
    HWM_RULE_ABCD,
    HWM_RULE_MOD3,
    HWM_RULE_SHIFTED,
    HWM_RULE_TRACE,
    HWM_RULE_NETWORK,
    HWM_RULE_HEBB,
    HWM_RULE_OJA,
    HWM_RULE_BCM,
    HWM_RULE_MICONI,
    HWM_RULE_KINDS
} hwm_rule_kind;
typedef enum hwm_granularity {
    HWM_PER_SYNAPSE,
    HWM_PER_NEURON,
    HWM_PER_LAYER,
    HWM_SHARED
} hwm_granularity;
typedef enum hwm_bound {
    HWM_BOUND_NONE,
    HWM_BOUND_CLIP,
    HWM_BOUND_MAX_NORM,
    HWM_BOUND_DECAY
} hwm_bound;
typedef enum hwm_output_post {
    HWM_OUTPUT_DEFAULT,     // action for mod3, activation for the others
    HWM_OUTPUT_ACTIVATION,  // a, what the controller wanted
    HWM_OUTPUT_ACTION,      // u, what was done
} hwm_output_post;
typedef enum hwm_modulator {
    HWM_MODULATOR_DEFAULT,     // linear for mod3 and trace, reward for miconi, none for the others
    HWM_MODULATOR_NONE,        // M = 1
    HWM_MODULATOR_LINEAR,      // M = tanh(m_x . x_0 + m_h . h), h the last hidden layer
    HWM_MODULATOR_UNIT,        // M = h_0, the first unit of the last hidden layer
    HWM_MODULATOR_REWARD,      // M = r - r_mean, r_mean a running mean
    HWM_MODULATOR_PREDICTION,  // M = tanh(r - m_x . x_0'), x_0' of the previous step
    HWM_MODULATOR_LATENT,      // M = tanh(m . z), z the latent of the world model
} hwm_modulator;
typedef enum hwm_naive { HWM_NAIVE_NONE, HWM_NAIVE_HEBB, HWM_NAIVE_OJA, HWM_NAIVE_BCM } hwm_naive;

typedef struct hwm_rule_config {
    int kind;                           // hwm_rule_kind
    char terms[HWM_CONFIG_STRING_MAX];  // which of A, B, C, D, E exist
    int granularity;                    // hwm_granularity
    int64_t shared_rules;               // granularity shared: how many
    double eta;                         // learning rate; its learned factor starts at 1
    bool eta_learned;
    double phi_std;  // A..E ~ N(0, phi_std^2)
    int modulator;   // hwm_modulator
    double modulator_std;
    double reward_rate;  // of the running mean of the reward
    double trace_decay;  // of the eligibility trace
    double oja;          // W also shrinks by oja * post^2 in every update
    int64_t units;       // of the network rule
    int bound;           // hwm_bound
    double w_max;
    double decay;          // bound decay: share of the way back to W_0 in every update
    int64_t update_every;  // decisions
    int64_t average;       // factors are means over the last so many decisions before an update
    int output_post;       // hwm_output_post
    int naive;             // hwm_naive: a second, random rule that a whole episode may follow
    int latent;  // numbers in the latent that modulator latent reads; no key: the experiment knows
} hwm_rule_config;

extern const hwm_config_table hwm_controller_table;
extern const hwm_config_table hwm_rule_table;

#endif
