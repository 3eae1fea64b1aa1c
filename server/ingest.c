// data path  [5] link -> [6] store, [7] sampler -> [5] link
//
// Appends and samples: handed to the store with a token, answered when it completes them. A token
// is slot | generation << 32, so that the completion of a forgotten request finds nobody.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/chunk_codec.h"
#include "server/service.h"

static hwm_pending* pending_take(hwm_server* s, uint64_t* token) {
    if (s->free_pending == 0) {
        uint32_t n = s->n_pending == 0 ? 256 : 2 * s->n_pending;
        hwm_pending* grown = realloc(s->pending, n * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        s->pending = grown;
        for (uint32_t k = n; k > s->n_pending; k--) {
            s->pending[k - 1] = (hwm_pending){.next_free = s->free_pending};
            s->free_pending = k;
        }
        s->n_pending = n;
    }
    uint32_t slot = s->free_pending - 1;
    hwm_pending* p = &s->pending[slot];
    uint32_t generation = p->generation + 1;
    s->free_pending = p->next_free;
    *p = (hwm_pending){.used = true, .generation = generation};
    *token = (uint64_t)generation << 32 | slot;
    return p;
}

static void pending_give(hwm_server* s, hwm_pending* p) {
    p->used = false;
    p->next_free = s->free_pending;
    s->free_pending = (uint32_t)(p - s->pending) + 1;
}

static hwm_pending* pending_find(hwm_server* s, uint64_t token) {
    uint32_t slot = (uint32_t)token;
    if (slot >= s->n_pending || !s->pending[slot].used ||
        s->pending[slot].generation != (uint32_t)(token >> 32)) {
        return NULL;
    }
    return &s->pending[slot];
}

// The table a request names; refuses and returns -1 when there is none.
static int table_of(hwm_server* s, const hwm_session* session, uint64_t id, const char* name) {
    int table = name[0] != '\0' ? hwm_replay_table_find(s->replay, name) : session->table;
    if (table < 0 && name[0] == '\0') {
        table = hwm_replay_table_find(s->replay, NULL);
    }
    if (table < 0) {
        hwm_rpc_refuse(s, &session->peer, id, HWM_ENOTFOUND, "no table \"%s\" here", name);
    }
    return table;
}

// A stream belongs to the client it was handed to; nobody else may write it while that client
// lives.
static const hwm_session* owner_of(const hwm_server* s, int table, hwm_stream stream) {
    for (int k = 0; k < s->n_sessions; k++) {
        const hwm_session* o = &s->session[k];
        if (o->used && o->alive && o->table == table && o->incarnation == stream.incarnation &&
            stream.env >= o->first_env && stream.env - o->first_env < o->environments) {
            return o;
        }
    }
    return NULL;
}

static void refuse_append(hwm_server* s, hwm_session* session, uint64_t id, int table,
                          hwm_status status, const char* why) {
    session->refused += status != HWM_EAGAIN;
    hwm_replay_count_refusal(s->replay, table, status);
    hwm_rpc_refuse(s, &session->peer, id, status, "%s", why);
}

void hwm_ingest_append(hwm_server* s, hwm_session* session, const hwm_request* request,
                       hwm_message* message) {
    const hwm_bytes bytes = request->append.chunk;
    int table = table_of(s, session, request->id, request->append.table);
    if (table < 0) {
        return;
    }
    if (s->draining) {
        refuse_append(s, session, request->id, table, HWM_EAGAIN, "the server is stopping");
        return;
    }
    hwm_error err = {0};
    if (s->ingest_bytes + bytes.size > (size_t)s->config.service.ingest_bytes ||
        (session->append_bytes > 0 &&
         session->append_bytes + bytes.size > 2 * (size_t)s->config.service.credit_bytes)) {
        hwm_fail(&err, HWM_EAGAIN, "%zu bytes wait for their commit, %zu of them yours",
                 s->ingest_bytes, session->append_bytes);
        refuse_append(s, session, request->id, table, err.code, err.text);
        return;
    }
    hwm_chunk chunk;
    hwm_status status = hwm_chunk_decode(&hwm_replay_table_config(s->replay, table)->signature,
                                         bytes.data, bytes.size, &chunk, &err);
    if (status != HWM_OK) {
        refuse_append(s, session, request->id, table, status, err.text);
        return;
    }
    const hwm_session* owner = owner_of(s, table, chunk.stream);
    if (owner != NULL && owner != session) {
        hwm_fail(&err, HWM_EDENIED, "stream %u/%u belongs to client %" PRIu64 " on %s",
                 chunk.stream.env, chunk.stream.incarnation, owner->number, owner->host);
        refuse_append(s, session, request->id, table, err.code, err.text);
        return;
    }

    uint64_t token;
    hwm_pending* p = pending_take(s, &token);
    if (p == NULL) {
        hwm_rpc_refuse(s, &session->peer, request->id, HWM_EAGAIN, "no memory for a request");
        return;
    }
    p->kind = HWM_DONE_APPEND;
    p->session = session->number;
    p->slot = (int)(session - s->session);
    p->request = request->id;
    p->bytes = bytes.size;
    p->steps = chunk.steps;
    p->table = table;
    void* kept = hwm_message_keep(message);
    status = kept != NULL
                 ? hwm_replay_append_kept(s->replay, table, &chunk, bytes.data, bytes.size, token,
                                          hwm_message_release, kept)
                 : hwm_replay_append(s->replay, table, &chunk, bytes.data, bytes.size, token);
    if (status != HWM_OK) {
        if (kept != NULL) {
            hwm_message_release(kept);
        }
        pending_give(s, p);
        hwm_rpc_refuse(s, &session->peer, request->id, status, "append: %s",
                       hwm_status_text(status));
        return;
    }
    s->ingest_bytes += bytes.size;
    session->append_bytes += bytes.size;
}

void hwm_ingest_sample(hwm_server* s, hwm_session* session, const hwm_request* request) {
    int table = table_of(s, session, request->id, request->sample.table);
    if (table < 0) {
        return;
    }
    if (s->draining || session->open_samples >= (uint32_t)s->config.service.requests_max) {
        hwm_rpc_refuse(s, &session->peer, request->id, HWM_EAGAIN,
                       s->draining ? "the server is stopping"
                                   : "%u sample requests wait, the limit",
                       session->open_samples);
        return;
    }
    uint64_t token;
    hwm_pending* p = pending_take(s, &token);
    if (p == NULL) {
        hwm_rpc_refuse(s, &session->peer, request->id, HWM_EAGAIN, "no memory for a request");
        return;
    }
    p->kind = HWM_DONE_SAMPLE;
    p->session = session->number;
    p->slot = (int)(session - s->session);
    p->request = request->id;
    p->table = table;
    session->open_samples++;
    hwm_status status = hwm_replay_sample(s->replay, table, &request->sample.request, token);
    if (status != HWM_OK) {
        session->open_samples--;
        pending_give(s, p);
        hwm_rpc_refuse(s, &session->peer, request->id, status, "sample: %s",
                       hwm_status_text(status));
    }
}

void hwm_ingest_priorities(hwm_server* s, hwm_session* session, const hwm_request* request) {
    const hwm_wire_priorities* p = &request->priorities;
    int table = table_of(s, session, request->id, p->table);
    if (table < 0) {
        return;
    }
    // the message's arrays lie anywhere: aligned copies, and env and incarnation side by side
    const size_t n = p->env.size / 4;
    hwm_stream* stream = malloc(n * sizeof *stream);
    uint64_t* step = malloc(n * sizeof *step);
    double* priority = malloc(n * sizeof *priority);
    hwm_error err = {0};
    hwm_status status = HWM_ENOMEM;
    if (stream != NULL && step != NULL && priority != NULL) {
        for (size_t k = 0; k < n; k++) {
            memcpy(&stream[k].env, (const uint8_t*)p->env.data + 4 * k, 4);
            memcpy(&stream[k].incarnation, (const uint8_t*)p->incarnation.data + 4 * k, 4);
        }
        memcpy(step, p->step.data, 8 * n);
        memcpy(priority, p->priority.data, 8 * n);
        status = hwm_replay_prioritise(s->replay, table, (int)n, stream, step, priority, &err);
    } else {
        hwm_fail(&err, HWM_ENOMEM, "no memory for %zu priorities", n);
    }
    free(stream);
    free(step);
    free(priority);
    if (status != HWM_OK) {
        hwm_rpc_refuse(s, &session->peer, request->id, status, "%s", err.text);
        return;
    }
    hwm_rpc_reply(s, &session->peer, &(hwm_reply){.id = request->id});
}

void hwm_ingest_snapshot(hwm_server* s, hwm_session* session, uint64_t request, const char* path) {
    uint64_t token;
    hwm_pending* p = pending_take(s, &token);
    if (p == NULL) {
        hwm_rpc_refuse(s, &session->peer, request, HWM_EAGAIN, "no memory for a request");
        return;
    }
    p->kind = HWM_DONE_SNAPSHOT;
    p->session = session->number;
    p->slot = (int)(session - s->session);
    p->request = request;
    hwm_status status = hwm_replay_snapshot(s->replay, path, token);
    if (status != HWM_OK) {
        pending_give(s, p);
        hwm_rpc_refuse(s, &session->peer, request, status, "snapshot %s: %s", path,
                       hwm_status_text(status));
        return;
    }
    snprintf(s->snapshot_path, sizeof s->snapshot_path, "%s", path);
}

static void complete_snapshot(hwm_server* s, const hwm_pending* p, const hwm_session* session,
                              const hwm_completion* done) {
    if (session == NULL) {
        return;
    }
    if (done->status != HWM_OK) {
        hwm_rpc_refuse(s, &session->peer, p->request, done->status, "snapshot: %s", done->text);
        return;
    }
    hwm_reply reply = {.id = p->request, .kind = HWM_REPLY_SNAPSHOT, .text = s->snapshot_path};
    hwm_rpc_reply(s, &session->peer, &reply);
}

static void complete_append(hwm_server* s, hwm_pending* p, hwm_session* session,
                            const hwm_completion* done) {
    s->ingest_bytes -= p->bytes;
    if (session == NULL) {
        return;
    }
    session->append_bytes -= p->bytes;
    // on the wire ECLOSED means "say hello": a closed table is another matter
    hwm_status status = done->status == HWM_ECLOSED ? HWM_EDENIED : done->status;
    if (done->status == HWM_OK || done->status == HWM_EDUPLICATE) {
        if (done->status == HWM_OK) {
            session->appends++;
            session->append_steps += p->steps;
            session->append_bytes_total += p->bytes;
        }
        hwm_rpc_reply(s, &session->peer, &(hwm_reply){.id = p->request, .status = done->status});
    } else {
        session->refused++;
        hwm_rpc_refuse(s, &session->peer, p->request, status, "%s", done->text);
    }
}

static void complete_sample(hwm_server* s, const hwm_pending* p, hwm_session* session,
                            const hwm_completion* done) {
    if (session == NULL) {
        return;
    }
    session->open_samples--;
    if (done->status != HWM_OK || done->batch == NULL) {
        hwm_rpc_refuse(s, &session->peer, p->request,
                       done->status == HWM_ECLOSED ? HWM_EDENIED : done->status, "%s", done->text);
        return;
    }
    size_t size = 0;
    void* bytes = hwm_wire_batch(
        p->request, &hwm_replay_table_config(s->replay, p->table)->signature, done->batch, &size);
    if (bytes == NULL) {
        hwm_rpc_refuse(s, &session->peer, p->request, HWM_EINVAL,
                       "the batch takes %zu bytes, a message at most %d: ask for a smaller one",
                       size, HWM_MESSAGE_BYTES_MAX);
        return;
    }
    session->samples++;
    hwm_rpc_bulk(s, &session->peer, &bytes, size);
}

bool hwm_ingest_complete(hwm_server* s) {
    hwm_completion done;
    if (!hwm_replay_next(s->replay, &done)) {
        return false;
    }
    hwm_pending* p = pending_find(s, done.token);
    if (p != NULL) {
        hwm_session* session = hwm_sessions_by_number(s, p->slot, p->session);
        if (done.kind == HWM_DONE_APPEND) {
            complete_append(s, p, session, &done);
        } else if (done.kind == HWM_DONE_SAMPLE) {
            complete_sample(s, p, session, &done);
        } else {
            complete_snapshot(s, p, session, &done);
        }
        pending_give(s, p);
    }
    if (done.batch != NULL) {
        hwm_replay_batch_free(s->replay, &done.batch);
    }
    return true;
}

// The session asks for nothing any more. Its appends are kept: they count once they are committed.
void hwm_ingest_forget(hwm_server* s, const hwm_session* session) {
    for (uint32_t k = 0; k < s->n_pending; k++) {
        hwm_pending* p = &s->pending[k];
        if (p->used && p->session == session->number && p->kind == HWM_DONE_SAMPLE) {
            hwm_replay_cancel(s->replay, (uint64_t)p->generation << 32 | k);
            pending_give(s, p);
        }
    }
}
