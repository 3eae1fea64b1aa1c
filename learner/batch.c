// data path  [8] learner: batch
#include "batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct hwm_batcher {
    const hwm_controller* controller;
    const hwm_signature* signature;
    const hwm_env_spec* spec;
    hwm_versions* versions;
    int max, O, A, S, NA;
    uint32_t* target;      // (max) row whose state is wanted
    uint64_t* version;     // (max) that acted from the key frame to it
    uint32_t *at, *until;  // (max) rows being replayed
    int* order;            // (max) sequences by version
    float* states;         // (max, S)
    uint8_t* lost;         // (max) 1: its version cannot be had
    int64_t lost_total;
    hwm_real *state, *act, *u, *active;  // lanes of a group
};

hwm_status hwm_sequences_alloc(hwm_sequences* s, int n, int length, int context, int obs,
                               int action) {
    const size_t rows = (size_t)n * (size_t)length, R = sizeof(hwm_real);
    *s = (hwm_sequences){.n = n, .length = length, .context = context};
    s->obs = calloc(rows * (size_t)obs, R);
    s->action = calloc(rows * (size_t)action, R);
    s->reward = calloc(rows, R);
    s->first = calloc(rows, R);
    s->terminal = calloc(rows, R);
    s->valid = calloc(rows, R);
    s->hindsight = calloc((size_t)n * (size_t)context * (size_t)(2 * obs + action) + 1, R);
    s->stream = calloc((size_t)n, sizeof *s->stream);
    s->step = calloc((size_t)n, sizeof *s->step);
    if (s->obs && s->action && s->reward && s->first && s->terminal && s->valid && s->hindsight &&
        s->stream && s->step)
        return HWM_OK;
    hwm_sequences_free(s);
    return HWM_ENOMEM;
}

void hwm_sequences_free(hwm_sequences* s) {
    free(s->obs);
    free(s->action);
    free(s->reward);
    free(s->first);
    free(s->terminal);
    free(s->valid);
    free(s->hindsight);
    free(s->stream);
    free(s->step);
    *s = (hwm_sequences){0};
}

hwm_status hwm_batcher_create(hwm_batcher** out, const hwm_controller* controller,
                              const hwm_signature* signature, const hwm_env_spec* spec,
                              hwm_versions* versions, int sequences_max, hwm_error* err) {
    *out = NULL;
    hwm_batcher* b = calloc(1, sizeof *b);
    if (!b)
        return hwm_fail(err, HWM_ENOMEM, "no memory for batches");
    b->controller = controller;
    b->signature = signature;
    b->spec = spec;
    b->versions = versions;
    b->max = sequences_max;
    b->O = spec->obs_dim;
    b->A = spec->action_dim;
    b->S = hwm_controller_state_size(controller);
    b->NA = hwm_controller_activations(controller);
    const size_t n = (size_t)sequences_max, R = sizeof(hwm_real);
    b->target = calloc(n, sizeof *b->target);
    b->at = calloc(n, sizeof *b->at);
    b->until = calloc(n, sizeof *b->until);
    b->version = calloc(n, sizeof *b->version);
    b->order = calloc(n, sizeof *b->order);
    b->states = calloc(n * (size_t)b->S + 1, sizeof *b->states);
    b->lost = calloc(n, 1);
    b->state = aligned_alloc(64, hwm_lanes_size(sequences_max, b->S + 1) * R);
    b->act = aligned_alloc(64, hwm_lanes_size(sequences_max, b->NA) * R);
    b->u = aligned_alloc(64, hwm_lanes_size(sequences_max, b->A) * R);
    b->active = aligned_alloc(64, hwm_lanes_size(sequences_max, 1) * R);
    if (!b->target || !b->at || !b->until || !b->version || !b->order || !b->states || !b->lost ||
        !b->state || !b->act || !b->u || !b->active) {
        hwm_batcher_destroy(&b);
        return hwm_fail(err, HWM_ENOMEM, "no memory for batches");
    }
    *out = b;
    return HWM_OK;
}

void hwm_batcher_destroy(hwm_batcher** batcher) {
    if (!batcher || !*batcher)
        return;
    hwm_batcher* b = *batcher;
    free(b->target);
    free(b->at);
    free(b->until);
    free(b->version);
    free(b->order);
    free(b->states);
    free(b->lost);
    free(b->state);
    free(b->act);
    free(b->u);
    free(b->active);
    free(b);
    *batcher = NULL;
}

