// Batches: what the sampler sends becomes arrays, and the plastic state of a start is recovered bit
// for bit from the key frame.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "dump.h"
#include "experiment/experiment.h"
#include "nn/safetensors.h"

enum { STEPS = 24, CHUNK = 8, SEQUENCES = 20, LENGTH = 4, CONTEXT = 3 };

// One stream of a worker, step by step, and what the sampler would make of it.
typedef struct fixture {
    hwm_experiment* experiment;
    hwm_env_spec spec;
    hwm_controller* controller;
    hwm_signature signature;
    hwm_versions* versions;
    hwm_batcher* batcher;
    int O, A, S, NA, count;
    float phi[3][4096];  // of versions 1 .. 3: one per chunk
    float obs[STEPS][4], reward[STEPS], act[STEPS][128], state[STEPS + 1][512];
    float action[STEPS];
    uint8_t flags[STEPS];
    hwm_batch batch;
    int fetches;
    bool deny;
} fixture;

static hwm_status fetch(void* context, uint64_t version, float* phi, hwm_error* err) {
    fixture* f = context;
    f->fetches++;
    if (f->deny || version > 3)
        return hwm_fail(err, HWM_ENOTFOUND, "version %llu is not stored",
                        (unsigned long long)version);
    memcpy(phi, f->phi[version - 1], (size_t)f->count * sizeof *phi);
    return HWM_OK;
}

// The worker's side: chunks of CHUNK steps, each with parameters of its own.
static void act_out(fixture* f) {
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    const hwm_controller* c = f->controller;
    float coef[8192], state[HWM_LANES * 512] = {0}, act[HWM_LANES * 128] = {0};
    for (int v = 0; v < 3; v++)
        for (int i = 0; i < f->count; i++)
            f->phi[v][i] = 0.3F * hwm_rng_normal(&rng);
    hwm_controller_prepare(c, f->phi[0], coef);
    hwm_controller_reset(c, coef, &rng, state, 0);
    float previous[HWM_LANES * 4] = {0}, u[HWM_LANES] = {0}, reward[HWM_LANES] = {0};
    const float ones[4] = {1, 1, 1, 1};
    for (int t = 0; t < STEPS; t++) {
        hwm_controller_prepare(c, f->phi[t / CHUNK], coef);
        float obs[HWM_LANES * 4] = {0}, first[HWM_LANES] = {0}, scale[64 * HWM_LANES];
        for (int j = 0; j < 4; j++)
            f->obs[t][j] = 0.5F * hwm_rng_normal(&rng);
        hwm_lanes_set(obs, 0, 4, f->obs[t]);
        first[0] = t == 0;
        hwm_controller_input(c, 1, obs, previous, ones, u, reward, first, act);
        hwm_controller_act(c, coef, 1, state, act);
        f->flags[t] = t == 0 ? HWM_FLAG_FIRST : 0;
        f->reward[t] = t == 0 ? 0 : 0.25F * (float)t;
        f->action[t] = hwm_rng_uniform(&rng) < 0.5F ? -1.0F : 1.0F;
        hwm_lanes_get(act, 0, f->NA, f->act[t]);
        hwm_lanes_get(state, 0, f->S, f->state[t]);
        hwm_lanes_set(u, 0, 1, &f->action[t]);
        hwm_controller_learn(c, coef, 1, act, u, NULL, state, scale);
        memcpy(previous, obs, sizeof previous);
    }
    f->flags[STEPS - 1] |= HWM_FLAG_LAST | HWM_FLAG_TERMINAL;
    hwm_lanes_get(state, 0, f->S, f->state[STEPS]);
}

