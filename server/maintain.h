// data path  [6] store
//
// Looking after a replay directory: verify every record offline, copy it while it is in use, put a
// copy back. What `hwm check`, `hwm snapshot` and `hwm restore` call.
#ifndef HWM_SERVER_MAINTAIN_H
#define HWM_SERVER_MAINTAIN_H

#include <stdio.h>

#include "server/replay.h"

typedef struct hwm_check_report {
    uint64_t tables, chunks, steps, bytes, blobs;
    uint64_t bad_chunks, bad_blobs;
    uint64_t removed_chunks, removed_blobs;  // by the repair
} hwm_check_report;

// Verify every record of the store in dir against its checksum. No server may own it. repair:
// remove the bad ones; their streams end there. Every problem is one line on out; json: the whole
// report is one object instead. HWM_OK: all is well, or was repaired; HWM_ECORRUPT: bad records
// were found and left; HWM_EEXIST: a server owns the directory; HWM_ENOTFOUND: no store there.
hwm_status hwm_replay_check(const char* dir, bool repair, bool json, FILE* out,
                            hwm_check_report* report, hwm_error* err);
// Consistent copy of dir into the new directory `to`, while another process may go on writing to
// dir (a server copies its own with hwm_replay_snapshot). Nothing of it is visible under that name
// until it is complete and on disk. HWM_EEXIST: `to` is there already.
hwm_status hwm_replay_copy(const char* dir, const char* to, hwm_error* err);
// Put a snapshot in place of the store in dir, after verifying it. force: also where dir holds a
// store already.
hwm_status hwm_replay_restore(const char* snapshot, const char* dir, bool force, hwm_error* err);

#endif
