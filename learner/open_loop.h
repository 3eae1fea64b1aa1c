// data path  [8] learner: what the world model knows
//
// Measured on sequences that the present parameters did not choose.
#ifndef HWM_LEARNER_OPEN_LOOP_H
#define HWM_LEARNER_OPEN_LOOP_H

#include "agent.h"

enum { HWM_OPEN_LOOP_HORIZONS = 3, HWM_OPEN_LOOP_STEPS = 15 };
extern const int hwm_open_loop_horizon[HWM_OPEN_LOOP_HORIZONS];

typedef struct hwm_open_loop {
    // Open loop: the model reads what leads up to a start, then follows the recorded actions with
    // no look at what came. Errors per observation dimension in units of the one-step deltas' std,
    // mean square: after 1, 5 and 15 decisions, beside those of "nothing changes".
    double* model[HWM_OPEN_LOOP_HORIZONS];    // (O)
    double* nothing[HWM_OPEN_LOOP_HORIZONS];  // (O)
    double reward[HWM_OPEN_LOOP_HORIZONS];    // mean squared error of the reward
    // Context: mean squared distance of what two halves of an episode's transitions say, in units
    // of its variance over episodes; 2 where it knows nothing of the episode. NaN: the model has
    // none.
    double context;
    // Continue: mean prediction where the episode truly ended and where it went on; calibration:
    // mean over ten bins of prediction, weighted by how many fall into each, of |prediction -
    // frequency|. One step ahead, as rewards below. NaN where there was nothing of the kind.
    double continue_at_terminals, continue_elsewhere, continue_calibration;
    double reward_bias;     // mean prediction - mean reward
    double reward_missing;  // share of the rewards' variance that is not predicted
    bool known;
} hwm_open_loop;
hwm_open_loop* hwm_open_loop_new(int obs);  // NULL: no memory
void hwm_open_loop_free(hwm_open_loop** open_loop);

// Rows of each sequence that measuring wants; their number must be a multiple of the members and
// not more than the agent's rollouts. Best with a good share that ends in a terminal.
int hwm_open_loop_length(const hwm_agent* agent);
// Into agent->open_loop.
void hwm_open_loop_measure(hwm_agent* agent, const hwm_sequences* sequences);

#endif
