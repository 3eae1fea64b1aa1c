// The table's configuration on disk: what is written is read back; another version, a truncated or
// a flipped record is refused with a sentence.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc.h"
#include "server/table_record.h"
#include "tests/server/fixture.h"

static void test_record_comes_back_as_it_was_written(void** state) {
    (void)state;
    hwm_table_config want = fixture_table(12345), have;
    want.limiter = (hwm_limiter_config){3.5, 100, 16, 256};
    want.capacity_bytes = 1 << 30;
    want.max_times_sampled = 5;
    want.order_streams = 4;
    want.order_steps = 64;
    want.order_first_steps = 9;
    want.signature.column[HWM_COLUMN_ACT].codec = HWM_CODEC_ZSTD;
    size_t size = hwm_table_record_bytes(&want);
    uint8_t* bytes = malloc(size);
    char* experiment;
    double offset;
    hwm_error err = {0};
    hwm_table_record_write(&want, -2.5, bytes);
    assert_int_equal(hwm_table_record_read(bytes, size, &have, &offset, &experiment, &err), HWM_OK);
    assert_string_equal(have.name, want.name);
    assert_string_equal(have.experiment, want.experiment);
    assert_int_equal(hwm_signature_compare(&want.signature, &have.signature, &err), HWM_OK);
    assert_memory_equal(&have.limiter, &want.limiter, sizeof want.limiter);
    assert_int_equal(have.capacity_steps, want.capacity_steps);
    assert_int_equal(have.capacity_bytes, want.capacity_bytes);
    assert_int_equal(have.seed, want.seed);
    assert_int_equal(have.max_times_sampled, 5);
    assert_int_equal(have.order_streams, 4);
    assert_int_equal(have.order_steps, 64);
    assert_int_equal(have.order_first_steps, 9);
    assert_true(offset == -2.5);
    free(experiment);

    // every bit counts, and no truncation passes
    for (size_t i = 0; i < size * 8; i += 5) {
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        hwm_status status = hwm_table_record_read(bytes, size, &have, &offset, &experiment, &err);
        assert_true(status == HWM_ECORRUPT || status == HWM_EVERSION);
        assert_null(experiment);
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < size; n += 7) {
        assert_int_equal(hwm_table_record_read(bytes, n, &have, &offset, &experiment, &err),
                         HWM_ECORRUPT);
    }
    // a record of a newer program is sound, but not for us
    bytes[0] = 9;
    uint32_t crc = hwm_crc32c(0, bytes, size - 4);
    memcpy(bytes + size - 4, &crc, 4);
    assert_int_equal(hwm_table_record_read(bytes, size, &have, &offset, &experiment, &err),
                     HWM_EVERSION);
    assert_non_null(strstr(err.text, "version 9"));
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_record_comes_back_as_it_was_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
