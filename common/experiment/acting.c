// data path  [2] controller: what acts in an experiment
#include "experiment/acting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/actor.h"
#include "model/observer.h"
#include "plastic/delta.h"

struct hwm_acting {
    const hwm_experiment* experiment;
    hwm_env_spec* spec;
    hwm_controller* controller;
    hwm_param_list* list;
    hwm_delta* delta;  // NULL: nobody but the rule changes weights
    hwm_dreamer_config dreamer;
    bool latent;
    hwm_actor* actor;        // NULL: no agent, or a random one
    hwm_observer* observer;  // of a modulator that reads the world model's latent; NULL: another
    hwm_real *m, *z;         // its weights (F); latents (E,F)
    hwm_real* taken;         // (E,A) previous actions
    hwm_rollout_agent hook;
    int E, K, V;
    float *x, *u, *view, *draws, *noise;  // (E, ...)
    float *state, *act, *mixed;           // rows of one sample
    int* order;                           // (K) permutation
    bool zero, shuffle;
};

// ---- the experiment's parts

static bool is_dreamer(const hwm_experiment* e) {
    return e->agent.kind == HWM_AGENT_DREAMER;
}

static bool changes_weights(const hwm_experiment* e) {
    return e->agent.kind == HWM_AGENT_RANDOM ||
           (e->agent.kind == HWM_AGENT_HWM && e->imagination.mode == HWM_IMAGINATION_LATENT);
}

// Can workers follow a latent of the world model that imagines the controller?
static bool follows_model(const hwm_experiment* e) {
    return e->rule.modulator == HWM_MODULATOR_LATENT && e->agent.kind == HWM_AGENT_HWM &&
           e->imagination.mode == HWM_IMAGINATION_EXPLICIT && e->model.kind == HWM_MODEL_RSSM;
}

hwm_status hwm_experiment_controller_for(const hwm_experiment* e, const hwm_env_spec* spec,
                                         const float* obs_scale, hwm_controller** controller,
                                         hwm_error* err) {
    hwm_controller_config config = e->controller;
    if (is_dreamer(e)) {  // which chooses actions itself: the smallest controller stands in
        config.hidden.n = 0;
        config.inputs.n = config.plastic.n = 1;
        snprintf(config.inputs.v[0], sizeof config.inputs.v[0], "o");
        snprintf(config.plastic.v[0], sizeof config.plastic.v[0], "none");
        config.static_learned = false;
    }
    hwm_rule_config rule = e->rule;
    rule.latent = 0;
    if (follows_model(e)) {
        const hwm_observer_config o =
            hwm_observer_of_model(&e->model, spec->obs_dim, spec->action_dim);
        rule.latent = hwm_observer_features(&o);
    }
    return hwm_controller_create(controller, &config, &rule, spec->obs_dim, obs_scale,
                                 spec->action_dim, spec->discrete, err);
}

void hwm_experiment_declare(const hwm_experiment* e, const hwm_controller* controller, int obs,
                            int action, hwm_param_list* list) {
    *list = *hwm_controller_params(controller);
    if (hwm_controller_latent(controller) > 0) {
        const hwm_observer_config o = hwm_observer_of_model(&e->model, obs, action);
        hwm_observer_declare(&o, list);
    }
}

hwm_status hwm_experiment_rule_acts(const hwm_experiment* e, hwm_error* err) {
    if (is_dreamer(e)) {
        return hwm_fail(err, HWM_EINVAL,
                        "experiment %s has agent.kind = dreamer: a recurrent agent chooses the "
                        "actions, there is no controller with a rule",
                        e->run.name);
    }
    if (changes_weights(e)) {
        const bool random = e->agent.kind == HWM_AGENT_RANDOM;
        return hwm_fail(err, HWM_EINVAL,
                        "experiment %s has %s: %s changes the weights, and no rule says how",
                        e->run.name, random ? "agent.kind = random" : "imagination.mode = latent",
                        random ? "chance" : "a recurrent agent");
    }
    return HWM_OK;
}

