// Training engine: kernels beside the machine's peak measured in the same run, and whole updates of
// the RSSM agent beside their floor: the matrix products that they really do (rows picked by
// one-hot codes are none), each shape at the rate measured for it alone on one thread, divided by
// the threads.
//
//   bench_nn [--quick] [--json] [--threads N] [--last K] [--preset NAME] [--cpu-time]
//            [--lane-rows N] [--precision NAME] [--base]
//
// --cpu-time: seconds of processor time of one thread, for a machine that others use too.
//
// Prints figures; never fails on time. With --json one object on stdout.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/command.h"
#include "model/dreamer.h"
#include "nn/bf16.h"
#include "nn/cpu.h"
#include "nn/gemm.h"
#include "nn/layers.h"
#include "nn/pool.h"
#include "nn/rows.h"
#include "nn/vmath.h"
#include "plastic/controller.h"
#include "plastic/controller_config.h"

static bool quick, json;
static bool first_figure = true, cpu_time;
static int lane_rows;

static double now_s(void) {
    if (!cpu_time)
        return hwm_clock_s();
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void figure(const char* name, double value, const char* unit) {
    if (json)
        printf("%s\"%s\": %.6g", first_figure ? "" : ", ", name, value);
    else
        printf("  %-34s %10.4g %s\n", name, value, unit);
    first_figure = false;
    fflush(stdout);
}

static void* numbers(size_t n) {
    float* x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    if (!x)
        exit(1);
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_rng_fill_uniform(&rng, x, n, -1.0f, 1.0f);
    return x;
}

// ---- matrix products

typedef struct shape {
    char form;
    int m, n, k;
    double count;
} shape;

static void product(const shape* s, const float* a, const float* b, float* c) {
    if (s->form == 'w') {  // b: packed
        const nn_bf16_input input = {a, s->k, 0, s->k, 0};
        nn_bf16_product(s->m, 1, s->n, s->k, 1, &input, (const nn_bf16*)(const void*)b, c, s->n,
                        NULL, false);
    } else if (s->form == 'o')  // both packed
        nn_bf16_accumulate(s->m, s->n, s->k, (const nn_bf16*)(const void*)a,
                           (const nn_bf16*)(const void*)b, c, s->n);
    else if (s->form == 'n')
        nn_gemm_nn(s->m, s->n, s->k, a, s->k, b, s->n, c, s->n, NULL, false);
    else if (s->form == 't')
        nn_gemm_tn(s->m, s->n, s->k, a, s->m, b, s->n, c, s->n, true);
    else
        nn_gemm_nt(s->m, s->n, s->k, a, s->k, b, s->k, c, s->n, NULL, false);
}

// Seconds of one product, the best of three runs of at least `budget` seconds together; operands
// warm, as in an update.
static double product_seconds(const shape* s, bool openblas, double budget) {
    float* a = numbers((size_t)s->m * (size_t)s->k);
    float* b = numbers((size_t)s->n * (size_t)s->k);
    float* c = numbers((size_t)s->m * (size_t)s->n);
    if (s->form == 'w') {
        float* packed = numbers((nn_bf16_weight_count(s->n, s->k) + 1) / 2);
        nn_bf16_weight_pack(s->n, s->k, b, (nn_bf16*)(void*)packed);
        free(b);
        b = packed;
    }
    double best = INFINITY;
    for (int run = 0; run < 3; run++) {
        const double start = now_s();
        int calls = 0;
        double spent;
        do {
            for (int i = 0; i < 4; i++, calls++) {
                if (openblas)
                    nn_gemm_reference(s->m, s->n, s->k, a, b, c);
                else
                    product(s, a, b, c);
            }
            spent = now_s() - start;
        } while (spent < budget / 3);
        best = fmin(best, spent / calls);
    }
    free(a);
    free(b);
    free(c);
    return best;
}

static double rate(const shape* s, double seconds) {
    return 2e-9 * s->m * s->n * s->k / seconds;
}

static void bench_products(void) {
    static const shape shapes[] = {
        {'n', 32, 64, 64, 1},     {'n', 128, 64, 5, 1},      {'n', 128, 64, 64, 1},
        {'t', 64, 64, 128, 1},    {'n', 16, 64, 512, 1},     {'n', 16, 256, 1024, 1},
        {'n', 16, 1024, 1024, 1}, {'n', 128, 96, 96, 1},     {'n', 1024, 64, 640, 1},
        {'t', 64, 640, 1024, 1},  {'n', 1024, 256, 2560, 1}, {'t', 256, 2560, 1024, 1},
        {'n', 1024, 512, 512, 1}, {'w', 128, 64, 64, 1},     {'w', 256, 256, 1024, 1},
        {'w', 256, 256, 2048, 1}, {'w', 1024, 512, 512, 1},
    };
    if (!json)
        printf("products, GFLOP/s (this, OpenBLAS on one thread)\n");
    const double budget = quick ? 0.02 : 0.15;
    double peak = 0.0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape* s = &shapes[i];
        char name[64];
        snprintf(name, sizeof name, "gemm_%c_%dx%dx%d_gflops", s->form, s->m, s->n, s->k);
        const double own = rate(s, product_seconds(s, false, budget));
        figure(name, own, "GFLOP/s");
        if (s->form != 'w')
            peak = fmax(peak, own);
        if (s->form == 'n') {
            snprintf(name, sizeof name, "openblas_%dx%dx%d_gflops", s->m, s->n, s->k);
            figure(name, rate(s, product_seconds(s, true, budget)), "GFLOP/s");
        }
    }
    figure("peak_gflops", peak, "GFLOP/s");
}