// Sequence i starts at step i: rows from its chunk's key frame, LENGTH rows, 2 * CONTEXT rows.
static void sample(fixture* f) {
    hwm_batch* b = &f->batch;
    b->batch = SEQUENCES;
    b->length = LENGTH;
    b->context = CONTEXT;
    b->row = calloc(SEQUENCES + 1, sizeof *b->row);
    b->prefix = calloc(SEQUENCES, sizeof *b->prefix);
    b->stream = calloc(SEQUENCES, sizeof *b->stream);
    b->step = calloc(SEQUENCES, sizeof *b->step);
    b->segment = calloc(SEQUENCES * 3, sizeof *b->segment);
    const size_t rows = SEQUENCES * (CHUNK + LENGTH + 2 * CONTEXT);
    uint8_t* flags = b->column[HWM_COLUMN_FLAGS] = calloc(rows, 1);
    float* reward = b->column[HWM_COLUMN_REWARD] = calloc(rows, sizeof(float));
    float* obs = b->column[HWM_COLUMN_OBS] = calloc(rows * 4, sizeof(float));
    float* action = b->column[HWM_COLUMN_ACTION] = calloc(rows, sizeof(float));
    float* act = b->column[HWM_COLUMN_ACT] = calloc(rows * (size_t)f->NA, sizeof(float));
    for (int k = 0; k < f->signature.n_keys; k++)
        b->key[k] = calloc(SEQUENCES * hwm_tensor_count(&f->signature.key[k]) + 1, sizeof(float));
    uint32_t row = 0;
    for (int i = 0; i < SEQUENCES; i++) {
        const int from = i / CHUNK * CHUNK;
        b->row[i] = row;
        b->prefix[i] = (uint32_t)(i - from);
        b->step[i] = (uint64_t)i;
        b->stream[i].env = 5;
        size_t used = 0;
        for (int k = 0; k < f->signature.n_keys; k++) {
            const size_t n = hwm_tensor_count(&f->signature.key[k]);
            memcpy((float*)b->key[k] + (size_t)i * n, f->state[from] + used, n * sizeof(float));
            used += n;
        }
        const int n = i - from + LENGTH + 2 * CONTEXT;
        for (int k = 0; k < n; k++, row++) {
            int t = from + k;
            if (k >= i - from + LENGTH)
                t = 2 + 3 * ((k - (i - from + LENGTH)) / 2) + (k - (i - from + LENGTH)) % 2;
            flags[row] = f->flags[t];
            reward[row] = f->reward[t];
            action[row] = f->action[t];
            memcpy(obs + row * 4, f->obs[t], 4 * sizeof(float));
            memcpy(act + row * (size_t)f->NA, f->act[t], (size_t)f->NA * sizeof(float));
            if (k == 0 || (k < i - from + LENGTH && t % CHUNK == 0)) {
                hwm_segment* s = &b->segment[b->n_segments++];
                s->row = row;
                s->param.version = (uint64_t)(t / CHUNK) + 1;
            }
        }
    }
    b->row[SEQUENCES] = row;
}

static int set_up(void** state) {
    fixture* f = calloc(1, sizeof *f);
    hwm_error err = {0};
    assert_non_null(f);
    assert_int_equal(hwm_experiment_load(&f->experiment, NULL,
                                         "controller: {inputs: [o, d, a]}\nrule: {kind: mod3}\n",
                                         NULL, 0, &err),
                     HWM_OK);
    assert_int_equal(hwm_env_describe(&f->experiment->env, &f->spec, &err), HWM_OK);
    const float one[4] = {1, 1, 1, 1};
    assert_int_equal(hwm_controller_create(&f->controller, &f->experiment->controller,
                                           &f->experiment->rule, 4, one, 1, true, &err),
                     HWM_OK);
    hwm_controller_signature(f->controller, 0, &f->signature);
    f->S = hwm_controller_state_size(f->controller);
    f->NA = hwm_controller_activations(f->controller);
    f->count = (int)hwm_controller_params(f->controller)->count;
    assert_true(f->S <= 512 && f->NA <= 128 && f->count <= 4096);
    assert_int_equal(hwm_versions_create(&f->versions, f->controller, 1 << 20, fetch, f), HWM_OK);
    assert_int_equal(hwm_batcher_create(&f->batcher, f->controller, &f->signature, &f->spec,
                                        f->versions, SEQUENCES, &err),
                     HWM_OK);
    act_out(f);
    sample(f);
    *state = f;
    return 0;
}

static int tear_down(void** state) {
    fixture* f = *state;
    for (int k = 0; k < HWM_COLUMNS_MAX; k++)
        free(f->batch.column[k]);
    for (int k = 0; k < HWM_KEYS_MAX; k++)
        free(f->batch.key[k]);
    free(f->batch.row);
    free(f->batch.prefix);
    free(f->batch.stream);
    free(f->batch.step);
    free(f->batch.segment);
    hwm_batcher_destroy(&f->batcher);
    hwm_versions_destroy(&f->versions);
    hwm_controller_destroy(&f->controller);
    hwm_experiment_destroy(&f->experiment);
    free(f);
    return 0;
}

