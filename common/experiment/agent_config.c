#include "experiment/agent_config.h"

#include <stddef.h>

#include "plastic/delta.h"

#define AGENT(field)      #field, HWM_CONFIG_INT, offsetof(hwm_agent_config, field)
#define AGENT_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_agent_config, field)
#define COUNT(a)          ((int)(sizeof(a) / sizeof((a)[0])))

static const hwm_config_field agent_fields[] = {
    {"kind", HWM_CONFIG_ENUM, offsetof(hwm_agent_config, kind), "hwm", 0, 0,
     "hwm|es|dreamer|random",
     "who learns: hwm, the rule in imagination, or (imagination.mode latent) an agent that changes "
     "the weights; es, the rule by evolution; dreamer, a recurrent agent on raw actions; random, "
     "nobody: the weights change at random"},
    {"parametrisation", HWM_CONFIG_ENUM, offsetof(hwm_agent_config, parametrisation), "direct", 0,
     0, HWM_DELTA_CHOICES,
     "what an agent that changes weights chooses: every dW, numbers for fixed random bases, four "
     "terms per layer, one number per neuron, or low-rank factors"},
    {AGENT(basis), "12", 1, 4096, NULL, "parametrisation basis: how many"},
    {AGENT(rank), "1", 1, 16, NULL, "parametrisation lowrank: its rank, per layer"},
    {"see_hidden", HWM_CONFIG_BOOL, offsetof(hwm_agent_config, see_hidden), "false", 0, 0, NULL,
     "an agent that changes weights sees the hidden layers' activations too"},
    {AGENT_REAL(view_reward), "0", 0, 1, NULL,
     "share of the imagined reward that a head on the view of the weights predicts"},
    {AGENT(lr_warmup_updates), "1000", 0, 1e9, NULL,
     "recurrent agents: the learning rates rise to model.lr and train.lr over so many updates"},
    {AGENT_REAL(free_nats), "1", 0, 100, NULL, "recurrent agents: of the latents, per step"},
    {AGENT_REAL(replay_value), "0.3", 0, 10, NULL,
     "recurrent agents: weight of the critic's loss on replayed rewards"},
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
