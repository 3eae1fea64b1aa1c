// Distributions on the tape: categorical, bounded normal, Bernoulli, squared error. Two-hot:
// twohot.c
#include "nn/dist.h"

#include <math.h>
#include <string.h>

#include "nn/rows.h"
#include "nn/tape_inside.h"
#include "nn/vmath.h"

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

// dp += dy (log p - log q + 1), dq -= dy p / q;  c holds log p - log q
static void kl_backward(void* context) {
    const call* k = context;
    const int D = k->a->cols;
    const hwm_real *p = k->a->x, *q = k->b->x, *l = k->c->x;
    for (int n = 0; n < k->y->rows; n++, p += D, q += D, l += D) {
        const hwm_real d = k->y->g[n];
        const size_t at = (size_t)n * (size_t)D;
        if (k->a->g)
            for (int i = 0; i < D; i++)
                k->a->g[at + (size_t)i] += d * (l[i] + 1);
        if (k->b->g)
            for (int i = 0; i < D; i++)
                k->b->g[at + (size_t)i] -= d * p[i] / q[i];
    }
}

static hwm_real row_dot(const hwm_real* a, const hwm_real* b, int n) {
    hwm_real s[16] = {0};
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            s[j] += a[i + j] * b[i + j];
    for (int j = 0; i + j < n; j++)
        s[j] += a[i + j] * b[i + j];
    hwm_real sum = 0;
    for (int j = 0; j < 16; j++)
        sum += s[j];
    return sum;
}

nn_var nn_kl(nn_tape* t, nn_var p, nn_var q) {
    HWM_ASSERT(p->rows == q->rows && p->cols == q->cols);
    nn_var y = nn_new(t, p->rows, 1, p->g || q->g);
    nn_var l = nn_new(t, p->rows, p->cols, false), lq = nn_new(t, 1, p->cols, false);
    nn_vlog(nn_count(p), p->x, l->x);
    for (int n = 0; n < p->rows; n++) {
        hwm_real* row = l->x + (size_t)n * (size_t)p->cols;
        nn_vlog((size_t)p->cols, q->x + (size_t)n * (size_t)p->cols, lq->x);
        for (int i = 0; i < p->cols; i++)
            row[i] -= lq->x[i];
        y->x[n] = row_dot(p->x + (size_t)n * (size_t)p->cols, row, p->cols);
    }
    nn_record(t, kl_backward, (call){.y = y, .a = p, .b = q, .c = l});
    return y;
}

static void entropy_backward(void* context) {  // y = - sum p log p:  dp -= dy (log p + 1)
    const call* k = context;
    const int D = k->a->cols;
    for (int n = 0; n < k->y->rows; n++)
        for (int i = 0; i < D; i++) {
            const size_t at = (size_t)n * (size_t)D + (size_t)i;
            k->a->g[at] -= k->y->g[n] * (k->c->x[at] + 1);
        }
}

nn_var nn_entropy(nn_tape* t, nn_var p) {
    nn_var y = nn_new(t, p->rows, 1, p->g), l = nn_new(t, p->rows, p->cols, false);
    nn_vlog(nn_count(p), p->x, l->x);
    for (int n = 0; n < p->rows; n++)
        y->x[n] = -row_dot(p->x + (size_t)n * (size_t)p->cols, l->x + (size_t)n * (size_t)p->cols,
                           p->cols);
    nn_record(t, entropy_backward, (call){.y = y, .a = p, .c = l});
    return y;
}

static void categorical_log_prob_backward(void* context) {  // dp += dy y / p
    const call* k = context;
    const int D = k->a->cols;
    for (int n = 0; n < k->y->rows; n++)
        for (int i = 0; i < D; i++) {
            const size_t at = (size_t)n * (size_t)D + (size_t)i;
            k->a->g[at] += k->p[at] == 0 ? 0 : k->y->g[n] * k->p[at] / k->a->x[at];
        }
}

nn_var nn_categorical_log_prob(nn_tape* t, nn_var p, const hwm_real* chosen) {
    nn_var y = nn_new(t, p->rows, 1, p->g);
    for (int n = 0; n < p->rows; n++) {
        hwm_real sum = 0;
        for (int i = 0; i < p->cols; i++) {
            const size_t at = (size_t)n * (size_t)p->cols + (size_t)i;
            if (chosen[at] != 0)
                sum += chosen[at] * (hwm_real)log((double)p->x[at]);
        }
        y->x[n] = sum;
    }
    nn_record(t, categorical_log_prob_backward, (call){.y = y, .a = p, .p = chosen});
    return y;
}

