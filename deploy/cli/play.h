// Playing episodes of a checkpoint row by row, as evaluation does, for whoever wants to look
// inside: plots, films, traces.
#ifndef HWM_CLI_PLAY_H
#define HWM_CLI_PLAY_H

#include "judge.h"
#include "plastic/rollout.h"

enum { HWM_PLAY_EPISODES_MAX = 64 };

typedef struct hwm_play_request {
    uint64_t seed;
    int episodes;  // at most HWM_PLAY_EPISODES_MAX: they run side by side, and are those of
                   // hwm_evaluate with this seed
    int64_t freeze_at, reset_at;  // decisions; -1: never
    int variant;                  // -1: by chance
    int64_t decisions_max;        // of an episode; 0: to its end
} hwm_play_request;
hwm_play_request hwm_play_default_request(void);

// Called for every row, after the action is chosen and before the plastic step. r->flags[i] says
// where episode i stands; ended episodes are idle. Return false to stop.
typedef bool hwm_play_visit(void* context, const hwm_rollout* r, int64_t row);

hwm_status hwm_play(const hwm_checkpoint* checkpoint, const hwm_play_request* request,
                    hwm_play_visit* visit, void* context, hwm_error* err);

#endif
