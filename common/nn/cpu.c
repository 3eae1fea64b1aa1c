// Run-time dispatch: AVX-512 where the machine has the subsets that the kernels are compiled for,
// the baseline elsewhere.
#include "nn/cpu.h"

#include "base/status.h"
#include "nn/gemm_kernel.h"
#include "nn/rows_kernel.h"
#include "nn/vmath_kernel.h"

// The kernels' files choose for themselves when the program starts, with the same answer; -1:
// nobody has asked otherwise.
static int selected = -1;

nn_cpu_level nn_cpu_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return NN_CPU_AVX512;
#endif
    return NN_CPU_BASE;
}

nn_cpu_level nn_cpu_current(void) {
    return selected < 0 ? nn_cpu_best() : (nn_cpu_level)selected;
}

void nn_cpu_select(nn_cpu_level level) {
    HWM_ASSERT(level <= nn_cpu_best());
    selected = (int)level;
    nn_gemm_select(level);
    nn_vmath_select(level);
    nn_rows_select(level);
}

const char* nn_cpu_name(nn_cpu_level level) {
    return level == NN_CPU_AVX512 ? "avx512" : "base";
}
