#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/json.h"
#include "base/log.h"
#include "latent.h"
#include "nn/safetensors.h"
#include "ranges.h"

enum { FORMAT = 1, FILES = 4 };
static const char* const files[FILES] = {"controller.safetensors", "model.safetensors",
                                         "critic.safetensors", "training.safetensors"};

// ---- paths

static bool join(char* out, const char* a, const char* b) {
    const int n = snprintf(out, PATH_MAX, "%s/%s", a, b);
    return n > 0 && n < PATH_MAX;
}

static void remove_flat(const char* dir) {
    DIR* d = opendir(dir);
    if (!d)
        return;
    for (struct dirent* e; (e = readdir(d)) != NULL;) {
        char path[PATH_MAX];
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            join(path, dir, e->d_name))
            unlink(path);
    }
    closedir(d);
    rmdir(dir);
}

static hwm_status sync_dir(const char* dir, hwm_error* err) {
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        const int code = errno;
        if (fd >= 0)
            close(fd);
        return hwm_fail(err, HWM_EIO, "%s: cannot be synced: %s", dir, strerror(code));
    }
    close(fd);
    return HWM_OK;
}

static hwm_status crc_of(const char* path, uint32_t* crc, hwm_error* err) {
    FILE* f = fopen(path, "rb");
    if (!f)
        return hwm_fail(err, errno == ENOENT ? HWM_ENOTFOUND : HWM_EIO, "%s: %s", path,
                        strerror(errno));
    char buffer[65536];
    *crc = 0;
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
        *crc = hwm_crc32c(*crc, buffer, n);
    const bool bad = ferror(f) != 0;
    fclose(f);
    return bad ? hwm_fail(err, HWM_EIO, "%s: cannot be read", path) : HWM_OK;
}

// ---- the tensors of a set of training state: one list, so that names, sizes and order stand once

typedef struct training {
    hwm_param_list list;
    float* values;
} training;

// One tensor: exactly one of these says where its numbers are.
typedef struct part {
    const char* name;
    nn_optim* optim;
    nn_params* params;
    hwm_imagination* pool;
    hwm_replay_statistics* range;  // of the reward: lowest, highest
    struct hwm_ranges* rows;
    hwm_real* numbers;
    double* wide;
    size_t count;  // of numbers or wide
} part;

enum { PARTS_MAX = 12 };
static int parts_of(hwm_agent* a, part p[PARTS_MAX]) {
    int n = 0;
    if (a->latent) {
        const hwm_dreamer_training t = hwm_dreamer_training_of(a->latent->dreamer);
        p[n++] = (part){"model.optimiser", .optim = t.model};
        p[n++] = (part){"behaviour.optimiser", .optim = t.behaviour};
        p[n++] = (part){"behaviour.slow", .params = t.slow};
        p[n++] = (part){"behaviour.range", .wide = t.range, .count = 3};
    }
    if (a->phi_optim)
        p[n++] = (part){"controller.optimiser", .optim = a->phi_optim};
    if (!a->model)
        return n;
    const size_t O = (size_t)a->spec.obs_dim;
    hwm_replay_statistics* s = &a->statistics;
    p[n++] = (part){"model.optimiser", .optim = hwm_model_optim(a->model)};
    p[n++] = (part){"critic.optimiser", .optim = a->critic->optim};
    p[n++] = (part){"critic.slow", .params = a->critic->slow};
    p[n++] = (part){"imagination.pool", .pool = a->imagination};
    p[n++] = (part){"replay.obs_min", .numbers = s->obs_min, .count = O};
    p[n++] = (part){"replay.obs_max", .numbers = s->obs_max, .count = O};
    p[n++] = (part){"replay.reward_range", .range = s};
    if (a->ranges)
        p[n++] = (part){"replay.newest_rows", .rows = a->ranges};
    return n;
}

static size_t part_count(const part* p) {
    return p->optim    ? nn_optim_state_count(p->optim)
           : p->params ? p->params->list.count
           : p->pool   ? hwm_imagination_pool_count(p->pool)
           : p->range  ? 2
           : p->rows   ? hwm_ranges_count(p->rows)
                       : p->count;
}

