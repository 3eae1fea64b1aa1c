// What a world model knows of episodes that it was not trained on: fits the model of an experiment
// to recorded experience and prints its open-loop error beside that of "nothing changes", both in
// squared units of one-step changes.
//   fit_model FILE ENV_STEPS UPDATES [--without KIND] [section.name=value ...]
// Fails unless the model is below "nothing changes" at every horizon and, with --without, its
// one-step error is at most a tenth of that of model.kind = KIND, fitted alike.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "local.h"
#include "open_loop.h"

enum { SEQUENCES = 512, SETS_MAX = 32 };

typedef struct fitted {
    bool knows;       // below "nothing changes" at every horizon
    double one_step;  // error after one decision
} fitted;

static int fail(const hwm_error* err) {
    fprintf(stderr, "fit_model: %s\n", err->text);
    return 2;
}

static void measure(local* l, fitted* f) {
    f->knows = true;
    for (int h = 0; h < HWM_OPEN_LOOP_HORIZONS; h++) {
        double model, nothing;
        local_open_loop(l, hwm_open_loop_horizon[h], SEQUENCES, &model, &nothing);
        printf("  %d: %.4f of %.4f", hwm_open_loop_horizon[h], model, nothing);
        if (h == 0)
            f->one_step = model;
        f->knows = f->knows && model < nothing;
    }
    printf("\n");
}

static int fit(const char* file, int64_t steps, int64_t updates, const char* const* set, int n_set,
               fitted* f) {
    hwm_error err = {0};
    hwm_experiment* e;
    hwm_env_spec spec;
    hwm_agent* agent;
    if (hwm_experiment_load(&e, file, NULL, set, n_set, &err) != HWM_OK ||
        hwm_env_describe(&e->env, &spec, &err) != HWM_OK ||
        hwm_agent_create(&agent, e, &spec, &err) != HWM_OK)
        return fail(&err);
    local* l = local_create(agent, (int)e->worker.environments, (int)steps, (uint64_t)e->run.seed);
    while (local_step(l) < steps)
        ;
    for (int k = 0; k < 10; k++)
        hwm_agent_look(agent, local_model_batch(l));
    hwm_agent_refresh(agent, true);
    const double began = hwm_clock_s();
    hwm_agent_report report = {0};
    for (int64_t k = 0; k < updates; k++)
        if (hwm_agent_update_model(agent, local_model_batch(l), &report, &err) != HWM_OK)
            return fail(&err);
    printf("%.1f s, loss %.4f, open loop", hwm_clock_s() - began, report.model.obs);
    measure(l, f);
    local_destroy(&l);
    hwm_agent_destroy(&agent);
    hwm_experiment_destroy(&e);
    return 0;
}

int main(int argc, char** argv) {
    if (argc < 4 || argc > SETS_MAX) {
        fprintf(stderr, "usage: fit_model FILE ENV_STEPS UPDATES [--without KIND] "
                        "[section.name=value ...]\n");
        return 2;
    }
    const char* set[SETS_MAX + 2];
    char without[64] = "";
    int n = 0, at = 4;
    // imagination's clamp is no part of the question: held-out episodes may go beyond what was seen
    set[n++] = "imagination.clamp_margin=1";
    if (argc > 5 && strcmp(argv[4], "--without") == 0) {
        snprintf(without, sizeof without, "model.kind=%s", argv[5]);
        at = 6;
    }
    for (; at < argc; at++)
        set[n++] = argv[at];
    const int64_t steps = strtoll(argv[2], NULL, 10), updates = strtoll(argv[3], NULL, 10);
    fitted f, other = {.one_step = INFINITY};
    int code = fit(argv[1], steps, updates, set, n, &f);
    if (code == 0 && without[0]) {
        set[n++] = without;
        code = fit(argv[1], steps, updates, set, n, &other);
    }
    return code ? code : f.knows && f.one_step <= 0.1 * other.one_step ? 0 : 1;
}
