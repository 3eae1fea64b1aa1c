// Evaluation: whole episodes in lock step, counted.
#include "experiment/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/signals.h"
#include "experiment/acting.h"
#include "plastic/rollout.h"

enum { LANES_AT_ONCE = 64, PROBES = 64 };

hwm_evaluate_request hwm_evaluate_default_request(void) {
    return (hwm_evaluate_request){.episodes = 100, .freeze_at = -1, .reset_at = -1, .variant = -1};
}

hwm_status hwm_experiment_controller(const hwm_experiment* experiment, hwm_controller** controller,
                                     hwm_error* err) {
    *controller = NULL;
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    if (!spec) {
        return hwm_fail(err, HWM_ENOMEM, "no memory to describe the environment");
    }
    hwm_status s = hwm_env_describe(&experiment->env, spec, err);
    if (s == HWM_OK) {
        s = hwm_experiment_controller_for(experiment, spec, spec->obs_scale, controller, err);
    }
    free(spec);
    return s;
}

// ---- what happened: one return and variant per episode
typedef struct tally {
    int n, dim;
    double* total;       // (episodes)
    double* discounted;  // (episodes)
    double* velocity;    // (episodes) m/s, NaN where there is no way to go
    double gamma;
    float* variant;  // (episodes, dim)
} tally;

static bool counts(const tally* t, int e, const float* only) {
    return !only || memcmp(only, t->variant + (size_t)e * (size_t)t->dim,
                           (size_t)t->dim * sizeof(float)) == 0;
}

static void score(hwm_evaluate_score* s, const tally* t, const float* only) {
    double sum = 0, squares = 0, discounted = 0, velocity = 0, velocity_squares = 0;
    s->episodes = 0;
    s->min = INFINITY;
    s->max = -INFINITY;
    for (int e = 0; e < t->n; e++) {
        if (!counts(t, e, only)) {
            continue;
        }
        s->episodes++;
        sum += t->total[e];
        discounted += t->discounted[e];
        velocity += t->velocity[e];
        s->min = fmin(s->min, t->total[e]);
        s->max = fmax(s->max, t->total[e]);
    }
    s->mean = s->episodes ? sum / s->episodes : 0;
    s->discounted = s->episodes ? discounted / s->episodes : 0;
    s->velocity = s->episodes ? velocity / s->episodes : (double)NAN;
    for (int e = 0; e < t->n; e++) {
        if (counts(t, e, only)) {
            squares += (t->total[e] - s->mean) * (t->total[e] - s->mean);
            velocity_squares += (t->velocity[e] - s->velocity) * (t->velocity[e] - s->velocity);
        }
    }
    s->std = s->episodes ? sqrt(squares / s->episodes) : 0;
    s->velocity_std = s->episodes ? sqrt(velocity_squares / s->episodes) : (double)NAN;
}

static int compare_variants(const float* a, const float* b, int dim) {
    for (int k = 0; k < dim; k++) {
        if (a[k] != b[k]) {
            return a[k] < b[k] ? -1 : 1;
        }
    }
    return 0;
}

// Insert v into the ascending list unless it is there. Returns the new count, -1 when there are too
// many.
static int insert_variant(float (*list)[HWM_EVALUATE_VARIANTS_MAX], int n, const float* v,
                          int dim) {
    int at = 0;
    while (at < n && compare_variants(list[at], v, dim) < 0) {
        at++;
    }
    if (at < n && compare_variants(list[at], v, dim) == 0) {
        return n;
    }
    if (n == HWM_EVALUATE_VARIANTS_MAX) {
        return -1;
    }
    memmove(list + at + 1, list + at, (size_t)(n - at) * sizeof *list);
    memcpy(list[at], v, (size_t)dim * sizeof *v);
    return n + 1;
}

// Variants that chance brings up, from many resets.
static int probe_variants(hwm_rollout* r, float (*list)[HWM_EVALUATE_VARIANTS_MAX]) {
    float v[HWM_EVALUATE_VARIANTS_MAX];
    int n = 0;
    for (int k = 0; k < PROBES && n >= 0; k++) {
        hwm_envs_reset(r->envs, 0, (uint32_t)k, r->obs);
        hwm_envs_variant(r->envs, 0, v);
        n = insert_variant(list, n, v, r->spec->variant_dim);
    }
    return n;
}

