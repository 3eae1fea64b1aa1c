#include "server/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

uint64_t hwm_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint32_t hwm_map_get(const hwm_map* m, uint64_t key) {
    if (m->capacity == 0) {
        return UINT32_MAX;
    }
    for (size_t i = hwm_mix(key) & (m->capacity - 1); m->value[i] != UINT32_MAX;
         i = (i + 1) & (m->capacity - 1)) {
        if (m->key[i] == key) {
            return m->value[i];
        }
    }
    return UINT32_MAX;
}

static void place(hwm_map* m, uint64_t key, uint32_t value) {
    size_t i = hwm_mix(key) & (m->capacity - 1);
    while (m->value[i] != UINT32_MAX) {
        i = (i + 1) & (m->capacity - 1);
    }
    m->key[i] = key;
    m->value[i] = value;
}

void hwm_map_put(hwm_map* m, uint64_t key, uint32_t value) {
    if ((m->n + 1) * 2 > m->capacity) {
        hwm_map old = *m;
        m->capacity = old.capacity > 0 ? old.capacity * 2 : 64;
        m->key = malloc(m->capacity * sizeof *m->key);
        m->value = malloc(m->capacity * sizeof *m->value);
        HWM_ASSERT(m->key != NULL && m->value != NULL);
        memset(m->value, 0xff, m->capacity * sizeof *m->value);
        for (size_t i = 0; i < old.capacity; i++) {
            if (old.value[i] != UINT32_MAX) {
                place(m, old.key[i], old.value[i]);
            }
        }
        free(old.key);
        free(old.value);
    }
    place(m, key, value);
    m->n++;
}

void hwm_map_delete(hwm_map* m, uint64_t key) {
    size_t mask = m->capacity - 1, i = hwm_mix(key) & mask;
    while (m->value[i] != UINT32_MAX && m->key[i] != key) {
        i = (i + 1) & mask;
    }
    if (m->value[i] == UINT32_MAX) {
        return;
    }
    // close the hole: move up what could no longer be reached
    for (size_t j = (i + 1) & mask; m->value[j] != UINT32_MAX; j = (j + 1) & mask) {
        size_t home = hwm_mix(m->key[j]) & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            m->key[i] = m->key[j];
            m->value[i] = m->value[j];
            i = j;
        }
    }
    m->value[i] = UINT32_MAX;
    m->n--;
}

void hwm_map_free(hwm_map* m) {
    free(m->key);
    free(m->value);
}
