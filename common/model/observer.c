// data path  [2] controller: what a worker knows of the world model
#include "model/observer.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_PER_BINDING = 64 };

struct hwm_observer {
    hwm_observer_config config;
    int E, steps, unit;  // unit: entry of params, or -1
    hwm_rssm rssm;
    nn_params* params;
    nn_tape* tape;
    hwm_rssm_vars v;
    hwm_real *x, *deter, *stoch, *action, *draws;  // (E, ...)
};

hwm_observer_config hwm_observer_of_model(const hwm_model_config* model, int obs, int action) {
    hwm_observer_config c = {.sizes = *hwm_rssm_preset(model->preset),
                             .options = hwm_rssm_default_options(),
                             .obs = obs,
                             .action = action,
                             .unit = true};
    c.options.unimix = model->unimix;
    return c;
}

int hwm_observer_features(const hwm_observer_config* c) {
    return c->sizes.deter + c->sizes.variables * c->sizes.classes;
}

static bool observes(const char* name) {
    static const char* const parts[] = {"encoder", "dynamics", "posterior"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strncmp(name, parts[i], strlen(parts[i])) == 0)
            return true;
    return false;
}

// All of the model, and where its unit is.
static int declare_all(const hwm_observer_config* c, hwm_rssm* rssm, hwm_param_list* all) {
    hwm_param_list_init(all);
    hwm_rssm_declare(rssm, all, &c->sizes, &c->options, c->obs, c->action);
    return c->unit ? hwm_param_list_add(all, hwm_spec("obs_unit", HWM_F32, 1, c->obs)) : -1;
}

void hwm_observer_declare(const hwm_observer_config* config, hwm_param_list* list) {
    hwm_param_list* all = malloc(sizeof *all);
    HWM_ASSERT(all);
    hwm_rssm rssm;
    const int unit = declare_all(config, &rssm, all);
    for (int i = 0; i < all->n; i++)
        if (observes(all->entry[i].spec.name) || i == unit)
            hwm_param_list_add(list, all->entry[i].spec);
    free(all);
}

hwm_status hwm_observer_create(hwm_observer** out, const hwm_observer_config* config, int E,
                               hwm_error* err) {
    *out = NULL;
    hwm_observer* o = calloc(1, sizeof *o);
    hwm_param_list* list = malloc(sizeof *list);
    if (!o || !list)
        goto fail;
    o->config = *config;
    o->E = E;
    o->unit = declare_all(config, &o->rssm, list);
    const hwm_rssm_sizes* s = &config->sizes;
    const size_t n = (size_t)E, R = sizeof(hwm_real);
    o->x = calloc(n * (size_t)config->obs, R);
    o->deter = calloc(n * (size_t)s->deter, R);
    o->stoch = calloc(n * (size_t)(s->variables * s->classes), R);
    o->action = calloc(n * (size_t)config->action, R);
    o->draws = calloc(n * (size_t)s->variables, R);
    if (!o->x || !o->deter || !o->stoch || !o->action || !o->draws ||
        nn_params_create(&o->params, list) != HWM_OK ||
        nn_tape_create(&o->tape, (size_t)1 << 34) != HWM_OK)
        goto fail;
    nn_tape_record(o->tape, false);
    if (o->unit >= 0)
        nn_params_fill(o->params, o->unit, 1.0);
    free(list);
    *out = o;
    return HWM_OK;
fail:
    free(list);
    hwm_observer_destroy(&o);
    return hwm_fail(err, HWM_ENOMEM, "no memory to follow a world model in %d environments", E);
}

void hwm_observer_destroy(hwm_observer** observer) {
    hwm_observer* o = *observer;
    if (!o)
        return;
    nn_params_destroy(&o->params);
    nn_tape_destroy(&o->tape);
    free(o->x);
    free(o->deter);
    free(o->stoch);
    free(o->action);
    free(o->draws);
    free(o);
    *observer = NULL;
}

void hwm_observer_load(hwm_observer* o, const hwm_param_list* list, const float* values) {
    nn_params_load(o->params, list, values);
    o->steps = 0;  // what the tape holds was made from the old ones
}

void hwm_observer_begin(hwm_observer* o, int i) {
    const size_t k = (size_t)i, D = (size_t)o->config.sizes.deter,
                 Z = (size_t)(o->config.sizes.variables * o->config.sizes.classes);
    memset(o->deter + k * D, 0, D * sizeof(hwm_real));
    memset(o->stoch + k * Z, 0, Z * sizeof(hwm_real));
}

bool hwm_observer_renew(hwm_observer* o) {
    // weights are prepared once for many steps
    if (o->steps++ % STEPS_PER_BINDING != 0)
        return false;
    nn_tape_reset(o->tape);
    nn_tape_record(o->tape, false);
    hwm_rssm_bind(&o->rssm, o->tape, o->params, true, &o->v);
    return true;
}

hwm_rssm_state hwm_observer_step(hwm_observer* o, const float* x, const hwm_real* action,
                                 const float* draws) {
    const hwm_observer_config* c = &o->config;
    const int E = o->E, D = c->sizes.deter, S = c->sizes.variables, Z = S * c->sizes.classes,
              A = c->action, O = c->obs;
    const hwm_real* unit =
        o->unit >= 0 ? o->params->value + o->params->list.entry[o->unit].offset : NULL;
    for (int i = 0; i < E * O; i++)
        o->x[i] = unit ? (hwm_real)x[i] / unit[i % O] : (hwm_real)x[i];
    for (int i = 0; i < E * S; i++)
        o->draws[i] = (hwm_real)draws[i];
    memcpy(o->action, action, (size_t)(E * A) * sizeof(hwm_real));
    nn_tape* tape = o->tape;
    const hwm_rssm_state s = {nn_wrap(tape, o->deter, NULL, E, D),
                              nn_wrap(tape, o->stoch, NULL, E, Z)};
    nn_var deter = hwm_rssm_recur(&o->v, tape, s, nn_wrap(tape, o->action, NULL, E, A));
    nn_var tokens = hwm_rssm_encode(&o->v, tape, nn_wrap(tape, o->x, NULL, E, O));
    nn_var stoch = nn_one_hot(tape, hwm_rssm_posterior(&o->v, tape, deter, tokens),
                              c->sizes.classes, o->draws);
    memcpy(o->deter, deter->x, (size_t)E * (size_t)D * sizeof(hwm_real));
    memcpy(o->stoch, stoch->x, (size_t)E * (size_t)Z * sizeof(hwm_real));
    return (hwm_rssm_state){deter, stoch};
}

nn_tape* hwm_observer_tape(hwm_observer* o) {
    return o->tape;
}

int hwm_observer_variables(const hwm_observer* o) {
    return o->config.sizes.variables;
}
