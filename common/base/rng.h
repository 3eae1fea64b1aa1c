// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3").
//
// A stream is a pure function of (seed, purpose, global environment index, episode, step), so that
// what is drawn does not depend on scheduling, on thread count or on how environments are spread
// over workers. All outputs, normals included, are bit-identical on every host and at every
// instruction set: no libm call, no fused multiply-add.
#ifndef HWM_BASE_RNG_H
#define HWM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

// What a stream is for; different purposes never share numbers. Append only: the values are part of
// what a run repeats.
typedef enum hwm_purpose {
    HWM_PURPOSE_ENV_RESET = 1,
    HWM_PURPOSE_ENV_STEP,
    HWM_PURPOSE_VARIANT,
    HWM_PURPOSE_WEIGHTS,      // W_0 of an episode
    HWM_PURPOSE_EXPLORATION,  // action noise of a worker
    HWM_PURPOSE_RULE_NOISE,   // naive rules
    HWM_PURPOSE_PARAMETERS,   // initial parameters
    HWM_PURPOSE_SAMPLER,
    HWM_PURPOSE_MODEL,  // draws inside the world model's update
    HWM_PURPOSE_IMAGINATION,
    HWM_PURPOSE_EVALUATION,
    HWM_PURPOSE_PERTURBATION,  // evolution
    HWM_PURPOSE_EXPERIMENT,    // constants of an experiment, as its observation signs
    HWM_PURPOSE_TEST,
    HWM_PURPOSE_LATENT,  // of a latent agent at work: its posterior and its policy
} hwm_purpose;

typedef struct hwm_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];  // the current output block
    uint32_t used;      // numbers of it already handed out
} hwm_rng;

void hwm_rng_init(hwm_rng* rng, uint64_t seed, hwm_purpose purpose, uint32_t env, uint32_t episode,
                  uint32_t step);
uint32_t hwm_rng_u32(hwm_rng* rng);
uint32_t hwm_rng_below(hwm_rng* rng, uint32_t n);  // uniform in [0, n), unbiased; n >= 1
float hwm_rng_uniform(hwm_rng* rng);               // [0, 1), 24 bits
double hwm_rng_uniform_double(hwm_rng* rng);       // [0, 1), 53 bits
float hwm_rng_normal(hwm_rng* rng);                // N(0, 1)
float hwm_rng_truncated_normal(hwm_rng* rng);      // N(0, 1) restricted to [-2, 2]
int hwm_rng_categorical(hwm_rng* rng, const float* p, int n);  // p need not sum to 1
void hwm_rng_shuffle(hwm_rng* rng, uint32_t* index, uint32_t n);
void hwm_rng_fill_uniform(hwm_rng* rng, float* out, size_t n, float lo, float hi);
void hwm_rng_fill_normal(hwm_rng* rng, float* out, size_t n, float mean, float std);

// The bare generator: 10 rounds on one counter block. For tests against the published vectors and
// for vector kernels.
void hwm_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