static void test_states_are_the_workers_bit_for_bit(void** state) {
    fixture* f = *state;
    uint32_t row[SEQUENCES];
    float* states = calloc((size_t)SEQUENCES * (size_t)f->S, sizeof *states);
    hwm_error err = {0};
    // before the sequence's second row acts, and behind it: there parameters may have changed on
    // the way
    for (uint32_t behind = 1; behind <= 2; behind++) {
        for (int i = 0; i < SEQUENCES; i++)
            row[i] = f->batch.row[i] + f->batch.prefix[i] + behind;
        assert_int_equal(hwm_batcher_states(f->batcher, &f->batch, row, states, &err), HWM_OK);
        for (int i = 0; i < SEQUENCES; i++)
            assert_memory_equal(states + (size_t)i * (size_t)f->S, f->state[i + (int)behind],
                                (size_t)f->S * sizeof(float));
    }
    assert_int_equal(f->fetches, 3);  // each version once
    free(states);
}

typedef struct buffers {
    hwm_starts starts;
    hwm_sequences rows;
} buffers;

static buffers buffers_create(const fixture* f) {
    buffers b;
    const size_t n = SEQUENCES;
    b.starts.z = NULL;
    b.starts.state = aligned_alloc(64, hwm_lanes_size(SEQUENCES, f->S) * sizeof(hwm_real));
    b.starts.previous_obs = calloc(n * 4, sizeof(hwm_real));
    b.starts.previous_action = calloc(n, sizeof(hwm_real));
    b.starts.previous_reward = calloc(n, sizeof(hwm_real));
    b.starts.first = calloc(n, sizeof(hwm_real));
    b.starts.alive = calloc(n, sizeof(hwm_real));
    b.starts.fresh = calloc(n, 1);
    b.starts.age = calloc(n, sizeof(int));
    b.starts.linked = calloc(n, sizeof(hwm_real));
    b.starts.ended = calloc(n, sizeof(hwm_real));
    assert_int_equal(hwm_sequences_alloc(&b.rows, SEQUENCES, 1, CONTEXT, 4, 1), HWM_OK);
    return b;
}

static void buffers_destroy(buffers* b) {
    free(b->starts.state);
    free(b->starts.previous_obs);
    free(b->starts.previous_action);
    free(b->starts.previous_reward);
    free(b->starts.first);
    free(b->starts.alive);
    free(b->starts.fresh);
    free(b->starts.age);
    free(b->starts.linked);
    free(b->starts.ended);
    hwm_sequences_free(&b->rows);
}

static void test_starts_hold_what_was_before(void** state) {
    fixture* f = *state;
    buffers b = buffers_create(f);
    hwm_error err = {0};
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    assert_int_equal(
        hwm_batcher_starts(f->batcher, &f->batch, 1, false, 0.0, &rng, &b.starts, &b.rows, &err),
        HWM_OK);
    // sequence 0 begins the episode: fresh weights, nothing before
    assert_true(b.starts.first[0] == 1 && b.starts.fresh[0] == 1);
    assert_true(b.starts.previous_obs[0] == 0 && b.starts.previous_action[0] == 0);
    assert_true(b.rows.obs[0] == f->obs[0][0] / f->spec.obs_scale[0]);
    for (int i = 1; i < SEQUENCES; i++) {
        const int at = i + LENGTH - 1;
        assert_true(b.starts.first[i] == 0 && b.starts.fresh[i] == 0 && b.starts.alive[i] == 1);
        for (int j = 0; j < 4; j++) {
            assert_true(b.rows.obs[i * 4 + j] == f->obs[at][j] / f->spec.obs_scale[j]);
            assert_true(b.starts.previous_obs[i * 4 + j] ==
                        f->obs[at - 1][j] / f->spec.obs_scale[j]);
        }
        assert_true(b.starts.previous_action[i] == f->action[at - 1]);
        assert_true(b.starts.previous_reward[i] == f->reward[at]);
        assert_true(b.rows.stream[i] == (uint64_t)5 << 32 && b.rows.step[i] == (uint64_t)at);
        assert_true(b.starts.linked[i] == 0);
        float have[512];
        hwm_lanes_get(b.starts.state, i, f->S, have);
        assert_memory_equal(have, f->state[at], (size_t)f->S * sizeof(float));
        // hindsight: transitions 2->3, 5->6, 8->9 of the episode
        for (int k = 0; k < CONTEXT; k++) {
            const hwm_real* x = b.rows.hindsight + (i * CONTEXT + k) * 9;
            const int t = 2 + 3 * k;
            assert_true(x[0] == f->obs[t][0] / f->spec.obs_scale[0]);
            assert_true(x[4] == f->action[t]);
            assert_true(fabsf(x[5] - (f->obs[t + 1][0] - f->obs[t][0]) / f->spec.obs_scale[0]) <
                        1e-6F);
        }
    }
    buffers_destroy(&b);
}

