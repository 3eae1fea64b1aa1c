// data path  [10] feed
//
// Parameter feed: fetches a version of the controller's parameters as soon as it is announced; the
// rollout takes it over at the next boundary, of chunks or, environment by environment, of
// episodes.
#ifndef HWM_WORKER_FEED_H
#define HWM_WORKER_FEED_H

#include "net/client.h"
#include "plastic/controller.h"

#define HWM_CONTROLLER_SET "controller"

typedef struct hwm_feed hwm_feed;

// list: of the set "controller", the controller's own entries first; borrowed, as is controller.
// kept_max: older versions that hwm_feed_apply may keep.
hwm_status hwm_feed_create(hwm_feed** out, const hwm_controller* controller,
                           const hwm_param_list* list, int kept_max, hwm_error* err);
void hwm_feed_destroy(hwm_feed** feed);
// From now on versions follow each other without gaps: schedule rounds.
void hwm_feed_in_order(hwm_feed* feed);
// Fetch what has been announced since. HWM_OK: nothing newer, or newer parameters wait. Other: the
// fetch failed, to be tried again at the next call.
hwm_status hwm_feed_update(hwm_feed* feed, hwm_client* client, hwm_error* err);
bool hwm_feed_waits(const hwm_feed* feed);
// Take over what waits. Returns true when the acting parameters changed. keep: the ones that acted
// so far stay as they are, for episodes that began with them, until hwm_feed_release.
bool hwm_feed_apply(hwm_feed* feed, bool keep);
// Older parameters that were kept: k = 0 .. count-1, and let the k-th go (the last one takes its
// number).
int hwm_feed_kept(const hwm_feed* feed);
const hwm_real* hwm_feed_kept_coef(const hwm_feed* feed, int k);
void hwm_feed_release(hwm_feed* feed, int k);

uint64_t hwm_feed_version(const hwm_feed* feed);  // that acts; 0: none yet
// What acts, or what was kept, by its coefficients; NULL: what acts.
hwm_param_ref hwm_feed_ref(const hwm_feed* feed, const hwm_real* coef);
const hwm_real* hwm_feed_coef(const hwm_feed* feed);
const float* hwm_feed_phi(const hwm_feed* feed);             // of what acts; after hwm_feed_apply
const hwm_real* hwm_feed_delta_scale(const hwm_feed* feed);  // NULL without input d

#endif
