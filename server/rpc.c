// Every request: unpack and check, who asks, may they, answer. Appends and samples go on to
// ingest.c.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/service.h"

// ---- who may do what

#define ROLE(name) (1u << HWM_ROLE_##name)
enum { EVERYBODY = ROLE(WORKER) | ROLE(LEARNER) | ROLE(OPERATOR) | ROLE(VIEWER) };

static const uint8_t allowed[HWM_REQUEST_KIND_END] = {
    [HWM_REQUEST_HELLO] = EVERYBODY,
    [HWM_REQUEST_HEARTBEAT] = EVERYBODY,
    [HWM_REQUEST_TABLE_CREATE] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_TABLE_CLOSE] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_APPEND] = ROLE(WORKER) | ROLE(OPERATOR),
    [HWM_REQUEST_SAMPLE] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_PRIORITIES] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_EPISODE] = ROLE(WORKER) | ROLE(OPERATOR),
    [HWM_REQUEST_STATS] = EVERYBODY,
    [HWM_REQUEST_PUBLISH] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_FETCH] = EVERYBODY,
    [HWM_REQUEST_LIST_PARAMS] = EVERYBODY,
    [HWM_REQUEST_TASK_SUBMIT] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_TASK_LEASE] = ROLE(WORKER) | ROLE(OPERATOR),
    [HWM_REQUEST_TASK_COMPLETE] = ROLE(WORKER) | ROLE(OPERATOR),
    [HWM_REQUEST_TASK_RESULT] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_LIST_TASKS] = EVERYBODY,
    [HWM_REQUEST_BARRIER] = ROLE(WORKER) | ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_SNAPSHOT] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_SHUTDOWN] = ROLE(LEARNER) | ROLE(OPERATOR),
    [HWM_REQUEST_PING] = EVERYBODY,
    [HWM_REQUEST_BYE] = EVERYBODY,
};

// Every request's key is looked up again: one that was taken out of the folder is refused from its
// next request on, and its client is dead. False: refused. In plain text everybody is what they
// say.
static bool key_allows(hwm_server* s, const hwm_message* m, const hwm_request* r, hwm_role* role) {
    hwm_keyring* ring = hwm_link_keyring(s->link);
    *role = HWM_ROLE_OPERATOR;
    if (ring == NULL) {
        return true;
    }
    const hwm_key_pair* key = hwm_keyring_find(ring, m->key);
    if (key != NULL) {
        *role = key->role;
        return true;
    }
    hwm_session* session = hwm_sessions_find(s, &m->from);
    s->counters.revoked++;
    hwm_log(HWM_LOG_WARN, "service", "key no longer authorised",
            "address=%s key=%s host=%s request=%s", m->address, m->key,
            session != NULL ? session->host : "", hwm_request_name(r->kind));
    hwm_rpc_refuse(s, &m->from, r->id, HWM_EDENIED, "this key is not authorised (any more)");
    if (session != NULL) {
        hwm_sessions_end(s, session, "key revoked");
    }
    return false;
}

// ---- connection

enum { CREDIT_MIN_BYTES = 256 << 10 };  // of one worker

// A session in the place of `before` (may be NULL), with a range of environments of its own. NULL:
// refused.
static hwm_session* new_session(hwm_server* s, const hwm_message* m, const hwm_request* r,
                                hwm_session* before, int table) {
    const hwm_wire_hello* h = &r->hello;
    uint32_t first = 0, incarnation = 0;
    hwm_error err = {0};
    if (before != NULL) {
        hwm_sessions_end(s, before, "said hello as another");
        hwm_sessions_drop(s, before);
    }
    if (h->environments > 0) {
        hwm_status status =
            hwm_replay_assign(s->replay, table, (int)h->environments, &first, &incarnation, &err);
        if (status != HWM_OK) {
            hwm_rpc_refuse(s, &m->from, r->id, status, "%s", err.text);
            return NULL;
        }
    }
    hwm_session* session = hwm_sessions_new(s);
    if (session == NULL) {
        hwm_rpc_refuse(s, &m->from, r->id, HWM_EFULL, "%d clients are connected, the limit",
                       SESSIONS_MAX);
        return NULL;
    }
    session->rank = hwm_sessions_free_rank(s, (hwm_role)h->role, table);
    session->role = (hwm_role)h->role;
    session->table = table;
    session->environments = h->environments;
    session->first_env = first;
    session->incarnation = incarnation;
    session->has_id = h->client.size > 0;
    if (session->has_id) {
        memcpy(session->id, h->client.data, HWM_CLIENT_ID_BYTES);
    }
    return session;
}

