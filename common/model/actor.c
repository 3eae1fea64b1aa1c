// data path  [2] controller: a latent agent at work
#include "model/actor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_PER_BINDING = 64 };

struct hwm_actor {
    hwm_dreamer_config config;
    int E, steps;
    hwm_rssm rssm;
    hwm_head policy;
    nn_params *model, *behaviour;
    nn_tape* tape;
    hwm_rssm_vars v;
    hwm_head_vars policy_v;
    hwm_real *x, *deter, *stoch, *action, *draws, *noise;  // (E, ...)
};

static void declare_policy(const hwm_dreamer_config* c, hwm_head* head, hwm_param_list* list) {
    const int F = c->sizes.deter + c->sizes.variables * c->sizes.classes;
    hwm_head_declare(head, list, "policy", F, 3, c->sizes.units,
                     c->discrete ? c->action : 2 * c->action, 0.01);
}

hwm_status hwm_actor_create(hwm_actor** out, const hwm_dreamer_config* config, int E,
                            hwm_error* err) {
    *out = NULL;
    hwm_actor* a = calloc(1, sizeof *a);
    hwm_param_list* lists = malloc(2 * sizeof *lists);
    if (!a || !lists)
        goto fail;
    a->config = *config;
    a->E = E;
    const hwm_rssm_sizes* s = &config->sizes;
    const size_t n = (size_t)E, R = sizeof(hwm_real);
    hwm_param_list_init(&lists[0]);
    hwm_param_list_init(&lists[1]);
    hwm_rssm_declare(&a->rssm, &lists[0], s, &config->options, config->obs, config->action);
    declare_policy(config, &a->policy, &lists[1]);
    a->x = calloc(n * (size_t)config->obs, R);
    a->deter = calloc(n * (size_t)s->deter, R);
    a->stoch = calloc(n * (size_t)(s->variables * s->classes), R);
    a->action = calloc(n * (size_t)config->action, R);
    a->draws = calloc(n * (size_t)s->variables, R);
    a->noise = calloc(n * (size_t)config->action, R);
    if (!a->x || !a->deter || !a->stoch || !a->action || !a->draws || !a->noise ||
        nn_params_create(&a->model, &lists[0]) != HWM_OK ||
        nn_params_create(&a->behaviour, &lists[1]) != HWM_OK ||
        nn_tape_create(&a->tape, (size_t)1 << 34) != HWM_OK)
        goto fail;
    nn_tape_record(a->tape, false);
    free(lists);
    *out = a;
    return HWM_OK;
fail:
    free(lists);
    hwm_actor_destroy(&a);
    return hwm_fail(err, HWM_ENOMEM, "no memory for an agent in %d environments", E);
}

void hwm_actor_destroy(hwm_actor** actor) {
    hwm_actor* a = *actor;
    if (!a)
        return;
    nn_params_destroy(&a->model);
    nn_params_destroy(&a->behaviour);
    nn_tape_destroy(&a->tape);
    free(a->x);
    free(a->deter);
    free(a->stoch);
    free(a->action);
    free(a->draws);
    free(a->noise);
    free(a);
    *actor = NULL;
}

// ---- parameters

static bool acts(const char* name) {
    static const char* const parts[] = {"encoder", "dynamics", "posterior", "policy"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strncmp(name, parts[i], strlen(parts[i])) == 0)
            return true;
    return false;
}

static void declare_acting(const hwm_param_list* all, hwm_param_list* list) {
    for (int i = 0; i < all->n; i++)
        if (acts(all->entry[i].spec.name))
            hwm_param_list_add(list, all->entry[i].spec);
}

void hwm_actor_declare(const hwm_dreamer_config* config, hwm_param_list* list) {
    hwm_param_list* all = malloc(sizeof *all);
    HWM_ASSERT(all);
    hwm_rssm rssm;
    hwm_head policy;
    hwm_param_list_init(all);
    hwm_rssm_declare(&rssm, all, &config->sizes, &config->options, config->obs, config->action);
    declare_policy(config, &policy, all);
    declare_acting(all, list);
    free(all);
}

static void load_set(nn_params* to, const hwm_param_list* list, const float* values) {
    for (int i = 0; i < to->list.n; i++) {
        const hwm_param_entry* e = &to->list.entry[i];
        const int at = hwm_param_list_find(list, e->spec.name);
        for (size_t j = 0; at >= 0 && j < hwm_tensor_count(&e->spec); j++)
            to->value[e->offset + j] = (hwm_real)values[list->entry[at].offset + j];
    }
}

