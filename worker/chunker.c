// data path  [3] chunk
//
// Chunk writer.
#include "worker/chunker.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

typedef struct open_chunk {
    hwm_chunk head;
    uint64_t next_step;      // of the stream
    uint64_t next_sequence;  // from 1
    int64_t since_ns;
    uint8_t* column[HWM_COLUMNS_MAX];  // (chunk_steps, bytes of a step)
    float* key;                        // (state)
} open_chunk;

struct hwm_chunker {
    hwm_signature signature;
    const hwm_controller* controller;
    int environments, chunk_steps;
    int variant, u, view;  // columns, or -1
    size_t step_bytes[HWM_COLUMNS_MAX];
    size_t key_at[HWM_KEYS_MAX];  // offset of a key tensor in the state, in floats
    int open;                     // chunks that hold rows
    open_chunk* chunk;            // (environments)
    hwm_arena* arena;
};

hwm_status hwm_chunker_create(hwm_chunker** out, const hwm_signature* signature,
                              const hwm_controller* controller, int environments,
                              uint32_t first_env, uint32_t incarnation, int chunk_steps,
                              hwm_error* err) {
    *out = NULL;
    const size_t E = (size_t)environments, T = (size_t)chunk_steps;
    const size_t state = (size_t)hwm_controller_state_size(controller);
    hwm_chunker* w = calloc(1, sizeof *w);
    if (!w) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for chunks");
    }
    w->signature = *signature;
    w->controller = controller;
    w->environments = environments;
    w->chunk_steps = chunk_steps;
    w->variant = hwm_signature_column(signature, "variant");
    w->u = hwm_signature_column(signature, "u");
    w->view = hwm_signature_column(signature, "view");
    for (int k = 0; k < signature->n_columns; k++) {
        w->step_bytes[k] = hwm_tensor_bytes(&signature->column[k]);
    }
    for (int k = 1; k < signature->n_keys; k++) {
        w->key_at[k] = w->key_at[k - 1] + hwm_tensor_count(&signature->key[k - 1]);
    }

    size_t per_env = T * hwm_signature_step_bytes(signature) + state * sizeof(float) +
                     sizeof(open_chunk) + (HWM_COLUMNS_MAX + 2) * 128;
    if (hwm_arena_create(&w->arena, E * per_env + (64 << 10)) != HWM_OK) {
        goto fail;
    }
    w->chunk = hwm_arena_alloc(w->arena, E * sizeof *w->chunk);
    if (!w->chunk) {
        goto fail;
    }
    for (int i = 0; i < environments; i++) {
        open_chunk* o = &w->chunk[i];
        o->head.stream = (hwm_stream){first_env + (uint32_t)i, incarnation};
        o->next_sequence = 1;
        o->key = hwm_arena_alloc(w->arena, state * sizeof *o->key + 4);
        bool failed = o->key == NULL;
        for (int k = 0; k < signature->n_columns; k++) {
            o->column[k] = hwm_arena_alloc(w->arena, T * w->step_bytes[k]);
            failed |= o->column[k] == NULL;
            o->head.column[k] = o->column[k];
        }
        if (failed) {
            goto fail;
        }
        for (int k = 0; k < signature->n_keys; k++) {
            o->head.key[k] = o->key + w->key_at[k];
        }
    }
    *out = w;
    return HWM_OK;
fail:
    hwm_chunker_destroy(&w);
    return hwm_fail(err, HWM_ENOMEM, "no memory for chunks of %d steps of %d environments",
                    chunk_steps, environments);
}

void hwm_chunker_destroy(hwm_chunker** chunker) {
    if (*chunker) {
        hwm_arena_destroy(&(*chunker)->arena);
        free(*chunker);
        *chunker = NULL;
    }
}

const hwm_signature* hwm_chunker_signature(const hwm_chunker* chunker) {
    return &chunker->signature;
}

bool hwm_chunker_record(hwm_chunker* w, const hwm_rollout* r, int i, const hwm_param_ref* param) {
    open_chunk* o = &w->chunk[i];
    const size_t t = o->head.steps, e = (size_t)i;
    HWM_ASSERT(t < (size_t)w->chunk_steps);
    if (t == 0) {
        // a chunk starts with the whole state, as it is before this row acts
        hwm_lanes_get(r->state, i, hwm_controller_state_size(w->controller), o->key);
        o->head.sequence = o->next_sequence;
        o->head.first_step = o->next_step;
        o->head.episode = r->episode[i];
        o->head.episode_step = r->step[i];
        o->head.param = *param;
        o->since_ns = hwm_clock_ns();
        w->open++;
    }
    const size_t* bytes = w->step_bytes;
    o->column[HWM_COLUMN_FLAGS][t] = r->flags[i];
    memcpy(o->column[HWM_COLUMN_REWARD] + t * bytes[HWM_COLUMN_REWARD], &r->reward[i],
           bytes[HWM_COLUMN_REWARD]);
    memcpy(o->column[HWM_COLUMN_OBS] + t * bytes[HWM_COLUMN_OBS],
           r->obs + e * (size_t)r->spec->obs_dim, bytes[HWM_COLUMN_OBS]);
    memcpy(o->column[HWM_COLUMN_ACTION] + t * bytes[HWM_COLUMN_ACTION],
           r->action + e * (size_t)r->spec->action_dim, bytes[HWM_COLUMN_ACTION]);
    hwm_lanes_get(r->act, i, hwm_controller_activations(w->controller),
                  (float*)(void*)(o->column[HWM_COLUMN_ACT] + t * bytes[HWM_COLUMN_ACT]));
    if (w->variant >= 0) {
        hwm_envs_variant(r->envs, i,
                         (float*)(void*)(o->column[w->variant] + t * bytes[w->variant]));
    }
    const struct {
        int column;
        const float* rows;
    } agent[2] = {{w->u, r->agent ? r->agent->u : NULL},
                  {w->view, r->agent ? r->agent->view : NULL}};
    for (int k = 0; k < 2; k++) {
        if (agent[k].column >= 0 && agent[k].rows) {
            const size_t n = bytes[agent[k].column];
            memcpy(o->column[agent[k].column] + t * n, agent[k].rows + e * (n / sizeof(float)), n);
        }
    }
    o->head.steps++;
    o->next_step++;
    return (r->flags[i] & HWM_FLAG_LAST) || o->next_step % (uint64_t)w->chunk_steps == 0;
}

bool hwm_chunker_peek(hwm_chunker* w, int i, hwm_chunk* chunk) {
    *chunk = w->chunk[i].head;
    return chunk->steps > 0;
}

void hwm_chunker_release(hwm_chunker* w, int i) {
    open_chunk* o = &w->chunk[i];
    if (o->head.steps > 0) {
        o->head.steps = 0;
        o->next_sequence++;
        o->since_ns = 0;
        w->open--;
    }
}

int64_t hwm_chunker_since_ns(const hwm_chunker* w, int i) {
    return w->chunk[i].since_ns;
}

bool hwm_chunker_empty(const hwm_chunker* w) {
    return w->open == 0;
}
