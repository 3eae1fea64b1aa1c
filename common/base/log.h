// Log: one line per event, key=value, to stderr (or a file); errors of the outside world are logged
// once with their values.
//   hwm_log(HWM_LOG_WARN, "link", "peer silent", "client=%s silent_s=%.1f", id, s);
#ifndef HWM_BASE_LOG_H
#define HWM_BASE_LOG_H

typedef enum hwm_log_level {
    HWM_LOG_DEBUG,
    HWM_LOG_INFO,
    HWM_LOG_WARN,
    HWM_LOG_ERROR
} hwm_log_level;
typedef enum hwm_log_format { HWM_LOG_TEXT, HWM_LOG_JSON } hwm_log_format;

void hwm_log_setup(const char* program, hwm_log_level level, hwm_log_format format);
void hwm_log(hwm_log_level level, const char* component, const char* event, const char* format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