static hwm_dreamer_config dreamer_of(const hwm_experiment* e, int obs, int action, bool discrete) {
    hwm_dreamer_config c = hwm_dreamer_default(e->model.preset, obs, action);
    c.sizes.batch = (int)e->model.sequences;
    c.sizes.length = (int)e->model.sequence_steps;
    c.options.unimix = e->model.unimix;
    c.options.obs_weight = e->model.obs_weight;
    c.options.free_nats = e->agent.free_nats;
    c.discrete = discrete;
    c.horizon = (int)e->imagination.horizon;
    c.imagine_last = (int)(e->imagination.batch / e->model.sequences);
    c.lambda = e->train.lambda;
    c.entropy_scale = e->imagination.entropy;
    c.replay_value_scale = e->agent.replay_value;
    c.slow_rate = e->train.slow_rate;
    c.lr = e->model.lr;
    c.behaviour_lr = e->train.lr;
    c.warmup_updates = e->agent.lr_warmup_updates;
    c.precision = (hwm_precision)e->model.precision;
    return c;
}

static hwm_status create_delta(hwm_acting* a, hwm_error* err) {
    const hwm_experiment* e = a->experiment;
    const hwm_delta_config config = {.kind = e->agent.parametrisation,
                                     .basis = (int)e->agent.basis,
                                     .rank = (int)e->agent.rank,
                                     .eta = e->rule.eta,
                                     .w_max = e->rule.w_max,
                                     .bound = e->rule.bound,
                                     .seed = (uint64_t)e->run.seed};
    return hwm_delta_create(&a->delta, a->controller, &config, err);
}

static int seen_activations(const hwm_acting* a) {
    const hwm_controller* c = a->controller;
    return a->experiment->agent.see_hidden ? hwm_controller_activations(c)
                                           : hwm_controller_inputs(c) + hwm_controller_outputs(c);
}

static hwm_status describe(hwm_acting* a, hwm_error* err) {
    const hwm_experiment* e = a->experiment;
    hwm_status s = hwm_env_describe(&e->env, a->spec, err);
    if (s == HWM_OK) {
        s = hwm_experiment_controller_for(e, a->spec, a->spec->obs_scale, &a->controller, err);
    }
    if (s != HWM_OK) {
        return s;
    }
    hwm_experiment_declare(e, a->controller, a->spec->obs_dim, a->spec->action_dim, a->list);
    const int O = a->spec->obs_dim, A = a->spec->action_dim;
    if (is_dreamer(e)) {
        if (a->spec->discrete && A > 1) {
            return hwm_fail(err, HWM_EINVAL,
                            "agent.kind dreamer handles two discrete actions, %s has %d",
                            a->spec->name, A);
        }
        a->K = A;
        a->dreamer = dreamer_of(e, O, A, a->spec->discrete);
    } else if (changes_weights(e)) {
        s = create_delta(a, err);
        if (s != HWM_OK) {
            return s;
        }
        a->K = hwm_delta_inputs(a->delta);
        a->V = hwm_delta_view(a->delta);
        const int obs = seen_activations(a) + A + a->V;
        a->dreamer = dreamer_of(e, obs, a->K, false);
        a->dreamer.view_from = obs - a->V;
        a->dreamer.view = a->V;
        a->dreamer.view_reward = e->agent.view_reward;
    }
    a->latent = a->K > 0 && e->agent.kind != HWM_AGENT_RANDOM;
    if (a->latent) {
        hwm_actor_declare(&a->dreamer, a->list);
    }
    return HWM_OK;
}

// ---- in a rollout

static void begin(void* self, const hwm_rollout* r, int i) {
    const hwm_acting* a = self;
    (void)r;
    if (a->actor) {
        hwm_actor_begin(a->actor, i);
    }
    if (a->observer) {
        hwm_observer_begin(a->observer, i);
    }
}

