#include "follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct hwm_follow {
    char* path;
    FILE* file;
    long offset;  // of the first byte not yet handed out
    char* line;
    size_t capacity;
    long bad_lines;
};

hwm_follow* hwm_follow_open(const char* path) {
    hwm_follow* f = calloc(1, sizeof *f);
    if (f) {
        f->path = strdup(path);
    }
    if (f && !f->path) {
        hwm_follow_close(&f);
    }
    return f;
}

void hwm_follow_close(hwm_follow** follow) {
    hwm_follow* f = *follow;
    if (!f) {
        return;
    }
    if (f->file) {
        fclose(f->file);
    }
    free(f->line);
    free(f->path);
    free(f);
    *follow = NULL;
}

bool hwm_follow_next(hwm_follow* f, hwm_json** json, const char** line) {
    *json = NULL;
    if (!f->file) {
        f->file = fopen(f->path, "r");
        if (!f->file) {
            return false;
        }
    }
    struct stat st;
    if (fstat(fileno(f->file), &st) == 0 && st.st_size < f->offset) {
        // opened again, because a stream goes on handing out what it had buffered
        f->offset = 0;
        f->file = freopen(f->path, "r", f->file);
        if (!f->file) {
            return false;
        }
    }
    for (;;) {
        if (fseek(f->file, f->offset, SEEK_SET) != 0) {
            return false;
        }
        ssize_t n = getline(&f->line, &f->capacity, f->file);
        if (n <= 0 || f->line[n - 1] != '\n') {
            clearerr(f->file);
            return false;  // half a line: its rest comes later
        }
        f->offset += n;
        f->line[n - 1] = '\0';
        *json = hwm_json_parse(f->line, (size_t)n - 1);
        if (*json) {
            *line = f->line;
            return true;
        }
        f->bad_lines++;
    }
}

long hwm_follow_bad_lines(const hwm_follow* follow) {
    return follow->bad_lines;
}