static hwm_status training_create(training* t, hwm_agent* a) {
    part p[PARTS_MAX];
    const int n = parts_of(a, p);
    hwm_param_list_init(&t->list);
    for (int i = 0; i < n; i++)
        hwm_param_list_add(&t->list, hwm_spec(p[i].name, HWM_F32, 1, (int)part_count(&p[i])));
    t->values = calloc(t->list.count + 1, sizeof *t->values);
    return t->values ? HWM_OK : HWM_ENOMEM;
}

static void training_gather(training* t, hwm_agent* a) {
    part p[PARTS_MAX];
    const int n = parts_of(a, p);
    for (int i = 0; i < n; i++) {
        float* x = t->values + t->list.entry[i].offset;
        if (p[i].optim)
            nn_optim_save(p[i].optim, x);
        else if (p[i].params)
            nn_params_to_float(p[i].params, x);
        else if (p[i].pool)
            hwm_imagination_pool_save(p[i].pool, x);
        else if (p[i].range)
            x[0] = (float)p[i].range->reward_min, x[1] = (float)p[i].range->reward_max;
        else if (p[i].rows)
            hwm_ranges_save(p[i].rows, x);
        else if (p[i].wide)
            for (size_t j = 0; j < p[i].count; j++)
                x[j] = (float)p[i].wide[j];
        else if (p[i].numbers)
            for (size_t j = 0; j < p[i].count; j++)
                x[j] = (float)p[i].numbers[j];
    }
}

static void training_scatter(const training* t, hwm_agent* a) {
    part p[PARTS_MAX];
    const int n = parts_of(a, p);
    for (int i = 0; i < n; i++) {
        const float* x = t->values + t->list.entry[i].offset;
        if (p[i].optim)
            nn_optim_load(p[i].optim, x);
        else if (p[i].params)
            nn_params_from_float(p[i].params, x);
        else if (p[i].pool)
            hwm_imagination_pool_load(p[i].pool, x);
        else if (p[i].range)
            p[i].range->reward_min = (hwm_real)x[0], p[i].range->reward_max = (hwm_real)x[1];
        else if (p[i].rows)
            hwm_ranges_load(p[i].rows, x);
        else if (p[i].wide)
            for (size_t j = 0; j < p[i].count; j++)
                p[i].wide[j] = (double)x[j];
        else if (p[i].numbers)
            for (size_t j = 0; j < p[i].count; j++)
                p[i].numbers[j] = (hwm_real)x[j];
    }
}

// The parameter sets, in the order of their files; NULL: this kind of agent has none.
static void sets_of(const hwm_agent* a, nn_params* set[FILES - 1]) {
    set[0] = a->phi;
    set[1] = a->model    ? hwm_model_params(a->model)
             : a->latent ? hwm_dreamer_model(a->latent->dreamer)
                         : NULL;
    set[2] = a->critic   ? a->critic->params
             : a->latent ? hwm_dreamer_behaviour(a->latent->dreamer)
                         : NULL;
}

// ---- state.json

#define STATE_FIELDS(INT, REAL)                                                                    \
    INT(env_steps)                                                                                 \
    INT(updates)                                                                                   \
    INT(best_env_steps)                                                                            \
    INT(best_updates)                                                                              \
    INT(eval_env_steps)                                                                            \
    INT(stop_streak)                                                                               \
    INT(last_step_checkpoint)                                                                      \
    INT(rounds)                                                                                    \
    REAL(wall_s)

// Sums since the last refresh of scales: doubles, so that a resumed run repeats.
typedef struct sums {
    const char* key;
    double* value;  // (O)
} sums;
enum { SUMS = 4 };

static void sums_of(const hwm_agent* a, sums s[SUMS]) {
    s[0] = (sums){"delta_sum", a->delta_sum};
    s[1] = (sums){"delta_square", a->delta_square};
    s[2] = (sums){"obs_sum", a->obs_sum};
    s[3] = (sums){"obs_square", a->obs_square};
}

