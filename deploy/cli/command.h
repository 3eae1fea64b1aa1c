// Commands of `hwm`: one row per command (base/command.h). The overview, the command reference
// (`hwm help --markdown`) and shell completion are generated from the list of them.
#ifndef HWM_CLI_COMMAND_H
#define HWM_CLI_COMMAND_H

#include "base/command.h"

// All commands, in the order of the overview.
extern const hwm_command* const hwm_commands[];
extern const int hwm_commands_n;
const hwm_command* hwm_command_find(const char* name);  // NULL: none

void hwm_commands_overview(FILE* out);
void hwm_commands_markdown(FILE* out);    // the reference in README
void hwm_commands_completion(FILE* out);  // a bash completion script

// The whole program: parse argv, run the command, return its exit code.
int hwm_cli_main(int argc, char** argv);

#endif
