// data path  [2] controller
//
// Creation: sizes of the layers, and where each thing stands in act, state, record, coef and phi.
#include "plastic/controller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plastic/impl.h"

static const char term_letters[HWM_TERMS + 1] = "ABCDE";

static int take(int* counter, int n) {
    int offset = *counter;
    *counter += n;
    return offset;
}

static size_t take_coef(hwm_controller* c, size_t n) {
    size_t offset = c->coef_count;
    c->coef_count += n;
    return offset;
}

static hwm_status count_inputs(hwm_controller* c, hwm_error* err) {
    const hwm_string_list* blocks = &c->config.inputs;
    for (int k = 0; k < blocks->n; k++) {
        for (int j = 0; j < k; j++) {
            if (strcmp(blocks->v[j], blocks->v[k]) == 0) {
                return hwm_fail(err, HWM_EINVAL, "controller.inputs names %s twice", blocks->v[k]);
            }
        }
        switch (blocks->v[k][0]) {
        case 'o':
        case 'd':
            c->inputs += c->obs_dim;
            break;
        case 'a':
            c->inputs += c->action_dim;
            break;
        default:
            c->inputs += 1;
        }
    }
    if (c->inputs == 0) {
        return hwm_fail(err, HWM_EINVAL, "controller.inputs is empty");
    }
    return HWM_OK;
}

static hwm_status mark_plastic(hwm_controller* c, hwm_error* err) {
    const hwm_string_list* list = &c->config.plastic;
    for (int k = 0; k < list->n; k++) {
        char* end;
        long number = strtol(list->v[k], &end, 10);
        bool all = strcmp(list->v[k], "all") == 0;
        if (all || (strcmp(list->v[k], "recurrent") == 0 && c->n_connections > c->n_layers)) {
            for (int l = all ? 0 : c->n_layers; l < c->n_connections; l++) {
                c->layer[l].plastic = true;
            }
        } else if (strcmp(list->v[k], "last") == 0) {
            c->layer[c->n_layers - 1].plastic = true;
        } else if (*end == 0 && end != list->v[k] && number >= 1 && number <= c->n_layers) {
            c->layer[number - 1].plastic = true;
        } else if (strcmp(list->v[k], "none") != 0) {
            return hwm_fail(
                err, HWM_EINVAL,
                "controller.plastic: %s is neither all, last, none,%s nor a layer from 1 "
                "to %d",
                list->v[k], c->n_connections > c->n_layers ? " recurrent" : "", c->n_layers);
        }
    }
    return HWM_OK;
}

static int add_param(hwm_controller* c, const char* owner, const char* what, int ndim, int rows,
                     int cols) {
    char name[HWM_NAME_MAX];
    snprintf(name, sizeof name, "%s.%s", owner, what);
    return hwm_param_list_add(&c->params, hwm_spec(name, HWM_F32, ndim, rows, cols));
}

// A named part of the state; what is too much is refused at the end of create.
static size_t add_state(hwm_controller* c, const char* owner, const char* what, int ndim, int rows,
                        int cols) {
    char name[HWM_NAME_MAX];
    snprintf(name, sizeof name, "%s%s%s", owner, *owner ? "." : "", what);
    hwm_tensor_spec spec = hwm_spec(name, HWM_F32, ndim, rows, cols);
    if (c->n_parts < HWM_KEYS_MAX) {
        c->part[c->n_parts] = spec;
    }
    c->n_parts++;
    return (size_t)take(&c->state_size, (int)hwm_tensor_count(&spec));
}

static size_t add_record(hwm_controller* c, int n) {
    return (size_t)take(&c->record_size, n);
}

static const hwm_layer no_layer = {
    .loop = -1,
    .past_f = HWM_NONE,
    .w_f = HWM_NONE,
    .w0_f = HWM_NONE,
    .trace_f = HWM_NONE,
    .theta_f = HWM_NONE,
    .old_pre_f = HWM_NONE,
    .old_post_f = HWM_NONE,
    .sum_pre_f = HWM_NONE,
    .sum_post_f = HWM_NONE,
    .m_f = HWM_NONE,
    .rec_pre_f = HWM_NONE,
    .rec_post_f = HWM_NONE,
    .rec_past_f = HWM_NONE,
    .rule_c = HWM_NONE,
    .net_c = HWM_NONE,
    .w_c = HWM_NONE,
    .mod_x_c = HWM_NONE,
    .mod_h_c = HWM_NONE,
    .term_p = {-1, -1, -1, -1, -1},
    .eta_p = -1,
    .w_p = -1,
    .mod_x_p = -1,
    .mod_h_p = -1,
    .which_p = -1,
    .net_in_p = -1,
    .net_out_p = -1,
};