static void on_hello(hwm_server* s, const hwm_message* m, const hwm_request* r, hwm_role key_role) {
    const hwm_wire_hello* h = &r->hello;
    if (h->role != (uint32_t)key_role && key_role != HWM_ROLE_OPERATOR &&
        h->role != HWM_ROLE_VIEWER) {
        hwm_log(HWM_LOG_WARN, "service", "role refused", "address=%s key=%s role=%s", m->address,
                m->key, hwm_role_name((hwm_role)h->role));
        hwm_rpc_refuse(s, &m->from, r->id, HWM_EDENIED, "this key is for a %s, not for a %s",
                       hwm_role_name(key_role), hwm_role_name((hwm_role)h->role));
        return;
    }
    int table = hwm_replay_table_find(s->replay, h->table);
    if (table < 0 && (h->role == HWM_ROLE_WORKER || h->environments > 0)) {
        hwm_rpc_refuse(
            s, &m->from, r->id, HWM_EAGAIN,
            h->table[0] ? "table \"%s\" does not exist yet: a learner creates it"
                        : "no table exists yet (or more than one: name it): a learner creates it%s",
            h->table);
        return;
    }
    if (s->draining) {
        hwm_rpc_refuse(s, &m->from, r->id, HWM_EAGAIN, "the server is stopping");
        return;
    }

    // the same process again, on this or another connection, or a new one
    hwm_session* session = h->client.size > 0 ? hwm_sessions_find_id(s, h->client.data)
                                              : hwm_sessions_find(s, &m->from);
    bool back = session != NULL && session->alive && session->role == (hwm_role)h->role &&
                session->table == table && session->environments == h->environments;
    if (session != NULL && session->alive && strcmp(session->key, m->key) != 0) {
        hwm_rpc_refuse(s, &m->from, r->id, HWM_EDENIED, "this client id belongs to another key");
        return;
    }
    if (back) {
        hwm_ingest_forget(s, session);
        session->open_samples = 0;
        session->lost_reply = false;
    } else {
        // what this connection has not read counts on, whoever it says it is now
        hwm_session* before = hwm_sessions_find(s, &m->from);
        hwm_meter* unread = before != NULL ? before->unread : NULL;
        if (before != NULL) {
            before->unread = NULL;
        }
        session = new_session(s, m, r, session, table);
        if (session == NULL) {
            hwm_meter_release(&unread);
            return;
        }
        session->unread = unread;
    }
    snprintf(session->host, sizeof session->host, "%.63s", h->host);
    snprintf(session->version, sizeof session->version, "%s", h->version);
    snprintf(session->key, sizeof session->key, "%.47s", m->key);
    snprintf(session->address, sizeof session->address, "%.63s", m->address);
    session->pid = h->pid;
    session->subscribe = h->subscribe;
    session->heard_ns = hwm_clock_ns();
    hwm_sessions_set_peer(s, session, &m->from);
    s->counters.hellos++;
    hwm_log(
        hwm_session_log_level(session), "service", back ? "client is back" : "client joined",
        "client=%" PRIu64 " role=%s rank=%u host=%s pid=%u envs=%u+%u incarnation=%u version=%s",
        session->number, hwm_role_name(session->role), session->rank, session->host, session->pid,
        session->first_env, session->environments, session->incarnation, session->version);

    const hwm_table_config* t = table >= 0 ? hwm_replay_table_config(s->replay, table) : NULL;
    // the more workers, the less each may have under way: together they keep the writer busy with a
    // few megabytes, and more would only wait in memory that no cache holds
    uint64_t credit = (uint64_t)s->config.service.ingest_bytes / 16 / (session->rank + 1);
    credit = credit > CREDIT_MIN_BYTES ? credit : CREDIT_MIN_BYTES;
    if (credit > (uint64_t)s->config.service.credit_bytes) {
        credit = (uint64_t)s->config.service.credit_bytes;
    }
    hwm_reply reply = {.id = r->id, .kind = HWM_REPLY_HELLO};
    reply.hello = (hwm_wire_hello_reply){.table = t != NULL ? t->name : "",
                                         .experiment = t != NULL ? t->experiment : "",
                                         .rank = session->rank,
                                         .first_env = session->first_env,
                                         .incarnation = session->incarnation,
                                         .seed = t != NULL ? t->seed : 0,
                                         .heartbeat_ms = (uint32_t)s->config.service.heartbeat_ms,
                                         .credit_bytes = credit,
                                         .server_version = HWM_VERSION,
                                         .endpoint = hwm_link_endpoint(s->link),
                                         .signature = t != NULL ? &t->signature : NULL};
    reply.hello.n_announce = hwm_hub_newest(s->hub, &reply.hello.announce);
    hwm_rpc_reply(s, &m->from, &reply);
}

