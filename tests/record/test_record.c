// Named tensors, signatures and parameter sets: sizes, text, and differences that are named.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#include "base/crc.h"
#include "record/chunk.h"
#include "record/params.h"

static hwm_signature standard(void) {
    hwm_signature s;
    memset(&s, 0, sizeof s);
    s.column[s.n_columns++] = hwm_spec("flags", HWM_U8, 0);
    s.column[s.n_columns++] = hwm_spec("reward", HWM_F32, 0);
    s.column[s.n_columns++] = hwm_spec("obs", HWM_F32, 1, 4);
    s.column[s.n_columns++] = hwm_spec("action", HWM_F32, 1, 1);
    s.column[s.n_columns++] = hwm_spec("act", HWM_F32, 1, 21);
    s.column[s.n_columns++] = hwm_spec("modulator", HWM_F32, 0);
    s.key[s.n_keys++] = hwm_spec("W0", HWM_F32, 2, 16, 4);
    s.key[s.n_keys++] = hwm_spec("phase", HWM_I32, 0);
    return s;
}

static void test_tensor_sizes(void** state) {
    (void)state;
    hwm_tensor_spec w = hwm_spec("W0", HWM_F32, 2, 16, 4);
    hwm_tensor_spec flag = hwm_spec("flags", HWM_U8, 0);
    char text[64], small[6];
    assert_int_equal(hwm_tensor_count(&w), 64);
    assert_int_equal(hwm_tensor_bytes(&w), 256);
    assert_int_equal(hwm_tensor_bytes(&flag), 1);
    assert_int_equal(hwm_dtype_bytes(HWM_I64), 8);
    assert_int_equal(hwm_dtype_bytes(HWM_F64_T), 8);
    assert_int_equal(hwm_dtype_bytes((hwm_dtype)77), 0);
    assert_string_equal(hwm_tensor_spec_text(&w, text, sizeof text), "W0 f32 (16,4)");
    assert_string_equal(hwm_tensor_spec_text(&flag, text, sizeof text), "flags u8 ()");
    assert_string_equal(hwm_tensor_spec_text(&w, small, sizeof small), "W0 f3");
    hwm_tensor_spec other = w;
    assert_true(hwm_tensor_spec_equal(&w, &other));
    other.shape[1] = 5;
    assert_false(hwm_tensor_spec_equal(&w, &other));
    other = w;
    other.dtype = HWM_I32;
    assert_false(hwm_tensor_spec_equal(&w, &other));
}

static void test_signature_compare_names_the_difference(void** state) {
    (void)state;
    hwm_signature a = standard(), b = standard();
    hwm_error err;
    assert_int_equal(hwm_signature_compare(&a, &b, &err), HWM_OK);
    b.column[HWM_COLUMN_OBS].shape[0] = 5;
    assert_int_equal(hwm_signature_compare(&a, &b, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "obs f32 (4)"));
    assert_non_null(strstr(err.text, "obs f32 (5)"));
    b = standard();
    b.n_keys--;
    assert_int_equal(hwm_signature_compare(&a, &b, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "phase"));
    assert_int_equal(hwm_signature_compare(&b, &a, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "not in the table"));
    assert_int_equal(hwm_signature_compare(&b, &a, NULL), HWM_ESIGNATURE);
}

static void test_signature_check_refuses_bad_input(void** state) {
    (void)state;
    hwm_signature good = standard(), s;
    hwm_error err;
    assert_int_equal(hwm_signature_check(&good, &err), HWM_OK);
    s = good;
    s.column[5].name[0] = 0;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    s = good;
    memset(s.key[0].name, 'x', sizeof s.key[0].name);
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    s = good;
    s.column[5] = s.column[1];
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "both called reward"));
    s = good;
    s.key[1].dtype = (hwm_dtype)9;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    s = good;
    s.key[0].ndim = 5;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    s = good;
    s.key[0].shape[0] = s.key[0].shape[1] = 0xffffffffu;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    s = good;
    s.key[0].shape[0] = 0;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    s = good;
    s.column[HWM_COLUMN_REWARD].dtype = HWM_I32;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "reward"));
    s = good;
    s.n_columns = 4;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
    s = good;
    s.n_keys = HWM_KEYS_MAX + 1;
    assert_int_equal(hwm_signature_check(&s, &err), HWM_ESIGNATURE);
}

static void test_signature_lookup_and_sizes(void** state) {
    (void)state;
    hwm_signature s = standard();
    assert_int_equal(hwm_signature_column(&s, "act"), HWM_COLUMN_ACT);
    assert_int_equal(hwm_signature_column(&s, "W0"), -1);
    assert_int_equal(hwm_signature_key(&s, "phase"), 1);
    assert_int_equal(hwm_signature_key(&s, "nothing"), -1);
    assert_int_equal(hwm_signature_step_bytes(&s), 1 + 4 + 16 + 4 + 84 + 4);
    assert_int_equal(hwm_signature_key_bytes(&s), 256 + 4);
}

static void test_param_list(void** state) {
    (void)state;
    static hwm_param_list list;
    hwm_param_list_init(&list);
    assert_int_equal(hwm_param_list_add(&list, hwm_spec("layer1.A", HWM_F32, 2, 3, 2)), 0);
    assert_int_equal(hwm_param_list_add(&list, hwm_spec("layer1.eta", HWM_F32, 0)), 1);
    assert_int_equal(hwm_param_list_add(&list, hwm_spec("layer2.A", HWM_F32, 1, 4)), 2);
    assert_int_equal(list.count, 11);
    assert_int_equal(list.entry[1].offset, 6);
    assert_int_equal(list.entry[2].offset, 7);
    assert_int_equal(hwm_param_list_find(&list, "layer2.A"), 2);
    assert_int_equal(hwm_param_list_find(&list, "layer3.A"), -1);
    float values[11] = {1, 2, 3};
    uint32_t crc = hwm_params_crc(&list, values);
    values[10] = 1e-30f;
    assert_int_not_equal(hwm_params_crc(&list, values), crc);
    values[10] = 0;
    assert_int_equal(hwm_params_crc(&list, values), crc);
    list.entry[0].spec.shape[0] = 2;
    list.entry[0].spec.shape[1] = 3;
    assert_int_not_equal(hwm_params_crc(&list, values), crc);
}

// Check value of the Castagnoli CRC (RFC 3720, B.4 and the usual "123456789").
static void test_crc32c_vectors(void** state) {
    (void)state;
    unsigned char zeros[32] = {0}, ones[32];
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(hwm_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(hwm_crc32c(0, zeros, sizeof zeros), 0x8a9136aau);
    assert_int_equal(hwm_crc32c(0, ones, sizeof ones), 0x62a8ab43u);
    assert_int_equal(hwm_crc32c(hwm_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
    assert_int_equal(hwm_crc32c(0x1234u, "", 0), 0x1234u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_sizes),
        cmocka_unit_test(test_signature_compare_names_the_difference),
        cmocka_unit_test(test_signature_check_refuses_bad_input),
        cmocka_unit_test(test_signature_lookup_and_sizes),
        cmocka_unit_test(test_param_list),
        cmocka_unit_test(test_crc32c_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
