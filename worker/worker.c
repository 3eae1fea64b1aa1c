// data path  [1] env .. [5] link
//
// The rollout worker: connect, roll out, send, fetch, evaluate, until told to stop.
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/signals.h"
#include "experiment/acting.h"
#include "worker/chunker.h"
#include "worker/feed.h"
#include "worker/tasks.h"

enum { EXIT_STOPPED = 0, EXIT_SERVER = 1, EXIT_CONFIG = 2 };
enum {
    CONNECT_TRY_MS = 2000,
    LINGER_MS = 5000,
    QUIET_MS = 500,
    TASK_POLL_MS = 300,
    INDIVIDUAL_POLL_MS = 1,
    LINK_POLL_MS = 2,
    FETCH_MS = 1000
};

// One assignment of the server: an index range of one experiment. A new hello begins a new one.
typedef struct assignment {
    hwm_experiment* experiment;
    hwm_acting* acting;
    hwm_feed* feed;
    hwm_tasks* tasks;
    hwm_rollout* rollout;
    hwm_chunker* chunker;
    bool per_episode;  // newer parameters act from an episode's start on, not from a chunk's
    uint32_t first_env;
    int64_t round_rows;  // rows of every environment since the acting version took over
    int64_t task_steps;  // environment steps of tasks that the metrics know
} assignment;

typedef struct worker {
    const hwm_worker_options* options;
    hwm_client* client;
    int environments;
    assignment now;
    int64_t polled_ns, task_polled_ns, connected_ns, fetched_ns;
    int64_t due_ns;     // of the next row, where the pace is limited
    uint64_t appended;  // chunks handed to this client
    double blocked_s;
    bool away;  // the server is, and we said so
    hwm_metric *steps, *episodes, *chunks, *blocked, *version, *backlog;
} worker;

static void release(assignment* a) {
    hwm_tasks_destroy(&a->tasks);
    hwm_chunker_destroy(&a->chunker);
    hwm_rollout_destroy(&a->rollout);
    hwm_feed_destroy(&a->feed);
    hwm_acting_destroy(&a->acting);
    hwm_experiment_destroy(&a->experiment);
}

// ---- connect

// One connection that asks for so many environments. Tries until it succeeds, is refused, or a
// signal asks to stop.
static hwm_status connect_to(worker* w, int environments, hwm_error* err) {
    hwm_client_config config = hwm_client_default_config();
    config.endpoint = w->options->server;
    config.key_dir = w->options->key_dir;
    config.insecure = w->options->insecure;
    config.role = HWM_ROLE_WORKER;
    config.table = w->options->table;
    config.environments = environments;
    config.subscribe = environments > 0;
    config.backlog_bytes = w->options->backlog_bytes;
    config.connect_timeout_ms = CONNECT_TRY_MS;
    const double started = hwm_clock_s();
    hwm_status last = HWM_OK;
    while (!hwm_signals_stop_requested()) {
        hwm_status s = hwm_client_create(&w->client, &config, err);
        if (s == HWM_OK) {
            return s;
        }
        if (s != HWM_ETIMEDOUT && s != HWM_EAGAIN) {
            return s;
        }
        if (s != last) {
            hwm_log(HWM_LOG_INFO, "worker",
                    s == HWM_EAGAIN ? "waiting for an experiment" : "waiting for the server",
                    "server=%s", w->options->server);
            last = s;
        }
        if (w->options->give_up_s > 0 && hwm_clock_s() - started > w->options->give_up_s) {
            return s;
        }
        hwm_sleep_ms(s == HWM_EAGAIN ? 50 : 200);
    }
    return hwm_fail(err, HWM_ECLOSED, "asked to stop");
}

// How many environments: the command line, or what the experiment says, for which a first hello
// asks for none.
static hwm_status count_environments(worker* w, hwm_error* err) {
    w->environments = w->options->environments;
    if (w->environments > 0) {
        return HWM_OK;
    }
    hwm_experiment* experiment = NULL;
    hwm_status s = connect_to(w, 0, err);
    if (s) {
        return s;
    }
    s = hwm_experiment_load(&experiment, NULL, hwm_client_hello(w->client)->experiment, NULL, 0,
                            err);
    if (s == HWM_OK) {
        w->environments = (int)experiment->worker.environments;
    }
    hwm_experiment_destroy(&experiment);
    hwm_client_destroy(&w->client, 0, NULL);
    return s;
}

static bool in_rounds(const worker* w) {
    return w->now.experiment->run.schedule == HWM_SCHEDULE_ROUNDS;
}

