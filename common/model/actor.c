// data path  [2] controller: a latent agent at work
#include "model/actor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/observer.h"

struct hwm_actor {
    hwm_dreamer_config config;
    int E;
    hwm_observer* observer;
    hwm_head policy;
    nn_params* behaviour;
    hwm_head_vars policy_v;
    hwm_real *action, *noise;  // (E,A)
};

static hwm_observer_config observer_of(const hwm_dreamer_config* c) {
    return (hwm_observer_config){
        .sizes = c->sizes, .options = c->options, .obs = c->obs, .action = c->action};
}

static void declare_policy(const hwm_dreamer_config* c, hwm_head* head, hwm_param_list* list) {
    const int F = c->sizes.deter + c->sizes.variables * c->sizes.classes;
    hwm_head_declare(head, list, "policy", F, 3, c->sizes.units,
                     c->discrete ? c->action : 2 * c->action, 0.01);
}

hwm_status hwm_actor_create(hwm_actor** out, const hwm_dreamer_config* config, int E,
                            hwm_error* err) {
    *out = NULL;
    hwm_actor* a = calloc(1, sizeof *a);
    hwm_param_list* list = malloc(sizeof *list);
    const size_t n = (size_t)E, R = sizeof(hwm_real);
    const hwm_observer_config observer = observer_of(config);
    if (!a || !list)
        goto fail;
    a->config = *config;
    a->E = E;
    hwm_param_list_init(list);
    declare_policy(config, &a->policy, list);
    a->action = calloc(n * (size_t)config->action, R);
    a->noise = calloc(n * (size_t)config->action, R);
    if (!a->action || !a->noise || nn_params_create(&a->behaviour, list) != HWM_OK ||
        hwm_observer_create(&a->observer, &observer, E, err) != HWM_OK)
        goto fail;
    free(list);
    *out = a;
    return HWM_OK;
fail:
    free(list);
    hwm_actor_destroy(&a);
    return hwm_fail(err, HWM_ENOMEM, "no memory for an agent in %d environments", E);
}

void hwm_actor_destroy(hwm_actor** actor) {
    hwm_actor* a = *actor;
    if (!a)
        return;
    hwm_observer_destroy(&a->observer);
    nn_params_destroy(&a->behaviour);
    free(a->action);
    free(a->noise);
    free(a);
    *actor = NULL;
}

// ---- parameters

void hwm_actor_declare(const hwm_dreamer_config* config, hwm_param_list* list) {
    const hwm_observer_config observer = observer_of(config);
    hwm_head policy;
    hwm_observer_declare(&observer, list);
    declare_policy(config, &policy, list);
}

void hwm_actor_load(hwm_actor* a, const hwm_param_list* list, const float* values) {
    hwm_observer_load(a->observer, list, values);
    nn_params_load(a->behaviour, list, values);
}

void hwm_actor_export(hwm_dreamer* dreamer, const hwm_param_list* list, float* values) {
    nn_params_export(hwm_dreamer_model(dreamer), list, values);
    nn_params_export(hwm_dreamer_behaviour(dreamer), list, values);
}

// ---- acting

int hwm_actor_variables(const hwm_actor* a) {
    return a->config.sizes.variables;
}

void hwm_actor_begin(hwm_actor* a, int i) {
    const size_t A = (size_t)a->config.action;
    hwm_observer_begin(a->observer, i);
    memset(a->action + (size_t)i * A, 0, A * sizeof(hwm_real));
}

void hwm_actor_step(hwm_actor* a, const float* x, const float* draws, const float* noise,
                    float* u) {
    const hwm_dreamer_config* c = &a->config;
    const int E = a->E, A = c->action;
    nn_tape* tape = hwm_observer_tape(a->observer);
    if (hwm_observer_renew(a->observer))
        hwm_head_bind(&a->policy, tape, a->behaviour, true, &a->policy_v);
    const hwm_rssm_state s = hwm_observer_step(a->observer, x, a->action, draws);
    nn_var dist = hwm_head_forward(&a->policy_v, tape, hwm_rssm_features(tape, s));
    if (!c->discrete) {
        for (int i = 0; noise && i < E * A; i++)
            a->noise[i] = (hwm_real)noise[i];
        nn_bounded_normal_forward(dist->x, dist->x, E, A);
        nn_normal_sample(a->action, dist->x, noise ? a->noise : NULL, E, A);
    }
    for (int i = 0; c->discrete && i < E * A; i++) {
        const double p = 1.0 / (1.0 + exp(-(double)dist->x[i]));
        a->action[i] = (noise ? (double)noise[i] < p : p >= 0.5) ? 1 : -1;
    }
    for (int i = 0; i < E * A; i++)
        u[i] = (float)a->action[i];
}
