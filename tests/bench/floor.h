// What the two libraries below the replay can do with the same bytes: the floors that the benchmark
// divides by.
#ifndef HWM_TESTS_BENCH_FLOOR_H
#define HWM_TESTS_BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>

// Values per second that LMDB alone stores: one thread, values of `bytes`, groups of at most 4 MiB
// a transaction, appended in key order; the oldest go once `kept` are there, and time counts from
// then on. sync: MDB_NOMETASYNC, else MDB_NOSYNC.
double floor_lmdb(const char* dir, size_t bytes, size_t kept, bool sync, double seconds);
// Messages per second of `bytes` that ZeroMQ alone carries over loopback TCP from `senders`
// processes to one receiver, once all of them send. curve: encrypted with CURVE.
double floor_zmq(size_t bytes, int senders, bool curve, double seconds);

#endif