// Follow the world model's latent, and let it give M.
static void modulate(void* self, hwm_rollout* r) {
    hwm_acting* a = self;
    const int O = r->spec->obs_dim, A = r->spec->action_dim,
              S = hwm_observer_variables(a->observer), F = hwm_controller_latent(r->controller);
    for (int i = 0; i < r->E; i++) {
        for (int j = 0; j < O; j++) {
            a->x[i * O + j] = r->obs[i * O + j] / r->spec->obs_scale[j];
        }
        for (int k = 0; k < A; k++) {
            a->taken[i * A + k] = (hwm_real)r->old_action[i * A + k];
        }
        hwm_rng rng;
        hwm_rng_init(&rng, r->seed, HWM_PURPOSE_LATENT, r->first_env + (uint32_t)i, r->episode[i],
                     r->step[i]);
        hwm_rng_fill_uniform(&rng, a->draws + (size_t)i * (size_t)S, (size_t)S, 0, 1);
    }
    hwm_observer_renew(a->observer);
    const hwm_rssm_state s = hwm_observer_step(a->observer, a->x, a->taken, a->draws);
    const int D = s.deter->cols;
    for (int i = 0; i < r->E; i++) {
        hwm_real* z = a->z + (size_t)i * (size_t)F;
        memcpy(z, s.deter->x + (size_t)i * (size_t)D, (size_t)D * sizeof *z);
        memcpy(z + D, s.stoch->x + (size_t)i * (size_t)(F - D), (size_t)(F - D) * sizeof *z);
    }
    hwm_controller_modulate(r->controller, a->m, r->E, a->z, F, r->act);
}

static void think(void* self, hwm_rollout* r) {
    hwm_acting* a = self;
    const hwm_controller* c = r->controller;
    const int O = r->spec->obs_dim, A = r->spec->action_dim, X = a->dreamer.obs,
              S = a->actor ? hwm_actor_variables(a->actor) : 0;
    const bool explore = r->config.explore == HWM_EXPLORE_NOISE;
    for (int i = 0; i < r->E; i++) {
        if (r->idle[i]) {
            continue;
        }
        float* view = a->view + (size_t)i * (size_t)a->V;
        if (a->delta) {
            hwm_lanes_get(r->state, i, hwm_controller_state_size(c), a->state);
            hwm_lanes_get(r->act, i, hwm_controller_activations(c), a->act);
            hwm_delta_see(a->delta, a->state, view);
        }
        hwm_acting_see(a, r->obs + (size_t)i * (size_t)O, r->action + (size_t)i * (size_t)A, a->act,
                       view, a->x + (size_t)i * (size_t)X);
        hwm_rng rng;
        hwm_rng_init(&rng, r->seed, HWM_PURPOSE_LATENT, r->first_env + (uint32_t)i, r->episode[i],
                     r->step[i]);
        hwm_rng_fill_uniform(&rng, a->draws + (size_t)i * (size_t)S, (size_t)S, 0, 1);
        float* noise = a->noise + (size_t)i * (size_t)a->K;
        if (!a->actor) {
            hwm_rng_fill_uniform(&rng, a->u + (size_t)i * (size_t)a->K, (size_t)a->K, -1, 1);
        } else if (a->dreamer.discrete) {
            hwm_rng_fill_uniform(&rng, noise, (size_t)a->K, 0, 1);
        } else {
            hwm_rng_fill_normal(&rng, noise, (size_t)a->K, 0, 1);
        }
    }
    if (a->actor) {
        hwm_actor_step(a->actor, a->x, a->draws, explore ? a->noise : NULL, a->u);
    }
    // an agent alone: its number is the action
    for (int i = 0; !a->delta && i < r->E; i++) {
        if (r->idle[i] || r->flags[i] & HWM_FLAG_LAST) {
            continue;
        }
        for (int k = 0; k < A; k++) {
            const float u = a->u[i * A + k];
            r->action[i * A + k] = u > 1.0f ? 1.0f : u < -1.0f ? -1.0f : u;
        }
    }
}

