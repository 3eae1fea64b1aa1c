// data path  [10] feed
//
// Parameter feed: fetches a version of the controller's parameters as soon as it is announced; the
// rollout takes it over at the next boundary.
#ifndef HWM_WORKER_FEED_H
#define HWM_WORKER_FEED_H

#include "net/client.h"
#include "plastic/controller.h"

#define HWM_CONTROLLER_SET "controller"

typedef struct hwm_feed hwm_feed;

hwm_status hwm_feed_create(hwm_feed** out, const hwm_controller* controller, hwm_error* err);
void hwm_feed_destroy(hwm_feed** feed);
// Fetch what has been announced since. HWM_OK: nothing newer, or newer parameters wait. Other: the
// fetch failed, to be tried again at the next call.
hwm_status hwm_feed_update(hwm_feed* feed, hwm_client* client, hwm_error* err);
// Take over what waits. Returns true when the acting parameters changed.
bool hwm_feed_apply(hwm_feed* feed);
// Forget the version: the server is another one.
void hwm_feed_forget(hwm_feed* feed);

uint64_t hwm_feed_version(const hwm_feed* feed);  // that acts; 0: none yet
hwm_param_ref hwm_feed_ref(const hwm_feed* feed);
const hwm_real* hwm_feed_coef(const hwm_feed* feed);
const hwm_real* hwm_feed_delta_scale(const hwm_feed* feed);  // NULL without input d

#endif
