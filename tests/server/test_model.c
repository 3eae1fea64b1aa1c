// The whole service against a plain list of rows: random appends, repetitions, abandoned workers,
// samples of every kind, new priorities, reopenings, and kill -9 with appends in flight, which are
// sent again as a worker sends them; whatever is sampled must be in the list, and now and then the
// list and the store are compared row by row. 12,000 operations; HWM_FULL: a million.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "tests/server/fixture.h"

enum { ENVS = 6, CAPACITY = 600, ROWS_MAX = 4096, IN_FLIGHT_MAX = 12 };

typedef struct model_row {
    hwm_stream stream;
    uint64_t step;
    uint32_t episode;
} model_row;

typedef struct model {
    model_row row[ROWS_MAX];  // newest last, in the order of insertion
    int n;
    uint64_t inserted;
    writer_state writer[ENVS];
    // sent and not acknowledged when the process was killed, oldest first
    struct flight {
        writer_state before;
        uint32_t steps;
        int end;
    } flight[IN_FLIGHT_MAX];
    int n_flight;
} model;

// Shared by the processes that are killed and their parent.
typedef struct world {
    scratch_dir dir;
    hwm_replay_config config;
    hwm_replay* replay;
    model m;
    hwm_rng rng;
    uint64_t draw;
    int done, crashes;
    long crossed;  // rows of a later episode than their sequence began in
    bool crashing;
} world;

static void remember(model* m, const hwm_chunk* c) {
    if (m->n + (int)c->steps > ROWS_MAX) {
        int drop = ROWS_MAX / 2;
        memmove(m->row, m->row + drop, (size_t)(m->n - drop) * sizeof m->row[0]);
        m->n -= drop;
    }
    for (uint32_t t = 0; t < c->steps; t++) {
        m->row[m->n++] = (model_row){c->stream, c->first_step + t, c->episode};
    }
    m->inserted += c->steps;
}

static void append(world* w) {
    static uint8_t bytes[CHUNK_BYTES_MAX];
    writer_state* s = &w->m.writer[hwm_rng_below(&w->rng, ENVS)];
    uint32_t chance = hwm_rng_below(&w->rng, 100);
    hwm_chunk chunk;
    s->version = w->m.inserted / 50;
    size_t size = writer_chunk(s, 1 + hwm_rng_below(&w->rng, 24),
                               chance < 15   ? HWM_FLAG_LAST
                               : chance < 25 ? HWM_FLAG_LAST | HWM_FLAG_TERMINAL
                                             : 0,
                               bytes, &chunk);
    if (chance >= 97) {
        return;  // lost on its way
    }
    for (int times = chance >= 90 ? 2 : 1; times > 0; times--) {
        assert_int_equal(hwm_replay_append(w->replay, 0, &chunk, bytes, size, 1), HWM_OK);
        assert_int_equal(fixture_wait(w->replay).status,
                         times == 1 && chance >= 90 ? HWM_EDUPLICATE : HWM_OK);
    }
    remember(&w->m, &chunk);
}

static const model_row* find(const model* m, hwm_stream stream, uint64_t step) {
    for (int i = m->n; i-- > 0;) {
        const model_row* r = &m->row[i];
        if (r->stream.env == stream.env && r->stream.incarnation == stream.incarnation &&
            r->step == step) {
            return r;
        }
    }
    return NULL;
}

