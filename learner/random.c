// data path  [8] learner: nobody learns
//
// The floor under every figure: the controller's weights change at random. A run consists of
// evaluations, each on new episodes; the best one is luck, their mean says what plasticity without
// learning is worth.
#include "base/signals.h"
#include "run.h"

hwm_status hwm_run_random(hwm_run* l, hwm_error* err) {
    hwm_status status = hwm_session_publish(l->session, err);
    l->phase = "random";
    while (status == HWM_OK && !hwm_run_finished(l)) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        status = hwm_run_evaluate_now(l, err);
        l->state.env_steps += l->evaluation.env_steps;
        l->state.updates++;
        hwm_run_housekeeping(l);
    }
    return status;
}
