// hwm replay materialise: full tuples of stored steps for other tools.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "commands.h"
#include "experiment/acting.h"
#include "experiment/evaluate.h"
#include "net/client.h"
#include "npz.h"
#include "plastic/materialise.h"
#include "process.h"
#include "run_dir.h"

typedef struct materialise_options {
    const char *server, *key_dir, *dir, *table, *out, *select;
    bool insecure;
    int64_t steps, seed;
} materialise_options;

enum { BATCH = 64 };

// Everything the arrays are made of. n rows are filled.
typedef struct tuples {
    size_t n, max;
    int O, A, NA, S;
    float *obs, *next_obs, *act, *action, *reward, *state, *next_state;
    uint8_t* terminated;
    uint32_t *env, *incarnation, *episode;
    uint64_t *step, *version;
} tuples;

typedef struct job {
    const materialise_options* o;
    hwm_process server;
    char socket_dir[64], endpoint[256];
    hwm_client* client;
    hwm_experiment* experiment;
    hwm_controller* controller;
    hwm_materialiser* materialiser;
    hwm_signature signature;
    hwm_env_spec spec;
    tuples t;
    // the parameters used last, and all versions met
    hwm_param_list* list;  // of a version: the rule's first
    uint64_t version;
    float* phi;
    hwm_real *real, *coef;
    size_t n_versions, lost;
    uint64_t* versions;
    float* planes;  // (versions, floats of all planes)
    size_t plane_floats;
} job;

// ---- connect: to a server, or to one of our own on a directory that no server uses

static hwm_status start_server(job* j, hwm_error* err) {
    char bin[4096], program[4112], dir[512];
    hwm_status s = hwm_process_own_dir(bin, sizeof bin, err);
    if (s) {
        return s;
    }
    snprintf(dir, sizeof dir, "%.480s/replay/data.mdb", j->o->dir);
    snprintf(dir, sizeof dir, access(dir, F_OK) == 0 ? "%.480s/replay" : "%.480s", j->o->dir);
    char data[600];
    snprintf(data, sizeof data, "%.500s/data.mdb", dir);
    if (access(data, F_OK) != 0) {
        return hwm_fail(err, HWM_ENOTFOUND, "%s holds no replay store", j->o->dir);
    }
    snprintf(j->socket_dir, sizeof j->socket_dir, "/tmp/hwm-materialise-XXXXXX");
    if (!mkdtemp(j->socket_dir)) {
        j->socket_dir[0] = 0;
        return hwm_fail(err, HWM_EIO, "no temporary folder can be made in /tmp");
    }
    snprintf(program, sizeof program, "%s/hwm-server", bin);
    snprintf(j->endpoint, sizeof j->endpoint, "ipc://%s/server.sock", j->socket_dir);
    snprintf(j->server.name, sizeof j->server.name, "server");
    snprintf(j->server.log, sizeof j->server.log, "%s/server.log", j->socket_dir);
    char* argv[] = {program, "--listen", j->endpoint, "--dir", dir, NULL};
    return hwm_process_start(&j->server, argv, err);
}

static void stop_server(job* j) {
    char path[128];
    hwm_process_stop(&j->server, 10);
    if (j->socket_dir[0]) {
        snprintf(path, sizeof path, "%s/server.log", j->socket_dir);
        unlink(path);
        snprintf(path, sizeof path, "%s/server.sock", j->socket_dir);
        unlink(path);
        rmdir(j->socket_dir);
    }
}

