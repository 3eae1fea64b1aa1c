// data path  [8] learner: which coefficients acted
//
// Prepared coefficients of the published versions of the controller's parameters, newest ones in
// memory within a limit in bytes, older ones fetched again. Materialising a chunk needs those of
// the version that acted in it.
#ifndef HWM_LEARNER_VERSIONS_H
#define HWM_LEARNER_VERSIONS_H

#include "plastic/controller.h"

// Fills phi (count of the controller's list) of a version.
typedef hwm_status (*hwm_versions_fetch)(void* context, uint64_t version, float* phi,
                                         hwm_error* err);

typedef struct hwm_versions hwm_versions;
// controller: borrowed. bytes_max bounds what is kept (at least 8 versions).
hwm_status hwm_versions_create(hwm_versions** out, const hwm_controller* controller,
                               size_t bytes_max, hwm_versions_fetch fetch, void* context);
void hwm_versions_destroy(hwm_versions** versions);
void hwm_versions_put(hwm_versions* versions, uint64_t version, const float* phi);
// Coefficients, borrowed until the next call. What fetch returned where it fails.
hwm_status hwm_versions_get(hwm_versions* versions, uint64_t version, const hwm_real** coef,
                            hwm_error* err);
int64_t hwm_versions_fetched(const hwm_versions* versions);  // misses so far

#endif