// Everything that follows from a hello.
static hwm_status begin(worker* w, hwm_error* err) {
    const hwm_hello* hello = hwm_client_hello(w->client);
    assignment* a = &w->now;
    release(a);
    a->round_rows = a->task_steps = 0;
    hwm_status s = hwm_experiment_load(&a->experiment, NULL, hello->experiment, NULL, 0, err);
    s = s ? s : hwm_acting_create(&a->acting, a->experiment, w->environments, err);
    if (s) {
        return s;
    }
    const hwm_controller* controller = hwm_acting_controller(a->acting);
    const hwm_param_list* list = hwm_acting_params(a->acting);
    a->per_episode = a->experiment->worker.apply == HWM_APPLY_EPISODE;
    s = hwm_feed_create(&a->feed, controller, list, a->per_episode ? w->environments : 0, err);
    s = s ? s : hwm_tasks_create(&a->tasks, a->experiment, list, err);
    if (s) {
        return s;
    }
    if (in_rounds(w)) {
        hwm_feed_in_order(a->feed);
    }
    const hwm_worker_config* config = &a->experiment->worker;
    hwm_rollout_config rollout = hwm_rollout_default_config();
    rollout.explore = HWM_EXPLORE_NOISE;
    rollout.std = config->explore_std;
    rollout.eps = config->explore_eps;
    rollout.burn_in_steps = config->burn_in_steps;
    rollout.threads = w->options->threads > 0 ? w->options->threads : (int)config->threads;
    // another incarnation of the same indices plays other episodes
    uint64_t seed = hello->seed + 0x9e3779b97f4a7c15u * hello->incarnation;
    s = hwm_rollout_create(&a->rollout, &a->experiment->env, controller, &rollout, seed,
                           hello->first_env, w->environments, err);
    if (s) {
        return s;
    }
    hwm_acting_attach(a->acting, a->rollout);
    hwm_signature signature;
    hwm_acting_signature(a->acting, a->rollout->spec->variant_dim, &signature);
    hwm_signature_compress(&signature, (hwm_compress)a->experiment->replay.compress);
    s = hwm_chunker_create(&a->chunker, &signature, controller, w->environments, hello->first_env,
                           hello->incarnation, (int)config->chunk_steps, err);
    a->first_env = hello->first_env;
    if (s == HWM_OK) {
        hwm_log(HWM_LOG_INFO, "worker", "assigned",
                "table=%s rank=%u environments=%u..%u incarnation=%u", hello->table, hello->rank,
                hello->first_env, hello->first_env + (uint32_t)w->environments - 1,
                hello->incarnation);
    }
    return s;
}

// ---- the link, seen from the loop

// Handle the link at most every LINK_POLL_MS, or wait for it. HWM_EAGAIN: a new hello, begin again.
static hwm_status poll_link(worker* w, int wait_ms, hwm_error* err) {
    int64_t now = hwm_clock_ns();
    if (wait_ms == 0 && now - w->polled_ns < LINK_POLL_MS * 1000000LL) {
        return HWM_OK;
    }
    w->polled_ns = now;
    bool reborn = false;
    hwm_status s = hwm_client_poll(w->client, wait_ms, &reborn);
    if (s == HWM_EDENIED || s == HWM_EVERSION) {
        return hwm_fail(err, s, "the server refuses this worker: %s", hwm_status_text(s));
    }
    bool connected = hwm_client_connected(w->client);
    if (connected) {
        w->connected_ns = now;
    }
    if (connected == w->away) {
        w->away = !connected;
        hwm_log(connected ? HWM_LOG_INFO : HWM_LOG_WARN, "worker",
                connected ? "the server is back" : "the server is away: keeping what is produced",
                "backlog_bytes=%zu", hwm_client_backlog_bytes(w->client));
    }
    if (w->away && w->options->give_up_s > 0 &&
        (double)(now - w->connected_ns) * 1e-9 > w->options->give_up_s) {
        return hwm_fail(err, HWM_ETIMEDOUT, "no server for %.0f s", w->options->give_up_s);
    }
    return reborn ? HWM_EAGAIN : HWM_OK;
}

static void fetch_parameters(worker* w) {
    hwm_error err = {HWM_OK, ""};
    w->fetched_ns = hwm_clock_ns();
    hwm_status s = hwm_feed_update(w->now.feed, w->client, &err);
    if (s && s != HWM_ETIMEDOUT) {
        hwm_log(HWM_LOG_WARN, "feed", "parameters not fetched", "status=%s reason=\"%s\"",
                hwm_status_name(s), err.text);
    }
}

