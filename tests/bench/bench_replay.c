// Replay over loopback TCP: appenders, samplers and hwm-server as separate processes, with the
// floors of LMDB and ZeroMQ for the same bytes measured in the same run.
//
//   append   processes that send chunks of 64 steps as fast as the server acknowledges them
//   half     the same at half the rate: the time from append to acknowledgement
//   sample   two processes that ask for batches of sequences of 64 unaligned steps
//   both     half as many of each at the same time
//   keys     (--curve) append and sample, with and without keys in turns
#include <stdio.h>
#include <string.h>

#include "base/command.h"
#include "tests/bench/floor.h"
#include "tests/bench/replay_load.h"

enum { PLAIN_CASES = 3, CURVE_CASE = 3 };
static const load_case cases[] = {
    {"step_1k", 1024, false, 32, 2, 1 << 20},
    {"step_64k", 65536, false, 1, 2, 12000},
    {"frame_84x84x3", 84 * 84 * 3, true, 2, 2, 40000},
    // what --curve runs: 64 KiB a message in either direction
    {"message_64k", 1024, false, 1, 8, 1 << 20},
};
static const char* const durabilities[] = {"process", "group", "full"};

typedef struct options {
    bool quick, json, curve;
    const char *only, *durability;
    int64_t clients;
} options;

#define OPTION(name, argument, type, field, value, min, max, help)                                 \
    { name, argument, type, offsetof(options, field), value, min, max, help }
static const hwm_option rows[] = {
    OPTION("--quick", NULL, HWM_OPTION_FLAG, quick, NULL, 0, 0, "Phases of 1.5 s instead of 5 s."),
    OPTION("--json", NULL, HWM_OPTION_FLAG, json, NULL, 0, 0,
           "One JSON object on stdout instead of a table."),
    OPTION("--case", "NAME", HWM_OPTION_TEXT, only, NULL, 0, 0,
           "Only this one; else step_1k, step_64k and frame_84x84x3, with --curve message_64k."),
    OPTION("--durability", "NAME", HWM_OPTION_TEXT, durability, NULL, 0, 0,
           "full, group or process; else process and group."),
    OPTION("--clients", "N", HWM_OPTION_INT, clients, "4", 1, LOAD_CLIENTS_MAX,
           "Appending processes."),
    OPTION("--curve", NULL, HWM_OPTION_FLAG, curve, NULL, 0, 0,
           "What keys cost: two servers, one with and one without, measured in turns."),
};

typedef struct figure {
    const char* name;
    double value;
    int digits;  // after the point
} figure;

// One case as a JSON object, or as lines of a table.
static void print(const options* o, const load* l, const figure* f, int n) {
    static bool first = true;
    if (o->json) {
        printf("%s{\"case\":\"%s\",\"durability\":\"%s\"", first ? "{\"cases\":[" : ",\n",
               l->c->name, l->durability);
        for (int k = 0; k < n; k++) {
            printf(",\"%s\":%.*f", f[k].name, f[k].digits, f[k].value);
        }
        printf("}");
    } else {
        printf("%s%s, durability %s, %d appenders\n", first ? "" : "\n", l->c->name, l->durability,
               (int)o->clients);
        for (int k = 0; k < n; k++) {
            printf("  %-36s %14.*f\n", f[k].name, f[k].digits, f[k].value);
        }
    }
    first = false;
    fflush(stdout);
}

static double useful_bytes(const load* l) {  // of a chunk
    return (double)LOAD_CHUNK * (double)hwm_signature_step_bytes(&l->table.signature);
}

static size_t reply_bytes(const load* l) {
    return (size_t)(l->c->batch * useful_bytes(l) * LOAD_LENGTH / LOAD_CHUNK);
}

