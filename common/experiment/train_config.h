// Sections "imagination", "train" and "evaluation": how the behaviour is optimised and judged.
#ifndef HWM_EXPERIMENT_TRAIN_CONFIG_H
#define HWM_EXPERIMENT_TRAIN_CONFIG_H

#include "base/config.h"

typedef enum hwm_imagination_mode {
    HWM_IMAGINATION_EXPLICIT,
    HWM_IMAGINATION_LATENT
} hwm_imagination_mode;

typedef enum hwm_gradient_kind { HWM_GRADIENT_PATHWISE, HWM_GRADIENT_REINFORCE } hwm_gradient_kind;
typedef enum hwm_normalise { HWM_NORMALISE_NONE, HWM_NORMALISE_PERCENTILE } hwm_normalise;
typedef enum hwm_critic_kind { HWM_CRITIC_PLAIN, HWM_CRITIC_TWOHOT } hwm_critic_kind;

typedef struct hwm_imagination_config {
    int mode;         // hwm_imagination_mode
    int gradient;     // hwm_gradient_kind
    int normalise;    // hwm_normalise
    int64_t batch;    // B rollouts
    int64_t horizon;  // H steps
    // where rollouts begin; what remains starts at replayed states with their stored weights
    double fraction_continued;  // probability that a rollout goes on from the previous imagination
    int64_t continued_age_steps;  // ... until it is so old
    bool keep_first;        // rollouts at first observations are never replaced by continued ones
    double fraction_first;  // share of the new starts: recorded first observations, fresh W_0
    int64_t starts_per_sequence;  // of one sampled sequence: its last rows
    double fraction_fresh;        // share of the other new starts that take a fresh W_0
    double fraction_recent;  // share of the new starts from the newest replay.recent_steps; -1: as
                             // replay.fraction_recent
    double fraction_terminal;  // share of the new starts that lie shortly before a terminal
    double context_swap;       // per step: probability that a rollout takes another one's context
    double clamp_margin;       // observations are kept in the replayed range widened by so much
    double clamp_quantile;     // ... which reaches from this quantile to 1 minus it; 0: all of it
    double entropy;            // weight of the entropy of (1 + a) / 2
    double saturation;         // weight of mean relu(|s| - 1.5), s the output's pre-activation
} hwm_imagination_config;
extern const hwm_config_table hwm_imagination_table;

typedef struct hwm_train_config {
    int64_t prefill_steps;
    int64_t warmup_updates;       // model updates before the first behaviour update
    int64_t fit_updates;          // of the network rule on naive episodes, before anything else
    double env_steps_per_update;  // 0: as fast as possible
    int64_t model_updates;        // per behaviour update
    double gamma, lambda;
    double lr, lr_final,
        clip_norm;  // controller; lr falls linearly to lr_final at run.max_env_steps
    int critic;     // hwm_critic_kind
    double critic_lr, slow_rate;
    double replay_critic;  // weight of the critic's loss on replayed rewards
    int64_t critic_layers, critic_units;
    int64_t publish_every_updates;
    int64_t updates_in_flight;  // batches prefetched over the link
    int64_t versions_bytes;     // of earlier versions of the controller that the learner keeps
} hwm_train_config;
extern const hwm_config_table hwm_train_table;

typedef struct hwm_evaluation_config {
    int64_t every_updates;
    int64_t episodes;
    int64_t confirm_episodes;  // more of them before a result counts as the best
    int64_t seed;              // evaluation episodes are drawn from it, never from run.seed
    int64_t lease_ms;          // a worker must answer within
    bool on_workers;           // false: the learner evaluates by itself
} hwm_evaluation_config;
extern const hwm_config_table hwm_evaluation_table;

#endif
