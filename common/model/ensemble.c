// data path  [8] learner: world model, kinds `ensemble`, `context` and `gru`
//
// K small networks on (o, u) or, with what the observation does not show, (o, c, u):
//
//   y = mlp_k([o ; c ; u])    o' = clamp(o + s y_o, range)   r = clamp(y_r, range)
//                             continue = sigmoid(y_c)
//   context   c = tanh(mean_k enc([o_k ; u_k ; d_k])), d = (o' - o) / s: transitions of the same
//             episode, past and future. c stays the same along an imagined rollout
//   gru       c = memory of what was observed so far (memory.h), goes on in imagination
//
// s is the std of one-step deltas. Latent z = [o ; c].
// With model.standardise members and critic read (o - mean) / std instead of o.
// Loss per transition: mean_j (y_o - delta / s)_j^2 + w_r (y_r - r)^2 + w_c bce(y_c, 1 - terminal),
// w_c at terminals, 1 elsewhere. Where continue is a known function of the observation it is
// computed from o' instead, and its gradient reaches o'. In imagination group k of the rollouts
// uses member (k + t) mod K at step t, so that no rollout can settle on one member's error.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/kinds.h"
#include "model/memory.h"
#include "model/mlp.h"
#include "nn/layers.h"
#include "nn/pool.h"

enum { MEMBERS_MAX = 64, PARTS = 2 };

// Some of the members with their share of an update's batch: on a tape and into a gradient of its
// own, so that parts may run on any thread. How many there are follows from sizes alone.
typedef struct part {
    nn_tape* tape;
    hwm_real* grad;  // (parameters)
    hwm_sequences batch;
    hwm_model_losses losses;
} part;

typedef struct ensemble {
    hwm_model base;
    hwm_mlp member[MEMBERS_MAX];
    hwm_mlp encoder;    // context
    hwm_memory memory;  // gru
    part part[PARTS];   // of an update; the first has the model's own tape and gradient
    int parts;
    // on the tapes of the rollouts that begin was called for
    const nn_tape* begun[HWM_MODEL_TAPES];
    hwm_mlp_vars frozen[HWM_MODEL_TAPES][MEMBERS_MAX];
    hwm_memory_vars recall[HWM_MODEL_TAPES];
    // entries of the parameter list that are set by refresh, never by the optimiser
    int obs_mean, obs_std;  // with model.standardise
    int delta_scale, obs_min, obs_max, reward_range, refreshed;
    int obs, action, code;  // O, A, C: numbers of c
    double flops;           // of one update
} ensemble;

static hwm_real* entry(const ensemble* e, int i) {
    return e->base.params->value + e->base.params->list.entry[i].offset;
}

static bool is_context(const ensemble* e) {
    return e->base.config.kind == HWM_MODEL_CONTEXT;
}

static bool is_gru(const ensemble* e) {
    return e->base.config.kind == HWM_MODEL_GRU;
}

static bool learns_continue(const ensemble* e) {
    return e->base.config.terminals && e->base.dims.continue_slope == 0;
}

// ---- what members and critic read of z: [(o - mean) / std ; c]

typedef struct standard {
    const ensemble* e;
    nn_var z, x;
} standard;

static void standard_backward(void* context) {
    const standard* s = context;
    const int O = s->e->obs, Z = s->z->cols;
    const hwm_real* std = entry(s->e, s->e->obs_std);
    for (int i = 0; i < s->z->rows; i++)
        for (int j = 0; j < Z; j++)
            s->z->g[(size_t)i * Z + j] += s->x->g[(size_t)i * Z + j] / (j < O ? std[j] : 1);
}

static void standardise_rows(const ensemble* e, hwm_real* x, int rows, int width) {
    const hwm_real *mean = entry(e, e->obs_mean), *std = entry(e, e->obs_std);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < e->obs; j++)
            x[(size_t)i * width + j] = (x[(size_t)i * width + j] - mean[j]) / std[j];
}

static nn_var standardised(const ensemble* e, nn_tape* tape, nn_var z) {
    if (!e->base.config.standardise)
        return z;
    nn_var x = nn_new(tape, z->rows, z->cols, z->g != NULL);
    memcpy(x->x, z->x, (size_t)z->rows * (size_t)z->cols * sizeof(hwm_real));
    standardise_rows(e, x->x, z->rows, z->cols);
    if (x->g) {
        standard* s = nn_tape_alloc(tape, sizeof *s);
        *s = (standard){e, z, x};
        nn_custom(tape, standard_backward, s);
    }
    return x;
}

