// The table of commands, and the two that only print from it.
#include "commands.h"

#include <string.h>

const hwm_command* const hwm_commands[] = {
    &hwm_command_train,  // clang-format off: one a line
    &hwm_command_eval,
    &hwm_command_report,
    &hwm_command_config,
    &hwm_command_stats,
    &hwm_command_ping,
    &hwm_command_help_text,
    &hwm_command_completion_script,  // clang-format on
};
const int hwm_commands_n = sizeof hwm_commands / sizeof hwm_commands[0];

typedef struct help_options {
    bool markdown;
} help_options;

static hwm_exit run_help(const void* options, const char* const* operands, int n_operands) {
    const help_options* o = options;
    if (o->markdown) {
        hwm_commands_markdown(stdout);
        return HWM_EXIT_DONE;
    }
    if (n_operands == 0) {
        hwm_commands_overview(stdout);
        return HWM_EXIT_DONE;
    }
    const hwm_command* command = hwm_command_find(operands[0]);
    if (!command) {
        fprintf(stderr, "hwm help: no command '%s'; `hwm --help` lists them\n", operands[0]);
        return HWM_EXIT_USAGE;
    }
    hwm_command_help(command, stdout);
    return HWM_EXIT_DONE;
}

static hwm_exit run_completion(const void* options, const char* const* operands, int n_operands) {
    (void)options;
    (void)operands;
    (void)n_operands;
    hwm_commands_completion(stdout);
    return HWM_EXIT_DONE;
}

static const hwm_option help_table[] = {
    {"--markdown", NULL, HWM_OPTION_FLAG, offsetof(help_options, markdown), NULL, 0, 0,
     "Print the reference of all commands as it stands in README."},
};
const hwm_command hwm_command_help_text = {
    .name = "help",
    .operands = "[COMMAND]",
    .operands_max = 1,
    .summary = "Explain a command, or print the reference of all of them",
    .options = help_table,
    .n_options = 1,
    .options_bytes = sizeof(help_options),
    .run = run_help,
};

const hwm_command hwm_command_completion_script = {
    .name = "completion",
    .operands = "",
    .summary = "Print a completion script for bash",
    .example = "source <(hwm completion)",
    .run = run_completion,
};
