// Names and messages of the status codes, and the two ways to fail.
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char* hwm_status_name(hwm_status code) {
    switch (code) {
#define HWM_STATUS_NAME(name, text)                                                                \
    case HWM_##name:                                                                               \
        return "HWM_" #name;
        HWM_STATUS_TABLE(HWM_STATUS_NAME)
#undef HWM_STATUS_NAME
    case HWM_STATUS_COUNT:
        break;
    }
    return "HWM_UNKNOWN";
}

const char* hwm_status_text(hwm_status code) {
    switch (code) {
#define HWM_STATUS_TEXT(name, text)                                                                \
    case HWM_##name:                                                                               \
        return text;
        HWM_STATUS_TABLE(HWM_STATUS_TEXT)
#undef HWM_STATUS_TEXT
    case HWM_STATUS_COUNT:
        break;
    }
    return "unknown status code";
}

hwm_status(hwm_fail)(hwm_error* err, hwm_status code, const char* format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

_Noreturn void hwm_assert_failed(const char* condition, const char* file, int line) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
