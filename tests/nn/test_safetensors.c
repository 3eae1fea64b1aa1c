// safetensors files: round trip, replacement, and every kind of damage answered with a sentence.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/safetensors.h"

static char directory[64];
static char path[128];

static int set_up(void** state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/hwm-st-XXXXXX");
    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    return 0;
}

static int tear_down(void** state) {
    (void)state;
    unlink(path);
    return rmdir(directory);  // fails when a temporary file was left behind
}

static void make_list(hwm_param_list* list) {
    hwm_param_list_init(list);
    hwm_param_list_add(list, hwm_spec("layer0.weight", HWM_F32, 2, 3, 4));
    hwm_param_list_add(list, hwm_spec("layer0.bias", HWM_F32, 1, 3));
    hwm_param_list_add(list, hwm_spec("scale", HWM_F32, 0));
}

static void write_file(const void* data, size_t n) {
    FILE* f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static size_t read_file(unsigned char* data, size_t size) {
    FILE* f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(data, 1, size, f);
    fclose(f);
    return n;
}

static void test_round_trip_with_metadata(void** state) {
    (void)state;
    hwm_param_list list, found;
    make_list(&list);
    float values[16], back[16];
    for (int i = 0; i < 16; i++)
        values[i] = 0.5f * (float)i;
    const nn_meta meta[2] = {{"version", "17"}, {"note", "quote \" backslash \\ tab \t end"}};
    hwm_error err;
    // twice: the second replaces the first
    assert_int_equal(nn_safetensors_write(path, &list, values, NULL, 0, &err), HWM_OK);
    values[3] = -1.0f;
    assert_int_equal(nn_safetensors_write(path, &list, values, meta, 2, &err), HWM_OK);
    assert_int_equal(nn_safetensors_read(path, &list, back, &err), HWM_OK);
    assert_memory_equal(values, back, sizeof values);

    nn_meta got[NN_META_MAX];
    int n_meta = NN_META_MAX;
    assert_int_equal(nn_safetensors_list(path, &found, got, &n_meta, &err), HWM_OK);
    assert_int_equal(found.n, 3);
    assert_int_equal(found.count, 16);
    assert_true(hwm_tensor_spec_equal(&found.entry[0].spec, &list.entry[0].spec));
    assert_int_equal(n_meta, 2);
    assert_string_equal(got[1].text, meta[1].text);

    // data begin on a multiple of 8
    unsigned char bytes[1024];
    read_file(bytes, sizeof bytes);
    assert_int_equal(bytes[0] % 8, 0);
}

static void test_other_shapes_and_names_are_refused(void** state) {
    (void)state;
    hwm_param_list list, other;
    make_list(&list);
    float values[32] = {0}, back[32] = {7.0f};
    hwm_error err;
    assert_int_equal(nn_safetensors_write(path, &list, values, NULL, 0, &err), HWM_OK);

    hwm_param_list_init(&other);
    hwm_param_list_add(&other, hwm_spec("layer0.weight", HWM_F32, 2, 4, 3));
    hwm_param_list_add(&other, hwm_spec("layer0.bias", HWM_F32, 1, 3));
    hwm_param_list_add(&other, hwm_spec("scale", HWM_F32, 0));
    assert_int_equal(nn_safetensors_read(path, &other, back, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "layer0.weight"));

    make_list(&other);
    hwm_param_list_add(&other, hwm_spec("more", HWM_F32, 1, 2));
    assert_int_equal(nn_safetensors_read(path, &other, back, &err), HWM_ENOTFOUND);
    assert_non_null(strstr(err.text, "more"));

    hwm_param_list_init(&other);
    hwm_param_list_add(&other, hwm_spec("scale", HWM_F32, 0));
    assert_int_equal(nn_safetensors_read(path, &other, back, &err), HWM_ESIGNATURE);
    assert_true(back[0] == 7.0f);

    assert_int_equal(nn_safetensors_read("/nonexistent/x", &list, back, &err), HWM_ENOTFOUND);
    assert_int_equal(nn_safetensors_write("/nonexistent/x", &list, values, NULL, 0, &err), HWM_EIO);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
}

static void write_with_header(const char* json, size_t data_bytes) {
    unsigned char file[1024] = {0};
    const size_t n = strlen(json);
    file[0] = (unsigned char)n;
    file[1] = (unsigned char)(n >> 8);
    memcpy(file + 8, json, n);
    write_file(file, 8 + n + data_bytes);
}

static void test_damaged_headers_are_refused(void** state) {
    (void)state;
    static const char* const headers[] = {
        "",
        "[]",
        "{",
        "{}x",
        "{\"a\":{}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}",
        "{\"a\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967297,2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483647,2147483647,2147483647,2147483647],"
        "\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,99999999999999999999]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}",
        "{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"an-endless-name-that-is-longer-than-any-name-may-be-at-all\":"
        "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
    };
    hwm_param_list list;
    hwm_param_list_init(&list);
    hwm_param_list_add(&list, hwm_spec("a", HWM_F32, 1, 2));
    float back[2] = {7.0f, 8.0f};
    hwm_error err;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        write_with_header(headers[i], 8);
        err.text[0] = 0;
        assert_int_equal(nn_safetensors_read(path, &list, back, &err), HWM_ECORRUPT);
        assert_true(err.text[0] != 0 && back[0] == 7.0f && back[1] == 8.0f);
    }
    // the same header, right
    write_with_header("{ \"a\" : {\"dtype\":\"F32\",\"shape\":[ 2 ],\"data_offsets\":[0,8]} }  ",
                      8);
    assert_int_equal(nn_safetensors_read(path, &list, back, &err), HWM_OK);
    assert_true(back[0] == 0.0f);
}

static void test_truncated_and_flipped_files_never_crash(void** state) {
    (void)state;
    hwm_param_list list;
    make_list(&list);
    float values[16] = {1.0f, 2.0f}, back[16];
    hwm_error err;
    const nn_meta meta = {"k", "v"};
    assert_int_equal(nn_safetensors_write(path, &list, values, &meta, 1, &err), HWM_OK);
    unsigned char good[1024], bad[1024];
    const size_t n = read_file(good, sizeof good);
    for (size_t cut = 0; cut < n; cut++) {
        write_file(good, cut);
        assert_int_equal(nn_safetensors_read(path, &list, back, &err), HWM_ECORRUPT);
    }
    hwm_rng rng;
    hwm_rng_init(&rng, 9, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < 600; i++) {
        memcpy(bad, good, n);
        const int flips = 1 + (int)hwm_rng_below(&rng, 4);
        for (int k = 0; k < flips; k++)
            bad[hwm_rng_below(&rng, (uint32_t)n)] ^= (unsigned char)(1u << hwm_rng_below(&rng, 8));
        write_file(bad, n);
        const hwm_status status = nn_safetensors_read(path, &list, back, &err);
        assert_true(status == HWM_OK || status == HWM_ECORRUPT || status == HWM_ESIGNATURE ||
                    status == HWM_ENOTFOUND);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_with_metadata),
        cmocka_unit_test(test_other_shapes_and_names_are_refused),
        cmocka_unit_test(test_damaged_headers_are_refused),
        cmocka_unit_test(test_truncated_and_flipped_files_never_crash),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