static void on_heartbeat(hwm_server* s, hwm_session* session, const hwm_request* r) {
    session->param_version = r->heartbeat.param_version;
    session->env_steps = r->heartbeat.env_steps;
    session->blocked_s = r->heartbeat.blocked_s;
    hwm_reply reply = {.id = r->id, .kind = HWM_REPLY_HEARTBEAT};
    reply.announces.n = hwm_hub_newest(s->hub, &reply.announces.row);
    reply.announces.open_requests = session->open_samples;
    hwm_rpc_reply(s, &session->peer, &reply);
}

// ---- tables

static void on_table_create(hwm_server* s, hwm_session* session, const hwm_request* r) {
    int table = -1;
    hwm_error err = {0};
    hwm_status status = hwm_replay_table_create(s->replay, r->table_create, &table, &err);
    if (status != HWM_OK) {
        hwm_rpc_refuse(s, &session->peer, r->id, status, "%s", err.text);
        return;
    }
    session->table = table;
    hwm_log(HWM_LOG_INFO, "service", "table",
            "name=%s capacity_steps=%" PRId64 " samples_per_insert=%g", r->table_create->name,
            r->table_create->capacity_steps, r->table_create->limiter.samples_per_insert);
    hwm_rpc_accept(s, session, r->id);
}

static void on_table_close(hwm_server* s, hwm_session* session, const hwm_request* r) {
    int table = hwm_replay_table_find(s->replay, r->append.table);
    hwm_error err = {0};
    hwm_status status = table < 0
                            ? hwm_fail(&err, HWM_ENOTFOUND, "no table \"%s\" here", r->append.table)
                            : hwm_replay_table_close(s->replay, table, &err);
    if (status != HWM_OK) {
        hwm_rpc_refuse(s, &session->peer, r->id, status, "%s", err.text);
        return;
    }
    hwm_rpc_accept(s, session, r->id);
}

static void on_episode(hwm_server* s, hwm_session* session, const hwm_request* r) {
    session->recent_return[session->episodes % RETURNS_KEPT] = r->episode.episode_return;
    session->n_returns += session->n_returns < RETURNS_KEPT;
    session->episodes++;
    session->param_version = r->episode.param_version;
    hwm_rpc_accept(s, session, r->id);
}

// ---- parameters

