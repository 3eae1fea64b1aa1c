// data path  [8] learner: the network rule, fitted to naive rollouts
#include "fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/evaluate.h"
#include "nn/optim.h"
#include "plastic/materialise.h"

enum { ENVIRONMENTS = 48, HELD_OUT_FROM = 32, ROWS = 400, PER_ROW = 2, BATCH = 256, INPUTS = 4 };

// Samples of one plastic layer: inputs (pre, post, W, running mean of the reward) and dW / eta.
typedef struct samples {
    int n, max;
    hwm_real* x;  // (max, INPUTS)
    hwm_real* y;  // (max)
} samples;

typedef struct fit {
    const hwm_experiment* experiment;
    hwm_controller* controller;
    hwm_rollout* rollout;
    hwm_real* coef;
    float *before, *after, *act;
    int n_layers, mean;     // mean: of the reward, in a state
    samples *train, *held;  // (n_layers)
    hwm_rng rng;
} fit;

static hwm_status samples_alloc(samples* s, int max) {
    s->max = max;
    s->x = calloc((size_t)max * INPUTS, sizeof *s->x);
    s->y = calloc((size_t)max, sizeof *s->y);
    return s->x && s->y ? HWM_OK : HWM_ENOMEM;
}

static void fit_close(fit* f) {
    for (int l = 0; l < f->n_layers; l++) {
        if (f->train) {
            free(f->train[l].x);
            free(f->train[l].y);
        }
        if (f->held) {
            free(f->held[l].x);
            free(f->held[l].y);
        }
    }
    free(f->train);
    free(f->held);
    free(f->coef);
    free(f->before);
    free(f->after);
    free(f->act);
    hwm_rollout_destroy(&f->rollout);
    hwm_controller_destroy(&f->controller);
}

static hwm_status fit_open(fit* f, const hwm_experiment* e, const float* phi, hwm_error* err) {
    f->experiment = e;
    hwm_rng_init(&f->rng, (uint64_t)e->run.seed, HWM_PURPOSE_PARAMETERS, 0, 0, 3);
    hwm_status s = hwm_experiment_controller(e, &f->controller, err);
    if (s != HWM_OK)
        return s;
    const hwm_controller* c = f->controller;
    hwm_rollout_config config = hwm_rollout_default_config();
    config.explore = HWM_EXPLORE_NOISE;
    config.std = e->worker.explore_std;
    config.eps = e->worker.explore_eps;
    config.naive = true;
    s = hwm_rollout_create(&f->rollout, &e->env, c, &config, (uint64_t)e->run.seed, 0, ENVIRONMENTS,
                           err);
    if (s != HWM_OK)
        return s;
    const size_t n = hwm_controller_params(c)->count;
    f->n_layers = hwm_controller_layers(c);
    f->mean = hwm_controller_reward_mean(c);
    HWM_ASSERT(f->mean >= 0);
    hwm_real* real = calloc(n + 1, sizeof *real);
    f->coef = calloc((size_t)hwm_controller_coef_count(c) + 1, sizeof *f->coef);
    f->before = calloc((size_t)hwm_controller_state_size(c) + 1, sizeof *f->before);
    f->after = calloc((size_t)hwm_controller_state_size(c) + 1, sizeof *f->after);
    f->act = calloc((size_t)hwm_controller_activations(c) + 1, sizeof *f->act);
    f->train = calloc((size_t)f->n_layers, sizeof *f->train);
    f->held = calloc((size_t)f->n_layers, sizeof *f->held);
    s = real && f->coef && f->before && f->after && f->act && f->train && f->held ? HWM_OK
                                                                                  : HWM_ENOMEM;
    const int rows = ROWS * PER_ROW;
    for (int l = 0; s == HWM_OK && l < f->n_layers; l++) {
        s = samples_alloc(&f->train[l], HELD_OUT_FROM * rows);
        if (s == HWM_OK)
            s = samples_alloc(&f->held[l], (ENVIRONMENTS - HELD_OUT_FROM) * rows);
    }
    if (s == HWM_OK) {
        for (size_t k = 0; k < n; k++)
            real[k] = (hwm_real)phi[k];
        hwm_controller_prepare(c, real, f->coef);
    }
    free(real);
    return s == HWM_OK ? HWM_OK : hwm_fail(err, s, "no memory for naive episodes");
}

