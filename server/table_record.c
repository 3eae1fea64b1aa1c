#include "server/table_record.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc.h"

// record: u32 version, fixed part, one spec_record per column and key, u32 length of the
// experiment, its text, u32 crc
enum { TABLE_RECORD_VERSION = 2 };
typedef struct fixed_record {
    uint32_t version;
    uint32_t n_columns;
    uint32_t n_keys;
    uint32_t experiment_bytes;
    char name[64];
    double samples_per_insert;
    int64_t min_size_steps;
    int64_t burst_steps;
    int64_t prefetch_steps;
    int64_t capacity_steps;
    int64_t capacity_bytes;
    uint64_t seed;
    // from version 2 on
    double limiter_offset;
    uint32_t max_times_sampled;
    uint32_t order_streams;
    uint32_t order_steps;
    uint32_t order_first_steps;
} fixed_record;
typedef struct spec_record {
    char name[HWM_NAME_MAX];
    uint32_t dtype;
    uint32_t ndim;
    uint32_t shape[HWM_NDIM_MAX];
    uint32_t codec;  // from version 2 on
} spec_record;

static size_t fixed_bytes(uint32_t version) {
    return version == 1 ? offsetof(fixed_record, limiter_offset) : sizeof(fixed_record);
}

static size_t spec_bytes(uint32_t version) {
    return version == 1 ? offsetof(spec_record, codec) : sizeof(spec_record);
}

static size_t experiment_length(const hwm_table_config* config) {
    return config->experiment != NULL ? strlen(config->experiment) : 0;
}

size_t hwm_table_record_bytes(const hwm_table_config* config) {
    size_t n = (size_t)(config->signature.n_columns + config->signature.n_keys);
    return sizeof(fixed_record) + n * sizeof(spec_record) + experiment_length(config) + 4;
}

static uint8_t* put_spec(uint8_t* at, const hwm_tensor_spec* spec) {
    spec_record r = {.dtype = (uint32_t)spec->dtype,
                     .ndim = (uint32_t)spec->ndim,
                     .codec = (uint32_t)spec->codec};
    memcpy(r.name, spec->name, sizeof r.name);
    memcpy(r.shape, spec->shape, sizeof r.shape);
    memcpy(at, &r, sizeof r);
    return at + sizeof r;
}

void hwm_table_record_write(const hwm_table_config* config, double limiter_offset, void* out) {
    const hwm_signature* s = &config->signature;
    fixed_record f = {
        .version = TABLE_RECORD_VERSION,
        .n_columns = (uint32_t)s->n_columns,
        .n_keys = (uint32_t)s->n_keys,
        .experiment_bytes = (uint32_t)experiment_length(config),
        .samples_per_insert = config->limiter.samples_per_insert,
        .min_size_steps = config->limiter.min_size_steps,
        .burst_steps = config->limiter.burst_steps,
        .prefetch_steps = config->limiter.prefetch_steps,
        .capacity_steps = config->capacity_steps,
        .capacity_bytes = config->capacity_bytes,
        .seed = config->seed,
        .limiter_offset = limiter_offset,
        .max_times_sampled = config->max_times_sampled,
        .order_streams = config->order_streams,
        .order_steps = config->order_steps,
        .order_first_steps = config->order_first_steps,
    };
    memcpy(f.name, config->name, sizeof f.name);
    uint8_t* at = out;
    memcpy(at, &f, sizeof f);
    at += sizeof f;
    for (int i = 0; i < s->n_columns; i++) {
        at = put_spec(at, &s->column[i]);
    }
    for (int i = 0; i < s->n_keys; i++) {
        at = put_spec(at, &s->key[i]);
    }
    if (f.experiment_bytes > 0) {
        memcpy(at, config->experiment, f.experiment_bytes);
        at += f.experiment_bytes;
    }
    uint32_t crc = hwm_crc32c(0, out, (size_t)(at - (uint8_t*)out));
    memcpy(at, &crc, sizeof crc);
}

