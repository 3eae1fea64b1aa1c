// Export: the header, compiled as a microcontroller's compiler would, computes what the worker
// computes, bit for bit.
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deploy/cli/commands.h"
#include "deploy/cli/judge.h"
#include "plastic/rollout.h"
#include "small_run.h"

static hwm_error err;

// What the compiled header offers.
typedef struct exported {
    void* handle;
    void (*reset)(uint64_t seed, uint32_t episode);
    void (*step)(const float* obs, float reward, float* action);
    int (*state_bytes)(void);
    const float* (*weights)(void);  // of the first plastic layer
} exported;

static void* symbol(void* library, const char* name) {
    void* p = dlsym(library, name);
    assert_non_null(p);
    return p;
}

// first_plastic: number of the first plastic layer, from 1.
static exported compile_header(const char* name, const char* dir, int first_plastic) {
    char header[128], source[128], library[128], command[1024];
    snprintf(header, sizeof header, "%s/%s.h", scratch, name);
    snprintf(source, sizeof source, "%s/%s.c", scratch, name);
    snprintf(library, sizeof library, "%s/%s.so", scratch, name);
    char run_dir[128];
    snprintf(run_dir, sizeof run_dir, "%s", dir);
    char* argv[] = {"hwm",      "export", "--checkpoint", run_dir,
                    "--header", header,   "--prefix",     "mcu"};
    assert_int_equal(hwm_cli_main(8, argv), HWM_EXIT_DONE);
    FILE* f = fopen(source, "w");
    assert_non_null(f);
    fprintf(f,
            "#include \"%s\"\n"
            "static mcu_state s;\n"
            "void reset(uint64_t seed, uint32_t episode);\n"
            "void step(const float* obs, float reward, float* action);\n"
            "int state_bytes(void);\nconst float* weights(void);\n"
            "void reset(uint64_t seed, uint32_t episode) { mcu_reset(&s, seed, episode); }\n"
            "void step(const float* obs, float reward, float* action) { mcu_step(&s, obs, reward, "
            "action); }\n"
            "int state_bytes(void) { return (int)sizeof s; }\n"
            "const float* weights(void) { return s.w%d; }\n",
            header, first_plastic);
    fclose(f);
    // with fused multiply-add at hand: the header itself must forbid it
    snprintf(
        command, sizeof command,
        "cc -std=c99 -O2 -march=x86-64-v3 -Wall -Wextra -Wpedantic -Werror -nostdlib -shared -fPIC "
        "-o '%s' '%s'",
        library, source);
    assert_int_equal(system(command), 0);
    exported e = {.handle = dlopen(library, RTLD_NOW)};
    assert_non_null(e.handle);
    *(void**)&e.reset = symbol(e.handle, "reset");
    *(void**)&e.step = symbol(e.handle, "step");
    *(void**)&e.state_bytes = symbol(e.handle, "state_bytes");
    *(void**)&e.weights = symbol(e.handle, "weights");
    return e;
}

// Size of the state as the header's last comment says.
static int said_bytes(const char* name) {
    char line[512] = "", path[160];
    snprintf(path, sizeof path, "%s/%s.h", scratch, name);
    FILE* f = fopen(path, "r");
    assert_non_null(f);
    int bytes = 0;
    while (fgets(line, sizeof line, f)) {
        const char* at = strstr(line, "state ");
        if (strncmp(line, "/* constants ", 13) == 0 && at) {
            bytes = atoi(at + 6);
        }
    }
    fclose(f);
    return bytes;
}