// What synapses of environment i did in the step from `before` to `after`.
static void keep(fit* f, int i) {
    const float reward = f->after[f->mean];  // this step's counts already, as for the rule
    for (int l = 0; l < f->n_layers; l++) {
        const hwm_layer_view y = hwm_controller_layer(f->controller, l);
        samples* s = i < HELD_OUT_FROM ? &f->train[l] : &f->held[l];
        for (int k = 0; y.plastic && k < PER_ROW && s->n < s->max; k++, s->n++) {
            const size_t at = hwm_rng_below(&f->rng, (uint32_t)(y.P * y.Q));
            const size_t post = at / (size_t)y.Q, pre = at % (size_t)y.Q;
            hwm_real* x = s->x + (size_t)s->n * INPUTS;
            x[0] = (hwm_real)f->act[y.pre + pre];
            x[1] = (hwm_real)f->act[y.post + post];
            x[2] = (hwm_real)f->before[y.w + at];
            x[3] = (hwm_real)reward;
            s->y[s->n] =
                (hwm_real)((f->after[y.w + at] - f->before[y.w + at]) / f->experiment->rule.eta);
        }
    }
}

// Environments from HELD_OUT_FROM on are not trained on: whole episodes, with constants of their
// own.
static hwm_status play(fit* f, hwm_error* err) {
    hwm_rollout* r = f->rollout;
    const hwm_controller* c = f->controller;
    const int state = hwm_controller_state_size(c);
    hwm_real* old = malloc(hwm_lanes_size(r->E, state) * sizeof *old);
    if (!old)
        return hwm_fail(err, HWM_ENOMEM, "no memory for naive episodes");
    for (int i = 0; i < r->E; i++)
        hwm_rollout_begin(r, f->coef, i, 0);
    for (int t = 0; t < ROWS; t++) {
        hwm_rollout_think(r, f->coef, NULL);
        memcpy(old, r->state, hwm_lanes_size(r->E, state) * sizeof *old);
        uint8_t ends[ENVIRONMENTS] = {0};
        for (int i = 0; i < r->E; i++)
            ends[i] = r->flags[i] & (HWM_FLAG_LAST | HWM_FLAG_STILL);
        hwm_rollout_step(r, f->coef);
        for (int i = 0; i < r->E; i++) {
            if (ends[i])
                continue;
            hwm_lanes_get(old, i, state, f->before);
            hwm_lanes_get(r->state, i, state, f->after);
            hwm_lanes_get(r->act, i, hwm_controller_activations(c), f->act);
            keep(f, i);
        }
    }
    free(old);
    return HWM_OK;
}

// ---- one layer's network: out = sum_k v_k tanh(u_k . (pre, post, W, reward) + b_k)

typedef struct network {
    nn_params* params;
    int u, b, v;
} network;

static nn_var predict(const network* n, nn_tape* tape, nn_var x) {
    nn_var h = nn_dense(tape, x, nn_param(tape, n->params, n->u), nn_param(tape, n->params, n->b),
                        NN_TANH);
    return nn_linear(tape, h, nn_param(tape, n->params, n->v), NULL);
}

// Between phi's rows of five (u and b together) and the network.
static void exchange(const network* n, float* net_in, float* net_out, int units, bool to_phi) {
    hwm_real* value = n->params->value;
    const hwm_param_entry* e = n->params->list.entry;
    for (int k = 0; k < units; k++)
        for (int j = 0; j <= INPUTS + 1; j++) {
            float* p = j <= INPUTS ? &net_in[k * (INPUTS + 1) + j] : &net_out[k];
            hwm_real* q = &value[j < INPUTS    ? e[n->u].offset + (size_t)(k * INPUTS + j)
                                 : j == INPUTS ? e[n->b].offset + (size_t)k
                                               : e[n->v].offset + (size_t)k];
            if (to_phi)
                *p = (float)*q;
            else
                *q = (hwm_real)*p;
        }
}

static hwm_status train(fit* f, network* n, const samples* s, int64_t updates, hwm_error* err) {
    nn_optim* optim = NULL;
    nn_tape* tape = NULL;
    // in units of the updates' own size, which differs by decades between rules
    double squares = 0;
    for (int i = 0; i < s->n; i++)
        squares += (double)s->y[i] * (double)s->y[i] / s->n;
    const hwm_real unit = squares > 0 ? (hwm_real)sqrt(squares) : 1;
    const nn_optim_config adam = nn_optim_adam(0.01, 1);
    hwm_real *x = calloc(BATCH * INPUTS, sizeof *x), *y = calloc(BATCH, sizeof *y);
    hwm_status status = x && y ? nn_optim_create(&optim, &adam, &n->params->list) : HWM_ENOMEM;
    if (status == HWM_OK)
        status = nn_tape_create(&tape, (size_t)1 << 30);
    if (status != HWM_OK)
        hwm_fail(err, status, "no memory to fit a rule");
    for (int64_t k = 0; k < updates && status == HWM_OK; k++) {
        for (int b = 0; b < BATCH; b++) {
            const size_t at = hwm_rng_below(&f->rng, (uint32_t)s->n);
            memcpy(x + b * INPUTS, s->x + at * INPUTS, INPUTS * sizeof *x);
            y[b] = s->y[at] / unit;
        }
        nn_tape_reset(tape);
        nn_params_zero_grad(n->params);
        nn_seed(nn_mse(tape, predict(n, tape, nn_wrap(tape, x, NULL, BATCH, INPUTS)), y, NULL), 1);
        nn_tape_backward(tape);
        nn_optim_set_lr(optim, 0.01 * (1 - (double)k / (double)updates));
        status = nn_optim_apply(optim, n->params, NULL, err);
    }
    const hwm_param_entry* v = &n->params->list.entry[n->v];
    for (size_t k = 0; k < hwm_tensor_count(&v->spec); k++)
        n->params->value[v->offset + k] *= unit;
    nn_tape_destroy(&tape);
    nn_optim_destroy(&optim);
    free(x);
    free(y);
    return status;
}

