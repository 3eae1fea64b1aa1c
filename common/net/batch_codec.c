// data path  [4] wire
//
// The two bulk envelopes, written in one pass: Request{append} from a chunk and Reply{sample} from
// a batch.
#include <stdlib.h>
#include <string.h>

#include "net/chunk_codec.h"
#include "net/codec.h"
#include "net/packed.h"
#include "net/pb.h"
#include "net/wire.h"

enum { ENVELOPE_PROTOCOL = 1, ENVELOPE_ID = 2 };
enum { APPEND_TABLE = 1, APPEND_CHUNK = 2 };
enum {
    SAMPLE_BATCH = 1,
    SAMPLE_LENGTH,
    SAMPLE_CONTEXT,
    SAMPLE_INSERTED,
    SAMPLE_ROW,
    SAMPLE_PREFIX,
    SAMPLE_SEGMENT_ROW,
    SAMPLE_SEGMENT_PARAM,
    SAMPLE_PARAM,
    SAMPLE_ENV,
    SAMPLE_INCARNATION,
    SAMPLE_STEP,
    SAMPLE_EPISODE,
    SAMPLE_PROBABILITY,
    SAMPLE_AGE,
    SAMPLE_COLUMN,
    SAMPLE_KEY
};

void* hwm_wire_append(uint64_t id, const hwm_signature* signature, const hwm_chunk* chunk,
                      size_t* size) {
    size_t chunk_bytes = hwm_chunk_encoded_bytes(signature, chunk);
    size_t append_bytes = pb_field_bytes(APPEND_CHUNK, chunk_bytes);
    *size = pb_number_bytes(ENVELOPE_PROTOCOL, HWM_PROTOCOL) + pb_number_bytes(ENVELOPE_ID, id) +
            pb_field_bytes(HWM_REQUEST_APPEND, append_bytes);
    uint8_t* bytes = malloc(*size);
    if (bytes == NULL) {
        return NULL;
    }
    uint8_t* at = pb_put_number(bytes, ENVELOPE_PROTOCOL, HWM_PROTOCOL);
    at = pb_put_number(at, ENVELOPE_ID, id);
    at = pb_put_head(at, HWM_REQUEST_APPEND, append_bytes);
    at = pb_put_head(at, APPEND_CHUNK, chunk_bytes);
    at += hwm_chunk_encode(signature, chunk, at, chunk_bytes);
    HWM_ASSERT((size_t)(at - bytes) == *size);
    return bytes;
}

static bool same_param(const hwm_param_ref* a, const hwm_param_ref* b) {
    return a->version == b->version && a->perturbation_seed == b->perturbation_seed &&
           a->sign == b->sign && memcmp(&a->sigma, &b->sigma, sizeof a->sigma) == 0 &&
           strncmp(a->set, b->set, sizeof a->set) == 0;
}

// Segments name their params through a dictionary: most batches hold a few versions only.
typedef struct dictionary {
    int n;
    int* first;       // (n) segment that named it first
    uint32_t* index;  // (segments)
} dictionary;

static bool dictionary_build(dictionary* d, const hwm_batch* batch) {
    size_t n = batch->n_segments > 0 ? (size_t)batch->n_segments : 1;
    d->n = 0;
    d->first = malloc(n * sizeof *d->first);
    d->index = malloc(n * sizeof *d->index);
    if (d->first == NULL || d->index == NULL) {
        return false;
    }
    for (int s = 0; s < batch->n_segments; s++) {
        int k = 0;
        while (k < d->n &&
               !same_param(&batch->segment[d->first[k]].param, &batch->segment[s].param)) {
            k++;
        }
        if (k == d->n) {
            d->first[d->n++] = s;
        }
        d->index[s] = (uint32_t)k;
    }
    return true;
}

// One array of a struct member: gathered straight into the message.
#define PUT_MEMBER(at, field, n, type, expression)                                                 \
    do {                                                                                           \
        (at) = pb_put_head((at), (field), (size_t)(n) * sizeof(type));                             \
        for (int put_i = 0; put_i < (n); put_i++) {                                                \
            type put_value = (type)(expression);                                                   \
            memcpy((at), &put_value, sizeof put_value);                                            \
            (at) += sizeof put_value;                                                              \
        }                                                                                          \
    } while (0)

