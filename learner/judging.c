// data path  [8] learner: evaluation
#include <math.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/signals.h"
#include "latent.h"
#include "run.h"

static hwm_status evaluate_here(hwm_run* l, const float* phi, int episodes, uint64_t seed,
                                hwm_evaluate_score* score, hwm_error* err) {
    hwm_evaluate_request request = hwm_evaluate_default_request();
    request.episodes = episodes;
    request.seed = seed;
    hwm_status status = hwm_evaluate(l->experiment, phi, &request, &l->evaluation, err);
    l->state.eval_env_steps += l->evaluation.env_steps;
    if (status == HWM_OK)
        *score = l->evaluation.all;
    return status;
}

// A mean that would be the best so far is confirmed on more episodes, so that luck does not choose.
// phi: what was evaluated.
static hwm_status judge(hwm_run* l, const float* phi, const hwm_evaluate_score* score,
                        hwm_error* err) {
    const hwm_evaluation_config* config = &l->experiment->evaluation;
    const double mean = l->eval_mean = score->mean;
    l->eval_discounted = score->discounted;
    const double goal = l->experiment->run.stop_return;
    hwm_status status = HWM_OK;
    if (mean >= l->state.best_mean) {
        hwm_evaluate_score more;
        status = evaluate_here(l, phi, (int)config->confirm_episodes, (uint64_t)config->seed + 1,
                               &more, err);
        if (status != HWM_OK)
            return status;
        const double n = (double)config->episodes, m = (double)config->confirm_episodes;
        const double all = (n * mean + m * more.mean) / (n + m);
        l->eval_mean = all;
        if (all > l->state.best_mean) {
            l->state.best_mean = all;
            l->state.best_env_steps = l->state.env_steps;
            l->state.best_updates = l->state.updates;
            // the parameters that were judged, which may be older than those in training
            float* now = malloc((l->agent->phi->list.count + 1) * sizeof *now);
            if (!now)
                return hwm_fail(err, HWM_ENOMEM, "no memory for a checkpoint");
            nn_params_to_float(l->agent->phi, now);
            nn_params_from_float(l->agent->phi, phi);
            status = hwm_checkpoint_save(l->options->run_dir, "best", l->agent, &l->state, err);
            nn_params_from_float(l->agent->phi, now);
            free(now);
        }
    }
    l->state.stop_streak = goal > 0 && l->eval_mean >= goal ? l->state.stop_streak + 1 : 0;
    return status;
}

hwm_status hwm_run_evaluate(hwm_run* l, hwm_error* err) {
    const hwm_evaluation_config* config = &l->experiment->evaluation;
    hwm_client* client = hwm_session_client(l->session);
    hwm_status status = HWM_OK;
    if (l->task_pending) {
        hwm_task task;
        status = hwm_client_task_result(client, l->task, &task, err);
        if (status == HWM_EAGAIN)
            return HWM_OK;
        l->task_pending = false;
        hwm_evaluate_result result;
        if (status == HWM_OK)
            status = hwm_evaluate_result_decode(task.result, task.result_bytes, &result, err);
        if (status != HWM_OK) {  // one evaluation less: the next one is due soon
            hwm_log(HWM_LOG_WARN, "learner", "evaluation lost", "reason=\"%s\"", err->text);
            return HWM_OK;
        }
        l->state.eval_env_steps += result.env_steps;
        return judge(l, l->task_phi, &result.all, err);
    }
    if (l->state.updates % config->every_updates != 0)
        return HWM_OK;
    const uint64_t seed =
        (uint64_t)config->seed + 2 + (uint64_t)(l->state.updates / config->every_updates);
    if (l->agent->latent)
        hwm_latent_export(l->agent->latent, l->agent->phi);
    nn_params_to_float(l->agent->phi, l->task_phi);
    if (!config->on_workers) {
        hwm_evaluate_score score;
        status = evaluate_here(l, l->task_phi, (int)config->episodes, seed, &score, err);
        return status == HWM_OK ? judge(l, l->task_phi, &score, err) : status;
    }
    if ((status = hwm_session_publish(l->session, err)) != HWM_OK)
        return status;
    hwm_evaluate_request request = hwm_evaluate_default_request();
    request.episodes = (int)config->episodes;
    request.seed = seed;
    l->task_version = hwm_session_counters_of(l->session)->version;
    uint8_t payload[HWM_EVALUATE_PAYLOAD_MAX];
    const size_t n = hwm_evaluate_request_encode(&request, l->task_version, payload);
    status = hwm_client_task_submit(client, HWM_TASK_EVALUATE, payload, n, (int)config->lease_ms,
                                    &l->task, err);
    l->task_pending = status == HWM_OK;
    // nobody answered: the next evaluation is due soon
    return status == HWM_ETIMEDOUT ? HWM_OK : status;
}

hwm_status hwm_run_evaluate_now(hwm_run* l, hwm_error* err) {
    const hwm_evaluation_config* config = &l->experiment->evaluation;
    hwm_evaluate_score score;
    nn_params_to_float(l->agent->phi, l->task_phi);
    hwm_status status =
        evaluate_here(l, l->task_phi, (int)config->episodes,
                      (uint64_t)config->seed + 2 + (uint64_t)l->state.updates, &score, err);
    return status == HWM_OK ? judge(l, l->task_phi, &score, err) : status;
}

hwm_status hwm_run_last_judgement(hwm_run* l, hwm_error* err) {
    if (l->state.updates == 0 || hwm_signals_stop_requested())
        return HWM_OK;
    hwm_evaluate_score score;
    const hwm_evaluation_config* config = &l->experiment->evaluation;
    if (l->agent->latent)
        hwm_latent_export(l->agent->latent, l->agent->phi);
    nn_params_to_float(l->agent->phi, l->task_phi);
    hwm_status status =
        evaluate_here(l, l->task_phi, (int)config->episodes,
                      (uint64_t)config->seed + 1 + (uint64_t)l->state.updates, &score, err);
    return status == HWM_OK ? judge(l, l->task_phi, &score, err) : status;
}
