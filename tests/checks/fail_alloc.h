// Allocations of our own code that fail on request: malloc, calloc, realloc, aligned_alloc,
// posix_memalign, strdup and mmap are replaced at link time (hwm_test ... FAIL_ALLOC); those inside
// shared libraries stay as they are.
#ifndef HWM_TESTS_CHECKS_FAIL_ALLOC_H
#define HWM_TESTS_CHECKS_FAIL_ALLOC_H

#include <stdbool.h>

// Of the calls that this thread makes from now on, number k (from 1) fails, and with `all_after`
// every later one too. 0: none.
void fail_alloc_at(int k, bool all_after);
// Did one fail since?
bool fail_alloc_happened(void);

#endif
