// data path  [9] params
#include "server/hub.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { RULE_KEPT = 64, ACTING_KEPT = 4, STAGES_MAX = 16, GC_CHECKS = 64, KEY_MAX = 128 };
enum {
    RULE_KEPT_BYTES = 64 << 20
};  // of large sets fewer are kept, but never less than ACTING_KEPT
enum { STAGED_BYTES_MAX = 256 << 20 };

typedef struct version {
    uint64_t version, size;
    uint32_t tag, crc;
} version;

typedef struct set {
    char name[HWM_SET_NAME_MAX];
    int n, capacity;
    version* versions;  // ascending
    int scan;           // where the next look for versions to remove begins
} set;

// One stored version in memory: the blob and what lies in it.
typedef struct loaded {
    char set[HWM_SET_NAME_MAX];
    version v;
    uint8_t* blob;
    hwm_param_list* list;
    const uint8_t* values;  // v.size bytes, inside blob
    uint64_t used;
} loaded;

typedef struct stage {
    uint64_t publisher;
    char set[HWM_SET_NAME_MAX];
    version v;
    uint8_t* blob;  // header and specs, then values
    size_t head;    // bytes before the values
    uint64_t received;
} stage;

enum { LOADED_MAX = 4 };
struct hwm_hub {
    hwm_replay* replay;
    int n_sets;
    set sets[HWM_ANNOUNCE_MAX];
    hwm_announce newest[HWM_ANNOUNCE_MAX];
    loaded loaded[LOADED_MAX];
    uint64_t clock;
    stage stages[STAGES_MAX];
    uint64_t staged_bytes, published, fetched_parts, fetched_bytes, removed;
    int64_t published_ns;
};

// ---- blob: "HWMP", u32 number of tensors, specs as stored in memory order below, values

typedef struct spec_record {
    char name[HWM_NAME_MAX];
    uint32_t dtype, ndim, shape[HWM_NDIM_MAX];
} spec_record;

static size_t head_bytes(int n_tensors) {
    return 8 + (size_t)n_tensors * sizeof(spec_record);
}

static void write_head(uint8_t* blob, const hwm_tensor_spec* spec, int n) {
    uint32_t count = (uint32_t)n;
    memcpy(blob, "HWMP", 4);
    memcpy(blob + 4, &count, 4);
    for (int k = 0; k < n; k++) {
        spec_record r;
        memset(&r, 0, sizeof r);
        snprintf(r.name, sizeof r.name, "%s", spec[k].name);
        r.dtype = spec[k].dtype;
        r.ndim = (uint32_t)spec[k].ndim;
        for (int d = 0; d < spec[k].ndim; d++) {
            r.shape[d] = spec[k].shape[d];
        }
        memcpy(blob + head_bytes(k), &r, sizeof r);
    }
}

// False when the head is damaged or does not describe `size` bytes of values.
static bool read_head(const uint8_t* blob, size_t bytes, uint64_t size, hwm_param_list* list) {
    uint32_t n;
    if (bytes < 8 || memcmp(blob, "HWMP", 4) != 0) {
        return false;
    }
    memcpy(&n, blob + 4, 4);
    if (n > HWM_PARAMS_MAX || bytes != head_bytes((int)n) + size) {
        return false;
    }
    hwm_param_list_init(list);
    for (uint32_t k = 0; k < n; k++) {
        spec_record r;
        hwm_tensor_spec spec;
        memcpy(&r, blob + head_bytes((int)k), sizeof r);
        if (r.ndim > HWM_NDIM_MAX || r.dtype != HWM_F32 || r.name[0] == '\0' ||
            memchr(r.name, 0, sizeof r.name) == NULL || hwm_param_list_find(list, r.name) >= 0) {
            return false;
        }
        memset(&spec, 0, sizeof spec);
        memcpy(spec.name, r.name, sizeof spec.name);
        spec.dtype = HWM_F32;
        spec.ndim = (int)r.ndim;
        uint64_t count = 1;
        for (uint32_t d = 0; d < r.ndim; d++) {
            spec.shape[d] = r.shape[d];
            count *= r.shape[d];
            if (count > size) {
                return false;
            }
        }
        hwm_param_list_add(list, spec);
    }
    return list->count * sizeof(float) == size;
}