// ---- element-wise and row kernels, in GB/s of what they must read and write

typedef struct row_bench {
    const char* name;
    void (*run)(int N, int D, float** m);
    double arrays;  // read or written per number
} row_bench;

static void run_copy(int N, int D, float** m) {
    memcpy(m[1], m[0], (size_t)N * (size_t)D * sizeof(float));
}
static void run_tanh(int N, int D, float** m) {
    nn_vtanh((size_t)N * (size_t)D, m[0], m[1]);
}
static void run_elu(int N, int D, float** m) {
    nn_velu((size_t)N * (size_t)D, m[0], m[1]);
}
static void run_norm(int N, int D, float** m) {
    nn_rms_forward(m[1], m[5], m[0], m[2], 1e-4f, 1, N, D);
}
static void run_norm_backward(int N, int D, float** m) {
    nn_rms_backward(m[1], m[4], m[3], m[0], m[2], m[5], 1, m[6], N, D);
}
static void run_gru(int N, int D, float** m) {
    nn_gru_forward(m[1], m[4], m[3], m[0], N, D / 4, 1);
}
static void run_exp(int N, int D, float** m) {
    nn_vexp((size_t)N * (size_t)D, m[0], m[1]);
}
static void run_log1p(int N, int D, float** m) {
    nn_vlog1p((size_t)N * (size_t)D, m[2], m[1]);
}
static void run_sigmoid(int N, int D, float** m) {
    nn_vsigmoid((size_t)N * (size_t)D, m[0], m[1]);
}
static void run_silu(int N, int D, float** m) {
    nn_vsilu((size_t)N * (size_t)D, m[0], m[1]);
}
static void run_softplus(int N, int D, float** m) {
    nn_vsoftplus((size_t)N * (size_t)D, m[0], m[1]);
}
static void run_gru_backward(int N, int D, float** m) {
    nn_gru_backward(m[6], m[1], m[2], m[4], m[3], m[0], N, D / 4, 1);
}
static void run_softmax_bins(int N, int D, float** m) {
    nn_softmax_forward(m[1], m[0], 0.0f, N * D / 256, 256);
}
static void run_softmax_backward(int N, int D, float** m) {
    nn_softmax_backward(m[6], m[3], m[0], 0.01f, N * D / 16, 16);
}
static void run_accumulate(int N, int D, float** m) {
    nn_accumulate(m[1], m[0], N * D);
}
// 32 variables of 16 classes each pick 32 rows of a matrix that is as large as the other arrays
static void run_hot(int N, int D, float** m) {
    static int hot[64 * 32];
    for (int i = 0; i < N * 32; i++)
        hot[i] = i * 7 % 16;
    nn_hot_forward(m[1], D / 8, m[0], NULL, false, hot, 32, 16, N, D / 8);
}
static void run_softmax(int N, int D, float** m) {
    nn_softmax_forward(m[1], m[0], 0.01f, N * D / 16, 16);
}

