// data path  [8] learner: latent behaviour
#include "model/dreamer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/layers.h"

enum { HORIZON_MAX = 64 };

struct hwm_dreamer {
    hwm_dreamer_config config;
    hwm_rssm rssm;
    hwm_head policy, value, view;
    nn_params *model, *behaviour, *slow;  // slow: policy part unused
    nn_optim *model_optim, *behaviour_optim;
    nn_tape* tape;
    hwm_real* sorted;  // scratch for percentiles
    double range[3];   // EMA of the 5th and 95th percentile of returns; updates of those averages
    int starts;        // rows of imagination
};

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
    free(d->sorted);
    free(d);
    *dreamer = NULL;
}

hwm_status hwm_dreamer_create(hwm_dreamer** out, const hwm_dreamer_config* config, uint64_t seed) {
    *out = NULL;
    HWM_ASSERT(config->horizon >= 1 && config->horizon < HORIZON_MAX);
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
        nn_tape_create(&d->tape, (size_t)1 << 36) != HWM_OK)
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
    return nn_tape_high_water(d->tape);
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

// ---- imagination

// What one imagined step computes without gradient: the next state, its reward and continuation.
typedef struct imagined_step {
    const hwm_rssm_vars* v;
    hwm_rssm_state state;
    nn_var action;
    const hwm_real* draws;
} imagined_step;

static void step_forward(nn_tape* tape, void* context, nn_var* out) {
    const imagined_step* k = context;
    const hwm_rssm_state s = hwm_rssm_imagine(k->v, tape, k->state, k->action, k->draws);
    out[0] = s.deter;
    out[1] = s.stoch;
}

typedef struct judged {
    const hwm_dreamer_config* config;
    const hwm_rssm_vars* v;
    const hwm_head_vars *slow, *view;
    nn_var feat;
} judged;

// reward, probability of continuing and slow value of a state
static void judge_forward(nn_tape* tape, void* context, nn_var* out) {
    const judged* k = context;
    const hwm_real* bins = k->v->r->bins;
    out[0] = nn_twohot_mean(tape, hwm_head_forward(&k->v->reward, tape, k->feat), bins);
    out[1] = nn_sigmoid(tape, hwm_head_forward(&k->v->cont, tape, k->feat));
    out[2] = nn_twohot_mean(tape, hwm_head_forward(k->slow, tape, k->feat), bins);
    const hwm_real share = (hwm_real)k->config->view_reward;
    if (k->config->view > 0 && share > 0) {
        // what the weights alone promise, as the model sees them
        nn_var x = hwm_head_forward(&k->v->decoder, tape, k->feat);
        nn_var seen = nn_columns(tape, x, k->config->view_from, k->config->view);
        nn_var more = nn_twohot_mean(tape, hwm_head_forward(k->view, tape, seen), bins);
        out[0] = nn_add(tape, nn_scale(tape, out[0], 1 - share), nn_scale(tape, more, share));
    }
}

// The second head learns from what was really seen, in the decoder's scale.
static void view_loss(hwm_dreamer* d, const hwm_head_vars* view, const hwm_rssm_batch* b,
                      hwm_dreamer_losses* losses) {
    nn_tape* tape = d->tape;
    const hwm_dreamer_config* c = &d->config;
    nn_var x = nn_symlog(tape, nn_wrap(tape, b->obs, NULL, b->N * b->T, c->obs));
    nn_var logits = hwm_head_forward(view, tape, nn_columns(tape, x, c->view_from, c->view));
    nn_var loss = nn_mean(tape, nn_twohot_loss(tape, logits, b->reward, d->rssm.bins), b->weight);
    nn_seed(loss, (hwm_real)c->options.reward_weight);
    losses->view = (double)loss->x[0];
}

// The rows of the batch from which imagination starts, as constants.
typedef struct start_rows {
    const hwm_rssm_unrolled* u;
    const int* index;
    int n;
} start_rows;

