// Arena: everything a module needs is taken here in create; steady-state calls allocate nothing.
#ifndef HWM_BASE_ARENA_H
#define HWM_BASE_ARENA_H

#include <stddef.h>

#include "base/status.h"

typedef struct hwm_arena hwm_arena;

// bytes_max is reserved as address space; pages are touched on use. Blocks are 64-byte aligned and
// zeroed.
hwm_status hwm_arena_create(hwm_arena** out, size_t bytes_max);
void hwm_arena_destroy(hwm_arena** arena);
// NULL when the arena is full: the caller returns HWM_ENOMEM.
void* hwm_arena_alloc(hwm_arena* arena, size_t bytes);
// Stack discipline for scratch: everything taken after the mark is given back (contents are then
// undefined, not zeroed).
size_t hwm_arena_mark(const hwm_arena* arena);
void hwm_arena_release(hwm_arena* arena, size_t mark);
size_t hwm_arena_high_water(const hwm_arena* arena);

#endif
