// Distributions on the tape: categorical, bounded normal, Bernoulli, squared error, two-hot. The
// numbers come from dist_rows.h.
#include "nn/dist.h"

#include <string.h>

#include "nn/dist_rows.h"
#include "nn/rows.h"
#include "nn/tape_inside.h"

// ---- categorical

static void categorical_piece(void* context, int piece, int from, int to) {
    const call* k = context;
    const int groups = k->y->cols / k->k;
    const size_t at = (size_t)from * (size_t)k->y->cols;
    (void)piece;
    nn_softmax_forward(k->y->x + at, k->a->x + at, k->s, (to - from) * groups, k->k);
}

static void categorical_backward_piece(void* context, int piece, int from, int to) {
    const call* k = context;
    const int groups = k->y->cols / k->k;
    const size_t at = (size_t)from * (size_t)k->y->cols;
    (void)piece;
    nn_softmax_backward(k->a->g + at, k->y->g + at, k->y->x + at, k->s, (to - from) * groups, k->k);
}

static void categorical_backward(void* context) {
    const call* k = context;
    nn_over_rows(k->y->rows, k->y->cols, categorical_backward_piece, context);
}

nn_var nn_categorical(nn_tape* t, nn_var logits, int C, hwm_real mix) {
    HWM_ASSERT(C > 1 && logits->cols % C == 0 && mix >= 0 && mix < 1);
    nn_var p = nn_new(t, logits->rows, logits->cols, logits->g);
    call c = {.y = p, .a = logits, .s = mix, .k = C};
    nn_over_rows(p->rows, p->cols, categorical_piece, &c);
    nn_record(t, categorical_backward, c);
    return p;
}

static void one_hot_backward(void* context) {
    const call* k = context;
    nn_accumulate(k->a->g, k->y->g, (int)nn_count(k->y));
}

nn_var nn_one_hot(nn_tape* t, nn_var p, int C, const hwm_real* u) {
    HWM_ASSERT(C > 1 && p->cols % C == 0);
    nn_var y = nn_new(t, p->rows, p->cols, p->g);
    memset(y->x, 0, nn_count(y) * sizeof(hwm_real));
    const size_t groups = nn_count(p) / (size_t)C;
    int* hot = nn_tape_take(t, groups * sizeof *hot);
    y->hot = hot;
    y->classes = C;
    if (u)
        nn_draw(hot, p->x, u, (int)groups, C);
    else
        for (size_t i = 0; i < groups; i++) {
            const hwm_real* q = p->x + i * (size_t)C;
            int pick = 0;
            for (int c = 1; c < C; c++)
                pick = q[c] > q[pick] ? c : pick;
            hot[i] = pick;
        }
    for (size_t i = 0; i < groups; i++)
        y->x[i * (size_t)C + (size_t)hot[i]] = 1;
    nn_record(t, one_hot_backward, (call){.y = y, .a = p});
    return y;
}

static void kl_backward(void* context) {  // c holds log p - log q
    const call* k = context;
    nn_var p = k->a, q = k->b;
    nn_kl_backward(p->g, q->g, k->y->g, p->x, q->x, k->c->x, p->rows, p->cols);
}

nn_var nn_kl(nn_tape* t, nn_var p, nn_var q) {
    HWM_ASSERT(p->rows == q->rows && p->cols == q->cols);
    nn_var y = nn_new(t, p->rows, 1, p->g || q->g), l = nn_new(t, p->rows, p->cols, false);
    nn_kl_forward(y->x, l->x, p->x, q->x, p->rows, p->cols);
    nn_record(t, kl_backward, (call){.y = y, .a = p, .b = q, .c = l});
    return y;
}

static void entropy_backward(void* context) {  // c holds log p
    const call* k = context;
    nn_entropy_backward(k->a->g, k->y->g, k->c->x, k->a->rows, k->a->cols);
}

nn_var nn_entropy(nn_tape* t, nn_var p) {
    nn_var y = nn_new(t, p->rows, 1, p->g), l = nn_new(t, p->rows, p->cols, false);
    nn_entropy_forward(y->x, l->x, p->x, p->rows, p->cols);
    nn_record(t, entropy_backward, (call){.y = y, .a = p, .c = l});
    return y;
}

