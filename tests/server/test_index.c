// The index against a plain array of rows: random appends, evictions, abandoned streams and gaps;
// after each, counts of starts and every rank must be what a walk over the array finds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "server/index.h"

enum { STREAMS = 5, CHUNKS_MAX = 400, LENGTHS = 6 };
static const uint32_t lengths[LENGTHS] = {
    1, 5, 17, 1 | HWM_CROSSING, 5 | HWM_CROSSING, 40 | HWM_CROSSING};

// The model: chunks in insertion order, each row with what decides whether a start lies on it.
typedef struct model_chunk {
    uint64_t id;
    uint32_t stream, steps, run;  // run: number of the segment
    uint64_t first_step;
    uint32_t row;  // in the segment
    bool first, last, terminal;
} model_chunk;
typedef struct model_stream {
    uint64_t sequence, step, last_stored;
    uint32_t episode, episode_step;
    bool open, first_next;
    uint32_t run, run_rows;
} model_stream;
typedef struct model {
    model_chunk chunk[CHUNKS_MAX];
    int n;
    uint64_t next_id;
    uint64_t inserted;
    uint32_t runs;
    model_stream stream[STREAMS];
} model;

static bool start_at(const model* m, int chunk, uint32_t row, uint32_t key, hwm_start_kind kind) {
    const uint32_t length = key & ~(uint32_t)HWM_CROSSING;
    const bool crossing = key != length && kind != HWM_START_TERMINAL;
    const model_chunk* c = &m->chunk[chunk];
    if (kind == HWM_START_FIRST && !(c->first && row == 0)) {
        return false;
    }
    // walk on through the chunks of the same segment, or of the stream's episode that begins where
    // this one ended, until the sequence is full
    uint32_t have = c->steps - row;
    const model_chunk* tail = c;
    for (int i = chunk + 1; i < m->n && have < length; i++) {
        const model_chunk* next = &m->chunk[i];
        if (next->run == tail->run ||
            (crossing && next->stream == c->stream && tail->last && next->first &&
             next->first_step == tail->first_step + tail->steps)) {
            have += next->steps;
            tail = next;
        }
    }
    return have >= length && (kind != HWM_START_TERMINAL || (tail->terminal && have == length));
}

static void compare(const model* m, hwm_index* x) {
    uint64_t steps = 0;
    for (int i = 0; i < m->n; i++) {
        steps += m->chunk[i].steps;
    }
    assert_int_equal(hwm_index_steps(x), steps);
    assert_int_equal(hwm_index_inserted(x), m->inserted);
    for (int l = 0; l < LENGTHS; l++) {
        const hwm_starts* starts = hwm_index_starts(x, lengths[l]);
        if (starts == NULL) {
            hwm_index_starts_create(x, lengths[l]);
            starts = hwm_index_starts(x, lengths[l]);
        }
        for (int kind = 0; kind < HWM_START_KINDS; kind++) {
            uint64_t rank = 0;
            for (int i = 0; i < m->n; i++) {
                for (uint32_t row = 0; row < m->chunk[i].steps; row++) {
                    if (start_at(m, i, row, lengths[l], (hwm_start_kind)kind)) {
                        uint64_t id;
                        uint32_t found;
                        assert_true(rank < hwm_starts_total(starts, (hwm_start_kind)kind));
                        hwm_starts_find(x, starts, (hwm_start_kind)kind, rank, &id, &found);
                        assert_int_equal(id, m->chunk[i].id);
                        assert_int_equal(found, row);
                        rank++;
                    }
                }
            }
            assert_int_equal(hwm_starts_total(starts, (hwm_start_kind)kind), rank);
        }
        // starts older than the newest 40 steps
        uint64_t before = 0, at = m->inserted - steps;
        for (int i = 0; i < m->n; i++) {
            for (uint32_t row = 0; row < m->chunk[i].steps; row++, at++) {
                before += at + 40 < m->inserted && start_at(m, i, row, lengths[l], HWM_START_ANY);
            }
        }
        assert_int_equal(hwm_starts_before_recent(x, starts, 40), before);
    }
    for (int i = 0; i < m->n; i++) {
        const hwm_entry* e = hwm_index_entry(x, m->chunk[i].id);
        const hwm_run* run = hwm_index_run(x, e->segment);
        assert_int_equal(e->row, m->chunk[i].row);
        assert_int_equal(run->first_step + e->row, m->chunk[i].first_step);
        for (uint32_t row = 0; row < e->steps; row++) {
            assert_int_equal(hwm_index_chunk_of_row(x, run, e->row + row), m->chunk[i].id);
        }
    }
}