// 1,000 decisions of the worker's loop with the exported controller beside it.
static void compare(const char* name, const char* experiment, int first_plastic) {
    enum { DECISIONS = 1000 };
    char dir[128];
    snprintf(dir, sizeof dir, "%s", small_run_make(name, experiment, 11));
    exported e = compile_header(name, dir, first_plastic);
    hwm_checkpoint c;
    assert_int_equal(hwm_checkpoint_open(&c, dir, &err), HWM_OK);
    hwm_controller* controller = NULL;
    hwm_rollout* r = NULL;
    assert_int_equal(hwm_experiment_controller(c.experiment, &controller, &err), HWM_OK);
    hwm_rollout_config config = hwm_rollout_default_config();
    const uint64_t seed = 0x123456789abcULL;
    assert_int_equal(
        hwm_rollout_create(&r, &c.experiment->env, controller, &config, seed, 0, 1, &err), HWM_OK);
    hwm_real* phi = calloc(c.list.count + 1, sizeof *phi);
    hwm_real* coef = calloc((size_t)hwm_controller_coef_count(controller) + 1, sizeof *coef);
    for (size_t k = 0; k < c.list.count; k++) {
        phi[k] = (hwm_real)c.phi[k];
    }
    hwm_controller_prepare(controller, phi, coef);
    hwm_tensor_spec keys[HWM_KEYS_MAX];
    hwm_controller_keys(controller, keys);
    int n_weights = (int)hwm_tensor_count(&keys[0]), size = hwm_controller_state_size(controller);
    float* row = calloc((size_t)size, sizeof *row);

    hwm_rollout_begin(r, coef, 0, 0);
    int episodes = 0, decisions = 0;
    while (decisions < DECISIONS) {
        hwm_rollout_think(r, coef, hwm_controller_delta_scale(controller, phi));
        if (r->flags[0] & HWM_FLAG_FIRST) {
            e.reset(seed, r->episode[0]);
            episodes++;
        }
        hwm_lanes_get(r->state, 0, size, row);
        assert_memory_equal(row, e.weights(), (size_t)n_weights * sizeof *row);
        if (!(r->flags[0] & HWM_FLAG_LAST)) {
            float action[64];
            e.step(r->obs, r->reward[0], action);
            assert_memory_equal(action, r->action, (size_t)r->spec->action_dim * sizeof *action);
            decisions++;
        }
        hwm_rollout_step(r, coef);
    }
    assert_true(episodes >= 1);

    assert_int_equal(e.state_bytes(), said_bytes(name));
    free(row);
    free(phi);
    free(coef);
    hwm_rollout_destroy(&r);
    hwm_controller_destroy(&controller);
    hwm_checkpoint_close(&c);
    dlclose(e.handle);
}

static void test_header_abcd_two_plastic_layers(void** state) {
    (void)state;
    compare("abcd", "env:\n  name: cartpole\n  obs_sign: experiment\ncontroller:\n  hidden: [16]\n",
            1);
}

static void test_header_mod3_static_trunk(void** state) {
    (void)state;
    compare(
        "mod3",
        "env:\n  name: cartpole\ncontroller:\n  hidden: [8]\n  inputs: [o, d]\n  plastic: [last]\n"
        "rule:\n  kind: mod3\n  terms: AC\n  w_max: 1\n",
        2);
}

static void test_header_every_input_clip_and_learned_mean(void** state) {
    (void)state;
    compare("every",
            "env:\n  name: cartpole\ncontroller:\n  hidden: [6, 5]\n  inputs: [o, d, a, r, \"1\"]\n"
            "  weights: xavier\n  weights_mean: true\nrule:\n  terms: ABCDE\n  eta: 0.5\n  "
            "phi_std: 0.5\n"
            "  bound: clip\n  w_max: 0.7\n",
            1);
}

static void test_header_abcd_with_modulator_per_layer(void** state) {
    (void)state;
    compare(
        "modulated",
        "env:\n  name: cartpole\nrule:\n  modulator: linear\n  granularity: layer\n  bound: none\n",
        1);
}

static void test_header_shifted_decays_to_its_first_weights(void** state) {
    (void)state;
    compare("shifted",
            "env:\n  name: cartpole\ncontroller:\n  hidden: [7]\n  weights: kaiming\n"
            "rule:\n  kind: shifted\n  eta: 0.5\n  phi_std: 0.5\n  bound: decay\n  decay: 0.05\n",
            1);
}

