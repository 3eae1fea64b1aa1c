// The chunk codec: what is written is read, whatever is damaged is refused and nothing beyond the
// bytes is touched.
#include "fixture.h"

static uint8_t* encode(const hwm_signature* s, const hwm_chunk* chunk, size_t* size) {
    *size = hwm_chunk_encoded_bytes(s, chunk);
    uint8_t* bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(*size, hwm_chunk_encode(s, chunk, bytes, *size));
    return bytes;
}

static void test_chunk_codec_returns_what_went_in(void** state) {
    (void)state;
    const hwm_signature s = fixture_signature();
    fixture_chunk f;
    hwm_chunk* in = &f.chunk;
    fixture_fill(&f, (hwm_stream){41, 3}, 12);
    in->episode = 9;
    in->param.version = UINT64_MAX - 5;
    in->param.perturbation_seed = 1ull << 63;
    in->param.sign = -1;
    in->param.sigma = 0.125f;
    size_t size;
    uint8_t* bytes = encode(&s, in, &size);

    hwm_chunk out;
    hwm_error err;
    assert_int_equal(HWM_OK, hwm_chunk_decode(&s, bytes, size, &out, &err));
    assert_int_equal(41, out.stream.env);
    assert_int_equal(3, out.stream.incarnation);
    assert_int_equal(13, out.sequence);
    assert_int_equal(96, out.first_step);
    assert_int_equal(9, out.episode);
    assert_int_equal(96, out.episode_step);
    assert_int_equal(CHUNK_STEPS, out.steps);
    assert_string_equal("controller", out.param.set);
    assert_true(out.param.version == UINT64_MAX - 5 && out.param.perturbation_seed == 1ull << 63);
    assert_int_equal(-1, out.param.sign);
    assert_true(out.param.sigma == 0.125f);
    for (int c = 0; c < s.n_columns; c++) {
        assert_memory_equal(in->column[c], out.column[c],
                            CHUNK_STEPS * hwm_tensor_bytes(&s.column[c]));
    }
    for (int k = 0; k < s.n_keys; k++) {
        assert_memory_equal(in->key[k], out.key[k], hwm_tensor_bytes(&s.key[k]));
    }
    // a buffer one byte too small is not touched
    uint8_t* small = malloc(size - 1);
    memset(small, 0xee, size - 1);
    assert_int_equal(0, hwm_chunk_encode(&s, in, small, size - 1));
    assert_int_equal(0xee, small[0]);
    free(small);
    free(bytes);
}

static void test_chunk_decode_refuses_every_truncation(void** state) {
    (void)state;
    const hwm_signature s = fixture_signature();
    fixture_chunk f;
    size_t size;
    uint8_t* bytes = encode(&s, fixture_fill(&f, (hwm_stream){1, 0}, 3), &size);
    for (size_t n = 0; n < size; n++) {
        // a block of exactly n bytes, so that a read beyond it is seen
        uint8_t* cut = malloc(n > 0 ? n : 1);
        memcpy(cut, bytes, n);
        hwm_chunk out;
        hwm_error err = {0};
        assert_int_not_equal(HWM_OK, hwm_chunk_decode(&s, cut, n, &out, &err));
        assert_true(strlen(err.text) > 10);
        free(cut);
    }
    free(bytes);
}

static void test_chunk_decode_survives_bit_flips(void** state) {
    (void)state;
    const hwm_signature s = fixture_signature();
    fixture_chunk f;
    size_t size;
    uint8_t* bytes = encode(&s, fixture_fill(&f, (hwm_stream){1, 0}, 3), &size);
    int refused = 0;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        hwm_chunk out;
        hwm_error err = {0};
        if (hwm_chunk_decode(&s, bytes, size, &out, &err) == HWM_OK) {
            // what is accepted lies inside the message
            for (int c = 0; c < s.n_columns; c++) {
                const uint8_t* column = out.column[c];
                assert_true(column >= bytes &&
                            column + out.steps * hwm_tensor_bytes(&s.column[c]) <= bytes + size);
            }
        } else {
            refused++;
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(refused > 50);
    free(bytes);
}

// Encodes f, expects the refusal and its sentence.
static void expect_refusal(const fixture_chunk* f, hwm_status want, const char* words) {
    const hwm_signature s = fixture_signature();
    size_t size;
    uint8_t* bytes = encode(&s, &f->chunk, &size);
    hwm_chunk out;
    hwm_error err = {0};
    assert_int_equal(want, hwm_chunk_decode(&s, bytes, size, &out, &err));
    if (strstr(err.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    }
    free(bytes);
}

static void test_chunk_decode_names_impossible_values(void** state) {
    (void)state;
    fixture_chunk f;
    const hwm_stream stream = {1, 0};
    fixture_fill(&f, stream, 1);
    f.chunk.sequence = 0;
    expect_refusal(&f, HWM_EINVAL, "sequence is 0");
    fixture_fill(&f, stream, 1);
    f.flags[3] = HWM_FLAG_LAST;
    expect_refusal(&f, HWM_EINVAL, "row 3 of 8 has flags 2");
    fixture_fill(&f, stream, 1);
    f.flags[7] = HWM_FLAG_TERMINAL;
    expect_refusal(&f, HWM_EINVAL, "not the last step");
    fixture_fill(&f, stream, 1);
    f.flags[2] = HWM_FLAG_FIRST;
    expect_refusal(&f, HWM_EINVAL, "episode start");
    fixture_fill(&f, stream, 0);
    f.flags[0] = 0;
    expect_refusal(&f, HWM_EINVAL, "episode start");
    fixture_fill(&f, stream, 1);
    f.flags[0] = 64;
    expect_refusal(&f, HWM_EINVAL, "unknown flags");
    fixture_fill(&f, stream, 1);
    f.chunk.param.sign = 2;
    expect_refusal(&f, HWM_EINVAL, "sign 2");
}

static void test_chunk_decode_names_the_column_that_differs(void** state) {
    (void)state;
    hwm_signature other = fixture_signature();
    other.column[2] = hwm_spec("obs", HWM_F32, 1, OBS - 1);
    const hwm_signature s = fixture_signature();
    fixture_chunk f;
    size_t size;
    uint8_t* bytes = encode(&s, fixture_fill(&f, (hwm_stream){1, 0}, 3), &size);
    hwm_chunk out;
    hwm_error err = {0};
    assert_int_equal(HWM_ESIGNATURE, hwm_chunk_decode(&other, bytes, size, &out, &err));
    assert_non_null(strstr(err.text, "obs f32 (2)"));
    other = s;
    other.n_keys = 1;
    assert_int_equal(HWM_ESIGNATURE, hwm_chunk_decode(&other, bytes, size, &out, &err));
    other = s;
    other.n_columns = 4;
    assert_int_equal(HWM_ESIGNATURE, hwm_chunk_decode(&other, bytes, size, &out, &err));
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk_codec_returns_what_went_in),
        cmocka_unit_test(test_chunk_decode_refuses_every_truncation),
        cmocka_unit_test(test_chunk_decode_survives_bit_flips),
        cmocka_unit_test(test_chunk_decode_names_impossible_values),
        cmocka_unit_test(test_chunk_decode_names_the_column_that_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
