// data path  [8] learner: latent behaviour
#include "model/dreamer_lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/layers.h"

// Sequences and rows of a lane. A recurrent step on few rows reads all its weights: where they fit
// a core's L2 cache, four sequences a lane still run at the full rate; above, all sequences make
// one lane, whose products are spread over the threads by columns. Rows of imagination: few enough
// to stay in the cache beside the weights, more where every step reads weights from memory, and
// eight lanes where there are rows for them.
enum { CACHED_WEIGHTS = 400000, SEQUENCES = 4, ROWS_MIN = 32, ROWS_CACHED = 128, LANES = 8 };

static int rows_of_lane(int rows, bool cached) {
    const int each = cached ? (rows + LANES - 1) / LANES : 2 * ROWS_CACHED;
    return each < ROWS_MIN ? ROWS_MIN : cached && each > ROWS_CACHED ? ROWS_CACHED : each;
}

static hwm_status open_lane(hwm_dreamer* d, hwm_lane* lane, int from, int n, bool sequences) {
    const bool first = lane == d->lane;
    *lane = (hwm_lane){.d = d, .from = from, .n = n, .owner = !first};
    const size_t model = d->model->list.count, behaviour = d->behaviour->list.count;
    lane->behaviour_grad =
        first ? d->behaviour->grad : calloc(behaviour + 1, sizeof *lane->behaviour_grad);
    if (sequences)
        lane->model_grad = first ? d->model->grad : calloc(model + 1, sizeof *lane->model_grad);
    if (!lane->behaviour_grad || (sequences && !lane->model_grad))
        return HWM_ENOMEM;
    return nn_tape_create(&lane->tape, (size_t)1 << 35);
}

void hwm_lane_close(hwm_lane* lane) {
    nn_tape_destroy(&lane->tape);
    if (lane->owner) {
        free(lane->model_grad);
        free(lane->behaviour_grad);
    }
}

hwm_status hwm_lanes_create(hwm_dreamer* d) {
    const hwm_dreamer_config* c = &d->config;
    const int B = c->sizes.batch, N = d->starts;
    const bool cached = hwm_rssm_step_macs(&d->rssm) <= CACHED_WEIGHTS;
    const int sequences = c->lane_sequences ? c->lane_sequences : cached ? SEQUENCES : B;
    const int rows = c->lane_rows ? c->lane_rows : rows_of_lane(N, cached);
    const int all = (B + sequences - 1) / sequences + (N + rows - 1) / rows;
    d->lane = calloc((size_t)all, sizeof *d->lane);
    if (!d->lane)
        return HWM_ENOMEM;
    hwm_status status = HWM_OK;
    for (int from = 0; status == HWM_OK && from < B; from += sequences)
        status = open_lane(d, &d->lane[d->sequence_lanes++], from,
                           B - from < sequences ? B - from : sequences, true);
    for (int from = 0; status == HWM_OK && from < N; from += rows)
        status = open_lane(d, &d->lane[d->sequence_lanes + d->dream_lanes++], from,
                           N - from < rows ? N - from : rows, false);
    return status;
}

void hwm_lanes_begin(hwm_dreamer* d, const hwm_rssm_batch* b, const hwm_real* last) {
    nn_tape* tape = d->tape;
    hwm_networks* net = &d->net;
    d->batch = b;
    d->last = last;
    *net = (hwm_networks){0};
    hwm_rssm_bind(&d->rssm, tape, d->model, false, &net->model);
    hwm_head_bind(&d->policy, tape, d->behaviour, false, &net->policy);
    hwm_head_bind(&d->value, tape, d->behaviour, false, &net->value);
    hwm_head_bind(&d->value, tape, d->slow, true, &net->slow);
    const hwm_precision precision = d->config.precision;
    hwm_rssm_prepare(&net->model, precision, tape);
    hwm_head_prepare(&net->policy, precision, true, tape);
    hwm_head_prepare(&net->value, precision, true, tape);
    hwm_head_prepare(&net->slow, precision, true, tape);
    if (d->config.view > 0) {
        hwm_head_bind(&d->view, tape, d->model, false, &net->view);
        hwm_head_prepare(&net->view, precision, false, tape);
    }
}

static void begin(hwm_lane* l, bool sequences) {
    hwm_dreamer* d = l->d;
    nn_tape_reset(l->tape);
    l->losses = (hwm_dreamer_losses){0};
    const hwm_twin model = {l->tape, d->model->grad, sequences ? l->model_grad : NULL},
                   behaviour = {l->tape, d->behaviour->grad, l->behaviour_grad};
    if (sequences)
        memset(l->model_grad, 0, d->model->list.count * sizeof(hwm_real));
    memset(l->behaviour_grad, 0, d->behaviour->list.count * sizeof(hwm_real));
    l->net = (hwm_networks){.model = hwm_rssm_twin(&d->net.model, model),
                            .policy = hwm_head_twin(&d->net.policy, behaviour),
                            .value = hwm_head_twin(&d->net.value, behaviour),
                            .slow = hwm_head_twin(&d->net.slow, behaviour)};
    if (d->config.view > 0)
        l->net.view = hwm_head_twin(&d->net.view, model);
}

