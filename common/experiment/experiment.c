#include "experiment/experiment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void bind(hwm_experiment* e) {
    const struct {
        const hwm_config_table* table;
        void* target;
    } all[HWM_EXPERIMENT_SECTIONS] = {
        {&hwm_run_table, &e->run},
        {&hwm_env_table, &e->env},
        {&hwm_controller_table, &e->controller},
        {&hwm_rule_table, &e->rule},
        {&hwm_worker_table, &e->worker},
        {&hwm_experience_table, &e->replay},
        {&hwm_model_table, &e->model},
        {&hwm_imagination_table, &e->imagination},
        {&hwm_train_table, &e->train},
        {&hwm_evaluation_table, &e->evaluation},
        {&hwm_agent_table, &e->agent},
        {&hwm_evolution_table, &e->evolution},
    };
    for (int i = 0; i < HWM_EXPERIMENT_SECTIONS; i++) {
        e->section[i].table = all[i].table;
        e->section[i].target = all[i].target;
    }
}

// Values that are fine alone and wrong together. All complaints at once, one a line.
static hwm_status check(const hwm_experiment* e, hwm_error* err) {
    char text[sizeof err->text];
    size_t used = 0;
    text[0] = 0;
#define COMPLAIN(...)                                                                              \
    do {                                                                                           \
        int n_ = snprintf(text + used, sizeof text - used, __VA_ARGS__);                           \
        if (n_ > 0)                                                                                \
            used = used + (size_t)n_ < sizeof text ? used + (size_t)n_ : sizeof text - 1;          \
    } while (0)
    if (e->imagination.batch % e->model.members != 0)
        COMPLAIN("imagination.batch = %lld must be a multiple of model.members = %lld\n",
                 (long long)e->imagination.batch, (long long)e->model.members);
    if (e->train.prefill_steps >= e->replay.capacity_steps)
        COMPLAIN("train.prefill_steps = %lld must be less than replay.capacity_steps = %lld\n",
                 (long long)e->train.prefill_steps, (long long)e->replay.capacity_steps);
    if (e->train.gamma >= 1.0)
        COMPLAIN("train.gamma = %g must be below 1: values are scaled by 1 - gamma\n",
                 e->train.gamma);
    if (e->imagination.fraction_continued >= 1.0)
        COMPLAIN("imagination.fraction_continued = %g must be below 1: no rollout would ever start "
                 "at experience\n",
                 e->imagination.fraction_continued);
    if (e->run.schedule == HWM_SCHEDULE_ROUNDS) {
        if (e->run.workers < 1)
            COMPLAIN("run.schedule = rounds must know how many workers there are: run.workers is "
                     "%lld\n",
                     (long long)e->run.workers);
        if (e->worker.flush_ms != 0)
            COMPLAIN("run.schedule = rounds takes worker.flush_ms = 0, not %lld: time must not "
                     "decide where a chunk ends\n",
                     (long long)e->worker.flush_ms);
        if (e->worker.apply != HWM_APPLY_CHUNK)
            COMPLAIN("run.schedule = rounds takes worker.apply = chunk: a round has one version\n");
        if (e->evaluation.on_workers)
            COMPLAIN("run.schedule = rounds takes evaluation.on_workers = false\n");
        if (e->train.env_steps_per_update <= 0)
            COMPLAIN("run.schedule = rounds needs train.env_steps_per_update above 0\n");
    }
    const bool latent =
        e->agent.kind == HWM_AGENT_HWM && e->imagination.mode == HWM_IMAGINATION_LATENT;
    if (latent || e->agent.kind == HWM_AGENT_DREAMER) {
        const long long starts = (long long)e->imagination.batch, n = (long long)e->model.sequences;
        if (starts % n != 0 || starts / n > e->model.sequence_steps)
            COMPLAIN(
                "imagination.batch = %lld must be a multiple of model.sequences = %lld, and at "
                "most model.sequence_steps = %lld times as many: imagination starts at the "
                "last rows of each sequence\n",
                starts, n, (long long)e->model.sequence_steps);
        if (e->imagination.horizon >= 64)
            COMPLAIN("imagination.horizon = %lld must be below 64 for a recurrent agent\n",
                     (long long)e->imagination.horizon);
        if (e->worker.burn_in_steps > 0)
            COMPLAIN(
                "worker.burn_in_steps = %lld must be 0 for a recurrent agent: it acts from the "
                "first step on\n",
                (long long)e->worker.burn_in_steps);
        if (e->worker.apply == HWM_APPLY_EPISODE)
            COMPLAIN("worker.apply = episode is for rules: a recurrent agent takes chunk\n");
        if (e->run.schedule == HWM_SCHEDULE_ROUNDS)
            COMPLAIN("run.schedule = rounds is for rules: a recurrent agent takes async\n");
    } else if (e->model.precision != HWM_PRECISION_FLOAT32) {
        COMPLAIN("model.precision = bfloat16 is for recurrent agents (agent.kind = dreamer, "
                 "imagination.mode = latent): nothing else computes in it\n");
    }
    if (e->agent.kind == HWM_AGENT_ES) {
        if (e->evolution.population % 2 != 0)
            COMPLAIN("evolution.population = %lld must be even: individuals come in pairs\n",
                     (long long)e->evolution.population);
        if (e->run.schedule == HWM_SCHEDULE_ROUNDS)
            COMPLAIN("agent.kind es takes run.schedule = async: a generation is its own round, and "
                     "it repeats bit for bit anyway\n");
    }
    if (e->worker.prefill == HWM_PREFILL_NAIVE && e->rule.naive == HWM_NAIVE_NONE)
        COMPLAIN("worker.prefill is naive, but rule.naive is none: say hebb, oja or bcm there\n");
#undef COMPLAIN
    if (used == 0)
        return HWM_OK;
    text[used - 1] = 0;
    return hwm_fail(err, HWM_EINVAL, "%s", text);
}

hwm_experiment* hwm_experiment_defaults(void) {
    hwm_experiment* e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    bind(e);
    hwm_config_defaults(e->section, HWM_EXPERIMENT_SECTIONS);
    return e;
}

hwm_status hwm_experiment_load(hwm_experiment** out, const char* path, const char* text,
                               const char* const* overrides, int n_overrides, hwm_error* err) {
    *out = NULL;
    hwm_experiment* e = hwm_experiment_defaults();
    if (!e)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the experiment");
    hwm_status status = hwm_config_load(e->section, HWM_EXPERIMENT_SECTIONS, path, text, overrides,
                                        n_overrides, err);
    if (status == HWM_OK)
        status = check(e, err);
    if (status != HWM_OK) {
        hwm_experiment_destroy(&e);
        return status;
    }
    *out = e;
    return HWM_OK;
}

void hwm_experiment_destroy(hwm_experiment** experiment) {
    if (!experiment || !*experiment)
        return;
    free(*experiment);
    *experiment = NULL;
}

int64_t hwm_experiment_round_rows(const hwm_experiment* e, uint64_t version) {
    const int64_t repeat = e->env.action_repeat, all = e->run.workers * e->worker.environments,
                  chunk = e->worker.chunk_steps;
    const int64_t steps = version <= 1 ? e->train.prefill_steps : e->run.round_steps;
    const int64_t rows = (steps + repeat * all - 1) / (repeat * all);
    return (rows + chunk - 1) / chunk * chunk;
}

hwm_config_section* hwm_experiment_sections(hwm_experiment* experiment, int* n) {
    *n = HWM_EXPERIMENT_SECTIONS;
    return experiment->section;
}