static void write_state(FILE* f, const hwm_progress_state* s, const hwm_agent* a,
                        const uint32_t crcs[FILES]) {
    hwm_json_writer w = hwm_json_writer_of(f, 2, 17);
    hwm_json_open(&w, NULL, '{');
    hwm_json_put_whole(&w, "format", FORMAT);
    hwm_json_put_text(&w, "hwm_version", HWM_VERSION);
    hwm_json_put_whole(&w, "version", (int64_t)s->version);
    hwm_json_put_whole(&w, "draws", (int64_t)s->draws);
#define PUT_INT(f)  hwm_json_put_whole(&w, #f, (int64_t)s->f);
#define PUT_REAL(f) hwm_json_put_number(&w, #f, s->f);
    STATE_FIELDS(PUT_INT, PUT_REAL)
    hwm_json_put_number(&w, "best_mean", s->best_mean);  // null: none yet
    hwm_json_put_whole(&w, "model_updates", a->model_updates);
    hwm_json_put_whole(&w, "behaviour_updates", a->behaviour_updates);
    hwm_json_put_whole(&w, "skipped", a->skipped);
    hwm_json_put_number(&w, "delta_count", a->delta_count);
    hwm_json_put_number(&w, "obs_count", a->obs_count);
    sums s_of[SUMS];
    sums_of(a, s_of);
    for (int k = 0; k < SUMS; k++) {
        hwm_json_open(&w, s_of[k].key, '[');
        for (int j = 0; s_of[k].value && j < a->spec.obs_dim; j++)
            hwm_json_put_number(&w, NULL, s_of[k].value[j]);
        hwm_json_close(&w);
    }
    hwm_json_open(&w, "crc32c", '{');
    for (int i = 0; i < FILES; i++)
        hwm_json_put_whole(&w, files[i], crcs[i]);
    hwm_json_close(&w);
    hwm_json_close(&w);
    fputc('\n', f);
}

static hwm_status state_parse(const hwm_json* o, const char* path, hwm_progress_state* s,
                              hwm_agent* a, hwm_error* err) {
    const int64_t format = hwm_json_whole(o, "format", 0);
    if (format > FORMAT || format < 1)
        return hwm_fail(err, HWM_EVERSION, "%s: format %lld, this program reads up to %d", path,
                        (long long)format, FORMAT);
    s->version = (uint64_t)hwm_json_whole(o, "version", 0);
    s->draws = (uint64_t)hwm_json_whole(o, "draws", 0);
#define GET_INT(f)  s->f = hwm_json_whole(o, #f, 0);
#define GET_REAL(f) s->f = hwm_json_number(o, #f, 0);
    STATE_FIELDS(GET_INT, GET_REAL)
    s->best_mean = hwm_json_number(o, "best_mean", -INFINITY);
    a->model_updates = hwm_json_whole(o, "model_updates", 0);
    a->behaviour_updates = hwm_json_whole(o, "behaviour_updates", 0);
    a->skipped = hwm_json_whole(o, "skipped", 0);
    a->delta_count = hwm_json_number(o, "delta_count", 0);
    a->obs_count = hwm_json_number(o, "obs_count", 0);
    sums s_of[SUMS];
    sums_of(a, s_of);
    for (int k = 0; k < SUMS; k++) {
        const hwm_json* list = hwm_json_at(o, s_of[k].key);
        for (int j = 0; s_of[k].value && j < a->spec.obs_dim; j++)
            s_of[k].value[j] = hwm_json_number(hwm_json_member(list, (size_t)j), "", 0);
    }
    return HWM_OK;
}

static hwm_status save_state(const char* path, const hwm_progress_state* s, const hwm_agent* a,
                             const uint32_t crcs[FILES], hwm_error* err) {
    FILE* f = fopen(path, "w");
    if (f)
        write_state(f, s, a, crcs);
    const bool ok = f && fflush(f) == 0 && !ferror(f) && fsync(fileno(f)) == 0;
    const int code = errno;
    if (f)
        fclose(f);
    if (ok)
        return HWM_OK;
    return hwm_fail(err, code == ENOSPC ? HWM_EFULL : HWM_EIO, "%s: %s", path, strerror(code));
}

// ---- save

