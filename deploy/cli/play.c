#include "play.h"

#include <stdlib.h>

#include "base/signals.h"
#include "experiment/acting.h"
#include "experiment/evaluate.h"
#include "record/chunk.h"

hwm_play_request hwm_play_default_request(void) {
    return (hwm_play_request){.episodes = 1, .freeze_at = -1, .reset_at = -1, .variant = -1};
}

static hwm_status play_rows(hwm_rollout* r, const hwm_real* coef, const hwm_real* delta,
                            const hwm_play_request* request, hwm_play_visit* visit, void* context,
                            hwm_error* err) {
    int left = r->E;
    for (int i = 0; i < r->E; i++) {
        hwm_rollout_begin(r, coef, i, 0);
    }
    for (int64_t row = 0; left > 0; row++) {
        if (request->decisions_max > 0 && row == request->decisions_max) {
            return HWM_OK;
        }
        hwm_rollout_think(r, coef, delta);
        if (!visit(context, r, row)) {
            return HWM_OK;
        }
        for (int i = 0; i < r->E; i++) {
            if (!r->idle[i] && r->flags[i] & HWM_FLAG_LAST) {
                r->idle[i] = 1;
                left--;
            }
        }
        hwm_rollout_step(r, coef);
        if (hwm_signals_stop_requested()) {
            return hwm_fail(err, HWM_ECLOSED, "stopped by a signal");
        }
    }
    return HWM_OK;
}

hwm_status hwm_play(const hwm_checkpoint* checkpoint, const hwm_play_request* request,
                    hwm_play_visit* visit, void* context, hwm_error* err) {
    hwm_acting* acting = NULL;
    hwm_rollout* rollout = NULL;
    hwm_real *phi = NULL, *coef = NULL;
    HWM_ASSERT(request->episodes >= 1 && request->episodes <= HWM_PLAY_EPISODES_MAX);
    hwm_status s = hwm_acting_create(&acting, checkpoint->experiment, request->episodes, err);
    if (s != HWM_OK) {
        goto done;
    }
    const hwm_controller* controller = hwm_acting_controller(acting);
    hwm_rollout_config config = hwm_rollout_default_config();
    config.freeze_at = request->freeze_at;
    config.reset_at = request->reset_at;
    config.burn_in_steps = checkpoint->experiment->worker.burn_in_steps;
    s = hwm_rollout_create(&rollout, &checkpoint->experiment->env, controller, &config,
                           request->seed, 0, request->episodes, err);
    if (s != HWM_OK) {
        goto done;
    }
    hwm_acting_load(acting, checkpoint->phi);
    hwm_acting_attach(acting, rollout);
    phi = calloc(checkpoint->list.count + 1, sizeof *phi);
    coef = calloc((size_t)hwm_controller_coef_count(controller) + 1, sizeof *coef);
    if (!phi || !coef) {
        s = hwm_fail(err, HWM_ENOMEM, "out of memory");
        goto done;
    }
    if (request->variant >= 0) {
        s = hwm_evaluate_force_variant(rollout, request->variant, err);
        if (s != HWM_OK) {
            goto done;
        }
    }
    for (size_t k = 0; k < checkpoint->list.count; k++) {
        phi[k] = (hwm_real)checkpoint->phi[k];
    }
    hwm_controller_prepare(controller, phi, coef);
    s = play_rows(rollout, coef, hwm_controller_delta_scale(controller, phi), request, visit,
                  context, err);
done:
    hwm_rollout_destroy(&rollout);
    hwm_acting_destroy(&acting);
    free(phi);
    free(coef);
    return s;
}