// Does this worker evaluate individuals, and nothing else?
static bool evolves(const worker* w) {
    return w->now.experiment->agent.kind == HWM_AGENT_ES;
}

// What goes on whether we step or wait: tasks, and figures for the server's statistics.
static void attend(worker* w) {
    const assignment* a = &w->now;
    const int64_t poll_ms = evolves(w) ? INDIVIDUAL_POLL_MS : TASK_POLL_MS;
    int64_t now = hwm_clock_ns();
    if (w->away || now - w->task_polled_ns < poll_ms * 1000000LL) {
        return;
    }
    w->task_polled_ns = now;
    hwm_tasks_poll(a->tasks, w->client);
    const int64_t steps = hwm_tasks_env_steps(a->tasks);
    hwm_metric_add(w->steps, (double)(steps - a->task_steps));
    w->now.task_steps = steps;
    hwm_client_progress(w->client, (uint64_t)(a->rollout->env_steps + steps),
                        evolves(w) ? hwm_tasks_version(a->tasks) : hwm_feed_version(a->feed),
                        w->blocked_s);
    hwm_metric_set(w->backlog, (double)hwm_client_backlog_bytes(w->client));
}

// May another chunk go out? Experience that waits is experience made with old parameters.
static bool window_open(const worker* w) {
    uint64_t window = (uint64_t)w->now.experiment->worker.window_chunks * (uint64_t)w->environments;
    return w->appended - hwm_client_acknowledged(w->client) < window;
}

// schedule: rounds. A worker that begins again repeats the rounds that are over: what they gave is
// stored, and is not sent again.
static bool repeats(const worker* w) {
    return in_rounds(w) &&
           hwm_feed_version(w->now.feed) < hwm_client_announced(w->client, HWM_CONTROLLER_SET);
}

// Hand the chunk of environment i to the client.
static hwm_status append(worker* w, int i, const hwm_chunk* chunk, hwm_error* err) {
    hwm_status s = hwm_client_append(w->client, hwm_chunker_signature(w->now.chunker), chunk, err);
    if (s == HWM_OK) {
        w->appended++;
        hwm_metric_add(w->chunks, 1);
        hwm_chunker_release(w->now.chunker, i);
    }
    return s;
}

// Queue the chunk of environment i. Waits while the window or the backlog is full: a worker never
// drops, it stops stepping.
static hwm_status send_chunk(worker* w, int i, hwm_error* err) {
    hwm_chunk chunk;
    if (!hwm_chunker_peek(w->now.chunker, i, &chunk)) {
        return HWM_OK;
    }
    if (repeats(w)) {
        hwm_chunker_release(w->now.chunker, i);
        return HWM_OK;
    }
    int64_t started = 0;
    hwm_status s = HWM_EAGAIN;
    while (s == HWM_EAGAIN) {
        // a round's chunks are acknowledged in one order, those of other workers among them
        if (in_rounds(w) || window_open(w)) {
            s = append(w, i, &chunk, err);
            if (s != HWM_EAGAIN) {
                break;
            }
        }
        started = started ? started : hwm_clock_ns();
        if (hwm_signals_stop_requested()) {
            return hwm_fail(err, HWM_ECLOSED, "asked to stop while waiting for the server");
        }
        s = poll_link(w, 20, err);
        if (s) {
            return s;
        }
        attend(w);
        fetch_parameters(w);
        s = HWM_EAGAIN;
    }
    if (started) {
        double waited = (double)(hwm_clock_ns() - started) * 1e-9;
        w->blocked_s += waited;
        hwm_metric_add(w->blocked, waited);
    }
    return s;
}

// Wait for acknowledgements as long as they keep coming.
static void linger(worker* w) {
    hwm_error err;
    const double started = hwm_clock_s();
    double heard = started;
    uint64_t before = hwm_client_acknowledged(w->client);
    while (hwm_client_backlog_bytes(w->client) > 0 && hwm_clock_s() - started < LINGER_MS * 1e-3 &&
           hwm_clock_s() - heard < QUIET_MS * 1e-3) {
        if (poll_link(w, 20, &err) != HWM_OK) {
            break;
        }
        uint64_t now = hwm_client_acknowledged(w->client);
        heard = now != before ? hwm_clock_s() : heard;
        before = now;
    }
}

// On the way out: what is unfinished goes to the link as it is, window or not.
static void send_rest(worker* w) {
    hwm_error err;
    for (int i = 0; i < w->environments; i++) {
        hwm_chunk chunk;
        if (hwm_chunker_peek(w->now.chunker, i, &chunk)) {
            append(w, i, &chunk, &err);
        }
    }
}

// ---- rolling out

