// Evolution strategy: ranks, schedules, the wire form of its tasks, and individuals that answer the
// same whoever plays them.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evolution.h"
#include "plastic/perturb.h"

static const char yaml[] = "env: {name: cartpole, obs_sign: experiment}\n"
                           "controller: {hidden: [5], inputs: [o, d]}\n"
                           "agent: {kind: es}\nevolution: {population: 8, episodes: 3}\n";

static void test_equal_fitness_moves_nothing(void** state) {
    (void)state;
    const double same[4] = {7, 7, 7, 7};
    double rank[4] = {1, 1, 1, 1};
    hwm_ranked order[4];
    hwm_evolution_ranks(4, same, rank, order);
    for (int k = 0; k < 4; k++)
        assert_true(rank[k] == 0);
    const double mixed[4] = {2, 9, 2, -1};
    hwm_evolution_ranks(4, mixed, rank, order);
    assert_true(rank[0] == rank[2] && rank[1] > rank[0] && rank[0] > rank[3]);
    assert_true(fabs(rank[0] + rank[1] + rank[2] + rank[3]) < 1e-15);
}

static void test_schedules_have_a_floor(void** state) {
    (void)state;
    const hwm_evolution_config c = {.sigma = 0.1,
                                    .sigma_decay = 0.9,
                                    .sigma_min = 0.05,
                                    .lr = 2,
                                    .lr_decay = 0.5,
                                    .lr_min = 0.3};
    assert_true(fabs(hwm_evolution_sigma(&c, 2) - 0.081) < 1e-12);
    assert_true(hwm_evolution_sigma(&c, 1000) == 0.05);
    assert_true(hwm_evolution_lr(&c, 1) == 1 && hwm_evolution_lr(&c, 9) == 0.3);
}

static void test_population_has_distinct_pairs(void** state) {
    (void)state;
    for (int k = 0; k < 64; k += 2) {
        const hwm_individual a = hwm_evolution_individual(1, 5, k),
                             b = hwm_evolution_individual(1, 5, k + 1);
        assert_true(a.seed == b.seed && a.sign == 1 && b.sign == -1);
        for (int j = 0; j < k; j += 2)
            assert_true(hwm_evolution_individual(1, 5, j).seed != a.seed);
        assert_true(hwm_evolution_individual(1, 6, k).seed != a.seed);
        assert_true(hwm_evolution_individual(2, 5, k).seed != a.seed);
    }
}

// ---- playing

typedef struct fixture {
    hwm_experiment* experiment;
    hwm_fitness* fitness;
    float* phi;
} fixture;

static void open_fixture(fixture* f) {
    hwm_error err = {0};
    if (hwm_experiment_load(&f->experiment, NULL, yaml, NULL, 0, &err) != HWM_OK ||
        hwm_fitness_create(&f->fitness, f->experiment, &err) != HWM_OK)
        fail_msg("%s", err.text);
    const hwm_controller* c = hwm_fitness_controller(f->fitness);
    const size_t n = hwm_controller_params(c)->count;
    hwm_real* real = calloc(n, sizeof *real);
    f->phi = calloc(n, sizeof *f->phi);
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(c, &rng, real);
    for (size_t k = 0; k < n; k++)
        f->phi[k] = (float)real[k];
    free(real);
}

static void close_fixture(fixture* f) {
    free(f->phi);
    hwm_fitness_destroy(&f->fitness);
    hwm_experiment_destroy(&f->experiment);
}

static hwm_fitness_request request_of(int from, int n) {
    hwm_fitness_request q = {.version = 1, .generation = 4, .episodes = 3, .sigma = 0.5f};
    q.n = (uint32_t)n;
    for (int k = 0; k < n; k++)
        q.individual[k] = hwm_evolution_individual(9, 4, from + k);
    return q;
}

static hwm_fitness_result play(fixture* f, const hwm_fitness_request* q) {
    hwm_fitness_result r;
    hwm_error err = {0};
    if (hwm_fitness_play(f->fitness, f->phi, q, &r, &err) != HWM_OK)
        fail_msg("%s", err.text);
    return r;
}