static void key_of(char* key, const char* name, const version* v) {
    snprintf(key, KEY_MAX, "param/%s/%020" PRIu64 "/%u/%" PRIu64 "/%08x", name, v->version, v->tag,
             v->size, v->crc);
}

// ---- sets and versions

static set* find_set(const hwm_hub* hub, const char* name) {
    for (int k = 0; k < hub->n_sets; k++) {
        if (strcmp(hub->sets[k].name, name) == 0) {
            return (set*)(uintptr_t)&hub->sets[k];
        }
    }
    return NULL;
}

static set* make_set(hwm_hub* hub, const char* name) {
    set* s = find_set(hub, name);
    if (s == NULL && hub->n_sets < HWM_ANNOUNCE_MAX) {
        s = &hub->sets[hub->n_sets++];
        snprintf(s->name, sizeof s->name, "%s", name);
    }
    return s;
}

static const version* find_version(const set* s, uint64_t number) {
    int low = 0, high = s->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (s->versions[middle].version < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < s->n && s->versions[low].version == number ? &s->versions[low] : NULL;
}

static bool insert_version(hwm_hub* hub, set* s, version v) {
    if (s->n == s->capacity) {
        int capacity = s->capacity == 0 ? 16 : 2 * s->capacity;
        version* grown = realloc(s->versions, (size_t)capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        s->versions = grown;
        s->capacity = capacity;
    }
    int at = s->n;
    for (; at > 0 && s->versions[at - 1].version > v.version; at--) {
        s->versions[at] = s->versions[at - 1];
    }
    s->versions[at] = v;
    s->n++;
    version top = s->versions[s->n - 1];
    hwm_announce* a = &hub->newest[s - hub->sets];
    memset(a, 0, sizeof *a);
    memcpy(a->set, s->name, sizeof a->set);
    a->version = top.version;
    a->size = top.size;
    a->tag = top.tag;
    return true;
}

static void visit_key(void* context, const char* key) {
    hwm_hub* hub = context;
    char name[HWM_SET_NAME_MAX];
    version v;
    set* s;
    if (sscanf(key, "param/%31[^/]/%" SCNu64 "/%u/%" SCNu64 "/%x", name, &v.version, &v.tag,
               &v.size, &v.crc) != 5 ||
        (s = make_set(hub, name)) == NULL || !insert_version(hub, s, v)) {
        hwm_log(HWM_LOG_WARN, "hub", "unknown blob", "key=%s", key);
    }
}

hwm_status hwm_hub_create(hwm_hub** out, hwm_replay* replay, hwm_error* err) {
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for the parameter hub");
    }
    (*out)->replay = replay;
    hwm_replay_blob_list(replay, "param/", visit_key, *out);
    return HWM_OK;
}

static void unload(loaded* l) {
    free(l->blob);
    free(l->list);
    memset(l, 0, sizeof *l);
}

static void stage_clear(hwm_hub* hub, stage* s) {
    if (s->blob != NULL) {
        hub->staged_bytes -= s->v.size;
    }
    free(s->blob);
    memset(s, 0, sizeof *s);
}

void hwm_hub_destroy(hwm_hub** hub) {
    hwm_hub* h = *hub;
    if (h == NULL) {
        return;
    }
    for (int k = 0; k < LOADED_MAX; k++) {
        unload(&h->loaded[k]);
    }
    for (int k = 0; k < STAGES_MAX; k++) {
        stage_clear(h, &h->stages[k]);
    }
    for (int k = 0; k < h->n_sets; k++) {
        free(h->sets[k].versions);
    }
    free(h);
    *hub = NULL;
}

// ---- publish

void hwm_hub_forget(hwm_hub* hub, uint64_t publisher) {
    for (int k = 0; k < STAGES_MAX; k++) {
        if (hub->stages[k].blob != NULL && hub->stages[k].publisher == publisher) {
            stage_clear(hub, &hub->stages[k]);
        }
    }
}

static stage* stage_of(hwm_hub* hub, uint64_t publisher, const char* name) {
    for (int k = 0; k < STAGES_MAX; k++) {
        stage* s = &hub->stages[k];
        if (s->blob != NULL && s->publisher == publisher && strcmp(s->set, name) == 0) {
            return s;
        }
    }
    return NULL;
}

// What no longer has to be kept; a bounded number of looks per publish, which go round, so that old
// versions in use do not shelter younger ones that nobody refers to.
static void collect(hwm_hub* hub, set* s, uint32_t tag) {
    int kept = tag == HWM_BLOCK_RULE ? RULE_KEPT : ACTING_KEPT;
    const uint64_t size = s->versions[s->n - 1].size;
    while (kept > ACTING_KEPT && (uint64_t)kept * size > RULE_KEPT_BYTES) {
        kept--;
    }
    // the newest `kept` of the tag stay: nothing from here on is looked at
    int end = s->n;
    for (int of_tag = 0; end > 0 && of_tag < kept; end--) {
        of_tag += s->versions[end - 1].tag == tag;
    }
    for (int looks = 0; looks < GC_CHECKS && end > 0; looks++) {
        if (s->scan >= end) {
            s->scan = 0;
        }
        version v = s->versions[s->scan];
        if (v.tag != tag ||
            (tag == HWM_BLOCK_RULE && hwm_replay_version_in_use(hub->replay, s->name, v.version))) {
            s->scan++;
            continue;
        }
        char key[KEY_MAX];
        key_of(key, s->name, &v);
        if (hwm_replay_blob_delete(hub->replay, key) != HWM_OK) {
            break;
        }
        memmove(&s->versions[s->scan], &s->versions[s->scan + 1],
                (size_t)(s->n - s->scan - 1) * sizeof v);
        s->n--;
        end--;
        hub->removed++;
    }
}

static loaded* load_slot(hwm_hub* hub) {
    loaded* oldest = &hub->loaded[0];
    for (int k = 1; k < LOADED_MAX; k++) {
        if (hub->loaded[k].used < oldest->used) {
            oldest = &hub->loaded[k];
        }
    }
    unload(oldest);
    oldest->used = ++hub->clock;
    return oldest;
}

// All bytes are here: check, store, show.
static hwm_status finish(hwm_hub* hub, stage* s, hwm_error* err) {
    hwm_param_list* list = malloc(sizeof *list);
    hwm_status status = HWM_OK;
    if (list == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for a parameter list");
    }
    if (!read_head(s->blob, s->head + s->v.size, s->v.size, list)) {
        status = hwm_fail(err, HWM_EINVAL,
                          "%s version %" PRIu64 ": tensors do not describe its %" PRIu64 " bytes",
                          s->set, s->v.version, s->v.size);
    } else {
        // head sizes keep the values 4-byte aligned
        uint32_t crc = hwm_params_crc(list, (const float*)(const void*)(s->blob + s->head));
        if (crc != s->v.crc) {
            status = hwm_fail(err, HWM_ECORRUPT,
                              "%s version %" PRIu64 ": checksum %08x arrived, %08x was announced",
                              s->set, s->v.version, crc, s->v.crc);
        }
    }
    set* set_of = status == HWM_OK ? make_set(hub, s->set) : NULL;
    if (status == HWM_OK && set_of == NULL) {
        status = hwm_fail(err, HWM_EFULL, "%d parameter sets exist, the limit", HWM_ANNOUNCE_MAX);
    }
    if (status == HWM_OK) {
        char key[KEY_MAX];
        key_of(key, s->set, &s->v);
        status = hwm_replay_blob_put(hub->replay, key, s->blob, s->head + s->v.size);
        if (status != HWM_OK) {
            hwm_fail(err, status, "%s version %" PRIu64 " cannot be stored: %s", s->set,
                     s->v.version, hwm_status_text(status));
        }
    }
    if (status == HWM_OK && !insert_version(hub, set_of, s->v)) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory for a version");
    }
    if (status != HWM_OK) {
        free(list);
        stage_clear(hub, s);
        return status;
    }
    loaded* l = load_slot(hub);
    memcpy(l->set, s->set, sizeof l->set);
    l->v = s->v;
    l->blob = s->blob;
    l->list = list;
    l->values = s->blob + s->head;
    hub->staged_bytes -= s->v.size;
    hub->published++;
    hub->published_ns = hwm_clock_ns();
    uint32_t tag = s->v.tag;
    memset(s, 0, sizeof *s);
    collect(hub, set_of, tag);
    return HWM_OK;
}