static void sample(world* w) {
    hwm_sample_request r = {.batch = 1 + (int)hwm_rng_below(&w->rng, 12),
                            .length = 1 + (int)hwm_rng_below(&w->rng, 30),
                            .selector = (hwm_selector)hwm_rng_below(&w->rng, 5),
                            .context = hwm_rng_below(&w->rng, 3) == 0 ? 4 : 0,
                            .context_window = hwm_rng_below(&w->rng, 2) ? 5 : 0,
                            .materialise = hwm_rng_below(&w->rng, 2),
                            .fraction_terminal = hwm_rng_below(&w->rng, 2) * 0.3,
                            .fraction_first = hwm_rng_below(&w->rng, 2) * 0.3,
                            .fraction_recent = hwm_rng_below(&w->rng, 2) * 0.3,
                            .recent_steps = 100,
                            .priority_exponent = 0.5,
                            .draw = w->draw++};
    if (hwm_rng_below(&w->rng, 3) == 0) {
        r.cross_episodes = true;
        r.materialise = false;
        r.context = 0;
        r.length *= 3;
    }
    assert_int_equal(hwm_replay_sample(w->replay, 0, &r, 7), HWM_OK);
    // nothing that long may be stored: then it waits, and is taken back
    hwm_completion c;
    bool served = false;
    for (int i = 0; i < 2000 && !served; i++) {
        served = hwm_replay_next(w->replay, &c);
        if (!served) {
            usleep(100);
        }
        if (!served && i % 100 == 99) {
            char* json = hwm_replay_stats_json(w->replay);
            bool waits = strstr(json, "\"waiting_samples\":1") != NULL;
            free(json);
            if (waits) {
                break;
            }
        }
    }
    if (!served) {
        hwm_replay_cancel(w->replay, 7);
        return;
    }
    assert_int_equal(c.status, HWM_OK);
    hwm_signature g = fixture_signature();
    fixture_check(c.batch, &g);
    double priority[12];
    for (int i = 0; i < c.batch->batch; i++) {
        for (int t = 0; t < c.batch->length; t++) {
            const model_row* row = find(&w->m, c.batch->stream[i], c.batch->step[i] + (uint64_t)t);
            assert_non_null(row);
            assert_true(r.cross_episodes ? row->episode >= c.batch->episode[i]
                                         : row->episode == c.batch->episode[i]);
            w->crossed += row->episode > c.batch->episode[i];
        }
        // what was evicted is not sampled
        assert_true(c.batch->age_steps[i] <= CAPACITY + 24);
        assert_true(c.batch->probability[i] > 0 && c.batch->probability[i] <= 1 + 1e-9);
        priority[i] = hwm_rng_uniform_double(&w->rng) + 0.01;
    }
    if (hwm_rng_below(&w->rng, 2) == 0) {
        assert_int_equal(hwm_replay_prioritise(w->replay, 0, c.batch->batch, c.batch->stream,
                                               c.batch->step, priority, NULL),
                         HWM_OK);
    }
    hwm_replay_batch_free(w->replay, &c.batch);
}

// Every stored row, oldest first, is the end of the list.
static void compare(world* w) {
    char* json = hwm_replay_stats_json(w->replay);
    int stored = atoi(strstr(json, "\"steps\":") + 8);
    assert_int_equal(strtoull(strstr(json, "\"inserted_steps\":") + 17, NULL, 10), w->m.inserted);
    free(json);
    if (stored == 0) {
        return;
    }
    hwm_sample_request r = {.batch = stored, .length = 1, .selector = HWM_SELECT_OLDEST};
    hwm_status status;
    hwm_batch* b = fixture_sample(w->replay, 0, &r, &status);
    assert_int_equal(status, HWM_OK);
    for (int i = 0; i < stored; i++) {
        const model_row* row = &w->m.row[w->m.n - stored + i];
        assert_int_equal(b->stream[i].env, row->stream.env);
        assert_int_equal(b->stream[i].incarnation, row->stream.incarnation);
        assert_int_equal(b->step[i], row->step);
    }
    hwm_replay_batch_free(w->replay, &b);
}

static void open_world(world* w) {
    hwm_error err = {0};
    if (hwm_replay_open(&w->replay, &w->config, &err) != HWM_OK) {
        fail_msg("%s", err.text);
    }
}

