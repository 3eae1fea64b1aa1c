#include "tests/server/fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

scratch_dir scratch_make(void) {
    scratch_dir dir;
    const char* base = getenv("TMPDIR");
    snprintf(dir.path, sizeof dir.path, "%s/hwm-replay-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(dir.path));
    return dir;
}

void scratch_remove(scratch_dir* dir) {
    static const char* names[] = {"data.mdb", "lock.mdb", "owner"};
    char path[192];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir->path, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(dir->path), 0);
}

hwm_signature fixture_signature(void) {
    hwm_signature g = {.n_columns = 5, .n_keys = 1};
    g.column[HWM_COLUMN_FLAGS] = hwm_spec("flags", HWM_U8, 0);
    g.column[HWM_COLUMN_REWARD] = hwm_spec("reward", HWM_F32, 0);
    g.column[HWM_COLUMN_OBS] = hwm_spec("obs", HWM_F32, 1, OBS);
    g.column[HWM_COLUMN_ACTION] = hwm_spec("action", HWM_F32, 1, ACTION);
    g.column[HWM_COLUMN_ACT] = hwm_spec("act", HWM_F32, 1, ACT);
    g.key[0] = hwm_spec("W0", HWM_F32, 1, KEY);
    return g;
}

hwm_table_config fixture_table(int64_t capacity_steps) {
    return (hwm_table_config){
        .name = "test",
        .signature = fixture_signature(),
        .capacity_steps = capacity_steps,
        .experiment = "run:\n  name: test\n",
        .seed = 7,
    };
}

hwm_replay_config fixture_config(const char* dir) {
    hwm_replay_config config = {.durability = HWM_DURABLE_PROCESS,
                                .commit_ms = 0,
                                .map_bytes = 1 << 30,
                                .sampler_threads = 2};
    snprintf(config.dir, sizeof config.dir, "%s", dir);
    return config;
}

writer_state writer_begin(uint32_t env, uint32_t incarnation) {
    return (writer_state){.stream = {env, incarnation}};
}

float fixture_obs(hwm_stream stream, uint64_t step, uint32_t episode, int i) {
    return i == 0   ? (float)(stream.env * 8 + stream.incarnation)
           : i == 1 ? (float)step
                    : (float)episode;
}

float fixture_key(hwm_stream stream, uint64_t step, int i) {
    return (float)stream.env + 0.25f * (float)i + (float)step;
}

size_t writer_chunk(writer_state* w, uint32_t steps, int end, uint8_t* bytes, hwm_chunk* chunk) {
    hwm_signature g = fixture_signature();
    memset(chunk, 0, sizeof *chunk);
    chunk->stream = w->stream;
    chunk->sequence = ++w->sequence;
    chunk->first_step = w->step;
    chunk->episode = w->episode;
    chunk->episode_step = w->episode_step;
    chunk->steps = steps;
    strcpy(chunk->param.set, "controller");
    chunk->param.version = w->version;

    // a header of odd length, so that columns lie unaligned as they do on the wire
    size_t at = 7;
    memset(bytes, 0xee, at);
    for (int c = 0; c < g.n_columns; c++) {
        chunk->column[c] = bytes + at;
        at += steps * hwm_tensor_bytes(&g.column[c]) + 3;
    }
    chunk->key[0] = bytes + at;
    at += hwm_tensor_bytes(&g.key[0]);
    assert_true(at <= CHUNK_BYTES_MAX);
    for (uint32_t t = 0; t < steps; t++) {
        uint64_t step = w->step + t;
        float row[8];
        uint8_t flags =
            (t == 0 && !w->running ? HWM_FLAG_FIRST : 0) | (t + 1 == steps ? (uint8_t)end : 0);
        memcpy((uint8_t*)chunk->column[HWM_COLUMN_FLAGS] + t, &flags, 1);
        row[0] = (float)(step % 1000);
        memcpy((uint8_t*)chunk->column[HWM_COLUMN_REWARD] + t * 4, row, 4);
        for (int i = 0; i < OBS; i++) {
            row[i] = fixture_obs(w->stream, step, w->episode, i);
        }
        memcpy((uint8_t*)chunk->column[HWM_COLUMN_OBS] + t * 4 * OBS, row, 4 * OBS);
        row[0] = (float)w->version;
        memcpy((uint8_t*)chunk->column[HWM_COLUMN_ACTION] + t * 4, row, 4);
        for (int i = 0; i < ACT; i++) {
            row[i] = (float)step + (float)i;
        }
        memcpy((uint8_t*)chunk->column[HWM_COLUMN_ACT] + t * 4 * ACT, row, 4 * ACT);
    }
    for (int i = 0; i < KEY; i++) {
        float x = fixture_key(w->stream, w->step, i);
        memcpy((uint8_t*)chunk->key[0] + i * 4, &x, 4);
    }
    w->step += steps;
    w->episode_step += steps;
    w->running = true;
    if (end & HWM_FLAG_LAST) {
        w->running = false;
        w->episode++;
        w->episode_step = 0;
    }
    return at;
}

