// tanh and lanes in float32, as the programs use them.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plastic/impl.h"
#include "plastic/tanh.h"

// Every 997th float, and all near the joints of the approximation, against libm in double.
static void test_tanh_within_ulps(void** state) {
    (void)state;
    double worst = 0;
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += 997) {
        float x;
        memcpy(&x, &bits, sizeof x);
        double want = tanh((double)x);
        float nearest = (float)want;
        double ulp = (double)(nextafterf(nearest, 2) - nearest);
        double error = fabs((double)hwm_tanh(x) - want) / ulp;
        worst = error > worst ? error : worst;
        if (hwm_tanh(-x) != -hwm_tanh(x)) {
            fail_msg("tanh is not odd at %g", (double)x);
        }
    }
    if (!(worst < 2.5)) {
        fail_msg("tanh is off by %g ulp", worst);
    }
}

static void test_tanh_edges(void** state) {
    (void)state;
    assert_true(hwm_tanh(0.0f) == 0 && !signbit(hwm_tanh(0.0f)));
    assert_true(signbit(hwm_tanh(-0.0f)));
    assert_true(hwm_tanh(INFINITY) == 1 && hwm_tanh(-INFINITY) == -1);
    assert_true(hwm_tanh(20.0f) == 1);
    assert_true(isnan(hwm_tanh(NAN)));
    assert_true(hwm_tanh(1e-30f) == 1e-30f);
}

// Bits that a change of compiler, flags or instruction set must not change.
static void test_tanh_bits(void** state) {
    (void)state;
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t k = 0; k < 20000; k++) {
        float y = hwm_tanh((float)k * 0.0005f);
        uint32_t bits;
        memcpy(&bits, &y, sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    if (hash != 0x4bf0b11ac55cc859u) {
        fail_msg("hash of tanh is 0x%016llx", (unsigned long long)hash);
    }
}

// Fifty steps of every rule, bound, granularity and cell: one hash of all states, which no
// compiler, flag or instruction set may change. It is what makes a stored step recoverable
// elsewhere.
static void test_learning_bits(void** state) {
    (void)state;
    enum { O = 4, E = 5, STEPS = 50 };
    uint64_t hash = 0xcbf29ce484222325u;
    for (int n = 0; n < HWM_RULE_KINDS * 32; n++) {
        hwm_controller_config config;
        hwm_rule_config rule;
        hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &config},
                                          {.table = &hwm_rule_table, .target = &rule}};
        hwm_config_defaults(sections, 2);
        rule.kind = n / 16 % HWM_RULE_KINDS;
        config.cell = n < HWM_RULE_KINDS * 16 ? HWM_CELL_MLP : HWM_CELL_RECURRENT;
        rule.granularity = n % 4;
        rule.bound = n / 4 % 4;
        rule.modulator = n % 6;
        rule.phi_std = 0.5;
        rule.w_max = 0.5;
        rule.oja = n % 2 ? 0.2 : 0;
        hwm_controller* c;
        hwm_error err;
        assert_int_equal(hwm_controller_create(&c, &config, &rule, O, NULL, 1, false, &err),
                         HWM_OK);
        size_t states = hwm_lanes_size(E, hwm_controller_state_size(c));
        hwm_real* phi = calloc(hwm_controller_params(c)->count + 1, sizeof *phi);
        hwm_real* coef = calloc((size_t)hwm_controller_coef_count(c) + 1, sizeof *coef);
        hwm_real* lanes = calloc(states, sizeof *lanes);
        hwm_real* act = calloc(hwm_lanes_size(E, hwm_controller_activations(c)), sizeof *act);
        hwm_real obs[O * HWM_LANES] = {0}, one[HWM_LANES] = {0}, zero[HWM_LANES] = {0};
        hwm_rng rng;
        hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, (uint32_t)n, 0, 0);
        hwm_controller_init(c, &rng, phi);
        hwm_controller_prepare(c, phi, coef);
        for (int i = 0; i < E; i++) {
            hwm_controller_reset(c, coef, &rng, lanes, i);
        }
        for (int t = 0; t < STEPS; t++) {
            for (int k = 0; k < O * HWM_LANES; k++) {
                obs[k] = k % HWM_LANES < E ? hwm_rng_normal(&rng) : 0;
                one[k % HWM_LANES] = obs[k];
            }
            hwm_controller_input(c, E, obs, obs, NULL, one, one, zero, act);
            hwm_controller_act(c, coef, E, lanes, act);
            hwm_controller_learn(c, coef, E, act, one, NULL, lanes, NULL);
        }
        for (size_t k = 0; k < states; k++) {
            uint32_t bits;
            assert_true(isfinite(lanes[k]));
            memcpy(&bits, &lanes[k], sizeof bits);
            hash = k % HWM_LANES < E ? (hash ^ bits) * 0x100000001b3u : hash;
        }
        free(phi);
        free(coef);
        free(lanes);
        free(act);
        hwm_controller_destroy(&c);
    }
    if (hash != 0x48b9e0267a5435deu) {
        fail_msg("hash of all states is 0x%016llx", (unsigned long long)hash);
    }
}

