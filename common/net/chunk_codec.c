// data path  [4] wire
#include "net/chunk_codec.h"

#include <math.h>
#include <string.h>

#include "net/codec.h"
#include "net/packed.h"
#include "net/pb.h"

// Field numbers of hwm.Chunk and hwm.ParamRef.
enum {
    CHUNK_ENV = 1,
    CHUNK_INCARNATION,
    CHUNK_SEQUENCE,
    CHUNK_FIRST_STEP,
    CHUNK_EPISODE,
    CHUNK_EPISODE_STEP,
    CHUNK_STEPS,
    CHUNK_PARAM,
    CHUNK_COLUMN,
    CHUNK_KEY
};
enum { PARAM_SET = 1, PARAM_VERSION, PARAM_SEED, PARAM_SIGN, PARAM_SIGMA };

size_t hwm_param_ref_bytes(const hwm_param_ref* p) {
    size_t set = strnlen(p->set, sizeof p->set);
    return (set > 0 ? pb_field_bytes(PARAM_SET, set) : 0) +
           pb_number_bytes(PARAM_VERSION, p->version) +
           pb_number_bytes(PARAM_SEED, p->perturbation_seed) +
           pb_number_bytes(PARAM_SIGN, pb_zigzag(p->sign)) + (p->sigma != 0.0f ? 5 : 0);
}

uint8_t* hwm_param_ref_put(uint8_t* at, const hwm_param_ref* p) {
    size_t set = strnlen(p->set, sizeof p->set);
    if (set > 0) {
        at = pb_put_bytes(at, PARAM_SET, p->set, set);
    }
    at = pb_put_number(at, PARAM_VERSION, p->version);
    at = pb_put_number(at, PARAM_SEED, p->perturbation_seed);
    at = pb_put_number(at, PARAM_SIGN, pb_zigzag(p->sign));
    if (p->sigma != 0.0f) {
        at = pb_put_tag(at, PARAM_SIGMA, PB_FIXED32);
        memcpy(at, &p->sigma, 4);
        at += 4;
    }
    return at;
}

bool hwm_param_ref_get(const void* bytes, size_t size, hwm_param_ref* p) {
    pb_reader r = pb_reader_of(bytes, size);
    uint32_t field;
    int type;
    memset(p, 0, sizeof *p);
    while (pb_next(&r, &field, &type)) {
        if (field == PARAM_SET && type == PB_BYTES) {
            pb_reader set = pb_get_bytes(&r);
            size_t n = (size_t)(set.end - set.at);
            if (n >= sizeof p->set || memchr(set.at, 0, n) != NULL) {
                return false;
            }
            memset(p->set, 0, sizeof p->set);
            memcpy(p->set, set.at, n);
        } else if (field == PARAM_VERSION && type == PB_VARINT) {
            p->version = pb_get_varint(&r);
        } else if (field == PARAM_SEED && type == PB_VARINT) {
            p->perturbation_seed = pb_get_varint(&r);
        } else if (field == PARAM_SIGN && type == PB_VARINT) {
            p->sign = pb_unzigzag(pb_get_varint(&r));
        } else if (field == PARAM_SIGMA && type == PB_FIXED32) {
            uint32_t bits = (uint32_t)pb_get_fixed(&r, 4);
            memcpy(&p->sigma, &bits, 4);
        } else {
            pb_skip(&r, type);
        }
    }
    return !r.bad;
}

size_t hwm_chunk_encoded_bytes(const hwm_signature* signature, const hwm_chunk* chunk) {
    size_t size = pb_number_bytes(CHUNK_ENV, chunk->stream.env) +
                  pb_number_bytes(CHUNK_INCARNATION, chunk->stream.incarnation) +
                  pb_number_bytes(CHUNK_SEQUENCE, chunk->sequence) +
                  pb_number_bytes(CHUNK_FIRST_STEP, chunk->first_step) +
                  pb_number_bytes(CHUNK_EPISODE, chunk->episode) +
                  pb_number_bytes(CHUNK_EPISODE_STEP, chunk->episode_step) +
                  pb_number_bytes(CHUNK_STEPS, chunk->steps) +
                  pb_field_bytes(CHUNK_PARAM, hwm_param_ref_bytes(&chunk->param));
    for (int c = 0; c < signature->n_columns; c++) {
        size += pb_field_bytes(CHUNK_COLUMN, hwm_chunk_column_bytes(signature, chunk, c));
    }
    for (int k = 0; k < signature->n_keys; k++) {
        size += pb_field_bytes(CHUNK_KEY, hwm_tensor_bytes(&signature->key[k]));
    }
    return size;
}

