// bench_rollout [--quick] [--json]: how much a plastic controller costs beside its environment.
//
//   plastic_step_ns_per_synapse   forward, update and bound of a 28-128-64-8 ABCD controller, 16
//   environments, one core <case>_env_steps_per_s        the bare environment, decisions per second
//   <case>_steps_per_s            the same with controller and chunk writer
//   <case>_over_env               their ratio: the share that is left of the bare environment's
//   speed
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "experiment/evaluate.h"
#include "experiment/experiment.h"
#include "worker/chunker.h"

static void must(hwm_status s, const hwm_error* err) {
    if (s != HWM_OK) {
        fprintf(stderr, "bench_rollout: %s: %s\n", hwm_status_name(s), err->text);
        exit(1);
    }
}

static void* reals(size_t n) {
    void* p = calloc(n + 16, sizeof(hwm_real));
    HWM_ASSERT(p);
    return p;
}

enum { E = 16 };

static double plastic_step(double seconds) {
    hwm_controller_config config;
    hwm_rule_config rule;
    hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &config},
                                      {.table = &hwm_rule_table, .target = &rule}};
    hwm_error err = {HWM_OK, ""};
    hwm_controller* c;
    hwm_config_defaults(sections, 2);
    config.hidden = (hwm_int_list){.n = 2, .v = {128, 64}};
    rule.eta = 0.001;
    must(hwm_controller_create(&c, &config, &rule, 28, NULL, 8, false, &err), &err);
    hwm_real* phi = reals(hwm_controller_params(c)->count);
    hwm_real* coef = reals((size_t)hwm_controller_coef_count(c));
    hwm_real* state = reals(hwm_lanes_size(E, hwm_controller_state_size(c)));
    hwm_real* act = reals(hwm_lanes_size(E, hwm_controller_activations(c)));
    hwm_real* u = reals(hwm_lanes_size(E, 8));
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(c, &rng, phi);
    hwm_controller_prepare(c, phi, coef);
    for (int i = 0; i < E; i++) {
        hwm_controller_reset(c, coef, &rng, state, i);
    }
    for (int k = 0; k < 28 * E; k++) {
        act[k] = (hwm_real)hwm_rng_normal(&rng);
    }
    double best = 1e9;
    int64_t end = hwm_clock_ns() + (int64_t)(seconds * 1e9);
    while (hwm_clock_ns() < end) {
        enum { N = 20 };
        int64_t start = hwm_clock_ns();
        for (int n = 0; n < N; n++) {
            hwm_controller_act(c, coef, E, state, act);
            hwm_controller_learn(c, coef, E, act, u, NULL, state, NULL);
        }
        double ns = (double)(hwm_clock_ns() - start) / (N * E * 12288.0);
        best = ns < best ? ns : best;
    }
    hwm_controller_destroy(&c);
    free(phi);
    free(coef);
    free(state);
    free(act);
    free(u);
    return best;
}

typedef struct bench_case {
    const char* name;
    const char* yaml;
} bench_case;