// Exploration of the version that acts: version 1 is untrained, and what it meets is the prefill.
static void set_exploration(worker* w) {
    const hwm_worker_config* config = &w->now.experiment->worker;
    hwm_rollout_config* r = &w->now.rollout->config;
    bool prefill = hwm_feed_version(w->now.feed) <= 1;
    bool noise = prefill && config->prefill == HWM_PREFILL_NOISE;
    r->std = noise ? config->prefill_noise_std : config->explore_std;
    r->correlation = noise ? config->explore_correlation : 0;
    r->naive = prefill && config->prefill == HWM_PREFILL_NAIVE;
}

static void report_episode(worker* w, int i) {
    const hwm_rollout* r = w->now.rollout;
    float variant[64];
    if (r->spec->variant_dim > 0) {
        hwm_envs_variant(r->envs, i, variant);
    }
    hwm_client_episode(w->client, r->first_env + (uint32_t)i, r->episode[i], r->episode_return[i],
                       r->step[i], variant, r->spec->variant_dim,
                       hwm_feed_ref(w->now.feed, r->held_coef[i]).version);
    hwm_metric_add(w->episodes, 1);
}

// One row of every environment: think, record, send what is complete, step.
static hwm_status roll(worker* w, hwm_error* err) {
    assignment* a = &w->now;
    hwm_rollout* r = a->rollout;
    const int64_t flush_ns = a->experiment->worker.flush_ms * 1000000;
    hwm_rollout_think(r, hwm_feed_coef(a->feed), hwm_feed_delta_scale(a->feed));
    int64_t now = flush_ns ? hwm_clock_ns() : 0;
    for (int i = 0; i < r->E; i++) {
        const hwm_param_ref ref = hwm_feed_ref(a->feed, r->held_coef[i]);
        bool complete = hwm_chunker_record(a->chunker, r, i, &ref);
        if (r->flags[i] & HWM_FLAG_LAST && !repeats(w)) {
            report_episode(w, i);
        }
        if (complete || (flush_ns && now - hwm_chunker_since_ns(a->chunker, i) > flush_ns)) {
            hwm_status s = send_chunk(w, i, err);
            if (s) {
                return s;
            }
        }
    }
    int64_t before = r->env_steps;
    hwm_rollout_step(r, hwm_feed_coef(a->feed));
    hwm_metric_add(w->steps, (double)(r->env_steps - before));
    return HWM_OK;
}

// worker.apply = episode: episodes under way keep the parameters they began with.
static bool apply_behind_episodes(assignment* a) {
    hwm_rollout* r = a->rollout;
    for (int k = hwm_feed_kept(a->feed) - 1; k >= 0; k--) {
        if (!hwm_rollout_follows(r, hwm_feed_kept_coef(a->feed, k))) {
            hwm_feed_release(a->feed, k);
        }
    }
    const hwm_real *coef = hwm_feed_coef(a->feed), *delta = hwm_feed_delta_scale(a->feed);
    if (r->n_held == r->E) {  // nobody follows what acts
        return hwm_feed_apply(a->feed, false);
    }
    if (!hwm_feed_apply(a->feed, true)) {
        return false;
    }
    hwm_rollout_hold(r, coef, delta);
    return true;
}

// At a boundary: newer parameters act from here on.
static void apply_parameters(worker* w) {
    assignment* a = &w->now;
    bool first = hwm_feed_version(a->feed) == 0;
    if (!hwm_feed_waits(a->feed) ||
        !(a->per_episode && !first ? apply_behind_episodes(a) : hwm_feed_apply(a->feed, false))) {
        return;
    }
    a->round_rows = 0;
    hwm_acting_load(a->acting, hwm_feed_phi(a->feed));
    hwm_metric_set(w->version, (double)hwm_feed_version(a->feed));
    set_exploration(w);
    for (int i = 0; first && i < w->environments; i++) {
        hwm_rollout_begin(a->rollout, hwm_feed_coef(a->feed), i, 0);
    }
}

// schedule: rounds. A round is so many rows of every environment with one version; its end falls on
// the end of a chunk, and the next one waits for the next version.
static bool round_over(const worker* w) {
    const hwm_experiment* e = w->now.experiment;
    return in_rounds(w) && hwm_feed_version(w->now.feed) > 0 &&
           w->now.round_rows >= hwm_experiment_round_rows(e, hwm_feed_version(w->now.feed));
}

