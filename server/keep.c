// data path  [7] sampler
#include "server/keep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Priorities: blobs "sampler/TABLE/NUMBER" of records { u64 chunk; u32 steps; f32 of rows
// without one of their own; f32 [steps] }.
// Online queues: "sampler/TABLE/online", an array of hwm_online_place.
enum { PART_BYTES = 1 << 16 };
typedef struct record_head {
    uint64_t id;
    uint32_t steps;  // 0: no row has one of its own
    float initial;
} record_head;

static void key_of(char key[64], int table, const char* name) {
    snprintf(key, 64, "sampler/%d/%s", table, name);
}

typedef struct old_keys {
    char (*key)[64];
    size_t n, capacity;
    bool no_memory;
} old_keys;

static void remember_key(void* context, const char* key) {
    old_keys* o = context;
    if (o->n == o->capacity) {
        size_t capacity = o->capacity > 0 ? 2 * o->capacity : 64;
        char(*grown)[64] = realloc(o->key, capacity * sizeof *grown);
        if (grown == NULL) {
            o->no_memory = true;
            return;
        }
        o->key = grown;
        o->capacity = capacity;
    }
    snprintf(o->key[o->n++], sizeof *o->key, "%.63s", key);
}

static hwm_status keys_below(hwm_store* store, int table, old_keys* out, hwm_error* err) {
    char prefix[64];
    *out = (old_keys){0};
    key_of(prefix, table, "");
    hwm_store_blob_list(store, prefix, remember_key, out);
    return out->no_memory ? hwm_fail(err, HWM_ENOMEM, "no memory for the samplers' keys") : HWM_OK;
}

// ---- save

typedef struct part {
    hwm_store_txn* txn;
    int table;
    uint32_t number;
    uint8_t* bytes;
    size_t n, capacity;
} part;

static hwm_status flush(part* p, hwm_error* err) {
    if (p->n == 0) {
        return HWM_OK;
    }
    char key[64], name[16];
    snprintf(name, sizeof name, "%08" PRIu32, p->number++);
    key_of(key, p->table, name);
    hwm_status status = hwm_store_blob_put(p->txn, key, p->bytes, p->n, err);
    p->n = 0;
    return status;
}

static hwm_status put_record(part* p, record_head head, const float* own, hwm_error* err) {
    size_t bytes = sizeof head + head.steps * sizeof *own;
    hwm_status status = p->n > 0 && p->n + bytes > PART_BYTES ? flush(p, err) : HWM_OK;
    if (status == HWM_OK && bytes > p->capacity) {
        uint8_t* grown = realloc(p->bytes, bytes);
        if (grown == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory to keep priorities");
        }
        p->bytes = grown;
        p->capacity = bytes;
    }
    if (status == HWM_OK) {
        memcpy(p->bytes + p->n, &head, sizeof head);
        if (head.steps > 0) {
            memcpy(p->bytes + p->n + sizeof head, own, head.steps * sizeof *own);
        }
        p->n += bytes;
    }
    return status;
}

hwm_status hwm_keep_save(hwm_store_txn* txn, hwm_store* store, int table, hwm_index* index,
                         hwm_error* err) {
    old_keys old;
    part p = {.txn = txn, .table = table, .bytes = malloc(PART_BYTES), .capacity = PART_BYTES};
    hwm_status status = keys_below(store, table, &old, err);
    if (status == HWM_OK && p.bytes == NULL) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory to keep priorities");
    }
    for (size_t i = 0; i < old.n && status == HWM_OK; i++) {
        status = hwm_store_blob_delete(txn, old.key[i], err);
    }
    hwm_index_lock(index, false);
    for (uint64_t id = hwm_index_oldest(index); id <= hwm_index_newest(index) && status == HWM_OK;
         id++) {
        record_head head = {.id = id};
        const float* own;
        if (hwm_index_priorities(index, id, &own, &head.initial)) {
            head.steps = own != NULL ? hwm_index_entry(index, id)->steps : 0;
            status = put_record(&p, head, own, err);
        }
    }
    hwm_online_place place[HWM_ONLINE_MAX];
    int n = hwm_index_online_places(index, place);
    hwm_index_unlock(index);
    if (status == HWM_OK) {
        status = flush(&p, err);
    }
    if (status == HWM_OK && n > 0) {
        char key[64];
        key_of(key, table, "online");
        status = hwm_store_blob_put(txn, key, place, (size_t)n * sizeof *place, err);
    }
    free(p.bytes);
    free(old.key);
    return status;
}

// ---- load

// *next: the chunk after the last one named so far.
static void load_priorities(hwm_index* index, const uint8_t* bytes, size_t size, uint64_t* next) {
    record_head head;
    for (size_t at = 0; at + sizeof head <= size;) {
        memcpy(&head, bytes + at, sizeof head);
        at += sizeof head;
        if (head.steps > (size - at) / sizeof(float)) {
            return;
        }
        hwm_index_priorities_set(index, head.id, bytes + at, head.steps, head.initial);
        at += head.steps * sizeof(float);
        *next = head.id >= *next ? head.id + 1 : *next;
    }
}

hwm_status hwm_keep_load(hwm_store* store, int table, hwm_index* index, hwm_error* err) {
    old_keys keys;
    char online[64];
    key_of(online, table, "online");
    uint64_t next = 0;
    hwm_status status = keys_below(store, table, &keys, err);
    for (size_t i = 0; i < keys.n && status == HWM_OK; i++) {
        void* value;
        size_t size;
        status = hwm_store_blob_get(store, keys.key[i], &value, &size, err);
        if (status == HWM_ECORRUPT) {
            status = HWM_OK;  // hwm check names it; without it the starts count as new
        } else if (status == HWM_OK && strcmp(keys.key[i], online) == 0) {
            hwm_index_online_resume(index, value, (int)(size / sizeof(hwm_online_place)));
            free(value);
        } else if (status == HWM_OK) {
            load_priorities(index, value, size, &next);
            free(value);
        }
    }
    if (next > 0) {
        hwm_index_priorities_new(index, next);  // stored after the last time
    }
    free(keys.key);
    return status;
}