static const float* obs_row(const hwm_batcher* b, const hwm_batch* batch, uint32_t row) {
    return (const float*)batch->column[HWM_COLUMN_OBS] + (size_t)row * (size_t)b->O;
}

static const float* action_row(const hwm_batcher* b, const hwm_batch* batch, uint32_t row) {
    return (const float*)batch->column[HWM_COLUMN_ACTION] + (size_t)row * (size_t)b->A;
}

static uint8_t flags_of(const hwm_batch* batch, uint32_t row) {
    return ((const uint8_t*)batch->column[HWM_COLUMN_FLAGS])[row];
}

static float reward_of(const hwm_batch* batch, uint32_t row) {
    return ((const float*)batch->column[HWM_COLUMN_REWARD])[row];
}

// Row r of the batch into row `to` of the arrays; false where a number is not finite.
static bool put_row(const hwm_batcher* b, const hwm_batch* batch, uint32_t r, hwm_sequences* out,
                    size_t to) {
    const float *o = obs_row(b, batch, r), *u = action_row(b, batch, r);
    const uint8_t flags = flags_of(batch, r);
    const float reward = reward_of(batch, r);
    bool finite = isfinite(reward);
    for (int j = 0; j < b->O; j++) {
        finite = finite && isfinite(o[j]);
        out->obs[to * (size_t)b->O + (size_t)j] = (hwm_real)(o[j] / b->spec->obs_scale[j]);
    }
    for (int j = 0; j < b->A; j++) {
        finite = finite && isfinite(u[j]);
        out->action[to * (size_t)b->A + (size_t)j] = (hwm_real)u[j];
    }
    out->reward[to] = (hwm_real)reward / (hwm_real)b->spec->action_repeat;
    out->first[to] = flags & HWM_FLAG_FIRST ? 1 : 0;
    out->terminal[to] = flags & HWM_FLAG_TERMINAL ? 1 : 0;
    out->valid[to] = 1;
    return finite;
}

// Where row 0 of sequence i of the arrays lies: `ahead` rows behind the first row of the batch's
// sequence k.
static void put_place(const hwm_batch* batch, int k, int64_t ahead, hwm_sequences* out, int i) {
    out->stream[i] = (uint64_t)batch->stream[k].env << 32 | batch->stream[k].incarnation;
    out->step[i] = batch->step[k] + (uint64_t)ahead;
}

// Transitions of hindsight: pairs of rows (j, j + 1) of the same episode.
static bool put_hindsight(const hwm_batcher* b, const hwm_batch* batch, uint32_t from,
                          hwm_sequences* out, int i) {
    const int O = b->O, A = b->A, width = 2 * O + A;
    bool finite = true;
    for (int k = 0; k < out->context; k++) {
        const uint32_t r = from + 2u * (uint32_t)k;
        const float *o = obs_row(b, batch, r), *next = obs_row(b, batch, r + 1),
                    *u = action_row(b, batch, r);
        hwm_real* x =
            out->hindsight + ((size_t)i * (size_t)out->context + (size_t)k) * (size_t)width;
        for (int j = 0; j < O; j++) {
            const float scale = b->spec->obs_scale[j];
            x[j] = (hwm_real)(o[j] / scale);
            x[O + A + j] = (hwm_real)(next[j] / scale) - x[j];
            finite = finite && isfinite(o[j]) && isfinite(next[j]);
        }
        for (int j = 0; j < A; j++)
            x[O + j] = (hwm_real)u[j];
    }
    return finite;
}

static hwm_status not_finite(const hwm_batch* batch, int i, hwm_error* err) {
    return hwm_fail(err, HWM_ENUMERIC,
                    "environment %u, step %llu: an observation, action or reward is not finite",
                    batch->stream[i].env, (unsigned long long)batch->step[i]);
}

static hwm_status check_sizes(const hwm_batch* batch, int n, int context, hwm_error* err) {
    if (batch->batch == n && batch->context == context)
        return HWM_OK;
    return hwm_fail(err, HWM_EPROTO,
                    "the sampler sent %d sequences with %d context rows, asked for %d with %d",
                    batch->batch, batch->context, n, context);
}

