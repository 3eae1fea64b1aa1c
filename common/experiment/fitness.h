// data path  [8] learner <-> [2] controller: tasks of an evolution strategy
//
// A task of type "fitness" names individuals by their perturbation seeds; whoever leases it plays
// their episodes and answers with two numbers each. The episodes are those of the generation, the
// same for all individuals, without exploration.
#ifndef HWM_EXPERIMENT_FITNESS_H
#define HWM_EXPERIMENT_FITNESS_H

#include "experiment/evaluate.h"

#define HWM_TASK_FITNESS "fitness"
enum { HWM_FITNESS_INDIVIDUALS_MAX = 256, HWM_FITNESS_BYTES_MAX = 8192 };

typedef struct hwm_individual {
    uint64_t seed;  // of the perturbation
    int8_t sign;    // -1, 0 (the parent itself), +1
} hwm_individual;

typedef struct hwm_fitness_request {
    uint64_t version;     // of the set "controller" that is perturbed
    uint32_t generation;  // which episodes
    uint32_t episodes;    // of each individual
    float sigma;
    uint32_t n;
    hwm_individual individual[HWM_FITNESS_INDIVIDUALS_MAX];
} hwm_fitness_request;

typedef struct hwm_fitness_result {
    uint32_t n;
    int64_t env_steps;                           // simulator steps of all, repeats counted
    double total[HWM_FITNESS_INDIVIDUALS_MAX];   // mean return of the individual's episodes
    double square[HWM_FITNESS_INDIVIDUALS_MAX];  // mean square of its learned parameters
} hwm_fitness_result;

size_t hwm_fitness_request_encode(const hwm_fitness_request* request,
                                  uint8_t bytes[HWM_FITNESS_BYTES_MAX]);
// HWM_EVERSION, HWM_EPROTO: not such a request; err says what is wrong with it.
hwm_status hwm_fitness_request_decode(const void* bytes, size_t size, hwm_fitness_request* request,
                                      hwm_error* err);
size_t hwm_fitness_result_encode(const hwm_fitness_result* result,
                                 uint8_t bytes[HWM_FITNESS_BYTES_MAX]);
hwm_status hwm_fitness_result_decode(const void* bytes, size_t size, hwm_fitness_result* result,
                                     hwm_error* err);

// Plays such requests: environments and controller are made once.
typedef struct hwm_fitness hwm_fitness;
// experiment: borrowed. Caller owns, free with hwm_fitness_destroy.
hwm_status hwm_fitness_create(hwm_fitness** out, const hwm_experiment* experiment, hwm_error* err);
void hwm_fitness_destroy(hwm_fitness** fitness);
const hwm_controller* hwm_fitness_controller(const hwm_fitness* fitness);
// phi: version request->version. HWM_EINVAL: not this experiment's number of episodes; HWM_ECLOSED:
// a signal asks to stop.
hwm_status hwm_fitness_play(hwm_fitness* fitness, const float* phi,
                            const hwm_fitness_request* request, hwm_fitness_result* result,
                            hwm_error* err);

#endif
