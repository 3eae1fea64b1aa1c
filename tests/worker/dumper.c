// A worker that keeps a dump of what its weights really were: rolls out an experiment against a
// real server, with new parameters at every chunk boundary, and writes the whole plastic state
// before and after every step to a file. What `hwm replay materialise` recovers must equal it to
// the last bit.
//
// File: a line of JSON {"state": S, "connections": [[name, offset of W in the state, P, Q], ...]},
// then records u32 env, u32 version, u64 step, S floats before, S floats after.
//
// usage: dumper ENDPOINT YAML FILE VERSIONS CAPACITY_STEPS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plastic/materialise.h"
#include "rig.h"
#include "worker/feed.h"

enum { E = 3 };

static void must(hwm_status s, const hwm_error* err) {
    if (s != HWM_OK) {
        fprintf(stderr, "dumper: %s: %s\n", hwm_status_name(s), err->text);
        exit(1);
    }
}

static hwm_client* connect_as(hwm_role role, const char* endpoint) {
    hwm_client_config config = hwm_client_default_config();
    hwm_client* client;
    hwm_error err = {HWM_OK, ""};
    config.endpoint = endpoint;
    config.role = role;
    config.environments = role == HWM_ROLE_WORKER ? E : 0;
    must(hwm_client_create(&client, &config, &err), &err);
    return client;
}

static void create_table(hwm_client* client, const rig* r, const char* yaml, int64_t capacity) {
    hwm_error err = {HWM_OK, ""};
    hwm_table_config* table = calloc(1, sizeof *table);
    HWM_ASSERT(table);
    snprintf(table->name, sizeof table->name, "dump");
    table->signature = r->signature;
    table->capacity_steps = capacity;
    table->experiment = yaml;
    must(hwm_client_table_create(client, table, &err), &err);
    free(table);
}

// Version `version`: all of phi moved a little.
static void publish(hwm_client* client, rig* r, uint64_t version) {
    hwm_error err = {HWM_OK, ""};
    const hwm_param_list* list = hwm_controller_params(r->controller);
    hwm_rng rng;
    hwm_rng_init(&rng, 17, HWM_PURPOSE_PARAMETERS, (uint32_t)version, 0, 0);
    for (int e = 0; e < list->n; e++) {
        for (size_t k = 0; k < hwm_tensor_count(&list->entry[e].spec); k++) {
            float* x = &r->phi[list->entry[e].offset + k];
            *x += hwm_controller_is_learned(r->controller, e) ? 0.05f * hwm_rng_normal(&rng) : 0;
            r->phi_real[list->entry[e].offset + k] = (hwm_real)*x;
        }
    }
    hwm_controller_prepare(r->controller, r->phi_real, r->coef);
    must(
        hwm_client_publish(client, HWM_CONTROLLER_SET, version, HWM_BLOCK_RULE, list, r->phi, &err),
        &err);
}

static void append(hwm_client* client, const rig* r, int i) {
    hwm_error err = {HWM_OK, ""};
    hwm_chunk chunk;
    const hwm_hello* hello = hwm_client_hello(client);
    HWM_ASSERT(hwm_chunker_peek(r->chunker, i, &chunk));
    chunk.stream = (hwm_stream){hello->first_env + (uint32_t)i, hello->incarnation};
    hwm_status s;
    while ((s = hwm_client_append(client, &r->signature, &chunk, &err)) == HWM_EAGAIN) {
        must(hwm_client_poll(client, 20, NULL), &err);
    }
    must(s, &err);
    hwm_chunker_release(r->chunker, i);
}

static void describe(const rig* r, FILE* out) {
    fprintf(out, "{\"state\": %d, \"connections\": [", hwm_controller_state_size(r->controller));
    const char* comma = "";
    for (int l = 0; l < hwm_controller_layers(r->controller); l++) {
        hwm_layer_view v = hwm_controller_layer(r->controller, l);
        if (v.plastic) {
            fprintf(out, "%s[\"%s\", %zu, %d, %d]", comma, v.name, v.w, v.P, v.Q);
            comma = ", ";
        }
    }
    fprintf(out, "]}\n");
}

int main(int argc, char** argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: dumper ENDPOINT YAML FILE VERSIONS CAPACITY_STEPS\n");
        return 2;
    }
    rig r;
    rig_open(&r, argv[2], 0, E, 1);
    hwm_client* learner = connect_as(HWM_ROLE_LEARNER, argv[1]);
    create_table(learner, &r, argv[2], atoll(argv[5]));
    hwm_client* worker = connect_as(HWM_ROLE_WORKER, argv[1]);
    FILE* out = fopen(argv[3], "wb");
    HWM_ASSERT(out);
    describe(&r, out);
    const int S = hwm_controller_state_size(r.controller), versions = atoi(argv[4]);
    const int rows = (int)r.experiment->worker.chunk_steps;
    float* state = calloc((size_t)(2 * E * S) + 1, sizeof *state);
    HWM_ASSERT(state);
    hwm_error err = {HWM_OK, ""};
    for (uint64_t t = 0; t < (uint64_t)(versions * rows); t++) {
        if (t % (uint64_t)rows == 0) {
            HWM_ASSERT(hwm_chunker_empty(r.chunker));
            publish(learner, &r, t / (uint64_t)rows + 1);
        }
        const uint32_t version = (uint32_t)(t / (uint64_t)rows) + 1;
        const hwm_param_ref ref = {.set = HWM_CONTROLLER_SET, .version = version};
        uint8_t last[E];
        hwm_rollout_think(r.rollout, r.coef, r.delta);
        for (int i = 0; i < E; i++) {
            last[i] = r.rollout->flags[i] & HWM_FLAG_LAST;
            hwm_lanes_get(r.rollout->state, i, S, state + 2 * i * S);
            if (hwm_chunker_record(r.chunker, r.rollout, i, &ref)) {
                append(worker, &r, i);
            }
        }
        hwm_rollout_step(r.rollout, r.coef);
        for (int i = 0; i < E; i++) {
            const uint32_t head[2] = {hwm_client_hello(worker)->first_env + (uint32_t)i, version};
            hwm_lanes_get(r.rollout->state, i, S, state + (2 * i + 1) * S);
            if (!last[i]) {
                fwrite(head, sizeof head, 1, out);
                fwrite(&t, sizeof t, 1, out);
                fwrite(state + 2 * i * S, sizeof *state, 2 * (size_t)S, out);
            }
        }
        must(hwm_client_poll(worker, 0, NULL), &err);
    }
    HWM_ASSERT(fclose(out) == 0);
    uint64_t lost = 1;
    hwm_client_destroy(&worker, 10000, &lost);
    hwm_client_destroy(&learner, 0, NULL);
    free(state);
    rig_close(&r);
    return lost == 0 ? 0 : 1;
}
