// data path  [8] learner: latent behaviour
#include "model/dreamer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/dreamer_lanes.h"
#include "nn/layers.h"
#include "nn/pool.h"
#include "nn/rows.h"

hwm_dreamer_config hwm_dreamer_default(int preset, int obs, int action) {
    return (hwm_dreamer_config){.sizes = *hwm_rssm_preset(preset),
                                .options = hwm_rssm_default_options(),
                                .obs = obs,
                                .action = action,
                                .horizon = 15,
                                .lambda = 0.95,
                                .entropy_scale = 3e-4,
                                .replay_value_scale = 0.3,
                                .slow_rate = 0.02,
                                .return_rate = 0.01,
                                .lr = 4e-5,
                                .behaviour_lr = 4e-5,
                                .warmup_updates = 1000};
}

void hwm_dreamer_destroy(hwm_dreamer** dreamer) {
    hwm_dreamer* d = *dreamer;
    if (!d)
        return;
    nn_params_destroy(&d->model);
    nn_params_destroy(&d->behaviour);
    nn_params_destroy(&d->slow);
    nn_optim_destroy(&d->model_optim);
    nn_optim_destroy(&d->behaviour_optim);
    nn_tape_destroy(&d->tape);
    for (int i = 0; d->lane && i < d->sequence_lanes + d->dream_lanes; i++)
        hwm_lane_close(&d->lane[i]);
    free(d->lane);
    free(d->sorted);
    free(d);
    *dreamer = NULL;
}

hwm_status hwm_dreamer_create(hwm_dreamer** out, const hwm_dreamer_config* config, uint64_t seed) {
    *out = NULL;
    HWM_ASSERT(config->horizon >= 1 && config->horizon < HWM_HORIZON_MAX);
    HWM_ASSERT(config->imagine_last >= 0 && config->imagine_last <= config->sizes.length);
    hwm_dreamer* d = calloc(1, sizeof *d);
    hwm_param_list* lists = malloc(2 * sizeof *lists);
    if (!d || !lists)
        goto fail;
    d->config = *config;
    const hwm_rssm_sizes* s = &config->sizes;
    const int rows = config->imagine_last ? config->imagine_last : s->length;
    d->starts = s->batch * rows;
    const int F = s->deter + s->variables * s->classes;
    hwm_param_list_init(&lists[0]);
    hwm_param_list_init(&lists[1]);
    hwm_rssm_declare(&d->rssm, &lists[0], s, &config->options, config->obs, config->action);
    hwm_head_declare(&d->policy, &lists[1], "policy", F, 3, s->units,
                     config->discrete ? config->action : 2 * config->action, 0.01);
    hwm_head_declare(&d->value, &lists[1], "value", F, 3, s->units, NN_BINS, 0.0);
    if (config->view > 0)
        hwm_head_declare(&d->view, &lists[0], "view_reward", config->view, 1, s->units, NN_BINS,
                         0.0);
    nn_optim_config optim = nn_optim_laprop(config->lr),
                    behaviour = nn_optim_laprop(config->behaviour_lr);
    optim.warmup_updates = behaviour.warmup_updates = config->warmup_updates;
    d->sorted = malloc((size_t)d->starts * (size_t)config->horizon * sizeof *d->sorted);
    if (!d->sorted || nn_params_create(&d->model, &lists[0]) != HWM_OK ||
        nn_params_create(&d->behaviour, &lists[1]) != HWM_OK ||
        nn_params_create(&d->slow, &lists[1]) != HWM_OK ||
        nn_optim_create(&d->model_optim, &optim, &lists[0]) != HWM_OK ||
        nn_optim_create(&d->behaviour_optim, &behaviour, &lists[1]) != HWM_OK ||
        nn_tape_create(&d->tape, (size_t)1 << 36) != HWM_OK || hwm_lanes_create(d) != HWM_OK)
        goto fail;
    free(lists);
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_PARAMETERS, 0, 0, 2);
    hwm_rssm_init(&d->rssm, d->model, &rng);
    if (config->view > 0)
        hwm_head_init(&d->view, d->model, &rng);
    hwm_head_init(&d->policy, d->behaviour, &rng);
    hwm_head_init(&d->value, d->behaviour, &rng);
    nn_params_ema(d->slow, d->behaviour, 1.0);
    *out = d;
    return HWM_OK;
fail:
    free(lists);
    hwm_dreamer_destroy(&d);
    return HWM_ENOMEM;
}

nn_params* hwm_dreamer_model(hwm_dreamer* d) {
    return d->model;
}
nn_params* hwm_dreamer_behaviour(hwm_dreamer* d) {
    return d->behaviour;
}
const hwm_rssm* hwm_dreamer_rssm(const hwm_dreamer* d) {
    return &d->rssm;
}
size_t hwm_dreamer_memory(const hwm_dreamer* d) {
    size_t bytes = nn_tape_high_water(d->tape);
    for (int i = 0; i < d->sequence_lanes + d->dream_lanes; i++)
        bytes += nn_tape_high_water(d->lane[i].tape);
    return bytes;
}