static void categorical_log_prob_backward(void* context) {
    const call* k = context;
    nn_categorical_log_prob_backward(k->a->g, k->y->g, k->a->x, k->p, k->a->rows, k->a->cols);
}

nn_var nn_categorical_log_prob(nn_tape* t, nn_var p, const hwm_real* chosen) {
    nn_var y = nn_new(t, p->rows, 1, p->g);
    nn_categorical_log_prob_forward(y->x, p->x, chosen, p->rows, p->cols);
    nn_record(t, categorical_log_prob_backward, (call){.y = y, .a = p, .p = chosen});
    return y;
}

// ---- bounded normal

static void bounded_normal_backward(void* context) {
    const call* k = context;
    nn_bounded_normal_backward(k->a->g, k->y->g, k->y->x, k->y->rows, k->y->cols / 2);
}

nn_var nn_bounded_normal(nn_tape* t, nn_var x) {
    HWM_ASSERT(x->cols % 2 == 0);
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_bounded_normal_forward(y->x, x->x, x->rows, x->cols / 2);
    nn_record(t, bounded_normal_backward, (call){.y = y, .a = x});
    return y;
}

static void normal_log_prob_backward(void* context) {
    const call* k = context;
    nn_normal_log_prob_backward(k->a->g, k->y->g, k->a->x, k->p, k->a->rows, k->a->cols / 2);
}

nn_var nn_normal_log_prob(nn_tape* t, nn_var d, const hwm_real* action) {
    nn_var y = nn_new(t, d->rows, 1, d->g);
    nn_normal_log_prob_forward(y->x, d->x, action, d->rows, d->cols / 2);
    nn_record(t, normal_log_prob_backward, (call){.y = y, .a = d, .p = action});
    return y;
}

static void normal_entropy_backward(void* context) {
    const call* k = context;
    nn_normal_entropy_backward(k->a->g, k->y->g, k->a->x, k->a->rows, k->a->cols / 2);
}

nn_var nn_normal_entropy(nn_tape* t, nn_var d) {
    nn_var y = nn_new(t, d->rows, 1, d->g);
    nn_normal_entropy_forward(y->x, d->x, d->rows, d->cols / 2);
    nn_record(t, normal_entropy_backward, (call){.y = y, .a = d});
    return y;
}

// ---- Bernoulli; c holds sigmoid(x)

static void bernoulli_log_prob_backward(void* context) {
    const call* k = context;
    nn_bernoulli_log_prob_backward(k->a->g, k->y->g, k->c->x, k->p, k->a->rows, k->a->cols);
}

nn_var nn_bernoulli_log_prob(nn_tape* t, nn_var x, const hwm_real* outcome) {
    nn_var y = nn_new(t, x->rows, 1, x->g), s = nn_new(t, x->rows, x->cols, false);
    nn_bernoulli_log_prob_forward(y->x, s->x, x->x, outcome, x->rows, x->cols);
    nn_record(t, bernoulli_log_prob_backward, (call){.y = y, .a = x, .c = s, .p = outcome});
    return y;
}

static void bernoulli_entropy_backward(void* context) {
    const call* k = context;
    nn_bernoulli_entropy_backward(k->a->g, k->y->g, k->a->x, k->c->x, k->a->rows, k->a->cols);
}

nn_var nn_bernoulli_entropy(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, 1, x->g), s = nn_new(t, x->rows, x->cols, false);
    nn_bernoulli_entropy_forward(y->x, s->x, x->x, x->rows, x->cols);
    nn_record(t, bernoulli_entropy_backward, (call){.y = y, .a = x, .c = s});
    return y;
}

// ---- squared error

static void squared_error_backward(void* context) {
    const call* k = context;
    nn_squared_error_backward(k->a->g, k->y->g, k->a->x, k->p, k->a->rows, k->a->cols);
}

