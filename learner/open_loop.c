// data path  [8] learner: what the world model knows
#include "open_loop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const int hwm_open_loop_horizon[HWM_OPEN_LOOP_HORIZONS] = {1, 5, HWM_OPEN_LOOP_STEPS};

hwm_open_loop* hwm_open_loop_new(int obs) {
    hwm_open_loop* m = calloc(1, sizeof *m);
    for (int k = 0; m && k < HWM_OPEN_LOOP_HORIZONS; k++) {
        m->model[k] = calloc((size_t)obs, sizeof(double));
        m->nothing[k] = calloc((size_t)obs, sizeof(double));
        if (!m->model[k] || !m->nothing[k])
            hwm_open_loop_free(&m);
    }
    return m;
}

void hwm_open_loop_free(hwm_open_loop** open_loop) {
    hwm_open_loop* m = *open_loop;
    for (int k = 0; m && k < HWM_OPEN_LOOP_HORIZONS; k++) {
        free(m->model[k]);
        free(m->nothing[k]);
    }
    free(m);
    *open_loop = NULL;
}

int hwm_open_loop_length(const hwm_agent* agent) {
    return hwm_model_start_length(agent->model) + HWM_OPEN_LOOP_STEPS;
}

// Rows from .. from + length of every sequence, as sequences of their own on the tape.
static hwm_sequences cut(const hwm_agent* a, nn_tape* tape, const hwm_sequences* s, int from,
                         int length) {
    const int O = a->spec.obs_dim, A = a->spec.action_dim, n = s->n;
    hwm_sequences head = {
        .n = n, .length = length, .context = s->context, .hindsight = s->hindsight};
    const int width[6] = {O, A, 1, 1, 1, 1};
    const hwm_real* source[6] = {s->obs, s->action, s->reward, s->first, s->terminal, s->valid};
    hwm_real** to[6] = {&head.obs,   &head.action,   &head.reward,
                        &head.first, &head.terminal, &head.valid};
    for (int c = 0; c < 6; c++) {
        const size_t w = (size_t)width[c];
        *to[c] = nn_new(tape, n * length, width[c], false)->x;
        for (int i = 0; i < n; i++)
            memcpy(*to[c] + (size_t)i * (size_t)length * w,
                   source[c] + ((size_t)i * (size_t)s->length + (size_t)from) * w,
                   (size_t)length * w * sizeof(hwm_real));
    }
    return head;
}

static nn_var actions(const hwm_agent* a, nn_tape* tape, const hwm_sequences* s, int t) {
    const int A = a->spec.action_dim;
    nn_var u = nn_new(tape, s->n, A, false);
    for (int i = 0; i < s->n; i++)
        memcpy(u->x + (size_t)i * (size_t)A,
               s->action + ((size_t)i * (size_t)s->length + (size_t)t) * (size_t)A,
               (size_t)A * sizeof(hwm_real));
    return u;
}

static void compare(hwm_agent* a, const hwm_sequences* s, int begin, int k, nn_var o,
                    nn_var reward) {
    const int O = a->spec.obs_dim, T = s->length, t = begin + hwm_open_loop_horizon[k];
    hwm_open_loop* m = a->open_loop;
    for (int j = 0; j < O; j++) {
        const double scale = (double)a->statistics.delta_std[j] + a->experiment->model.scale_floor;
        double model = 0, nothing = 0;
        for (int i = 0; i < s->n; i++) {
            const hwm_real* row = s->obs + (size_t)i * (size_t)(T * O);
            const double end = (double)row[t * O + j];
            const double e = (end - (double)o->x[i * O + j]) / scale,
                         q = (end - (double)row[begin * O + j]) / scale;
            model += e * e / s->n;
            nothing += q * q / s->n;
        }
        m->model[k][j] = model;
        m->nothing[k][j] = nothing;
    }
    m->reward[k] = 0;
    for (int i = 0; i < s->n; i++) {
        const double e = (double)s->reward[i * T + t] - (double)reward->x[i];
        m->reward[k] += e * e / s->n;
    }
}