static void append(model* m, hwm_index* x, hwm_rng* rng) {
    uint32_t which = hwm_rng_below(rng, STREAMS);
    model_stream* s = &m->stream[which];
    uint32_t chance = hwm_rng_below(rng, 100), steps = 1 + hwm_rng_below(rng, 9);
    bool lost = chance < 4;  // a chunk that never arrives: a gap
    bool last = chance >= 80, terminal = chance >= 90;
    hwm_chunk_meta meta = {
        .edge = (uint8_t)((s->first_next ? HWM_FLAG_FIRST : 0) | (last ? HWM_FLAG_LAST : 0) |
                          (terminal ? HWM_FLAG_TERMINAL : 0)),
        .env = which,
        .incarnation = 1,
        .sequence = ++s->sequence,
        .first_step = s->step,
        .inserted_before = m->inserted,
        .episode = s->episode,
        .episode_step = s->episode_step,
        .steps = steps,
        .param_version = m->next_id / 7,
        .value_bytes = 100,
    };
    strcpy(meta.set, "controller");
    bool first = s->first_next;
    s->step += steps;
    s->episode_step += steps;
    s->first_next = last;
    if (last) {
        s->episode++;
        s->episode_step = 0;
    }
    if (lost) {
        s->open = false;
        return;
    }
    if (first || !s->open) {
        s->run = ++m->runs;
        s->run_rows = 0;
    }
    m->chunk[m->n++] = (model_chunk){m->next_id,  which, steps, s->run,  meta.first_step,
                                     s->run_rows, first, last,  terminal};
    s->run_rows += steps;
    s->open = !last;
    static const uint8_t value[1];
    hwm_index_append(x, m->next_id++, &meta, value, true);
    m->inserted += steps;
}

static void test_index_agrees_with_a_plain_array(void** state) {
    (void)state;
    const char* full = getenv("HWM_FULL");
    int operations = full != NULL && full[0] == '1' ? 100000 : 6000;
    static model m;
    hwm_index* x;
    hwm_error err;
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    assert_int_equal(hwm_index_create(&x, 1, &err), HWM_OK);
    m.next_id = 1;
    for (int i = 0; i < STREAMS; i++) {
        m.stream[i].first_next = true;
    }
    for (int i = 0; i < operations; i++) {
        // phases of growth and of shrinking, so that the ring wraps, fills, empties and grows
        uint32_t growth = i / 1000 % 3 == 0 ? 8 : i / 1000 % 3 == 1 ? 5 : 2;
        uint32_t what = hwm_rng_below(&rng, 10);
        if (what < growth && m.n < CHUNKS_MAX) {
            append(&m, x, &rng);
        } else if (what < 9 && m.n > 0) {
            hwm_index_evict(x);
            // what is left of the segment starts later, rows keep their numbers
            memmove(m.chunk, m.chunk + 1, (size_t)--m.n * sizeof m.chunk[0]);
        } else if (what == 9) {
            uint32_t which = hwm_rng_below(&rng, STREAMS);
            hwm_index_close_stream(x, (hwm_stream){which, 1});
            m.stream[which].open = false;
        }
        // a run whose chunks are all gone is not continued
        for (int s = 0; s < STREAMS; s++) {
            bool stored = false;
            for (int c = m.n - 1; c >= 0 && !stored; c--) {
                stored = m.chunk[c].run == m.stream[s].run;
            }
            m.stream[s].open = m.stream[s].open && stored;
        }
        if (i % 16 == 0 || m.n < 12) {
            compare(&m, x);
        }
    }
    hwm_index_destroy(&x);
}

