// Writing: values go to the file as they come.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json.h"

hwm_json_writer hwm_json_writer_of(FILE* file, int indent, int digits) {
    return (hwm_json_writer){.file = file, .indent = indent, .digits = digits};
}

static void print_text(FILE* out, const char* text) {
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void new_line(const hwm_json_writer* w) {
    if (w->indent > 0)
        fprintf(w->file, "\n%*s", w->indent * w->depth, "");
}

// What stands before every value: the comma after its neighbour, its line, its key.
static void begin(hwm_json_writer* w, const char* key) {
    if (w->depth > 0) {
        if (w->filled[w->depth - 1])
            fputc(',', w->file);
        w->filled[w->depth - 1] = true;
        new_line(w);
    }
    if (key) {
        print_text(w->file, key);
        fputs(w->indent > 0 ? ": " : ":", w->file);
    }
}

void hwm_json_open(hwm_json_writer* w, const char* key, char bracket) {
    HWM_ASSERT(w->depth < HWM_JSON_DEPTH_MAX && (bracket == '{' || bracket == '['));
    begin(w, key);
    fputc(bracket, w->file);
    w->filled[w->depth] = false;
    w->closing[w->depth++] = bracket == '{' ? '}' : ']';
}

void hwm_json_close(hwm_json_writer* w) {
    HWM_ASSERT(w->depth > 0);
    w->depth--;
    if (w->filled[w->depth])
        new_line(w);
    fputc(w->closing[w->depth], w->file);
}

void hwm_json_put_number(hwm_json_writer* w, const char* key, double value) {
    begin(w, key);
    if (isfinite(value))
        fprintf(w->file, "%.*g", w->digits, value);
    else
        fputs("null", w->file);
}

void hwm_json_put_whole(hwm_json_writer* w, const char* key, int64_t value) {
    begin(w, key);
    fprintf(w->file, "%" PRId64, value);
}

void hwm_json_put_text(hwm_json_writer* w, const char* key, const char* value) {
    begin(w, key);
    print_text(w->file, value);
}

void hwm_json_put_true(hwm_json_writer* w, const char* key, bool value) {
    begin(w, key);
    fputs(value ? "true" : "false", w->file);
}
