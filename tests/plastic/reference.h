// A plain double-precision controller, one sample at a time, written from the formulas alone: what
// the kernels are checked against. Reads phi by the names of its entries.
#ifndef TEST_PLASTIC_REFERENCE_H
#define TEST_PLASTIC_REFERENCE_H

#include "plastic/controller.h"
#include "plastic/controller_config.h"

enum { REF_LAYERS_MAX = 6, REF_UNITS_MAX = 16, REF_SYNAPSES_MAX = REF_UNITS_MAX * REF_UNITS_MAX };

typedef struct ref_layer {
    int P, Q;
    bool plastic;
    char name[24];
    int pre, post;               // index of x: layers that are read and written
    double past[REF_UNITS_MAX];  // recurrent: post of the previous step
    double w[REF_SYNAPSES_MAX];
    double w0[REF_SYNAPSES_MAX], trace[REF_SYNAPSES_MAX];
    double old_pre[REF_UNITS_MAX], old_post[REF_UNITS_MAX];
    double mean_pre[REF_UNITS_MAX], mean_post[REF_UNITS_MAX], theta[REF_UNITS_MAX];
    const double *m_x, *m_h, *net_in, *net_out, *fixed;  // entries of phi
    double term[6][REF_SYNAPSES_MAX];  // A..E, eta of every synapse, whatever it is shared with
} ref_layer;

typedef struct ref_controller {
    const hwm_controller_config* config;
    const hwm_rule_config* rule;
    const hwm_param_list* params;
    const double* phi;
    int n_layers, inputs, outputs;
    int n_all;  // layers, then the recurrent connections of the hidden ones
    ref_layer layer[REF_LAYERS_MAX];
    double phase, reward_mean, old_x[REF_UNITS_MAX], naive[8];
    double reward;                                // that came with the current observation
    const double* z;                              // latent that goes with it; modulator latent
    double x[REF_LAYERS_MAX + 1][REF_UNITS_MAX];  // activations of the current step
    double m[REF_LAYERS_MAX];                     // scale of the bound in the last step
} ref_controller;

// inputs: features of x_0; plastic[l] != 0: layer l, or behind the layers its recurrent
// connections, change.
void ref_init(ref_controller* r, const hwm_controller_config* config, const hwm_rule_config* rule,
              const hwm_param_list* params, const double* phi, int inputs, int outputs,
              const int* plastic);
// State in the order of hwm_controller_keys; everything else that a step leaves behind is cleared.
void ref_set_state(ref_controller* r, const double* state);
int ref_get_state(const ref_controller* r, double* state);
// The factor M of layer l's update; mean_before: of the reward, before the step.
double ref_modulator(const ref_controller* r, int l, double mean_before);
void ref_act(ref_controller* r, const double* x0, double reward);
// One plastic step; frozen_m (plastic layers) replaces the computed scale of max_norm: a scale
// without gradient. NULL: computed.
void ref_learn(ref_controller* r, const double* u, const double* frozen_m);

#endif
