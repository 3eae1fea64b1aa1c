// One create under an allocator that fails at call k, for every k: it returns HWM_ENOMEM, leaves
// *out NULL, leaks nothing (LeakSanitizer sees to it), and works when it is called again. The
// includer has a struct fixture.
#ifndef HWM_TEST_EVERY_ALLOCATION_H
#define HWM_TEST_EVERY_ALLOCATION_H

#include <stdlib.h>

#include "../base/test.h"
#include "base/status.h"
#include "fail_alloc.h"

// A connection may survive a failure: what could not be received is asked for again.
static bool may_survive;

typedef hwm_status make_function(fixture* f, void** out, hwm_error* err);
typedef void destroy_function(void** object);

static void every_allocation(const char* what, fixture* f, make_function* make,
                             destroy_function* destroy) {
    for (int all_after = 0; all_after < 2; all_after++) {
        for (int k = 1;; k++) {
            assert_true(k < 5000);
            void* object = f;  // anything but NULL
            hwm_error err = {0};
            fail_alloc_at(k, all_after);
            hwm_status status = make(f, &object, &err);
            bool failed = fail_alloc_happened();
            fail_alloc_at(0, false);
            if (!failed) {
                if (status != HWM_OK)
                    fail_msg("%s: %s: %s", what, hwm_status_name(status), err.text);
                assert_non_null(object);
                destroy(&object);
                assert_null(object);
                destroy(&object);  // of nothing: nothing happens
                print_message("%s: %d allocations\n", what, k - 1);
                break;
            }
            if (may_survive && status == HWM_OK)
                destroy(&object);
            else if (status != HWM_ENOMEM || object)
                fail_msg("%s, allocation %d failed: %s, object %p, %s", what, k,
                         hwm_status_name(status), object, err.text);
        }
    }
}

#define CREATE(name, type, call, destroy_call)                                                     \
    static hwm_status make_##name(fixture* f, void** out, hwm_error* err) {                        \
        (void)f;                                                                                   \
        (void)err;                                                                                 \
        type* object = (type*)*out;                                                                \
        hwm_status status = call;                                                                  \
        *out = object;                                                                             \
        return status;                                                                             \
    }                                                                                              \
    static void destroy_##name(void** out) {                                                       \
        type* object = *out;                                                                       \
        destroy_call;                                                                              \
        *out = object;                                                                             \
    }                                                                                              \
    static void test_##name(void** state) {                                                        \
        every_allocation(#name, *state, make_##name, destroy_##name);                              \
    }

#endif
