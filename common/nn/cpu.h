// Which instruction set the hot kernels use: decided once when the program starts. AVX2 and AVX-512
// give the same bits.
#ifndef HWM_NN_CPU_H
#define HWM_NN_CPU_H

typedef enum nn_cpu_level { NN_CPU_BASE, NN_CPU_AVX512 } nn_cpu_level;

nn_cpu_level nn_cpu_best(void);     // what this machine offers
nn_cpu_level nn_cpu_current(void);  // what the kernels use
void nn_cpu_select(
    nn_cpu_level level);  // at most nn_cpu_best(); while no kernel runs (tests, benchmarks)
const char* nn_cpu_name(nn_cpu_level level);

#endif
