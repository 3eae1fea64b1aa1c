// data path  [1] env
//
// What hidden variants do to a batch: drawn at reset, brought into force at their decision, applied
// to actions, physics and observations.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "env/batch.h"

// Step of the variants' random streams beyond those of the rules.
enum { STREAM_FILLER = 1000 };

static int ring_size(const env_variant_set* set) {
    return set->delay_max ? set->delay_max + 1 : 0;
}

int env_saved_size(const env_variant_set* set, int action_dim) {
    return SAVED_COUNT + SAVED_PER_RULE * set->n + ring_size(set) * action_dim;
}

// Signs of an observation: fair coins, drawn again until both signs occur, so that weights of one
// sign are no solution. pattern names the draw: 0 that of the experiment.
static void draw_signs(uint64_t seed, uint32_t pattern, int n, float* sign) {
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_EXPERIMENT, 0, 0, pattern);
    int minus;
    do {
        minus = 0;
        for (int o = 0; o < n; o++) {
            sign[o] = hwm_rng_u32(&rng) & 1 ? -1.0f : 1.0f;
            minus += sign[o] < 0.0f;
        }
    } while (n > 1 && (minus == 0 || minus == n));
}

hwm_status env_effects_create(hwm_envs* e, const hwm_env_config* config, hwm_error* err) {
    size_t n = (size_t)e->count, O = (size_t)e->spec.obs_dim, A = (size_t)e->spec.action_dim;
    e->experiment_seed = (uint64_t)config->experiment_seed;
    e->signs = e->variants.any_sign;
    e->sign_stride = e->variants.any_sign ? O : 0;
    e->ring = ring_size(&e->variants);
    // one more than needed where that may be none: calloc(0) may be NULL
    e->sign_base = calloc(O, sizeof *e->sign_base);
    e->sign = calloc(e->variants.any_sign ? n * O : O, sizeof *e->sign);
    e->draw = calloc(n * (size_t)e->variants.n + 1, sizeof *e->draw);
    e->effect = calloc(n, sizeof *e->effect);
    e->forced = calloc(n, 1);
    e->force = calloc(n * (size_t)e->variants.columns + 1, sizeof *e->force);
    e->pending = calloc(n * (size_t)e->ring * A + 1, sizeof *e->pending);
    if (!e->sign_base || !e->sign || !e->draw || !e->effect || !e->forced || !e->force ||
        !e->pending) {
        return hwm_fail(err, HWM_ENOMEM, "environments: out of memory for %d", e->count);
    }
    for (size_t o = 0; o < O; o++) {
        e->sign_base[o] = 1.0f;
    }
    if (config->obs_sign == HWM_OBS_SIGN_EXPERIMENT) {
        e->signs = true;
        draw_signs(e->experiment_seed, 0, (int)O, e->sign_base);
    }
    memcpy(e->sign, e->sign_base, O * sizeof *e->sign);
    return HWM_OK;
}

void env_effects_destroy(hwm_envs* e) {
    free(e->sign_base);
    free(e->sign);
    free(e->draw);
    free(e->effect);
    free(e->forced);
    free(e->force);
    free(e->pending);
}

// Physics of environment i from what its rules have in force before decision t.
static void apply_physics(hwm_envs* e, int i, uint32_t t) {
    const env_variant_set* set = &e->variants;
    const env_variant_draw* draw = e->draw + (size_t)i * (size_t)set->n;
    env_physics physics = {.gain = 1.0, .mass = 1.0, .friction = 1.0};
    for (int k = 0; k < set->n; k++) {
        double value = env_variant_value(&set->rule[k], &draw[k], t);
        switch (set->rule[k].type) {
        case ENV_GAIN:
            physics.gain *= value;
            break;
        case ENV_MASS:
            physics.mass *= value;
            break;
        case ENV_FRICTION:
            physics.friction *= value;
            break;
        case ENV_DAMAGE:
            physics.part[physics.damages] = draw[k].part;
            physics.factor[physics.damages++] = value;
            break;
        default:
            break;
        }
    }
    e->kind->physics(e->sim, i, &physics);
}

void env_effects_apply(hwm_envs* e, int i) {
    const env_variant_set* set = &e->variants;
    const env_variant_draw* draw = e->draw + (size_t)i * (size_t)set->n;
    uint32_t t = e->at[i].decision;
    size_t O = (size_t)e->spec.obs_dim;
    env_effect effect = {.flip = 1.0f, .next_change = UINT32_MAX};
    float* sign = e->sign + (size_t)i * e->sign_stride;
    if (set->any_sign) {
        memcpy(sign, e->sign_base, O * sizeof *sign);
    }
    float noise2 = 0.0f;
    for (int k = 0; k < set->n; k++) {
        double value = env_variant_value(&set->rule[k], &draw[k], t);
        if (draw[k].at > t && draw[k].at < effect.next_change) {
            effect.next_change = draw[k].at;
        }
        switch (set->rule[k].type) {
        case ENV_FLIP:
            effect.flip *= value < 0.0 ? -1.0f : 1.0f;
            break;
        case ENV_DELAY:
            effect.delay += value > 0.0 ? (uint32_t)value : 0;
            break;
        case ENV_SENSOR_NOISE:
            noise2 += (float)(value * value);
            break;
        case ENV_OBS_SIGN:
            if (value > 0.0) {
                float drawn[sizeof e->spec.obs_scale / sizeof e->spec.obs_scale[0]];
                draw_signs(e->experiment_seed, (uint32_t)value, (int)O, drawn);
                for (size_t o = 0; o < O; o++) {
                    sign[o] *= drawn[o];
                }
            }
            break;
        default:
            break;
        }
    }
    if (effect.delay > (uint32_t)set->delay_max) {
        effect.delay = (uint32_t)set->delay_max;
    }
    effect.noise = sqrtf(noise2);
    e->effect[i] = effect;
    if (set->any_physics) {
        apply_physics(e, i, t);
    }
}