static hwm_status write_set(const char* dir, int which, const hwm_param_list* list,
                            const float* values, const hwm_progress_state* s, uint32_t crcs[FILES],
                            hwm_error* err) {
    char path[PATH_MAX];
    if (!join(path, dir, files[which]))
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", dir);
    nn_meta meta[2] = {{"version", ""}, {"env_steps", ""}};
    snprintf(meta[0].text, sizeof meta[0].text, "%llu", (unsigned long long)s->version);
    snprintf(meta[1].text, sizeof meta[1].text, "%lld", (long long)s->env_steps);
    hwm_status status = nn_safetensors_write(path, list, values, meta, 2, err);
    return status == HWM_OK ? crc_of(path, &crcs[which], err) : status;
}

static hwm_status write_params(const char* dir, int which, const nn_params* params,
                               const hwm_progress_state* s, uint32_t crcs[FILES], hwm_error* err) {
    float* values = malloc((params->list.count + 1) * sizeof *values);
    if (!values)
        return hwm_fail(err, HWM_ENOMEM, "no memory for a checkpoint");
    nn_params_to_float(params, values);
    hwm_status status = write_set(dir, which, &params->list, values, s, crcs, err);
    free(values);
    return status;
}

static hwm_status write_all(const char* dir, hwm_agent* a, const hwm_progress_state* s,
                            hwm_error* err) {
    training t = {0};
    uint32_t crcs[FILES] = {0};
    hwm_status status = training_create(&t, a);
    if (status != HWM_OK)
        hwm_fail(err, status, "no memory for a checkpoint");
    nn_params* set[FILES - 1];
    sets_of(a, set);
    for (int i = 0; i < FILES - 1 && status == HWM_OK; i++)
        if (set[i])
            status = write_params(dir, i, set[i], s, crcs, err);
    if (status == HWM_OK) {
        training_gather(&t, a);
        status = write_set(dir, 3, &t.list, t.values, s, crcs, err);
    }
    free(t.values);
    if (status == HWM_OK) {
        char path[PATH_MAX];
        status = join(path, dir, "state.json")
                     ? save_state(path, s, a, crcs, err)
                     : hwm_fail(err, HWM_EINVAL, "%s: the path is too long", dir);
    }
    return status == HWM_OK ? sync_dir(dir, err) : status;
}

hwm_status hwm_checkpoint_save(const char* run_dir, const char* name, hwm_agent* agent,
                               const hwm_progress_state* state, hwm_error* err) {
    char base[PATH_MAX - 64], temporary[PATH_MAX], final[PATH_MAX], before[PATH_MAX];
    const int n = snprintf(base, sizeof base, "%s/checkpoints", run_dir);
    char hidden[64];
    snprintf(hidden, sizeof hidden, ".%s.tmp", name);
    if (n < 0 || n >= (int)sizeof base || !join(temporary, base, hidden) ||
        !join(final, base, name))
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", run_dir);
    if (mkdir(base, 0755) != 0 && errno != EEXIST)
        return hwm_fail(err, HWM_EIO, "%s: %s", base, strerror(errno));
    remove_flat(temporary);
    if (mkdir(temporary, 0755) != 0)
        return hwm_fail(err, errno == ENOSPC ? HWM_EFULL : HWM_EIO, "%s: %s", temporary,
                        strerror(errno));
    hwm_status status = write_all(temporary, agent, state, err);
    if (status != HWM_OK) {
        remove_flat(temporary);
        return status;
    }
    // `latest` steps aside as `previous`; other names replace what they were
    const bool latest = strcmp(name, "latest") == 0;
    snprintf(hidden, sizeof hidden, latest ? "previous" : ".%s.old", name);
    if (!join(before, base, hidden))
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", run_dir);
    remove_flat(before);
    if (rename(final, before) != 0 && errno != ENOENT)
        return hwm_fail(err, HWM_EIO, "%s: %s", final, strerror(errno));
    if (rename(temporary, final) != 0)
        return hwm_fail(err, HWM_EIO, "%s: %s", final, strerror(errno));
    status = sync_dir(base, err);
    if (!latest)
        remove_flat(before);
    return status;
}

// ---- load

