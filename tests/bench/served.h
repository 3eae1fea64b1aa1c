// A server process of its own with one table, and the connection of a worker to it: for benches.
#ifndef TEST_BENCH_SERVED_H
#define TEST_BENCH_SERVED_H

#include <sys/types.h>

#include "net/client.h"

typedef struct served {
    pid_t server;
    char folder[64], endpoint[128];
    hwm_client* client;
} served;

// yaml: the experiment of the table. Exits with a sentence when the server beside this program does
// not come up.
void served_open(served* s, const hwm_signature* signature, const char* yaml, int environments);
void served_close(served* s);

#endif
