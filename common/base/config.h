// Configuration: one table per module. A row gives type, name, default, range and help; from the
// tables come the defaults, the checks, the YAML reader, --set, environment variables,
// --print-config, --help and the sample files.
//
// Precedence: default < file < environment (HWM_SECTION__NAME) < --set section.name=value.
// An experiment file is a YAML mapping of sections; each section is a mapping of scalars or flow
// lists of scalars. All errors of a file are reported at once, each with file, line, key and what
// is allowed, and the nearest known key.
#ifndef HWM_BASE_CONFIG_H
#define HWM_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

typedef enum hwm_config_type {
    HWM_CONFIG_BOOL,     // bool
    HWM_CONFIG_INT,      // int64_t
    HWM_CONFIG_REAL,     // double
    HWM_CONFIG_ENUM,     // int, index into choices
    HWM_CONFIG_STRING,   // char[HWM_CONFIG_STRING_MAX]
    HWM_CONFIG_INTS,     // hwm_int_list
    HWM_CONFIG_REALS,    // hwm_real_list
    HWM_CONFIG_STRINGS,  // hwm_string_list
} hwm_config_type;

enum { HWM_CONFIG_STRING_MAX = 256, HWM_CONFIG_LIST_MAX = 16, HWM_CONFIG_ITEM_MAX = 64 };
typedef struct hwm_int_list {
    int n;
    int64_t v[HWM_CONFIG_LIST_MAX];
} hwm_int_list;
typedef struct hwm_real_list {
    int n;
    double v[HWM_CONFIG_LIST_MAX];
} hwm_real_list;
typedef struct hwm_string_list {
    int n;
    char v[HWM_CONFIG_LIST_MAX][HWM_CONFIG_ITEM_MAX];
} hwm_string_list;

typedef struct hwm_config_field {
    const char* name;
    hwm_config_type type;
    size_t offset;             // into the module's config struct
    const char* default_text;  // as it would stand in YAML
    double min, max;  // numbers and elements of lists; strings: length. min == max == 0: no bound
    const char* choices;  // "a|b|c" for ENUM; elements of STRINGS where not NULL
    const char* help;     // one sentence, with the unit
} hwm_config_field;

typedef struct hwm_config_table {
    const char* section;  // the YAML key
    const char* help;
    const hwm_config_field* fields;
    int n;
} hwm_config_table;

// A table bound to the struct that it fills, and where each value came from (filled by load).
typedef enum hwm_config_origin {
    HWM_ORIGIN_DEFAULT,
    HWM_ORIGIN_FILE,
    HWM_ORIGIN_ENVIRONMENT,
    HWM_ORIGIN_SET
} hwm_config_origin;
enum { HWM_CONFIG_FIELDS_MAX = 64 };
typedef struct hwm_config_section {
    const hwm_config_table* table;
    void* target;
    uint8_t origin[HWM_CONFIG_FIELDS_MAX];  // hwm_config_origin of each field
    int line[HWM_CONFIG_FIELDS_MAX];        // of the file, where that is its origin
} hwm_config_section;

// Every field of every section to its default.
void hwm_config_defaults(hwm_config_section* sections, int n);

// Defaults, then the file at path (NULL: none), then the environment, then the overrides
// ("section.name=value"). Where text is not NULL it is read instead of a file, under the name path,
// and the environment is left out: a configuration that was resolved elsewhere means the same on
// every host. Returns HWM_EINVAL with all complaints, one a line, in err->text; HWM_ENOTFOUND or
// HWM_EIO when path cannot be read.
hwm_status hwm_config_load(hwm_config_section* sections, int n, const char* path, const char* text,
                           const char* const* overrides, int n_overrides, hwm_error* err);

// What stands beside the values that are printed.
typedef enum hwm_config_form {
    HWM_CONFIG_PLAIN,    // nothing: the file as a run directory keeps it
    HWM_CONFIG_HELP,     // help and range above each value: the sample file
    HWM_CONFIG_ORIGINS,  // where each value came from: --print-config
} hwm_config_form;
// The whole configuration as YAML that load reads back to the same values (exact floats). Returns
// malloc'd text: caller owns, free with free(). NULL when out of memory.
char* hwm_config_print(const hwm_config_section* sections, int n, hwm_config_form form);
// The same to standard output: what --print-config of a program does. HWM_ENOMEM, or HWM_EIO when
// nobody takes it.
hwm_status hwm_config_show(const hwm_config_section* sections, int n, hwm_config_form form,
                           hwm_error* err);

// The reference that --help prints: name, type, default, range and help, per section.
void hwm_config_help(const hwm_config_section* sections, int n, FILE* out);

#endif