// ---- sequences

// (T,N,width) -> (T,n,width) of the lane's sequences; NULL stays NULL
static hwm_real* part_of(const hwm_lane* l, const hwm_real* x, int width) {
    if (!x)
        return NULL;
    const size_t N = (size_t)l->d->batch->N, T = (size_t)l->d->batch->T, w = (size_t)width,
                 n = (size_t)l->n;
    hwm_real* out = nn_tape_alloc(l->tape, T * n * w * sizeof *out);
    for (size_t t = 0; t < T; t++)
        memcpy(out + t * n * w, x + (t * N + (size_t)l->from) * w, n * w * sizeof *out);
    return out;
}

// The second head learns from what was really seen, in the decoder's scale.
static void view_loss(hwm_lane* l, double share) {
    nn_tape* tape = l->tape;
    const hwm_dreamer_config* c = &l->d->config;
    const hwm_rssm_batch* b = &l->batch;
    nn_var x = nn_symlog(tape, nn_wrap(tape, b->obs, NULL, b->N * b->T, c->obs));
    nn_var logits =
        hwm_head_forward(&l->net.view, tape, nn_columns(tape, x, c->view_from, c->view));
    nn_var loss =
        nn_mean(tape, nn_twohot_loss(tape, logits, b->reward, l->d->rssm.bins), b->weight);
    nn_seed(loss, (hwm_real)(share * c->options.reward_weight));
    l->losses.view = (double)loss->x[0];
}

void hwm_lane_observe(hwm_lane* l) {
    const hwm_dreamer* d = l->d;
    const hwm_rssm_batch* b = d->batch;
    begin(l, true);
    l->batch = (hwm_rssm_batch){.N = l->n,
                                .T = b->T,
                                .obs = part_of(l, b->obs, d->config.obs),
                                .action = part_of(l, b->action, d->config.action),
                                .reward = part_of(l, b->reward, 1),
                                .keep = part_of(l, b->keep, 1),
                                .cont = part_of(l, b->cont, 1),
                                .weight = part_of(l, b->weight, 1),
                                .cont_weight = part_of(l, b->cont_weight, 1),
                                .draws = part_of(l, b->draws, d->config.sizes.variables)};
    if (b->deter) {
        const hwm_rssm_sizes* z = &d->config.sizes;
        l->batch.deter = b->deter + (size_t)l->from * (size_t)z->deter;
        l->batch.stoch = b->stoch + (size_t)l->from * (size_t)(z->variables * z->classes);
    }
    const double share = (double)l->n / b->N;
    l->u = hwm_rssm_unroll(&l->net.model, l->tape, &l->batch);
    hwm_rssm_loss(&l->net.model, l->tape, &l->batch, &l->u, share, &l->losses.model);
    if (d->config.view > 0)
        view_loss(l, share);
}

// Value of replayed states: returns over the last rows of each sequence (those that imagination
// started from), bootstrapped with what was imagined from the last one; a row that ends an episode
// has no return.
static void replay_value_loss(hwm_lane* l) {
    const hwm_dreamer* d = l->d;
    const hwm_dream* o = &d->dream;
    const hwm_rssm_batch* b = d->batch;
    const hwm_dreamer_config* c = &d->config;
    nn_tape* tape = l->tape;
    const int B = b->N, K = o->N / B, first = b->T - K, n = l->n, rows = (K - 1) * n;
    if (c->replay_value_scale == 0 || K < 2)
        return;
    nn_var logits =
        hwm_head_forward_parts(&l->net.value, tape, nn_rows(tape, l->u.deter, first * n, rows),
                               nn_rows(tape, l->u.stoch, first * n, rows));
    // the dream's first rows belong to the start rows, in the order of the batch
    hwm_real* R = nn_tape_alloc(tape, (size_t)rows * sizeof *R);
    hwm_real* slow = nn_tape_alloc(tape, (size_t)rows * sizeof *slow);
    hwm_real* w = nn_tape_alloc(tape, (size_t)rows * sizeof *w);
    const hwm_real lambda = (hwm_real)c->lambda;
    for (int i = 0; i < n; i++) {
        const int s = l->from + i;
        hwm_real next = o->R[(K - 1) * B + s];
        for (int k = K - 2; k >= 0; k--) {
            const int at = k * B + s, after = at + B, row = (first + k) * B + s;
            // past an episode's end the imagined return takes over again
            const hwm_real carry = d->last[row + B] != 0 ? o->R[after] : next;
            next = b->reward[row + B] +
                   b->cont[row + B] * ((1 - lambda) * o->V[after] + lambda * carry);
            R[k * n + i] = next;
            slow[k * n + i] = o->slow[at];
            w[k * n + i] = d->last[row] != 0 ? 0 : b->weight ? b->weight[row] : 1;
        }
    }
    nn_var loss = nn_mean(tape, nn_twohot_loss2(tape, logits, R, slow, d->rssm.bins), w);
    nn_seed(loss, (hwm_real)(c->replay_value_scale * n / B));
    l->losses.replay_value = (double)loss->x[0];
}

