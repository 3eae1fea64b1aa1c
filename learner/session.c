// data path  [5] link, learner's side
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "latent.h"
#include "open_loop.h"

enum { IN_FLIGHT_MAX = 64, POLL_MS = 200, LONG_SEQUENCES = 64, STARVED_S = 5 };

// Requests of one kind, answered in order.
typedef struct queue {
    uint64_t id[IN_FLIGHT_MAX];
    bool uncounted;
    int head, n;
} queue;

struct hwm_session {
    hwm_agent* agent;
    const hwm_experiment* experiment;
    hwm_client* client;
    hwm_acting* acting;  // as workers have it: names the table's columns
    hwm_signature signature;
    hwm_versions* versions;
    hwm_batcher* batcher;
    queue model, starts, long_ones;
    hwm_sequences batch, start_rows, long_rows;
    float* phi;  // scratch
    hwm_session_counters counters;
    void (*idle)(void* context);
    void* idle_context;
};

static hwm_status fetch_version(void* context, uint64_t version, float* phi, hwm_error* err) {
    hwm_session* s = context;
    uint64_t got = 0;
    const hwm_status status =
        hwm_client_fetch(s->client, "controller", version, &s->agent->phi->list, s->phi, &got, err);
    // the rule's coefficients come first
    if (status == HWM_OK)
        memcpy(phi, s->phi, hwm_controller_params(s->agent->controller)->count * sizeof *phi);
    return status;
}

static int starts_per_sequence(const hwm_session* s) {
    return (int)s->experiment->imagination.starts_per_sequence;
}

// Rows that a sequence of starts has.
static int start_length(const hwm_session* s) {
    const int n = hwm_model_start_length(s->agent->model);
    return (n > 2 ? n : 2) + starts_per_sequence(s) - 1;
}

int64_t hwm_session_steps_per_update(const hwm_session* s) {
    const hwm_agent* a = s->agent;
    if (a->latent)
        return (int64_t)hwm_latent_sequences(a->latent) * hwm_latent_length(a->latent);
    if (!a->model)  // samples nothing: publishes and hands out tasks
        return 0;
    return (int64_t)s->batch.n * s->batch.length * s->experiment->train.model_updates +
           (int64_t)s->start_rows.n / starts_per_sequence(s) * start_length(s);
}

static hwm_status create_table(hwm_session* s, const char* text, hwm_error* err) {
    const hwm_experiment* e = s->experiment;
    const double repeat = s->agent->spec.action_repeat;
    const double per_update = (double)hwm_session_steps_per_update(s);
    const double rows_per_update = e->train.env_steps_per_update / repeat;
    const int64_t workers = e->run.workers > 0 ? e->run.workers : 1;
    hwm_table_config* table = calloc(1, sizeof *table);
    if (!table)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the table's description");
    memcpy(table->name, e->run.name, strnlen(e->run.name, sizeof table->name - 1));
    table->signature = s->signature;
    const bool rounds = e->run.schedule == HWM_SCHEDULE_ROUNDS;  // then the rounds are the throttle
    table->limiter.samples_per_insert =
        rows_per_update > 0 && !rounds ? per_update / rows_per_update : 0;
    table->limiter.min_size_steps = (int64_t)ceil((double)e->train.prefill_steps / repeat);
    table->limiter.burst_steps = workers * e->worker.environments * e->worker.chunk_steps +
                                 (int64_t)ceil(e->replay.slack_updates * rows_per_update);
    table->limiter.prefetch_steps =
        (int64_t)((double)(e->train.updates_in_flight + 1) * per_update +
                  e->replay.slack_updates * per_update);
    if (rounds) {  // chunks are committed in one order, whatever their arrival
        table->order_streams = (uint32_t)(workers * e->worker.environments);
        table->order_first_steps = (uint32_t)hwm_experiment_round_rows(e, 1);
        table->order_steps = (uint32_t)hwm_experiment_round_rows(e, 2);
    }
    table->capacity_steps = e->replay.capacity_steps;
    table->capacity_bytes = e->replay.capacity_bytes;
    table->max_times_sampled = (uint32_t)e->replay.max_times_sampled;
    table->experiment = text;
    table->seed = (uint64_t)e->run.seed;
    hwm_status status = hwm_client_table_create(s->client, table, err);
    free(table);
    return status;
}

