// Tables of the sections "controller" and "rule".
#include "plastic/controller_config.h"

#define FIELD(type, field, text, lo, hi, options, help)                                            \
    { #field, type, offsetof(STRUCT, field), text, lo, hi, options, help }
#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

#define STRUCT hwm_controller_config
static const hwm_config_field controller_fields[] = {
    FIELD(HWM_CONFIG_ENUM, cell, "mlp", 0, 0, "mlp|recurrent",
          "recurrent: every hidden layer also reads its own activations of the previous step"),
    FIELD(HWM_CONFIG_INTS, hidden, "[16]", 1, 4096, NULL,
          "units of the hidden layers; [] connects inputs and outputs directly"),
    FIELD(HWM_CONFIG_STRINGS, inputs, "[o]", 0, 0, "o|d|a|r|1",
          "blocks of the input: o observation, d its change in units of delta_scale, a previous "
          "action, r previous reward, 1 a constant"),
    FIELD(HWM_CONFIG_STRINGS, plastic, "[all]", 0, 0, NULL,
          "plastic connections: all, last, none, recurrent (those of cell recurrent), or numbers "
          "of layers from 1; the others are static"),
    FIELD(HWM_CONFIG_ENUM, weights, "uniform", 0, 0, HWM_WEIGHTS_CHOICES,
          "distribution of the initial weights of plastic layers, drawn in every episode"),
    FIELD(HWM_CONFIG_REAL, weights_scale, "0.1", 0, 100, NULL,
          "scale of weights: half width, deviation, gain, slope or sparsity"),
    FIELD(HWM_CONFIG_BOOL, weights_mean, "false", 0, 0, NULL,
          "initial weights are drawn around a mean of their own: learned with the rule; beside an "
          "agent that changes weights fixed hidden layers, drawn once like static_weights"),
    FIELD(HWM_CONFIG_ENUM, static_weights, "xavier", 0, 0, HWM_WEIGHTS_CHOICES,
          "distribution that static layers start from"),
    FIELD(HWM_CONFIG_REAL, static_weights_scale, "1", 0, 100, NULL, "scale of static_weights"),
    FIELD(HWM_CONFIG_BOOL, static_learned, "true", 0, 0, NULL,
          "learn static layers; false keeps them a fixed random projection"),
};
#undef STRUCT
const hwm_config_table hwm_controller_table = {"controller", "the plastic network that acts",
                                               controller_fields, COUNT(controller_fields)};

#define STRUCT hwm_rule_config
static const hwm_config_field rule_fields[] = {
    FIELD(HWM_CONFIG_ENUM, kind, "abcd", 0, 0, HWM_RULE_CHOICES,
          "abcd: factors of the same step; mod3: of the previous step times a modulator of this "
          "one; shifted: post "
          "of the previous step; trace: an eligibility trace times a modulator; network: a small "
          "network of pre, "
          "post, W and reward; hebb, oja, bcm: naive, with constants drawn per episode; "
          "miconi: fixed W + alpha Hebb, Hebb a decaying trace of M pre*post, alpha is term A"),
    FIELD(HWM_CONFIG_STRING, terms, "ABCD", 1, 5, NULL,
          "coefficients of the rule: A pre*post, B pre, C post, D constant, E constant outside "
          "the learning rate"),
    FIELD(HWM_CONFIG_ENUM, granularity, "synapse", 0, 0, "synapse|neuron|layer|shared",
          "what has coefficients of its own; neuron: products and means of those of pre and post; "
          "shared: "
          "shared_rules rules, every synapse follows one"),
    FIELD(HWM_CONFIG_INT, shared_rules, "8", 1, 4096, NULL, "rules of granularity shared"),
    FIELD(HWM_CONFIG_REAL, eta, "0.1", 0, 10, NULL, "learning rate of the weights, per update"),
    FIELD(HWM_CONFIG_BOOL, eta_learned, "true", 0, 0, NULL,
          "learn a factor on eta beside the coefficients"),
    FIELD(HWM_CONFIG_REAL, phi_std, "0.1", 0, 10, NULL,
          "standard deviation of the coefficients at the start"),
    FIELD(HWM_CONFIG_ENUM, modulator, "default", 0, 0,
          "default|none|linear|unit|reward|prediction|latent",
          "factor M on the update: none; linear: tanh of weighted inputs and hidden units; unit: "
          "the first hidden "
          "unit; reward: above its running mean; prediction: error of a learned reward prediction; "
          "latent: tanh of the world model's weighted latent, which workers follow as well "
          "(model.kind rssm); "
          "default: linear for mod3 and trace, reward for miconi, none for the others"),
    FIELD(HWM_CONFIG_REAL, modulator_std, "0.3", 0, 10, NULL,
          "standard deviation of the modulator's weights at the start; latent: over the root of "
          "their number"),
    FIELD(HWM_CONFIG_REAL, reward_rate, "0.1", 0, 1, NULL,
          "how fast the running mean of the reward follows, per decision"),
    FIELD(HWM_CONFIG_REAL, trace_decay, "0.9", 0, 1, NULL,
          "what is left of the eligibility trace after an update"),
    FIELD(HWM_CONFIG_REAL, oja, "0", 0, 0.5, NULL,
          "weights also shrink by oja * post^2 (at most by half) in every update"),
    FIELD(HWM_CONFIG_INT, units, "8", 1, 64, NULL, "hidden units of the network rule"),
    FIELD(HWM_CONFIG_ENUM, bound, "max_norm", 0, 0, "none|clip|max_norm|decay",
          "none; clip each weight; divide a layer by its largest weight over w_max; decay to W_0"),
    FIELD(HWM_CONFIG_REAL, w_max, "3", 1e-3, 1e6, NULL,
          "largest weight that clip or max_norm allow"),
    FIELD(HWM_CONFIG_REAL, decay, "0.01", 0, 0.9, NULL,
          "share of the way back to W_0 in every update"),
    FIELD(HWM_CONFIG_INT, update_every, "1", 1, 1000, NULL, "decisions between two updates"),
    FIELD(HWM_CONFIG_INT, average, "1", 1, 1000, NULL,
          "pre and post are means over so many decisions; at most update_every"),
    FIELD(HWM_CONFIG_ENUM, output_post, "default", 0, 0, "default|activation|action",
          "post-synaptic factor of the output layer: what the controller wanted or what was done; "
          "default: action for mod3, activation for the others"),
    FIELD(HWM_CONFIG_ENUM, naive, "none", 0, 0, "none|hebb|oja|bcm",
          "random rule that prefill episodes follow instead (worker.prefill); its state is part of "
          "every chunk"),
};
#undef STRUCT
const hwm_config_table hwm_rule_table = {"rule", "how plastic weights change at every step",
                                         rule_fields, COUNT(rule_fields)};
