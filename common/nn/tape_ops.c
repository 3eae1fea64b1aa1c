// Operations on the tape: linear and dense layers, element-wise functions, shape changes, simple
// losses.
//
// Every operation computes its result at once and records one backward call with the values it
// needs; it gets a gradient only if one of its inputs has one. Backwards quote the forward line
// they belong to.
#include <math.h>
#include <string.h>

#include "nn/elements.h"
#include "nn/gemm.h"
#include "nn/rows.h"
#include "nn/tape_inside.h"
#include "nn/vmath.h"

static bool same_shape(nn_var a, nn_var b) {
    return a->rows == b->rows && a->cols == b->cols;
}

// ---- layers

static void act_backward(nn_act act, int n, const hwm_real* y, hwm_real* g) {
    switch (act) {
    case NN_LINEAR:
        break;
    case NN_ELU:
        nn_elu_scale(g, y, n);
        break;
    case NN_TANH:
        nn_tanh_scale(g, y, n);
        break;
    case NN_SIGMOID:
        nn_sigmoid_scale(g, y, n);
        break;
    }
}

// y = f(x w' + b): with d = dy f'(y), which overwrites dy (nobody reads it afterwards),
// dx += d w;  dw += d' x;  db += sum over rows of d
static void dense_backward(void* context) {
    const call* k = context;
    nn_var y = k->y, x = k->a, w = k->b, b = k->c;
    act_backward((nn_act)k->k, (int)nn_count(y), y->x, y->g);
    if (x->g)
        nn_gemm_nn(y->rows, w->cols, w->rows, y->g, y->cols, w->x, w->cols, x->g, x->cols, NULL,
                   true);
    if (w->g)
        nn_weight_gradient(k->t, w, 0, 1, y->rows, y->g, y->cols, nn_whole(x), (nn_part){0});
    if (b && b->g)
        nn_sum_rows(b->g, y->g, y->rows, y->cols);
}

nn_var nn_dense(nn_tape* t, nn_var x, nn_var w, nn_var b, nn_act act) {
    HWM_ASSERT(x->cols == w->cols && (!b || (b->rows == 1 && b->cols == w->rows)));
    nn_var y = nn_new(t, x->rows, w->rows, x->g || w->g || (b && b->g));
    nn_gemm_weight(x->rows, w->rows, w->cols, 0, w->cols, x->x, x->cols, nn_packed(t, w, 1), y->x,
                   y->cols, b ? b->x : NULL, false);
    switch (act) {
    case NN_LINEAR:
        break;
    case NN_ELU:
        nn_velu(nn_count(y), y->x, y->x);
        break;
    case NN_TANH:
        nn_vtanh(nn_count(y), y->x, y->x);
        break;
    case NN_SIGMOID:
        nn_vsigmoid(nn_count(y), y->x, y->x);
        break;
    }
    nn_record(t, dense_backward, (call){.y = y, .a = x, .b = w, .c = b, .k = (int)act, .t = t});
    return y;
}

nn_var nn_linear(nn_tape* t, nn_var x, nn_var w, nn_var b) {
    return nn_dense(t, x, w, b, NN_LINEAR);
}

// ---- element-wise

static void elu_backward(void* context) {  // y = elu(x)
    const call* k = context;
    nn_elu_backward(k->a->g, k->y->g, k->y->x, nn_count(k->y));
}

static void tanh_backward(void* context) {  // y = tanh(x)
    const call* k = context;
    nn_tanh_backward(k->a->g, k->y->g, k->y->x, nn_count(k->y));
}

static void sigmoid_backward(void* context) {  // y = sigmoid(x)
    const call* k = context;
    nn_sigmoid_backward(k->a->g, k->y->g, k->y->x, nn_count(k->y));
}

static void silu_backward(void* context) {  // y = x s, s = sigmoid(x), kept in p
    const call* k = context;
    nn_silu_backward(k->a->g, k->y->g, k->y->x, k->p, nn_count(k->y));
}

static void softplus_backward(void* context) {  // y = log(1 + exp(x)), y' = sigmoid(x), kept in p
    const call* k = context;
    nn_softplus_backward(k->a->g, k->y->g, k->p, nn_count(k->y));
}

nn_var nn_elu(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_velu(nn_count(x), x->x, y->x);
    nn_record(t, elu_backward, (call){.y = y, .a = x});
    return y;
}

nn_var nn_tanh(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_vtanh(nn_count(x), x->x, y->x);
    nn_record(t, tanh_backward, (call){.y = y, .a = x});
    return y;
}

