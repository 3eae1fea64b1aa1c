// What a stored table costs when nobody is in a hurry: opening it, a snapshot while appends go on,
// and memory. In this process, without sockets: bench_replay measures those. Prints one JSON
// object.
//
//   open      a table of --fill-gb, written here, its pages dropped from the kernel's cache as far
//   as
//             an unprivileged process can; until hwm_replay_open returns, and until a first batch
//             of 32 sequences of 64 steps is there
//   snapshot  of --snapshot-gb, until it is complete and on disk, with an appender at 50 MB/s
//   beside it
#include <stdbool.h>
#include <stddef.h>

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/command.h"
#include "net/chunk_codec.h"
#include "server/replay.h"

enum { STEPS = 64, STEP_BYTES = 1024, STREAMS = 16 };

typedef struct bench {
    char dir[128];
    hwm_replay_config config;
    hwm_replay* replay;
    hwm_table_config table;
    uint8_t* bytes;  // of an encoded chunk
    size_t size;
    hwm_chunk chunk;  // its view
    uint64_t sequence[STREAMS];
    uint64_t appended;
} bench;

static void must(hwm_status status, const hwm_error* err, const char* what) {
    if (status != HWM_OK) {
        fprintf(stderr, "bench_store: %s: %s\n", what, err != NULL ? err->text : "");
        exit(1);
    }
}

static void make(bench* b, double gb) {
    const char* base = getenv("TMPDIR");
    hwm_error err = {0};
    int table;
    snprintf(b->dir, sizeof b->dir, "%s/hwm-bench-XXXXXX", base != NULL ? base : "/tmp");
    must(mkdtemp(b->dir) != NULL ? HWM_OK : HWM_EIO, NULL, b->dir);
    b->config = (hwm_replay_config){.durability = HWM_DURABLE_PROCESS,
                                    .commit_ms = 10,
                                    .map_bytes = (int64_t)(gb * 2e9) + (64 << 20),
                                    .sampler_threads = 1};
    snprintf(b->config.dir, sizeof b->config.dir, "%s", b->dir);
    hwm_table_config* t = &b->table;
    *t = (hwm_table_config){.name = "bench", .capacity_steps = (int64_t)1 << 40, .experiment = ""};
    hwm_signature* g = &t->signature;
    g->n_columns = 5;
    g->column[HWM_COLUMN_FLAGS] = hwm_spec("flags", HWM_U8, 0);
    g->column[HWM_COLUMN_REWARD] = hwm_spec("reward", HWM_F32, 0);
    g->column[HWM_COLUMN_OBS] = hwm_spec("obs", HWM_F32, 1, (STEP_BYTES - 13) / 4);
    g->column[HWM_COLUMN_ACTION] = hwm_spec("action", HWM_F32, 1, 1);
    g->column[HWM_COLUMN_ACT] = hwm_spec("act", HWM_F32, 1, 1);
    must(hwm_replay_open(&b->replay, &b->config, &err), &err, "opening");
    must(hwm_replay_table_create(b->replay, t, &table, &err), &err, "creating the table");
    hwm_chunk values = {.sequence = 1, .steps = STEPS, .episode_step = 1};
    strcpy(values.param.set, "controller");
    uint8_t* zero = calloc(STEPS, STEP_BYTES);
    for (int c = 0; c < g->n_columns; c++) {
        values.column[c] = zero;
    }
    b->size = hwm_chunk_encoded_bytes(g, &values);
    b->bytes = malloc(b->size);
    hwm_chunk_encode(g, &values, b->bytes, b->size);
    must(hwm_chunk_decode(g, b->bytes, b->size, &b->chunk, &err), &err, "decoding");
    free(zero);
}

static void append(bench* b) {
    uint64_t stream = b->appended++ % STREAMS;
    b->chunk.stream.env = (uint32_t)stream;
    b->chunk.first_step = b->sequence[stream] * STEPS;
    b->chunk.sequence = ++b->sequence[stream];
    must(hwm_replay_append(b->replay, 0, &b->chunk, b->bytes, b->size, 1), NULL, "appending");
}

static void wait_for(bench* b, hwm_completion* c) {
    while (!hwm_replay_next(b->replay, c)) {
        struct pollfd p = {hwm_replay_fd(b->replay), POLLIN, 0};
        poll(&p, 1, 100);
    }
}

static double fill(bench* b, double gb) {
    enum { FLIGHT = 512 };
    double start = hwm_clock_s();
    uint64_t chunks = (uint64_t)(gb * 1e9 / (double)b->size), done = 0;
    hwm_completion c;
    while (done < chunks) {
        while (b->appended - done < FLIGHT && b->appended < chunks) {
            append(b);
        }
        wait_for(b, &c);
        must(c.status, NULL, c.text);
        done++;
    }
    return hwm_clock_s() - start;
}