static void on_publish(hwm_server* s, hwm_session* session, const hwm_request* r) {
    bool complete = false;
    hwm_error err = {0};
    hwm_status status = hwm_hub_publish(s->hub, session->number, &r->publish, &complete, &err);
    if (status != HWM_OK) {
        hwm_rpc_refuse(s, &session->peer, r->id, status, "%s", err.text);
        return;
    }
    // the announcement is packed after this request's strings have been used
    hwm_reply push = {.kind = HWM_REPLY_ANNOUNCE};
    snprintf(push.announce.set, sizeof push.announce.set, "%s", r->publish.set);
    push.announce.version = r->publish.version;
    push.announce.size = r->publish.size;
    push.announce.tag = r->publish.tag;
    hwm_rpc_accept(s, session, r->id);
    for (int k = 0; complete && k < s->n_sessions; k++) {
        const hwm_session* other = &s->session[k];
        if (other->used && other->alive && other->subscribe) {
            hwm_rpc_reply(s, &other->peer, &push);
        }
    }
}

static void on_fetch(hwm_server* s, hwm_session* session, const hwm_request* r) {
    hwm_reply reply = {.id = r->id, .kind = HWM_REPLY_FETCH};
    hwm_error err = {0};
    hwm_status status = hwm_hub_fetch(s->hub, &r->fetch, &reply.fetch, &err);
    if (status != HWM_OK) {
        hwm_rpc_refuse(s, &session->peer, r->id, status, "%s", err.text);
        return;
    }
    hwm_rpc_reply(s, &session->peer, &reply);
}

static void on_list_params(hwm_server* s, hwm_session* session, const hwm_request* r) {
    hwm_announce row[HWM_ANNOUNCE_MAX];
    hwm_reply reply = {.id = r->id, .kind = HWM_REPLY_PARAMS};
    reply.announces.n = hwm_hub_list(s->hub, r->name, row, HWM_ANNOUNCE_MAX);
    reply.announces.row = row;
    hwm_rpc_reply(s, &session->peer, &reply);
}

// ---- tasks

static void send_task(hwm_server* s, hwm_session* session, uint64_t id, hwm_status status,
                      const hwm_task_view* view, const hwm_error* err) {
    if (status == HWM_EAGAIN) {  // an ordinary answer, not a refusal
        hwm_rpc_reply(s, &session->peer,
                      &(hwm_reply){.id = id, .status = HWM_EAGAIN, .message = err->text});
        return;
    }
    if (status != HWM_OK) {
        hwm_rpc_refuse(s, &session->peer, id, status, "%s", err->text);
        return;
    }
    hwm_reply reply = {.id = id, .kind = HWM_REPLY_TASK};
    reply.task.task = view->id;
    reply.task.type = view->type;
    reply.task.payload = view->payload;
    reply.task.result = view->result;
    reply.task.attempts = view->attempts;
    hwm_rpc_reply(s, &session->peer, &reply);
}

static void on_task(hwm_server* s, hwm_session* session, const hwm_request* r) {
    hwm_task_view view = {.type = ""};
    hwm_error err = {0};
    hwm_status status;
    switch (r->kind) {
    case HWM_REQUEST_TASK_SUBMIT:
        status = hwm_tasks_submit(s->tasks, &r->submit, &view.id, &err);
        view.type = r->submit.type;
        break;
    case HWM_REQUEST_TASK_LEASE:
        status = hwm_tasks_lease(s->tasks, r->name, session->number, hwm_clock_ns(), &view, &err);
        break;
    case HWM_REQUEST_TASK_COMPLETE:
        status = hwm_tasks_complete(s->tasks, r->task.id, r->task.result, &err);
        view.id = r->task.id;
        break;
    default:
        status = hwm_tasks_result(s->tasks, r->task.id, &view, &err);
    }
    send_task(s, session, r->id, status, &view, &err);
}

