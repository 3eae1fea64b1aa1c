// Section "model": which world model, its sizes and its training.
#ifndef HWM_MODEL_MODEL_CONFIG_H
#define HWM_MODEL_MODEL_CONFIG_H

#include "base/config.h"

typedef enum hwm_model_kind {
    HWM_MODEL_ENSEMBLE,
    HWM_MODEL_CONTEXT,
    HWM_MODEL_RSSM,
    HWM_MODEL_GRU,
    HWM_MODEL_ENVIRONMENT,
} hwm_model_kind;
typedef enum hwm_activation { HWM_ACTIVATION_ELU, HWM_ACTIVATION_SILU } hwm_activation;
// Of the operands of matrix products; sums are float32 always.
typedef enum hwm_precision { HWM_PRECISION_FLOAT32, HWM_PRECISION_BFLOAT16 } hwm_precision;

typedef struct hwm_model_config {
    int kind;               // hwm_model_kind
    int64_t members;        // K
    int64_t layers, units;  // hidden
    int activation;         // hwm_activation
    int64_t batch;          // transitions per member and update
    double lr, clip_norm;
    double reward_weight, continue_weight;    // continue_weight: of the terminal transitions
    double fraction_terminal;                 // share of the batch that ends in a terminal
    bool terminals;                           // false: the task has none, continue = 1
    bool predict_reward;                      // false: reward = the constant seen in replay
    int64_t refresh_updates;                  // scales and ranges are refreshed so often
    double scale_floor;                       // added to the std of one-step deltas
    bool standardise;                         // members and critic read (o - mean) / std
    bool scales_grow;                         // a refresh never makes them smaller
    char continue_of[HWM_CONFIG_STRING_MAX];  // observation that says whether it goes on; "":
                                              // learned
    double continue_slope;                    // continue = sigmoid(slope * that observation)
    // context
    int64_t context_samples, context_dim, context_units, context_window_steps;
    int64_t memory_units;  // gru
    // rssm, gru
    int64_t sequences, sequence_steps, burn_in_steps;
    bool cross_episodes;        // training sequences go on with the next episode
    int preset;                 // rssm: nano, size1m, ...
    double obs_weight, unimix;  // rssm
    int64_t cache_bytes;        // rssm: of latents kept between updates
    int precision;              // recurrent agents: hwm_precision
} hwm_model_config;
extern const hwm_config_table hwm_model_table;

#endif
