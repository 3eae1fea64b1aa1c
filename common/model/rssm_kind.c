// data path  [8] learner: world model, kind `rssm`
//
// The recurrent state-space model behind the interface of all world models: latent z = [deter ;
// stoch ; o], trained on sequences, started from posteriors, imagined with draws of the prior whose
// gradient goes straight through. Observations and rewards that imagination sees stay in the range
// of the replay.
//
//   o_t = clamp(o_{t-1} + s change([deter_t ; stoch_t ; symlog(o_{t-1} / 10 s)]))
//   loss of rssm.h + mean_t sum_j (change - (o_t - o_{t-1}) / s)_j^2
//
// A controller reads what changes from step to step, and an observation that went through some
// categorical variables is not known that well; so the last one is carried along, and what is
// decoded is its change. The decoder of rssm.h, which keeps the whole observation in the latent,
// takes part in training only.
//
// UNITS  s is the std of one-step changes, taken at the first refresh and kept.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/kinds.h"
#include "model/recall.h"
#include "nn/layers.h"

enum { CHANGES = 10 };  // std of one-step changes in the unit of observations

typedef struct rssm_model {
    hwm_model base;
    hwm_rssm rssm;
    hwm_head change;  // [deter ; stoch ; o before] -> what changes, in std of one-step changes
    const nn_tape* begun[HWM_MODEL_TAPES];
    hwm_rssm_vars frozen[HWM_MODEL_TAPES];  // on the tapes that begin was called for
    hwm_head_vars frozen_change[HWM_MODEL_TAPES];
    int obs_unit, obs_min, obs_max, reward_range, refreshed;  // entries that refresh sets
    double flops;
    hwm_recall recall;
} rssm_model;

static hwm_real* entry(const rssm_model* m, int i) {
    return m->base.params->value + m->base.params->list.entry[i].offset;
}

static void rssm_destroy(hwm_model* model) {
    hwm_recall_destroy(&((rssm_model*)model)->recall);
    free(model);
}

static hwm_real* draw_uniform(nn_tape* tape, hwm_rng* rng, size_t n) {
    hwm_real* u = nn_tape_alloc(tape, n * sizeof *u);
    for (size_t i = 0; i < n; i++)
        u[i] = (hwm_real)hwm_rng_uniform(rng);
    return u;
}

// ---- latents of trained rows

static hwm_latent_key key_of(const hwm_sequences* s, int n, int t) {
    return (hwm_latent_key){s->stream[n], s->step[n] + (uint64_t)t};
}

// Latents of a batch that was trained on, for whoever begins after one of its rows.
static void memorise(rssm_model* m, const hwm_sequences* s, const hwm_rssm_unrolled* u) {
    for (int n = 0; n < s->n; n++)
        for (int t = 0; t < s->length; t++) {
            const size_t row = (size_t)n * (size_t)s->length + (size_t)t,
                         at = (size_t)t * (size_t)s->n + (size_t)n;
            if (s->valid[row] != 0)
                hwm_recall_keep(&m->recall, &m->rssm, key_of(s, n, t),
                                u->deter->x + at * (size_t)u->deter->cols,
                                u->stoch->x + at * (size_t)u->stoch->cols,
                                s->action + row * (size_t)m->rssm.action);
        }
}

// Sequences (N,T,.) as a batch in the order of time. Action of row t: the one taken before its
// observation.
static hwm_rssm_batch by_time(rssm_model* m, nn_tape* tape, const hwm_sequences* s, hwm_rng* rng) {
    const int N = s->n, T = s->length, O = m->rssm.obs, A = m->rssm.action;
    const size_t rows = (size_t)N * (size_t)T;
    hwm_rssm_batch b = {.N = N, .T = T};
    b.obs = nn_tape_alloc(tape, rows * (size_t)O * sizeof(hwm_real));
    b.action = nn_tape_alloc(tape, rows * (size_t)A * sizeof(hwm_real));
    hwm_real** columns[] = {&b.reward, &b.keep, &b.cont, &b.weight, &b.cont_weight};
    for (int i = 0; i < 5; i++)
        *columns[i] = nn_tape_alloc(tape, rows * sizeof(hwm_real));
    b.draws = draw_uniform(tape, rng, rows * (size_t)m->rssm.size.variables);
    const hwm_real terminal_weight = (hwm_real)m->base.config.continue_weight;
    for (int t = 0; t < T; t++)
        for (int n = 0; n < N; n++) {
            const size_t from = (size_t)n * (size_t)T + (size_t)t;
            const size_t to = (size_t)t * (size_t)N + (size_t)n;
            for (int j = 0; j < O; j++)
                b.obs[to * (size_t)O + (size_t)j] =
                    s->obs[from * (size_t)O + (size_t)j] / entry(m, m->obs_unit)[j];
            if (t > 0)
                memcpy(b.action + to * (size_t)A, s->action + (from - 1) * (size_t)A,
                       (size_t)A * sizeof(hwm_real));
            b.reward[to] = s->reward[from];
            b.keep[to] = t > 0 && s->first[from] == 0;
            b.weight[to] = s->valid[from];
            b.cont[to] = 1 - s->terminal[from];
            b.cont_weight[to] = s->valid[from] * (s->terminal[from] != 0 ? terminal_weight : 1);
        }
    if (m->recall.cache && s->stream) {
        const size_t D = (size_t)m->rssm.size.deter,
                     Z = (size_t)(m->rssm.size.variables * m->rssm.size.classes);
        b.deter = nn_tape_alloc(tape, (size_t)N * D * sizeof(hwm_real));
        b.stoch = nn_tape_alloc(tape, (size_t)N * Z * sizeof(hwm_real));
        for (int n = 0; n < N; n++) {
            const size_t first = (size_t)n * (size_t)T;
            if (s->valid[first] > 0 && s->first[first] == 0)
                hwm_recall_begin(&m->recall, &m->rssm, key_of(s, n, 0), n, &b);
        }
    }
    return b;
}