// Batches, and what materialising their starts takes.
static hwm_status create_batches(hwm_session* s, hwm_error* err) {
    hwm_agent* agent = s->agent;
    const hwm_experiment* e = s->experiment;
    const hwm_env_spec* spec = &agent->spec;
    const int B = (int)e->imagination.batch, K = hwm_model_context(agent->model);
    hwm_status status = hwm_batcher_create(&s->batcher, agent->controller, &s->signature, spec,
                                           s->versions, B, err);
    if (status != HWM_OK)
        return status;
    status = hwm_sequences_alloc(&s->batch, hwm_model_batch_sequences(agent->model),
                                 hwm_model_batch_length(agent->model), K, spec->obs_dim,
                                 spec->action_dim);
    if (status == HWM_OK)
        status = hwm_sequences_alloc(&s->start_rows, B, hwm_model_start_length(agent->model), K,
                                     spec->obs_dim, spec->action_dim);
    // as many as the model's start can take, in whole groups of members
    const int members = (int)e->model.members;
    const int many = (B < LONG_SEQUENCES ? B : LONG_SEQUENCES) / members * members;
    if (status == HWM_OK)
        status =
            hwm_sequences_alloc(&s->long_rows, many > 0 ? many : members,
                                hwm_open_loop_length(agent), K, spec->obs_dim, spec->action_dim);
    return status == HWM_OK ? HWM_OK : hwm_fail(err, status, "no memory for batches");
}

hwm_status hwm_session_create(hwm_session** out, const char* endpoint, const char* key_dir,
                              bool insecure, hwm_agent* agent, const char* experiment_text,
                              hwm_error* err) {
    *out = NULL;
    hwm_session* s = calloc(1, sizeof *s);
    if (!s)
        return hwm_fail(err, HWM_ENOMEM, "no memory for the session");
    s->agent = agent;
    s->experiment = agent->experiment;
    const hwm_experiment* e = s->experiment;
    const hwm_env_spec* spec = &agent->spec;
    hwm_status status = hwm_acting_create(&s->acting, e, 0, err);
    if (status != HWM_OK)
        goto fail;
    hwm_acting_signature(s->acting, spec->variant_dim, &s->signature);
    hwm_signature_compress(&s->signature, (hwm_compress)e->replay.compress);
    s->phi = malloc((agent->phi->list.count + 1) * sizeof *s->phi);
    if (!s->phi) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory for parameters");
        goto fail;
    }
    if (agent->model) {
        status = hwm_versions_create(&s->versions, agent->controller,
                                     (size_t)e->train.versions_bytes, fetch_version, s);
        if (status == HWM_OK)
            status = create_batches(s, err);
    }
    if (status != HWM_OK)
        goto fail;
    hwm_client_config config = hwm_client_default_config();
    config.endpoint = endpoint;
    config.key_dir = key_dir;
    config.insecure = insecure;
    config.role = HWM_ROLE_LEARNER;
    config.table = e->run.name;
    config.subscribe = true;
    config.connect_timeout_ms = 20000;
    if ((status = hwm_client_create(&s->client, &config, err)) != HWM_OK)
        goto fail;
    if ((status = create_table(s, experiment_text, err)) != HWM_OK)
        goto fail;
    *out = s;
    return HWM_OK;
fail:
    hwm_session_destroy(&s);
    return status;
}

void hwm_session_destroy(hwm_session** session) {
    if (!session || !*session)
        return;
    hwm_session* s = *session;
    hwm_client_destroy(&s->client, 1000, NULL);
    hwm_batcher_destroy(&s->batcher);
    hwm_versions_destroy(&s->versions);
    hwm_acting_destroy(&s->acting);
    hwm_sequences_free(&s->batch);
    hwm_sequences_free(&s->start_rows);
    hwm_sequences_free(&s->long_rows);
    free(s->phi);
    free(s);
    *session = NULL;
}

void hwm_session_on_wait(hwm_session* session, void (*idle)(void* context), void* context) {
    session->idle = idle;
    session->idle_context = context;
}

hwm_client* hwm_session_client(hwm_session* session) {
    return session->client;
}