static void learn(void* self, hwm_rollout* r) {
    hwm_acting* a = self;
    const hwm_controller* c = r->controller;
    for (int i = 0; i < r->E; i++) {
        if (r->learning[i] == 0 || a->zero) {
            continue;
        }
        const float* u = a->u + (size_t)i * (size_t)a->K;
        for (int k = 0; k < a->K; k++) {
            a->mixed[k] = u[a->shuffle ? a->order[k] : k];
        }
        hwm_lanes_get(r->state, i, hwm_controller_state_size(c), a->state);
        hwm_lanes_get(r->act, i, hwm_controller_activations(c), a->act);
        hwm_delta_apply(a->delta, a->act, a->mixed, a->state);
        hwm_lanes_set(r->state, i, hwm_controller_state_size(c), a->state);
    }
}

static hwm_status allocate(hwm_acting* a, hwm_error* err) {
    const size_t E = (size_t)a->E, K = (size_t)a->K, F = sizeof(float);
    const size_t state = (size_t)hwm_controller_state_size(a->controller),
                 act = (size_t)hwm_controller_activations(a->controller);
    a->x = calloc(E * (size_t)a->dreamer.obs + 1, F);
    a->u = calloc(E * K + 1, F);
    a->view = calloc(E * (size_t)a->V + 1, F);
    a->draws = calloc(E * (size_t)a->dreamer.sizes.variables + 1, F);
    a->noise = calloc(E * K + 1, F);
    a->state = calloc(state + 1, F);
    a->act = calloc(act + 1, F);
    a->mixed = calloc(K + 1, F);
    a->order = calloc(K + 1, sizeof *a->order);
    if (!a->x || !a->u || !a->view || !a->draws || !a->noise || !a->state || !a->act || !a->mixed ||
        !a->order) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for an agent in %d environments", a->E);
    }
    a->hook = (hwm_rollout_agent){.self = a,
                                  .begin = begin,
                                  .think = think,
                                  .learn = a->delta ? learn : NULL,
                                  .u = a->delta ? a->u : NULL,
                                  .view = a->delta ? a->view : NULL};
    return a->latent ? hwm_actor_create(&a->actor, &a->dreamer, a->E, err) : HWM_OK;
}

static hwm_status allocate_observer(hwm_acting* a, hwm_error* err) {
    const int O = a->spec->obs_dim, A = a->spec->action_dim;
    const hwm_observer_config config = hwm_observer_of_model(&a->experiment->model, O, A);
    const size_t E = (size_t)a->E, F = (size_t)hwm_observer_features(&config);
    a->x = calloc(E * (size_t)O, sizeof *a->x);
    a->draws = calloc(E * (size_t)config.sizes.variables, sizeof *a->draws);
    a->taken = calloc(E * (size_t)A, sizeof *a->taken);
    a->m = calloc(F, sizeof *a->m);
    a->z = calloc(E * F, sizeof *a->z);
    if (!a->x || !a->draws || !a->taken || !a->m || !a->z) {
        return hwm_fail(err, HWM_ENOMEM, "no memory to follow a world model in %d environments",
                        a->E);
    }
    a->hook = (hwm_rollout_agent){.self = a, .begin = begin, .think = modulate};
    return hwm_observer_create(&a->observer, &config, a->E, err);
}

hwm_status hwm_acting_create(hwm_acting** out, const hwm_experiment* experiment, int E,
                             hwm_error* err) {
    *out = NULL;
    hwm_acting* a = calloc(1, sizeof *a);
    if (a) {
        a->experiment = experiment;
        a->E = E;
        a->spec = calloc(1, sizeof *a->spec);
        a->list = malloc(sizeof *a->list);
    }
    hwm_status s = !a || !a->spec || !a->list
                       ? hwm_fail(err, HWM_ENOMEM, "no memory to describe what acts")
                       : describe(a, err);
    if (s == HWM_OK && a->K > 0 && E > 0) {
        s = allocate(a, err);
    }
    if (s == HWM_OK && E > 0 && hwm_controller_latent(a->controller) > 0) {
        s = allocate_observer(a, err);
    }
    if (s != HWM_OK) {
        hwm_acting_destroy(&a);
        return s;
    }
    *out = a;
    return HWM_OK;
}

