// A rollout with its chunk writer, without any server.
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(hwm_status s, const hwm_error* err) {
    if (s != HWM_OK) {
        fprintf(stderr, "%s: %s\n", hwm_status_name(s), err->text);
        abort();
    }
}

void rig_open(rig* r, const char* yaml, uint32_t first_env, int environments, int threads) {
    hwm_error err = {HWM_OK, ""};
    memset(r, 0, sizeof *r);
    must(hwm_experiment_load(&r->experiment, NULL, yaml, NULL, 0, &err), &err);
    must(hwm_experiment_controller(r->experiment, &r->controller, &err), &err);
    hwm_rollout_config config = hwm_rollout_default_config();
    config.explore = HWM_EXPLORE_NOISE;
    config.threads = threads;
    config.burn_in_steps = r->experiment->worker.burn_in_steps;
    config.naive = r->experiment->rule.naive != HWM_NAIVE_NONE;
    must(hwm_rollout_create(&r->rollout, &r->experiment->env, r->controller, &config, 11, first_env,
                            environments, &err),
         &err);
    hwm_controller_signature(r->controller, r->rollout->spec->variant_dim, &r->signature);
    must(hwm_signature_check(&r->signature, &err), &err);
    must(hwm_chunker_create(&r->chunker, &r->signature, r->controller, environments, first_env, 1,
                            (int)r->experiment->worker.chunk_steps, &err),
         &err);
    size_t n = hwm_controller_params(r->controller)->count;
    r->phi = calloc(n, sizeof *r->phi);
    r->phi_real = calloc(n, sizeof *r->phi_real);
    r->coef = calloc((size_t)hwm_controller_coef_count(r->controller) + 1, sizeof *r->coef);
    HWM_ASSERT(r->phi && r->phi_real && r->coef);
    hwm_rng rng;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_PARAMETERS, 0, 0, 0);
    hwm_controller_init(r->controller, &rng, r->phi_real);
    for (size_t k = 0; k < n; k++) {
        r->phi[k] = (float)r->phi_real[k];
    }
    hwm_controller_prepare(r->controller, r->phi_real, r->coef);
    r->delta = hwm_controller_delta_scale(r->controller, r->phi_real);
    for (int i = 0; i < environments; i++) {
        hwm_rollout_begin(r->rollout, r->coef, i, 0);
    }
}

void rig_close(rig* r) {
    hwm_chunker_destroy(&r->chunker);
    hwm_rollout_destroy(&r->rollout);
    hwm_controller_destroy(&r->controller);
    hwm_experiment_destroy(&r->experiment);
    free(r->phi);
    free(r->phi_real);
    free(r->coef);
}

kept_chunk* keep_chunk(const hwm_signature* s, const hwm_chunk* chunk) {
    size_t bytes = chunk->steps * hwm_signature_step_bytes(s) + hwm_signature_key_bytes(s);
    kept_chunk* k = calloc(1, sizeof *k);
    HWM_ASSERT(k);
    k->head = *chunk;
    k->bytes = malloc(bytes + 1);
    HWM_ASSERT(k->bytes);
    uint8_t* at = k->bytes;
    for (int c = 0; c < s->n_keys; c++) {
        size_t n = hwm_tensor_bytes(&s->key[c]);
        memcpy(at, chunk->key[c], n);
        k->head.key[c] = at;
        at += n;
    }
    for (int c = s->n_columns - 1; c >= 0; c--) {  // floats first: flags are bytes
        size_t n = chunk->steps * hwm_tensor_bytes(&s->column[c]);
        memcpy(at, chunk->column[c], n);
        k->head.column[c] = at;
        at += n;
    }
    return k;
}

kept_chunk* rig_roll(rig* r, int rows) {
    kept_chunk *head = NULL, **tail = &head;
    hwm_param_ref ref = {.set = "controller", .version = 1};
    for (int t = 0; t < rows; t++) {
        hwm_rollout_think(r->rollout, r->coef, r->delta);
        for (int i = 0; i < r->rollout->E; i++) {
            hwm_chunk chunk;
            if (hwm_chunker_record(r->chunker, r->rollout, i, &ref)) {
                HWM_ASSERT(hwm_chunker_peek(r->chunker, i, &chunk));
                *tail = keep_chunk(&r->signature, &chunk);
                tail = &(*tail)->next;
                hwm_chunker_release(r->chunker, i);
            }
        }
        hwm_rollout_step(r->rollout, r->coef);
    }
    return head;
}

void kept_free(kept_chunk* list) {
    while (list) {
        kept_chunk* next = list->next;
        free(list->bytes);
        free(list);
        list = next;
    }
}

static uint64_t fnv(uint64_t h, const void* bytes, size_t n) {
    const uint8_t* p = bytes;
    for (size_t k = 0; k < n; k++) {
        h = (h ^ p[k]) * 0x100000001b3u;
    }
    return h;
}

uint64_t hash_chunk(const hwm_signature* s, const hwm_chunk* c) {
    uint64_t h = 0xcbf29ce484222325u;
    h = fnv(h, &c->stream.env, sizeof c->stream.env);
    h = fnv(h, &c->stream.incarnation, sizeof c->stream.incarnation);
    h = fnv(h, &c->sequence, sizeof c->sequence);
    h = fnv(h, &c->first_step, sizeof c->first_step);
    h = fnv(h, &c->episode, sizeof c->episode);
    h = fnv(h, &c->episode_step, sizeof c->episode_step);
    h = fnv(h, &c->steps, sizeof c->steps);
    for (int k = 0; k < s->n_columns; k++) {
        h = fnv(h, c->column[k], c->steps * hwm_tensor_bytes(&s->column[k]));
    }
    for (int k = 0; k < s->n_keys; k++) {
        h = fnv(h, c->key[k], hwm_tensor_bytes(&s->key[k]));
    }
    return h;
}
