// JSON: statistics of the server, lines of metrics.jsonl, states of checkpoints, results of
// evaluations. Reading builds a tree; writing goes straight to a file.
#ifndef HWM_BASE_JSON_H
#define HWM_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

// ---- reading

typedef struct hwm_json hwm_json;

// NULL when the text is not one JSON object or array. Caller owns: hwm_json_free.
hwm_json* hwm_json_parse(const char* text, size_t bytes);
// The same from a file. HWM_ENOTFOUND, HWM_EIO, HWM_ENOMEM, or HWM_ECORRUPT with the line.
hwm_status hwm_json_load(hwm_json** out, const char* path, hwm_error* err);
void hwm_json_free(hwm_json** json);

// path: keys joined by '.', array elements by their index ("workers.0.rank"); "" is the value
// itself. json may be NULL: nothing is there. All results are borrowed from the root.
const hwm_json* hwm_json_at(const hwm_json* json, const char* path);  // NULL: not there
double hwm_json_number(const hwm_json* json, const char* path, double fallback);
// Whole numbers beyond 2^53 keep their last digit.
int64_t hwm_json_whole(const hwm_json* json, const char* path, int64_t fallback);
const char* hwm_json_text(const hwm_json* json, const char* path, const char* fallback);
bool hwm_json_true(const hwm_json* json, const char* path);    // the value is true
size_t hwm_json_size(const hwm_json* json, const char* path);  // elements of an array or object
// The i-th element of an array, or value of an object in file order. NULL beyond the end.
const hwm_json* hwm_json_member(const hwm_json* json, size_t i);
const char* hwm_json_key(const hwm_json* json, size_t i);  // of an object
// The value of a key that may have dots in it.
const hwm_json* hwm_json_get(const hwm_json* json, const char* key);
bool hwm_json_is_number(const hwm_json* json);
bool hwm_json_is_object(const hwm_json* json);
bool hwm_json_is_array(const hwm_json* json);

// ---- writing

// Values go to file as they are put; commas, indentation and escapes are the writer's. Keys are
// NULL inside arrays. Whether the file took it all is the caller's to ask (ferror).
enum { HWM_JSON_DEPTH_MAX = 16 };
typedef struct hwm_json_writer {
    FILE* file;
    int indent;  // spaces per level; 0: everything on one line
    int digits;  // significant digits of numbers that are not whole
    int depth;
    bool filled[HWM_JSON_DEPTH_MAX];  // the level has a value before the next one
    char closing[HWM_JSON_DEPTH_MAX];
} hwm_json_writer;
hwm_json_writer hwm_json_writer_of(FILE* file, int indent, int digits);
void hwm_json_open(hwm_json_writer* w, const char* key, char bracket);  // '{' or '['
void hwm_json_close(hwm_json_writer* w);
void hwm_json_put_number(hwm_json_writer* w, const char* key, double value);  // not finite: null
void hwm_json_put_whole(hwm_json_writer* w, const char* key, int64_t value);
void hwm_json_put_text(hwm_json_writer* w, const char* key, const char* value);
void hwm_json_put_true(hwm_json_writer* w, const char* key, bool value);

#endif
