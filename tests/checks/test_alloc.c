// Every create of common, server and learner without memory; those of the worker are in
// test_alloc_worker.c.
#include "../base/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "base/arena.h"
#include "base/events.h"
#include "env/pool.h"
#include "experiment/experiment.h"
#include "learner/agent.h"
#include "learner/batch.h"
#include "learner/report.h"
#include "learner/session.h"
#include "learner/versions.h"
#include "net/client.h"
#include "net/keys.h"
#include "net/wire.h"
#include "plastic/rollout.h"
#include "server/hub.h"
#include "server/index.h"
#include "server/sampler.h"
#include "server/server.h"
#include "server/store.h"
#include "server/tasks.h"

typedef struct fixture {
    char dir[512];
    hwm_experiment* experiment;
    hwm_env_spec spec;
    hwm_controller* controller;
    const char* endpoint;
    // what others stand on, where a test has made it
    hwm_store* store;
    hwm_replay* replay;
    hwm_versions* versions;
    hwm_agent* agent;
    hwm_signature signature;
} fixture;

#include "every_allocation.h"

static hwm_status load_experiment(hwm_experiment** out, hwm_error* err) {
    static const char text[] = "run: {name: alloc}\n"
                               "env: {name: cartpole}\n"
                               "controller: {hidden: [4]}\n"
                               "model: {members: 2, layers: 1, units: 8, batch: 4}\n"
                               "imagination: {batch: 4, horizon: 3}\n";
    return hwm_experiment_load(out, "alloc", text, NULL, 0, err);
}

static hwm_status create_controller(fixture* f, hwm_controller** out, hwm_error* err) {
    return hwm_controller_create(out, &f->experiment->controller, &f->experiment->rule,
                                 f->spec.obs_dim, f->spec.obs_scale, f->spec.action_dim,
                                 f->spec.discrete, err);
}

static hwm_status create_params(fixture* f, nn_params** out) {
    return nn_params_create(out, hwm_controller_params(f->controller));
}

static hwm_status create_optim(fixture* f, nn_optim** out) {
    nn_optim_config config = {.lr = 1e-3};
    return nn_optim_create(out, &config, hwm_controller_params(f->controller));
}

static hwm_status create_rollout(fixture* f, hwm_rollout** out, hwm_error* err) {
    hwm_rollout_config config = hwm_rollout_default_config();
    return hwm_rollout_create(out, &f->experiment->env, f->controller, &config, 1, 0, 3, err);
}

static hwm_status create_server(fixture* f, hwm_server** out, hwm_error* err) {
    hwm_server_config config;
    static char endpoint[600];
    hwm_server_default_config(&config);
    snprintf(config.replay.dir, sizeof config.replay.dir, "%.200s", f->dir);
    config.replay.map_bytes = 64 << 20;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/s", f->dir);
    config.endpoint = endpoint;
    return hwm_server_create(out, &config, err);
}

static hwm_status open_replay(fixture* f, hwm_replay** out, hwm_error* err) {
    hwm_server_config config;
    hwm_server_default_config(&config);
    snprintf(config.replay.dir, sizeof config.replay.dir, "%.200s", f->dir);
    config.replay.map_bytes = 64 << 20;
    return hwm_replay_open(out, &config.replay, err);
}

static hwm_status open_store(fixture* f, hwm_store** out, hwm_error* err) {
    hwm_server_config config;
    hwm_server_default_config(&config);
    snprintf(config.replay.dir, sizeof config.replay.dir, "%.200s", f->dir);
    config.replay.map_bytes = 64 << 20;
    return hwm_store_open(out, &config.replay, err);
}

// Never called: no version is asked for.
static hwm_status fetch_nothing(void* context, uint64_t version, float* phi, hwm_error* err) {
    (void)context, (void)phi;
    return hwm_fail(err, HWM_ENOTFOUND, "version %llu", (unsigned long long)version);
}

static hwm_status create_versions(fixture* f, hwm_versions** out) {
    return hwm_versions_create(out, f->controller, 1 << 20, fetch_nothing, NULL);
}

