// Row kernels: baseline table and dispatch.
#include "nn/rows.h"

#define ROWS_TABLE nn_rows_base
#include "nn/rows_template.h"

static const nn_rows_table* table = &nn_rows_base;

void nn_rows_select(nn_cpu_level level) {
    table = &nn_rows_base;
#if defined(__x86_64__)
    if (level >= NN_CPU_AVX512)
        table = &nn_rows_avx512;
#else
    (void)level;
#endif
}

__attribute__((constructor)) static void choose_at_start(void) {
    nn_rows_select(nn_cpu_best());
}

void nn_rms_forward(R* y, R* rrms, const R* x, const R* g, R eps, int silu, int N, int D) {
    table->rms_forward(y, rrms, x, g, eps, silu, N, D);
}
void nn_rms_backward(R* dx, R* dg, const R* dy, const R* x, const R* g, const R* rrms, int silu,
                     R* scratch, int N, int D) {
    table->rms_backward(dx, dg, dy, x, g, rrms, silu, scratch, N, D);
}
void nn_gru_forward(R* y, R* cache, const R* z, const R* h, int N, int D, int G) {
    const int d = D / G;
    for (int b = 0; b < G; b++)
        table->gru_forward(y + b * d, D, cache ? cache + b * d : NULL, D, z + b * 3 * d, 3 * D,
                           h + b * d, D, N, d);
}
void nn_gru_block(R* y, int ldy, const R* z, const R* h, int ldh, int N, int d) {
    table->gru_forward(y, ldy, NULL, 0, z, 3 * d, h, ldh, N, d);
}
void nn_gru_backward(R* dz, R* dh, const R* dy, const R* cache, const R* z, const R* h, int N,
                     int D, int G) {
    table->gru_backward(dz, dh, dy, cache, z, h, N, D, G);
}
void nn_softmax_forward(R* p, const R* x, R mix, int rows, int C) {
    table->softmax_forward(p, x, mix, rows, C);
}
void nn_softmax_backward(R* dx, const R* dp, const R* p, R mix, int rows, int C) {
    table->softmax_backward(dx, dp, p, mix, rows, C);
}
void nn_draw(int* pick, const R* p, const R* u, int n, int C) {
    table->draw(pick, p, u, n, C);
}
void nn_hot_forward(R* y, int ldy, const R* w, const R* bias, bool add, const int* hot, int S,
                    int C, int N, int n) {
    table->hot_forward(y, ldy, w, bias, add, hot, S, C, N, n);
}
void nn_hot_backward(R* g, const R* dy, int ldd, const int* hot, int S, int C, int N, int n) {
    table->hot_backward(g, dy, ldd, hot, S, C, N, n);
}
void nn_accumulate(R* x, const R* y, int n) {
    table->accumulate(x, y, n);
}
void nn_sum_rows(R* db, const R* dy, int N, int D) {
    table->sum_rows(db, dy, N, D);
}
void nn_elu_scale(R* g, const R* y, int n) {
    table->elu_scale(g, y, n);
}
void nn_tanh_scale(R* g, const R* y, int n) {
    table->tanh_scale(g, y, n);
}
void nn_sigmoid_scale(R* g, const R* y, int n) {
    table->sigmoid_scale(g, y, n);
}
