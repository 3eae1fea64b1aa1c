// Steps per second and core of every environment; MuJoCo ones beside a bare mj_step loop of the
// same model, frame skip, start and actions, the two taking turns so that both meet the same
// machine. Times are CPU time of this thread.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/command.h"
#include "env/mj.h"

enum { E = 64, MUJOCO_E = 4, EPISODE = 100 };

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static hwm_env_config config_of(const char* name) {
    hwm_env_config config = {0};
    hwm_config_section section = {.table = &hwm_env_table, .target = &config};
    hwm_config_defaults(&section, 1);
    snprintf(config.name, sizeof config.name, "%s", name);
    config.fall_steps = 0;
    return config;
}

typedef struct figures {
    double steps_per_s, bare_per_s;  // bare: 0 for native environments
} figures;

typedef struct batch {
    hwm_envs* envs;
    const hwm_env_spec* spec;
    int count;
    float *obs, *action, *reward;
    uint8_t *terminated, *truncated;
    hwm_rng rng;
} batch;

static void open_batch(batch* b, const hwm_env_config* config, int count) {
    hwm_error err;
    *b = (batch){.count = count};
    if (hwm_envs_create(&b->envs, config, 1, 0, count, 1, &err) != HWM_OK) {
        fprintf(stderr, "bench_env: %s\n", err.text);
        exit(1);
    }
    b->spec = hwm_envs_spec(b->envs);
    size_t n = (size_t)count;
    b->obs = calloc(n * (size_t)b->spec->obs_dim, sizeof(float));
    b->action = calloc(n * (size_t)b->spec->action_dim, sizeof(float));
    b->reward = calloc(n, sizeof(float));
    b->terminated = calloc(n, 1);
    b->truncated = calloc(n, 1);
    hwm_rng_init(&b->rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
}

static void close_batch(batch* b) {
    hwm_envs_destroy(&b->envs);
    free(b->obs);
    free(b->action);
    free(b->reward);
    free(b->terminated);
    free(b->truncated);
}

static void reset_all(batch* b, uint32_t episode) {
    for (int i = 0; i < b->count; i++) {
        hwm_envs_reset(b->envs, i, episode, b->obs + (size_t)i * (size_t)b->spec->obs_dim);
    }
}

static void draw_actions(batch* b) {
    for (int k = 0; k < b->count * b->spec->action_dim; k++) {
        b->action[k] = 2.0f * hwm_rng_uniform(&b->rng) - 1.0f;
    }
}

static void step(batch* b) {
    hwm_envs_step(b->envs, NULL, b->action, b->obs, b->reward, b->terminated, b->truncated);
}

// Native: what a worker does, resets included. The actions are drawn outside the clock.
static figures bench_native(const char* name, double budget_s) {
    hwm_env_config config = config_of(name);
    batch b;
    open_batch(&b, &config, E);
    uint32_t episode[E] = {0};
    reset_all(&b, 0);
    draw_actions(&b);
    double spent = 0.0, steps = 0.0;
    while (spent < budget_s) {
        draw_actions(&b);
        double begin = cpu_s();
        for (int t = 0; t < 256; t++) {
            step(&b);
            for (int i = 0; i < E; i++) {
                if (b.terminated[i] | b.truncated[i]) {
                    hwm_envs_reset(b.envs, i, ++episode[i],
                                   b.obs + (size_t)i * (size_t)b.spec->obs_dim);
                }
            }
        }
        spent += cpu_s() - begin;
        steps += 256.0 * E;
    }
    close_batch(&b);
    return (figures){.steps_per_s = steps / spent};
}

// The same start and actions for both: episodes of EPISODE decisions, ends ignored.
static figures bench_mujoco(const char* name, double budget_s) {
    hwm_env_config config = config_of(name);
    const mj_task* task = mj_task_find(name);
    batch b;
    open_batch(&b, &config, MUJOCO_E);
    mjModel* m;
    hwm_error err;
    if (mj_model_load(&m, task, &config, &err) != HWM_OK) {
        fprintf(stderr, "bench_env: %s\n", err.text);
        exit(1);
    }
    mjData* d[MUJOCO_E] = {NULL};
    double* state = calloc((size_t)b.spec->state_dim, sizeof *state);
    size_t A = (size_t)b.spec->action_dim;
    float* actions = calloc(EPISODE * MUJOCO_E * A, sizeof *actions);
    double ours = 0.0, bare = 0.0, steps = 0.0;
    for (uint32_t episode = 0; ours + bare < budget_s; episode++) {
        reset_all(&b, episode);
        for (int i = 0; i < MUJOCO_E; i++) {
            d[i] = episode ? d[i] : mj_makeData(m);
            mj_resetData(m, d[i]);
            hwm_envs_get_state(b.envs, i, state);
            memcpy(d[i]->qpos, state, (size_t)m->nq * sizeof *state);
            memcpy(d[i]->qvel, state + m->nq, (size_t)m->nv * sizeof *state);
        }
        for (size_t t = 0; t < EPISODE; t++) {
            draw_actions(&b);
            memcpy(actions + t * MUJOCO_E * A, b.action, MUJOCO_E * A * sizeof *actions);
        }
        // ten decisions each in turn
        for (size_t from = 0; from < EPISODE; from += 10) {
            double begin = cpu_s();
            for (size_t t = from; t < from + 10; t++) {
                memcpy(b.action, actions + t * MUJOCO_E * A, MUJOCO_E * A * sizeof *actions);
                step(&b);
            }
            double middle = cpu_s();
            for (size_t t = from; t < from + 10; t++) {
                for (int i = 0; i < MUJOCO_E; i++) {
                    const float* u = actions + (t * MUJOCO_E + (size_t)i) * A;
                    for (size_t a = 0; a < A; a++) {
                        d[i]->ctrl[a] = (double)u[a];
                    }
                    for (int s = 0; s < task->frame_skip; s++) {
                        mj_step(m, d[i]);
                    }
                }
            }
            ours += middle - begin;
            bare += cpu_s() - middle;
            steps += 10.0 * MUJOCO_E;
        }
    }
    for (int i = 0; i < MUJOCO_E; i++) {
        mj_deleteData(d[i]);
    }
    mj_deleteModel(m);
    free(state);
    free(actions);
    close_batch(&b);
    return (figures){steps / ours, steps / bare};
}

typedef struct options {
    bool quick, json;
} options;

static const hwm_option rows[] = {
    {"--quick", NULL, HWM_OPTION_FLAG, offsetof(options, quick), NULL, 0, 0,
     "A tenth of the time."},
    {"--json", NULL, HWM_OPTION_FLAG, offsetof(options, json), NULL, 0, 0,
     "One JSON object instead of lines."},
};

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    const bool quick = o->quick, json = o->json;
    double budget_s = quick ? 0.3 : 3.0;
    if (json) {
        printf("{");
    } else {
        printf("%-18s %14s %14s %6s\n", "environment", "steps/s/core", "bare mj_step", "ratio");
    }
    for (int k = 0, printed = 0; k < hwm_env_count(); k++) {
        const char* name = hwm_env_name(k);
        bool mujoco = mj_task_find(name) != NULL;
        if (strcmp(name, "mjcf") == 0 || strcmp(name, "plugin") == 0) {
            continue;  // the user's own
        }
        figures f = mujoco ? bench_mujoco(name, 2.0 * budget_s) : bench_native(name, budget_s);
        if (json) {
            printf("%s\"%s_steps_per_s\": %.6g", printed++ ? ", " : "", name, f.steps_per_s);
            if (mujoco) {
                printf(", \"%s_over_bare\": %.4f", name, f.steps_per_s / f.bare_per_s);
            }
        } else if (mujoco) {
            printf("%-18s %14.0f %14.0f %6.3f\n", name, f.steps_per_s, f.bare_per_s,
                   f.steps_per_s / f.bare_per_s);
        } else {
            printf("%-18s %14.0f\n", name, f.steps_per_s);
        }
        fflush(stdout);
    }
    if (json) {
        printf("}\n");
    }
    return HWM_EXIT_DONE;
}

static const hwm_command command = {
    .name = "bench_env",
    .operands = "",
    .summary = "Steps per second and core of every environment, beside bare mj_step.",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};

int main(int argc, char** argv) {
    return hwm_command_main(&command, argc, argv);
}
