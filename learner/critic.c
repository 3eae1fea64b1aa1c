// data path  [8] learner: critic
#include "critic.h"

#include <stdlib.h>

hwm_status hwm_critic_create(hwm_critic** out, int features, int layers, int units, double lr,
                             double rate, int rows_max, uint64_t seed) {
    *out = NULL;
    hwm_critic* c = calloc(1, sizeof *c);
    if (!c)
        return HWM_ENOMEM;
    c->rate = rate;
    hwm_param_list list;
    hwm_param_list_init(&list);
    hwm_mlp_declare(&c->mlp, &list, "critic", features, layers, units, 1, HWM_ACTIVATION_ELU);
    nn_optim_config adam = nn_optim_adam(lr, 0);
    size_t bytes =
        (size_t)rows_max * (size_t)(features + 4 + 4 * layers * units) * 2 * sizeof(hwm_real) +
        (1u << 20);
    if (nn_params_create(&c->params, &list) != HWM_OK ||
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
    free(c);
    *critic = NULL;
}

nn_var hwm_critic_value(hwm_critic* critic, nn_tape* tape, nn_var features) {
    hwm_mlp_vars vars;
    hwm_mlp_bind(&critic->mlp, tape, critic->slow, true, &vars);
    return hwm_mlp_forward(&critic->mlp, &vars, tape, features);
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
    nn_var l = nn_mse(critic->tape, v, target, weight);
    nn_seed(
        l,
        100);  // errors are small (values in [0, 1]): keeps the gradient far above Adam's epsilon
    nn_tape_backward(critic->tape);
    *loss = l->x[0];
    hwm_status status = nn_optim_apply(critic->optim, critic->params, NULL, err);
    if (status == HWM_OK)
        nn_params_ema(critic->slow, critic->params, critic->rate);
    return status;
}
