// Reading JSON: lines of metrics.jsonl, statistics of the server, results of an evaluation.
#ifndef HWM_CLI_JSON_H
#define HWM_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct hwm_json hwm_json;

// NULL when the text is not one JSON object or array. Caller owns: hwm_json_free.
hwm_json* hwm_json_parse(const char* text, size_t bytes);
void hwm_json_free(hwm_json** json);

// path: keys joined by '.', array elements by their index ("workers.0.rank"); "" is the value
// itself. All results are borrowed from the root.
const hwm_json* hwm_json_at(const hwm_json* json, const char* path);  // NULL: not there
double hwm_json_number(const hwm_json* json, const char* path, double fallback);
const char* hwm_json_text(const hwm_json* json, const char* path, const char* fallback);
bool hwm_json_true(const hwm_json* json, const char* path);    // the value is true
size_t hwm_json_size(const hwm_json* json, const char* path);  // elements of an array or object
// Key and value of the i-th member of an object, in file order. NULL beyond the end.
const char* hwm_json_key(const hwm_json* json, size_t i);
const hwm_json* hwm_json_member(const hwm_json* json, size_t i);
bool hwm_json_is_number(const hwm_json* json);
bool hwm_json_is_object(const hwm_json* json);
bool hwm_json_is_array(const hwm_json* json);
// Values that are not finite are written as null, as JSON wants it. Returns what snprintf returns.
int hwm_json_print_number(char* out, size_t size, double value);
// The text between double quotes, with what JSON wants escaped.
void hwm_json_print_text(FILE* out, const char* text);

#endif
