// Columns that workers compress: what is sampled, unpacked by the client's codec, is what was
// written, whatever slice of which chunks it is; what does not unpack is refused with a sentence.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "net/chunk_codec.h"
#include "net/wire.h"
#include "tests/server/fixture.h"

enum { SIDE = 24, PIXELS = SIDE * SIDE * 3, WIDE = 100, STEPS_MAX = 40 };

static hwm_signature pixel_signature(hwm_compress mode) {
    hwm_signature g = fixture_signature();
    g.column[g.n_columns++] = hwm_spec("pixels", HWM_U8, 3, SIDE, SIDE, 3);
    g.column[g.n_columns++] = hwm_spec("wide", HWM_F32, 1, WIDE);
    hwm_signature_compress(&g, mode);
    return g;
}

// A picture of step t: a bright square that wanders, on a gradient.
static void picture(uint64_t t, uint8_t* out) {
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            bool in = (uint64_t)x / 4 == t % 6 && (uint64_t)y / 4 == t / 6 % 6;
            for (int c = 0; c < 3; c++) {
                out[(y * SIDE + x) * 3 + c] = (uint8_t)(in ? 200 + t % 50 : (uint64_t)y * 5);
            }
        }
    }
}

static float wide_value(uint64_t t, int i) {
    return 0.01f * (float)i + (float)t;
}

typedef struct source {
    writer_state w;
    uint8_t base[CHUNK_BYTES_MAX], pixels[STEPS_MAX * PIXELS];
    float wide[STEPS_MAX * WIDE];
    uint8_t bytes[STEPS_MAX * (PIXELS + WIDE * 4 + 400)];
    size_t raw_bytes, sent_bytes;
} source;

// The next chunk as a worker sends it.
static size_t next_chunk(source* s, hwm_packer* packer, const hwm_signature* g, uint32_t steps,
                         int end) {
    hwm_chunk raw, packed;
    uint64_t first = s->w.step;
    s->raw_bytes += writer_chunk(&s->w, steps, end, s->base, &raw);
    for (uint32_t t = 0; t < steps; t++) {
        picture(first + t, s->pixels + t * PIXELS);
        for (int i = 0; i < WIDE; i++) {
            s->wide[t * WIDE + (uint32_t)i] = wide_value(first + t, i);
        }
    }
    raw.column[5] = s->pixels;
    raw.column[6] = s->wide;
    s->raw_bytes += steps * (PIXELS + 4 * WIDE);
    hwm_error err;
    assert_int_equal(hwm_packer_pack(packer, g, &raw, &packed, &err), HWM_OK);
    size_t size = hwm_chunk_encode(g, &packed, s->bytes, sizeof s->bytes);
    assert_true(size > 0);
    s->sent_bytes += size;
    return size;
}

static void check_batch(const hwm_batch* b) {
    hwm_signature g = fixture_signature();
    fixture_check(b, &g);
    uint8_t want[PIXELS];
    for (int i = 0; i < b->batch; i++) {
        for (uint32_t row = b->row[i]; row < b->row[i + 1]; row++) {
            float step;
            memcpy(&step, (const float*)b->column[HWM_COLUMN_OBS] + row * OBS + 1, 4);
            picture((uint64_t)step, want);
            assert_memory_equal((const uint8_t*)b->column[5] + row * PIXELS, want, PIXELS);
            for (int k = 0; k < WIDE; k++) {
                assert_true(((const float*)b->column[6])[row * WIDE + (uint32_t)k] ==
                            wide_value((uint64_t)step, k));
            }
        }
    }
}