hwm_status hwm_hub_publish(hwm_hub* hub, uint64_t publisher, const hwm_wire_publish* p,
                           bool* complete, hwm_error* err) {
    *complete = false;
    const set* known = find_set(hub, p->set);
    if (known != NULL && known->n > 0) {
        const version* same = find_version(known, p->version);
        if (same != NULL && same->crc == p->crc && same->size == p->size) {
            return HWM_OK;  // a repeated request
        }
        uint64_t top = known->versions[known->n - 1].version;
        if (p->version <= top) {
            return hwm_fail(err, HWM_EEXIST,
                            "%s version %" PRIu64 " is not above the newest, %" PRIu64, p->set,
                            p->version, top);
        }
    }

    stage* s = stage_of(hub, publisher, p->set);
    if (p->offset == 0) {
        if (s != NULL) {
            stage_clear(hub, s);
        }
        for (int k = 0; k < STAGES_MAX && s == NULL; k++) {
            s = hub->stages[k].blob == NULL ? &hub->stages[k] : NULL;
        }
        size_t head = head_bytes(p->n_tensors);
        if (s == NULL || hub->staged_bytes + p->size > STAGED_BYTES_MAX) {
            return hwm_fail(err, HWM_EAGAIN,
                            "%" PRIu64 " bytes of other versions are being received",
                            hub->staged_bytes);
        }
        s->blob = malloc(head + p->size);
        if (s->blob == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for %" PRIu64 " bytes", p->size);
        }
        hub->staged_bytes += p->size;
        s->publisher = publisher;
        snprintf(s->set, sizeof s->set, "%s", p->set);
        s->v = (version){.version = p->version, .size = p->size, .tag = p->tag, .crc = p->crc};
        s->head = head;
        write_head(s->blob, p->tensor, p->n_tensors);
    }
    if (s == NULL || s->v.version != p->version || s->v.size != p->size || s->v.crc != p->crc ||
        s->received != p->offset) {
        return hwm_fail(err, HWM_ENOTFOUND,
                        "%s version %" PRIu64 ": the parts before byte %" PRIu64
                        " are missing: start again",
                        p->set, p->version, p->offset);
    }
    if (p->values.size > 0) {
        memcpy(s->blob + s->head + s->received, p->values.data, p->values.size);
    }
    s->received += p->values.size;
    if (s->received < s->v.size) {
        return HWM_OK;
    }
    hwm_status status = finish(hub, s, err);
    *complete = status == HWM_OK;
    return status;
}

