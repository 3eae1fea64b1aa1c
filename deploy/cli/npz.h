// NumPy archives: arrays as .npy members of an uncompressed zip, which numpy.load reads. Members
// and the archive stay below 4 GiB, the limit of the plain zip format.
#ifndef HWM_CLI_NPZ_H
#define HWM_CLI_NPZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hwm_npz hwm_npz;

hwm_status hwm_npz_create(hwm_npz** out, const char* path, hwm_error* err);
// descr: "<f4", "<i8", "<u8", "|u1"; item_bytes of one element; shape (ndim). A failure is kept and
// returned by close.
void hwm_npz_add(hwm_npz* npz, const char* name, const char* descr, size_t item_bytes, int ndim,
                 const size_t* shape, const void* data);
// Writes the directory and closes; the file appears under its name only when all went well.
hwm_status hwm_npz_close(hwm_npz** npz, hwm_error* err);

#endif
