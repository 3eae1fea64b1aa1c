// data path  [8] learner
#include "agent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "latent.h"
#include "open_loop.h"
#include "ranges.h"
#include "replay_critic.h"

// model.continue_of names an observation; the model reads it in units of its scale.
static hwm_status known_continue(const hwm_model_config* config, const hwm_env_spec* spec,
                                 hwm_model_dims* dims, hwm_error* err) {
    if (!config->continue_of[0])
        return HWM_OK;
    if (config->kind == HWM_MODEL_RSSM || config->kind == HWM_MODEL_ENVIRONMENT)
        return hwm_fail(err, HWM_EINVAL,
                        "model.continue_of = %s: model.kind = rssm and environment tell by "
                        "themselves when episodes end",
                        config->continue_of);
    for (int j = 0; j < spec->obs_dim; j++)
        if (strcmp(spec->obs_name[j], config->continue_of) == 0) {
            dims->continue_obs = j;
            dims->continue_slope = (hwm_real)(config->continue_slope * (double)spec->obs_scale[j]);
            return HWM_OK;
        }
    return hwm_fail(err, HWM_EINVAL, "model.continue_of = %s: %s has no observation of that name",
                    config->continue_of, spec->name);
}

// Where M reads the latent, workers act with the newest model's encoder and step: entries of phi
// that have no gradient.
static void follow_model(hwm_agent* a) {
    const hwm_param_list *list = &a->phi->list, *model = &hwm_model_params(a->model)->list;
    for (int i = hwm_controller_params(a->controller)->n; i < list->n; i++) {
        const hwm_param_entry* to = &list->entry[i];
        const int from = hwm_param_list_find(model, to->spec.name);
        HWM_ASSERT(from >= 0);
        memcpy(a->phi->value + to->offset,
               hwm_model_params(a->model)->value + model->entry[from].offset,
               hwm_tensor_count(&to->spec) * sizeof(hwm_real));
    }
}

// Starts come in whole sequences, and replayed rewards lie between two of one sequence.
static hwm_status sequences_of_starts(const hwm_experiment* e, hwm_error* err) {
    const int64_t per = e->imagination.starts_per_sequence, B = e->imagination.batch;
    if (B % per != 0)
        return hwm_fail(err, HWM_EINVAL,
                        "imagination.starts_per_sequence = %lld does not divide "
                        "imagination.batch = %lld",
                        (long long)per, (long long)B);
    if (e->train.replay_critic > 0 && per < 2)
        return hwm_fail(err, HWM_EINVAL,
                        "train.replay_critic = %g wants imagination.starts_per_sequence >= 2: "
                        "between a sequence's starts are the rewards that it learns from",
                        e->train.replay_critic);
    return HWM_OK;
}

