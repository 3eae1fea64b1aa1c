// A table, chunks of recognisable numbers, and a server in a thread: what the tests of net and of
// the service share.
#ifndef HWM_TESTS_NET_FIXTURE_H
#define HWM_TESTS_NET_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "net/chunk_codec.h"
#include "net/client.h"
#include "server/server.h"

enum { OBS = 3, ACTION = 1, ACT = 5, CHUNK_STEPS = 8 };

static inline hwm_signature fixture_signature(void) {
    hwm_signature s = {.n_columns = 5, .n_keys = 2};
    s.column[0] = hwm_spec("flags", HWM_U8, 0);
    s.column[1] = hwm_spec("reward", HWM_F32, 0);
    s.column[2] = hwm_spec("obs", HWM_F32, 1, OBS);
    s.column[3] = hwm_spec("action", HWM_F32, 1, ACTION);
    s.column[4] = hwm_spec("act", HWM_F32, 1, ACT);
    s.key[0] = hwm_spec("W0", HWM_F32, 2, 2, 3);
    s.key[1] = hwm_spec("phase", HWM_I64, 0);
    return s;
}

static inline hwm_table_config fixture_table(void) {
    hwm_table_config t = {.capacity_steps = 100000, .experiment = "run: {seed: 7}", .seed = 7};
    snprintf(t.name, sizeof t.name, "table");
    t.signature = fixture_signature();
    return t;
}

// Chunk number k (from 0) of a stream, an endless episode: every number tells its step and column.
typedef struct fixture_chunk {
    uint8_t flags[CHUNK_STEPS];
    float reward[CHUNK_STEPS], obs[CHUNK_STEPS * OBS], action[CHUNK_STEPS], act[CHUNK_STEPS * ACT];
    float w0[6];
    int64_t phase;
    hwm_chunk chunk;
} fixture_chunk;

static inline const hwm_chunk* fixture_fill(fixture_chunk* f, hwm_stream stream, uint64_t k) {
    memset(f, 0, sizeof *f);
    uint64_t first = k * CHUNK_STEPS;
    f->flags[0] = k == 0 ? HWM_FLAG_FIRST : 0;
    for (int t = 0; t < CHUNK_STEPS; t++) {
        float step = (float)(first + (uint64_t)t);
        f->reward[t] = step;
        f->action[t] = step + 0.25f;
        for (int d = 0; d < OBS; d++) {
            f->obs[t * OBS + d] = step + 1000.0f * (float)(d + 1);
        }
        for (int d = 0; d < ACT; d++) {
            f->act[t * ACT + d] = step - 1000.0f * (float)(d + 1);
        }
    }
    for (int d = 0; d < 6; d++) {
        f->w0[d] = (float)first + 0.1f * (float)d;
    }
    f->phase = (int64_t)first;
    hwm_chunk* c = &f->chunk;
    c->stream = stream;
    c->sequence = k + 1;
    c->first_step = first;
    c->episode_step = (uint32_t)first;
    c->steps = CHUNK_STEPS;
    snprintf(c->param.set, sizeof c->param.set, "controller");
    c->param.version = 1 + k / 4;
    c->column[0] = f->flags;
    c->column[1] = f->reward;
    c->column[2] = f->obs;
    c->column[3] = f->action;
    c->column[4] = f->act;
    c->key[0] = f->w0;
    c->key[1] = &f->phase;
    return c;
}

// ---- a server in a thread, in a directory of its own

typedef struct fixture_server {
    char dir[64], endpoint[96];
    hwm_server_config config;
    hwm_server* server;
    pthread_t thread;
} fixture_server;

static inline void* fixture_run(void* server) {
    hwm_server_run(server, false);
    return NULL;
}

static inline void fixture_init(fixture_server* f) {
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/hwm-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->endpoint, sizeof f->endpoint, "ipc://%s/socket", f->dir);
    hwm_server_default_config(&f->config);
    f->config.endpoint = f->endpoint;
    f->config.service.heartbeat_ms = 100;
    f->config.service.dead_ms = 1500;
    f->config.replay.map_bytes = 256 << 20;
    f->config.replay.durability = HWM_DURABLE_PROCESS;
    snprintf(f->config.replay.dir, sizeof f->config.replay.dir, "%s/store", f->dir);
}

static inline void fixture_start(fixture_server* f) {
    hwm_error err = {0};
    if (hwm_server_create(&f->server, &f->config, &err) != HWM_OK) {
        fail_msg("server: %s", err.text);
    }
    assert_int_equal(0, pthread_create(&f->thread, NULL, fixture_run, f->server));
}

static inline void fixture_stop(fixture_server* f) {
    hwm_server_stop(f->server);
    pthread_join(f->thread, NULL);
    hwm_server_destroy(&f->server);
}

static inline void fixture_remove(fixture_server* f) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(0, system(command));
}