hwm_status hwm_evaluate_force_variant(hwm_rollout* r, int k, hwm_error* err) {
    float list[HWM_EVALUATE_VARIANTS_MAX][HWM_EVALUATE_VARIANTS_MAX];
    int n = r->spec->variant_dim ? probe_variants(r, list) : 0;
    if (n < 0) {
        return hwm_fail(err, HWM_EINVAL,
                        "%s has more than %d variants: one cannot be chosen by number",
                        r->spec->name, HWM_EVALUATE_VARIANTS_MAX);
    }
    if (k >= n) {
        return hwm_fail(err, HWM_EINVAL, "variant %d: %s has %d (from 0)", k, r->spec->name, n);
    }
    for (int i = 0; i < r->E; i++) {
        hwm_envs_force_variant(r->envs, i, list[k]);
    }
    return HWM_OK;
}

// Entries from..: those whose numbers change places with each other. Per synapse: one entry. One
// number per layer: all terms of the layer. Returns the entry behind them.
static int shuffle_group(const hwm_controller* c, int from) {
    const hwm_param_list* list = hwm_controller_params(c);
    const char* name = list->entry[from].spec.name;
    size_t prefix = strcspn(name, ".");
    int to = from + 1;
    while (hwm_tensor_count(&list->entry[from].spec) == 1 && to < list->n &&
           hwm_controller_is_coefficient(c, to) &&
           strncmp(name, list->entry[to].spec.name, prefix + 1) == 0) {
        to++;
    }
    return to;
}

// Each group of coefficients in another order, or all zero.
static void alter_rule(const hwm_controller* c, bool zero, hwm_rng* order, float* phi) {
    const hwm_param_list* list = hwm_controller_params(c);
    for (int k = 0, next; k < list->n; k = next) {
        next = k + 1;
        if (!hwm_controller_is_coefficient(c, k)) {
            continue;
        }
        next = shuffle_group(c, k);
        float* x = phi + list->entry[k].offset;
        size_t n =
            (next < list->n ? list->entry[next].offset : list->count) - list->entry[k].offset;
        for (size_t j = n; order && j > 1; j--) {
            size_t other = hwm_rng_below(order, (uint32_t)j);
            float keep = x[j - 1];
            x[j - 1] = x[other];
            x[other] = keep;
        }
        if (zero) {
            memset(x, 0, n * sizeof *x);
        }
    }
}

void hwm_evaluate_shuffle(const hwm_controller* c, uint64_t seed, int way, float* phi) {
    hwm_rng rng;
    hwm_rng_init(&rng, seed, HWM_PURPOSE_EVALUATION, (uint32_t)way, 0, 0);
    alter_rule(c, false, &rng, phi);
}

static hwm_status check_parameters(const hwm_param_list* list, const float* phi, hwm_error* err) {
    for (int k = 0; k < list->n; k++) {
        const float* x = phi + list->entry[k].offset;
        for (size_t j = 0; j < hwm_tensor_count(&list->entry[k].spec); j++) {
            if (!isfinite(x[j])) {
                return hwm_fail(err, HWM_ENUMERIC, "parameter %s[%zu] is %g",
                                list->entry[k].spec.name, j, (double)x[j]);
            }
        }
    }
    return HWM_OK;
}

// ---- actions that nobody chose

static void nothing_begins(void* self, const hwm_rollout* r, int i) {
    (void)self;
    (void)r;
    (void)i;
}

static void act_at_random(void* self, hwm_rollout* r) {
    (void)self;
    const int A = r->spec->action_dim;
    for (int i = 0; i < r->E; i++) {
        if (r->idle[i] || r->flags[i] & HWM_FLAG_LAST || r->step[i] < r->config.burn_in_steps) {
            continue;
        }
        float* u = r->action + (size_t)i * (size_t)A;
        hwm_rng rng;
        hwm_rng_init(&rng, r->seed, HWM_PURPOSE_EXPLORATION, r->first_env + (uint32_t)i,
                     r->episode[i], r->step[i]);
        if (r->spec->discrete && A > 1) {
            memset(u, 0, (size_t)A * sizeof *u);
            u[hwm_rng_below(&rng, (uint32_t)A)] = 1;
            continue;
        }
        for (int k = 0; k < A; k++) {
            const float x = 2 * hwm_rng_uniform(&rng) - 1;
            u[k] = !r->spec->discrete ? x : x < 0 ? -1.0f : 1.0f;
        }
    }
}

