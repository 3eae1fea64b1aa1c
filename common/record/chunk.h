// data path  [3] chunk
//
// Chunk: up to chunk_steps consecutive steps of one environment stream, as columns, with a key
// frame of the whole plastic state at its first step. The unit that is sent, acknowledged, stored
// and evicted.
//
// ALIGNMENT  Row t holds o_t, the reward that arrived with it, its flags, the activations that the
// controller computed from
//   o_t, and the action a_t taken after it. The row of a true end has is_last, a zero action and no
//   plastic update. A time limit is is_last without is_terminal. An episode start always starts a
//   chunk. One chunk has exactly one param_ref.
// SIGNATURE  The table's signature lists the columns (shape per step) and the key tensors; a chunk
// holds them in that order,
//   so new kinds of agents add names, not formats.
#ifndef HWM_RECORD_CHUNK_H
#define HWM_RECORD_CHUNK_H

#include "record/tensor.h"

enum {
    HWM_FLAG_FIRST = 1,     // first step of an episode
    HWM_FLAG_LAST = 2,      // no step of this episode follows
    HWM_FLAG_TERMINAL = 4,  // the episode truly ended: the value beyond is 0
    HWM_FLAG_STILL = 8,     // no plastic step in this row: burn-in, or weights held fixed
};

// Columns that every table has, in this order, before its own: flags u8 (), reward f32 (), obs f32
// (O), action f32 (A), act f32 (NA): activations x_0 .. x_L of the controller.
enum { HWM_COLUMN_FLAGS, HWM_COLUMN_REWARD, HWM_COLUMN_OBS, HWM_COLUMN_ACTION, HWM_COLUMN_ACT };

enum { HWM_COLUMNS_MAX = 24, HWM_KEYS_MAX = 24 };
typedef struct hwm_signature {
    int n_columns;
    hwm_tensor_spec column[HWM_COLUMNS_MAX];  // shape of one step
    int n_keys;
    hwm_tensor_spec key[HWM_KEYS_MAX];
} hwm_signature;

// HWM_OK, or HWM_ESIGNATURE with the first difference named in err.
hwm_status hwm_signature_compare(const hwm_signature* want, const hwm_signature* have,
                                 hwm_error* err);
// Names unique and not empty, types known, sizes within limits, the standard columns in place.
hwm_status hwm_signature_check(const hwm_signature* signature, hwm_error* err);
// Gives a codec to the columns that are worth it: none, wide u8 columns (pixels), or wide columns
// of any type; never to the standard columns whose single values the server and the learner look
// at.
typedef enum hwm_compress { HWM_COMPRESS_NONE, HWM_COMPRESS_PIXELS, HWM_COMPRESS_ALL } hwm_compress;
void hwm_signature_compress(hwm_signature* signature, hwm_compress mode);
int hwm_signature_column(const hwm_signature* signature, const char* name);  // index, or -1
int hwm_signature_key(const hwm_signature* signature, const char* name);
size_t hwm_signature_step_bytes(const hwm_signature* signature);
size_t hwm_signature_key_bytes(const hwm_signature* signature);

// Which parameters acted: an individual of an evolution strategy has a name too (sigma = 0: none).
enum { HWM_SET_NAME_MAX = 32 };
typedef struct hwm_param_ref {
    char set[HWM_SET_NAME_MAX];  // as "controller"
    uint64_t version;
    uint64_t perturbation_seed;
    int32_t sign;  // -1, 0, +1
    float sigma;
} hwm_param_ref;

typedef struct hwm_stream {
    uint32_t env;          // global environment index
    uint32_t incarnation;  // rises when the index is handed out again
} hwm_stream;

typedef struct hwm_chunk {
    hwm_stream stream;
    uint64_t sequence;      // of this chunk in its stream, from 1
    uint64_t first_step;    // step number in the stream of row 0, from 0
    uint32_t episode;       // number of the episode in the stream, from 0
    uint32_t episode_step;  // step number in the episode of row 0
    uint32_t steps;
    hwm_param_ref param;
    // steps * bytes of a step, signature order; borrowed. packed_bytes: size of a zstd column that
    // is packed already, 0 where the values stand as they are
    const void* column[HWM_COLUMNS_MAX];
    uint32_t packed_bytes[HWM_COLUMNS_MAX];
    const void* key[HWM_KEYS_MAX];  // signature order; borrowed
} hwm_chunk;

#endif
