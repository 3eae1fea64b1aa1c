// Checkpoints of a run: parameters, optimisers, normalisers, the pool of rollouts and every
// counter, so that a resumed run goes on where it was.
//
// LAYOUT  RUN_DIR/checkpoints/{latest,previous,best,step-N}/ with controller.safetensors,
// model.safetensors,
//   critic.safetensors, training.safetensors (optimisers, slow critic, pool, normalisers) and
//   state.json (counters, and the CRC-32C of every file).
// ATOMIC  Written under a temporary name, every file and the directory synced, then renamed; what
// was `latest` becomes
//   `previous`. A `latest` that is missing or corrupt falls back to `previous`.
#ifndef HWM_LEARNER_CHECKPOINT_H
#define HWM_LEARNER_CHECKPOINT_H

#include "agent.h"

// What is not in the agent.
typedef struct hwm_progress_state {
    uint64_t version, draws;
    int64_t env_steps, updates;
    double wall_s;     // training time of all sessions of this run
    double best_mean;  // of evaluation; -INFINITY: none yet
    int64_t best_env_steps, best_updates;
    int64_t eval_env_steps;        // simulated for evaluation so far, never trained on
    int64_t stop_streak;           // evaluations in a row at stop_return
    int64_t last_step_checkpoint;  // env_steps of the last step-N
    int64_t rounds;                // schedule: rounds. Rounds whose updates are all done
} hwm_progress_state;

// name: latest, best or step-N. HWM_EFULL, HWM_EIO: the previous one of that name is untouched.
hwm_status hwm_checkpoint_save(const char* run_dir, const char* name, hwm_agent* agent,
                               const hwm_progress_state* state, hwm_error* err);
// Loads latest, or previous where latest does not load (logged). HWM_ENOTFOUND: this run has none.
// HWM_ESIGNATURE: made with other settings, err names the tensor. HWM_ECORRUPT: neither loads.
hwm_status hwm_checkpoint_resume(const char* run_dir, hwm_agent* agent, hwm_progress_state* state,
                                 hwm_error* err);
// One directory. The agent is undefined where this fails half way.
hwm_status hwm_checkpoint_load(const char* dir, hwm_agent* agent, hwm_progress_state* state,
                               hwm_error* err);

#endif