// New mean and std (which only grows). The first layer takes the change, so that the function
// stays.
static void restandardise(ensemble* e, const hwm_replay_statistics* statistics) {
    const bool learned = *entry(e, e->refreshed) != 0;
    for (int j = 0; j < e->obs; j++) {
        hwm_real *mean = entry(e, e->obs_mean) + j, *std = entry(e, e->obs_std) + j;
        const hwm_real fresh = statistics->obs_std[j] + (hwm_real)e->base.config.scale_floor;
        const hwm_real wide = learned && fresh < *std ? *std : fresh;
        for (int k = 0; learned && k < (int)e->base.config.members; k++) {
            const hwm_mlp* m = &e->member[k];
            for (int i = 0; i < m->units; i++) {
                hwm_real* w = entry(e, m->w[0]) + (size_t)i * m->in + j;
                entry(e, m->b[0])[i] += *w * (statistics->obs_mean[j] - *mean) / *std;
                *w *= wide / *std;
            }
        }
        *mean = statistics->obs_mean[j];
        *std = wide;
    }
}

static void ensemble_destroy(hwm_model* model) {
    ensemble* e = (ensemble*)model;
    for (int k = 1; k < PARTS; k++) {
        nn_tape_destroy(&e->part[k].tape);
        free(e->part[k].grad);
    }
    free(e);
}

// The network's parameters with their gradient in `grad`; NULL: constants.
static void bind(const ensemble* e, const hwm_mlp* mlp, nn_tape* tape, hwm_real* grad,
                 hwm_mlp_vars* vars) {
    const nn_params* params = e->base.params;
    hwm_mlp_bind(mlp, tape, e->base.params, grad == NULL, vars);
    for (int l = 0; grad && l <= mlp->layers; l++) {
        vars->w[l]->g = grad + (vars->w[l]->g - params->grad);
        vars->b[l]->g = grad + (vars->b[l]->g - params->grad);
    }
}

// context: tanh(mean over the K transitions of each sequence of enc([o ; u ; (o' - o) / s])): (n,
// C)
static nn_var encode(ensemble* e, nn_tape* tape, const hwm_sequences* batch, hwm_real* grad) {
    const int O = e->obs, A = e->action, width = 2 * O + A, rows = batch->n * batch->context;
    const hwm_real* scale = entry(e, e->delta_scale);
    nn_var x = nn_new(tape, rows, width, false);
    memcpy(x->x, batch->hindsight, (size_t)rows * width * sizeof(hwm_real));
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < O; j++)
            x->x[(size_t)i * width + O + A + j] /= scale[j];
    hwm_mlp_vars vars;
    bind(e, &e->encoder, tape, grad, &vars);
    nn_var code = hwm_mlp_forward(&e->encoder, &vars, tape, x);
    return nn_tanh(tape, nn_mean_rows(tape, code, batch->context));
}

// c of row t < T - 1 of every sequence: (n (T - 1), C)
static nn_var code_of(ensemble* e, nn_tape* tape, const hwm_sequences* batch, hwm_real* grad) {
    const int n = batch->n, T = batch->length;
    if (is_context(e)) {
        HWM_ASSERT(T == 2);
        return encode(e, tape, batch, grad);
    }
    const hwm_memory_vars vars = hwm_memory_bind(&e->memory, tape, e->base.params, false);
    vars.w->g = grad + (vars.w->g - e->base.params->grad);
    vars.b->g = grad + (vars.b->g - e->base.params->grad);
    nn_var all = hwm_memory_unroll(&e->memory, &vars, tape, batch, entry(e, e->delta_scale));
    int* index = nn_tape_alloc(tape, (size_t)n * (size_t)(T - 1) * sizeof *index);
    for (int i = 0, k = 0; i < n; i++)
        for (int t = 0; t < T - 1; t++)
            index[k++] = i * T + t;
    return nn_gather(tape, all, index, n * (T - 1));
}

