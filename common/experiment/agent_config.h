// Sections "agent" and "evolution": who acts and learns in an experiment.
#ifndef HWM_EXPERIMENT_AGENT_CONFIG_H
#define HWM_EXPERIMENT_AGENT_CONFIG_H

#include "base/config.h"

typedef enum hwm_agent_kind {
    HWM_AGENT_HWM,      // a plastic controller whose rule is optimised in imagination
    HWM_AGENT_ES,       // the same controller and rule, optimised by an evolution strategy
    HWM_AGENT_DREAMER,  // a recurrent agent that chooses actions; the controller takes no part
    HWM_AGENT_RANDOM,   // the same controller, its weights changed at random; nothing is learned
} hwm_agent_kind;

typedef struct hwm_agent_config {
    int kind;  // hwm_agent_kind
    // imagination.mode latent and agent.kind random: how u stands for dW
    int parametrisation;  // hwm_delta_kind
    int64_t basis, rank;
    bool see_hidden;     // the agent sees the activations of hidden layers too
    double view_reward;  // share of the reward that is predicted from the view of W alone
    // imagination.mode latent and agent.kind dreamer: training
    int64_t lr_warmup_updates;
    double free_nats, replay_value;
} hwm_agent_config;
extern const hwm_config_table hwm_agent_table;

typedef enum hwm_evolution_optimiser {
    HWM_EVOLUTION_SGD,
    HWM_EVOLUTION_ADAM
} hwm_evolution_optimiser;

// Generation g uses sigma = max(sigma_min, sigma * sigma_decay^g), and lr in the same way.
typedef struct hwm_evolution_config {
    int64_t population;  // individuals of a generation, in antithetic pairs
    int64_t episodes;    // of each individual, the same ones for all of a generation
    double sigma, sigma_decay, sigma_min;
    double lr, lr_decay, lr_min;
    int optimiser;             // hwm_evolution_optimiser
    double penalty;            // of the mean square of the learned parameters, off the fitness
    int64_t task_individuals;  // evaluated under one lease
} hwm_evolution_config;
extern const hwm_config_table hwm_evolution_table;

#endif
