// Reading: jansson's tree, behind names of our own. The only user of jansson.
#include "base/json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const json_t* plain(const hwm_json* json) {
    return (const json_t*)json;
}

hwm_json* hwm_json_parse(const char* text, size_t bytes) {
    json_error_t error;
    return (hwm_json*)json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
}

hwm_status hwm_json_load(hwm_json** out, const char* path, hwm_error* err) {
    *out = NULL;
    FILE* f = fopen(path, "rb");
    if (!f)
        return hwm_fail(err, errno == ENOENT ? HWM_ENOTFOUND : HWM_EIO, "%s: cannot be read: %s",
                        path, strerror(errno));
    json_error_t bad;
    *out = (hwm_json*)json_loadf(f, JSON_REJECT_DUPLICATES, &bad);
    const bool failed = ferror(f) != 0;
    fclose(f);
    if (*out)
        return HWM_OK;
    if (failed)
        return hwm_fail(err, HWM_EIO, "%s: cannot be read", path);
    if (json_error_code(&bad) == json_error_out_of_memory)
        return hwm_fail(err, HWM_ENOMEM, "no memory for %s", path);
    return hwm_fail(err, HWM_ECORRUPT, "%s: line %d: %s", path, bad.line, bad.text);
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
        if (length >= sizeof key)
            return NULL;
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

int64_t hwm_json_whole(const hwm_json* json, const char* path, int64_t fallback) {
    const json_t* at = plain(hwm_json_at(json, path));
    return json_is_integer(at) ? (int64_t)json_integer_value(at) : fallback;
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

const hwm_json* hwm_json_member(const hwm_json* json, size_t i) {
    if (hwm_json_is_array(json))
        return (const hwm_json*)json_array_get(plain(json), i);
    void* it = iterator(json, i);
    return it ? (const hwm_json*)json_object_iter_value(it) : NULL;
}

const char* hwm_json_key(const hwm_json* json, size_t i) {
    void* it = iterator(json, i);
    return it ? json_object_iter_key(it) : NULL;
}

const hwm_json* hwm_json_get(const hwm_json* json, const char* key) {
    return (const hwm_json*)json_object_get(plain(json), key);
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
