#include "dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "latent.h"
#include "nn/safetensors.h"

enum { ARRAYS_MAX = 20 };

// What a file will hold: row-major numbers of n, or n, m and so on.
typedef struct array {
    const char* name;
    const hwm_real* x;
    int ndim, size[3];
} array;

typedef struct arrays {
    int n;
    array a[ARRAYS_MAX];
} arrays;

static void add(arrays* s, const char* name, const hwm_real* x, int rows, int length, int width) {
    HWM_ASSERT(s->n < ARRAYS_MAX);
    array* a = &s->a[s->n++];
    *a = (array){.name = name, .x = x, .size = {rows, length, width}};
    a->ndim = width > 0 ? 3 : length > 0 ? 2 : 1;
}

static hwm_tensor_spec spec_of(const array* a) {
    const int* d = a->size;
    return a->ndim == 3   ? hwm_spec(a->name, HWM_F32, 3, d[0], d[1], d[2])
           : a->ndim == 2 ? hwm_spec(a->name, HWM_F32, 2, d[0], d[1])
                          : hwm_spec(a->name, HWM_F32, 1, d[0]);
}

static hwm_status write_arrays(hwm_dump* d, const char* kind, const arrays* s, hwm_error* err) {
    int n = snprintf(d->path, sizeof d->path, "%s/dumps", d->run_dir);
    if (n < 0 || n >= (int)sizeof d->path)
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", d->run_dir);
    if (mkdir(d->path, 0755) != 0 && errno != EEXIST)
        return hwm_fail(err, errno == ENOSPC ? HWM_EFULL : HWM_EIO, "%s: %s", d->path,
                        strerror(errno));
    n = snprintf(d->path, sizeof d->path, "%s/dumps/%s-%lld.safetensors", d->run_dir, kind,
                 (long long)d->update);
    if (n < 0 || n >= (int)sizeof d->path)
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", d->run_dir);
    hwm_param_list* list = malloc(sizeof *list);
    if (!list)
        return hwm_fail(err, HWM_ENOMEM, "no memory for a dump");
    hwm_param_list_init(list);
    for (int i = 0; i < s->n; i++)
        hwm_param_list_add(list, spec_of(&s->a[i]));
    float* values = malloc((list->count + 1) * sizeof *values);
    hwm_status status = values ? HWM_OK : hwm_fail(err, HWM_ENOMEM, "no memory for a dump");
    for (int i = 0; values && i < s->n; i++)
        for (size_t k = 0; k < hwm_tensor_count(&list->entry[i].spec); k++)
            values[list->entry[i].offset + k] = (float)s->a[i].x[k];
    nn_meta meta[2] = {{"update", ""}, {"reason", ""}};
    snprintf(meta[0].text, sizeof meta[0].text, "%lld", (long long)d->update);
    snprintf(meta[1].text, sizeof meta[1].text, "%.200s", d->why);
    if (status == HWM_OK)
        status = nn_safetensors_write(d->path, list, values, meta, 2, err);
    free(values);
    free(list);
    return status;
}

static void add_sequences(arrays* all, const hwm_env_spec* spec, const hwm_sequences* s) {
    const int O = spec->obs_dim, A = spec->action_dim, n = s->n, T = s->length;
    add(all, "obs", s->obs, n, T, O);
    add(all, "action", s->action, n, T, A);
    add(all, "reward", s->reward, n, T, 0);
    add(all, "first", s->first, n, T, 0);
    add(all, "terminal", s->terminal, n, T, 0);
    add(all, "valid", s->valid, n, T, 0);
    if (s->context > 0)
        add(all, "hindsight", s->hindsight, n, s->context, 2 * O + A);
}

hwm_status hwm_dump_sequences(hwm_dump* dump, const hwm_env_spec* spec, const hwm_sequences* s,
                              hwm_error* err) {
    arrays all = {0};
    add_sequences(&all, spec, s);
    return write_arrays(dump, "model", &all, err);
}

hwm_status hwm_dump_starts(hwm_dump* dump, const hwm_agent* agent, const hwm_sequences* rows,
                           hwm_error* err) {
    const hwm_starts* s = hwm_imagination_starts(agent->imagination);
    const int B = rows->n, S = hwm_controller_state_size(agent->controller);
    hwm_real* state = malloc(((size_t)B * (size_t)(S + 2) + 1) * sizeof *state);
    if (!state)
        return hwm_fail(err, HWM_ENOMEM, "no memory for a dump");
    hwm_real *fresh = state + (size_t)B * (size_t)S, *age = fresh + B;
    hwm_lanes_unpack(state, s->state, B, S);
    for (int i = 0; i < B; i++) {
        fresh[i] = s->fresh[i];
        age[i] = (hwm_real)s->age[i];
    }
    arrays all = {0};
    add_sequences(&all, &agent->spec, rows);
    add(&all, "z", s->z, B, hwm_model_latent(agent->model), 0);
    if (S > 0)
        add(&all, "state", state, B, S, 0);
    add(&all, "previous_obs", s->previous_obs, B, agent->spec.obs_dim, 0);
    add(&all, "previous_action", s->previous_action, B, agent->spec.action_dim, 0);
    add(&all, "previous_reward", s->previous_reward, B, 0, 0);
    add(&all, "is_first", s->first, B, 0, 0);
    add(&all, "alive", s->alive, B, 0, 0);
    add(&all, "fresh", fresh, B, 0, 0);
    add(&all, "age", age, B, 0, 0);
    const hwm_status status = write_arrays(dump, "starts", &all, err);
    free(state);
    return status;
}

hwm_status hwm_dump_latent(hwm_dump* dump, const hwm_latent* latent, hwm_error* err) {
    const hwm_rssm_batch* b = &latent->batch;
    const hwm_dreamer_config* c = hwm_acting_dreamer(latent->acting);
    arrays all = {0};
    add(&all, "obs", b->obs, b->T, b->N, c->obs);
    add(&all, "action", b->action, b->T, b->N, c->action);
    add(&all, "reward", b->reward, b->T, b->N, 0);
    add(&all, "keep", b->keep, b->T, b->N, 0);
    add(&all, "cont", b->cont, b->T, b->N, 0);
    add(&all, "weight", b->weight, b->T, b->N, 0);
    add(&all, "last", latent->last, b->T, b->N, 0);
    return write_arrays(dump, "latent", &all, err);
}
