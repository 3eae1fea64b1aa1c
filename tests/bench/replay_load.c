#include "tests/bench/replay_load.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "net/chunk_codec.h"
#include "net/keys.h"

enum { LATENCIES = 4096, PROCESSES_MAX = LOAD_CLIENTS_MAX + 2, WAIT_MS = 100 };

// Written by the children, read by the parent.
struct load_shared {
    volatile bool stop;
    struct {
        volatile uint64_t steps;  // acknowledged, or sampled
        volatile uint64_t failures;
        volatile uint32_t n_latencies;
        volatile float latency_ms[LATENCIES];
    } of[PROCESSES_MAX];
};

typedef struct crowd {
    int n, appenders;
    pid_t pid[PROCESSES_MAX];
} crowd;

static pid_t running_server;  // of this program, to be ended by whatever ends it

static void die(const char* what, const char* why) {
    fprintf(stderr, "bench_replay: %s: %s\n", what, why);
    if (running_server > 0) {
        kill(running_server, SIGKILL);
    }
    _exit(1);  // a child shares what its parent has not written yet
}

// ---- the clients

static hwm_client* connect_as(const load* l, hwm_role role, int environments) {
    hwm_client_config config = hwm_client_default_config();
    config.endpoint = l->endpoint;
    config.key_dir = l->curve ? l->keys : NULL;
    config.role = role;
    config.environments = environments;
    config.connect_timeout_ms = 10000;
    hwm_client* client;
    hwm_error err = {0};
    if (hwm_client_create(&client, &config, &err) != HWM_OK) {
        die("connecting", err.text);
    }
    return client;
}

// Random columns, which nothing can compress.
static void make_chunk(const load* l, hwm_chunk* chunk, uint8_t** data) {
    const hwm_signature* g = &l->table.signature;
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, (uint32_t)getpid(), 0, 0);
    *chunk = (hwm_chunk){.steps = LOAD_CHUNK, .sequence = 1};
    strcpy(chunk->param.set, "controller");
    size_t bytes = 0;
    for (int c = 0; c < g->n_columns; c++) {
        bytes += LOAD_CHUNK * hwm_tensor_bytes(&g->column[c]);
    }
    *data = malloc(bytes + hwm_tensor_bytes(&g->key[0]));
    HWM_ASSERT(*data != NULL);
    for (size_t i = 0; i < bytes; i++) {
        (*data)[i] = (uint8_t)hwm_rng_u32(&rng);
    }
    memset(*data, 0, LOAD_CHUNK);  // flags
    uint8_t* at = *data;
    for (int c = 0; c < g->n_columns; c++) {
        chunk->column[c] = at;
        at += LOAD_CHUNK * hwm_tensor_bytes(&g->column[c]);
    }
    chunk->key[0] = at;
}

// One environment stream for as long as the phase lasts.
static void appender(const load* l, int slot, double rate) {
    enum { FLIGHT = 512 };
    hwm_client* client = connect_as(l, HWM_ROLE_WORKER, 1);
    const hwm_hello* hello = hwm_client_hello(client);
    hwm_chunk chunk;
    uint8_t* data;
    double sent_at[FLIGHT] = {0}, start = hwm_clock_s();
    uint64_t sent = 0, seen = 0;
    make_chunk(l, &chunk, &data);
    chunk.stream = (hwm_stream){hello->first_env, hello->incarnation};
    data[0] = HWM_FLAG_FIRST;
    while (!l->shared->stop) {
        double early_s = rate == 0 ? 0 : (double)sent / rate - (hwm_clock_s() - start);
        hwm_error err;
        hwm_status status = HWM_EAGAIN;
        if (early_s <= 0 && sent - seen < FLIGHT) {
            status = hwm_client_append(client, &l->table.signature, &chunk, &err);
        }
        if (status == HWM_OK) {
            sent_at[sent % FLIGHT] = hwm_clock_s();
            sent++;
            data[0] = 0;
            chunk.sequence++;
            chunk.first_step += LOAD_CHUNK;
            chunk.episode_step += LOAD_CHUNK;
            hwm_client_poll(client, 0, NULL);
        } else if (status == HWM_EAGAIN) {
            // only an acknowledgement or the time of the next chunk changes anything
            hwm_client_poll(client, early_s > 0 ? 1 + (int)(early_s * 1e3) : WAIT_MS, NULL);
        } else {
            l->shared->of[slot].failures++;
        }
        double now = hwm_clock_s();
        for (uint64_t done = hwm_client_acknowledged(client); seen < done; seen++) {
            uint32_t n = l->shared->of[slot].n_latencies;
            if (n < LATENCIES) {
                l->shared->of[slot].latency_ms[n] = (float)((now - sent_at[seen % FLIGHT]) * 1e3);
                l->shared->of[slot].n_latencies = n + 1;
            }
        }
        l->shared->of[slot].steps = seen * LOAD_CHUNK;
    }
    hwm_client_destroy(&client, 3000, NULL);
    free(data);
    _exit(0);
}

