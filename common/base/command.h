// Command lines: one row per program or command, one table of options each. The parser, --help,
// --version, the reference in Markdown and shell completion are generated from these tables.
//
// Precedence: default < environment (HWM_RUN_DIR for --run-dir; not for flags and lists) < command
// line.
#ifndef HWM_BASE_COMMAND_H
#define HWM_BASE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

// What a program returns to its caller.
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
    // a program of its own, with --log and --log-level on top; otherwise a command of `hwm`
    bool is_program;
    void (*more_help)(FILE* out);  // printed between options and example; may be NULL
} hwm_command;

enum { HWM_OPTIONS_BYTES_MAX = 4096 };

// Fill options (options_bytes, zeroed and set to defaults here) and operands (room for argc) from
// the arguments after the command's name. "--x=v" and "--x v" are the same; "--" ends the options.
// HWM_EINVAL with a sentence in err.
hwm_status hwm_command_parse(const hwm_command* command, int argc, char** argv, void* options,
                             const char** operands, int* n_operands, hwm_error* err);

void hwm_command_help(const hwm_command* command, FILE* out);
void hwm_command_markdown(const hwm_command* command, FILE* out);  // a section of the reference
void hwm_command_words(const hwm_command* command, FILE* out);     // its options, for completion

// Parse the arguments after the command's name and run it: --help and --version answered, a wrong
// command line explained. A program also answers --words with its options: shell completion asks.
int hwm_command_run(const hwm_command* command, int argc, char** argv);
// The main of a program that has no commands.
int hwm_command_main(const hwm_command* command, int argc, char** argv);

// The name among n candidates that is nearest to `name` by edit distance, for "did you mean"; NULL
// when none is near.
const char* hwm_nearest_name(const char* name, const char* const* candidates, int n);

#endif