static void start_forward(nn_tape* tape, void* context, nn_var* out) {
    const start_rows* k = context;
    out[0] = nn_gather(tape, k->u->deter, k->index, k->n);
    out[1] = nn_gather(tape, k->u->stoch, k->index, k->n);
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

typedef struct rollout {
    int H, N;
    nn_var policy[HORIZON_MAX], value[HORIZON_MAX];  // distribution parameters; logits
    nn_var action[HORIZON_MAX];
    // (H+1, N) each
    hwm_real *reward, *cont, *V, *slow, *weight;
    hwm_real* R;  // (H, N)
} rollout;

static nn_var act(hwm_dreamer* d, nn_var dist, hwm_rng* rng) {
    const int N = dist->rows, A = d->config.action;
    nn_var a = nn_new(d->tape, N, A, false);
    const size_t n = (size_t)N * (size_t)A;
    hwm_real* noise = nn_tape_alloc(d->tape, n * sizeof *noise);
    for (size_t i = 0; i < n; i++)
        noise[i] = (hwm_real)(d->config.discrete ? hwm_rng_uniform(rng) : hwm_rng_normal(rng));
    if (!d->config.discrete) {
        nn_normal_sample(a->x, dist, noise);
        return a;
    }
    for (size_t i = 0; i < n; i++)
        a->x[i] = noise[i] < (hwm_real)(1.0 / (1.0 + exp(-(double)dist->x[i]))) ? 1 : -1;
    return a;
}

static void imagine(hwm_dreamer* d, const hwm_rssm_vars* frozen, const hwm_head_vars* policy,
                    const hwm_head_vars* value, const hwm_head_vars* slow,
                    const hwm_head_vars* view, const hwm_rssm_unrolled* u, hwm_rng* rng,
                    rollout* o) {
    nn_tape* tape = d->tape;
    const hwm_dreamer_config* c = &d->config;
    const int H = c->horizon, N = d->starts, B = c->sizes.batch, T = c->sizes.length;
    const int S = c->sizes.variables, first = T - N / B;
    const size_t all = (size_t)(H + 1) * (size_t)N;
    o->H = H;
    o->N = N;
    hwm_real** arrays[] = {&o->reward, &o->cont, &o->V, &o->slow, &o->weight, &o->R};
    for (int i = 0; i < 6; i++)
        *arrays[i] = nn_tape_alloc(tape, all * sizeof(hwm_real));

    int* index = nn_tape_alloc(tape, (size_t)N * sizeof *index);
    for (int i = 0; i < N; i++)
        index[i] = first * B + i;
    start_rows rows = {u, index, N};
    nn_var state[2];
    nn_constant(tape, start_forward, &rows, 2, state);
    hwm_real* draws = nn_tape_alloc(tape, (size_t)N * (size_t)S * sizeof *draws);
    for (int t = 0;; t++) {
        const hwm_rssm_state s = {state[0], state[1]};
        nn_var feat = hwm_rssm_features(tape, s);
        judged j = {c, frozen, slow, view, feat};
        nn_var judgement[3];
        nn_constant(tape, judge_forward, &j, 3, judgement);
        const size_t at = (size_t)t * (size_t)N, bytes = (size_t)N * sizeof(hwm_real);
        memcpy(o->reward + at, judgement[0]->x, bytes);
        memcpy(o->cont + at, judgement[1]->x, bytes);
        memcpy(o->slow + at, judgement[2]->x, bytes);
        o->value[t] = hwm_head_forward(value, tape, feat);
        memcpy(o->V + at, nn_twohot_values(tape, o->value[t], d->rssm.bins), bytes);
        for (int n = 0; n < N; n++)
            o->weight[at + (size_t)n] =
                (t ? o->weight[at + (size_t)n - (size_t)N] : 1) * o->cont[at + (size_t)n];
        if (t == H)
            break;
        nn_var dist = hwm_head_forward(policy, tape, feat);
        o->policy[t] = c->discrete ? dist : nn_bounded_normal(tape, dist);
        o->action[t] = act(d, o->policy[t], rng);
        for (size_t i = 0; i < (size_t)N * (size_t)S; i++)
            draws[i] = (hwm_real)hwm_rng_uniform(rng);
        imagined_step next = {frozen, s, o->action[t], draws};
        nn_constant(tape, step_forward, &next, 2, state);
    }
    hwm_lambda_returns(o->R, o->reward, o->cont, o->V, H, N, c->lambda);
}

// ---- losses of the behaviour

static void behaviour_losses(hwm_dreamer* d, rollout* o, hwm_dreamer_losses* losses) {
    nn_tape* tape = d->tape;
    const hwm_dreamer_config* c = &d->config;
    const int H = o->H, N = o->N;
    const double scale = return_scale(d, o->R, H * N);
    losses->return_scale = scale;
    hwm_real* factor = nn_tape_alloc(tape, (size_t)H * (size_t)N * sizeof *factor);
    for (int i = 0; i < H * N; i++) {
        factor[i] = -o->weight[i] * (o->R[i] - o->V[i]) / (hwm_real)scale;
        losses->imagined_return += (double)o->R[i] / (H * N);
    }
    const hwm_real each = (hwm_real)1 / (hwm_real)H;  // mean over time of means over rows
    for (int t = 0; t < H; t++) {
        const size_t at = (size_t)t * (size_t)N;
        const hwm_real* w = o->weight + at;
        nn_var log_prob, entropy;
        if (c->discrete) {
            // actions +-1 are the outcomes 1 and 0
            nn_var outcome = nn_new(tape, N, c->action, false);
            for (size_t i = 0; i < (size_t)N * (size_t)c->action; i++)
                outcome->x[i] = (o->action[t]->x[i] + 1) / 2;
            log_prob = nn_bernoulli_log_prob(tape, o->policy[t], outcome->x);
            entropy = nn_bernoulli_entropy(tape, o->policy[t]);
        } else {
            log_prob = nn_normal_log_prob(tape, o->policy[t], o->action[t]->x);
            entropy = nn_normal_entropy(tape, o->policy[t]);
        }
        nn_var policy = nn_mean(tape, log_prob, factor + at);
        nn_var spread = nn_mean(tape, entropy, w);
        nn_var value = nn_mean(
            tape, nn_twohot_loss2(tape, o->value[t], o->R + at, o->slow + at, d->rssm.bins), w);
        nn_seed(policy, each);
        nn_seed(spread, -(hwm_real)c->entropy_scale * each);
        nn_seed(value, each);
        losses->policy += (double)(policy->x[0] - (hwm_real)c->entropy_scale * spread->x[0]) / H;
        losses->entropy += (double)spread->x[0] / H;
        losses->value += (double)value->x[0] / H;
    }
}

// Value of replayed states: returns over the last rows of each sequence (those that imagination
// started from), bootstrapped with what was imagined from the last one; a row that ends an episode
// has no return.
static void replay_value_loss(hwm_dreamer* d, const hwm_rssm_batch* b, const hwm_real* last,
                              const hwm_head_vars* value, const hwm_rssm_unrolled* u,
                              const rollout* o, hwm_dreamer_losses* losses) {
    nn_tape* tape = d->tape;
    const hwm_dreamer_config* c = &d->config;
    const int B = b->N, K = o->N / B, first = b->T - K;
    if (c->replay_value_scale == 0 || K < 2)
        return;
    const int rows = (K - 1) * B;
    hwm_rssm_state s = {nn_rows(tape, u->deter, first * B, rows),
                        nn_rows(tape, u->stoch, first * B, rows)};
    nn_var logits = hwm_head_forward(value, tape, hwm_rssm_features(tape, s));
    // o->V, o->slow, o->R: their first N numbers belong to the start rows, in the order of the
    // batch
    hwm_real* R = nn_tape_alloc(tape, (size_t)rows * sizeof *R);
    hwm_real* w = nn_tape_alloc(tape, (size_t)rows * sizeof *w);
    const hwm_real l = (hwm_real)c->lambda;
    for (int n = 0; n < B; n++) {
        hwm_real next = o->R[(K - 1) * B + n];
        for (int k = K - 2; k >= 0; k--) {
            const int at = k * B + n, after = at + B, row = (first + k) * B + n;
            // past an episode's end the imagined return takes over again
            const hwm_real carry = last[row + B] != 0 ? o->R[after] : next;
            next = b->reward[row + B] + b->cont[row + B] * ((1 - l) * o->V[after] + l * carry);
            R[at] = next;
            w[at] = last[row] != 0 ? 0 : b->weight ? b->weight[row] : 1;
        }
    }
    nn_var loss = nn_mean(tape, nn_twohot_loss2(tape, logits, R, o->slow, d->rssm.bins), w);
    nn_seed(loss, (hwm_real)c->replay_value_scale);
    losses->replay_value = (double)loss->x[0];
}

void hwm_dreamer_gradient(hwm_dreamer* d, const hwm_rssm_batch* b, const hwm_real* last,
                          hwm_rng* rng, hwm_dreamer_losses* losses) {
    HWM_ASSERT(b->N == d->config.sizes.batch && b->T == d->config.sizes.length);
    nn_tape* tape = d->tape;
    *losses = (hwm_dreamer_losses){0};
    nn_tape_reset(tape);
    nn_params_zero_grad(d->model);
    nn_params_zero_grad(d->behaviour);
    hwm_rssm_vars v;
    hwm_head_vars policy, value, slow, view = {0}, frozen_view = {0};
    hwm_rssm_bind(&d->rssm, tape, d->model, false, &v);
    hwm_head_bind(&d->policy, tape, d->behaviour, false, &policy);
    hwm_head_bind(&d->value, tape, d->behaviour, false, &value);
    hwm_head_bind(&d->value, tape, d->slow, true, &slow);

    const hwm_rssm_unrolled u = hwm_rssm_unroll(&v, tape, b);
    hwm_rssm_loss(&v, tape, b, &u, &losses->model);
    if (d->config.view > 0) {
        hwm_head_bind(&d->view, tape, d->model, false, &view);
        view_loss(d, &view, b, losses);
        frozen_view = hwm_head_freeze(&view, tape);
    }
    const hwm_rssm_vars frozen = hwm_rssm_freeze(&v, tape);
    rollout o = {0};
    imagine(d, &frozen, &policy, &value, &slow, &frozen_view, &u, rng, &o);
    behaviour_losses(d, &o, losses);
    replay_value_loss(d, b, last, &value, &u, &o, losses);
    nn_tape_backward(tape);
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
    const double heads = hwm_head_macs(&d->rssm.reward) + hwm_head_macs(&d->rssm.cont);
    const double model = 3.0 * rows * (step + hwm_rssm_observe_macs(&d->rssm));
    const double imagined =
        N * (H * step + (H + 1) * (heads + value)) +
        N * (H * (3.0 * policy - first) + (H + 1) * value + H * (2.0 * value - first));
    const double replayed = d->config.replay_value_scale > 0 ? 3.0 * rows * value : 0.0;
    return 2.0 * (model + imagined + replayed);
}