void hwm_lane_learn_sequences(hwm_lane* l) {
    replay_value_loss(l);
    nn_tape_backward(l->tape);
}

// ---- imagination

// What is computed without gradient: the next state, and what a state is worth.
typedef struct imagined_step {
    const hwm_rssm_vars* model;
    hwm_rssm_state state;
    nn_var action;
    const hwm_real* draws;
} imagined_step;

static void step_forward(nn_tape* tape, void* context, nn_var* out) {
    const imagined_step* k = context;
    const hwm_rssm_state s = hwm_rssm_imagine(k->model, tape, k->state, k->action, k->draws);
    out[0] = s.deter;
    out[1] = s.stoch;
}

typedef struct judged {
    const hwm_dreamer_config* config;
    const hwm_networks* net;
    hwm_rssm_state s;
    bool slow, reward;  // asked for
} judged;

// probability of continuing, slow value and reward of a state
static void judge_forward(nn_tape* tape, void* context, nn_var* out) {
    const judged* k = context;
    const hwm_rssm_vars* v = &k->net->model;
    const hwm_real* bins = v->r->bins;
    nn_var h = k->s.deter, z = k->s.stoch;
    out[0] = nn_sigmoid(tape, hwm_head_forward_parts(&v->cont, tape, h, z));
    if (k->slow)
        out[1] = nn_twohot_mean(tape, hwm_head_forward_parts(&k->net->slow, tape, h, z), bins);
    if (!k->reward)
        return;
    nn_var reward = nn_twohot_mean(tape, hwm_head_forward_parts(&v->reward, tape, h, z), bins);
    const hwm_real share = (hwm_real)k->config->view_reward;
    if (k->config->view > 0 && share > 0) {
        // what the weights alone promise, as the model sees them
        nn_var x = hwm_head_forward_parts(&v->decoder, tape, h, z);
        nn_var seen = nn_columns(tape, x, k->config->view_from, k->config->view);
        nn_var more = nn_twohot_mean(tape, hwm_head_forward(&k->net->view, tape, seen), bins);
        reward = nn_add(tape, nn_scale(tape, reward, 1 - share), nn_scale(tape, more, share));
    }
    out[k->slow ? 2 : 1] = reward;
}

size_t hwm_lanes_row(const hwm_dreamer* d, int t, int n, const hwm_lane** lane) {
    *lane = &d->lane[n / d->lane[0].n];
    return (size_t)(t * (*lane)->n + n - (*lane)->from);
}

// The posteriors that the lane's rows start from, wherever they were computed.
static hwm_rssm_state start_of(const hwm_lane* l) {
    const hwm_dreamer* d = l->d;
    const hwm_rssm_sizes* z = &d->config.sizes;
    const int B = d->batch->N, first = d->batch->T - d->starts / B, S = z->variables;
    const size_t D = (size_t)z->deter, Z = (size_t)(S * z->classes);
    const hwm_rssm_state s = {nn_new(l->tape, l->n, z->deter, false),
                              nn_new(l->tape, l->n, S * z->classes, false)};
    int* hot = nn_tape_alloc(l->tape, (size_t)l->n * (size_t)S * sizeof *hot);
    s.stoch->hot = hot;
    s.stoch->classes = z->classes;
    for (int i = 0; i < l->n; i++) {
        const int row = first * B + l->from + i;
        const hwm_lane* from;
        const size_t at = hwm_lanes_row(d, row / B, row % B, &from), to = (size_t)i;
        memcpy(s.deter->x + to * D, from->u.deter->x + at * D, D * sizeof(hwm_real));
        memcpy(s.stoch->x + to * Z, from->u.stoch->x + at * Z, Z * sizeof(hwm_real));
        memcpy(hot + to * (size_t)S, from->u.stoch->hot + at * (size_t)S, (size_t)S * sizeof *hot);
    }
    return s;
}

static nn_var act(const hwm_lane* l, nn_var dist, const hwm_real* noise) {
    const int A = l->d->config.action;
    nn_var a = nn_new(l->tape, dist->rows, A, false);
    if (!l->d->config.discrete) {
        nn_normal_sample(a->x, dist->x, noise, dist->rows, A);
        return a;
    }
    for (int i = 0; i < dist->rows * A; i++)
        a->x[i] = noise[i] < (hwm_real)(1.0 / (1.0 + exp(-(double)dist->x[i]))) ? 1 : -1;
    return a;
}