static void on_list_tasks(hwm_server* s, hwm_session* session, const hwm_request* r) {
    static hwm_wire_task_row row[HWM_TASK_ROWS_MAX];
    static uint64_t owner[HWM_TASK_ROWS_MAX];
    hwm_reply reply = {.id = r->id, .kind = HWM_REPLY_TASKS};
    reply.tasks.n = hwm_tasks_list(s->tasks, row, owner, HWM_TASK_ROWS_MAX);
    reply.tasks.row = row;
    for (int k = 0; k < reply.tasks.n; k++) {
        for (int j = 0; j < s->n_sessions && owner[k] != 0; j++) {
            if (s->session[j].used && s->session[j].number == owner[k]) {
                row[k].owner = s->session[j].host;
            }
        }
    }
    hwm_rpc_reply(s, &session->peer, &reply);
}

// ---- snapshots

// Into DIR/snapshots/NAME beside the store; answered when it is on disk.
static void on_snapshot(hwm_server* s, hwm_session* session, const hwm_request* r) {
    char folder[HWM_CONFIG_STRING_MAX + 16], path[HWM_CONFIG_STRING_MAX + 96];
    snprintf(folder, sizeof folder, "%s/snapshots", s->config.replay.dir);
    snprintf(path, sizeof path, "%s/%s", folder, r->name);
    if (mkdir(folder, 0755) != 0 && errno != EEXIST) {
        hwm_rpc_refuse(s, &session->peer, r->id, HWM_EIO, "cannot make %s: %s", folder,
                       strerror(errno));
        return;
    }
    hwm_ingest_snapshot(s, session, r->id, path);
}

// ---- rounds

static void on_barrier(hwm_server* s, hwm_session* session, const hwm_request* r) {
    int here = 0, k = 0;
    // a repeated request replaces the one before
    for (k = 0; k < s->n_barrier; k++) {
        if (s->barrier[k].session == session->number) {
            s->barrier[k] = s->barrier[--s->n_barrier];
            break;
        }
    }
    if (s->n_barrier == BARRIER_MAX) {
        hwm_rpc_refuse(s, &session->peer, r->id, HWM_EFULL,
                       "%d clients wait at barriers, the limit", BARRIER_MAX);
        return;
    }
    s->barrier[s->n_barrier++] = (hwm_barrier_wait){.round = r->barrier.round,
                                                    .session = session->number,
                                                    .request = r->id,
                                                    .parties = r->barrier.parties,
                                                    .peer = session->peer};
    for (k = 0; k < s->n_barrier; k++) {
        here += s->barrier[k].round == r->barrier.round;
    }
    if ((uint32_t)here < r->barrier.parties) {
        return;
    }
    uint64_t round = r->barrier.round;
    for (k = 0; k < s->n_barrier;) {
        if (s->barrier[k].round == round) {
            hwm_barrier_wait wait = s->barrier[k];
            s->barrier[k] = s->barrier[--s->n_barrier];
            hwm_reply reply = {.id = wait.request, .kind = HWM_REPLY_BARRIER};
            reply.round = round;
            hwm_rpc_reply(s, &wait.peer, &reply);
        } else {
            k++;
        }
    }
}

// ---- dispatch

static void on_stats(hwm_server* s, const hwm_peer* to, uint64_t id) {
    char* json = hwm_stats_json(s);
    if (json == NULL) {
        hwm_rpc_refuse(s, to, id, HWM_ENOMEM, "no memory for the statistics");
        return;
    }
    hwm_rpc_reply(s, to, &(hwm_reply){.id = id, .kind = HWM_REPLY_STATS, .text = json});
    free(json);
}

