// A replay and a rollout loop inside one process: feeds the agent's updates without server and
// workers, for tests of learning.
#ifndef HWM_TESTS_LEARNER_LOCAL_H
#define HWM_TESTS_LEARNER_LOCAL_H

#include "agent.h"

typedef struct local local;

// One environment in eight is added and held out, for measuring.
local* local_create(hwm_agent* agent, int environments, int capacity_steps, uint64_t seed);
void local_destroy(local** l);
// One decision of every environment with the agent's present parameters; returns environment steps
// so far.
int64_t local_step(local* l);
double local_return_mean(const local* l);  // of the newest 20 episodes
// Batches as the sampler of the server would give them. Borrowed until the next call.
const hwm_sequences* local_model_batch(local* l);
// Fills the starts of the agent's imagination.
void local_starts(local* l);
// Mean return of `episodes` evaluation episodes; variant_sign: +1, -1 for that variant only, 0 any;
// freeze_at: no plasticity from that decision on (-1: never).
double local_evaluate(local* l, int episodes, uint64_t seed, float variant_sign, int freeze_at);
// Of the newest local_evaluate, as hwm_evaluate_score has it, m/s; NaN where there is no way to go.
double local_velocity(const local* l);
// Mean squared open-loop error of the model after k decisions in units of the one-step deltas' std,
// and that of "nothing changes", on held-out episodes: those of some environments more that are
// stepped along and that no update draws from.
void local_open_loop(local* l, int steps, int sequences, double* model, double* nothing);

#endif