static hwm_status create_session(fixture* f, hwm_session** out, hwm_error* err) {
    return hwm_session_create(out, f->endpoint, NULL, false, f->agent, "run: {name: alloc}\n", err);
}

static hwm_status create_client(fixture* f, hwm_client** out, hwm_error* err) {
    hwm_client_config config = hwm_client_default_config();
    config.endpoint = f->endpoint;
    config.role = HWM_ROLE_OPERATOR;
    return hwm_client_create(out, &config, err);
}

CREATE(arena, hwm_arena, hwm_arena_create(&object, 4096), hwm_arena_destroy(&object))
CREATE(events, hwm_events, hwm_events_create(&object, f->dir, -1, err), hwm_events_destroy(&object))
CREATE(experiment, hwm_experiment, load_experiment(&object, err), hwm_experiment_destroy(&object))
CREATE(wire, hwm_wire, hwm_wire_create(&object), hwm_wire_destroy(&object))
CREATE(tape, nn_tape, nn_tape_create(&object, 1 << 20), nn_tape_destroy(&object))
CREATE(params, nn_params, create_params(f, &object), nn_params_destroy(&object))
CREATE(optim, nn_optim, create_optim(f, &object), nn_optim_destroy(&object))
CREATE(envs, hwm_envs, hwm_envs_create(&object, &f->experiment->env, 1, 0, 3, 2, err),
       hwm_envs_destroy(&object))
CREATE(controller, hwm_controller, create_controller(f, &object, err),
       hwm_controller_destroy(&object))
CREATE(rollout, hwm_rollout, create_rollout(f, &object, err), hwm_rollout_destroy(&object))
CREATE(agent, hwm_agent, hwm_agent_create(&object, f->experiment, &f->spec, err),
       hwm_agent_destroy(&object))
CREATE(replay, hwm_replay, open_replay(f, &object, err), hwm_replay_close(&object))
CREATE(server, hwm_server, create_server(f, &object, err), hwm_server_destroy(&object))
CREATE(store, hwm_store, open_store(f, &object, err), hwm_store_close(&object))
CREATE(view, hwm_store_view, hwm_store_view_create(f->store, &object, err),
       hwm_store_view_destroy(&object))
CREATE(index, hwm_index, hwm_index_create(&object, 4, err), hwm_index_destroy(&object))
CREATE(sampler, hwm_sampler, hwm_sampler_create(&object, f->store, err),
       hwm_sampler_destroy(&object))
CREATE(hub, hwm_hub, hwm_hub_create(&object, f->replay, err), hwm_hub_destroy(&object))
CREATE(tasks, hwm_tasks, hwm_tasks_create(&object), hwm_tasks_destroy(&object))
CREATE(keyring, hwm_keyring, hwm_keyring_open(&object, f->dir, err), hwm_keyring_close(&object))
CREATE(pool, env_pool, env_pool_create(&object, 3, err), env_pool_destroy(&object))
CREATE(versions, hwm_versions, create_versions(f, &object), hwm_versions_destroy(&object))
CREATE(batcher, hwm_batcher,
       hwm_batcher_create(&object, f->controller, &f->signature, &f->spec, f->versions, 4, err),
       hwm_batcher_destroy(&object))
CREATE(report, hwm_report, hwm_report_create(&object, f->dir, -1, err), hwm_report_destroy(&object))
CREATE(session, hwm_session, create_session(f, &object, err), hwm_session_destroy(&object))
CREATE(client, hwm_client, create_client(f, &object, err), hwm_client_destroy(&object, 0, NULL))

static void* serve(void* server) {
    hwm_server_run(server, false);
    return NULL;
}

// What stands on an open store.
static void test_on_a_store(void** state) {
    fixture* f = *state;
    hwm_error err;
    assert_int_equal(open_store(f, &f->store, &err), HWM_OK);
    test_view(state);
    test_sampler(state);
    hwm_store_close(&f->store);
}