// Decisions per second of the bare environment under random actions, and of the whole rollout;
// alternating, best of several.
static void rollout(const bench_case* b, double seconds, double* bare, double* whole) {
    hwm_error err = {HWM_OK, ""};
    hwm_experiment* x;
    hwm_controller* c;
    hwm_rollout *r, *env;
    hwm_chunker* chunker;
    hwm_signature signature;
    must(hwm_experiment_load(&x, NULL, b->yaml, NULL, 0, &err), &err);
    must(hwm_experiment_controller(x, &c, &err), &err);
    hwm_rollout_config config = hwm_rollout_default_config();
    config.explore = HWM_EXPLORE_NOISE;
    must(hwm_rollout_create(&r, &x->env, c, &config, 1, 0, E, &err), &err);
    must(hwm_rollout_create(&env, &x->env, c, &config, 1, 0, E, &err), &err);
    hwm_controller_signature(c, r->spec->variant_dim, &signature);
    must(hwm_chunker_create(&chunker, &signature, c, E, 0, 1, (int)x->worker.chunk_steps, &err),
         &err);
    hwm_real* phi = reals(hwm_controller_params(c)->count);
    hwm_real* coef = reals((size_t)hwm_controller_coef_count(c));
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(c, &rng, phi);
    hwm_controller_prepare(c, phi, coef);
    const hwm_real* delta = hwm_controller_delta_scale(c, phi);
    for (int i = 0; i < E; i++) {
        hwm_rollout_begin(r, coef, i, 0);
        hwm_rollout_begin(env, coef, i, 0);
    }
    const int A = r->spec->action_dim;
    const hwm_param_ref ref = {.set = "controller", .version = 1};
    *bare = *whole = 0;
    int64_t end = hwm_clock_ns() + (int64_t)(seconds * 1e9);
    while (hwm_clock_ns() < end) {
        const int N = 200;
        int64_t start = hwm_clock_ns(), steps = 0;
        for (int n = 0; n < N; n++) {
            // the same actions' distribution, the same episodes' bookkeeping, no controller
            for (int k = 0; k < E * A; k++) {
                float a = 2 * hwm_rng_uniform(&rng) - 1;
                env->action[k] = env->spec->discrete ? (a >= 0 ? 1.0f : -1.0f) : a;
            }
            hwm_envs_step(env->envs, NULL, env->action, env->obs, env->reward, env->terminated,
                          env->truncated);
            for (int i = 0; i < E; i++, steps++) {
                if (env->terminated[i] || env->truncated[i]) {
                    hwm_envs_reset(env->envs, i, ++env->episode[i],
                                   env->obs + i * env->spec->obs_dim);
                }
            }
        }
        double rate = (double)steps / ((double)(hwm_clock_ns() - start) * 1e-9);
        *bare = rate > *bare ? rate : *bare;

        int64_t before = r->env_steps;
        start = hwm_clock_ns();
        for (int n = 0; n < N; n++) {
            hwm_rollout_think(r, coef, delta);
            for (int i = 0; i < E; i++) {
                if (hwm_chunker_record(chunker, r, i, &ref)) {
                    hwm_chunker_release(chunker, i);
                }
            }
            hwm_rollout_step(r, coef);
        }
        rate = (double)((r->env_steps - before) / r->spec->action_repeat) /
               ((double)(hwm_clock_ns() - start) * 1e-9);
        *whole = rate > *whole ? rate : *whole;
    }
    hwm_chunker_destroy(&chunker);
    hwm_rollout_destroy(&r);
    hwm_rollout_destroy(&env);
    hwm_controller_destroy(&c);
    hwm_experiment_destroy(&x);
    free(phi);
    free(coef);
}

int main(int argc, char** argv) {
    bool quick = false, json = false;
    for (int k = 1; k < argc; k++) {
        quick |= strcmp(argv[k], "--quick") == 0;
        json |= strcmp(argv[k], "--json") == 0;
    }
    static const bench_case cases[] = {
        {"quadruped",
         "env: {name: quadruped}\ncontroller: {hidden: [128, 64]}\nrule: {eta: 0.001}\n"
         "worker: {chunk_steps: 64}\n"},
        {"cartpole",
         "env: {name: cartpole}\ncontroller: {hidden: [16]}\nworker: {chunk_steps: 8}\n"},
    };
    double seconds = quick ? 0.5 : 4;
    double ns = plastic_step(seconds);
    printf(json ? "{\"plastic_step_ns_per_synapse\": %.4f" : "plastic_step_ns_per_synapse %.4f\n",
           ns);
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        double bare, whole;
        rollout(&cases[k], seconds, &bare, &whole);
        const char* name = cases[k].name;
        printf(
            json ? ", \"%s_env_steps_per_s\": %.0f, \"%s_steps_per_s\": %.0f, \"%s_over_env\": %.4f"
                 : "%s_env_steps_per_s %.0f\n%s_steps_per_s %.0f\n%s_over_env %.4f\n",
            name, bare, name, whole, name, whole / bare);
    }
    printf(json ? "}\n" : "");
    return 0;
}