void hwm_lane_imagine(hwm_lane* l) {
    hwm_dreamer* d = l->d;
    hwm_dream* o = &d->dream;
    const hwm_dreamer_config* c = &d->config;
    nn_tape* tape = l->tape;
    begin(l, false);
    const size_t bytes = (size_t)l->n * sizeof(hwm_real);
    hwm_rssm_state s = start_of(l);
    for (int t = 0;; t++) {
        // nobody uses the first state's reward, nor the last one's slow value
        judged j = {.config = c, .net = &l->net, .s = s};
        j.slow = t < o->H;
        j.reward = t > 0;
        nn_var judgement[3];
        nn_constant(tape, judge_forward, &j, 1 + j.slow + j.reward, judgement);
        const size_t at = (size_t)t * (size_t)o->N + (size_t)l->from;
        memcpy(o->cont + at, judgement[0]->x, bytes);
        if (j.slow)
            memcpy(o->slow + at, judgement[1]->x, bytes);
        if (j.reward)
            memcpy(o->reward + at, judgement[1 + j.slow]->x, bytes);
        // the last value ends the returns, and nothing learns from it
        nn_tape_record(tape, t < o->H);
        nn_section_begin(tape);
        l->value[t] = hwm_head_forward_parts(&l->net.value, tape, s.deter, s.stoch);
        memcpy(o->V + at, nn_twohot_values(tape, l->value[t], d->rssm.bins), bytes);
        if (t == o->H) {
            nn_section_end(tape);
            nn_tape_record(tape, true);
            return;
        }
        nn_var dist = hwm_head_forward_parts(&l->net.policy, tape, s.deter, s.stoch);
        l->policy[t] = c->discrete ? dist : nn_bounded_normal(tape, dist);
        l->step[t] = nn_section_end(tape);
        l->action[t] = act(l, l->policy[t], o->noise + at * (size_t)c->action);
        imagined_step next = {&l->net.model, s, l->action[t],
                              o->draws + at * (size_t)c->sizes.variables};
        nn_var state[2];
        nn_constant(tape, step_forward, &next, 2, state);
        s = (hwm_rssm_state){state[0], state[1]};
    }
}

void hwm_lane_learn_dream(hwm_lane* l) {
    const hwm_dreamer* d = l->d;
    const hwm_dreamer_config* c = &d->config;
    const hwm_dream* o = &d->dream;
    nn_tape* tape = l->tape;
    const int H = o->H, n = l->n;
    hwm_dreamer_losses* losses = &l->losses;
    // mean over time of means over all rows
    const hwm_real each = (hwm_real)n / ((hwm_real)H * (hwm_real)o->N);
    for (int t = H - 1; t >= 0; t--) {  // the newest first: it is still in the cache
        const size_t at = (size_t)t * (size_t)o->N + (size_t)l->from;
        const hwm_real* w = o->weight + at;
        nn_section_open(tape, &l->step[t]);
        hwm_real* factor = nn_tape_alloc(tape, (size_t)n * sizeof *factor);
        for (int i = 0; i < n; i++)
            factor[i] = -w[i] * (o->R[at + (size_t)i] - o->V[at + (size_t)i]) / (hwm_real)o->scale;
        nn_var log_prob, entropy;
        if (c->discrete) {
            // actions +-1 are the outcomes 1 and 0
            nn_var outcome = nn_new(tape, n, c->action, false);
            for (int i = 0; i < n * c->action; i++)
                outcome->x[i] = (l->action[t]->x[i] + 1) / 2;
            log_prob = nn_bernoulli_log_prob(tape, l->policy[t], outcome->x);
            entropy = nn_bernoulli_entropy(tape, l->policy[t]);
        } else {
            log_prob = nn_normal_log_prob(tape, l->policy[t], l->action[t]->x);
            entropy = nn_normal_entropy(tape, l->policy[t]);
        }
        nn_var policy = nn_mean(tape, log_prob, factor);
        nn_var spread = nn_mean(tape, entropy, w);
        nn_var value = nn_mean(
            tape, nn_twohot_loss2(tape, l->value[t], o->R + at, o->slow + at, d->rssm.bins), w);
        nn_seed(policy, each);
        nn_seed(spread, -(hwm_real)c->entropy_scale * each);
        nn_seed(value, each);
        losses->policy += (double)(policy->x[0] - (hwm_real)c->entropy_scale * spread->x[0]) / H;
        losses->entropy += (double)spread->x[0] / H;
        losses->value += (double)value->x[0] / H;
        nn_tape_backward(tape);
    }
}
