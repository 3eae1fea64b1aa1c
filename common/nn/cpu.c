// Run-time dispatch: AVX-512 where the machine has the subsets that the kernels are compiled for,
// AMX where the operating system grants the use of tiles too, the baseline elsewhere.
#include "nn/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/status.h"
#include "nn/bf16_kernel.h"
#include "nn/gemm_kernel.h"
#include "nn/rows_kernel.h"
#include "nn/vmath_kernel.h"

// The kernels' files choose for themselves when the program starts, with the same answer; -1:
// nobody has asked otherwise.
static int selected = -1;

#if defined(__x86_64__)
// Tiles are 8 KB more to save at a context switch: Linux wants to be asked, once a process.
static bool tiles_granted(void) {
#ifdef SYS_arch_prctl
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };       // <asm/prctl.h> of Linux 5.16
    enum { LEAF = 7, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };  // bits of edx
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(LEAF, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & AMX_BF16) != 0 &&
           (edx & AMX_TILE) != 0 && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}
#endif

nn_cpu_level nn_cpu_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return tiles_granted() ? NN_CPU_AMX : NN_CPU_AVX512;
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
    nn_bf16_select(level);
    nn_vmath_select(level);
    nn_rows_select(level);
}

const char* nn_cpu_name(nn_cpu_level level) {
    static const char* const names[] = {"base", "avx512", "amx"};
    return names[level];
}
