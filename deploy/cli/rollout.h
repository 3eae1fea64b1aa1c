// One environment driven by given or random actions: what `hwm trace` and `hwm render` share.
#ifndef HWM_CLI_ROLLOUT_H
#define HWM_CLI_ROLLOUT_H

#include "base/command.h"
#include "base/rng.h"
#include "env/env_config.h"

typedef struct rollout_options {
    const char* env;
    hwm_text_list variant;
    hwm_text_list set;
    const char* init_state;
    const char* actions;
    int64_t seed, episode, steps;
    const char* plugin_dir;
} rollout_options;

// Rows for a table of options whose struct has a rollout_options field `member`.
#define ROLLOUT_OPTIONS(type, member)                                                              \
    {"--env",                                                                                      \
     "NAME",                                                                                       \
     HWM_OPTION_TEXT,                                                                              \
     offsetof(type, member.env),                                                                   \
     "cartpole",                                                                                   \
     0,                                                                                            \
     0,                                                                                            \
     "Environment; `hwm envs` lists them."},                                                       \
        {"--variant",                                                                              \
         "V",                                                                                      \
         HWM_OPTION_LIST,                                                                          \
         offsetof(type, member.variant),                                                           \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         "Hidden variant, as in env.variants: \"flip\", \"gain=0.5\", \"flip t=100\"; several "    \
         "times for several."},                                                                    \
        {"--set",                                                                                  \
         "KEY=VALUE",                                                                              \
         HWM_OPTION_LIST,                                                                          \
         offsetof(type, member.set),                                                               \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         "Any other field of section env, as env.action_repeat=2."},                               \
        {"--init-state",                                                                           \
         "S",                                                                                      \
         HWM_OPTION_TEXT,                                                                          \
         offsetof(type, member.init_state),                                                        \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         "Start from these numbers, comma-separated: positions, then velocities."},                \
        {"--actions",                                                                              \
         "FILE",                                                                                   \
         HWM_OPTION_TEXT,                                                                          \
         offsetof(type, member.actions),                                                           \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         "One action a line, comma-separated; without it actions are drawn from the seed."},       \
        {"--seed", "N", HWM_OPTION_INT, offsetof(type, member.seed),                               \
         "0",      0,   4294967295.0,   "Draws the start, the variant and random actions."},       \
        {"--episode", "N", HWM_OPTION_INT, offsetof(type, member.episode),                         \
         "0",         0,   4294967295.0,   "Which episode of that seed."},                         \
        {"--plugin-dir",                                                                           \
         "DIR",                                                                                    \
         HWM_OPTION_TEXT,                                                                          \
         offsetof(type, member.plugin_dir),                                                        \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         "Folder of environment plug-ins."},                                                       \
    {                                                                                              \
        "--steps", "N", HWM_OPTION_INT, offsetof(type, member.steps), "0", 0, 1e9,                 \
            "At most so many decisions; 0: until the episode or the file ends."                    \
    }

typedef struct rollout {
    hwm_envs* envs;
    const hwm_env_spec* spec;
    hwm_rng rng;
    float* given;  // (given_n, A), NULL: random
    int64_t given_n;
    int64_t t, limit;
    float *obs, *action;  // (O), (A)
    float reward;
    uint8_t terminated, truncated;
} rollout;

// Load the configuration, create the environment, begin the episode. HWM_EINVAL with a sentence
// names a wrong value; the caller destroys in any case.
hwm_status rollout_begin(rollout* r, const rollout_options* options, hwm_error* err);
// Choose the next action into r->action; false where the rollout is over.
bool rollout_choose(rollout* r);
// Take it.
void rollout_step(rollout* r);
void rollout_end(rollout* r);

#endif