// miconi has one coefficient beside eta: alpha, which is A.
static bool has_term(const hwm_controller* c, int t) {
    return c->row->mixed ? t == 0 : strchr(c->rule.terms, term_letters[t]) != NULL;
}

// Coefficients of a plastic layer in phi (per synapse, layer, or which shared rule), and their
// planes in coef.
static void place_planes(hwm_controller* c, hwm_layer* y) {
    const hwm_rule_config* rule = &c->rule;
    const char* name = y->name;
    y->rule_c = take_coef(c, y->n * 4);
    if (rule->granularity == HWM_SHARED) {
        y->which_p = add_param(c, name, "which", 2, y->P, y->Q);
    }
    if (rule->granularity != HWM_PER_SYNAPSE && rule->granularity != HWM_PER_LAYER) {
        return;
    }
    int ndim = rule->granularity == HWM_PER_LAYER ? 0 : 2;
    for (int t = 0; t < HWM_TERMS; t++) {
        char term[2] = {term_letters[t], 0};
        if (has_term(c, t)) {
            y->term_p[t] = add_param(c, name, term, ndim, y->P, y->Q);
        }
    }
    if (rule->eta_learned) {
        y->eta_p = add_param(c, name, "eta", ndim, y->P, y->Q);
    }
}

// Coefficients that layers share: per unit, or per merged rule.
static void place_common(hwm_controller* c) {
    const hwm_rule_config* rule = &c->rule;
    bool unit = rule->granularity == HWM_PER_NEURON, shared = rule->granularity == HWM_SHARED;
    int n = shared ? (int)rule->shared_rules : c->inputs;
    for (int l = 0; unit && l < c->n_layers; l++) {
        n += c->layer[l].P;
    }
    bool any = false;
    for (int l = 0; l < c->n_connections; l++) {
        any |= c->layer[l].plastic;
    }
    if (!any || !c->row->planes || (!unit && !shared)) {
        return;
    }
    int* term = unit ? c->unit_p : c->shared_p;
    for (int t = 0; t < HWM_TERMS; t++) {
        char letter[2] = {term_letters[t], 0};
        if (has_term(c, t)) {
            term[t] = add_param(c, unit ? "unit" : "shared", letter, 1, n, 0);
        }
    }
    if (rule->eta_learned) {
        *(unit ? &c->unit_eta_p : &c->shared_eta_p) =
            add_param(c, unit ? "unit" : "shared", "eta", 1, n, 0);
    }
}

// One scalar for all layers: M reads the latent with the same weights everywhere.
static void place_latent(hwm_controller* c) {
    if (c->modulator == HWM_MODULATOR_LATENT) {
        c->latent_p = hwm_param_list_add(&c->params,
                                         hwm_spec("modulator.latent", HWM_F32, 1, c->rule.latent));
        c->latent_c = take_coef(c, (size_t)c->rule.latent);
    }
}

static void place_modulator(hwm_controller* c, hwm_layer* y) {
    if (c->modulator != HWM_MODULATOR_LINEAR && c->modulator != HWM_MODULATOR_PREDICTION) {
        return;
    }
    y->mod_x_p = add_param(c, y->name, "m_x", 1, c->inputs, 0);
    y->mod_x_c = take_coef(c, (size_t)c->inputs);
    if (c->modulator == HWM_MODULATOR_LINEAR && c->n_layers > 1) {
        int hidden = c->layer[c->n_layers - 1].Q;
        y->mod_h_p = add_param(c, y->name, "m_h", 1, hidden, 0);
        y->mod_h_c = take_coef(c, (size_t)hidden);
    }
}

