// Evaluation: whole episodes with given parameters, without exploration, on seeds of their own.
//
// Controls are part of the request: weights frozen or drawn anew at a step of the episode,
// coefficients of the rule shuffled among synapses or zeroed; actions that nobody chose.
#ifndef HWM_EXPERIMENT_EVALUATE_H
#define HWM_EXPERIMENT_EVALUATE_H

#include "experiment/experiment.h"
#include "plastic/controller.h"
#include "plastic/rollout.h"

// Whose actions the environment takes.
typedef enum hwm_evaluate_actions {
    HWM_EVALUATE_LEARNED,
    HWM_EVALUATE_RANDOM,  // uniform over the actions, anew at every decision
    HWM_EVALUATE_ZERO,    // continuous actions only
} hwm_evaluate_actions;

// Permutations that shuffled coefficients are judged over: what a single one does is chance.
enum { HWM_EVALUATE_SHUFFLES = 10 };

typedef struct hwm_evaluate_request {
    int episodes;
    uint64_t seed;      // of environments and W_0; never a training seed
    int64_t freeze_at;  // no plastic step from this decision on; -1: never
    int64_t reset_at;   // weights drawn anew at this decision; -1: never
    bool shuffle_rule;  // coefficients permuted, anew after each tenth of the episodes
    bool zero_rule;
    int variant;  // force the k-th of the environment's discrete variants; -1: all, by chance
    hwm_evaluate_actions actions;
} hwm_evaluate_request;
hwm_evaluate_request hwm_evaluate_default_request(void);

enum { HWM_EVALUATE_VARIANTS_MAX = 16 };
typedef struct hwm_evaluate_score {
    int episodes;
    double mean, std, min, max;  // of the episodes' returns
    double discounted;           // mean of sum train.gamma^t r_t, t in decisions
    // forward velocity, m/s: way ahead over the full length of an episode, so that a fall costs the
    // rest of it; NaN where there is no way to go
    double velocity, velocity_std;
    float variant[HWM_EVALUATE_VARIANTS_MAX];
} hwm_evaluate_score;

typedef struct hwm_evaluate_result {
    hwm_evaluate_score all;
    int n_variants;  // distinct variants seen, ascending; 0 where there are none or too many
    int variant_dim;
    hwm_evaluate_score variant[HWM_EVALUATE_VARIANTS_MAX];
    int64_t env_steps;  // simulator steps, repeats counted
} hwm_evaluate_result;

// phi: parameters in the controller's order (hwm_controller_params). Returns HWM_OK; HWM_EINVAL for
// a request that makes no sense; HWM_ENUMERIC when phi is not finite; HWM_ECLOSED when a signal
// asks to stop.
hwm_status hwm_evaluate(const hwm_experiment* experiment, const float* phi,
                        const hwm_evaluate_request* request, hwm_evaluate_result* result,
                        hwm_error* err);
// Every environment of the rollout plays the k-th of the environment's discrete variants from now
// on (resets environment 0 to find them). HWM_EINVAL: there are fewer, or too many to count.
hwm_status hwm_evaluate_force_variant(hwm_rollout* r, int k, hwm_error* err);
// phi in the way-th order that the seed draws: the rule's coefficients change places among the
// synapses of their layer, or, one number a layer, among the terms.
void hwm_evaluate_shuffle(const hwm_controller* controller, uint64_t seed, int way, float* phi);
// The controller of an experiment; caller owns, free with hwm_controller_destroy.
hwm_status hwm_experiment_controller(const hwm_experiment* experiment, hwm_controller** controller,
                                     hwm_error* err);

// Payload and result of a task of type "evaluate": little-endian, fixed size, with a version of
// their own.
#define HWM_TASK_EVALUATE "evaluate"
enum { HWM_EVALUATE_PAYLOAD_MAX = 64, HWM_EVALUATE_REPLY_MAX = 4096 };
// version: of the parameter set "controller" to evaluate. Returns bytes written.
size_t hwm_evaluate_request_encode(const hwm_evaluate_request* request, uint64_t version,
                                   uint8_t bytes[HWM_EVALUATE_PAYLOAD_MAX]);
hwm_status hwm_evaluate_request_decode(const void* bytes, size_t size,
                                       hwm_evaluate_request* request, uint64_t* version,
                                       hwm_error* err);
size_t hwm_evaluate_result_encode(const hwm_evaluate_result* result,
                                  uint8_t bytes[HWM_EVALUATE_REPLY_MAX]);
hwm_status hwm_evaluate_result_decode(const void* bytes, size_t size, hwm_evaluate_result* result,
                                      hwm_error* err);

#endif