void hwm_actor_load(hwm_actor* a, const hwm_param_list* list, const float* values) {
    load_set(a->model, list, values);
    load_set(a->behaviour, list, values);
    a->steps = 0;  // what the tape holds was made from the old ones
}

static void export_set(const nn_params* from, const hwm_param_list* list, float* values) {
    for (int i = 0; i < from->list.n; i++) {
        const hwm_param_entry* e = &from->list.entry[i];
        const int at = acts(e->spec.name) ? hwm_param_list_find(list, e->spec.name) : -1;
        for (size_t j = 0; at >= 0 && j < hwm_tensor_count(&e->spec); j++)
            values[list->entry[at].offset + j] = (float)from->value[e->offset + j];
    }
}

void hwm_actor_export(hwm_dreamer* dreamer, const hwm_param_list* list, float* values) {
    export_set(hwm_dreamer_model(dreamer), list, values);
    export_set(hwm_dreamer_behaviour(dreamer), list, values);
}

// ---- acting

int hwm_actor_variables(const hwm_actor* a) {
    return a->config.sizes.variables;
}

void hwm_actor_begin(hwm_actor* a, int i) {
    const size_t k = (size_t)i, D = (size_t)a->config.sizes.deter, A = (size_t)a->config.action,
                 Z = (size_t)(a->config.sizes.variables * a->config.sizes.classes);
    memset(a->deter + k * D, 0, D * sizeof(hwm_real));
    memset(a->stoch + k * Z, 0, Z * sizeof(hwm_real));
    memset(a->action + k * A, 0, A * sizeof(hwm_real));
}

static void widen(hwm_real* to, const float* from, int n) {
    for (int i = 0; i < n; i++)
        to[i] = (hwm_real)from[i];
}

void hwm_actor_step(hwm_actor* a, const float* x, const float* draws, const float* noise,
                    float* u) {
    const hwm_dreamer_config* c = &a->config;
    const int E = a->E, D = c->sizes.deter, S = c->sizes.variables, Z = S * c->sizes.classes,
              A = c->action;
    nn_tape* tape = a->tape;
    // weights are prepared once for many steps
    if (a->steps++ % STEPS_PER_BINDING == 0) {
        nn_tape_reset(tape);
        nn_tape_record(tape, false);
        hwm_rssm_bind(&a->rssm, tape, a->model, true, &a->v);
        hwm_head_bind(&a->policy, tape, a->behaviour, true, &a->policy_v);
    }
    widen(a->x, x, E * c->obs);
    widen(a->draws, draws, E * S);
    const hwm_rssm_state s = {nn_wrap(tape, a->deter, NULL, E, D),
                              nn_wrap(tape, a->stoch, NULL, E, Z)};
    nn_var deter = hwm_rssm_recur(&a->v, tape, s, nn_wrap(tape, a->action, NULL, E, A));
    nn_var tokens = hwm_rssm_encode(&a->v, tape, nn_wrap(tape, a->x, NULL, E, c->obs));
    nn_var stoch = nn_one_hot(tape, hwm_rssm_posterior(&a->v, tape, deter, tokens),
                              c->sizes.classes, a->draws);
    nn_var dist = hwm_head_forward(&a->policy_v, tape,
                                   hwm_rssm_features(tape, (hwm_rssm_state){deter, stoch}));
    memcpy(a->deter, deter->x, (size_t)E * (size_t)D * sizeof(hwm_real));
    memcpy(a->stoch, stoch->x, (size_t)E * (size_t)Z * sizeof(hwm_real));
    if (!c->discrete) {
        if (noise)
            widen(a->noise, noise, E * A);
        nn_normal_sample(a->action, nn_bounded_normal(tape, dist), noise ? a->noise : NULL);
    }
    for (int i = 0; c->discrete && i < E * A; i++) {
        const double p = 1.0 / (1.0 + exp(-(double)dist->x[i]));
        a->action[i] = (noise ? (double)noise[i] < p : p >= 0.5) ? 1 : -1;
    }
    for (int i = 0; i < E * A; i++)
        u[i] = (float)a->action[i];
}
