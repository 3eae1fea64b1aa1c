// data path  [9] params
//
// Parameter hub: every published version of every set, durable in the store's blobs, the newest in
// memory.
//
// DESIGN
//   A version arrives in parts, is assembled aside and becomes visible only when all bytes are
//   there and their checksum holds, so nobody can ever fetch a torn one. A blob's key carries tag,
//   size and checksum: the list of versions is rebuilt at start from the keys alone.
//
//   Kept of the tag rule: every version that a stored chunk refers to, and the newest 64 (fewer of
//   large sets, not below 4), because chunks of a version may still be on their way. Of acting: the
//   newest 4. So there are never more than chunks in the table and 64, with 24 bytes each in memory
//   (the values of at most 4 are) and its values on disk.
//
// Threads: the router thread only.
#ifndef HWM_SERVER_HUB_H
#define HWM_SERVER_HUB_H

#include "net/wire.h"
#include "server/replay.h"
#include "server/text.h"

typedef struct hwm_hub hwm_hub;
hwm_status hwm_hub_create(hwm_hub** out, hwm_replay* replay, hwm_error* err);
void hwm_hub_destroy(hwm_hub** hub);

// One part of a version from `publisher` (any number that names it). *complete: it is stored and
// visible now. HWM_EEXIST: another content under this version, or one below the newest.
// HWM_ENOTFOUND: the parts before are missing: start again at 0. HWM_ECORRUPT: the checksum does
// not hold. HWM_EAGAIN: too much is being assembled.
hwm_status hwm_hub_publish(hwm_hub* hub, uint64_t publisher, const hwm_wire_publish* part,
                           bool* complete, hwm_error* err);
void hwm_hub_forget(hwm_hub* hub, uint64_t publisher);  // what it left unfinished

// One part of a version (0: the newest). *part is borrowed until the next call.
hwm_status hwm_hub_fetch(hwm_hub* hub, const hwm_wire_fetch* request, hwm_wire_publish* part,
                         hwm_error* err);

// Newest version of every set; at most HWM_ANNOUNCE_MAX. Borrowed until the next publish.
int hwm_hub_newest(const hwm_hub* hub, const hwm_announce** row);
// Versions of a set ("": all), newest first, at most max; returns how many.
int hwm_hub_list(const hwm_hub* hub, const char* set, hwm_announce* row, int max);
void hwm_hub_stats(const hwm_hub* hub, hwm_text* json);

#endif
