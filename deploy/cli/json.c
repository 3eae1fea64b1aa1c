// The one user of jansson. A hwm_json is a json_t seen through a name of our own.
#include "json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const json_t* plain(const hwm_json* json) {
    return (const json_t*)json;
}

hwm_json* hwm_json_parse(const char* text, size_t bytes) {
    json_error_t error;
    return (hwm_json*)json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
}

void hwm_json_free(hwm_json** json) {
    if (json && *json) {
        json_decref((json_t*)*json);
        *json = NULL;
    }
}

const hwm_json* hwm_json_at(const hwm_json* json, const char* path) {
    const json_t* at = plain(json);
    while (at && *path) {
        size_t length = strcspn(path, ".");
        char key[128];
        if (length >= sizeof key) {
            return NULL;
        }
        memcpy(key, path, length);
        key[length] = '\0';
        path += length + (path[length] == '.');
        if (json_is_array(at)) {
            char* end = NULL;
            unsigned long i = strtoul(key, &end, 10);
            at = (end != key && *end == '\0') ? json_array_get(at, i) : NULL;
        } else {
            at = json_object_get(at, key);
        }
    }
    return (const hwm_json*)at;
}

double hwm_json_number(const hwm_json* json, const char* path, double fallback) {
    const json_t* at = plain(hwm_json_at(json, path));
    return json_is_number(at) ? json_number_value(at) : fallback;
}

const char* hwm_json_text(const hwm_json* json, const char* path, const char* fallback) {
    const json_t* at = plain(hwm_json_at(json, path));
    return json_is_string(at) ? json_string_value(at) : fallback;
}

bool hwm_json_true(const hwm_json* json, const char* path) {
    return json_is_true(plain(hwm_json_at(json, path)));
}

size_t hwm_json_size(const hwm_json* json, const char* path) {
    const json_t* at = plain(hwm_json_at(json, path));
    return json_is_array(at) ? json_array_size(at) : json_object_size(at);
}

static void* iterator(const hwm_json* json, size_t i) {
    json_t* object = (json_t*)(uintptr_t)plain(json);
    void* it = json_object_iter(object);
    while (it && i > 0) {
        it = json_object_iter_next(object, it);
        i--;
    }
    return it;
}

const char* hwm_json_key(const hwm_json* json, size_t i) {
    void* it = iterator(json, i);
    return it ? json_object_iter_key(it) : NULL;
}

const hwm_json* hwm_json_member(const hwm_json* json, size_t i) {
    void* it = iterator(json, i);
    return it ? (const hwm_json*)json_object_iter_value(it) : NULL;
}

bool hwm_json_is_number(const hwm_json* json) {
    return json_is_number(plain(json));
}

bool hwm_json_is_object(const hwm_json* json) {
    return json_is_object(plain(json));
}

bool hwm_json_is_array(const hwm_json* json) {
    return json_is_array(plain(json));
}

int hwm_json_print_number(char* out, size_t size, double value) {
    if (!isfinite(value)) {
        return snprintf(out, size, "null");
    }
    return snprintf(out, size, "%.9g", value);
}

void hwm_json_print_text(FILE* out, const char* text) {
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            fprintf(out, "\\%c", *text);
        } else if ((unsigned char)*text < 0x20) {
            fprintf(out, "\\u%04x", (unsigned)*text);
        } else {
            fputc(*text, out);
        }
    }
    fputc('"', out);
}
