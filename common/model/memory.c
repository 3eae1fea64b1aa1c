// data path  [8] learner: world model
#include "model/memory.h"

#include <math.h>
#include <string.h>

#include "nn/layers.h"

static int input_of(const hwm_memory* m) {
    return 2 * m->obs + m->action + m->units;
}

void hwm_memory_declare(hwm_memory* m, hwm_param_list* list, int obs, int action, int units) {
    *m = (hwm_memory){.obs = obs, .action = action, .units = units};
    m->w = hwm_param_list_add(list, hwm_spec("memory/w", HWM_F32, 2, 3 * units, input_of(m)));
    m->b = hwm_param_list_add(list, hwm_spec("memory/b", HWM_F32, 1, 3 * units));
}

void hwm_memory_init(const hwm_memory* m, nn_params* params, hwm_rng* rng) {
    nn_params_init_normal(params, m->w, rng, 1.0 / sqrt((double)input_of(m)));
    nn_params_fill(params, m->b, 0.0);
}

hwm_memory_vars hwm_memory_bind(const hwm_memory* m, nn_tape* tape, nn_params* params,
                                bool frozen) {
    const size_t w = params->list.entry[m->w].offset, b = params->list.entry[m->b].offset;
    return (hwm_memory_vars){
        nn_wrap(tape, params->value + w, frozen ? NULL : params->grad + w, 3 * m->units,
                input_of(m)),
        nn_wrap(tape, params->value + b, frozen ? NULL : params->grad + b, 1, 3 * m->units)};
}

nn_var hwm_memory_step(const hwm_memory_vars* v, nn_tape* tape, nn_var o, nn_var d, nn_var u,
                       nn_var h) {
    nn_var parts[4] = {o, d, u, h};
    return nn_gru(tape, nn_linear(tape, nn_concat(tape, 4, parts), v->w, v->b), h, 1);
}

nn_var hwm_memory_unroll(const hwm_memory* m, const hwm_memory_vars* v, nn_tape* tape,
                         const hwm_sequences* s, const hwm_real* scale) {
    const int N = s->n, T = s->length, O = m->obs, A = m->action;
    nn_var* each = nn_tape_alloc(tape, (size_t)T * sizeof *each);
    int* order = nn_tape_alloc(tape, (size_t)N * (size_t)T * sizeof *order);
    hwm_real* keep = nn_tape_alloc(tape, (size_t)N * (size_t)T * sizeof *keep);
    nn_var h = nn_new(tape, N, m->units, false);
    memset(h->x, 0, (size_t)N * (size_t)m->units * sizeof(hwm_real));
    for (int t = 0; t < T; t++, keep += N) {
        nn_var o = nn_new(tape, N, O, false), d = nn_new(tape, N, O, false),
               u = nn_new(tape, N, A, false);
        for (int n = 0; n < N; n++) {
            const size_t row = (size_t)n * (size_t)T + (size_t)t;
            const bool before = t > 0 && s->first[row] == 0 && s->valid[row - 1] > 0;
            keep[n] = before ? 1 : 0;
            for (int j = 0; j < O; j++) {
                const hwm_real* x = s->obs + row * (size_t)O + j;
                o->x[n * O + j] = *x;
                d->x[n * O + j] = before ? (*x - x[-O]) / scale[j] : 0;
            }
            for (int j = 0; j < A; j++)
                u->x[n * A + j] = before ? s->action[(row - 1) * (size_t)A + (size_t)j] : 0;
            order[row] = t * N + n;
        }
        h = hwm_memory_step(v, tape, o, d, u, nn_mask_rows(tape, h, keep));
        each[t] = h;
    }
    return nn_gather(tape, nn_stack(tape, T, each), order, N * T);
}

void hwm_memory_rescale(const hwm_memory* m, nn_params* params, int j, hwm_real ratio) {
    hwm_real* w = params->value + params->list.entry[m->w].offset;
    for (int i = 0; i < 3 * m->units; i++)
        w[(size_t)i * (size_t)input_of(m) + (size_t)(m->obs + j)] /= ratio;
}

double hwm_memory_flops(const hwm_memory* m, int rows) {
    return 2.0 * 3.0 * m->units * input_of(m) * rows;
}
