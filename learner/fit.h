// data path  [8] learner: the network rule, fitted to naive rollouts
//
// Stage 2 of learning a rule: g_phi(pre, post, W, running mean of the reward) is trained to predict
// the dW of naive episodes (structured random Hebbian updates, Oja, BCM, whose constants are drawn
// anew in every episode), so that imagination starts from a rule that is one already. What can be
// predicted without knowing an episode's constants is their mean; how much that is, held-out
// episodes say, beside predicting zero.
#ifndef HWM_LEARNER_FIT_H
#define HWM_LEARNER_FIT_H

#include "experiment/experiment.h"
#include "plastic/controller.h"

typedef struct hwm_fit_report {
    double error;    // mean squared error of dW on held-out episodes
    double zero;     // the same of predicting 0
    double updates;  // of Adam
    int64_t samples, held_out;
} hwm_fit_report;

// Plays naive episodes of experiment->rule.naive with the experiment's controller, fits the network
// of every plastic layer for so many updates and writes them into phi (floats, the controller's
// order); everything else in phi stays. HWM_EINVAL: rule.kind is not network, or rule.naive none.
hwm_status hwm_fit_rule(const hwm_experiment* experiment, int64_t updates, float* phi,
                        hwm_fit_report* report, hwm_error* err);

#endif