hwm_status hwm_batcher_sequences(hwm_batcher* b, const hwm_batch* batch, hwm_sequences* out,
                                 hwm_error* err) {
    hwm_status status = check_sizes(batch, out->n, out->context, err);
    if (status != HWM_OK)
        return status;
    if (batch->length != out->length)
        return hwm_fail(err, HWM_EPROTO, "the sampler sent sequences of %d rows, asked for %d",
                        batch->length, out->length);
    // all of it is taken over, so that what is not finite can be looked at
    for (int i = 0; i < out->n; i++) {
        const uint32_t from = batch->row[i] + batch->prefix[i];
        bool finite = true;
        put_place(batch, i, 0, out, i);
        for (int t = 0; t < out->length; t++)
            finite = put_row(b, batch, from + (uint32_t)t, out,
                             (size_t)i * (size_t)out->length + (size_t)t) &&
                     finite;
        finite = put_hindsight(b, batch, from + (uint32_t)out->length, out, i) && finite;
        if (!finite && status == HWM_OK)
            status = not_finite(batch, i, err);
    }
    return status;
}

// ---- materialising

static uint64_t version_at(const hwm_batch* batch, uint32_t row) {
    int lo = 0, hi = batch->n_segments - 1;
    while (lo < hi) {  // the last segment that begins at or before the row
        const int middle = (lo + hi + 1) / 2;
        if (batch->segment[middle].row <= row)
            lo = middle;
        else
            hi = middle - 1;
    }
    return batch->n_segments > 0 ? batch->segment[lo].param.version : 0;
}

// The key tensors of sequence i, which tile the state in order.
static void key_frame(const hwm_batcher* b, const hwm_batch* batch, int i, float* state) {
    size_t used = 0;
    for (int k = 0; k < b->signature->n_keys; k++) {
        const size_t count = hwm_tensor_count(&b->signature->key[k]);
        memcpy(state + used, (const float*)batch->key[k] + (size_t)i * count,
               count * sizeof(float));
        used += count;
    }
    HWM_ASSERT(used == (size_t)b->S);
}

// Sequences order[from .. to) share a version: replay their rows at .. until side by side.
static void replay_group(hwm_batcher* b, const hwm_batch* batch, const hwm_real* coef, int from,
                         int to) {
    const int n = to - from;
    uint32_t longest = 0;
    memset(b->state, 0, hwm_lanes_size(n, b->S) * sizeof(hwm_real));
    for (int k = 0; k < n; k++) {
        const int i = b->order[from + k];
        hwm_lanes_set(b->state, k, b->S, b->states + (size_t)i * (size_t)b->S);
        const uint32_t steps = b->until[i] - b->at[i];
        if (steps > longest)
            longest = steps;
    }
    memset(b->act, 0, hwm_lanes_size(n, b->NA) * sizeof(hwm_real));
    memset(b->u, 0, hwm_lanes_size(n, b->A) * sizeof(hwm_real));
    for (uint32_t t = 0; t < longest; t++) {
        memset(b->active, 0, hwm_lanes_size(n, 1) * sizeof(hwm_real));
        for (int k = 0; k < n; k++) {
            const int i = b->order[from + k];
            const uint32_t r = b->at[i] + t;
            // the row of a true end took no plastic step, nor did one of the burn-in
            if (r >= b->until[i] || flags_of(batch, r) & (HWM_FLAG_LAST | HWM_FLAG_STILL))
                continue;
            const float one = 1;
            hwm_lanes_set(b->active, k, 1, &one);
            hwm_lanes_set(b->act, k, b->NA,
                          (const float*)batch->column[HWM_COLUMN_ACT] + (size_t)r * (size_t)b->NA);
            hwm_lanes_set(b->u, k, b->A, action_row(b, batch, r));
        }
        hwm_controller_learn(b->controller, coef, n, b->act, b->u, b->active, b->state, NULL);
    }
    for (int k = 0; k < n; k++)
        hwm_lanes_get(b->state, k, b->S, b->states + (size_t)b->order[from + k] * (size_t)b->S);
}

// Insertion into runs of equal versions; batches are small and arrive nearly sorted by chunk.
static void order_by_version(hwm_batcher* b, int n) {
    for (int i = 0; i < n; i++) {
        int k = i;
        for (; k > 0 && b->version[b->order[k - 1]] > b->version[i]; k--)
            b->order[k] = b->order[k - 1];
        b->order[k] = i;
    }
}

