#include "experiment/agent_config.h"

#include <stddef.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const hwm_config_field agent_fields[] = {
    {"kind", HWM_CONFIG_ENUM, offsetof(hwm_agent_config, kind), "hwm", 0, 0, "hwm|es",
     "what learns: hwm, the rule in imagination; es, the rule by evolution (section evolution)"},
};
const hwm_config_table hwm_agent_table = {"agent", "who acts and learns", agent_fields,
                                          COUNT(agent_fields)};

#define ES(field)      #field, HWM_CONFIG_INT, offsetof(hwm_evolution_config, field)
#define ES_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_evolution_config, field)
static const hwm_config_field evolution_fields[] = {
    {ES(population), "200", 2, 16384, NULL,
     "individuals of a generation, an even number: antithetic pairs"},
    {ES(episodes), "1", 1, 10000, NULL,
     "episodes of each individual, the same ones for all individuals of a generation"},
    {ES_REAL(sigma), "0.1", 1e-6, 100, NULL, "std of the perturbations"},
    {ES_REAL(sigma_decay), "0.999", 0.5, 1, NULL, "... times this after every generation"},
    {ES_REAL(sigma_min), "0.01", 1e-6, 100, NULL, "... never below this"},
    {ES_REAL(lr), "0.2", 1e-9, 100, NULL, "learning rate"},
    {ES_REAL(lr_decay), "0.995", 0.5, 1, NULL, "... times this after every generation"},
    {ES_REAL(lr_min), "0.001", 0, 100, NULL, "... never below this"},
    {"optimiser", HWM_CONFIG_ENUM, offsetof(hwm_evolution_config, optimiser), "sgd", 0, 0,
     "sgd|adam", "what applies the estimated gradient"},
    {ES_REAL(penalty), "0.01", 0, 1000, NULL,
     "fitness = mean return - penalty * mean square of the learned parameters"},
    {ES(task_individuals), "8", 1, 256, NULL, "individuals that a worker leases at once"},
};
const hwm_config_table hwm_evolution_table = {
    "evolution", "agent.kind es: antithetic evolution strategy with centred ranks",
    evolution_fields, COUNT(evolution_fields)};