static hwm_status open_table(job* j, hwm_error* err) {
    hwm_client_config config = hwm_client_default_config();
    config.endpoint = j->endpoint;
    config.key_dir = j->o->key_dir;
    config.insecure = j->o->insecure;
    config.role = HWM_ROLE_OPERATOR;
    config.table = j->o->table;
    config.connect_timeout_ms = 5000;
    hwm_status s = hwm_client_create(&j->client, &config, err);
    if (s) {
        return s;
    }
    const hwm_hello* hello = hwm_client_hello(j->client);
    if (!hello->experiment || !hello->experiment[0]) {
        return hwm_fail(err, HWM_ENOTFOUND, "the server has no table%s%s", j->o->table ? " " : "",
                        j->o->table ? j->o->table : "");
    }
    s = hwm_experiment_load(&j->experiment, NULL, hello->experiment, NULL, 0, err);
    s = s ? s : hwm_experiment_rule_acts(j->experiment, err);
    s = s ? s : hwm_experiment_controller(j->experiment, &j->controller, err);
    s = s ? s : hwm_env_describe(&j->experiment->env, &j->spec, err);
    s = s ? s : hwm_materialiser_create(&j->materialiser, j->controller, err);
    j->list = malloc(sizeof *j->list);
    if (s || !j->list) {
        return s ? s : hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    hwm_experiment_declare(j->experiment, j->controller, j->spec.obs_dim, j->spec.action_dim,
                           j->list);
    hwm_controller_signature(j->controller, j->spec.variant_dim, &j->signature);
    hwm_signature_compress(&j->signature, (hwm_compress)j->experiment->replay.compress);
    return hwm_signature_compare(hello->signature, &j->signature, err);
}

static hwm_status allocate(job* j, hwm_error* err) {
    tuples* t = &j->t;
    size_t n = (size_t)j->o->steps, F = sizeof(float);
    t->max = n;
    t->O = j->spec.obs_dim;
    t->A = j->spec.action_dim;
    t->NA = hwm_controller_activations(j->controller);
    t->S = hwm_controller_state_size(j->controller);
    for (int l = 0; l < hwm_controller_layers(j->controller); l++) {
        hwm_layer_view v = hwm_controller_layer(j->controller, l);
        j->plane_floats += v.plastic ? (size_t)v.P * (size_t)v.Q * 4 : 0;
    }
    struct {
        void** to;
        size_t bytes;
    } all[] = {
        {(void**)&t->obs, n * (size_t)t->O * F},
        {(void**)&t->next_obs, n * (size_t)t->O * F},
        {(void**)&t->act, n * (size_t)t->NA * F},
        {(void**)&t->action, n * (size_t)t->A * F},
        {(void**)&t->reward, n * F},
        {(void**)&t->state, n * (size_t)t->S * F},
        {(void**)&t->next_state, n * (size_t)t->S * F},
        {(void**)&t->terminated, n},
        {(void**)&t->env, n * 4},
        {(void**)&t->incarnation, n * 4},
        {(void**)&t->episode, n * 4},
        {(void**)&t->step, n * 8},
        {(void**)&t->version, n * 8},
        {(void**)&j->versions, n * 8},
        {(void**)&j->planes, n * j->plane_floats * F},
        {(void**)&j->phi, j->list->count * F},
        {(void**)&j->real, hwm_controller_params(j->controller)->count * sizeof(hwm_real)},
        {(void**)&j->coef, (size_t)hwm_controller_coef_count(j->controller) * sizeof(hwm_real)},
    };
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        *all[k].to = calloc(1, all[k].bytes + 8);
        if (!*all[k].to) {
            return hwm_fail(err, HWM_ENOMEM, "no memory for %" PRId64 " steps of %d numbers each",
                            j->o->steps, 2 * t->S);
        }
    }
    return HWM_OK;
}

// ---- gather

// Coefficients of a version; kept until another is asked for, its planes for the archive.
static hwm_status use_version(job* j, uint64_t version, hwm_error* err) {
    if (j->version == version) {
        return HWM_OK;
    }
    uint64_t got;
    hwm_status s = hwm_client_fetch(j->client, "controller", version, j->list, j->phi, &got, err);
    if (s) {
        return s;
    }
    for (size_t k = 0; k < hwm_controller_params(j->controller)->count; k++) {
        j->real[k] = (hwm_real)j->phi[k];
    }
    hwm_controller_prepare(j->controller, j->real, j->coef);
    j->version = version;
    for (size_t k = 0; k < j->n_versions; k++) {
        if (j->versions[k] == version) {
            return HWM_OK;
        }
    }
    float* to = j->planes + j->n_versions * j->plane_floats;
    for (int l = 0; l < hwm_controller_layers(j->controller); l++) {
        hwm_layer_view v = hwm_controller_layer(j->controller, l);
        const hwm_real* planes = hwm_controller_planes(j->controller, j->coef, l);
        for (size_t k = 0; v.plastic && k < (size_t)v.P * (size_t)v.Q * 4; k++) {
            *to++ = planes ? (float)planes[k] : 0;
        }
    }
    j->versions[j->n_versions++] = version;
    return HWM_OK;
}

