// data path  [8] learner: evolution strategy
#include "evolution.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plastic/perturb.h"

static double decayed(double start, double decay, double least, int64_t generation) {
    const double x = start * pow(decay, (double)generation);
    return x > least ? x : least;
}

double hwm_evolution_sigma(const hwm_evolution_config* c, int64_t generation) {
    return decayed(c->sigma, c->sigma_decay, c->sigma_min, generation);
}

double hwm_evolution_lr(const hwm_evolution_config* c, int64_t generation) {
    return decayed(c->lr, c->lr_decay, c->lr_min, generation);
}

hwm_individual hwm_evolution_individual(uint64_t seed, int64_t generation, int k) {
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_PERTURBATION, (uint32_t)(generation >> 32),
                 (uint32_t)generation, (uint32_t)(k / 2) + 1);
    const uint64_t high = hwm_rng_u32(&rng);
    return (hwm_individual){.seed = high << 32 | hwm_rng_u32(&rng), .sign = k % 2 ? -1 : 1};
}

static int by_fitness(const void* a, const void* b) {
    const hwm_ranked *x = a, *y = b;
    if (x->fitness != y->fitness)
        return x->fitness < y->fitness ? -1 : 1;
    return x->individual - y->individual;
}

void hwm_evolution_ranks(int n, const double* fitness, double* rank, hwm_ranked* order) {
    for (int k = 0; k < n; k++)
        order[k] = (hwm_ranked){fitness[k], k};
    qsort(order, (size_t)n, sizeof *order, by_fitness);
    double squares = 0;
    for (int from = 0, to; from < n; from = to) {
        // equal ones share the mean of their places
        for (to = from + 1; to < n && order[to].fitness == order[from].fitness;)
            to++;
        const double place = 0.5 * (from + to - 1) - 0.5 * (n - 1);
        for (int k = from; k < to; k++)
            rank[order[k].individual] = place;
        squares += place * place * (to - from);
    }
    const double std = sqrt(squares / n);
    for (int k = 0; k < n && std > 0; k++)
        rank[k] /= std;
}

void hwm_evolution_gradient(const hwm_controller* c, int n, const hwm_individual* individual,
                            const double* rank, double sigma, float* eps, double* sum,
                            hwm_real* grad) {
    const size_t count = hwm_controller_params(c)->count;
    memset(sum, 0, count * sizeof *sum);
    for (int k = 0; k + 1 < n; k += 2) {
        HWM_ASSERT(individual[k].seed == individual[k + 1].seed);
        const double weight = rank[k] * individual[k].sign + rank[k + 1] * individual[k + 1].sign;
        if (weight == 0)
            continue;
        hwm_perturbation(c, individual[k].seed, eps);
        for (size_t j = 0; j < count; j++)
            sum[j] += weight * (double)eps[j];
    }
    for (size_t j = 0; j < count; j++)
        grad[j] = (hwm_real)(-sum[j] / (n * sigma));
}
