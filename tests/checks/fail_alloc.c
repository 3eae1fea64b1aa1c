#include "fail_alloc.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

static _Thread_local int calls_left;
static _Thread_local bool after, happened;

void fail_alloc_at(int k, bool all_after) {
    calls_left = k;
    after = all_after;
    happened = false;
}

bool fail_alloc_happened(void) {
    return happened;
}

static bool fails(void) {
    if (calls_left == 0 || --calls_left > 0)
        return false;
    happened = true;
    calls_left = after ? 1 : 0;
    errno = ENOMEM;
    return true;
}

// the linker's --wrap gives these names their meaning
void* __real_malloc(size_t n);
void* __real_calloc(size_t n, size_t size);
void* __real_realloc(void* p, size_t n);
void* __real_aligned_alloc(size_t align, size_t n);
int __real_posix_memalign(void** p, size_t align, size_t n);
char* __real_strdup(const char* s);
void* __real_mmap(void* at, size_t n, int protection, int flags, int fd, off_t offset);
void* __wrap_malloc(size_t n);
void* __wrap_calloc(size_t n, size_t size);
void* __wrap_realloc(void* p, size_t n);
void* __wrap_aligned_alloc(size_t align, size_t n);
int __wrap_posix_memalign(void** p, size_t align, size_t n);
char* __wrap_strdup(const char* s);
void* __wrap_mmap(void* at, size_t n, int protection, int flags, int fd, off_t offset);

void* __wrap_malloc(size_t n) {
    return fails() ? NULL : __real_malloc(n);
}
void* __wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}
void* __wrap_realloc(void* p, size_t n) {
    return fails() ? NULL : __real_realloc(p, n);
}
void* __wrap_aligned_alloc(size_t align, size_t n) {
    return fails() ? NULL : __real_aligned_alloc(align, n);
}
int __wrap_posix_memalign(void** p, size_t align, size_t n) {
    return fails() ? ENOMEM : __real_posix_memalign(p, align, n);
}
char* __wrap_strdup(const char* s) {
    return fails() ? NULL : __real_strdup(s);
}
void* __wrap_mmap(void* at, size_t n, int protection, int flags, int fd, off_t offset) {
    return fails() ? MAP_FAILED : __real_mmap(at, n, protection, flags, fd, offset);
}
