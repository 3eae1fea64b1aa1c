// hwm eval: the return of a checkpoint over fresh episodes.
#include "base/log.h"
#include "base/signals.h"
#include "commands.h"
#include "judge.h"

typedef struct eval_options {
    const char* checkpoint;
    int64_t episodes, seed, variant, freeze_at, reset_at;
    bool shuffle_rule, zero_rule, controls, json;
    const char *in, *save;
} eval_options;

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    const eval_options* o = options;
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    hwm_signals_install();
    const char* path = o->checkpoint ? o->checkpoint : n_operands ? operands[0] : NULL;
    if (!path) {
        fprintf(stderr,
                "hwm eval: --checkpoint is missing: a run directory or one of its checkpoints\n");
        return HWM_EXIT_USAGE;
    }
    hwm_judge_request request = {
        .episodes = o->episodes,
        .seed = o->seed,
        .freeze_at = o->freeze_at,
        .reset_at = o->reset_at,
        .shuffle_rule = o->shuffle_rule,
        .zero_rule = o->zero_rule,
        .variant = o->variant,
        .controls = o->controls,
        .json = o->json,
        .in = o->in,
        .save = o->save,
    };
    hwm_error err = {0};
    hwm_status s = hwm_judge_checkpoint(path, &request, stdout, &err);
    if (s == HWM_ECLOSED) {
        return HWM_EXIT_INTERRUPTED;
    }
    if (s != HWM_OK) {
        fprintf(stderr, "hwm eval: %s\n", err.text);
        return s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
    }
    return HWM_EXIT_DONE;
}

#define OPTION(field) offsetof(eval_options, field)
static const hwm_option options[] = {
    {"--checkpoint", "DIR", HWM_OPTION_TEXT, OPTION(checkpoint), NULL, 0, 0,
     "A run directory (its best checkpoint, else its latest) or one of its checkpoints."},
    {"--episodes", "N", HWM_OPTION_INT, OPTION(episodes), "100", 1, 1000000, "Episodes."},
    {"--seed", "S", HWM_OPTION_INT, OPTION(seed), "-1", -1, 4294967295.0,
     "Draws the episodes, so that the same seed gives the same numbers; -1: from evaluation.seed "
     "of "
     "the experiment, episodes that neither training nor the choice of the best has seen."},
    {"--variant", "V", HWM_OPTION_INT, OPTION(variant), "-1", -1, 1000,
     "Only the hidden variant of this index; -1: as the environment draws them."},
    {"--freeze-at", "T", HWM_OPTION_INT, OPTION(freeze_at), "-1", -1, 1e9,
     "No plasticity from decision T on; -1: always plastic."},
    {"--reset-at", "T", HWM_OPTION_INT, OPTION(reset_at), "-1", -1, 1e9,
     "Draw the weights again at decision T; -1: never."},
    {"--shuffle-rule", NULL, HWM_OPTION_FLAG, OPTION(shuffle_rule), NULL, 0, 0,
     "Shuffle the rule's coefficients among their synapses, anew after each tenth of the "
     "episodes."},
    {"--zero-rule", NULL, HWM_OPTION_FLAG, OPTION(zero_rule), NULL, 0, 0,
     "Set the rule's coefficients to zero: the weights stay as they were drawn."},
    {"--controls", NULL, HWM_OPTION_FLAG, OPTION(controls), NULL, 0, 0,
     "Also the table of controls that `hwm train` ends with."},
    {"--in", "EXPERIMENT", HWM_OPTION_TEXT, OPTION(in), NULL, 0, 0,
     "Play in the environment of this experiment file instead of the one trained in."},
    {"--save", "FILE", HWM_OPTION_TEXT, OPTION(save), NULL, 0, 0,
     "Also write the object of --json to FILE."},
    {"--json", NULL, HWM_OPTION_FLAG, OPTION(json), NULL, 0, 0,
     "One object with mean, std, min, max, episodes, and the same per variant."},
};
const hwm_command hwm_command_eval = {
    .name = "eval",
    .operands = "[CHECKPOINT]",
    .operands_max = 1,
    .summary = "Return of a checkpoint over fresh episodes, and what it owes to plasticity",
    .example = "hwm eval --checkpoint runs/cartpole-seed0 --episodes 100 --json\n"
               "hwm eval --checkpoint runs/cartpole-seed0 --controls\n"
               "hwm eval runs/cartpole_flip-seed0 --in "
               "deploy/experiments/cartpole_flip_mid.yaml --controls",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(eval_options),
    .run = run,
};
