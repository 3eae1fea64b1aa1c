// The latent cache against a list that is searched: what was put last is there, the oldest leave
// first, and it never takes more than its limit.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/cache.h"

enum { WIDTH = 3, BYTES = 2000 };

static void test_like_a_list(void** state) {
    (void)state;
    hwm_latent_cache* c;
    hwm_error err = {0};
    assert_int_equal(hwm_latent_cache_create(&c, BYTES, WIDTH, &err), HWM_OK);
    const size_t capacity = hwm_latent_cache_capacity(c);
    // an entry is 28 bytes, and two to four places of its table
    assert_true(capacity >= BYTES / 64 && capacity * (28 + 2 * 4) <= BYTES);
    struct {
        hwm_latent_key key;
        float value;
    }* list = calloc(capacity, sizeof *list);
    size_t n = 0, next = 0;
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    int hits = 0, misses = 0;
    for (int i = 0; i < 200000; i++) {
        const hwm_latent_key key = {hwm_rng_below(&rng, 3), hwm_rng_below(&rng, 60)};
        size_t at = 0;
        while (at < n && (list[at].key.stream != key.stream || list[at].key.step != key.step))
            at++;
        const float* have = hwm_latent_cache_get(c, key);
        if (at == n) {
            assert_null(have);
            misses++;
        } else {
            assert_true(have[0] == list[at].value && have[WIDTH - 1] == -list[at].value);
            hits++;
        }
        if (hwm_rng_below(&rng, 2) == 0) {
            if (at == n) {
                at = next;
                n = n < capacity ? n + 1 : n;
                next = (next + 1) % capacity;
            }
            list[at].key = key;
            list[at].value = (float)i;
            float* to = hwm_latent_cache_put(c, key);
            to[0] = (float)i;
            to[WIDTH - 1] = (float)-i;
        }
        if (hwm_rng_below(&rng, 5000) == 0) {
            hwm_latent_cache_clear(c);
            n = next = 0;
        }
        assert_int_equal(hwm_latent_cache_entries(c), n);
    }
    assert_true(hits > 1000 && misses > 1000 && n == capacity);
    free(list);
    hwm_latent_cache_destroy(&c);
    assert_null(c);
}

static void test_limits(void** state) {
    (void)state;
    hwm_latent_cache* c;
    hwm_error err = {0};
    assert_int_equal(hwm_latent_cache_create(&c, 64, WIDTH, &err), HWM_EINVAL);
    assert_null(c);
    assert_non_null(strstr(err.text, "64 bytes hold no latent"));
    size_t before = 0;
    for (size_t bytes = 200; bytes < 100000; bytes = bytes * 3 / 2) {
        assert_int_equal(hwm_latent_cache_create(&c, bytes, WIDTH, &err), HWM_OK);
        assert_true(hwm_latent_cache_capacity(c) >= before);
        before = hwm_latent_cache_capacity(c);
        for (size_t i = 0; i < 2 * before; i++)
            hwm_latent_cache_put(c, (hwm_latent_key){0, i})[0] = (float)i;
        for (size_t i = 0; i < 2 * before; i++)
            assert_true((hwm_latent_cache_get(c, (hwm_latent_key){0, i}) == NULL) == (i < before));
        hwm_latent_cache_destroy(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_a_list),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
