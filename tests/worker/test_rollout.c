// Rollouts: which parameters an episode follows, frozen and renewed weights, burn-in, and the
// reward that controllers read.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { VERSIONS = 3 };

// Coefficients of other parameters for the same rig.
static hwm_real* other_coef(const rig* r, uint32_t version, hwm_real** phi) {
    *phi = calloc(hwm_controller_params(r->controller)->count + 1, sizeof **phi);
    hwm_real* coef = calloc((size_t)hwm_controller_coef_count(r->controller) + 1, sizeof *coef);
    assert_non_null(*phi);
    assert_non_null(coef);
    hwm_rng rng;
    hwm_rng_init(&rng, 100 + version, HWM_PURPOSE_PARAMETERS, 0, 0, 0);
    hwm_controller_init(r->controller, &rng, *phi);
    hwm_controller_prepare(r->controller, *phi, coef);
    return coef;
}

// One number for a row of environment i: its activations and action.
static uint64_t row_of(const rig* r, int i) {
    const hwm_rollout* o = r->rollout;
    const int n = hwm_controller_activations(r->controller);
    float act[256];
    assert_in_range(n, 1, 256);
    hwm_lanes_get(o->act, i, n, act);
    uint64_t h = 0xcbf29ce484222325u;
    const uint8_t* bytes = (const uint8_t*)act;
    for (size_t k = 0; k < (size_t)n * sizeof *act; k++) {
        h = (h ^ bytes[k]) * 0x100000001b3u;
    }
    const int A = o->spec->action_dim;
    for (int k = 0; k < A; k++) {
        h = (h ^ (uint64_t)(int64_t)(1e6 * (double)o->action[i * A + k])) * 0x100000001b3u;
    }
    return h;
}

enum { E = 19, ROWS = 160, EPISODES = 40, STEPS = 256 };
typedef struct memory {
    uint64_t row[E][EPISODES][STEPS];
} memory;

static void remember(memory* m, const rig* r) {
    for (int i = 0; i < E; i++) {
        if (r->rollout->episode[i] < EPISODES && r->rollout->step[i] < STEPS) {
            m->row[i][r->rollout->episode[i]][r->rollout->step[i]] = row_of(r, i);
        }
    }
}

// Parameters change twice in mid-episode. Every episode is, row by row, that of a rollout that had
// its version from the start, whatever its neighbours in the batch follow.
static void test_an_episode_keeps_its_parameters(void** state) {
    (void)state;
    static const char yaml[] = "env: {name: cartpole, variants: [flip p=0.5]}\n"
                               "controller: {hidden: [8], inputs: [o, d], weights_mean: true}\n"
                               "rule: {phi_std: 1, w_max: 0.5}\n";
    memory* want[VERSIONS];
    rig r;
    hwm_real *phi[VERSIONS], *coef[VERSIONS];
    rig_open(&r, yaml, 0, E, 1);
    for (uint32_t v = 0; v < VERSIONS; v++) {
        coef[v] = other_coef(&r, v, &phi[v]);
        // input d has another scale in every version, W_0 another mean
        int entry = hwm_param_list_find(hwm_controller_params(r.controller), "input.delta_scale");
        int mean = hwm_param_list_find(hwm_controller_params(r.controller), "layer2.W0");
        phi[v][hwm_controller_params(r.controller)->entry[entry].offset] = (hwm_real)(v + 1);
        phi[v][hwm_controller_params(r.controller)->entry[mean].offset] = (hwm_real)v;
        hwm_controller_prepare(r.controller, phi[v], coef[v]);
    }
    rig_close(&r);
    for (uint32_t v = 0; v < VERSIONS; v++) {
        want[v] = calloc(1, sizeof **want);
        assert_non_null(want[v]);
        rig_open(&r, yaml, 0, E, 1);
        const hwm_real* delta = hwm_controller_delta_scale(r.controller, phi[v]);
        for (int i = 0; i < E; i++) {
            hwm_rollout_begin(r.rollout, coef[v], i, 0);
        }
        for (int t = 0; t < 4 * ROWS; t++) {
            hwm_rollout_think(r.rollout, coef[v], delta);
            remember(want[v], &r);
            hwm_rollout_step(r.rollout, coef[v]);
        }
        rig_close(&r);
    }

    rig_open(&r, yaml, 0, E, 1);
    int follows[E] = {0}, compared[VERSIONS] = {0}, mixed = 0;
    for (int i = 0; i < E; i++) {
        hwm_rollout_begin(r.rollout, coef[0], i, 0);
    }
    for (int t = 0, v = 0; t < ROWS; t++) {
        if (t == 9 || t == 13 || t == 60) {
            int next = (v + 1) % VERSIONS;
            hwm_rollout_hold(r.rollout, coef[v], hwm_controller_delta_scale(r.controller, phi[v]));
            assert_true(hwm_rollout_follows(r.rollout, coef[v]));
            v = next;
        }
        hwm_rollout_think(r.rollout, coef[v], hwm_controller_delta_scale(r.controller, phi[v]));
        for (int i = 0; i < E; i++) {
            const uint32_t e = r.rollout->episode[i], s = r.rollout->step[i];
            assert_true(e < EPISODES && s < STEPS);
            if (row_of(&r, i) != want[follows[i]]->row[i][e][s]) {
                fail_msg("row %d: environment %d, episode %u, step %u is not version %d's", t, i, e,
                         s, follows[i]);
            }
            compared[follows[i]]++;
            mixed += follows[i] != v;
        }
        hwm_rollout_step(r.rollout, coef[v]);
        for (int i = 0; i < E; i++) {
            follows[i] = r.rollout->flags[i] & HWM_FLAG_FIRST ? v : follows[i];
        }
    }
    assert_true(compared[0] > 100 && compared[1] > 20 && compared[2] > 100 && mixed > 50);
    assert_false(hwm_rollout_follows(r.rollout, coef[1]));
    rig_close(&r);
    for (int v = 0; v < VERSIONS; v++) {
        free(want[v]);
        free(phi[v]);
        free(coef[v]);
    }
}

