// Sequences: a batch of experience as arrays, what a world model is trained on and starts from.
#ifndef HWM_MODEL_SEQUENCES_H
#define HWM_MODEL_SEQUENCES_H

#include <stdint.h>

#include "base/real.h"

// N sequences of T rows each, of one episode or of several that followed each other; O observations
// in units of their fixed scale, A actions. Row t: o_t, the reward that arrived with it, the action
// taken after it. Rows are packed, (N,T,.) row-major.
typedef struct hwm_sequences {
    int n, length;
    int context;          // K transitions of the same episode per sequence; 0: none
    hwm_real* obs;        // (N,T,O)
    hwm_real* action;     // (N,T,A)
    hwm_real* reward;     // (N,T)
    hwm_real* first;      // (N,T) 1 at the first row of an episode
    hwm_real* terminal;   // (N,T) 1 where the episode truly ended
    hwm_real* valid;      // (N,T) 0: padding beyond the episode's end
    hwm_real* hindsight;  // (N,K,2O+A) o, u, o' - o
    // (N) where row 0 lies in the replay, for what is remembered of rows; NULL: nowhere
    uint64_t* stream;  // env << 32 | incarnation
    uint64_t* step;    // in the stream
} hwm_sequences;

#endif