size_t hwm_chunk_encode(const hwm_signature* signature, const hwm_chunk* chunk, void* out,
                        size_t capacity) {
    size_t size = hwm_chunk_encoded_bytes(signature, chunk);
    if (size > capacity) {
        return 0;
    }
    uint8_t* at = out;
    at = pb_put_number(at, CHUNK_ENV, chunk->stream.env);
    at = pb_put_number(at, CHUNK_INCARNATION, chunk->stream.incarnation);
    at = pb_put_number(at, CHUNK_SEQUENCE, chunk->sequence);
    at = pb_put_number(at, CHUNK_FIRST_STEP, chunk->first_step);
    at = pb_put_number(at, CHUNK_EPISODE, chunk->episode);
    at = pb_put_number(at, CHUNK_EPISODE_STEP, chunk->episode_step);
    at = pb_put_number(at, CHUNK_STEPS, chunk->steps);
    at = pb_put_head(at, CHUNK_PARAM, hwm_param_ref_bytes(&chunk->param));
    at = hwm_param_ref_put(at, &chunk->param);
    for (int c = 0; c < signature->n_columns; c++) {
        at = pb_put_bytes(at, CHUNK_COLUMN, chunk->column[c],
                          hwm_chunk_column_bytes(signature, chunk, c));
    }
    for (int k = 0; k < signature->n_keys; k++) {
        at = pb_put_bytes(at, CHUNK_KEY, chunk->key[k], hwm_tensor_bytes(&signature->key[k]));
    }
    HWM_ASSERT((size_t)(at - (uint8_t*)out) == size);
    return size;
}

hwm_status hwm_chunk_check(const hwm_signature* signature, const hwm_chunk* chunk, hwm_error* err) {
    if (chunk->steps < 1 || chunk->steps > HWM_CHUNK_STEPS_MAX) {
        return hwm_fail(err, HWM_EINVAL, "chunk has %u steps; 1 to %d are allowed", chunk->steps,
                        HWM_CHUNK_STEPS_MAX);
    }
    if (chunk->sequence < 1) {
        return hwm_fail(err, HWM_EINVAL, "chunk sequence is 0; sequences start at 1");
    }
    if (chunk->param.sign < -1 || chunk->param.sign > 1 || !isfinite(chunk->param.sigma) ||
        chunk->param.sigma < 0.0f) {
        return hwm_fail(err, HWM_EINVAL,
                        "chunk names an impossible perturbation: sign %d, sigma %g",
                        (int)chunk->param.sign, (double)chunk->param.sigma);
    }

    // flags: an episode starts in row 0 of a chunk only, and nothing follows its last row
    const uint8_t* flags = chunk->column[HWM_COLUMN_FLAGS];
    if (signature->n_columns > HWM_COLUMN_FLAGS && flags != NULL) {
        for (uint32_t t = 0; t < chunk->steps; t++) {
            const char* wrong = NULL;
            if (flags[t] & ~(HWM_FLAG_FIRST | HWM_FLAG_LAST | HWM_FLAG_TERMINAL | HWM_FLAG_STILL)) {
                wrong = "unknown flags";
            } else if ((flags[t] & HWM_FLAG_TERMINAL) && !(flags[t] & HWM_FLAG_LAST)) {
                wrong = "a terminal that is not the last step";
            } else if ((flags[t] & HWM_FLAG_LAST) && t + 1 < chunk->steps) {
                wrong = "a last step before the end of the chunk";
            } else if (((flags[t] & HWM_FLAG_FIRST) != 0) != (t == 0 && chunk->episode_step == 0)) {
                wrong = "an episode start elsewhere than at episode step 0, row 0";
            }
            if (wrong != NULL) {
                return hwm_fail(err, HWM_EINVAL, "chunk row %u of %u has flags %u: %s", t,
                                chunk->steps, flags[t], wrong);
            }
        }
    }
    return HWM_OK;
}

static hwm_status bad_size(const char* what, const hwm_tensor_spec* spec, size_t have, size_t want,
                           hwm_error* err) {
    char text[128];
    return hwm_fail(err, HWM_ESIGNATURE, "%s %s: %zu bytes arrived, %zu are expected", what,
                    hwm_tensor_spec_text(spec, text, sizeof text), have, want);
}