static size_t key_at(const rig* r, const char* name, size_t* count) {
    size_t at = 0;
    for (int k = 0; k < r->signature.n_keys; k++) {
        *count = hwm_tensor_count(&r->signature.key[k]);
        if (strcmp(r->signature.key[k].name, name) == 0) {
            return at;
        }
        at += *count;
    }
    fail_msg("no key %s", name);
    return 0;
}

static const char recurrent[] = "env: {name: sequence, sequence: predict}\n"
                                "controller: {cell: recurrent, hidden: [8], plastic: [recurrent]}\n"
                                "rule: {kind: miconi, modulator: none, phi_std: 1}\n"
                                "worker: {burn_in_steps: 2}\n";

// Frozen: Hebb stays, activity goes on. Renewed: Hebb begins anew, activity stays. Burn-in: nothing
// moves, and the rows say so.
static void test_frozen_renewed_and_still(void** state) {
    (void)state;
    for (int renewed = 0; renewed < 2; renewed++) {
        rig r;
        rig_open(&r, recurrent, 0, 3, 1);
        hwm_rollout* o = r.rollout;
        (renewed ? (void)(o->config.reset_at = 9) : (void)(o->config.freeze_at = 9));
        size_t n_hebb = 0, n_past = 0;
        const size_t hebb = key_at(&r, "recurrent1.Hebb", &n_hebb);
        const size_t past = key_at(&r, "recurrent1.past", &n_past);
        const int S = hwm_controller_state_size(r.controller), NA = 6 + 8 + 4;
        assert_int_equal(hwm_controller_activations(r.controller), NA);
        float before[128], after[128], act[64];
        assert_int_equal(S, n_hebb + n_past);
        for (int t = 0; t < 20; t++) {
            hwm_rollout_think(o, r.coef, r.delta);
            hwm_lanes_get(o->state, 1, S, before);
            hwm_lanes_get(o->act, 1, NA, act);
            const bool frozen = !renewed && t >= 9;
            assert_int_equal((o->flags[1] & HWM_FLAG_STILL) != 0, t < 2 || frozen);
            hwm_rollout_step(o, r.coef);
            hwm_lanes_get(o->state, 1, S, after);
            const bool same_hebb = memcmp(before + hebb, after + hebb, n_hebb * sizeof *after) == 0;
            assert_int_equal(same_hebb, t < 3 || frozen);  // at step 2 nothing was before
            if (t < 2) {
                assert_memory_equal(before + past, after + past, n_past * sizeof *after);
            } else {
                assert_memory_equal(act + 6, after + past, n_past * sizeof *after);
            }
            if (renewed && t == 8) {
                for (size_t k = 0; k < n_hebb; k++) {
                    assert_true(after[hebb + k] == 0);
                }
            }
        }
        rig_close(&r);
    }
}

// A controller with input r reads the reward per simulator step, as imagination gives it.
static void test_reward_is_per_simulator_step(void** state) {
    (void)state;
    rig r;
    rig_open(&r, "env: {name: cartpole, action_repeat: 2}\ncontroller: {inputs: [o, r]}\n", 0, 2,
             1);
    for (int t = 0; t < 5; t++) {
        hwm_rollout_think(r.rollout, r.coef, r.delta);
        float act[32];
        hwm_lanes_get(r.rollout->act, 1, 5, act);
        assert_true(r.rollout->reward[1] == (t ? 2.0f : 0.0f));
        assert_true(act[4] == (t ? 1.0f : 0.0f));
        hwm_rollout_step(r.rollout, r.coef);
    }
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_episode_keeps_its_parameters),
        cmocka_unit_test(test_frozen_renewed_and_still),
        cmocka_unit_test(test_reward_is_per_simulator_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