// The stretches of sequences order[from .. to), which share a version; lost where it cannot be had.
static hwm_status replay_version(hwm_batcher* b, const hwm_batch* batch, int from, int to,
                                 hwm_error* err) {
    const uint64_t version = b->version[b->order[from]];
    const hwm_real* coef;
    hwm_error why = {0};
    int needed = 0;
    for (int k = from; k < to; k++)
        needed += b->until[b->order[k]] > b->at[b->order[k]];
    if (needed == 0)
        return HWM_OK;
    const hwm_status status = hwm_versions_get(b->versions, version, &coef, &why);
    if (status == HWM_OK) {
        replay_group(b, batch, coef, from, to);
        return HWM_OK;
    }
    if (status != HWM_ENOTFOUND)
        return hwm_fail(err, status, "%s", why.text);
    for (int k = from; k < to; k++)
        b->lost[b->order[k]] |= b->until[b->order[k]] > b->at[b->order[k]];
    b->lost_total += needed;
    hwm_log(HWM_LOG_WARN, "batch", "sequences dropped", "version=%llu sequences=%d reason=\"%s\"",
            (unsigned long long)version, needed, why.text);
    return HWM_OK;
}

// Rows of one version each, as far as that reaches. Returns how many sequences have some left.
static int next_stretch(hwm_batcher* b, const hwm_batch* batch, const uint32_t* row) {
    int left = 0;
    for (int i = 0; i < batch->batch; i++) {
        b->version[i] = version_at(batch, b->at[i]);
        b->until[i] = b->lost[i] ? row[i] : b->at[i];
        while (b->until[i] < row[i] && version_at(batch, b->until[i]) == b->version[i])
            b->until[i]++;
        b->at[i] = b->lost[i] ? row[i] : b->at[i];
        left += b->at[i] < row[i];
    }
    return left;
}

// States at the key frames.
static void begin_states(hwm_batcher* b, const hwm_batch* batch) {
    memset(b->lost, 0, (size_t)batch->batch);
    for (int i = 0; b->S > 0 && i < batch->batch; i++) {
        key_frame(b, batch, i, b->states + (size_t)i * (size_t)b->S);
        b->at[i] = batch->row[i];
    }
}

// From there, or from where the call before ended, to before the given rows: stretch by stretch of
// equal parameters.
static hwm_status advance_states(hwm_batcher* b, const hwm_batch* batch, const uint32_t* row,
                                 hwm_error* err) {
    if (b->S == 0)
        return HWM_OK;
    while (next_stretch(b, batch, row) > 0) {
        order_by_version(b, batch->batch);
        for (int from = 0; from < batch->batch;) {
            int to = from + 1;
            while (to < batch->batch && b->version[b->order[to]] == b->version[b->order[from]])
                to++;
            const hwm_status status = replay_version(b, batch, from, to, err);
            if (status != HWM_OK)
                return status;
            from = to;
        }
        memcpy(b->at, b->until, (size_t)batch->batch * sizeof *b->at);
    }
    return HWM_OK;
}

int64_t hwm_batcher_lost(const hwm_batcher* batcher) {
    return batcher->lost_total;
}

hwm_status hwm_batcher_states(hwm_batcher* b, const hwm_batch* batch, const uint32_t* row,
                              float* states, hwm_error* err) {
    if (batch->batch > b->max)
        return hwm_fail(err, HWM_EPROTO, "the sampler sent %d sequences, at most %d were asked for",
                        batch->batch, b->max);
    begin_states(b, batch);
    hwm_status status = advance_states(b, batch, row, err);
    for (int i = 0; status == HWM_OK && i < batch->batch; i++)
        if (b->lost[i])
            status = hwm_fail(err, HWM_ENOTFOUND, "version %llu of the parameters cannot be had",
                              (unsigned long long)b->version[i]);
    if (status == HWM_OK)
        memcpy(states, b->states, (size_t)batch->batch * (size_t)b->S * sizeof(float));
    return status;
}

// Where the k-th of `per` starts of sequence i is: the last rows of the sequence, one after the
// other, but an episode's first row for the first start of a sequence that begins one.
static uint32_t start_row(const hwm_batch* batch, int i, int k, int per, bool first) {
    const uint32_t from = batch->row[i] + batch->prefix[i];
    return first ? from : from + (uint32_t)(batch->length - per + k);
}

