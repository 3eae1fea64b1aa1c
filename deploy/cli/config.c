// hwm config: the reference of all fields, or an experiment as it is resolved.
#include <stdlib.h>

#include "commands.h"
#include "experiment/experiment.h"

typedef struct config_options {
    hwm_text_list set;
    bool plain;
    bool sample;
} config_options;

// The commented file that lies in deploy/experiments: nothing of this host's environment gets in.
static hwm_exit print_sample(void) {
    hwm_experiment* experiment = hwm_experiment_defaults();
    int n = 0;
    hwm_config_section* sections = experiment ? hwm_experiment_sections(experiment, &n) : NULL;
    hwm_error err = {.text = "out of memory"};
    printf("# Every field of an experiment at its default, with its help and its range, as "
           "`hwm config --sample` prints it.\n\n");
    hwm_status s = experiment ? hwm_config_show(sections, n, HWM_CONFIG_HELP, &err) : HWM_ENOMEM;
    if (s != HWM_OK) {
        fprintf(stderr, "hwm config: %s\n", err.text);
    }
    hwm_experiment_destroy(&experiment);
    return s == HWM_OK ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    const config_options* o = options;
    if (o->sample) {
        return print_sample();
    }
    hwm_error err = {0};
    hwm_experiment* experiment = NULL;
    hwm_status s = hwm_experiment_load(&experiment, n_operands ? operands[0] : NULL, NULL, o->set.v,
                                       o->set.n, &err);
    if (s != HWM_OK) {
        fprintf(stderr, "hwm config: %s\n", err.text);
        return s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
    }
    int n = 0;
    hwm_config_section* sections = hwm_experiment_sections(experiment, &n);
    if (n_operands == 0 && o->set.n == 0) {
        hwm_config_help(sections, n, stdout);
    } else {
        s = hwm_config_show(sections, n, o->plain ? HWM_CONFIG_PLAIN : HWM_CONFIG_ORIGINS, &err);
        if (s != HWM_OK) {
            fprintf(stderr, "hwm config: %s\n", err.text);
        }
    }
    hwm_experiment_destroy(&experiment);
    return s == HWM_OK ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
}

static const hwm_option options[] = {
    {"--set", "KEY=VALUE", HWM_OPTION_LIST, offsetof(config_options, set), NULL, 0, 0,
     "Override one field, as train.lr=0.001."},
    {"--plain", NULL, HWM_OPTION_FLAG, offsetof(config_options, plain), NULL, 0, 0,
     "Without saying where each value came from: the file as a run directory keeps it."},
    {"--sample", NULL, HWM_OPTION_FLAG, offsetof(config_options, sample), NULL, 0, 0,
     "Print the commented sample file: every field at its default."},
};
const hwm_command hwm_command_config = {
    .name = "config",
    .operands = "[EXPERIMENT.yaml]",
    .operands_max = 1,
    .summary = "Print the reference of all fields, or an experiment as it is resolved",
    .details =
        "With a file or --set: every value, and beside it where it came from (default, line of "
        "the file, environment variable, --set; the later wins), which `hwm train "
        "--print-config` prints too",
    .example = "hwm config\nhwm config deploy/experiments/cartpole.yaml --set train.lr=0.001",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(config_options),
    .run = run,
};