// A column that was not asked for travels empty.
static size_t column_bytes(const hwm_signature* signature, const hwm_batch* batch, int c,
                           size_t rows) {
    return batch->column[c] == NULL     ? 0
           : batch->packed_bytes[c] > 0 ? batch->packed_bytes[c]
                                        : rows * hwm_tensor_bytes(&signature->column[c]);
}

void* hwm_wire_batch(uint64_t id, const hwm_signature* signature, const hwm_batch* batch,
                     size_t* size) {
    const size_t B = (size_t)batch->batch, G = (size_t)batch->n_segments;
    const size_t rows = batch->row[batch->batch];
    const bool keys = signature->n_keys > 0 && batch->key[0] != NULL;
    uint8_t* bytes = NULL;
    dictionary d;
    if (!dictionary_build(&d, batch)) {
        goto done;
    }

    // sizes first, so that every length is known when its field is written
    size_t body =
        pb_number_bytes(SAMPLE_BATCH, B) + pb_number_bytes(SAMPLE_LENGTH, (uint64_t)batch->length) +
        pb_number_bytes(SAMPLE_CONTEXT, (uint64_t)batch->context) +
        pb_number_bytes(SAMPLE_INSERTED, (uint64_t)batch->inserted_steps) +
        pb_field_bytes(SAMPLE_ROW, 4 * (B + 1)) + pb_field_bytes(SAMPLE_PREFIX, 4 * B) +
        pb_field_bytes(SAMPLE_SEGMENT_ROW, 4 * G) + pb_field_bytes(SAMPLE_SEGMENT_PARAM, 4 * G) +
        pb_field_bytes(SAMPLE_ENV, 4 * B) + pb_field_bytes(SAMPLE_INCARNATION, 4 * B) +
        pb_field_bytes(SAMPLE_STEP, 8 * B) + pb_field_bytes(SAMPLE_EPISODE, 4 * B) +
        pb_field_bytes(SAMPLE_PROBABILITY, 8 * B) + pb_field_bytes(SAMPLE_AGE, 8 * B);
    for (int k = 0; k < d.n; k++) {
        body +=
            pb_field_bytes(SAMPLE_PARAM, hwm_param_ref_bytes(&batch->segment[d.first[k]].param));
    }
    for (int c = 0; c < signature->n_columns; c++) {
        body += pb_field_bytes(SAMPLE_COLUMN, column_bytes(signature, batch, c, rows));
    }
    for (int k = 0; keys && k < signature->n_keys; k++) {
        body += pb_field_bytes(SAMPLE_KEY, B * hwm_tensor_bytes(&signature->key[k]));
    }
    *size = pb_number_bytes(ENVELOPE_PROTOCOL, HWM_PROTOCOL) + pb_number_bytes(ENVELOPE_ID, id) +
            pb_field_bytes(HWM_REPLY_SAMPLE, body);
    if (*size > HWM_MESSAGE_BYTES_MAX || (bytes = malloc(*size)) == NULL) {
        goto done;
    }

    uint8_t* at = pb_put_number(bytes, ENVELOPE_PROTOCOL, HWM_PROTOCOL);
    at = pb_put_number(at, ENVELOPE_ID, id);
    at = pb_put_head(at, HWM_REPLY_SAMPLE, body);
    at = pb_put_number(at, SAMPLE_BATCH, B);
    at = pb_put_number(at, SAMPLE_LENGTH, (uint64_t)batch->length);
    at = pb_put_number(at, SAMPLE_CONTEXT, (uint64_t)batch->context);
    at = pb_put_number(at, SAMPLE_INSERTED, (uint64_t)batch->inserted_steps);
    at = pb_put_bytes(at, SAMPLE_ROW, batch->row, 4 * (B + 1));
    at = pb_put_bytes(at, SAMPLE_PREFIX, batch->prefix, 4 * B);
    PUT_MEMBER(at, SAMPLE_SEGMENT_ROW, batch->n_segments, uint32_t, batch->segment[put_i].row);
    at = pb_put_bytes(at, SAMPLE_SEGMENT_PARAM, d.index, 4 * G);
    for (int k = 0; k < d.n; k++) {
        const hwm_param_ref* param = &batch->segment[d.first[k]].param;
        at = pb_put_head(at, SAMPLE_PARAM, hwm_param_ref_bytes(param));
        at = hwm_param_ref_put(at, param);
    }
    PUT_MEMBER(at, SAMPLE_ENV, batch->batch, uint32_t, batch->stream[put_i].env);
    PUT_MEMBER(at, SAMPLE_INCARNATION, batch->batch, uint32_t, batch->stream[put_i].incarnation);
    at = pb_put_bytes(at, SAMPLE_STEP, batch->step, 8 * B);
    at = pb_put_bytes(at, SAMPLE_EPISODE, batch->episode, 4 * B);
    at = pb_put_bytes(at, SAMPLE_PROBABILITY, batch->probability, 8 * B);
    at = pb_put_bytes(at, SAMPLE_AGE, batch->age_steps, 8 * B);
    for (int c = 0; c < signature->n_columns; c++) {
        at = pb_put_bytes(at, SAMPLE_COLUMN, batch->column[c],
                          column_bytes(signature, batch, c, rows));
    }
    for (int k = 0; keys && k < signature->n_keys; k++) {
        at = pb_put_bytes(at, SAMPLE_KEY, batch->key[k], B * hwm_tensor_bytes(&signature->key[k]));
    }
    HWM_ASSERT((size_t)(at - bytes) == *size);

done:
    free(d.first);
    free(d.index);
    return bytes;
}