void hwm_rpc_message(hwm_server* s, hwm_message* m) {
    hwm_request r;
    hwm_error err = {0};
    hwm_status status = hwm_wire_unpack_request(s->wire, m->bytes, m->size, &r, &err);
    s->counters.requests++;
    if (status != HWM_OK) {
        if (s->counters.malformed++ < 10) {
            hwm_log(HWM_LOG_WARN, "service", "bad request", "address=%s key=%s reason=\"%s\"",
                    m->address, m->key, err.text);
        }
        hwm_rpc_refuse(s, &m->from, r.id, status, "%s", err.text);
        return;
    }
    s->counters.by_kind[r.kind]++;
    hwm_role key_role;
    if (!key_allows(s, m, &r, &key_role)) {
        return;
    }
    if (r.kind == HWM_REQUEST_PING) {
        hwm_rpc_reply(s, &m->from, &(hwm_reply){.id = r.id});
        return;
    }
    if (r.kind == HWM_REQUEST_STATS) {
        on_stats(s, &m->from, r.id);
        return;
    }
    if (r.kind == HWM_REQUEST_HELLO) {
        on_hello(s, m, &r, key_role);
        return;
    }

    hwm_session* session = hwm_sessions_find(s, &m->from);
    if (session == NULL || !session->alive) {
        hwm_rpc_refuse(s, &m->from, r.id, HWM_ECLOSED, "say hello first");
        return;
    }
    session->heard_ns = hwm_clock_ns();
    session->requests++;
    if (!(allowed[r.kind] & 1u << session->role)) {
        session->refused++;
        hwm_log(HWM_LOG_WARN, "service", "not allowed",
                "client=%" PRIu64 " role=%s request=%s address=%s", session->number,
                hwm_role_name(session->role), hwm_request_name(r.kind), m->address);
        hwm_rpc_refuse(s, &m->from, r.id, HWM_EDENIED, "a %s may not %s",
                       hwm_role_name(session->role), hwm_request_name(r.kind));
        return;
    }
    switch (r.kind) {
    case HWM_REQUEST_APPEND:
        hwm_ingest_append(s, session, &r, m);
        break;
    case HWM_REQUEST_PRIORITIES:
        hwm_ingest_priorities(s, session, &r);
        break;
    case HWM_REQUEST_SAMPLE:
        hwm_ingest_sample(s, session, &r);
        break;
    case HWM_REQUEST_HEARTBEAT:
        on_heartbeat(s, session, &r);
        break;
    case HWM_REQUEST_TABLE_CREATE:
        on_table_create(s, session, &r);
        break;
    case HWM_REQUEST_TABLE_CLOSE:
        on_table_close(s, session, &r);
        break;
    case HWM_REQUEST_EPISODE:
        on_episode(s, session, &r);
        break;
    case HWM_REQUEST_PUBLISH:
        on_publish(s, session, &r);
        break;
    case HWM_REQUEST_FETCH:
        on_fetch(s, session, &r);
        break;
    case HWM_REQUEST_LIST_PARAMS:
        on_list_params(s, session, &r);
        break;
    case HWM_REQUEST_TASK_SUBMIT:
    case HWM_REQUEST_TASK_LEASE:
    case HWM_REQUEST_TASK_COMPLETE:
    case HWM_REQUEST_TASK_RESULT:
        on_task(s, session, &r);
        break;
    case HWM_REQUEST_LIST_TASKS:
        on_list_tasks(s, session, &r);
        break;
    case HWM_REQUEST_BARRIER:
        on_barrier(s, session, &r);
        break;
    case HWM_REQUEST_SNAPSHOT:
        on_snapshot(s, session, &r);
        break;
    case HWM_REQUEST_SHUTDOWN:
        hwm_log(HWM_LOG_INFO, "service", "shutdown asked for", "client=%" PRIu64 " host=%s",
                session->number, session->host);
        hwm_rpc_accept(s, session, r.id);
        atomic_store(&s->stop, true);
        break;
    case HWM_REQUEST_BYE:
        hwm_rpc_accept(s, session, r.id);
        hwm_sessions_end(s, session, "bye");
        break;
    default:
        hwm_rpc_refuse(s, &m->from, r.id, HWM_EUNSUPPORTED, "%s is not served by this version",
                       hwm_request_name(r.kind));
    }
}
