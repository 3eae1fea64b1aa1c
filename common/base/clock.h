// Clocks: monotonic for durations, wall for people.
#ifndef HWM_BASE_CLOCK_H
#define HWM_BASE_CLOCK_H

#include <stdint.h>

int64_t hwm_clock_ns(void);       // monotonic
double hwm_clock_s(void);         // monotonic
int64_t hwm_clock_wall_ms(void);  // since 1970, UTC
void hwm_sleep_ms(int ms);        // returns early on a signal

#endif