static void test_lanes_there_and_back(void** state) {
    (void)state;
    for (int batch = 1; batch <= 33; batch += 8) {
        const int features = 5;
        size_t n = (size_t)(batch * features), size = hwm_lanes_size(batch, features);
        float* rows = calloc(n, sizeof *rows);
        float* back = calloc(n, sizeof *back);
        hwm_real* lanes = malloc(size * sizeof *lanes);
        assert_int_equal(size, (size_t)((batch + 15) / 16 * 16 * features));
        for (size_t k = 0; k < n; k++) {
            rows[k] = (float)k + 1;
        }
        memset(lanes, 0xff, size * sizeof *lanes);
        hwm_lanes_pack_float(lanes, rows, batch, features);
        double sum = 0;
        for (size_t k = 0; k < size; k++) {
            sum += (double)lanes[k];  // lanes without a sample are zero, not what was there
        }
        assert_true(sum == (double)n * (double)(n + 1) / 2);
        hwm_lanes_unpack_float(back, lanes, batch, features);
        assert_memory_equal(rows, back, n * sizeof *rows);
        hwm_lanes_set(lanes, batch - 1, features, rows);
        hwm_lanes_get(lanes, batch - 1, features, back);
        assert_memory_equal(rows, back, (size_t)features * sizeof *rows);
        free(rows);
        free(back);
        free(lanes);
    }
}

// What a controller refuses, each with a sentence that names the value.
static void refuse(hwm_controller_config* config, hwm_rule_config* rule, const char* part) {
    hwm_controller* c;
    hwm_error err;
    assert_int_equal(hwm_controller_create(&c, config, rule, 4, NULL, 1, true, &err), HWM_EINVAL);
    assert_null(c);
    if (!strstr(err.text, part)) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
    }
}

static void test_refusals(void** state) {
    (void)state;
    hwm_controller_config config, c;
    hwm_rule_config rule, r;
    hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &config},
                                      {.table = &hwm_rule_table, .target = &rule}};
    hwm_config_defaults(sections, 2);
    r = rule;
    strcpy(r.terms, "ABX");
    refuse(&config, &r, "ABX");
    strcpy(r.terms, "AAB");
    refuse(&config, &r, "AAB");
    r = rule;
    r.average = 4;
    refuse(&config, &r, "rule.average is 4");
    r = rule;
    r.kind = HWM_RULE_OJA;
    r.naive = HWM_NAIVE_BCM;
    refuse(&config, &r, "oja is naive");
    c = config;
    strcpy(c.plastic.v[0], "7");
    refuse(&c, &rule, "7");
    c = config;
    c.inputs = (hwm_string_list){.n = 2, .v = {"o", "o"}};
    refuse(&c, &rule, "twice");
    c.inputs.n = 0;
    refuse(&c, &rule, "empty");
    c = config;
    c.hidden.n = 0;
    r = rule;
    r.modulator = HWM_MODULATOR_UNIT;
    refuse(&c, &r, "unit");
    c.cell = HWM_CELL_RECURRENT;
    refuse(&c, &rule, "controller.cell is recurrent");
    c = config;
    c.weights_mean = true;
    r = rule;
    r.kind = HWM_RULE_MICONI;
    refuse(&c, &r, "weights_mean");
    c = config;
    r = rule;
    strcpy(c.plastic.v[0], "recurrent");  // of a cell that has none
    refuse(&c, &r, "recurrent");
    strcpy(c.plastic.v[0], "all");
    c.hidden = (hwm_int_list){.n = 8, .v = {2, 2, 2, 2, 2, 2, 2, 2}};
    r.kind = HWM_RULE_MOD3;
    refuse(&c, &r, "tensors");
}