static void place_plastic(hwm_controller* c, hwm_layer* y) {
    const char* name = y->name;
    y->w_f = add_state(c, name, c->row->mixed ? "Hebb" : "W", 2, y->P, y->Q);
    if (c->rule.bound == HWM_BOUND_DECAY) {
        y->w0_f = add_state(c, name, "W0", 2, y->P, y->Q);
    }
    if (c->rule.bound == HWM_BOUND_MAX_NORM) {
        y->m_f = add_record(c, 1);
    }
    if (c->row->trace) {
        y->trace_f = add_state(c, name, "trace", 2, y->P, y->Q);
    }
    if (c->row->old) {
        y->old_pre_f = add_state(c, name, "old_pre", 1, y->Q, 0);
        y->old_post_f = add_state(c, name, "old_post", 1, y->P, 0);
        y->rec_pre_f = add_record(c, y->Q);
        y->rec_post_f = add_record(c, y->P);
    }
    if (c->rule.average > 1) {
        y->sum_pre_f = add_state(c, name, "mean_pre", 1, y->Q, 0);
        y->sum_post_f = add_state(c, name, "mean_post", 1, y->P, 0);
    }
    if (c->naive == HWM_NAIVE_BCM) {
        y->theta_f = add_state(c, name, "theta", 1, y->P, 0);
    }
    if (c->config.weights_mean) {
        y->w_p = add_param(c, name, "W0", 2, y->P, y->Q);
        y->w_c = take_coef(c, y->n);
    }
    if (c->row->mixed) {
        y->w_p = add_param(c, name, "W", 2, y->P, y->Q);
    }
    if (c->row->planes) {
        place_planes(c, y);
    }
    if (c->row->network) {
        int units = (int)c->rule.units;
        y->net_in_p = add_param(c, name, "net_in", 2, units, 5);
        y->net_out_p = add_param(c, name, "net_out", 1, units, 0);
        y->net_c = take_coef(c, (size_t)units * 6);
    }
    place_modulator(c, y);
}

static void place_layer(hwm_controller* c, hwm_layer* y) {
    if (y->pre_f == y->post_f) {  // recurrent
        y->past_f = add_state(c, y->name, "past", 1, y->Q, 0);
        y->rec_past_f = add_record(c, y->Q);
    }
    if (y->plastic) {
        place_plastic(c, y);
    } else {
        y->w_p = add_param(c, y->name, "W", 2, y->P, y->Q);
        y->w_c = take_coef(c, y->n);
    }
}

// Sizes of the layers, their places in act, and the recurrent connections behind them.
static void size_layers(hwm_controller* c) {
    const hwm_int_list* hidden = &c->config.hidden;
    c->n_layers = hidden->n + 1;
    c->n_connections = c->n_layers + (c->config.cell == HWM_CELL_RECURRENT ? hidden->n : 0);
    for (int l = 0; l < c->n_connections; l++) {
        hwm_layer* y = &c->layer[l];
        const bool recurrent = l >= c->n_layers;
        const int number = recurrent ? l - c->n_layers : l;
        *y = no_layer;
        snprintf(y->name, sizeof y->name, "%s%d", recurrent ? "recurrent" : "layer", number + 1);
        y->P = number < hidden->n ? (int)hidden->v[number] : c->outputs;
        y->Q = recurrent ? y->P : l == 0 ? c->inputs : c->layer[l - 1].P;
        y->n = (size_t)y->P * (size_t)y->Q;
        if (recurrent) {
            c->layer[number].loop = l;
            y->pre_f = y->post_f = c->layer[number].post_f;
        } else {
            y->pre_f = l == 0 ? 0 : c->layer[l - 1].post_f;
            y->post_f = (size_t)take(&c->activations, y->P);
        }
    }
}

// State that belongs to no layer.
static void place_whole(hwm_controller* c) {
    if (c->rule.update_every > 1) {
        c->phase_f = add_state(c, "", "phase", 0, 0, 0);
    }
    if (c->modulator == HWM_MODULATOR_REWARD || c->row->network) {
        c->mean_f = add_state(c, "", "reward_mean", 0, 0, 0);
        c->rec_mean_f = add_record(c, 1);
    }
    if (c->modulator == HWM_MODULATOR_PREDICTION) {
        c->old_x_f = add_state(c, "", "old_x", 1, c->inputs, 0);
        c->rec_old_x_f = add_record(c, c->inputs);
    }
    if (c->naive != HWM_NAIVE_NONE) {
        c->naive_f = add_state(c, "", "naive", 1, HWM_NAIVE_FEATURES, 0);
    }
}