static double anonymous_bytes(void) {
    char line[256];
    double kb = 0;
    FILE* f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        sscanf(line, "RssAnon: %lf", &kb);
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb * 1024;
}

static void drop_cache(const bench* b) {
    char path[160];
    snprintf(path, sizeof path, "%s/data.mdb", b->dir);
    int fd = open(path, O_RDONLY);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void clean(bench* b) {
    char path[160];
    static const char* const names[] = {"data.mdb", "lock.mdb", "owner"};
    hwm_replay_close(&b->replay);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, names[i]);
        unlink(path);
    }
    rmdir(b->dir);
    free(b->bytes);
}

static void run_open(double gb, FILE* out) {
    bench b = {0};
    hwm_error err = {0};
    make(&b, gb);
    double filling = fill(&b, gb);
    hwm_replay_close(&b.replay);
    drop_cache(&b);
    malloc_trim(0);  // what filling has left behind is not counted, and not used again
    double before = anonymous_bytes(), start = hwm_clock_s();
    must(hwm_replay_open(&b.replay, &b.config, &err), &err, "opening again");
    double opened = hwm_clock_s() - start;
    hwm_sample_request r = {.batch = 32, .length = 64};
    must(hwm_replay_sample(b.replay, 0, &r, 2), NULL, "sampling");
    hwm_completion c;
    wait_for(&b, &c);
    must(c.status, NULL, c.text);
    double first = hwm_clock_s() - start;
    hwm_replay_batch_free(b.replay, &c.batch);
    fprintf(out,
            "\"open_gb\":%.2f,\"fill_s\":%.2f,\"open_s\":%.3f,\"first_batch_s\":%.3f,"
            "\"anonymous_gb_per_stored_gb\":%.4f,",
            gb, filling, opened, first, (anonymous_bytes() - before) / (gb * 1e9));
    clean(&b);
}

static void run_snapshot(double gb, FILE* out) {
    bench b = {0};
    char to[160], path[200];
    make(&b, gb + 1);
    fill(&b, gb);
    snprintf(to, sizeof to, "%s-copy", b.dir);
    double start = hwm_clock_s(), took = 0, worst = 0;
    uint64_t sent = b.appended, acknowledged = sent;
    double sent_at = start;
    must(hwm_replay_snapshot(b.replay, to, 9), NULL, "a snapshot");
    hwm_completion c;
    while (took == 0 || acknowledged < b.appended) {
        double now = hwm_clock_s();
        if (took == 0 && acknowledged == b.appended &&
            (double)(b.appended - sent) * (double)b.size < (now - start) * 50e6) {
            append(&b);
            sent_at = now;
        }
        if (!hwm_replay_next(b.replay, &c)) {
            hwm_sleep_ms(1);
            continue;
        }
        must(c.status, NULL, c.text);
        if (c.kind == HWM_DONE_SNAPSHOT) {
            took = hwm_clock_s() - start;
        } else {
            acknowledged++;
            worst = hwm_clock_s() - sent_at > worst ? hwm_clock_s() - sent_at : worst;
        }
    }
    fprintf(out,
            "\"snapshot_gb\":%.2f,\"snapshot_s\":%.3f,\"appended_meanwhile_mb\":%.1f,"
            "\"worst_ack_ms\":%.1f",
            gb, took, (double)(b.appended - sent) * (double)b.size * 1e-6, worst * 1e3);
    clean(&b);
    snprintf(path, sizeof path, "%s/data.mdb", to);
    unlink(path);
    rmdir(to);
}

typedef struct options {
    double fill_gb, snapshot_gb;
} options;

static const hwm_option rows[] = {
    {"--fill-gb", "GB", HWM_OPTION_REAL, offsetof(options, fill_gb), "10", 0.01, 10000,
     "Size of the table that is opened, in GB."},
    {"--snapshot-gb", "GB", HWM_OPTION_REAL, offsetof(options, snapshot_gb), "1", 0.01, 10000,
     "Size of the table that is copied, in GB."},
};

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    printf("{");
    run_open(o->fill_gb, stdout);
    run_snapshot(o->snapshot_gb, stdout);
    printf("}\n");
    return HWM_EXIT_DONE;
}

static const hwm_command command = {
    .name = "bench_store",
    .operands = "",
    .summary = "Opening a large table, and a snapshot while appends go on: one JSON object.",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};

int main(int argc, char** argv) {
    return hwm_command_main(&command, argc, argv);
}
