// An hwm-server under load: the server, its appenders and its samplers as processes of their own
// over loopback TCP.
//
// Threads: one. Whatever fails ends the program with a sentence, once the processes it started are
// gone.
#ifndef HWM_TESTS_BENCH_REPLAY_LOAD_H
#define HWM_TESTS_BENCH_REPLAY_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "net/client.h"

// Steps of a chunk and of a sampled sequence, which starts at any step.
enum { LOAD_CHUNK = 64, LOAD_LENGTH = 64, LOAD_CLIENTS_MAX = 64, LOAD_FLIGHT_MAX = 8 };

typedef struct load_case {
    const char* name;
    size_t step_bytes;  // of all columns; of the pixels alone where there are any
    bool pixels;
    int batch;   // sequences of a request
    int flight;  // requests of one sampler under way, at most LOAD_FLIGHT_MAX
    int64_t capacity_steps;
} load_case;

typedef struct load_shared load_shared;
typedef struct load {
    const load_case* c;
    const char* durability;
    double seconds;  // that a phase is measured
    bool curve;      // with keys, in dir/keys
    // filled by load_start
    char dir[128], keys[160], endpoint[64];
    pid_t server;
    hwm_table_config table;
    size_t chunk_bytes;  // encoded
    load_shared* shared;
} load;

typedef struct load_figures {
    double append_steps_per_s, sample_steps_per_s;
    double ack_p50_ms, ack_p99_ms;  // from append to acknowledgement
    // processor time of a step, appended or sampled
    double server_cpu_us, clients_cpu_us;
} load_figures;

void load_start(load* l);
void load_stop(load* l);
// A folder for `what` in $TMPDIR or /tmp, and its removal with the files that programs leave there.
void load_dir_make(char dir[128], const char* what);
void load_dir_remove(const char* dir);

// appenders: processes that send chunks, each at most `rate` chunks a second, 0: as fast as the
// server acknowledges them. samplers: processes that keep their requests under way. Counts once
// every one of them has had an answer.
load_figures load_phase(load* l, int appenders, int samplers, double rate);

// The share of append throughput that ten statistics calls a second take. Slices of a quarter of a
// second with and without calls lie beside each other; up to 200 calls a second are made, so that
// their cost stands out of the noise, and it is scaled down to ten.
double load_statistics_cost(load* l, int appenders);
double load_statistics_cpu_us(const load* l);  // of the server, for one call, while it is idle

double load_resident_bytes(const load* l);  // of the server, anonymous
double load_stored_bytes(const load* l);

#endif
