// Replay over loopback TCP: appenders, samplers and hwm-server as separate processes, with the
// floors of LMDB and ZeroMQ for the same bytes measured in the same run. Prints one JSON object; a
// person gets a table on stderr.
//
//   append   processes that send chunks of 64 steps as fast as the server acknowledges them
//   sample   processes that ask for batches of sequences of 64 unaligned steps, two requests in
//   flight both     half as many of each at the same time half     appenders at half the rate of
//   `append`: the time from append to acknowledgement
#include <stdbool.h>
#include <stddef.h>

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "net/chunk_codec.h"
#include "net/client.h"
#include "net/keys.h"
#include "tests/bench/floor.h"

enum { CHUNK = 64, LENGTH = 64, PROCESSES_MAX = 128, LATENCIES = 4096 };

typedef struct bench_case {
    const char* name;
    size_t obs_bytes;  // of one step, u8 where pixels
    bool pixels;
    int batch;  // sequences of a request
    int64_t capacity_steps;
} bench_case;
static const bench_case cases[] = {
    {"step_1k", 1024, false, 32, 1 << 20},
    {"step_64k", 65536, false, 1, 12000},
    {"frame_84x84x3", 84 * 84 * 3, true, 2, 40000},
};

// Written by the children, read by the parent.
typedef struct shared {
    volatile bool stop;
    struct {
        volatile uint64_t steps;  // acknowledged, or sampled
        volatile uint64_t failures;
        volatile uint32_t n_latencies;
        volatile float latency_ms[LATENCIES];
    } of[PROCESSES_MAX];
} shared;

typedef struct bench {
    const bench_case* c;
    const char* durability;
    const char* bin;
    char dir[128], endpoint[64];
    pid_t server;
    hwm_table_config table;
    size_t chunk_bytes;  // encoded
    shared* s;
    double seconds;
    bool curve;  // keys in dir/keys
    char keys[160];
} bench;

static void die(const char* what, const char* why) {
    fprintf(stderr, "bench_replay: %s: %s\n", what, why);
    exit(1);
}

static hwm_client* connect_as(const bench* b, hwm_role role, int environments) {
    hwm_client_config config = hwm_client_default_config();
    config.endpoint = b->endpoint;
    config.key_dir = b->curve ? b->keys : NULL;
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

static void make_chunk(const bench* b, hwm_chunk* chunk, uint8_t** data) {
    const hwm_signature* g = &b->table.signature;
    hwm_rng rng;
    hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, (uint32_t)getpid(), 0, 0);
    *chunk = (hwm_chunk){.steps = CHUNK, .sequence = 1};
    strcpy(chunk->param.set, "controller");
    size_t bytes = 0;
    for (int c = 0; c < g->n_columns; c++) {
        bytes += CHUNK * hwm_tensor_bytes(&g->column[c]);
    }
    *data = malloc(bytes + hwm_tensor_bytes(&g->key[0]));
    for (size_t i = 0; i < bytes; i++) {
        (*data)[i] = (uint8_t)hwm_rng_u32(&rng);
    }
    memset(*data, 0, CHUNK);
    uint8_t* at = *data;
    for (int c = 0; c < g->n_columns; c++) {
        chunk->column[c] = at;
        at += CHUNK * hwm_tensor_bytes(&g->column[c]);
    }
    chunk->key[0] = at;
}

