// Random numbers: the generator against its published vectors and an independent implementation,
// the streams, and every distribution. Seeds are fixed, so the statistics are the same in every
// run; the limits are those of a 1e-4 test.
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

#include "base/crc.h"
#include "base/rng.h"

static void test_philox_gives_the_published_vectors(void** state) {
    (void)state;
    // known answers distributed with the reference implementation of Salmon et al. 2011
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint32_t out[4];
        hwm_philox4x32(vectors[i].counter, vectors[i].key, out);
        assert_memory_equal(out, vectors[i].out, sizeof out);
    }
}

static void test_philox_agrees_with_random123(void** state) {
    (void)state;
    uint32_t word = 1;
    for (int i = 0; i < 10000; i++) {
        uint32_t in[6], out[4];
        for (int j = 0; j < 6; j++)
            in[j] = word = word * 1664525u + 1013904223u;
        philox4x32_ctr_t counter = {{in[0], in[1], in[2], in[3]}};
        philox4x32_key_t key = {{in[4], in[5]}};
        philox4x32_ctr_t expected = philox4x32(counter, key);
        hwm_philox4x32(in, in + 4, out);
        assert_memory_equal(out, expected.v, sizeof out);
    }
}

static void test_streams_differ_in_every_coordinate(void** state) {
    (void)state;
    hwm_rng rng[8];
    hwm_rng_init(&rng[0], 1, HWM_PURPOSE_TEST, 2, 3, 4);
    hwm_rng_init(&rng[1], 2, HWM_PURPOSE_TEST, 2, 3, 4);
    hwm_rng_init(&rng[2], 1, HWM_PURPOSE_SAMPLER, 2, 3, 4);
    hwm_rng_init(&rng[3], 1, HWM_PURPOSE_TEST, 3, 3, 4);
    hwm_rng_init(&rng[4], 1, HWM_PURPOSE_TEST, 2, 4, 4);
    hwm_rng_init(&rng[5], 1, HWM_PURPOSE_TEST, 2, 3, 5);
    hwm_rng_init(&rng[6], 1 + ((uint64_t)1 << 32), HWM_PURPOSE_TEST, 2, 3, 4);
    hwm_rng_init(&rng[7], 1, HWM_PURPOSE_TEST, 2, 3, 4);
    uint32_t draw[8][16];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 16; j++)
            draw[i][j] = hwm_rng_u32(&rng[i]);
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < i; j++)
            for (int k = 0; k < 16; k++)
                assert_int_not_equal(draw[i][k], draw[j][k]);
    assert_memory_equal(draw[0], draw[7], sizeof draw[0]);
}

enum { FILL = 10007 };

static void test_fill_gives_what_one_by_one_gives(void** state) {
    (void)state;
    static float filled[FILL];
    for (int offset = 0; offset < 6; offset++) {
        hwm_rng a, b;
        hwm_rng_init(&a, 7, HWM_PURPOSE_TEST, 0, 0, 0);
        for (int i = 0; i < offset; i++)
            hwm_rng_u32(&a);
        b = a;
        hwm_rng_fill_normal(&a, filled, FILL, 0.0f, 1.0f);
        for (int i = 0; i < FILL; i++) {
            float one = hwm_rng_normal(&b);
            assert_memory_equal(&one, &filled[i], sizeof one);
        }
        assert_int_equal(hwm_rng_u32(&a), hwm_rng_u32(&b));
        b = a;
        hwm_rng_fill_uniform(&a, filled, FILL, 0.0f, 1.0f);
        for (int i = 0; i < FILL; i++)
            assert_true(hwm_rng_uniform(&b) == filled[i]);
    }
}

// Whatever the compiler, its flags and the CPU: these bits. A new value here breaks every recorded
// run.
static void test_the_bits_never_change(void** state) {
    (void)state;
    enum { N = 1 << 16 };
    float* x = malloc(N * sizeof *x);
    assert_non_null(x);
    hwm_rng rng;
    hwm_rng_init(&rng, 2026, HWM_PURPOSE_TEST, 1, 2, 3);
    hwm_rng_fill_normal(&rng, x, N, 0.0f, 1.0f);
    assert_int_equal(hwm_crc32c(0, x, N * sizeof *x), 0x4b6a8521);
    hwm_rng_fill_uniform(&rng, x, N, -1.0f, 1.0f);
    assert_int_equal(hwm_crc32c(0, x, N * sizeof *x), 0x5e45ee63);
    for (int i = 0; i < N; i++)
        x[i] = hwm_rng_truncated_normal(&rng);
    assert_int_equal(hwm_crc32c(0, x, N * sizeof *x), 0x88fbf617);
    free(x);
}

