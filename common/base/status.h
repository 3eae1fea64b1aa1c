// Status codes of every call that can meet the outside world, and the error a caller can show to a
// person.
//
// One table generates the enum, the names and the messages. Three kinds of failure are never mixed:
//   programmer error   HWM_ASSERT, on in release builds too
//   outside world      a hwm_status and a sentence in hwm_error
//   out of memory      HWM_ENOMEM from create; steady-state calls never allocate
#ifndef HWM_BASE_STATUS_H
#define HWM_BASE_STATUS_H

#define HWM_STATUS_TABLE(X)                                                                        \
    X(OK, "done")                                                                                  \
    X(EINVAL, "invalid argument or value")                                                         \
    X(ENOMEM, "out of memory")                                                                     \
    X(EIO, "input or output failed")                                                               \
    X(ENOTFOUND, "not found")                                                                      \
    X(EEXIST, "exists already")                                                                    \
    X(EPROTO, "malformed or unexpected message")                                                   \
    X(EVERSION, "version not supported")                                                           \
    X(ESIGNATURE, "does not match the table's signature")                                          \
    X(ECORRUPT, "corrupt data")                                                                    \
    X(EFULL, "no space left")                                                                      \
    X(EAGAIN, "not now, try again")                                                                \
    X(ETIMEDOUT, "timed out")                                                                      \
    X(EDENIED, "not allowed")                                                                      \
    X(ECLOSED, "closed")                                                                           \
    X(EDUPLICATE, "already applied")                                                               \
    X(EUNSUPPORTED, "not supported")                                                               \
    X(ENUMERIC, "not a finite number")

typedef enum hwm_status {
#define HWM_STATUS_ENUM(name, text) HWM_##name,
    HWM_STATUS_TABLE(HWM_STATUS_ENUM)
#undef HWM_STATUS_ENUM
        HWM_STATUS_COUNT
} hwm_status;

// A failure as a person should read it: what, with which value, and what to do about it.
typedef struct hwm_error {
    hwm_status code;
    char text[4096];  // room for every complaint about a configuration file, one a line
} hwm_error;

// "HWM_EPROTO"; "malformed or unexpected message". Never NULL; static strings.
const char* hwm_status_name(hwm_status code);
const char* hwm_status_text(hwm_status code);

// Fill *err (may be NULL) and return code, so that a failing call is one line.
hwm_status hwm_fail(hwm_error* err, hwm_status code, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__
// a static analyser sees one file at a time: tell it what comes back
#define hwm_fail(err, code, ...) ((void)hwm_fail(err, code, __VA_ARGS__), (hwm_status)(code))
#endif

// Programmer errors only. Prints file, line and condition, then aborts.
#define HWM_ASSERT(condition)                                                                      \
    ((condition) ? (void)0 : hwm_assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void hwm_assert_failed(const char* condition, const char* file, int line);

#endif