static void sampler(const load* l, int slot) {
    hwm_client* client = connect_as(l, HWM_ROLE_LEARNER, 0);
    hwm_error err = {0};
    if (hwm_client_table_create(client, &l->table, &err) != HWM_OK) {
        die("joining the table", err.text);
    }
    hwm_sample_request r = {.batch = l->c->batch, .length = LOAD_LENGTH};
    uint64_t id[LOAD_FLIGHT_MAX], draw = (uint64_t)slot << 32;
    for (int i = 0; i < l->c->flight; i++) {
        r.draw = draw++;
        hwm_client_sample_begin(client, &r, &id[i], &err);
    }
    for (int i = 0; !l->shared->stop; i = (i + 1) % l->c->flight) {
        const hwm_batch* batch;
        hwm_status status;
        do {
            status = hwm_client_sample_wait(client, id[i], WAIT_MS, &batch, &err);
        } while (status == HWM_ETIMEDOUT && !l->shared->stop);
        if (status == HWM_OK) {
            l->shared->of[slot].steps += (uint64_t)batch->batch * (uint64_t)batch->length;
        } else if (status != HWM_ETIMEDOUT) {
            l->shared->of[slot].failures++;
        }
        hwm_client_sample_end(client, id[i]);
        r.draw = draw++;
        hwm_client_sample_begin(client, &r, &id[i], &err);
    }
    hwm_client_destroy(&client, 0, NULL);
    _exit(0);
}

// ---- the server

void load_dir_make(char dir[128], const char* what) {
    const char* base = getenv("TMPDIR");
    snprintf(dir, 128, "%.90s/hwm-%s-XXXXXX", base != NULL ? base : "/tmp", what);
    if (mkdtemp(dir) == NULL) {
        die(dir, "cannot be made");
    }
}