// Start s from row r of the batch's sequence i; first: an episode's first row, nothing was before.
// false: a number is not finite.
static bool put_start(const hwm_batcher* b, const hwm_batch* batch, int i, uint32_t r, bool first,
                      hwm_starts* starts, hwm_sequences* rows, int s) {
    const int O = b->O, A = b->A, T = rows->length;
    const uint32_t from = batch->row[i] + batch->prefix[i];
    // the last T rows up to the start
    bool finite = true;
    put_place(batch, i, (int64_t)(r - from) - (T - 1), rows, s);
    for (int t = 0; t < T; t++) {
        const size_t to = (size_t)s * (size_t)T + (size_t)t;
        if (r < from + (uint32_t)(T - 1 - t)) {
            rows->valid[to] = 0;
            continue;
        }
        finite = put_row(b, batch, r - (uint32_t)(T - 1 - t), rows, to) && finite;
    }
    finite = put_hindsight(b, batch, from + (uint32_t)batch->length, rows, s) && finite;

    // what the controller remembers besides its weights
    for (int j = 0; j < O; j++)
        starts->previous_obs[(size_t)s * (size_t)O + (size_t)j] =
            first ? 0 : (hwm_real)(obs_row(b, batch, r - 1)[j] / b->spec->obs_scale[j]);
    for (int j = 0; j < A; j++)
        starts->previous_action[(size_t)s * (size_t)A + (size_t)j] =
            first ? 0 : (hwm_real)action_row(b, batch, r - 1)[j];
    starts->previous_reward[s] =
        first ? 0 : (hwm_real)reward_of(batch, r) / (hwm_real)b->spec->action_repeat;
    starts->first[s] = first ? 1 : 0;
    starts->ended[s] = flags_of(batch, r) & HWM_FLAG_TERMINAL ? 1 : 0;
    starts->alive[s] = 1 - starts->ended[s];
    starts->age[s] = 0;
    return finite;
}

hwm_status hwm_batcher_starts(hwm_batcher* b, const hwm_batch* batch, int per, bool late,
                              double fraction_fresh, hwm_rng* rng, hwm_starts* starts,
                              hwm_sequences* rows, hwm_error* err) {
    const int L = batch->length, T = rows->length;
    hwm_status status = check_sizes(batch, rows->n / per, rows->context, err);
    if (status != HWM_OK)
        return status;
    if (batch->batch > b->max || L < per + 1 || L < T + per - 1)
        return hwm_fail(err, HWM_EPROTO,
                        "starts need at most %d sequences of at least %d rows, got %d of %d",
                        b->max, (T > 2 ? T : 2) + per - 1, batch->batch, L);
    for (int i = 0; i < batch->batch; i++) {
        const bool begins =
            (flags_of(batch, batch->row[i] + batch->prefix[i]) & HWM_FLAG_FIRST) != 0;
        bool finite = true;
        for (int k = 0; k < per; k++) {
            const int s = i * per + k;
            const bool first = begins && !late && k == 0;
            const uint32_t r = start_row(batch, i, k, per, first);
            finite = put_start(b, batch, i, r, first, starts, rows, s) && finite;
            starts->fresh[s] = (begins && k == 0) || (double)hwm_rng_uniform(rng) < fraction_fresh;
            starts->linked[s] =
                k + 1 < per && start_row(batch, i, k + 1, per, false) == r + 1 ? 1 : 0;
        }
        if (!finite && status == HWM_OK)
            status = not_finite(batch, i, err);
    }
    if (status != HWM_OK)
        return status;
    // the rule is replayed once over a sequence: its states are taken down on the way
    begin_states(b, batch);
    for (int k = 0; k < per; k++) {
        for (int i = 0; i < batch->batch; i++)
            b->target[i] = start_row(batch, i, k, per, starts->first[i * per + k] > 0);
        if ((status = advance_states(b, batch, b->target, err)) != HWM_OK)
            return status;
        for (int i = 0; i < batch->batch; i++) {
            const int s = i * per + k;
            if (b->lost[i])
                starts->alive[s] = 0;
            hwm_lanes_set(starts->state, s, b->S, b->states + (size_t)i * (size_t)b->S);
            hwm_controller_clear_naive(b->controller, starts->state, s);
        }
    }
    return HWM_OK;
}