static hwm_status check_file(const char* dir, int which, const hwm_json* crcs, char* path,
                             hwm_error* err) {
    if (!join(path, dir, files[which]))
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", dir);
    uint32_t crc;
    hwm_status status = crc_of(path, &crc, err);
    if (status != HWM_OK)
        return status;
    if (hwm_json_whole(hwm_json_get(crcs, files[which]), "", -1) != (int64_t)crc)
        return hwm_fail(err, HWM_ECORRUPT, "%s: its checksum is not the one in state.json", path);
    return HWM_OK;
}

static hwm_status read_params(const char* dir, int which, const hwm_json* crcs, nn_params* params,
                              hwm_error* err) {
    char path[PATH_MAX];
    hwm_status status = check_file(dir, which, crcs, path, err);
    if (status != HWM_OK)
        return status;
    float* values = malloc((params->list.count + 1) * sizeof *values);
    if (!values)
        return hwm_fail(err, HWM_ENOMEM, "no memory for %s", path);
    status = nn_safetensors_read(path, &params->list, values, err);
    if (status == HWM_OK)
        nn_params_from_float(params, values);
    free(values);
    return status;
}

hwm_status hwm_checkpoint_load(const char* dir, hwm_agent* agent, hwm_progress_state* state,
                               hwm_error* err) {
    char path[PATH_MAX];
    if (!join(path, dir, "state.json"))
        return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", dir);
    if (access(path, F_OK) != 0)
        return hwm_fail(err, HWM_ENOTFOUND, "%s: not there", path);
    hwm_json* o = NULL;
    hwm_status status = hwm_json_load(&o, path, err);
    if (status != HWM_OK)
        return status;
    const hwm_json* crcs = hwm_json_at(o, "crc32c");
    training t = {0};
    status = state_parse(o, path, state, agent, err);
    nn_params* set[FILES - 1];
    sets_of(agent, set);
    for (int i = 0; i < FILES - 1 && status == HWM_OK; i++)
        if (set[i])
            status = read_params(dir, i, crcs, set[i], err);
    if (status == HWM_OK && (status = training_create(&t, agent)) != HWM_OK)
        hwm_fail(err, status, "no memory for %s", path);
    if (status == HWM_OK)
        status = check_file(dir, 3, crcs, path, err);
    if (status == HWM_OK)
        status = nn_safetensors_read(path, &t.list, t.values, err);
    if (status == HWM_OK)
        training_scatter(&t, agent);
    if (status == HWM_OK && agent->latent)
        agent->latent->updates = agent->model_updates;
    free(t.values);
    hwm_json_free(&o);
    return status;
}

hwm_status hwm_checkpoint_resume(const char* run_dir, hwm_agent* agent, hwm_progress_state* state,
                                 hwm_error* err) {
    // the last one: a crash between the renames of a save left it complete under its temporary name
    static const char* const names[] = {"latest", "previous", ".latest.tmp"};
    hwm_status status = HWM_ENOTFOUND;
    for (int i = 0; i < 3; i++) {
        char dir[PATH_MAX];
        const int n = snprintf(dir, sizeof dir, "%s/checkpoints/%s", run_dir, names[i]);
        if (n < 0 || n >= (int)sizeof dir)
            return hwm_fail(err, HWM_EINVAL, "%s: the path is too long", run_dir);
        hwm_error why = {0};
        const hwm_status one = hwm_checkpoint_load(dir, agent, state, &why);
        if (one == HWM_OK) {
            if (i > 0)
                hwm_log(HWM_LOG_WARN, "checkpoint", "fell back", "dir=%s env_steps=%lld", dir,
                        (long long)state->env_steps);
            return HWM_OK;
        }
        if (access(dir, F_OK) != 0)
            continue;  // was never written
        hwm_log(HWM_LOG_WARN, "checkpoint", "does not load", "dir=%s reason=\"%s\"", dir, why.text);
        if (status == HWM_ENOTFOUND || one == HWM_ESIGNATURE) {
            status = one == HWM_ENOTFOUND ? HWM_ECORRUPT : one;
            hwm_fail(err, status, "%s", why.text);
        }
    }
    if (status == HWM_ENOTFOUND)
        hwm_fail(err, status, "%s holds no checkpoint", run_dir);
    return status;
}