// Which version acted from row on.
static uint64_t version_of(const hwm_batch* b, uint32_t row) {
    uint64_t version = 0;
    for (int k = 0; k < b->n_segments && b->segment[k].row <= row; k++) {
        version = b->segment[k].param.version;
    }
    return version;
}

// Row `row` of a column of floats.
static void copy_row(float* to, const hwm_batch* b, int column, uint32_t row, int floats) {
    size_t bytes = (size_t)floats * sizeof *to;
    memcpy(to, (const uint8_t*)b->column[column] + row * bytes, bytes);
}

// Sequence i of the batch: the step at its start, and what followed. Returns false for a step that
// cannot be had.
static bool take(job* j, const hwm_batch* b, int i, hwm_error* err) {
    tuples* t = &j->t;
    const uint32_t key_row = b->row[i], row = key_row + b->prefix[i];
    const uint8_t* flags = b->column[HWM_COLUMN_FLAGS];
    uint64_t version = version_of(b, key_row);
    if (flags[row] & HWM_FLAG_LAST) {
        return false;
    }
    if (use_version(j, version, err) != HWM_OK) {
        j->lost++;
        return false;
    }
    const size_t n = t->n;
    float *state = t->state + n * (size_t)t->S, *next = t->next_state + n * (size_t)t->S;
    const float* act = (const float*)b->column[HWM_COLUMN_ACT] + key_row * (size_t)t->NA;
    const float* action = (const float*)b->column[HWM_COLUMN_ACTION] + key_row * (size_t)t->A;
    // key tensors tile the state in order
    size_t at = 0;
    for (int k = 0; k < j->signature.n_keys; k++) {
        size_t bytes = hwm_tensor_bytes(&j->signature.key[k]);
        memcpy(state + at, (const uint8_t*)b->key[k] + (size_t)i * bytes, bytes);
        at += bytes / sizeof *state;
    }
    hwm_materialise(j->materialiser, j->coef, state, act, action, flags + key_row,
                    (int)b->prefix[i], state);
    hwm_materialise(j->materialiser, j->coef, state, act + b->prefix[i] * (size_t)t->NA,
                    action + b->prefix[i] * (size_t)t->A, flags + row, 1, next);
    copy_row(t->obs + n * (size_t)t->O, b, HWM_COLUMN_OBS, row, t->O);
    copy_row(t->next_obs + n * (size_t)t->O, b, HWM_COLUMN_OBS, row + 1, t->O);
    copy_row(t->act + n * (size_t)t->NA, b, HWM_COLUMN_ACT, row, t->NA);
    copy_row(t->action + n * (size_t)t->A, b, HWM_COLUMN_ACTION, row, t->A);
    copy_row(t->reward + n, b, HWM_COLUMN_REWARD, row + 1, 1);
    t->terminated[n] = (flags[row + 1] & HWM_FLAG_TERMINAL) != 0;
    t->env[n] = b->stream[i].env;
    t->incarnation[n] = b->stream[i].incarnation;
    t->episode[n] = b->episode[i];
    t->step[n] = b->step[i];
    t->version[n] = version;
    t->n++;
    return true;
}

static hwm_status gather(job* j, hwm_error* err) {
    hwm_sample_request request = {
        .batch = BATCH, .length = 2, .materialise = true, .uncounted = true};
    request.selector = strcmp(j->o->select, "newest") == 0   ? HWM_SELECT_NEWEST
                       : strcmp(j->o->select, "oldest") == 0 ? HWM_SELECT_OLDEST
                                                             : HWM_SELECT_UNIFORM;
    request.draw = (uint64_t)j->o->seed;
    while (j->t.n < j->t.max) {
        uint64_t id;
        const hwm_batch* batch;
        size_t before = j->t.n;
        hwm_status s = hwm_client_sample_begin(j->client, &request, &id, err);
        const double started = hwm_clock_s();
        while (s == HWM_OK &&
               (s = hwm_client_sample_wait(j->client, id, 200, &batch, err)) == HWM_ETIMEDOUT) {
            if (hwm_signals_stop_requested()) {
                return hwm_fail(err, HWM_ECLOSED, "stopped");
            }
            if (hwm_clock_s() - started > 20) {
                return hwm_fail(err, HWM_ETIMEDOUT, "the server has no steps to give");
            }
            s = HWM_OK;
        }
        if (s) {
            return s;
        }
        for (int i = 0; i < batch->batch && j->t.n < j->t.max; i++) {
            take(j, batch, i, err);
        }
        hwm_client_sample_end(j->client, id);
        request.draw++;
        if (j->t.n == before) {
            return j->t.n ? HWM_OK
                          : hwm_fail(err, HWM_ENOTFOUND,
                                     "no step could be materialised: their parameter versions are "
                                     "gone (%zu)",
                                     j->lost);
        }
    }
    return HWM_OK;
}