void env_effects_on_observation(const hwm_envs* e, int i, float* row) {
    int O = e->spec.obs_dim;
    if (e->effect[i].noise > 0.0f) {
        hwm_rng rng;
        const env_episode* at = &e->at[i];
        hwm_rng_init(&rng, e->seed, HWM_PURPOSE_ENV_STEP, at->stream, at->number, at->decision);
        for (int o = 0; o < O; o++) {
            row[o] += e->effect[i].noise * e->spec.obs_scale[o] * hwm_rng_normal(&rng);
        }
    }
    if (e->signs) {
        const float* sign = e->sign + (size_t)i * e->sign_stride;
        for (int o = 0; o < O; o++) {
            row[o] *= sign[o];
        }
    }
}

// Before the first delayed action arrives: nothing, or where there is no such thing a random
// choice.
static void fill_pending(hwm_envs* e, int i) {
    size_t n = (size_t)e->ring * (size_t)e->spec.action_dim;
    float* slot = e->pending + (size_t)i * n;
    hwm_rng rng;
    hwm_rng_init(&rng, e->seed, HWM_PURPOSE_VARIANT, e->at[i].stream, e->at[i].number,
                 STREAM_FILLER);
    for (size_t k = 0; k < n; k++) {
        slot[k] = e->spec.discrete ? 2.0f * hwm_rng_uniform(&rng) - 1.0f : 0.0f;
    }
}

void env_effects_reset(hwm_envs* e, int i) {
    if (e->variants.n == 0) {
        return;
    }
    env_variants_draw(&e->variants, e->seed, e->at[i].stream, e->at[i].number,
                      e->forced[i] ? e->force + i * e->variants.columns : NULL,
                      e->draw + i * e->variants.n);
    fill_pending(e, i);
    env_effects_apply(e, i);
}

void env_effects_on_actions(hwm_envs* e, int begin, int end) {
    size_t A = (size_t)e->spec.action_dim;
    for (int i = begin; i < end; i++) {
        if (!e->live[i]) {
            continue;
        }
        float* action = e->action + (size_t)i * A;
        uint32_t ring = (uint32_t)e->ring;
        if (ring > 0) {
            float* pending = e->pending + (size_t)i * ring * A;
            uint32_t t = e->at[i].decision;
            memcpy(pending + (t % ring) * A, action, A * sizeof *action);
            memcpy(action, pending + ((t + ring - e->effect[i].delay) % ring) * A,
                   A * sizeof *action);
        }
        if (e->effect[i].flip > 0.0f) {
            continue;
        }
        if (e->spec.discrete && e->spec.n_actions > 2) {
            for (size_t a = 0, b = A - 1; a < b; a++, b--) {
                float swap = action[a];
                action[a] = action[b];
                action[b] = swap;
            }
        } else {
            for (size_t a = 0; a < A; a++) {
                action[a] = -action[a];
            }
        }
    }
}

void env_effects_save(const hwm_envs* e, int i, double* saved) {
    int rules = e->variants.n;
    for (int k = 0; k < rules; k++) {
        const env_variant_draw* draw = &e->draw[i * rules + k];
        *saved++ = draw->value;
        *saved++ = draw->at;
        *saved++ = draw->part;
    }
    size_t n = (size_t)e->ring * (size_t)e->spec.action_dim;
    for (size_t k = 0; k < n; k++) {
        *saved++ = e->pending[(size_t)i * n + k];
    }
}

void env_effects_restore(hwm_envs* e, int i, const double* saved) {
    int rules = e->variants.n;
    for (int k = 0; k < rules; k++) {
        env_variant_draw* draw = &e->draw[i * rules + k];
        draw->value = *saved++;
        draw->at = (uint32_t)*saved++;
        draw->part = (int)*saved++;
    }
    size_t n = (size_t)e->ring * (size_t)e->spec.action_dim;
    for (size_t k = 0; k < n; k++) {
        e->pending[(size_t)i * n + k] = (float)*saved++;
    }
    if (rules > 0) {
        env_effects_apply(e, i);
    }
}

void hwm_envs_variant(const hwm_envs* envs, int i, float* variant) {
    HWM_ASSERT(i >= 0 && i < envs->count);
    const env_variant_set* set = &envs->variants;
    const env_variant_draw* draw = envs->draw + (size_t)i * (size_t)set->n;
    for (int k = 0; k < set->n; k++) {
        const env_variant_rule* rule = &set->rule[k];
        variant[rule->column] = (float)env_variant_value(rule, &draw[k], envs->at[i].decision);
        if (rule->n_parts > 1) {
            variant[rule->column + 1] = (float)draw[k].part;
        }
    }
}

void hwm_envs_force_variant(hwm_envs* envs, int i, const float* variant) {
    HWM_ASSERT(i >= 0 && i < envs->count);
    size_t columns = (size_t)envs->variants.columns;
    envs->forced[i] = variant && columns > 0;
    for (size_t v = 0; envs->forced[i] && v < columns; v++) {
        HWM_ASSERT(isfinite(variant[v]));
        envs->force[(size_t)i * columns + v] = variant[v];
    }
}