nn_var nn_sigmoid(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_vsigmoid(nn_count(x), x->x, y->x);
    nn_record(t, sigmoid_backward, (call){.y = y, .a = x});
    return y;
}

nn_var nn_silu(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_var s = nn_new(t, x->rows, x->cols, false);
    nn_silu_forward(y->x, s->x, x->x, nn_count(x));
    nn_record(t, silu_backward, (call){.y = y, .a = x, .p = s->x});
    return y;
}

nn_var nn_softplus(nn_tape* t, nn_var x) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    nn_vsoftplus(nn_count(x), x->x, y->x);
    if (y->g) {
        nn_var s = nn_new(t, x->rows, x->cols, false);
        nn_vsigmoid(nn_count(x), x->x, s->x);
        nn_record(t, softplus_backward, (call){.y = y, .a = x, .p = s->x});
    }
    return y;
}

static void add_backward(void* context) {  // y = a + b
    const call* k = context;
    const size_t n = nn_count(k->y);
    if (k->a->g)
        for (size_t i = 0; i < n; i++)
            k->a->g[i] += k->y->g[i];
    if (k->b->g)
        for (size_t i = 0; i < n; i++)
            k->b->g[i] += k->y->g[i];
}

nn_var nn_add(nn_tape* t, nn_var a, nn_var b) {
    HWM_ASSERT(same_shape(a, b));
    nn_var y = nn_new(t, a->rows, a->cols, a->g || b->g);
    for (size_t i = 0, n = nn_count(y); i < n; i++)
        y->x[i] = a->x[i] + b->x[i];
    nn_record(t, add_backward, (call){.y = y, .a = a, .b = b});
    return y;
}

static void mul_backward(void* context) {  // y = a b
    const call* k = context;
    const size_t n = nn_count(k->y);
    if (k->a->g)
        for (size_t i = 0; i < n; i++)
            k->a->g[i] += k->y->g[i] * k->b->x[i];
    if (k->b->g)
        for (size_t i = 0; i < n; i++)
            k->b->g[i] += k->y->g[i] * k->a->x[i];
}

nn_var nn_mul(nn_tape* t, nn_var a, nn_var b) {
    HWM_ASSERT(same_shape(a, b));
    nn_var y = nn_new(t, a->rows, a->cols, a->g || b->g);
    for (size_t i = 0, n = nn_count(y); i < n; i++)
        y->x[i] = a->x[i] * b->x[i];
    nn_record(t, mul_backward, (call){.y = y, .a = a, .b = b});
    return y;
}

static void scale_backward(void* context) {  // y = s a
    const call* k = context;
    for (size_t i = 0, n = nn_count(k->y); i < n; i++)
        k->a->g[i] += k->s * k->y->g[i];
}

nn_var nn_scale(nn_tape* t, nn_var a, hwm_real s) {
    nn_var y = nn_new(t, a->rows, a->cols, a->g);
    for (size_t i = 0, n = nn_count(y); i < n; i++)
        y->x[i] = s * a->x[i];
    nn_record(t, scale_backward, (call){.y = y, .a = a, .s = s});
    return y;
}

static void
clamp_backward(void* context) {  // y_j = min(max(x_j, lo_j), hi_j): dy where x lies inside
    const call* k = context;
    nn_var y = k->y, x = k->a;
    for (int i = 0; i < y->rows; i++)
        for (int j = 0; j < y->cols; j++) {
            const size_t at = (size_t)i * y->cols + j;
            x->g[at] += x->x[at] >= k->p[j] && x->x[at] <= k->q[j] ? y->g[at] : 0;
        }
}

nn_var nn_clamp(nn_tape* t, nn_var x, const hwm_real* lo, const hwm_real* hi) {
    nn_var y = nn_new(t, x->rows, x->cols, x->g);
    for (int i = 0; i < x->rows; i++)
        for (int j = 0; j < x->cols; j++) {
            const size_t at = (size_t)i * x->cols + j;
            hwm_real v = x->x[at];
            v = v < lo[j] ? lo[j] : v;  // a NaN stays
            y->x[at] = v > hi[j] ? hi[j] : v;
        }
    nn_record(t, clamp_backward, (call){.y = y, .a = x, .p = lo, .q = hi});
    return y;
}

// ---- shapes

typedef struct many {
    nn_var y;
    int n;
    nn_var part[];
} many;