static void append_episode(hwm_index* x, uint64_t id, uint64_t first_step) {
    static const uint8_t value[1];
    hwm_chunk_meta meta = {.edge = HWM_FLAG_FIRST | HWM_FLAG_LAST,
                           .sequence = id,
                           .steps = 4,
                           .episode = (uint32_t)(first_step / 4),
                           .first_step = first_step,
                           .inserted_before = 4 * (id - 1),
                           .value_bytes = 10};
    hwm_index_append(x, id, &meta, value, true);
}

static uint64_t starts_of(hwm_index* x, uint32_t length) {
    hwm_index_starts_create(x, length);
    return hwm_starts_total(hwm_index_starts(x, length), HWM_START_ANY);
}

// Episodes of 4 rows: sequences of 6 cross from one into the next, but over nothing that is
// missing.
static void test_sequences_cross_no_gap(void** state) {
    (void)state;
    const uint32_t six = 6 | HWM_CROSSING, ten = 10 | HWM_CROSSING;
    hwm_index* x;
    hwm_error err;
    assert_int_equal(hwm_index_create(&x, 1, &err), HWM_OK);
    append_episode(x, 1, 0);
    append_episode(x, 2, 4);
    assert_int_equal(starts_of(x, six), 3);
    assert_int_equal(starts_of(x, 6), 0);
    append_episode(x, 3, 12);  // one episode never came
    assert_int_equal(starts_of(x, six), 3);
    append_episode(x, 4, 16);
    append_episode(x, 5, 20);
    assert_int_equal(starts_of(x, six), 3 + 4 + 3);
    assert_int_equal(starts_of(x, ten), 3);
    hwm_index_drop(x, 4);  // damaged
    assert_int_equal(starts_of(x, six), 3);
    assert_int_equal(starts_of(x, ten), 0);
    hwm_index_evict(x);
    assert_int_equal(starts_of(x, six), 0);
    hwm_index_destroy(&x);
}

static void test_index_counts_references_to_parameters(void** state) {
    (void)state;
    hwm_index* x;
    hwm_error err;
    assert_int_equal(hwm_index_create(&x, 1, &err), HWM_OK);
    static const uint8_t value[1];
    for (uint64_t id = 1; id <= 3000; id++) {
        hwm_chunk_meta meta = {.edge = HWM_FLAG_FIRST | HWM_FLAG_LAST,
                               .sequence = id,
                               .steps = 1,
                               .episode = (uint32_t)id,
                               .first_step = id,
                               .param_version = id / 2,
                               .perturbation_seed = id % 5,
                               .value_bytes = 10};
        strcpy(meta.set, "rule");
        hwm_index_append(x, id, &meta, value, true);
        if (id > 20) {
            hwm_index_evict(x);
        }
        assert_true(hwm_index_version_in_use(x, "rule", id / 2));
        assert_false(hwm_index_version_in_use(x, "rules", id / 2));
        assert_false(hwm_index_version_in_use(x, "rule", id / 2 + 1));
        assert_true(id < 25 || !hwm_index_version_in_use(x, "rule", id / 2 - 11));
    }
    // places are used again: 20 live references do not need the memory of 3000
    assert_true(hwm_index_memory(x) < 400000);
    hwm_index_destroy(&x);
}

static void test_index_forgets_streams(void** state) {
    (void)state;
    hwm_index* x;
    hwm_error err;
    assert_int_equal(hwm_index_create(&x, 1, &err), HWM_OK);
    for (uint32_t env = 0; env < 1000; env++) {
        hwm_index_stream_set(x, (hwm_stream){env, 2}, &(hwm_stream_record){env + 1, 0});
    }
    for (uint32_t env = 0; env < 1000; env += 3) {
        hwm_index_stream_forget(x, (hwm_stream){env, 2});
    }
    for (uint32_t env = 0; env < 1000; env++) {
        const hwm_stream_info* s = hwm_index_stream(x, (hwm_stream){env, 2});
        if (env % 3 == 0) {
            assert_null(s);
        } else {
            assert_non_null(s);
            assert_int_equal(s->last_sequence, env + 1);
        }
    }
    hwm_index_destroy(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_agrees_with_a_plain_array),
        cmocka_unit_test(test_sequences_cross_no_gap),
        cmocka_unit_test(test_index_counts_references_to_parameters),
        cmocka_unit_test(test_index_forgets_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