// Three starts of each sequence, its last rows: each with the weights it had, as one walk over the
// sequence leaves them.
static void test_several_starts_of_a_sequence(void** state) {
    fixture* f = *state;
    enum { PER = 3 };
    buffers b = buffers_create(f);
    hwm_error err = {0};
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    f->batch.batch = SEQUENCES / PER;
    b.rows.n = SEQUENCES / PER * PER;
    assert_int_equal(
        hwm_batcher_starts(f->batcher, &f->batch, PER, false, 0.0, &rng, &b.starts, &b.rows, &err),
        HWM_OK);
    for (int i = 0; i < SEQUENCES / PER; i++)
        for (int k = 0; k < PER; k++) {
            const int s = i * PER + k;
            const bool first = i == 0 && k == 0;
            const int at = first ? 0 : i + LENGTH - PER + k;
            assert_true(b.starts.first[s] == first && b.starts.fresh[s] == first);
            assert_true(b.rows.obs[s * 4] == f->obs[at][0] / f->spec.obs_scale[0]);
            assert_true(b.rows.step[s] == (uint64_t)at);
            assert_true(b.starts.previous_reward[s] == f->reward[at]);
            // between an episode's first row and the next start a row is missing
            assert_true(b.starts.linked[s] == (k + 1 < PER && !first));
            float have[512];
            hwm_lanes_get(b.starts.state, s, f->S, have);
            assert_memory_equal(have, f->state[at], (size_t)f->S * sizeof(float));
            assert_true(b.rows.hindsight[s * CONTEXT * 9] == f->obs[2][0] / f->spec.obs_scale[0]);
        }
    // sizes that do not fit
    b.rows.n = SEQUENCES / PER * PER - 1;
    assert_int_equal(
        hwm_batcher_starts(f->batcher, &f->batch, PER, false, 0.0, &rng, &b.starts, &b.rows, &err),
        HWM_EPROTO);
    f->batch.batch = 2;
    b.rows.n = 2 * LENGTH;
    assert_int_equal(hwm_batcher_starts(f->batcher, &f->batch, LENGTH, false, 0.0, &rng, &b.starts,
                                        &b.rows, &err),
                     HWM_EPROTO);
    f->batch.batch = b.rows.n = SEQUENCES;
    buffers_destroy(&b);
}

static void test_terminal_start_has_no_weight(void** state) {
    fixture* f = *state;
    buffers b = buffers_create(f);
    hwm_error err = {0};
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    const uint32_t last = f->batch.row[7] + f->batch.prefix[7] + LENGTH - 1;
    ((uint8_t*)f->batch.column[HWM_COLUMN_FLAGS])[last] = HWM_FLAG_LAST | HWM_FLAG_TERMINAL;
    assert_int_equal(
        hwm_batcher_starts(f->batcher, &f->batch, 1, false, 1.0, &rng, &b.starts, &b.rows, &err),
        HWM_OK);
    assert_true(b.starts.alive[7] == 0 && b.starts.alive[8] == 1);
    for (int i = 0; i < SEQUENCES; i++)
        assert_int_equal(b.starts.fresh[i], 1);  // fraction_fresh = 1
    buffers_destroy(&b);
}

static void test_lost_version_costs_its_sequences_only(void** state) {
    fixture* f = *state;
    buffers b = buffers_create(f);
    hwm_error err = {0};
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int k = 0; k < f->batch.n_segments; k++)
        if (f->batch.segment[k].param.version == 2)
            f->batch.segment[k].param.version = 77;
    assert_int_equal(
        hwm_batcher_starts(f->batcher, &f->batch, 1, false, 0.0, &rng, &b.starts, &b.rows, &err),
        HWM_OK);
    for (int i = 0; i < SEQUENCES; i++)
        assert_true(b.starts.alive[i] == (i + LENGTH - 2 >= CHUNK && i < 2 * CHUNK ? 0 : 1));
    assert_int_equal(hwm_batcher_lost(f->batcher), CHUNK + LENGTH - 2);
    uint32_t row[SEQUENCES];
    memcpy(row, f->batch.row, sizeof row);  // the key frames themselves: nothing is needed
    float* states = calloc((size_t)SEQUENCES * (size_t)f->S, sizeof *states);
    assert_int_equal(hwm_batcher_states(f->batcher, &f->batch, row, states, &err), HWM_OK);
    row[SEQUENCES / 2]++;
    assert_int_equal(hwm_batcher_states(f->batcher, &f->batch, row, states, &err), HWM_ENOTFOUND);
    free(states);
    buffers_destroy(&b);
}