static int remove_one(const char* path, const struct stat* st, int type, struct FTW* at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void load_dir_remove(const char* dir) {
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static hwm_table_config table_of(const load_case* c) {
    hwm_table_config t = {
        .name = "bench", .capacity_steps = c->capacity_steps, .seed = 3, .experiment = ""};
    hwm_signature* g = &t.signature;
    uint32_t rest = 1 + 4 + 4 + 4;
    g->n_columns = 5;
    g->column[HWM_COLUMN_FLAGS] = hwm_spec("flags", HWM_U8, 0);
    g->column[HWM_COLUMN_REWARD] = hwm_spec("reward", HWM_F32, 0);
    g->column[HWM_COLUMN_OBS] = hwm_spec("obs", HWM_F32, 1, (uint32_t)(c->step_bytes - rest) / 4);
    g->column[HWM_COLUMN_ACTION] = hwm_spec("action", HWM_F32, 1, 1);
    g->column[HWM_COLUMN_ACT] = hwm_spec("act", HWM_F32, 1, 1);
    if (c->pixels) {
        g->column[HWM_COLUMN_OBS] = hwm_spec("obs", HWM_F32, 1, 1);
        g->column[g->n_columns++] = hwm_spec("pixels", HWM_U8, 3, 84, 84, 3);
    }
    g->n_keys = 1;
    g->key[0] = hwm_spec("W0", HWM_F32, 1, 1);
    return t;
}

void load_start(load* l) {
    static int port = 0;
    port = port == 0 ? 20000 + getpid() % 20000 : port + 1;
    snprintf(l->endpoint, sizeof l->endpoint, "tcp://127.0.0.1:%d", port);
    load_dir_make(l->dir, "bench");
    hwm_error err = {0};
    snprintf(l->keys, sizeof l->keys, "%s/keys", l->dir);
    if (l->curve && hwm_keys_init(l->keys, &err) != HWM_OK) {
        die(l->keys, err.text);
    }
    char set[64], bin[512];
    ssize_t n = readlink("/proc/self/exe", bin, sizeof bin - 16);
    char* slash = n > 0 ? memrchr(bin, '/', (size_t)n) : NULL;
    if (slash == NULL) {
        die("/proc/self/exe", "cannot be read");
    }
    snprintf(slash + 1, 12, "hwm-server");
    snprintf(set, sizeof set, "store.durability=%s", l->durability);
    l->server = running_server = fork();
    if (l->server == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        execl(bin, "hwm-server", "--listen", l->endpoint, "--dir", l->dir, "--set", set, "--set",
              "store.map_bytes=6442450944", l->curve ? "--key-dir" : (char*)NULL, l->keys,
              (char*)NULL);
        _exit(127);
    }
    l->shared =
        mmap(NULL, sizeof *l->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (l->shared == MAP_FAILED) {
        die("shared memory", "none");
    }

    l->table = table_of(l->c);
    hwm_chunk chunk;
    uint8_t* data;
    make_chunk(l, &chunk, &data);
    l->chunk_bytes = hwm_chunk_encoded_bytes(&l->table.signature, &chunk);
    free(data);
    hwm_client* owner = connect_as(l, HWM_ROLE_LEARNER, 0);
    if (hwm_client_table_create(owner, &l->table, &err) != HWM_OK) {
        die("creating the table", err.text);
    }
    hwm_client_destroy(&owner, 0, NULL);
}

void load_stop(load* l) {
    kill(l->server, SIGTERM);
    waitpid(l->server, NULL, 0);
    running_server = 0;
    munmap(l->shared, sizeof *l->shared);
    load_dir_remove(l->dir);
}

// ---- a phase

// Processor time of a process so far.
static double cpu_s(pid_t pid) {
    clockid_t id;
    struct timespec t = {0};
    return clock_getcpuclockid(pid, &id) == 0 && clock_gettime(id, &t) == 0
               ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9
               : 0;
}

static double crowd_cpu_s(const crowd* c) {
    double sum = 0;
    for (int i = 0; i < c->n; i++) {
        sum += cpu_s(c->pid[i]);
    }
    return sum;
}

// Returns once every client is connected, at work and past its first touches of memory.
static void gather(load* l, crowd* c, int appenders, int samplers, double rate) {
    memset(l->shared, 0, sizeof *l->shared);
    *c = (crowd){.n = appenders + samplers, .appenders = appenders};
    for (int i = 0; i < c->n; i++) {
        c->pid[i] = fork();
        if (c->pid[i] == 0) {
            running_server = 0;  // the parent's
            if (i < appenders) {
                appender(l, i, rate);
            }
            sampler(l, i);
        }
    }
    for (int i = 0, waited_ms = 0; i < c->n && waited_ms < 20000;) {
        if (l->shared->of[i].steps > 0) {
            i++;
        } else {
            hwm_sleep_ms(10);
            waited_ms += 10;
        }
    }
    hwm_sleep_ms(l->seconds > 2 ? 1000 : 500);
}

static void dismiss(load* l, const crowd* c) {
    l->shared->stop = true;
    for (int i = 0; i < c->n; i++) {
        int status;
        waitpid(c->pid[i], &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || l->shared->of[i].failures > 0) {
            die("a client", "failed");
        }
    }
}

// Steps of the appenders and of the samplers so far.
static void count(const load* l, const crowd* c, uint64_t steps[2]) {
    steps[0] = steps[1] = 0;
    for (int i = 0; i < c->n; i++) {
        steps[i >= c->appenders] += l->shared->of[i].steps;
    }
}

static int compare_float(const void* a, const void* b) {
    float x = *(const float*)a, y = *(const float*)b;
    return (x > y) - (x < y);
}

static void latencies(const load* l, const crowd* c, load_figures* f) {
    float* all = malloc(sizeof(float) * (size_t)(c->n * LATENCIES + 1));
    HWM_ASSERT(all != NULL);
    size_t n = 0;
    for (int i = 0; i < c->n; i++) {
        for (uint32_t k = 0; k < l->shared->of[i].n_latencies; k++) {
            all[n++] = l->shared->of[i].latency_ms[k];
        }
    }
    qsort(all, n, sizeof(float), compare_float);
    if (n > 0) {
        f->ack_p50_ms = all[n / 2];
        f->ack_p99_ms = all[n * 99 / 100];
    }
    free(all);
}

load_figures load_phase(load* l, int appenders, int samplers, double rate) {
    crowd c;
    uint64_t from[2], to[2];
    gather(l, &c, appenders, samplers, rate);
    double start = hwm_clock_s(), server = cpu_s(l->server), clients = crowd_cpu_s(&c);
    count(l, &c, from);
    for (int i = 0; i < c.n; i++) {
        l->shared->of[i].n_latencies = 0;
    }
    hwm_sleep_ms((int)(l->seconds * 1000));
    count(l, &c, to);
    double took = hwm_clock_s() - start;
    double steps = (double)(to[0] - from[0] + to[1] - from[1] + 1);
    load_figures f = {.append_steps_per_s = (double)(to[0] - from[0]) / took,
                      .sample_steps_per_s = (double)(to[1] - from[1]) / took,
                      .server_cpu_us = (cpu_s(l->server) - server) * 1e6 / steps,
                      .clients_cpu_us = (crowd_cpu_s(&c) - clients) * 1e6 / steps};
    dismiss(l, &c);
    latencies(l, &c, &f);
    return f;
}

// ---- statistics

static void ask(hwm_client* client) {
    char* json = NULL;
    hwm_error err = {0};
    if (hwm_client_stats(client, &json, &err) != HWM_OK) {
        die("statistics", err.text);
    }
    free(json);
}

double load_statistics_cost(load* l, int appenders) {
    enum { SLICE_MS = 250, CALL_MS = 5 };
    crowd c;
    double steps[2] = {0}, seconds[2] = {0}, calls = 0;  // without, with
    gather(l, &c, appenders, 0, 0);
    // connected after the forks: a ZeroMQ context does not survive them
    hwm_client* client = connect_as(l, HWM_ROLE_OPERATOR, 0);
    int slices = 4 * (int)(l->seconds * 1000 / SLICE_MS / 2 + 0.5);
    for (int k = 0; k < slices; k++) {
        int with = (k & 3) == 1 || (k & 3) == 2;  // without, with, with, without: no drift stays
        uint64_t from[2], to[2];
        double start = hwm_clock_s(), now = start;
        count(l, &c, from);
        for (int call = 0; now - start < SLICE_MS * 1e-3; call++, now = hwm_clock_s()) {
            if (with) {
                ask(client);
                calls++;
            }
            double next_s = start + (call + 1) * CALL_MS * 1e-3 - hwm_clock_s();
            if (next_s > 0) {
                nanosleep(&(struct timespec){.tv_nsec = (long)(next_s * 1e9)}, NULL);
            }
        }
        count(l, &c, to);
        steps[with] += (double)(to[0] - from[0]);
        seconds[with] += now - start;
    }
    hwm_client_destroy(&client, 0, NULL);
    dismiss(l, &c);
    return (1 - steps[1] / seconds[1] / (steps[0] / seconds[0])) * 10 / (calls / seconds[1]);
}

double load_statistics_cpu_us(const load* l) {
    enum { CALLS = 500 };
    hwm_client* client = connect_as(l, HWM_ROLE_OPERATOR, 0);
    double cpu = cpu_s(l->server);
    for (int k = 0; k < CALLS; k++) {
        ask(client);
    }
    cpu = cpu_s(l->server) - cpu;
    hwm_client_destroy(&client, 0, NULL);
    return cpu * 1e6 / CALLS;
}

// ---- memory

double load_resident_bytes(const load* l) {
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)l->server);
    FILE* f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        sscanf(line, "RssAnon: %lf", &kb);
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb * 1024;
}

double load_stored_bytes(const load* l) {
    hwm_client* client = connect_as(l, HWM_ROLE_OPERATOR, 0);
    char* json = NULL;
    hwm_error err;
    double bytes = 0;
    if (hwm_client_stats(client, &json, &err) == HWM_OK) {
        const char* at = strstr(json, "\"segments\"");
        at = at != NULL ? strstr(at, "\"bytes\":") : NULL;
        bytes = at != NULL ? atof(at + 8) : 0;
    }
    free(json);
    hwm_client_destroy(&client, 0, NULL);
    return bytes;
}
