// Dump of a batch that could not be learned from, for whoever has to find out why: one safetensors
// file that Python's `safetensors` reads too, with the reason in its metadata.
//
//   sequences  obs (N,T,O)  action (N,T,A)  reward, first, terminal, valid (N,T)
//              hindsight (N,K,2O+A), of a model with a context
//   starts     the rows they were made of, as above, and z (B,Z)  state (B,S)  previous_obs (B,O)
//              previous_action (B,A)  previous_reward, is_first, alive, fresh, age (B)
//   latent     obs (T,N,O)  action (T,N,A)  reward, keep, cont, weight, last (T,N)
#ifndef HWM_LEARNER_DUMP_H
#define HWM_LEARNER_DUMP_H

#include "agent.h"
#include "model/sequences.h"

enum { HWM_DUMP_PATH_MAX = 4096 };

// Where it goes and why. The file is RUN_DIR/dumps/KIND-UPDATE.safetensors; the folder is made when
// it is not there.
typedef struct hwm_dump {
    const char* run_dir;
    int64_t update;
    const char* why;
    char path[HWM_DUMP_PATH_MAX];  // out: of the file
} hwm_dump;

// HWM_EIO, HWM_EFULL: nothing was written. HWM_ENOMEM.
hwm_status hwm_dump_sequences(hwm_dump* dump, const hwm_env_spec* spec, const hwm_sequences* s,
                              hwm_error* err);
// starts (rows->n) of the agent's imagination, z as far as it is known.
hwm_status hwm_dump_starts(hwm_dump* dump, const hwm_agent* agent, const hwm_sequences* rows,
                           hwm_error* err);
hwm_status hwm_dump_latent(hwm_dump* dump, const struct hwm_latent* latent, hwm_error* err);

#endif
