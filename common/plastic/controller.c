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
        if (strcmp(list->v[k], "all") == 0) {
            for (int l = 0; l < c->n_layers; l++) {
                c->layer[l].plastic = true;
            }
        } else if (strcmp(list->v[k], "last") == 0) {
            c->layer[c->n_layers - 1].plastic = true;
        } else if (*end == 0 && end != list->v[k] && number >= 1 && number <= c->n_layers) {
            c->layer[number - 1].plastic = true;
        } else if (strcmp(list->v[k], "none") != 0) {
            return hwm_fail(err, HWM_EINVAL,
                            "controller.plastic: %s is neither all, last, none nor a layer from 1 "
                            "to %d",
                            list->v[k], c->n_layers);
        }
    }
    return HWM_OK;
}

static int add_param(hwm_controller* c, int layer, const char* what, int ndim, int rows, int cols) {
    char name[HWM_NAME_MAX];
    snprintf(name, sizeof name, "layer%d.%s", layer + 1, what);
    return hwm_param_list_add(&c->params, hwm_spec(name, HWM_F32, ndim, rows, cols));
}

// Entries of phi and coef of a plastic layer.
static void place_rule(hwm_controller* c, int l) {
    hwm_layer* y = &c->layer[l];
    const hwm_rule_config* rule = &c->rule;
    int ndim = rule->granularity == HWM_PER_LAYER ? 0 : 2;
    for (int k = 0; k < HWM_TERMS; k++) {
        char name[2] = {term_letters[k], 0};
        if (strchr(rule->terms, term_letters[k])) {
            y->term_p[k] = add_param(c, l, name, ndim, y->P, y->Q);
        }
    }
    if (rule->eta_learned) {
        y->eta_p = add_param(c, l, "eta", ndim, y->P, y->Q);
    }
    y->rule_c = take_coef(c, (size_t)y->P * (size_t)y->Q * 4);
    if (rule->kind == HWM_RULE_MOD3) {
        y->mod_x_p = add_param(c, l, "m_x", 1, c->inputs, 0);
        y->mod_x_c = take_coef(c, (size_t)c->inputs);
        if (c->n_layers > 1) {
            int hidden = c->layer[c->n_layers - 1].Q;
            y->mod_h_p = add_param(c, l, "m_h", 1, hidden, 0);
            y->mod_h_c = take_coef(c, (size_t)hidden);
        }
    }
}

static void place_layer(hwm_controller* c, int l) {
    hwm_layer* y = &c->layer[l];
    for (int k = 0; k < HWM_TERMS; k++) {
        y->term_p[k] = -1;
    }
    y->eta_p = y->w_p = y->mod_x_p = y->mod_h_p = -1;
    y->w_c = y->mod_x_c = y->mod_h_c = y->rule_c = HWM_NONE;
    y->m_f = HWM_NONE;
    if (!y->plastic) {
        y->w_p = add_param(c, l, "W", 2, y->P, y->Q);
        y->w_c = take_coef(c, (size_t)y->P * (size_t)y->Q);
        return;
    }
    y->w_f = (size_t)take(&c->state_size, y->P * y->Q);
    if (c->rule.bound == HWM_BOUND_MAX_NORM) {
        y->m_f = (size_t)take(&c->record_size, 1);
    }
    if (c->rule.kind == HWM_RULE_MOD3) {
        y->old_pre_f = (size_t)take(&c->state_size, y->Q);
        y->old_post_f = (size_t)take(&c->state_size, y->P);
        y->rec_pre_f = (size_t)take(&c->record_size, y->Q);
        y->rec_post_f = (size_t)take(&c->record_size, y->P);
    }
    if (c->config.weights_mean) {
        y->w_p = add_param(c, l, "W0", 2, y->P, y->Q);
        y->w_c = take_coef(c, (size_t)y->P * (size_t)y->Q);
    }
    place_rule(c, l);
}

static hwm_status check_rule(const hwm_rule_config* rule, hwm_error* err) {
    for (const char* t = rule->terms; *t; t++) {
        if (!strchr(term_letters, *t) || strchr(t + 1, *t)) {
            return hwm_fail(err, HWM_EINVAL, "rule.terms is %s: letters of %s, each at most once",
                            rule->terms, term_letters);
        }
    }
    if (rule->granularity != HWM_PER_SYNAPSE && rule->granularity != HWM_PER_LAYER) {
        return hwm_fail(err, HWM_EUNSUPPORTED, "rule.granularity must be synapse or layer");
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
    c->output_action = rule->output_post == HWM_OUTPUT_ACTION ||
                       (rule->output_post == HWM_OUTPUT_DEFAULT && rule->kind == HWM_RULE_MOD3);
    hwm_param_list_init(&c->params);
    c->delta_p = -1;

    s = check_rule(rule, err);
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
    c->n_layers = controller->hidden.n + 1;
    c->activations = c->inputs;
    for (int l = 0; l < c->n_layers; l++) {
        hwm_layer* y = &c->layer[l];
        y->Q = l == 0 ? c->inputs : c->layer[l - 1].P;
        y->P = l < controller->hidden.n ? (int)controller->hidden.v[l] : action_dim;
        y->pre_f = l == 0 ? 0 : c->layer[l - 1].post_f;
        y->post_f = (size_t)take(&c->activations, y->P);
    }
    s = mark_plastic(c, err);
    if (s) {
        goto fail;
    }
    for (int l = 0; l < c->n_layers; l++) {
        place_layer(c, l);
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
    for (int l = 0; l < c->n_layers; l++) {
        for (int t = 0; c->layer[l].plastic && t < HWM_TERMS; t++) {
            if (c->layer[l].term_p[t] == entry) {
                return true;
            }
        }
    }
    return false;
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
bool hwm_controller_invertible(const hwm_controller* c) {
    return c->rule.bound != HWM_BOUND_CLIP;
}
bool hwm_controller_differentiable(const hwm_controller* c) {
    (void)c;
    return true;
}

int hwm_controller_keys(const hwm_controller* c, hwm_tensor_spec* specs) {
    int n = 0;
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        char name[HWM_NAME_MAX];
        if (!y->plastic) {
            continue;
        }
        HWM_ASSERT(n + 3 <= HWM_KEYS_MAX);
        snprintf(name, sizeof name, "layer%d.W", l + 1);
        specs[n++] = hwm_spec(name, HWM_F32, 2, y->P, y->Q);
        if (c->rule.kind == HWM_RULE_MOD3) {
            snprintf(name, sizeof name, "layer%d.old_pre", l + 1);
            specs[n++] = hwm_spec(name, HWM_F32, 1, y->Q);
            snprintf(name, sizeof name, "layer%d.old_post", l + 1);
            specs[n++] = hwm_spec(name, HWM_F32, 1, y->P);
        }
    }
    return n;
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