static void run_case(const options* o, load* l) {
    int clients = (int)o->clients;
    load_start(l);
    load_figures append = load_phase(l, clients, 0, 0);
    load_figures half =
        load_phase(l, clients, 0, append.append_steps_per_s / LOAD_CHUNK / clients / 2);
    load_figures sample = load_phase(l, 0, 2, 0);
    load_figures both = load_phase(l, clients / 2 > 0 ? clients / 2 : 1, 1, 0);
    double statistics_cost = load_statistics_cost(l, clients);
    double statistics_us = load_statistics_cpu_us(l);
    double resident = load_resident_bytes(l), stored = load_stored_bytes(l);
    load_stop(l);

    double useful = useful_bytes(l), seconds = o->quick ? 1 : 2;
    char dir[128];
    load_dir_make(dir, "floor");
    size_t kept = (size_t)(l->c->capacity_steps / LOAD_CHUNK);
    bool sync = strcmp(l->durability, "process") != 0;
    double lmdb = floor_lmdb(dir, l->chunk_bytes, kept, sync, seconds) * LOAD_CHUNK;
    load_dir_remove(dir);
    double zmq_append = floor_zmq(l->chunk_bytes, clients, false, seconds) * LOAD_CHUNK;
    double zmq_sample = floor_zmq(reply_bytes(l), 1, false, seconds) * l->c->batch * LOAD_LENGTH;
    double floor_append = lmdb < zmq_append ? lmdb : zmq_append;
    const figure f[] = {
        {"append_steps_per_s", append.append_steps_per_s, 0},
        {"sample_steps_per_s", sample.sample_steps_per_s, 0},
        {"both_append_steps_per_s", both.append_steps_per_s, 0},
        {"both_sample_steps_per_s", both.sample_steps_per_s, 0},
        {"append_over_floor", append.append_steps_per_s / floor_append, 3},
        {"sample_over_floor", sample.sample_steps_per_s / zmq_sample, 3},
        {"floor_lmdb_steps_per_s", lmdb, 0},
        {"floor_zmq_append_steps_per_s", zmq_append, 0},
        {"floor_zmq_sample_steps_per_s", zmq_sample, 0},
        {"ack_p50_ms", half.ack_p50_ms, 2},
        {"ack_p99_ms", half.ack_p99_ms, 2},
        {"append_server_cpu_us_per_step", append.server_cpu_us, 3},
        {"append_clients_cpu_us_per_step", append.clients_cpu_us, 3},
        {"sample_server_cpu_us_per_step", sample.server_cpu_us, 3},
        {"sample_clients_cpu_us_per_step", sample.clients_cpu_us, 3},
        {"stats_server_cpu_us", statistics_us, 1},
        {"stats_10_per_s_cost", statistics_cost, 5},
        {"wire_bytes_per_useful_byte", (double)l->chunk_bytes / useful, 4},
        {"resident_bytes_per_stored_byte", stored > 0 ? resident / stored : 0, 4},
    };
    print(o, l, f, sizeof f / sizeof f[0]);
}

