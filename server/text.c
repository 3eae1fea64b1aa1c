#include "server/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(hwm_text* t, size_t more) {
    if (t->failed) {
        return false;
    }
    if (t->size + more + 1 > t->capacity) {
        size_t capacity = 2 * t->capacity + more + 256;
        char* grown = realloc(t->bytes, capacity);
        if (grown == NULL) {
            t->failed = true;
            return false;
        }
        t->bytes = grown;
        t->capacity = capacity;
    }
    return true;
}

void hwm_text_put(hwm_text* t, const char* format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n >= 0 && reserve(t, (size_t)n)) {
        vsnprintf(t->bytes + t->size, (size_t)n + 1, format, again);
        t->size += (size_t)n;
    }
    va_end(again);
}

void hwm_text_quote(hwm_text* t, const char* string) {
    hwm_text_put(t, "\"");
    for (const unsigned char* c = (const unsigned char*)string; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e) {
            hwm_text_put(t, "\\u%04x", *c);
        } else if (*c == '"' || *c == '\\') {
            hwm_text_put(t, "\\%c", *c);
        } else if (reserve(t, 1)) {
            t->bytes[t->size++] = (char)*c;
            t->bytes[t->size] = '\0';
        }
    }
    hwm_text_put(t, "\"");
}

char* hwm_text_take(hwm_text* t) {
    char* bytes = t->failed ? NULL : t->bytes;
    if (t->failed) {
        free(t->bytes);
    }
    memset(t, 0, sizeof *t);
    return bytes;
}