// Predictions of the last row of each sequence, one step ahead.
static void calibrate(hwm_open_loop* m, const hwm_sequences* s, nn_var cont, nn_var reward) {
    enum { BINS = 10 };
    double bin_n[BINS] = {0}, bin_p[BINS] = {0}, bin_y[BINS] = {0};
    double at = 0, n_at = 0, elsewhere = 0, n_elsewhere = 0;
    double mean = 0, square = 0, bias = 0, error = 0;
    for (int i = 0; i < s->n; i++) {
        const size_t row = (size_t)i * (size_t)s->length + (size_t)s->length - 1;
        const double p = (double)cont->x[i], y = s->terminal[row] > 0 ? 0 : 1;
        const double r = (double)s->reward[row], e = (double)reward->x[i] - r;
        *(y > 0 ? &elsewhere : &at) += p;
        *(y > 0 ? &n_elsewhere : &n_at) += 1;
        const int b = p >= 1 ? BINS - 1 : p <= 0 ? 0 : (int)(p * BINS);
        bin_n[b] += 1;
        bin_p[b] += p;
        bin_y[b] += y;
        mean += r / s->n;
        square += r * r / s->n;
        bias += e / s->n;
        error += e * e / s->n;
    }
    m->continue_at_terminals = n_at > 0 ? at / n_at : NAN;
    m->continue_elsewhere = n_elsewhere > 0 ? elsewhere / n_elsewhere : NAN;
    m->continue_calibration = 0;
    for (int b = 0; b < BINS; b++)
        m->continue_calibration += fabs(bin_p[b] - bin_y[b]) / s->n;
    const double variance = square - mean * mean;
    m->reward_bias = bias;
    m->reward_missing = variance > 1e-9 ? error / variance : NAN;
}

// Half of every sequence's hindsight, the first or the second.
static hwm_sequences half_of(const hwm_agent* a, nn_tape* tape, const hwm_sequences* s, int which) {
    hwm_sequences half = cut(a, tape, s, 0, hwm_model_start_length(a->model));
    const size_t width = (size_t)(2 * a->spec.obs_dim + a->spec.action_dim);
    half.context = s->context / 2;
    half.hindsight = nn_new(tape, s->n * half.context, (int)width, false)->x;
    for (int i = 0; i < s->n; i++)
        memcpy(half.hindsight + (size_t)i * (size_t)half.context * width,
               s->hindsight +
                   ((size_t)i * (size_t)s->context + (size_t)(which * half.context)) * width,
               (size_t)half.context * width * sizeof(hwm_real));
    return half;
}

static double context_distance(hwm_agent* a, nn_tape* tape, const hwm_sequences* s, hwm_rng* rng) {
    int from;
    const int C = hwm_model_constant(a->model, &from), Z = hwm_model_latent(a->model), n = s->n;
    if (C == 0 || s->context < 2)
        return NAN;
    const hwm_real* c[2];
    for (int which = 0; which < 2; which++) {
        nn_var z = nn_new(tape, n, Z, false);
        const hwm_sequences half = half_of(a, tape, s, which);
        hwm_model_start(a->model, &half, rng, z->x);
        c[which] = z->x + from;
    }
    double apart = 0, square = 0;
    for (int j = 0; j < C; j++) {
        double mean = 0;
        for (int i = 0; i < n; i++)
            mean += (double)(c[0][i * Z + j] + c[1][i * Z + j]) / (2 * n);
        for (int i = 0; i < n; i++) {
            const double p = (double)c[0][i * Z + j], q = (double)c[1][i * Z + j];
            apart += (p - q) * (p - q);
            square += ((p - mean) * (p - mean) + (q - mean) * (q - mean)) / 2;
        }
    }
    return square > 0 ? apart / square : NAN;
}

void hwm_open_loop_measure(hwm_agent* a, const hwm_sequences* s) {
    const int begin = hwm_model_start_length(a->model) - 1, n = s->n;
    HWM_ASSERT(s->length == hwm_open_loop_length(a) && n % (int)a->experiment->model.members == 0);
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)a->experiment->run.seed, HWM_PURPOSE_MODEL, 1,
                 (uint32_t)a->model_updates, (uint32_t)(a->model_updates >> 32));
    nn_tape* tape = hwm_imagination_tape(a->imagination);
    nn_tape_reset(tape);
    nn_tape_record(tape, false);
    hwm_model_begin(a->model, tape);
    nn_var z = nn_new(tape, n, hwm_model_latent(a->model), false), start = z;
    hwm_sequences head = cut(a, tape, s, 0, begin + 1);
    hwm_model_start(a->model, &head, &rng, z->x);
    for (int t = 0, k = 0; t < HWM_OPEN_LOOP_STEPS; t++) {
        const hwm_model_next next =
            hwm_model_step(a->model, tape, z, actions(a, tape, s, begin + t), t, &rng);
        z = next.z;
        if (t + 1 == hwm_open_loop_horizon[k])
            compare(a, s, begin, k++, hwm_model_observe(a->model, tape, z), next.reward);
    }
    // one step ahead: the rows up to the last but one are read
    head = cut(a, tape, s, HWM_OPEN_LOOP_STEPS - 1, begin + 1);
    hwm_model_start(a->model, &head, &rng, start->x);
    const hwm_model_next next = hwm_model_step(
        a->model, tape, start, actions(a, tape, s, begin + HWM_OPEN_LOOP_STEPS - 1), 0, &rng);
    calibrate(a->open_loop, s, next.cont, next.reward);
    a->open_loop->context = context_distance(a, tape, s, &rng);
    a->open_loop->known = true;
    nn_tape_reset(tape);
    nn_tape_record(tape, true);
}