hwm_session_counters* hwm_session_counters_of(hwm_session* session) {
    return &session->counters;
}

static hwm_status publish(hwm_session* s, uint64_t version, hwm_error* err) {
    if (s->agent->latent)
        hwm_latent_export(s->agent->latent, s->agent->phi);
    nn_params_to_float(s->agent->phi, s->phi);
    // what an agent acts with is needed while it acts; a rule as long as its weights are stored,
    // and everything where workers may have to repeat a run
    const bool acting = s->agent->latent && s->experiment->run.schedule != HWM_SCHEDULE_ROUNDS;
    const hwm_block_tag tag = acting ? HWM_BLOCK_ACTING : HWM_BLOCK_RULE;
    hwm_status status;
    // a server that is away or stopped comes back; the same version again is no other version
    while ((status = hwm_client_publish(s->client, "controller", version, tag, &s->agent->phi->list,
                                        s->phi, err)) == HWM_ETIMEDOUT) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        if (s->idle)
            s->idle(s->idle_context);
    }
    if (status != HWM_OK)
        return status;
    s->counters.version = version;
    if (s->versions)
        hwm_versions_put(s->versions, version, s->phi);
    return HWM_OK;
}

hwm_status hwm_session_publish(hwm_session* s, hwm_error* err) {
    const uint64_t known = hwm_client_announced(s->client, "controller");
    return publish(s, (known > s->counters.version ? known : s->counters.version) + 1, err);
}

// ---- rounds

hwm_status hwm_session_publish_round(hwm_session* s, uint64_t version, hwm_error* err) {
    hwm_error why = {0};
    hwm_status status = publish(s, version, &why);
    if (status == HWM_EEXIST)
        return hwm_fail(err, status,
                        "version %llu on the server is not what this run computes: another "
                        "program, machine or experiment made it (%s)",
                        (unsigned long long)version, why.text);
    return status == HWM_OK ? status : hwm_fail(err, status, "%s", why.text);
}

// Rows in the table, as the server's statistics have them.
static int64_t rows_stored(hwm_session* s) {
    char* text = NULL;
    hwm_error ignored = {0};
    if (hwm_client_stats(s->client, &text, &ignored) != HWM_OK)
        return -1;
    hwm_json* stats = hwm_json_parse(text, strlen(text));
    free(text);
    int64_t rows = -1;
    const hwm_json* tables = hwm_json_at(stats, "replay.tables");
    for (size_t i = 0; i < hwm_json_size(tables, ""); i++) {
        const hwm_json* table = hwm_json_member(tables, i);
        if (strcmp(hwm_json_text(table, "name", ""), s->experiment->run.name) == 0)
            rows = hwm_json_whole(table, "inserted_steps", -1);
    }
    hwm_json_free(&stats);
    return rows;
}

hwm_status hwm_session_wait_rows(hwm_session* s, int64_t rows, hwm_error* err) {
    for (int64_t have; (have = rows_stored(s)) != rows;) {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        if (have > rows)
            return hwm_fail(err, HWM_EPROTO,
                            "the table holds %lld rows, this round ends at %lld: was it filled by "
                            "another run?",
                            (long long)have, (long long)rows);
        hwm_client_poll(s->client, 2, NULL);
        if (s->idle)
            s->idle(s->idle_context);
    }
    s->counters.inserted_steps = rows;
    return HWM_OK;
}

// ---- sampling

static hwm_status begin(hwm_session* s, queue* q, const hwm_sample_request* request,
                        hwm_error* err) {
    hwm_status status =
        hwm_client_sample_begin(s->client, request, &q->id[(q->head + q->n) % IN_FLIGHT_MAX], err);
    if (status == HWM_OK)
        q->n++;
    return status;
}

// Nothing comes although the table is filled: say what was asked for.
static void starving(hwm_session* s, const hwm_sample_request* request, double waited_s) {
    const int64_t rows = rows_stored(s);
    if ((double)rows * s->agent->spec.action_repeat < (double)s->experiment->train.prefill_steps)
        return;
    hwm_log(HWM_LOG_WARN, "learner", "no batch",
            "waited_s=%.0f sequences=%d rows=%d stored_rows=%lld%s", waited_s, request->batch,
            request->length, (long long)rows,
            request->cross_episodes || request->length <= 2
                ? ""
                : " reason=\"an episode of fewer rows is never sampled: model.cross_episodes, "
                  "model.sequence_steps, model.burn_in_steps and imagination.starts_per_sequence "
                  "say how many\"");
}

