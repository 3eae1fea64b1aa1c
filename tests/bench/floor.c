#include <stdbool.h>

#include "tests/bench/floor.h"

#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "base/clock.h"

enum { GROUP_BYTES = 4 << 20, SENDERS_MAX = 64 };
static const double WARM_S = 0.5;
static const size_t MAP_BYTES = (size_t)4 << 30;

static void must(bool ok, const char* what) {
    if (!ok) {
        fprintf(stderr, "bench_replay: %s failed\n", what);
        exit(1);
    }
}

double floor_lmdb(const char* dir, size_t bytes, size_t kept, bool sync, double seconds) {
    MDB_env* env;
    MDB_txn* txn;
    MDB_dbi dbi;
    uint8_t* value = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) {
        value[i] = (uint8_t)rand();
    }
    must(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, MAP_BYTES) == 0 &&
             mdb_env_open(env, dir, sync ? MDB_NOMETASYNC : MDB_NOSYNC, 0666) == 0,
         "opening LMDB");
    must(mdb_txn_begin(env, NULL, 0, &txn) == 0 &&
             mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi) == 0 && mdb_txn_commit(txn) == 0,
         "opening an LMDB database");
    size_t id = 0, before = 0;
    double start = hwm_clock_s(), now = start;
    while (id < kept || now - start < seconds) {
        must(mdb_txn_begin(env, NULL, 0, &txn) == 0, "beginning an LMDB transaction");
        for (size_t done = 0; done < GROUP_BYTES; done += bytes) {
            MDB_val key = {sizeof id, &id}, v = {bytes, value};
            must(mdb_put(txn, dbi, &key, &v, MDB_APPEND) == 0, "an LMDB put");
            if (++id > kept) {  // the replay evicts as well
                size_t old = id - kept - 1;
                key = (MDB_val){sizeof old, &old};
                must(mdb_del(txn, dbi, &key, NULL) == 0, "an LMDB delete");
            }
        }
        must(mdb_txn_commit(txn) == 0, "an LMDB commit");
        now = hwm_clock_s();
        if (id <= kept) {
            start = now;
            before = id;
        }
    }
    mdb_env_close(env);
    free(value);
    return (double)(id - before) / (now - start);
}

enum { KEY_TEXT = 41 };
typedef struct {
    char public_key[KEY_TEXT], secret_key[KEY_TEXT];
} key_pair;

static void lock_server(void* socket, const key_pair* server) {
    int yes = 1;
    must(zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes) == 0 &&
             zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, server->secret_key, KEY_TEXT) == 0,
         "setting the server's key");
}

static void lock_client(void* socket, const key_pair* server) {
    key_pair own;
    must(zmq_curve_keypair(own.public_key, own.secret_key) == 0 &&
             zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server->public_key, KEY_TEXT) == 0 &&
             zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own.public_key, KEY_TEXT) == 0 &&
             zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, own.secret_key, KEY_TEXT) == 0,
         "setting a client's keys");
}

// server: its keys, or NULL without encryption
static void send_for_ever(const char* endpoint, const key_pair* server, size_t bytes) {
    void* context = zmq_ctx_new();
    void* socket = zmq_socket(context, ZMQ_DEALER);
    int hwm = bytes > 1 << 16 ? 64 : 1000;
    zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof hwm);
    if (server != NULL) {
        lock_client(socket, server);
    }
    uint8_t* data = malloc(bytes);
    memset(data, 7, bytes);
    must(zmq_connect(socket, endpoint) == 0, "connecting");
    while (true) {
        zmq_msg_t message;
        zmq_msg_init_size(&message, bytes);
        memcpy(zmq_msg_data(&message), data, bytes);
        if (zmq_msg_send(&message, socket, 0) < 0) {
            zmq_msg_close(&message);
        }
    }
}

// Reads the name of the sender; false: heard before.
static bool is_new(const zmq_msg_t* message, uint32_t heard[SENDERS_MAX], int n) {
    uint32_t name;  // libzmq's own: a zero byte and four more
    memcpy(&name, (const uint8_t*)zmq_msg_data((zmq_msg_t*)(uintptr_t)message) + 1, sizeof name);
    for (int i = 0; i < n; i++) {
        if (heard[i] == name) {
            return false;
        }
    }
    heard[n] = name;
    return true;
}

double floor_zmq(size_t bytes, int senders, bool curve, double seconds) {
    char endpoint[64];
    size_t size = sizeof endpoint;
    pid_t pid[SENDERS_MAX];
    uint32_t heard[SENDERS_MAX];
    must(senders <= SENDERS_MAX, "counting senders");
    void* context = zmq_ctx_new();
    void* socket = zmq_socket(context, ZMQ_ROUTER);
    int hwm = bytes > 1 << 16 ? 64 : 1000, timeout = 5000;
    zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof hwm);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    key_pair server;
    if (curve) {
        must(zmq_curve_keypair(server.public_key, server.secret_key) == 0, "making keys");
        lock_server(socket, &server);
    }
    must(zmq_bind(socket, "tcp://127.0.0.1:*") == 0 &&
             zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0,
         "binding");
    for (int i = 0; i < senders; i++) {
        pid[i] = fork();
        must(pid[i] >= 0, "fork");
        if (pid[i] == 0) {
            send_for_ever(endpoint, curve ? &server : NULL, bytes);
        }
    }
    double start = 0, now = 0;
    size_t n = 0;
    int known = 0;
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (start == 0 || now - start < seconds) {
        must(zmq_msg_recv(&message, socket, 0) >= 0, "receiving");
        known += known < senders && is_new(&message, heard, known);
        must(zmq_msg_recv(&message, socket, 0) == (int)bytes, "receiving");
        now = hwm_clock_s();
        n++;
        if (known == senders && start == 0) {
            start = now + WARM_S;
        }
        if (start == 0 || now < start) {
            n = 0;
        }
    }
    zmq_msg_close(&message);
    for (int i = 0; i < senders; i++) {
        kill(pid[i], 9);
        waitpid(pid[i], NULL, 0);
    }
    int linger = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_close(socket);
    zmq_ctx_term(context);
    return (double)n / seconds;
}
