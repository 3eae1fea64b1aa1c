// data path  [1] env
//
// A batch of environments: what every kind shares.
//
//   action -> check, clip -> delay, flip -> [repeat: kind->step, rewards added] -> kind->observe
//          -> variants that change now -> noise, observation signs -> time limit
//
// Each thread takes the same range of environments through the whole of it, so a decision is one
// hand-over per thread.
#include "env/env.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "env/batch.h"

static hwm_status describe(const hwm_env_config* config, const char* variants_key,
                           hwm_env_spec* spec, env_variant_set* set, hwm_error* err) {
    memset(spec, 0, sizeof *spec);
    const env_kind* kind = env_kind_find(config->name);
    if (!kind) {
        char known[512] = "";
        for (int k = 0; k < hwm_env_count(); k++) {
            strncat(known, k ? ", " : "", sizeof known - strlen(known) - 1);
            strncat(known, hwm_env_name(k), sizeof known - strlen(known) - 1);
        }
        return hwm_fail(err, HWM_EINVAL, "env.name: there is no environment \"%s\"; known: %s",
                        config->name, known);
    }
    if (config->action_repeat < 1) {
        return hwm_fail(err, HWM_EINVAL, "env.action_repeat: %lld is not at least 1",
                        (long long)config->action_repeat);
    }
    hwm_status code = kind->describe(config, spec, err);
    if (code != HWM_OK) {
        return code;
    }
    snprintf(spec->name, sizeof spec->name, "%.63s", config->name);
    int64_t repeat = config->action_repeat;
    int64_t limit = config->time_limit > 0 ? config->time_limit : spec->time_limit;
    spec->time_limit = (int)((limit + repeat - 1) / repeat);
    spec->action_repeat = (int)repeat;
    spec->control_dt *= (double)repeat;
    code = env_variants_parse(set, &config->variants, variants_key, kind, config, spec, err);
    if (code != HWM_OK) {
        return code;
    }
    spec->state_dim += env_saved_size(set, spec->action_dim);
    return HWM_OK;
}

hwm_status hwm_env_describe(const hwm_env_config* config, hwm_env_spec* spec, hwm_error* err) {
    env_variant_set set;
    hwm_env_config held_out = *config;
    hwm_env_use_held_out(&held_out);
    hwm_status code = describe(&held_out, "env.held_out", spec, &set, err);
    return code == HWM_OK ? describe(config, "env.variants", spec, &set, err) : code;
}

hwm_status hwm_envs_create(hwm_envs** out, const hwm_env_config* config, uint64_t seed,
                           uint32_t first_index, int count, int threads, hwm_error* err) {
    *out = NULL;
    HWM_ASSERT(count >= 1 && threads >= 1);
    hwm_envs* e = calloc(1, sizeof *e);
    if (!e) {
        return hwm_fail(err, HWM_ENOMEM, "environments: out of memory");
    }
    hwm_status code = describe(config, "env.variants", &e->spec, &e->variants, err);
    if (code != HWM_OK) {
        goto fail;
    }
    size_t n = (size_t)count;
    e->kind = env_kind_find(config->name);
    e->seed = seed;
    e->count = count;
    e->repeat = e->spec.action_repeat;
    e->sim_dim = e->spec.state_dim - env_saved_size(&e->variants, e->spec.action_dim);
    e->at = calloc(n, sizeof *e->at);
    e->action = calloc(n * (size_t)e->spec.action_dim, sizeof *e->action);
    e->part = calloc(n, sizeof *e->part);
    e->outcome = calloc(n, 1);
    e->live = calloc(n, 1);
    e->moved = calloc(n, 1);
    e->nan_actions = hwm_counter("hwm_env_nan_actions_total", NULL,
                                 "actions that were not finite numbers; each ended its episode");
    e->diverged = hwm_counter("hwm_env_diverged_total", NULL,
                              "simulations that diverged; each ended its episode");
    if (!e->at || !e->action || !e->part || !e->outcome || !e->live || !e->moved) {
        code = hwm_fail(err, HWM_ENOMEM, "environments: out of memory for %d", count);
        goto fail;
    }
    code = env_effects_create(e, config, err);
    if (code != HWM_OK) {
        goto fail;
    }
    for (int i = 0; i < count; i++) {
        e->at[i].stream = first_index + (uint32_t)i;
    }
    code = e->kind->create(&e->sim, config, count, e->variants.any_physics, err);
    if (code != HWM_OK) {
        goto fail;
    }
    code = env_pool_create(&e->pool, threads < count ? threads : count, err);
    if (code != HWM_OK) {
        goto fail;
    }
    *out = e;
    return HWM_OK;
fail:
    hwm_envs_destroy(&e);
    return code;
}