// One environment stream for as long as the phase lasts. rate: chunks a second, 0: as fast as
// possible.
static void appender(const bench* b, int slot, double rate) {
    enum { FLIGHT = 512 };
    hwm_client* client = connect_as(b, HWM_ROLE_WORKER, 1);
    const hwm_hello* hello = hwm_client_hello(client);
    hwm_chunk chunk;
    uint8_t* data;
    double sent_at[FLIGHT] = {0}, start = hwm_clock_s();
    uint64_t sent = 0, seen = 0;
    make_chunk(b, &chunk, &data);
    chunk.stream = (hwm_stream){hello->first_env, hello->incarnation};
    data[0] = HWM_FLAG_FIRST;
    while (!b->s->stop) {
        bool due = rate == 0 || (double)sent < (hwm_clock_s() - start) * rate;
        hwm_error err;
        hwm_status status = HWM_EAGAIN;
        if (due && sent - seen < FLIGHT) {
            status = hwm_client_append(client, &b->table.signature, &chunk, &err);
        }
        if (status == HWM_OK) {
            sent_at[sent % FLIGHT] = hwm_clock_s();
            sent++;
            data[0] = 0;
            chunk.sequence++;
            chunk.first_step += CHUNK;
            chunk.episode_step += CHUNK;
            hwm_client_poll(client, 0, NULL);
        } else if (status == HWM_EAGAIN) {
            hwm_client_poll(client, 1, NULL);
        } else {
            b->s->of[slot].failures++;
        }
        double now = hwm_clock_s();
        for (uint64_t done = hwm_client_acknowledged(client); seen < done; seen++) {
            uint32_t n = b->s->of[slot].n_latencies;
            if (n < LATENCIES) {
                b->s->of[slot].latency_ms[n] = (float)((now - sent_at[seen % FLIGHT]) * 1e3);
                b->s->of[slot].n_latencies = n + 1;
            }
        }
        b->s->of[slot].steps = seen * CHUNK;
    }
    hwm_client_destroy(&client, 3000, NULL);
    free(data);
    _exit(0);
}

static void sampler(const bench* b, int slot) {
    enum { FLIGHT = 2 };
    hwm_client* client = connect_as(b, HWM_ROLE_LEARNER, 0);
    hwm_error err = {0};
    if (hwm_client_table_create(client, &b->table, &err) != HWM_OK) {
        die("joining the table", err.text);
    }
    hwm_sample_request r = {.batch = b->c->batch, .length = LENGTH};
    uint64_t id[FLIGHT], draw = (uint64_t)slot << 32;
    for (int i = 0; i < FLIGHT; i++) {
        r.draw = draw++;
        hwm_client_sample_begin(client, &r, &id[i], &err);
    }
    for (int i = 0; !b->s->stop; i = (i + 1) % FLIGHT) {
        const hwm_batch* batch;
        hwm_status status;
        do {
            status = hwm_client_sample_wait(client, id[i], 200, &batch, &err);
        } while (status == HWM_ETIMEDOUT && !b->s->stop);
        if (status == HWM_OK) {
            b->s->of[slot].steps += (uint64_t)batch->batch * (uint64_t)batch->length;
        } else if (status != HWM_ETIMEDOUT) {
            b->s->of[slot].failures++;
        }
        hwm_client_sample_end(client, id[i]);
        r.draw = draw++;
        hwm_client_sample_begin(client, &r, &id[i], &err);
    }
    hwm_client_destroy(&client, 0, NULL);
    _exit(0);
}

typedef struct phase {
    double append_steps_per_s, sample_steps_per_s, ack_p50_ms, ack_p99_ms;
    double server_cpu_us;  // of one step
} phase;

// CPU time of the server so far.
static double cpu_s(pid_t pid) {
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE* f = fopen(path, "r");
    if (f != NULL) {
        if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                   &system) != 2) {
            user = system = 0;
        }
        fclose(f);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static int compare_float(const void* a, const void* b) {
    float x = *(const float*)a, y = *(const float*)b;
    return (x > y) - (x < y);
}