// ---- what changes from one observation to the next

// Columns of the same constants in every row.
static nn_var constants(nn_tape* tape, int rows, int cols, const hwm_real* x, hwm_real scale) {
    nn_var v = nn_new(tape, rows, cols, false);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            v->x[(size_t)i * (size_t)cols + (size_t)j] = x[j] * scale;
    return v;
}

// before (N,O): the observation before the one of state s, in the decoder's units
static nn_var change_of(const hwm_head_vars* v, nn_tape* tape, hwm_rssm_state s, nn_var before) {
    nn_var parts[3] = {s.deter, s.stoch, nn_symlog(tape, before)};
    return hwm_head_forward(v, tape, nn_concat(tape, 3, parts));
}

// Loss of the change head over an unrolled batch, seeded.
static double change_loss(rssm_model* m, nn_tape* tape, const hwm_rssm_batch* b,
                          const hwm_rssm_unrolled* u) {
    const size_t rows = (size_t)b->N * (size_t)b->T, O = (size_t)m->rssm.obs, step = (size_t)b->N;
    nn_var before = nn_new(tape, (int)rows, (int)O, false);
    hwm_real* target = nn_tape_alloc(tape, rows * O * sizeof *target);
    hwm_real* weight = nn_tape_alloc(tape, rows * sizeof *weight);
    for (size_t i = 0; i < rows; i++) {
        weight[i] = i >= step ? b->weight[i] * b->weight[i - step] * b->keep[i] : 0;
        for (size_t j = 0; j < O; j++) {
            const hwm_real o = b->obs[i * O + j], p = i >= step ? b->obs[(i - step) * O + j] : 0;
            before->x[i * O + j] = p;
            target[i * O + j] = CHANGES * (o - p);
        }
    }
    hwm_head_vars v;
    hwm_head_bind(&m->change, tape, m->base.params, false, &v);
    nn_var y = change_of(&v, tape, (hwm_rssm_state){u->deter, u->stoch}, before);
    nn_var loss = nn_mean(tape, nn_squared_error(tape, y, target), weight);
    nn_seed(loss, 1);
    return loss->x[0];
}

static void rssm_gradient(hwm_model* model, const hwm_sequences* batch, hwm_rng* rng,
                          hwm_model_losses* losses) {
    rssm_model* m = (rssm_model*)model;
    const hwm_rssm_batch b = by_time(m, model->tape, batch, rng);
    hwm_rssm_vars v;
    hwm_rssm_bind(&m->rssm, model->tape, model->params, false, &v);
    const hwm_rssm_unrolled u = hwm_rssm_unroll(&v, model->tape, &b);
    hwm_rssm_losses l;
    hwm_rssm_loss(&v, model->tape, &b, &u, 1.0, &l);
    l.obs = change_loss(m, model->tape, &b, &u);
    l.total += l.obs;
    nn_tape_backward(model->tape);
    if (m->recall.cache && batch->stream && isfinite(l.total))
        memorise(m, batch, &u);
    *losses = (hwm_model_losses){.total = l.total,
                                 .obs = l.obs,
                                 .reward = l.reward,
                                 .cont = l.cont,
                                 .kl = l.kl,
                                 .flops = m->flops};
}