// ---- fetch

static loaded* load(hwm_hub* hub, const set* s, const version* v, hwm_error* err) {
    for (int k = 0; k < LOADED_MAX; k++) {
        loaded* l = &hub->loaded[k];
        if (l->blob != NULL && l->v.version == v->version && strcmp(l->set, s->name) == 0) {
            l->used = ++hub->clock;
            return l;
        }
    }
    char key[KEY_MAX];
    void* blob = NULL;
    size_t bytes = 0;
    key_of(key, s->name, v);
    hwm_status status = hwm_replay_blob_get(hub->replay, key, &blob, &bytes);
    hwm_param_list* list = malloc(sizeof *list);
    if (status != HWM_OK || list == NULL || !read_head(blob, bytes, v->size, list)) {
        free(blob);
        free(list);
        hwm_fail(err, status != HWM_OK ? status : HWM_ECORRUPT,
                 "%s version %" PRIu64 " cannot be read: %s", s->name, v->version,
                 hwm_status_text(status != HWM_OK ? status : HWM_ECORRUPT));
        return NULL;
    }
    loaded* l = load_slot(hub);
    memcpy(l->set, s->name, sizeof l->set);
    l->v = *v;
    l->blob = blob;
    l->list = list;
    l->values = l->blob + head_bytes(list->n);
    return l;
}

