// Recurrent memory of a world model: a gated unit that reads what is observed, so that the model
// can carry what no single observation shows.
//
//   x_t = [o_t ; d_t ; u_{t-1}]    d_t = (o_t - o_{t-1}) / s, 0 where nothing was before
//   h_t = gru([x_t ; h_{t-1}], h_{t-1})        gates as in nn/rows.h, one block
#ifndef HWM_MODEL_MEMORY_H
#define HWM_MODEL_MEMORY_H

#include "base/rng.h"
#include "model/sequences.h"
#include "nn/params.h"

typedef struct hwm_memory {
    int obs, action, units;  // O, A, D
    int w, b;                // entries: (3D, 2O+A+D), (3D)
} hwm_memory;

typedef struct hwm_memory_vars {
    nn_var w, b;
} hwm_memory_vars;

void hwm_memory_declare(hwm_memory* m, hwm_param_list* list, int obs, int action, int units);
void hwm_memory_init(const hwm_memory* m, nn_params* params, hwm_rng* rng);
hwm_memory_vars hwm_memory_bind(const hwm_memory* m, nn_tape* tape, nn_params* params, bool frozen);

// One step: o, d (N,O), u (N,A), h (N,D) -> (N,D)
nn_var hwm_memory_step(const hwm_memory_vars* v, nn_tape* tape, nn_var o, nn_var d, nn_var u,
                       nn_var h);
// h of every row of the sequences, in their order: (N*T,D). It begins with zeros at row 0, at an
// episode's first row and at the first row that is valid.   scale (O) s
nn_var hwm_memory_unroll(const hwm_memory* m, const hwm_memory_vars* v, nn_tape* tape,
                         const hwm_sequences* s, const hwm_real* scale);
// The column that reads d_j follows a change of s_j by s_old / s_new = ratio, so that the function
// stays.
void hwm_memory_rescale(const hwm_memory* m, nn_params* params, int j, hwm_real ratio);
double hwm_memory_flops(const hwm_memory* m, int rows);  // forward

#endif
