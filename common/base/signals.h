// SIGINT and SIGTERM ask for a clean stop; a second one within 2 s still waits for what is
// acknowledged. SIGPIPE is ignored.
#ifndef HWM_BASE_SIGNALS_H
#define HWM_BASE_SIGNALS_H

#include <stdbool.h>

void hwm_signals_install(void);
bool hwm_signals_stop_requested(void);
int hwm_signals_which(void);  // the first signal received, 0 if none

#endif
