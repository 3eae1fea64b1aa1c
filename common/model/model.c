// data path  [8] learner: world model
#include "model/model.h"

#include <math.h>
#include <stdlib.h>

#include "model/kinds.h"

hwm_status hwm_model_create(hwm_model** out, const hwm_model_config* config,
                            const hwm_model_dims* dims, uint64_t seed, hwm_error* err) {
    *out = NULL;
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_PARAMETERS, 0, 0, 1);
    hwm_model* model = NULL;
    switch (config->kind) {
    case HWM_MODEL_ENSEMBLE:
    case HWM_MODEL_CONTEXT:
    case HWM_MODEL_GRU:
        model = hwm_ensemble_new(config, dims, &rng);
        break;
    case HWM_MODEL_RSSM: {
        hwm_status made = hwm_rssm_new(&model, config, dims, &rng, err);
        if (made != HWM_OK)
            return made;
        break;
    }
    case HWM_MODEL_ENVIRONMENT: {
        hwm_status made = hwm_environment_new(&model, config, dims, seed, err);
        if (made != HWM_OK)
            return made;
        break;
    }
    default:
        return hwm_fail(err, HWM_EUNSUPPORTED, "model.kind %d is not one that this build trains",
                        config->kind);
    }
    if (!model)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the world model");
    nn_optim_config adam = nn_optim_adam(config->lr, config->clip_norm);
    hwm_status status = nn_optim_create(&model->optim, &adam, &model->params->list);
    if (status != HWM_OK) {
        hwm_model_destroy(&model);
        return hwm_fail(err, status, "no memory for the world model's optimiser");
    }
    *out = model;
    return HWM_OK;
}

void hwm_model_destroy(hwm_model** model) {
    if (!model || !*model)
        return;
    hwm_model* m = *model;
    nn_optim_destroy(&m->optim);
    nn_params_destroy(&m->params);
    nn_tape_destroy(&m->tape);
    m->kind->destroy(m);
    *model = NULL;
}

int hwm_model_batch_sequences(const hwm_model* model) {
    return model->batch_sequences;
}
int hwm_model_batch_length(const hwm_model* model) {
    return model->batch_length;
}
int hwm_model_context(const hwm_model* model) {
    return model->context;
}
int hwm_model_start_length(const hwm_model* model) {
    return model->start_length;
}
bool hwm_model_start_knows(const hwm_model* model) {
    return model->start_knows;
}
bool hwm_model_own_starts(const hwm_model* model) {
    return model->own_starts;
}
int hwm_model_rollout_groups(const hwm_model* model) {
    return model->rollout_groups;
}
int hwm_model_latent(const hwm_model* model) {
    return model->latent;
}
int hwm_model_features(const hwm_model* model) {
    return model->features;
}
nn_params* hwm_model_params(hwm_model* model) {
    return model->params;
}
nn_optim* hwm_model_optim(hwm_model* model) {
    return model->optim;
}

void hwm_model_reward_range(const hwm_model* model, hwm_real* lo, hwm_real* hi) {
    *lo = model->reward_range[0];
    *hi = model->reward_range[1];
}

int hwm_model_constant(const hwm_model* model, int* from) {
    *from = model->constant_from;
    return model->constant;
}

void hwm_model_refresh(hwm_model* model, const hwm_replay_statistics* statistics, double margin) {
    model->kind->refresh(model, statistics, margin);
}

void hwm_model_gradient(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                        hwm_model_losses* losses) {
    *losses = (hwm_model_losses){0};
    nn_params_zero_grad(model->params);
    nn_tape_reset(model->tape);
    model->kind->gradient(model, batch, rng, losses);
}

hwm_status hwm_model_update(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                            hwm_model_losses* losses, hwm_error* err) {
    hwm_model_gradient(model, batch, rng, losses);
    return nn_optim_apply(model->optim, model->params, &losses->gradient_norm, err);
}

void hwm_model_forget(hwm_model* model) {
    if (model->recall)
        hwm_recall_forget(model->recall);
}

double hwm_model_remembered(const hwm_model* model) {
    return model->recall ? hwm_recall_share(model->recall) : NAN;
}

void hwm_model_start(hwm_model* model, const hwm_sequences* starts, hwm_rng* rng, hwm_real* z) {
    model->kind->start(model, starts, rng, z);
}

void hwm_model_weigh_starts(const hwm_model* model, const hwm_real* z, int n, hwm_real* alive) {
    const hwm_real slope = model->dims.continue_slope;
    for (int i = 0; slope != 0 && i < n; i++) {
        const hwm_real o = z[(size_t)i * (size_t)model->latent + (size_t)model->dims.continue_obs];
        alive[i] *= (hwm_real)(1.0 / (1.0 + exp(-(double)(slope * o))));
    }
}

void hwm_model_begin(hwm_model* model, nn_tape* tape) {
    model->kind->begin(model, tape);
}

hwm_model_next hwm_model_step(hwm_model* model, nn_tape* tape, nn_var z, nn_var u, int t,
                              hwm_rng* rng) {
    return model->kind->step(model, tape, z, u, t, rng);
}

nn_var hwm_model_observe(hwm_model* model, nn_tape* tape, nn_var z) {
    return model->kind->observe(model, tape, z);
}

nn_var hwm_model_critic_input(hwm_model* model, nn_tape* tape, nn_var z) {
    return model->kind->features(model, tape, z);
}