void hwm_acting_destroy(hwm_acting** acting) {
    hwm_acting* a = *acting;
    if (!a) {
        return;
    }
    hwm_actor_destroy(&a->actor);
    hwm_observer_destroy(&a->observer);
    free(a->m);
    free(a->z);
    free(a->taken);
    hwm_delta_destroy(&a->delta);
    hwm_controller_destroy(&a->controller);
    free(a->spec);
    free(a->list);
    free(a->x);
    free(a->u);
    free(a->view);
    free(a->draws);
    free(a->noise);
    free(a->state);
    free(a->act);
    free(a->mixed);
    free(a->order);
    free(a);
    *acting = NULL;
}

const hwm_controller* hwm_acting_controller(const hwm_acting* a) {
    return a->controller;
}

const hwm_param_list* hwm_acting_params(const hwm_acting* a) {
    return a->list;
}

bool hwm_acting_latent(const hwm_acting* a) {
    return a->latent;
}

const hwm_dreamer_config* hwm_acting_dreamer(const hwm_acting* a) {
    return &a->dreamer;
}

void hwm_acting_signature(const hwm_acting* a, int variant_dim, hwm_signature* signature) {
    hwm_controller_signature(a->controller, variant_dim, signature);
    if (a->delta) {
        HWM_ASSERT(signature->n_columns + 2 <= HWM_COLUMNS_MAX);
        signature->column[signature->n_columns++] = hwm_spec("u", HWM_F32, 1, a->K);
        signature->column[signature->n_columns++] = hwm_spec("view", HWM_F32, 1, a->V);
    }
}

void hwm_acting_load(hwm_acting* a, const float* phi) {
    if (a->actor) {
        hwm_actor_load(a->actor, a->list, phi);
    }
    if (a->observer) {
        hwm_observer_load(a->observer, a->list, phi);
        const hwm_param_entry* m =
            &a->list->entry[hwm_param_list_find(a->list, "modulator.latent")];
        for (size_t k = 0; k < hwm_tensor_count(&m->spec); k++) {
            a->m[k] = (hwm_real)phi[m->offset + k];
        }
    }
}

void hwm_acting_attach(hwm_acting* a, hwm_rollout* rollout) {
    rollout->agent = a->K > 0 || a->observer ? &a->hook : NULL;
    HWM_ASSERT(!rollout->agent || rollout->E == a->E);
}

void hwm_acting_control(hwm_acting* a, bool zero, bool shuffle, uint64_t seed, int way) {
    a->zero = zero;
    a->shuffle = shuffle && a->order;
    if (!a->shuffle) {
        return;
    }
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_EVALUATION, (uint32_t)way, 0, 1);
    for (int k = 0; k < a->K; k++) {
        const int other = (int)hwm_rng_below(&rng, (uint32_t)k + 1);
        a->order[k] = a->order[other];
        a->order[other] = k;
    }
}

void hwm_acting_see(const hwm_acting* a, const float* obs, const float* action, const float* act,
                    const float* view, float* x) {
    const int A = a->spec->action_dim;
    if (!a->delta) {
        for (int j = 0; j < a->spec->obs_dim; j++) {
            x[j] = obs[j] / a->spec->obs_scale[j];
        }
        return;
    }
    const int all = hwm_controller_activations(a->controller),
              in = hwm_controller_inputs(a->controller);
    if (a->experiment->agent.see_hidden) {
        memcpy(x, act, (size_t)all * sizeof *x);
        x += all;
    } else {
        memcpy(x, act, (size_t)in * sizeof *x);
        memcpy(x + in, act + all - A, (size_t)A * sizeof *x);
        x += in + A;
    }
    memcpy(x, action, (size_t)A * sizeof *x);
    memcpy(x + A, view, (size_t)a->V * sizeof *x);
}
