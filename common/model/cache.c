// A ring of entries, found by an open-addressed table of their places with linear probing; where an
// entry leaves, those behind it in its run move up, so that no mark of it stays.
#include "model/cache.h"

#include <stdlib.h>
#include <string.h>

struct hwm_latent_cache {
    size_t capacity, entries, next;  // next: place that is written next
    size_t mask;                     // of the table: its size - 1
    int width;
    hwm_latent_key* key;  // (capacity)
    float* value;         // (capacity, width)
    uint32_t* table;      // place + 1; 0: empty
};

static size_t bytes_of(size_t capacity, size_t table, int width) {
    return sizeof(hwm_latent_cache) + table * sizeof(uint32_t) +
           capacity * (sizeof(hwm_latent_key) + (size_t)width * sizeof(float));
}

// At least twice the entries, a power of two.
static size_t table_of(size_t capacity) {
    size_t n = 4;
    while (n < 2 * capacity)
        n *= 2;
    return n;
}

hwm_status hwm_latent_cache_create(hwm_latent_cache** out, size_t bytes, int width,
                                   hwm_error* err) {
    *out = NULL;
    size_t capacity = bytes / (sizeof(hwm_latent_key) + (size_t)width * sizeof(float));
    if (capacity > UINT32_MAX / 4)
        capacity = UINT32_MAX / 4;
    while (capacity > 0 && bytes_of(capacity, table_of(capacity), width) > bytes)
        capacity -= capacity / 16 + 1;
    if (capacity == 0)
        return hwm_fail(err, HWM_EINVAL, "%zu bytes hold no latent: one of this model needs %zu",
                        bytes, bytes_of(1, table_of(1), width));
    hwm_latent_cache* c = calloc(1, sizeof *c);
    if (!c)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the latent cache");
    c->capacity = capacity;
    c->width = width;
    c->mask = table_of(capacity) - 1;
    c->key = calloc(capacity, sizeof *c->key);
    c->value = calloc(capacity * (size_t)width, sizeof *c->value);
    c->table = calloc(c->mask + 1, sizeof *c->table);
    if (!c->key || !c->value || !c->table) {
        hwm_latent_cache_destroy(&c);
        return hwm_fail(err, HWM_ENOMEM, "no memory for the latent cache: %zu bytes", bytes);
    }
    *out = c;
    return HWM_OK;
}

void hwm_latent_cache_destroy(hwm_latent_cache** cache) {
    if (!cache || !*cache)
        return;
    free((*cache)->key);
    free((*cache)->value);
    free((*cache)->table);
    free(*cache);
    *cache = NULL;
}

// Finaliser of splitmix64 over both numbers.
static size_t home(const hwm_latent_cache* c, hwm_latent_key k) {
    uint64_t x = k.stream * 0x9e3779b97f4a7c15u + k.step;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (size_t)(x ^ (x >> 31)) & c->mask;
}

// Where in the table the key is, or the empty place that ends its run.
static size_t find(const hwm_latent_cache* c, hwm_latent_key k) {
    size_t at = home(c, k);
    for (; c->table[at] != 0; at = (at + 1) & c->mask) {
        const hwm_latent_key* have = &c->key[c->table[at] - 1];
        if (have->stream == k.stream && have->step == k.step)
            break;
    }
    return at;
}

static void leave(hwm_latent_cache* c, hwm_latent_key k) {
    size_t hole = find(c, k);
    for (size_t at = (hole + 1) & c->mask; c->table[at] != 0; at = (at + 1) & c->mask) {
        // whoever is at home at or before the hole, seen from where it lies, moves into it
        const size_t from = home(c, c->key[c->table[at] - 1]);
        if (((at - from) & c->mask) >= ((at - hole) & c->mask)) {
            c->table[hole] = c->table[at];
            hole = at;
        }
    }
    c->table[hole] = 0;
}

float* hwm_latent_cache_put(hwm_latent_cache* c, hwm_latent_key key) {
    size_t at = find(c, key);
    if (c->table[at] == 0) {
        const size_t place = c->next;
        if (c->entries == c->capacity) {
            leave(c, c->key[place]);
            at = find(c, key);
        } else {
            c->entries++;
        }
        c->key[place] = key;
        c->table[at] = (uint32_t)place + 1;
        c->next = (place + 1) % c->capacity;
    }
    return c->value + (size_t)(c->table[at] - 1) * (size_t)c->width;
}

const float* hwm_latent_cache_get(const hwm_latent_cache* c, hwm_latent_key key) {
    const uint32_t place = c->table[find(c, key)];
    return place == 0 ? NULL : c->value + (size_t)(place - 1) * (size_t)c->width;
}

void hwm_latent_cache_clear(hwm_latent_cache* c) {
    memset(c->table, 0, (c->mask + 1) * sizeof *c->table);
    c->entries = c->next = 0;
}

size_t hwm_latent_cache_entries(const hwm_latent_cache* c) {
    return c->entries;
}

size_t hwm_latent_cache_capacity(const hwm_latent_cache* c) {
    return c->capacity;
}
