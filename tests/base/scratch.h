// A folder of its own for a test, removed with everything in it. Setup and teardown for cmocka:
// *state is its path.
#ifndef HWM_TESTS_BASE_SCRATCH_H
#define HWM_TESTS_BASE_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int scratch_setup(void** state) {
    const char* base = getenv("TMPDIR");
    char* path = malloc(512);
    if (!path)
        return -1;
    snprintf(path, 512, "%s/hwm-test-XXXXXX", base ? base : "/tmp");
    *state = path;
    return mkdtemp(path) ? 0 : -1;
}

static inline int scratch_teardown(void** state) {
    char file[1024];
    DIR* dir = opendir(*state);
    for (struct dirent* d = dir ? readdir(dir) : NULL; d; d = readdir(dir)) {
        snprintf(file, sizeof file, "%s/%s", (char*)*state, d->d_name);
        unlink(file);  // "." and ".." refuse
    }
    if (dir)
        closedir(dir);
    int status = rmdir(*state);
    free(*state);
    return status;
}

// The path of the one file in dir.
static inline void scratch_only_file(const char* dir, char* path, size_t bytes) {
    path[0] = 0;
    DIR* d = opendir(dir);
    for (struct dirent* f = d ? readdir(d) : NULL; f; f = readdir(d))
        if (f->d_name[0] != '.')
            snprintf(path, bytes, "%s/%s", dir, f->d_name);
    if (d)
        closedir(d);
}

#endif