static many* keep_parts(nn_tape* t, nn_var y, int n, const nn_var* parts) {
    many* m = nn_tape_alloc(t, sizeof *m + (size_t)n * sizeof m->part[0]);
    m->y = y;
    m->n = n;
    memcpy(m->part, parts, (size_t)n * sizeof m->part[0]);
    return m;
}

static void concat_backward(void* context) {
    const many* m = context;
    for (int p = 0, from = 0; p < m->n; from += m->part[p]->cols, p++) {
        nn_var v = m->part[p];
        if (v->g)
            nn_columns_add(v->g, v->cols, m->y->g + from, m->y->cols, v->rows, v->cols);
    }
}

nn_var nn_concat(nn_tape* t, int n, const nn_var* parts) {
    HWM_ASSERT(n > 0);
    int cols = 0;
    bool grad = false;
    for (int p = 0; p < n; p++) {
        HWM_ASSERT(parts[p]->rows == parts[0]->rows);
        cols += parts[p]->cols;
        grad = grad || parts[p]->g;
    }
    nn_var y = nn_new(t, parts[0]->rows, cols, grad);
    for (int p = 0, from = 0; p < n; from += parts[p]->cols, p++)
        nn_columns_copy(y->x + from, cols, parts[p]->x, parts[p]->cols, y->rows, parts[p]->cols);
    if (y->g)
        nn_custom(t, concat_backward, keep_parts(t, y, n, parts));
    return y;
}

static void columns_backward(void* context) {  // y = x[:, k ..]
    const call* k = context;
    nn_columns_add(k->a->g + k->k, k->a->cols, k->y->g, k->y->cols, k->y->rows, k->y->cols);
}

nn_var nn_columns(nn_tape* t, nn_var x, int from, int n) {
    HWM_ASSERT(from >= 0 && n > 0 && from + n <= x->cols);
    nn_var y = nn_new(t, x->rows, n, x->g);
    nn_columns_copy(y->x, n, x->x + from, x->cols, x->rows, n);
    nn_record(t, columns_backward, (call){.y = y, .a = x, .k = from});
    return y;
}

nn_var nn_rows(nn_tape* t, nn_var x, int from, int n) {
    HWM_ASSERT(from >= 0 && n > 0 && from + n <= x->rows);
    const size_t at = (size_t)from * (size_t)x->cols;
    nn_var y = nn_wrap(t, x->x + at, x->g ? x->g + at : NULL, n, x->cols);
    y->leaf = x->leaf;
    if (x->hot) {
        y->hot = x->hot + at / (size_t)x->classes;
        y->classes = x->classes;
    }
    return y;
}

static void stack_backward(void* context) {
    const many* m = context;
    const hwm_real* d = m->y->g;
    for (int p = 0; p < m->n; p++) {
        const size_t n = nn_count(m->part[p]);
        if (m->part[p]->g)
            for (size_t i = 0; i < n; i++)
                m->part[p]->g[i] += d[i];
        d += n;
    }
}

// Classes of stacked codes, NULL where a part has none.
static const int* stack_hot(nn_tape* t, int n, const nn_var* parts, size_t groups) {
    for (int p = 0; p < n; p++)
        if (!parts[p]->hot || parts[p]->classes != parts[0]->classes)
            return NULL;
    int* hot = nn_tape_take(t, groups * sizeof *hot);
    for (int p = 0, at = 0; p < n; p++) {
        const int count = (int)nn_count(parts[p]) / parts[p]->classes;
        memcpy(hot + at, parts[p]->hot, (size_t)count * sizeof *hot);
        at += count;
    }
    return hot;
}

nn_var nn_stack(nn_tape* t, int n, const nn_var* parts) {
    HWM_ASSERT(n > 0);
    int rows = 0;
    bool grad = false;
    for (int p = 0; p < n; p++) {
        HWM_ASSERT(parts[p]->cols == parts[0]->cols);
        rows += parts[p]->rows;
        grad = grad || parts[p]->g;
    }
    nn_var y = nn_new(t, rows, parts[0]->cols, grad);
    hwm_real* to = y->x;
    for (int p = 0; p < n; p++) {
        memcpy(to, parts[p]->x, nn_count(parts[p]) * sizeof(hwm_real));
        to += nn_count(parts[p]);
    }
    if (parts[0]->hot) {
        y->hot = stack_hot(t, n, parts, nn_count(y) / (size_t)parts[0]->classes);
        y->classes = parts[0]->classes;
    }
    if (y->g)
        nn_custom(t, stack_backward, keep_parts(t, y, n, parts));
    return y;
}

