// bench_evolution [--quick] [--json]: what it costs to lease individuals instead of just playing
// them.
//
//   <case>_individuals_per_s       server, learner and one worker as processes, the median
//   generation <case>_bare_per_s              the same episodes of the same individuals, bare
//   rollouts in this
//                                  process, coefficients made beforehand
//   <case>_fraction                the first beside the second
//
// The learning rate is next to nothing, so that the generations have the same individuals on both
// sides.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/command.h"
#include "evolution.h"
#include "plastic/perturb.h"

typedef struct bench_case {
    const char *name, *env, *controller;
    int population, episodes, task_individuals;
} bench_case;

static const bench_case cases[] = {
    {"cartpole", "{name: cartpole}", "{hidden: [16]}", 128, 16, 16},
    {"quadruped", "{name: quadruped}", "{hidden: [32]}", 8, 1, 1},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void must(hwm_status status, const hwm_error* err) {
    if (status != HWM_OK) {
        fprintf(stderr, "bench_evolution: %s\n", err->text);
        exit(1);
    }
}

static int ascending(const void* a, const void* b) {
    const double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

static double median(double* x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n ? x[n / 2] : 0;
}

static void describe(const bench_case* b, int generations, char* yaml, size_t bytes) {
    snprintf(yaml, bytes,
             "run: {name: bench, max_updates: %d, max_env_steps: 0, report_interval_s: 0.1}\n"
             "env: %s\ncontroller: %s\nrule: {eta: 0.001}\nagent: {kind: es}\n"
             "evolution: {population: %d, episodes: %d, task_individuals: %d, lr: 1.0e-9, "
             "lr_min: 0}\n"
             "evaluation: {every_updates: 1000000, episodes: 1, confirm_episodes: 1, lease_ms: "
             "60000}\n",
             generations, b->env, b->controller, b->population, b->episodes, b->task_individuals);
}

static pid_t start(const char* folder, const char* program, const char* const* arguments) {
    char path[4096];
    const char* argv[16] = {path};
    snprintf(path, sizeof path, "%s/%s", folder, program);
    for (int k = 0; arguments[k]; k++) {
        argv[k + 1] = arguments[k];
    }
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, 1);
        dup2(null, 2);
        execv(path, (char* const*)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

// Individuals per second of the generations, as the learner reported them.
static double whole(const bench_case* b, const char* folder, int generations) {
    char scratch[] = "/tmp/hwm-bench-XXXXXX", yaml[1024], file[256], run[256], store[256], end[256];
    if (!mkdtemp(scratch)) {
        return 0;
    }
    snprintf(file, sizeof file, "%s/bench.yaml", scratch);
    snprintf(run, sizeof run, "%s/run", scratch);
    snprintf(store, sizeof store, "%s/store", scratch);
    snprintf(end, sizeof end, "ipc://%s/server.sock", scratch);
    describe(b, generations, yaml, sizeof yaml);
    FILE* f = fopen(file, "w");
    if (!f || fputs(yaml, f) < 0 || fclose(f) != 0) {
        return 0;
    }
    const char* const server[] = {"--listen", end, "--dir", store, NULL};
    const char* const worker[] = {"--server", end, "--environments", "1", NULL};
    const char* const learner[] = {"--server", end, "--experiment", file, "--run-dir", run, NULL};
    const pid_t pids[3] = {start(folder, "hwm-server", server), start(folder, "hwm-worker", worker),
                           start(folder, "hwm-learner", learner)};
    int status = 0;
    waitpid(pids[2], &status, 0);
    for (int k = 1; k >= 0; k--) {
        kill(pids[k], SIGTERM);
        waitpid(pids[k], NULL, 0);
    }
    double rate[4096];
    int n = 0;
    char path[512], *line = NULL;
    size_t capacity = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    f = fopen(path, "r");
    while (f && n < 4096 && getline(&line, &capacity, f) > 0) {
        const char* at = strstr(line, "\"individuals_per_s\":");
        n += at && sscanf(at, "\"individuals_per_s\":%lf", &rate[n]) == 1;
    }
    free(line);
    if (f) {
        fclose(f);
    }
    snprintf(path, sizeof path, "rm -rf '%s'", scratch);
    if (status != 0 || system(path) != 0) {
        fprintf(stderr, "bench_evolution: %s: learner's status %d\n", b->name, status);
        exit(1);
    }
    return median(rate, n);
}

// The same individuals without perturbing, leasing or reporting anything.
static double bare(const bench_case* b, int generations) {
    hwm_error err = {0};
    hwm_experiment* x;
    hwm_controller* c;
    hwm_rollout* r;
    char yaml[1024];
    describe(b, generations, yaml, sizeof yaml);
    must(hwm_experiment_load(&x, NULL, yaml, NULL, 0, &err), &err);
    must(hwm_experiment_controller(x, &c, &err), &err);
    const hwm_rollout_config config = hwm_rollout_default_config();
    must(hwm_rollout_create(&r, &x->env, c, &config, (uint64_t)x->run.seed, 0, b->episodes, &err),
         &err);
    const size_t count = hwm_controller_params(c)->count,
                 coefs = (size_t)hwm_controller_coef_count(c), n = (size_t)b->population;
    hwm_real* real = calloc(count, sizeof *real);
    float *phi = calloc(count, sizeof *phi), *out = calloc(count, sizeof *out);
    hwm_real* coef = calloc(n * coefs + 1, sizeof *coef);
    HWM_ASSERT(real && phi && out && coef);
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)x->run.seed, HWM_PURPOSE_PARAMETERS, 0, 0, 0);
    hwm_controller_init(c, &rng, real);
    for (size_t j = 0; j < count; j++) {
        phi[j] = (float)real[j];
    }
    double rate[4096];
    for (int g = 0; g < generations; g++) {
        for (size_t k = 0; k < n; k++) {
            const hwm_individual one = hwm_evolution_individual((uint64_t)x->run.seed, g, (int)k);
            hwm_perturb(c, phi, one.seed, one.sign, (float)hwm_evolution_sigma(&x->evolution, g),
                        out);
            for (size_t j = 0; j < count; j++) {
                real[j] = (hwm_real)out[j];
            }
            hwm_controller_prepare(c, real, coef + k * coefs);
        }
        const int64_t began = hwm_clock_ns();
        for (size_t k = 0; k < n; k++) {
            int left = r->E;
            for (int i = 0; i < r->E; i++) {
                hwm_rollout_begin(r, coef + k * coefs, i, (uint32_t)g);
            }
            while (left > 0) {
                hwm_rollout_think(r, coef + k * coefs, NULL);
                for (int i = 0; i < r->E; i++) {
                    if (!r->idle[i] && r->flags[i] & HWM_FLAG_LAST) {
                        r->idle[i] = 1;
                        left--;
                    }
                }
                hwm_rollout_step(r, coef + k * coefs);
            }
        }
        rate[g] = (double)n / ((double)(hwm_clock_ns() - began) * 1e-9);
    }
    free(real);
    free(phi);
    free(out);
    free(coef);
    hwm_rollout_destroy(&r);
    hwm_controller_destroy(&c);
    hwm_experiment_destroy(&x);
    return median(rate, generations);
}

typedef struct options {
    bool quick, json;
} options;

static const hwm_option rows[] = {
    {"--quick", NULL, HWM_OPTION_FLAG, offsetof(options, quick), NULL, 0, 0,
     "4 generations instead of 20."},
    {"--json", NULL, HWM_OPTION_FLAG, offsetof(options, json), NULL, 0, 0,
     "One JSON object instead of lines."},
};

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    const bool quick = o->quick, json = o->json;
    char folder[4096];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[n > 0 ? n : 0] = '\0';
    char* slash = strrchr(folder, '/');
    snprintf(slash ? slash : folder, slash ? 1 : 2, "%s", slash ? "" : ".");
    printf(json ? "{" : "");
    for (int k = 0; k < CASES; k++) {
        const int generations = quick ? 4 : 20;
        const double alone = bare(&cases[k], generations),
                     leased = whole(&cases[k], folder, generations);
        const char* name = cases[k].name;
        printf(
            json
                ? "%s\"%s_individuals_per_s\": %.0f, \"%s_bare_per_s\": %.0f, \"%s_fraction\": %.4f"
                : "%s%s_individuals_per_s %.0f\n%s_bare_per_s %.0f\n%s_fraction %.4f\n",
            json && k ? ", " : "", name, leased, name, alone, name, leased / alone);
    }
    printf(json ? "}\n" : "");
    return HWM_EXIT_DONE;
}

static const hwm_command command = {
    .name = "bench_evolution",
    .operands = "",
    .summary = "Individuals per second through server and workers, beside bare rollouts of the "
               "same episodes.",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};

int main(int argc, char** argv) {
    return hwm_command_main(&command, argc, argv);
}
