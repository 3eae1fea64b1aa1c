// Text that grows: what statistics are written with.
#ifndef HWM_SERVER_TEXT_H
#define HWM_SERVER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct hwm_text {
    char* bytes;  // NUL-terminated once something was put; malloc'd
    size_t size, capacity;
    bool failed;  // out of memory: what was put since is lost
} hwm_text;

void hwm_text_put(hwm_text* text, const char* format, ...) __attribute__((format(printf, 2, 3)));
// A JSON string with its quotes; bytes that are not printable ASCII are escaped.
void hwm_text_quote(hwm_text* text, const char* string);
// Hands out the malloc'd string (caller owns, free with free(); NULL when out of memory) and
// empties the text.
char* hwm_text_take(hwm_text* text);

#endif
