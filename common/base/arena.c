// One reserved range of address space, handed out from the bottom.
//
// Pages arrive zeroed from the kernel when they are touched, so reserving generously costs nothing.
// Under AddressSanitizer everything that is not handed out is poisoned, the padding between blocks
// included.
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define ARENA_POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define ARENA_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
enum { ARENA_GAP_BYTES = 64 };  // so that running over a block of a full 64 bytes is seen as well
#else
#define ARENA_POISON(p, n)   ((void)0)
#define ARENA_UNPOISON(p, n) ((void)0)
enum { ARENA_GAP_BYTES = 0 };
#endif

enum { ARENA_ALIGN_BYTES = 64 };

struct hwm_arena {
    unsigned char* base;
    size_t reserved;    // bytes of address space
    size_t limit;       // bytes that may be handed out
    size_t used;        // bytes handed out, padding included
    size_t high_water;  // largest value of used so far
};

hwm_status hwm_arena_create(hwm_arena** out, size_t bytes_max) {
    *out = NULL;
    if (bytes_max == 0 || bytes_max > SIZE_MAX / 4)
        return HWM_EINVAL;
    hwm_arena* a = calloc(1, sizeof *a);
    if (!a)
        return HWM_ENOMEM;
    // the gaps that AddressSanitizer adds must not make a program run out that fits without it
    a->reserved = ARENA_GAP_BYTES ? 2 * bytes_max + 4096 : bytes_max;
    a->limit = a->reserved;
    a->base = mmap(NULL, a->reserved, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->base == MAP_FAILED) {
        free(a);
        return HWM_ENOMEM;
    }
    ARENA_POISON(a->base, a->reserved);
    *out = a;
    return HWM_OK;
}

void hwm_arena_destroy(hwm_arena** arena) {
    hwm_arena* a = *arena;
    if (!a)
        return;
    ARENA_UNPOISON(a->base, a->reserved);
    munmap(a->base, a->reserved);
    free(a);
    *arena = NULL;
}

void* hwm_arena_alloc(hwm_arena* a, size_t bytes) {
    if (bytes > a->limit - a->used)
        return NULL;
    size_t padded = (bytes + ARENA_GAP_BYTES + ARENA_ALIGN_BYTES - 1) & ~(size_t)63;
    if (padded > a->limit - a->used)
        padded = a->limit - a->used;  // the last block may end flush with the arena
    void* p = a->base + a->used;
    ARENA_UNPOISON(p, bytes);
    a->used += padded;
    if (a->used > a->high_water)
        a->high_water = a->used;
    return p;
}

size_t hwm_arena_mark(const hwm_arena* a) {
    return a->used;
}

void hwm_arena_release(hwm_arena* a, size_t mark) {
    HWM_ASSERT(mark <= a->used);
    ARENA_POISON(a->base + mark, a->used - mark);
    a->used = mark;
}

size_t hwm_arena_high_water(const hwm_arena* a) {
    return a->high_water;
}