// Keep `depth` requests in flight, wait for the oldest.
static hwm_status next(hwm_session* s, queue* q, hwm_sample_request* request, int depth,
                       const hwm_batch** batch, hwm_error* err) {
    hwm_status status;
    if (depth > IN_FLIGHT_MAX)
        depth = IN_FLIGHT_MAX;
    // rounds: a request must see exactly the rows of its round, so nothing is fetched ahead
    if (s->experiment->run.schedule == HWM_SCHEDULE_ROUNDS)
        depth = 1;
    while (q->n < depth) {
        request->draw = s->counters.draws++;
        if ((status = begin(s, q, request, err)) != HWM_OK)
            return status;
    }
    const double began = hwm_clock_s();
    double said = began;
    do {
        if (hwm_signals_stop_requested())
            return hwm_fail(err, HWM_ECLOSED, "a stop was asked for");
        status = hwm_client_sample_wait(s->client, q->id[q->head], POLL_MS, batch, err);
        if (status == HWM_ETIMEDOUT && s->idle)
            s->idle(s->idle_context);
        if (status == HWM_ETIMEDOUT && hwm_clock_s() - said > STARVED_S) {
            said = hwm_clock_s();
            starving(s, request, said - began);
        }
    } while (status == HWM_ETIMEDOUT);
    s->counters.waited_s += hwm_clock_s() - began;
    if (status == HWM_OK)
        s->counters.inserted_steps = (*batch)->inserted_steps;
    return status;
}

static void done(hwm_session* s, queue* q) {
    hwm_client_sample_end(s->client, q->id[q->head]);
    q->head = (q->head + 1) % IN_FLIGHT_MAX;
    q->n--;
}

static hwm_sample_request common_request(const hwm_session* s) {
    return (hwm_sample_request){
        .context = s->agent->model ? hwm_model_context(s->agent->model) : 0,
        .context_window = (int)s->experiment->model.context_window_steps,
        .selector = (hwm_selector)s->experiment->replay.selector,
        .fraction_recent = s->experiment->replay.fraction_recent,
        .recent_steps = s->experiment->replay.recent_steps,
        .terminal_back_min = (int)s->experiment->replay.terminal_back_min,
        .terminal_back_max = (int)s->experiment->replay.terminal_back_max,
    };
}

static void drop(hwm_session* s, queue* q) {
    while (q->n > 0)
        done(s, q);
}

void hwm_session_flush(hwm_session* s) {
    drop(s, &s->model);
    drop(s, &s->starts);
}

hwm_status hwm_session_model_batch(hwm_session* s, bool uncounted, const hwm_sequences** batch,
                                   hwm_error* err) {
    if (s->model.uncounted != uncounted)
        drop(s, &s->model);
    s->model.uncounted = uncounted;
    hwm_sample_request request = common_request(s);
    request.batch = s->batch.n;
    request.length = s->batch.length;
    const int kind = s->experiment->model.kind;  // those that are trained on sequences
    request.cross_episodes =
        s->experiment->model.cross_episodes && (kind == HWM_MODEL_RSSM || kind == HWM_MODEL_GRU);
    request.fraction_terminal =
        s->experiment->model.terminals || s->experiment->model.continue_of[0]
            ? s->experiment->model.fraction_terminal
            : 0;
    request.uncounted = uncounted;
    request.columns = 1u << HWM_COLUMN_FLAGS | 1u << HWM_COLUMN_REWARD | 1u << HWM_COLUMN_OBS |
                      1u << HWM_COLUMN_ACTION;
    const hwm_batch* raw = NULL;
    const int depth = (int)(s->experiment->train.updates_in_flight *
                            (uncounted ? 1 : s->experiment->train.model_updates));
    hwm_status status = next(s, &s->model, &request, depth, &raw, err);
    if (status != HWM_OK)
        return status;
    status = hwm_batcher_sequences(s->batcher, raw, &s->batch, err);
    done(s, &s->model);
    *batch = &s->batch;
    return status;
}

