// data path  [8] learner <-> [2] controller: tasks of an evolution strategy
#include "experiment/fitness.h"

#include <stdlib.h>
#include <string.h>

#include "base/signals.h"
#include "experiment/cursor.h"
#include "plastic/perturb.h"

enum { REQUEST_FORM = 1, RESULT_FORM = 1, LANES_AT_ONCE = 64 };

// ---- wire form

static void walk_request(hwm_cursor* c, hwm_transfer* move, uint32_t* form,
                         hwm_fitness_request* q) {
    move(c, form, 4);
    move(c, &q->version, 8);
    move(c, &q->generation, 4);
    move(c, &q->episodes, 4);
    move(c, &q->sigma, 4);
    move(c, &q->n, 4);
    for (uint32_t k = 0; k < q->n && k < HWM_FITNESS_INDIVIDUALS_MAX; k++) {
        move(c, &q->individual[k].seed, 8);
        move(c, &q->individual[k].sign, 1);
    }
}

static void walk_result(hwm_cursor* c, hwm_transfer* move, uint32_t* form, hwm_fitness_result* r) {
    move(c, form, 4);
    move(c, &r->env_steps, 8);
    move(c, &r->n, 4);
    for (uint32_t k = 0; k < r->n && k < HWM_FITNESS_INDIVIDUALS_MAX; k++) {
        move(c, &r->total[k], 8);
        move(c, &r->square[k], 8);
    }
}

static hwm_status check_form(const char* what, uint32_t form, uint32_t known, const hwm_cursor* c,
                             uint32_t n, size_t size, hwm_error* err) {
    if (form != known) {
        return hwm_fail(err, HWM_EVERSION, "%s of form %u, this program knows %u", what, form,
                        known);
    }
    if (n < 1 || n > HWM_FITNESS_INDIVIDUALS_MAX) {
        return hwm_fail(err, HWM_EPROTO, "%s with %u individuals, allowed are 1 to %d", what, n,
                        HWM_FITNESS_INDIVIDUALS_MAX);
    }
    if (c->overrun || c->left) {
        return hwm_fail(err, HWM_EPROTO, "%s of %zu bytes is too %s", what, size,
                        c->overrun ? "short" : "long");
    }
    return HWM_OK;
}

size_t hwm_fitness_request_encode(const hwm_fitness_request* request,
                                  uint8_t bytes[HWM_FITNESS_BYTES_MAX]) {
    hwm_cursor c = {bytes, HWM_FITNESS_BYTES_MAX, false};
    hwm_fitness_request q = *request;
    uint32_t form = REQUEST_FORM;
    walk_request(&c, hwm_cursor_put, &form, &q);
    return HWM_FITNESS_BYTES_MAX - c.left;
}

hwm_status hwm_fitness_request_decode(const void* bytes, size_t size, hwm_fitness_request* request,
                                      hwm_error* err) {
    hwm_cursor c = {(uint8_t*)(uintptr_t)bytes, size, false};
    uint32_t form = 0;
    memset(request, 0, sizeof *request);
    walk_request(&c, hwm_cursor_get, &form, request);
    hwm_status s = check_form("fitness request", form, REQUEST_FORM, &c, request->n, size, err);
    for (uint32_t k = 0; s == HWM_OK && k < request->n; k++) {
        if (request->individual[k].sign < -1 || request->individual[k].sign > 1) {
            s = hwm_fail(err, HWM_EPROTO, "fitness request: sign %d of individual %u",
                         request->individual[k].sign, k);
        }
    }
    return s;
}

size_t hwm_fitness_result_encode(const hwm_fitness_result* result,
                                 uint8_t bytes[HWM_FITNESS_BYTES_MAX]) {
    hwm_cursor c = {bytes, HWM_FITNESS_BYTES_MAX, false};
    hwm_fitness_result r = *result;
    uint32_t form = RESULT_FORM;
    walk_result(&c, hwm_cursor_put, &form, &r);
    return HWM_FITNESS_BYTES_MAX - c.left;
}

hwm_status hwm_fitness_result_decode(const void* bytes, size_t size, hwm_fitness_result* result,
                                     hwm_error* err) {
    hwm_cursor c = {(uint8_t*)(uintptr_t)bytes, size, false};
    uint32_t form = 0;
    memset(result, 0, sizeof *result);
    walk_result(&c, hwm_cursor_get, &form, result);
    return check_form("fitness result", form, RESULT_FORM, &c, result->n, size, err);
}

// ---- playing

struct hwm_fitness {
    const hwm_experiment* experiment;
    hwm_controller* controller;
    hwm_rollout* rollout;
    uint32_t episodes;
    float* phi;  // (count) of the individual
    hwm_real *real, *coef;
};