// The batch on disk, as somebody who looks for the reason finds it: obs[4][0][2] is not a number.
static void check_dump(const fixture* f, const hwm_sequences* s, const char* why) {
    char dir[] = "/tmp/hwm-dump-XXXXXX";
    assert_non_null(mkdtemp(dir));
    hwm_error err = {0};
    hwm_dump d = {.run_dir = dir, .update = 17, .why = why};
    for (int again = 0; again < 2; again++)
        assert_int_equal(hwm_dump_sequences(&d, &f->spec, s, &err), HWM_OK);
    assert_non_null(strstr(d.path, "/dumps/model-17.safetensors"));
    static hwm_param_list list;
    nn_meta meta[2];
    int n_meta = 2;
    assert_int_equal(nn_safetensors_list(d.path, &list, meta, &n_meta, &err), HWM_OK);
    assert_int_equal(n_meta, 2);
    assert_string_equal(meta[1].text, why);
    float* values = calloc(list.count, sizeof *values);
    assert_int_equal(nn_safetensors_read(d.path, &list, values, &err), HWM_OK);
    const int obs = hwm_param_list_find(&list, "obs"), u = hwm_param_list_find(&list, "action"),
              seen = hwm_param_list_find(&list, "hindsight");
    assert_int_equal(hwm_tensor_count(&list.entry[obs].spec), SEQUENCES * LENGTH * 4);
    for (int i = 0; i < SEQUENCES * LENGTH * 4; i++) {
        const float x = values[list.entry[obs].offset + (size_t)i];
        assert_true(i == 4 * LENGTH * 4 + 2 ? isnan(x) : x == (float)s->obs[i]);
    }
    for (int i = 0; i < SEQUENCES * LENGTH; i++)
        assert_true(values[list.entry[u].offset + (size_t)i] == (float)s->action[i]);
    assert_int_equal(list.entry[seen].spec.shape[2], 2 * 4 + 1);
    free(values);
    assert_int_equal(unlink(d.path), 0);
    // a folder that cannot be: a sentence, no crash
    d.run_dir = "/proc/none";
    assert_int_equal(hwm_dump_sequences(&d, &f->spec, s, &err), HWM_EIO);
    assert_non_null(strstr(err.text, "/proc/none/dumps"));
    snprintf(d.path, sizeof d.path, "%s/dumps", dir);
    assert_int_equal(rmdir(d.path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_bad_batches_are_refused(void** state) {
    fixture* f = *state;
    hwm_error err = {0};
    hwm_sequences s;
    assert_int_equal(hwm_sequences_alloc(&s, SEQUENCES, LENGTH, CONTEXT, 4, 1), HWM_OK);
    assert_int_equal(hwm_batcher_sequences(f->batcher, &f->batch, &s, &err), HWM_OK);
    assert_true(s.terminal[0] == 0 && s.first[0] == 1 && s.valid[0] == 1);
    // a number that is not finite names its stream and step
    float* obs = f->batch.column[HWM_COLUMN_OBS];
    const uint32_t row = f->batch.row[4] + f->batch.prefix[4];
    const float kept = obs[row * 4 + 2];
    obs[row * 4 + 2] = NAN;
    assert_int_equal(hwm_batcher_sequences(f->batcher, &f->batch, &s, &err), HWM_ENUMERIC);
    assert_non_null(strstr(err.text, "environment 5, step 4"));
    check_dump(f, &s, err.text);
    obs[row * 4 + 2] = kept;
    f->batch.length = 3;
    assert_int_equal(hwm_batcher_sequences(f->batcher, &f->batch, &s, &err), HWM_EPROTO);
    f->batch.length = LENGTH;
    f->batch.batch = 3;
    assert_int_equal(hwm_batcher_sequences(f->batcher, &f->batch, &s, &err), HWM_EPROTO);
    f->batch.batch = SEQUENCES;
    hwm_sequences_free(&s);
}

int main(void) {
#define CASE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_states_are_the_workers_bit_for_bit),    CASE(test_starts_hold_what_was_before),
        CASE(test_several_starts_of_a_sequence),          CASE(test_terminal_start_has_no_weight),
        CASE(test_lost_version_costs_its_sequences_only), CASE(test_bad_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
