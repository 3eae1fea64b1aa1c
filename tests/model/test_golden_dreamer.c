// One full update of the DreamerV3 agent against an independent implementation with its own
// differentiation (tests/golden/nn/dreamer.py): every loss, every gradient, every parameter's
// change, continuous and discrete. And the returns and advantages of a trajectory made by hand.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/dreamer.h"
#include "nn/safetensors.h"

enum { B = 3, T = 4, O = 3, A = 2 };

typedef struct fixture {
    hwm_param_list list;
    float* value;
} fixture;

static void load(fixture* f, const char* name, const char* part) {
    char path[512];
    const char* source = getenv("HWM_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/golden/nn/dreamer_%s%s.safetensors",
             source ? source : ".", name, part);
    hwm_error err;
    if (nn_safetensors_list(path, &f->list, NULL, NULL, &err) != HWM_OK)
        fail_msg("%s", err.text);
    f->value = malloc(f->list.count * sizeof *f->value);
    if (nn_safetensors_read(path, &f->list, f->value, &err) != HWM_OK)
        fail_msg("%s", err.text);
}

static const float* tensor(const fixture* f, const char* prefix, const char* name, size_t count) {
    char key[128];
    snprintf(key, sizeof key, "%s/%s", prefix, name);
    const int i = hwm_param_list_find(&f->list, key);
    if (i < 0 || hwm_tensor_count(&f->list.entry[i].spec) != count)
        fail_msg("fixture has no '%s' of %zu numbers", key, count);
    return f->value + f->list.entry[i].offset;
}

static void set_params(nn_params* p, const fixture* f, const char* prefix) {
    for (int i = 0; i < p->list.n; i++) {
        const size_t n = hwm_tensor_count(&p->list.entry[i].spec);
        const float* x = tensor(f, prefix, p->list.entry[i].spec.name, n);
        for (size_t j = 0; j < n; j++)
            p->value[p->list.entry[i].offset + j] = (hwm_real)x[j];
    }
}

static void loss(const fixture* f, const char* name, double have) {
    const double want = (double)*tensor(f, "loss", name, 1);
    if (!(fabs(have - want) <= 2e-6 * fmax(1, fabs(want))))
        fail_msg("%s: have %.9g, want %.9g", name, have, want);
}

// Against the largest number of the tensor: fixtures are float32.
static void same(const nn_params* p, const hwm_real* have, const fixture* f, const char* prefix) {
    for (int i = 0; i < p->list.n; i++) {
        const hwm_param_entry* e = &p->list.entry[i];
        const size_t n = hwm_tensor_count(&e->spec);
        const float* want = tensor(f, prefix, e->spec.name, n);
        double largest = 0;
        for (size_t j = 0; j < n; j++)
            largest = fmax(largest, fabs((double)want[j]));
        for (size_t j = 0; j < n; j++)
            if (!(fabs((double)have[e->offset + j] - (double)want[j]) <= 5e-6 * largest + 1e-12))
                fail_msg("%s %s[%zu]: have %.9g, want %.9g", prefix, e->spec.name, j,
                         (double)have[e->offset + j], (double)want[j]);
    }
}

// The change of a step whose size does not depend on the gradient's: only where its sign is sure.
static void same_step(const nn_params* p, const hwm_real* before, const fixture* f,
                      const char* prefix, const char* grad) {
    size_t compared = 0;
    for (int i = 0; i < p->list.n; i++) {
        const hwm_param_entry* e = &p->list.entry[i];
        const size_t n = hwm_tensor_count(&e->spec);
        const float *want = tensor(f, prefix, e->spec.name, n),
                    *g = tensor(f, grad, e->spec.name, n);
        double largest = 0;
        for (size_t j = 0; j < n; j++)
            largest = fmax(largest, fabs((double)g[j]));
        for (size_t j = 0; j < n; j++) {
            const double have = (double)(p->value[e->offset + j] - before[e->offset + j]);
            if (g[j] != 0 && fabs((double)g[j]) < 1e-9 * largest)
                continue;
            compared++;
            if (!(fabs(have - (double)want[j]) <= 1e-9))
                fail_msg("%s %s[%zu]: have %.9g, want %.9g", prefix, e->spec.name, j, have,
                         (double)want[j]);
        }
    }
    assert_true(compared > p->list.count / 4);
}