static void test_who_plays_does_not_matter(void** state) {
    (void)state;
    fixture one, other;
    open_fixture(&one);
    open_fixture(&other);
    hwm_fitness_request all = request_of(0, 8), half = request_of(4, 4), next = all;
    const hwm_fitness_result a = play(&one, &all), b = play(&other, &half), c = play(&one, &half);
    double distinct = 0, steps = 0;
    for (int k = 0; k < 4; k++) {
        assert_true(a.total[4 + k] == b.total[k] && b.total[k] == c.total[k]);
        assert_true(a.square[4 + k] == b.square[k] && b.square[k] > 0);
    }
    for (int k = 0; k < 8; k++) {
        distinct += a.total[k] != a.total[0];
        steps += a.total[k] * 3;  // one reward per step
    }
    assert_true(distinct > 0);
    assert_int_equal(llround(steps), a.env_steps);
    // another generation plays other episodes
    next.generation++;
    const hwm_fitness_result d = play(&one, &next);
    assert_memory_not_equal(d.total, a.total, sizeof d.total);
    // the parent itself is phi, bit for bit
    const hwm_controller* controller = hwm_fitness_controller(one.fitness);
    const size_t n = hwm_controller_params(controller)->count;
    float* out = calloc(n, sizeof *out);
    hwm_perturb(controller, one.phi, 77, 0, 0.5f, out);
    assert_memory_equal(out, one.phi, n * sizeof *out);
    free(out);
    close_fixture(&one);
    close_fixture(&other);
}

static void test_other_episodes_are_refused(void** state) {
    (void)state;
    fixture f;
    open_fixture(&f);
    hwm_fitness_request q = request_of(0, 2);
    hwm_fitness_result r;
    hwm_error err = {0};
    q.episodes = 5;
    assert_int_equal(hwm_fitness_play(f.fitness, f.phi, &q, &r, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "5 episodes"));
    close_fixture(&f);
}

// ---- wire

static void test_requests_and_results_travel(void** state) {
    (void)state;
    static uint8_t bytes[HWM_FITNESS_BYTES_MAX];
    static hwm_fitness_request q, q2;
    static hwm_fitness_result r, r2;
    hwm_error err = {0};
    q = request_of(0, HWM_FITNESS_INDIVIDUALS_MAX);
    size_t n = hwm_fitness_request_encode(&q, bytes);
    // a seed and a sign for each individual, whatever the size of the controller
    assert_int_equal(n, 28 + 9 * HWM_FITNESS_INDIVIDUALS_MAX);
    assert_int_equal(hwm_fitness_request_decode(bytes, n, &q2, &err), HWM_OK);
    for (uint32_t k = 0; k < q.n; k++)
        assert_true(q.individual[k].seed == q2.individual[k].seed &&
                    q.individual[k].sign == q2.individual[k].sign);
    assert_true(q2.version == 1 && q2.generation == 4 && q2.episodes == 3 && q2.sigma == 0.5f);

    for (size_t cut = 0; cut < n; cut += 7)
        assert_int_not_equal(hwm_fitness_request_decode(bytes, cut, &q2, &err), HWM_OK);
    assert_int_equal(hwm_fitness_request_decode(bytes, n + 1, &q2, &err), HWM_EPROTO);
    bytes[n - 1] = 5;
    assert_int_equal(hwm_fitness_request_decode(bytes, n, &q2, &err), HWM_EPROTO);
    assert_non_null(strstr(err.text, "sign 5 of individual 255"));
    memset(bytes + 24, 0xff, 4);  // how many
    assert_int_equal(hwm_fitness_request_decode(bytes, n, &q2, &err), HWM_EPROTO);
    assert_non_null(strstr(err.text, "4294967295 individuals"));
    bytes[0] = 9;
    assert_int_equal(hwm_fitness_request_decode(bytes, n, &q2, &err), HWM_EVERSION);

    r = (hwm_fitness_result){.n = 3, .env_steps = 99, .total = {1, 2, 3}, .square = {4, 5, 6}};
    n = hwm_fitness_result_encode(&r, bytes);
    assert_int_equal(hwm_fitness_result_decode(bytes, n, &r2, &err), HWM_OK);
    assert_memory_equal(&r, &r2, sizeof r);
    assert_int_equal(hwm_fitness_result_decode(bytes, n - 1, &r2, &err), HWM_EPROTO);
}

static void test_odd_populations_are_refused(void** state) {
    (void)state;
    hwm_experiment* e = NULL;
    hwm_error err = {0};
    const char* odd = "agent: {kind: es}\nevolution: {population: 7}\n";
    assert_int_equal(hwm_experiment_load(&e, NULL, odd, NULL, 0, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "evolution.population = 7"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_fitness_moves_nothing),
        cmocka_unit_test(test_schedules_have_a_floor),
        cmocka_unit_test(test_population_has_distinct_pairs),
        cmocka_unit_test(test_who_plays_does_not_matter),
        cmocka_unit_test(test_other_episodes_are_refused),
        cmocka_unit_test(test_requests_and_results_travel),
        cmocka_unit_test(test_odd_populations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