// ---- bounded normal

static const hwm_real std_span = (hwm_real)0.9, std_low = (hwm_real)0.1, std_shift = 2;

static void bounded_normal_backward(void* context) {
    const call* k = context;
    const int A = k->y->cols / 2;
    for (int n = 0; n < k->y->rows; n++) {
        const size_t at = (size_t)n * (size_t)k->y->cols;
        const hwm_real *y = k->y->x + at, *d = k->y->g + at;
        hwm_real* g = k->a->g + at;
        for (int i = 0; i < A; i++)
            g[i] += d[i] * (1 - y[i] * y[i]);
        for (int i = A; i < 2 * A; i++) {
            const hwm_real s = (y[i] - std_low) / std_span;
            g[i] += d[i] * std_span * s * (1 - s);
        }
    }
}

nn_var nn_bounded_normal(nn_tape* t, nn_var x) {
    HWM_ASSERT(x->cols % 2 == 0);
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    const int A = x->cols / 2;
    for (int n = 0; n < x->rows; n++) {
        const hwm_real* from = x->x + (size_t)n * (size_t)x->cols;
        hwm_real* to = y->x + (size_t)n * (size_t)x->cols;
        nn_vtanh((size_t)A, from, to);
        for (int i = A; i < 2 * A; i++)
            to[i] = from[i] + std_shift;
        nn_vsigmoid((size_t)A, to + A, to + A);
        for (int i = A; i < 2 * A; i++)
            to[i] = std_span * to[i] + std_low;
    }
    nn_record(t, bounded_normal_backward, (call){.y = y, .a = x});
    return y;
}

static const double half_log_2pi = 0.91893853320467274178;

// log p = sum -((a - m)/s)^2 / 2 - log s - log(2 pi)/2
static void normal_log_prob_backward(void* context) {
    const call* k = context;
    const int A = k->a->cols / 2;
    for (int n = 0; n < k->y->rows; n++) {
        const size_t at = (size_t)n * (size_t)k->a->cols;
        const hwm_real *m = k->a->x + at, *s = m + A, *a = k->p + (size_t)n * (size_t)A;
        hwm_real *gm = k->a->g + at, *gs = gm + A;
        for (int i = 0; i < A; i++) {
            const hwm_real z = (a[i] - m[i]) / s[i];
            gm[i] += k->y->g[n] * z / s[i];
            gs[i] += k->y->g[n] * (z * z - 1) / s[i];
        }
    }
}

nn_var nn_normal_log_prob(nn_tape* t, nn_var d, const hwm_real* action) {
    nn_var y = nn_new(t, d->rows, 1, d->g);
    const int A = d->cols / 2;
    for (int n = 0; n < d->rows; n++) {
        const hwm_real *m = d->x + (size_t)n * (size_t)d->cols, *s = m + A;
        double sum = 0.0;
        for (int i = 0; i < A; i++) {
            const double z = ((double)action[(size_t)n * (size_t)A + (size_t)i] - m[i]) / s[i];
            sum -= 0.5 * z * z + log((double)s[i]) + half_log_2pi;
        }
        y->x[n] = (hwm_real)sum;
    }
    nn_record(t, normal_log_prob_backward, (call){.y = y, .a = d, .p = action});
    return y;
}

static void normal_entropy_backward(void* context) {  // sum log s + const
    const call* k = context;
    const int A = k->a->cols / 2;
    for (int n = 0; n < k->y->rows; n++)
        for (int i = A; i < 2 * A; i++) {
            const size_t at = (size_t)n * (size_t)k->a->cols + (size_t)i;
            k->a->g[at] += k->y->g[n] / k->a->x[at];
        }
}

nn_var nn_normal_entropy(nn_tape* t, nn_var d) {
    nn_var y = nn_new(t, d->rows, 1, d->g);
    const int A = d->cols / 2;
    for (int n = 0; n < d->rows; n++) {
        double sum = 0.0;
        for (int i = A; i < 2 * A; i++)
            sum += log((double)d->x[(size_t)n * (size_t)d->cols + (size_t)i]) + half_log_2pi + 0.5;
        y->x[n] = (hwm_real)sum;
    }
    nn_record(t, normal_entropy_backward, (call){.y = y, .a = d});
    return y;
}

