// data path  [5] link
//
// What waits for an answer: samples, the one call, and the newest version that was announced of
// every set.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/client_state.h"

// ---- the call

void hwm_client_call_free(hwm_client* c) {
    free(c->call.bytes);
    free(c->task_payload);
    free(c->task_result);
}

void hwm_client_on_call(hwm_client* c, const hwm_reply* r) {
    client_call* call = &c->call;
    if (!call->waiting || call->answered || r->id != call->id) {
        return;  // answered before, or given up: a repeated call may be answered twice
    }
    call->answered = true;
    call->status = r->status;
    call->kind = r->kind;
    snprintf(call->message, sizeof call->message, "%s", r->message);
    if (r->status == HWM_OK && call->take != NULL) {
        call->take(c, r, call->context);
    }
}

// ---- samples

void hwm_client_sample_send(hwm_client* c, const sample_slot* slot) {
    hwm_request r = {.id = slot->id, .kind = HWM_REQUEST_SAMPLE};
    hwm_bytes bytes;
    r.sample.table = c->hello.table;
    r.sample.request = slot->request;
    if (hwm_wire_pack_request(c->wire, &r, &bytes, NULL) == HWM_OK) {
        hwm_link_send(c->link, NULL, bytes.data, bytes.size);
    }
}

hwm_status hwm_client_sample_begin(hwm_client* c, const hwm_sample_request* request, uint64_t* id,
                                   hwm_error* err) {
    sample_slot* slot = NULL;
    for (int k = 0; k < SAMPLES_MAX && slot == NULL; k++) {
        slot = c->sample[k].state == SAMPLE_FREE ? &c->sample[k] : NULL;
    }
    if (slot == NULL) {
        return hwm_fail(err, HWM_EAGAIN, "%d sample requests are in flight, the limit",
                        SAMPLES_MAX);
    }
    // the same check as at the server, so that a bad request is named here
    hwm_request r = {.id = c->next++ << 3 | ID_SAMPLE, .kind = HWM_REQUEST_SAMPLE};
    hwm_bytes bytes;
    r.sample.table = c->hello.table;
    r.sample.request = *request;
    hwm_status s = hwm_wire_pack_request(c->wire, &r, &bytes, err);
    if (s != HWM_OK) {
        return s;
    }
    slot->state = SAMPLE_WAITING;
    slot->id = *id = r.id;
    slot->request = *request;
    slot->error.code = HWM_OK;
    if (c->state == CLIENT_UP) {
        hwm_link_send(c->link, NULL, bytes.data, bytes.size);
    }
    return HWM_OK;
}

sample_slot* hwm_client_sample_find(hwm_client* c, uint64_t id) {
    for (int k = 0; k < SAMPLES_MAX; k++) {
        if (c->sample[k].state != SAMPLE_FREE && c->sample[k].id == id) {
            return &c->sample[k];
        }
    }
    return NULL;
}

void hwm_client_on_sample(hwm_client* c, const hwm_reply* r) {
    sample_slot* slot = hwm_client_sample_find(c, r->id);
    if (slot == NULL || slot->state != SAMPLE_WAITING) {
        return;
    }
    slot->state = SAMPLE_DONE;
    if (r->status != HWM_OK) {
        hwm_fail(&slot->error, r->status, "sample: %s", r->message);
    } else if (r->kind != HWM_REPLY_SAMPLE || !c->have_signature) {
        hwm_fail(&slot->error, HWM_EPROTO, "sample was answered by a message of kind %d",
                 (int)r->kind);
    } else {
        hwm_error err;
        if ((c->packer == NULL && hwm_signature_packs(&c->signature) &&
             hwm_packer_create(&c->packer, &err) != HWM_OK) ||
            hwm_wire_batch_decode(&c->signature, c->packer, r->sample, &slot->block,
                                  &slot->block_bytes, &slot->batch, &err) != HWM_OK) {
            slot->error = err;
        }
    }
}

void hwm_client_sample_end(hwm_client* c, uint64_t id) {
    sample_slot* slot = hwm_client_sample_find(c, id);
    if (slot != NULL) {
        slot->state = SAMPLE_FREE;
    }
}

// ---- announcements

void hwm_client_on_announce(hwm_client* c, const hwm_announce* a) {
    int k = 0;
    while (k < c->n_announced && strcmp(c->announced[k].set, a->set) != 0) {
        k++;
    }
    if (k == HWM_ANNOUNCE_MAX) {
        return;
    }
    if (k == c->n_announced) {
        c->announced[c->n_announced++] = *a;
    } else if (a->version > c->announced[k].version) {
        c->announced[k] = *a;
    }
}

uint64_t hwm_client_announced(const hwm_client* c, const char* set) {
    for (int k = 0; k < c->n_announced; k++) {
        if (strcmp(c->announced[k].set, set) == 0) {
            return c->announced[k].version;
        }
    }
    return 0;
}
