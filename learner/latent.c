// data path  [8] learner: recurrent agents
#include "latent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/actor.h"

hwm_status hwm_latent_create(hwm_latent** out, const hwm_experiment* experiment,
                             const hwm_env_spec* spec, hwm_error* err) {
    *out = NULL;
    hwm_latent* l = calloc(1, sizeof *l);
    if (!l)
        return hwm_fail(err, HWM_ENOMEM, "no memory for a recurrent agent");
    l->experiment = experiment;
    hwm_status status = hwm_acting_create(&l->acting, experiment, 0, err);
    if (status != HWM_OK)
        goto fail;
    hwm_acting_signature(l->acting, spec->variant_dim, &l->signature);
    const hwm_dreamer_config* c = hwm_acting_dreamer(l->acting);
    status = hwm_dreamer_create(&l->dreamer, c, (uint64_t)experiment->run.seed);
    if (status == HWM_OK)
        status = hwm_recall_create(&l->recall, experiment->model.cache_bytes,
                                   hwm_dreamer_rssm(l->dreamer), err);
    const size_t R = sizeof(hwm_real), O = (size_t)c->obs, A = (size_t)c->action,
                 N = (size_t)c->sizes.batch, rows = N * (size_t)c->sizes.length,
                 D = (size_t)c->sizes.deter, Z = (size_t)(c->sizes.variables * c->sizes.classes);
    hwm_rssm_batch* b = &l->batch;
    b->N = c->sizes.batch;
    b->T = c->sizes.length;
    const struct {
        hwm_real** to;
        size_t width;
    } all[] = {{&b->obs, O},         {&b->action, A}, {&b->reward, 1},
               {&b->keep, 1},        {&b->cont, 1},   {&b->weight, 1},
               {&b->cont_weight, 1}, {&l->last, 1},   {&b->draws, (size_t)c->sizes.variables}};
    if (status == HWM_EINVAL)  // the cache's sentence
        goto fail;
    bool failed = status != HWM_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].to = calloc(rows * all[i].width + 1, R);
        failed |= !*all[i].to;
    }
    b->deter = calloc(N * D, R);
    b->stoch = calloc(N * Z, R);
    l->after = calloc(N * A + 1, R);
    l->key = calloc(N, sizeof *l->key);
    l->x = calloc(O + 1, sizeof *l->x);
    if (!failed && b->deter && b->stoch && l->after && l->key && l->x) {
        *out = l;
        return HWM_OK;
    }
    status = hwm_fail(err, HWM_ENOMEM, "no memory for a recurrent agent");
fail:
    hwm_latent_destroy(&l);
    return status;
}

void hwm_latent_destroy(hwm_latent** latent) {
    hwm_latent* l = *latent;
    if (!l)
        return;
    hwm_dreamer_destroy(&l->dreamer);
    hwm_acting_destroy(&l->acting);
    hwm_recall_destroy(&l->recall);
    hwm_real* all[] = {l->batch.obs,   l->batch.action, l->batch.reward, l->batch.keep,
                       l->batch.cont,  l->batch.weight, l->batch.draws,  l->batch.cont_weight,
                       l->batch.deter, l->batch.stoch,  l->last,         l->after};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(l->key);
    free(l->x);
    free(l);
    *latent = NULL;
}

int hwm_latent_sequences(const hwm_latent* l) {
    return l->batch.N;
}
int hwm_latent_length(const hwm_latent* l) {
    return l->batch.T;
}

// Row `row` of a column of floats; NULL where the table has no such column.
static const float* column(const hwm_latent* l, const hwm_batch* batch, const char* name,
                           uint32_t row) {
    const int k = hwm_signature_column(&l->signature, name);
    if (k < 0)
        return NULL;
    return (const float*)batch->column[k] + (size_t)row * hwm_tensor_count(&l->signature.column[k]);
}