static hwm_status check_rule(hwm_controller* c, hwm_error* err) {
    const hwm_rule_config* rule = &c->rule;
    for (const char* t = rule->terms; *t; t++) {
        if (!strchr(term_letters, *t) || strchr(t + 1, *t)) {
            return hwm_fail(err, HWM_EINVAL, "rule.terms is %s: letters of %s, each at most once",
                            rule->terms, term_letters);
        }
    }
    if (rule->average > rule->update_every) {
        return hwm_fail(err, HWM_EINVAL, "rule.average is %lld, more than rule.update_every (%lld)",
                        (long long)rule->average, (long long)rule->update_every);
    }
    if (c->modulator == HWM_MODULATOR_UNIT && c->config.hidden.n == 0) {
        return hwm_fail(err, HWM_EINVAL, "rule.modulator is unit, but controller.hidden is empty");
    }
    if (c->modulator == HWM_MODULATOR_LATENT && rule->latent < 1) {
        return hwm_fail(err, HWM_EINVAL,
                        "rule.modulator is latent, but there is no latent that workers can follow: "
                        "it needs agent.kind hwm, imagination.mode explicit and model.kind rssm");
    }
    if (c->row->mixed && c->config.weights_mean) {
        return hwm_fail(err, HWM_EINVAL,
                        "controller.weights_mean: rule.kind %s starts every episode at Hebb = 0",
                        c->row->name);
    }
    if (c->config.cell == HWM_CELL_RECURRENT && c->config.hidden.n == 0) {
        return hwm_fail(err, HWM_EINVAL,
                        "controller.cell is recurrent, but controller.hidden is empty");
    }
    if (c->row->naive && rule->naive) {
        return hwm_fail(err, HWM_EINVAL, "rule.kind %s is naive itself: rule.naive must be none",
                        c->row->name);
    }
    return HWM_OK;
}

hwm_status hwm_controller_create(hwm_controller** out, const hwm_controller_config* controller,
                                 const hwm_rule_config* rule, int obs_dim, const float* obs_scale,
                                 int action_dim, bool discrete, hwm_error* err) {
    HWM_ASSERT(obs_dim >= 1 && action_dim >= 1);
    *out = NULL;
    hwm_controller* c = calloc(1, sizeof *c);
    hwm_status s = HWM_ENOMEM;
    if (!c) {
        return hwm_fail(err, s, "no memory for a controller");
    }
    c->config = *controller;
    c->rule = *rule;
    c->obs_dim = obs_dim;
    c->action_dim = action_dim;
    c->discrete = discrete;
    HWM_ASSERT(rule->kind >= 0 && rule->kind < HWM_RULE_KINDS);
    c->row = &hwm_rule_rows[rule->kind];
    c->output_action = rule->output_post == HWM_OUTPUT_ACTION ||
                       (rule->output_post == HWM_OUTPUT_DEFAULT && c->row->output_action);
    c->modulator = rule->modulator == HWM_MODULATOR_DEFAULT ? c->row->modulator : rule->modulator;
    c->naive = c->row->naive ? c->row->naive : rule->naive;
    c->reward_f = c->signal_f = c->phase_f = c->mean_f = c->old_x_f = c->naive_f = HWM_NONE;
    c->latent_c = HWM_NONE;
    c->rec_mean_f = c->rec_old_x_f = HWM_NONE;
    c->delta_p = c->latent_p = c->unit_eta_p = c->shared_eta_p = -1;
    for (int t = 0; t < HWM_TERMS; t++) {
        c->unit_p[t] = c->shared_p[t] = -1;
    }
    hwm_param_list_init(&c->params);

    s = check_rule(c, err);
    s = s ? s : count_inputs(c, err);
    if (s) {
        goto fail;
    }
    s = HWM_ENOMEM;
    c->obs_inverse = calloc((size_t)obs_dim, sizeof *c->obs_inverse);
    if (!c->obs_inverse) {
        hwm_fail(err, s, "no memory for a controller");
        goto fail;
    }
    for (int k = 0; k < obs_dim; k++) {
        float scale = obs_scale ? obs_scale[k] : 1.0f;
        HWM_ASSERT(scale > 0);
        c->obs_inverse[k] = 1 / (hwm_real)scale;
    }

    // sizes, then the place of everything
    c->outputs = action_dim;
    c->activations = c->inputs;
    if (c->modulator == HWM_MODULATOR_REWARD || c->modulator == HWM_MODULATOR_PREDICTION ||
        c->row->network) {
        c->reward_f = (size_t)take(&c->activations, 1);
    }
    if (c->modulator == HWM_MODULATOR_LATENT) {
        c->signal_f = (size_t)take(&c->activations, 1);
    }
    size_layers(c);
    s = mark_plastic(c, err);
    if (s) {
        goto fail;
    }
    for (int l = 0; l < c->n_connections; l++) {
        place_layer(c, &c->layer[l]);
    }
    place_common(c);
    place_latent(c);
    place_whole(c);
    if (c->n_parts > HWM_KEYS_MAX) {
        s = hwm_fail(err, HWM_EINVAL,
                     "the state has %d tensors, at most %d: fewer plastic layers or a simpler rule",
                     c->n_parts, HWM_KEYS_MAX);
        goto fail;
    }
    for (int k = 0; k < controller->inputs.n; k++) {
        if (controller->inputs.v[k][0] == 'd') {
            c->delta_p =
                hwm_param_list_add(&c->params, hwm_spec("input.delta_scale", HWM_F32, 1, obs_dim));
        }
    }
    *out = c;
    return HWM_OK;
fail:
    hwm_controller_destroy(&c);
    return s;
}

