// A rollout with its chunk writer on an experiment given as YAML text, without any server.
#ifndef TEST_WORKER_RIG_H
#define TEST_WORKER_RIG_H

#include "experiment/evaluate.h"
#include "worker/chunker.h"

typedef struct rig {
    hwm_experiment* experiment;
    hwm_controller* controller;
    hwm_rollout* rollout;
    hwm_chunker* chunker;
    hwm_signature signature;
    float* phi;
    hwm_real *phi_real, *coef;
    const hwm_real* delta;
} rig;

// A chunk with copies of its columns and keys, one after the other.
typedef struct kept_chunk {
    hwm_chunk head;
    uint8_t* bytes;
    struct kept_chunk* next;
} kept_chunk;

void rig_open(rig* r, const char* yaml, uint32_t first_env, int environments, int threads);
void rig_close(rig* r);
// Roll `rows` rows; every complete chunk is appended to the list in the order of completion.
// Returns the list's head.
kept_chunk* rig_roll(rig* r, int rows);
void kept_free(kept_chunk* list);
// Copy of a chunk's content.
kept_chunk* keep_chunk(const hwm_signature* signature, const hwm_chunk* chunk);
// 64-bit FNV-1a over everything a chunk says.
uint64_t hash_chunk(const hwm_signature* signature, const hwm_chunk* chunk);

#endif