hwm_status hwm_hub_fetch(hwm_hub* hub, const hwm_wire_fetch* request, hwm_wire_publish* part,
                         hwm_error* err) {
    static hwm_tensor_spec spec[HWM_PARAMS_MAX];  // of the one router thread
    const set* s = find_set(hub, request->set);
    const version* v = NULL;
    if (s != NULL && s->n > 0) {
        v = request->version == 0 ? &s->versions[s->n - 1] : find_version(s, request->version);
    }
    if (v == NULL) {
        return hwm_fail(err, HWM_ENOTFOUND, "%s version %" PRIu64 " is not stored", request->set,
                        request->version);
    }
    if (request->offset > v->size) {
        return hwm_fail(err, HWM_EINVAL,
                        "offset %" PRIu64 " lies beyond the %" PRIu64 " bytes of %s",
                        request->offset, v->size, request->set);
    }
    hwm_error why = {0};
    loaded* l = load(hub, s, v, &why);
    if (l == NULL) {
        return hwm_fail(err, why.code, "%s", why.text);
    }
    uint64_t room = request->part_bytes == 0 ? HWM_PART_BYTES_MAX : request->part_bytes;
    uint64_t left = l->v.size - request->offset;
    memset(part, 0, sizeof *part);
    part->set = l->set;
    part->version = l->v.version;
    part->tag = l->v.tag;
    part->size = l->v.size;
    part->offset = request->offset;
    part->crc = l->v.crc;
    part->values.data = l->values + request->offset;
    part->values.size = (size_t)(left < room ? left : room);
    if (request->offset == 0) {
        for (int k = 0; k < l->list->n; k++) {
            spec[k] = l->list->entry[k].spec;
        }
        part->n_tensors = l->list->n;
        part->tensor = spec;
    }
    hub->fetched_parts++;
    hub->fetched_bytes += part->values.size;
    return HWM_OK;
}

// ---- what there is

int hwm_hub_newest(const hwm_hub* hub, const hwm_announce** row) {
    *row = hub->newest;
    return hub->n_sets;
}

int hwm_hub_list(const hwm_hub* hub, const char* name, hwm_announce* row, int max) {
    int n = 0;
    for (int k = 0; k < hub->n_sets; k++) {
        const set* s = &hub->sets[k];
        if (name[0] != '\0' && strcmp(name, s->name) != 0) {
            continue;
        }
        for (int j = s->n - 1; j >= 0 && n < max; j--) {
            memset(&row[n], 0, sizeof row[n]);
            memcpy(row[n].set, s->name, sizeof row[n].set);
            row[n].version = s->versions[j].version;
            row[n].size = s->versions[j].size;
            row[n].tag = s->versions[j].tag;
            n++;
        }
    }
    return n;
}

void hwm_hub_stats(const hwm_hub* hub, hwm_text* json) {
    hwm_text_put(json,
                 "{\"published\":%" PRIu64 ",\"fetched_parts\":%" PRIu64
                 ",\"fetched_bytes\":%" PRIu64 ",\"removed\":%" PRIu64 ",\"sets\":{",
                 hub->published, hub->fetched_parts, hub->fetched_bytes, hub->removed);
    for (int k = 0; k < hub->n_sets; k++) {
        const set* s = &hub->sets[k];
        hwm_text_put(json, k > 0 ? "," : "");
        hwm_text_quote(json, s->name);
        hwm_text_put(json, ":{\"version\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"stored\":%d}",
                     hub->newest[k].version, hub->newest[k].size, s->n);
    }
    hwm_text_put(json, "}}");
}