static void
mean_rows_backward(void* context) {  // y_r = sum of rows r*k .. r*k+k-1 of x, divided by k
    const call* k = context;
    for (int i = 0; i < k->a->rows; i++) {
        const hwm_real* d = k->y->g + (size_t)(i / k->k) * k->y->cols;
        hwm_real* g = k->a->g + (size_t)i * k->a->cols;
        for (int j = 0; j < k->a->cols; j++)
            g[j] += k->s * d[j];
    }
}

nn_var nn_mean_rows(nn_tape* t, nn_var x, int group) {
    HWM_ASSERT(group > 0 && x->rows % group == 0);
    nn_var y = nn_new(t, x->rows / group, x->cols, x->g);
    const hwm_real s = (hwm_real)1 / (hwm_real)group;
    memset(y->x, 0, nn_count(y) * sizeof(hwm_real));
    for (int i = 0; i < x->rows; i++) {
        hwm_real* to = y->x + (size_t)(i / group) * y->cols;
        for (int j = 0; j < x->cols; j++)
            to[j] += x->x[(size_t)i * x->cols + j];
    }
    for (size_t i = 0, n = nn_count(y); i < n; i++)
        y->x[i] *= s;
    nn_record(t, mean_rows_backward, (call){.y = y, .a = x, .s = s, .k = group});
    return y;
}

// ---- losses; p target, q weights of rows or NULL

static void mse_backward(void* context) {  // sum_n w_n mean_j (y - target)^2 / rows
    const call* k = context;
    nn_var y = k->a;
    const hwm_real each = 2 * k->y->g[0] / ((hwm_real)y->rows * (hwm_real)y->cols);
    for (int i = 0; i < y->rows; i++) {
        const hwm_real s = k->q ? each * k->q[i] : each;
        for (int j = 0; j < y->cols; j++) {
            const size_t at = (size_t)i * y->cols + j;
            y->g[at] += s * (y->x[at] - k->p[at]);
        }
    }
}

nn_var nn_mse(nn_tape* t, nn_var y, const hwm_real* target, const hwm_real* weight) {
    nn_var loss = nn_new(t, 1, 1, y->g);
    double sum = 0.0;
    for (int i = 0; i < y->rows; i++) {
        double row = 0.0;
        for (int j = 0; j < y->cols; j++) {
            const double e = y->x[(size_t)i * y->cols + j] - target[(size_t)i * y->cols + j];
            row += e * e;
        }
        sum += weight ? row * weight[i] : row;
    }
    loss->x[0] = (hwm_real)(sum / ((double)y->rows * y->cols));
    nn_record(t, mse_backward, (call){.y = loss, .a = y, .p = target, .q = weight});
    return loss;
}

// loss of one logit: softplus(x) - x target;  derivative sigmoid(x) - target, with sigmoid(x) in c
static void bce_backward(void* context) {
    const call* k = context;
    nn_var x = k->a;
    const hwm_real each = k->y->g[0] / ((hwm_real)x->rows * (hwm_real)x->cols);
    for (int i = 0; i < x->rows; i++) {
        const hwm_real s = k->q ? each * k->q[i] : each;
        for (int j = 0; j < x->cols; j++) {
            const size_t at = (size_t)i * x->cols + j;
            x->g[at] += s * (k->c->x[at] - k->p[at]);
        }
    }
}

nn_var nn_bce_logits(nn_tape* t, nn_var x, const hwm_real* target, const hwm_real* weight) {
    nn_var loss = nn_new(t, 1, 1, x->g);
    nn_var scratch = nn_new(t, x->rows, x->cols, false);
    nn_vsoftplus(nn_count(x), x->x, scratch->x);
    double sum = 0.0;
    for (int i = 0; i < x->rows; i++) {
        double row = 0.0;
        for (int j = 0; j < x->cols; j++) {
            const size_t at = (size_t)i * x->cols + j;
            row += scratch->x[at] - (double)x->x[at] * target[at];
        }
        sum += weight ? row * weight[i] : row;
    }
    loss->x[0] = (hwm_real)(sum / ((double)x->rows * x->cols));
    if (loss->g)
        nn_vsigmoid(nn_count(x), x->x, scratch->x);
    nn_record(t, bce_backward, (call){.y = loss, .a = x, .c = scratch, .p = target, .q = weight});
    return loss;
}
