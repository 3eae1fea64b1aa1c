// Status codes: the names and messages that people and scripts have come to rely on.
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"

static void test_codes_have_their_names_and_messages(void** state) {
    (void)state;
    static const struct {
        hwm_status code;
        const char *name, *text;
    } expected[] = {
        {HWM_OK, "HWM_OK", "done"},
        {HWM_EINVAL, "HWM_EINVAL", "invalid argument or value"},
        {HWM_ENOMEM, "HWM_ENOMEM", "out of memory"},
        {HWM_EIO, "HWM_EIO", "input or output failed"},
        {HWM_ENOTFOUND, "HWM_ENOTFOUND", "not found"},
        {HWM_EEXIST, "HWM_EEXIST", "exists already"},
        {HWM_EPROTO, "HWM_EPROTO", "malformed or unexpected message"},
        {HWM_EVERSION, "HWM_EVERSION", "version not supported"},
        {HWM_ESIGNATURE, "HWM_ESIGNATURE", "does not match the table's signature"},
        {HWM_ECORRUPT, "HWM_ECORRUPT", "corrupt data"},
        {HWM_EFULL, "HWM_EFULL", "no space left"},
        {HWM_EAGAIN, "HWM_EAGAIN", "not now, try again"},
        {HWM_ETIMEDOUT, "HWM_ETIMEDOUT", "timed out"},
        {HWM_EDENIED, "HWM_EDENIED", "not allowed"},
        {HWM_ECLOSED, "HWM_ECLOSED", "closed"},
        {HWM_EDUPLICATE, "HWM_EDUPLICATE", "already applied"},
        {HWM_EUNSUPPORTED, "HWM_EUNSUPPORTED", "not supported"},
        {HWM_ENUMERIC, "HWM_ENUMERIC", "not a finite number"},
    };
    const int n = (int)(sizeof expected / sizeof expected[0]);
    assert_int_equal(n, HWM_STATUS_COUNT);
    for (int i = 0; i < n; i++) {
        assert_int_equal(expected[i].code, i);  // the numbers travel in replies: append only
        assert_string_equal(hwm_status_name(expected[i].code), expected[i].name);
        assert_string_equal(hwm_status_text(expected[i].code), expected[i].text);
    }
}

static void test_unknown_code_has_a_name_too(void** state) {
    (void)state;
    assert_string_equal(hwm_status_name(HWM_STATUS_COUNT), "HWM_UNKNOWN");
    assert_string_equal(hwm_status_text(HWM_STATUS_COUNT), "unknown status code");
}

static void test_fail_fills_the_error_and_returns_the_code(void** state) {
    (void)state;
    hwm_error err;
    assert_int_equal(hwm_fail(&err, HWM_EPROTO, "%s: %d bytes", "frame", 7), HWM_EPROTO);
    assert_int_equal(err.code, HWM_EPROTO);
    assert_string_equal(err.text, "frame: 7 bytes");
    assert_int_equal(hwm_fail(NULL, HWM_EIO, "nobody listens"), HWM_EIO);
}

static void test_fail_cuts_what_does_not_fit(void** state) {
    (void)state;
    hwm_error err;
    char text[2 * sizeof err.text];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    hwm_fail(&err, HWM_EIO, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes_have_their_names_and_messages),
        cmocka_unit_test(test_unknown_code_has_a_name_too),
        cmocka_unit_test(test_fail_fills_the_error_and_returns_the_code),
        cmocka_unit_test(test_fail_cuts_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