static phase run_phase(bench* b, int appenders, int samplers, double rate) {
    pid_t pid[PROCESSES_MAX];
    int n = appenders + samplers;
    memset(b->s, 0, sizeof *b->s);
    for (int i = 0; i < n; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            if (i < appenders) {
                appender(b, i, rate);
            }
            sampler(b, i);
        }
    }
    uint64_t from[2] = {0}, to[2] = {0};
    // every client is connected and at work before anything counts
    for (int i = 0, waited_ms = 0; i < n && waited_ms < 20000;) {
        if (b->s->of[i].steps > 0) {
            i++;
        } else {
            hwm_sleep_ms(10);
            waited_ms += 10;
        }
    }
    hwm_sleep_ms(b->seconds > 2 ? 1000 : 500);  // connections, first touches
    double start = hwm_clock_s(), cpu = cpu_s(b->server);
    for (int i = 0; i < n; i++) {
        from[i >= appenders] += b->s->of[i].steps;
        b->s->of[i].n_latencies = 0;
    }
    hwm_sleep_ms((int)(b->seconds * 1000));
    for (int i = 0; i < n; i++) {
        to[i >= appenders] += b->s->of[i].steps;
    }
    double took = hwm_clock_s() - start, busy = cpu_s(b->server) - cpu;
    b->s->stop = true;
    size_t n_latencies = 0;
    float* latency = malloc(sizeof(float) * (size_t)(n * LATENCIES + 1));
    for (int i = 0; i < n; i++) {
        int status;
        waitpid(pid[i], &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || b->s->of[i].failures > 0) {
            die("a client", "failed");
        }
        for (uint32_t k = 0; k < b->s->of[i].n_latencies; k++) {
            latency[n_latencies++] = b->s->of[i].latency_ms[k];
        }
    }
    qsort(latency, n_latencies, sizeof(float), compare_float);
    phase p = {.append_steps_per_s = (double)(to[0] - from[0]) / took,
               .sample_steps_per_s = (double)(to[1] - from[1]) / took,
               .server_cpu_us = busy * 1e6 / (double)(to[0] - from[0] + to[1] - from[1] + 1)};
    if (n_latencies > 0) {
        p.ack_p50_ms = latency[n_latencies / 2];
        p.ack_p99_ms = latency[n_latencies * 99 / 100];
    }
    free(latency);
    return p;
}

static void start_server(bench* b) {
    static int port = 0;
    port = port == 0 ? 20000 + getpid() % 20000 : port + 1;
    snprintf(b->endpoint, sizeof b->endpoint, "tcp://127.0.0.1:%d", port);
    snprintf(b->dir, sizeof b->dir, "%s/hwm-bench-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(b->dir) == NULL) {
        die(b->dir, "cannot be made");
    }
    if (b->curve) {
        hwm_error err = {0};
        snprintf(b->keys, sizeof b->keys, "%s/keys", b->dir);
        if (hwm_keys_init(b->keys, &err) != HWM_OK) {
            die(err.text, "");
        }
    }
    char set[64];
    snprintf(set, sizeof set, "store.durability=%s", b->durability);
    b->server = fork();
    if (b->server == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        execl(b->bin, "hwm-server", "--listen", b->endpoint, "--dir", b->dir, "--set", set, "--set",
              "store.map_bytes=6442450944", b->curve ? "--key-dir" : (char*)NULL, b->keys,
              (char*)NULL);
        _exit(127);
    }
}