static void run_curve(const options* o, load* plain) {
    enum { ROUNDS = 2 };
    int clients = (int)o->clients;
    load keys = *plain;
    keys.curve = true;
    load_figures append[2] = {{0}}, sample[2] = {{0}};  // without, with; sums over the rounds
    load_start(plain);
    load_start(&keys);
    for (int k = 0; k < 2 * ROUNDS; k++) {
        int with = k & 1;
        load_figures a = load_phase(with ? &keys : plain, clients, 0, 0);
        append[with].append_steps_per_s += a.append_steps_per_s / ROUNDS;
        append[with].server_cpu_us += a.server_cpu_us / ROUNDS;
        append[with].clients_cpu_us += a.clients_cpu_us / ROUNDS;
    }
    for (int k = 0; k < 2 * ROUNDS; k++) {
        int with = k & 1;
        load_figures s = load_phase(with ? &keys : plain, 0, 2, 0);
        sample[with].sample_steps_per_s += s.sample_steps_per_s / ROUNDS;
        sample[with].server_cpu_us += s.server_cpu_us / ROUNDS;
        sample[with].clients_cpu_us += s.clients_cpu_us / ROUNDS;
    }
    load_stop(&keys);
    load_stop(plain);
    // what libzmq alone does with the same messages, [0] without keys, [1] with: [step/s]
    double floor_append[2], floor_sample[2], seconds = o->quick ? 1 : 2;
    for (int with = 0; with < 2; with++) {
        floor_append[with] = floor_zmq(plain->chunk_bytes, clients, with, seconds) * LOAD_CHUNK;
        floor_sample[with] =
            floor_zmq(reply_bytes(plain), 1, with, seconds) * plain->c->batch * LOAD_LENGTH;
    }
    const figure f[] = {
        {"append_message_bytes", (double)plain->chunk_bytes, 0},
        {"sample_message_bytes", (double)reply_bytes(plain), 0},
        {"append_steps_per_s", append[0].append_steps_per_s, 0},
        {"curve_append_steps_per_s", append[1].append_steps_per_s, 0},
        {"curve_append_cost", append[0].append_steps_per_s / append[1].append_steps_per_s, 3},
        {"sample_steps_per_s", sample[0].sample_steps_per_s, 0},
        {"curve_sample_steps_per_s", sample[1].sample_steps_per_s, 0},
        {"curve_sample_cost", sample[0].sample_steps_per_s / sample[1].sample_steps_per_s, 3},
        {"floor_zmq_curve_append_cost", floor_append[0] / floor_append[1], 3},
        {"floor_zmq_curve_sample_cost", floor_sample[0] / floor_sample[1], 3},
        {"curve_append_over_floor", append[1].append_steps_per_s / floor_append[1], 3},
        {"curve_sample_over_floor", sample[1].sample_steps_per_s / floor_sample[1], 3},
        {"append_server_cpu_us_per_step", append[0].server_cpu_us, 3},
        {"curve_append_server_cpu_us_per_step", append[1].server_cpu_us, 3},
        {"append_clients_cpu_us_per_step", append[0].clients_cpu_us, 3},
        {"curve_append_clients_cpu_us_per_step", append[1].clients_cpu_us, 3},
        {"sample_server_cpu_us_per_step", sample[0].server_cpu_us, 3},
        {"curve_sample_server_cpu_us_per_step", sample[1].server_cpu_us, 3},
        {"sample_clients_cpu_us_per_step", sample[0].clients_cpu_us, 3},
        {"curve_sample_clients_cpu_us_per_step", sample[1].clients_cpu_us, 3},
    };
    print(o, plain, f, sizeof f / sizeof f[0]);
}

static void list_cases(FILE* out) {
    fprintf(out, "\nCases, with the bytes of a step:\n");
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        fprintf(out, "  %-16s %zu, %d sequence%s a request\n", cases[k].name, cases[k].step_bytes,
                cases[k].batch, cases[k].batch > 1 ? "s" : "");
    }
}

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    const int n_cases = sizeof cases / sizeof cases[0];
    int only = -1, first_durability = 0, last_durability = o->curve ? 0 : 1;
    for (int c = 0; c < n_cases; c++) {
        only = o->only != NULL && strcmp(o->only, cases[c].name) == 0 ? c : only;
    }
    if (o->only != NULL && only < 0) {
        fprintf(stderr, "bench_replay: no case \"%s\"\n", o->only);
        list_cases(stderr);
        return HWM_EXIT_USAGE;
    }
    if (o->durability != NULL) {
        first_durability = 0;
        while (first_durability < 3 && strcmp(o->durability, durabilities[first_durability]) != 0) {
            first_durability++;
        }
        last_durability = first_durability;
    }
    if (first_durability == 3) {
        fprintf(stderr, "bench_replay: durability \"%s\" is none of full, group, process\n",
                o->durability);
        return HWM_EXIT_USAGE;
    }
    int from = only >= 0 ? only : o->curve ? CURVE_CASE : 0;
    int to = only >= 0 ? only : o->curve ? CURVE_CASE : PLAIN_CASES - 1;
    for (int c = from; c <= to; c++) {
        for (int d = first_durability; d <= last_durability; d++) {
            load l = {.c = &cases[c], .durability = durabilities[d], .seconds = o->quick ? 1.5 : 5};
            (o->curve ? run_curve : run_case)(o, &l);
        }
    }
    if (o->json) {
        printf("]}\n");
    }
    return HWM_EXIT_DONE;
}

static const hwm_command command = {
    .name = "bench_replay",
    .operands = "",
    .summary = "Replay over loopback TCP beside the floors of LMDB and ZeroMQ.",
    .example = "bench_replay --quick --json\nbench_replay --case step_1k --durability process "
               "--clients 64\nbench_replay --curve",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
    .more_help = list_cases,
};

int main(int argc, char** argv) {
    return hwm_command_main(&command, argc, argv);
}
