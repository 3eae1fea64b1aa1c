// Weight updates that an agent chooses: every parametrisation against its formula, bounds, views,
// refusals.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plastic/controller_config.h"
#include "plastic/delta.h"
#include "plastic/materialise.h"

enum { O = 3, H = 5, SYNAPSES = O * H + H, STATE_MAX = 64, U_MAX = 64 };

typedef struct fixture {
    hwm_controller* c;
    hwm_delta* d;
    float state[STATE_MAX], before[STATE_MAX], act[O + H + 1], u[U_MAX];
} fixture;

static hwm_delta_config config_of(int kind) {
    return (hwm_delta_config){.kind = kind,
                              .basis = 4,
                              .rank = 2,
                              .eta = 0.3,
                              .w_max = 2,
                              .bound = HWM_BOUND_CLIP,
                              .seed = 7};
}

static hwm_controller* controller(const char* plastic, int hidden) {
    hwm_controller_config config;
    hwm_rule_config rule;
    hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &config},
                                      {.table = &hwm_rule_table, .target = &rule}};
    hwm_controller* c = NULL;
    hwm_error err = {0};
    hwm_config_defaults(sections, 2);
    config.hidden = (hwm_int_list){.n = hidden > 0, .v = {hidden}};
    strcpy(config.plastic.v[0], plastic);
    config.plastic.n = 1;
    if (hwm_controller_create(&c, &config, &rule, O, NULL, 1, false, &err) != HWM_OK)
        fail_msg("%s", err.text);
    return c;
}

static void open_fixture(fixture* f, const hwm_delta_config* config) {
    hwm_error err = {0};
    memset(f, 0, sizeof *f);
    f->c = controller("all", H);
    if (hwm_delta_create(&f->d, f->c, config, &err) != HWM_OK)
        fail_msg("%s", err.text);
    assert_int_equal(hwm_delta_synapses(f->d), SYNAPSES);
    assert_true(hwm_controller_state_size(f->c) <= STATE_MAX && hwm_delta_inputs(f->d) <= U_MAX);
    for (int k = 0; k < STATE_MAX; k++)
        f->before[k] = f->state[k] = sinf((float)k);
    for (int k = 0; k < O + H + 1; k++)
        f->act[k] = cosf(2.0f * (float)k);
    for (int k = 0; k < U_MAX; k++)
        f->u[k] = 1.4f * sinf(3.0f * (float)k);  // some beyond 1
}

static void close_fixture(fixture* f) {
    hwm_delta_destroy(&f->d);
    hwm_controller_destroy(&f->c);
}

static float clip(float x, float most) {
    return fminf(fmaxf(x, -most), most);
}

static void test_formulas(void** state) {
    (void)state;
    const int inputs[] = {SYNAPSES, 4, 4 * 2, H + 1, 2 * (O + H + H + 1)};
    for (int kind = HWM_DELTA_DIRECT; kind <= HWM_DELTA_LOWRANK; kind++) {
        if (kind == HWM_DELTA_BASIS)
            continue;  // below
        fixture f;
        const hwm_delta_config config = config_of(kind);
        open_fixture(&f, &config);
        assert_int_equal(hwm_delta_inputs(f.d), inputs[kind]);
        hwm_delta_apply(f.d, f.act, f.u, f.state);
        const float* u = f.u;
        for (int l = 0; l < 2; l++) {
            const hwm_layer_view y = hwm_controller_layer(f.c, l);
            const float *pre = f.act + y.pre, *post = f.act + y.post;
            for (int i = 0; i < y.P; i++) {
                for (int j = 0; j < y.Q; j++) {
                    float w = 0;
                    if (kind == HWM_DELTA_DIRECT)
                        w = clip(u[i * y.Q + j], 1);
                    if (kind == HWM_DELTA_LAYER)
                        w = clip(u[0], 1) * pre[j] * post[i] + clip(u[1], 1) * pre[j] +
                            clip(u[2], 1) * post[i] + clip(u[3], 1);
                    if (kind == HWM_DELTA_NEURON)
                        w = clip(u[i], 1) * pre[j];
                    for (int r = 0; kind == HWM_DELTA_LOWRANK && r < 2; r++)
                        w +=
                            clip(u[r * (y.P + y.Q) + i], 1) * clip(u[r * (y.P + y.Q) + y.P + j], 1);
                    const size_t at = y.w + (size_t)(i * y.Q + j);
                    const float want = clip(f.before[at] + 0.3f * w, 2);
                    if (fabsf(f.state[at] - want) > 1e-6f)
                        fail_msg("kind %d layer %d w[%d][%d] = %g, want %g", kind, l, i, j,
                                 (double)f.state[at], (double)want);
                }
            }
            u += kind == HWM_DELTA_DIRECT   ? y.P * y.Q
                 : kind == HWM_DELTA_LAYER  ? 4
                 : kind == HWM_DELTA_NEURON ? y.P
                                            : 2 * (y.P + y.Q);
        }
        close_fixture(&f);
    }
}

