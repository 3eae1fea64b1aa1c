// data path  [8] learner: the loop of world model and behaviour
#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "dump.h"
#include "fit.h"
#include "latent.h"
#include "run.h"

enum { STATISTICS_BATCHES = 10, SKIPPED_MAX = 100, DUMPS_MAX = 8 };

// The batch at hand into the run directory; the first few of a process are enough.
typedef enum kind { MODEL, STARTS, LATENT } kind;
static void dump(hwm_run* l, kind what, const hwm_sequences* batch, const char* why) {
    if (l->dumps >= DUMPS_MAX)
        return;
    hwm_dump d = {.run_dir = l->options->run_dir, .update = l->agent->model_updates, .why = why};
    hwm_error err = {0};
    const hwm_status status = what == MODEL ? hwm_dump_sequences(&d, &l->agent->spec, batch, &err)
                              : what == STARTS ? hwm_dump_starts(&d, l->agent, batch, &err)
                                               : hwm_dump_latent(&d, l->agent->latent, &err);
    if (status != HWM_OK)
        hwm_log(HWM_LOG_ERROR, "learner", "batch not kept", "reason=\"%s\"", err.text);
    else
        hwm_log(HWM_LOG_WARN, "learner", "batch kept", "file=%s", d.path);
    l->dumps++;
}

// A batch or gradient with a number that is not finite is dropped, counted and kept to be looked
// at; many in a row end the run.
static hwm_status forgive(hwm_run* l, hwm_status status, kind what, const hwm_sequences* batch,
                          hwm_error* err) {
    if (status == HWM_OK)
        l->skipped_in_a_row = 0;
    if (status != HWM_ENUMERIC)
        return status;
    hwm_log(HWM_LOG_WARN, "learner", "update skipped", "update=%lld reason=\"%s\"",
            (long long)l->state.updates, err->text);
    dump(l, what, batch, err->text);
    if (++l->skipped_in_a_row < SKIPPED_MAX)
        return HWM_OK;
    return HWM_ENUMERIC;
}

static hwm_status update_model(hwm_run* l, bool uncounted, hwm_error* err) {
    const hwm_sequences* batch = NULL;
    hwm_status status = hwm_session_model_batch(l->session, uncounted, &batch, err);
    if (status == HWM_OK)
        status = hwm_agent_update_model(l->agent, batch, &l->update, err);
    else
        l->agent->skipped += status == HWM_ENUMERIC;
    return forgive(l, status, MODEL, batch, err);
}

// World model, policy and value of a recurrent agent; warm_up: the model alone.
static hwm_status update_latent(hwm_run* l, bool warm_up, hwm_error* err) {
    hwm_agent* a = l->agent;
    hwm_status status = hwm_session_latent_batch(l->session, warm_up, err);
    const double began = hwm_clock_s();
    if (status == HWM_OK)
        status = hwm_latent_update(a->latent, warm_up, &l->update.latent, err);
    a->seconds_model += hwm_clock_s() - began;
    a->model_updates++;
    a->behaviour_updates += !warm_up;
    a->skipped += status == HWM_ENUMERIC;
    return forgive(l, status, LATENT, NULL, err);
}

static hwm_status warm_up_latent(hwm_run* l, hwm_error* err) {
    hwm_status status = HWM_OK;
    l->phase = "warm-up";
    while (status == HWM_OK && l->agent->model_updates < l->experiment->train.warmup_updates)
        status = update_latent(l, true, err);
    return status;
}

static hwm_status warm_up(hwm_run* l, hwm_error* err) {
    if (l->agent->latent)
        return warm_up_latent(l, err);
    const hwm_sequences* batch = NULL;
    hwm_status status = HWM_OK;
    for (int i = 0; i < STATISTICS_BATCHES && status == HWM_OK; i++) {
        status = hwm_session_model_batch(l->session, true, &batch, err);
        if (status == HWM_OK)
            hwm_agent_look(l->agent, batch);
        status = forgive(l, status, MODEL, batch, err);
    }
    if (status != HWM_OK)
        return status;
    hwm_agent_refresh(l->agent, true);
    l->phase = "warm-up";
    const double began = hwm_clock_s();
    while (status == HWM_OK && l->agent->model_updates < l->experiment->train.warmup_updates)
        status = update_model(l, true, err);
    if (status != HWM_OK)
        return status;
    hwm_log(HWM_LOG_INFO, "learner", "world model warmed up", "updates=%lld seconds=%.1f loss=%.4f",
            (long long)l->agent->model_updates, hwm_clock_s() - began, l->update.model.total);
    return HWM_OK;
}

