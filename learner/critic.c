// data path  [8] learner: critic
#include "critic.h"

#include <stdlib.h>

#include "nn/layers.h"

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
    c->raw = calloc((size_t)rows_max + 1, sizeof *c->raw);
    c->slow_raw = calloc((size_t)rows_max + 1, sizeof *c->slow_raw);
    if (!c->raw || !c->slow_raw || nn_params_create(&c->params, &list) != HWM_OK ||
        nn_params_create(&c->slow, &list) != HWM_OK ||
        nn_optim_create(&c->optim, &adam, &list) != HWM_OK ||
        nn_tape_create(&c->tape, bytes) != HWM_OK) {
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
    nn_tape_destroy(&c->tape);
    free(c->raw);
    free(c->slow_raw);
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

// Seeded loss of twohot: the return and what the slow copy says are both targets.
static nn_var twohot_loss(hwm_critic* c, nn_var x, nn_var logits, int rows, const hwm_real* target,
                          const hwm_real* weight) {
    hwm_mlp_vars slow;
    hwm_mlp_bind(&c->mlp, c->tape, c->slow, true, &slow);
    const hwm_real* v =
        nn_twohot_values(c->tape, hwm_mlp_forward(&c->mlp, &slow, c->tape, x), c->bins);
    for (int i = 0; i < rows; i++) {
        c->raw[i] = target[i] / (hwm_real)c->unit;
        c->slow_raw[i] = v[i];
    }
    nn_var each = nn_twohot_loss2(c->tape, logits, c->raw, c->slow_raw, c->bins);
    nn_var l = nn_mean(c->tape, each, weight);
    nn_seed(l, 1);
    return l;
}

hwm_status hwm_critic_update(hwm_critic* critic, int rows, hwm_real* features,
                             const hwm_real* target, const hwm_real* weight, double* loss,
                             hwm_error* err) {
    nn_tape_reset(critic->tape);
    nn_params_zero_grad(critic->params);
    nn_var x = nn_wrap(critic->tape, features, NULL, rows, critic->mlp.in);
    hwm_mlp_vars vars;
    hwm_mlp_bind(&critic->mlp, critic->tape, critic->params, false, &vars);
    nn_var v = hwm_mlp_forward(&critic->mlp, &vars, critic->tape, x);
    nn_var l;
    if (critic->kind == HWM_CRITIC_TWOHOT) {
        l = twohot_loss(critic, x, v, rows, target, weight);
    } else {
        l = nn_mse(critic->tape, v, target, weight);
        // errors are small (values in [0, 1]): keeps the gradient far above Adam's epsilon
        nn_seed(l, 100);
    }
    nn_tape_backward(critic->tape);
    *loss = l->x[0];
    hwm_status status = nn_optim_apply(critic->optim, critic->params, NULL, err);
    if (status == HWM_OK)
        nn_params_ema(critic->slow, critic->params, critic->rate);
    return status;
}
