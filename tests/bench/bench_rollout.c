// bench_rollout [--quick] [--json]: how much a plastic controller costs beside its environment.
//
//   plastic_step_ns_per_synapse   forward, update and bound of a 28-128-64-8 ABCD controller, 16
//   environments, one core <case>_env_steps_per_s        the bare environment, decisions per second
//   <case>_steps_per_s            the same with controller and chunk writer
//   <case>_over_env               their ratio: the share that is left of the bare environment's
//   speed
//   <case>_with_server_fraction   the same share when every chunk also goes to a server process
//   of its own, which stores it
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/command.h"
#include "experiment/evaluate.h"
#include "experiment/experiment.h"
#include "served.h"
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

enum { ROWS = 64 };  // of every environment, per measurement

// A rollout with what it needs.
typedef struct bench_rig {
    hwm_rollout* r;
    hwm_chunker* chunker;
    hwm_signature signature;
    hwm_real *phi, *coef;
    const hwm_real* delta;
    served* to;  // NULL: chunks are only written
    int64_t polled_ns;
} bench_rig;

static void deliver(bench_rig* b, int i) {
    hwm_error err = {HWM_OK, ""};
    hwm_chunk chunk;
    if (hwm_chunker_peek(b->chunker, i, &chunk)) {
        const hwm_hello* hello = hwm_client_hello(b->to->client);
        chunk.stream = (hwm_stream){hello->first_env + (uint32_t)i, hello->incarnation};
        hwm_status s;
        while ((s = hwm_client_append(b->to->client, &b->signature, &chunk, &err)) == HWM_EAGAIN) {
            must(hwm_client_poll(b->to->client, 20, NULL), &err);
        }
        must(s, &err);
    }
}

// Decisions per second of so many rows.
static double roll(bench_rig* b) {
    const hwm_param_ref ref = {.set = "controller", .version = 1};
    hwm_error err = {HWM_OK, ""};
    hwm_rollout* r = b->r;
    const int64_t before = r->env_steps, start = hwm_clock_ns();
    for (int n = 0; n < ROWS; n++) {
        hwm_rollout_think(r, b->coef, b->delta);
        for (int i = 0; i < E; i++) {
            if (hwm_chunker_record(b->chunker, r, i, &ref)) {
                if (b->to) {
                    deliver(b, i);
                }
                hwm_chunker_release(b->chunker, i);
            }
        }
        hwm_rollout_step(r, b->coef);
        // the link as often as a worker looks after it
        if (b->to && hwm_clock_ns() - b->polled_ns > 2000000) {
            b->polled_ns = hwm_clock_ns();
            must(hwm_client_poll(b->to->client, 0, NULL), &err);
        }
    }
    return (double)((r->env_steps - before) / r->spec->action_repeat) /
           ((double)(hwm_clock_ns() - start) * 1e-9);
}

static void rig_open(bench_rig* b, const hwm_experiment* x, const hwm_controller* c, served* to) {
    hwm_error err = {HWM_OK, ""};
    hwm_rollout_config config = hwm_rollout_default_config();
    hwm_rng rng;
    config.explore = HWM_EXPLORE_NOISE;
    memset(b, 0, sizeof *b);
    b->to = to;
    must(hwm_rollout_create(&b->r, &x->env, c, &config, 1, 0, E, &err), &err);
    hwm_controller_signature(c, b->r->spec->variant_dim, &b->signature);
    must(hwm_chunker_create(&b->chunker, &b->signature, c, E, 0, 1, (int)x->worker.chunk_steps,
                            &err),
         &err);
    b->phi = reals(hwm_controller_params(c)->count);
    b->coef = reals((size_t)hwm_controller_coef_count(c));
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(c, &rng, b->phi);
    hwm_controller_prepare(c, b->phi, b->coef);
    b->delta = hwm_controller_delta_scale(c, b->phi);
    for (int i = 0; i < E; i++) {
        hwm_rollout_begin(b->r, b->coef, i, 0);
    }
}