hwm_status hwm_agent_create(hwm_agent** out, const hwm_experiment* experiment,
                            const hwm_env_spec* spec, hwm_error* err) {
    *out = NULL;
    const hwm_experiment* e = experiment;
    hwm_agent* a = calloc(1, sizeof *a);
    if (!a)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the agent");
    a->experiment = e;
    a->spec = *spec;
    const int O = spec->obs_dim, A = spec->action_dim;
    const uint64_t seed = (uint64_t)e->run.seed;
    hwm_status status;

    // here every observation is in units of its scale, so the controller's own scale is 1
    float* one = malloc((size_t)O * sizeof *one);
    for (int j = 0; one && j < O; j++)
        one[j] = 1.0f;
    status = !one ? HWM_ENOMEM : hwm_experiment_controller_for(e, spec, one, &a->controller, err);
    free(one);
    if (status != HWM_OK)
        goto fail;

    hwm_rng rng;
    nn_optim_config optimiser = nn_optim_adam(e->train.lr, e->train.clip_norm);
    if (e->agent.kind == HWM_AGENT_ES) {
        optimiser = nn_optim_adam(e->evolution.lr, 0);
        optimiser.kind = e->evolution.optimiser == HWM_EVOLUTION_ADAM ? NN_ADAM : NN_SGD;
    }
    const bool recurrent =
        e->agent.kind == HWM_AGENT_DREAMER ||
        (e->agent.kind == HWM_AGENT_HWM && e->imagination.mode == HWM_IMAGINATION_LATENT);
    if (recurrent && (status = hwm_latent_create(&a->latent, e, spec, err)) != HWM_OK)
        goto fail;
    // what acts: the controller's parameters, then, where there is one, the agent's
    hwm_param_list* list = malloc(sizeof *list);
    if (!list) {
        status = HWM_ENOMEM;
        goto fail;
    }
    if (recurrent)
        *list = *hwm_acting_params(a->latent->acting);
    else
        hwm_experiment_declare(e, a->controller, O, A, list);
    status = nn_params_create(&a->phi, list);
    if (status == HWM_OK && !recurrent && e->agent.kind != HWM_AGENT_RANDOM)
        status = nn_optim_create(&a->phi_optim, &optimiser, list);
    free(list);
    if (status != HWM_OK)
        goto fail;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_PARAMETERS, 0, 0, 0);
    hwm_controller_init(a->controller, &rng, a->phi->value);
    if (recurrent || e->agent.kind == HWM_AGENT_RANDOM)
        hwm_controller_draw_means(a->controller, &rng, a->phi->value);
    if (recurrent)
        hwm_latent_export(a->latent, a->phi);
    if (recurrent || e->agent.kind != HWM_AGENT_HWM) {  // nothing is imagined with the rule
        *out = a;
        return HWM_OK;
    }

    const int B = (int)e->imagination.batch, H = (int)e->imagination.horizon;
    hwm_model_dims dims = {.obs = O, .action = A, .rollouts = B, .horizon = H, .env = &e->env};
    if ((status = known_continue(&e->model, spec, &dims, err)) != HWM_OK)
        goto fail;
    if ((status = hwm_model_create(&a->model, &e->model, &dims, seed, err)) != HWM_OK)
        goto fail;
    follow_model(a);
    if ((status = sequences_of_starts(e, err)) != HWM_OK)
        goto fail;
    status =
        hwm_critic_create(&a->critic, &e->train, hwm_model_features(a->model), B * (H + 1), seed);
    if (status != HWM_OK)
        goto fail;

    const hwm_imagination_setup setup = {
        .controller = a->controller,
        .model = a->model,
        .critic = a->critic,
        .config = e->imagination,
        .gamma = e->train.gamma,
        .lambda = e->train.lambda,
        .explore_std = e->worker.explore_std,
        .explore_eps = e->worker.explore_eps,
        .discrete = spec->discrete,
        .obs = O,
        .action = A,
        .seed = seed,
    };
    if ((status = hwm_imagination_create(&a->imagination, &setup, err)) != HWM_OK)
        goto fail;

    if (e->train.replay_critic > 0 && !(a->replay_critic = hwm_replay_critic_new(&setup))) {
        status = HWM_ENOMEM;
        goto fail;
    }

    a->statistics.obs_min = calloc((size_t)O, sizeof(hwm_real));
    a->statistics.obs_max = calloc((size_t)O, sizeof(hwm_real));
    a->statistics.delta_std = calloc((size_t)O, sizeof(hwm_real));
    a->statistics.obs_mean = calloc((size_t)O, sizeof(hwm_real));
    a->statistics.obs_std = calloc((size_t)O, sizeof(hwm_real));
    a->obs_sum = calloc((size_t)O, sizeof(double));
    a->obs_square = calloc((size_t)O, sizeof(double));
    a->delta_sum = calloc((size_t)O, sizeof(double));
    a->delta_square = calloc((size_t)O, sizeof(double));
    status = HWM_ENOMEM;
    if (!a->statistics.obs_min || !a->statistics.obs_max || !a->statistics.delta_std ||
        !a->delta_sum || !a->delta_square || !a->statistics.obs_mean || !a->statistics.obs_std ||
        !a->obs_sum || !a->obs_square)
        goto fail;
    if (e->imagination.clamp_quantile > 0 && hwm_ranges_create(&a->ranges, O + 1) != HWM_OK)
        goto fail;
    if (!(a->open_loop = hwm_open_loop_new(O)))
        goto fail;
    for (int j = 0; j < O; j++) {
        a->statistics.obs_min[j] = (hwm_real)INFINITY;
        a->statistics.obs_max[j] = (hwm_real)-INFINITY;
    }
    a->statistics.reward_min = (hwm_real)INFINITY;
    a->statistics.reward_max = (hwm_real)-INFINITY;
    *out = a;
    return HWM_OK;
