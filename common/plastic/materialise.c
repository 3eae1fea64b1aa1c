// Materialising stored steps.
#include "plastic/materialise.h"

#include <stdlib.h>
#include <string.h>

#include "plastic/impl.h"

struct hwm_materialiser {
    const hwm_controller* controller;
    float *act_row, *action_row;     // aligned copies of one stored row
    hwm_real *state, *act, *action;  // lanes of one sample
};

hwm_status hwm_materialiser_create(hwm_materialiser** out, const hwm_controller* c,
                                   hwm_error* err) {
    *out = NULL;
    hwm_materialiser* m = calloc(1, sizeof *m);
    if (m) {
        m->controller = c;
        m->act_row = calloc((size_t)c->activations, sizeof *m->act_row);
        m->action_row = calloc((size_t)c->outputs, sizeof *m->action_row);
        m->state = calloc(hwm_lanes_size(1, c->state_size) + 1, sizeof *m->state);
        m->act = calloc(hwm_lanes_size(1, c->activations), sizeof *m->act);
        m->action = calloc(hwm_lanes_size(1, c->outputs), sizeof *m->action);
    }
    if (!m || !m->act_row || !m->action_row || !m->state || !m->act || !m->action) {
        hwm_materialiser_destroy(&m);
        return hwm_fail(err, HWM_ENOMEM, "no memory to materialise steps");
    }
    *out = m;
    return HWM_OK;
}

void hwm_materialiser_destroy(hwm_materialiser** materialiser) {
    hwm_materialiser* m = *materialiser;
    if (m) {
        free(m->act_row);
        free(m->action_row);
        free(m->state);
        free(m->act);
        free(m->action);
        free(m);
        *materialiser = NULL;
    }
}

void hwm_materialise(hwm_materialiser* m, const hwm_real* coef, const float* key, const void* act,
                     const void* action, const uint8_t* flags, int rows, float* state) {
    const hwm_controller* c = m->controller;
    const size_t act_bytes = (size_t)c->activations * sizeof(float);
    const size_t action_bytes = (size_t)c->outputs * sizeof(float);
    hwm_lanes_set(m->state, 0, c->state_size, key);
    for (int t = 0; t < rows; t++) {
        memcpy(m->act_row, (const uint8_t*)act + (size_t)t * act_bytes, act_bytes);
        memcpy(m->action_row, (const uint8_t*)action + (size_t)t * action_bytes, action_bytes);
        hwm_lanes_set(m->act, 0, c->activations, m->act_row);
        hwm_lanes_set(m->action, 0, c->outputs, m->action_row);
        // the row of an end has no plastic step, nor has one of the burn-in
        if (!(flags[t] & (HWM_FLAG_LAST | HWM_FLAG_STILL))) {
            hwm_controller_learn(c, coef, 1, m->act, m->action, NULL, m->state, NULL);
        }
    }
    hwm_lanes_get(m->state, 0, c->state_size, state);
}

int hwm_controller_layers(const hwm_controller* c) {
    return c->n_connections;
}

hwm_layer_view hwm_controller_layer(const hwm_controller* c, int l) {
    const hwm_layer* y = &c->layer[l];
    const bool recurrent = y->past_f != HWM_NONE;
    return (hwm_layer_view){.name = y->name,
                            .plastic = y->plastic,
                            .recurrent = recurrent,
                            .P = y->P,
                            .Q = y->Q,
                            .pre = recurrent ? y->past_f : y->pre_f,
                            .post = y->post_f,
                            .w = y->w_f};
}

int hwm_controller_reward_mean(const hwm_controller* c) {
    return c->mean_f == HWM_NONE ? -1 : (int)c->mean_f;
}

const hwm_real* hwm_controller_planes(const hwm_controller* c, const hwm_real* coef, int l) {
    const hwm_layer* y = &c->layer[l];
    return y->rule_c == HWM_NONE ? NULL : coef + y->rule_c;
}