static void bench_rows(void) {
    static const row_bench kernels[] = {
        {"copy", run_copy, 2},
        {"accumulate", run_accumulate, 3},
        {"exp", run_exp, 2},
        {"log1p", run_log1p, 2},
        {"tanh", run_tanh, 2},
        {"sigmoid", run_sigmoid, 2},
        {"silu", run_silu, 2},
        {"softplus", run_softplus, 2},
        {"elu", run_elu, 2},
        {"norm_silu", run_norm, 2},
        {"norm_silu_backward", run_norm_backward, 4},
        {"gru", run_gru, 2},
        {"gru_backward", run_gru_backward, 3},
        {"softmax_c16", run_softmax, 2},
        {"softmax_c16_backward", run_softmax_backward, 4},
        {"softmax_c256", run_softmax_bins, 2},
        {"one_hot_rows", run_hot, 4 + 1.0 / 8},
    };
    enum { N = 64, D = 512 };  // 128 KB an array: the L2 cache, where activations live
    float* m[7];
    for (int i = 0; i < 7; i++)
        m[i] = numbers((size_t)N * D);
    for (int i = 0; i < N; i++)
        m[5][i] = 1.0f;
    if (!json)
        printf("rows, GB/s of arrays in the L2 cache\n");
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        double best = INFINITY;
        for (int run = 0; run < 3; run++) {
            const double start = now_s();
            int calls = 0;
            double spent;
            do {
                kernels[i].run(N, D, m);
                calls++;
                spent = now_s() - start;
            } while (spent < (quick ? 0.005 : 0.03));
            best = fmin(best, spent / calls);
        }
        char name[64];
        snprintf(name, sizeof name, "%s_gbs", kernels[i].name);
        figure(name, 1e-9 * kernels[i].arrays * N * D * sizeof(float) / best, "GB/s");
    }
    for (int i = 0; i < 7; i++)
        free(m[i]);
}

// ---- whole updates

enum { SHAPES_MAX = 512 };
typedef struct shape_list {
    shape s[SHAPES_MAX];
    int n;
} shape_list;

static void watch(void* context, char form, int m, int n, int k) {
    shape_list* list = context;
    for (int i = 0; i < list->n; i++) {
        shape* s = &list->s[i];
        if (s->form == form && s->m == m && s->n == n && s->k == k) {
            s->count++;
            return;
        }
    }
    if (list->n < SHAPES_MAX)
        list->s[list->n++] = (shape){form, m, n, k, 1};
}

static hwm_real* uniform(hwm_rng* rng, size_t n, double lo, double hi) {
    hwm_real* x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (hwm_real)(lo + (hi - lo) * hwm_rng_uniform_double(rng));
    return x;
}

static void bench_update(int preset, hwm_precision precision, int last, int threads) {
    const hwm_rssm_sizes* size = hwm_rssm_preset(preset);
    hwm_dreamer_config config = hwm_dreamer_default(preset, 5, 1);
    config.precision = precision;
    config.imagine_last = last < size->length ? last : 0;
    config.lane_rows = lane_rows;
    if (preset == 0 && last == 0)
        config.imagine_last = 8;  // 128 imagined starts
    hwm_dreamer* d;
    if (hwm_dreamer_create(&d, &config, 1) != HWM_OK)
        exit(1);
    hwm_rng rng;
    hwm_rng_init(&rng, 2, HWM_PURPOSE_TEST, 0, 0, 0);
    const size_t rows = (size_t)size->batch * (size_t)size->length;
    hwm_rssm_batch b = {.N = size->batch, .T = size->length};
    b.obs = uniform(&rng, rows * 5, -1, 1);
    b.action = uniform(&rng, rows, -1, 1);
    b.reward = uniform(&rng, rows, 0, 1);
    b.keep = uniform(&rng, rows, 1, 1);
    b.cont = uniform(&rng, rows, 1, 1);
    b.draws = uniform(&rng, rows * (size_t)size->variables, 0, 1);
    hwm_real* ends = uniform(&rng, rows, 0, 0);

    hwm_dreamer_losses losses;
    hwm_error err;
    shape_list* shapes = calloc(1, sizeof *shapes);
    nn_threads_set(1);  // lanes of an update would count at the same time
    nn_gemm_watch(watch, shapes);
    if (hwm_dreamer_update(d, &b, ends, &rng, &losses, &err) != HWM_OK)
        fprintf(stderr, "bench_nn: %s\n", err.text);
    nn_gemm_watch(NULL, NULL);
    nn_threads_set(threads);
    double best = INFINITY;
    const int rounds = quick ? 2 : 6;
    for (int i = 0; i < rounds; i++) {
        const double start = now_s();
        hwm_dreamer_update(d, &b, ends, &rng, &losses, &err);
        best = fmin(best, now_s() - start);
    }
    double floor_s = 0.0, flops = 0.0;
    nn_threads_set(1);
    for (int i = 0; i < shapes->n; i++) {
        const shape* s = &shapes->s[i];
        floor_s += s->count * product_seconds(s, false, quick ? 0.003 : 0.02) / threads;
        flops += s->count * 2.0 * s->m * s->n * s->k;
    }
    if (!json)
        printf("update of the RSSM agent, %s: %zu parameters, %d x %d, imagined from %s, %s\n",
               size->name, hwm_dreamer_model(d)->list.count + hwm_dreamer_behaviour(d)->list.count,
               size->batch, size->length, config.imagine_last ? "the last rows" : "every row",
               precision == HWM_PRECISION_BFLOAT16 ? "bfloat16" : "float32");
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const struct {
        const char* name;
        double value;
        const char* unit;
    } figures[] = {
        {"update_ms", 1e3 * best, "ms"},
        {"over_floor", floor_s / best, "of the speed of its matrix products on idle threads"},
        {"gflop", 1e-9 * flops, "GFLOP"},
        {"gflops", 1e-9 * flops / best, "GFLOP/s"},
        {"tape_mb", 1e-6 * (double)hwm_dreamer_memory(d), "MB"},
        {"resident_mb", 1e-3 * (double)usage.ru_maxrss, "MB at most so far"},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s_%s%s", size->name,
                 precision == HWM_PRECISION_BFLOAT16 ? "bf16_" : "", figures[i].name);
        figure(name, figures[i].value, figures[i].unit);
    }
    free(shapes);
    hwm_real* all[] = {b.obs, b.action, b.reward, b.keep, b.cont, b.draws, ends};
    for (int i = 0; i < 7; i++)
        free(all[i]);
    hwm_dreamer_destroy(&d);
}