fail:
    hwm_agent_destroy(&a);
    if (status == HWM_ENOMEM)
        return hwm_fail(err, status, "no memory for the agent");
    return status;
}

void hwm_agent_destroy(hwm_agent** agent) {
    if (!agent || !*agent)
        return;
    hwm_agent* a = *agent;
    hwm_imagination_destroy(&a->imagination);
    hwm_replay_critic_free(&a->replay_critic);
    hwm_critic_destroy(&a->critic);
    hwm_model_destroy(&a->model);
    hwm_latent_destroy(&a->latent);
    nn_optim_destroy(&a->phi_optim);
    nn_params_destroy(&a->phi);
    hwm_controller_destroy(&a->controller);
    free(a->statistics.obs_min);
    free(a->statistics.obs_max);
    free(a->statistics.delta_std);
    free(a->statistics.obs_mean);
    free(a->statistics.obs_std);
    free(a->obs_sum);
    free(a->obs_square);
    free(a->delta_sum);
    free(a->delta_square);
    hwm_open_loop_free(&a->open_loop);
    hwm_ranges_destroy(&a->ranges);
    free(a);
    *agent = NULL;
}

bool hwm_agent_samples(const hwm_agent* agent) {
    return agent->model || agent->latent;
}

void hwm_agent_look(hwm_agent* agent, const hwm_sequences* batch) {
    const int O = agent->spec.obs_dim, T = batch->length;
    hwm_replay_statistics* s = &agent->statistics;
    for (int i = 0; i < batch->n; i++)
        for (int t = 0; t < T; t++) {
            const size_t row = (size_t)i * (size_t)T + (size_t)t;
            if (batch->valid[row] == 0)
                continue;
            const hwm_real* o = batch->obs + row * (size_t)O;
            if (agent->ranges && batch->first[row] == 0)
                hwm_ranges_add(agent->ranges, o, batch->reward[row]);
            for (int j = 0; j < O; j++) {
                if (o[j] < s->obs_min[j])
                    s->obs_min[j] = o[j];
                if (o[j] > s->obs_max[j])
                    s->obs_max[j] = o[j];
                agent->obs_sum[j] += (double)o[j];
                agent->obs_square[j] += (double)o[j] * (double)o[j];
            }
            agent->obs_count += 1;
            if (batch->first[row] == 0) {  // no reward arrives with a first observation
                if (batch->reward[row] < s->reward_min)
                    s->reward_min = batch->reward[row];
                if (batch->reward[row] > s->reward_max)
                    s->reward_max = batch->reward[row];
            }
            if (t == 0 || batch->first[row] > 0)
                continue;
            for (int j = 0; j < O; j++) {
                const double d = (double)o[j] - (double)o[j - O];
                agent->delta_sum[j] += d;
                agent->delta_square[j] += d * d;
            }
            agent->delta_count += 1;
        }
}

// The ends of the ranges are quantiles of the newest rows instead of the extremes of all.
static void use_quantiles(hwm_agent* agent) {
    const int O = agent->spec.obs_dim;
    const double q = agent->experiment->imagination.clamp_quantile;
    hwm_replay_statistics* s = &agent->statistics;
    for (int j = 0; j < O; j++)
        hwm_ranges_get(agent->ranges, j, q, &s->obs_min[j], &s->obs_max[j]);
    hwm_ranges_get(agent->ranges, O, q, &s->reward_min, &s->reward_max);
}

// Mean and std of what was summed up; the sums begin anew.
static void moments(double* sum, double* square, double count, hwm_real* mean, hwm_real* std,
                    int n) {
    for (int j = 0; j < n; j++) {
        const double m = sum[j] / count, var = square[j] / count - m * m;
        if (mean)
            mean[j] = (hwm_real)m;
        std[j] = (hwm_real)sqrt(var > 0 ? var : 0);
        sum[j] = square[j] = 0;
    }
}