hwm_status hwm_session_latent_batch(hwm_session* s, bool uncounted, hwm_error* err) {
    hwm_latent* latent = s->agent->latent;
    if (s->model.uncounted != uncounted)
        drop(s, &s->model);
    s->model.uncounted = uncounted;
    hwm_sample_request request = common_request(s);
    request.batch = hwm_latent_sequences(latent);
    request.length = hwm_latent_length(latent);
    request.cross_episodes = s->experiment->model.cross_episodes;
    request.fraction_terminal =
        s->experiment->model.terminals ? s->experiment->model.fraction_terminal : 0;
    // an agent that changes weights makes its controller in an episode's first steps, which long
    // episodes would hide
    if (s->experiment->agent.kind == HWM_AGENT_HWM)
        request.fraction_first = s->experiment->imagination.fraction_first;
    request.uncounted = uncounted;
    const hwm_batch* raw = NULL;
    hwm_status status =
        next(s, &s->model, &request, (int)s->experiment->train.updates_in_flight, &raw, err);
    if (status != HWM_OK)
        return status;
    status = hwm_latent_gather(latent, raw, err);
    done(s, &s->model);
    return status;
}

hwm_status hwm_session_starts(hwm_session* s, hwm_error* err) {
    hwm_sample_request request = common_request(s);
    request.batch = s->start_rows.n / starts_per_sequence(s);
    request.length = start_length(s);
    const hwm_imagination_config* im = &s->experiment->imagination;
    request.fraction_first = im->fraction_first;
    request.fraction_terminal = im->fraction_terminal;
    if (im->fraction_recent >= 0)
        request.fraction_recent = im->fraction_recent;
    request.materialise = hwm_controller_state_size(s->agent->controller) > 0;
    const hwm_batch* raw = NULL;
    hwm_status status =
        next(s, &s->starts, &request, (int)s->experiment->train.updates_in_flight, &raw, err);
    if (status != HWM_OK)
        return status;
    hwm_rng rng;
    hwm_rng_init(&rng, (uint64_t)s->experiment->run.seed, HWM_PURPOSE_IMAGINATION, 2,
                 (uint32_t)s->agent->behaviour_updates,
                 (uint32_t)(s->agent->behaviour_updates >> 32));
    hwm_starts* starts = hwm_imagination_starts(s->agent->imagination);
    status = hwm_batcher_starts(
        s->batcher, raw, starts_per_sequence(s), hwm_model_start_knows(s->agent->model),
        s->experiment->imagination.fraction_fresh, &rng, starts, &s->start_rows, err);
    done(s, &s->starts);
    s->counters.lost_sequences = hwm_batcher_lost(s->batcher);
    if (status == HWM_OK)
        hwm_model_start(s->agent->model, &s->start_rows, &rng, starts->z);
    if (status == HWM_OK && hwm_model_own_starts(s->agent->model))
        hwm_imagination_begin_episodes(s->agent->imagination);
    return status;
}

const hwm_sequences* hwm_session_start_rows(const hwm_session* s) {
    return &s->start_rows;
}

const hwm_sequences* hwm_session_long_sequences(hwm_session* s) {
    if (hwm_model_own_starts(s->agent->model))
        return NULL;  // it knows, and cannot be started elsewhere
    hwm_error err = {0};
    if (s->long_ones.n == 0) {
        hwm_sample_request request = common_request(s);
        request.batch = s->long_rows.n;
        request.length = s->long_rows.length;
        request.fraction_terminal = s->experiment->model.terminals ? 0.25 : 0;
        request.uncounted = true;
        request.draw =
            (uint64_t)1 << 62 | (uint64_t)s->agent->model_updates;  // a stream of its own
        if (begin(s, &s->long_ones, &request, &err) != HWM_OK)
            return NULL;
    }
    const hwm_batch* raw = NULL;
    hwm_status status =
        hwm_client_sample_wait(s->client, s->long_ones.id[s->long_ones.head], 0, &raw, &err);
    if (status == HWM_ETIMEDOUT)
        return NULL;
    if (status == HWM_OK)
        status = hwm_batcher_sequences(s->batcher, raw, &s->long_rows, &err);
    done(s, &s->long_ones);
    return status == HWM_OK ? &s->long_rows : NULL;
}