static int compare_doubles(const void* a, const void* b) {
    double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

enum { SAMPLES = 200000 };

// Kolmogorov-Smirnov: sqrt(n) sup |F_n - F| exceeds 2.23 once in 10^4 samples.
static double ks(double* x, int n, double (*cdf)(double)) {
    qsort(x, (size_t)n, sizeof *x, compare_doubles);
    double sup = 0;
    for (int i = 0; i < n; i++) {
        double f = cdf(x[i]);
        sup = fmax(sup, fmax(fabs(f - (double)i / n), fabs(f - (double)(i + 1) / n)));
    }
    return sqrt(n) * sup;
}

static double uniform_cdf(double x) {
    return x;
}

static double normal_cdf(double x) {
    return 0.5 * erfc(-x / sqrt(2.0));
}

static double truncated_cdf(double x) {
    double lo = normal_cdf(-2);
    return (normal_cdf(x) - lo) / (1 - 2 * lo);
}

static void test_distributions_pass_kolmogorov_smirnov(void** state) {
    (void)state;
    double* x = malloc(SAMPLES * sizeof *x);
    assert_non_null(x);
    hwm_rng rng;
    hwm_rng_init(&rng, 11, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        x[i] = hwm_rng_uniform(&rng);
        assert_true(x[i] >= 0 && x[i] < 1);
    }
    assert_true(ks(x, SAMPLES, uniform_cdf) < 2.23);
    for (int i = 0; i < SAMPLES; i++) {
        x[i] = hwm_rng_uniform_double(&rng);
        assert_true(x[i] >= 0 && x[i] < 1);
    }
    assert_true(ks(x, SAMPLES, uniform_cdf) < 2.23);
    for (int i = 0; i < SAMPLES; i++)
        x[i] = hwm_rng_normal(&rng);
    assert_true(ks(x, SAMPLES, normal_cdf) < 2.23);
    for (int i = 0; i < SAMPLES; i++) {
        x[i] = hwm_rng_truncated_normal(&rng);
        assert_true(fabs(x[i]) <= 2);
    }
    assert_true(ks(x, SAMPLES, truncated_cdf) < 2.23);
    free(x);
}

// The map from words to normals itself, tails included: the word that the smallest tail probability
// belongs to gives 6.33.
static void test_normals_have_the_right_tails(void** state) {
    (void)state;
    enum { N = 1 << 21 };
    float* x = malloc(N * sizeof *x);
    assert_non_null(x);
    hwm_rng rng;
    hwm_rng_init(&rng, 12, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_rng_fill_normal(&rng, x, N, 0.0f, 1.0f);
    const double thresholds[] = {1, 2, 3, 4, 4.5};
    for (size_t t = 0; t < sizeof thresholds / sizeof thresholds[0]; t++) {
        int above = 0, below = 0;
        for (int i = 0; i < N; i++) {
            above += x[i] > thresholds[t];
            below += x[i] < -thresholds[t];
        }
        double expected = N * normal_cdf(-thresholds[t]);
        assert_true(fabs(above - expected) < 4 * sqrt(expected));
        assert_true(fabs(below - expected) < 4 * sqrt(expected));
    }
    double sum = 0, square = 0, cube = 0, fourth = 0;
    for (int i = 0; i < N; i++) {
        double v = x[i];
        sum += v;
        square += v * v;
        cube += v * v * v;
        fourth += v * v * v * v;
    }
    assert_true(fabs(sum / N) < 4 / sqrt(N));
    assert_true(fabs(square / N - 1) < 4 * sqrt(2.0 / N));
    assert_true(fabs(cube / N) < 4 * sqrt(15.0 / N));
    assert_true(fabs(fourth / N - 3) < 4 * sqrt(96.0 / N));
    free(x);
}

// sum (observed - expected)^2 / expected
static double chi_square(const int* count, const double* p, int k, int n) {
    double sum = 0;
    for (int i = 0; i < k; i++) {
        double expected = p[i] * n;
        sum += (count[i] - expected) * (count[i] - expected) / expected;
    }
    return sum;
}

static void test_below_is_uniform_and_in_range(void** state) {
    (void)state;
    hwm_rng rng;
    hwm_rng_init(&rng, 13, HWM_PURPOSE_TEST, 0, 0, 0);
    int count[10] = {0};
    double p[10];
    for (int i = 0; i < 10; i++)
        p[i] = 0.1;
    for (int i = 0; i < SAMPLES; i++)
        count[hwm_rng_below(&rng, 10)]++;
    assert_true(chi_square(count, p, 10, SAMPLES) < 33.7);  // 9 degrees of freedom, 1e-4
    // just above half of the range a modulus would favour the lower half two to one
    const uint32_t n = 0xC0000000u;
    int lower = 0;
    for (int i = 0; i < SAMPLES; i++) {
        uint32_t v = hwm_rng_below(&rng, n);
        assert_true(v < n);
        lower += v < n / 3;
    }
    assert_true(fabs(lower - SAMPLES / 3.0) < 4 * sqrt(SAMPLES * 2.0 / 9));
    for (int i = 0; i < 100; i++)
        assert_int_equal(hwm_rng_below(&rng, 1), 0);
}

static void test_categorical_follows_its_weights(void** state) {
    (void)state;
    const float weights[6] = {0.5f, 0.0f, 1.5f, 0.25f, 0.75f, 0.0f};
    const double p[4] = {0.5 / 3, 1.5 / 3, 0.25 / 3, 0.75 / 3};
    int count[6] = {0};
    hwm_rng rng;
    hwm_rng_init(&rng, 14, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        int c = hwm_rng_categorical(&rng, weights, 6);
        assert_in_range(c, 0, 5);
        count[c]++;
    }
    assert_int_equal(count[1], 0);
    assert_int_equal(count[5], 0);
    const int possible[4] = {count[0], count[2], count[3], count[4]};
    assert_true(chi_square(possible, p, 4, SAMPLES) < 21.1);  // 3 degrees of freedom, 1e-4
    const float one[1] = {1e-30f};
    assert_int_equal(hwm_rng_categorical(&rng, one, 1), 0);
}

static void test_shuffle_gives_every_order_equally_often(void** state) {
    (void)state;
    enum { ROUNDS = 48000 };
    int count[24] = {0};
    double p[24];
    hwm_rng rng;
    hwm_rng_init(&rng, 15, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int r = 0; r < ROUNDS; r++) {
        uint32_t order[4] = {0, 1, 2, 3};
        hwm_rng_shuffle(&rng, order, 4);
        int seen = 0, rank = 0;
        for (int i = 0; i < 4; i++) {
            seen |= 1 << order[i];
            int smaller = 0;
            for (int j = i + 1; j < 4; j++)
                smaller += order[j] < order[i];
            rank = rank * (4 - i) + smaller;
        }
        assert_int_equal(seen, 15);
        count[rank]++;
    }
    for (int i = 0; i < 24; i++)
        p[i] = 1.0 / 24;
    assert_true(chi_square(count, p, 24, ROUNDS) < 56.0);  // 23 degrees of freedom, 1e-4
    hwm_rng_shuffle(&rng, NULL, 0);
}

static void test_neighbouring_streams_are_uncorrelated(void** state) {
    (void)state;
    enum { N = 20000 };
    double worst = 0;
    for (uint32_t env = 0; env < 8; env++) {
        hwm_rng a, b;
        hwm_rng_init(&a, 16, HWM_PURPOSE_TEST, env, 0, 0);
        hwm_rng_init(&b, 16, HWM_PURPOSE_TEST, env + 1, 0, 0);
        double sum = 0;
        for (int i = 0; i < N; i++)
            sum += (double)hwm_rng_normal(&a) * hwm_rng_normal(&b);
        worst = fmax(worst, fabs(sum) / sqrt(N));
    }
    assert_true(worst < 4.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_gives_the_published_vectors),
        cmocka_unit_test(test_philox_agrees_with_random123),
        cmocka_unit_test(test_streams_differ_in_every_coordinate),
        cmocka_unit_test(test_fill_gives_what_one_by_one_gives),
        cmocka_unit_test(test_the_bits_never_change),
        cmocka_unit_test(test_distributions_pass_kolmogorov_smirnov),
        cmocka_unit_test(test_normals_have_the_right_tails),
        cmocka_unit_test(test_below_is_uniform_and_in_range),
        cmocka_unit_test(test_categorical_follows_its_weights),
        cmocka_unit_test(test_shuffle_gives_every_order_equally_often),
        cmocka_unit_test(test_neighbouring_streams_are_uncorrelated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