static hwm_status update_all(hwm_run* l, hwm_error* err) {
    if (l->agent->latent)
        return update_latent(l, false, err);
    hwm_status status = HWM_OK;
    for (int64_t k = 0; k < l->experiment->train.model_updates && status == HWM_OK; k++)
        status = update_model(l, false, err);
    if (status != HWM_OK)
        return status;
    status = hwm_session_starts(l->session, err);
    if (status == HWM_OK) {
        const double all = (double)l->experiment->run.max_env_steps;
        const double progress = all > 0 ? (double)l->state.env_steps / all : 0;
        status = hwm_agent_update_behaviour(l->agent, progress, &l->update, err);
    }
    return forgive(l, status, STARTS, hwm_session_start_rows(l->session), err);
}

// One update of everything and what belongs to it.
static hwm_status one_update(hwm_run* l, hwm_error* err) {
    hwm_status status = hwm_run_evaluate(l, err);
    if (status == HWM_OK)
        status = update_all(l, err);
    if (status == HWM_OK)
        l->state.updates++;
    return status;
}

// Workers and learner take turns: round k is collected with version k, then exactly its share of
// updates follows. Every draw is a function of the seed and of counters, so two runs end with the
// same bits.
//
// RESUME  The checkpoint of a round is written before the next version is published, so the table
// never holds more than the round after the one a resumed run continues at. That round's version is
// computed again and must be the one that was published; what is missing of its rows follows from
// workers, which repeat what they did.
static hwm_status one_round(hwm_run* l, uint64_t version, int64_t rows, int64_t updates,
                            hwm_error* err) {
    if (l->agent->model)
        hwm_model_forget(l->agent->model);  // as whoever resumes here begins
    hwm_status status = hwm_session_publish_round(l->session, version, err);
    if (status == HWM_OK)
        status = hwm_session_wait_rows(l->session, rows, err);
    if (status == HWM_OK && version == 1)
        status = warm_up(l, err);
    l->phase = "training";
    while (status == HWM_OK && l->state.updates < updates) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        status = one_update(l, err);
        hwm_run_housekeeping(l);
    }
    if (status != HWM_OK)
        return status;
    l->state.rounds = (int64_t)version;
    return hwm_run_save(l, "latest", err);
}

static hwm_status train_in_rounds(hwm_run* l, hwm_error* err) {
    const hwm_experiment* e = l->experiment;
    const int64_t repeat = l->agent->spec.action_repeat;
    const int64_t all = e->run.workers * e->worker.environments;
    const int64_t first = hwm_experiment_round_rows(e, 1) * all,
                  each = hwm_experiment_round_rows(e, 2) * all;
    hwm_status status = HWM_OK;
    while (status == HWM_OK && !hwm_run_finished(l)) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        const int64_t later = l->state.rounds * each;  // rows beyond the prefill
        const int64_t updates = (int64_t)((double)(later * repeat) / e->train.env_steps_per_update);
        status = one_round(l, (uint64_t)l->state.rounds + 1, first + later, updates, err);
    }
    return status;
}

// A network rule starts as what predicts naive episodes best.
static hwm_status fit_rule(hwm_run* l, hwm_error* err) {
    nn_params* phi = l->agent->phi;
    hwm_fit_report report;
    l->phase = "fitting";
    nn_params_to_float(phi, l->task_phi);
    const hwm_status status =
        hwm_fit_rule(l->experiment, l->experiment->train.fit_updates, l->task_phi, &report, err);
    if (status != HWM_OK)
        return status;
    nn_params_from_float(phi, l->task_phi);
    hwm_log(HWM_LOG_INFO, "learner", "rule fitted",
            "updates=%.0f samples=%lld held_out=%lld error=%.4g of_predicting_zero=%.4g",
            report.updates, (long long)report.samples, (long long)report.held_out, report.error,
            report.zero);
    return HWM_OK;
}

hwm_status hwm_run_train(hwm_run* l, hwm_error* err) {
    if (l->state.updates == 0 && l->experiment->train.fit_updates > 0) {
        const hwm_status fitted = fit_rule(l, err);
        if (fitted != HWM_OK)
            return fitted;
    }
    if (l->experiment->run.schedule == HWM_SCHEDULE_ROUNDS)
        return train_in_rounds(l, err);
    hwm_status status = hwm_session_publish(l->session, err);
    if (status != HWM_OK)
        return status;
    if (l->state.updates == 0) {
        if ((status = warm_up(l, err)) != HWM_OK)
            return status;
        if ((status = hwm_session_publish(l->session, err)) != HWM_OK)
            return status;
    }
    l->phase = "training";
    while (!hwm_run_finished(l)) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        if ((status = one_update(l, err)) != HWM_OK)
            return status;
        if (l->state.updates % l->experiment->train.publish_every_updates == 0 &&
            (status = hwm_session_publish(l->session, err)) != HWM_OK)
            return status;
        hwm_run_housekeeping(l);
    }
    return HWM_OK;
}
