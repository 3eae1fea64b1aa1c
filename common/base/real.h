// The number type of kernels, controllers, models and learner: float in the programs, double in the
// *_f64 libraries that only the gradient checks link. What is stored or sent is always float32.
#ifndef HWM_BASE_REAL_H
#define HWM_BASE_REAL_H

#ifdef HWM_F64
typedef double hwm_real;
#else
typedef float hwm_real;
#endif

#endif