static void rssm_refresh(hwm_model* model, const hwm_replay_statistics* statistics, double margin) {
    rssm_model* m = (rssm_model*)model;
    for (int j = 0; j < m->rssm.obs; j++) {
        if (*entry(m, m->refreshed) == 0)
            entry(m, m->obs_unit)[j] =
                CHANGES * (statistics->delta_std[j] + (hwm_real)model->config.scale_floor);
        const hwm_real span = statistics->obs_max[j] - statistics->obs_min[j];
        entry(m, m->obs_min)[j] = statistics->obs_min[j] - (hwm_real)margin * span;
        entry(m, m->obs_max)[j] = statistics->obs_max[j] + (hwm_real)margin * span;
    }
    *entry(m, m->refreshed) = 1;
    entry(m, m->reward_range)[0] = statistics->reward_min;
    entry(m, m->reward_range)[1] = statistics->reward_max;
}

// Posterior of the last valid row; rows of padding leave the state as it is.
static void rssm_start(hwm_model* model, const hwm_sequences* starts, hwm_rng* rng, hwm_real* z) {
    rssm_model* m = (rssm_model*)model;
    nn_tape* tape = model->tape;
    nn_tape_reset(tape);
    nn_tape_record(tape, false);
    const hwm_rssm_batch b = by_time(m, tape, starts, rng);
    hwm_rssm_vars v;
    hwm_rssm_bind(&m->rssm, tape, model->params, true, &v);
    const hwm_rssm_unrolled u = hwm_rssm_unroll(&v, tape, &b);
    const int D = u.deter->cols, S = u.stoch->cols, O = m->rssm.obs, Z = model->latent;
    for (int n = 0; n < b.N; n++) {
        int last = 0;
        for (int t = 0; t < b.T; t++)
            if (starts->valid[(size_t)n * (size_t)b.T + (size_t)t] > 0)
                last = t;
        const size_t row = (size_t)last * (size_t)b.N + (size_t)n;
        memcpy(z + (size_t)n * (size_t)Z, u.deter->x + row * (size_t)D, (size_t)D * sizeof *z);
        memcpy(z + (size_t)n * (size_t)Z + D, u.stoch->x + row * (size_t)S, (size_t)S * sizeof *z);
        memcpy(z + (size_t)n * (size_t)Z + D + S,
               starts->obs + ((size_t)n * (size_t)b.T + (size_t)last) * (size_t)O,
               (size_t)O * sizeof *z);
    }
    nn_tape_record(tape, true);
}

static void rssm_begin(hwm_model* model, nn_tape* tape) {
    rssm_model* m = (rssm_model*)model;
    const int slot = hwm_model_slot(m->begun, tape);
    m->begun[slot] = tape;
    hwm_rssm_bind(&m->rssm, tape, model->params, true, &m->frozen[slot]);
    hwm_head_bind(&m->change, tape, model->params, true, &m->frozen_change[slot]);
}

static nn_var filled(nn_tape* tape, int rows, hwm_real value) {
    nn_var v = nn_new(tape, rows, 1, false);
    for (int i = 0; i < rows; i++)
        v->x[i] = value;
    return v;
}

static hwm_model_next rssm_step(hwm_model* model, nn_tape* tape, nn_var z, nn_var u, int t,
                                hwm_rng* rng) {
    rssm_model* m = (rssm_model*)model;
    (void)t;
    const hwm_rssm_vars* frozen = &m->frozen[hwm_model_slot(m->begun, tape)];
    const int D = m->rssm.size.deter, S = m->rssm.size.variables, B = z->rows, O = m->rssm.obs,
              classes = model->latent - D - O;
    const hwm_rssm_state s = {nn_columns(tape, z, 0, D), nn_columns(tape, z, D, classes)};
    nn_var o = nn_columns(tape, z, D + classes, O);
    const hwm_real* draws = draw_uniform(tape, rng, (size_t)B * (size_t)S);
    const hwm_rssm_state after = hwm_rssm_imagine(frozen, tape, s, u, draws);
    nn_var next = hwm_rssm_features(tape, after);
    const hwm_real* unit = entry(m, m->obs_unit);
    hwm_real* inverse = nn_tape_alloc(tape, (size_t)O * sizeof *inverse);
    for (int j = 0; j < O; j++)
        inverse[j] = 1 / unit[j];
    nn_var before = nn_mul(tape, o, constants(tape, B, O, inverse, 1));
    nn_var y = change_of(&m->frozen_change[hwm_model_slot(m->begun, tape)], tape, after, before);
    nn_var later = nn_clamp(
        tape, nn_add(tape, o, nn_mul(tape, y, constants(tape, B, O, unit, (hwm_real)1 / CHANGES))),
        entry(m, m->obs_min), entry(m, m->obs_max));
    const hwm_real* range = entry(m, m->reward_range);
    nn_var reward = filled(tape, B, range[1]), cont = filled(tape, B, 1);
    if (model->config.predict_reward)
        reward = nn_clamp(
            tape, nn_twohot_mean(tape, hwm_head_forward(&frozen->reward, tape, next), m->rssm.bins),
            range, range + 1);
    if (model->config.terminals)
        cont = nn_sigmoid(tape, hwm_head_forward(&frozen->cont, tape, next));
    return (hwm_model_next){nn_concat(tape, 2, (nn_var[]){next, later}), reward, cont};
}