static bool put_row(hwm_latent* l, const hwm_batch* batch, uint32_t row, int t, int n) {
    const hwm_dreamer_config* c = hwm_acting_dreamer(l->acting);
    hwm_rssm_batch* b = &l->batch;
    const size_t to = (size_t)t * (size_t)b->N + (size_t)n;
    const uint8_t flags = ((const uint8_t*)batch->column[HWM_COLUMN_FLAGS])[row];
    const float* action = column(l, batch, "action", row);
    const float* u = column(l, batch, "u", row);
    const float reward = *column(l, batch, "reward", row);
    const bool terminal = flags & HWM_FLAG_TERMINAL;
    hwm_acting_see(l->acting, column(l, batch, "obs", row), action, column(l, batch, "act", row),
                   column(l, batch, "view", row), l->x);
    bool finite = isfinite(reward);
    for (int j = 0; j < c->obs; j++) {
        finite = finite && isfinite(l->x[j]);
        b->obs[to * (size_t)c->obs + (size_t)j] = (hwm_real)l->x[j];
    }
    // what is done in this row leads to the next one
    for (int j = 0; j < c->action; j++) {
        const float x = (u ? u : action)[j];
        finite = finite && isfinite(x);
        *(t + 1 < b->T ? &b->action[(to + (size_t)b->N) * (size_t)c->action + (size_t)j]
                       : &l->after[(size_t)n * (size_t)c->action + (size_t)j]) = (hwm_real)x;
        if (t == 0)
            b->action[to * (size_t)c->action + (size_t)j] = 0;
    }
    b->reward[to] = (hwm_real)reward / (hwm_real)l->experiment->env.action_repeat;
    b->keep[to] = t > 0 && !(flags & HWM_FLAG_FIRST);
    b->cont[to] = (hwm_real)(terminal ? 0 : l->experiment->train.gamma);
    b->weight[to] = 1;
    b->cont_weight[to] = terminal ? (hwm_real)l->experiment->model.continue_weight : 1;
    l->last[to] = flags & HWM_FLAG_LAST ? 1 : 0;
    return finite;
}

hwm_status hwm_latent_gather(hwm_latent* l, const hwm_batch* batch, hwm_error* err) {
    const hwm_rssm_batch* b = &l->batch;
    if (batch->batch != b->N || batch->length != b->T)
        return hwm_fail(err, HWM_EPROTO,
                        "the sampler sent %d sequences of %d rows, asked for %d of %d",
                        batch->batch, batch->length, b->N, b->T);
    hwm_status status = HWM_OK;
    for (int n = 0; n < b->N; n++) {
        const uint32_t from = batch->row[n] + batch->prefix[n];
        for (int t = 0; t < b->T; t++)
            if (!put_row(l, batch, from + (uint32_t)t, t, n) && status == HWM_OK)
                status =
                    hwm_fail(err, HWM_ENUMERIC, "environment %u, step %llu: a number is not finite",
                             batch->stream[n].env,
                             (unsigned long long)batch->step[n] + (unsigned long long)t);
        const uint8_t flags = ((const uint8_t*)batch->column[HWM_COLUMN_FLAGS])[from];
        l->key[n] = (hwm_latent_key){
            (uint64_t)batch->stream[n].env << 32 | batch->stream[n].incarnation, batch->step[n]};
        if (l->recall.cache && !(flags & HWM_FLAG_FIRST))
            hwm_recall_begin(&l->recall, hwm_dreamer_rssm(l->dreamer), l->key[n], n, &l->batch);
    }
    return status;
}

// Latents of the rows that were trained on, for whoever begins after one of them.
static void memorise(hwm_latent* l) {
    const hwm_rssm_batch* b = &l->batch;
    const size_t A = (size_t)hwm_acting_dreamer(l->acting)->action;
    for (int n = 0; n < b->N; n++)
        for (int t = 0; t < b->T; t++) {
            const hwm_real *deter, *stoch;
            const hwm_latent_key key = {l->key[n].stream, l->key[n].step + (uint64_t)t};
            hwm_dreamer_posterior(l->dreamer, t, n, &deter, &stoch);
            hwm_recall_keep(&l->recall, hwm_dreamer_rssm(l->dreamer), key, deter, stoch,
                            t + 1 < b->T
                                ? b->action + ((size_t)(t + 1) * (size_t)b->N + (size_t)n) * A
                                : l->after + (size_t)n * A);
        }
}

hwm_status hwm_latent_update(hwm_latent* l, bool warm_up, hwm_dreamer_losses* losses,
                             hwm_error* err) {
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)l->experiment->run.seed, HWM_PURPOSE_MODEL, 2,
                 (uint32_t)l->updates, (uint32_t)(l->updates >> 32));
    const size_t draws = (size_t)l->batch.N * (size_t)l->batch.T *
                         (size_t)hwm_acting_dreamer(l->acting)->sizes.variables;
    for (size_t i = 0; i < draws; i++)
        l->batch.draws[i] = (hwm_real)hwm_rng_uniform(&rng);
    l->updates++;
    const hwm_status status = (warm_up ? hwm_dreamer_update_model : hwm_dreamer_update)(
        l->dreamer, &l->batch, l->last, &rng, losses, err);
    if (l->recall.cache && status == HWM_OK)
        memorise(l);
    return status;
}

void hwm_latent_export(const hwm_latent* l, nn_params* phi) {
    float* values = malloc((phi->list.count + 1) * sizeof *values);
    HWM_ASSERT(values);
    nn_params_to_float(phi, values);
    hwm_actor_export(l->dreamer, &phi->list, values);
    nn_params_from_float(phi, values);
    free(values);
}