// Losses of one part, means over its rows, and the gradient of their share of the whole.
static void part_gradient(void* context, int which) {
    ensemble* e = context;
    part* p = &e->part[which];
    const hwm_sequences* batch = &p->batch;
    hwm_model_losses* losses = &p->losses;
    nn_tape* tape = p->tape;
    const hwm_model_config* config = &e->base.config;
    const int O = e->obs, A = e->action, T = batch->length, n = batch->n * (T - 1);
    const int K = (int)config->members / e->parts, first = which * K;
    const hwm_real share = (hwm_real)1 / (hwm_real)e->parts;
    const hwm_real* scale = entry(e, e->delta_scale);

    // transition i is (o, u) of a row and (o', r, terminal) of the one that follows it
    nn_var o = nn_new(tape, n, O, false), u = nn_new(tape, n, A, false);
    hwm_real* delta = nn_tape_alloc(tape, (size_t)n * O * sizeof(hwm_real));
    hwm_real* reward = nn_tape_alloc(tape, (size_t)n * sizeof(hwm_real));
    hwm_real* cont = nn_tape_alloc(tape, (size_t)n * sizeof(hwm_real));
    hwm_real* weight = nn_tape_alloc(tape, (size_t)n * sizeof(hwm_real));
    hwm_real* valid = nn_tape_alloc(tape, (size_t)n * sizeof(hwm_real));
    for (int i = 0; i < n; i++) {
        const size_t row = (size_t)(i / (T - 1)) * (size_t)T + (size_t)(i % (T - 1));
        const hwm_real* from = batch->obs + row * (size_t)O;
        memcpy(o->x + (size_t)i * O, from, (size_t)O * sizeof(hwm_real));
        memcpy(u->x + (size_t)i * A, batch->action + row * (size_t)A, (size_t)A * sizeof(hwm_real));
        for (int j = 0; j < O; j++)
            delta[(size_t)i * O + j] = (from[O + j] - from[j]) / scale[j];
        if (config->standardise)
            standardise_rows(e, o->x + (size_t)i * O, 1, O);
        reward[i] = batch->reward[row + 1];
        cont[i] = 1 - batch->terminal[row + 1];
        valid[i] = batch->valid[row + 1] > 0 && batch->first[row + 1] == 0 ? batch->valid[row] : 0;
        weight[i] = valid[i] * (cont[i] > 0 ? 1 : (hwm_real)config->continue_weight);
    }

    nn_var parts[3] = {o, u, u};
    if (e->code > 0)
        parts[1] = code_of(e, tape, batch, p->grad);
    nn_var x = nn_concat(tape, e->code > 0 ? 3 : 2, parts);
    nn_var y[MEMBERS_MAX];
    for (int k = 0; k < K; k++) {
        hwm_mlp_vars vars;
        bind(e, &e->member[first + k], tape, p->grad, &vars);
        y[k] = hwm_mlp_forward(&e->member[first + k], &vars, tape,
                               nn_rows(tape, x, k * (n / K), n / K));
    }
    nn_var all = nn_stack(tape, K, y);

    nn_var obs_loss = nn_mse(tape, nn_columns(tape, all, 0, O), delta, valid);
    nn_seed(obs_loss, share);
    *losses = (hwm_model_losses){.obs = obs_loss->x[0]};
    losses->total = losses->obs;
    if (config->predict_reward) {
        nn_var loss = nn_mse(tape, nn_columns(tape, all, O, 1), reward, valid);
        nn_seed(loss, share * (hwm_real)config->reward_weight);
        losses->reward = loss->x[0];
        losses->total += config->reward_weight * losses->reward;
    }
    if (learns_continue(e)) {
        nn_var loss = nn_bce_logits(tape, nn_columns(tape, all, O + 1, 1), cont, weight);
        nn_seed(loss, share);
        losses->cont = loss->x[0];
        losses->total += losses->cont;
    }
    nn_tape_backward(tape);
}

// Sequences [which * n / parts, ...) of a batch.
static hwm_sequences sequences_of(const ensemble* e, const hwm_sequences* s, int which) {
    hwm_sequences p = *s;
    p.n = s->n / e->parts;
    const size_t from = (size_t)which * (size_t)p.n, row = from * (size_t)s->length;
    p.obs += row * (size_t)e->obs;
    p.action += row * (size_t)e->action;
    p.reward += row;
    p.first += row;
    p.terminal += row;
    p.valid += row;
    if (s->context > 0)
        p.hindsight += from * (size_t)(s->context * (2 * e->obs + e->action));
    return p;
}

