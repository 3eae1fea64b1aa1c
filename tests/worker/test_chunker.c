// Chunks: alignment of rows, flags and key frames; replaying the rule from a key frame gives the
// next one to the last bit.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static const char abcd[] = "env: {name: cartpole}\n"
                           "controller: {hidden: [16]}\n"
                           "rule: {kind: abcd, phi_std: 0.5, w_max: 0.5}\n"
                           "worker: {chunk_steps: 8}\n";
static const char mod3[] = "env: {name: cartpole}\n"
                           "controller: {hidden: [8], inputs: [o, d, a, r, 1], plastic: [last]}\n"
                           "rule: {kind: mod3, phi_std: 0.5, w_max: 0.5, terms: AC}\n"
                           "worker: {chunk_steps: 8}\n";

// One experiment per rule, bound, modulator and granularity that the list of the header does not
// cover yet.
static const char* const others[] = {
    "rule: {kind: shifted, phi_std: 0.5, w_max: 0.5, granularity: neuron}\n",
    "rule: {kind: trace, phi_std: 0.5, w_max: 0.5, bound: clip, granularity: shared, modulator: "
    "reward}\n"
    "controller: {inputs: [o, r]}\n",
    "rule: {kind: network, bound: decay, phi_std: 2}\n",
    "rule: {kind: abcd, bound: none, eta: 0.01, oja: 0.3, update_every: 3, average: 2, modulator: "
    "unit}\n",
    "rule: {kind: mod3, modulator: prediction, granularity: layer}\n",
    "rule: {kind: hebb, eta: 0.1}\n",
    "rule: {kind: oja, bound: none}\n",
    "rule: {kind: bcm, bound: clip, w_max: 0.5, naive: none}\n",
    "rule: {kind: abcd, naive: bcm}\nworker: {chunk_steps: 4}\n",
    "rule: {kind: miconi, bound: clip, w_max: 0.3, eta: 0.3}\n"
    "controller: {cell: recurrent, plastic: [recurrent]}\n"
    "env: {name: sequence, sequence: recall}\n",
    "rule: {kind: miconi, modulator: prediction, granularity: neuron}\n"
    "controller: {cell: recurrent, hidden: [8, 6]}\n",
    "rule: {kind: trace, bound: clip, w_max: 0.4, phi_std: 0.5}\n"
    "controller: {cell: recurrent, plastic: [recurrent, 2]}\nworker: {burn_in_steps: 3}\n",
};
enum { OTHERS = sizeof others / sizeof others[0] };

static const float* rows(const hwm_chunk* c, int column) {
    return c->column[column];
}

static void test_rows_are_aligned(void** state) {
    (void)state;
    rig r;
    rig_open(&r, abcd, 0, 5, 1);
    kept_chunk* list = rig_roll(&r, 300);
    uint64_t next_step[5] = {0}, next_sequence[5] = {1, 1, 1, 1, 1};
    uint32_t episode[5] = {0}, episode_step[5] = {0};
    int ends = 0, terminals = 0;
    for (kept_chunk* k = list; k; k = k->next) {
        const hwm_chunk* c = &k->head;
        uint32_t e = c->stream.env;
        const uint8_t* flags = c->column[HWM_COLUMN_FLAGS];
        const float *action = rows(c, HWM_COLUMN_ACTION), *reward = rows(c, HWM_COLUMN_REWARD);
        const float *obs = rows(c, HWM_COLUMN_OBS), *act = rows(c, HWM_COLUMN_ACT);
        assert_int_equal(c->first_step, next_step[e]);
        assert_int_equal(c->sequence, next_sequence[e]++);
        assert_int_equal(c->episode, episode[e]);
        assert_int_equal(c->episode_step, episode_step[e]);
        assert_in_range(c->steps, 1, 8);
        for (uint32_t t = 0; t < c->steps; t++, next_step[e]++, episode_step[e]++) {
            bool first = flags[t] & HWM_FLAG_FIRST, last = flags[t] & HWM_FLAG_LAST;
            assert_int_equal(first, episode_step[e] == 0);
            if (first) {
                assert_int_equal(t, 0);  // an episode start starts a chunk
            }
            assert_true(reward[t] == (first ? 0.0f : 1.0f));
            assert_true(last ? action[t] == 0 : action[t] == 1 || action[t] == -1);
            // the activations are those of this row's observation
            for (int o = 0; o < 4; o++) {
                float scale = 1 / r.rollout->spec->obs_scale[o];
                assert_true(act[t * 21 + (uint32_t)o] == obs[t * 4 + (uint32_t)o] * scale);
            }
            if (last) {
                assert_int_equal(t, c->steps - 1);
                ends++;
                terminals += (flags[t] & HWM_FLAG_TERMINAL) != 0;
            }
        }
        bool ended = flags[c->steps - 1] & HWM_FLAG_LAST;
        if (ended) {
            episode[e]++;
            episode_step[e] = 0;
        } else {
            assert_int_equal(next_step[e] % 8, 0);
        }
    }
    assert_true(ends > 20);
    assert_int_equal(terminals, ends);  // untrained: every episode falls
    kept_free(list);
    rig_close(&r);
}