// ---- reading a SampleReply

// Where its fields lie in the message.
typedef struct located {
    uint64_t batch, length, context, inserted;
    hwm_bytes array[SAMPLE_KEY + 1];  // by field number
    hwm_bytes column[HWM_COLUMNS_MAX], key[HWM_KEYS_MAX];
    int n_columns, n_keys, n_params;
    bool bad;
} located;

static located locate(hwm_bytes reply) {
    located l;
    memset(&l, 0, sizeof l);
    pb_reader r = pb_reader_of(reply.data, reply.size);
    uint32_t field;
    int type;
    while (pb_next(&r, &field, &type)) {
        if (type == PB_VARINT && field >= SAMPLE_BATCH && field <= SAMPLE_INSERTED) {
            uint64_t* number[] = {&l.batch, &l.length, &l.context, &l.inserted};
            *number[field - SAMPLE_BATCH] = pb_get_varint(&r);
        } else if (type == PB_BYTES && field >= SAMPLE_ROW && field <= SAMPLE_KEY) {
            pb_reader inner = pb_get_bytes(&r);
            hwm_bytes bytes = {inner.at, (size_t)(inner.end - inner.at)};
            if (field == SAMPLE_COLUMN) {
                l.bad |= l.n_columns == HWM_COLUMNS_MAX;
                l.column[l.n_columns < HWM_COLUMNS_MAX ? l.n_columns++ : 0] = bytes;
            } else if (field == SAMPLE_KEY) {
                l.bad |= l.n_keys == HWM_KEYS_MAX;
                l.key[l.n_keys < HWM_KEYS_MAX ? l.n_keys++ : 0] = bytes;
            } else {
                l.n_params += field == SAMPLE_PARAM;
                l.array[field] = bytes;
            }
        } else {
            pb_skip(&r, type);
        }
    }
    l.bad |= r.bad;
    return l;
}

