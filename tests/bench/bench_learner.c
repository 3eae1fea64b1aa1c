// One update of everything (world model, imagination with its backward, critic) by kind of world
// model, phase by phase, beside the floor: the matrix products of that update alone, each shape
// measured by itself on one thread in the same run and divided by the threads. ensemble and
// context: 128 starts, 30 steps; the RSSM by size: 128 starts, 15 steps.
//
//   bench_learner [--quick] [--json] [--threads N] [--model NAME] [--set SECTION.NAME=VALUE ...]
//
// Prints figures; never fails on time.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "base/clock.h"
#include "base/command.h"
#include "batch.h"
#include "nn/cpu.h"
#include "nn/gemm.h"
#include "nn/pool.h"

enum { SHAPES_MAX = 256 };

static bool json, quick;
static bool first_figure = true;

static void figure(const char* model, const char* name, double value, const char* unit) {
    if (json)
        printf("%s\"%s_%s\": %.6g", first_figure ? "" : ", ", model, name, value);
    else
        printf("  %-12s %-22s %10.4g %s\n", model, name, value, unit);
    first_figure = false;
    fflush(stdout);
}

// ---- the floor: what was multiplied, and how fast that goes alone

typedef struct shape {
    char form;
    int m, n, k;
    double count;
} shape;

typedef struct shapes {
    int n;
    shape s[SHAPES_MAX];
} shapes;

static void watch(void* context, char form, int m, int n, int k) {
    shapes* l = context;
    for (int i = 0; i < l->n; i++) {
        shape* s = &l->s[i];
        if (s->form == form && s->m == m && s->n == n && s->k == k) {
            s->count++;
            return;
        }
    }
    if (l->n < SHAPES_MAX)
        l->s[l->n++] = (shape){form, m, n, k, 1};
}

static void product(const shape* s, const float* a, const float* b, float* c) {
    if (s->form == 'n')
        nn_gemm_nn(s->m, s->n, s->k, a, s->k, b, s->n, c, s->n, NULL, false);
    else if (s->form == 't')
        nn_gemm_tn(s->m, s->n, s->k, a, s->m, b, s->n, c, s->n, true);
    else
        nn_gemm_nt(s->m, s->n, s->k, a, s->k, b, s->k, c, s->n, NULL, false);
}

static float* numbers(size_t n) {
    float* x = aligned_alloc(64, (n * sizeof *x + 127) / 64 * 64);
    HWM_ASSERT(x != NULL);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i % 17) * 0.1F - 0.8F;
    return x;
}