// One number moves the weights along its own direction only, and the view says how far.
static void test_bases(void** state) {
    (void)state;
    hwm_delta_config config = config_of(HWM_DELTA_BASIS);
    config.bound = HWM_BOUND_NONE;
    fixture f, g;
    open_fixture(&f, &config);
    open_fixture(&g, &config);
    assert_int_equal(hwm_delta_inputs(f.d), 4);
    assert_int_equal(hwm_delta_view(f.d), 4);
    memset(f.u, 0, sizeof f.u);
    memset(f.state, 0, sizeof f.state);
    f.u[2] = 0.5f;
    hwm_delta_apply(f.d, f.act, f.u, f.state);
    float once[STATE_MAX], view[4], doubled[4];
    memcpy(once, f.state, sizeof once);
    hwm_delta_see(f.d, f.state, view);
    for (int k = 0; k < 4; k++)
        assert_true(fabsf(view[2]) >= fabsf(view[k]));
    // about its coefficient, eta / sqrt(K) u, in units of w_max
    assert_true(view[2] > 0.5f * 0.3f / 4 * 0.5f && view[2] < 2 * 0.3f / 4 * 0.5f);
    hwm_delta_apply(f.d, f.act, f.u, f.state);
    hwm_delta_see(f.d, f.state, doubled);
    float norm = 0;
    for (int k = 0; k < SYNAPSES; k++) {
        assert_true(fabsf(f.state[k] - 2 * once[k]) < 1e-6f);
        norm += once[k] * once[k];
    }
    assert_true(norm > 0);
    for (int k = 0; k < 4; k++)
        assert_true(fabsf(doubled[k] - 2 * view[k]) < 1e-5f);
    // each number's direction is, in both layers, the one that its view looks along: what it sees
    // of the change is the whole of its length
    for (int b = 0; b < 4; b++) {
        memset(f.u, 0, sizeof f.u);
        memset(f.state, 0, sizeof f.state);
        f.u[b] = 3.0f;
        hwm_delta_apply(f.d, f.act, f.u, f.state);
        f.u[b] = 1.0f;
        memset(g.state, 0, sizeof g.state);
        hwm_delta_apply(f.d, f.act, f.u, g.state);
        assert_memory_equal(f.state, g.state, sizeof g.state);  // beyond 1 it is 1
        hwm_delta_see(f.d, f.state, view);
        float length[2] = {0};
        for (int l = 0; l < 2; l++) {
            const hwm_layer_view y = hwm_controller_layer(f.c, l);
            for (int k = 0; k < y.P * y.Q; k++)
                length[l] += f.state[y.w + (size_t)k] * f.state[y.w + (size_t)k];
        }
        assert_true(length[0] > 0 && length[1] > 0);
        assert_true(fabsf(view[b] * 2 * sqrtf(H + 1) - sqrtf(length[0] + length[1])) < 1e-5f);
    }
    memset(f.u, 0, sizeof f.u);
    f.u[2] = 0.5f;
    // the same seed is the same basis in every program, another seed another one
    memset(g.state, 0, sizeof g.state);
    hwm_delta_apply(g.d, g.act, f.u, g.state);
    assert_memory_equal(g.state, once, sizeof once);
    close_fixture(&g);
    config.seed = 8;
    open_fixture(&g, &config);
    memset(g.state, 0, sizeof g.state);
    hwm_delta_apply(g.d, g.act, f.u, g.state);
    assert_memory_not_equal(g.state, once, sizeof once);
    close_fixture(&g);
    close_fixture(&f);
}