// The dictionary of params, in a second pass: it is a repeated field of any length.
static bool read_params(hwm_bytes reply, hwm_param_ref* param) {
    pb_reader r = pb_reader_of(reply.data, reply.size);
    uint32_t field;
    int type, n = 0;
    while (pb_next(&r, &field, &type)) {
        if (field == SAMPLE_PARAM && type == PB_BYTES) {
            pb_reader inner = pb_get_bytes(&r);
            if (!hwm_param_ref_get(inner.at, (size_t)(inner.end - inner.at), &param[n++])) {
                return false;
            }
        } else {
            pb_skip(&r, type);
        }
    }
    return true;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

static void* take(uint8_t** at, size_t bytes) {
    void* p = *at;
    *at += aligned(bytes);
    return p;
}

static void* take_copy(uint8_t** at, hwm_bytes bytes) {
    void* p = take(at, bytes.size);
    if (bytes.size > 0) {
        memcpy(p, bytes.data, bytes.size);
    }
    return p;
}

// Everything a reader relies on: counts, ascending rows, sizes against the signature.
static hwm_status check_located(const hwm_signature* signature, const located* l, hwm_error* err) {
    static const struct {
        int field;
        size_t element, extra;
        const char* name;
    } array[] = {
        {SAMPLE_ROW, 4, 1, "row"},
        {SAMPLE_PREFIX, 4, 0, "prefix"},
        {SAMPLE_ENV, 4, 0, "env"},
        {SAMPLE_INCARNATION, 4, 0, "incarnation"},
        {SAMPLE_STEP, 8, 0, "step"},
        {SAMPLE_EPISODE, 4, 0, "episode"},
        {SAMPLE_PROBABILITY, 8, 0, "probability"},
        {SAMPLE_AGE, 8, 0, "age_steps"},
    };
    if (l->bad) {
        return hwm_fail(err, HWM_EPROTO, "sample reply is malformed");
    }
    if (l->batch < 1 || l->batch > INT32_MAX / 8 || l->length > INT32_MAX ||
        l->context > INT32_MAX) {
        return hwm_fail(err, HWM_EPROTO, "sample reply claims %llu sequences of %llu rows",
                        (unsigned long long)l->batch, (unsigned long long)l->length);
    }
    for (size_t a = 0; a < sizeof array / sizeof array[0]; a++) {
        size_t want = array[a].element * (l->batch + array[a].extra);
        if (l->array[array[a].field].size != want) {
            return hwm_fail(err, HWM_EPROTO, "sample reply: %s has %zu bytes, %zu are expected",
                            array[a].name, l->array[array[a].field].size, want);
        }
    }
    uint32_t previous = 0;
    for (uint64_t b = 0; b <= l->batch; b++) {
        uint32_t row;
        memcpy(&row, (const uint8_t*)l->array[SAMPLE_ROW].data + 4 * b, 4);
        if (row < previous || (b == 0 && row != 0)) {
            return hwm_fail(err, HWM_EPROTO, "sample reply: row %llu of %llu goes back to %u",
                            (unsigned long long)b, (unsigned long long)l->batch, row);
        }
        if (b > 0) {
            uint32_t prefix;
            memcpy(&prefix, (const uint8_t*)l->array[SAMPLE_PREFIX].data + 4 * (b - 1), 4);
            if ((uint64_t)prefix + l->length + 2 * l->context != row - previous) {
                return hwm_fail(err, HWM_EPROTO,
                                "sample reply: sequence %llu has %u rows, not %u + %llu + 2 * %llu",
                                (unsigned long long)(b - 1), row - previous, prefix,
                                (unsigned long long)l->length, (unsigned long long)l->context);
            }
        }
        previous = row;
    }
    size_t segments = l->array[SAMPLE_SEGMENT_ROW].size / 4;
    if (l->array[SAMPLE_SEGMENT_ROW].size % 4 != 0 ||
        l->array[SAMPLE_SEGMENT_PARAM].size != 4 * segments || segments > INT32_MAX / 128) {
        return hwm_fail(err, HWM_EPROTO, "sample reply: segments do not match their params");
    }
    for (size_t s = 0; s < segments; s++) {
        uint32_t k;
        memcpy(&k, (const uint8_t*)l->array[SAMPLE_SEGMENT_PARAM].data + 4 * s, 4);
        if (k >= (uint32_t)l->n_params) {
            return hwm_fail(err, HWM_EPROTO, "sample reply: segment %zu names param %u of %d", s, k,
                            l->n_params);
        }
    }
    if (l->n_columns != signature->n_columns ||
        (l->n_keys != 0 && l->n_keys != signature->n_keys)) {
        return hwm_fail(err, HWM_ESIGNATURE,
                        "sample reply has %d columns and %d keys; the table has %d and %d",
                        l->n_columns, l->n_keys, signature->n_columns, signature->n_keys);
    }
    for (int c = 0; c < l->n_columns; c++) {
        if (l->column[c].size != 0 && signature->column[c].codec == HWM_CODEC_RAW &&
            l->column[c].size != previous * hwm_tensor_bytes(&signature->column[c])) {
            return hwm_fail(err, HWM_ESIGNATURE,
                            "sample reply: column %s has %zu bytes for %u rows",
                            signature->column[c].name, l->column[c].size, previous);
        }
    }
    for (int k = 0; k < l->n_keys; k++) {
        if (l->key[k].size != l->batch * hwm_tensor_bytes(&signature->key[k])) {
            return hwm_fail(err, HWM_ESIGNATURE,
                            "sample reply: key %s has %zu bytes for %llu sequences",
                            signature->key[k].name, l->key[k].size, (unsigned long long)l->batch);
        }
    }
    return HWM_OK;
}

// Bytes of column c as values.
static size_t value_bytes(const hwm_signature* signature, const located* l, int c) {
    uint32_t rows;
    memcpy(&rows, (const uint8_t*)l->array[SAMPLE_ROW].data + 4 * l->batch, 4);
    return l->column[c].size > 0 ? rows * hwm_tensor_bytes(&signature->column[c]) : 0;
}

hwm_status hwm_wire_batch_decode(const hwm_signature* signature, hwm_packer* packer,
                                 hwm_bytes reply, void** block, size_t* block_bytes,
                                 hwm_batch* batch, hwm_error* err) {
    located l = locate(reply);
    hwm_status s = check_located(signature, &l, err);
    if (s != HWM_OK) {
        return s;
    }
    const size_t B = (size_t)l.batch, G = l.array[SAMPLE_SEGMENT_ROW].size / 4;

    // one block for everything
    size_t need = 64 + aligned(B * sizeof *batch->stream) + aligned(G * sizeof *batch->segment) +
                  aligned((size_t)l.n_params * sizeof(hwm_param_ref));
    for (int f = SAMPLE_ROW; f <= SAMPLE_AGE; f++) {
        need += aligned(l.array[f].size);
    }
    for (int c = 0; c < l.n_columns; c++) {
        need += aligned(value_bytes(signature, &l, c));
    }
    for (int k = 0; k < l.n_keys; k++) {
        need += aligned(l.key[k].size);
    }
    if (need > *block_bytes) {
        free(*block);
        *block_bytes = 0;
        if ((*block = malloc(need + need / 4)) == NULL) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for a batch of %zu bytes", need);
        }
        *block_bytes = need + need / 4;
    }

    memset(batch, 0, sizeof *batch);
    batch->batch = (int)l.batch;
    batch->length = (int)l.length;
    batch->context = (int)l.context;
    batch->inserted_steps = (int64_t)l.inserted;
    batch->n_segments = (int)G;
    uint8_t* at = (uint8_t*)(((uintptr_t)*block + 63) & ~(uintptr_t)63);
    batch->row = take_copy(&at, l.array[SAMPLE_ROW]);
    batch->prefix = take_copy(&at, l.array[SAMPLE_PREFIX]);
    batch->step = take_copy(&at, l.array[SAMPLE_STEP]);
    batch->episode = take_copy(&at, l.array[SAMPLE_EPISODE]);
    batch->probability = take_copy(&at, l.array[SAMPLE_PROBABILITY]);
    batch->age_steps = take_copy(&at, l.array[SAMPLE_AGE]);
    batch->stream = take(&at, B * sizeof *batch->stream);
    for (size_t b = 0; b < B; b++) {
        memcpy(&batch->stream[b].env, (const uint8_t*)l.array[SAMPLE_ENV].data + 4 * b, 4);
        memcpy(&batch->stream[b].incarnation,
               (const uint8_t*)l.array[SAMPLE_INCARNATION].data + 4 * b, 4);
    }
    hwm_param_ref* param = take(&at, (size_t)l.n_params * sizeof *param);
    if (!read_params(reply, param)) {
        return hwm_fail(err, HWM_EPROTO, "sample reply has a malformed param_ref");
    }
    batch->segment = take(&at, G * sizeof *batch->segment);
    for (size_t g = 0; g < G; g++) {
        uint32_t k;
        memcpy(&k, (const uint8_t*)l.array[SAMPLE_SEGMENT_PARAM].data + 4 * g, 4);
        memcpy(&batch->segment[g].row, (const uint8_t*)l.array[SAMPLE_SEGMENT_ROW].data + 4 * g, 4);
        batch->segment[g].param = param[k];
    }
    for (int c = 0; c < l.n_columns; c++) {
        if (signature->column[c].codec == HWM_CODEC_RAW || l.column[c].size == 0) {
            batch->column[c] = l.column[c].size > 0 ? take_copy(&at, l.column[c]) : NULL;
            continue;
        }
        batch->column[c] = take(&at, value_bytes(signature, &l, c));
        s = hwm_packer_unpack(packer, &signature->column[c], batch->row[B], l.column[c].data,
                              l.column[c].size, batch->column[c], err);
        if (s != HWM_OK) {
            return s;
        }
    }
    for (int k = 0; k < l.n_keys; k++) {
        batch->key[k] = take_copy(&at, l.key[k]);
    }
    return HWM_OK;
}
