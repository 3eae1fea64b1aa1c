// TensorBoard event files: scalars and histograms of a run, one writer and one file per process
// start.
//
// FORMAT
//   file    <dir>/events.out.tfevents.<seconds>.<host>.<pid>
//   record  uint64 length | uint32 masked crc32c of the length | bytes | uint32 masked crc32c of
//   the bytes, little-endian bytes   a protobuf message Event. The first one names the version; a
//   resumed run writes a session log of status START
//           with the step it resumes at, so that readers drop what the crashed run wrote beyond it.
//
// A metric that cannot be written must not stop a training: the caller logs the failure once and
// goes on.
#ifndef HWM_BASE_EVENTS_H
#define HWM_BASE_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hwm_events hwm_events;

// dir must exist. resume_step < 0: a new run. Caller owns, free with hwm_events_destroy. HWM_EIO
// with the reason in err.
hwm_status hwm_events_create(hwm_events** out, const char* dir, int64_t resume_step,
                             hwm_error* err);
// Writes what is buffered, then closes. Accepts NULL.
void hwm_events_destroy(hwm_events** events);

// step: environment steps; it may not go back (HWM_EINVAL). tag: "train/return", at most 200 bytes.
// Returns HWM_EIO when the file cannot take it; a later call may succeed again, and no record is
// ever left half written.
hwm_status hwm_events_scalar(hwm_events* events, int64_t step, const char* tag, float value);
// values that are not finite are left out; nothing is written when none is left.
hwm_status hwm_events_histogram(hwm_events* events, int64_t step, const char* tag,
                                const float* values, size_t n);
hwm_status hwm_events_flush(hwm_events* events);

#endif