void hwm_rssm_model_hold(hwm_model* model, hwm_rssm_hold* hold) {
    ((rssm_model*)model)->rssm.hold = hold;
}

static nn_var rssm_observe(hwm_model* model, nn_tape* tape, nn_var z) {
    rssm_model* m = (rssm_model*)model;
    return nn_columns(tape, z, model->latent - m->rssm.obs, m->rssm.obs);
}

static nn_var rssm_features(hwm_model* model, nn_tape* tape, nn_var z) {
    (void)model;
    (void)tape;
    return z;
}

static const hwm_model_vtable rssm_kind = {
    .destroy = rssm_destroy,
    .gradient = rssm_gradient,
    .refresh = rssm_refresh,
    .start = rssm_start,
    .begin = rssm_begin,
    .step = rssm_step,
    .observe = rssm_observe,
    .features = rssm_features,
};

hwm_status hwm_rssm_new(hwm_model** out, const hwm_model_config* config, const hwm_model_dims* dims,
                        hwm_rng* rng, hwm_error* err) {
    *out = NULL;
    rssm_model* m = calloc(1, sizeof *m);
    hwm_param_list* list = malloc(sizeof *list);
    if (!m || !list) {
        free(m);
        free(list);
        return hwm_fail(err, HWM_ENOMEM, "no memory for the world model");
    }
    hwm_rssm_sizes sizes = *hwm_rssm_preset(config->preset);
    sizes.batch = (int)config->sequences;
    sizes.length = (int)config->sequence_steps;
    hwm_rssm_options options = hwm_rssm_default_options();
    options.unimix = config->unimix;
    options.obs_weight = config->obs_weight;
    if (!config->predict_reward)
        options.reward_weight = 0;
    if (!config->terminals)
        options.continue_weight = 0;
    hwm_param_list_init(list);
    hwm_rssm_declare(&m->rssm, list, &sizes, &options, dims->obs, dims->action);
    const int F = sizes.deter + sizes.variables * sizes.classes;
    hwm_head_declare(&m->change, list, "change", F + dims->obs, 3, sizes.units, dims->obs, 1.0);
    m->obs_unit = hwm_param_list_add(list, hwm_spec("obs_unit", HWM_F32, 1, dims->obs));
    m->obs_min = hwm_param_list_add(list, hwm_spec("obs_min", HWM_F32, 1, dims->obs));
    m->obs_max = hwm_param_list_add(list, hwm_spec("obs_max", HWM_F32, 1, dims->obs));
    m->reward_range = hwm_param_list_add(list, hwm_spec("reward_range", HWM_F32, 1, 2));
    m->refreshed = hwm_param_list_add(list, hwm_spec("refreshed", HWM_F32, 1, 1));

    m->base.kind = &rssm_kind;
    m->base.config = *config;
    m->base.dims = *dims;
    m->base.latent = m->base.features = F + dims->obs;
    m->base.batch_sequences = sizes.batch;
    m->base.batch_length = sizes.length;
    m->base.rollout_groups = 1;
    m->base.start_length = (int)config->burn_in_steps + 1;
    m->flops = 6.0 * sizes.batch * sizes.length *
               (hwm_rssm_step_macs(&m->rssm) + hwm_rssm_observe_macs(&m->rssm));
    hwm_status made = nn_params_create(&m->base.params, list);
    if (made == HWM_OK)
        made = nn_tape_create(&m->base.tape, (size_t)1 << 36);
    free(list);
    if (made == HWM_OK)
        made = hwm_recall_create(&m->recall, config->cache_bytes, &m->rssm, err);
    else
        hwm_fail(err, made, "no memory for the world model");
    if (made != HWM_OK) {
        nn_params_destroy(&m->base.params);
        nn_tape_destroy(&m->base.tape);
        free(m);
        return made;
    }
    m->base.recall = &m->recall;
    hwm_rssm_init(&m->rssm, m->base.params, rng);
    hwm_head_init(&m->change, m->base.params, rng);
    m->base.reward_range = entry(m, m->reward_range);
    for (int j = 0; j < dims->obs; j++) {
        entry(m, m->obs_unit)[j] = 1;
        entry(m, m->obs_min)[j] = -3;
        entry(m, m->obs_max)[j] = 3;
    }
    m->base.reward_range[0] = -1;
    m->base.reward_range[1] = 1;
    *out = &m->base;
    return HWM_OK;
}