static void act_zero(void* self, hwm_rollout* r) {
    (void)self;
    memset(r->action, 0, (size_t)r->E * (size_t)r->spec->action_dim * sizeof *r->action);
}

static const hwm_rollout_agent random_actor = {.begin = nothing_begins, .think = act_at_random};
static const hwm_rollout_agent zero_actor = {.begin = nothing_begins, .think = act_zero};

// Environment i plays episodes i, i + E, ...
static hwm_status play(hwm_rollout* r, const hwm_real* coef, const hwm_real* delta, tally* t,
                       hwm_error* err) {
    int left = t->n;
    const double full_s = r->spec->time_limit * r->spec->control_dt;
    for (int i = 0; i < r->E; i++) {
        hwm_rollout_begin(r, coef, i, 0);
    }
    for (int64_t step = 0; left > 0; step++) {
        hwm_rollout_think(r, coef, delta);
        for (int i = 0; i < r->E; i++) {
            if (r->idle[i]) {
                continue;
            }
            int e = i + (int)r->episode[i] * r->E;
            if (r->flags[i] & HWM_FLAG_FIRST && t->dim) {
                hwm_envs_variant(r->envs, i, t->variant + (size_t)e * (size_t)t->dim);
            }
            if (!(r->flags[i] & HWM_FLAG_FIRST)) {  // r arrives one row after its action
                t->discounted[e] += pow(t->gamma, (double)r->step[i] - 1) * (double)r->reward[i];
            }
            if (r->flags[i] & HWM_FLAG_LAST) {
                t->total[e] = r->episode_return[i];
                t->velocity[e] = hwm_envs_ahead(r->envs, i) / full_s;
                left--;
                r->idle[i] = e + r->E >= t->n;
            }
        }
        hwm_rollout_step(r, coef);
        if (step % 64 == 0 && hwm_signals_stop_requested()) {
            return hwm_fail(err, HWM_ECLOSED, "stopped by a signal with %d episodes to go", left);
        }
    }
    return HWM_OK;
}

static void summarise(const tally* t, hwm_evaluate_result* result) {
    float list[HWM_EVALUATE_VARIANTS_MAX][HWM_EVALUATE_VARIANTS_MAX];
    int n = 0;
    score(&result->all, t, NULL);
    for (int e = 0; t->dim && e < t->n && n >= 0; e++) {
        n = insert_variant(list, n, t->variant + (size_t)e * (size_t)t->dim, t->dim);
    }
    result->variant_dim = t->dim;
    result->n_variants = n > 0 ? n : 0;
    for (int k = 0; k < result->n_variants; k++) {
        score(&result->variant[k], t, list[k]);
        memcpy(result->variant[k].variant, list[k], (size_t)t->dim * sizeof(float));
    }
}

static void free_tally(tally* t) {
    free(t->total);
    free(t->discounted);
    free(t->velocity);
    free(t->variant);
}

static tally part_of(const tally* t, int from, int n) {
    tally part = *t;
    part.n = n;
    part.total += from;
    part.discounted += from;
    part.velocity += from;
    part.variant += (size_t)from * (size_t)t->dim;
    return part;
}