// ---- explicit imagination: controller and rule of 12,288 synapses, 64 starts, 15 steps, forward
// and backward

static void bench_imagination(void) {
    enum { B = 64, H = 15, OBS = 28, ACT = 8 };
    hwm_controller_config config;
    hwm_rule_config rule;
    hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &config},
                                      {.table = &hwm_rule_table, .target = &rule}};
    hwm_config_defaults(sections, 2);
    config.hidden = (hwm_int_list){2, {128, 64}};
    float scale[OBS];
    for (int i = 0; i < OBS; i++)
        scale[i] = 1.0f;
    hwm_controller* c;
    hwm_error err;
    if (hwm_controller_create(&c, &config, &rule, OBS, scale, ACT, false, &err) != HWM_OK) {
        fprintf(stderr, "bench_nn: %s\n", err.text);
        exit(1);
    }
    const size_t synapses = 28 * 128 + 128 * 64 + 64 * 8;
    const size_t phi_count = hwm_controller_params(c)->count;
    const size_t coef_count = (size_t)hwm_controller_coef_count(c);
    const size_t state_size = hwm_lanes_size(B, hwm_controller_state_size(c));
    const size_t act_size = hwm_lanes_size(B, hwm_controller_activations(c));
    const size_t scale_size = hwm_lanes_size(B, hwm_controller_scales(c));
    const size_t out_size = hwm_lanes_size(B, hwm_controller_outputs(c));
    float* phi = numbers(phi_count);
    float *coef = numbers(coef_count), *g_coef = numbers(coef_count);
    float *state = numbers(state_size), *g_state = numbers(state_size);
    float *act = numbers(act_size * H), *g_act = numbers(act_size);
    float *scales = numbers(scale_size * H), *u = numbers(out_size), *g_u = numbers(out_size);
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(c, &rng, phi);
    double best = INFINITY;
    for (int round = 0; round < (quick ? 2 : 5); round++) {
        memset(state, 0, state_size * sizeof *state);
        hwm_controller_prepare(c, phi, coef);
        for (int i = 0; i < B; i++)
            hwm_controller_reset(c, coef, &rng, state, i);
        const double start = now_s();
        memset(g_coef, 0, coef_count * sizeof *g_coef);
        memset(g_state, 0, state_size * sizeof *g_state);
        for (int t = 0; t < H; t++) {
            hwm_controller_act(c, coef, B, state, act + (size_t)t * act_size);
            hwm_controller_learn(c, coef, B, act + (size_t)t * act_size, u, NULL, state,
                                 scales + (size_t)t * scale_size);
        }
        for (int t = H - 1; t >= 0; t--) {
            for (size_t i = 0; i < act_size; i++)
                g_act[i] = 1e-3f;
            hwm_controller_learn_backward(c, coef, B, act + (size_t)t * act_size, u,
                                          scales + (size_t)t * scale_size, state, NULL, g_state,
                                          g_act, g_u, g_coef);
            hwm_controller_act_backward(c, coef, B, state, act + (size_t)t * act_size, g_act,
                                        g_state, g_coef);
        }
        best = fmin(best, now_s() - start);
    }
    if (!json)
        printf("explicit imagination, one thread: %zu synapses, %d starts, %d steps\n", synapses, B,
               H);
    figure("imagination_12288_ms", 1e3 * best, "ms, controller and rule, forward and backward");
    float* all[] = {phi, coef, g_coef, state, g_state, act, g_act, scales, u, g_u};
    for (int i = 0; i < 10; i++)
        free(all[i]);
    hwm_controller_destroy(&c);
}