// lanes: sequences and imagined rows of one lane, 0: as the sizes have it
static void full_update(const char* name, bool discrete, const int lanes[2]) {
    static fixture f, after;
    load(&f, name, "");
    load(&after, name, "_after");
    hwm_dreamer_config c = hwm_dreamer_default(0, O, A);
    c.sizes = (hwm_rssm_sizes){"golden", 8, 4, 3, 4, 2, 2, B, T};
    c.discrete = discrete;
    c.lane_sequences = lanes[0];
    c.lane_rows = lanes[1];
    c.horizon = 3;
    c.imagine_last = 2;
    c.lambda = 0.9;
    c.entropy_scale = 0.02;
    c.lr = c.behaviour_lr = 1e-3;
    c.warmup_updates = 4;
    c.view_from = 1;
    c.view = 2;
    c.view_reward = 0.25;
    hwm_dreamer* d;
    assert_int_equal(hwm_dreamer_create(&d, &c, 1), HWM_OK);
    nn_params *model = hwm_dreamer_model(d), *behaviour = hwm_dreamer_behaviour(d);
    set_params(model, &f, "model");
    set_params(behaviour, &f, "behaviour");
    set_params(hwm_dreamer_training_of(d).slow, &f, "slow");
    hwm_rssm_batch b = {.N = B, .T = T};
    hwm_real* last;
    const struct {
        hwm_real** to;
        const char* name;
        size_t n;
    } columns[] = {{&b.obs, "obs", O},     {&b.action, "action", A}, {&b.reward, "reward", 1},
                   {&b.keep, "keep", 1},   {&b.cont, "cont", 1},     {&b.weight, "weight", 1},
                   {&b.draws, "draws", 2}, {&last, "last", 1}};
    enum { COLUMNS = sizeof columns / sizeof *columns };
    for (int i = 0; i < COLUMNS; i++) {
        const size_t n = B * T * columns[i].n;
        const float* x = tensor(&f, "batch", columns[i].name, n);
        *columns[i].to = malloc(n * sizeof(hwm_real));
        for (size_t j = 0; j < n; j++)
            (*columns[i].to)[j] = (hwm_real)x[j];
    }

    hwm_rng rng;
    hwm_dreamer_losses l;
    hwm_rng_init(&rng, 5, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_real* m0 = malloc(model->list.count * sizeof *m0);
    hwm_real* b0 = malloc(behaviour->list.count * sizeof *b0);
    memcpy(m0, model->value, model->list.count * sizeof *m0);
    memcpy(b0, behaviour->value, behaviour->list.count * sizeof *b0);
    hwm_error err = {0};
    assert_int_equal(hwm_dreamer_update(d, &b, last, &rng, &l, &err), HWM_OK);
    loss(&f, "obs", l.model.obs);
    loss(&f, "reward", l.model.reward);
    loss(&f, "cont", l.model.cont);
    loss(&f, "kl", l.model.kl);
    loss(&f, "view", l.view);
    loss(&f, "policy", l.policy);
    loss(&f, "entropy", l.entropy);
    loss(&f, "value", l.value);
    loss(&f, "replay", l.replay_value);
    loss(&f, "return", l.imagined_return);
    loss(&f, "scale", l.return_scale);
    assert_true(discrete ? l.return_scale > 1.5 : l.return_scale == 1);
    loss(&f, "model_norm", l.model_norm);
    loss(&f, "behaviour_norm", l.behaviour_norm);
    same(model, model->grad, &after, "grad_model");
    same(behaviour, behaviour->grad, &after, "grad_behaviour");
    same_step(model, m0, &after, "step_model", "grad_model");
    same_step(behaviour, b0, &after, "step_behaviour", "grad_behaviour");
    for (int i = 0; i < COLUMNS; i++)
        free(*columns[i].to);
    free(m0);
    free(b0);
    hwm_dreamer_destroy(&d);
    free(f.value);
    free(after.value);
}

// One lane each; lanes of unequal size; a lane for every sequence and every row.
enum { LANES = 3 };
static const int lanes[LANES][2] = {{0, 0}, {2, 4}, {1, 1}};

static void test_full_update_continuous(void** state) {
    (void)state;
    for (int i = 0; i < LANES; i++)
        full_update("continuous", false, lanes[i]);
}

static void test_full_update_discrete(void** state) {
    (void)state;
    for (int i = 0; i < LANES; i++)
        full_update("discrete", true, lanes[i]);
}

// Three steps by hand: r = 1, 2, 4 arrive at states 1, 2, 3; the second state ends the episode.
//   R_2 = 4 + 0.5 (0.5 * 8 + 0.5 * 8) = 8      R_1 = 2 + 0 = 2      R_0 = 1 + 0.5 (0.5 * 6 + 0.5 *
//   2) = 3
static void test_returns_and_advantages_by_hand(void** state) {
    (void)state;
    const hwm_real r[4] = {9, 1, 2, 4}, c[4] = {1, 0.5, 0, 0.5}, V[4] = {5, 6, 7, 8};
    hwm_real R[3];
    hwm_lambda_returns(R, r, c, V, 3, 1, 0.5);
    const double want[3] = {3, 2, 8}, advantage[3] = {-2, -4, 1};
    for (int t = 0; t < 3; t++) {
        assert_true(fabs((double)R[t] - want[t]) < 1e-12);
        assert_true(fabs((double)(R[t] - V[t]) - advantage[t]) < 1e-12);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_update_continuous),
        cmocka_unit_test(test_full_update_discrete),
        cmocka_unit_test(test_returns_and_advantages_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
