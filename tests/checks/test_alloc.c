// Every create under an allocator that fails at call k, for every k: it returns HWM_ENOMEM, leaves
// *out NULL, leaks nothing (LeakSanitizer sees to it), and works when it is called again.
#include "../base/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "base/arena.h"
#include "base/events.h"
#include "base/metrics.h"
#include "experiment/experiment.h"
#include "fail_alloc.h"
#include "learner/agent.h"
#include "net/client.h"
#include "net/wire.h"
#include "plastic/rollout.h"
#include "server/server.h"

typedef struct fixture {
    char dir[512];
    hwm_experiment* experiment;
    hwm_env_spec spec;
    hwm_controller* controller;
    const char* endpoint;
} fixture;

typedef hwm_status make_function(fixture* f, void** out, hwm_error* err);
typedef void destroy_function(void** object);

static void every_allocation(const char* what, fixture* f, make_function* make,
                             destroy_function* destroy) {
    for (int all_after = 0; all_after < 2; all_after++) {
        for (int k = 1;; k++) {
            assert_true(k < 5000);
            void* object = f;  // anything but NULL
            hwm_error err = {0};
            fail_alloc_at(k, all_after);
            hwm_status status = make(f, &object, &err);
            bool failed = fail_alloc_happened();
            fail_alloc_at(0, false);
            if (!failed) {
                if (status != HWM_OK)
                    fail_msg("%s: %s: %s", what, hwm_status_name(status), err.text);
                assert_non_null(object);
                destroy(&object);
                assert_null(object);
                destroy(&object);  // of nothing: nothing happens
                print_message("%s: %d allocations\n", what, k - 1);
                break;
            }
            if (status != HWM_ENOMEM || object)
                fail_msg("%s, allocation %d failed: %s, object %p, %s", what, k,
                         hwm_status_name(status), object, err.text);
        }
    }
}

#define CREATE(name, type, call, destroy_call)                                                     \
    static hwm_status make_##name(fixture* f, void** out, hwm_error* err) {                        \
        (void)f;                                                                                   \
        (void)err;                                                                                 \
        type* object = (type*)*out;                                                                \
        hwm_status status = call;                                                                  \
        *out = object;                                                                             \
        return status;                                                                             \
    }                                                                                              \
    static void destroy_##name(void** out) {                                                       \
        type* object = *out;                                                                       \
        destroy_call;                                                                              \
        *out = object;                                                                             \
    }                                                                                              \
    static void test_##name(void** state) {                                                        \
        every_allocation(#name, *state, make_##name, destroy_##name);                              \
    }

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
CREATE(client, hwm_client, create_client(f, &object, err), hwm_client_destroy(&object, 0, NULL))

static void* serve(void* server) {
    hwm_server_run(server, false);
    return NULL;
}

// The client needs somebody to talk to: a server on a thread of its own, whose allocations do not
// fail.
static void test_client_of_a_server(void** state) {
    fixture* f = *state;
    hwm_server* server;
    hwm_error err;
    pthread_t thread;
    assert_int_equal(create_server(f, &server, &err), HWM_OK);
    assert_int_equal(pthread_create(&thread, NULL, serve, server), 0);
    f->endpoint = hwm_server_endpoint(server);
    test_client(state);
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
        TEST(test_client_of_a_server),
        TEST(test_text_is_null_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