static double shape_seconds(const shape* s, double budget) {
    float *a = numbers((size_t)s->m * (size_t)s->k), *b = numbers((size_t)s->n * (size_t)s->k),
          *c = numbers((size_t)s->m * (size_t)s->n);
    double best = INFINITY, spent = 0;
    const int each = 2.0 * s->m * s->n * s->k > 1e8 ? 1 : 8;  // so that the clock does not count
    for (int rounds = 0; spent < budget || rounds < 3; rounds++) {
        const double at = hwm_clock_s();
        for (int k = 0; k < each; k++)
            product(s, a, b, c);
        const double took = hwm_clock_s() - at;
        best = fmin(best, took / each);
        spent += took;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

// ---- an agent on random experience

static void fill(hwm_rng* rng, hwm_real* x, size_t n, double lo, double hi) {
    for (size_t i = 0; i < n; i++)
        x[i] = (hwm_real)(lo + (hi - lo) * hwm_rng_uniform_double(rng));
}

static void random_sequences(hwm_rng* rng, hwm_sequences* s, int O, int A) {
    const size_t rows = (size_t)s->n * (size_t)s->length;
    fill(rng, s->obs, rows * (size_t)O, -0.5, 0.5);
    fill(rng, s->action, rows * (size_t)A, -1, 1);
    fill(rng, s->reward, rows, 0, 1);
    fill(rng, s->valid, rows, 1, 1);
    fill(rng, s->hindsight, (size_t)s->n * (size_t)s->context * (size_t)(2 * O + A), -0.5, 0.5);
    for (size_t i = 0; i < rows; i++) {
        s->first[i] = 0;
        s->terminal[i] = i % 16 == 15 ? 1 : 0;
    }
}

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Rounds: the first two are not measured.
typedef struct candidate {
    const char *name, *text;
    int rounds, quick;
} candidate;
#define RSSM(preset, sequences, steps)                                                             \
    "model: {kind: rssm, preset: " preset ", sequences: " sequences ", sequence_steps: " steps     \
    "}\n"                                                                                          \
    "imagination: {horizon: 15, fraction_continued: 0.5}\n"
static const candidate candidates[] = {
    {"ensemble", "model: {kind: ensemble}\nimagination: {horizon: 30, fraction_continued: 0.5}\n",
     100, 20},
    {"context",
     "controller: {inputs: [o, d], plastic: [last], static_learned: false}\n"
     "rule: {kind: mod3, terms: AC}\nmodel: {kind: context}\n"
     "imagination: {horizon: 30, fraction_continued: 0.5}\n",
     100, 20},
    {"nano", RSSM("nano", "16", "32"), 20, 8},
    {"size1m", RSSM("size1m", "16", "64"), 8, 4},
    {"size12m", RSSM("size12m", "16", "64"), 4, 3},
};
enum { CANDIDATES = sizeof candidates / sizeof *candidates };

static int bench(const candidate* which, const char* const* set, int n_set, int threads) {
    const char* model = which->name;
    hwm_error err = {0};
    hwm_experiment* e;
    if (hwm_experiment_load(&e, NULL, which->text, set, n_set, &err) != HWM_OK) {
        fprintf(stderr, "bench_learner: %s\n", err.text);
        return 2;
    }
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    hwm_agent* a;
    if (!spec || hwm_env_describe(&e->env, spec, &err) != HWM_OK ||
        hwm_agent_create(&a, e, spec, &err) != HWM_OK) {
        fprintf(stderr, "bench_learner: %s\n", err.text);
        return 2;
    }
    const int O = spec->obs_dim, A = spec->action_dim, B = (int)e->imagination.batch;
    hwm_sequences batch, rows;
    HWM_ASSERT(hwm_sequences_alloc(&batch, hwm_model_batch_sequences(a->model),
                                   hwm_model_batch_length(a->model), hwm_model_context(a->model), O,
                                   A) == HWM_OK);
    HWM_ASSERT(hwm_sequences_alloc(&rows, B, hwm_model_start_length(a->model),
                                   hwm_model_context(a->model), O, A) == HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    random_sequences(&rng, &batch, O, A);
    random_sequences(&rng, &rows, O, A);
    hwm_agent_look(a, &batch);
    hwm_agent_refresh(a, true);

    nn_threads_set(threads);
    shapes list = {0};
    hwm_agent_report report = {0};
    double best = INFINITY, best_cpu = INFINITY,
           phase[4] = {INFINITY, INFINITY, INFINITY, INFINITY};
    const int rounds = quick ? which->quick : which->rounds;
    for (int k = 0; k < rounds; k++) {
        hwm_starts* s = hwm_imagination_starts(a->imagination);
        for (int i = 0; i < B; i++) {
            s->first[i] = s->fresh[i] = i % 4 == 0;
            s->alive[i] = 1;
            s->age[i] = 0;
        }
        const double before[3] = {a->seconds_model, a->seconds_imagination, a->seconds_critic};
        if (k == 1) {  // shares of an update would count at the same time
            nn_threads_set(1);
            nn_gemm_watch(watch, &list);
        }
        const double cpu = cpu_s(), at = hwm_clock_s();
        hwm_agent_update_model(a, &batch, &report, &err);
        const double start = hwm_clock_s();
        hwm_model_start(a->model, &rows, &rng, s->z);
        const double started = hwm_clock_s() - start;
        hwm_agent_update_behaviour(a, 0, &report, &err);
        const double took = hwm_clock_s() - at, took_cpu = cpu_s() - cpu;
        if (k == 1) {
            nn_gemm_watch(NULL, NULL);
            nn_threads_set(threads);
        }
        if (k < 2)
            continue;
        best = fmin(best, took);
        best_cpu = fmin(best_cpu, took_cpu);
        phase[0] = fmin(phase[0], a->seconds_model - before[0]);
        phase[1] = fmin(phase[1], a->seconds_imagination - before[1]);
        phase[2] = fmin(phase[2], a->seconds_critic - before[2]);
        phase[3] = fmin(phase[3], started);
    }
    double floor_s = 0, flops = 0;
    nn_threads_set(1);
    for (int i = 0; i < list.n; i++) {
        floor_s += list.s[i].count * shape_seconds(&list.s[i], quick ? 0.002 : 0.01) / threads;
        flops += list.s[i].count * 2.0 * list.s[i].m * list.s[i].n * list.s[i].k;
    }
    figure(model, "update_ms", 1e3 * best, "ms, everything");
    figure(model, "update_cpu_ms", 1e3 * best_cpu, "ms of all cores");
    figure(model, "model_ms", 1e3 * phase[0], "ms, world model");
    figure(model, "start_ms", 1e3 * phase[3], "ms, latents of the starts");
    figure(model, "imagination_ms", 1e3 * phase[1], "ms, rollouts and the rule's gradient");
    figure(model, "critic_ms", 1e3 * phase[2], "ms");
    figure(model, "mflop", 1e-6 * flops, "MFLOP in matrix products");
    figure(model, "gflops", 1e-9 * flops / best, "GFLOP/s");
    figure(model, "floor_ms", 1e3 * floor_s, "ms of the matrix products on idle threads");
    figure(model, "over_floor", best / floor_s, "times the floor");
    hwm_sequences_free(&batch);
    hwm_sequences_free(&rows);
    hwm_agent_destroy(&a);
    hwm_experiment_destroy(&e);
    free(spec);
    return 0;
}

typedef struct options {
    bool quick, json;
    int64_t threads;
    const char* model;
    hwm_text_list set;
} options;

#define OPTION(name, argument, type, field, value, min, max, help)                                 \
    { name, argument, type, offsetof(options, field), value, min, max, help }
static const hwm_option rows[] = {
    OPTION("--quick", NULL, HWM_OPTION_FLAG, quick, NULL, 0, 0, "Fewer updates."),
    OPTION("--json", NULL, HWM_OPTION_FLAG, json, NULL, 0, 0, "One JSON object instead of lines."),
    OPTION("--threads", "N", HWM_OPTION_INT, threads, "0", 0, 64,
           "Threads of the learner; 0: one a processor."),
    OPTION("--model", "NAME", HWM_OPTION_TEXT, model, NULL, 0, 0,
           "Only this one: ensemble, context, nano, size1m or size12m."),
    OPTION("--set", "SECTION.NAME=VALUE", HWM_OPTION_LIST, set, NULL, 0, 0,
           "Override one value of the configuration."),
};

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    int only = -1, code = 0;
    for (int k = 0; k < CANDIDATES; k++)
        only = o->model && strcmp(o->model, candidates[k].name) == 0 ? k : only;
    if (o->model && only < 0) {
        fprintf(stderr,
                "bench_learner: no model \"%s\": one of ensemble, context, nano, size1m, "
                "size12m\n",
                o->model);
        return HWM_EXIT_USAGE;
    }
    quick = o->quick;
    json = o->json;
    if (json)
        printf("{\"cpu\": \"%s\", ", nn_cpu_name(nn_cpu_current()));
    const int threads = o->threads > 0 ? (int)o->threads : (int)sysconf(_SC_NPROCESSORS_ONLN);
    for (int k = 0; k < CANDIDATES && code == 0; k++)
        if (only < 0 || only == k)
            code = bench(&candidates[k], o->set.v, o->set.n, threads);
    if (json)
        printf("}\n");
    return code == 0 ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
}

static const hwm_command command = {
    .name = "bench_learner",
    .operands = "",
    .summary = "One update of the learner, beside the speed of its matrix products alone.",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};

int main(int argc, char** argv) {
    return hwm_command_main(&command, argc, argv);
}