// A large controller, its bases as good as orthogonal: clip holds the coefficients at +-w_max, and
// lets them go.
static void test_clip_holds_coefficients(void** state) {
    (void)state;
    hwm_error err = {0};
    hwm_controller* c = controller("all", 400);
    hwm_delta* d = NULL;
    hwm_delta_config config = config_of(HWM_DELTA_BASIS);
    assert_int_equal(hwm_delta_create(&d, c, &config, &err), HWM_OK);
    float* w = calloc((size_t)hwm_controller_state_size(c), sizeof *w);
    float view[4], u[4] = {1, -1, 0.5f, 0}, act[512] = {0};
    for (int t = 0; t < 100; t++)
        hwm_delta_apply(d, act, u, w);
    hwm_delta_see(d, w, view);
    const float want[4] = {1, -1, 1, 0};
    for (int k = 0; k < 4; k++)
        assert_true(fabsf(view[k] - want[k]) < 0.15f);
    u[0] = -1;
    hwm_delta_apply(d, act, u, w);
    const float before = view[0];
    hwm_delta_see(d, w, view);
    assert_true(before - view[0] > 0.05f && before - view[0] < 0.1f);  // 0.3 / sqrt(4) of 2
    free(w);
    hwm_delta_destroy(&d);
    hwm_controller_destroy(&c);
}

static void test_bounds_and_views(void** state) {
    (void)state;
    hwm_delta_config config = config_of(HWM_DELTA_DIRECT);
    config.bound = HWM_BOUND_MAX_NORM;
    config.eta = 5;
    fixture f;
    open_fixture(&f, &config);
    hwm_delta_apply(f.d, f.act, f.u, f.state);
    float largest = 0, view[SYNAPSES];
    for (int k = 0; k < O * H; k++)
        largest = fmaxf(largest, fabsf(f.state[k]));
    assert_true(fabsf(largest - 2) < 1e-5f);
    assert_int_equal(hwm_delta_view(f.d), SYNAPSES);
    hwm_delta_see(f.d, f.state, view);
    for (int k = 0; k < SYNAPSES; k++)
        assert_true(view[k] == f.state[k] / 2);
    close_fixture(&f);
}

static void test_many_synapses_are_projected(void** state) {
    (void)state;
    hwm_error err = {0};
    hwm_controller* c = controller("all", 40);
    hwm_delta* d = NULL;
    const hwm_delta_config config = config_of(HWM_DELTA_NEURON);
    assert_int_equal(hwm_delta_create(&d, c, &config, &err), HWM_OK);
    assert_int_equal(hwm_delta_view(d), 16);
    float* w = calloc((size_t)hwm_controller_state_size(c), sizeof *w);
    float a[16], b[16];
    w[3] = 1;
    hwm_delta_see(d, w, a);
    w[3] = -1;
    hwm_delta_see(d, w, b);
    for (int k = 0; k < 16; k++)
        assert_true(a[k] == -b[k] && a[k] != 0);
    free(w);
    hwm_delta_destroy(&d);
    hwm_controller_destroy(&c);
}

static void test_refusals(void** state) {
    (void)state;
    hwm_error err = {0};
    hwm_delta* d = NULL;
    hwm_controller* c = controller("none", H);
    hwm_delta_config config = config_of(HWM_DELTA_DIRECT);
    assert_int_equal(hwm_delta_create(&d, c, &config, &err), HWM_EINVAL);
    assert_null(d);
    assert_non_null(strstr(err.text, "controller.plastic"));
    hwm_controller_destroy(&c);
    c = controller("all", H);
    config.bound = HWM_BOUND_DECAY;
    assert_int_equal(hwm_delta_create(&d, c, &config, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "rule.bound"));
    hwm_controller_destroy(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_bases),
        cmocka_unit_test(test_clip_holds_coefficients),
        cmocka_unit_test(test_bounds_and_views),
        cmocka_unit_test(test_many_synapses_are_projected),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