// Several appends, and death before, while or after they are stored.
static void crash(world* w) {
    static uint8_t bytes[CHUNK_BYTES_MAX];
    model* m = &w->m;
    m->n_flight = 1 + (int)hwm_rng_below(&w->rng, IN_FLIGHT_MAX);
    for (int i = 0; i < m->n_flight; i++) {
        writer_state* s = &m->writer[hwm_rng_below(&w->rng, ENVS)];
        hwm_chunk chunk;
        m->flight[i] = (struct flight){*s, 1 + hwm_rng_below(&w->rng, 24),
                                       hwm_rng_below(&w->rng, 5) == 0 ? HWM_FLAG_LAST : 0};
        size_t size = writer_chunk(s, m->flight[i].steps, m->flight[i].end, bytes, &chunk);
        assert_int_equal(hwm_replay_append(w->replay, 0, &chunk, bytes, size, 1), HWM_OK);
    }
    uint32_t pause_us = hwm_rng_below(&w->rng, 1500);
    w->crashes++;
    w->crashing = true;
    usleep(pause_us);
    raise(SIGKILL);
}

// What was in flight is sent again; stored or not, afterwards it is there once.
static void send_again(world* w) {
    static uint8_t bytes[CHUNK_BYTES_MAX];
    for (int i = 0; i < w->m.n_flight; i++) {
        struct flight* f = &w->m.flight[i];
        hwm_chunk chunk;
        writer_state s = f->before;
        size_t size = writer_chunk(&s, f->steps, f->end, bytes, &chunk);
        assert_int_equal(hwm_replay_append(w->replay, 0, &chunk, bytes, size, 1), HWM_OK);
        hwm_status status = fixture_wait(w->replay).status;
        assert_true(status == HWM_OK || status == HWM_EDUPLICATE);
        remember(&w->m, &chunk);
    }
    w->m.n_flight = 0;
}

// One life of the process that owns the store.
static void live(world* w, int operations) {
    open_world(w);
    if (w->crashing) {
        w->crashing = false;
        send_again(w);
        compare(w);
    }
    while (w->done < operations) {
        w->done++;
        uint32_t what = hwm_rng_below(&w->rng, 1000);
        if (what < 600) {
            append(w);
        } else if (what < 980) {
            sample(w);
        } else if (what < 990) {
            // a worker dies: its episode ends there, another takes its place
            writer_state* s = &w->m.writer[hwm_rng_below(&w->rng, ENVS)];
            hwm_replay_abandon(w->replay, 0, s->stream.env, 1, s->stream.incarnation);
            *s = writer_begin(s->stream.env, s->stream.incarnation + 1);
        } else if (what < 996) {
            compare(w);
        } else if (what < 998) {
            hwm_replay_close(&w->replay);
            open_world(w);
            compare(w);
        } else {
            crash(w);
        }
    }
    compare(w);
    hwm_replay_close(&w->replay);
}

static void test_service_agrees_with_a_list_of_rows(void** state) {
    (void)state;
    const char* full = getenv("HWM_FULL");
    int operations = full != NULL && full[0] == '1' ? 1000000 : 12000;
    world* w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(w != MAP_FAILED);
    w->dir = scratch_make();
    w->config = fixture_config(w->dir.path);
    hwm_rng_init(&w->rng, 17, HWM_PURPOSE_TEST, 0, 0, 0);
    for (uint32_t env = 0; env < ENVS; env++) {
        w->m.writer[env] = writer_begin(env, 0);
    }
    hwm_table_config t = fixture_table(CAPACITY);
    int table;
    open_world(w);
    assert_int_equal(hwm_replay_table_create(w->replay, &t, &table, NULL), HWM_OK);
    hwm_replay_close(&w->replay);
    while (w->done < operations) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            live(w, operations);
            exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && w->crashing;
        if (!killed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
            fail_msg("operation %d after %d crashes: status 0x%x", w->done, w->crashes, status);
        }
    }
    print_message("%d operations, %d crashes, %d steps, %ld rows crossed\n", w->done, w->crashes,
                  (int)w->m.inserted, w->crossed);
    assert_true(w->crashes > operations / 1000);
    assert_true(w->crossed > operations / 100);
    scratch_remove(&w->dir);
    munmap(w, sizeof *w);
}

int main(void) {
    hwm_log_setup("test", HWM_LOG_ERROR, HWM_LOG_TEXT);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_service_agrees_with_a_list_of_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