void hwm_envs_destroy(hwm_envs** envs) {
    hwm_envs* e = *envs;
    if (!e) {
        return;
    }
    env_pool_destroy(&e->pool);
    if (e->sim) {
        e->kind->destroy(e->sim);
    }
    env_effects_destroy(e);
    free(e->at);
    free(e->action);
    free(e->part);
    free(e->outcome);
    free(e->live);
    free(e->moved);
    free(e);
    *envs = NULL;
}

const hwm_env_spec* hwm_envs_spec(const hwm_envs* envs) {
    return &envs->spec;
}

// obs_row: that of environment i alone
static void observe_one(hwm_envs* e, int i, float* obs_row) {
    e->kind->observe(e->sim, i, i + 1, NULL, obs_row);
    env_effects_on_observation(e, i, obs_row);
}

void hwm_envs_reset(hwm_envs* envs, int i, uint32_t episode, float* obs) {
    HWM_ASSERT(i >= 0 && i < envs->count);
    env_episode* at = &envs->at[i];
    at->number = episode;
    at->decision = 0;
    env_effects_reset(envs, i);
    hwm_rng rng;
    hwm_rng_init(&rng, envs->seed, HWM_PURPOSE_ENV_RESET, at->stream, episode, 0);
    envs->kind->reset(envs->sim, i, &rng);
    observe_one(envs, i, obs);
}

typedef struct decision {
    hwm_envs* envs;
    const uint8_t* active;
    const float* action;
    float* obs;
    float* reward;
    uint8_t* terminated;
    uint8_t* truncated;
} decision;

// Take over the actions of the range, clipped where continuous; what holds a NaN does not step.
static void accept_actions(hwm_envs* e, const decision* d, int begin, int end) {
    int A = e->spec.action_dim;
    float bound = e->spec.discrete ? INFINITY : 1.0f;
    for (int i = begin; i < end; i++) {
        const float* from = d->action + (size_t)i * (size_t)A;
        float* to = e->action + (size_t)i * (size_t)A;
        e->live[i] = !d->active || d->active[i];
        if (!e->live[i]) {
            continue;
        }
        d->reward[i] = 0.0f;
        d->terminated[i] = d->truncated[i] = 0;
        int finite = 1;
        for (int a = 0; a < A; a++) {
            finite &= fabsf(from[a]) <= 3.4028234e38f;
            to[a] = from[a] > bound ? bound : from[a] < -bound ? -bound : from[a];
        }
        if (!finite) {
            e->live[i] = 0;
            d->truncated[i] = 1;
            hwm_metric_add(e->nan_actions, 1.0);
        }
    }
    if (e->variants.n > 0) {
        env_effects_on_actions(e, begin, end);
    }
    memcpy(e->moved + begin, e->live + begin, (size_t)(end - begin));
}

static void add_outcomes(hwm_envs* e, const decision* d, int begin, int end) {
    for (int i = begin; i < end; i++) {
        if (!e->live[i]) {
            continue;
        }
        if (e->outcome[i] == ENV_GO_ON) {
            d->reward[i] += e->part[i];
            continue;
        }
        e->live[i] = 0;
        if (e->outcome[i] != ENV_DIVERGED) {
            d->reward[i] += e->part[i];
            d->terminated[i] = e->outcome[i] == ENV_TERMINATED;
            d->truncated[i] = e->outcome[i] == ENV_TRUNCATED;
        } else {
            e->moved[i] = 0;
            d->reward[i] = 0.0f;
            d->truncated[i] = 1;
            hwm_metric_add(e->diverged, 1.0);
            hwm_log(HWM_LOG_WARN, "env", "simulation diverged",
                    "env=%s index=%u episode=%u step=%u", e->spec.name, e->at[i].stream,
                    e->at[i].number, e->at[i].decision);
        }
    }
}

