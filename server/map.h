// uint64 -> uint32, open addressing with linear probing. All zero is an empty map. Running out of
// memory is fatal.
#ifndef HWM_SERVER_MAP_H
#define HWM_SERVER_MAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct hwm_map {
    uint64_t* key;
    uint32_t* value;     // UINT32_MAX: an empty place
    size_t n, capacity;  // power of two
} hwm_map;

uint64_t hwm_mix(uint64_t x);                                  // finaliser of SplitMix64
uint32_t hwm_map_get(const hwm_map* map, uint64_t key);        // UINT32_MAX: not there
void hwm_map_put(hwm_map* map, uint64_t key, uint32_t value);  // the key must not be there
void hwm_map_delete(hwm_map* map, uint64_t key);
void hwm_map_free(hwm_map* map);

#endif