static const uint8_t* get_spec(const uint8_t* at, uint32_t version, hwm_tensor_spec* spec) {
    spec_record r = {.codec = HWM_CODEC_RAW};
    memcpy(&r, at, spec_bytes(version));
    memset(spec, 0, sizeof *spec);
    memcpy(spec->name, r.name, sizeof spec->name - 1);
    spec->dtype = (hwm_dtype)r.dtype;
    spec->ndim = (int)r.ndim;
    memcpy(spec->shape, r.shape, sizeof spec->shape);
    spec->codec = (hwm_codec)r.codec;
    return at + spec_bytes(version);
}

hwm_status hwm_table_record_read(const void* bytes, size_t size, hwm_table_config* config,
                                 double* limiter_offset, char** experiment, hwm_error* err) {
    *experiment = NULL;
    memset(config, 0, sizeof *config);
    fixed_record f = {.limiter_offset = 0};
    if (size < fixed_bytes(1) + 4) {
        return hwm_fail(err, HWM_ECORRUPT, "table record has %zu bytes, less than its header",
                        size);
    }
    uint32_t version;
    memcpy(&version, bytes, sizeof version);
    if (version < 1 || version > TABLE_RECORD_VERSION) {
        return hwm_fail(err, HWM_EVERSION,
                        "table record is of version %u; this program reads 1 to %d", version,
                        TABLE_RECORD_VERSION);
    }
    uint32_t crc;
    memcpy(&crc, (const uint8_t*)bytes + size - 4, 4);
    if (crc != hwm_crc32c(0, bytes, size - 4)) {
        return hwm_fail(err, HWM_ECORRUPT, "table record of %zu bytes fails its checksum", size);
    }
    const size_t head = fixed_bytes(version), spec = spec_bytes(version);
    if (size < head + 4) {
        return hwm_fail(err, HWM_ECORRUPT, "table record has %zu bytes, less than its header",
                        size);
    }
    memcpy(&f, bytes, head);
    if (f.n_columns > HWM_COLUMNS_MAX || f.n_keys > HWM_KEYS_MAX ||
        size != head + (f.n_columns + f.n_keys) * spec + f.experiment_bytes + 4) {
        return hwm_fail(err, HWM_ECORRUPT,
                        "table record of %zu bytes: %u columns, %u keys do not fit", size,
                        f.n_columns, f.n_keys);
    }
    memcpy(config->name, f.name, sizeof config->name - 1);
    config->limiter.samples_per_insert = f.samples_per_insert;
    config->limiter.min_size_steps = f.min_size_steps;
    config->limiter.burst_steps = f.burst_steps;
    config->limiter.prefetch_steps = f.prefetch_steps;
    config->capacity_steps = f.capacity_steps;
    config->capacity_bytes = f.capacity_bytes;
    config->seed = f.seed;
    config->max_times_sampled = f.max_times_sampled;
    config->order_streams = f.order_streams;
    config->order_steps = f.order_steps;
    config->order_first_steps = f.order_first_steps;
    *limiter_offset = f.limiter_offset;
    config->signature.n_columns = (int)f.n_columns;
    config->signature.n_keys = (int)f.n_keys;
    const uint8_t* at = (const uint8_t*)bytes + head;
    for (uint32_t i = 0; i < f.n_columns; i++) {
        at = get_spec(at, version, &config->signature.column[i]);
    }
    for (uint32_t i = 0; i < f.n_keys; i++) {
        at = get_spec(at, version, &config->signature.key[i]);
    }
    hwm_status status = hwm_signature_check(&config->signature, err);
    if (status != HWM_OK) {
        return HWM_ECORRUPT;
    }
    *experiment = malloc(f.experiment_bytes + 1u);
    if (*experiment == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for an experiment of %u bytes",
                        f.experiment_bytes);
    }
    memcpy(*experiment, at, f.experiment_bytes);
    (*experiment)[f.experiment_bytes] = '\0';
    config->experiment = *experiment;
    return HWM_OK;
}