void hwm_controller_destroy(hwm_controller** controller) {
    if (*controller) {
        free((*controller)->obs_inverse);
        free(*controller);
        *controller = NULL;
    }
}

const hwm_param_list* hwm_controller_params(const hwm_controller* c) {
    return &c->params;
}

bool hwm_controller_is_coefficient(const hwm_controller* c, int entry) {
    for (int t = 0; t < HWM_TERMS; t++) {
        bool found = c->unit_p[t] == entry || c->shared_p[t] == entry;
        for (int l = 0; l < c->n_connections; l++) {
            found |= c->layer[l].term_p[t] == entry || c->layer[l].net_out_p == entry;
        }
        if (found && entry >= 0) {
            return true;
        }
    }
    return false;
}

bool hwm_controller_is_learned(const hwm_controller* c, int entry) {
    bool learned = entry != c->delta_p;
    for (int l = 0; l < c->n_connections; l++) {
        const hwm_layer* y = &c->layer[l];
        learned &= entry != y->which_p;
        learned &= y->plastic || c->config.static_learned || entry != y->w_p;
    }
    return learned;
}

const hwm_real* hwm_controller_delta_scale(const hwm_controller* c, const hwm_real* phi) {
    return c->delta_p < 0 ? NULL : phi + c->params.entry[c->delta_p].offset;
}

int hwm_controller_inputs(const hwm_controller* c) {
    return c->inputs;
}
int hwm_controller_activations(const hwm_controller* c) {
    return c->activations;
}
int hwm_controller_outputs(const hwm_controller* c) {
    return c->outputs;
}
int hwm_controller_state_size(const hwm_controller* c) {
    return c->state_size;
}
int hwm_controller_coef_count(const hwm_controller* c) {
    return (int)c->coef_count;
}
int hwm_controller_scales(const hwm_controller* c) {
    return c->record_size;
}
bool hwm_controller_differentiable(const hwm_controller* c) {
    return c->row->differentiable;
}
bool hwm_controller_invertible(const hwm_controller* c) {
    return c->row->invertible && c->rule.bound != HWM_BOUND_CLIP && c->rule.update_every == 1;
}

int hwm_controller_keys(const hwm_controller* c, hwm_tensor_spec* specs) {
    memcpy(specs, c->part, (size_t)c->n_parts * sizeof *specs);
    return c->n_parts;
}

void hwm_controller_signature(const hwm_controller* c, int variant_dim, hwm_signature* signature) {
    memset(signature, 0, sizeof *signature);
    hwm_tensor_spec* column = signature->column;
    column[HWM_COLUMN_FLAGS] = hwm_spec("flags", HWM_U8, 0);
    column[HWM_COLUMN_REWARD] = hwm_spec("reward", HWM_F32, 0);
    column[HWM_COLUMN_OBS] = hwm_spec("obs", HWM_F32, 1, c->obs_dim);
    column[HWM_COLUMN_ACTION] = hwm_spec("action", HWM_F32, 1, c->action_dim);
    column[HWM_COLUMN_ACT] = hwm_spec("act", HWM_F32, 1, c->activations);
    signature->n_columns = HWM_COLUMN_ACT + 1;
    if (variant_dim > 0) {
        column[signature->n_columns++] = hwm_spec("variant", HWM_F32, 1, variant_dim);
    }
    signature->n_keys = hwm_controller_keys(c, signature->key);
}