hwm_status hwm_fitness_create(hwm_fitness** out, const hwm_experiment* experiment, hwm_error* err) {
    *out = NULL;
    hwm_fitness* f = calloc(1, sizeof *f);
    if (!f) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for individuals");
    }
    f->experiment = experiment;
    f->episodes = (uint32_t)experiment->evolution.episodes;
    hwm_rollout_config config = hwm_rollout_default_config();
    config.burn_in_steps = experiment->worker.burn_in_steps;
    const int E = f->episodes < LANES_AT_ONCE ? (int)f->episodes : LANES_AT_ONCE;
    hwm_status s = hwm_experiment_controller(experiment, &f->controller, err);
    if (s == HWM_OK) {
        s = hwm_rollout_create(&f->rollout, &experiment->env, f->controller, &config,
                               (uint64_t)experiment->run.seed, 0, E, err);
    }
    if (s == HWM_OK) {
        const size_t n = hwm_controller_params(f->controller)->count;
        f->phi = calloc(n + 1, sizeof *f->phi);
        f->real = calloc(n + 1, sizeof *f->real);
        f->coef = calloc((size_t)hwm_controller_coef_count(f->controller) + 1, sizeof *f->coef);
        if (!f->phi || !f->real || !f->coef) {
            s = hwm_fail(err, HWM_ENOMEM, "no memory for an individual of %zu parameters", n);
        }
    }
    if (s) {
        hwm_fitness_destroy(&f);
    }
    *out = f;
    return s;
}

void hwm_fitness_destroy(hwm_fitness** fitness) {
    if (!*fitness) {
        return;
    }
    hwm_rollout_destroy(&(*fitness)->rollout);
    hwm_controller_destroy(&(*fitness)->controller);
    free((*fitness)->phi);
    free((*fitness)->real);
    free((*fitness)->coef);
    free(*fitness);
    *fitness = NULL;
}

const hwm_controller* hwm_fitness_controller(const hwm_fitness* fitness) {
    return fitness->controller;
}

// The episodes of a generation: environment i plays numbers first, first + 1, ... until there are
// enough. Returns the sum of their returns.
static hwm_status play(hwm_fitness* f, uint32_t generation, double* sum, hwm_error* err) {
    hwm_rollout* r = f->rollout;
    const uint32_t E = (uint32_t)r->E, rounds = (f->episodes + E - 1) / E,
                   first = generation * rounds;
    const hwm_real* delta = hwm_controller_delta_scale(f->controller, f->real);
    uint32_t left = f->episodes;
    *sum = 0;
    for (int i = 0; i < r->E; i++) {
        hwm_rollout_begin(r, f->coef, i, first);
    }
    for (int64_t step = 0; left > 0; step++) {
        hwm_rollout_think(r, f->coef, delta);
        for (int i = 0; i < r->E; i++) {
            if (!r->idle[i] && r->flags[i] & HWM_FLAG_LAST) {
                *sum += r->episode_return[i];
                left--;
                r->idle[i] = (uint32_t)i + (r->episode[i] - first + 1) * E >= f->episodes;
            }
        }
        hwm_rollout_step(r, f->coef);
        if (step % 64 == 0 && hwm_signals_stop_requested()) {
            return hwm_fail(err, HWM_ECLOSED, "stopped by a signal with %u episodes to go", left);
        }
    }
    return HWM_OK;
}

hwm_status hwm_fitness_play(hwm_fitness* f, const float* phi, const hwm_fitness_request* request,
                            hwm_fitness_result* result, hwm_error* err) {
    const size_t count = hwm_controller_params(f->controller)->count;
    const int64_t before = f->rollout->env_steps;
    *result = (hwm_fitness_result){.n = request->n};
    if (request->episodes != f->episodes) {
        return hwm_fail(err, HWM_EINVAL, "%u episodes asked for, evolution.episodes is %u",
                        request->episodes, f->episodes);
    }
    for (uint32_t k = 0; k < request->n; k++) {
        const hwm_individual* one = &request->individual[k];
        result->square[k] =
            hwm_perturb(f->controller, phi, one->seed, one->sign, request->sigma, f->phi);
        for (size_t j = 0; j < count; j++) {
            f->real[j] = (hwm_real)f->phi[j];
        }
        hwm_controller_prepare(f->controller, f->real, f->coef);
        hwm_status s = play(f, request->generation, &result->total[k], err);
        if (s) {
            return s;
        }
        result->total[k] /= f->episodes;
    }
    result->env_steps = f->rollout->env_steps - before;
    return HWM_OK;
}
