// A worker without environments: appends numbered chunks at a pace through the real client, until
// SIGTERM, then waits for what is unacknowledged. Tests that kill it, stop it or cut it off read
// what it prints: five times a second, and once at the end,
//
//   appended acknowledged reborn longest_wait_ms
//
// usage: appender ENDPOINT KEY_DIR|- CHUNKS_PER_SECOND
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "net/client.h"

enum { STEPS = 8, OBS = 3, ACT = 4, CONNECT_MS = 60000, LINGER_S = 30, PRINT_MS = 200 };

typedef struct rows {
    uint8_t flags[STEPS];
    float reward[STEPS], obs[STEPS * OBS], action[STEPS], act[STEPS * ACT], w0[6];
} rows;

// As tests/e2e/rpc.py makes the table.
static hwm_signature signature_of(void) {
    hwm_signature s = {.n_columns = 5, .n_keys = 1};
    s.column[0] = hwm_spec("flags", HWM_U8, 0);
    s.column[1] = hwm_spec("reward", HWM_F32, 0);
    s.column[2] = hwm_spec("obs", HWM_F32, 1, OBS);
    s.column[3] = hwm_spec("action", HWM_F32, 1, 1);
    s.column[4] = hwm_spec("act", HWM_F32, 1, ACT);
    s.key[0] = hwm_spec("W0", HWM_F32, 2, 2, 3);
    return s;
}

// Chunk number k of the stream, an endless episode: the reward is the step.
static hwm_chunk chunk_of(rows* r, const hwm_hello* hello, uint64_t k) {
    memset(r, 0, sizeof *r);
    r->flags[0] = k == 0 ? HWM_FLAG_FIRST : 0;
    for (int t = 0; t < STEPS; t++) {
        r->reward[t] = (float)(k * STEPS + (uint64_t)t);
    }
    hwm_chunk c = {.stream = {hello->first_env, hello->incarnation},
                   .sequence = k + 1,
                   .first_step = k * STEPS,
                   .episode_step = (uint32_t)(k * STEPS),
                   .steps = STEPS};
    snprintf(c.param.set, sizeof c.param.set, "controller");
    c.param.version = 1;
    c.column[0] = r->flags;
    c.column[1] = r->reward;
    c.column[2] = r->obs;
    c.column[3] = r->action;
    c.column[4] = r->act;
    c.key[0] = r->w0;
    return c;
}

typedef struct tally {
    uint64_t appended, reborn;
    double longest_wait_s;
} tally;

static void say(const tally* t, const hwm_client* client) {
    printf("%llu %llu %llu %.0f\n", (unsigned long long)t->appended,
           (unsigned long long)hwm_client_acknowledged(client), (unsigned long long)t->reborn,
           1e3 * t->longest_wait_s);
    fflush(stdout);
}

static hwm_status run(hwm_client* client, double rate, tally* t, hwm_error* err) {
    const hwm_signature signature = signature_of();
    rows r;
    uint64_t k = 0;  // next chunk of the stream
    double start = hwm_clock_s(), printed = 0.0, advanced = start, end = 0.0;
    uint64_t before = 0, paced = 0;
    for (;;) {
        double now = hwm_clock_s();
        bool stopping = hwm_signals_stop_requested();
        if (stopping && end == 0.0) {
            end = now + LINGER_S;
        }
        if (stopping && (hwm_client_acknowledged(client) == t->appended || now > end)) {
            return HWM_OK;
        }
        if (!stopping && (double)paced < (now - start) * rate) {
            const hwm_chunk chunk = chunk_of(&r, hwm_client_hello(client), k);
            hwm_status s = hwm_client_append(client, &signature, &chunk, err);
            if (s == HWM_OK) {
                t->appended++;
                k++;
            } else if (s != HWM_EAGAIN) {
                return s;
            }
            paced++;
        }
        bool reborn = false;
        hwm_status s =
            hwm_client_poll(client, (double)paced < (now - start) * rate ? 0 : 5, &reborn);
        if (s != HWM_OK) {
            return hwm_fail(err, s, "refused");
        }
        if (reborn) {  // the old stream's chunks stay in the window, a new stream begins
            t->reborn++;
            k = 0;
        }
        now = hwm_clock_s();
        uint64_t done = hwm_client_acknowledged(client);
        if (done != before || done == t->appended) {
            advanced = now;
        }
        before = done;
        if (now - advanced > t->longest_wait_s) {
            t->longest_wait_s = now - advanced;
        }
        if (now - printed > PRINT_MS * 1e-3) {
            printed = now;
            say(t, client);
            t->longest_wait_s = 0.0;
        }
    }
}

int main(int argc, char** argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: appender ENDPOINT KEY_DIR|- CHUNKS_PER_SECOND\n");
        return 2;
    }
    hwm_log_setup("appender", HWM_LOG_WARN, HWM_LOG_TEXT);
    hwm_signals_install();
    hwm_client_config config = hwm_client_default_config();
    config.endpoint = argv[1];
    config.key_dir = strcmp(argv[2], "-") == 0 ? NULL : argv[2];
    config.role = HWM_ROLE_WORKER;
    config.environments = 1;
    config.connect_timeout_ms = CONNECT_MS;
    hwm_client* client = NULL;
    hwm_error err = {0};
    tally t = {0};
    hwm_status s = hwm_client_create(&client, &config, &err);
    if (s == HWM_OK) {
        s = run(client, atof(argv[3]), &t, &err);
        say(&t, client);
    }
    if (s != HWM_OK) {
        fprintf(stderr, "appender: %s\n", err.text);
    }
    hwm_client_destroy(&client, 0, NULL);
    return s == HWM_OK ? 0 : 1;
}