void hwm_agent_refresh(hwm_agent* agent, bool controller) {
    const int O = agent->spec.obs_dim;
    if (agent->delta_count < 2 || agent->obs_count < 2)
        return;
    hwm_replay_statistics* s = &agent->statistics;
    moments(agent->delta_sum, agent->delta_square, agent->delta_count, NULL, s->delta_std, O);
    moments(agent->obs_sum, agent->obs_square, agent->obs_count, s->obs_mean, s->obs_std, O);
    agent->delta_count = agent->obs_count = 0;
    if (agent->ranges)
        use_quantiles(agent);
    hwm_model_refresh(agent->model, &agent->statistics,
                      agent->experiment->imagination.clamp_margin);
    const int scale = hwm_param_list_find(&agent->phi->list, "input.delta_scale");
    if (!controller || scale < 0)
        return;
    for (int j = 0; j < O; j++)
        agent->phi->value[agent->phi->list.entry[scale].offset + (size_t)j] =
            agent->statistics.delta_std[j] + (hwm_real)agent->experiment->model.scale_floor;
}

hwm_status hwm_agent_update_model(hwm_agent* agent, const hwm_sequences* batch,
                                  hwm_agent_report* report, hwm_error* err) {
    const double began = hwm_clock_s();
    hwm_agent_look(agent, batch);
    if (agent->model_updates > 0 &&
        agent->model_updates % agent->experiment->model.refresh_updates == 0)
        hwm_agent_refresh(agent, false);
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)agent->experiment->run.seed, HWM_PURPOSE_MODEL, 0,
                 (uint32_t)agent->model_updates, (uint32_t)(agent->model_updates >> 32));
    hwm_status status = hwm_model_update(agent->model, batch, &rng, &report->model, err);
    agent->model_updates++;
    if (status != HWM_OK)
        agent->skipped++;
    follow_model(agent);
    agent->seconds_model += hwm_clock_s() - began;
    return status;
}

hwm_status hwm_agent_update_behaviour(hwm_agent* agent, double progress, hwm_agent_report* report,
                                      hwm_error* err) {
    const double began = hwm_clock_s();
    const hwm_train_config* train = &agent->experiment->train;
    const uint64_t update = (uint64_t)agent->behaviour_updates;
    if (agent->replay_critic)
        hwm_replay_critic_take(agent->replay_critic, hwm_imagination_starts(agent->imagination));
    hwm_imagination_continue(agent->imagination, update, &report->imagination);
    hwm_imagination_gradient(agent->imagination, agent->phi->value, update, agent->phi->grad,
                             &report->imagination);
    if (train->lr_final >= 0)
        nn_optim_set_lr(agent->phi_optim,
                        train->lr + (train->lr_final - train->lr) * (progress < 0   ? 0
                                                                     : progress > 1 ? 1
                                                                                    : progress));
    hwm_status status = nn_optim_apply(agent->phi_optim, agent->phi, &report->gradient_norm, err);
    const double middle = hwm_clock_s();
    agent->seconds_imagination += middle - began;

    const hwm_imagination_config* im = &agent->experiment->imagination;
    hwm_critic_batch batch[HWM_CRITIC_BATCHES] = {
        {.rows = (int)(im->batch * im->horizon),
         .features = hwm_imagination_features(agent->imagination),
         .target = hwm_imagination_returns(agent->imagination),
         .weight = hwm_imagination_weights(agent->imagination),
         .scale = 1}};
    int n = 1;
    if (agent->replay_critic)
        batch[n++] =
            hwm_replay_critic_batch(agent->replay_critic, agent->imagination, train->replay_critic);
    hwm_status critic = hwm_critic_update(agent->critic, batch, n, status == HWM_OK ? err : NULL);
    report->critic_loss = batch[0].loss;
    report->replay_critic_loss = batch[1].loss;
    agent->seconds_critic += hwm_clock_s() - middle;
    agent->behaviour_updates++;
    if (status == HWM_OK)
        status = critic;
    if (status != HWM_OK)
        agent->skipped++;
    return status;
}