void nn_normal_sample(hwm_real* action, nn_var d, const hwm_real* noise) {
    const int A = d->cols / 2;
    for (int n = 0; n < d->rows; n++) {
        const hwm_real* m = d->x + (size_t)n * (size_t)d->cols;
        for (int i = 0; i < A; i++) {
            const size_t at = (size_t)n * (size_t)A + (size_t)i;
            action[at] = m[i] + (noise ? m[A + i] * noise[at] : 0);
        }
    }
}

// ---- Bernoulli: log p = x y - softplus(x);  entropy = softplus(x) - x sigmoid(x);  c holds
// sigmoid(x)

static nn_var sigmoid_of(nn_tape* t, nn_var x) {
    nn_var s = nn_new(t, x->rows, x->cols, false);
    nn_vsigmoid(nn_count(x), x->x, s->x);
    return s;
}

static void bernoulli_log_prob_backward(void* context) {
    const call* k = context;
    for (int n = 0; n < k->a->rows; n++)
        for (int i = 0; i < k->a->cols; i++) {
            const size_t at = (size_t)n * (size_t)k->a->cols + (size_t)i;
            k->a->g[at] += k->y->g[n] * (k->p[at] - k->c->x[at]);
        }
}

nn_var nn_bernoulli_log_prob(nn_tape* t, nn_var x, const hwm_real* outcome) {
    nn_var y = nn_new(t, x->rows, 1, x->g), l = nn_new(t, x->rows, x->cols, false);
    nn_vsoftplus(nn_count(x), x->x, l->x);
    for (int n = 0; n < x->rows; n++) {
        hwm_real sum = 0;
        for (int i = 0; i < x->cols; i++) {
            const size_t at = (size_t)n * (size_t)x->cols + (size_t)i;
            sum += x->x[at] * outcome[at] - l->x[at];
        }
        y->x[n] = sum;
    }
    nn_record(t, bernoulli_log_prob_backward,
              (call){.y = y, .a = x, .c = sigmoid_of(t, x), .p = outcome});
    return y;
}

static void bernoulli_entropy_backward(void* context) {  // dx -= dy x s (1 - s)
    const call* k = context;
    for (int n = 0; n < k->a->rows; n++)
        for (int i = 0; i < k->a->cols; i++) {
            const size_t at = (size_t)n * (size_t)k->a->cols + (size_t)i;
            const hwm_real s = k->c->x[at];
            k->a->g[at] -= k->y->g[n] * k->a->x[at] * s * (1 - s);
        }
}

nn_var nn_bernoulli_entropy(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, 1, x->g), l = nn_new(t, x->rows, x->cols, false);
    nn_var s = sigmoid_of(t, x);
    nn_vsoftplus(nn_count(x), x->x, l->x);
    for (int n = 0; n < x->rows; n++) {
        hwm_real sum = 0;
        for (int i = 0; i < x->cols; i++) {
            const size_t at = (size_t)n * (size_t)x->cols + (size_t)i;
            sum += l->x[at] - x->x[at] * s->x[at];
        }
        y->x[n] = sum;
    }
    nn_record(t, bernoulli_entropy_backward, (call){.y = y, .a = x, .c = s});
    return y;
}

// ---- squared error

static void squared_error_backward(void* context) {
    const call* k = context;
    for (int n = 0; n < k->a->rows; n++) {
        const hwm_real d = 2 * k->y->g[n];
        for (int i = 0; i < k->a->cols; i++) {
            const size_t at = (size_t)n * (size_t)k->a->cols + (size_t)i;
            k->a->g[at] += d * (k->a->x[at] - k->p[at]);
        }
    }
}

nn_var nn_squared_error(nn_tape* t, nn_var x, const hwm_real* target) {
    nn_var y = nn_new(t, x->rows, 1, x->g);
    for (int n = 0; n < x->rows; n++) {
        hwm_real sum = 0;
        for (int i = 0; i < x->cols; i++) {
            const size_t at = (size_t)n * (size_t)x->cols + (size_t)i;
            const hwm_real e = x->x[at] - target[at];
            sum += e * e;
        }
        y->x[n] = sum;
    }
    nn_record(t, squared_error_backward, (call){.y = y, .a = x, .p = target});
    return y;
}
