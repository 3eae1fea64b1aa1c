// Arena: alignment, exhaustion, stack discipline.
#include "test.h"

#include <string.h>

#include "base/arena.h"

static void test_blocks_are_aligned_zeroed_and_apart(void** state) {
    (void)state;
    hwm_arena* arena;
    assert_int_equal(hwm_arena_create(&arena, 1 << 20), HWM_OK);
    unsigned char* last = NULL;
    for (size_t bytes = 1; bytes < 300; bytes += 7) {
        unsigned char* p = hwm_arena_alloc(arena, bytes);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, bytes);  // the next block must not notice
        assert_true(p > last);
        last = p;
    }
    hwm_arena_destroy(&arena);
    assert_null(arena);
}

static void test_a_full_arena_returns_null_and_stays_usable(void** state) {
    (void)state;
    hwm_arena* arena;
    assert_int_equal(hwm_arena_create(&arena, 4096), HWM_OK);
    assert_null(hwm_arena_alloc(arena, (size_t)-1));
    assert_null(hwm_arena_alloc(arena, 100000));
    assert_non_null(hwm_arena_alloc(arena, 4096));
    int more = 0;
    while (hwm_arena_alloc(arena, 64))
        assert_true(more++ < 1000);
    assert_null(hwm_arena_alloc(arena, 64));
    hwm_arena_destroy(&arena);
}

static void test_release_gives_back_and_high_water_remembers(void** state) {
    (void)state;
    hwm_arena* arena;
    assert_int_equal(hwm_arena_create(&arena, 1 << 16), HWM_OK);
    void* kept = hwm_arena_alloc(arena, 100);
    size_t mark = hwm_arena_mark(arena);
    void* scratch = hwm_arena_alloc(arena, 1000);
    size_t high = hwm_arena_high_water(arena);
    assert_true(high >= 1100);
    hwm_arena_release(arena, mark);
    assert_int_equal(hwm_arena_mark(arena), mark);
    assert_ptr_equal(hwm_arena_alloc(arena, 1000), scratch);
    assert_int_equal(hwm_arena_high_water(arena), high);
    memset(kept, 1, 100);
    hwm_arena_destroy(&arena);
}

static void test_create_refuses_sizes_that_make_no_sense(void** state) {
    (void)state;
    hwm_arena* arena = (hwm_arena*)&state;
    assert_int_equal(hwm_arena_create(&arena, 0), HWM_EINVAL);
    assert_null(arena);
    assert_int_equal(hwm_arena_create(&arena, (size_t)-1), HWM_EINVAL);
    assert_null(arena);
    assert_int_equal(hwm_arena_create(&arena, (size_t)1 << 55), HWM_ENOMEM);
    assert_null(arena);
    hwm_arena_destroy(&arena);  // of nothing: nothing happens
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_aligned_zeroed_and_apart),
        cmocka_unit_test(test_a_full_arena_returns_null_and_stays_usable),
        cmocka_unit_test(test_release_gives_back_and_high_water_remembers),
        cmocka_unit_test(test_create_refuses_sizes_that_make_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