// ---- write

// Columns from..from+width of rows of `stride` floats as an array of their own.
static float* slice(const float* rows, size_t n, size_t stride, size_t from, size_t width) {
    float* x = malloc(n * width * sizeof *x + 1);
    for (size_t k = 0; x && k < n; k++) {
        memcpy(x + k * width, rows + k * stride + from, width * sizeof *x);
    }
    return x;
}

static hwm_status add_slice(hwm_npz* z, const char* name, const float* rows, size_t n,
                            size_t stride, size_t from, int P, int Q, hwm_error* err) {
    float* x = slice(rows, n, stride, from, (size_t)P * (size_t)(Q ? Q : 1));
    if (!x) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    hwm_npz_add(z, name, "<f4", 4, Q ? 3 : 2, (size_t[]){n, (size_t)P, (size_t)Q}, x);
    free(x);
    return HWM_OK;
}

static hwm_status write_layers(const job* j, hwm_npz* z, hwm_error* err) {
    const tuples* t = &j->t;
    size_t plane = 0;
    hwm_status s = HWM_OK;
    for (int l = 0; l < hwm_controller_layers(j->controller) && s == HWM_OK; l++) {
        hwm_layer_view v = hwm_controller_layer(j->controller, l);
        char pre[40], post[40], w[40], next[40], dw[40], rule[40];
        if (!v.plastic) {
            continue;
        }
        snprintf(pre, sizeof pre, "%s.pre", v.name);
        snprintf(post, sizeof post, "%s.post", v.name);
        snprintf(w, sizeof w, "%s.W", v.name);
        snprintf(next, sizeof next, "%s.W_next", v.name);
        snprintf(dw, sizeof dw, "%s.dW", v.name);
        snprintf(rule, sizeof rule, "%s.rule", v.name);
        s = add_slice(z, pre, v.recurrent ? t->state : t->act, t->n,
                      (size_t)(v.recurrent ? t->S : t->NA), v.pre, v.Q, 0, err);
        s = s ? s : add_slice(z, post, t->act, t->n, (size_t)t->NA, v.post, v.P, 0, err);
        s = s ? s : add_slice(z, w, t->state, t->n, (size_t)t->S, v.w, v.P, v.Q, err);
        s = s ? s : add_slice(z, next, t->next_state, t->n, (size_t)t->S, v.w, v.P, v.Q, err);
        float* x =
            s ? NULL : slice(t->next_state, t->n, (size_t)t->S, v.w, (size_t)v.P * (size_t)v.Q);
        float* coef = s ? NULL
                        : slice(j->planes, j->n_versions, j->plane_floats, plane,
                                (size_t)v.P * (size_t)v.Q * 4);
        if (!s && (!x || !coef)) {
            s = hwm_fail(err, HWM_ENOMEM, "out of memory");
        }
        if (!s) {
            const size_t n = (size_t)v.P * (size_t)v.Q;
            for (size_t k = 0; k < t->n * n; k++) {
                x[k] -= t->state[k / n * (size_t)t->S + v.w + k % n];
            }
            hwm_npz_add(z, dw, "<f4", 4, 3, (size_t[]){t->n, (size_t)v.P, (size_t)v.Q}, x);
            hwm_npz_add(z, rule, "<f4", 4, 4,
                        (size_t[]){j->n_versions, (size_t)v.P, (size_t)v.Q, 4}, coef);
        }
        free(x);
        free(coef);
        plane += (size_t)v.P * (size_t)v.Q * 4;
    }
    return s;
}

