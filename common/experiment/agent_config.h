// Sections "agent" and "evolution": who acts and learns in an experiment.
#ifndef HWM_EXPERIMENT_AGENT_CONFIG_H
#define HWM_EXPERIMENT_AGENT_CONFIG_H

#include "base/config.h"

typedef enum hwm_agent_kind {
    HWM_AGENT_HWM,  // a plastic controller whose rule is optimised in imagination
    HWM_AGENT_ES,   // the same controller and rule, optimised by an evolution strategy
} hwm_agent_kind;

typedef struct hwm_agent_config {
    int kind;  // hwm_agent_kind
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