static void ensemble_gradient(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                              hwm_model_losses* losses) {
    ensemble* e = (ensemble*)model;
    (void)rng;
    HWM_ASSERT(batch->n % (int)model->config.members == 0 && batch->length >= 2);
    nn_params* params = model->params;
    e->part[0].tape = model->tape;
    e->part[0].grad = params->grad;
    for (int k = 0; k < e->parts; k++) {
        e->part[k].batch = sequences_of(e, batch, k);
        if (k == 0)
            continue;
        nn_tape_reset(e->part[k].tape);
        memset(e->part[k].grad, 0, params->list.count * sizeof *params->grad);
    }
    nn_parallel(e->parts, part_gradient, e);
    for (int k = 0; k < e->parts; k++) {
        const hwm_model_losses* l = &e->part[k].losses;
        losses->obs += l->obs / e->parts;
        losses->reward += l->reward / e->parts;
        losses->cont += l->cont / e->parts;
        losses->total += l->total / e->parts;
        for (size_t i = 0; k > 0 && i < params->list.count; i++)
            params->grad[i] += e->part[k].grad[i];
    }
    losses->flops = e->flops;
}

// New scales: the last layer's rows that predict deltas are multiplied by s_old / s_new, the
// encoder's columns that read d = delta / s by s_new / s_old, so that the function stays.
static void ensemble_refresh(hwm_model* model, const hwm_replay_statistics* statistics,
                             double margin) {
    ensemble* e = (ensemble*)model;
    const int O = e->obs, A = e->action;
    hwm_real* scale = entry(e, e->delta_scale);
    if (model->config.standardise && statistics->obs_std)
        restandardise(e, statistics);
    for (int j = 0; j < O; j++) {
        hwm_real fresh = statistics->delta_std[j] + (hwm_real)model->config.scale_floor;
        if (model->config.scales_grow && *entry(e, e->refreshed) != 0 && fresh < scale[j])
            fresh = scale[j];
        const hwm_real ratio = scale[j] / fresh;
        scale[j] = fresh;
        const hwm_real span = statistics->obs_max[j] - statistics->obs_min[j];
        entry(e, e->obs_min)[j] = statistics->obs_min[j] - (hwm_real)margin * span;
        entry(e, e->obs_max)[j] = statistics->obs_max[j] + (hwm_real)margin * span;
        if (*entry(e, e->refreshed) == 0)
            continue;  // nothing learned yet that would have to stay
        for (int k = 0; k < (int)model->config.members; k++) {
            const hwm_mlp* m = &e->member[k];
            hwm_real* w = entry(e, m->w[m->layers]) + (size_t)j * (size_t)m->units;
            for (int i = 0; i < m->units; i++)
                w[i] *= ratio;
            entry(e, m->b[m->layers])[j] *= ratio;
        }
        for (int i = 0; is_context(e) && i < e->encoder.units; i++)
            entry(e, e->encoder.w[0])[(size_t)i * e->encoder.in + O + A + j] /= ratio;
        if (is_gru(e))
            hwm_memory_rescale(&e->memory, model->params, j, ratio);
    }
    entry(e, e->reward_range)[0] = statistics->reward_min;
    entry(e, e->reward_range)[1] = statistics->reward_max;
    *entry(e, e->refreshed) = 1;
}

static int last_valid(const hwm_sequences* s, int i) {
    int t = s->length - 1;
    while (t > 0 && s->valid[(size_t)i * (size_t)s->length + (size_t)t] == 0)
        t--;
    return t;
}

static void ensemble_start(hwm_model* model, const hwm_sequences* starts, hwm_rng* rng,
                           hwm_real* z) {
    ensemble* e = (ensemble*)model;
    (void)rng;
    const int O = e->obs, Z = model->latent, T = starts->length;
    for (int i = 0; i < starts->n; i++)
        memcpy(z + (size_t)i * Z, starts->obs + ((size_t)i * T + last_valid(starts, i)) * O,
               (size_t)O * sizeof(hwm_real));
    if (e->code == 0)
        return;
    nn_tape_reset(model->tape);
    nn_tape_record(model->tape, false);
    const hwm_memory_vars vars = is_gru(e)
                                     ? hwm_memory_bind(&e->memory, model->tape, model->params, true)
                                     : (hwm_memory_vars){0};
    nn_var code = is_gru(e) ? hwm_memory_unroll(&e->memory, &vars, model->tape, starts,
                                                entry(e, e->delta_scale))
                            : encode(e, model->tape, starts, NULL);
    for (int i = 0; i < starts->n; i++) {
        const size_t row =
            is_gru(e) ? (size_t)i * (size_t)T + (size_t)last_valid(starts, i) : (size_t)i;
        memcpy(z + (size_t)i * Z + O, code->x + row * (size_t)e->code,
               (size_t)e->code * sizeof(hwm_real));
    }
    nn_tape_record(model->tape, true);
}

