// Prints one generation of an evolution strategy as JSON: what test_evolution.py computes again.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "evolution.h"
#include "plastic/perturb.h"

enum { INDIVIDUALS = 12, GENERATION = 7, SEED = 42 };
static const double sigma = 0.3;

static void numbers(const char* key, const double* x, size_t n, const char* behind) {
    printf("\"%s\": [", key);
    for (size_t k = 0; k < n; k++)
        printf("%s%.17g", k ? ", " : "", x[k]);
    printf("]%s\n", behind);
}

int main(void) {
    static const char yaml[] =
        "env: {name: cartpole}\ncontroller: {hidden: [3], inputs: [o, d], plastic: [last]}\n"
        "rule: {kind: mod3, terms: AC}\n";
    hwm_error err = {0};
    hwm_experiment* e = NULL;
    hwm_controller* c = NULL;
    if (hwm_experiment_load(&e, NULL, yaml, NULL, 0, &err) != HWM_OK ||
        hwm_experiment_controller(e, &c, &err) != HWM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const hwm_param_list* list = hwm_controller_params(c);
    const size_t n = list->count;
    float *phi = calloc(n, sizeof *phi), *out = calloc(n, sizeof *out);
    double *wide = calloc(n, sizeof *wide), *sum = calloc(n, sizeof *sum);
    hwm_real* grad = calloc(n, sizeof *grad);
    hwm_individual one[INDIVIDUALS];
    double fitness[INDIVIDUALS], rank[INDIVIDUALS];
    hwm_ranked order[INDIVIDUALS];
    if (!phi || !out || !wide || !sum || !grad)
        abort();
    for (size_t k = 0; k < n; k++)
        phi[k] = (float)sin(3.0 * (double)k);
    printf("{\"sigma\": %.17g, \"tensors\": [", sigma);
    for (int k = 0; k < list->n; k++)
        printf("%s[\"%s\", %zu, %d]", k ? ", " : "", list->entry[k].spec.name,
               hwm_tensor_count(&list->entry[k].spec), hwm_controller_is_learned(c, k));
    printf("],\n\"individuals\": [");
    for (int k = 0; k < INDIVIDUALS; k++) {
        one[k] = hwm_evolution_individual(SEED, GENERATION, k);
        fitness[k] = floor(4 * sin(5.0 * k));  // some are equal
        printf("%s[%llu, %d]", k ? ", " : "", (unsigned long long)one[k].seed, one[k].sign);
    }
    printf("],\n");
    hwm_evolution_ranks(INDIVIDUALS, fitness, rank, order);
    hwm_evolution_gradient(c, INDIVIDUALS, one, rank, sigma, out, sum, grad);
    numbers("fitness", fitness, INDIVIDUALS, ",");
    numbers("ranks", rank, INDIVIDUALS, ",");
    for (size_t k = 0; k < n; k++)
        wide[k] = (double)grad[k];
    numbers("gradient", wide, n, ",");
    for (size_t k = 0; k < n; k++)
        wide[k] = (double)phi[k];
    numbers("phi", wide, n, ",");
    const double square = hwm_perturb(c, phi, one[3].seed, one[3].sign, (float)sigma, out);
    for (size_t k = 0; k < n; k++)
        wide[k] = (double)out[k];
    numbers("third", wide, n, ",");
    printf("\"square\": %.17g}\n", square);
    free(phi);
    free(out);
    free(wide);
    free(sum);
    free(grad);
    hwm_controller_destroy(&c);
    hwm_experiment_destroy(&e);
    return 0;
}