void hwm_lambda_returns(hwm_real* R, const hwm_real* r, const hwm_real* c, const hwm_real* V, int H,
                        int N, double lambda) {
    const hwm_real l = (hwm_real)lambda;
    for (int n = 0; n < N; n++) {
        hwm_real next = V[(size_t)H * (size_t)N + (size_t)n];
        for (int t = H - 1; t >= 0; t--) {
            const size_t at = (size_t)(t + 1) * (size_t)N + (size_t)n;
            next = r[at] + c[at] * ((1 - l) * V[at] + l * next);
            R[(size_t)t * (size_t)N + (size_t)n] = next;
        }
    }
}

static int ascending(const void* a, const void* b) {
    const hwm_real x = *(const hwm_real*)a, y = *(const hwm_real*)b;
    return (x > y) - (x < y);
}

// Range of returns, slowly followed: dividing by it makes one entropy scale fit every task.
static double return_scale(hwm_dreamer* d, const hwm_real* R, int n) {
    memcpy(d->sorted, R, (size_t)n * sizeof *R);
    qsort(d->sorted, (size_t)n, sizeof *R, ascending);
    const double rate = d->config.return_rate;
    d->range[0] += rate * ((double)d->sorted[(int)(0.05 * (n - 1))] - d->range[0]);
    d->range[1] += rate * ((double)d->sorted[(int)(0.95 * (n - 1))] - d->range[1]);
    d->range[2] += 1;
    const double filled = 1.0 - pow(1.0 - rate, d->range[2]);
    return fmax(1.0, (d->range[1] - d->range[0]) / filled);
}

// ---- an update

// Numbers of all imagined rows; draws in the order of time: noise of the actions, then of the
// states.
static void prepare_dream(hwm_dreamer* d, hwm_rng* rng) {
    nn_tape* tape = d->tape;
    hwm_dream* o = &d->dream;
    const hwm_dreamer_config* c = &d->config;
    *o = (hwm_dream){.H = c->horizon, .N = d->starts};
    const size_t H = (size_t)o->H, N = (size_t)o->N, A = N * (size_t)c->action,
                 S = N * (size_t)c->sizes.variables;
    hwm_real** arrays[] = {&o->reward, &o->cont, &o->V, &o->slow, &o->weight, &o->R};
    for (int i = 0; i < 6; i++)
        *arrays[i] = nn_tape_alloc(tape, (H + 1) * N * sizeof(hwm_real));
    o->noise = nn_tape_alloc(tape, H * A * sizeof(hwm_real));
    o->draws = nn_tape_alloc(tape, H * S * sizeof(hwm_real));
    float* drawn = nn_tape_alloc(tape, (A > S ? A : S) * sizeof *drawn);
    for (size_t t = 0; t < H; t++) {
        if (c->discrete)
            hwm_rng_fill_uniform(rng, drawn, A, 0.0f, 1.0f);
        else
            hwm_rng_fill_normal(rng, drawn, A, 0.0f, 1.0f);
        for (size_t i = 0; i < A; i++)
            o->noise[t * A + i] = (hwm_real)drawn[i];
        hwm_rng_fill_uniform(rng, drawn, S, 0.0f, 1.0f);
        for (size_t i = 0; i < S; i++)
            o->draws[t * S + i] = (hwm_real)drawn[i];
    }
}

// What needs all rows: weights, returns and their range.
static void judge_dream(hwm_dreamer* d, hwm_dreamer_losses* losses) {
    hwm_dream* o = &d->dream;
    const int H = o->H, N = o->N;
    for (int i = 0; i < (H + 1) * N; i++)
        o->weight[i] = (i < N ? 1 : o->weight[i - N]) * o->cont[i];
    hwm_lambda_returns(o->R, o->reward, o->cont, o->V, H, N, d->config.lambda);
    o->scale = losses->return_scale = return_scale(d, o->R, H * N);
    for (int i = 0; i < H * N; i++)
        losses->imagined_return += (double)o->R[i] / (H * N);
}

static void sequences_forward(void* context, int i) {
    hwm_dreamer* d = context;
    hwm_lane_observe(&d->lane[i]);
}

static void dream_forward(void* context, int i) {
    hwm_dreamer* d = context;
    hwm_lane_imagine(&d->lane[d->sequence_lanes + i]);
}

static void sequences_backward(void* context, int i) {
    hwm_dreamer* d = context;
    hwm_lane_learn_sequences(&d->lane[i]);
}

static void dream_backward(void* context, int i) {
    hwm_dreamer* d = context;
    hwm_lane_learn_dream(&d->lane[d->sequence_lanes + i]);
}

static void all_backward(void* context, int i) {
    const hwm_dreamer* d = context;
    if (i < d->sequence_lanes)
        sequences_backward(context, i);
    else
        dream_backward(context, i - d->sequence_lanes);
}

