// Which instruction set the hot kernels use: decided once when the program starts. All of them give
// the same bits. AMX: AVX-512, and tiles for the products in bfloat16.
#ifndef HWM_NN_CPU_H
#define HWM_NN_CPU_H

typedef enum nn_cpu_level { NN_CPU_BASE, NN_CPU_AVX512, NN_CPU_AMX } nn_cpu_level;

// what this machine offers; asks the operating system for the use of AMX tiles
nn_cpu_level nn_cpu_best(void);
nn_cpu_level nn_cpu_current(void);  // what the kernels use
void nn_cpu_select(
    nn_cpu_level level);  // at most nn_cpu_best(); while no kernel runs (tests, benchmarks)
const char* nn_cpu_name(nn_cpu_level level);

#endif