// Time until the next row may begin, in ns; 0: now. A worker that fell behind by more than a second
// does not make up for it.
static int64_t pace_wait(worker* w) {
    if (w->options->pace_hz <= 0) {
        return 0;
    }
    const int64_t now = hwm_clock_ns();
    if (now < w->due_ns) {
        return w->due_ns - now;
    }
    const bool late = now - w->due_ns > 1000000000;
    w->due_ns = (late ? now : w->due_ns) + (int64_t)(1e9 / w->options->pace_hz);
    return 0;
}

// In ms, rounded up and at most 20, so that signals and tasks are seen.
static int wait_ms(int64_t ns) {
    return ns > 20000000 ? 20 : (int)((ns + 999999) / 1000000);
}

// Until a signal, a new hello (HWM_EAGAIN) or an error.
static hwm_status run_assignment(worker* w, hwm_error* err) {
    for (;;) {
        if (hwm_signals_stop_requested()) {
            return HWM_OK;
        }
        bool idle = hwm_feed_version(w->now.feed) == 0 || round_over(w);
        int64_t early_ns = idle ? 0 : pace_wait(w);
        hwm_status s = poll_link(w,
                                 evolves(w) ? INDIVIDUAL_POLL_MS
                                 : idle     ? 20
                                            : wait_ms(early_ns),
                                 err);
        if (s) {
            return s;
        }
        attend(w);
        if (evolves(w)) {
            continue;
        }
        // a worker that repeats a round may know later versions already
        if (in_rounds(w) ? idle : w->now.per_episode || hwm_chunker_empty(w->now.chunker)) {
            fetch_parameters(w);
            apply_parameters(w);
        } else if (!in_rounds(w) && hwm_clock_ns() - w->fetched_ns > FETCH_MS * 1000000LL) {
            fetch_parameters(w);  // a slow one has them by the time that they may act
        }
        if (early_ns == 0 && hwm_feed_version(w->now.feed) > 0 && !round_over(w)) {
            w->now.round_rows++;
            s = roll(w, err);
            if (s) {
                return s;
            }
        }
    }
}

static void register_metrics(worker* w) {
    w->steps = hwm_counter("hwm_worker_env_steps_total", NULL, "Simulator steps, repeats counted.");
    w->episodes = hwm_counter("hwm_worker_episodes_total", NULL, "Episodes finished.");
    w->chunks = hwm_counter("hwm_worker_chunks_total", NULL, "Chunks handed to the link.");
    w->blocked = hwm_counter("hwm_worker_blocked_seconds_total", NULL,
                             "Time spent waiting because the backlog was full.");
    w->version = hwm_gauge("hwm_worker_param_version_number", NULL, "Parameter version that acts.");
    w->backlog = hwm_gauge("hwm_worker_backlog_size_bytes", NULL, "Chunks not yet acknowledged.");
}

static int exit_status(hwm_status s, const hwm_error* err) {
    if (s == HWM_OK || s == HWM_ECLOSED) {
        return EXIT_STOPPED;
    }
    hwm_log(HWM_LOG_ERROR, "worker", "cannot go on", "status=%s reason=\"%s\"", hwm_status_name(s),
            err->text);
    bool server = s == HWM_ETIMEDOUT || s == HWM_EAGAIN || s == HWM_EDENIED || s == HWM_EVERSION ||
                  s == HWM_EPROTO || s == HWM_EIO;
    return server ? EXIT_SERVER : EXIT_CONFIG;
}

int hwm_worker_run(const hwm_worker_options* options) {
    worker w = {.options = options};
    hwm_error err = {HWM_OK, ""};
    register_metrics(&w);
    hwm_status s = count_environments(&w, &err);
    s = s ? s : connect_to(&w, w.environments, &err);
    w.connected_ns = hwm_clock_ns();
    while (s == HWM_OK) {
        s = begin(&w, &err);
        s = s ? s : run_assignment(&w, &err);
        if (s == HWM_OK) {
            break;  // asked to stop
        }
        // a new hello: the open rows still belong to the old streams
        if (s == HWM_EAGAIN) {
            hwm_log(HWM_LOG_WARN, "worker", "the server had given us up: beginning anew",
                    "env_steps=%lld", (long long)w.now.rollout->env_steps);
            send_rest(&w);
            s = HWM_OK;
        }
    }
    if (w.client && w.now.chunker && (s == HWM_OK || s == HWM_ECLOSED)) {
        send_rest(&w);
        linger(&w);
    }
    uint64_t lost = 0;
    if (w.client) {
        hwm_client_destroy(&w.client, 0, &lost);
    }
    if (lost > 0) {
        hwm_log(HWM_LOG_WARN, "worker", "chunks given up", "unacknowledged=%llu",
                (unsigned long long)lost);
    }
    release(&w.now);
    return exit_status(s, &err);
}