// u in equal steps picks every action as often as its share says.
static void test_choices_follow_their_shares(void** state) {
    (void)state;
    const float a[4] = {-1.0f, 0.5f, 0.9f, -0.3f};
    enum { DRAWS = 100000 };
    int count[4] = {0};
    double sum = 0;
    for (int n = 0; n < DRAWS; n++) {
        count[hwm_controller_choose(a, 4, ((float)n + 0.5f) / DRAWS)]++;
    }
    for (int k = 0; k < 4; k++) {
        sum += 1.001 + (double)a[k];
    }
    for (int k = 0; k < 4; k++) {
        assert_true(fabs(count[k] / (double)DRAWS - (1.001 + (double)a[k]) / sum) < 1e-4);
    }
    assert_true(count[0] > 0);  // never quite impossible
    assert_int_equal(hwm_controller_choose(a, 4, 0.99999994f), 3);
}

// How weights start: bounds and shares of the ten distributions.
static void test_distributions(void** state) {
    (void)state;
    static const struct {
        int kind;
        double scale, largest, std;  // std: expected, 0: not checked
    } cases[] = {
        {HWM_WEIGHTS_XAVIER, 0.3, 0.3 * 0.2449490, 0.3 * 0.2449490 / 1.7320508},
        {HWM_WEIGHTS_SPARSE, 0.8, 0.06, 0.01 * 0.4472},
        {HWM_WEIGHTS_UNIFORM, 0.1, 0.1, 0.1 / 1.7320508},
        {HWM_WEIGHTS_NORMAL, 0.024, 0.13, 0.024},
        {HWM_WEIGHTS_KAIMING, 3, 0.1224745, 0.1224745 / 1.7320508},
        {HWM_WEIGHTS_UNIFORM, 1, 1, 1 / 1.7320508},
        {HWM_WEIGHTS_XAVIER, 1, 0.2449490, 0.2449490 / 1.7320508},
        {HWM_WEIGHTS_ONES, 0, 1, 0},
        {HWM_WEIGHTS_ZEROS, 0, 0, 0},
        {HWM_WEIGHTS_DEFAULT, 0, 0.1581139, 0.1581139 / 1.7320508},
    };
    enum { Q = 40, P = 60 };
    hwm_controller_config config;
    hwm_rule_config rule;
    hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &config},
                                      {.table = &hwm_rule_table, .target = &rule}};
    hwm_config_defaults(sections, 2);
    config.hidden.n = 0;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        hwm_controller* c;
        hwm_error err;
        config.weights = cases[k].kind;
        config.weights_scale = cases[k].scale;
        assert_int_equal(hwm_controller_create(&c, &config, &rule, Q, NULL, P, false, &err),
                         HWM_OK);
        hwm_real* coef = calloc((size_t)hwm_controller_coef_count(c), sizeof *coef);
        hwm_real* lanes = calloc(hwm_lanes_size(1, hwm_controller_state_size(c)), sizeof *lanes);
        float* w = calloc(P * Q, sizeof *w);
        hwm_rng rng;
        hwm_rng_init(&rng, 9, HWM_PURPOSE_WEIGHTS, 0, 0, 0);
        hwm_controller_reset(c, coef, &rng, lanes, 0);
        hwm_lanes_get(lanes, 0, P * Q, w);
        double largest = 0, squares = 0;
        int zeros = 0;
        for (int i = 0; i < P * Q; i++) {
            largest = fmax(largest, fabs((double)w[i]));
            squares += (double)w[i] * (double)w[i];
            zeros += w[i] == 0;
        }
        double std = sqrt(squares / (P * Q));
        assert_true(largest <= cases[k].largest * 1.0001 && largest >= cases[k].largest * 0.5);
        if (cases[k].std > 0) {
            assert_true(fabs(std - cases[k].std) < 0.06 * cases[k].std);
        }
        if (cases[k].kind == HWM_WEIGHTS_SPARSE) {
            assert_int_equal(zeros, 48 * Q);
        }
        free(coef);
        free(lanes);
        free(w);
        hwm_controller_destroy(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tanh_within_ulps),
        cmocka_unit_test(test_tanh_edges),
        cmocka_unit_test(test_tanh_bits),
        cmocka_unit_test(test_learning_bits),
        cmocka_unit_test(test_lanes_there_and_back),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_choices_follow_their_shares),
        cmocka_unit_test(test_distributions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
