// Following metrics.jsonl: complete lines only, however the learner's writes arrive; a truncated
// file starts over.
#ifndef HWM_CLI_FOLLOW_H
#define HWM_CLI_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

typedef struct hwm_follow hwm_follow;

hwm_follow* hwm_follow_open(const char* path);  // the file need not exist yet; NULL: out of memory
void hwm_follow_close(hwm_follow** follow);
// The next complete line that is JSON: caller owns *json. `line` borrowed until the next call.
// false: nothing new.
bool hwm_follow_next(hwm_follow* follow, hwm_json** json, const char** line);
long hwm_follow_bad_lines(const hwm_follow* follow);  // lines that were not JSON

#endif