hwm_status hwm_chunk_decode(const hwm_signature* signature, const void* bytes, size_t size,
                            hwm_chunk* chunk, hwm_error* err) {
    pb_reader r = pb_reader_of(bytes, size);
    size_t column_bytes[HWM_COLUMNS_MAX], key_bytes[HWM_KEYS_MAX];
    int columns = 0, keys = 0;
    uint32_t field;
    int type;
    memset(chunk, 0, sizeof *chunk);

    while (pb_next(&r, &field, &type)) {
        if (type == PB_VARINT && field >= CHUNK_ENV && field <= CHUNK_STEPS) {
            uint64_t value = pb_get_varint(&r);
            if (field != CHUNK_SEQUENCE && field != CHUNK_FIRST_STEP && value > UINT32_MAX) {
                return hwm_fail(err, HWM_EPROTO, "chunk field %u is %llu: above 32 bits", field,
                                (unsigned long long)value);
            }
            switch (field) {
            case CHUNK_ENV:
                chunk->stream.env = (uint32_t)value;
                break;
            case CHUNK_INCARNATION:
                chunk->stream.incarnation = (uint32_t)value;
                break;
            case CHUNK_SEQUENCE:
                chunk->sequence = value;
                break;
            case CHUNK_FIRST_STEP:
                chunk->first_step = value;
                break;
            case CHUNK_EPISODE:
                chunk->episode = (uint32_t)value;
                break;
            case CHUNK_EPISODE_STEP:
                chunk->episode_step = (uint32_t)value;
                break;
            default:
                chunk->steps = (uint32_t)value;
            }
        } else if (type == PB_BYTES && field >= CHUNK_PARAM && field <= CHUNK_KEY) {
            pb_reader value = pb_get_bytes(&r);
            size_t n = (size_t)(value.end - value.at);
            if (field == CHUNK_PARAM) {
                if (!hwm_param_ref_get(value.at, n, &chunk->param)) {
                    return hwm_fail(err, HWM_EPROTO, "chunk has a malformed param_ref");
                }
            } else if (field == CHUNK_COLUMN) {
                if (columns >= signature->n_columns) {
                    return hwm_fail(err, HWM_ESIGNATURE,
                                    "chunk has more than the table's %d columns",
                                    signature->n_columns);
                }
                chunk->column[columns] = value.at;
                column_bytes[columns++] = n;
            } else {
                if (keys >= signature->n_keys) {
                    return hwm_fail(err, HWM_ESIGNATURE, "chunk has more than the table's %d keys",
                                    signature->n_keys);
                }
                chunk->key[keys] = value.at;
                key_bytes[keys++] = n;
            }
        } else {
            pb_skip(&r, type);
        }
    }
    if (r.bad) {
        return hwm_fail(err, HWM_EPROTO, "chunk of %zu bytes is malformed at byte %zu", size,
                        (size_t)(r.at - (const uint8_t*)bytes));
    }

    // sizes against the signature
    if (columns != signature->n_columns || keys != signature->n_keys) {
        return hwm_fail(err, HWM_ESIGNATURE,
                        "chunk has %d columns and %d keys; the table has %d and %d", columns, keys,
                        signature->n_columns, signature->n_keys);
    }
    for (int c = 0; c < columns; c++) {
        if (signature->column[c].codec != HWM_CODEC_RAW) {
            // no column is empty, so 0 packed bytes can mean "not packed"
            chunk->packed_bytes[c] = (uint32_t)column_bytes[c];
            hwm_status s = hwm_packed_check(&signature->column[c], chunk->steps, chunk->column[c],
                                            column_bytes[c], err);
            if (s != HWM_OK) {
                return s;
            }
            continue;
        }
        size_t want = chunk->steps * hwm_tensor_bytes(&signature->column[c]);
        if (column_bytes[c] != want) {
            return bad_size("column", &signature->column[c], column_bytes[c], want, err);
        }
    }
    for (int k = 0; k < keys; k++) {
        size_t want = hwm_tensor_bytes(&signature->key[k]);
        if (key_bytes[k] != want) {
            return bad_size("key", &signature->key[k], key_bytes[k], want, err);
        }
    }
    return hwm_chunk_check(signature, chunk, err);
}