static void run(hwm_compress mode, double ratio) {
    static source s[3];
    scratch_dir dir = scratch_make();
    hwm_replay_config config = fixture_config(dir.path);
    hwm_table_config t = fixture_table(100000);
    hwm_signature g = t.signature = pixel_signature(mode);
    hwm_replay* replay;
    hwm_packer* packer;
    int table;
    hwm_error err;
    assert_int_equal(hwm_packer_create(&packer, &err), HWM_OK);
    assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_OK);
    assert_int_equal(hwm_replay_table_create(replay, &t, &table, &err), HWM_OK);
    hwm_rng rng;
    hwm_rng_init(&rng, 4, HWM_PURPOSE_TEST, (uint32_t)mode, 0, 0);
    size_t raw = 0, sent = 0;
    for (uint32_t env = 0; env < 3; env++) {
        memset(&s[env], 0, sizeof s[env]);
        s[env].w = writer_begin(env, 0);
        for (int k = 0; k < 8; k++) {
            size_t size = next_chunk(&s[env], packer, &g, 1 + hwm_rng_below(&rng, STEPS_MAX),
                                     k == 5 ? HWM_FLAG_LAST : 0);
            hwm_chunk chunk;
            if (hwm_chunk_decode(&g, s[env].bytes, size, &chunk, &err) != HWM_OK) {
                fail_msg("%s", err.text);
            }
            assert_int_equal(hwm_replay_append(replay, 0, &chunk, s[env].bytes, size, 1), HWM_OK);
            assert_int_equal(fixture_wait(replay).status, HWM_OK);
        }
        raw += s[env].raw_bytes;
        sent += s[env].sent_bytes;
    }
    assert_true((double)sent < ratio * (double)raw);
    void* block = NULL;
    size_t block_bytes = 0;
    for (int i = 0; i < 60; i++) {
        if (i == 40) {  // what lies on disk is checked and cut as well
            hwm_replay_close(&replay);
            assert_int_equal(hwm_replay_open(&replay, &config, &err), HWM_OK);
        }
        hwm_sample_request r = {.batch = 1 + i % 5,
                                .length = 1 + i % 50,
                                .context = i % 3 == 0 ? 3 : 0,
                                .materialise = i % 2,
                                .draw = (uint64_t)i};
        hwm_status status;
        hwm_batch* b = fixture_sample(replay, 0, &r, &status);
        assert_int_equal(status, HWM_OK);
        // the wire carries the packed column, the client unpacks it
        assert_true((b->packed_bytes[5] > 0) == (mode != HWM_COMPRESS_NONE));
        assert_true((b->packed_bytes[6] > 0) == (mode == HWM_COMPRESS_ALL));
        size_t size;
        uint8_t* message = hwm_wire_batch(9, &g, b, &size);
        assert_non_null(message);
        hwm_wire* wire;
        hwm_reply reply;
        hwm_batch got;
        assert_int_equal(hwm_wire_create(&wire), HWM_OK);
        assert_int_equal(hwm_wire_unpack_reply(wire, message, size, &reply, &err), HWM_OK);
        if (hwm_wire_batch_decode(&g, packer, reply.sample, &block, &block_bytes, &got, &err) !=
            HWM_OK) {
            fail_msg("%s", err.text);
        }
        check_batch(&got);
        hwm_wire_destroy(&wire);
        free(message);
        hwm_replay_batch_free(replay, &b);
        // other columns only
        r.columns = 1u << HWM_COLUMN_OBS;
        b = fixture_sample(replay, 0, &r, &status);
        assert_int_equal(status, HWM_OK);
        assert_null(b->column[5]);
        assert_int_equal(b->packed_bytes[5], 0);
        hwm_replay_batch_free(replay, &b);
    }
    free(block);
    hwm_packer_destroy(&packer);
    hwm_replay_close(&replay);
    scratch_remove(&dir);
}

static void test_pixels_come_back_whatever_is_compressed(void** state) {
    (void)state;
    run(HWM_COMPRESS_NONE, 1.1);
    run(HWM_COMPRESS_PIXELS, 0.4);
    run(HWM_COMPRESS_ALL, 0.3);
}