typedef struct options {
    bool quick, json, cpu_time, base;
    int64_t threads, last, lane_rows;
    const char *preset, *precision;
} options;

#define OPTION(name, argument, type, field, value, min, max, help)                                 \
    { name, argument, type, offsetof(options, field), value, min, max, help }
static const hwm_option rows[] = {
    OPTION("--quick", NULL, HWM_OPTION_FLAG, quick, NULL, 0, 0,
           "Fewer rounds, and only the two smallest agents."),
    OPTION("--json", NULL, HWM_OPTION_FLAG, json, NULL, 0, 0, "One JSON object instead of lines."),
    OPTION("--threads", "N", HWM_OPTION_INT, threads, "0", 0, 64, "Threads; 0: one a processor."),
    OPTION("--last", "K", HWM_OPTION_INT, last, "0", 0, 1e6,
           "Imagine from the last K rows of each sequence only; 0: from all."),
    OPTION("--preset", "NAME", HWM_OPTION_TEXT, preset, NULL, 0, 0,
           "Only the update of this agent: nano, size1m, size12m, ..."),
    OPTION("--precision", "NAME", HWM_OPTION_TEXT, precision, NULL, 0, 0,
           "Only updates in this precision: float32 or bfloat16; not given: both."),
    OPTION("--base", NULL, HWM_OPTION_FLAG, base, NULL, 0, 0,
           "Kernels of the baseline (AVX2) on a machine with AVX-512 too."),
    OPTION("--lane-rows", "N", HWM_OPTION_INT, lane_rows, "0", 0, 1e6,
           "Imagined rows that a thread works on at a time; 0: by the sizes."),
    OPTION("--cpu-time", NULL, HWM_OPTION_FLAG, cpu_time, NULL, 0, 0,
           "Processor time of one thread instead of time."),
};

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    int only = -1;
    for (int k = 0; k < hwm_rssm_presets(); k++)
        only = o->preset && strcmp(o->preset, hwm_rssm_preset(k)->name) == 0 ? k : only;
    if (o->preset && only < 0) {
        fprintf(stderr, "bench_nn: no preset \"%s\"; there are", o->preset);
        for (int k = 0; k < hwm_rssm_presets(); k++)
            fprintf(stderr, " %s", hwm_rssm_preset(k)->name);
        fprintf(stderr, "\n");
        return HWM_EXIT_USAGE;
    }
    static const char* const precisions[] = {"float32", "bfloat16"};
    int precision = -1;
    for (int k = 0; k < 2; k++)
        precision = o->precision && strcmp(o->precision, precisions[k]) == 0 ? k : precision;
    if (o->precision && precision < 0) {
        fprintf(stderr, "bench_nn: no precision \"%s\"; there are float32 and bfloat16\n",
                o->precision);
        return HWM_EXIT_USAGE;
    }
    quick = o->quick;
    json = o->json;
    cpu_time = o->cpu_time;
    lane_rows = (int)o->lane_rows;
    if (o->base)
        nn_cpu_select(NN_CPU_BASE);
    const int threads = cpu_time         ? 1
                        : o->threads > 0 ? (int)o->threads
                                         : (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (json)
        printf("{\"cpu\": \"%s\", ", nn_cpu_name(nn_cpu_current()));
    else
        printf("kernels for %s\n", nn_cpu_name(nn_cpu_current()));
    if (only < 0) {
        bench_products();
        bench_rows();
        bench_imagination();
    }
    nn_threads_set(threads);
    figure("threads", threads, "");
    for (int k = 0; k < hwm_rssm_presets(); k++)
        if (only >= 0 ? k == only : k <= (quick ? 1 : 2))
            for (int p = 0; p < 2; p++)
                if (precision < 0 || precision == p)
                    bench_update(k, (hwm_precision)p, (int)o->last, threads);
    if (json)
        printf("}\n");
    nn_threads_set(1);
    return HWM_EXIT_DONE;
}

static const hwm_command command = {
    .name = "bench_nn",
    .operands = "",
    .summary = "Kernels beside OpenBLAS, and whole updates of the recurrent state-space agent.",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};

int main(int argc, char** argv) {
    return hwm_command_main(&command, argc, argv);
}