static void remove_dir(const char* dir) {
    static const char* names[] = {"data.mdb", "lock.mdb", "owner", "server.log"};
    char path[192];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    static const char* keys[] = {"keys/server.key",
                                 "keys/server.pub",
                                 "keys/worker.key",
                                 "keys/learner.key",
                                 "keys/operator.key",
                                 "keys/viewer.key",
                                 "keys/authorized/worker.pub",
                                 "keys/authorized/learner.pub",
                                 "keys/authorized/operator.pub",
                                 "keys/authorized/viewer.pub"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, keys[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/keys/authorized", dir);
    rmdir(path);
    snprintf(path, sizeof path, "%s/keys", dir);
    rmdir(path);
    rmdir(dir);
}

static void stop_server(bench* b) {
    kill(b->server, SIGTERM);
    waitpid(b->server, NULL, 0);
    remove_dir(b->dir);
}

// Anonymous resident bytes of the server.
static double resident_bytes(pid_t pid) {
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE* f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        sscanf(line, "RssAnon: %lf", &kb);
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb * 1024;
}

static double stored_bytes(const bench* b) {
    hwm_client* client = connect_as(b, HWM_ROLE_OPERATOR, 0);
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

// Server CPU of one statistics call, in us: asked many times, while nothing else goes on.
static double stats_cpu_us(const bench* b) {
    enum { CALLS = 500 };
    hwm_client* client = connect_as(b, HWM_ROLE_OPERATOR, 0);
    hwm_error err = {0};
    double cpu = cpu_s(b->server);
    for (int k = 0; k < CALLS; k++) {
        char* json = NULL;
        if (hwm_client_stats(client, &json, &err) != HWM_OK) {
            die("statistics", err.text);
        }
        free(json);
    }
    cpu = cpu_s(b->server) - cpu;
    hwm_client_destroy(&client, 0, NULL);
    return cpu * 1e6 / CALLS;
}

static hwm_table_config table_of(const bench_case* c) {
    hwm_table_config t = {
        .name = "bench", .capacity_steps = c->capacity_steps, .seed = 3, .experiment = ""};
    hwm_signature* g = &t.signature;
    uint32_t rest = 1 + 4 + 4 + 4;
    g->n_columns = 5;
    g->column[HWM_COLUMN_FLAGS] = hwm_spec("flags", HWM_U8, 0);
    g->column[HWM_COLUMN_REWARD] = hwm_spec("reward", HWM_F32, 0);
    g->column[HWM_COLUMN_OBS] = hwm_spec("obs", HWM_F32, 1, (uint32_t)(c->obs_bytes - rest) / 4);
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

static void run_case(bench* b, FILE* out, int clients, bool quick) {
    b->table = table_of(b->c);
    hwm_chunk chunk;
    uint8_t* data;
    make_chunk(b, &chunk, &data);
    b->chunk_bytes = hwm_chunk_encoded_bytes(&b->table.signature, &chunk);
    free(data);
    double useful = (double)CHUNK * (double)hwm_signature_step_bytes(&b->table.signature);

    start_server(b);
    hwm_client* owner = connect_as(b, HWM_ROLE_LEARNER, 0);
    hwm_error err = {0};
    if (hwm_client_table_create(owner, &b->table, &err) != HWM_OK) {
        die("creating the table", err.text);
    }
    hwm_client_destroy(&owner, 0, NULL);
    phase append = run_phase(b, clients, 0, 0);
    phase half = run_phase(b, clients, 0, append.append_steps_per_s / CHUNK / clients / 2);
    phase sample = run_phase(b, 0, 2, 0);
    phase both = run_phase(b, clients / 2 > 0 ? clients / 2 : 1, 1, 0);
    double stats_us = stats_cpu_us(b);
    double resident = resident_bytes(b->server), stored = stored_bytes(b);
    stop_server(b);

    bool sync = strcmp(b->durability, "process") != 0;
    double seconds = quick ? 1 : 2;
    char dir[128];
    snprintf(dir, sizeof dir, "%s/hwm-floor-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(dir) == NULL) {
        die(dir, "cannot be made");
    }
    double lmdb = floor_lmdb(dir, b->chunk_bytes, sync, seconds) * CHUNK;
    remove_dir(dir);
    double zmq_append = floor_zmq(b->chunk_bytes, clients, seconds) * CHUNK;
    size_t reply = (size_t)((double)b->c->batch * useful * LENGTH / CHUNK);
    double zmq_sample = floor_zmq(reply, 1, seconds) * b->c->batch * LENGTH;
    double floor_append = lmdb < zmq_append ? lmdb : zmq_append;
    fprintf(out,
            "{\"case\":\"%s\",\"durability\":\"%s\",\"append_steps_per_s\":%.0f,\"sample_steps_per_"
            "s\":%.0f,"
            "\"both_append_steps_per_s\":%.0f,\"both_sample_steps_per_s\":%.0f,\"append_over_"
            "floor\":%.3f,"
            "\"sample_over_floor\":%.3f,\"floor_lmdb_steps_per_s\":%.0f,\"floor_zmq_append_steps_"
            "per_s\":%.0f,"
            "\"floor_zmq_sample_steps_per_s\":%.0f,\"ack_p50_ms\":%.2f,\"ack_p99_ms\":%.2f,"
            "\"append_server_cpu_us_per_step\":%.3f,\"sample_server_cpu_us_per_step\":%.3f,"
            "\"stats_server_cpu_us\":%.1f,"
            "\"wire_bytes_per_useful_byte\":%.4f,\"resident_bytes_per_stored_byte\":%.4f}",
            b->c->name, b->durability, append.append_steps_per_s, sample.sample_steps_per_s,
            both.append_steps_per_s, both.sample_steps_per_s,
            append.append_steps_per_s / floor_append, sample.sample_steps_per_s / zmq_sample, lmdb,
            zmq_append, zmq_sample, half.ack_p50_ms, half.ack_p99_ms, append.server_cpu_us,
            sample.server_cpu_us, stats_us, (double)b->chunk_bytes / useful,
            stored > 0 ? resident / stored : 0);
    fprintf(stderr,
            "%-14s %-8s append %8.0f (%.2f of floor)  sample %8.0f (%.2f of floor)  both %8.0f "
            "%8.0f  ack "
            "%.1f / %.1f ms  cpu %.2f %.2f us  statistics %.0f us\n",
            b->c->name, b->durability, append.append_steps_per_s,
            append.append_steps_per_s / floor_append, sample.sample_steps_per_s,
            sample.sample_steps_per_s / zmq_sample, both.append_steps_per_s,
            both.sample_steps_per_s, half.ack_p50_ms, half.ack_p99_ms, append.server_cpu_us,
            sample.server_cpu_us, stats_us);
}

int main(int argc, char** argv) {
    static const struct option options[] = {{"quick", no_argument, NULL, 'q'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"case", required_argument, NULL, 'c'},
                                            {"durability", required_argument, NULL, 'd'},
                                            {"clients", required_argument, NULL, 'n'},
                                            {"curve", no_argument, NULL, 'k'},
                                            {NULL, 0, NULL, 0}};
    bool quick = false, json = false, curve = false;
    const char *only = NULL, *only_durability = NULL;
    int clients = 4, option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        quick = quick || option == 'q';
        json = json || option == 'j';
        curve = curve || option == 'k';
        only = option == 'c' ? optarg : only;
        only_durability = option == 'd' ? optarg : only_durability;
        clients = option == 'n' ? atoi(optarg) : clients;
        if (option == '?' || clients < 1 || clients > 64) {
            fprintf(stderr, "usage: bench_replay [--quick] [--json] [--case NAME] [--durability "
                            "full|group|process] "
                            "[--clients 1..64] [--curve]\n");
            return 2;
        }
    }
    hwm_log_setup("bench_replay", HWM_LOG_ERROR, HWM_LOG_TEXT);
    char bin[512];
    snprintf(bin, sizeof bin, "%.480s", argv[0]);
    char* slash = strrchr(bin, '/');
    snprintf(slash != NULL ? slash + 1 : bin, 16, "hwm-server");
    bench b = {.bin = bin, .seconds = quick ? 1.5 : 5, .curve = curve};
    b.s = mmap(NULL, sizeof *b.s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b.s == MAP_FAILED) {
        die("shared memory", "none");
    }
    static const char* durabilities[] = {"process", "group"};
    FILE* out = json ? stdout : fopen("/dev/null", "w");
    fputs("{\"cases\":[", out);
    bool first = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (int d = 0; d < 2; d++) {
            if ((only != NULL && strcmp(only, cases[c].name) != 0) ||
                (only_durability != NULL && strcmp(only_durability, durabilities[d]) != 0)) {
                continue;
            }
            b.c = &cases[c];
            b.durability = durabilities[d];
            fputs(first ? "" : ",\n", out);
            first = false;
            run_case(&b, out, clients, quick);
            fflush(out);
        }
    }
    fputs("]}\n", out);
    fclose(out);
    return 0;
}