static inline hwm_client_config fixture_client(const fixture_server* f, hwm_role role) {
    hwm_client_config c = hwm_client_default_config();
    c.endpoint = f->endpoint;
    c.role = role;
    c.environments = role == HWM_ROLE_WORKER ? 1 : 0;
    c.subscribe = true;
    c.connect_timeout_ms = 20000;
    return c;
}

static inline hwm_client* fixture_connect(const fixture_server* f, hwm_role role) {
    hwm_client_config config = fixture_client(f, role);
    hwm_client* client = NULL;
    hwm_error err = {0};
    if (hwm_client_create(&client, &config, &err) != HWM_OK) {
        fail_msg("connect: %s", err.text);
    }
    return client;
}

static inline void fixture_create_table(hwm_client* learner) {
    hwm_table_config table = fixture_table();
    hwm_error err = {0};
    if (hwm_client_table_create(learner, &table, &err) != HWM_OK) {
        fail_msg("table: %s", err.text);
    }
}

// Append chunks from..to-1 of the worker's first stream, waiting where the window is full.
static inline void fixture_append(hwm_client* worker, uint64_t from, uint64_t to) {
    const hwm_signature signature = fixture_signature();
    const hwm_hello* hello = hwm_client_hello(worker);
    fixture_chunk f;
    for (uint64_t k = from; k < to; k++) {
        hwm_stream stream = {hello->first_env, hello->incarnation};
        const hwm_chunk* chunk = fixture_fill(&f, stream, k);
        hwm_error err = {0};
        hwm_status s;
        while ((s = hwm_client_append(worker, &signature, chunk, &err)) == HWM_EAGAIN) {
            hwm_client_poll(worker, 10, NULL);
        }
        if (s != HWM_OK) {
            fail_msg("append %d: %s", (int)k, err.text);
        }
    }
}

// Poll until `want` chunks are acknowledged, at most `seconds`.
static inline bool fixture_wait_acknowledged(hwm_client* worker, uint64_t want, double seconds) {
    double end = hwm_clock_s() + seconds;
    while (hwm_client_acknowledged(worker) < want && hwm_clock_s() < end) {
        hwm_client_poll(worker, 20, NULL);
    }
    return hwm_client_acknowledged(worker) == want;
}

// The whole number after the first "name": of a JSON text; -1 when it is not there.
static inline long fixture_number(const char* json, const char* name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char* at = strstr(json, key);
    return at == NULL ? -1 : strtol(at + strlen(key), NULL, 10);
}

static inline long fixture_stat(hwm_client* client, const char* name) {
    char* json = NULL;
    hwm_error err = {0};
    if (hwm_client_stats(client, &json, &err) != HWM_OK) {
        fail_msg("stats: %s", err.text);
    }
    long value = fixture_number(json, name);
    free(json);
    return value;
}

// HWM_FULL=1: the long form of a test.
static inline bool fixture_full(void) {
    const char* full = getenv("HWM_FULL");
    return full != NULL && strcmp(full, "1") == 0;
}

// ---- bytes that nobody meant to send

static inline void fixture_mutate(hwm_rng* rng, uint8_t* bytes, size_t* size, size_t room) {
    uint32_t strikes = 1 + hwm_rng_below(rng, 6);
    for (uint32_t k = 0; k<strikes&& * size> 0; k++) {
        uint32_t at = hwm_rng_below(rng, (uint32_t)*size);
        switch (hwm_rng_below(rng, 5)) {
        case 0:
            bytes[at] ^= (uint8_t)(1u << hwm_rng_below(rng, 8));
            break;
        case 1:
            bytes[at] = (uint8_t)hwm_rng_u32(rng);
            break;
        case 2:  // a number at the edge
            bytes[at] = (uint8_t[]){0, 1, 0x7f, 0x80, 0xff}[hwm_rng_below(rng, 5)];
            break;
        case 3:
            *size = at;
            break;
        default:
            if (*size + 8 < room) {
                memmove(bytes + at + 8, bytes + at, *size - at);
                *size += 8;
            }
        }
    }
}

// n connections to a port of this machine, each with a mutation of the model, cut off at once.
static inline void fixture_strangers(uint16_t port, const uint8_t* model, size_t model_bytes,
                                     int n) {
    enum { ROOM = 4096 };
    hwm_rng rng;
    hwm_rng_init(&rng, 2, HWM_PURPOSE_TEST, 0, 0, 0);
    for (int k = 0; k < n; k++) {
        uint8_t bytes[ROOM], answer[256];
        size_t size = model_bytes;
        memcpy(bytes, model, size);
        fixture_mutate(&rng, bytes, &size, ROOM);
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        // no port lingers behind a connection
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                   sizeof(struct linger));
        if (connect(fd, (struct sockaddr*)&a, sizeof a) == 0 &&
            send(fd, bytes, size, MSG_NOSIGNAL) > 0 && k % 16 == 0) {
            struct timeval limit = {.tv_usec = 20000};
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
            (void)!recv(fd, answer, sizeof answer, 0);
        }
        close(fd);
    }
}

#endif
