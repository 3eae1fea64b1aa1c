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

typedef struct hwm_controller_config {
    hwm_int_list hidden;      // units of the hidden layers; empty: none
    hwm_string_list inputs;   // o, d, a, r, 1: the blocks of x_0 in order
    hwm_string_list plastic;  // all, last, none, or numbers of layers from 1
    int weights;              // hwm_weights: W_0 of plastic layers
    double weights_scale;     // s of the distribution
    bool weights_mean;        // the mean of W_0 is learned: an entry of phi
    int static_weights;       // hwm_weights: start of static layers
    double static_weights_scale;
    bool static_learned;  // false: static layers stay a fixed random projection
} hwm_controller_config;

typedef enum hwm_rule_kind { HWM_RULE_ABCD, HWM_RULE_MOD3 } hwm_rule_kind;
typedef enum hwm_granularity {
    HWM_PER_SYNAPSE,
    HWM_PER_NEURON,
    HWM_PER_LAYER,
    HWM_SHARED
} hwm_granularity;
typedef enum hwm_bound { HWM_BOUND_NONE, HWM_BOUND_CLIP, HWM_BOUND_MAX_NORM } hwm_bound;
typedef enum hwm_output_post {
    HWM_OUTPUT_DEFAULT,     // activation for abcd, action for mod3
    HWM_OUTPUT_ACTIVATION,  // a, what the controller wanted
    HWM_OUTPUT_ACTION,      // u, what was done
} hwm_output_post;

typedef struct hwm_rule_config {
    int kind;                           // hwm_rule_kind
    char terms[HWM_CONFIG_STRING_MAX];  // which of A, B, C, D, E exist
    int granularity;                    // hwm_granularity
    double eta;  // learning rate; the learned factor eta of a synapse starts at 1
    bool eta_learned;
    double phi_std;  // A..E ~ N(0, phi_std^2)
    double modulator_std;
    int bound;  // hwm_bound
    double w_max;
    int output_post;  // hwm_output_post
} hwm_rule_config;

extern const hwm_config_table hwm_controller_table;
extern const hwm_config_table hwm_rule_table;

#endif
