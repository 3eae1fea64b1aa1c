// Threads for large kernels: one small pool for the process, work cut into tasks whose number
// depends on sizes only, so that no result depends on the number of threads.
#ifndef HWM_NN_POOL_H
#define HWM_NN_POOL_H

// Threads used by kernels, the caller's included; 1 (the default) runs everything in the caller.
// Call while no kernel runs. Returns the number in use: fewer when threads cannot be started.
int nn_threads_set(int n);
// Threads that a call from here may use: 1 inside a task.
int nn_threads(void);

// task(context, i) for i in [0, n), in any order and on any thread; returns when all are done.
// Calls from inside a task, or while another thread uses the pool, run in the caller.
typedef void (*nn_task_fn)(void* context, int i);
void nn_parallel(int n, nn_task_fn task, void* context);

#endif