static void test_on_a_replay(void** state) {
    fixture* f = *state;
    hwm_error err;
    assert_int_equal(open_replay(f, &f->replay, &err), HWM_OK);
    test_hub(state);
    hwm_replay_close(&f->replay);
}

static void test_on_keys(void** state) {
    fixture* f = *state;
    hwm_error err;
    assert_int_equal(hwm_keys_init(f->dir, &err), HWM_OK);
    test_keyring(state);
    // the scratch folder is flat
    char path[600];
    static const char* const role[] = {"worker", "learner", "operator", "viewer"};
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/authorized/%s.pub", f->dir, role[i]);
        assert_int_equal(unlink(path), 0);
    }
    snprintf(path, sizeof path, "%s/authorized", f->dir);
    assert_int_equal(rmdir(path), 0);
}

static void test_on_versions(void** state) {
    fixture* f = *state;
    assert_int_equal(create_versions(f, &f->versions), HWM_OK);
    hwm_controller_signature(f->controller, f->spec.variant_dim, &f->signature);
    test_batcher(state);
    hwm_versions_destroy(&f->versions);
}

// Client and session need somebody to talk to: a server on a thread of its own, whose allocations
// do not fail.
static void test_on_a_server(void** state) {
    fixture* f = *state;
    hwm_server* server;
    hwm_error err;
    pthread_t thread;
    assert_int_equal(create_server(f, &server, &err), HWM_OK);
    assert_int_equal(pthread_create(&thread, NULL, serve, server), 0);
    f->endpoint = hwm_server_endpoint(server);
    test_client(state);
    assert_int_equal(hwm_agent_create(&f->agent, f->experiment, &f->spec, &err), HWM_OK);
    may_survive = true;
    test_session(state);
    may_survive = false;
    hwm_agent_destroy(&f->agent);
    hwm_server_stop(server);
    pthread_join(thread, NULL);
    hwm_server_destroy(&server);
}

// Texts that are handed out instead of objects: NULL when there is no memory.
static void test_text_is_null_without_memory(void** state) {
    fixture* f = *state;
    int n;
    hwm_config_section* sections = hwm_experiment_sections(f->experiment, &n);
    char* text = hwm_config_print(sections, n, HWM_CONFIG_HELP);
    assert_non_null(text);
    free(text);
    fail_alloc_at(1, true);
    hwm_experiment* none = hwm_experiment_defaults();
    fail_alloc_at(0, false);
    assert_null(none);
}

static int setup(void** state) {
    void* dir = NULL;
    fixture* f = calloc(1, sizeof *f);
    hwm_error err;
    assert_non_null(f);
    assert_int_equal(scratch_setup(&dir), 0);
    snprintf(f->dir, sizeof f->dir, "%s", (char*)dir);
    free(dir);
    *state = f;
    if (load_experiment(&f->experiment, &err) != HWM_OK ||
        hwm_env_describe(&f->experiment->env, &f->spec, &err) != HWM_OK ||
        create_controller(f, &f->controller, &err) != HWM_OK) {
        print_message("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int teardown(void** state) {
    fixture* f = *state;
    hwm_controller_destroy(&f->controller);
    hwm_experiment_destroy(&f->experiment);
    *state = strdup(f->dir);
    free(f);
    return scratch_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_arena),
        TEST(test_events),
        TEST(test_tape),
        TEST(test_wire),
        TEST(test_params),
        TEST(test_optim),
        TEST(test_envs),
        TEST(test_controller),
        TEST(test_rollout),
        TEST(test_experiment),
        TEST(test_agent),
        TEST(test_replay),
        TEST(test_server),
        TEST(test_store),
        TEST(test_on_a_store),
        TEST(test_on_a_replay),
        TEST(test_index),
        TEST(test_tasks),
        TEST(test_on_keys),
        TEST(test_pool),
        TEST(test_versions),
        TEST(test_on_versions),
        TEST(test_report),
        TEST(test_on_a_server),
        TEST(test_text_is_null_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