hwm_completion fixture_wait(hwm_replay* replay) {
    hwm_completion c;
    for (int i = 0; i < 100; i++) {
        if (hwm_replay_next(replay, &c)) {
            return c;
        }
        struct pollfd p = {hwm_replay_fd(replay), POLLIN, 0};
        poll(&p, 1, 100);
    }
    fail_msg("no completion within 10 s");
    return c;
}

hwm_status fixture_append(hwm_replay* replay, int table, writer_state* w, uint32_t steps, int end) {
    static uint8_t bytes[CHUNK_BYTES_MAX];
    hwm_chunk chunk;
    size_t size = writer_chunk(w, steps, end, bytes, &chunk);
    hwm_status status = hwm_replay_append(replay, table, &chunk, bytes, size, chunk.sequence);
    return status != HWM_OK ? status : fixture_wait(replay).status;
}

hwm_batch* fixture_sample(hwm_replay* replay, int table, const hwm_sample_request* request,
                          hwm_status* status) {
    assert_int_equal(hwm_replay_sample(replay, table, request, 99), HWM_OK);
    hwm_completion c = fixture_wait(replay);
    assert_int_equal(c.kind, HWM_DONE_SAMPLE);
    *status = c.status;
    return c.batch;
}

static float number(const void* column, size_t at) {
    float x;
    memcpy(&x, (const uint8_t*)column + at * 4, 4);
    return x;
}

void fixture_check(const hwm_batch* b, const hwm_signature* g) {
    assert_int_equal(b->row[0], 0);
    for (int i = 0; i < b->batch; i++) {
        uint32_t rows = b->prefix[i] + (uint32_t)(b->length + 2 * b->context);
        assert_int_equal(b->row[i + 1] - b->row[i], rows);
        uint64_t first = b->step[i] - b->prefix[i];
        uint32_t episode = b->episode[i];
        for (uint32_t t = 0; t < rows; t++) {
            size_t row = b->row[i] + t;
            uint32_t sequence_rows = b->prefix[i] + (uint32_t)b->length;
            uint64_t step = first + t;
            if (t >= sequence_rows) {  // context: pairs of the same episode
                step = (uint64_t)number(b->column[HWM_COLUMN_OBS], row * OBS + 1);
                if ((t - sequence_rows) % 2 == 1) {
                    assert_int_equal(step,
                                     number(b->column[HWM_COLUMN_OBS], (row - 1) * OBS + 1) + 1);
                }
            } else if (t > b->prefix[i]) {  // the next episode begins where the one before ended
                const uint8_t* flags = b->column[HWM_COLUMN_FLAGS];
                bool begins = flags[row] & HWM_FLAG_FIRST;
                assert_int_equal(begins, (flags[row - 1] & HWM_FLAG_LAST) != 0);
                episode += begins;
            }
            for (int k = 0; k < OBS; k++) {
                assert_true(number(b->column[HWM_COLUMN_OBS], row * OBS + (size_t)k) ==
                            fixture_obs(b->stream[i], step, episode, k));
            }
            assert_true(number(b->column[HWM_COLUMN_REWARD], row) == (float)(step % 1000));
            for (int k = 0; k < ACT; k++) {
                assert_true(number(b->column[HWM_COLUMN_ACT], row * ACT + (size_t)k) ==
                            (float)step + (float)k);
            }
        }
        if (b->key[0] != NULL) {
            for (int k = 0; k < KEY; k++) {
                assert_true(number(b->key[0], (size_t)i * KEY + (size_t)k) ==
                            fixture_key(b->stream[i], first, k));
            }
        }
    }
    // every row of the sequences is covered by a segment that names the version it was made with
    assert_true(b->n_segments >= b->batch);
    for (int s = 0; s < b->n_segments; s++) {
        assert_string_equal(b->segment[s].param.set, "controller");
        assert_true((float)b->segment[s].param.version ==
                    number(b->column[HWM_COLUMN_ACTION], b->segment[s].row));
        assert_true(s == 0 || b->segment[s].row > b->segment[s - 1].row);
    }
    assert_int_equal(g->n_columns, 5);
}
