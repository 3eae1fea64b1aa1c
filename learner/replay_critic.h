// data path  [8] learner: critic, what it learns from replayed rewards
//
// Consecutive starts of one sequence are replayed rows, and from each of them imagination knows a
// return. Along them, with what was really earned in between (source: Hafner et al. 2023,
// arXiv:2301.04104, the replay loss of the later public agent):
//
//   R_i = (1 - gamma) r_{i+1} + gamma c_{i+1} ((1 - lambda) V(z_{i+1}) + lambda R_{i+1})
//   R of the last start of a sequence: the imagined return from there, or V where its rollout went
//   on from the previous imagination instead
//
// r and c = 1 - terminal are the replay's. V: the slow copy, in the range of the reward. Its
// gradient ends at the critic: world model and behaviour are separate sets.
#ifndef HWM_LEARNER_REPLAY_CRITIC_H
#define HWM_LEARNER_REPLAY_CRITIC_H

#include "imagination.h"

typedef struct hwm_replay_critic hwm_replay_critic;
// setup: as imagination's. Caller owns, free with hwm_replay_critic_destroy; NULL: no memory.
hwm_replay_critic* hwm_replay_critic_new(const hwm_imagination_setup* setup);
void hwm_replay_critic_free(hwm_replay_critic** replay);
// Before some of the starts are replaced by continued rollouts.
void hwm_replay_critic_take(hwm_replay_critic* replay, const hwm_starts* starts);
// After the rollouts: a batch of B rows, those without a successor with weight 0. Borrowed until
// the next call. Uses imagination's tape.
hwm_critic_batch hwm_replay_critic_batch(hwm_replay_critic* replay, hwm_imagination* imagination,
                                         double scale);

#endif