static void test_signature_says_what_is_compressed(void** state) {
    (void)state;
    char text[128];
    hwm_error err;
    hwm_signature none = pixel_signature(HWM_COMPRESS_NONE),
                  pixels = pixel_signature(HWM_COMPRESS_PIXELS);
    assert_false(hwm_signature_packs(&none));
    assert_true(hwm_signature_packs(&pixels));
    assert_int_equal(pixels.column[HWM_COLUMN_OBS].codec, HWM_CODEC_RAW);  // narrow
    assert_int_equal(pixels.column[6].codec, HWM_CODEC_RAW);
    assert_string_equal(hwm_tensor_spec_text(&pixels.column[5], text, sizeof text),
                        "pixels u8 (24,24,3) zstd");
    assert_int_equal(hwm_signature_compare(&none, &pixels, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "zstd"));
    none.column[HWM_COLUMN_FLAGS].codec = HWM_CODEC_ZSTD;
    assert_int_equal(hwm_signature_check(&none, &err), HWM_ESIGNATURE);
    none.column[HWM_COLUMN_FLAGS].codec = HWM_CODEC_RAW;
    none.column[5].codec = (hwm_codec)9;
    assert_int_equal(hwm_signature_check(&none, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "codec 9"));
}

// Whatever happens to a packed column, it is unpacked as it was or refused; never read beyond.
static void test_damaged_columns_are_refused(void** state) {
    (void)state;
    static source s;
    memset(&s, 0, sizeof s);
    s.w = writer_begin(0, 0);
    hwm_signature g = pixel_signature(HWM_COMPRESS_ALL);
    hwm_packer* packer;
    hwm_error err;
    hwm_chunk chunk;
    assert_int_equal(hwm_packer_create(&packer, &err), HWM_OK);
    size_t size = next_chunk(&s, packer, &g, 12, 0);
    assert_int_equal(hwm_chunk_decode(&g, s.bytes, size, &chunk, &err), HWM_OK);
    size_t column_bytes = chunk.packed_bytes[5];
    uint8_t* out = malloc(12 * PIXELS);
    hwm_rng rng;
    hwm_rng_init(&rng, 8, HWM_PURPOSE_TEST, 0, 0, 0);
    int refused = 0, corrupt = 0;
    for (int i = 0; i < 4000; i++) {
        size_t n = i % 4 == 0 ? hwm_rng_below(&rng, (uint32_t)column_bytes) : column_bytes;
        uint8_t* column = malloc(n + 1);  // exactly as long, so that ASan sees a step too far
        memcpy(column, chunk.column[5], n);
        for (int k = 0; n > 0 && k < 3; k++) {
            uint32_t at = hwm_rng_below(&rng, i % 2 ? 48 : (uint32_t)n);
            column[at % n] ^= (uint8_t)(1u << hwm_rng_below(&rng, 8));
        }
        hwm_status status = hwm_packer_unpack(packer, &g.column[5], 12, column, n, out, &err);
        assert_true(status == HWM_OK || status == HWM_EPROTO || status == HWM_ECORRUPT);
        assert_true(status == HWM_OK || strstr(err.text, "column pixels") != NULL);
        refused += status == HWM_EPROTO;
        corrupt += status == HWM_ECORRUPT;
        assert_true(n == column_bytes || status == HWM_EPROTO);
        free(column);
    }
    assert_true(refused > 1000 && corrupt > 100);
    // the server's check at the door: a frame of another size
    uint8_t* frames = malloc(size);
    memcpy(frames, s.bytes, size);
    size_t at = (size_t)((const uint8_t*)chunk.column[5] - s.bytes) + 4 * 12 + 4;
    frames[at] ^= 0x20;  // the frame header: single segment, content size
    assert_int_not_equal(hwm_chunk_decode(&g, frames, size, &chunk, &err), HWM_OK);
    assert_non_null(strstr(err.text, "is not a frame of"));
    free(frames);
    free(out);
    hwm_packer_destroy(&packer);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels_come_back_whatever_is_compressed),
        cmocka_unit_test(test_signature_says_what_is_compressed),
        cmocka_unit_test(test_damaged_columns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
