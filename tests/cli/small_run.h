// A run directory as training leaves it: configuration, metrics, and a checkpoint with the
// controller it starts from.
#ifndef HWM_TESTS_CLI_SMALL_RUN_H
#define HWM_TESTS_CLI_SMALL_RUN_H

#include "deploy/cli/run_dir.h"
#include "experiment/evaluate.h"
#include "nn/safetensors.h"
#include "scratch.h"

// Lines of metrics at 0, 100, 200 ... environment steps: eval = scale * steps, imagined = 0.9 eval,
// real = eval.
static inline void small_run_metrics(const char* name, int lines, double scale) {
    char path[HWM_PATH_MAX];
    snprintf(path, sizeof path, "%s/metrics.jsonl", name);
    scratch_write(path, "", "w");
    for (int i = 0; i < lines; i++) {
        char line[256];
        double x = 100.0 * i;
        snprintf(line, sizeof line,
                 "{\"env_steps\": %.0f, \"updates\": %d, \"wall_s\": %d, \"return_mean\": %g, "
                 "\"eval_mean\": %g, \"imagined_return\": %g, \"real_return\": %g}\n",
                 x, i, i, 0.5 * scale * x, scale * x, 0.9 * scale * x, scale * x);
        scratch_write(path, line, "a");
    }
}

// text: the experiment. Returns the path of the directory; aborts when it cannot be made.
static inline const char* small_run_make(const char* name, const char* text, uint64_t seed) {
    char path[HWM_PATH_MAX];
    hwm_error err = {0};
    hwm_experiment* e = NULL;
    hwm_controller* c = NULL;
    snprintf(path, sizeof path, "%s/checkpoints/best", name);
    if (hwm_path_make(scratch_path(path), &err) != HWM_OK ||
        hwm_experiment_load(&e, NULL, text, NULL, 0, &err) != HWM_OK ||
        hwm_experiment_controller(e, &c, &err) != HWM_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    int n = 0;
    hwm_config_section* sections = hwm_experiment_sections(e, &n);
    char* yaml = hwm_config_print(sections, n, HWM_CONFIG_PLAIN);
    snprintf(path, sizeof path, "%s/config.yaml", name);
    scratch_write(path, yaml, "w");
    free(yaml);
    const hwm_param_list* list = hwm_controller_params(c);
    hwm_real* phi = calloc(list->count + 1, sizeof *phi);
    float* values = calloc(list->count + 1, sizeof *values);
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_PARAMETERS, 0, 0, 0);
    hwm_controller_init(c, &rng, phi);
    for (size_t k = 0; k < list->count; k++) {
        values[k] = (float)phi[k];
    }
    snprintf(path, sizeof path, "%s/checkpoints/best/controller.safetensors", name);
    if (nn_safetensors_write(scratch_path(path), list, values, NULL, 0, &err) != HWM_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    free(phi);
    free(values);
    hwm_controller_destroy(&c);
    hwm_experiment_destroy(&e);
    return scratch_path(name);
}

#endif