nn_var nn_squared_error(nn_tape* t, nn_var x, const hwm_real* target) {
    nn_var y = nn_new(t, x->rows, 1, x->g);
    nn_squared_error_forward(y->x, x->x, target, x->rows, x->cols);
    nn_record(t, squared_error_backward, (call){.y = y, .a = x, .p = target});
    return y;
}

// ---- two-hot

typedef struct twohot {
    nn_var y, x;
    const hwm_real* bins;
    int targets;
    int* k;       // (N,targets) lower bins
    hwm_real* w;  // (N,targets) weights of the upper ones
} twohot;

static void soft_piece(void* context, int piece, int from, int to) {
    nn_value* x = context;
    (void)piece;
    const size_t at = (size_t)from * NN_BINS;
    nn_softmax_forward(x->soft + at, x->x + at, 0, to - from, NN_BINS);
}

static const hwm_real* soft(nn_tape* t, nn_var x) {
    HWM_ASSERT(x->cols == NN_BINS);
    if (!x->soft) {
        x->soft = nn_beside(t, x, nn_count(x) * sizeof(hwm_real));
        nn_over_rows(x->rows, NN_BINS, soft_piece, x);
    }
    return x->soft;
}

static void twohot_loss_backward_piece(void* context, int piece, int from, int to) {
    const twohot* c = context;
    const size_t at = (size_t)from * NN_BINS, code = (size_t)from * (size_t)c->targets;
    (void)piece;
    nn_twohot_loss_backward(c->x->g + at, c->y->g + from, c->x->soft + at, c->k + code, c->w + code,
                            to - from, c->targets);
}

static void twohot_loss_backward(void* context) {
    const twohot* c = context;
    nn_over_rows(c->y->rows, NN_BINS, twohot_loss_backward_piece, context);
}

nn_var nn_twohot_loss2(nn_tape* t, nn_var x, const hwm_real* target, const hwm_real* second,
                       const hwm_real bins[NN_BINS]) {
    const int N = x->rows, M = second ? 2 : 1;
    nn_var y = nn_new(t, N, 1, x->g);
    twohot* c = nn_tape_alloc(t, sizeof *c);
    *c = (twohot){.y = y, .x = x, .targets = M};
    c->k = nn_tape_alloc(t, (size_t)(M * N) * sizeof *c->k);
    c->w = nn_tape_alloc(t, (size_t)(M * N) * sizeof *c->w);
    for (int n = 0; n < N; n++) {
        nn_twohot_encode(bins, target[n], &c->k[n * M], &c->w[n * M]);
        if (second)
            nn_twohot_encode(bins, second[n], &c->k[n * M + 1], &c->w[n * M + 1]);
    }
    nn_twohot_loss_forward(y->x, x->x, soft(t, x), c->k, c->w, N, M);
    if (y->g)
        nn_custom(t, twohot_loss_backward, c);
    return y;
}

nn_var nn_twohot_loss(nn_tape* t, nn_var x, const hwm_real* target, const hwm_real bins[NN_BINS]) {
    return nn_twohot_loss2(t, x, target, NULL, bins);
}

static void twohot_mean_backward(void* context) {
    const twohot* c = context;
    nn_twohot_mean_backward(c->x->g, c->y->g, c->y->x, c->x->soft, c->bins, c->y->rows);
}

nn_var nn_twohot_mean(nn_tape* t, nn_var x, const hwm_real bins[NN_BINS]) {
    nn_var y = nn_new(t, x->rows, 1, x->g);
    nn_twohot_mean_forward(y->x, soft(t, x), bins, x->rows);
    if (y->g) {
        twohot* c = nn_tape_alloc(t, sizeof *c);
        *c = (twohot){.y = y, .x = x, .bins = bins};
        nn_custom(t, twohot_mean_backward, c);
    }
    return y;
}

const hwm_real* nn_twohot_values(nn_tape* t, nn_var x, const hwm_real bins[NN_BINS]) {
    nn_var y = nn_new(t, x->rows, 1, false);
    nn_twohot_mean_forward(y->x, soft(t, x), bins, x->rows);
    return y->x;
}