// Gradients of the lanes, in their order, into those of lane 0, which are the parameter sets'.
enum { PIECE = 1 << 14 };
static void sum_piece(void* context, int piece) {
    const hwm_dreamer* d = context;
    for (int set = 0; set < 2; set++) {
        const nn_params* p = set ? d->behaviour : d->model;
        const size_t from = (size_t)piece * PIECE;
        const size_t to = from + PIECE < p->list.count ? from + PIECE : p->list.count;
        for (int l = 1; l < d->sequence_lanes + d->dream_lanes; l++) {
            const hwm_real* g = set ? d->lane[l].behaviour_grad : d->lane[l].model_grad;
            if (g && from < to)
                nn_accumulate(p->grad + from, g + from, (int)(to - from));
        }
    }
}

static void add_losses(hwm_dreamer_losses* sum, const hwm_dreamer_losses* l, double share) {
    sum->model.total += share * l->model.total;
    sum->model.obs += share * l->model.obs;
    sum->model.reward += share * l->model.reward;
    sum->model.cont += share * l->model.cont;
    sum->model.kl += share * l->model.kl;
    sum->policy += share * l->policy;
    sum->value += share * l->value;
    sum->replay_value += share * l->replay_value;
    sum->entropy += share * l->entropy;
    sum->view += share * l->view;
}

void hwm_dreamer_gradient(hwm_dreamer* d, const hwm_rssm_batch* b, const hwm_real* last,
                          hwm_rng* rng, hwm_dreamer_losses* losses) {
    HWM_ASSERT(b->N == d->config.sizes.batch && b->T == d->config.sizes.length);
    *losses = (hwm_dreamer_losses){0};
    nn_tape_reset(d->tape);
    hwm_lanes_begin(d, b, last);
    prepare_dream(d, rng);
    nn_parallel(d->sequence_lanes, sequences_forward, d);
    nn_parallel(d->dream_lanes, dream_forward, d);
    judge_dream(d, losses);
    if (d->sequence_lanes > 1) {
        nn_parallel(d->sequence_lanes + d->dream_lanes, all_backward, d);
    } else {  // its products are spread over the threads
        sequences_backward(d, 0);
        nn_parallel(d->dream_lanes, dream_backward, d);
    }
    const size_t count = d->model->list.count > d->behaviour->list.count ? d->model->list.count
                                                                         : d->behaviour->list.count;
    nn_parallel((int)((count + PIECE - 1) / PIECE), sum_piece, d);
    for (int i = 0; i < d->sequence_lanes + d->dream_lanes; i++) {
        const hwm_lane* lane = &d->lane[i];
        add_losses(losses, &lane->losses,
                   (double)lane->n / (i < d->sequence_lanes ? b->N : d->starts));
    }
}

hwm_status hwm_dreamer_update(hwm_dreamer* d, const hwm_rssm_batch* batch, const hwm_real* last,
                              hwm_rng* rng, hwm_dreamer_losses* losses, hwm_error* err) {
    hwm_dreamer_gradient(d, batch, last, rng, losses);
    hwm_status status = nn_optim_apply(d->model_optim, d->model, &losses->model_norm, err);
    if (status == HWM_OK)
        status = nn_optim_apply(d->behaviour_optim, d->behaviour, &losses->behaviour_norm, err);
    if (status == HWM_OK)
        nn_params_ema(d->slow, d->behaviour, d->config.slow_rate);
    return status;
}

hwm_status hwm_dreamer_update_model(hwm_dreamer* d, const hwm_rssm_batch* batch,
                                    const hwm_real* last, hwm_rng* rng, hwm_dreamer_losses* losses,
                                    hwm_error* err) {
    hwm_dreamer_gradient(d, batch, last, rng, losses);
    return nn_optim_apply(d->model_optim, d->model, &losses->model_norm, err);
}

void hwm_dreamer_posterior(const hwm_dreamer* d, int t, int n, const hwm_real** deter,
                           const hwm_real** stoch) {
    const hwm_lane* lane;
    const size_t row = hwm_lanes_row(d, t, n, &lane);
    *deter = lane->u.deter->x + row * (size_t)lane->u.deter->cols;
    *stoch = lane->u.stoch->x + row * (size_t)lane->u.stoch->cols;
}

hwm_dreamer_training hwm_dreamer_training_of(hwm_dreamer* d) {
    return (hwm_dreamer_training){d->model_optim, d->behaviour_optim, d->slow, d->range};
}

double hwm_dreamer_flops(const hwm_dreamer* d) {
    const hwm_rssm_sizes* s = &d->config.sizes;
    const double rows = (double)s->batch * s->length, N = d->starts, H = d->config.horizon;
    const double step = hwm_rssm_step_macs(&d->rssm);
    const double policy = hwm_head_macs(&d->policy), value = hwm_head_macs(&d->value);
    // a head on constants needs no gradient of its first layer's input
    const double first = (double)d->value.in * d->value.units;
    const double reward = hwm_head_macs(&d->rssm.reward), cont = hwm_head_macs(&d->rssm.cont);
    const double model = 3.0 * rows * (step + hwm_rssm_observe_macs(&d->rssm));
    const double imagined =
        N * (H * (step + reward + value) + (H + 1) * cont) +
        N * (H * (3.0 * policy - first) + (H + 1) * value + H * (2.0 * value - first));
    const double replayed = d->config.replay_value_scale > 0 ? 3.0 * rows * value : 0.0;
    return 2.0 * (model + imagined + replayed);
}