static hwm_status write_npz(const job* j, hwm_error* err) {
    const tuples* t = &j->t;
    hwm_npz* z;
    hwm_status s = hwm_npz_create(&z, j->o->out, err);
    if (s) {
        return s;
    }
    const size_t n = t->n;
    hwm_npz_add(z, "obs", "<f4", 4, 2, (size_t[]){n, (size_t)t->O}, t->obs);
    hwm_npz_add(z, "next_obs", "<f4", 4, 2, (size_t[]){n, (size_t)t->O}, t->next_obs);
    hwm_npz_add(z, "act", "<f4", 4, 2, (size_t[]){n, (size_t)t->NA}, t->act);
    hwm_npz_add(z, "action", "<f4", 4, 2, (size_t[]){n, (size_t)t->A}, t->action);
    hwm_npz_add(z, "reward", "<f4", 4, 1, &n, t->reward);
    hwm_npz_add(z, "terminated", "|u1", 1, 1, &n, t->terminated);
    hwm_npz_add(z, "env", "<u4", 4, 1, &n, t->env);
    hwm_npz_add(z, "incarnation", "<u4", 4, 1, &n, t->incarnation);
    hwm_npz_add(z, "episode", "<u4", 4, 1, &n, t->episode);
    hwm_npz_add(z, "step", "<u8", 8, 1, &n, t->step);
    hwm_npz_add(z, "version", "<u8", 8, 1, &n, t->version);
    hwm_npz_add(z, "versions", "<u8", 8, 1, &j->n_versions, j->versions);
    s = write_layers(j, z, err);
    hwm_status closed = hwm_npz_close(&z, s ? NULL : err);
    return s ? s : closed;
}

// One line per synapse and step.
static hwm_status write_csv(const job* j, hwm_error* err) {
    const tuples* t = &j->t;
    FILE* f = fopen(j->o->out, "w");
    if (!f) {
        return hwm_fail(err, HWM_EIO, "%s cannot be written", j->o->out);
    }
    fprintf(f, "env,incarnation,episode,step,version,layer,post_unit,pre_unit,pre,post,w,dw,w_next,"
               "reward,terminated\n");
    for (size_t n = 0; n < t->n; n++) {
        for (int l = 0; l < hwm_controller_layers(j->controller); l++) {
            hwm_layer_view v = hwm_controller_layer(j->controller, l);
            for (int k = 0; v.plastic && k < v.P * v.Q; k++) {
                const float* act = t->act + n * (size_t)t->NA;
                const float* pre = v.recurrent ? t->state + n * (size_t)t->S : act;
                float w = t->state[n * (size_t)t->S + v.w + (size_t)k];
                float next = t->next_state[n * (size_t)t->S + v.w + (size_t)k];
                fprintf(f,
                        "%u,%u,%u,%" PRIu64 ",%" PRIu64
                        ",%s,%d,%d,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%d\n",
                        t->env[n], t->incarnation[n], t->episode[n], t->step[n], t->version[n],
                        v.name, k / v.Q, k % v.Q, (double)pre[v.pre + (size_t)(k % v.Q)],
                        (double)act[v.post + (size_t)(k / v.Q)], (double)w, (double)(next - w),
                        (double)next, (double)t->reward[n], t->terminated[n]);
            }
        }
    }
    bool failed = ferror(f);
    failed |= fclose(f) != 0;
    return failed ? hwm_fail(err, HWM_EIO, "%s cannot be written", j->o->out) : HWM_OK;
}