// Replay the rule over a chunk's stored activations, alone in its batch.
static void replay(const rig* r, const hwm_chunk* c, float* final) {
    const int n_state = hwm_controller_state_size(r->controller),
              n_act = hwm_controller_activations(r->controller);
    hwm_real* state = calloc(hwm_lanes_size(1, n_state), sizeof *state);
    hwm_real* act = calloc(hwm_lanes_size(1, n_act), sizeof *act);
    hwm_real u[HWM_LANES] = {0};
    const uint8_t* flags = c->column[HWM_COLUMN_FLAGS];
    hwm_lanes_set(state, 0, n_state, c->key[0]);
    for (uint32_t t = 0; t < c->steps; t++) {
        hwm_lanes_set(act, 0, n_act, rows(c, HWM_COLUMN_ACT) + t * (uint32_t)n_act);
        hwm_lanes_set(u, 0, 1, rows(c, HWM_COLUMN_ACTION) + t);
        if (!(flags[t] & (HWM_FLAG_LAST | HWM_FLAG_STILL))) {
            hwm_controller_learn(r->controller, r->coef, 1, act, u, NULL, state, NULL);
        }
    }
    hwm_lanes_get(state, 0, n_state, final);
    free(state);
    free(act);
}

static void check_key_frames(const char* yaml) {
    rig r;
    rig_open(&r, yaml, 0, 19, 1);
    kept_chunk* list = rig_roll(&r, 100);
    const kept_chunk* before[19] = {0};
    size_t bytes = hwm_signature_key_bytes(&r.signature);
    float* final = calloc(1, bytes);
    int compared = 0;
    for (kept_chunk* k = list; k; k = k->next) {
        uint32_t e = k->head.stream.env;
        if (before[e] && before[e]->head.episode == k->head.episode) {
            replay(&r, &before[e]->head, final);
            // key tensors were kept one after the other
            assert_memory_equal(final, k->head.key[0], bytes);
            compared++;
        }
        before[e] = k;
    }
    assert_true(compared > 50);
    free(final);
    kept_free(list);
    rig_close(&r);
}

static void test_key_frame_replays_to_the_next(void** state) {
    (void)state;
    check_key_frames(abcd);
    check_key_frames(mod3);
    for (int k = 0; k < OTHERS; k++) {
        check_key_frames(others[k]);
    }
}

static void test_cut_and_empty(void** state) {
    (void)state;
    rig r;
    rig_open(&r, abcd, 3, 2, 1);
    hwm_param_ref ref = {.set = "controller", .version = 4};
    hwm_chunk c;
    assert_true(hwm_chunker_empty(r.chunker));
    assert_int_equal(hwm_chunker_since_ns(r.chunker, 0), 0);
    hwm_rollout_think(r.rollout, r.coef, NULL);
    assert_false(hwm_chunker_record(r.chunker, r.rollout, 0, &ref));
    assert_false(hwm_chunker_empty(r.chunker));
    assert_true(hwm_chunker_since_ns(r.chunker, 0) > 0);
    assert_false(hwm_chunker_peek(r.chunker, 1, &c));
    assert_true(hwm_chunker_peek(r.chunker, 0, &c));
    assert_int_equal(c.steps, 1);
    assert_int_equal(c.stream.env, 3);
    assert_int_equal(c.param.version, 4);
    hwm_chunker_release(r.chunker, 0);
    hwm_chunker_release(r.chunker, 1);  // nothing there: no effect
    assert_true(hwm_chunker_empty(r.chunker));
    // after the cut the chunk still ends at the multiple
    ref.version = 5;
    for (int t = 1; t < 8; t++) {
        hwm_rollout_step(r.rollout, r.coef);
        hwm_rollout_think(r.rollout, r.coef, NULL);
        assert_int_equal(hwm_chunker_record(r.chunker, r.rollout, 0, &ref), t == 7);
    }
    assert_true(hwm_chunker_peek(r.chunker, 0, &c));
    assert_int_equal(c.steps, 7);
    assert_int_equal(c.first_step, 1);
    assert_int_equal(c.sequence, 2);
    assert_int_equal(c.param.version, 5);
    rig_close(&r);
}

// One hash over all chunks, whatever order they were completed in: the sum of theirs.
static uint64_t content(const char* yaml, int workers, int environments, int threads) {
    uint64_t sum = 0;
    for (int w = 0; w < workers; w++) {
        rig r;
        rig_open(&r, yaml, (uint32_t)(w * environments), environments, threads);
        kept_chunk* list = rig_roll(&r, 160);
        for (kept_chunk* k = list; k; k = k->next) {
            sum += hash_chunk(&r.signature, &k->head);
        }
        kept_free(list);
        rig_close(&r);
    }
    return sum;
}

static void test_content_does_not_depend_on_spreading(void** state) {
    (void)state;
    const char* yaml[] = {abcd, mod3, others[1], others[5]};
    for (int k = 0; k < 4; k++) {
        uint64_t one = content(yaml[k], 1, 16, 1);
        assert_int_equal(one, content(yaml[k], 1, 16, 4));
        assert_int_equal(one, content(yaml[k], 16, 1, 1));
        assert_int_equal(one, content(yaml[k], 2, 8, 2));
        assert_int_not_equal(one, content(yaml[(k + 1) % 4], 1, 16, 1));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_aligned),
        cmocka_unit_test(test_key_frame_replays_to_the_next),
        cmocka_unit_test(test_cut_and_empty),
        cmocka_unit_test(test_content_does_not_depend_on_spreading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
