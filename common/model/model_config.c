// Table of section "model".
#include "model/model_config.h"

#include <stddef.h>

#define MODEL(field)      #field, HWM_CONFIG_INT, offsetof(hwm_model_config, field)
#define MODEL_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_model_config, field)
#define MODEL_BOOL(field) #field, HWM_CONFIG_BOOL, offsetof(hwm_model_config, field)
#define MODEL_ENUM(field) #field, HWM_CONFIG_ENUM, offsetof(hwm_model_config, field)
static const hwm_config_field model_fields[] = {
    {MODEL_ENUM(kind), "ensemble", 0, 0, "ensemble|context|rssm|gru|environment",
     "ensemble: fully observed tasks; context: a hidden variable per episode; rssm, gru: memory; "
     "environment: the true dynamics, to see what the learner can do"},
    {MODEL(members), "4", 1, 64, NULL, "members of the ensemble"},
    {MODEL(layers), "2", 1, 8, NULL, "hidden layers"},
    {MODEL(units), "64", 1, 8192, NULL, "hidden units per layer"},
    {MODEL_ENUM(activation), "elu", 0, 0, "elu|silu", "activation of the hidden layers"},
    {MODEL(batch), "128", 1, 65536, NULL, "transitions per member and update"},
    {MODEL_REAL(lr), "0.001", 0, 1, NULL, "learning rate"},
    {MODEL_REAL(clip_norm), "10", 0, 1e9, NULL, "global gradient norm; 0: none"},
    {MODEL_REAL(reward_weight), "10", 0, 1e6, NULL, "weight of the squared reward error"},
    {MODEL_REAL(continue_weight), "5", 0, 1e6, NULL,
     "weight of the continue loss at terminals (1 elsewhere)"},
    {MODEL_REAL(fraction_terminal), "0.125", 0, 1, NULL,
     "share of the transitions that end in a terminal"},
    {MODEL_BOOL(terminals), "true", 0, 0, NULL, "false: episodes never end truly, continue = 1"},
    {MODEL_BOOL(predict_reward), "true", 0, 0, NULL,
     "false: the reward is a constant, taken from the replay"},
    {MODEL(refresh_updates), "50", 1, 1e9, NULL,
     "updates between two refreshes of delta scales and ranges"},
    {MODEL_REAL(scale_floor), "0.001", 1e-9, 1, NULL, "added to the std of one-step deltas"},
    {MODEL_BOOL(standardise), "false", 0, 0, NULL,
     "true: members and critic read observations less their mean, in units of their std in replay; "
     "a refresh leaves the members' functions as they are"},
    {MODEL_BOOL(scales_grow), "false", 0, 0, NULL,
     "true: delta scales are never made smaller, whatever the newest experience looks like"},
    {"continue_of", HWM_CONFIG_STRING, offsetof(hwm_model_config, continue_of), "", 0, 63, NULL,
     "an observation x that tells whether an episode goes on: continue = sigmoid(continue_slope x) "
     "instead of a learned one; empty: learned"},
    {MODEL_REAL(continue_slope), "20", 1e-3, 1e6, NULL, "see continue_of"},
    {MODEL(context_samples), "16", 1, 1024, NULL,
     "context: transitions of the episode it is made of"},
    {MODEL(context_dim), "2", 1, 64, NULL, "context: numbers in it"},
    {MODEL(context_units), "32", 1, 1024, NULL, "context: hidden units of its encoder"},
    {MODEL(context_window_steps), "0", 0, 1e9, NULL,
     "context: only transitions within so many steps; 0: the whole episode"},
    {MODEL(memory_units), "64", 1, 4096, NULL, "gru: units of its memory"},
    {MODEL(sequences), "16", 1, 4096, NULL, "rssm, gru: sequences per update"},
    {MODEL(sequence_steps), "32", 2, 4096, NULL, "rssm, gru: steps per sequence"},
    {MODEL_BOOL(cross_episodes), "true", 0, 0, NULL,
     "rssm, gru, recurrent agents: a training sequence goes on, where an episode ended, with the "
     "environment's next one; false: episodes shorter than sequence_steps are never trained on"},
    {MODEL(burn_in_steps), "4", 0, 4096, NULL,
     "rssm, gru: steps before a start, from which its memory is known"},
    {MODEL_REAL(obs_weight), "20", 0, 1e6, NULL,
     "rssm: weight of the squared error of symlog observations"},
    {MODEL_REAL(unimix), "0.002", 0, 0.5, NULL,
     "rssm: share of the uniform distribution in its categorical variables"},
    {MODEL(cache_bytes), "67108864", 0, 1e12, NULL,
     "rssm: bytes of latents of trained rows that are kept, from which later sequences begin; 0: "
     "every sequence begins from nothing"},
    {MODEL_ENUM(preset), "nano", 0, 0, "nano|size1m|size12m|size25m|size50m", "rssm: its sizes"},
    {MODEL_ENUM(precision), "float32", 0, 0, "float32|bfloat16",
     "recurrent agents: bfloat16 rounds the operands of matrix products in training (sums, "
     "weights, "
     "gradients and the optimiser stay float32), several times faster where the processor has AMX "
     "tiles, no faster elsewhere"},
};
const hwm_config_table hwm_model_table = {"model", "the world model and its training", model_fields,
                                          (int)(sizeof(model_fields) / sizeof(model_fields[0]))};