static void release(job* j) {
    tuples* t = &j->t;
    void* all[] = {t->obs,        t->next_obs,   t->act,    t->action,      t->reward,  t->state,
                   t->next_state, t->terminated, t->env,    t->incarnation, t->episode, t->step,
                   t->version,    j->versions,   j->planes, j->phi,         j->real,    j->coef};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        free(all[k]);
    }
    hwm_materialiser_destroy(&j->materialiser);
    hwm_controller_destroy(&j->controller);
    free(j->list);
    hwm_experiment_destroy(&j->experiment);
    if (j->client) {
        hwm_client_destroy(&j->client, 0, NULL);
    }
    stop_server(j);
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    const materialise_options* o = options;
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    hwm_signals_install();
    if (n_operands != 1 || strcmp(operands[0], "materialise") != 0 || !o->out ||
        !o->server == !o->dir) {
        fprintf(stderr, "hwm replay: say materialise, --out FILE.npz or FILE.csv, and one of "
                        "--server and --dir\n");
        return HWM_EXIT_USAGE;
    }
    const char* end = strrchr(o->out, '.');
    const bool csv = end && strcmp(end, ".csv") == 0;
    if (!csv && (!end || strcmp(end, ".npz") != 0)) {
        fprintf(stderr, "hwm replay: %s ends neither in .npz nor in .csv\n", o->out);
        return HWM_EXIT_USAGE;
    }
    if (strcmp(o->select, "uniform") != 0 && strcmp(o->select, "newest") != 0 &&
        strcmp(o->select, "oldest") != 0) {
        fprintf(stderr, "hwm replay: --select is %s; allowed are uniform, newest, oldest\n",
                o->select);
        return HWM_EXIT_USAGE;
    }
    hwm_error err = {HWM_OK, ""};
    job* j = calloc(1, sizeof *j);
    HWM_ASSERT(j);
    j->o = o;
    hwm_status s = o->dir ? start_server(j, &err)
                          : hwm_endpoint_find(o->server, j->endpoint, sizeof j->endpoint, &err);
    s = s ? s : open_table(j, &err);
    s = s ? s : allocate(j, &err);
    s = s ? s : gather(j, &err);
    s = s ? s : csv ? write_csv(j, &err) : write_npz(j, &err);
    if (s) {
        fprintf(stderr, "hwm replay: %s\n", err.text);
    } else {
        printf("%zu steps of %zu versions in %s%s\n", j->t.n, j->n_versions, o->out,
               j->t.n < j->t.max ? " (no more can be had)" : "");
    }
    release(j);
    free(j);
    return s == HWM_OK ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
}

#define OPTION(field) offsetof(materialise_options, field)
static const hwm_option options[] = {
    {"--server", "ENDPOINT", HWM_OPTION_TEXT, OPTION(server), NULL, 0, 0,
     "A running server: its endpoint, or a run directory."},
    {"--key-dir", "DIR", HWM_OPTION_TEXT, OPTION(key_dir), NULL, 0, 0,
     "CURVE keys of an operator."},
    {"--insecure", NULL, HWM_OPTION_FLAG, OPTION(insecure), NULL, 0, 0,
     "Allow plain text to other machines."},
    {"--dir", "DIR", HWM_OPTION_TEXT, OPTION(dir), NULL, 0, 0,
     "Instead of a server: a replay or run directory that no server has open."},
    {"--table", "NAME", HWM_OPTION_TEXT, OPTION(table), NULL, 0, 0,
     "Which table, where there are several."},
    {"--steps", "N", HWM_OPTION_INT, OPTION(steps), "1000", 1, 1e7, "Steps to write."},
    {"--select", "HOW", HWM_OPTION_TEXT, OPTION(select), "uniform", 0, 0,
     "uniform, newest or oldest."},
    {"--seed", "S", HWM_OPTION_INT, OPTION(seed), "0", 0, 1e15, "Draws the steps of uniform."},
    {"--out", "FILE", HWM_OPTION_TEXT, OPTION(out), NULL, 0, 0,
     "FILE.npz (arrays) or FILE.csv (a line per synapse and step)."},
};
const hwm_command hwm_command_replay = {
    .name = "replay",
    .operands = "materialise",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Write full tuples of stored steps (pre, post, W, dW, reward, next) for other tools",
    .details = "The weights of every step are recovered to the last bit by replaying the rule from "
               "the chunk's key frame. "
               "Arrays: obs, act, action, reward (caused by the action), next_obs, terminated, "
               "env, episode, step, "
               "version, and per plastic layer pre, post, W, W_next, dW and rule, the coefficients "
               "a, b, c, d of every "
               "version in `versions`.",
    .example = "hwm replay materialise --dir runs/cartpole-seed0 --steps 1000 --out steps.npz\n"
               "hwm replay materialise --server tcp://replay:5555 --select newest --out steps.csv",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(materialise_options),
    .run = run,
};