// Episodes [from, from + n) of the tally, with coefficients shuffled in this way if they are to be.
static hwm_status evaluate_part(const hwm_experiment* experiment, const float* phi,
                                const hwm_evaluate_request* request, int way, int from, int n,
                                tally* all, int64_t* env_steps, hwm_error* err) {
    hwm_acting* acting = NULL;
    hwm_rollout* r = NULL;
    float* altered = NULL;
    hwm_real *real = NULL, *coef = NULL;
    const int E = n < LANES_AT_ONCE ? n : LANES_AT_ONCE;
    hwm_status s = hwm_acting_create(&acting, experiment, E, err);
    if (s) {
        goto done;
    }
    const hwm_controller* c = hwm_acting_controller(acting);
    const hwm_param_list* list = hwm_acting_params(acting);
    s = check_parameters(list, phi, err);
    if (s) {
        goto done;
    }
    hwm_rollout_config config = hwm_rollout_default_config();
    config.freeze_at = request->freeze_at;
    config.reset_at = request->reset_at;
    config.burn_in_steps = experiment->worker.burn_in_steps;
    s = hwm_rollout_create(&r, &experiment->env, c, &config, request->seed, (uint32_t)from, E, err);
    if (s) {
        goto done;
    }
    hwm_acting_load(acting, phi);
    hwm_acting_control(acting, request->zero_rule, request->shuffle_rule, request->seed, way);
    if (request->actions == HWM_EVALUATE_LEARNED) {
        hwm_acting_attach(acting, r);
    } else if (request->actions == HWM_EVALUATE_ZERO && r->spec->discrete) {
        s = hwm_fail(err, HWM_EINVAL, "%s has discrete actions: none of them is zero",
                     r->spec->name);
        goto done;
    } else {
        r->agent = request->actions == HWM_EVALUATE_RANDOM ? &random_actor : &zero_actor;
    }
    altered = malloc(list->count * sizeof *altered + 1);
    real = calloc(list->count + 1, sizeof *real);
    coef = calloc((size_t)hwm_controller_coef_count(c) + 1, sizeof *coef);
    if (!altered || !real || !coef) {
        s = hwm_fail(err, HWM_ENOMEM, "no memory for %zu parameters", list->count);
        goto done;
    }
    if (request->variant >= 0) {
        s = hwm_evaluate_force_variant(r, request->variant, err);
        if (s) {
            goto done;
        }
    }
    memcpy(altered, phi, list->count * sizeof *altered);
    if (request->shuffle_rule) {
        hwm_evaluate_shuffle(c, request->seed, way, altered);
    }
    if (request->zero_rule) {
        alter_rule(c, true, NULL, altered);
    }
    for (size_t k = 0; k < list->count; k++) {
        real[k] = (hwm_real)altered[k];
    }
    hwm_controller_prepare(c, real, coef);
    tally part = part_of(all, from, n);
    s = play(r, coef, hwm_controller_delta_scale(c, real), &part, err);
    *env_steps += r->env_steps;
done:
    hwm_rollout_destroy(&r);
    hwm_acting_destroy(&acting);
    free(altered);
    free(real);
    free(coef);
    return s;
}

hwm_status hwm_evaluate(const hwm_experiment* experiment, const float* phi,
                        const hwm_evaluate_request* request, hwm_evaluate_result* result,
                        hwm_error* err) {
    memset(result, 0, sizeof *result);
    const int n = request->episodes;
    if (n < 1 || n > 1000000) {
        return hwm_fail(err, HWM_EINVAL, "%d episodes asked for, allowed are 1 to 1000000", n);
    }
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    hwm_status s = spec ? hwm_env_describe(&experiment->env, spec, err)
                        : hwm_fail(err, HWM_ENOMEM, "no memory to describe the environment");
    tally t = {.n = n, .dim = spec ? spec->variant_dim : 0, .gamma = experiment->train.gamma};
    free(spec);
    if (s) {
        return s;
    }
    t.total = calloc((size_t)n, sizeof *t.total);
    t.discounted = calloc((size_t)n, sizeof *t.discounted);
    t.velocity = calloc((size_t)n, sizeof *t.velocity);
    t.variant = calloc((size_t)n * (size_t)t.dim + 1, sizeof *t.variant);
    if (!t.total || !t.discounted || !t.velocity || !t.variant) {
        s = hwm_fail(err, HWM_ENOMEM, "no memory for %d episodes", n);
    }
    const int ways = !request->shuffle_rule      ? 1
                     : n < HWM_EVALUATE_SHUFFLES ? n
                                                 : HWM_EVALUATE_SHUFFLES;
    for (int way = 0; way < ways && s == HWM_OK; way++) {
        const int from = (int)((int64_t)n * way / ways), to = (int)((int64_t)n * (way + 1) / ways);
        s = evaluate_part(experiment, phi, request, way, from, to - from, &t, &result->env_steps,
                          err);
    }
    if (s == HWM_OK) {
        summarise(&t, result);
    }
    free_tally(&t);
    return s;
}
