// Wire form of evaluation tasks. Fields in the order below, little-endian; the first word says
// which form it is.
#include <string.h>

#include "experiment/cursor.h"
#include "experiment/evaluate.h"

enum { REQUEST_FORM = 1, RESULT_FORM = 2 };

static void walk_request(hwm_cursor* c, hwm_transfer* move, uint32_t* form, hwm_evaluate_request* q,
                         uint64_t* version) {
    int32_t episodes = q->episodes, variant = q->variant;
    uint8_t control =
        (uint8_t)((q->shuffle_rule ? 1 : 0) | (q->zero_rule ? 2 : 0) | ((unsigned)q->actions << 2));
    move(c, form, 4);
    move(c, version, 8);
    move(c, &episodes, 4);
    move(c, &q->seed, 8);
    move(c, &q->freeze_at, 8);
    move(c, &q->reset_at, 8);
    move(c, &control, 1);
    move(c, &variant, 4);
    q->episodes = episodes;
    q->variant = variant;
    q->shuffle_rule = control & 1;
    q->zero_rule = control & 2;
    q->actions = (hwm_evaluate_actions)(control >> 2);
}

size_t hwm_evaluate_request_encode(const hwm_evaluate_request* request, uint64_t version,
                                   uint8_t bytes[HWM_EVALUATE_PAYLOAD_MAX]) {
    hwm_cursor c = {bytes, HWM_EVALUATE_PAYLOAD_MAX, false};
    hwm_evaluate_request q = *request;
    uint32_t form = REQUEST_FORM;
    walk_request(&c, hwm_cursor_put, &form, &q, &version);
    return HWM_EVALUATE_PAYLOAD_MAX - c.left;
}

hwm_status hwm_evaluate_request_decode(const void* bytes, size_t size,
                                       hwm_evaluate_request* request, uint64_t* version,
                                       hwm_error* err) {
    hwm_cursor c = {(uint8_t*)(uintptr_t)bytes, size, false};
    uint32_t form = 0;
    memset(request, 0, sizeof *request);
    walk_request(&c, hwm_cursor_get, &form, request, version);
    if (form != REQUEST_FORM) {
        return hwm_fail(err, HWM_EVERSION, "evaluation request of form %u, this program knows %d",
                        form, REQUEST_FORM);
    }
    if (c.overrun || c.left) {
        return hwm_fail(err, HWM_EPROTO, "evaluation request of %zu bytes is too %s", size,
                        c.overrun ? "short" : "long");
    }
    if (request->actions > HWM_EVALUATE_ZERO) {
        return hwm_fail(err, HWM_EPROTO,
                        "evaluation request for actions of kind %d, known are 0 to %d",
                        (int)request->actions, HWM_EVALUATE_ZERO);
    }
    return HWM_OK;
}

static void walk_score(hwm_cursor* c, hwm_transfer* move, hwm_evaluate_score* s) {
    int32_t episodes = s->episodes;
    move(c, &episodes, 4);
    move(c, &s->mean, 8);
    move(c, &s->std, 8);
    move(c, &s->min, 8);
    move(c, &s->max, 8);
    move(c, &s->discounted, 8);
    move(c, &s->velocity, 8);
    move(c, &s->velocity_std, 8);
    move(c, s->variant, sizeof s->variant);
    s->episodes = episodes;
}

// The number of variants is checked between the two halves: what is read must fit the struct.
static void walk_result(hwm_cursor* c, hwm_transfer* move, uint32_t* form, hwm_evaluate_result* r) {
    int32_t n = r->n_variants, dim = r->variant_dim;
    move(c, form, 4);
    move(c, &n, 4);
    move(c, &dim, 4);
    move(c, &r->env_steps, 8);
    walk_score(c, move, &r->all);
    if (n < 0 || n > HWM_EVALUATE_VARIANTS_MAX || dim < 0 || dim > HWM_EVALUATE_VARIANTS_MAX) {
        c->overrun = true;
        return;
    }
    r->n_variants = n;
    r->variant_dim = dim;
    for (int k = 0; k < n; k++) {
        walk_score(c, move, &r->variant[k]);
    }
}

size_t hwm_evaluate_result_encode(const hwm_evaluate_result* result,
                                  uint8_t bytes[HWM_EVALUATE_REPLY_MAX]) {
    hwm_cursor c = {bytes, HWM_EVALUATE_REPLY_MAX, false};
    hwm_evaluate_result r = *result;
    uint32_t form = RESULT_FORM;
    walk_result(&c, hwm_cursor_put, &form, &r);
    return HWM_EVALUATE_REPLY_MAX - c.left;
}

hwm_status hwm_evaluate_result_decode(const void* bytes, size_t size, hwm_evaluate_result* result,
                                      hwm_error* err) {
    hwm_cursor c = {(uint8_t*)(uintptr_t)bytes, size, false};
    uint32_t form = 0;
    memset(result, 0, sizeof *result);
    walk_result(&c, hwm_cursor_get, &form, result);
    if (form != RESULT_FORM) {
        return hwm_fail(err, HWM_EVERSION, "evaluation result of form %u, this program knows %d",
                        form, RESULT_FORM);
    }
    if (c.overrun || c.left) {
        return hwm_fail(err, HWM_EPROTO, "evaluation result of %zu bytes is malformed", size);
    }
    return HWM_OK;
}