static void step_range(void* context, int begin, int end) {
    const decision* d = context;
    hwm_envs* e = d->envs;
    accept_actions(e, d, begin, end);
    for (int r = 0; r < e->repeat; r++) {
        e->kind->step(e->sim, begin, end, e->live, e->action, e->part, e->outcome);
        add_outcomes(e, d, begin, end);
    }
    e->kind->observe(e->sim, begin, end, e->moved,
                     d->obs + (size_t)begin * (size_t)e->spec.obs_dim);
    for (int i = begin; i < end; i++) {
        if (!e->moved[i]) {
            continue;
        }
        e->at[i].decision++;
        if (e->variants.n > 0 && e->at[i].decision == e->effect[i].next_change) {
            env_effects_apply(e, i);
        }
        env_effects_on_observation(e, i, d->obs + (size_t)i * (size_t)e->spec.obs_dim);
        d->truncated[i] |= e->at[i].decision >= (uint32_t)e->spec.time_limit;
    }
}

void hwm_envs_step(hwm_envs* envs, const uint8_t* active, const float* action, float* obs,
                   float* reward, uint8_t* terminated, uint8_t* truncated) {
    decision d = {envs, active, action, obs, reward, terminated, truncated};
    env_pool_run(envs->pool, envs->count, step_range, &d);
}

void hwm_envs_get_state(const hwm_envs* envs, int i, double* state) {
    HWM_ASSERT(i >= 0 && i < envs->count);
    envs->kind->get_state(envs->sim, i, state);
    double* saved = state + envs->sim_dim;
    saved[SAVED_STREAM] = envs->at[i].stream;
    saved[SAVED_EPISODE] = envs->at[i].number;
    saved[SAVED_DECISION] = envs->at[i].decision;
    env_effects_save(envs, i, saved + SAVED_COUNT);
}

void hwm_envs_set_state(hwm_envs* envs, int i, const double* state, float* obs) {
    HWM_ASSERT(i >= 0 && i < envs->count);
    const double* saved = state + envs->sim_dim;
    envs->at[i].stream = (uint32_t)saved[SAVED_STREAM];
    envs->at[i].number = (uint32_t)saved[SAVED_EPISODE];
    envs->at[i].decision = (uint32_t)saved[SAVED_DECISION];
    env_effects_restore(envs, i, saved + SAVED_COUNT);
    envs->kind->set_state(envs->sim, i, state);
    if (obs) {
        observe_one(envs, i, obs);
    }
}

double hwm_envs_ahead(const hwm_envs* envs, int i) {
    HWM_ASSERT(i >= 0 && i < envs->count);
    return envs->kind->ahead ? envs->kind->ahead(envs->sim, i) : (double)NAN;
}

hwm_status hwm_envs_render(hwm_envs* envs, int i, int width, int height, uint8_t* rgb,
                           hwm_error* err) {
    HWM_ASSERT(i >= 0 && i < envs->count);
    if (width < 16 || height < 16 || width > 4096 || height > 4096) {
        return hwm_fail(err, HWM_EINVAL, "a picture of %d x %d: 16 to 4096 pixels a side", width,
                        height);
    }
    if (envs->kind->render) {
        return envs->kind->render(envs->sim, i, width, height, rgb, err);
    }
    if (!envs->kind->draw) {
        return hwm_fail(err, HWM_EUNSUPPORTED, "%s cannot be drawn", envs->spec.name);
    }
    env_canvas canvas;
    envs->kind->draw(envs->sim, i, &canvas, rgb, width, height);
    return HWM_OK;
}