static hwm_status judge(const network* n, const samples* s, double eta, hwm_fit_report* report,
                        hwm_error* err) {
    nn_tape* tape = NULL;
    if (nn_tape_create(&tape, (size_t)1 << 30) != HWM_OK)
        return hwm_fail(err, HWM_ENOMEM, "no memory to judge a rule");
    nn_tape_record(tape, false);
    nn_var y = predict(n, tape, nn_wrap(tape, s->x, NULL, s->n, INPUTS));
    for (int i = 0; i < s->n; i++) {
        const double e = eta * (double)(y->x[i] - s->y[i]), z = eta * (double)s->y[i];
        report->error += e * e;
        report->zero += z * z;
    }
    report->held_out += s->n;
    nn_tape_destroy(&tape);
    return HWM_OK;
}

static hwm_status fit_layer(fit* f, int l, int64_t updates, float* phi, hwm_fit_report* report,
                            hwm_error* err) {
    const hwm_param_list* list = hwm_controller_params(f->controller);
    const int units = (int)f->experiment->rule.units;
    const hwm_layer_view y = hwm_controller_layer(f->controller, l);
    char in[64], out[64];
    snprintf(in, sizeof in, "%s.net_in", y.name);
    snprintf(out, sizeof out, "%s.net_out", y.name);
    const int at_in = hwm_param_list_find(list, in), at_out = hwm_param_list_find(list, out);
    HWM_ASSERT(at_in >= 0 && at_out >= 0);
    float *net_in = phi + list->entry[at_in].offset, *net_out = phi + list->entry[at_out].offset;
    hwm_param_list* own = malloc(sizeof *own);
    network n = {0};
    if (!own)
        return hwm_fail(err, HWM_ENOMEM, "no memory to fit a rule");
    hwm_param_list_init(own);
    n.u = hwm_param_list_add(own, hwm_spec("u", HWM_F32, 2, units, INPUTS));
    n.b = hwm_param_list_add(own, hwm_spec("b", HWM_F32, 2, 1, units));
    n.v = hwm_param_list_add(own, hwm_spec("v", HWM_F32, 2, 1, units));
    hwm_status status = nn_params_create(&n.params, own);
    free(own);
    if (status != HWM_OK)
        return hwm_fail(err, status, "no memory to fit a rule");
    exchange(&n, net_in, net_out, units, false);
    status = train(f, &n, &f->train[l], updates, err);
    if (status == HWM_OK)
        status = judge(&n, &f->held[l], f->experiment->rule.eta, report, err);
    if (status == HWM_OK)
        exchange(&n, net_in, net_out, units, true);
    report->samples += f->train[l].n;
    nn_params_destroy(&n.params);
    return status;
}

hwm_status hwm_fit_rule(const hwm_experiment* experiment, int64_t updates, float* phi,
                        hwm_fit_report* report, hwm_error* err) {
    *report = (hwm_fit_report){.updates = (double)updates};
    if (experiment->rule.kind != HWM_RULE_NETWORK || experiment->rule.naive == HWM_NAIVE_NONE)
        return hwm_fail(
            err, HWM_EINVAL,
            "train.fit_updates fits rule.kind = network to the episodes of rule.naive = "
            "hebb, oja or bcm");
    fit f = {0};
    hwm_status status = fit_open(&f, experiment, phi, err);
    if (status == HWM_OK)
        status = play(&f, err);
    for (int l = 0; l < f.n_layers && status == HWM_OK; l++)
        if (hwm_controller_layer(f.controller, l).plastic)
            status = fit_layer(&f, l, updates, phi, report, err);
    if (report->held_out > 0) {
        report->error /= (double)report->held_out;
        report->zero /= (double)report->held_out;
    }
    fit_close(&f);
    return status;
}