static void rig_close(bench_rig* b) {
    hwm_chunker_destroy(&b->chunker);
    hwm_rollout_destroy(&b->r);
    free(b->phi);
    free(b->coef);
}

// The same actions' distribution, the same episodes' bookkeeping, no controller.
static double step_bare(hwm_rollout* env, hwm_rng* rng) {
    const int A = env->spec->action_dim;
    const int64_t start = hwm_clock_ns();
    for (int n = 0; n < ROWS; n++) {
        for (int k = 0; k < E * A; k++) {
            float a = 2 * hwm_rng_uniform(rng) - 1;
            env->action[k] = env->spec->discrete ? (a >= 0 ? 1.0f : -1.0f) : a;
        }
        hwm_envs_step(env->envs, NULL, env->action, env->obs, env->reward, env->terminated,
                      env->truncated);
        for (int i = 0; i < E; i++) {
            if (env->terminated[i] || env->truncated[i]) {
                hwm_envs_reset(env->envs, i, ++env->episode[i], env->obs + i * env->spec->obs_dim);
            }
        }
    }
    return ROWS * E / ((double)(hwm_clock_ns() - start) * 1e-9);
}

// Decisions per second of the bare environment under random actions, of the whole rollout, and of
// the rollout with a server; alternating, over all the time that each took.
static void rollout(const bench_case* b, double seconds, double* bare, double* whole,
                    double* with_server) {
    hwm_error err = {HWM_OK, ""};
    hwm_experiment* x;
    hwm_controller* c;
    must(hwm_experiment_load(&x, NULL, b->yaml, NULL, 0, &err), &err);
    must(hwm_experiment_controller(x, &c, &err), &err);
    served server;
    bench_rig env, own, sending;
    rig_open(&env, x, c, NULL);
    rig_open(&own, x, c, NULL);
    rig_open(&sending, x, c, &server);
    served_open(&server, &sending.signature, b->yaml, E);
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    double n = 0;
    *bare = *whole = *with_server = 0;
    int64_t end = hwm_clock_ns() + (int64_t)(seconds * 1e9);
    while (hwm_clock_ns() < end) {
        // means of seconds per decision: a burst that only fills queues counts with what follows it
        *bare += 1 / step_bare(env.r, &rng);
        *whole += 1 / roll(&own);
        *with_server += 1 / roll(&sending);
        n++;
    }
    *bare = n / *bare;
    *whole = n / *whole;
    *with_server = n / *with_server;
    served_close(&server);
    rig_close(&env);
    rig_close(&own);
    rig_close(&sending);
    hwm_controller_destroy(&c);
    hwm_experiment_destroy(&x);
}

typedef struct options {
    bool quick, json;
} options;

static const hwm_option rows[] = {
    {"--quick", NULL, HWM_OPTION_FLAG, offsetof(options, quick), NULL, 0, 0,
     "An eighth of the time."},
    {"--json", NULL, HWM_OPTION_FLAG, offsetof(options, json), NULL, 0, 0,
     "One JSON object instead of lines."},
};

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    const bool quick = o->quick, json = o->json;
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
        double bare, whole, with_server;
        rollout(&cases[k], seconds, &bare, &whole, &with_server);
        const struct {
            const char* key;
            double value;
        } figures[] = {{"env_steps_per_s", bare},
                       {"steps_per_s", whole},
                       {"over_env", whole / bare},
                       {"with_server_fraction", with_server / bare}};
        for (size_t f = 0; f < sizeof figures / sizeof figures[0]; f++) {
            printf(json ? ", \"%s_%s\": %.6g" : "%s_%s %.6g\n", cases[k].name, figures[f].key,
                   figures[f].value);
        }
    }
    printf(json ? "}\n" : "");
    return HWM_EXIT_DONE;
}

static const hwm_command command = {
    .name = "bench_rollout",
    .operands = "",
    .summary = "Rollouts beside bare environments, and one plastic step a synapse.",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};

int main(int argc, char** argv) {
    return hwm_command_main(&command, argc, argv);
}
