// Commands of `hwm`: one row per command, one table of options per command. The parser, `--help`,
// the command reference
// (`hwm help --markdown`) and shell completion are all generated from these tables.
#ifndef HWM_CLI_COMMAND_H
#define HWM_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

// What `hwm` returns to its caller; every command uses the same four.
typedef enum hwm_exit {
    HWM_EXIT_DONE = 0,    // done, or stopped cleanly on SIGTERM
    HWM_EXIT_FAILED = 1,  // something outside failed: a process died, a server is not there, a file
                          // cannot be read
    HWM_EXIT_USAGE = 2,   // the command line or the configuration is wrong; nothing was started
    HWM_EXIT_INTERRUPTED = 130,  // stopped cleanly on SIGINT
} hwm_exit;

typedef enum hwm_option_type {
    HWM_OPTION_FLAG,  // bool
    HWM_OPTION_TEXT,  // const char*, points into argv; NULL when absent and without default
    HWM_OPTION_INT,   // int64_t
    HWM_OPTION_REAL,  // double
    HWM_OPTION_LIST,  // hwm_text_list: may be given several times
} hwm_option_type;

enum { HWM_TEXT_LIST_MAX = 64 };
typedef struct hwm_text_list {
    int n;
    const char* v[HWM_TEXT_LIST_MAX];
} hwm_text_list;

typedef struct hwm_option {
    const char* name;      // "--run-dir"
    const char* argument;  // "DIR"; NULL for a flag
    hwm_option_type type;
    size_t offset;             // into the command's options struct
    const char* default_text;  // NULL: 0, false, NULL
    double min, max;           // numbers only; min == max: no bound
    const char* help;          // one sentence, with the unit
} hwm_option;

typedef struct hwm_command {
    const char* name;
    const char* operands;  // as in the usage line: "EXPERIMENT.yaml"; "" for none
    int operands_min, operands_max;
    const char* summary;  // one line
    const char* details;  // paragraphs for --help and the reference; may be NULL
    const char* example;  // one or more command lines; may be NULL
    const hwm_option* options;
    int n_options;
    size_t options_bytes;  // size of the options struct, at most HWM_OPTIONS_BYTES_MAX
    hwm_exit (*run)(const void* options, const char* const* operands, int n_operands);
} hwm_command;

enum { HWM_OPTIONS_BYTES_MAX = 4096 };

// All commands, in the order of the overview.
extern const hwm_command* const hwm_commands[];
extern const int hwm_commands_n;
const hwm_command* hwm_command_find(const char* name);  // NULL: none

// Fill options (options_bytes, zeroed and set to defaults here) and operands (room for argc) from
// the arguments after the command's name. "--x=v" and "--x v" are the same; "--" ends the options.
// HWM_EINVAL with a sentence in err.
hwm_status hwm_command_parse(const hwm_command* command, int argc, char** argv, void* options,
                             const char** operands, int* n_operands, hwm_error* err);

void hwm_command_help(const hwm_command* command, FILE* out);
void hwm_command_overview(FILE* out);
void hwm_command_markdown(FILE* out);    // the reference in README
void hwm_command_completion(FILE* out);  // a bash completion script

// The name among n candidates that is nearest to `name` by edit distance, NULL when none is near.
const char* hwm_nearest_name(const char* name, const char* const* candidates, int n);

// The whole program: parse argv, run the command, return its exit code.
int hwm_cli_main(int argc, char** argv);

#endif
