// data path  [7] sampler
//
// What a restart keeps of the samplers: priorities of starts, and where each online queue stands.
//
//   Written as blobs when the server stops and when a snapshot is taken, not with every update:
//   after a kill -9 the priorities are those of the last time, starts that came later have the
//   priority of a new one, and the online queue goes on from the last time, so some sequences are
//   handed out again. Counts of max_times_sampled are not kept: they begin anew.
#ifndef HWM_SERVER_KEEP_H
#define HWM_SERVER_KEEP_H

#include "server/index.h"

// Into the transaction, under the commit lock (priorities may change meanwhile: the index is locked
// for reading inside).
hwm_status hwm_keep_save(hwm_store_txn* txn, hwm_store* store, int table, hwm_index* index,
                         hwm_error* err);
// After the chunks are loaded. What does not fit the chunks is passed over; HWM_ENOMEM, HWM_EIO.
hwm_status hwm_keep_load(hwm_store* store, int table, hwm_index* index, hwm_error* err);

#endif