// ---- one imagined step: the head of the ensemble is one node, as it is all element-wise

typedef struct head {
    ensemble* e;
    nn_var y, z, next, reward, cont;
} head;

static hwm_real clamp(hwm_real x, hwm_real lo, hwm_real hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

static void head_backward(void* context) {
    const head* h = context;
    const ensemble* e = h->e;
    const int O = e->obs, Z = e->base.latent, Y = O + 2;
    const hwm_real *s = entry(e, e->delta_scale), *lo = entry(e, e->obs_min),
                   *hi = entry(e, e->obs_max);
    const hwm_real r_lo = entry(e, e->reward_range)[0], r_hi = entry(e, e->reward_range)[1];
    for (int i = 0; i < h->y->rows; i++) {
        const hwm_real *y = h->y->x + (size_t)i * Y, *z = h->z->x + (size_t)i * Z,
                       *g = h->next->g + (size_t)i * Z;
        hwm_real *gy = h->y->g + (size_t)i * Y, *gz = h->z->g ? h->z->g + (size_t)i * Z : NULL;
        const hwm_real cont = h->cont->x[i], g_logit = h->cont->g[i] * cont * (1 - cont);
        const hwm_real slope = e->base.dims.continue_slope;
        for (int j = 0; j < O; j++) {  // o' = clamp(o + s y)
            const hwm_real x = z[j] + s[j] * y[j];
            if (x < lo[j] || x > hi[j])
                continue;
            // c = sigmoid(slope o'_j) reads the clamped o'
            const hwm_real gj =
                g[j] + (slope != 0 && j == e->base.dims.continue_obs ? slope * g_logit : 0);
            gy[j] += s[j] * gj;
            if (gz)
                gz[j] += gj;
        }
        for (int j = O; gz && j < Z; j++)  // c' = c
            gz[j] += g[j];
        if (e->base.config.predict_reward && y[O] >= r_lo && y[O] <= r_hi)
            gy[O] += h->reward->g[i];
        if (learns_continue(e))
            gy[O + 1] += g_logit;
    }
}

static void ensemble_begin(hwm_model* model, nn_tape* tape) {
    ensemble* e = (ensemble*)model;
    const int slot = hwm_model_slot(e->begun, tape);
    e->begun[slot] = tape;
    for (int k = 0; k < (int)model->config.members; k++)
        hwm_mlp_bind(&e->member[k], tape, model->params, true, &e->frozen[slot][k]);
    if (is_gru(e))
        e->recall[slot] = hwm_memory_bind(&e->memory, tape, model->params, true);
}

// gru: z' = [o' ; gru(o', (o' - o) / s, u, h)]. `next` holds o' and the old memory, which gets no
// gradient through that copy.
static nn_var remember(ensemble* e, nn_tape* tape, nn_var z, nn_var u, nn_var next) {
    const int O = e->obs;
    nn_var unit = nn_new(tape, z->rows, O, false);
    for (int i = 0; i < z->rows; i++)
        for (int j = 0; j < O; j++)
            unit->x[i * O + j] = 1 / entry(e, e->delta_scale)[j];
    nn_var o = nn_columns(tape, z, 0, O), later = nn_columns(tape, next, 0, O);
    nn_var d = nn_mul(tape, nn_sub(tape, later, o), unit);
    nn_var parts[2] = {later, hwm_memory_step(&e->recall[hwm_model_slot(e->begun, tape)], tape,
                                              later, d, u, nn_columns(tape, z, O, e->code))};
    return nn_concat(tape, 2, parts);
}

static hwm_model_next ensemble_step(hwm_model* model, nn_tape* tape, nn_var z, nn_var u, int t,
                                    hwm_rng* rng) {
    ensemble* e = (ensemble*)model;
    (void)rng;
    const int K = (int)model->config.members, B = z->rows, O = e->obs, Z = model->latent, Y = O + 2;
    HWM_ASSERT(B % K == 0);
    const int slot = hwm_model_slot(e->begun, tape);
    nn_var parts[2] = {standardised(e, tape, z), u}, y_k[MEMBERS_MAX];
    nn_var x = nn_concat(tape, 2, parts);
    for (int k = 0; k < K; k++)
        y_k[k] = hwm_mlp_forward(&e->member[(k + t) % K], &e->frozen[slot][(k + t) % K], tape,
                                 nn_rows(tape, x, k * (B / K), B / K));
    nn_var y = nn_stack(tape, K, y_k);

    const bool grad = y->g != NULL;
    hwm_model_next next = {nn_new(tape, B, Z, grad), nn_new(tape, B, 1, grad),
                           nn_new(tape, B, 1, grad)};
    const hwm_real *s = entry(e, e->delta_scale), *lo = entry(e, e->obs_min),
                   *hi = entry(e, e->obs_max);
    const hwm_real r_lo = entry(e, e->reward_range)[0], r_hi = entry(e, e->reward_range)[1];
    for (int i = 0; i < B; i++) {
        const hwm_real *yi = y->x + (size_t)i * Y, *zi = z->x + (size_t)i * Z;
        hwm_real* out = next.z->x + (size_t)i * Z;
        for (int j = 0; j < O; j++)
            out[j] = clamp(zi[j] + s[j] * yi[j], lo[j], hi[j]);
        for (int j = O; j < Z; j++)
            out[j] = zi[j];
        next.reward->x[i] = model->config.predict_reward ? clamp(yi[O], r_lo, r_hi) : r_hi;
        const hwm_real slope = model->dims.continue_slope;
        const double logit =
            slope != 0 ? (double)(slope * out[model->dims.continue_obs]) : (double)yi[O + 1];
        next.cont->x[i] =
            slope != 0 || learns_continue(e) ? (hwm_real)(1.0 / (1.0 + exp(-logit))) : 1;
    }
    if (grad) {
        head* h = nn_tape_alloc(tape, sizeof *h);
        *h = (head){e, y, z, next.z, next.reward, next.cont};
        nn_custom(tape, head_backward, h);
    }
    if (is_gru(e))
        next.z = remember(e, tape, z, u, next.z);
    return next;
}

static nn_var ensemble_observe(hwm_model* model, nn_tape* tape, nn_var z) {
    const ensemble* e = (const ensemble*)model;
    return e->code > 0 ? nn_columns(tape, z, 0, e->obs) : z;
}

static nn_var ensemble_features(hwm_model* model, nn_tape* tape, nn_var z) {
    return standardised((const ensemble*)model, tape, z);
}

static const hwm_model_vtable ensemble_kind = {
    .destroy = ensemble_destroy,
    .gradient = ensemble_gradient,
    .refresh = ensemble_refresh,
    .start = ensemble_start,
    .begin = ensemble_begin,
    .step = ensemble_step,
    .observe = ensemble_observe,
    .features = ensemble_features,
};

hwm_model* hwm_ensemble_new(const hwm_model_config* config, const hwm_model_dims* dims,
                            hwm_rng* rng) {
    const int K = (int)config->members, O = dims->obs, A = dims->action;
    const bool context = config->kind == HWM_MODEL_CONTEXT, gru = config->kind == HWM_MODEL_GRU;
    const int C = context ? (int)config->context_dim : gru ? (int)config->memory_units : 0;
    HWM_ASSERT(K >= 1 && K <= MEMBERS_MAX);
    ensemble* e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->base.kind = &ensemble_kind;
    e->base.config = *config;
    e->base.dims = *dims;
    e->obs = O;
    e->action = A;
    e->code = C;
    e->base.latent = e->base.features = O + C;
    e->base.constant_from = O;
    e->base.constant = context ? C : 0;
    e->base.batch_sequences =
        gru ? ((int)config->sequences + K - 1) / K * K : K * (int)config->batch;
    e->base.batch_length = gru ? (int)config->sequence_steps : 2;
    e->base.start_length = gru ? (int)config->burn_in_steps + 1 : 1;
    e->base.start_knows = gru;
    e->base.rollout_groups = K;
    e->base.context = context ? (int)config->context_samples : 0;

    // one list gives names, sizes, checkpoints and wire order
    hwm_param_list list;
    hwm_param_list_init(&list);
    for (int k = 0; k < K; k++) {
        char prefix[24];
        snprintf(prefix, sizeof prefix, "member%d", k);
        hwm_mlp_declare(&e->member[k], &list, prefix, O + C + A, (int)config->layers,
                        (int)config->units, O + 2, config->activation);
    }
    if (context)
        hwm_mlp_declare(&e->encoder, &list, "encoder", 2 * O + A, 2, (int)config->context_units, C,
                        config->activation);
    if (gru)
        hwm_memory_declare(&e->memory, &list, O, A, C);
    e->delta_scale = hwm_param_list_add(&list, hwm_spec("delta_scale", HWM_F32, 1, O));
    e->obs_min = hwm_param_list_add(&list, hwm_spec("obs_min", HWM_F32, 1, O));
    e->obs_max = hwm_param_list_add(&list, hwm_spec("obs_max", HWM_F32, 1, O));
    e->reward_range = hwm_param_list_add(&list, hwm_spec("reward_range", HWM_F32, 1, 2));

    if (config->standardise) {
        e->obs_mean = hwm_param_list_add(&list, hwm_spec("obs_mean", HWM_F32, 1, O));
        e->obs_std = hwm_param_list_add(&list, hwm_spec("obs_std", HWM_F32, 1, O));
    }
    e->refreshed = hwm_param_list_add(&list, hwm_spec("refreshed", HWM_F32, 1, 1));

    // the tape of an update: activations and gradients of every layer, and the inputs
    const size_t rows = (size_t)e->base.batch_sequences * (size_t)(e->base.batch_length - 1),
                 start_rows = (size_t)dims->rollouts * (size_t)e->base.context;
    const size_t per_row =
        (size_t)(4 * (O + C + A) + 8 * (O + 2) + 5 * config->layers * config->units);
    const size_t per_context = (size_t)(4 * (2 * O + A) + 20 * config->context_units + 8 * C);
    const size_t context_rows = rows * (size_t)e->base.context;
    const size_t memory_rows = !gru ? 0
                                    : (size_t)(e->base.batch_length + e->base.start_length) *
                                          (size_t)(e->base.batch_sequences + dims->rollouts);
    size_t bytes =
        (rows * per_row + (context_rows > start_rows ? context_rows : start_rows) * per_context +
         memory_rows * (size_t)(8 * (2 * O + A) + 24 * C)) *
            sizeof(hwm_real) * 2 +
        (4u << 20);
    e->parts = K % PARTS == 0 ? PARTS : 1;
    bool made = nn_params_create(&e->base.params, &list) == HWM_OK &&
                nn_tape_create(&e->base.tape, bytes) == HWM_OK;
    for (int k = 1; k < e->parts && made; k++) {
        e->part[k].grad = calloc(list.count, sizeof *e->part[k].grad);
        made = e->part[k].grad && nn_tape_create(&e->part[k].tape, bytes) == HWM_OK;
    }
    if (!made) {
        nn_params_destroy(&e->base.params);
        nn_tape_destroy(&e->base.tape);
        ensemble_destroy(&e->base);
        return NULL;
    }
    for (int k = 0; k < K; k++) {
        hwm_mlp_init(&e->member[k], e->base.params, rng, 0.01);
        e->flops += 3.0 * hwm_mlp_flops(&e->member[k], (int)(rows / (size_t)K));
    }
    if (gru) {
        hwm_memory_init(&e->memory, e->base.params, rng);
        e->flops +=
            3.0 * hwm_memory_flops(&e->memory, e->base.batch_sequences * e->base.batch_length);
    }
    if (context) {
        hwm_mlp_init(&e->encoder, e->base.params, rng, 1.0 / sqrt((double)config->context_units));
        e->flops += 3.0 * hwm_mlp_flops(&e->encoder, (int)context_rows);
    }
    e->base.reward_range = entry(e, e->reward_range);
    for (int j = 0; j < O; j++) {
        entry(e, e->delta_scale)[j] = (hwm_real)0.05;
        entry(e, e->obs_min)[j] = -3;
        entry(e, e->obs_max)[j] = 3;
        if (config->standardise)
            entry(e, e->obs_std)[j] = 1;
    }
    entry(e, e->reward_range)[0] = -1;
    entry(e, e->reward_range)[1] = 1;
    return &e->base;
}
