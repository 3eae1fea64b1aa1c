// data path  [8] learner: critic
#include "critic.h"

#include <stdlib.h>
#include <string.h>

#include "nn/layers.h"
#include "nn/pool.h"

hwm_status hwm_critic_create(hwm_critic** out, const hwm_train_config* config, int features,
                             int rows_max, uint64_t seed) {
    *out = NULL;
    hwm_critic* c = calloc(1, sizeof *c);
    if (!c)
        return HWM_ENOMEM;
    const bool twohot = config->critic == HWM_CRITIC_TWOHOT;
    const int layers = (int)config->critic_layers, units = (int)config->critic_units;
    c->kind = config->critic;
    c->rate = config->slow_rate;
    c->unit = 1 - config->gamma;
    nn_twohot_bins(c->bins);
    hwm_param_list list;
    hwm_param_list_init(&list);
    hwm_mlp_declare(&c->mlp, &list, "critic", features, layers, units, twohot ? NN_BINS : 1,
                    HWM_ACTIVATION_ELU);
    nn_optim_config adam = nn_optim_adam(config->critic_lr, 0);
    size_t bytes = (size_t)rows_max *
                       (size_t)(features + 4 + 4 * layers * units + (twohot ? 8 * NN_BINS : 0)) *
                       2 * sizeof(hwm_real) +
                   (1u << 20);
    bool made = nn_params_create(&c->params, &list) == HWM_OK &&
                nn_params_create(&c->slow, &list) == HWM_OK &&
                nn_optim_create(&c->optim, &adam, &list) == HWM_OK;
    for (int k = 0; k < HWM_CRITIC_SHARES; k++) {
        hwm_critic_share* s = &c->share[k];
        s->raw = calloc((size_t)rows_max + 1, sizeof *s->raw);
        s->slow_raw = calloc((size_t)rows_max + 1, sizeof *s->slow_raw);
        s->grad = calloc(list.count + 1, sizeof *s->grad);
        made =
            made && s->raw && s->slow_raw && s->grad && nn_tape_create(&s->tape, bytes) == HWM_OK;
    }
    if (!made) {
        hwm_critic_destroy(&c);
        return HWM_ENOMEM;
    }
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_PARAMETERS, 0, 0, 2);
    hwm_mlp_init(&c->mlp, c->params, &rng, 0.0);  // V = 0 at first
    nn_params_ema(c->slow, c->params, 1.0);
    *out = c;
    return HWM_OK;
}

void hwm_critic_destroy(hwm_critic** critic) {
    if (!critic || !*critic)
        return;
    hwm_critic* c = *critic;
    nn_params_destroy(&c->params);
    nn_params_destroy(&c->slow);
    nn_optim_destroy(&c->optim);
    for (int k = 0; k < HWM_CRITIC_SHARES; k++) {
        nn_tape_destroy(&c->share[k].tape);
        free(c->share[k].raw);
        free(c->share[k].slow_raw);
        free(c->share[k].grad);
    }
    free(c);
    *critic = NULL;
}

nn_var hwm_critic_value(hwm_critic* critic, nn_tape* tape, nn_var features) {
    hwm_mlp_vars vars;
    hwm_mlp_bind(&critic->mlp, tape, critic->slow, true, &vars);
    nn_var y = hwm_mlp_forward(&critic->mlp, &vars, tape, features);
    if (critic->kind == HWM_CRITIC_PLAIN)
        return y;
    return nn_scale(tape, nn_twohot_mean(tape, y, critic->bins), (hwm_real)critic->unit);
}

// Loss of twohot: the return and what the slow copy says are both targets. at: of the share's raw.
static nn_var twohot_loss(hwm_critic* c, hwm_critic_share* s, size_t at, nn_var x, nn_var logits,
                          const hwm_real* target, const hwm_real* weight) {
    hwm_mlp_vars slow;
    hwm_mlp_bind(&c->mlp, s->tape, c->slow, true, &slow);
    const hwm_real* v =
        nn_twohot_values(s->tape, hwm_mlp_forward(&c->mlp, &slow, s->tape, x), c->bins);
    hwm_real *raw = s->raw + at, *slow_raw = s->slow_raw + at;
    for (int i = 0; i < x->rows; i++) {
        raw[i] = target[i] / (hwm_real)c->unit;
        slow_raw[i] = v[i];
    }
    nn_var each = nn_twohot_loss2(s->tape, logits, raw, slow_raw, c->bins);
    return nn_mean(s->tape, each, weight);
}

// Losses and gradient of rows [from, to) of every batch.
static void share_gradient(void* context, int k) {
    hwm_critic* c = context;
    hwm_critic_share* s = &c->share[k];
    nn_tape_reset(s->tape);
    memset(s->grad, 0, c->params->list.count * sizeof *s->grad);
    hwm_mlp_vars vars;
    hwm_mlp_bind(&c->mlp, s->tape, c->params, false, &vars);
    for (int l = 0; l <= c->mlp.layers; l++) {  // the gradient goes into the share's own
        vars.w[l]->g = s->grad + (vars.w[l]->g - c->params->grad);
        vars.b[l]->g = s->grad + (vars.b[l]->g - c->params->grad);
    }
    size_t at = 0;
    for (int j = 0; j < c->batches; j++) {
        const hwm_critic_batch* b = &c->batch[j];
        const int from = b->rows * k / HWM_CRITIC_SHARES,
                  rows = b->rows * (k + 1) / HWM_CRITIC_SHARES - from;
        s->loss[j] = 0;
        if (rows == 0)
            continue;
        nn_var x =
            nn_wrap(s->tape, b->features + (size_t)from * (size_t)c->mlp.in, NULL, rows, c->mlp.in);
        nn_var v = hwm_mlp_forward(&c->mlp, &vars, s->tape, x);
        const bool twohot = c->kind == HWM_CRITIC_TWOHOT;
        nn_var l = twohot ? twohot_loss(c, s, at, x, v, b->target + from, b->weight + from)
                          : nn_mse(s->tape, v, b->target + from, b->weight + from);
        // means of shares to the mean of all; the plain critic's errors are small (values in
        // [0, 1]): 100 keeps the gradient far above Adam's epsilon
        const double part = (double)rows / b->rows;
        nn_seed(l, (hwm_real)(part * b->scale * (twohot ? 1 : 100)));
        s->loss[j] = part * (double)l->x[0];
        at += (size_t)rows;
    }
    nn_tape_backward(s->tape);
}

hwm_status hwm_critic_update(hwm_critic* critic, hwm_critic_batch* batch, int n, hwm_error* err) {
    HWM_ASSERT(n >= 1 && n <= HWM_CRITIC_BATCHES);
    critic->batch = batch;
    critic->batches = n;
    nn_parallel(HWM_CRITIC_SHARES, share_gradient, critic);
    nn_params_zero_grad(critic->params);
    for (int j = 0; j < n; j++)
        batch[j].loss = 0;
    for (int k = 0; k < HWM_CRITIC_SHARES; k++) {
        const hwm_critic_share* s = &critic->share[k];
        for (size_t i = 0; i < critic->params->list.count; i++)
            critic->params->grad[i] += s->grad[i];
        for (int j = 0; j < n; j++)
            batch[j].loss += s->loss[j];
    }
    hwm_status status = nn_optim_apply(critic->optim, critic->params, NULL, err);
    if (status == HWM_OK)
        nn_params_ema(critic->slow, critic->params, critic->rate);
    return status;
}
