// Row kernels compiled for AVX-512.
#define ROWS_TABLE nn_rows_avx512
#include "nn/rows_template.h"