static void test_header_trace_with_oja_and_unit_modulator(void** state) {
    (void)state;
    compare("trace",
            "env:\n  name: cartpole\ncontroller:\n  hidden: [7]\n"
            "rule:\n  kind: trace\n  modulator: unit\n  oja: 0.3\n  phi_std: 0.5\n",
            1);
}

static void test_header_reward_modulator_updates_every_third_step(void** state) {
    (void)state;
    compare("reward",
            "env:\n  name: pendulum\nrule:\n  kind: shifted\n  modulator: reward\n"
            "  update_every: 3\n  average: 2\n  phi_std: 0.5\n",
            1);
}

static void test_header_prediction_modulator_with_trace_every_second_step(void** state) {
    (void)state;
    compare("prediction",
            "env:\n  name: pendulum\ncontroller:\n  hidden: [5]\n  plastic: [1, 2]\n"
            "rule:\n  kind: trace\n  modulator: prediction\n  update_every: 2\n"
            "  bound: clip\n  w_max: 0.8\n  phi_std: 0.5\n",
            1);
}

static void test_safetensors_round_trip(void** state) {
    (void)state;
    char dir[128], file[128];
    snprintf(dir, sizeof dir, "%s", small_run_make("st", "env:\n  name: cartpole\n", 3));
    snprintf(file, sizeof file, "%s", scratch_path("st.safetensors"));
    char* argv[] = {"hwm", "export", dir, "--safetensors", file};
    assert_int_equal(hwm_cli_main(5, argv), HWM_EXIT_DONE);
    hwm_checkpoint c;
    assert_int_equal(hwm_checkpoint_open(&c, dir, &err), HWM_OK);
    float* again = calloc(c.list.count, sizeof *again);
    assert_int_equal(nn_safetensors_read(file, &c.list, again, &err), HWM_OK);
    assert_memory_equal(again, c.phi, c.list.count * sizeof *again);
    free(again);
    hwm_checkpoint_close(&c);
}

static void test_export_refuses_with_a_sentence(void** state) {
    (void)state;
    char dir[128], normal[128], file[128];
    snprintf(dir, sizeof dir, "%s", small_run_make("r", "env:\n  name: cartpole\n", 3));
    snprintf(
        normal, sizeof normal, "%s",
        small_run_make("normal", "env:\n  name: cartpole\ncontroller:\n  weights: normal\n", 3));
    snprintf(file, sizeof file, "%s", scratch_path("x.h"));
    char network[128];
    snprintf(network, sizeof network, "%s",
             small_run_make("network", "env:\n  name: cartpole\nrule:\n  kind: network\n", 3));
    char* unsupported[] = {"hwm", "export", network, "--header", file};
    assert_int_equal(hwm_cli_main(5, unsupported), HWM_EXIT_FAILED);
    char* nothing[] = {"hwm", "export", dir};
    char* prefix[] = {"hwm", "export", dir, "--header", file, "--prefix", "9lives"};
    char* weights[] = {"hwm", "export", normal, "--header", file};
    char* folder[] = {"hwm", "export", dir, "--header", "/nonexistent/x.h"};
    assert_int_equal(hwm_cli_main(3, nothing), HWM_EXIT_USAGE);
    assert_int_equal(hwm_cli_main(7, prefix), HWM_EXIT_USAGE);
    assert_int_equal(hwm_cli_main(5, weights), HWM_EXIT_FAILED);
    assert_int_equal(hwm_cli_main(5, folder), HWM_EXIT_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_abcd_two_plastic_layers),
        cmocka_unit_test(test_header_mod3_static_trunk),
        cmocka_unit_test(test_header_every_input_clip_and_learned_mean),
        cmocka_unit_test(test_header_abcd_with_modulator_per_layer),
        cmocka_unit_test(test_header_shifted_decays_to_its_first_weights),
        cmocka_unit_test(test_header_trace_with_oja_and_unit_modulator),
        cmocka_unit_test(test_header_reward_modulator_updates_every_third_step),
        cmocka_unit_test(test_header_prediction_modulator_with_trace_every_second_step),
        cmocka_unit_test(test_safetensors_round_trip),
        cmocka_unit_test(test_export_refuses_with_a_sentence),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
