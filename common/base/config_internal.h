// What the files of the configuration share: complaints, values as text, the YAML reader.
#ifndef HWM_BASE_CONFIG_INTERNAL_H
#define HWM_BASE_CONFIG_INTERNAL_H

#include "base/config.h"

// Complaints, one a line, gathered in an hwm_error; what does not fit is counted.
typedef struct hwm_complaints {
    hwm_error* err;  // may be NULL
    size_t used;     // bytes of err->text
    int n;
    int left_out;
} hwm_complaints;
void hwm_complain(hwm_complaints* c, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A value as it was written: one scalar, or the items of a list. Strings are borrowed from the
// reader.
typedef struct hwm_raw_value {
    bool is_list;
    bool is_null;  // nothing, ~ or null, not quoted
    int n;
    const char* item[HWM_CONFIG_LIST_MAX];
} hwm_raw_value;

// Read value into the field of target. On failure nothing is changed and why holds what is wrong
// and what is allowed.
bool hwm_config_assign(const hwm_config_field* field, void* target, const hwm_raw_value* value,
                       char* why, size_t why_bytes);
// The same from text as it stands in a default, an environment variable or --set: lists with or
// without brackets.
bool hwm_config_assign_text(const hwm_config_field* field, void* target, const char* text,
                            char* why, size_t why_bytes);
// "a number from 0 to 1", "one of uniform, newest", "a list of up to 16 whole numbers, each at
// least 1".
void hwm_config_allowed(const hwm_config_field* field, char* out, size_t bytes);
// HWM_SECTION__NAME, the environment variable of section.name.
void hwm_config_variable(const char* section, const char* field, char* out, size_t bytes);
// The value as YAML that reads back to the same bits.
void hwm_config_print_value(FILE* out, const hwm_config_field* field, const void* target);

// Called for every section (key NULL, value NULL) and for every key of it. Lines count from 1.
typedef void hwm_yaml_visit(void* context, const char* section, const char* key,
                            const hwm_raw_value* value, int line);
// Walk a mapping of mappings. What is no such thing becomes a complaint "name:line: ...".
void hwm_yaml_walk(const char* name, const char* text, size_t bytes, hwm_yaml_visit* visit,
                   void* context, hwm_complaints* complaints);
// Read text as one YAML scalar or flow list and hand it to visit (section and key NULL). False when
// it is neither; why says what the parser made of it.
bool hwm_yaml_value(const char* text, hwm_yaml_visit* visit, void* context, char* why,
                    size_t why_bytes);

#endif
