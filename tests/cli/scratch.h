// A directory of its own for each test program, removed at the end.
#ifndef HWM_TESTS_CLI_SCRATCH_H
#define HWM_TESTS_CLI_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

static inline int scratch_make(void** state) {
    (void)state;
    snprintf(scratch, sizeof scratch, "/tmp/hwm-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(void** state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    return system(command);
}

// Path of a file in it; static buffers, four at a time.
static inline const char* scratch_path(const char* name) {
    static char path[4][8192];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", scratch, name);
    return path[next];
}

static inline void scratch_write(const char* name, const char* text, const char* mode) {
    FILE* f = fopen(scratch_path(name), mode);
    if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
        abort();
    }
}

#endif
