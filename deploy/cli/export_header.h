// A controller as one C header for a microcontroller: rule, coefficients and one step, no
// allocation, no library.
#ifndef HWM_CLI_EXPORT_HEADER_H
#define HWM_CLI_EXPORT_HEADER_H

#include <stdint.h>

#include "env/env.h"
#include "plastic/controller.h"

// What one control step costs and what the controller occupies.
typedef struct hwm_export_cost {
    int64_t rom_bytes;  // constants
    int64_t ram_bytes;  // state
    int64_t multiplications, additions, tanhs,
        divisions;  // of one step, learning included, at most
    int64_t synapses, plastic_synapses;
} hwm_export_cost;

// prefix: of all names in it, a C identifier. phi: the parameters, coef: as prepared from them.
// HWM_EUNSUPPORTED names what a header cannot hold; HWM_EIO, HWM_EFULL: the file could not be
// written (it is then removed).
hwm_status hwm_export_header(const char* path, const char* prefix, const hwm_env_spec* spec,
                             const hwm_controller* controller, const hwm_real* phi,
                             const hwm_real* coef, hwm_export_cost* cost, hwm_error* err);

#endif
