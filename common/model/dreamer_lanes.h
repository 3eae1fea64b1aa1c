// Inside the dreamer: its update in lanes.
//
// An update's work is cut into lanes, whose sizes depend on the configuration only: some sequences
// of the batch each (world model, value of replayed rows), and some rows of imagination each
// (rollout, policy and value). A lane runs on one thread, on a tape of its own, with gradients of
// its own, so that threads meet only between the phases and a lane's numbers stay in the cache.
// Gradients are summed in the order of the lanes: the result does not depend on the threads.
#ifndef HWM_MODEL_DREAMER_LANES_H
#define HWM_MODEL_DREAMER_LANES_H

#include "model/dreamer.h"

enum { HWM_HORIZON_MAX = 64 };

// Numbers of all imagined rows.
typedef struct hwm_dream {
    int H, N;
    hwm_real *reward, *cont, *V, *slow, *weight;  // (H+1,N)
    hwm_real* R;                                  // (H,N)
    hwm_real *noise, *draws;                      // (H,N,A), (H,N,S) of actions and states
    double scale;                                 // that returns are divided by
} hwm_dream;

// The networks as values of one tape.
typedef struct hwm_networks {
    hwm_rssm_vars model;
    hwm_head_vars policy, value, slow, view;
} hwm_networks;

typedef struct hwm_lane {
    hwm_dreamer* d;
    nn_tape* tape;
    hwm_real *model_grad, *behaviour_grad;  // NULL: this kind of lane has none
    bool owner;                             // of the gradients
    int from, n;                            // sequences, or imagined rows
    hwm_networks net;
    hwm_dreamer_losses losses;  // means over its rows
    // a lane of sequences
    hwm_rssm_batch batch;
    hwm_rssm_unrolled u;
    // a lane of imagined rows
    nn_var policy[HWM_HORIZON_MAX], value[HWM_HORIZON_MAX], action[HWM_HORIZON_MAX];
    nn_section step[HWM_HORIZON_MAX];
} hwm_lane;

struct hwm_dreamer {
    hwm_dreamer_config config;
    hwm_rssm rssm;
    hwm_head policy, value, view;
    nn_params *model, *behaviour, *slow;  // slow: policy part unused
    nn_optim *model_optim, *behaviour_optim;
    nn_tape* tape;     // of what all lanes share: prepared weights, the dream's numbers
    hwm_real* sorted;  // scratch for percentiles
    double range[3];   // EMA of the 5th and 95th percentile of returns; updates of those averages
    int starts;        // rows of imagination
    hwm_networks net;
    hwm_dream dream;
    const hwm_rssm_batch* batch;  // of the update at work
    const hwm_real* last;
    hwm_lane* lane;  // those of sequences first
    int sequence_lanes, dream_lanes;
};

hwm_status hwm_lanes_create(hwm_dreamer* d);
void hwm_lane_close(hwm_lane* lane);
// Zero gradients, networks bound to the shared tape, weights prepared.
void hwm_lanes_begin(hwm_dreamer* d, const hwm_rssm_batch* b, const hwm_real* last);
// Forward: posteriors and losses of sequences; then imagination, which starts from the posteriors
// of all of them. Backward, in any order: what was recorded, with what the whole dream says.
void hwm_lane_observe(hwm_lane* lane);
// Where the posterior of row t of sequence n is: row of lane->u
size_t hwm_lanes_row(const hwm_dreamer* d, int t, int n, const hwm_lane** lane);
void hwm_lane_imagine(hwm_lane* lane);
void hwm_lane_learn_sequences(hwm_lane* lane);
void hwm_lane_learn_dream(hwm_lane* lane);

#endif
