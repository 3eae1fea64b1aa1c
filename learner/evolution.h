// data path  [8] learner: evolution strategy
//
// Antithetic evolution strategy over the learned numbers of phi. Generation g has pairs of
// individuals phi +- sigma_g eps_i, and estimates the gradient of the expected fitness as
//
//   g = 1 / (n sigma) sum_i rank_i sign_i eps_i
//
// with ranks centred to mean 0 and divided by their std; equal fitness gets equal ranks. Sums run
// in the order of the individuals, in double, so that it does not matter who evaluated which.
// Source: Salimans et al. 2017, arXiv:1703.03864; Najarro & Risi 2020, arXiv:2007.02686.
#ifndef HWM_LEARNER_EVOLUTION_H
#define HWM_LEARNER_EVOLUTION_H

#include "experiment/agent_config.h"
#include "experiment/fitness.h"

double hwm_evolution_sigma(const hwm_evolution_config* config, int64_t generation);
double hwm_evolution_lr(const hwm_evolution_config* config, int64_t generation);
// Individual k of a generation of the run with this seed: k and k + 1, k even, are a pair.
hwm_individual hwm_evolution_individual(uint64_t seed, int64_t generation, int k);
typedef struct hwm_ranked {
    double fitness;
    int individual;
} hwm_ranked;
// rank, fitness (n); all equal: zeros. order: scratch (n).
void hwm_evolution_ranks(int n, const double* fitness, double* rank, hwm_ranked* order);
// grad (count of the controller's list) = -g, for an optimiser that descends. individual, rank (n)
// in pairs; eps, sum (count): scratch.
void hwm_evolution_gradient(const hwm_controller* c, int n, const hwm_individual* individual,
                            const double* rank, double sigma, float* eps, double* sum,
                            hwm_real* grad);

#endif
