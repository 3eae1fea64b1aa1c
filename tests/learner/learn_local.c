// Trains an experiment inside one process and prints the curve: learn_local FILE
// [section.name=value ...]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "local.h"
#include "open_loop.h"

int main(int argc, char** argv) {
    hwm_error err = {0};
    hwm_experiment* e;
    const char* file = argc > 1 && strcmp(argv[1], "-") != 0 ? argv[1] : NULL;
    if (hwm_experiment_load(&e, file, file ? NULL : "run:\n  seed: 0\n",
                            argc > 2 ? (const char* const*)(argv + 2) : NULL,
                            argc > 2 ? argc - 2 : 0, &err) != HWM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    hwm_env_spec spec;
    hwm_agent* agent;
    if (hwm_env_describe(&e->env, &spec, &err) != HWM_OK ||
        hwm_agent_create(&agent, e, &spec, &err) != HWM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    local* l = local_create(agent, (int)e->worker.environments, (int)e->run.max_env_steps,
                            (uint64_t)e->run.seed);
    hwm_agent_report report = {0};
    const double began = hwm_clock_s();
    double evaluating = 0, best = -1e9;
    int64_t steps = 0, updates = 0, best_steps = 0, solved = -1;
    int good = 0;
    while (steps < e->run.max_env_steps) {
        steps = local_step(l);
        if (steps < e->train.prefill_steps)
            continue;
        if (agent->model_updates == 0) {
            for (int k = 0; k < 10; k++)
                hwm_agent_look(agent, local_model_batch(l));
            hwm_agent_refresh(agent, true);
            for (int k = 0; k < e->train.warmup_updates; k++)
                hwm_agent_update_model(agent, local_model_batch(l), &report, &err);
            printf("warm-up %.2f s, model loss %.4f\n", hwm_clock_s() - began, report.model.obs);
        }
        while (updates <
               (int64_t)((double)(steps - e->train.prefill_steps) / e->train.env_steps_per_update) +
                   1) {
            if (updates % e->evaluation.every_updates == 0) {
                const double at = hwm_clock_s();
                double plus =
                    local_evaluate(l, (int)e->evaluation.episodes, 4242 + (uint64_t)updates,
                                   spec.variant_dim ? 1.0f : 0.0f, -1);
                double minus = spec.variant_dim
                                   ? local_evaluate(l, (int)e->evaluation.episodes,
                                                    4242 + (uint64_t)updates, -1.0f, -1)
                                   : plus;
                double m = (plus + minus) / 2;
                if (m > best) {
                    best = m;
                    best_steps = steps;
                }
                if (solved < 0 && m >= e->run.stop_return)
                    solved = steps;
                good = m >= e->run.stop_return ? good + 1 : 0;
                evaluating += hwm_clock_s() - at;
                printf(
                    "env %6lld upd %5lld t %5.1f eval %5.1f/%5.1f v %.2f train %5.1f | obs %.4f "
                    "cont %.4f "
                    "imR %.3f st %.3f ent %.3f sat %.2f cl %.5f gn %.3f |W| %.2f dW %.4f c %.2f\n",
                    (long long)steps, (long long)updates, hwm_clock_s() - began - evaluating, plus,
                    minus, local_velocity(l), local_return_mean(l), report.model.obs,
                    report.model.cont, report.imagination.imagined_return,
                    report.imagination.start_return, report.imagination.entropy,
                    report.imagination.saturation, report.critic_loss, report.gradient_norm,
                    report.imagination.weight_abs, report.imagination.update_relative,
                    report.imagination.continued);
                fflush(stdout);
                if (e->run.stop_return > 0 && good >= e->run.stop_count)
                    goto done;
            }
            for (int k = 0; k < e->train.model_updates; k++)
                hwm_agent_update_model(agent, local_model_batch(l), &report, &err);
            local_starts(l);
            if (hwm_agent_update_behaviour(agent, (double)steps / (double)e->run.max_env_steps,
                                           &report, &err) != HWM_OK)
                printf("skipped: %s\n", err.text);
            updates++;
        }
    }
done:;
    // the model must know more than "nothing changes"
    bool knows = true;
    for (int k = 0; k < HWM_OPEN_LOOP_HORIZONS && !hwm_model_own_starts(agent->model); k++) {
        double model, nothing;
        local_open_loop(l, hwm_open_loop_horizon[k], 256, &model, &nothing);
        printf("open loop %2d: model %.4f nothing %.4f\n", hwm_open_loop_horizon[k], model,
               nothing);
        knows = knows && model < nothing;
    }
    printf("FINAL seed %lld first >= %.0f at %lld, best %.1f at %lld, end %.1f, model %.2f ms "
           "imagination %.2f ms critic %.2f ms per update\n",
           (long long)e->run.seed, e->run.stop_return, (long long)solved, best,
           (long long)best_steps, local_evaluate(l, 100, 777, 0, -1),
           1e3 * agent->seconds_model / (double)agent->model_updates,
           1e3 * agent->seconds_imagination / (double)agent->behaviour_updates,
           1e3 * agent->seconds_critic / (double)agent->behaviour_updates);
    local_destroy(&l);
    hwm_agent_destroy(&agent);
    const bool reached = best >= e->run.stop_return;
    hwm_experiment_destroy(&e);
    return reached && knows ? 0 : 1;
}
