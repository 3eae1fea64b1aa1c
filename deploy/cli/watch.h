// Watching a server's statistics from a thread of its own, so that a server that hangs never
// freezes the display.
#ifndef HWM_CLI_WATCH_H
#define HWM_CLI_WATCH_H

#include "base/json.h"

typedef struct hwm_watch hwm_watch;

// Asks once per interval, reconnecting for as long as it takes. key_dir may be NULL. NULL: out of
// memory.
hwm_watch* hwm_watch_start(const char* endpoint, const char* key_dir, bool insecure,
                           int interval_ms);
void hwm_watch_stop(hwm_watch** watch);
// Newest answer, NULL when none has come since the last call. Caller owns: hwm_json_free.
hwm_json* hwm_watch_take(hwm_watch* watch);
double hwm_watch_age_s(hwm_watch* watch);  // since the last answer; negative: none yet
// Why there is no answer, "" when there is; text (size).
void hwm_watch_problem(hwm_watch* watch, char* text, size_t size);

#endif
